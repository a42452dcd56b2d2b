"""The time strip of a case: one lane per phase, to scale, with long silences cut out of the axis.

An intruder often returns a day after twenty busy minutes. On one linear axis
those minutes would be a single blot, so the axis is broken at the longest
silences, and each break says how long it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import PHASES, count_of, duration, moment, parse_moment, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.report.document import PhaseActs, TimelineEntry

_EDGE = 3.0  # Per cent kept free at both ends so that no mark is cut in half.
_BREAK = 8.0  # Per cent for a break: room for its label.
_MOST_BREAKS = 4
_SILENCE_SHARE = 0.3  # A silence longer than this share of the axis that is left is cut out.
_LEAST_SHARE = 0.1  # A short piece stays wide enough for its label.
_MARK_WIDTH = 1.2  # Per cent between two marks, so that they do not touch on a 700 px strip.
_TICK_WIDTH = 18.0  # Per cent for a label, so that labels do not touch on a narrow screen.
_TICK_STEPS = (1, 5, 10, 30, 60, 300, 600, 900, 1_800, 3_600, 10_800, 21_600, 43_200)
_MINUTE, _DAY = 60, 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(NamedTuple):
    """Findings, or the acts of an hour, drawn as one mark: x in per cent of the strip, radius in pixels."""

    x: float
    radius: float
    title: str
    is_finding: bool


class Tick(NamedTuple):
    """A label below the axis; `anchor` keeps the outermost labels inside the strip."""

    x: float
    label: str
    anchor: str
    is_break: bool


class Lane(NamedTuple):
    """One phase of the strip."""

    phase: str
    label: str
    marks: tuple[Mark, ...]


class Strip(NamedTuple):
    """The timeline to scale, and the same in words."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    description: str


class _Piece(NamedTuple):
    """An unbroken stretch of the axis, in time and in per cent."""

    first: datetime
    last: datetime
    left: float
    right: float

    def x(self, at: datetime) -> float:
        """Return the place of a time within the piece; the middle if the piece has no length."""
        if self.first == self.last:
            return round((self.left + self.right) / 2, 2)
        return round(self.left + (at - self.first) / (self.last - self.first) * (self.right - self.left), 2)


def draw_strip(entries: Sequence[TimelineEntry], acts: Sequence[PhaseActs] = ()) -> Strip | None:
    """Place the findings of a timeline, and the acts around them, on a time axis.

    Returns:
        None when the findings have fewer than two different times.
    """
    by_phase: dict[str, list[datetime]] = {phase: [] for phase in PHASES}
    for entry in entries:
        if (at := parse_moment(entry.time)) is not None:
            by_phase.setdefault(entry.phase, []).append(at)
    phases = {phase: sorted(times) for phase, times in by_phase.items() if times}
    times = sorted({at for one in phases.values() for at in one})
    if len(times) < 2:  # noqa: PLR2004 - one time has no scale
        return None
    around = _around(acts)
    pieces = _pieces(sorted({*times, *(at for counts in around.values() for at in counts)}))
    lanes = tuple(
        Lane(
            phase,
            PHASES.get(phase, phase),
            (*_act_marks(around.get(phase, {}), pieces), *_marks(phases.get(phase, []), pieces)),
        )
        for phase in [*PHASES, *(set(phases) - set(PHASES))]
        if phase in phases or phase in around
    )
    words = "; ".join(f"{PHASES.get(phase, phase)}: {_in_words(at)}" for phase, at in phases.items())
    return Strip(lanes, tuple(_ticks(pieces)), words)


def _around(acts: Sequence[PhaseActs]) -> dict[str, dict[datetime, int]]:
    """Return the acts of each phase by time."""
    found: dict[str, dict[datetime, int]] = {}
    for one in acts:
        if (at := parse_moment(one.time)) is not None and one.phase in PHASES:
            found.setdefault(one.phase, {})[at] = one.acts
    return found


def _act_marks(counts: dict[datetime, int], pieces: list[_Piece]) -> tuple[Mark, ...]:
    """Draw the acts of an hour or day as one small mark, those too close to tell apart as one."""
    bins: dict[int, list[tuple[datetime, int]]] = {}
    for at, number in sorted(counts.items()):
        bins.setdefault(int(_place(at, pieces) / _MARK_WIDTH), []).append((at, number))
    return tuple(
        Mark(
            x=_place(within[0][0], pieces),
            radius=round(min(2.0 * sum(number for _, number in within) ** 0.25, 6.0), 1),
            title=f"{count_of(sum(number for _, number in within), 'act')}, {moment(within[0][0].isoformat())}",
            is_finding=False,
        )
        for within in bins.values()
    )


def _in_words(times: list[datetime]) -> str:
    return f"{count_of(len(times), 'event')}, {span(times[0].isoformat(), times[-1].isoformat())}"


def _pieces(times: list[datetime]) -> list[_Piece]:
    """Break the axis at its longest silences and share the width among the pieces."""
    left_over = (times[-1] - times[0]).total_seconds()
    starts = {times[0]}
    by_silence = sorted(pairwise(times), key=lambda pair: pair[0] - pair[1])
    for before, after in by_silence[:_MOST_BREAKS]:
        silence = (after - before).total_seconds()
        if silence < _SILENCE_SHARE * left_over or len(times) < 4:  # noqa: PLR2004 - too few to have a rhythm
            break
        starts.add(after)
        left_over -= silence
    bounds = sorted(starts)
    ends = [max(at for at in times if at < start) for start in bounds[1:]] + [times[-1]]
    lengths = [(end - start).total_seconds() for start, end in zip(bounds, ends, strict=True)]
    weights = [max(length / max(sum(lengths), 1), _LEAST_SHARE) for length in lengths]
    room = 100 - 2 * _EDGE - _BREAK * (len(bounds) - 1)
    pieces, left = [], _EDGE
    for start, end, weight in zip(bounds, ends, weights, strict=True):
        right = left + room * weight / sum(weights)
        pieces.append(_Piece(start, end, left, right))
        left = right + _BREAK
    return pieces


def _marks(times: list[datetime], pieces: list[_Piece]) -> tuple[Mark, ...]:
    bins: dict[int, list[datetime]] = {}
    for at in times:
        bins.setdefault(int(_place(at, pieces) / _MARK_WIDTH), []).append(at)
    return tuple(
        Mark(
            x=_place(within[0], pieces),
            # Grows with the number of events, slowly: lanes are 26 px high.
            radius=round(min(4.0 * len(within) ** 0.2, 8.0), 1),
            title=_in_words(within),
            is_finding=True,
        )
        for within in bins.values()
    )


def _place(at: datetime, pieces: list[_Piece]) -> float:
    return next(piece.x(at) for piece in reversed(pieces) if piece.first <= at)


def _ticks(pieces: list[_Piece]) -> list[Tick]:
    ticks: list[Tick] = []
    for number, piece in enumerate(pieces):
        if number:
            silence = (piece.first - pieces[number - 1].last).total_seconds()
            label = " ".join(duration(silence).split(" ")[:2])  # the largest unit alone: 21 h
            ticks.append(Tick(round(piece.left - _BREAK / 2, 2), label, "middle", is_break=True))
        ticks += _piece_ticks(piece)
    return ticks


def _piece_ticks(piece: _Piece) -> list[Tick]:
    seconds = (piece.last - piece.first).total_seconds()
    wanted = seconds / max(1.0, (piece.right - piece.left) / _TICK_WIDTH)
    step = next((one for one in _TICK_STEPS if one >= wanted), _DAY * max(1, round(wanted / _DAY)))
    form = "%Y-%m-%d" if step >= _DAY else "%H:%M:%S" if seconds > 0 and step < _MINUTE else "%H:%M"
    # Counted from the piece's start, so that no label lies outside it, nor beyond the year 9999.
    offset = -(piece.first - _EPOCH).total_seconds() % step
    number = int((seconds - offset) // step) + 1
    labelled = [piece.first + timedelta(seconds=offset + step * at) for at in range(number)] or [piece.first]
    return [Tick(piece.x(at), at.strftime(form), _anchor(piece.x(at)), is_break=False) for at in labelled]


def _anchor(x: float) -> str:
    if x < _EDGE * 2:
        return "start"
    return "end" if x > 100 - _EDGE * 2 else "middle"
