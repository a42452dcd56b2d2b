"""The bytes of an open file, a piece at a time.

Evidence is read, never mapped: a mapped file that shrinks, as a log that is rotated by copying does, ends the process. Here it just has fewer
bytes, and that it changed is found when its digest is confirmed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_SEARCHED_BYTES = 1 << 18


class FileView:
    """What a file held when it was opened, to be cut and searched like ``bytes``, all places being counted from its start."""

    def __init__(self, handle: BinaryIO) -> None:
        """Take an open file, which has to stay open."""
        self._descriptor = handle.fileno()
        self._size = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        """Return how many bytes the file had."""
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Return a part without steps; fewer bytes when the file has become shorter."""
        start, stop, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(stop - start, 0), start)

    def find(self, sought: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return where some bytes come first in a part of the file, -1 if they do not."""
        stop = self._size if stop is None else min(stop, self._size)
        for place in range(start, stop, _SEARCHED_BYTES):
            piece = self[place : min(place + _SEARCHED_BYTES + len(sought) - 1, stop)]
            if (found := piece.find(sought)) >= 0:
                return place + found
        return -1

    def rfind(self, sought: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return where some bytes come last in a part of the file, -1 if they do not."""
        end = stop = self._size if stop is None else min(stop, self._size)
        while end > start:
            place = max(start, end - _SEARCHED_BYTES)
            piece = self[place : min(end + len(sought) - 1, stop)]
            if (found := piece.rfind(sought)) >= 0:
                return place + found
            end = place
        return -1
