"""Deletions per hour, beside the most that was usual before the case began."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import count_of, moment, number, parse_moment

if TYPE_CHECKING:
    from mailwitness.report.document import Deletions

HEIGHT = 120.0
"""Pixels of the plot; the width is that of the page."""
_TICKS = 5
# A label further right than this share would be cut off.
_LAST_LABEL = 0.97
# Per cent of the width: a single hour of a month is still seen.
_LEAST_WIDTH = 0.4
_LEAST_HEIGHT = 2.0


class Bar(NamedTuple):
    """The deletions of one hour or day; x and width in per cent, y and height in pixels."""

    x: float
    width: float
    y: float
    height: float
    is_unusual: bool
    title: str


class Mark(NamedTuple):
    """A time below the bars."""

    x: float
    label: str
    anchor: str


class Rhythm(NamedTuple):
    """The picture, its numbers as a table, and the same in words."""

    unit: str
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    usual_y: float | None
    top: str
    rows: tuple[tuple[str, str], ...]
    left: int
    description: str


def draw_rhythm(part: Deletions | None, most_rows: int = 50) -> Rhythm | None:
    """Draw the deletions of a case; None when nothing was deleted or nothing is known about it."""
    if part is None:
        return None
    begin, end = parse_moment(part.from_), parse_moment(part.to)
    counts = [(at, one.count) for one in part.counts if (at := parse_moment(one.time)) and one.count > 0]
    if begin is None or end is None or end <= begin or not counts:
        return None
    highest = max(*(count for _, count in counts), part.most)
    name = "day" if part.unit == "day" else "hour"
    unit = timedelta(days=1) if name == "day" else timedelta(hours=1)
    bars = tuple(
        _bar(at, count, begin, end, unit, highest, part) for at, count in counts if begin <= at < end
    )
    ranked = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    rows = tuple((moment(at.isoformat()), number(count)) for at, count in ranked[:most_rows])
    usual = HEIGHT - HEIGHT * part.most / highest if part.is_enough else None
    return Rhythm(
        name,
        bars, tuple(_marks(begin, end)), usual, number(highest), rows, len(counts) - len(rows), _words(part, name, ranked)
    )  # fmt: skip


def _bar(
    at: datetime, count: int, begin: datetime, end: datetime, unit: timedelta, highest: int, part: Deletions
) -> Bar:
    height = max(_LEAST_HEIGHT, HEIGHT * count / highest)
    return Bar(
        x=round(100 * ((at - begin) / (end - begin)), 2),
        width=round(max(_LEAST_WIDTH, 90 * (unit / (end - begin))), 2),
        y=round(HEIGHT - height, 1),
        height=round(height, 1),
        is_unusual=not part.is_enough or count > part.most,
        title=f"{moment(at.isoformat())} UTC: {number(count)}",
    )


def _marks(begin: datetime, end: datetime) -> list[Mark]:
    """Label whole days, or begin, middle and end of what is shorter than that."""
    days = (end - begin).days
    if days < _TICKS - 1:
        times = [begin, begin + (end - begin) / 2, end]
        form, anchors = "%m-%d %H:%M", ("start", "middle", "end")
        return [
            Mark(round(100 * ((at - begin) / (end - begin)), 1), at.strftime(form), anchor)
            for at, anchor in zip(times, anchors, strict=True)
        ]
    step = timedelta(days=-(-days // _TICKS))
    first = begin.replace(hour=0) + (timedelta(days=1) if begin.hour else timedelta())
    places = [(first + step * at - begin) / (end - begin) for at in range(_TICKS + 1)]
    return [
        Mark(
            round(100 * place, 1), (first + step * at).strftime("%m-%d"), "start" if place == 0 else "middle"
        )
        for at, place in enumerate(places)
        if place <= _LAST_LABEL
    ]


def _words(part: Deletions, unit: str, ranked: list[tuple[datetime, int]]) -> str:
    """Say what a reader should see in the picture."""
    at, most = ranked[0]
    total = sum(count for _, count in ranked)
    told = (
        f"{count_of(total, 'deletion').capitalize()} in {count_of(len(ranked), unit)}; "
        f"most in the {unit} from {moment(at.isoformat())} UTC: {number(most)}."
    )
    if not part.is_enough:
        return f"{told} What is usual is not evaluated: only {count_of(part.before_days, 'day')} of evidence before the case."
    if not part.before_units:
        return f"{told} None in the {count_of(part.before_days, 'day')} before."
    return (
        f"{told} In the {count_of(part.before_days, 'day')} before, at most {number(part.most)} "
        f"and usually {part.median:g} in {'an hour' if unit == 'hour' else 'a day'} with deletions."
    )
