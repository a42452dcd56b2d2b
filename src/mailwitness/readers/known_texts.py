"""What was found about texts that come again and again in a log: each is looked at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from mailwitness.readers.byte_words import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text, Words
    from mailwitness.readers.index import Positions

_MOST_KNOWN = 100_000


# Answers are found by the first bits of a digest; two texts that share them take turns.
_SLOT_BITS = 15
# So many words of a text are taken at once.
_SPAN = 8
# Bits of an answer, and of one that is no more than a byte.
_BYTE_BITS = 8


class KnownTexts:
    """Remembers what was found about texts, up to a bound, by digests whose key nobody knows beforehand."""

    def __init__(self, judge: Callable[[bytes], int], bits: int = _BYTE_BITS) -> None:
        """Take what looks at a text that was not seen before, and how many bits its answers have."""
        self._judge = judge
        self._answer = np.uint64((1 << bits) - 1)
        self._kind = np.dtype(np.int8 if bits == _BYTE_BITS else np.int32)
        self._key = np.frombuffer(os.urandom(16), dtype="<u8") | np.uint64(1)
        # Digest and answer are one number: stretches of a log may be looked at side by side.
        self._slots = np.zeros(1 << _SLOT_BITS, dtype=np.uint64)
        self._known: dict[int, int] = {}

    def ask(self, found: Text, starts: Positions, stops: Positions) -> NDArray[Any]:
        """Return the answer for each text; most texts come again and again."""
        digests = self._digest(found, starts, stops)
        slot = (digests >> np.uint64(64 - _SLOT_BITS)).astype(np.int64)
        seen = self._slots[slot]
        answer: NDArray[Any] = (seen & self._answer).astype(self._kind)  # Any: whole numbers
        new = np.flatnonzero((seen | self._answer) != (digests | self._answer))
        if len(new):
            added, first, which = np.unique(digests[new], return_index=True, return_inverse=True)
            judged = np.array(
                [
                    self._judged(digest, found, int(starts[row]), int(stops[row]))
                    for digest, row in zip(added.tolist(), new[first].tolist(), strict=True)
                ],
                dtype=self._kind,
            )
            kept = judged.astype(np.uint64) & self._answer
            self._slots[slot[new[first]]] = (added & ~self._answer) | kept
            answer[new] = judged[which]
        return answer

    def _judged(self, digest: int, found: Text, start: int, stop: int) -> int:
        known = self._known.get(digest)
        if known is None:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            known = self._known[digest] = int(self._judge(found.raw[start:stop]))
        return known

    def _digest(self, found: Text, starts: Positions, stops: Positions) -> Words:
        lengths = stops - starts
        factor, first = self._key
        # One more, so that no text has the digest of an empty slot.
        digests: Words = (lengths + 1).astype(np.uint64) * first
        rows, done = np.flatnonzero(lengths > 0), 0
        while len(rows):
            left = lengths[rows] - done
            count = min(_SPAN, -(-int(left.max()) // 8))
            words, mixed = found.words_at(np.minimum(starts[rows] + done, found.size), count), digests[rows]
            for number in range(count):
                rest = left - 8 * number
                some = slice(None) if rest.min() > 0 else np.flatnonzero(rest > 0)
                one = (mixed[some] ^ masked(words[some, number], rest[some])) * factor
                mixed[some] = one ^ (one >> np.uint64(29))
            digests[rows] = mixed
            done += 8 * _SPAN
            rows = rows[left > 8 * _SPAN]
        return digests
