"""Finding the records of a CSV file: quotes decide which line ends count."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mailwitness.readers.blocks import MAX_RECORD_BYTES
from mailwitness.readers.csv_quotes import CARRIAGE_RETURN, NEWLINE, read_quotes
from mailwitness.readers.csv_shape import CsvShape, is_one_line, parse_row
from mailwitness.readers.index import Location, RecordIndex, build_index, line_starts
from mailwitness.readers.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Positions = NDArray[np.int64]

_SMALLEST = 64 << 10
_LARGEST = 1 << 20
# A record that does not end within this is followed line by line: a stretch of nothing but quotes must not
# cost a hundred bytes of memory a byte.
_LONGEST = 4 << 20
# After a stretch whose lines were not its records, so many more are looked at quote by quote.
_MOST_DOUBTS = 64


class Stretch(msgspec.Struct, frozen=True):
    """Consecutive records, from `first` up to but without `last`.

    `offset` is the place in the file of the first byte that was looked at; in front of it, and behind what was, there are only line ends.
    `raw` are their bytes from the first byte of the first to the last byte of the last one; empty for a single record that is
    longer than allowed. `is_clean` says that every quote is where RFC 4180 wants it and every carriage return before a newline.
    """

    first: int
    last: int
    offset: int
    raw: memoryview | bytes
    is_clean: bool


def index_csv(path: Path, shape: CsvShape, *, max_record: int = MAX_RECORD_BYTES) -> RecordIndex:
    """Return the place of every data record of a CSV file, damaged ones included, header and blank lines not.

    Line ends inside quoted cells belong to the record. Where quotes are misplaced, the record ends before the
    next physical line that by itself has the right number of cells, so a quote that never closes costs one
    record. Memory: a few times `max_record` at worst, usually 10 MB, plus 24 bytes a record.
    """
    indexer = CsvIndexer(shape, max_record=max_record)
    for _ in indexer.stretches(path):
        pass
    return indexer.index()


def _lengths(data: NDArray[np.uint8], ends: Positions) -> Positions:
    """Return the bytes of each record without its line end."""
    lengths: Positions = ends - line_starts(ends)
    lengths -= (data[ends - 1] == CARRIAGE_RETURN) & (lengths > 0)
    return lengths


def _skip(window: Window, offset: int) -> None:
    while window.offset(window.place) < offset and window.ensure(1):
        window.place = min(len(window.text), window.place + offset - window.offset(window.place))


class CsvIndexer:
    """Walk through a file record by record, many at a time; always at the start of a record."""

    def __init__(
        self,
        shape: CsvShape,
        *,
        max_record: int = MAX_RECORD_BYTES,
        stretch_bytes: int = _LARGEST,
        is_rows: Callable[[memoryview, Positions, Positions], bool] | None = None,
        line_ends: Callable[[NDArray[np.uint8]], Positions | None] | None = None,
    ) -> None:
        """Take the shape of the file, the most bytes of a record, of what is looked at together, and who reads rows.

        ``is_rows`` says of whole lines, given with where those that are not blank start and how long they are, whether a parser finds
        exactly so many rows in them. Then each line is a record, and nobody has to look at the quotes: a row takes a line at least,
        so none can take two.

        ``line_ends`` says the same of whole lines in another way: it returns where they end, or None where a record may be more than one.
        """
        self._shape = shape
        self._line_ends = line_ends
        self._is_rows = is_rows
        self._doubts = self._doubtful = 0
        self._max_record = max_record
        self._largest = stretch_bytes
        self._smallest = self._size = min(_SMALLEST, stretch_bytes)
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._lines = array("Q")
        self._line_end = 0  # bytes of the line end that was passed last

    def __len__(self) -> int:
        """Return the number of records found so far."""
        return len(self._offsets)

    def place(self, record: int) -> Location:
        """Return where a record stands that was found already."""
        return Location(record, self._lines[record], self._offsets[record], self._lengths[record])

    def index(self) -> RecordIndex:
        """Return the places of the records found so far."""
        pieces = ([np.array(values, np.uint64)] for values in (self._offsets, self._lengths, self._lines))
        return build_index(*pieces)

    def stretches(self, path: Path) -> Iterator[Stretch]:
        """Yield all records in order; the bytes of a stretch are only there until the next one is asked for."""
        with path.open("rb", buffering=0) as stream:
            self._window = Window(stream)
            _skip(self._window, self._shape.data_offset)
            while have := self._window.ensure(self._size):
                stretch = self._lines_as_records(have)
                if stretch is not None:
                    yield stretch
                else:
                    yield from self._step(have)

    def _lines_as_records(self, have: int) -> Stretch | None:
        """Return the whole lines at hand if each of them is a record; else None, and nothing was passed."""
        if self._is_rows is None and self._line_ends is None:
            return None
        if self._doubtful:
            self._doubtful -= 1
            return None
        window = self._window
        data = np.frombuffer(window.text, np.uint8, have, window.place)
        ends = self._ends_of_records(data)
        if ends is None:
            self._doubts = self._doubtful = min(2 * self._doubts + 1, _MOST_DOUBTS)
            return None
        size = int(ends[-1]) + 1
        raw = memoryview(window.text)[window.place : window.place + size]
        first, offset = len(self), window.offset(window.place)
        self._add(data, ends, ends)
        window.pass_lines(window.place + size, len(ends))
        self._doubts = 0
        self._size = min(self._largest, 2 * self._size)
        return Stretch(first, len(self), offset, raw, is_clean=True)

    def _ends_of_records(self, data: NDArray[np.uint8]) -> Positions | None:
        """Return where the whole lines at hand end, if each of them is a record or blank."""
        window = self._window
        if self._line_ends is not None:
            size = window.text.rfind(b"\n", window.place, window.place + len(data)) + 1 - window.place
            return self._line_ends(data[:size]) if size > 0 else None
        ends = np.flatnonzero(data == NEWLINE)
        if not len(ends) or self._is_rows is None:
            return None
        size = int(ends[-1]) + 1
        raw = memoryview(window.text)[window.place : window.place + size]
        lengths = _lengths(data, ends)
        kept = lengths > 0
        if not kept.any() or not self._is_plain(data, ends):
            return None
        return ends if self._is_rows(raw, line_starts(ends)[kept], lengths[kept]) else None

    def _is_plain(self, data: NDArray[np.uint8], ends: Positions) -> bool:
        """Say whether no carriage return can end a row, and the last record does not go on behind."""
        text, place = self._window.text, self._window.place
        size = int(ends[-1]) + 1
        before = data[ends[int(ends[0] == 0) :] - 1]
        returns = np.count_nonzero(data[:size] == CARRIAGE_RETURN)
        if returns != np.count_nonzero(before == CARRIAGE_RETURN):
            return False
        # Blank lines behind the last record may belong to a cell of it.
        last = text[place : place + size].rstrip(b"\r\n").rpartition(b"\n")[2]
        return is_one_line(last, self._shape.delimiter)

    def _step(self, have: int) -> Iterator[Stretch]:
        window = self._window
        is_all = window.at_end and window.place + have == len(window.text)
        data = np.frombuffer(window.text, np.uint8, have, window.place)
        quotes = read_quotes(data, ord(self._shape.delimiter), is_all=is_all)
        ends, wrong = quotes.ends, quotes.wrong
        if wrong >= 0:
            ends = ends[: np.searchsorted(ends, wrong)]
        elif is_all and data[-1] != NEWLINE:
            ends = np.append(ends, have)
        if len(ends):
            first = len(self)
            self._add(data, ends, quotes.breaks)
            passed = min(int(ends[-1]) + 1, have)
            window.pass_lines(window.place + passed, int(np.searchsorted(quotes.breaks, passed)))
            self._size = self._smallest if wrong >= 0 else min(self._largest, 2 * self._size)
            if len(self) > first:
                start, end = self._offsets[first], self._offsets[-1] + self._lengths[-1]
                raw = memoryview(window.text)[start - window.base : end - window.base]
                yield Stretch(first, len(self), start, raw, is_clean=not quotes.has_lone_return)
        elif wrong >= 0 or is_all or self._size >= _LONGEST:
            self._size = self._smallest
            yield from self._recover()
        else:
            self._size = min(4 * self._size, _LONGEST)

    def _add(self, data: NDArray[np.uint8], ends: Positions, breaks: Positions) -> None:
        window = self._window
        starts = line_starts(ends)
        lengths = _lengths(data, ends)
        lines = np.searchsorted(breaks, starts) + window.line(window.place)
        kept = lengths > 0
        for values, new in (
            (self._offsets, starts + window.offset(window.place)),
            (self._lengths, lengths),
            (self._lines, lines),
        ):
            values.frombytes(new[kept].astype(np.uint64).tobytes())

    # ------------------------------------------------------------------ misplaced quotes

    def _recover(self) -> Iterator[Stretch]:
        """Take one record by the judgement of its physical lines."""
        window = self._window
        offset, line = window.offset(window.place), window.line(window.place)
        pieces: list[bytes] = []
        # Only how far the parser goes matters here; the cells are judged when they are read.
        parse_row(self._lines_of_record(pieces), self._shape.delimiter)
        length = window.offset(window.place) - offset
        length -= self._line_end
        if length:
            for values, value in zip(
                (self._offsets, self._lengths, self._lines), (offset, length, line), strict=True
            ):
                values.append(value)
            raw = b"".join(pieces)[:length] if length <= self._max_record else b""
            yield Stretch(len(self) - 1, len(self), offset, raw, is_clean=False)

    def _lines_of_record(self, pieces: list[bytes]) -> Iterator[str]:
        """Yield physical lines, keep their bytes and move behind each, until one is a record of its own."""
        first = True
        taken = 0
        while taken <= self._max_record and (line := self._next_line()):
            if not first and self._is_record(line):
                return
            first = False
            pieces.append(line)
            self._window.place += len(line)
            taken += len(line)
            self._line_end = len(line) - len(line.removesuffix(b"\n").removesuffix(b"\r"))
            if not line.endswith(b"\n"):
                self._pass_line()
                return
            yield line.decode("utf-8", "replace")

    def _pass_line(self) -> None:
        """Move behind the line end of a physical line too long to be kept."""
        window = self._window
        while window.ensure(_LARGEST):
            end = window.text.find(b"\n", window.place)
            window.place = len(window.text) if end < 0 else end + 1
            if end >= 0:
                self._line_end = 1 + (end > 0 and window.text[end - 1] == CARRIAGE_RETURN)
                return

    def _next_line(self) -> bytes:
        window = self._window
        size = _SMALLEST
        while True:
            have = window.ensure(size)
            end = window.text.find(b"\n", window.place, window.place + have)
            if end >= 0:
                return window.text[window.place : end + 1]
            if have < size or size >= self._max_record:
                return window.text[window.place : window.place + have]
            size = min(4 * size, self._max_record)

    def _is_record(self, line: bytes) -> bool:
        row = parse_row([line.decode("utf-8", "replace"), ""], self._shape.delimiter)
        return row is not None and row.lines == 1 and len(row.cells) == len(self._shape.header)
