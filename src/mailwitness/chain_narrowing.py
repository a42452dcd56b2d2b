"""Leave out the acts that cannot be part of a whole chain, on arrays of numbers, so that the machines do not see them.

An act of a later step matters only when an earlier one shares a key with it, and an act of the first step only when a
later one does; of a step that counts only acts with enough others near them. What is left may still be too much, and is
never too little: names of accounts are compared without their domain, and all values by their hashes. Everything is
sorting and searching, so that the work stays in proportion whatever an intruder writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.chain_keys import column_of, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from mailwitness.content.schemas import Chain, Condition

    Numbers = NDArray[np.int64]
    Hashes = NDArray[np.uint64]
    Flags = NDArray[np.bool_]

# Below this, comparing costs more than the machines.
WORTHWHILE = 2_000
_ROUNDS = 3
_ACCOUNTS = frozenset({"Actor", "Mailbox", "SettingAfter"})
_TEXTS = frozenset({"SessionId", "ClientIP", "Host", "ApplicationId"})
_MESSAGE = "message"
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Value(NamedTuple):
    """A column of acts, compared as an ``account`` or as ``text``."""

    kind: str
    column: str


class Acts(NamedTuple):
    """Acts of one step.

    Attributes:
        rows: their numbers in the table they lie in.
        time: microseconds of 1970.
        values: the hash of each value, 0 where there is none.
        messages: gives for row numbers the hashes of all their message ids: index of the row, hash.
        table: in which they lie.
        is_dear: asking for the messages reads the records again.
    """

    rows: Numbers
    time: Numbers
    values: Mapping[Value, Hashes]
    messages: Callable[[Numbers], tuple[Numbers, Hashes]]
    table: str = ""
    is_dear: bool = True

    def only(self, kept: Flags) -> Acts:
        """Return the acts for which ``kept`` holds."""
        values = {value: hashes[kept] for value, hashes in self.values.items()}
        return self._replace(rows=self.rows[kept], time=self.time[kept], values=values)


class _Part(NamedTuple):
    """A part of a way of joining, compared as ``account``, ``text``, ``message`` or ``all`` (of the whole organisation)."""

    kind: str
    name: str


class _Listed(NamedTuple):
    """Acts by one of their values: index of the act, time, value; an act of several messages is listed several times."""

    at: Numbers
    time: Numbers
    value: Hashes


def short_name(column: str) -> str:
    r"""Return SQL for what all spellings of an account share: ``eva``, ``CONTOSO\eva`` and ``eva@contoso.example``."""
    text = f"lower(trim({column}))"
    # Most names are addresses, which need no regular expression.
    return (
        f"CASE WHEN contains({column}, '/') OR contains({column}, '\\') "
        f"THEN regexp_extract({text}, '([^\\\\/@]*)(?:@.*)?$', 1) ELSE split_part({text}, '@', 1) END"
    )


def value_sql(value: Value) -> str:
    """Return SQL for the hash of a value of an act, 0 where the act has none."""
    text = short_name(value.column) if value.kind == "account" else f"lower({value.column})"
    return f"CASE WHEN {value.column} = '' THEN 0::UBIGINT ELSE hash({text}) END"


def compared(chain: Chain) -> set[Value]:
    """Return the columns of acts by which the acts of a chain's steps can be compared."""
    found = {Value("text", one.field) for one in _conditions(chain) if one and one.field}
    joined = {way for step in chain.ordered() for way in step.join}
    counted = {one.by for one in _conditions(chain) if one}
    for way in joined | counted | {"+".join(chain.correlation.group_by)}:
        for part in filter(None, way.split("+")):
            columns = {column_of(chain, part, name) for name in chain.correlation.rules}
            found |= {Value(_kind(column), column) for column in columns}
    return {value for value in found if value.kind in {"account", "text"}}


def asks(chain: Chain, way: str, steps: Iterable[int]) -> bool:
    """Tell whether some of a chain's steps are joined or counted in a way."""
    ordered, conditions = chain.ordered(), _conditions(chain)
    joined = [name for i in steps for name in ordered[i].join]
    counted = [condition.by for i in steps if (condition := conditions[i])]
    return way in {
        part for name in (*joined, *counted, *chain.correlation.group_by) for part in name.split("+")
    }


def _conditions(chain: Chain) -> list[Condition | None]:
    return [step.count or chain.correlation.condition for step in chain.ordered()]


class Narrowing:
    """The candidates of one ordered chain, narrowed step by step.

    Attributes:
        acts: for each step that has candidates those that are left.
        by_message: messages hold some of them together; else nobody needs their ids.
    """

    def __init__(self, chain: Chain, acts: Mapping[int, Acts]) -> None:
        """Take the candidates of each step; steps that are not given have none."""
        self.chain = chain
        self.acts = dict(acts)
        self.by_message = False
        self._by_message = False
        self._names = chain.correlation.rules
        self._steps = chain.ordered()
        self._conditions = _conditions(chain)
        self._timespan = microseconds(chain.correlation.timespan)
        self._shared = "+".join(chain.correlation.group_by)
        self._needed = [i for i, step in enumerate(self._steps) if not step.optional]

    def narrow(self) -> dict[int, Acts]:
        """Return for each step the acts that are left; none at all where a step that has to be there has none."""
        for i in sorted(self.acts):
            self._too_few(i)
        for _ in range(_ROUNDS):
            before = self._count()
            if not all(i in self.acts and len(self.acts[i].rows) for i in self._needed):
                return {i: acts.only(np.zeros(len(acts.rows), bool)) for i, acts in self.acts.items()}
            self._join()
            if self._count() == before:
                break
        return self.acts

    def _count(self) -> int:
        return sum(len(acts.rows) for acts in self.acts.values())

    def _join(self) -> None:
        self.by_message = self._by_message
        for i in sorted(self.acts):
            if not all(step.optional for step in self._steps[:i]):
                self._joined(i, [j for j in self.acts if j < i])
        later = [i for i in self._needed if i]
        if 0 in self.acts and later:
            self._joined(0, [j for j in self.acts if 0 < j <= later[0]])

    # -- steps that count --------------------------------------------------------------------

    def _too_few(self, i: int) -> None:
        """Leave out the acts of a step that counts, where too few near them share what it counts by."""
        condition = self._conditions[i]
        if condition is None:
            return
        parts = self._parts(condition.by or self._shared, [i])
        cheap = [part for part in parts if part.kind != _MESSAGE]
        if cheap:
            self._enough(i, condition, self._listed(i, cheap))
        if cheap != parts:
            self._enough(i, condition, self._listed(i, parts))
            self._by_message |= len(self.acts[i].rows) > 0

    def _enough(self, i: int, condition: Condition, listed: _Listed) -> None:
        span = self._span(condition)
        order = np.lexsort((listed.time, listed.value))
        value, time = listed.value[order], listed.time[order]
        if condition.field:
            near = _around(value, time, span, condition.gte)
            field = self.acts[i].values[Value("text", condition.field)][listed.at[order]]
            near &= _distinct(value, field) >= condition.gte
        else:
            near = _together(value, time, span, condition.gte)
        self._keep(i, listed.at[order[near]])

    def _span(self, condition: Condition) -> int | None:
        return microseconds(condition.timespan or self.chain.correlation.timespan)

    def _with_their_run(self, i: int, kept: Numbers, parts: list[_Part]) -> Numbers:
        """Return acts with all that may be counted with them: those of their key without a pause longer than the time span."""
        condition = self._conditions[i]
        listed = self._listed(i, parts)
        order = np.lexsort((listed.time, listed.value))
        value, time, at = listed.value[order], listed.time[order], listed.at[order]
        starts = np.ones(len(order), bool)
        starts[1:] = value[1:] != value[:-1]
        span = self._span(condition) if condition else None
        if span is not None:
            starts[1:] |= np.diff(time) > span
        run = np.cumsum(starts)
        return at[np.isin(run, run[np.isin(at, kept)])]

    # -- steps that join ---------------------------------------------------------------------

    def _joined(self, i: int, others: list[int]) -> None:
        """Leave out the acts of step ``i`` that share no key with an act of ``others`` in time."""
        condition = self._conditions[i]
        grouped = self._parts(condition.by or self._shared, [i]) if condition else []
        ways = self._ways([i] if i else others, [i, *others])
        if not ways or not others or (condition and not grouped):
            return
        kept = np.unique(np.concatenate([self._sharing(i, others, parts) for parts in ways]))
        if condition:
            kept = self._with_their_run(i, kept, grouped)
        self._keep(i, kept)

    def _sharing(self, i: int, others: list[int], parts: list[_Part]) -> Numbers:
        """Return the acts of step ``i`` that share all ``parts`` with an act of ``others`` in time."""
        cheap = [part for part in parts if part.kind != _MESSAGE]
        kept = np.arange(len(self.acts[i].rows))
        theirs = {j: np.arange(len(self.acts[j].rows)) for j in others}
        if cheap:
            mine = self._listed(i, cheap)
            other = {j: self._listed(j, cheap) for j in others}
            kept = mine.at[self._in_time(i, mine, _united(other.values()))]
            common = np.unique(mine.value[np.isin(mine.at, kept)])
            theirs = {j: one.at[np.isin(one.value, common)] for j, one in other.items()}
        return kept if cheap == parts else self._sharing_message(i, kept, theirs, parts)

    def _sharing_message(
        self, i: int, kept: Numbers, theirs: dict[int, Numbers], parts: list[_Part]
    ) -> Numbers:
        """Return the acts of ``kept`` that share a message and all else with ``theirs``; the cheaper side is asked first."""
        sides = sorted(
            [[(i, kept)], list(theirs.items())],
            key=lambda side: (any(self.acts[j].is_dear for j, _ in side), sum(len(at) for _, at in side)),
        )
        found: dict[int, _Listed] = {}
        for side in sides:
            found |= {j: self._listed(j, parts, at) for j, at in side}
            if not any(len(found[j].at) for j, _ in side):
                return kept[:0]
        self.by_message = True
        return found[i].at[self._in_time(i, found[i], _united(found[j] for j in theirs))]

    def _in_time(self, i: int, mine: _Listed, other: _Listed) -> Flags:
        """Tell of which acts another one of the same value stands before, for the first step after, within the time span."""
        order = np.lexsort((other.time, other.value))
        value, time = other.value[order], other.time[order]
        # The first of the others that has this value and is not before this time; for a later step the one before it.
        at = _found(value, time, mine.value, mine.time, is_after=bool(i)) - bool(i)
        inside = (at >= 0) & (at < len(value))
        at = np.where(inside, at, 0)
        if not len(value):
            return inside
        gap = np.abs(time[at] - mine.time)
        near: Flags = inside & (value[at] == mine.value)
        return near if self._timespan is None else near & (gap <= self._timespan)

    def _ways(self, joining: list[int], steps: list[int]) -> list[list[_Part]]:
        """Return the ways in which some of ``joining`` follow others; empty when one of them cannot be compared."""
        names = {name for i in joining for name in (self._steps[i].join or {self._shared: ""}) if name}
        ways = [self._parts(name, steps) for name in sorted(names)]
        return ways if all(ways) else []

    def _parts(self, way: str, steps: list[int]) -> list[_Part]:
        """Return what of a way the acts of some steps can be compared by."""
        found = []
        for part in filter(None, way.split("+")):
            kinds = {_kind(column_of(self.chain, part, self._names[i])) for i in steps}
            if len(kinds) == 1 and kinds != {""}:
                found.append(_Part(kinds.pop(), part))
        return found

    def _listed(self, i: int, parts: list[_Part], at: Numbers | None = None) -> _Listed:
        """Return the acts of a step (those of ``at``) that have a value for all parts of a way."""
        acts = self.acts[i]
        if at is None:
            at = np.arange(len(acts.rows))
        value = np.ones(len(at), np.uint64)
        for part in parts:
            column = column_of(self.chain, part.name, self._names[i])
            if part.kind in {"account", "text"}:
                hashes = acts.values[Value(part.kind, column)][at]
                value = np.where(
                    (hashes == 0) | (value == 0), np.uint64(0), (value * _MIX) ^ hashes | np.uint64(1)
                )
        at, value = at[value != 0], value[value != 0]
        if any(part.kind == _MESSAGE for part in parts):
            index, hashes = acts.messages(acts.rows[at]) if len(at) else (at, value)
            at, value = at[index], (value[index] * _MIX) ^ hashes
        return _Listed(at, acts.time[at], value)

    def _keep(self, i: int, at: Numbers) -> None:
        kept = np.zeros(len(self.acts[i].rows), bool)
        kept[at] = True
        self.acts[i] = self.acts[i].only(kept)


def _kind(column: str) -> str:
    """Return how the values of a column are compared; empty when their hashes do not tell."""
    if column in {"", "MessageId"}:
        return _MESSAGE if column else "all"
    return "text" if column in _TEXTS else "account" if column in _ACCOUNTS else ""


def _united(listed: Iterable[_Listed]) -> _Listed:
    found = list(listed)
    return _Listed(*(np.concatenate([one[field] for one in found]) for field in range(3)))


def _found(value: Hashes, time: Numbers, wanted: Hashes, when: Numbers, *, is_after: bool) -> Numbers:
    """Return where values and times would stand among sorted ones: before equal ones, or after them."""
    both_value, both_time = np.concatenate([value, wanted]), np.concatenate([time, when])
    given = np.arange(len(both_value)) < len(value)
    order = np.lexsort((given != is_after, both_time, both_value))
    before = np.cumsum(given[order])
    found = np.empty(len(both_value), np.int64)
    found[order] = before
    return found[len(value) :]


def _together(value: Hashes, time: Numbers, span: int | None, count: int) -> Flags:
    """Tell which acts, sorted by value and time, are among ``count`` in a row of one value within ``span``."""
    last = np.arange(count - 1, len(value))
    first = last - (count - 1)
    if not len(last):
        return np.zeros(len(value), bool)
    full = value[last] == value[first]
    if span is not None:
        full &= time[last] - time[first] <= span
    changes = np.zeros(len(value) + 1, np.int64)
    changes[first[full]] += 1
    changes[last[full] + 1] -= 1
    near: Flags = np.cumsum(changes)[:-1] > 0
    return near


def _around(value: Hashes, time: Numbers, span: int | None, count: int) -> Flags:
    """Tell which acts, sorted by value and time, have ``count`` acts of their value around them, no further than ``span``."""
    wide = span if span is not None else int(time.max() - time.min()) if len(time) else 0
    before = _found(value, time, value, time - wide, is_after=False)
    after = _found(value, time, value, time + wide, is_after=True)
    near: Flags = after - before >= count
    return near


def _distinct(value: Hashes, field: Hashes) -> Numbers:
    """Return for each act how many different fields the acts of its value have."""
    order = np.lexsort((field, value))
    value_of, field_of = value[order], field[order]
    is_new = np.ones(len(value), bool)
    is_new[1:] = (value_of[1:] != value_of[:-1]) | (field_of[1:] != field_of[:-1])
    values, counts = np.unique(value_of[is_new], return_counts=True)
    found: Numbers = counts[np.searchsorted(values, value)]
    return found
