"""Lines of strict kinds in a stretch of a log: found and taken apart many at once by the places of their signs.

A line is literal text with values between (`line_shapes`). A sign of that text decides where a value ends, so that nothing can be read
in two ways. A line that is not exactly of a kind is left to the patterns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.readers.line_shapes import NOTHING, OTHER, VALUE, Kind, Value
from mailwitness.readers.line_signs import Check, Literal, pattern, read_number, signs_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_shapes import Program, Shapes
    from mailwitness.readers.line_signs import Mask, Pattern, Signs, Span

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
        check: what it has to be; None when it may be anything.
        is_number: whether it is a number.
        is_free: whether it may hold signs, but for the one that ends it.
        is_last: whether the last such sign of the line ends it.
        literal: the text behind it.
        ends: that one sign of this text, as a number.
        back: where it stands in the text.
        before: signs of the text before that one.
        signs: signs of the text.
    """

    name: str
    check: Check | None
    is_number: bool
    is_free: bool
    is_last: bool
    literal: Literal
    ends: int
    back: int
    before: int
    signs: int


class _Line:
    """A line, or the beginning of one, as steps."""

    def __init__(self, line: str, values: dict[str, Value], *, is_whole: bool) -> None:
        self._first, *rest = VALUE.split(line)
        self._steps = list(_steps(rest, values))
        self._is_whole = is_whole
        self._begin = Literal(self._first)
        self._signs = len(signs_in(self._first))
        self._pattern = _pattern(self._first, self._steps)

    def walk(self, signs: Signs, lines: _Lines) -> _Lines:
        """Go through lines from where each is; return those that fit, behind what fits."""
        lines = lines.only(signs.are(lines.rank, self._pattern) & self._begin.stands(signs.text, lines.at))
        lines = lines._replace(at=lines.at + len(self._begin.raw), rank=lines.rank + self._signs)
        fits = np.ones(len(lines.rows), dtype=np.bool_)
        for number, step in enumerate(self._steps):
            if not len(lines.rows):
                break
            is_last = self._is_whole and number == len(self._steps) - 1
            lines, fits = _stepped(signs, lines, step, fits, is_last=is_last)
            if np.count_nonzero(fits) < _MOST_FIT * len(fits):
                lines, fits = lines.only(fits), fits[fits]
        if self._is_whole and not self._steps:
            fits = lines.at == lines.stops
        return lines.only(fits)


def _steps(rest: list[str], values: dict[str, Value]) -> Iterator[_Step]:
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        value = values.get(name, Value())
        ends = value.ends or "".join(signs_in(text)[:1])
        is_plain = value.number or not (
            value.like or value.signs or value.without or value.longest or value.lacks
        )
        back = text.index(ends) if ends else 0
        yield _Step(
            name,
            None if is_plain else Check(value),
            value.number,
            value.free,
            value.last,
            Literal(text),
            ord(ends) if ends else 0,
            back,
            len(signs_in(text[:back])),
            len(signs_in(text)),
        )


def _pattern(first: str, steps: list[_Step]) -> Pattern:
    """Return the signs that a line begins with up to its first free value, as words."""
    found = "".join(signs_in(first))
    for step in steps:
        if step.is_free:
            break
        found += "".join(signs_in(step.literal.raw.decode()))
    return pattern(found)


class _Lines(NamedTuple):
    """Lines on their way through a kind: their numbers, where each is, the sign that comes next, where each stops, and values that were found."""

    rows: Positions
    at: Positions
    rank: Positions
    stops: Positions
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
            {name: (start[kept], stop[kept]) for name, (start, stop) in self.spans.items()},
            {name: values[kept] for name, values in self.numbers.items()},
        )


def _stepped(signs: Signs, lines: _Lines, step: _Step, fits: Mask, *, is_last: bool) -> tuple[_Lines, Mask]:
    """Find a value and the text behind it; the last text of a line stands at its end.

    Returns:
        The lines behind these, and which of them still fit; those that do not are left where they are.
    """
    begin, rank, length = lines.at, lines.rank, len(step.literal.raw)
    if is_last:
        end = lines.stops - length
        ends = rank
        # No sign is left for a value that is not free; the line ends with those of the text.
        good = end >= begin if step.is_free else signs.at[rank] >= end
    else:
        ends = signs.behind(step.ends, rank) if step.is_free else rank
        if step.is_last:
            ends = signs.last(step.ends, lines.stops)
        end = signs.at[ends] - step.back
        good = end + length <= lines.stops
        ends = ends - step.before
    good &= fits & (end >= begin)
    end = np.where(good, end, begin)
    good &= step.literal.stands(signs.text, end)
    if step.check is not None:
        good &= step.check.passes(signs, rank, (begin, end))
    numbers = lines.numbers
    if step.is_number:
        values, is_number = read_number(signs.text, begin, end)
        good &= is_number
        numbers = numbers | {step.name: values}
    spans = lines.spans | {step.name: (begin, end)}
    at, rank = np.where(good, end + length, begin), np.where(good, ends + step.signs, rank)
    return _Lines(lines.rows, at, rank, lines.stops, spans, numbers), good


class _Program:
    """The lines of some programs."""

    def __init__(self, program: Program) -> None:
        self._unless = program.unless.encode()
        self._begins = [Literal(text) for text in program.begins]
        self._says_nothing = program.otherwise == NOTHING
        self._forms = [
            (
                form.even_so,
                _Line(form.head, form.values, is_whole=False),
                [(kind, _Line(kind.line, kind.values, is_whole=True)) for kind in form.kinds],
            )
            for form in program.forms
        ]

    def find(self, signs: Signs, lines: _Lines) -> Iterator[Found]:
        """Yield the lines of each kind; what is of none and left to the patterns is left out."""
        left = lines
        is_begun = np.zeros(len(lines.rows), dtype=np.bool_)
        says = _hold(signs.text, self._unless, lines) if self._unless else is_begun.copy()
        for is_even_so, head, kinds in self._forms:
            begun = head.walk(signs, left if is_even_so else lines.only(~is_begun & ~says))
            is_begun |= _among(lines.rows, begun.rows)
            for kind, line in kinds:
                of_kind = line.walk(signs, begun)
                if len(of_kind.rows):
                    yield Found(kind, of_kind.rows, of_kind.spans, of_kind.numbers)
                    begun = begun.only(~_among(begun.rows, of_kind.rows))
            left = lines.only(~is_begun)
        if self._says_nothing:
            left = lines.only(~is_begun & ~says)
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
    ) -> list[Found]:
        """Return the lines of each kind among some lines, and those that say nothing.

        Args:
            signs: those of the stretch.
            program: number of the program of each of these lines.
            message: where their messages start, the number of the first sign in each, and where they stop.
            rows: their numbers, ascending.
        """
        lines = _Lines(rows, *message, {}, {})
        found = [Found(_OTHERS, rows[program == len(self._programs)], {}, {})]
        for number, one in enumerate(self._programs):
            found += one.find(signs, lines.only(program == number))
        return [one for one in found if len(one.rows)]


def _hold(text: Text, piece: bytes, lines: _Lines) -> Mask:
    """Tell which lines hold a text."""
    places = []
    place = text.raw.find(piece)
    while 0 <= place < text.size:
        places.append(place)
        place = text.raw.find(piece, place + 1)
    known = np.array([*places, len(text.raw)], dtype=np.int64)
    found: Mask = known[np.searchsorted(known[:-1], lines.at)] < lines.stops
    return found
