"""The signs that can stand between the values of a line, in a whole stretch of a log, and what values of it are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mailwitness.readers.byte_words import digits, masked, word
from mailwitness.readers.known_texts import KnownTexts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text, Words
    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_shapes import Value

    Mask = NDArray[np.bool_]
    Span = tuple[Positions, Positions]
    Pattern = list[tuple[int, np.uint64, int]]

_WORD_BYTES = 8
# Behind the last sign: what is looked for there is not found.
_FURTHER = 64
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
# These are the signs: one, and ranges by their first one and how many they are.
_COMMA = ord(",")
# So many bytes stay in the processor's cache while they are looked at several times.
_AT_ONCE = 1 << 17
# Marks where a line ends; no value or text holds it.
NEWLINE = ord("\n")
_RANGES = tuple((np.uint8(ord(first)), np.uint8(number)) for first, number in (("'", 3), (":", 5), ("[", 3)))
_SIGNS = ",'():;<=>[\\]"


def signs_in(text: str) -> list[str]:
    """Return the signs of a text that can stand between values."""
    return [letter for letter in text if letter in _SIGNS]


def pattern(signs: str) -> Pattern:
    """Return signs that follow one another as words: the place, the word, and how many signs it is."""
    cuts = range(0, len(signs), _WORD_BYTES)
    pieces = [(at, signs[at : at + _WORD_BYTES].encode()) for at in cuts]
    return [(at, word(piece), len(piece)) for at, piece in pieces]


class Signs:
    """The signs of a stretch that can stand between values, in order: where each is, and which it is."""

    def __init__(self, text: Text) -> None:
        """Take the stretch."""
        data = text.data[: text.size]
        found = np.empty(text.size + _FURTHER, dtype=np.bool_)
        # Behind the last sign stand some that are none and lie behind the stretch.
        found[text.size :] = True
        for start in range(0, text.size, _AT_ONCE):
            _mark(data[start : start + _AT_ONCE], found[start : min(start + _AT_ONCE, text.size)])
        self.text = text
        at: Any = np.flatnonzero(found).astype(
            np.int32
        )  # Any: half the width of other places, to go through less memory
        self.at: Positions = at
        self._signs = text.data[self.at]
        self._signs[-_FURTHER:] = 0
        self.letters = self._signs.tobytes()
        self._words = np.ndarray((len(self._signs) - 7,), "<u8", buffer=self._signs, strides=(1,))
        self._ranks: dict[int, Positions] = {}

    def of_lines(self) -> Positions:
        """Return the number of the first sign of each line."""
        return np.append(np.int32(0), self.ranks_of(NEWLINE) + np.int32(1))

    def rank(self, places: Positions) -> Positions:
        """Return the number of the first sign from each place on."""
        # Of the same type, or all would be copied.
        found: Positions = np.searchsorted(self.at[: -_FURTHER + 1], places.astype(np.int32)).astype(np.int32)
        return found

    def are(self, ranks: Positions, pattern: Pattern) -> Mask:
        """Tell where signs of a pattern follow one another from a number on."""
        good = np.ones(len(ranks), dtype=np.bool_)
        for at, signs, length in pattern:
            good &= masked(self._words[ranks + at], length) == signs
        return good

    def ranks_of(self, sign: int) -> Positions:
        """Return the numbers of all signs that are this one, and one behind all."""
        known = self._ranks.get(sign)
        if known is None:
            found = np.append(np.flatnonzero(self._signs == sign), len(self.at) - _FURTHER)
            known = self._ranks[sign] = found.astype(np.int32)
        return known


def _mark(data: NDArray[np.uint8], marked: Mask) -> None:
    """Say of some bytes which are signs."""
    np.equal(data, _COMMA, out=marked)
    marked |= data == NEWLINE
    for first, number in _RANGES:
        marked |= (data - first) < number


class Literal:
    """Text that has to stand at a place."""

    def __init__(self, text: str) -> None:
        self.raw = text.encode()
        cuts = range(0, len(self.raw), _WORD_BYTES)
        self._words = [
            (word(self.raw[at : at + _WORD_BYTES]), len(self.raw[at : at + _WORD_BYTES])) for at in cuts
        ]

    def stands(self, text: Text, places: Positions) -> Mask:
        """Tell where the text stands."""
        if len(self._words) == 1:
            pattern, length = self._words[0]
            only: Mask = masked(text.at(places), length) == pattern
            return only
        good = np.ones(len(places), dtype=np.bool_)
        words = text.words_at(places, len(self._words)) if self._words else np.zeros((0, 0), dtype=np.uint64)
        for number, (pattern, length) in enumerate(self._words):
            good &= masked(words[:, number], length) == pattern
        return good


class Check:
    """What a value has to be."""

    def __init__(self, value: Value) -> None:
        self._value = value
        pattern = re.compile(value.like.encode())
        self._known = KnownTexts(lambda text: pattern.fullmatch(text) is not None) if value.like else None
        self._lacks = value.lacks.encode()
        self._ranges = [_alternative(one) for one in value.signs]

    def passes(self, signs: Signs, span: Span, meant: Mask) -> Mask:
        """Tell which values are as they have to be.

        Args:
            signs: the signs of the stretch.
            span: where the values start and stop.
            meant: which of them are asked for.
        """
        starts, stops = span
        good = meant.copy()
        if self._value.longest:
            good &= stops - starts <= self._value.longest
        if self._lacks:
            good &= ~self._hold(signs, span, good)
        if self._ranges:
            good &= _consist(signs.text, starts, stops, self._ranges)
        if self._known is not None:
            begin, end = np.where(good, starts, 0), np.where(good, stops, 0)
            good &= self._known.ask(signs.text, begin, end) > 0
        return good

    def _hold(self, signs: Signs, span: Span, good: Mask) -> Mask:
        """Tell which values hold a text that has an equals sign; few have one."""
        starts, stops = span
        known = signs.at[signs.ranks_of(ord("="))]
        found = good & (known[np.searchsorted(known[:-1], starts.astype(np.int32))] < stops)
        for row in np.flatnonzero(found).tolist():
            found[row] = signs.text.raw.find(self._lacks, int(starts[row]), int(stops[row])) >= 0
        return found


class _Alternative(NamedTuple):
    """Ranges of signs, by their first and last one, and the least and largest number of signs."""

    ranges: list[tuple[int, int]]
    least: int
    most: int


def _alternative(text: str) -> _Alternative:
    """Read ``0-9A-F 6-15``."""
    ranges, _, lengths = text.rpartition(" ")
    least, most = map(int, lengths.split("-"))
    pairs = re.findall(r"(.)(?:-(.))?", ranges)
    return _Alternative([(ord(first), ord(last or first)) for first, last in pairs], least, most)


def _consist(text: Text, starts: Positions, stops: Positions, alternatives: list[_Alternative]) -> Mask:
    """Tell which values consist of some signs and are of a fitting length, for one of the alternatives."""
    good = np.zeros(len(starts), dtype=np.bool_)
    lengths = stops - starts
    for one in alternatives:
        rows = np.flatnonzero(~good & (lengths >= one.least) & (lengths <= one.most))
        if len(rows):
            good[rows] = _are_all(text, starts[rows], lengths[rows], one.ranges)
    return good


def _are_all(text: Text, starts: Positions, lengths: Positions, ranges: list[tuple[int, int]]) -> Mask:
    """Tell which values have no letter but those of some ranges, eight letters at once."""
    words = text.words_at(starts, -(-int(lengths.max()) // _WORD_BYTES))
    good = np.ones(len(starts), dtype=np.bool_)
    for number in range(words.shape[1]):
        one = words[:, number]
        # The highest bit of a letter stays where it is at least the first and at most the last of a range, both below 128.
        found = np.zeros(len(starts), dtype=np.uint64)
        for first, last in ranges:
            found |= ((one | _HIGHS) - _ONES * np.uint64(first)) & (
                (_ONES * np.uint64(last) | _HIGHS) - (one & ~_HIGHS)
            )
        found &= ~one
        missing = masked(~found & _HIGHS, np.clip(lengths - number * _WORD_BYTES, 0, _WORD_BYTES))
        good &= missing == 0
    return good


def are_digits(text: Text, starts: Positions, stops: Positions) -> Mask:
    """Tell which texts are one to eight decimal digits."""
    return _read(text, starts, stops)[1]


def read_number(text: Text, starts: Positions, stops: Positions) -> tuple[Positions, Mask]:
    """Read numbers of one to eight digits, without zeros before them, and say which are."""
    values, good, letters = _read(text, starts, stops)
    good &= (stops - starts == 1) | ((letters & np.uint64(0xFF)) != ord("0"))
    return values, good


def _read(text: Text, starts: Positions, stops: Positions) -> tuple[Positions, Mask, Words]:
    """Read numbers of one to eight digits, say which are, and what they begin with."""
    lengths = stops - starts
    good = (lengths > 0) & (lengths <= _WORD_BYTES)
    missing = np.where(good, _WORD_BYTES - lengths, 0)
    letters = text.at(starts)
    zeros = np.full(len(starts), word(b"0" * _WORD_BYTES))
    filled = letters << (missing * _WORD_BYTES).astype(np.uint64) | masked(zeros, missing)
    values, is_number = digits(filled)
    return values, good & is_number, letters
