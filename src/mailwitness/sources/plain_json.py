"""Load large files of JSON records that are prepared: plain ones portion by portion in the database, the others one by one."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers import index as line_index
from mailwitness.sources import limits, mended_lines, routing
from mailwitness.sources.plain_records import Earlier, Loader, module_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.routing import Decided, Records

# A portion has up to half as much more. A table in memory and the rows being written take about as much as the portion even if every event is kept,
# which the smallest limits hold too.
PORTION_BYTES = 48 << 20
# Where there is room for it, files up to this size are read as they stand: each portion has its statements planned anew.
_LARGEST_PORTION_BYTES = 256 << 20
_PART_OF_LIMIT = 12
_BLOCK_BYTES = 1 << 20
# Records of each portion whose place is checked against the file.
_CHECKED = 50


def add(intake: Intake, opened: Opened, match: Match, path: Path, at: Records) -> bool:
    """Load a file of one record for each line; always true.

    Args:
        intake: the run.
        opened: the exhibit.
        match: source of most of its records, which `plain_records.module_of` knows.
        path: the file of lines.
        at: where the records stand.
    """
    _File(intake, opened, match, path, at).add()
    return True


class _File:
    def __init__(self, intake: Intake, opened: Opened, match: Match, path: Path, at: Records) -> None:
        self._intake = intake
        self._opened = opened
        self._match = match
        self._path = path
        self._at = at
        is_original = at.index is not None and path == at.path
        self._index = at.index if is_original and at.index else line_index.index_lines(path).records
        self._loader = Loader(intake, match)

    def add(self) -> None:
        """Load portion after portion; what records tell later ones is kept between them."""
        preparer = self._intake.preparer(self._match)
        earlier = Earlier(self._loader, lambda _exhibit: preparer)
        preparer.earlier = earlier.until
        for first, end in self._portions():
            left, refused = self._load(first, end)
            routing.route(self._intake, self._opened, self._at, left, refused)
            if end < len(self._index):
                earlier.leave_portion(partial(preparer.settle, end))
            self._loader.done()
        preparer.earlier = None
        self._loader.forget_handles()

    def _load(self, first: int, end: int) -> tuple[list[int], Decided]:
        """Load the plain records of a portion; return the numbers of the others, and of some of them why they are no records."""
        exhibit, tally = self._opened.exhibit, self._opened.tally
        largest = int(self._index.lengths[first:end].max(initial=0))
        with self._portion(first, end) as path:
            rows = self._loader.take(path, largest, exhibit=exhibit.id, first=first)
        if rows != end - first or not self._is_aligned(first, end):
            # One row for each line, in the order of the file, did not hold: positions would lie. Go the slow, exact way.
            tally.notes.append("loaded record by record because of its damage")
            return list(range(first, end)), {}
        mended = [number - first for number in self._at.mended if first <= number < end]
        if mended:
            # Their rows have to say that they were salvaged.
            self._loader.leave(mended)
        left, refused = self._mend([first + number for number in self._loader.left()], rows)
        stored = self._loader.store([exhibit.blake3, exhibit.id, str(first)])
        tally.count(self._match, self._match.table, sum(number for number, _ in stored.values()))
        tally.salvaged += sum(salvaged for _, salvaged in stored.values())
        return left, refused

    def _mend(self, numbers: list[int], rows: int) -> tuple[list[int], Decided]:
        """Read the damaged ones of some records behind the rows of a portion, as far as they can be mended; return the others as `_load` does."""
        if len(numbers) < mended_lines.FEWEST:
            return numbers, {}
        shape = module_of(self._match).SHAPES[self._match.source]
        mended = mended_lines.write(
            self._intake,
            self._opened,
            self._match,
            self._at,
            numbers,
            shape.raw,
            is_above_line=True,
            is_lacking=shape.is_timeless,
        )
        others = set(numbers)
        if mended.numbers:
            self._loader.take(mended.path, mended.largest)
            others.difference_update(mended.numbers)
            others.update(mended.numbers[row - rows] for row in self._loader.left(rows))
        mended.path.unlink()
        refused = mended.refused
        for match, found in mended.others.items():
            if not match.prepare:
                left, more = mended_lines.load(
                    self._intake, self._opened, match, self._at, found, str(numbers[0])
                )
                others.difference_update(set(found).difference(left))
                refused |= more
        return sorted(others), refused

    def _is_aligned(self, first: int, end: int) -> bool:
        """Compare the ids of some records with the lines they should come from."""
        numbers = sorted({(end - first) * i // _CHECKED for i in range(_CHECKED)} | {end - first - 1})
        # Ids with characters that JSON may escape are left out of the comparison.
        plain = [
            (n, value) for n, value in self._loader.ids(numbers) if re.fullmatch(r"[\w.@-]+", value, re.ASCII)
        ]
        limit = limits.LARGEST_RECORD_BYTES
        return all(value.encode() in self._index.read(self._path, first + n, limit) for n, value in plain)

    def _portions(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers of the first record of each portion and of the one behind it."""
        offsets, count = self._index.offsets, len(self._index)
        size, portion_bytes = self._path.stat().st_size, _portion_bytes(self._intake.connection)
        # Of equal size, as a small rest would have all its statements planned too.
        wanted = np.linspace(0, size, max(1, round(size / portion_bytes)) + 1)[1:-1]
        yield from pairwise(sorted({0, count, *np.searchsorted(offsets, wanted).tolist()}))

    @contextmanager
    def _portion(self, first: int, end: int) -> Iterator[Path | str]:
        """Yield a file of the lines of some records."""
        offsets, count = self._index.offsets, len(self._index)
        if (first, end) == (0, count):
            yield self._path
            return
        from mailwitness.served_files import served  # noqa: PLC0415 - slow to import, only for large files

        start = int(offsets[first])
        stop = int(offsets[end]) if end < count else self._path.stat().st_size
        with served(self._intake.connection, stop - start, _blocks(self._path, start, stop)) as name:
            yield name


def _portion_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how much of a file is read at once, by what the database may take of memory."""
    asked = "SELECT parse_formatted_bytes(current_setting('memory_limit'))"
    [(limit,)] = connection.execute(asked).fetchall()
    return max(PORTION_BYTES, min(_LARGEST_PORTION_BYTES, int(limit) // _PART_OF_LIMIT))


def _blocks(path: Path, start: int, stop: int) -> Iterator[bytes]:
    """Yield a part of a file. It is read, not mapped: a mapped file that shrinks ends the process."""
    with path.open("rb", buffering=0) as source:
        source.seek(start)
        while start < stop and (block := source.read(min(_BLOCK_BYTES, stop - start))):
            yield block
            start += len(block)
