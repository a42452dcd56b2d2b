"""Records of a large text log as the database takes them: columns that point into the file, each record with its place.

A record is a line that is not blank, with the indented lines behind it. It becomes one row, in the order of the file; what is no
single line of the usual form becomes a row of nulls, so that the number of a row is the number of its record.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import index as line_index
from mailwitness.readers.byte_words import PADDING, keep_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mailwitness.readers.index import Positions

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.int64] | NDArray[np.uint32]
    Split = Callable[["Records"], pa.RecordBatch]

# Text that becomes one batch; the database reads several at once.
CHUNK_BYTES = 8 << 20
# So much of a record without an end is looked at.
_MOST_BYTES = 32 << 20
# Shorter strings stand inside a view itself, longer ones by their place.
_INSIDE_BYTES = 12
_NEWLINE, _RETURN, _TAB, _BLANK, _HIGH = 0x0A, 0x0D, 0x09, 0x20, 0x80


class Records(NamedTuple):
    """The records of one chunk.

    Attributes:
        text: the chunk.
        data: its bytes as numbers.
        starts: where each record starts.
        stops: where its first line stops, line end left out.
        ends: where it ends, line ends included.
        lines: number of its first line in the chunk, from 0.
    """

    text: memoryview
    data: Bytes
    starts: Positions
    stops: Positions
    ends: Positions
    lines: Positions


class LineBatches:
    """The records of one file as batches, and, once they are read, their places."""

    def __init__(self, path: Path, schema: pa.Schema, split: Split) -> None:
        """Take the file, the columns, and what makes a batch of the records of a chunk."""
        keep_memory()
        self._path = path
        self._schema = schema
        self._split = split
        self._places: tuple[list[Places], ...] = ([], [], [])

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches for one reading."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def places(self) -> list[Places]:
        """Return offset, length (line ends included) and line of all records, each as one array."""
        nothing = np.zeros(0, dtype=np.int64)
        found: list[Any] = [
            np.concatenate(part) if part else nothing for part in self._places
        ]  # Any: arrays of numbers
        return found

    def portions(self, most: int) -> Iterator[pa.Table]:
        """Yield tables of about so many bytes of the file, for one reading."""
        batches: list[pa.RecordBatch] = []
        size = 0
        for batch in self._batches():
            batches.append(batch)
            size += CHUNK_BYTES
            if size >= most:
                yield pa.Table.from_batches(batches)
                batches, size = [], 0
        if batches:
            yield pa.Table.from_batches(batches)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        line = 1
        with (
            self._path.open("rb") as handle,
            mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            for base, end, after in _cuts(content):
                # A copy: the map is closed before the last batch is forgotten.
                found = find(memoryview(content[base : end + PADDING])[: end - base])
                if len(found.starts):
                    found.ends[-1] += after - end
                    columns = (found.starts + base, found.ends - found.starts, found.lines + line)
                    for part, column in zip(self._places, columns, strict=True):
                        part.append(_narrow(column))
                    yield self._split(found)
                line += int(np.count_nonzero(found.data == _NEWLINE)) + _lines_between(content, end, after)


def taken(table: pa.Table, rows: Positions) -> pa.Table:
    """Return some rows, in ascending order, of a table in which none of them is null: the texts themselves stay where they are."""
    batches = []
    start = 0
    for batch in table.to_batches():
        first, last = np.searchsorted(rows, (start, start + len(batch)))
        mine = rows[first:last] - start
        batches.append(
            pa.RecordBatch.from_arrays([_some(column, mine) for column in batch.columns], batch.schema.names)
        )
        start += len(batch)
    return pa.Table.from_batches(batches)


def _some(column: pa.Array, rows: Positions) -> pa.Array:
    if column.type != pa.string_view():
        return column.take(pa.array(rows))
    _, views, *texts = column.buffers()
    chosen = np.frombuffer(views, dtype="<u8").reshape(-1, 2)[rows + column.offset]
    return pa.Array.from_buffers(
        pa.string_view(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(chosen)), *texts]
    )


def find(text: memoryview) -> Records:
    """Find the records of text that begins with one and ends with a whole line."""
    data = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if not len(ends) or ends[-1] != len(data) - 1:
        ends = np.append(ends, len(data))
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    blank = line_index.blank_lines(data, starts, ends)
    first = data[np.minimum(starts, len(data) - 1)]
    goes_on = ((first == _BLANK) | (first == _TAB)) & ~blank
    goes_on[1:] &= ~blank[:-1]
    goes_on[0] = False
    heads = np.flatnonzero(~blank & ~goes_on)
    others = np.append(np.flatnonzero(~goes_on), len(ends))
    last = others[np.searchsorted(others, heads) + 1] - 1
    return Records(text, data, starts[heads], ends[heads], np.minimum(ends[last] + 1, len(data)), heads)


def windows(data: Bytes, starts: Positions, width: int) -> Bytes:
    """Return the bytes from each start on as one row of a matrix; what would lie behind the data is NUL."""
    safe = np.minimum(starts, max(len(data) - width, 0))
    if len(data) < width:
        data = np.append(data, np.zeros(width, dtype=np.uint8))
    rows: Bytes = np.lib.stride_tricks.sliding_window_view(data, width)[safe]
    for row in np.flatnonzero(safe != starts).tolist():
        piece = data[starts[row] :]
        rows[row] = 0
        rows[row, : len(piece)] = piece
    return rows


def strings(
    found: Records,
    starts: Positions,
    stops: Positions,
    is_valid: NDArray[np.bool_],
    *,
    is_ascii: bool = False,
) -> pa.Array:
    """Return the text between starts and stops as strings that point into the chunk; null where it is not valid.

    Bytes that are no UTF-8 are shown as escapes, as everywhere; `is_ascii` says that there are none.
    """
    lengths = np.where(is_valid, stops - starts, 0)
    views = np.zeros((len(starts), 4), dtype="<i4")
    rows = windows(found.data, starts, _INSIDE_BYTES)
    is_inside = lengths <= _INSIDE_BYTES
    rows *= (np.arange(_INSIDE_BYTES) < np.where(is_inside, lengths, 4)[:, None]).astype(np.uint8)
    views[:, 1:] = rows.view("<i4")
    views[:, 0] = lengths
    views[:, 3] = np.where(is_inside, views[:, 3], starts)
    buffers = [pa.py_buffer(found.text)]
    if not is_ascii:
        buffers += _escapes(found, starts, stops, views, is_valid)
    valid = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(pa.string_view(), len(starts), [valid, pa.py_buffer(views), *buffers])


def _escapes(
    found: Records, starts: Positions, stops: Positions, views: NDArray[np.int32], is_valid: NDArray[np.bool_]
) -> list[pa.Buffer]:
    """Point strings that are no UTF-8 to text in which the wrong bytes are escapes; return the buffer of that text."""
    high = np.flatnonzero(found.data >= _HIGH)
    numbers = np.searchsorted(starts, high, side="right") - 1
    numbers = np.unique(numbers[(numbers >= 0) & (high < stops[numbers])])
    shown = bytearray()
    for number in numbers[is_valid[numbers]].tolist():
        raw = bytes(found.text[int(starts[number]) : int(stops[number])])
        text = raw.decode("utf-8", "backslashreplace").encode("utf-8")
        if text != raw:
            prefix = int.from_bytes(text[:4], "little", signed=True)
            # The shortest escape, of one byte, has four letters: one such string alone can stand inside its view.
            if len(text) <= _INSIDE_BYTES:
                views[number] = (len(text), *np.frombuffer(text.ljust(_INSIDE_BYTES, b"\0"), dtype="<i4"))
            else:
                views[number] = (len(text), prefix, 1, len(shown))
                shown += text
    return [pa.py_buffer(bytes(shown))] if shown else []


def _narrow(numbers: Positions) -> Places:
    """Halve what the places of many millions of records cost."""
    return numbers.astype(np.uint32) if int(numbers.max()) < 1 << 32 else numbers


def _cuts(content: mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Yield start and end of whole records, and where the next ones start: later than the end behind one without end."""
    start = 0
    while start < len(content):
        cut = _record_before(content, start, start + CHUNK_BYTES)
        if not cut:
            cut = _record_after(content, start + CHUNK_BYTES)
        yield start, min(cut, start + _MOST_BYTES), cut
        start = cut


def _record_before(content: mmap.mmap, start: int, end: int) -> int:
    """Return where the last record before a place starts; 0 when it is the first one, and the size at the end."""
    if end >= len(content):
        return len(content)
    place = content.rfind(b"\n", start, end)
    while place >= 0:
        if content[place + 1 : place + 2] not in {b" ", b"\t"}:
            return place + 1
        place = content.rfind(b"\n", start, place)
    return 0


def _record_after(content: mmap.mmap, place: int) -> int:
    """Return where the next record behind a place starts."""
    while (place := content.find(b"\n", place) + 1) > 0:
        if content[place : place + 1] not in {b" ", b"\t"}:
            return place
    return len(content)


def _lines_between(content: mmap.mmap, start: int, end: int) -> int:
    """Count the line ends of a part that is not looked at."""
    return sum(
        content[place : min(place + CHUNK_BYTES, end)].count(b"\n")
        for place in range(start, end, CHUNK_BYTES)
    )
