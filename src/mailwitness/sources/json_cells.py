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
from mailwitness.readers import csv_records, csv_shape, csv_texts
from mailwitness.readers.csv_index import CsvIndexer
from mailwitness.readers.csv_quotes import NEWLINE
from mailwitness.readers.kept_memory import keep_memory
from mailwitness.sources import mended_cells, routing
from mailwitness.sources.routing import Records, parse
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailwitness.readers.csv_index import Stretch
    from mailwitness.readers.csv_quotes import Bytes
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened

# Longer texts are looked at by themselves, so that the database can read in small pieces; see `loading.line_options`.
_LONGEST_LINE = (4 << 20) - 4096
# Records that show which cells are needed.
_SAMPLE_RECORDS = 200
# A cell goes with the text when one in so many records needs it.
_NEEDED_BY = 20
# A record without a text is a line too, which the database refuses.
_NO_TEXT = np.array([csv_texts.NO_TEXT], np.uint8)
_FILLED_BYTES = 1 << 20
_ENCODER = msgspec.json.Encoder()


def add(intake: Intake, opened: Opened, shape: csv_shape.CsvShape, match: Match) -> bool:
    """Load an exhibit; false when its records have to be read in another way."""
    from mailwitness import served_files  # noqa: PLC0415 - slow to import, only for large tables

    layout = _layout(opened, shape, match, intake.writer.mapping(match.mapping, match.table))
    if layout is None:
        return False
    lines = _Lines(opened, shape, layout)
    parts = [opened.exhibit.blake3, opened.exhibit.id]
    with served_files.served(intake.connection, lines.size, lines) as name:
        relation = layout.relation(name)
        stored = intake.segments.store(parts, layout.mapping, relation, exhibit=opened.exhibit.id)
    index = lines.places.index()
    if stored.rows != len(index):
        intake.segments.withdraw(stored)
        return False
    opened.tally.records += len(index)
    opened.tally.count(match, layout.mapping.table, stored.segment.rows)
    at = Records(opened.path, index, intake.save_index(opened, index), shape=shape)
    left, decided = mended_cells.load(intake, opened, match, at, stored.damaged)
    routing.route(intake, opened, at, left, decided)
    return True


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
        """Return the name under which a cell goes with the text: a short one, for there is not much room before it."""
        return f"mw_{list(self.beside).index(key)}"

    def relation(self, name: str) -> str:
        """Return the SQL that reads a file of lines."""
        names = {self.member(key): "VARCHAR" for key in self.beside}
        with_cells = msgspec.structs.replace(self.mapping, raw=names | self.mapping.raw)
        inner = json_relation([name], with_cells, largest=0, own=False)
        filled = ", ".join(
            f"coalesce(nullif({identifier(key)}, ''), {identifier(self.member(key))}) AS {identifier(key)}"
            for key in self.beside
        )
        return f"SELECT * REPLACE ({filled}) FROM ({inner})" if filled else inner


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
    """The lines of a file as lines of JSON of the same length; see `csv_texts.Texts`.

    Attributes:
        size: bytes of all of them, with a line end behind the last.
        places: where the records are that were passed.
    """

    def __init__(self, opened: Opened, shape: csv_shape.CsvShape, layout: _Layout) -> None:
        self._path: Path = opened.path
        self.size = opened.path.stat().st_size + 1
        names = csv_shape.unique_names(shape.header)
        self._finder = csv_texts.TextFinder(names.index(layout.record), len(names), shape.delimiter)
        self._beside = [
            (b'"%b":' % layout.member(key).encode(), names.index(column))
            for key, column in layout.beside.items()
        ]
        self.places = CsvIndexer(shape, line_ends=self._finder.line_ends)

    def __iter__(self) -> Iterator[Bytes]:
        """Read the file; the places of all records are known afterwards."""
        # Nothing is made here that is larger than a stretch.
        keep_memory()
        made = 0
        for stretch in self.places.stretches(self._path):
            yield from _filler(stretch.offset - made)
            found, self._finder.found = self._finder.found, None
            if found is None and stretch.is_clean:
                found = self._finder.find(np.frombuffer(bytes(stretch.raw) + b"\n", np.uint8))
            is_usable = found is not None and found.count == stretch.last - stretch.first
            made = stretch.offset
            for piece in (
                self._with_cells(found)
                if found is not None and is_usable and len(found.data) <= _LONGEST_LINE
                else self._without_texts(stretch)
            ):
                made += len(piece)
                yield piece

    def _without_texts(self, stretch: Stretch) -> Iterator[Bytes]:
        """Yield a line for each record, with line ends behind it in the place of all that it holds."""
        made = stretch.offset
        for number in range(stretch.first, stretch.last):
            place = self.places.place(number)
            yield from _filler(place.offset - made)
            yield _NO_TEXT
            yield from _filler(place.length - 1)
            made = place.offset + place.length

    def _with_cells(self, found: csv_texts.Texts) -> Iterator[Bytes]:
        """Yield the lines, in each of them the members that stand for its other cells; where there is no room for them it is no record."""
        content = found.content
        if self._beside:
            starts = found.starts[found.lines].tolist()
            columns = [found.cells(column) for _, column in self._beside]
            begins, stops = found.begins.tolist(), found.stops.tolist()
            for cells, start, begin, stop in zip(
                zip(*columns, strict=True), starts, begins, stops, strict=True
            ):
                members = self._members(cells)
                if members and len(members) <= begin + 1 - start:
                    content[begin + 1 - len(members) : begin + 1] = np.frombuffer(members, np.uint8)
                else:
                    content[start:stop] = ord(" ")
                    content[start] = csv_texts.NO_TEXT
        yield content

    def _members(self, cells: tuple[bytes, ...]) -> bytes:
        """Return the start of an object with some cells; nothing where they are no text."""
        try:
            return b"{" + b"".join(
                b"%b%b," % (name, _ENCODER.encode(cell.decode()))
                for (name, _), cell in zip(self._beside, cells, strict=True)
            )
        except UnicodeDecodeError:
            return b""


def _filler(size: int) -> Iterator[Bytes]:
    """Yield so many line ends."""
    for start in range(0, size, _FILLED_BYTES):
        yield np.full(min(_FILLED_BYTES, size - start), NEWLINE, np.uint8)
