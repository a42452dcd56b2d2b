"""Tar archives (POSIX.1-2017 pax, ustar, GNU, V7), read as a stream.

One header is 512 bytes: name (100), mode, owner, group (8 each), size, time (12 each, octal), checksum (8),
type (1), link target (100), ``ustar``, ..., prefix of the name (155). Python's tarfile is not used: it reads
extended headers of any size into memory and gives up at the first damaged header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mailwitness.evidence.entries import Entry, Rejected, notes_on_name
from mailwitness.evidence.names import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.evidence.streams import Stream

BLOCK_BYTES = 512
# Extended headers hold a name and some attributes; a path is 4 KB at most on Linux.
_EXTENDED_BYTES = 1 << 20
# Writers pad to a record of 10 KB, some drives to megabytes; what `tar -A` appended comes before that ends.
_PADDING_BYTES = 16 << 20
_SKIP_BYTES = 1 << 20
_REGULAR = (b"0", b"\0", b"7")
_FOLDER = b"5"
_WITHOUT_CONTENT = {
    b"1": "a hard link to {target}, whose content is read under that name",
    b"2": "a symbolic link to {target}",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
}
_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _PAX_GLOBAL, _PAX_SUN = b"x", b"g", b"X"
_SPARSE, _CONTINUED, _LABEL = b"S", b"M", b"V"
_EXTENDED = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SUN)
# The end of the year 9999: later times are no times.
_LATEST_SECONDS = 253_402_300_800


class _Header(msgspec.Struct):
    """One header with what the extended headers before it say."""

    name: str
    target: str
    size: int
    kind: bytes
    is_sparse: bool = False
    is_extended: bool = False
    modified: int = 0


def is_tar_header(block: bytes) -> bool:
    """Say whether a block is a tar header: its checksum is right.

    The checksum decides, not the word ``ustar``, which archives of the old V7 format lack.
    """
    if len(block) != BLOCK_BYTES or not any(block):
        return False
    claimed = _number(block[148:156])
    if claimed < 0:
        return False
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if claimed == unsigned:
        return True
    # Old writers summed signed characters.
    return claimed == unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])  # noqa: PLR2004


def tar_entries(stream: Stream) -> Iterator[Entry | Rejected]:
    """Yield the members of a tar archive in the order they are in it.

    Links, devices and pipes have no content and are rejected, as are sparse files; a damaged header costs the
    members up to the next good one. Archives appended to another (behind its end marks) are read too.
    """
    return _TarReader(stream).entries()


class _Content:
    """The content of the current member."""

    def __init__(self, reader: _TarReader, size: int) -> None:
        self._reader = reader
        self.left = size

    @property
    def consumed(self) -> int:
        return self._reader.consumed

    @property
    def damage(self) -> str:
        return self._reader.damage if self.left else ""

    def read(self, size: int) -> bytes:
        piece = self._reader.take(min(size, self.left))
        self.left -= len(piece)
        return piece


class _TarReader:
    """The place in the stream, and what the extended headers said about the next member."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting = b""
        self._next: dict[str, str] = {}
        self._is_complete = False

    @property
    def consumed(self) -> int:
        return self._stream.consumed

    @property
    def damage(self) -> str:
        return self._stream.damage or "its end is missing"

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` of the next bytes, fewer only at the end."""
        pieces, held = [self._waiting], len(self._waiting)
        while held < size and (piece := self._stream.read(size - held)):
            pieces.append(piece)
            held += len(piece)
        joined = b"".join(pieces)
        self._waiting = joined[size:]
        return joined[:size]

    def entries(self) -> Iterator[Entry | Rejected]:
        while header := self._next_header():
            if isinstance(header, Rejected):
                yield header
            elif header.kind in _EXTENDED:
                yield from self._extend(header)
            else:
                yield from self._member(header)
                self._next = {}
        if self._stream.damage or not self._is_complete:
            damage = self._stream.damage or "its end mark is missing, so it may be cut off"
            reason = f"{damage}; what comes before was kept"
            yield Rejected(name="", reason=reason, remedy="Get a complete copy of the archive.")

    def _next_header(self) -> _Header | Rejected | None:
        lost = empty = 0
        while block := self.take(BLOCK_BYTES):
            if is_tar_header(block):
                if not lost:
                    return self._header(block)
                self._waiting = block + self._waiting
                return _damaged(lost)
            # Zero blocks are the end mark; but another archive may have been appended behind it.
            empty = 0 if any(block) else empty + len(block)
            lost += 0 if empty else len(block)
            self._is_complete = self._is_complete or empty > 0
            if empty > _PADDING_BYTES:
                break
        return _damaged(lost) if lost else None

    def _header(self, block: bytes) -> _Header:
        name = block[:100].split(b"\0")[0]
        # GNU archives keep other things where POSIX has the prefix.
        if block[257:263] == b"ustar\0" and (prefix := block[345:500].split(b"\0")[0]):
            name = prefix + b"/" + name
        header = _Header(
            name=_text(name),
            target=_text(block[157:257].split(b"\0")[0]),
            size=_number(block[124:136]),
            kind=block[156:157],
            is_extended=bool(block[482]),
            modified=_seconds(block[136:148], self._next.get("mtime", "")),
        )
        if header.kind not in _EXTENDED:
            header.name = self._next.get("path", header.name)
            header.target = self._next.get("linkpath", header.target)
            header.is_sparse = header.kind == _SPARSE or any(
                key.startswith("GNU.sparse") for key in self._next
            )
            size = self._next.get("size", "")
            header.size = int(size) if size.isdecimal() and len(size) < 20 else header.size  # noqa: PLR2004
        return header

    def _extend(self, header: _Header) -> Iterator[Rejected]:
        """Take in a header that describes the next member."""
        content = self.take(min(header.size, _EXTENDED_BYTES))
        self._skip(max(header.size - _EXTENDED_BYTES, 0) + -header.size % BLOCK_BYTES)
        if header.size > _EXTENDED_BYTES:
            reason = f"it has an extended header of {header.size} bytes, which was not read"
            yield Rejected(name="", reason=reason, remedy="Unpack the archive with tar and give the folder.")
        elif header.kind == _LONG_NAME:
            self._next["path"] = _text(content.split(b"\0")[0])
        elif header.kind == _LONG_LINK:
            self._next["linkpath"] = _text(content.split(b"\0")[0])
        elif header.kind in {_PAX, _PAX_SUN}:
            self._next |= _pax_records(content)

    def _member(self, header: _Header) -> Iterator[Entry | Rejected]:
        if header.kind in {_FOLDER, _LABEL}:
            return
        if header.kind in _WITHOUT_CONTENT:
            what = _WITHOUT_CONTENT[header.kind].format(target=display_name(header.target))
            remedy = "Collect its target if that belongs to the evidence."
            yield Rejected(name=header.name, reason=f"it is {what}", remedy=remedy, blocking=False)
            return
        if header.is_sparse or header.kind == _CONTINUED:
            what = "a sparse file" if header.is_sparse else "the continuation of another volume"
            remedy = "Unpack the archive with tar and give the folder."
            yield Rejected(name=header.name, reason=f"it is stored as {what}", remedy=remedy)
            self._skip_sparse(header)
            return
        if header.name.endswith("/") and header.kind == b"\0":  # V7 marks a folder like this.
            return
        content = _Content(self, header.size)
        notes = () if header.kind in _REGULAR else ("its type is unknown and was taken for a file",)
        yield Entry(header.name, content, notes_on_name(header.name) + notes, header.modified)
        self._skip(content.left + -header.size % BLOCK_BYTES)

    def _skip_sparse(self, header: _Header) -> None:
        more = header.kind == _SPARSE and header.is_extended
        while more and len(block := self.take(BLOCK_BYTES)) == BLOCK_BYTES:
            more = bool(block[504])
        self._skip(header.size + -header.size % BLOCK_BYTES)

    def _skip(self, size: int) -> None:
        while size > 0 and (piece := self.take(min(size, _SKIP_BYTES))):
            size -= len(piece)


def _damaged(lost: int) -> Rejected:
    reason = f"{lost} bytes of it are no tar header and no member"
    return Rejected(name="", reason=reason, remedy="Get an undamaged copy of the archive.")


def _number(field: bytes) -> int:
    """Return a number in octal, or in base 256 as GNU writes sizes over 8 GB; -1 when it is neither."""
    if field[0] == 0x80:  # noqa: PLR2004 - the mark of base 256; 0xff would be negative
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return -1


def _seconds(field: bytes, extended: str) -> int:
    """Return the time of a member; 0 when no calendar has it. A pax header gives it with a fraction."""
    whole = extended.partition(".")[0]
    found = int(whole) if whole.isdecimal() and len(whole) < 12 else _number(field)  # noqa: PLR2004
    return found if 0 < found < _LATEST_SECONDS else 0


def _pax_records(content: bytes) -> dict[str, str]:
    r"""Return the records of a pax header, each ``length key=value\n``."""
    records = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not len(length) < int(length[:7]) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        records[_text(key)] = _text(value)
        content = content[int(length) :]
    return records


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
