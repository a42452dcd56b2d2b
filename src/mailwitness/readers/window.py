"""A sliding window over a file: what lies ahead is in memory, what lies behind is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_READ_BYTES = 1 << 20


class Window:
    """Hold the bytes of a file from a moving place on.

    `text` is what is in memory, `place` the position in it that is read next, `base` the file offset of its
    first byte. `ensure` may move all of them: positions in `text` taken before it are valid no more.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Start at the current position of the stream, which must be the beginning of the file."""
        self._stream = stream
        self._line = 1  # number of the line on which text[_counted] stands
        self._counted = 0
        self.text = b""
        self.place = 0
        self.base = 0
        self.at_end = False

    def ensure(self, size_bytes: int) -> int:
        """Have `size_bytes` from `place` on in memory, fewer only at the end of the file; return how many."""
        missing = size_bytes - (len(self.text) - self.place)
        if missing > 0 and not self.at_end:
            pieces = [self.text[self.place :]]
            self.line(self.place)
            while missing > 0:
                piece = self._stream.read(max(missing, _READ_BYTES))
                if not piece:
                    self.at_end = True
                    break
                pieces.append(piece)
                missing -= len(piece)
            self.base += self.place
            self._counted = 0
            self.text = b"".join(pieces)
            self.place = 0
        return min(size_bytes, len(self.text) - self.place)

    def offset(self, place: int) -> int:
        """Return the file offset of a position in `text`."""
        return self.base + place

    def pass_lines(self, place: int, lines: int) -> None:
        """Move to a position behind so many line ends, which the caller has counted already."""
        self._line = self.line(self.place) + lines
        self._counted = self.place = place

    def line(self, place: int) -> int:
        """Return the 1-based line of a position in `text`; positions are best asked for in rising order."""
        if place < self._counted:
            return self._line - self.text.count(b"\n", place, self._counted)
        self._line += self.text.count(b"\n", self._counted, place)
        self._counted = place
        return self._line
