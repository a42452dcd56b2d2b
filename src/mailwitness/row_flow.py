"""Which leading filters of a query must let a row pass for the query to return one.

A rule that joins consent with deletions finds nothing where nobody consented, however much was deleted: it need not be
planned, which is most of what a rule costs. What a step does with rows is known for the steps that rules are made of; a
step that is not known here may return a row of nothing, and then the query runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from mailwitness.kql import leading_filters, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailwitness.kql import Token

# Steps that return no row when none comes in. `summarize` counts nothing as a row unless it groups.
_KEEPING = frozenset(
    {"where", "filter", "extend", "project", "project-away", "project-keep", "project-rename", "project-reorder", "distinct",
     "order", "sort", "take", "limit", "top", "serialize", "mv-expand", "mvexpand", "as"}
)  # fmt: skip
_BOTH = frozenset({"inner", "innerunique", "leftsemi", "rightsemi"})
_FIRST = frozenset({"leftouter", "leftanti", "anti", "leftantisemi"})
_SECOND = frozenset({"rightouter", "rightanti", "rightantisemi"})
# Brackets within brackets are read by calls within calls; no rule has more than ten.
_DEEPEST = 50


class Flow(msgspec.Struct, frozen=True):
    """Where rows come from: of all ``parts`` or of any of them, or through the leading filter ``number``.

    Attributes:
        kind: ``all``, ``any``, ``filter``, or ``open``: there may be rows whatever the filters let pass.
        number: which mention of the table it is, counted from 0.
    """

    kind: str
    parts: tuple[Flow, ...] = ()
    number: int = -1

    def may_have_rows(self, passes: Callable[[int], bool]) -> bool:
        """Tell whether there may be rows, when ``passes`` tells of a leading filter whether a row passes it."""
        if self.kind == "filter":
            return passes(self.number)
        held = (part.may_have_rows(passes) for part in self.parts)
        return all(held) if self.kind == "all" else any(held) if self.kind == "any" else True


_OPEN = Flow("open")


@lru_cache(maxsize=2048)
def row_flow(kql: str, table: str) -> Flow:
    """Return how rows of ``table`` come to the end of a query; the filters are those of ``kql.leading_filters``.

    The query has to be one whose every mention of the table has a leading filter.
    """
    listed = tokens(kql)
    if not leading_filters(kql, table).complete or max(token.depth for token in listed) > _DEEPEST:
        return _OPEN
    mentions = [i for i, token in enumerate(listed) if token.kind == "word" and token.text == table]
    numbers = {listed[at].start: number for number, at in enumerate(mentions)}
    reader = _Reader(table, numbers)
    last: Flow | None = None
    for statement in _split(listed, "end", 0):
        words = [token.text for token in statement[:3]]
        if words[:1] == ["let"] and words[2:] == ["="]:
            reader.named[words[1]] = reader.pipeline(statement[3:])
        elif statement:
            last = _OPEN if last is not None else reader.pipeline(statement)
    return last or _OPEN


def _split(listed: Sequence[Token], kind: str, depth: int) -> list[Sequence[Token]]:
    """Split tokens at those of a kind that stand at a depth."""
    parts: list[Sequence[Token]] = []
    start = 0
    for i, token in enumerate(listed):
        if token.kind == kind and token.depth == depth:
            parts.append(listed[start:i])
            start = i + 1
    return [*parts, listed[start:]]


class _Reader:
    """Reads the pipelines of one query, with what its ``let`` statements named so far."""

    def __init__(self, table: str, numbers: dict[int, int]) -> None:
        self.table = table
        self.numbers = numbers
        self.named: dict[str, Flow] = {}

    def pipeline(self, listed: Sequence[Token]) -> Flow:
        """Return the flow of ``source | step | step``."""
        if not listed:
            return _OPEN
        source, *steps = _split(listed, "pipe", listed[0].depth)
        flow = self._source(source)
        for step in steps:
            flow = self._step(flow, step)
        return flow

    def _source(self, listed: Sequence[Token]) -> Flow:
        if not listed:
            return _OPEN
        if len(listed) == 1 and listed[0].text == self.table:
            return Flow("filter", number=self.numbers[listed[0].start])
        if len(listed) == 1:
            return self.named.get(listed[0].text, _OPEN)
        texts = [token.text for token in listed]
        if texts[0] == "materialize" and self._is_bracketed(listed[1:]):
            return self.pipeline(listed[2:-1])
        if texts[0] == "union":
            return self._union(listed)
        return self.pipeline(listed[1:-1]) if self._is_bracketed(listed) else _OPEN

    @staticmethod
    def _is_bracketed(listed: Sequence[Token]) -> bool:
        """Tell whether tokens are one expression in round brackets."""
        depth = listed[0].depth if listed else 0
        closing = [i for i, token in enumerate(listed) if token.kind == "close" and token.depth == depth]
        return bool(listed) and listed[0].text == "(" and closing == [len(listed) - 1]

    def _step(self, flow: Flow, listed: Sequence[Token]) -> Flow:
        name = _name(listed)
        if name in _KEEPING or (name == "summarize" and _groups(listed)):
            return flow
        if name == "union":
            return Flow("any", (flow, self._union(listed)))
        if name in {"join", "lookup"}:
            return self._joined(flow, listed, "leftouter" if name == "lookup" else "innerunique")
        return _OPEN

    def _union(self, listed: Sequence[Token]) -> Flow:
        _, given = _options(listed[1:])
        return Flow("any", tuple(self._source(part) for part in _split(given, "other", listed[0].depth)))

    def _joined(self, flow: Flow, listed: Sequence[Token], kind: str) -> Flow:
        options, given = _options(listed[1:])
        if any(name != "kind" and not name.startswith("hint.") for name in options):
            return _OPEN
        kind = options.get("kind", kind)
        end = next((i for i, t in enumerate(given) if t.text == "on" and t.depth == listed[0].depth), 0)
        second = self._source(given[:end])
        if kind in _BOTH:
            return Flow("all", (flow, second))
        if kind in _FIRST:
            return flow
        return second if kind in _SECOND else Flow("any", (flow, second)) if kind == "fullouter" else _OPEN


def _name(listed: Sequence[Token]) -> str:
    """Return the name of a step, which may have hyphens."""
    texts = [token.text for token in listed[:3]]
    return "".join(texts) if texts[1:2] == ["-"] else "".join(texts[:1])


def _groups(listed: Sequence[Token]) -> bool:
    """Tell whether a ``summarize`` has something behind its ``by``."""
    places = [i for i, token in enumerate(listed) if token.text == "by" and token.depth == listed[0].depth]
    return bool(places) and places[0] + 1 < len(listed)


def _options(listed: Sequence[Token]) -> tuple[dict[str, str], Sequence[Token]]:
    """Return the options before the tables of a step, such as ``kind=inner``, and what follows them."""
    found: dict[str, str] = {}
    at = 0
    while at + 2 < len(listed) and listed[at].kind == "word":
        name = at
        while listed[at + 1].text == "." and at + 3 < len(listed):
            at += 2
        if listed[at + 1].text != "=":
            return found, listed[name:]
        found["".join(token.text for token in listed[name : at + 1])] = listed[at + 2].text
        at += 3
    return found, listed[at:]
