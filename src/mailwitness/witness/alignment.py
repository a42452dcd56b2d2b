"""Lines of two texts brought side by side: what only one of them has, and what stands in place of what.

Lines that occur once in both are anchors, kept in their longest common order (the idea of patience diff); between anchors the same is
tried again, and what is left over is compared directly when it is short. The effort grows with n log n for logs, whose lines carry times
and hardly ever repeat.
"""

from __future__ import annotations

import bisect
from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# difflib is quadratic; stretches without any anchor and longer than this are taken as replaced.
_DIRECT = 400


class Stretch(NamedTuple):
    """Lines ``[a, a_end)`` of the first text beside ``[b, b_end)`` of the second: the same, or what differs."""

    is_same: bool
    a: int
    a_end: int
    b: int
    b_end: int


def align(first: Sequence[bytes], second: Sequence[bytes]) -> Iterator[Stretch]:
    """Yield the stretches of two texts in order; together they cover both."""
    waiting = [(0, len(first), 0, len(second))]
    while waiting:
        a, a_end, b, b_end = waiting.pop()
        start = a
        while a < a_end and b < b_end and first[a] == second[b]:
            a, b = a + 1, b + 1
        if a > start:
            yield Stretch(True, start, a, b - (a - start), b)  # noqa: FBT003 - a named field
        if a == a_end or b == b_end:
            if a < a_end or b < b_end:
                yield Stretch(False, a, a_end, b, b_end)  # noqa: FBT003 - a named field
            continue
        anchors = _anchors(first, second, (a, a_end, b, b_end))
        if anchors:
            places = [(a, b), *((x, y) for x, y in anchors), (a_end, b_end)]
            parts = [(places[i], places[i + 1]) for i in range(len(places) - 1)]
            waiting += [(x, x_end, y, y_end) for (x, y), (x_end, y_end) in reversed(parts)]
        else:
            yield from _direct(first, second, (a, a_end, b, b_end))


def _anchors(
    first: Sequence[bytes], second: Sequence[bytes], window: tuple[int, int, int, int]
) -> list[tuple[int, int]]:
    """Return places of lines that occur once in both windows, in their longest common order."""
    a, a_end, b, b_end = window
    counts, others = Counter(first[a:a_end]), Counter(second[b:b_end])
    places = {second[i]: i for i in range(b, b_end) if others[second[i]] == 1}
    pairs = [(i, places[first[i]]) for i in range(a, a_end) if counts[first[i]] == 1 and first[i] in places]
    return _longest_increasing(pairs)


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    tops: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for i, (_, place) in enumerate(pairs):
        pile = bisect.bisect_left(tops, place)
        before.append(last[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(place)
            last.append(i)
        else:
            tops[pile], last[pile] = place, i
    chosen, i = [], last[-1] if last else -1
    while i >= 0:
        chosen.append(pairs[i])
        i = before[i]
    return chosen[::-1]


def _direct(
    first: Sequence[bytes], second: Sequence[bytes], window: tuple[int, int, int, int]
) -> Iterator[Stretch]:
    a, a_end, b, b_end = window
    if (a_end - a) + (b_end - b) > _DIRECT:
        yield Stretch(False, a, a_end, b, b_end)  # noqa: FBT003 - a named field
        return
    matcher = SequenceMatcher(None, first[a:a_end], second[b:b_end], autojunk=False)
    for tag, x, x_end, y, y_end in matcher.get_opcodes():
        yield Stretch(tag == "equal", a + x, a + x_end, b + y, b + y_end)


def pair(first: Sequence[bytes], second: Sequence[bytes], *, likeness: float = 0.6) -> list[tuple[int, int]]:
    """Return which lines of ``first`` became which of ``second``, in order; lines that are not alike stay alone."""
    pairs: list[tuple[int, int]] = []
    start = 0
    if len(first) * len(second) > _DIRECT * _DIRECT:
        return pairs
    for i, line in enumerate(first):
        for j in range(start, len(second)):
            # Long lines are compared by their beginning: difflib is quadratic in them.
            matcher = SequenceMatcher(None, line[:500], second[j][:500], autojunk=False)
            if matcher.quick_ratio() >= likeness and matcher.ratio() >= likeness:
                pairs.append((i, j))
                start = j + 1
                break
    return pairs
