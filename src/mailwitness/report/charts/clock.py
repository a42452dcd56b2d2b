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
    """One group; ``sure``, ``until`` and ``latest`` are per cent of the width from now, 0 where nothing is left."""

    label: str
    sure: float
    until: float
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
    dated.sort(key=lambda pair: (pair[1], pair[0].mailbox))
    last = max(parse_moment(step.latest) or until for step, until in dated)
    end = max(last, begin + timedelta(days=1))
    lines = tuple(_line(step, until, begin, end) for step, until in dated[:_MOST])
    return Clock(lines, tuple(_ticks(begin, end)), "; ".join(f"{one.label}: {one.left}" for one in lines))


def _line(step: RecoveryStep, until: datetime, begin: datetime, end: datetime) -> Line:
    sure = until if step.is_exact else min(parse_moment(step.earliest) or until, until)
    latest = until if step.is_exact else max(parse_moment(step.latest) or until, until)

    def width(moment: datetime) -> float:
        share = 100 * ((moment - begin) / (end - begin))
        return round(max(_LEAST, share), 2) if moment > begin else 0.0

    return Line(
        label=f"{count_of(step.messages, 'message')}, {step.mailbox or 'files'}",
        sure=width(sure),
        until=width(until),
        latest=width(latest),
        left=f"{duration((until - begin).total_seconds())} left" + ("" if step.is_exact else " by default"),
    )


def _ticks(begin: datetime, end: datetime) -> list[Tick]:
    form = "%Y-%m-%d" if end - begin >= timedelta(days=_TICKS) else "%m-%d %H:%M"
    times = [begin + (end - begin) * at / (_TICKS - 1) for at in range(_TICKS)]
    anchors = ("start", *["middle"] * (_TICKS - 2), "end")
    return [
        Tick(round(100 * at / (_TICKS - 1), 1), time.strftime(form), anchor)
        for at, (time, anchor) in enumerate(zip(times, anchors, strict=True))
    ]
