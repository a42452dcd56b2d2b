"""Follow one chain through acts in the order of time: each act is looked at once, whatever came before.

A machine keeps, for each step and each key, only the newest few open chains. An intruder who starts ten thousand
chains and ends none therefore costs ten thousand steps of work, not their square.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.chain_keys import ANY, Act, Keys, extractor, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.content.schemas import Chain, Condition

KEPT_ACTS = 20
# Open chains that share a key: the newest reaches furthest, the others serve when it does not fit the gap.
_OPEN_PER_KEY = 3

Key = tuple[str, str]


class Link:
    """One step of an open chain, with the links before it."""

    __slots__ = (
        "acts",
        "child",
        "complete",
        "count",
        "extended",
        "first",
        "key",
        "keys",
        "last",
        "parent",
        "start",
        "step",
        "way",
    )

    def __init__(self, parent: Link | None, step: int, acts: list[Act], joined: Key) -> None:
        """Begin a link; ``joined`` is the way and the key by which it follows its parent."""
        self.parent = parent
        self.step = step
        self.acts = acts[:KEPT_ACTS]
        self.count = len(acts)
        self.first = acts[0].time
        self.last = acts[-1].time
        self.start: int = parent.start if parent else self.first
        self.way, self.key = joined
        self.keys: dict[Key, None] = dict.fromkeys(parent.keys) if parent else {}
        self.child: dict[int, Link] = {}
        self.complete = False
        self.extended = False

    def absorb(self, act: Act) -> None:
        """Take one more act of the same step."""
        self.count += 1
        self.last = act.time
        if len(self.acts) < KEPT_ACTS:
            self.acts.append(act)

    def path(self) -> list[Link]:
        """Return the links from the first step to this one."""
        links: list[Link] = []
        at: Link | None = self
        while at is not None:
            links.append(at)
            at = at.parent
        return links[::-1]


class Counter(NamedTuple):
    """What a step counts: the condition, its time in microseconds, and what the counted acts share."""

    condition: Condition
    timespan: int | None
    keys: Callable[[Act], Keys]


class Burst:
    """The newest acts of one step and key, as many as its condition counts."""

    def __init__(self, condition: Condition, timespan: int | None) -> None:
        """Count as ``condition`` says, within ``timespan`` microseconds."""
        self.condition = condition
        self.timespan = timespan
        self.link: Link | None = None
        self._newest: deque[Act] = deque(maxlen=condition.gte)
        # By value, where different values are counted.
        self._acts: OrderedDict[str, Act] = OrderedDict()

    def add(self, act: Act) -> bool:
        """Take an act and say whether those of the time span now fulfil the condition."""
        if self.condition.field:
            return self._add_value(act)
        self._newest.append(act)
        return len(self._newest) >= self.condition.gte and self._is_near(self._newest[0], act)

    def _add_value(self, act: Act) -> bool:
        value = str(getattr(act, self.condition.field)).lower()
        if value == "":
            return False
        self._acts.pop(value, None)
        self._acts[value] = act
        while len(self._acts) > self.condition.gte or not self._is_near(next(iter(self._acts.values())), act):
            self._acts.popitem(last=False)
        return len(self._acts) >= self.condition.gte

    def _is_near(self, oldest: Act, act: Act) -> bool:
        return self.timespan is None or act.time - oldest.time <= self.timespan

    def acts(self) -> list[Act]:
        """Return the acts that fulfil the condition."""
        return list(self._acts.values() if self.condition.field else self._newest)


class Machine:
    """Follow one chain; feed it acts in the order of time, then ask for what it found.

    Attributes:
        work: look-ups and filings done so far; a test holds it to a line.
    """

    def __init__(self, chain: Chain) -> None:
        """Prepare the ways of joining of each step."""
        self.chain = chain
        self.names = chain.correlation.rules
        self.steps = chain.ordered()
        self.timespan = microseconds(chain.correlation.timespan)
        self.work = 0
        self.found: list[Link] = []
        shared = "+".join(chain.correlation.group_by)
        joins = [step.join or {shared: chain.correlation.timespan} for step in self.steps]
        self.joins = [
            [(way, microseconds(gap), extractor(chain, way, name)) for way, gap in join.items() if way]
            for name, join in zip(self.names, joins, strict=True)
        ]
        self.filings = [self._filings(i) for i in range(len(self.steps))]
        self.slots: list[dict[Key, list[Link]]] = [defaultdict(list) for _ in self.steps]
        self.bursts: dict[tuple[int, str], Burst] = {}
        conditions = [step.count or chain.correlation.condition for step in self.steps]
        self.counted = {i: self._counter(i, one) for i, one in enumerate(conditions) if one is not None}
        self.silencers: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.forbidding = {
            name: [(way, extractor(chain, way, name)) for way in step.join]
            for name, step in chain.forbidden.items()
        }

    def _counter(self, i: int, condition: Condition) -> Counter:
        way = condition.by or "+".join(self.chain.correlation.group_by)
        span = microseconds(condition.timespan or self.chain.correlation.timespan)
        return Counter(condition, span, extractor(self.chain, way, self.names[i]))

    def _filings(self, i: int) -> list[tuple[str, Callable[[Act], Keys]]]:
        """Return the ways by which later steps may look for this one."""
        later = dict.fromkeys(way for join in self.joins[i + 1 :] for way, _, _ in join)
        return [(way, extractor(self.chain, way, self.names[i])) for way in later]

    # -- feeding -----------------------------------------------------------------------------

    def feed(self, i: int, act: Act) -> None:
        """Take an act that passes the filter of step ``i``."""
        if i not in self.counted:
            self._follow(i, [act])
            return
        for key in self.counted[i].keys(act).filed:
            # One account is filed under two forms; it is counted once.
            if ANY not in key:
                self._count(i, key, act)

    def _count(self, i: int, key: str, act: Act) -> None:
        condition, span, _ = self.counted[i]
        burst = self.bursts.get((i, key))
        if burst is None:
            burst = self.bursts[i, key] = Burst(condition, span)
        self.work += 1
        if not burst.add(act):
            return
        link = burst.link
        if link is not None and (span is None or act.time - link.last <= span):
            link.absorb(act)
            self._file(link, act)
            return
        joined = self._follow(i, burst.acts())
        # A burst that begins a chain goes on as the same one; what continues a chain is found by its parent.
        burst.link = joined if joined is not None and joined.parent is None else None

    def forbid(self, name: str, act: Act) -> None:
        """Take an act that the chain forbids."""
        for way, keys in self.forbidding[name]:
            for key in keys(act).filed:
                self.silencers[name, way, key].append(act.time)

    def _follow(self, i: int, acts: list[Act]) -> Link | None:
        """Join acts to an open chain, or begin one."""
        parent, joined = self._parent(i, acts)
        if parent is None:
            if not all(step.optional for step in self.steps[:i]):
                return None
            return self._begin(None, i, acts, ("", ""))
        link = parent.child.get(i)
        if link is not None and self._in_time(link, acts[-1], None):
            link.absorb(acts[-1])
            self._file(link, acts[-1])
            return link
        return self._begin(parent, i, acts, joined)

    def _parent(self, i: int, acts: list[Act]) -> tuple[Link | None, Key]:
        """Return the open chain that these acts continue, and how."""
        for level in range(i - 1, -1, -1):
            for way, gap, keys in self.joins[i]:
                for key in keys(acts[-1]).looked_up:
                    self.work += 1
                    for link in reversed(self.slots[level].get((way, key), ())):
                        if self._fits(link, acts, gap):
                            return link, (way, key)
            if not self.steps[level].optional:
                break
        return None, ("", "")

    def _fits(self, link: Link, acts: list[Act], gap: int | None) -> bool:
        before, after = link.acts[-1], acts[0]
        is_same_record = (before.time, before.exhibit, before.position) == (
            after.time,
            after.exhibit,
            after.position,
        )
        return (
            after.time >= link.first
            and not (is_same_record and after.position >= 0)
            and self._in_time(link, acts[-1], gap)
        )

    def _in_time(self, link: Link, act: Act, gap: int | None) -> bool:
        return (self.timespan is None or act.time - link.start <= self.timespan) and (
            gap is None or act.time - link.last <= gap
        )

    def _begin(self, parent: Link | None, i: int, acts: list[Act], joined: Key) -> Link:
        link = Link(parent, i, acts, joined)
        if parent is not None:
            parent.child[i] = link
            parent.extended = True
        for act in link.acts:
            self._file(link, act)
        for key in link.keys:
            self._put(link, key)
        if all(step.optional for step in self.steps[i + 1 :]):
            link.complete = True
            self.found.append(link)
        return link

    def _file(self, link: Link, act: Act) -> None:
        """Make a link findable by the ways that later steps look for it."""
        for way, keys in self.filings[link.step]:
            for key in keys(act).filed:
                if (way, key) not in link.keys:
                    link.keys[way, key] = None
                    self._put(link, (way, key))

    def _put(self, link: Link, key: Key) -> None:
        self.work += 1
        listed = self.slots[link.step][key]
        if listed and listed[-1] is link:
            return
        listed.append(link)
        if len(listed) > _OPEN_PER_KEY:
            del listed[0]

    # -- the end -----------------------------------------------------------------------------

    def matches(self) -> list[list[Link]]:
        """Return complete chains as their links in order, those left out that a forbidden act silences."""
        paths = [link.path() for link in self.found if not link.extended]
        return [path for path in paths if not self._is_silenced(path)]

    def _is_silenced(self, path: list[Link]) -> bool:
        start, end = path[0].first, path[-1].last
        for name, step in self.chain.forbidden.items():
            within = microseconds(step.within) or 0
            earliest, latest = {
                "before": (start - within, start),
                "between": (start, end),
                "after": (end, end + within),
            }[step.where]
            if any(
                self._has_between(name, way, key, earliest, latest)
                for way in step.join
                for link in path
                for key in extractor(self.chain, way, self.names[link.step])(link.acts[0]).looked_up
            ):
                return True
        return False

    def _has_between(self, name: str, way: str, key: str, earliest: int, latest: int) -> bool:
        times = self.silencers.get((name, way, key), [])
        at = bisect_left(times, earliest)
        return at < len(times) and times[at] <= latest


class Unordered(Machine):
    """Follow a chain whose steps may come in any order (Sigma's ``temporal``)."""

    def __init__(self, chain: Chain) -> None:
        """Prepare the shared keys of the steps."""
        super().__init__(chain)
        way = "+".join(chain.correlation.group_by)
        self.shared = [extractor(chain, way, name) for name in self.names]
        self.way = way
        self.latest: dict[str, dict[int, Act]] = defaultdict(dict)

    def _follow(self, i: int, acts: list[Act]) -> Link | None:
        for key in self.shared[i](acts[-1]).filed:
            if ANY in key:
                continue
            self.work += 1
            seen = self.latest[key]
            seen[i] = acts[-1]
            fresh = {
                step: act
                for step, act in seen.items()
                if self.timespan is None or acts[-1].time - act.time <= self.timespan
            }
            if all(step in fresh or self.steps[step].optional for step in range(len(self.steps))):
                self._complete(fresh, key)
                seen.clear()
        return None

    def _complete(self, seen: dict[int, Act], key: str) -> None:
        link: Link | None = None
        for step, act in sorted(seen.items(), key=lambda item: (item[1].time, item[0])):
            link = Link(link, step, [act], (self.way, key) if link else ("", ""))
        if link is not None:
            link.complete = True
            self.found.append(link)


def machine(chain: Chain) -> Machine:
    """Return the machine for a chain's type."""
    return Unordered(chain) if chain.correlation.type == "temporal" else Machine(chain)
