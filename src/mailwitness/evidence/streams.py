"""Bytes that are read once, front to back: a part of a file, what a compressed one decodes to, one member."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from mailwitness.evidence.decoders import GzipDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.evidence.decoders import Decoder


class Stream(Protocol):
    """Bytes to read once.

    Attributes:
        consumed: bytes taken from the archive's own file so far, to judge how much it swells.
        damage: why the stream ended early, half a sentence; empty for one that is whole.
    """

    @property
    def consumed(self) -> int:
        """Return how many bytes of the archive were taken so far."""
        ...

    @property
    def damage(self) -> str:
        """Return why the stream ended early; empty as long as it is whole."""
        ...

    def read(self, size: int) -> bytes:
        """Return some of the next bytes (zstd may give more than ``size``); none at the end."""
        ...


class FilePart:
    """A part of an open file, read at its own offset so that several can share the descriptor."""

    def __init__(self, descriptor: int, start: int = 0, length: int | None = None) -> None:
        self._descriptor = descriptor
        self._start = self._place = start
        size = os.fstat(descriptor).st_size
        self._end = size if length is None else start + length
        self.damage = ""

    @property
    def consumed(self) -> int:
        """Return how many bytes were read so far."""
        return self._place - self._start

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        size = min(size, self._end - self._place)
        if size <= 0:
            return b""
        try:
            piece = os.pread(self._descriptor, size, self._place)
        except OSError as error:
            self.damage = f"the disk cannot read it ({error.strerror})"
            return b""
        if not piece:
            self.damage = "its end is missing"
        self._place += len(piece)
        return piece

    def give_back(self, size: int) -> None:
        """Let the last bytes be read once more."""
        self._place -= size


class Rewound:
    """A stream of which the first bytes were looked at already."""

    def __init__(self, first: bytes, stream: Stream) -> None:
        self._first = first
        self._stream = stream

    @property
    def consumed(self) -> int:
        """Return how many bytes of the archive were taken so far."""
        return self._stream.consumed

    @property
    def damage(self) -> str:
        """Return why the stream ended early; empty as long as it is whole."""
        return self._stream.damage

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, none at the end."""
        first, self._first = self._first, b""
        return first or self._stream.read(size)


class DecodedStream:
    """What a compressed stream decodes to; streams of the same kind set one after the other are one.

    Args:
        source: the compressed bytes.
        make: gives a decoder for each stream in it.
        magics: how a further stream starts; empty when there is only one (a member of a zip).
    """

    def __init__(self, source: FilePart, make: Callable[[], Decoder], magics: tuple[bytes, ...] = ()) -> None:
        self._source = source
        self._make = make
        self._magics = magics
        self._decoder = make()
        self._ended = False
        self.name = ""
        self.damage = ""

    @property
    def consumed(self) -> int:
        """Return how many compressed bytes were decoded so far."""
        return self._source.consumed

    @property
    def unused_bytes(self) -> int:
        """Return how many of the consumed bytes lie after the end of the stream."""
        return len(self._decoder.unused_data)

    def read(self, size: int) -> bytes:
        """Return some of the next decoded bytes (zstd may give more than ``size``); none at the end."""
        while not self._ended:
            piece = self._step(size)
            if piece:
                return piece
        return b""

    def _step(self, size: int) -> bytes:
        if self._decoder.fault:
            self._stop(self._decoder.fault)
            return b""
        if self._decoder.eof:
            self._next_stream()
            return b""
        chunk = b""
        if self._decoder.needs_input:
            chunk = self._source.read(self._decoder.feed_bytes)
            if not chunk:
                self._stop(self._source.damage or "its end is missing")
                return b""
        return self._decode(chunk, size)

    def _decode(self, chunk: bytes, size: int) -> bytes:
        decoded = self._decoder.decompress(chunk, size)
        if not self.name and isinstance(self._decoder, GzipDecoder):
            self.name = self._decoder.name
        return decoded

    def _next_stream(self) -> None:
        """Go on with a further stream, or end; null bytes in between are padding."""
        if not self._magics:
            self._stop("")
            return
        longest = max(map(len, self._magics))
        rest = self._decoder.unused_data.lstrip(b"\0")
        while len(rest) < longest and (more := self._source.read(self._decoder.feed_bytes)):
            rest = (rest + more).lstrip(b"\0")
        if rest.startswith(self._magics):
            self._decoder = self._make()
            self._source.give_back(len(rest))
        else:
            self._stop("other bytes follow its end" if rest else self._source.damage)

    def _stop(self, damage: str) -> None:
        self._ended = True
        self.damage = damage
