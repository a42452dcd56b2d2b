r"""JSON texts in a column of CSV lines, found many at once: 64 bytes at a time, in bits.

    c5eb2376,HardDelete,"{""Id"":""c5eb2376"",""Version"":1}",,
                         { "Id" : "c5eb2376" , "Version" :1}

In a cell each quote of the text is doubled. One of the two becomes a blank, on the outer side of the string, where JSON allows one. All
that is not the text becomes blank too: nothing has to be moved, and the lines of a file become lines of JSON of the same length. A text with
an escaped quote, which has no outer side, is written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.csv_quotes import (
    CACHED_BYTES,
    CARRIAGE_RETURN,
    NEWLINE,
    QUOTE,
    after,
    before,
    inside,
    marked,
    places,
    words,
)
from mailwitness.readers.index import line_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.csv_quotes import Bytes, Positions, Words

    Mask = NDArray[np.bool_]

_ONE = np.uint64(1)
_BLANK = np.uint8(ord(" "))
_BRACE = ord("{")
_BACKSLASH = ord("\\")
# Stands for a record without such a text; the database refuses it.
NO_TEXT = ord("-")
# The shortest cell that is looked at: "{""a"":1}" without its member is {}, which holds nothing.
_SHORTEST = len('"{""":1}"')


@dataclass(frozen=True, eq=False, slots=True)
class Texts:
    """The lines of a stretch of CSV text, and the JSON texts of the usual ones.

    Attributes:
        data: the stretch.
        starts: where each line starts.
        ends: where each line ends.
        records: numbers, from none on, of the records whose texts are given.
        lines: numbers of their lines, blank ones counted.
        count: how many records there are; a line that is not blank is one.
        begins: where the texts begin.
        stops: where they stop.
        content: as many bytes as the stretch has: the texts where they stand, blanks for all else but the line ends, and a sign that is
            no JSON at the start of each other record. Each record is a line that is not blank, and no other line is.
        commas: what separates cells.
        columns: how many cells a line with a text has.
    """

    data: Bytes
    starts: Positions
    ends: Positions
    records: Positions
    lines: Positions
    count: int
    begins: Positions
    stops: Positions
    content: Bytes
    commas: Words
    columns: int

    def cells(self, column: int) -> list[bytes]:
        """Return another cell of each line that has a text."""
        cuts = places(self.commas)
        starts, ends = self.starts[self.lines], self.ends[self.lines]
        first = np.searchsorted(cuts, starts)
        begins = starts if column == 0 else cuts[first + column - 1] + 1
        is_last = column == self.columns - 1
        stops = _stops(self.data, starts, ends) if is_last else cuts[first + column]
        raw = self.data.data
        return [
            _unquoted(bytes(raw[begin:stop]))
            for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)
        ]


class TextFinder:
    """Finds the JSON texts of one column, in stretches as `csv_index.CsvIndexer` cuts them.

    Attributes:
        found: what the stretch holds that was looked at last.
    """

    def __init__(self, column: int, columns: int, delimiter: str) -> None:
        """Take the number of the column, how many there are, and what separates cells."""
        self._column = column
        self._columns = columns
        self._delimiter = ord(delimiter)
        self.found: Texts | None = None

    def line_ends(self, data: Bytes) -> Positions | None:
        """Find texts as `find` does, and return where the lines end."""
        self.found = self.find(data)
        return None if self.found is None else self.found.ends

    def find(self, data: Bytes) -> Texts | None:
        """Return the texts of whole lines, the first of which starts a record; None where a record may be more than a line.

        A line whose quotes are where RFC 4180 wants them, and paired, is a record. Another one is none beyond its end when the next has a
        text: that opens with a single quote before a brace, and such a quote cannot stand inside of a cell.
        """
        breaks = words(data, NEWLINE)
        ends = places(breaks)
        if not len(ends) or int(ends[-1]) != len(data) - 1:
            return None
        lines = _Lines(data, breaks, ends, line_starts(ends))
        quotes, commas = words(data, QUOTE), words(data, self._delimiter)
        within, is_unclean = _parity(quotes, ends)
        marks = _Quotes.of(quotes, within)
        returns = words(data, CARRIAGE_RETURN)
        lone = returns & ~after(breaks)
        between = breaks | commas
        may_open = before(between)
        may_open[0] |= _ONE
        between |= returns
        _mark(is_unclean, ends, (marks.opens & ~may_open) | (marks.closes & ~after(between)) | lone)
        bounds = self._bounds(lines, marks, commas & ~within, ~is_unclean)
        has_text = np.zeros(len(ends), bool)
        has_text[bounds.lines] = True
        if not (~is_unclean[:-1] | has_text[1:]).all() or is_unclean[-1]:
            return None
        return _texts(lines, bounds, marks, self._columns)

    def _bounds(self, lines: _Lines, marks: _Quotes, commas: Words, is_clean: Mask) -> _Bounds:
        """Return the lines whose cells are as many as they have to be and of which one may be such a text."""
        data, ends = lines.data, lines.ends
        rank = _Rank(commas)
        ahead = rank(lines.starts)
        is_clean = is_clean & (rank(ends) - ahead == self._columns - 1)
        begins = places(marks.opens)
        number = np.searchsorted(ends, begins)
        stops = np.append(places(marks.closes), len(data))
        stops = stops[np.searchsorted(stops, begins)] + 1
        chosen = is_clean[number] & (rank(begins) - ahead[number] == self._column)
        chosen &= (stops - begins >= _SHORTEST) & (data[np.minimum(begins + 1, len(data) - 1)] == _BRACE)
        return _Bounds(
            lines=number[chosen],
            begins=begins[chosen] + 1,
            stops=stops[chosen] - 1,
            commas=commas,
            is_all=bool(chosen.all()),
        )


def _texts(lines: _Lines, bounds: _Bounds, marks: _Quotes, columns: int) -> Texts:
    """Return the texts and the lines that are made of them."""
    data, ends, starts = lines.data, lines.ends, lines.starts
    within, is_odd = _parity(marks.second, ends)
    escaped = marks.second & before(before(words(data, _BACKSLASH)))
    _mark(is_odd, ends, escaped)
    begins, stops = bounds.begins, bounds.stops
    # Quotes in cells before the text may have shifted what is the inside of its strings.
    is_shifted = _bits(within, begins - 1) | _bits(within, stops)
    outer = (marks.second & within) | after(marks.second & ~within)
    kept = (
        (marks.within & ~marks.all) | outer
        if bounds.is_all
        else inside(marked(np.concatenate((begins, stops)), len(outer))) & (outer | ~marks.all)
    )
    content = _kept(data, kept | lines.breaks)
    for place in np.flatnonzero(is_shifted | is_odd[bounds.lines]).tolist():
        begin, stop = int(begins[place]), int(stops[place])
        text = data[begin:stop].tobytes().replace(b'""', b'"').ljust(stop - begin)
        content[begin:stop] = np.frombuffer(text, np.uint8)
    is_record = _stops(data, starts, ends) > starts
    is_other = is_record.copy()
    is_other[bounds.lines] = False
    content[starts[is_other]] = NO_TEXT
    return Texts(
        data=data,
        starts=starts,
        ends=ends,
        records=(np.cumsum(is_record) - 1)[bounds.lines],
        lines=bounds.lines,
        count=int(np.count_nonzero(is_record)),
        begins=begins,
        stops=stops,
        content=content,
        commas=bounds.commas,
        columns=columns,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Lines:
    """A stretch, its line ends as bits and as places, and where its lines start."""

    data: Bytes
    breaks: Words
    ends: Positions
    starts: Positions


@dataclass(frozen=True, eq=False, slots=True)
class _Quotes:
    """All quotes of a stretch, what is within cells, the quotes that open and close cells, and the second one of each pair within."""

    all: Words
    within: Words
    opens: Words
    closes: Words
    second: Words

    @classmethod
    def of(cls, quotes: Words, within: Words) -> _Quotes:
        """Tell the quotes apart, given what lies within cells: the first quote of a pair closes one, the second opens it again."""
        closing, opening = quotes & ~within, quotes & within
        second = before(closing)
        second &= opening
        return cls(quotes, within, opening & ~second, closing & ~after(opening), second)


@dataclass(frozen=True, eq=False, slots=True)
class _Bounds:
    """Where texts begin and stop, and their lines; the commas between cells; whether there is no other cell in quotes."""

    lines: Positions
    begins: Positions
    stops: Positions
    commas: Words
    is_all: bool


class _Rank:
    """How many bits stand in front of a place."""

    def __init__(self, marks: Words) -> None:
        self._marks = marks
        counts = np.bitwise_count(marks)
        self._before = np.cumsum(counts, dtype=np.int64) - counts

    def __call__(self, positions: Positions) -> Positions:
        word = positions >> 6
        lower = (_ONE << (positions & 63).astype(np.uint64)) - _ONE
        found: Positions = self._before[word] + np.bitwise_count(self._marks[word] & lower)
        return found


def _kept(data: Bytes, marks: Words) -> Bytes:
    """Return the bytes that are marked, and blanks in the places of all others."""
    content = np.empty_like(data)
    bits = marks.view(np.uint8)
    for start in range(0, len(data), CACHED_BYTES):
        part = content[start : start + CACHED_BYTES]
        kept = np.unpackbits(bits[start // 8 :], count=len(part), bitorder="little")
        np.negative(kept, out=kept)  # one becomes all bits
        np.bitwise_xor(data[start : start + CACHED_BYTES], _BLANK, out=part)
        part &= kept
        part ^= _BLANK
    return content


def _stops(data: Bytes, starts: Positions, ends: Positions) -> Positions:
    """Return where lines stop without their ends."""
    stops: Positions = ends - ((data[ends - 1] == CARRIAGE_RETURN) & (ends > starts))
    return stops


def _unquoted(cell: bytes) -> bytes:
    return cell[1:-1].replace(b'""', b'"') if cell[:1] == b'"' else cell


def _parity(marks: Words, ends: Positions) -> tuple[Words, Mask]:
    """Return which bits follow an odd number of marks of their line, each mark itself counted, and which lines have an odd number."""
    within = inside(marks)
    is_odd = _bits(within, ends)
    is_odd[1:] ^= is_odd[:-1].copy()
    if is_odd.any():
        within = inside(marks ^ marked(ends[is_odd], len(marks)))
    return within, is_odd


def _bits(marks: Words, positions: Positions) -> Mask:
    found: Mask = (marks[positions >> 6] >> (positions & 63).astype(np.uint64) & _ONE).astype(bool)
    return found


def _mark(lines: Mask, ends: Positions, marks: Words) -> None:
    """Mark the lines that have a bit."""
    if marks.any():
        lines[np.searchsorted(ends, places(marks))] = True
