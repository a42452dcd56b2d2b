"""The heat-map of visibility: one lane for each source, time to scale, the worst state of each column.

It is drawn with fills and hatching, so it can be read without telling colours apart and on paper.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import count_of, parse_moment

if TYPE_CHECKING:
    from mailwitness.report.document import Lane, Visibility

# More columns than this are narrower than a reader can tell on a page of 700 pixels.
_COLUMNS = 120
_LANES = 24
_TICKS = 5
_STATES = ("none", "seen", "unknown", "blind")


class Block(NamedTuple):
    """Neighbouring columns of one state; x and width in per cent."""

    x: float
    width: float
    state: str


class HeatLane(NamedTuple):
    """One source with its blocks."""

    label: str
    blocks: tuple[Block, ...]


class Mark(NamedTuple):
    """A date below the map."""

    x: float
    label: str
    anchor: str


class Heat(NamedTuple):
    """The map, and the same in words."""

    lanes: tuple[HeatLane, ...]
    marks: tuple[Mark, ...]
    description: str


def draw_heat(part: Visibility) -> Heat | None:
    """Place the stretches of all lanes on one time axis; None without any."""
    lanes = part.lanes[:_LANES]
    spans = [
        [
            (a, b, one.state)
            for one in lane.stretches
            if (a := parse_moment(one.from_)) and (b := parse_moment(one.to))
        ]
        for lane in lanes
    ]
    times = [time for span in spans for a, b, _ in span for time in (a, b)]
    if not times:
        return None
    first, last = min(times), max(*times, min(times) + timedelta(hours=1))
    step = max((last - first) / _COLUMNS, timedelta(minutes=1))
    columns = min(_COLUMNS, max(1, -(-(last - first) // step)))
    drawn = tuple(
        HeatLane(_label(lane), tuple(_blocks(span, first, step, columns)))
        for lane, span in zip(lanes, spans, strict=True)
    )
    words = "; ".join(f"{_label(lane)}: {_in_words(lane)}" for lane in lanes)
    return Heat(drawn, tuple(_marks(first, last)), words)


def _label(lane: Lane) -> str:
    return f"{lane.source}, {lane.subject}" if lane.subject else lane.source


def _in_words(lane: Lane) -> str:
    counts = {
        state: sum(one.state == state for one in lane.stretches) for state in ("blind", "unknown", "seen")
    }
    told = [
        f"{count_of(number, 'stretch', 'stretches')} {state}" for state, number in counts.items() if number
    ]
    return ", ".join(told) or "nothing known"


def _blocks(
    span: list[tuple[datetime, datetime, str]], first: datetime, step: timedelta, columns: int
) -> list[Block]:
    worst = [0] * columns
    for start, end, state in span:
        left = min(int((start - first) / step), columns - 1)
        # A stretch that ends where a column begins does not reach into it; the shortest one still shows.
        right = max(left + 1, min(columns, -int(-((end - first) / step) // 1)))
        rank = _STATES.index(state) if state in _STATES else _STATES.index("unknown")
        worst[left:right] = [max(rank, known) for known in worst[left:right]]
    width = 100 / columns
    blocks, at = [], 0
    for rank, run in groupby(worst):
        length = len(list(run))
        blocks.append(Block(round(at * width, 3), round(length * width, 3), _STATES[rank]))
        at += length
    return blocks


def _marks(first: datetime, last: datetime) -> list[Mark]:
    form = "%Y-%m-%d" if last - first >= timedelta(days=_TICKS) else "%m-%d %H:%M"
    marks = []
    for number in range(_TICKS):
        share = number / (_TICKS - 1)
        anchor = "start" if number == 0 else "end" if number == _TICKS - 1 else "middle"
        marks.append(Mark(round(100 * share, 1), (first + (last - first) * share).strftime(form), anchor))
    return marks
