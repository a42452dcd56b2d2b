"""Load large CSV files whose records are JSON texts in a cell: the texts go to the database as lines of JSON.

The database takes a line of JSON apart in half the time that it needs for a text in a cell. The other cells only fill gaps of the
records: a cell that many records need goes with the text, and a record that needs one of the others is looked at by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mailwitness.content.schemas import Mapping
from mailwitness.loading import json_relation
from mailwitness.readers import byte_words, csv_records, csv_shape, csv_texts
from mailwitness.readers.csv_index import CsvIndexer
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import line_portions, mended_cells, routing
from mailwitness.sources.routing import Records, parse
from mailwitness.tables import STATE, identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mailwitness.loading import Stored
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened

# Longer texts are looked at by themselves, so that the database can read in small pieces; see `loading.line_options`.
_LONGEST_LINE = (4 << 20) - 4096
# Records that show which cells are needed.
_SAMPLE_RECORDS = 200
# A cell goes with the text when one in so many records needs it.
_NEEDED_BY = 20
# Of equal names the first counts, so that no text can say where it stands itself.
_EMPTY = b'\n{"%b":%%d}' % POSITION_KEY.encode()
_ENCODER = msgspec.json.Encoder()


def add(intake: Intake, opened: Opened, shape: csv_shape.CsvShape, match: Match) -> bool:
    """Load an exhibit; false when its records have to be read in another way."""
    layout = _layout(opened, shape, match, intake.writer.mapping(match.mapping, match.table))
    if layout is None:
        return False
    lines = _Lines(opened, shape, layout)
    portions = line_portions.files(iter(lines), intake.work, f"{opened.exhibit.id}.lines")
    stored = [
        intake.segments.store(
            [opened.exhibit.blake3, opened.exhibit.id, str(number)],
            layout.mapping,
            layout.relation(path, opened),
        )
        for number, path in enumerate(portions)
    ]
    index = lines.places.index()
    if sum(one.rows for one in stored) != len(index):
        for one in stored:
            intake.segments.withdraw(one)
        return False
    opened.tally.records += len(index)
    opened.tally.count(match, layout.mapping.table, sum(one.segment.rows for one in stored))
    at = Records(opened.path, index, intake.save_index(opened, index), shape=shape)
    refused = _refused(intake, stored)
    left, decided = mended_cells.load(intake, opened, match, at, refused)
    routing.route(intake, opened, at, left, decided)
    return True


def _refused(intake: Intake, stored: Iterable[Stored]) -> list[int]:
    """Return the numbers of the records that did not become rows: a line that is no JSON tells no number, but which line it is."""
    found: list[int] = []
    first = 0
    for one in stored:
        if one.damaged:
            file = f"read_parquet({literal(str(intake.store.path(one.segment)))}, file_row_number = true)"
            asked = f"SELECT file_row_number FROM {file} WHERE {STATE} = 1 ORDER BY 1"
            found += [first + line for (line,) in intake.connection.execute(asked).fetchall()]
        first += one.rows
    return found


class _Layout(msgspec.Struct, frozen=True):
    """Which cells of a table are read, and how.

    Attributes:
        record: column of the JSON texts.
        beside: columns that go with each text, by the raw key that they fill.
        mapping: how lines become rows; a record is none that lacks a key which another column may fill.
    """

    record: str
    beside: dict[str, str]
    mapping: Mapping

    def member(self, key: str) -> str:
        """Return the name under which a cell goes with the text."""
        return f"mw_outer_{key}"

    def relation(self, path: Path, opened: Opened) -> str:
        """Return the SQL that reads a file of lines."""
        names = {POSITION_KEY: "BIGINT"} | {self.member(key): "VARCHAR" for key in self.beside}
        with_cells = msgspec.structs.replace(self.mapping, raw=self.mapping.raw | names)
        inner = json_relation([path], with_cells, largest=0, own=False)
        filled = ", ".join(
            f"coalesce(nullif({identifier(key)}, ''), {identifier(self.member(key))}) AS {identifier(key)}"
            for key in self.beside
        )
        shown = f"* REPLACE ({filled})" if filled else "*"
        return f"SELECT {shown}, {literal(opened.exhibit.id)} AS {EXHIBIT_KEY}, false AS {SALVAGED_KEY} FROM ({inner})"


def _layout(opened: Opened, shape: csv_shape.CsvShape, match: Match, mapping: Mapping) -> _Layout | None:
    """Decide by the first records which cells go with the texts; None when there is no column of texts."""
    names: dict[str, str] = {}
    for column in csv_shape.unique_names(shape.header):
        names.setdefault(column.strip().lower(), column)
    record = names.get(match.record.lower(), "")
    if not record or match.prepare:
        return None
    fills = {
        key: names[outer.lower()]
        for outer, key in match.outer
        if outer.lower() in names and mapping.raw.get(key) == "VARCHAR"
    }
    needed = _needed(opened, shape, record, fills)
    beside = {key: fills[key] for key in needed}
    return _Layout(record, beside, _strict(mapping, [key for key in fills if key not in beside]))


def _needed(opened: Opened, shape: csv_shape.CsvShape, record: str, fills: dict[str, str]) -> list[str]:
    """Return the raw keys that many of the first records lack and a column fills."""
    first = next(iter(csv_records.CsvRecords(opened.path, shape, columns=[record, *fills.values()])), None)
    if first is None:
        return []
    cells = first.rows.slice(0, _SAMPLE_RECORDS).to_pydict()
    records = [parse(text.encode()) for text in cells[record]]
    lacking = {
        key: sum(
            isinstance(one, dict) and one.get(key) in (None, "") and cell != ""
            for one, cell in zip(records, cells[column], strict=True)
        )
        for key, column in fills.items()
    }
    return [key for key, count in lacking.items() if count * _NEEDED_BY > len(records)]


def _strict(mapping: Mapping, keys: list[str]) -> Mapping:
    """Return the mapping by which a record counts as damaged that lacks one of some keys."""
    if not keys:
        return mapping
    filled = " AND ".join(f"{identifier(key)} <> ''" for key in keys)
    parts = [f"nullif({identifier(n)}::VARCHAR, '')" if n in mapping.raw else n for n in mapping.required]
    required = f"CASE WHEN {filled} THEN coalesce({', '.join(parts)}, NULL) END"
    return msgspec.structs.replace(mapping, required=[required])


class _Lines:
    """The records of a file as lines of JSON, one for each; an object without their members for those that have no usual text."""

    def __init__(self, opened: Opened, shape: csv_shape.CsvShape, layout: _Layout) -> None:
        self._path = opened.path
        names = csv_shape.unique_names(shape.header)
        self._finder = csv_texts.TextFinder(names.index(layout.record), len(names), shape.delimiter)
        self._beside = [
            (b'"%b":' % layout.member(key).encode(), names.index(column))
            for key, column in layout.beside.items()
        ]
        self.places = CsvIndexer(shape, line_ends=self._finder.line_ends)

    def __iter__(self) -> Iterator[bytes]:
        """Read the file; the places of all records are known afterwards."""
        # Nothing is made here that is larger than a stretch.
        byte_words.keep_memory()
        for stretch in self.places.stretches(self._path):
            count = stretch.last - stretch.first
            found, self._finder.found = self._finder.found, None
            if found is None and stretch.is_clean:
                found = self._finder.find(np.frombuffer(bytes(stretch.raw) + b"\n", np.uint8))
            usable = found is not None and found.count == count
            yield b"".join(self._lines(found if usable else None, stretch.first, count))

    def _lines(self, found: csv_texts.Texts | None, first: int, count: int) -> list[bytes | memoryview]:
        """Return the pieces of the lines of some records."""
        empty = [_EMPTY % number for number in range(first, first + count)]
        if found is None:
            return list(empty)
        # A line is three pieces: to join them costs less than to write each line by itself.
        pieces: list[bytes | memoryview] = [b""] * (3 * count)
        pieces[::3] = empty
        texts = found.members()
        for record, cells, text in zip(found.records.tolist(), self._cells(found), texts, strict=True):
            if cells is not None and len(text) <= _LONGEST_LINE:
                place = 3 * record
                pieces[place] = empty[record][:-1] + b","
                pieces[place + 1] = cells
                pieces[place + 2] = text
        return pieces

    def _cells(self, found: csv_texts.Texts) -> list[bytes | None]:
        """Return the members of each line that stand for its other cells; None where they are no text."""
        if not self._beside:
            return [b""] * len(found.records)
        columns = [found.cells(column) for _, column in self._beside]
        return [self._members(row) for row in zip(*columns, strict=True)]

    def _members(self, cells: tuple[bytes, ...]) -> bytes | None:
        try:
            return b"".join(
                b"%b%b," % (name, _ENCODER.encode(cell.decode()))
                for (name, _), cell in zip(self._beside, cells, strict=True)
            )
        except UnicodeDecodeError:
            return None
