"""Recognise sealed inputs and load their records; every record is loaded, a duplicate, or in quarantine."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mailwitness.content import loader
from mailwitness.loading import (
    EXHIBIT_KEY,
    POSITION_KEY,
    SALVAGED_KEY,
    Lines,
    Wanted,
    Writer,
    identity_column,
    json_line,
    json_relation,
    record_relation,
)
from mailwitness.models import Exhibit, NotEvaluated, Quarantined
from mailwitness.neighbours import Neighbours
from mailwitness.own_sources import NONE, Own
from mailwitness.readers import csv_records, csv_shape, json_records, salvage, text, text_document
from mailwitness.readers import index as line_index
from mailwitness.readers.blocks import UTF8_BOM, Damage, RawLine
from mailwitness.readers.index import LinesWhileSealing, RecordIndex
from mailwitness.recognise import TABLE_HINTS, Match, Recogniser, base_name, unwrap
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mailwitness.content.schemas import Mapping
    from mailwitness.tables import Segment, TableStore

# Below this size records go through Python one by one: many small files then share one segment.
SMALL_BYTES = 2 * 1024 * 1024
# Above this a record is not loaded: its place and start are kept in quarantine.
LARGEST_RECORD_BYTES = 64 * 1024 * 1024
# Lines of a reader are handed on in such portions.
_WRITTEN_AT_ONCE = 1_000
_OWN = (EXHIBIT_KEY.encode(), POSITION_KEY.encode(), SALVAGED_KEY.encode())
# From here on a reader that can do so converts whole stretches of a log instead of single records.
BULK_BYTES = 8 * 1024 * 1024
_BATCH_BYTES = 64 * 1024 * 1024
_SAMPLE_RECORDS = 200
# Rows of each large file whose place is checked against the file.
_CHECKED_ROWS = 100
_KEPT_IN_REPORT = 1000
_START_BYTES = 200
_PLACES = frozenset({"_Exhibit", "_Position", "_Salvaged"})
_PARQUET_MAGIC = b"PAR1"
_MAGICS = {
    b"ElfFile\x00": "a Windows event log (EVTX)",
    b"\xd0\xcf\x11\xe0": "an OLE compound file (such as Outlook .msg)",
    b"!BDN": "an Outlook data file (PST or OST)",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x37\x7f\x06": "an SQLite write-ahead log, which is read together with its database",
    b"bplist": "a binary property list",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a Linux program",
    b"MZ": "a Windows program",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
}


class Tally(msgspec.Struct, kw_only=True):
    """Counts of one exhibit while it is being loaded."""

    exhibit: Exhibit
    source: str = ""
    tables: Counter[str] = msgspec.field(default_factory=Counter)
    sources: Counter[str] = msgspec.field(default_factory=Counter)
    records: int = 0
    loaded: int = 0
    duplicates: int = 0
    quarantined: int = 0
    salvaged: int = 0
    notes: list[str] = msgspec.field(default_factory=list)


class Records(msgspec.Struct, frozen=True):
    """Where the records of an exhibit stand.

    Attributes:
        path: file that is parsed: the original, its UTF-8 form, or its records written one a line.
        index: their places in that file; None when each is one line of it.
        original: their places in the sealed original.
        mended: records that could only be parsed after control characters in their strings were escaped.
    """

    path: Path
    index: RecordIndex | None
    original: RecordIndex
    mended: frozenset[int] = frozenset()


class Batch:
    """Records of many small inputs on their way into one segment."""

    def __init__(self, path: Path, mapping: Mapping, also: list[Mapping]) -> None:
        """Collect records in ``path`` for one mapping, and further ones of the same records."""
        self.path = path
        self.mapping = mapping
        self.also = also
        self.exhibits: list[str] = []
        self.largest = 0
        self.size = 0
        self.handle = path.open("wb")

    def add(self, line: bytes, digest: str) -> None:
        """Append one record."""
        self.handle.write(line + b"\n")
        self.largest = max(self.largest, len(line))
        self.size += len(line)
        if not self.exhibits or self.exhibits[-1] != digest:
            self.exhibits.append(digest)

    def add_lines(self, lines: list[bytes], digest: str) -> None:
        """Append several records."""
        text = b"\n".join(lines)
        self.handle.write(text + b"\n" if lines else b"")
        self.largest = max(self.largest, max(map(len, lines), default=0))
        self.size += len(text)
        if not self.exhibits or self.exhibits[-1] != digest:
            self.exhibits.append(digest)


class Intake:
    """Load exhibits one after the other and keep count of every record."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: TableStore,
        *,
        wanted: Wanted | None,
        work: Path,
        index_folder: Path,
        sealed_lines: LinesWhileSealing | None = None,
        own: Own = NONE,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Take the case's store, what to store (None: everything), folders for temporary files and indexes, what sealing saw, and more.

        ``own`` are sources beside the shipped ones, ``neighbours`` the exhibits by name.
        """
        self.neighbours = neighbours or Neighbours()
        # Exhibits whose further places have become records of their own.
        self.placed: set[str] = set()
        self.sealed_lines = sealed_lines or LinesWhileSealing()
        self.connection = connection
        self.store = store
        self.writer = Writer(connection, store, wanted, own.mappings)
        self.recogniser = Recogniser(own.sources, own.mappings)
        self.work = work
        self.index_folder = index_folder
        self.tallies: dict[str, Tally] = {}
        self.quarantine: list[Quarantined] = []
        self.not_evaluated: list[NotEvaluated] = []
        self.segments: list[tuple[str, str]] = []
        self.spans: dict[str, tuple[str, str]] = {}
        self._preparers: dict[str, Any] = {}  # Any: the preparers of readers, of the exhibit being read
        self._batches: dict[tuple[str, str, tuple[str, ...]], Batch] = {}
        self._batch_number = 0
        self._quarantine_log = (work / "quarantine.jsonl").open("wb")

    # -- one exhibit -------------------------------------------------------------------------

    def add(self, exhibit: Exhibit) -> None:
        """Recognise and load one exhibit.

        Damage inside the exhibit never raises: it is counted and kept in quarantine.
        """
        tally = self.tallies[exhibit.id] = Tally(exhibit=exhibit)
        self._preparers.clear()
        with exhibit.location.open("rb") as handle:
            head = handle.read(1024 * 1024)
        if database := self.neighbours.database_of(exhibit, head):
            tally.notes.append(f"read together with {database}")
        elif not head:
            tally.notes.append("the file is empty")
            self._not_read(exhibit, "the file is empty", "Check how it was collected.")
        elif head[:4] == _PARQUET_MAGIC:
            self._add_parquet(exhibit, tally)
        else:
            self._add_text(exhibit, tally, head)

    def _add_text(self, exhibit: Exhibit, tally: Tally, head: bytes) -> None:
        match = self.recogniser.match_start(head, is_text=False, name=exhibit.path)
        if match is not None:
            self._add_read(exhibit, tally, exhibit.location, match, None)
            return
        binary = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")
        encoding = "" if binary else text.detect_encoding(head)
        if binary or not encoding:
            self._not_recognised(exhibit, binary or "binary data", [])
            return
        path, offsets = exhibit.location, None
        if encoding not in {"utf-8", "utf-8-sig", "ascii"}:
            path = self.work / f"{exhibit.id}.utf8"
            offsets = text.to_utf8(exhibit.location, path, encoding)
            tally.notes.append(f"decoded from {encoding.upper()}")
            with path.open("rb") as handle:
                head = handle.read(1024 * 1024)
        kind = json_records.sniff_json(head)
        match = self.recogniser.match_start(head, is_text=True, name=exhibit.path)
        if match is not None:
            self._add_read(exhibit, tally, path, match, offsets)
        elif kind:
            self._add_json(exhibit, tally, path, kind, offsets)
        else:
            shape = csv_records.sniff_csv(head)
            if shape is None:
                text_kind = text_document.describe(path, exhibit.path)
                self._not_recognised(exhibit, text_kind.looks_like, [], blocking=text_kind.blocking)
            else:
                self._add_csv(exhibit, tally, path, shape, offsets)
        if path != exhibit.location:
            path.unlink(missing_ok=True)

    # -- JSON --------------------------------------------------------------------------------

    def _add_json(
        self, exhibit: Exhibit, tally: Tally, path: Path, kind: str, offsets: text.OffsetMap | None
    ) -> None:
        mended: frozenset[int] = frozenset()
        if kind == "ndjson":
            known = self.sealed_lines.take(path) if path == exhibit.location else None
            lines = known or line_index.index_lines(path)
            index, lines_path, longest = lines.records, path, lines.longest
            if lines.longest > LARGEST_RECORD_BYTES or line_index.needs_rewrite(path, lines):
                lines_path, longest = self._rewritten(exhibit, path, index), LARGEST_RECORD_BYTES
        else:
            lines_path = self.work / f"{exhibit.id}.lines"
            split = json_records.split_json(path, lines_path, max_record=LARGEST_RECORD_BYTES)
            index, longest = split.index, int(split.index.lengths.max(initial=0)) + 1024
            for damage in split.damaged:
                self._quarantine(tally, exhibit, -1, damage, path, offsets)
            tally.records += len(split.damaged)
            mended = frozenset(split.mended)
        tally.records += len(index.offsets)
        # A split file is parsed from its lines: there rows have names, and control characters are escaped.
        at = Records(
            path if kind == "ndjson" else lines_path,
            index if kind == "ndjson" else None,
            self._save_index(exhibit, index, offsets),
            mended,
        )
        if path.stat().st_size < SMALL_BYTES or not self._load_lines(exhibit, tally, lines_path, at, longest):
            self._route_all(exhibit, tally, at, "json")
        if lines_path not in {path, exhibit.location}:
            lines_path.unlink(missing_ok=True)

    def _load_lines(self, exhibit: Exhibit, tally: Tally, path: Path, at: Records, longest: int) -> bool:
        """Load a large file through SQL alone; False when its records need the Python path."""
        match = self._match_sample(path)
        if match is None or "." in match.record or match.prepare:
            return False
        mapping = self.writer.mapping(match.mapping, match.table)
        if not self._has_exact_keys(path, match, mapping) or (
            match.mapping == "table_export" and self._has_several_tables(path, longest)
        ):
            return False
        name = self.writer.name([exhibit.blake3, exhibit.id], mapping)
        relation = json_relation(
            [path], mapping, largest=longest, own=False, record=match.record, outer=match.outer
        )
        stored = self.writer.store_rows(relation, mapping, name, exhibit=exhibit.id)
        if stored.rows != len(at.original) or not self._is_aligned(stored.segment, path, at):
            # One row for each line, in the order of the file, did not hold: positions would lie. Go the slow, exact way.
            self.store.path(stored.segment).with_suffix(".json").unlink()
            tally.notes.append("loaded record by record because of its damage")
            return False
        self.segments.append((mapping.table, name))
        self._count(tally, match, mapping.table, stored.segment.rows)
        # These rows are in the table already; that their text was mended is counted.
        tally.salvaged += len(at.mended - set(stored.damaged))
        for further in (self.writer.mapping(name, "") for name in match.also):
            relation = json_relation(
                [path], further, largest=longest, own=False, record=match.record, outer=match.outer
            )
            rows = self._store_also(further, [exhibit.blake3, exhibit.id], relation, exhibit.id)
            if mapping.accept != "true":
                # The tables share the records between them: each record is a row of exactly one.
                self._count(tally, match, further.table, rows)
        self._second_chance(exhibit, tally, at, stored.damaged, "json")
        return True

    def _is_aligned(self, segment: Segment, path: Path, at: Records) -> bool:
        """Compare the ids of rows spread over a segment with the lines they should come from."""
        column = identity_column(segment.table)
        if not column or not len(at.original):
            return True
        index = line_index.index_lines(path).records if at.index is None else at.index
        numbers = sorted({len(index) * i // _CHECKED_ROWS for i in range(_CHECKED_ROWS)} | {len(index) - 1})
        listed = ", ".join(str(number) for number in numbers)
        found = self.connection.execute(
            f"SELECT file_row_number, {identifier(column)} FROM read_parquet({literal(str(self.store.path(segment)))}, "
            f"file_row_number = true) WHERE file_row_number IN ({listed})"
        ).fetchall()
        # Ids with characters that JSON may escape are left out of the comparison.
        plain = [(number, value) for number, value in found if re.fullmatch(r"[\w.@-]+", value, re.ASCII)]
        return all(
            value.encode() in index.read(path, number, LARGEST_RECORD_BYTES) for number, value in plain
        )

    def _has_exact_keys(self, path: Path, match: Match, mapping: Mapping) -> bool:
        """Tell whether keys are spelled as the mapping does: the database matches them exactly."""
        known = {key.lower(): key for key in mapping.raw}
        with path.open("rb") as handle:
            for line in handle.readlines(1024 * 1024)[:_SAMPLE_RECORDS]:
                record = _parse(line)
                inner = unwrap(record, match.record) if isinstance(record, dict) else None
                inner = _parse(inner.encode()) if isinstance(inner, str) else inner
                if isinstance(inner, dict) and any(known.get(key.lower(), key) != key for key in inner):
                    return False
        return True

    def _has_several_tables(self, path: Path, longest: int) -> bool:
        """Tell whether the rows of an export name more than one table: a row has nothing else that would be missed."""
        size = max(16 * 1024 * 1024, longest + 1024)
        columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in TABLE_HINTS) + "}"
        hint = "concat(" + ", '|', ".join(identifier(name) for name in TABLE_HINTS) + ")"
        return bool(
            self.connection.execute(
                f"SELECT count(DISTINCT {hint}) FILTER ({hint} <> '||') > 1 FROM read_json({literal(str(path))}, "
                f"columns = {columns}, format = 'newline_delimited', ignore_errors = true, auto_detect = false, maximum_object_size = {size})"
            ).fetchall()[0][0]
        )

    def _match_sample(self, path: Path) -> Match | None:
        """Return the source of most of the first records."""
        found: Counter[Match | None] = Counter()
        with path.open("rb") as handle:
            for line in handle.readlines(4 * 1024 * 1024)[:_SAMPLE_RECORDS]:
                record = _parse(line)
                found[self.recogniser.match(record, "json") if isinstance(record, dict) else None] += 1
        ranked = [match for match, _ in found.most_common() if match is not None]
        return ranked[0] if ranked else None

    def _rewritten(self, exhibit: Exhibit, path: Path, index: RecordIndex) -> Path:
        """Write the lines anew with ``{}`` for those the database must not see; the order stays."""
        target = self.work / f"{exhibit.id}.lines"
        lines = Lines(path)
        with target.open("wb") as out:
            for offset, length in zip(index.offsets.tolist(), index.lengths.tolist(), strict=True):
                line = b"{}" if length > LARGEST_RECORD_BYTES else lines.read(offset, length)
                sound = length <= LARGEST_RECORD_BYTES and isinstance(_parse(line), dict)
                out.write((line if sound else b"{}") + b"\n")
        lines.close()
        return target

    # -- CSV ---------------------------------------------------------------------------------

    def _add_csv(
        self,
        exhibit: Exhibit,
        tally: Tally,
        path: Path,
        shape: csv_records.CsvShape,
        offsets: text.OffsetMap | None,
    ) -> None:
        match = self._match_csv(shape)
        if match is None:
            self._not_recognised(exhibit, "a table of comma separated values", shape.header)
            return
        index = csv_records.index_csv(path, shape)
        at = Records(path, index, self._save_index(exhibit, index, offsets))
        tally.records += len(index.offsets)
        mapping = self.writer.mapping(match.mapping, match.table)
        if path.stat().st_size < SMALL_BYTES or match.prepare:
            self._route_all(exhibit, tally, at, "csv", shape)
            return
        damaged: list[int] = []
        name = self.writer.name([exhibit.blake3, exhibit.id], mapping)
        relation = self._csv_relation(exhibit, tally, path, shape, index, match, mapping, damaged)
        stored = self.writer.store_rows(relation, mapping, name)
        self.connection.unregister("mw_batches")
        self.segments.append((mapping.table, name))
        self._count(tally, match, mapping.table, stored.segment.rows)
        self._second_chance(exhibit, tally, at, sorted({*stored.damaged, *damaged}), "csv", shape)

    def _match_csv(self, shape: csv_records.CsvShape) -> Match | None:
        return self.recogniser.match(dict.fromkeys(shape.header, ""), "csv")

    def _csv_relation(
        self,
        exhibit: Exhibit,
        tally: Tally,
        path: Path,
        shape: csv_records.CsvShape,
        index: RecordIndex,
        match: Match,
        mapping: Mapping,
        damaged: list[int],
    ) -> str:
        """Register the file's batches and return the SQL that gives them the mapping's raw keys."""
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        columns = _canonical(csv_shape.unique_names(shape.header), mapping, match)
        reader = csv_records.read_csv(path, shape, index)
        first = next(reader, None)
        fields = csv_shape.unique_names(shape.header)
        own_fields = [(POSITION_KEY, pa.int64()), (SALVAGED_KEY, pa.bool_())]
        schema = pa.schema([(name, pa.string()) for name in fields] + own_fields)

        def batches() -> Iterator[pa.RecordBatch]:
            batch = first
            while batch is not None:
                offsets = [damage.offset for damage in batch.damaged]
                damaged.extend(np.searchsorted(index.offsets, offsets).tolist())
                numbers = pa.array(batch.records.astype("int64"))
                replaced = pa.array(np.isin(batch.records, batch.replaced))
                tally.salvaged += len(batch.replaced)
                yield pa.RecordBatch.from_arrays([*batch.rows.columns, numbers, replaced], schema=schema)
                batch = next(reader, None)

        self.connection.register("mw_batches", pa.RecordBatchReader.from_batches(schema, batches()))
        own = f"{literal(exhibit.id)} AS {EXHIBIT_KEY}, {POSITION_KEY}, {SALVAGED_KEY}"
        named = ", ".join(
            f"{identifier(column)} AS {identifier(key)}"
            for column, key in columns.items()
            if column in fields
        )
        inner = f"SELECT {named}, {own} FROM mw_batches"
        if match.record:
            text_sql = identifier(match.record)
            present = {column.lower() for column in columns.values()}
            outer = [(name, key) for name, key in match.outer if name.lower() in present]
            return record_relation(inner, text_sql, mapping, outer, [EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY])
        missing = [k for k in mapping.raw if k not in columns.values()]
        nulls = "".join(f", NULL::{mapping.raw[key]} AS {identifier(key)}" for key in missing)
        return f"SELECT *{nulls} FROM ({inner})"

    # -- Parquet -----------------------------------------------------------------------------

    def _add_parquet(self, exhibit: Exhibit, tally: Tally) -> None:
        file = f"read_parquet({literal(str(exhibit.location))}, file_row_number = true)"
        try:
            described = self.connection.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()
        except Exception as error:  # noqa: BLE001 - DuckDB raises many types for a damaged file
            # The reason must not name a place of this machine: a repeated run says the same.
            reason = _first_line(error, str(exhibit.location), exhibit.path)
            self._not_read(exhibit, f"the Parquet file is damaged ({reason})", "Export it again.")
            return
        header = [str(row[0]) for row in described if row[0] != "file_row_number"]
        match = self.recogniser.match(dict.fromkeys(header, ""), "csv")
        if match is None or match.record:
            self._not_recognised(exhibit, "a Parquet table", header)
            return
        mapping = self.writer.mapping(match.mapping, match.table)
        columns = _canonical(header, mapping, match)
        kinds = {str(row[0]): str(row[1]) for row in described}
        named = ", ".join(
            f"{_parquet_cell(column, kinds[column], mapping.raw[key])} AS {identifier(key)}"
            for column, key in columns.items()
            if key in mapping.raw
        )
        missing = "".join(
            f", NULL::{kind} AS {identifier(key)}"
            for key, kind in mapping.raw.items()
            if key not in columns.values()
        )
        name = self.writer.name([exhibit.blake3, exhibit.id], mapping)
        stored = self.writer.store_rows(
            f"SELECT {named}{missing} FROM {file}", mapping, name, exhibit=exhibit.id
        )
        self.segments.append((mapping.table, name))
        tally.records += stored.rows
        tally.notes.append("positions are row numbers: the format has no lines")
        self._count(tally, match, mapping.table, stored.segment.rows)
        for number in stored.damaged:
            self._quarantine(tally, exhibit, number, Damage(0, 0, 0, "the row has no time"), exhibit.location)

    # -- readers -----------------------------------------------------------------------------

    def _add_read(  # noqa: C901, PLR0915 - one loop over the items of a reader, each kind with its counters
        self, exhibit: Exhibit, tally: Tally, path: Path, match: Match, offsets: text.OffsetMap | None
    ) -> None:
        """Load a file through a Python reader: records with their places, and what is damaged."""
        mapping = self.writer.mapping(match.mapping, match.table)
        reader = importlib.import_module(f"mailwitness.readers.{match.reader}")
        if offsets is None and path.stat().st_size >= BULK_BYTES and hasattr(reader, "bulk"):
            with path.open("rb") as handle:
                converter = reader.bulk(handle.read(1024 * 1024))
            if converter:
                self._add_bulk(exhibit, tally, path, match, converter)
                return
        places: list[tuple[int, int, int]] = []
        items = self._items(reader, path, exhibit)
        assumed: Counter[str] = Counter()
        written = 0
        lines: list[bytes] = []
        own = b'"%s":"%s","%s":false' % (_OWN[0], exhibit.id.encode(), _OWN[2])
        for number, item in enumerate(items):
            tally.records += 1
            places.append((item.offset, item.length, item.number if isinstance(item, RawLine) else item.line))
            if isinstance(item, RawLine):
                lines.append(b'{"%s":%d,%s,' % (_OWN[1], number, own) + item.line[1:])
                if len(lines) == _WRITTEN_AT_ONCE:
                    self._batch(match, mapping).add_lines(lines, exhibit.blake3)
                    lines = []
                written += 1
                continue
            if isinstance(item, Damage):
                self._quarantine(tally, exhibit, number, item, path, offsets)
                continue
            inner = {key: value for key, value in item.data.items() if key in mapping.raw or match.also}
            if not _has_required(inner, mapping):
                lacking = Damage(item.offset, item.length, item.line, f"it lacks {_required_name(mapping)}")
                self._quarantine(tally, exhibit, number, lacking, path, offsets)
                continue
            if note := item.data.get("TimeNote"):
                assumed[note] += 1
            inner[EXHIBIT_KEY], inner[POSITION_KEY], inner[SALVAGED_KEY] = exhibit.id, number, item.salvaged
            tally.salvaged += item.salvaged
            self._batch(match, mapping).add(json_line(inner), exhibit.blake3)
            self._count(tally, match, mapping.table, 1)
        if written:
            self._batch(match, mapping).add_lines(lines, exhibit.blake3)
            self._count(tally, match, mapping.table, written)
        tally.notes += [f"{count} records: {note}" for note, count in assumed.most_common(3)]
        if places:
            self._save_index(exhibit, line_index.from_places(places), offsets)

    def _items(self, reader: Any, path: Path, exhibit: Exhibit) -> Iterator[Any]:  # noqa: ANN401 - a module
        """Ask a reader for its items.

        Mail stores tell mailbox, folder and flags by the names of their files, which sealing may have replaced. The same
        message in two folders is there twice, whatever its bytes say.
        """
        if hasattr(reader, "read_beside"):
            yield from reader.read_beside(
                path, exhibit.path, lambda suffix: self.neighbours.beside(exhibit, suffix)
            )
        elif hasattr(reader, "read_named"):
            yield from reader.read_named(path, exhibit.path)
            if getattr(reader, "EACH_PLACE_COUNTS", False):
                self.placed.add(exhibit.id)
                for name in self.neighbours.others.get(exhibit.id, []):
                    yield from reader.read_named(path, name)
        else:
            yield from reader.read(path)

    def _add_bulk(self, exhibit: Exhibit, tally: Tally, path: Path, match: Match, converter: str) -> None:
        """Load a large text log whose reader writes rows of whole stretches itself, in several processes."""
        from mailwitness.readers import bulk  # noqa: PLC0415 - only for large logs

        mapping = self.writer.mapping(match.mapping, match.table)
        threads = int(self.connection.execute("SELECT current_setting('threads')").fetchall()[0][0])
        parts = bulk.convert(converter, path, self.work, exhibit.id, threads)
        starts = [sum(len(part.places) for part in parts[:i]) for i in range(len(parts))]
        for start, part in zip(starts, parts, strict=True):
            for number, reason in part.damaged:
                offset, length, line = (int(value) for value in part.places[number])
                self._quarantine(
                    tally, exhibit, start + number, Damage(offset, length, line, reason), path, None
                )
            tally.records += len(part.places)
            tally.salvaged += part.salvaged
        stored = self.writer.store_rows(
            _bulk_relation(parts, starts, mapping),
            mapping,
            self.writer.name([exhibit.blake3, exhibit.id], mapping),
        )
        self.segments.append((mapping.table, stored.segment.name))
        self._count(tally, match, mapping.table, stored.segment.rows)
        for further in (self.writer.mapping(name, "") for name in match.also):
            self._store_also(
                further, [exhibit.blake3, exhibit.id], _bulk_relation(parts, starts, further), ""
            )
        self._save_index(exhibit, bulk.index(parts), None)
        for part in parts:
            part.rows.unlink()

    # -- record by record --------------------------------------------------------------------

    def _route_all(
        self,
        exhibit: Exhibit,
        tally: Tally,
        at: Records,
        form: str,
        shape: csv_records.CsvShape | None = None,
    ) -> None:
        self._second_chance(exhibit, tally, at, range(len(at.original)), form, shape)
        if tally.records and tally.loaded == 0 and not tally.sources:
            self._forget(exhibit, tally)

    def _second_chance(
        self,
        exhibit: Exhibit,
        tally: Tally,
        at: Records,
        numbers: Sequence[int],
        form: str,
        shape: csv_records.CsvShape | None = None,
    ) -> None:
        """Look, record by record, at what the database does not get or refused."""
        if not numbers:
            return
        index = line_index.index_lines(at.path).records if at.index is None else at.index
        lines = Lines(at.path)
        for number in numbers:
            data = lines.read(
                int(index.offsets[number]), min(int(index.lengths[number]), LARGEST_RECORD_BYTES + 1)
            )
            self._route(exhibit, tally, number, data, at.original, form, shape, mended=number in at.mended)
        lines.close()

    def _route(
        self,
        exhibit: Exhibit,
        tally: Tally,
        number: int,
        data: bytes,
        index: RecordIndex,
        form: str,
        shape: csv_records.CsvShape | None,
        *,
        mended: bool = False,
    ) -> None:
        """Send one record to its table, or to quarantine with the reason."""
        if len(data) > LARGEST_RECORD_BYTES:
            reason = f"the record is longer than {LARGEST_RECORD_BYTES // (1024 * 1024)} MiB"
            self._quarantine_record(tally, exhibit, number, index, reason, data)
            return
        record, salvaged = _read_record(data, form, shape)
        match = self.recogniser.match(record, form) if record else None
        if match is None:
            reason = (
                "it is not a record of a known source" if record and not salvaged else "it cannot be parsed"
            )
            self._quarantine_record(tally, exhibit, number, index, reason, data)
            return
        mapping = self.writer.mapping(match.mapping, match.table)
        inner, partial = self._inner(record, match, mapping)
        if inner is None or not _has_required(inner, mapping):
            self._quarantine_record(
                tally, exhibit, number, index, f"it lacks {_required_name(mapping)}", data
            )
            return
        salvaged = salvaged or partial or mended
        inner[EXHIBIT_KEY], inner[POSITION_KEY], inner[SALVAGED_KEY] = exhibit.id, number, salvaged
        self._batch(match, mapping).add(json_line(inner), exhibit.blake3)
        tally.salvaged += salvaged
        self._count(tally, match, mapping.table, 1)

    def _inner(
        self, record: dict[str, Any], match: Match, mapping: Mapping
    ) -> tuple[dict[str, Any] | None, bool]:
        """Unwrap a record, fill its gaps from outside and spell its keys as the mapping does."""
        value = unwrap(record, match.record)
        partial = False
        if isinstance(value, str):
            value, partial = _read_record(value.encode("utf-8", "surrogatepass"), "json", None)
            partial = partial or not value
        if not isinstance(value, dict):
            value = {}
        if match.prepare:
            return self._preparer(match).prepare(value), partial
        if match.mapping == "table_export":
            names = {key.lower(): key for key in mapping.raw}
            inner = {
                names[base_name(k)]: _cell(v)
                for k, v in value.items()
                if base_name(k) in names and v not in ("", None)
            }
            inner |= {
                key: record[outer]
                for outer, key in match.outer
                if key in mapping.raw and not inner.get(key) and record.get(outer)
            }
            return inner, partial
        keys = [*mapping.raw, *(key for name in match.also for key in self.writer.mapping(name, "").raw)]
        names = {key.lower(): key for key in reversed(keys)}
        inner = {
            names[key.strip().lower()]: item for key, item in value.items() if key.strip().lower() in names
        }
        for outer, key in match.outer:
            if inner.get(key) in (None, "") and _folded(record, outer) not in (None, ""):
                inner[key] = _folded(record, outer)
        return inner, partial

    def _preparer(self, match: Match) -> Any:  # noqa: ANN401 - a Preparer of any reader
        """Return the preparer of the exhibit being read; it remembers what earlier records of that exhibit said."""
        if match.prepare not in self._preparers:
            self._preparers[match.prepare] = importlib.import_module(
                f"mailwitness.readers.{match.prepare}"
            ).Preparer()
        return self._preparers[match.prepare]

    def _batch(self, match: Match, mapping: Mapping) -> Batch:
        key = (match.mapping, mapping.table, match.also)
        batch = self._batches.get(key)
        if batch is not None and batch.size > _BATCH_BYTES:
            self._flush(batch)
            batch = None
        if batch is None:
            self._batch_number += 1
            batch = self._batches[key] = Batch(
                self.work / f"batch{self._batch_number}.lines",
                mapping,
                [self.writer.mapping(name, "") for name in match.also],
            )
        return batch

    def _flush(self, batch: Batch) -> None:
        batch.handle.close()
        name = self.writer.name([*batch.exhibits, str(self._batch_number)], batch.mapping)
        relation = json_relation([batch.path], batch.mapping, largest=batch.largest, own=True)
        stored = self.writer.store_rows(relation, batch.mapping, name)
        if stored.damaged:
            message = f"{len(stored.damaged)} prepared records did not load into {batch.mapping.table}"
            raise AssertionError(message)
        self.segments.append((batch.mapping.table, name))
        for mapping in batch.also:
            self._store_also(
                mapping,
                [*batch.exhibits, str(self._batch_number)],
                json_relation([batch.path], mapping, largest=batch.largest, own=True),
                "",
            )
        batch.path.unlink()

    def _store_also(self, mapping: Mapping, parts: list[str], relation: str, exhibit: str) -> int:
        """Store the rows that the same records give in a further table; return how many."""
        if not exhibit and mapping.accept != "true":
            # Rows that carry their position need no placeholders for the records of other tables.
            relation = f"SELECT * FROM ({relation}) WHERE {mapping.accept}"
        name = self.writer.name(parts, mapping)
        if mapping.each:
            if exhibit:
                own = f"{literal(exhibit)} AS {EXHIBIT_KEY}, row_number() OVER () - 1 AS {POSITION_KEY}, false AS {SALVAGED_KEY}"
                relation, exhibit = f"SELECT *, {own} FROM ({relation})", ""
            relation = f"SELECT *, unnest({mapping.each}) AS mw_each FROM ({relation})"
        stored = self.writer.store_rows(relation, mapping, name, exhibit=exhibit)
        if stored.segment.rows:
            self.segments.append((mapping.table, name))
        return stored.segment.rows

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Load what is still waiting, drop segments of earlier runs, and mark duplicates."""
        for batch in self._batches.values():
            self._flush(batch)
        self._batches.clear()
        self._quarantine_log.close()
        current = set(self.segments)
        for segment in list(self.store.segments()):
            if (segment.table, segment.name) not in current:
                self.store.remove(segment)
        for table in sorted(self.store.tables()):
            self._mark_duplicates(table)
        self._note_times()
        self.spans = self._spans()

    def _mark_duplicates(self, table: str) -> None:
        """List the rows of a table that repeat an earlier row's identity."""
        path = self.store.duplicates_path(table)
        path.unlink(missing_ok=True)
        column = identity_column(table)
        if not column:
            return
        view = self.store.view_sql(table, loader.tables()[table].columns, raw=True)
        key = identifier(column)
        # Comparing hashes first keeps the common case, no duplicates, to one narrow scan.
        repeated = self.connection.execute(
            f"SELECT count(*) FROM (SELECT hash({key}) AS h FROM ({view}) WHERE {key} <> '' GROUP BY h HAVING count(*) > 1)"
        ).fetchall()[0][0]
        if not repeated:
            return
        # The same id with other content is two records: only what no rule could tell apart is a duplicate.
        content = ", ".join(
            identifier(c.name) for c in loader.tables()[table].columns if c.name not in _PLACES
        )
        partial = path.with_name(path.name + ".tmp-new")
        self.connection.execute(
            f"""COPY (SELECT _Exhibit, _Position FROM (
                  SELECT _Exhibit, _Position, row_number() OVER (
                    PARTITION BY {key}, hash({content}) ORDER BY try_cast(substr(_Exhibit, 2) AS BIGINT), _Position) AS n
                  FROM ({view}) WHERE {key} <> '' AND hash({key}) IN (
                    SELECT hash({key}) FROM ({view}) WHERE {key} <> '' GROUP BY 1 HAVING count(*) > 1))
                WHERE n > 1) TO {literal(str(partial))} (FORMAT parquet)"""
        )
        partial.replace(path)
        counted = self.connection.execute(
            f"SELECT _Exhibit, count(*) FROM read_parquet({literal(str(path))}) GROUP BY 1"
        ).fetchall()
        for exhibit, count in counted:
            self.tallies[exhibit].duplicates += count
            self.tallies[exhibit].loaded -= count

    def _note_times(self) -> None:
        """Say where records came without a readable time: time rules cannot see them."""
        for table in sorted(self.store.tables()):
            columns = loader.tables()[table].columns
            view = self.store.view_sql(table, columns)
            missing = self.connection.execute(
                f"SELECT _Exhibit, count(*) FROM ({view}) WHERE TimeGenerated IS NULL GROUP BY 1"
            ).fetchall()
            for exhibit, count in missing:
                self.tallies[exhibit].notes.append(f"{count} records have no readable time")
                self.not_evaluated.append(
                    NotEvaluated(
                        what=f"{count} records of {self.tallies[exhibit].exhibit.path} by time",
                        reason="their time cannot be read",
                        remedy="Look at them with `mailwitness query` and report the time format.",
                        blocking=False,
                    )
                )

    def _spans(self) -> dict[str, tuple[str, str]]:
        """Return first and last event time of each exhibit, ISO 8601 UTC."""
        found: dict[str, tuple[str, str]] = {}
        for table in sorted(self.store.tables()):
            view = self.store.view_sql(table, loader.tables()[table].columns, raw=True)
            cursor = self.connection.execute(
                f"SELECT _Exhibit, strftime(min(TimeGenerated), '%Y-%m-%dT%H:%M:%SZ'), "
                f"strftime(max(TimeGenerated), '%Y-%m-%dT%H:%M:%SZ') FROM ({view}) GROUP BY 1"
            )
            for exhibit, first, last in cursor.fetchall():
                if first:
                    old = found.get(exhibit, (first, last))
                    found[exhibit] = (min(old[0], first), max(old[1], last))
        return found

    # -- counting ----------------------------------------------------------------------------

    def _count(self, tally: Tally, match: Match, table: str, number: int) -> None:
        tally.loaded += number
        tally.tables[table] += number
        tally.sources[match.name] += number

    def _quarantine_record(
        self, tally: Tally, exhibit: Exhibit, number: int, index: RecordIndex, reason: str, data: bytes
    ) -> None:
        self._keep(
            tally,
            exhibit,
            number,
            int(index.lines[number]),
            int(index.offsets[number]),
            int(index.lengths[number]),
            reason,
            data,
        )

    def _quarantine(
        self,
        tally: Tally,
        exhibit: Exhibit,
        number: int,
        damage: Damage,
        path: Path,
        offsets: text.OffsetMap | None = None,
    ) -> None:
        with path.open("rb") as handle:
            handle.seek(damage.offset)
            data = handle.read(min(damage.length, _START_BYTES * 4))
        start, end = damage.offset, damage.offset + damage.length
        if offsets is not None:
            start, end = offsets.original_offset(start), offsets.original_offset(end)
        self._keep(tally, exhibit, number, damage.line, start, end - start, damage.reason, data)

    def _keep(
        self,
        tally: Tally,
        exhibit: Exhibit,
        number: int,
        line: int,
        offset: int,
        length: int,
        reason: str,
        data: bytes,
    ) -> None:
        tally.quarantined += 1
        start = data[: _START_BYTES * 4].decode("utf-8", "backslashreplace")[:_START_BYTES]
        kept = Quarantined(
            exhibit=exhibit.id,
            record=number,
            line=line,
            offset=offset,
            length=length,
            reason=reason,
            start=start,
        )
        self._quarantine_log.write(json.dumps(msgspec.to_builtins(kept), ensure_ascii=True).encode() + b"\n")
        if len(self.quarantine) < _KEPT_IN_REPORT:
            self.quarantine.append(kept)

    def _forget(self, exhibit: Exhibit, tally: Tally) -> None:
        """Take back the counts of an input of which not one record is known: it is not recognised."""
        self.quarantine = [kept for kept in self.quarantine if kept.exhibit != exhibit.id]
        tally.notes.append(f"{tally.records} records of an unknown kind")
        self._not_recognised(exhibit, "JSON of an unknown kind", [])

    def _save_index(
        self, exhibit: Exhibit, index: RecordIndex, offsets: text.OffsetMap | None
    ) -> RecordIndex:
        """Save and return the index of the original."""
        saved = index if offsets is None else offsets.original_index(index)
        saved.save(self.index_path(exhibit))
        return saved

    def index_path(self, exhibit: Exhibit) -> Path:
        """Return where the record index of an exhibit is kept."""
        return self.index_folder / f"{exhibit.blake3[:32]}.npz"

    def _not_recognised(
        self, exhibit: Exhibit, looks_like: str, header: list[str], *, blocking: bool = True
    ) -> None:
        nearest = self.recogniser.nearest(header) if header else ""
        near = f"; the nearest table is {nearest}" if nearest else ""
        self._not_read(
            exhibit,
            f"not recognised: it looks like {looks_like}{near}",
            "Compare it with `mailwitness sources`." if blocking else "Nothing is lost; leave it out.",
            blocking=blocking,
        )

    def _not_read(self, exhibit: Exhibit, reason: str, remedy: str, *, blocking: bool = True) -> None:
        self.tallies[exhibit.id].notes.append(reason)
        self.not_evaluated.append(
            NotEvaluated(what=exhibit.path, reason=reason, remedy=remedy, blocking=blocking)
        )


def _bulk_relation(
    parts: list[Any], starts: list[int], mapping: Mapping
) -> str:  # Any: bulk.Part, imported late
    """Return the SQL of the rows of all stretches, numbered through."""
    pieces = [
        f"SELECT * REPLACE ({POSITION_KEY} + {start} AS {POSITION_KEY}) FROM ({json_relation([part.rows], mapping, largest=part.longest, own=True)})"
        for start, part in zip(starts, parts, strict=True)
        if part.loaded
    ]
    return " UNION ALL ".join(pieces) or json_relation([parts[0].rows], mapping, largest=1, own=True)


def _parse(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return msgspec.json.decode(line.removeprefix(UTF8_BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read_record(data: bytes, form: str, shape: csv_records.CsvShape | None) -> tuple[dict[str, Any], bool]:
    """Parse one record; the second value says that only parts of it could be read."""
    if form == "csv" and shape is not None:
        return _read_row(data, shape), False
    value = _parse(data)
    if isinstance(value, dict):
        return value, False
    return salvage.salvage_json(data)


def _read_row(data: bytes, shape: csv_records.CsvShape) -> dict[str, Any]:
    """Parse one CSV record; a row with another number of cells than the header is damaged."""
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    row = csv_shape.parse_row(iter(lines), shape.delimiter)
    if row is None or row.lines != len(lines) or len(row.cells) != len(shape.header):
        return {}
    return dict(zip(csv_shape.unique_names(shape.header), row.cells, strict=True))


def _folded(record: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - a JSON value
    if name in record:
        return record[name]
    return next((value for key, value in record.items() if key.strip().lower() == name.lower()), None)


def _cell(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Keep a table cell as its text; objects stay objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _has_required(record: dict[str, Any], mapping: Mapping) -> bool:
    keys = [
        key for name in mapping.required for key in ([name] if name in mapping.raw else _identifiers(name))
    ]
    return any(record.get(key) not in (None, "") for key in keys)


def _identifiers(sql: str) -> list[str]:
    return re.findall(r'"([^"]+)"', sql)


def _required_name(mapping: Mapping) -> str:
    return " and ".join(mapping.required) if mapping.required[0] in mapping.raw else "a time"


def _canonical(header: list[str], mapping: Mapping, match: Match) -> dict[str, str]:
    """Pair a table's columns with raw keys; of several columns for one key the first wins."""
    if match.record:
        return {column: column.strip() for column in header}
    names = {key.lower(): key for key in mapping.raw}
    pairs: dict[str, str] = {}
    for column in header:
        folded = column.strip().lower() if column.strip().lower() in names else base_name(column)
        if folded in names and names[folded] not in pairs.values():
            pairs[column] = names[folded]
    return pairs


def _parquet_cell(column: str, kind: str, wanted: str) -> str:
    name = identifier(column)
    if wanted == "JSON":
        return (
            f"CASE WHEN {name} IS NULL THEN NULL ELSE mw_dynamic({name}::VARCHAR) END"
            if kind == "VARCHAR"
            else f"to_json({name})"
        )
    if kind.startswith("TIMESTAMP WITH"):
        return f"strftime({name}::TIMESTAMPTZ AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f')"
    return f"CAST({name} AS VARCHAR)"


def _first_line(error: Exception, place: str, shown: str) -> str:
    text = str(error).replace(place, shown)
    return text.splitlines()[0][:200] if text else type(error).__name__
