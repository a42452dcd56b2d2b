"""Decoders of compressed bytes that hand out a bounded piece at a time and keep what lies before any damage.

A hostile file wants three things: a huge output from one call, a huge window, and an error that throws away
what was decoded before it. Each decoder here says how it denies them.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Protocol

import zstandard

from mailwitness.evidence.names import display_name

# xz -9 needs 65 MiB and zstd --ultra -22 128 MiB to decode; more is asked for by hostile files only.
_XZ_MEMORY_BYTES = 256 << 20
_ZSTD_WINDOW_BYTES = 128 << 20
# A gzip header is a name and a comment of any length; real ones have under 1 KB.
_GZIP_HEADER_BYTES = 1 << 20


class Decoder(Protocol):
    """Turn one compressed stream into bytes.

    Attributes:
        feed_bytes: how much input to give at once.
        fault: what is wrong with the stream; empty as long as nothing is.
        unused_data: input after the end of the stream.
    """

    feed_bytes: int
    fault: str

    @property
    def eof(self) -> bool:
        """Say whether the stream has ended, orderly or by a fault."""
        ...

    @property
    def needs_input(self) -> bool:
        """Say whether more can come without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the stream."""
        ...

    def decompress(self, chunk: bytes, size: int) -> bytes:
        """Return about ``size`` bytes at most; never raises for bad input."""
        ...


class InflateDecoder:
    """Raw deflate (RFC 1951). A copy of the state before each chunk lets it find the last good byte."""

    feed_bytes = 1 << 16

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._full = False
        self.fault = ""

    @property
    def eof(self) -> bool:
        """Say whether the stream has ended, orderly or by a fault."""
        return self._inflate.eof or bool(self.fault)

    @property
    def needs_input(self) -> bool:
        """Say whether more can come without more input."""
        return not self._inflate.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the stream."""
        return self._inflate.unused_data

    def decompress(self, chunk: bytes, size: int) -> bytes:
        """Return ``size`` bytes at most; never raises for bad input."""
        chunk = self._inflate.unconsumed_tail + chunk
        before = self._inflate.copy()
        try:
            decoded = self._inflate.decompress(chunk, size)
        except zlib.error as error:
            self.fault = f"its compressed bytes are damaged ({error})"
            return _salvage(before, chunk, size)
        # A full answer may leave more inside zlib although it has taken all the input.
        self._full = len(decoded) == size
        return decoded


def _salvage(inflate: zlib._Decompress, chunk: bytes, size: int) -> bytes:
    """Feed byte by byte up to the one that is wrong: the failed call gave nothing of what it had decoded."""
    pieces = []
    try:
        for place in range(len(chunk)):
            piece = inflate.decompress(chunk[place : place + 1], size)
            pieces.append(piece)
            size -= len(piece)
            if size <= 0:
                break
    except zlib.error:
        pass
    return b"".join(pieces)


class GzipDecoder:
    """One gzip member (RFC 1952): header, deflate, CRC and length.

    Attributes:
        name: the file name in the header; empty when there is none. RFC 1952 says Latin-1, writers store
            whatever bytes the name has.
    """

    feed_bytes = InflateDecoder.feed_bytes

    def __init__(self) -> None:
        self._inflate = InflateDecoder()
        self._header: bytes | None = b""
        self._trailer = b""
        self._crc = self._size = 0
        self.name = ""
        self.fault = ""

    @property
    def eof(self) -> bool:
        """Say whether the member has ended, orderly or by a fault."""
        return bool(self.fault) or len(self._trailer) >= 8  # noqa: PLR2004 - CRC and length

    @property
    def needs_input(self) -> bool:
        """Say whether more can come without more input."""
        return self._header is not None or self._inflate.eof or self._inflate.needs_input

    @property
    def unused_data(self) -> bytes:
        """Return the input after the member."""
        return self._trailer[8:]

    def decompress(self, chunk: bytes, size: int) -> bytes:
        """Return ``size`` bytes at most; never raises for bad input."""
        if self._header is not None:
            rest = self._take_header(self._header + chunk)
            if rest is None:
                return b""
            chunk = rest
        if self._inflate.eof:
            self._trailer += chunk
            self._check()
            return b""
        decoded = self._inflate.decompress(chunk, size)
        self._crc = zlib.crc32(decoded, self._crc)
        self._size += len(decoded)
        self.fault = self._inflate.fault
        self._trailer = self._inflate.unused_data  # empty until the end is reached
        self._check()
        return decoded

    def _take_header(self, header: bytes) -> bytes | None:
        """Return what follows the header, or None when its end is not among these bytes."""
        end, self.name = _gzip_header(header)
        if end:
            self._header = None
            return header[end:]
        self._header = header
        if len(header) > _GZIP_HEADER_BYTES:
            self.fault = "its gzip header never ends"
        return None

    def _check(self) -> None:
        if self.fault or not self.eof:
            return
        expected = int.from_bytes(self._trailer[:4], "little"), int.from_bytes(self._trailer[4:8], "little")
        if expected != (self._crc, self._size & 0xFFFFFFFF):
            self.fault = "its checksum does not match its content"


def _gzip_header(header: bytes) -> tuple[int, str]:
    """Return where the header ends (0: not within these bytes) and the file name in it."""
    if len(header) < 10:  # noqa: PLR2004 - the fixed part of the header
        return 0, ""
    flags, end, name = header[3], 10, ""
    if flags & 4:  # FEXTRA
        end += 2 + int.from_bytes(header[10:12], "little")
    if flags & 8:  # FNAME
        stop = header.find(b"\0", end)
        name, end = header[end:stop].decode("utf-8", "surrogateescape"), stop + 1
    if flags & 16 and end:  # FCOMMENT
        end = header.find(b"\0", end) + 1
    if flags & 2 and end:  # FHCRC
        end += 2
    return (end, name) if 0 < end <= len(header) else (0, "")


class _ZstdFrame:
    """One zstd frame, with the face of the standard library's decompressors."""

    needs_input = True

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002 - zstandard takes no limit
        return self._frame.decompress(data)


class GuardedDecoder:
    """A decoder of a library (bzip2, xz, zstd) whose exceptions become a fault.

    These libraries give nothing of a call that fails, so they get small pieces of input: little is lost. For
    zstd, which takes no limit for its output, small pieces also bound that: 1 KiB of input holds at most
    256 blocks of 4 bytes that say "repeat this byte 128 KiB long", 32 MiB in all.
    """

    def __init__(
        self, library: bz2.BZ2Decompressor | lzma.LZMADecompressor | _ZstdFrame, feed_bytes: int
    ) -> None:
        self._library = library
        self.feed_bytes = feed_bytes
        self.fault = ""

    @property
    def eof(self) -> bool:
        """Say whether the stream has ended, orderly or by a fault."""
        return self._library.eof or bool(self.fault)

    @property
    def needs_input(self) -> bool:
        """Say whether more can come without more input."""
        return self._library.needs_input

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the stream."""
        return b"" if self.fault else self._library.unused_data

    def decompress(self, chunk: bytes, size: int) -> bytes:
        """Return about ``size`` bytes at most; never raises for bad input."""
        try:
            return self._library.decompress(chunk, size)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError, MemoryError) as error:
            self.fault = f"its compressed bytes are damaged ({display_name(str(error))})"
            return b""


def bzip2_decoder() -> Decoder:
    """Return a decoder of one bzip2 stream."""
    return GuardedDecoder(bz2.BZ2Decompressor(), 1 << 12)


def xz_decoder() -> Decoder:
    """Return a decoder of one xz stream."""
    return GuardedDecoder(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES), 1 << 12)


def zstd_decoder() -> Decoder:
    """Return a decoder of one zstd frame."""
    return GuardedDecoder(_ZstdFrame(), 1 << 10)
