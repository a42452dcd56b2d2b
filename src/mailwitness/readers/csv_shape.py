"""Recognising a CSV file: delimiter, header, and where the data begins."""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from mailwitness.readers.blocks import MAX_RECORD_BYTES, UTF8_BOM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DELIMITERS = (",", ";", "\t", "|")
_CHECKED_RECORDS = 20

# The csv module refuses cells above 128 KiB unless told otherwise; audit data of that size exists.
csv.field_size_limit(MAX_RECORD_BYTES)


class CsvShape(msgspec.Struct, frozen=True):
    """Describe how a CSV file is written.

    `header` holds the cells as they stand in the file, `has_bom` the UTF-8 byte order mark, `quote` the quote
    character, `data_offset` and `data_line` the place of the first byte after the header.
    """

    delimiter: str
    header: list[str]
    has_bom: bool
    quote: str
    data_offset: int
    data_line: int


class Row(msgspec.Struct, frozen=True):
    """Hold the cells of one record, and how many physical lines it took."""

    cells: list[str]
    lines: int


def parse_row(lines: Iterable[str], delimiter: str) -> Row | None:
    """Parse one record from physical lines given with their line ends; None when none can be read.

    No more lines are drawn than the record needs, so the count tells whether a quote was still open.
    """
    drawn = 0

    def counted() -> Iterator[str]:
        nonlocal drawn
        for line in lines:
            drawn += 1
            yield line

    try:
        cells = next(csv.reader(counted(), delimiter=delimiter), None)
    except csv.Error:
        return None
    return None if cells is None else Row(cells, drawn)


def is_one_line(line: bytes, delimiter: str) -> bool:
    """Say whether a line, given without its end, is a record that does not go on in the next one."""
    row = parse_row([line.decode("utf-8", "replace") + "\n", ""], delimiter)
    return row is not None and row.lines == 1


def unique_names(header: list[str]) -> list[str]:
    """Return column names that differ even when case is ignored; a name met again gets a number."""
    taken: set[str] = set()
    names = []
    for place, cell in enumerate(header, start=1):
        stem = cell.strip() or f"column_{place}"
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def sniff_csv(head: bytes) -> CsvShape | None:
    """Return the shape of a CSV file from its first bytes (64 KiB or more are advisable), or None.

    Accepts what Export-Csv, Excel and the portals write: quoted or bare header cells, a byte order mark, a
    first line `#TYPE ...`, a first line `sep=;`, blank lines before the header. A file counts as CSV when its
    first record has two cells or more and most of the next records have as many.
    """
    has_bom = head.startswith(UTF8_BOM)
    offset = len(UTF8_BOM) if has_bom else 0
    delimiters: tuple[str, ...] = _DELIMITERS
    line = 1
    while (end := head.find(b"\n", offset)) >= 0:
        text = head[offset:end].strip().lower()
        if text.startswith(b"sep=") and len(text) == len(b"sep=;"):
            delimiters = (text[-1:].decode("latin-1"),)
        elif text and not text.startswith(b"#type "):
            break
        offset, line = end + 1, line + 1
    shapes = [shape for delimiter in delimiters if (shape := _shape(head, offset, line, delimiter))]
    best = max(shapes, key=lambda shape: len(shape.header), default=None)
    if best is None or not has_bom:
        return best
    return msgspec.structs.replace(best, has_bom=True)


def _shape(head: bytes, offset: int, line: int, delimiter: str) -> CsvShape | None:
    lines = [piece.decode("utf-8", "replace") + "\n" for piece in head[offset:].split(b"\n")]
    header = parse_row(lines, delimiter)
    if header is None or len(header.cells) <= 1 or header.cells[0].lstrip()[:1] in {"{", "["}:
        return None
    if not any(cell.strip() for cell in header.cells) or not _agrees(lines, header, delimiter):
        return None
    place = offset
    for _ in range(header.lines):
        end = head.find(b"\n", place)
        place = len(head) if end < 0 else end + 1
    return CsvShape(
        delimiter, header.cells, has_bom=False, quote='"', data_offset=place, data_line=line + header.lines
    )


def _agrees(lines: list[str], header: Row, delimiter: str) -> bool:
    """Say whether most of the records after the header have as many cells; the last one may be cut off."""
    place, good, bad = header.lines, 0, 0
    while place < len(lines) and good + bad < _CHECKED_RECORDS:
        row = parse_row(islice(lines, place, None), delimiter)
        if row is None or row.lines + place >= len(lines):
            break
        place += row.lines
        good += len(row.cells) == len(header.cells)
        bad += len(row.cells) not in {len(header.cells), 0}
    return good >= bad
