"""The timeline of a case as a list to read: like entries told once, in phases, with the silences named."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import PHASES, duration, moment, parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailwitness.report.document import TimelineEntry

LINES_SHOWN = 40
"""Lines of one timeline; about two screens, more is read in report.json."""

_GAP_SECONDS = 3_600  # A silence worth a line of its own: longer than a pause for coffee.


class Line(NamedTuple):
    """Like entries in a row, told once; `day` and `gap` are empty where there is nothing to say."""

    entry: TimelineEntry
    times: int
    clock: str
    until: str
    day: str
    gap: str


class Stretch(NamedTuple):
    """Lines of one phase without interruption."""

    phase: str
    label: str
    lines: tuple[Line, ...]


def read_timeline(entries: Sequence[TimelineEntry]) -> tuple[Stretch, ...]:
    """Fold entries, in the order given, into lines and the lines into phases.

    Neighbours that differ only in time and record become one line with a count.
    """
    lines: list[Line] = []
    previous: datetime | None = None
    for _, like in groupby(entries, key=_likeness):
        run = tuple(like)
        lines.append(_line(run, previous))
        previous = parse_moment(run[-1].time) or previous
    return tuple(
        Stretch(phase, PHASES.get(phase, phase), tuple(group))
        for phase, group in groupby(lines, key=lambda line: line.entry.phase)
    )


def fold(stretches: Iterable[Stretch], limit: int = LINES_SHOWN) -> tuple[tuple[Stretch, ...], int]:
    """Return the first `limit` lines of a timeline, and how many lines are left out."""
    shown: list[Stretch] = []
    room, left = limit, 0
    for stretch in stretches:
        lines = stretch.lines[:room]
        left += len(stretch.lines) - len(lines)
        room -= len(lines)
        if lines:
            shown.append(stretch._replace(lines=lines))
    return tuple(shown), left


def _likeness(entry: TimelineEntry) -> tuple[str, ...]:
    return entry.phase, entry.what, entry.actor, entry.mailbox, entry.exhibit


def _line(run: tuple[TimelineEntry, ...], previous: datetime | None) -> Line:
    start, end = parse_moment(run[0].time), parse_moment(run[-1].time)
    if start is None:
        return Line(run[0], len(run), moment(run[0].time), "", "", "")
    is_new_day = previous is None or previous.date() != start.date()
    silence = (start - previous).total_seconds() if previous else 0
    until = f"{end:%H:%M:%S}" if end and f"{end:%H:%M:%S}" != f"{start:%H:%M:%S}" else ""
    return Line(
        entry=run[0],
        times=len(run),
        clock=f"{start:%H:%M:%S}",
        until=until,
        day=f"{start:%Y-%m-%d}" if is_new_day else "",
        gap=f"{duration(silence)} later" if silence >= _GAP_SECONDS else "",
    )
