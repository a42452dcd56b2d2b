"""Text as words of eight bytes, so that what many lines hold at some places is compared and read at once.

A word is the number that eight bytes are when the first one counts least: ``word(b"type=")`` is what the first five bytes of a
line that begins so are, once the other three are masked away.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.index import Positions

    Words = NDArray[np.uint64]
    Mask = NDArray[np.bool_]

# What may be looked at behind the last byte of a text: the longest id, type and value of known length.
PADDING = 128
# Places behind the last blank that stand for blanks of a line that has none any more.
_FURTHER = 64
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(9)], dtype=np.uint64)
_INSIDE_BYTES = 12
# So many bytes of a text are compared in one look.
_WIDE_BYTES = 64
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_HALF = np.uint64(32)


def word(piece: bytes) -> np.uint64:
    """Return at most eight bytes as a word; missing ones are NUL."""
    return np.uint64(int.from_bytes(piece, "little"))


def masked(words: Words, lengths: Positions | int) -> Words:
    """Keep as many bytes of each word as its length says (0 to 8)."""
    kept: Words = words & (
        _MASKS[min(lengths, 8)] if isinstance(lengths, int) else _MASKS[np.minimum(lengths, 8)]
    )
    return kept


def digits(words: Words) -> tuple[Positions, Mask]:
    """Read each word as eight decimal digits, and say which are."""
    zeros, sixes, tops = (
        np.uint64(0x3030303030303030),
        np.uint64(0x0606060606060606),
        np.uint64(0xF0F0F0F0F0F0F0F0),
    )
    good = ((words & tops) == zeros) & (((words + sixes) & tops) == zeros)
    low = (words & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
    four = (low & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    eight = (four & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> _HALF
    return eight.astype(np.int64), good


class Text:
    """A stretch of a file, with its blanks."""

    def __init__(self, content: bytes, size: int | None = None) -> None:
        """Take the bytes of whole lines, and how many they are where what follows in the file stands behind them."""
        self.size = len(content) if size is None else size
        self.raw = content
        # What follows saves a copy: it only has to be there, since nothing is taken for part of a line that stands behind its end.
        self._padded = content if len(content) >= self.size + PADDING else content + bytes(PADDING)
        self.data = np.frombuffer(self._padded, dtype=np.uint8)
        self._words = np.ndarray((len(self.data) - 7,), "<u8", buffer=self.data, strides=(1,))

    @cached_property
    def blanks(self) -> Positions:
        """Where the blanks stand; behind the last one, the end of the text."""
        found = np.flatnonzero(self.data[: self.size] == ord(" "))
        return np.append(found, np.full(_FURTHER, self.size, dtype=np.int64))

    @property
    def buffer(self) -> pa.Buffer:
        """The text as strings point into it."""
        return pa.py_buffer(self._padded)

    def foreign_lines(self, starts: Positions, stops: Positions) -> Positions:
        """Return the lines, by where each starts and stops, that hold bytes beyond ASCII or NUL."""
        if not len(starts) or (self.raw.isascii() and self.raw.find(0, 0, self.size) < 0):
            return np.zeros(0, dtype=np.int64)
        data = self.data[: self.size]
        places = np.flatnonzero((data >= 0x80) | (data == 0))  # noqa: PLR2004 - beyond ASCII
        lines = np.searchsorted(starts, places, side="right") - 1
        # Behind the last line may stand what belongs to the next stretch.
        found: Positions = np.unique(lines[(lines >= 0) & (places < stops[lines])])
        return found

    def at(self, places: Positions) -> Words:
        """Return the word at each place; a little behind the text there is NUL."""
        found: Words = self._words[places]
        return found

    def words_at(self, places: Positions, count: int) -> Words:
        """Return so many words in a row from each place on: they cost as much as one, and no more than `PADDING` bytes."""
        size = count * 8
        wide = np.ndarray((len(self.data) - size + 1,), f"V{size}", buffer=self.data, strides=(1,))
        found: Words = wide[places].view("<u8").reshape(-1, count)
        return found

    def bytes_at(self, places: Positions, size: int) -> NDArray[np.uint8]:
        """Return so many bytes from each place on, in rows; no more than `PADDING`."""
        wide = np.ndarray((len(self.data) - size + 1,), f"V{size}", buffer=self.data, strides=(1,))
        found: NDArray[np.uint8] = wide[places].view(np.uint8).reshape(-1, size)
        return found

    def begins(self, places: Positions, sign: bytes) -> Mask:
        """Tell from which places on a text stands."""
        same = np.ones(len(places), dtype=np.bool_)
        for done in range(0, len(sign), _WIDE_BYTES):
            piece = sign[done : done + _WIDE_BYTES]
            words = self.words_at(np.minimum(places + done, self.size), -(-len(piece) // 8))
            for number in range(words.shape[1]):
                part = piece[number * 8 : number * 8 + 8]
                same &= masked(words[:, number], len(part)) == word(part)
        return same

    @staticmethod
    def find(words: Words, letter: int) -> Positions:
        """Return where a letter first stands in each word; 8 where it does not."""
        differs = words ^ (_ONES * np.uint64(letter))
        marks = (differs - _ONES) & ~differs & _HIGHS
        first = marks & (~marks + np.uint64(1))
        place: Positions = np.bitwise_count(first - np.uint64(1)).astype(np.int64) >> 3
        return place

    def first(self, places: Positions, letter: int, most: int) -> Positions:
        """Return where a letter first stands from each place on; the end of the text where not within so many bytes."""
        found = np.full(len(places), self.size, dtype=np.int64)
        left = np.arange(len(places))
        for done in range(0, most, 8):
            at = places[left] + done
            step = self.find(self.at(np.minimum(at, self.size)), letter)
            is_there = (step < 8) & (at + step < self.size)  # noqa: PLR2004 - bytes of a word
            found[left[is_there]] = (at + step)[is_there]
            left = left[~is_there & (at < self.size)]
            if not len(left):
                break
        return found

    def _short(self, one: Words, lengths: Positions) -> pa.Array:
        """Return strings of at most eight bytes, which stand in their views."""
        shown = masked(one, lengths)
        views = np.empty((len(lengths), 2), dtype="<u8")
        views[:, 0] = lengths.astype(np.uint64) | shown << _HALF
        views[:, 1] = shown >> _HALF
        valid = pa.py_buffer(np.packbits(lengths > 0, bitorder="little"))
        return pa.Array.from_buffers(pa.string_view(), len(lengths), [valid, pa.py_buffer(views)])

    def strings(self, starts: Positions, stops: Positions) -> pa.Array:
        """Return the text between starts and stops as strings that point into the stretch; null where there is none.

        It has to be text already: nothing looks whether it is UTF-8.
        """
        lengths = stops - starts
        one = self.at(starts)
        is_inside = lengths <= _INSIDE_BYTES
        if not len(lengths) or int(lengths.max()) <= 8:  # noqa: PLR2004 - bytes of a word
            return self._short(one, lengths)
        views = np.empty((len(starts), 2), dtype="<u8")
        shown = np.where(is_inside, masked(one, np.minimum(lengths, 4)), one)
        views[:, 0] = lengths.astype(np.uint64) | shown << _HALF
        inside = masked(one, np.minimum(lengths, 8)) >> _HALF
        inside |= masked(self.at(starts + 8), np.clip(lengths - 8, 0, 4)) << _HALF
        views[:, 1] = np.where(is_inside, inside, starts.astype(np.uint64) << _HALF)
        valid = pa.py_buffer(np.packbits(lengths > 0, bitorder="little"))
        buffers = [valid, pa.py_buffer(views), pa.py_buffer(self._padded)]
        return pa.Array.from_buffers(pa.string_view(), len(starts), buffers)
