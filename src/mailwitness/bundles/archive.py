"""The container of a bundle: a ZIP in one form only, so that the same members give the same bytes and no other byte can hide.

Members are stored, never compressed: nothing can grow when it is unpacked, and every size is checked against the file's own.
The time is 1980-01-01, there are no comments, no attributes and no extra fields but the 64-bit sizes that every member has.
Source: PKWARE APPNOTE.TXT 6.3.10, 4.3 (records), 4.5.3 (64-bit sizes).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from mailwitness.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Version 4.5 (64-bit sizes), no flags, stored, 1980-01-01 00:00:00.
_VERSION, _FLAGS, _STORED, _TIME, _DATE = 45, 0, 0, 0, 0x21
_BEHIND = 0xFFFFFFFF
_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_LOCAL_SIZES, _CENTRAL_SIZES = struct.Struct("<2H2Q"), struct.Struct("<2H3Q")
_END64, _PLACE, _END = struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI"), struct.Struct("<4s4H2IH")
_BLOCK = 1 << 20
# What a member may be called: folders and a name of plain characters, none of which means something to a file system.
_NAME = re.compile(r"[a-z0-9_]+(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*(?:\.[a-z0-9]+)*")
_LONGEST_NAME = 200
MOST_MEMBERS = 1_000_000


class Member(msgspec.Struct, frozen=True):
    """One file of a bundle.

    Attributes:
        sha256: of its content, hexadecimal.
    """

    name: str
    size: int
    sha256: str


class Place(msgspec.Struct, frozen=True):
    """A member, its CRC-32 and where its content begins in the container."""

    member: Member
    crc: int
    start: int


def is_name(name: str) -> bool:
    """Say whether a name can be a member's: it can lead nowhere but into the folder it is unpacked to."""
    return len(name) <= _LONGEST_NAME and bool(_NAME.fullmatch(name)) and ".." not in name


def measure(name: str, content: bytes | Path) -> Place:
    """Return a member with its digests; its place is not known yet.

    Raises:
        EvidenceError: the name cannot be a member's.
        OSError: the file cannot be read.
    """
    if not is_name(name):
        raise EvidenceError(
            f"{name!r} cannot be the name of a member",
            remedy="Report this: a bundle names its members itself.",
        )
    total, crc, size = hashlib.sha256(), 0, 0
    for block in _blocks(content):
        total.update(block)
        crc = zlib.crc32(block, crc)
        size += len(block)
    return Place(Member(name, size, total.hexdigest()), crc, 0)


def _blocks(content: bytes | Path) -> Iterable[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    # O_NOFOLLOW: what is packed is the file that was measured, whatever was put in its place meanwhile.
    with os.fdopen(os.open(content, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def write(target: BinaryIO, members: Iterable[tuple[Place, bytes | Path]]) -> None:
    """Write the container; members stand in the order given.

    Raises:
        EvidenceError: a file changed since it was measured.
        OSError: the target cannot be written.
    """
    written: list[tuple[Place, int]] = []
    offset = 0
    for place, content in members:
        header = _local(place)
        target.write(header)
        total = hashlib.sha256()
        for block in _blocks(content):
            total.update(block)
            target.write(block)
        if total.hexdigest() != place.member.sha256:
            raise EvidenceError(
                "it changed while it was packed", place=str(content)[:200], remedy="Make the bundle again."
            )
        written.append((place, offset))
        offset += len(header) + place.member.size
    target.write(_directory(written, offset))


def _local(place: Place) -> bytes:
    name, size = place.member.name.encode("ascii"), place.member.size
    fixed = _LOCAL.pack(
        b"PK\3\4",
        _VERSION,
        _FLAGS,
        _STORED,
        _TIME,
        _DATE,
        place.crc,
        _BEHIND,
        _BEHIND,
        len(name),
        _LOCAL_SIZES.size,
    )
    return fixed + name + _LOCAL_SIZES.pack(1, 16, size, size)


def _directory(written: list[tuple[Place, int]], start: int) -> bytes:
    """Return everything behind the last member's content."""
    lines = []
    for place, offset in written:
        name, size = place.member.name.encode("ascii"), place.member.size
        fixed = _CENTRAL.pack(
            b"PK\1\2", _VERSION, _VERSION, _FLAGS, _STORED, _TIME, _DATE, place.crc, _BEHIND, _BEHIND,
            len(name), _CENTRAL_SIZES.size, 0, 0, 0, 0, _BEHIND,
        )  # fmt: skip
        lines.append(fixed + name + _CENTRAL_SIZES.pack(1, 24, size, size, offset))
    listed, count = b"".join(lines), len(written)
    end64 = _END64.pack(b"PK\6\6", 44, _VERSION, _VERSION, 0, 0, count, count, len(listed), start)
    place64 = _PLACE.pack(b"PK\6\7", 0, start + len(listed), 1)
    return listed + end64 + place64 + _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _BEHIND, _BEHIND, 0)


def read(path: Path) -> list[Place]:
    """Return the members of a bundle, after checking that each byte of the file is as ``write`` would have written it.

    Raises:
        EvidenceError: the file cannot be read, or a byte of it differs.
    """
    try:
        with path.open("rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise EvidenceError(
            f"it cannot be read: {error.strerror}", place=str(path), remedy="Correct the path."
        ) from error
    except _Wrong as wrong:
        raise EvidenceError(
            f"this is not an unchanged bundle: {wrong}", place=str(path), remedy="Ask for the bundle again."
        ) from wrong


class _Wrong(Exception):
    """Why a file is no bundle; a sentence without the file's name."""


def _read(file: BinaryIO, size: int) -> list[Place]:
    written: list[tuple[Place, int]] = []
    seen: set[str] = set()
    while True:
        offset = file.tell()
        fixed = file.read(_LOCAL.size)
        if fixed[:4] != b"PK\3\4":
            break
        place = _member(file, fixed, size)
        if place.member.name in seen or len(written) >= MOST_MEMBERS:
            raise _Wrong(f"{place.member.name} is there twice, or there are too many members")
        seen.add(place.member.name)
        written.append((place, offset))
    file.seek(offset)
    expected = _directory(written, offset)
    if size - offset != len(expected) or file.read(len(expected) + 1) != expected:
        raise _Wrong(f"from byte {offset} on it does not list what it holds")
    return [place for place, _ in written]


def _member(file: BinaryIO, fixed: bytes, size: int) -> Place:
    start = file.tell() - len(fixed)
    if len(fixed) != _LOCAL.size:
        raise _Wrong("its end is missing")
    fields = _LOCAL.unpack(fixed)
    crc, name_length = fields[6], fields[9]
    rest = file.read(name_length + _LOCAL_SIZES.size)
    try:
        name = rest[:name_length].decode("ascii")
        content_size = _LOCAL_SIZES.unpack(rest[name_length:])[2]
    except (UnicodeDecodeError, struct.error) as error:
        raise _Wrong(f"the header at byte {start} is damaged") from error
    begin = file.tell()
    if not is_name(name) or content_size > size - begin:
        raise _Wrong(f"the header at byte {start} names or sizes a member as no bundle does")
    member = Member(name, content_size, _digest(file, content_size, crc, name))
    place = Place(member, crc, begin)
    if _local(place) != fixed + rest:
        raise _Wrong(f"the header at byte {start} is not as a bundle has it")
    return place


def _digest(file: BinaryIO, size: int, crc: int, name: str) -> str:
    total, found = hashlib.sha256(), 0
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise _Wrong("its end is missing")
        total.update(block)
        found = zlib.crc32(block, found)
        size -= len(block)
    if found != crc:
        raise _Wrong(f"the content of {name} was changed")
    return total.hexdigest()


def extract(path: Path, place: Place, target: Path) -> None:
    """Copy a member's content to a new file and check it once more.

    Raises:
        EvidenceError: the bundle changed since it was read.
        OSError: the target cannot be written.
    """
    left, total = place.member.size, hashlib.sha256()
    with path.open("rb") as file, target.open("xb") as out:
        file.seek(place.start)
        while left and (block := file.read(min(left, _BLOCK))):
            total.update(block)
            out.write(block)
            left -= len(block)
    if total.hexdigest() != place.member.sha256:
        raise EvidenceError("it changed while it was read", place=str(path), remedy="Verify it again.")


def content(path: Path, place: Place, most: int = 256 << 20) -> bytes:
    """Return a member's content.

    Raises:
        EvidenceError: it is larger than ``most`` bytes, or the bundle changed since it was read.
    """
    if place.member.size > most:
        raise EvidenceError(
            f"{place.member.name} is too large", place=str(path), remedy="Ask for the bundle again."
        )
    with path.open("rb") as file:
        file.seek(place.start)
        found = file.read(place.member.size)
    if hashlib.sha256(found).hexdigest() != place.member.sha256:
        raise EvidenceError("it changed while it was read", place=str(path), remedy="Verify it again.")
    return found
