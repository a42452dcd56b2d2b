"""Zip archives (PKWARE APPNOTE 6.3.10), without trusting anything they say about themselves.

Members are read at the places the central directory names, sorted by place, so that members which share bytes
(the way to make a small bomb without nesting) show at once. When the directory is missing because the archive
was cut off, members are found by their local headers.
"""

from __future__ import annotations

import datetime as dt
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.evidence.decoders import InflateDecoder, bzip2_decoder, xz_decoder, zstd_decoder
from mailwitness.evidence.entries import Entry, Rejected, notes_on_name
from mailwitness.evidence.streams import DecodedStream, FilePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailwitness.evidence.decoders import Decoder
    from mailwitness.evidence.streams import Stream

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL_MAGIC = b"PK\3\4"
_COMMENT_BYTES = 0xFFFF
# 0xFFFFFFFF in a 4-byte field means: see the ZIP64 extra field.
_SEE_ZIP64 = 0xFFFFFFFF
# Kept of each name. Names may be 64 KB long, and 100,000 of those are 6 GB of memory.
_NAME_BYTES = 1024
_SCAN_BYTES = 1 << 20
_ENCRYPTED, _HAS_DESCRIPTOR, _UTF8 = 1 << 0, 1 << 3, 1 << 11
# Systems whose archives may carry backslashes: FAT, NTFS, VFAT.
_WINDOWS = frozenset({0, 10, 14})
_SYMBOLIC_LINK = 0o120000
_FILE_TYPE = 0o170000
_STORED = 0
_DECODERS: dict[int, Callable[[], Decoder]] = {
    8: InflateDecoder,
    12: bzip2_decoder,
    93: zstd_decoder,
    95: xz_decoder,
}
_EXTENDED_TIME = 0x5455
_AHEAD = dt.timedelta(hours=14)
_OTHER_METHODS = {9: "Deflate64", 14: "LZMA", 98: "PPMd", 99: "AES encryption"}
OFFICE_MARK = "[Content_Types].xml"


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A member as the central directory, or its local header, describes it."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    is_link: bool = False
    modified: int = 0


def zip_entries(descriptor: int, most: int) -> Iterator[Entry | Rejected]:
    """Yield the members of a zip archive in the order of their bytes in it.

    Args:
        descriptor: the open archive.
        most: members to list at most; how many there are decides the memory needed.
    """
    directory = _central_directory(descriptor)
    if directory is None:
        yield Rejected(
            name="",
            reason="its directory is missing, so its end is cut off; members that are whole were kept",
            remedy="Get a complete copy of the archive.",
        )
        yield from _salvaged(descriptor)
        return
    listed, trouble = _listed(descriptor, directory, most)
    if any(one.name == OFFICE_MARK for one in listed):
        remedy = "Save the sheet or text in it as CSV and give that."
        yield Rejected(name="", reason="it is an Office document, not an archive of logs", remedy=remedy)
        return
    end = 0
    for one in sorted(listed, key=lambda one: one.offset):
        entry, stop = _member(descriptor, one, end)
        end = max(end, stop)
        if entry is not None:
            yield entry
    yield from trouble


class _CheckedStream:
    """The content of a member, compared with the length and checksum the directory claims."""

    def __init__(self, stream: Stream, size: int, crc: int) -> None:
        self._stream = stream
        self._size, self._crc = size, crc
        self._seen = self._sum = 0
        self.damage = ""

    @property
    def consumed(self) -> int:
        return self._stream.consumed

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._seen += len(piece)
        self._sum = zlib.crc32(piece, self._sum)
        if not piece and not self.damage:
            self.damage = self._stream.damage or self._mismatch()
        return piece

    def _mismatch(self) -> str:
        if self._seen != self._size:
            return f"it has {self._seen} bytes where the archive promises {self._size}"
        return "" if self._sum == self._crc else "its checksum does not match its content"


def _member(descriptor: int, one: _Listed, end: int) -> tuple[Entry | Rejected | None, int]:
    """Return a listed member, and where its bytes end."""
    local = _read(descriptor, _LOCAL, one.offset)
    if local is None or local[0] != _LOCAL_MAGIC:
        return _reject(one, "the archive does not hold it where its directory says", "undamaged"), 0
    start = one.offset + _LOCAL.size + local[9] + local[10]
    stop = start + one.compressed
    if one.name.endswith("/") and one.size == 0:
        return None, stop
    if one.offset < end:
        return _reject(one, "it shares its bytes with another member, as in a zip bomb", "honest"), 0
    refusal = _refusal(one)
    if refusal:
        return refusal, stop
    raw = FilePart(descriptor, start, one.compressed)
    stream = raw if one.method == _STORED else DecodedStream(raw, _DECODERS[one.method])
    return Entry(
        one.name, _CheckedStream(stream, one.size, one.crc), notes_on_name(one.name), one.modified
    ), stop


def _refusal(one: _Listed) -> Rejected | None:
    if one.flags & _ENCRYPTED:
        remedy = "Unpack the archive with its password and give the folder."
        return Rejected(name=one.name, reason="it is encrypted", remedy=remedy)
    if one.is_link:
        remedy = "Collect its target if that belongs to the evidence."
        return Rejected(name=one.name, reason="it is a symbolic link", remedy=remedy, blocking=False)
    if one.method != _STORED and one.method not in _DECODERS:
        method = _OTHER_METHODS.get(one.method, f"method {one.method}")
        remedy = "Unpack the archive with 7-Zip and give the folder."
        return Rejected(name=one.name, reason=f"it is compressed with {method}", remedy=remedy)
    return None


def _reject(one: _Listed, reason: str, wanted: str) -> Rejected:
    article = "an" if wanted[0] in "uh" else "a"
    return Rejected(name=one.name, reason=reason, remedy=f"Get {article} {wanted} copy of the archive.")


class _Directory(msgspec.Struct, frozen=True):
    """Where the central directory is, and by how much the archive was moved in the file."""

    start: int
    stop: int
    shift: int


def _central_directory(descriptor: int) -> _Directory | None:
    """Return where the directory is, or None when there is none."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _COMMENT_BYTES - _END.size)
    tail = os.pread(descriptor, size - start, start)
    place = len(tail)
    while (place := tail.rfind(b"PK\5\6", 0, place)) >= 0:
        if found := _end_record(descriptor, start + place):
            return found
    return None


def _end_record(descriptor: int, place: int) -> _Directory | None:
    record = _read(descriptor, _END, place)
    if record is None:
        return None
    length, offset = record[5], record[6]
    locator = _read(descriptor, _END64_LOCATOR, place - _END64_LOCATOR.size)
    if locator and locator[0] == b"PK\6\7":
        # The named offset is wrong when the archive was moved in the file; then the record is right before.
        for at in (locator[2], place - _END64_LOCATOR.size - _END64.size):
            record64 = _read(descriptor, _END64, at)
            if record64 and record64[0] == b"PK\6\6":
                length, offset, place = record64[8], record64[9], at
                break
    start = place - length
    if start < 0 or start < offset:
        return None
    first = os.pread(descriptor, 4, start)
    return _Directory(start, place, start - offset) if length == 0 or first == b"PK\1\2" else None


def _listed(descriptor: int, directory: _Directory, most: int) -> tuple[list[_Listed], list[Rejected]]:
    """Return the members the directory names, and what is wrong with it."""
    members: list[_Listed] = []
    trouble: list[Rejected] = []
    if directory.shift:
        trouble.append(_trouble(f"{directory.shift} bytes before it belong to no member and were not read"))
    place = directory.start
    while place < directory.stop:
        fields = _read(descriptor, _CENTRAL, place)
        if fields is None or fields[0] != b"PK\1\2":
            trouble.append(_trouble("its directory is damaged, so members may be missing"))
            break
        if len(members) >= most:
            trouble.append(_trouble(f"it holds more than {most} members; the rest was not read"))
            break
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        names = os.pread(descriptor, name_bytes + extra_bytes, place + _CENTRAL.size)
        members.append(_from_directory(fields, names[:name_bytes], names[name_bytes:], directory.shift))
        place += _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
    return members, trouble


def _from_directory(fields: tuple[int, ...], name: bytes, extra: bytes, shift: int) -> _Listed:
    system = fields[1] >> 8
    size, compressed, offset = _zip64(extra, fields[9], fields[8], fields[16])
    return _Listed(
        name=_name(name, fields[3], from_windows=system in _WINDOWS),
        flags=fields[3],
        method=fields[4],
        crc=fields[7],
        compressed=compressed,
        size=size,
        offset=offset + shift,
        is_link=system not in _WINDOWS and (fields[15] >> 16) & _FILE_TYPE == _SYMBOLIC_LINK,
        modified=_modified(extra, fields[6], fields[5]),
    )


def _modified(extra: bytes, date: int, time: int) -> int:
    """Return when a member was written, in seconds since 1970 UTC; 0 when no calendar has that day.

    The extended timestamp says it (Info-ZIP's extra field UT). The date that every member has is that of a clock on some
    wall, which is at most 14 hours ahead of UTC: the earliest moment that it can mean never makes a listing too young.
    """
    while len(extra) >= 4:  # noqa: PLR2004 - tag and length
        tag, length = struct.unpack_from("<HH", extra)
        if tag == _EXTENDED_TIME and length >= 5 and len(extra) >= 9 and extra[4] & 1:  # noqa: PLR2004 - flags and four bytes
            return int.from_bytes(extra[5:9], "little")
        extra = extra[4 + length :]
    try:
        wall = dt.datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=dt.UTC,
        )
    except ValueError:
        return 0
    return int((wall - _AHEAD).timestamp())


def _zip64(extra: bytes, *values: int) -> tuple[int, ...]:
    """Replace the values that are too large for four bytes by those of the ZIP64 extra field."""
    wide = b""
    while len(extra) >= 4:  # noqa: PLR2004 - tag and length
        tag, length = struct.unpack_from("<HH", extra)
        if tag == 1:
            wide = extra[4 : 4 + length]
            break
        extra = extra[4 + length :]
    found = []
    for value in values:
        is_wide = value == _SEE_ZIP64 and len(wide) >= 8  # noqa: PLR2004 - one wide value
        found.append(int.from_bytes(wide[:8], "little") if is_wide else value)
        wide = wide[8:] if is_wide else wide
    return tuple(found)


def _name(raw: bytes, flags: int, *, from_windows: bool) -> str:
    cut = raw[:_NAME_BYTES]
    try:
        # Many writers store UTF-8 without saying so.
        name = cut.decode("utf-8")
    except UnicodeDecodeError:
        name = cut.decode("utf-8", "surrogateescape") if flags & _UTF8 else cut.decode("cp437")
    return name.replace("\\", "/") if from_windows else name


def _salvaged(descriptor: int) -> Iterator[Entry | Rejected]:
    """Yield the members whose local headers can be found."""
    place = 0
    while (place := _find(descriptor, place)) >= 0:
        local = _read(descriptor, _LOCAL, place)
        if local is None:
            return
        start = place + _LOCAL.size + local[9] + local[10]
        one = _from_local(descriptor, local, place)
        place = start
        if one.name.endswith("/"):
            continue
        if refusal := _refusal(one):
            yield refusal
        elif not one.flags & _HAS_DESCRIPTOR:
            raw = FilePart(descriptor, start, one.compressed)
            stream = raw if one.method == _STORED else DecodedStream(raw, _DECODERS[one.method])
            yield Entry(
                one.name, _CheckedStream(stream, one.size, one.crc), notes_on_name(one.name), one.modified
            )
            place = start + one.compressed
        elif one.method == _STORED:
            yield _reject(one, "nothing says where it ends", "complete")
        else:
            # Its length stands behind it, but compressed bytes know their own end.
            endless = DecodedStream(FilePart(descriptor, start), _DECODERS[one.method])
            notes = (*notes_on_name(one.name), "its checksum could not be compared")
            yield Entry(one.name, endless, notes, one.modified)
            place = start + endless.consumed - endless.unused_bytes


def _from_local(descriptor: int, local: tuple[int, ...], place: int) -> _Listed:
    names = os.pread(descriptor, local[9] + local[10], place + _LOCAL.size)
    size, compressed = _zip64(names[local[9] :], local[8], local[7])
    return _Listed(
        name=_name(names[: local[9]], local[2], from_windows=False),
        flags=local[2],
        modified=_modified(names[local[9] :], local[5], local[4]),
        method=local[3],
        crc=local[6],
        compressed=compressed,
        size=size,
        offset=place,
    )


def _find(descriptor: int, place: int) -> int:
    """Return where the next local header starts, or -1."""
    while block := os.pread(descriptor, _SCAN_BYTES, place):
        found = block.find(_LOCAL_MAGIC)
        if found >= 0:
            return place + found
        if len(block) < len(_LOCAL_MAGIC):
            break
        place += len(block) - len(_LOCAL_MAGIC) + 1
    return -1


def _read(descriptor: int, layout: struct.Struct, place: int) -> tuple[Any, ...] | None:  # Any: bytes and int
    """Return the fields of a record, or None when the file has no such place."""
    if not 0 <= place < 1 << 63:
        return None
    content = os.pread(descriptor, layout.size, place)
    return layout.unpack(content) if len(content) == layout.size else None


def _trouble(reason: str) -> Rejected:
    return Rejected(name="", reason=reason, remedy="Unpack the archive with 7-Zip and give the folder.")
