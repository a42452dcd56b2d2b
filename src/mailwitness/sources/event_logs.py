"""Load Windows event logs: many records at once through the database, read ahead while it works.

What is plain becomes rows in the database (`plain_records`), every other record goes the way of single records. The package that reads
logs keeps one core busy, the database the other: a thread reads the next portion while this one is loaded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.loading import Lines
from mailwitness.readers import evtx
from mailwitness.readers import index as line_index
from mailwitness.readers.blocks import Damage
from mailwitness.readers.windows_state import Preparer
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import limits
from mailwitness.sources.plain_records import Earlier, Loader
from mailwitness.sources.read_files import Arrivals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

    from mailwitness.readers.evtx import Piece
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened

# A portion is read while another one is loaded. For the first nobody works but the reader, and each has its statements planned anew.
_FIRST_PORTION_BYTES = 8 << 20
PORTION_BYTES = 32 << 20
# The rows of so much text are stored together: a statement that stores some is as dear as ten thousand rows.
STORED_BYTES = 144 << 20
# Records of each portion whose id is compared with what the database read.
_CHECKED = 50


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """A piece of a log in a portion.

    Attributes:
        log: which log.
        row: row of the portion at which it begins.
        position: number of its first record among all of its log.
        item: the piece, without its texts.
        first: text of its first record; empty where it is damaged.
        start: where its lines begin in the file of the portion.
    """

    log: int
    row: int
    position: int
    item: Piece
    first: str
    start: int


@dataclass(eq=False, slots=True)
class Portion:
    """Records of one or more logs, written as lines.

    Attributes:
        path: the file of lines.
        handle: the same, while it is being written.
        rows: how many lines.
        largest: the most bytes that a line may have.
        stretches: what stands in it, in order.
        ended: logs of which nothing follows.
    """

    path: Path
    handle: FileIO
    rows: int = 0
    largest: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


class EventLogs:
    """The event logs of a run."""

    def __init__(self, intake: Intake) -> None:
        """Take the run."""
        self._intake = intake
        self._match: Match | None = None
        self._waiting: list[_Log] = []

    def take(self, opened: Opened, match: Match) -> None:
        """Let a log wait for `load`; many small ones are loaded together."""
        self._match = match
        self._waiting.append(_Log(self._intake, opened, match))

    def load(self) -> None:
        """Load the logs that wait."""
        if self._match is None:
            return
        logs, self._waiting = self._waiting, []
        reader = _Reader(logs, self._intake.work)
        loader = Loader(self._intake, self._match)
        with ThreadPoolExecutor(1, thread_name_prefix="logs") as pool:
            portions = reader.portions()
            coming = pool.submit(next, portions, None)
            stored = _Stored(loader)
            while (portion := coming.result()) is not None:
                coming = pool.submit(next, portions, None)
                _Loading(loader, logs, portion, stored).load()
            stored.store()
        reader.end()


class _Log:
    """One event log on its way into the tables."""

    def __init__(self, intake: Intake, opened: Opened, match: Match) -> None:
        self.opened = opened
        self.arrivals = Arrivals(intake, opened, match)
        self.preparer = Preparer()
        self._intake = intake
        self._offsets: list[NDArray[np.int64]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, item: Piece) -> None:
        """Keep where records stand."""
        self._offsets.append(item.offsets)
        self._lengths.append(item.lengths)

    def put_damage(self, one: Stretch) -> None:
        """Keep damaged records in quarantine."""
        places = zip(one.item.offsets.tolist(), one.item.lengths.tolist(), strict=True)
        with closing(Lines(self.opened.path)) as lines:
            lost = [
                (
                    position,
                    Damage(offset, length, 0, one.item.reason),
                    lines.read(offset, min(length, limits.SHOWN_RECORD_BYTES)),
                )
                for position, (offset, length) in enumerate(places, one.position)
            ]
        self.arrivals.lose(lost)

    def put(self, text: bytes, one: Stretch, row: int, earlier: Earlier | None) -> None:
        """Load one record; what plain ones before it say is told to the preparer where it matters."""
        self.preparer.number = row
        self.preparer.earlier = None if earlier is None else earlier.until
        at = row - one.row
        self.arrivals.put(one.position + at, evtx.record(self.preparer, text, self.opened.path, one.item, at))

    def end(self) -> None:
        """Save where the records stand, and forget what is not needed any more."""
        self.arrivals.finish()
        if self._offsets:
            offsets, lengths = np.concatenate(self._offsets), np.concatenate(self._lengths)
            self._intake.save_index(self.opened, line_index.from_columns(offsets, lengths))
        self.preparer = Preparer()
        self._offsets, self._lengths = [], []


class _Reader:
    """Reads logs one after the other and writes portions of lines; runs beside the database and touches nothing but files."""

    def __init__(self, logs: list[_Log], work: Path) -> None:
        self._places = [(log.opened.path, log.opened.exhibit.id) for log in logs]
        # One is loaded while the other is written. The system uses their memory again, which a new file would have to find.
        self._paths = [work / f"logs{number}.lines" for number in range(2)]
        self._size = min(_FIRST_PORTION_BYTES, PORTION_BYTES)

    def portions(self) -> Iterator[Portion]:
        """Yield portion after portion; each is complete and closed."""
        portion = self._begin()
        for log, (path, exhibit) in enumerate(self._places):
            position = 0
            for item in evtx.pieces(path):
                first = item.texts[0] if item.texts else ""
                portion.stretches.append(
                    Stretch(log, portion.rows, position, item, first, portion.handle.tell())
                )
                if item.texts:
                    _write(portion, position, exhibit, item)
                position += len(item.offsets)
                if portion.handle.tell() >= self._size:
                    yield _closed(portion)
                    portion, self._size = self._begin(), PORTION_BYTES
            portion.ended.append(log)
        yield _closed(portion)

    def _begin(self) -> Portion:
        self._paths.reverse()
        self._paths[0].touch()
        return Portion(self._paths[0], self._paths[0].open("r+b", buffering=0))

    def end(self) -> None:
        """Remove the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)


def _closed(portion: Portion) -> Portion:
    portion.handle.truncate()
    portion.handle.close()
    return portion


def _write(portion: Portion, position: int, exhibit: str, item: Piece) -> None:
    """Write the records of a piece, each with its exhibit, and by how much its number differs from its row's."""
    own = f'"{EXHIBIT_KEY}":"{exhibit}","{POSITION_KEY}":{position - portion.rows},"{SALVAGED_KEY}":{str(item.salvaged).lower()},'
    rest = memoryview(evtx.lines(item.texts, own))
    while rest:
        rest = rest[portion.handle.write(rest) :]
    # A character has four bytes at most.
    portion.largest = max(portion.largest, 4 * (len(own) + max(map(len, item.texts))))
    portion.rows += len(item.texts)
    item.texts.clear()


class _Stored:
    """The plain records that wait to be stored."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._logs: dict[str, _Log] = {}
        self._bytes = 0
        self._begin = 0

    def add(self, logs: dict[str, _Log], portion: Portion) -> None:
        """Take note of a portion that was read."""
        if not self._bytes:
            self._begin = portion.stretches[0].position
        self._logs |= logs
        self._bytes += portion.path.stat().st_size
        if self._bytes >= STORED_BYTES:
            self.store()

    def store(self) -> None:
        """Store what waits."""
        if not self._loader.rows:
            return
        digests = [log.opened.exhibit.blake3 for log in self._logs.values()]
        for exhibit, (count, salvaged) in self._loader.store([*digests, str(self._begin)]).items():
            self._logs[exhibit].arrivals.stored(count, salvaged)
        self._loader.done()
        self._logs, self._bytes = {}, 0


class _Loading:
    """Loads one portion."""

    def __init__(self, loader: Loader, logs: list[_Log], portion: Portion, stored: _Stored) -> None:
        self._loader = loader
        self._logs = logs
        self._portion = portion
        self._stored = stored
        # The row of the first record among those that wait to be stored.
        self._first = loader.rows
        self._pieces = [one for one in portion.stretches if not one.item.reason]
        self._starts = [one.row for one in self._pieces]
        self._mentioned = [logs[number] for number in {one.log: None for one in portion.stretches}]
        self._by_exhibit = {log.opened.exhibit.id: log for log in self._mentioned}
        self._earlier: Earlier | None = None

    def load(self) -> None:
        """Load the plain records at once, the others one by one, and end the logs that are over."""
        for one in self._portion.stretches:
            self._logs[one.log].add(one.item)
        self._put(self._take() if self._portion.rows else [])
        for number in self._portion.ended:
            self._logs[number].end()
        if self._portion.rows:
            self._stored.add(self._by_exhibit, self._portion)

    def _take(self) -> list[int]:
        """Read the plain records; return the rows of the others."""
        portion, loader, first = self._portion, self._loader, self._first
        if loader.take(portion.path, portion.largest) != portion.rows or not self._is_aligned():
            # One row for each line, in their order, did not hold: positions would lie. Go the slow, exact way.
            for log in self._mentioned:
                log.opened.tally.notes.append("loaded record by record because of its damage")
            loader.leave_from(first)
            return list(range(portion.rows))
        self._earlier = Earlier(loader, lambda exhibit: self._by_exhibit[exhibit].preparer, first)
        return [row - first for row in loader.left(first)]

    def _is_aligned(self) -> bool:
        """Compare the ids that the database read with the records that they should come from."""
        checked = self._pieces[:: 1 + len(self._pieces) // _CHECKED]
        firsts = {self._first + one.row: one.first for one in checked}
        return all(value in firsts[row] for row, value in self._loader.ids(list(firsts)))

    def _piece(self, row: int) -> Stretch:
        return self._pieces[bisect_right(self._starts, row) - 1]

    def _put(self, left: list[int]) -> None:
        """Send what the database did not take where it belongs, in the order of the logs."""
        damaged = deque(one for one in self._portion.stretches if one.item.reason)
        for row, text in self._texts(left):
            while damaged and damaged[0].row <= row:
                self._put_damage(damaged.popleft())
            one = self._piece(row)
            self._logs[one.log].put(text, one, row, self._earlier)
        for one in damaged:
            self._put_damage(one)
        if self._earlier is not None and self._portion.ended[-1:] != [self._portion.stretches[-1].log]:
            # The last log goes on, and what stands there may refer to what stands here.
            preparer = self._logs[self._portion.stretches[-1].log].preparer
            preparer.earlier = self._earlier.until
            preparer.settle(self._portion.rows)

    def _put_damage(self, one: Stretch) -> None:
        self._logs[one.log].put_damage(one)

    def _texts(self, rows: list[int]) -> Iterator[tuple[int, bytes]]:
        """Yield rows with the text of their records, in order."""
        if not rows:
            return
        lines: list[bytes] = []
        read = -1
        with self._portion.path.open("rb") as handle:
            for row in rows:
                place = bisect_right(self._starts, row) - 1
                one = self._pieces[place]
                if place != read:
                    handle.seek(one.start)
                    following = self._pieces[place + 1 : place + 2]
                    content = handle.read(following[0].start - one.start if following else -1)
                    lines, read = content.split(b"\n"), place
                yield row, lines[row - one.row]
