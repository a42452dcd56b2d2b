"""Records of a large text log, stretch after stretch, each record with its place.

A record is a line that is not blank, with the indented lines behind it.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from mailwitness.readers import index as line_index
from mailwitness.readers.byte_words import PADDING
from mailwitness.readers.file_view import FileView
from mailwitness.readers.kept_memory import keep_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from mailwitness.readers.index import Positions

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.int64] | NDArray[np.uint32]

T = TypeVar("T")

# Text that becomes one batch; the database reads several at once.
CHUNK_BYTES = 4 << 20
# So many stretches may wait to be asked for.
_MOST_AHEAD = 6
# So much of a record without an end is looked at.
_MOST_BYTES = 32 << 20
_NEWLINE, _TAB, _BLANK = 0x0A, 0x09, 0x20


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


class LineBatches(Generic[T]):
    """The records of one file, stretch after stretch, and, once they are read, their places."""

    def __init__(self, path: Path, split: Callable[[Records], T]) -> None:
        """Take the file, and what makes something of the records of a stretch."""
        keep_memory()
        self._path = path
        self._split = split
        self._places: tuple[list[Places], ...] = ([], [], [])
        self._line = 1

    def places(self) -> list[Places]:
        """Return offset, length (line ends included) and line of all records, each as one array."""
        nothing = np.zeros(0, dtype=np.int64)
        found: list[Any] = [
            np.concatenate(part) if part else nothing for part in self._places
        ]  # Any: arrays of numbers
        return found

    def stretches(self) -> Iterator[T]:
        """Yield what was made of each stretch of the file that holds a record, in their order, for one reading.

        One thread makes them ahead. Two that make them would share the interpreter, and together cost half as much again.
        """
        with self._path.open("rb", buffering=0) as handle, ThreadPoolExecutor(1) as pool:
            content = FileView(handle)
            cuts = _cuts(content)
            ahead: deque[Future[_Made[T]]] = deque()
            while True:
                for cut in islice(cuts, _MOST_AHEAD - len(ahead)):
                    ahead.append(pool.submit(self._look, content, cut))
                if not ahead:
                    return
                yield from self._placed(ahead.popleft().result())

    def _look(self, content: FileView, cut: tuple[int, int, int]) -> _Made[T]:
        """Make something of a stretch, unless there is nothing in it."""
        base, end, after = cut
        text = memoryview(content[base : end + PADDING])[: end - base]
        if not text:
            # The file has become shorter.
            return _Made([], (), 0)
        found = find(text)
        lines = int(np.count_nonzero(found.data == _NEWLINE)) + _lines_between(content, end, after)
        if not len(found.starts):
            return _Made([], (), lines)
        found.ends[-1] += after - end
        places = found.starts + base, found.ends - found.starts, found.lines
        return _Made([self._split(found)], places, lines)

    def _placed(self, made: _Made[T]) -> list[T]:
        """Note where the records of the next stretch stand."""
        if made.places:
            offsets, lengths, lines = made.places
            for part, column in zip(self._places, (offsets, lengths, lines + self._line), strict=True):
                part.append(_narrow(column))
        self._line += made.lines
        return made.found


class _Made(NamedTuple, Generic[T]):
    """What was made of a stretch: nothing or one thing, offset, length and line in it of its records, and how many lines it has."""

    found: list[T]
    places: tuple[Positions, ...]
    lines: int


def find(text: memoryview) -> Records:
    """Find the records of text that begins with one and ends with a whole line."""
    data = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if not len(ends) or ends[-1] != len(data) - 1:
        ends = np.append(ends, len(data))
    starts = line_index.line_starts(ends)
    first = data[np.minimum(starts, len(data) - 1)]
    if int(first.min()) > _BLANK:
        # Neither blank nor indented lines: each is a record.
        return Records(text, data, starts, ends, np.minimum(ends + 1, len(data)), np.arange(len(starts)))
    blank = line_index.blank_lines(data, starts, ends)
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
        piece = data[starts[row] : starts[row] + width]
        rows[row] = 0
        rows[row, : len(piece)] = piece
    return rows


def _narrow(numbers: Positions) -> Places:
    """Halve what the places of many millions of records cost."""
    return numbers.astype(np.uint32) if int(numbers.max()) < 1 << 32 else numbers


def _cuts(content: FileView) -> Iterator[tuple[int, int, int]]:
    """Yield start and end of whole records, and where the next ones start: later than the end behind one without end."""
    start = 0
    while start < len(content):
        cut = _record_before(content, start, start + CHUNK_BYTES)
        if not cut:
            cut = _record_after(content, start + CHUNK_BYTES)
        yield start, min(cut, start + _MOST_BYTES), cut
        start = cut


def _record_before(content: FileView, start: int, end: int) -> int:
    """Return where the last record before a place starts; 0 when it is the first one, and the size at the end."""
    if end >= len(content):
        return len(content)
    place = content.rfind(b"\n", start, end)
    while place >= 0:
        if content[place + 1 : place + 2] not in {b" ", b"\t"}:
            return place + 1
        place = content.rfind(b"\n", start, place)
    return 0


def _record_after(content: FileView, place: int) -> int:
    """Return where the next record behind a place starts."""
    while (place := content.find(b"\n", place) + 1) > 0:
        if content[place : place + 1] not in {b" ", b"\t"}:
            return place
    return len(content)


def _lines_between(content: FileView, start: int, end: int) -> int:
    """Count the line ends of a part that is not looked at."""
    return sum(
        content[place : min(place + CHUNK_BYTES, end)].count(b"\n")
        for place in range(start, end, CHUNK_BYTES)
    )
