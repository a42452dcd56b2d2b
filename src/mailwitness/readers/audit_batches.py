"""Large audit logs: plain events become rows many at once, the others are taken apart record by record, every line is accounted for.

A stretch of the file gives one batch of the columns `SCHEMA`; `relation` is the SQL from these to the raw keys of the mappings. What SQL
finds to be not plain after all (a path with ``..``, an argument in hex, a title that is no text) is marked there and taken apart too.
"""

from __future__ import annotations

import mmap
from collections import deque
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
from mailwitness.readers.byte_words import Text, keep_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Odd
    from mailwitness.readers.index import Positions

# Text that becomes one batch: small enough for the processor's cache, large enough that each step's start costs nothing.
CHUNK_BYTES = 4 << 20
# Before the end of a batch no event may go on behind it: the records of one event are written within milliseconds.
MARGIN_BYTES = 128 << 10
# So much of the log is in the database's memory before it is written; and so many events wait that are not plain.
PORTION_BYTES = 64 << 20
_MOST_ODD = 20_000
# Text of a batch whose events do not end within it.
_MOST_BYTES = 64 << 20


class Batch(NamedTuple):
    """What one stretch of the file holds: events that no rule asks for, those it asks for, and brief ones; their places; all others."""

    rows: pa.RecordBatch
    wanted: pa.RecordBatch
    brief: pa.RecordBatch
    places: Positions
    odd: list[tuple[int, RawRecord | Damage]]


class EventBatches:
    """The events of one file as batches, with their places, and what has to be loaded another way."""

    def __init__(self, path: Path, needs: frozenset[str], *, is_brief: bool = False) -> None:
        """Take the file, the raw keys that are read, and whether events of no interest may be brief."""
        keep_memory()
        self._path = path
        self._keys = audit_table.texts(needs)
        self._is_deep = bool(needs & {f"a{i}" for i in range(10)} | needs & {"argc"}), "Paths" in needs
        self._nodes: dict[bytes, int] = {}
        self._wanted = Wanted()
        self._interest = Interest() if is_brief else None
        self._offset = 0
        self._line = 1
        self._places: list[Positions] = []
        self.records = 0
        self.size = path.stat().st_size
        self.odd: deque[tuple[int, RawRecord | Damage]] = deque()

    def portion(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Return the next portion: the events with some columns, those that rules ask about with all of them, and brief ones."""
        batches = list(self._portion())
        others, wanted, brief = (
            pa.Table.from_batches([one[i] for one in batches if len(one[i])], schema)
            for i, schema in enumerate((audit_table.SCHEMA, audit_table.SCHEMA, audit_table.BRIEF))
        )
        return others, wanted, brief

    def has_more(self) -> bool:
        """Tell whether there is another portion."""
        return self._offset < self.size

    def index(self) -> line_index.RecordIndex:
        """Return the places of all records."""
        rows = np.concatenate(self._places or [np.zeros((0, 3), dtype=np.int64)]).astype(np.uint64)
        return line_index.build_index([rows[:, 0]], [rows[:, 1]], [rows[:, 2]])

    def again(self, numbers: list[int]) -> Iterator[tuple[int, RawRecord | Damage]]:
        """Take events of this portion apart record by record that turned out not to be plain."""
        places = np.concatenate(self._places) if self._places else np.zeros((0, 3), dtype=np.int64)
        with self._path.open("rb") as handle:
            for number in numbers:
                offset, length, line = places[number].tolist()
                handle.seek(offset)
                yield number, _single(handle.read(length), (offset, length, line))

    def _portion(self) -> Iterator[Batch]:
        start = self._offset
        with (
            self._path.open("rb") as handle,
            mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            while self._offset < self.size:
                batch = self._next(content)
                self._places.append(batch.places)
                self.records += len(batch.places)
                self.odd += batch.odd
                yield batch
                if self._offset - start >= PORTION_BYTES or len(self.odd) >= _MOST_ODD:
                    return

    def _next(self, content: mmap.mmap) -> Batch:
        """Take the next stretch: whole events, or very much text."""
        size = CHUNK_BYTES
        while True:
            end = min(self._offset + size, self.size)
            end = content.rfind(b"\n", self._offset, end) + 1 or end if end < self.size else end
            stretch = content[self._offset : end]
            found = Text(
                b" " * len(UTF8_BOM) + stretch[len(UTF8_BOM) :]
                if not self._offset and stretch.startswith(UTF8_BOM)
                else stretch
            )
            these = audit_lines.lines(found, self._nodes)
            odd = audit_lines.odd(found, these)
            groups = audit_groups.group(these, odd, self._nodes)
            if end < self.size:
                cut = audit_groups.clean_cut(these, groups, len(stretch) - MARGIN_BYTES)
                if not cut and size < _MOST_BYTES:
                    size *= 2
                    continue
                if cut:
                    these, odd, groups = self._shortened(these, odd, cut)
            break
        batch = self._batch(found, these, odd, groups)
        taken = int(these.ends[-1]) if len(these.ends) else len(stretch)
        taken = len(stretch) if end == self.size else taken
        self._line += int(np.count_nonzero(found.data[:taken] == ord("\n")))
        self._offset += taken
        return batch

    def _shortened(self, these: Lines, odd: Odd, cut: int) -> tuple[Lines, Odd, Groups]:
        """Leave the lines behind a place for the next stretch."""
        count = int(np.searchsorted(these.ends, cut, side="right"))
        these, odd = audit_lines.before(these, odd, count)
        return these, odd, audit_groups.group(these, odd, self._nodes)

    def _batch(self, found: Text, these: Lines, odd: Odd, groups: Groups) -> Batch:
        bases = audit_columns.separators(found, these.starts, these.stops)
        number, places = self._placed(these, odd, groups)
        nodes = list(self._nodes)
        chosen = salvaged = np.zeros(len(groups.firsts), dtype=np.bool_)
        if self._interest is not None:
            chosen, salvaged = self._interest.find(found, these, groups, bases)
        heads = groups.lines[groups.firsts[chosen]]
        brief = audit_table.brief_rows(
            found, these, heads, number[: len(chosen)][chosen], salvaged[chosen], nodes
        )
        rest = np.flatnonzero(~chosen)
        own = groups.only(rest)
        this = audit_table.read(found, these, own, bases, self._keys, self._is_deep, self._wanted)
        items: list[tuple[int, RawRecord | Damage]] = []
        for event in np.flatnonzero(~this.columns.is_plain).tolist():
            place = _place(places[rest[event]])
            items.append((int(number[rest[event]]), _apart(found, these, own, odd, event, place)))
        for which, (_, reason) in enumerate(odd.damaged, len(groups.firsts)):
            items.append((int(number[which]), Damage(*_place(places[which]), reason)))
        rows = [
            audit_table.rows(this, these, own, number[rest], nodes, is_wanted) for is_wanted in (False, True)
        ]
        ordered = np.empty_like(places)
        ordered[number - self.records] = places
        return Batch(rows[0], rows[1], brief, ordered, items)

    def _placed(self, these: Lines, odd: Odd, groups: Groups) -> tuple[Positions, Positions]:
        """Return numbers and places of the events and of the damaged lines behind them."""
        heads, tails = groups.lines[groups.firsts], groups.lines[groups.firsts + groups.counts - 1]
        bad = np.array([line for line, _ in odd.damaged], dtype=np.int64)
        firsts = np.concatenate([heads, bad])
        number = np.empty(len(firsts), dtype=np.int64)
        number[np.argsort(firsts, kind="stable")] = np.arange(len(firsts)) + self.records
        stops = np.concatenate([these.ends[tails], these.stops[bad]])
        starts = these.starts[firsts]
        lines = these.numbers[firsts] + self._line
        return number, np.stack([starts + self._offset, stops - starts, lines], axis=1)


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
