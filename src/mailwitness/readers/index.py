"""The index that turns a record number into line, byte offset and length of the sealed original."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mailwitness.readers.blocks import (
    BLANK_BYTES,
    MAX_RECORD_BYTES,
    UTF8_BOM,
    blocks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Counts = NDArray[np.uint64]
    Positions = NDArray[np.int64]

NEWLINE = 0x0A
CARRIAGE_RETURN = 0x0D
# Whitespace at the start of a line is walked byte by byte for all lines at once, this far; then line by line.
WALK_BYTES = 64
# NumPy is quickest on blocks that stay in the processor's cache.
_FED_BYTES = 4 << 20
# Indexes of files that wait for their turn to be loaded may take about 120 MB; later files are read again.
MOST_LINES_WHILE_SEALING = 5_000_000

_BLANK = np.zeros(256, dtype=bool)
_BLANK[list(BLANK_BYTES)] = True


class Location(msgspec.Struct, frozen=True):
    """Say where a record stands: 0-based record number, 1-based line, byte offset, byte length."""

    record: int
    line: int
    offset: int
    length: int


@dataclass(frozen=True, eq=False, slots=True)
class RecordIndex:
    """Hold the place of every record of one file, in record order.

    `offsets` and `lengths` are bytes of the original (a length excludes the line end or separator), `lines`
    the 1-based line on which the record starts. All three are unsigned integers; lengths and lines are kept
    in 32 bits when they fit: an index of ten million records must not cost a quarter of the memory budget.
    """

    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64] | NDArray[np.uint32]
    lines: NDArray[np.uint64] | NDArray[np.uint32]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offsets)

    def locate(self, record: int) -> Location:
        """Return the place of a record.

        Raises:
            IndexError: The record number is negative or not below the number of records.
        """
        if not 0 <= record < len(self.offsets):
            message = f"record {record} is not in the index, which holds {len(self.offsets)} records"
            raise IndexError(message)
        return Location(record, int(self.lines[record]), int(self.offsets[record]), int(self.lengths[record]))

    def read(self, path: Path, record: int, limit: int | None = None) -> bytes:
        """Return the exact bytes of a record, at most `limit` of them, by seeking in the original."""
        place = self.locate(record)
        with path.open("rb", buffering=0) as stream:
            stream.seek(place.offset)
            return stream.read(place.length if limit is None else min(limit, place.length))

    def save(self, path: Path) -> None:
        """Write the index as one NumPy array with named columns, complete or not at all."""
        columns = {"offsets": self.offsets, "lengths": self.lengths, "lines": self.lines}
        # One array, as an archive of three costs more than reading a small log.
        rows = np.empty(len(self), dtype=[(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            rows[name] = column
        temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        with temporary.open("wb") as stream:
            np.save(stream, rows)
        # Not forced to the disk: an index can be made again, and a thousand small logs would wait for a thousand writes.
        temporary.replace(path)

    @staticmethod
    def load(path: Path, first: int = 0, count: int | None = None) -> RecordIndex:
        """Read an index written by `save`, or some of its records; pickled content is refused by NumPy."""
        rows = np.load(path, mmap_mode=None if count is None else "r", allow_pickle=False)
        rows = rows[first:] if count is None else rows[first : first + count]
        return RecordIndex(*(np.array(rows[name]) for name in ("offsets", "lengths", "lines")))


class LineIndex(msgspec.Struct, frozen=True):
    """Describe the lines of a text file.

    `records` holds the non-blank lines, `lines` counts all lines (a last one without newline included),
    `blank` the blank ones, `longest` is the length of the longest line in bytes, `has_bom` says that the
    file starts with the UTF-8 byte order mark. Always `len(records) + blank == lines`.

    DuckDB does not skip a byte order mark: the first line of such a file becomes a row of NULLs and needs the
    second chance every damaged line gets.
    """

    records: RecordIndex
    lines: int
    blank: int
    longest: int
    has_bom: bool


def build_index(offsets: Sequence[Counts], lengths: Sequence[Counts], lines: Sequence[Counts]) -> RecordIndex:
    """Join the pieces collected block by block into one index."""
    return RecordIndex(_joined(offsets), _narrow(_joined(lengths)), _narrow(_joined(lines)))


def from_places(places: Sequence[tuple[int, int, int]]) -> RecordIndex:
    """Return the index of records given as (offset, length, line) in record order."""
    columns = np.array(places, dtype=np.uint64).reshape(-1, 3)
    return RecordIndex(columns[:, 0].copy(), _narrow(columns[:, 1]), _narrow(columns[:, 2]))


def from_columns(offsets: Positions, lengths: Positions) -> RecordIndex:
    """Return the index of records of a format without lines."""
    lines = np.zeros(len(offsets), dtype=np.uint32)
    return RecordIndex(offsets.astype(np.uint64), _narrow(lengths.astype(np.uint64)), lines)


def _joined(pieces: Sequence[Counts]) -> Counts:
    if not pieces:
        return np.zeros(0, dtype=np.uint64)
    return np.concatenate(pieces).astype(np.uint64, copy=False)


def _narrow(values: Counts) -> NDArray[np.uint64] | NDArray[np.uint32]:
    if len(values) == 0 or int(values.max()) < 1 << 32:
        return values.astype(np.uint32)
    return values


def line_starts(ends: Positions) -> Positions:
    """Return where lines start that end at some places, the first one at the start of the text; there is at least one."""
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    return starts


class LineIndexer:
    r"""Find the lines of a file whose blocks are fed in order.

    A caller that reads the file anyway (to hash it) feeds the same blocks and so reads the file once.

    A line ends at `\n`; one `\r` before it belongs to the line end. A line is blank when it holds nothing but
    space, tab, `\r`, vertical tab and form feed: exactly the lines for which DuckDB's `read_json(format =
    'newline_delimited', ignore_errors = true)` returns no row (found by experiment, proved by a test). Every
    other line, however damaged, gives exactly one row: the row's number is the number of the record here.
    With a single column in `columns`, pass `records = true`: else one array or scalar among the first lines
    makes DuckDB put the text of the whole line into that column, for every line.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._base = 0  # offset of the block fed next
        self._start = 0  # offset at which the open line starts
        self._open_blank = True  # the open line holds only blank bytes so far
        self._last = NEWLINE  # last byte fed
        self._line = 1  # number of the open line
        self._blank = 0
        self._longest = 0
        self._head = b""
        self._offsets: list[Counts] = []
        self._lengths: list[Counts] = []
        self._lines: list[Counts] = []

    @property
    def lines(self) -> int:
        """Return how many lines have ended so far."""
        return self._line - 1

    def feed(self, block: bytes | memoryview) -> None:
        """Take the next bytes of the file, in blocks of any size (1 MiB is fastest)."""
        if not len(block):
            return
        if len(self._head) < len(UTF8_BOM):
            self._head += bytes(block[: len(UTF8_BOM) - len(self._head)])
        data = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(data == NEWLINE)
        tail = 0
        if len(ends):
            self._close_lines(data, ends)
            tail = int(ends[-1]) + 1
            self._start = self._base + tail
            self._open_blank = True
        if self._open_blank and tail < len(data):
            self._open_blank = not bytes(data[tail:]).strip(BLANK_BYTES)
        self._last = int(data[-1])
        self._base += len(data)

    def _close_lines(self, data: NDArray[np.uint8], ends: Positions) -> None:
        """Record all lines that end in this block; `ends` are the places of their newlines."""
        starts = line_starts(ends)
        before = data[ends - 1]
        if ends[0] == 0:
            before[0] = self._last
        blank = blank_lines(data, starts, ends)
        blank[0] &= self._open_blank
        starts[0] = self._start - self._base
        lengths = ends - starts
        # The very first byte of a line can be its own newline; then the byte before belongs to another line.
        lengths -= (before == CARRIAGE_RETURN) & (lengths > 0)
        self._store(starts + self._base, lengths, np.arange(self._line, self._line + len(ends)), blank)
        self._line += len(ends)

    def _store(
        self, offsets: Positions, lengths: Positions, lines: Positions, blank: NDArray[np.bool_]
    ) -> None:
        self._longest = max(self._longest, int(lengths.max()))
        blanks = int(np.count_nonzero(blank))
        if blanks:
            self._blank += blanks
            offsets, lengths, lines = offsets[~blank], lengths[~blank], lines[~blank]
        self._offsets.append(offsets.astype(np.uint64))
        self._lengths.append(lengths.astype(np.uint64))
        self._lines.append(lines.astype(np.uint64))

    def finish(self) -> LineIndex:
        """Close the last line and return the index; the indexer must not be fed any more."""
        if self._base > self._start:
            length = self._base - self._start
            length -= self._last == CARRIAGE_RETURN
            self._store(
                np.array([self._start]),
                np.array([length]),
                np.array([self._line]),
                np.array([self._open_blank]),
            )
            self._line += 1
        records = build_index(self._offsets, self._lengths, self._lines)
        has_bom = self._head == UTF8_BOM
        return LineIndex(records, self._line - 1, self._blank, self._longest, has_bom)


def blank_lines(data: NDArray[np.uint8], starts: Positions, ends: Positions) -> NDArray[np.bool_]:
    """Return for each line `data[starts:ends]` whether it holds blank bytes only."""
    blank: NDArray[np.bool_] = starts == ends
    rest: Positions = np.flatnonzero(_BLANK[data[starts]])
    for step in range(1, WALK_BYTES):
        if not len(rest):
            return blank
        places = starts[rest] + step
        done = places >= ends[rest]
        blank[rest[done]] = True
        rest = rest[~done]
        rest = rest[_BLANK[data[places[~done]]]]
    for line in rest.tolist():
        blank[line] = not data[starts[line] : ends[line]].tobytes().strip(BLANK_BYTES)
    return blank


def index_lines(path: Path) -> LineIndex:
    """Return the index of the non-blank lines of a file, reading it once in blocks.

    Memory: one block plus 16 to 24 bytes a line.
    """
    indexer = LineIndexer()
    for block in blocks(path):
        indexer.feed(block)
    return indexer.finish()


class LinesWhileSealing:
    """Index the lines of large JSON logs from the very bytes that are being hashed: the file is read once less.

    Nothing but line ends is looked at before the digest is in the custody log.
    """

    def __init__(self) -> None:
        """Know no file yet."""
        self._indexers: dict[Path, LineIndexer] = {}

    def watch(self, path: Path) -> Callable[[memoryview], None]:
        """Return what takes the blocks of a file in order; a file watched again starts again."""
        self._indexers.pop(path, None)
        decided = False

        def feed(block: memoryview) -> None:
            nonlocal decided
            if not decided and bytes(block[:64]).removeprefix(UTF8_BOM).lstrip(BLANK_BYTES)[:1] == b"{":
                self._indexers[path] = LineIndexer()
            decided = True
            indexer = self._indexers.get(path)
            if indexer is None:
                return
            for start in range(0, len(block), _FED_BYTES):
                indexer.feed(block[start : start + _FED_BYTES])
            if sum(one.lines for one in self._indexers.values()) > MOST_LINES_WHILE_SEALING:
                del self._indexers[path]

        return feed

    def take(self, path: Path) -> LineIndex | None:
        """Return the index of a file that was watched from its first to its last byte, once."""
        indexer = self._indexers.pop(path, None)
        return None if indexer is None else indexer.finish()


def suspicious_records(path: Path, index: LineIndex, limit: int = MAX_RECORD_BYTES) -> list[int]:
    """Return the record numbers of lines DuckDB must not be given as they are, in order.

    Two kinds were found by experiment. A line longer than `maximum_object_size` makes DuckDB give up the
    whole file in spite of `ignore_errors`; and a file of one byte gives no row. No other damage changes the
    number of rows. `maximum_object_size` must leave room for the line end: pass DuckDB a little more than
    `limit`.
    """
    if len(index.records) == index.lines == index.longest == path.stat().st_size == 1:
        return [0]
    if index.longest <= limit:
        return []
    return [int(record) for record in np.flatnonzero(index.records.lengths > limit)]


def needs_rewrite(path: Path, index: LineIndex, limit: int = MAX_RECORD_BYTES) -> bool:
    """Say whether a line of the file must be diverted before DuckDB reads the file."""
    return bool(suspicious_records(path, index, limit))
