"""What was found about texts that come again and again in a log: each is looked at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.byte_words import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text, Words
    from mailwitness.readers.index import Positions

_MOST_KNOWN = 100_000


class KnownTexts:
    """Remembers what was found about texts, up to a bound, by digests whose key nobody knows beforehand."""

    def __init__(self, judge: Callable[[bytes], int]) -> None:
        """Take what looks at a text that was not seen before."""
        self._judge = judge
        self._key = np.frombuffer(os.urandom(16), dtype="<u8") | np.uint64(1)
        self._digests = np.zeros(0, dtype=np.uint64)
        self._answers = np.zeros(0, dtype=np.int8)

    def ask(self, found: Text, starts: Positions, stops: Positions) -> NDArray[np.int8]:
        """Return the answer for each text; most texts come again and again."""
        digests = self._digest(found, starts, stops)
        if len(self._digests) > _MOST_KNOWN:
            self._digests, self._answers = self._digests[:0], self._answers[:0]
        place = np.searchsorted(self._digests, digests)
        is_known = np.append(self._digests, 0)[place] == digests
        is_known &= place < len(self._digests)
        if not is_known.all():
            new = np.flatnonzero(~is_known)
            added, first = np.unique(digests[new], return_index=True)
            texts = (found.raw[starts[row] : stops[row]] for row in new[first].tolist())
            answers = np.fromiter(map(self._judge, texts), dtype=np.int8, count=len(added))
            order = np.argsort(np.concatenate([self._digests, added]), kind="stable")
            self._answers = np.concatenate([self._answers, answers])[order]
            self._digests = np.concatenate([self._digests, added])[order]
            place = np.searchsorted(self._digests, digests)
        answer: NDArray[np.int8] = np.append(self._answers, np.int8(0))[place]
        return answer

    def _digest(self, found: Text, starts: Positions, stops: Positions) -> Words:
        lengths = stops - starts
        factor, first = self._key
        digests: Words = lengths.astype(np.uint64) * first
        rows = np.flatnonzero(lengths > 0)
        done = 0
        while len(rows):
            mixed = (digests[rows] ^ masked(found.at(starts[rows] + done), lengths[rows] - done)) * factor
            digests[rows] = mixed ^ (mixed >> np.uint64(29))
            done += 8
            rows = rows[lengths[rows] > done]
        return digests
