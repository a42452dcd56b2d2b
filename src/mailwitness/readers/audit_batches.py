"""Large audit logs: plain events become rows many at once, the others are taken apart record by record, every line is accounted for.

A stretch of the file gives one batch of the columns `SCHEMA`; `relation` is the SQL from these to the raw keys of the mappings. What SQL
finds to be not plain after all (a path with ``..``, an argument in hex, a title that is no text) is marked there and taken apart too.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import audit_columns, audit_groups, audit_lines, audit_table
from mailwitness.readers import index as line_index
from mailwitness.readers.audit_brief import Interest
from mailwitness.readers.audit_event import Event
from mailwitness.readers.audit_fields import text
from mailwitness.readers.audit_wanted import Wanted
from mailwitness.readers.auditd import _START, NO_TIME, _segments
from mailwitness.readers.blocks import UTF8_BOM, Damage, RawRecord
from mailwitness.readers.byte_words import PADDING, Text
from mailwitness.readers.kept_memory import keep_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from io import FileIO
    from pathlib import Path

    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Odd
    from mailwitness.readers.index import Positions

# Text that becomes one batch: large enough that the start of each step costs nothing, also while another thread waits for its turn.
CHUNK_BYTES = 8 << 20
# Before the end of a batch no event may go on behind it: the records of one event are written within milliseconds.
MARGIN_BYTES = 128 << 10
# So much of the log is in the database's memory before it is written; and so many events wait that are not plain.
PORTION_BYTES = 64 << 20
_MOST_ODD = 20_000
# What a brief event takes: its columns, its id, its place.
_BRIEF_BYTES = 120
# What Python needs for a damaged line beside its text.
_ITEM_BYTES = 300
# So much of a damaged line is kept: more than the quarantine shows.
_SHOWN_BYTES = 1024
# Text of a batch whose events do not end within it.
_MOST_BYTES = 64 << 20
# So many stretches are worked upon side by side.
_WORKERS = 2


class Stretch(NamedTuple):
    """Whole events of a file, before anything but their ids is looked at.

    Attributes:
        found: the text.
        these: its lines.
        odd: what the patterns find on lines that are not usual.
        groups: the events.
        offset: where it begins in the file.
        line: number of its first line.
        first: number of its first record.
        nodes: names of hosts.
        is_last: nothing follows.
    """

    found: Text
    these: Lines
    odd: Odd
    groups: Groups
    offset: int
    line: int
    first: int
    nodes: list[bytes]
    is_last: bool


class Leftover(NamedTuple):
    """What of a stretch is no plain event, by number: records that were taken apart, and lines that are damaged, with their text."""

    apart: list[tuple[int, RawRecord | Damage]]
    damaged: list[tuple[int, Damage, bytes]]


class Batch(NamedTuple):
    """What one stretch of the file holds.

    Attributes:
        rows: events with some columns.
        wanted: those with all of them.
        brief: those that no rule asks for.
        places: where all stand.
        odd: what has to be loaded another way.
        held: bytes of text and rows that are kept in memory.
    """

    rows: pa.RecordBatch
    wanted: pa.RecordBatch
    brief: pa.RecordBatch
    places: Positions
    odd: Leftover
    held: int


class Portion(NamedTuple):
    """Some batches: the events with some columns, those that rules ask about with all of them, and brief ones.

    Attributes:
        others: rows of `audit_table.SCHEMA`.
        wanted: the same.
        brief: rows of `audit_table.BRIEF`.
        odd: what has to be loaded another way.
        first: number of the first record.
        places: where the records stand.
    """

    others: pa.Table
    wanted: pa.Table
    brief: pa.Table
    odd: list[Leftover]
    first: int
    places: Positions


class EventBatches:
    """The events of one file as batches, with their places, and what has to be loaded another way."""

    def __init__(self, path: Path, needs: frozenset[str], *, is_brief: bool = False) -> None:
        """Take the file, the raw keys that are read, and whether events of no interest may be brief."""
        keep_memory()
        self._path = path
        self._asked = audit_table.Asked(
            audit_table.texts(needs),
            has_arguments=bool(needs & {f"a{i}" for i in range(10)} | needs & {"argc"}),
            has_paths="Paths" in needs,
            is_whole=not is_brief,
        )
        self._nodes: dict[bytes, int] = {}
        self._wanted = Wanted()
        self._interest = Interest() if is_brief else None
        self._places: list[Positions] = []

    def portions(self) -> Iterator[Portion]:
        """Yield the events of the file portion by portion."""
        batches: list[Batch] = []
        first = size = 0
        for batch, is_last in self._ahead():
            batches.append(batch)
            size += batch.held
            if is_last or size >= PORTION_BYTES or sum(len(one.odd.apart) for one in batches) >= _MOST_ODD:
                yield (portion := _portion(batches, first))
                self._places.append(portion.places)
                first += len(portion.places)
                batches, size = [], 0

    def index(self) -> line_index.RecordIndex:
        """Return the places of all records."""
        rows = np.concatenate(self._places or [np.zeros((0, 3), dtype=np.int64)]).astype(np.uint64)
        return line_index.build_index([rows[:, 0]], [rows[:, 1]], [rows[:, 2]])

    def again(self, portion: Portion, numbers: list[int]) -> Iterator[tuple[int, RawRecord | Damage]]:
        """Take events of a portion apart record by record that turned out not to be plain."""
        with self._path.open("rb") as handle:
            for number in numbers:
                offset, length, line = portion.places[number - portion.first].tolist()
                handle.seek(offset)
                yield number, _single(handle.read(length), (offset, length, line))

    def _ahead(self) -> Iterator[tuple[Batch, bool]]:
        """Yield the batches in their order, and whether each is the last; one stretch is cut while those before it are worked upon."""
        if not self._path.stat().st_size:
            return
        waiting: deque[tuple[Future[Batch], bool]] = deque()
        with ThreadPoolExecutor(1 + _WORKERS, thread_name_prefix="audit") as pool:
            stretches = self._stretches()
            coming = pool.submit(next, stretches, None)
            while (stretch := coming.result()) is not None:
                coming = pool.submit(next, stretches, None)
                waiting.append((pool.submit(self._batch, stretch), stretch.is_last))
                if len(waiting) >= _WORKERS:
                    batch, is_last = waiting.popleft()
                    yield batch.result(), is_last
            for batch, is_last in waiting:
                yield batch.result(), is_last

    def _stretches(self) -> Iterator[Stretch]:
        offset, line, first = 0, 1, 0
        size = self._path.stat().st_size
        with self._path.open("rb", buffering=0) as handle:
            while offset < size:
                found, these, odd, groups = self._cut(handle, offset, size)
                taken = int(these.ends[-1]) if len(these.ends) else found.size
                is_last = offset + taken >= size
                yield Stretch(found, these, odd, groups, offset, line, first, list(self._nodes), is_last)
                line += _lines_before(found, these)
                offset += taken
                first += len(groups.firsts) + len(odd.damaged)

    def _cut(self, handle: FileIO, offset: int, size: int) -> tuple[Text, Lines, Odd, Groups]:
        """Take the next stretch: whole events, or very much text."""
        wide = CHUNK_BYTES
        while True:
            end = min(offset + wide, size)
            handle.seek(offset)
            # What is looked at behind the end saves a copy.
            stretch = _read(handle, end + PADDING - offset)
            end = min(end, offset + len(stretch))
            lines_end = stretch.rfind(b"\n", 0, end - offset) + 1
            end = offset + lines_end if end < size and lines_end else end
            if not offset and stretch.startswith(UTF8_BOM):
                stretch = b" " * len(UTF8_BOM) + stretch[len(UTF8_BOM) :]
            found = Text(stretch, end - offset)
            these = audit_lines.lines(found, self._nodes)
            odd = audit_lines.odd(found, these)
            groups = audit_groups.group(these, odd, self._nodes)
            if end == size:
                return found, these, odd, groups
            cut = audit_groups.clean_cut(these, groups, found.size - MARGIN_BYTES)
            if cut:
                return (found, *audit_groups.before(these, odd, groups, cut))
            if wide >= _MOST_BYTES:
                return found, these, odd, groups
            wide *= 2

    def _batch(self, stretch: Stretch) -> Batch:
        found, these, odd, groups = stretch[:4]
        bases = audit_columns.separators(found, these.starts, these.stops)
        number, places = _placed(stretch)
        nodes = stretch.nodes
        chosen = salvaged = np.zeros(len(groups.firsts), dtype=np.bool_)
        if self._interest is not None:
            chosen, salvaged = self._interest.find(found, these, groups, bases)
        own = groups.only(np.flatnonzero(chosen))
        brief = audit_table.brief_rows(
            found, these, own, number[: len(chosen)][chosen], salvaged[chosen], nodes
        )
        rest = np.flatnonzero(~chosen)
        own = groups.only(rest)
        if 2 * len(own.lines) < len(these.starts):
            found, these, own, bases = audit_groups.taken_out(found, these, own, bases)
        this = audit_table.read(found, these, own, bases, self._asked, self._wanted)
        items: list[tuple[int, RawRecord | Damage]] = []
        for event in np.flatnonzero(~this.columns.is_plain).tolist():
            place = _place(places[rest[event]])
            items.append((int(number[rest[event]]), _apart(found, these, own, odd, event, place)))
        rows = [
            audit_table.rows(this, these, own, number[rest], nodes, is_wanted) for is_wanted in (False, True)
        ]
        ordered = np.empty_like(places)
        ordered[number - stretch.first] = places
        damaged = _damaged(stretch, number, places)
        if damaged and not damaged[0][1].offset:
            # The mark of its encoding was taken for blanks: what the file says is read again.
            items.append(damaged.pop(0)[:2])
        held = found.size + _BRIEF_BYTES * len(brief) + sum(_ITEM_BYTES + len(text) for *_, text in damaged)
        return Batch(rows[0], rows[1], brief, ordered, Leftover(items, damaged), held)


def _lines_before(found: Text, these: Lines) -> int:
    """Return how many line ends there are up to the end of the last line."""
    if not len(these.ends):
        return found.raw.count(b"\n", 0, found.size)
    return int(these.numbers[-1]) + int(found.raw[these.ends[-1] - 1] == ord("\n"))


def _read(handle: FileIO, size: int) -> bytes:
    """Return so many bytes, fewer only at the end of the file."""
    content = handle.read(size)
    while len(content) < size and (more := handle.read(size - len(content))):
        content += more
    return content


def _portion(batches: list[Batch], first: int) -> Portion:
    kinds = (
        ([one.rows for one in batches], audit_table.SCHEMA),
        ([one.wanted for one in batches], audit_table.SCHEMA),
        ([one.brief for one in batches], audit_table.BRIEF),
    )
    others, wanted, brief = (
        pa.Table.from_batches([one for one in listed if len(one)], schema) for listed, schema in kinds
    )
    return Portion(
        others,
        wanted,
        brief,
        [one.odd for one in batches],
        first,
        np.concatenate([one.places for one in batches]),
    )


def _placed(stretch: Stretch) -> tuple[Positions, Positions]:
    """Return numbers and places of the events and of the damaged lines behind them."""
    these, groups = stretch.these, stretch.groups
    heads, tails = groups.lines[groups.firsts], groups.lines[groups.firsts + groups.counts - 1]
    bad = stretch.odd.damaged
    firsts = np.concatenate([heads, bad])
    number = np.empty(len(firsts), dtype=np.int64)
    number[np.argsort(firsts, kind="stable")] = np.arange(len(firsts)) + stretch.first
    stops = np.concatenate([these.ends[tails], these.stops[bad]])
    starts = these.starts[firsts]
    lines = these.numbers[firsts] + stretch.line
    return number, np.stack([starts + stretch.offset, stops - starts, lines], axis=1)


def _damaged(stretch: Stretch, numbers: Positions, places: Positions) -> list[tuple[int, Damage, bytes]]:
    """Return the damaged lines with numbers, places and what begins there."""
    events, raw, first = len(stretch.groups.firsts), stretch.found.raw, stretch.offset
    listed = zip(
        numbers[events:].tolist(), places[events:].tolist(), stretch.odd.reasons.tolist(), strict=True
    )
    return [
        (
            number,
            Damage(offset, length, line, audit_lines.REASONS[reason]),
            raw[offset - first : offset - first + min(length, _SHOWN_BYTES)],
        )
        for number, (offset, length, line), reason in listed
    ]


def _apart(
    found: Text, these: Lines, groups: Groups, odd: Odd, event: int, place: tuple[int, int, int]
) -> RawRecord | Damage:
    """Take an event apart record by record."""
    mine = iter(groups.parts.get(event, []))
    record: Event | None = None
    for at in groups.of(event).tolist():
        if these.kinds[at] == audit_lines.OTHER:
            node, key, kind, body = odd.parts[next(mine)][1:]
        else:
            content = found.raw[these.starts[at] : these.stops[at]]
            match = _START.match(content)
            assert match is not None  # noqa: S101 - the line is a usual one
            node, kind, key = match.groups(b"")
            body = content.rstrip()[match.end() :]
        record = record or Event(text(key), text(node), interpreted=b"/" in key)
        record.add(text(kind).removeprefix("AUOMS_") or "UNKNOWN", body)
    return _record(record, place)


def _record(event: Event | None, place: tuple[int, int, int]) -> RawRecord | Damage:
    data = None if event is None else event.data()
    if event is None or data is None:
        return Damage(*place, NO_TIME)
    return RawRecord(data, *place, event.is_partial())


def _single(content: bytes, place: tuple[int, int, int]) -> RawRecord | Damage:
    """Take the event of the first of some lines apart; lines of others stand between."""
    event: Event | None = None
    name: tuple[bytes, bytes] | None = None
    for line in content.splitlines():
        for piece in _segments(line):
            match = _START.match(piece)
            if match is None:
                continue
            node, kind, key = match.groups(b"")
            if event is None:
                event, name = Event(text(key), text(node), interpreted=b"/" in key), (node, key)
            if name == (node, key):
                event.add(text(kind).removeprefix("AUOMS_") or "UNKNOWN", piece[match.end() :])
    return _record(event, place)


def _place(row: Positions) -> tuple[int, int, int]:
    offset, length, line = row.tolist()
    return offset, length, line
