"""7-Zip archives, read as streams: what was packed with LZMA, LZMA2, Deflate, bzip2, zstd or not at all.

``7z a logs.7z folder`` packs all files one behind the other into one block with LZMA2. Python's standard library decodes that; what it
cannot decode (PPMd, BCJ2, encryption) is named for each member. Source: 7zFormat.txt and Methods.txt of the LZMA SDK.
"""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

from mailwitness.evidence.decoders import GuardedDecoder, InflateDecoder, bzip2_decoder, zstd_decoder
from mailwitness.evidence.entries import Entry, Rejected, notes_on_name
from mailwitness.evidence.sevenzip_header import HEADER_BYTES, Block, Coder, Member, directory
from mailwitness.evidence.streams import DecodedStream, FilePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailwitness.evidence.decoders import Decoder
    from mailwitness.evidence.streams import Stream

_START = struct.Struct("<6s2BLQQL")
# A directory may be packed, and that of a packed one again; real ones are packed once.
_PACKED_TIMES = 4
# "Ultra" takes 64 MiB, the largest preset of graphical programs 1.5 GiB; a window is memory that the archive asks for.
_WINDOW_BYTES = 256 << 20
# What is decoded only to reach the next member, when one was refused for its size.
_MOST_SKIPPED = 1 << 30
_SKIP_BYTES = 1 << 20
_COPY, _LZMA, _LZMA2, _DELTA, _AES = b"\x00", b"\x03\x01\x01", b"\x21", b"\x03", b"\x06\xf1\x07\x01"
_PLAIN: dict[bytes, Callable[[], Decoder]] = {
    b"\x04\x01\x08": InflateDecoder,
    b"\x04\x02\x02": bzip2_decoder,
    b"\x04\xf7\x11\x01": zstd_decoder,
}
# Converters of jump targets in programs, by their numbers old and new.
_FILTERS = {
    b"\x03\x03\x01\x03": lzma.FILTER_X86,
    b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64,
    b"\x06": lzma.FILTER_IA64,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x07": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB,
    b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
    b"\x09": lzma.FILTER_SPARC,
}
_OTHERS = {
    b"\x03\x03\x01\x03": "BCJ behind LZMA",
    b"\x03\x04\x01": "PPMd",
    b"\x03\x03\x01\x1b": "BCJ2",
    b"\x04\x01\x09": "Deflate64",
}
_UNPACK = "Unpack it with a program for 7-Zip and give the folder."


def sevenzip_entries(descriptor: int, most: int) -> Iterator[Entry | Rejected]:
    """Yield the members of a 7-Zip archive in the order they are in it.

    Args:
        descriptor: the open archive.
        most: members to list at most.
    """
    found = _directory(descriptor, most)
    if isinstance(found, Rejected):
        yield found
        return
    blocks, members = found
    contents = (
        _Content(opened, size, checksum)
        for block in blocks
        for opened in [_Opened(descriptor, block)]
        for size, checksum in zip(block.sizes, block.sums, strict=True)
    )
    for member in members:
        if not member.has_content:
            if not member.is_folder:
                yield Entry(
                    member.name, FilePart(descriptor, 0, 0), notes_on_name(member.name), member.modified
                )
            continue
        content = next(contents, None)
        if content is None:
            reason = "the archive does not say where it is"
            yield Rejected(name=member.name, reason=reason, remedy="Get an undamaged copy of the archive.")
            continue
        yield _refusal(member, content) or Entry(
            member.name, content, notes_on_name(member.name), member.modified
        )
        content.skip()


def _refusal(member: Member, content: _Content) -> Rejected | None:
    if content.block.refused:
        return Rejected(name=member.name, reason=content.block.refused, remedy=content.block.remedy)
    if member.is_link:
        remedy = "Collect its target if that belongs to the evidence."
        return Rejected(name=member.name, reason="it is a symbolic link", remedy=remedy, blocking=False)
    return None


class _Opened:
    """A block while it is decoded; ``refused`` says why it cannot be."""

    def __init__(self, descriptor: int, block: Block) -> None:
        self.refused, self.remedy = "", _UNPACK
        self._waiting = b""
        self._stream: Stream | None = None
        raw = FilePart(descriptor, block.start, block.packed)
        try:
            make = _decoder(block.coders)
            _ensure_within(descriptor, block)
        except ValueError as error:
            self.refused = str(error)
            if _AES in {coder.method for coder in block.coders}:
                self.remedy = "Unpack the archive with its password and give the folder."
            return
        self._stream = raw if make is None else DecodedStream(raw, make)

    @property
    def consumed(self) -> int:
        return self._stream.consumed if self._stream else 0

    @property
    def damage(self) -> str:
        return (self._stream.damage if self._stream else "") or "its end is missing"

    def take(self, size: int) -> bytes:
        """Return some of the next bytes, at most ``size``; none at the end."""
        piece = self._waiting or (self._stream.read(size) if self._stream else b"")
        self._waiting = piece[size:]
        return piece[:size]


def _ensure_within(descriptor: int, block: Block) -> None:
    if block.start + block.packed > os.fstat(descriptor).st_size:
        message = "its bytes are not where its list of files says"
        raise ValueError(message)


class _Content:
    """The content of one member, compared with its checksum."""

    def __init__(self, block: _Opened, size: int, checksum: int | None) -> None:
        self.block = block
        self._left = size
        self._checksum = checksum
        self._sum = 0
        self._is_short = False

    @property
    def consumed(self) -> int:
        return self.block.consumed

    @property
    def damage(self) -> str:
        if self._is_short:
            return self.block.damage
        is_other = not self._left and self._checksum not in {None, self._sum}
        return "its checksum does not match its content" if is_other else ""

    def read(self, size: int) -> bytes:
        piece = self.block.take(min(size, self._left)) if self._left else b""
        self._is_short = not piece and self._left > 0
        self._left -= len(piece)
        self._sum = zlib.crc32(piece, self._sum)
        return piece

    def skip(self) -> None:
        """Pass over what was not read: the next member stands behind it."""
        if self.block.refused:
            return
        if self._left > _MOST_SKIPPED:
            self.block.refused = "it stands behind a member that is too large to be passed over"
            return
        while self._left and self.read(_SKIP_BYTES):
            pass


def _directory(descriptor: int, most: int) -> tuple[list[Block], list[Member]] | Rejected:
    data = _start(descriptor)
    try:
        for _ in range(_PACKED_TIMES):
            if isinstance(data, Rejected):
                return data
            blocks, members = directory(data, most) if data else ([], [])
            if members is not None:
                return blocks, members
            data = _unpacked(descriptor, blocks)
    except ValueError as error:
        return _broken(f"its list of files cannot be read ({error})")
    return _broken("its list of files is packed again and again")


def _start(descriptor: int) -> bytes | Rejected:
    """Return the directory as it stands at the end of the archive; it may be packed."""
    start = os.pread(descriptor, _START.size, 0)
    if len(start) < _START.size or zlib.crc32(start[12:]) != _START.unpack(start)[3]:
        return _broken("its beginning is damaged, so nothing says where its list of files is")
    place, size, checksum = _START.unpack(start)[4:]
    data = _plain(descriptor, 32 + place, size)
    if data is None:
        return _broken(
            "its list of files is missing, as when its end is cut off or it is one volume of several"
        )
    return _broken("its list of files is damaged") if size and zlib.crc32(data) != checksum else data


def _plain(descriptor: int, place: int, size: int) -> bytes | None:
    if not size:
        return b""
    if size > HEADER_BYTES or place >= 1 << 62:
        return None
    data = os.pread(descriptor, size, place)
    return data if len(data) == size else None


def _unpacked(descriptor: int, blocks: list[Block]) -> bytes | Rejected:
    if blocks and _AES in {coder.method for coder in blocks[0].coders}:
        remedy = "Unpack the archive with its password and give the folder."
        return Rejected(name="", reason="its list of files is encrypted", remedy=remedy)
    if not blocks or len(blocks[0].sizes) != 1 or blocks[0].size > HEADER_BYTES:
        message = "it is packed in no way there is"
        raise ValueError(message)
    opened = _Opened(descriptor, blocks[0])
    if opened.refused:
        raise ValueError(opened.refused)
    content = _Content(opened, blocks[0].size, blocks[0].sums[0])
    data = b"".join(iter(lambda: content.read(_SKIP_BYTES), b""))
    if content.damage:
        raise ValueError(content.damage)
    return data


def _broken(reason: str) -> Rejected:
    return Rejected(name="", reason=reason, remedy="Get a complete copy of the archive.")


def _decoder(coders: tuple[Coder, ...]) -> Callable[[], Decoder] | None:
    """Return what makes the decoder of a block; None when it is not packed. Raises ValueError when there is none."""
    methods = [coder.method for coder in coders]
    if _AES in methods:
        message = "it is encrypted"
        raise ValueError(message)
    if methods == [_COPY]:
        return None
    if len(methods) == 1 and methods[0] in _PLAIN:
        return _PLAIN[methods[0]]
    # The library keeps back the last bytes of a converter behind LZMA, which has no end mark; LZMA2 has one.
    is_known = bool(methods) and all(method in _FILTERS or method == _DELTA for method in methods[1:])
    if is_known and (methods[0] == _LZMA2 or methods == [_LZMA]):
        filters = [_filter(coder) for coder in reversed(coders)]
        return lambda: GuardedDecoder(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), 1 << 12)
    named = [_OTHERS.get(method, f"method {method.hex()}") for method in methods if method != _LZMA]
    message = f"it is packed with {' and '.join(named) or 'a tree of methods'}"
    raise ValueError(message)


def _filter(coder: Coder) -> dict[str, Any]:  # Any: as the library takes them
    settings = coder.settings
    if coder.method in _FILTERS:
        return {"id": _FILTERS[coder.method]}
    if coder.method == _DELTA:
        return {"id": lzma.FILTER_DELTA, "dist": (settings or b"\0")[0] + 1}
    if coder.method == _LZMA2:
        power = (settings or b"\xff")[0]
        return {"id": lzma.FILTER_LZMA2, "dict_size": _window((2 | power & 1) << power // 2 + 11)}
    if len(settings) < 5 or settings[0] >= 225:  # noqa: PLR2004 - a byte of three small numbers, and the window
        message = "its settings of LZMA cannot be"
        raise ValueError(message)
    rest, lc = divmod(settings[0], 9)
    pb, lp = divmod(rest, 5)
    window = _window(int.from_bytes(settings[1:5], "little"))
    return {"id": lzma.FILTER_LZMA1, "dict_size": window, "lc": lc, "lp": lp, "pb": pb}


def _window(size: int) -> int:
    if size > _WINDOW_BYTES:
        message = f"it asks for {size >> 20} MiB of memory"
        raise ValueError(message)
    return max(size, 4096)
