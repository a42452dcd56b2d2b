"""The signs of lines as sequences: lines of a log have few, and a sequence alone decides where the values of a line end.

Each sequence that was seen has a number; what follows from it for a kind of line is found once.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.byte_words import PADDING, Text
from mailwitness.readers.known_texts import KnownTexts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_signs import Signs

    Mask = NDArray[np.bool_]
    Numbers = NDArray[np.int32]

# No sequence: what follows from it is not known. Lines that have it are left to the patterns.
UNKNOWN = 0
# Whoever writes the lines chooses the sequences. What is looked up of each takes less than a kilobyte.
_MOST, _LONGEST = 1 << 15, 1000
_NUMBER_BITS = 16
_UNSEEN, _FITS_NOT, _FITS = range(3)


class Sequences:
    """The sequences of signs that were seen, by number."""

    def __init__(self) -> None:
        """Begin with none."""
        self.all = [b""]
        self._numbers: dict[bytes, int] = {}
        self._known = KnownTexts(self._number, _NUMBER_BITS)
        self._lock = Lock()

    def of(self, signs: Signs, starts: Positions, stops: Positions) -> Numbers:
        """Return the number of each sequence of signs, from one sign to another."""
        return self._known.ask(Text(signs.letters + bytes(PADDING), len(signs.letters)), starts, stops)

    def _number(self, signs: bytes) -> int:
        with self._lock:
            found = self._numbers.get(signs)
            if found is None:
                if len(signs) > _LONGEST or len(self.all) >= _MOST:
                    return UNKNOWN
                found = self._numbers[signs] = len(self.all)
                self.all.append(signs)
            return found


class SignTable:
    """What follows from sequences of signs for one kind of line: numbers, or that no such line has these signs."""

    def __init__(self, columns: int, judge: Callable[[bytes], list[int] | None]) -> None:
        """Take how many numbers follow, and what finds them."""
        self._judge = judge
        self._state = np.zeros(1, dtype=np.int8)
        self._found = np.zeros((columns, 1), dtype=np.int16)
        self._lock = Lock()

    def fit(self, sequences: Sequences, numbers: Numbers) -> Mask:
        """Tell which lines may be of this kind, by the numbers of their sequences."""
        if len(self._state) < len(sequences.all):
            self._grow(2 * len(sequences.all))
        state = self._state[numbers]
        if not state.all():
            for number in np.unique(numbers[state == _UNSEEN]).tolist():
                self._learn(number, sequences.all[number])
            state = self._state[numbers]
        fits: Mask = state == _FITS
        return fits

    def column(self, number: int, numbers: Numbers) -> NDArray[np.int16]:
        """Return one of the numbers that follow, of sequences that fit."""
        found: NDArray[np.int16] = self._found[number][numbers]
        return found

    def _grow(self, size: int) -> None:
        with self._lock:
            state, found = np.zeros(size, dtype=np.int8), np.zeros((len(self._found), size), dtype=np.int16)
            state[: len(self._state)], found[:, : self._found.shape[1]] = self._state, self._found
            self._found, self._state = found, state

    def _learn(self, number: int, signs: bytes) -> None:
        found = None if number == UNKNOWN else self._judge(signs)
        with self._lock:
            if found is not None:
                self._found[:, number] = found
            self._state[number] = _FITS_NOT if found is None else _FITS
