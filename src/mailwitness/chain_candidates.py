"""The acts that the machines of the chains are fed with, in the order of time.

Only acts that pass a step's filter leave the database, only for chains of which every needed step has such an act, and
of many acts only those that can be part of a whole chain.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from mailwitness import chain_narrowing
from mailwitness.chain_further import from_findings, from_queries
from mailwitness.chain_keys import microseconds
from mailwitness.chain_narrowing import Acts, Narrowing
from mailwitness.chain_rows import Rows
from mailwitness.needs import named_activities

if TYPE_CHECKING:
    from mailwitness.chain_keys import Act
    from mailwitness.chain_machine import Machine
    from mailwitness.chain_parts import Fed, Part, Prepared
    from mailwitness.models import Finding
    from mailwitness.open_case import OpenCase

# Any time that the database can write as a number of microseconds.
_EVER = (-62_135_596_800_000_000, 253_402_300_799_999_999)


def feed(
    opened: OpenCase,
    ready: list[Prepared],
    machines: dict[str, Machine],
    found: list[Finding],
) -> None:
    """Give every machine its acts in the order of time.

    Args:
        opened: the case.
        ready: chains that can be evaluated.
        machines: their machines, by the chain's id.
        found: findings of the rules, which may be steps.

    Raises:
        MailwitnessError: the database refused a step.
    """
    further = [*from_queries(opened, ready), *from_findings(ready, found)]
    held = [item for item in ready if _may_match(item, _held(opened, item), further)]
    rows = Rows(opened, {value for item in held for value in chain_narrowing.compared(item.chain)})
    try:
        listed = _Candidates(opened, held, rows, further).left()
        # Of two records of one second the earlier step's is the earlier.
        listed.sort(key=lambda one: (one[0].burst is None, one[0].index))
        further.sort(key=lambda fed: fed[0])
        stored = rows.fed(listed)
        for _, parts, act in heapq.merge(further, stored, key=lambda fed: fed[0]) if further else stored:
            for part in parts:
                if part.index < 0:
                    machines[part.chain].forbid(part.name, act)
                else:
                    machines[part.chain].feed(part.index, act)
    finally:
        rows.drop()


def _held(opened: OpenCase, item: Prepared) -> set[str]:
    """Return the predicates of a chain of which the case can hold an act, as its activities tell."""
    return {
        part.predicate
        for part in item.parts
        if part.predicate and (not opened.held or _activities(opened, part) & opened.held)
    }


def _activities(opened: OpenCase, part: Part) -> set[str]:
    return named_activities(part.filter, opened.vocabulary) or opened.vocabulary


def _may_match(item: Prepared, predicates: set[str], further: list[Fed]) -> bool:
    """Tell whether every needed step of a chain can have an act."""
    elsewhere = {part.name for _, parts, _ in further for part in parts if part.chain == item.chain.id}
    return all(part.optional or part.predicate in predicates or part.name in elsewhere for part in item.parts)


class _Candidates:
    """The acts of all chains, read in one scan and narrowed chain by chain."""

    def __init__(self, opened: OpenCase, held: list[Prepared], rows: Rows, further: list[Fed]) -> None:
        """Read the acts that MailboxActivity shows."""
        self._opened = opened
        self._rows = rows
        self._further = further
        asked = [
            part
            for item in held
            for part in item.parts
            if part.predicate in _held(opened, item) and not part.is_late
        ]
        named = set().union(*(_activities(opened, part) for part in asked))
        self._shown = rows.scanned(asked, named & opened.held)
        late = {part.predicate for item in held for part in item.parts if part.is_late}
        self._alive = [item for item in held if _may_match(item, {*self._shown, *late}, further)]
        self._late = self._computed()

    def _computed(self) -> dict[tuple[str, object], Acts]:
        """Return the acts that are computed when they are asked, for the time in which they can matter."""
        asked: dict[tuple[str, object], Part] = {}
        times: dict[tuple[str, object], tuple[int, int]] = {}
        for item in self._alive:
            for part in item.parts:
                if part.is_late and part.predicate in _held(self._opened, item):
                    key = (part.predicate, part.burst)
                    first, last = self._limits(item, part)
                    before = times.get(key, (first, last))
                    times[key] = (min(before[0], first), max(before[1], last))
                    asked[key] = part
        found = {key: self._rows.late(part, *times[key]) for key, part in asked.items()}
        return {key: acts for key, acts in found.items() if acts is not None}

    def _limits(self, item: Prepared, part: Part) -> tuple[int, int]:
        """Return the time in which a step's acts can matter: after the needed steps before it, before those after it."""
        first, last = _EVER
        if item.chain.correlation.type != "temporal_ordered" or part.index < 0:
            return first, last
        span = microseconds(item.chain.correlation.timespan)
        for other in item.parts:
            acts = self._shown.get(other.predicate)
            if other.optional or acts is None or self._is_fed(other):
                continue
            begin, end = int(acts.time.min()), int(acts.time.max())
            if other.index < part.index:
                first = max(first, begin)
                last = min(last, last if span is None else end + span)
            elif other.index > part.index:
                last = min(last, end)
                first = max(first, first if span is None else begin - span)
        return first, last

    def _is_fed(self, part: Part) -> bool:
        return any(part in parts for _, parts, _ in self._further)

    def left(self) -> list[tuple[Part, Acts, bool]]:
        """Return the parts with the acts that are left, and whether the ids of their messages are needed."""
        return [one for item in self._alive for one in self._left(item)]

    def _left(self, item: Prepared) -> list[tuple[Part, Acts, bool]]:
        acts = {part: found for part in item.parts if (found := self._acts(part)) is not None}
        if not all(part.optional or part in acts or self._is_fed(part) for part in item.parts):
            return []
        steps = [part.index for part in acts if part.index >= 0]
        by_message = chain_narrowing.asks(item.chain, "message", steps)
        is_ordered = item.chain.correlation.type == "temporal_ordered"
        if is_ordered and sum(len(one.rows) for one in acts.values()) >= chain_narrowing.WORTHWHILE:
            given = {part.index: one for part, one in acts.items() if part.index >= 0}
            narrowing = Narrowing(item.chain, given | self._given(item, set(given)))
            left = narrowing.narrow()
            acts = {part: left.get(part.index, one) for part, one in acts.items()}
            by_message = narrowing.by_message
        return [(part, one, by_message) for part, one in acts.items()]

    def _acts(self, part: Part) -> Acts | None:
        return (
            self._late.get((part.predicate, part.burst)) if part.is_late else self._shown.get(part.predicate)
        )

    def _given(self, item: Prepared, known: set[int]) -> dict[int, Acts]:
        """Return the acts of a chain that come from queries and rules."""
        acts: dict[int, list[Act]] = {}
        for _, parts, act in self._further:
            for part in parts:
                if part.chain == item.chain.id and part.index >= 0 and part.index not in known:
                    acts.setdefault(part.index, []).append(act)
        stored = {index: self._rows.given(listed) for index, listed in acts.items()}
        return {index: one for index, one in stored.items() if one is not None}
