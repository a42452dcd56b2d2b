"""The recoverability clock: one line for each group of lost messages, from the clock of the run to the day it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import count_of, duration, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from mailwitness.report.document import Recoverability, RecoveryStep

ROW = 26
"""Pixels from one line to the next."""
_MOST = 16
_TICKS = 4
# A line shorter than this share would not be seen.
_LEAST = 0.6


class Line(NamedTuple):
    """One group; ``sure`` and ``latest`` are per cent of the width from now, 0 where nothing is left."""

    label: str
    sure: float
    latest: float
    left: str


class Tick(NamedTuple):
    """A day below the lines."""

    x: float
    label: str
    anchor: str


class Clock(NamedTuple):
    """The lines in the order of their end, and the same in words."""

    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    description: str


def draw_clock(part: Recoverability | None, now: str | None) -> Clock | None:
    """Draw how long lost messages can still be saved; None when no time is running."""
    begin = parse_moment(now)
    if part is None or begin is None:
        return None
    dated = [
        (step, until)
        for step in part.steps
        if (until := parse_moment(step.until)) and until > begin and not (step.is_over or step.is_gone)
    ]
    if not dated:
        return None
    dated.sort(key=lambda pair: (parse_moment(pair[0].earliest) or pair[1], pair[0].mailbox))
    last = max(parse_moment(step.latest) or until for step, until in dated)
    end = max(last, begin + timedelta(days=1))
    lines = tuple(_line(step, until, begin, end) for step, until in dated[:_MOST])
    return Clock(lines, tuple(_ticks(begin, end)), "; ".join(f"{one.label}: {one.left}" for one in lines))


def _line(step: RecoveryStep, until: datetime, begin: datetime, end: datetime) -> Line:
    sure = min(parse_moment(step.earliest) or until, until)
    latest = max(parse_moment(step.latest) or until, until)
    left = f"{duration(max((sure - begin).total_seconds(), 0))} left"
    if not step.is_exact:
        left += ", at least by the documented limits"
    return Line(
        label=f"{count_of(step.messages, 'message')}, {step.mailbox or 'files'}",
        sure=round(max(_LEAST, 100 * ((sure - begin) / (end - begin))), 2) if sure > begin else 0.0,
        latest=round(max(_LEAST, 100 * ((latest - begin) / (end - begin))), 2),
        left=left if sure > begin else "may be over already",
    )


def _ticks(begin: datetime, end: datetime) -> list[Tick]:
    form = "%Y-%m-%d" if end - begin >= timedelta(days=_TICKS) else "%m-%d %H:%M"
    times = [begin + (end - begin) * at / (_TICKS - 1) for at in range(_TICKS)]
    anchors = ("start", *["middle"] * (_TICKS - 2), "end")
    return [
        Tick(round(100 * at / (_TICKS - 1), 1), time.strftime(form), anchor)
        for at, (time, anchor) in enumerate(zip(times, anchors, strict=True))
    ]
