"""Lines of strict kinds in a stretch of a log: found and taken apart many at once by the places of their signs.

A line is literal text with values between (`line_shapes`). A sign of that text decides where a value ends, so that nothing can be read
in two ways. A line that is not exactly of a kind is left to the patterns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.readers.line_shapes import NOTHING, OTHER, VALUE, Kind, Value
from mailwitness.readers.line_signs import NEWLINE, Check, Literal, read_number, signs_in
from mailwitness.readers.sign_sequences import UNKNOWN, Sequences, SignTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_shapes import Program, Shapes
    from mailwitness.readers.line_signs import Mask, Signs, Span
    from mailwitness.readers.sign_sequences import Numbers

# While more lines than that fit, those that do not are taken along.
_MOST_FIT = 0.8


class Found(NamedTuple):
    """Lines of one kind: their numbers in order, the places of their values, and those that are numbers."""

    kind: Kind
    rows: Positions
    spans: Mapping[str, Span]
    numbers: Mapping[str, Positions]


class _Step(NamedTuple):
    """A value and the text behind it.

    Attributes:
        name: of the value.
        value: what it has to be.
        check: what looks at it; None when its signs say all.
        literal: the text behind it.
        signs: signs of this text.
        ends: the one of them that ends the value; none where there is none.
        back: where it stands in the text.
        before: signs of the text before it.
    """

    name: str
    value: Value
    check: Check | None
    literal: Literal
    signs: bytes
    ends: bytes
    back: int
    before: int

    def end(self, signs: bytes, at: int) -> int:
        """Return which sign of a line is the first one of the text behind the value that begins at a sign."""
        if not self.value.free:
            return at
        found = signs.rfind(self.ends) if self.value.last else signs.find(self.ends, at)
        return found - self.before


def _steps(rest: list[str], values: dict[str, Value]) -> Iterator[_Step]:
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        value = values.get(name, Value())
        ends = value.ends or "".join(signs_in(text)[:1])
        is_plain = value.number or not (value.like or value.signs or value.longest or value.lacks)
        back = text.index(ends) if ends else 0
        before = len(signs_in(text[:back]))
        check = None if is_plain else Check(value)
        signs = "".join(signs_in(text)).encode()
        yield _Step(name, value, check, Literal(text), signs, ends.encode(), back, before)


class _Line:
    """A line, or the beginning of one, as steps.

    Which sign ends which value follows from the signs of a line alone, so that it is found once for all lines with the same signs.
    """

    def __init__(self, line: str, values: dict[str, Value], *, is_whole: bool, behind: int = 0) -> None:
        """Take what a line looks like.

        Args:
            line: its text, with the names of its values.
            values: what these have to be.
            is_whole: whether it stops where the line does.
            behind: signs of the line before it.
        """
        first, *rest = VALUE.split(line)
        self._steps = list(_steps(rest, values))
        self._is_whole = is_whole
        self._begin = Literal(first)
        self._behind, self._first = behind, "".join(signs_in(first)).encode()
        self._ends = SignTable(len(self._steps), self._plan)

    @property
    def signs(self) -> int:
        """How many signs it has; no value of the beginning of a line may hold any."""
        return len(self._first) + sum(len(step.signs) for step in self._steps)

    def walk(self, signs: Signs, sequences: Sequences, lines: _Lines) -> _Lines:
        """Go through lines from where each is; return those that fit, behind what fits."""
        good = self._ends.fit(sequences, lines.sequence)
        lines = lines.only(good & self._begin.stands(signs.text, lines.at))
        lines = lines._replace(at=lines.at + len(self._begin.raw))
        fits = np.ones(len(lines.rows), dtype=np.bool_)
        for number, step in enumerate(self._steps):
            if not len(lines.rows):
                break
            if self._is_whole and number == len(self._steps) - 1:
                end = lines.stops - len(step.literal.raw)
            else:
                end = signs.at[lines.rank + self._ends.column(number, lines.sequence)] - step.back
            lines = _stepped(signs, lines, step, end, fits)
            if np.count_nonzero(fits) < _MOST_FIT * len(fits):
                lines, fits = lines.only(fits), fits[fits]
        if self._is_whole and not self._steps:
            fits = lines.at == lines.stops
        return lines.only(fits)

    def _plan(self, signs: bytes) -> list[int] | None:
        """Return which signs of a line end its values, by the signs that it has; None when it cannot fit."""
        if not signs.startswith(self._first, self._behind):
            return None
        at, found = self._behind + len(self._first), []
        for number, step in enumerate(self._steps):
            is_last = self._is_whole and number == len(self._steps) - 1
            end = len(signs) - len(step.signs) if is_last else step.end(signs, at)
            held = signs[at:end]
            if end < at or not signs.startswith(step.signs, end) or (held and not step.value.free):
                return None
            if any(sign in held for sign in step.value.without.encode()):
                return None
            found.append(end + step.before)
            at = end + len(step.signs)
        return None if self._is_whole and at < len(signs) else found


class _Lines(NamedTuple):
    """Lines on their way through a kind.

    Attributes:
        rows: their numbers.
        at: where each is.
        rank: the number of its first sign.
        stops: where it stops.
        sequence: the number of the sequence of its signs.
        spans: values that were found.
        numbers: those of them that are numbers.
    """

    rows: Positions
    at: Positions
    rank: Positions
    stops: Positions
    sequence: Numbers
    spans: dict[str, Span]
    numbers: dict[str, Positions]

    def only(self, good: Mask) -> _Lines:
        """Keep some of them."""
        if good.all():
            return self
        kept = np.flatnonzero(good)
        return _Lines(
            self.rows[kept],
            self.at[kept],
            self.rank[kept],
            self.stops[kept],
            self.sequence[kept],
            {name: (start[kept], stop[kept]) for name, (start, stop) in self.spans.items()},
            {name: values[kept] for name, values in self.numbers.items()},
        )


def _stepped(signs: Signs, lines: _Lines, step: _Step, end: Positions, fits: Mask) -> _Lines:
    """Take a value that ends at a place, and the text behind it; note which lines still fit.

    Returns:
        The lines behind the text; of those that do not fit the places mean nothing.
    """
    begin, at = lines.at, end + len(step.literal.raw)
    fits &= end >= begin
    fits &= at <= lines.stops
    fits &= step.literal.stands(signs.text, end)
    if step.check is not None:
        fits &= step.check.passes(signs, (begin, end), fits)
    numbers = lines.numbers
    if step.value.number:
        values, is_number = read_number(signs.text, begin, end)
        fits &= is_number
        numbers = numbers | {step.name: values}
    return lines._replace(at=at, spans=lines.spans | {step.name: (begin, end)}, numbers=numbers)


class _Program:
    """The lines of some programs."""

    def __init__(self, program: Program) -> None:
        self._unless = program.unless.encode()
        self._begins = [Literal(text) for text in program.begins]
        self._says_nothing = program.otherwise == NOTHING
        self._forms = [
            (
                form.even_so,
                head := _Line(form.head, form.values, is_whole=False),
                [
                    (kind, _Line(kind.line, kind.values, is_whole=True, behind=head.signs))
                    for kind in form.kinds
                ],
            )
            for form in program.forms
        ]

    def find(self, signs: Signs, sequences: Sequences, lines: _Lines) -> Iterator[Found]:
        """Yield the lines of each kind; what is of none and left to the patterns is left out."""
        left = lines
        is_begun = np.zeros(len(lines.rows), dtype=np.bool_)
        says = _hold(signs.text, self._unless, lines) if self._unless else is_begun.copy()
        for is_even_so, head, kinds in self._forms:
            begun = head.walk(signs, sequences, left if is_even_so else lines.only(~is_begun & ~says))
            is_begun |= _among(lines.rows, begun.rows)
            for kind, line in kinds:
                of_kind = line.walk(signs, sequences, begun)
                if len(of_kind.rows):
                    yield Found(kind, of_kind.rows, of_kind.spans, of_kind.numbers)
                    begun = begun.only(~_among(begun.rows, of_kind.rows))
            left = lines.only(~is_begun)
        if self._says_nothing:
            left = lines.only(~is_begun & ~says & (lines.sequence != UNKNOWN))
            for text in self._begins:
                left = left.only(~text.stands(signs.text, left.at))
            yield Found(_NO_KIND, left.rows, {}, {})


def _among(rows: Positions, some: Positions) -> Mask:
    """Tell which of ascending numbers are among some of them, ascending too."""
    found = np.zeros(len(rows), dtype=np.bool_)
    found[np.searchsorted(rows, some)] = True
    return found


_NO_KIND, _OTHERS = Kind(NOTHING, ""), Kind(OTHER, "")


class Finder:
    """Finds the lines of strict kinds of one table."""

    def __init__(self, shapes: Shapes) -> None:
        """Take what the lines look like."""
        self._names = [re.compile(program.process.encode()) for program in shapes.programs]
        self._programs = [_Program(program) for program in shapes.programs]
        self._sequences = Sequences()

    def program(self, name: bytes) -> int:
        """Return the number of the program with a name, for `find`; programs whose lines say nothing share one."""
        return next((i for i, one in enumerate(self._names) if one.fullmatch(name)), len(self._names))

    def is_other(self, name: bytes) -> bool:
        """Tell whether a program says nothing."""
        return self.program(name) == len(self._names)

    def find(
        self,
        signs: Signs,
        program: NDArray[np.int8],
        message: tuple[Positions, Positions, Positions],
        rows: Positions,
        lines: Positions,
    ) -> list[Found]:
        """Return the lines of each kind among some lines, and those that say nothing.

        Args:
            signs: those of the stretch.
            program: number of the program of each of these lines.
            message: where their messages start, the number of the first sign in each, and where they stop.
            rows: their numbers, ascending.
            lines: their numbers among the lines of the stretch.
        """
        sequence = self._sequences.of(signs, message[1], signs.ranks_of(NEWLINE)[lines])
        known = _Lines(rows, *message, sequence, {}, {})
        found = [Found(_OTHERS, rows[program == len(self._programs)], {}, {})]
        for number, one in enumerate(self._programs):
            found += one.find(signs, self._sequences, known.only(program == number))
        return [one for one in found if len(one.rows)]


def _hold(text: Text, piece: bytes, lines: _Lines) -> Mask:
    """Tell which lines hold a text."""
    # What ends with a blank would be looked for at each of them.
    start = piece.rstrip()
    places = []
    place = text.raw.find(start)
    while 0 <= place < text.size:
        if text.raw.startswith(piece, place):
            places.append(place)
        place = text.raw.find(start, place + 1)
    known = np.array([*places, len(text.raw)], dtype=np.int32)
    found: Mask = known[np.searchsorted(known[:-1], lines.at)] < lines.stops
    return found
