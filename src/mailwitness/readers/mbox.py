"""The reader of mbox files: one record for each message, headers and digests only, of files of any size."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers, mail_place
from mailwitness.readers.blocks import BLOCK_BYTES, Damage, RawRecord, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]  # Any: JSON values

# A separator is a line that begins with "From ", names a time, and follows a blank line or precedes a header: a body may
# well hold "From here on 12:30 ..." (RFC 4155; mboxo and mboxcl do not quote it).
_SEPARATOR = re.compile(rb"From [^\n]{0,512}?\d{1,2}:\d\d[^\n]{0,512}\r?\n")
_HEADER_NEXT = re.compile(rb"[!-9;-~]+[ \t]*:")
_LONGEST_SEPARATOR = 2048
_BLANK = re.compile(rb"\r?\n\r?\n")
_FROM_TIME = re.compile(
    r"(?:[A-Z][a-z]{2},?\s+)?([A-Z][a-z]{2})\s+(\d{1,2})\s+(\d{1,2}:\d\d(?::\d\d)?)\s+(?:([A-Z]{3,4}|[+-]\d{4})\s+)?(\d{4})"
)
_STATUS_FLAGS = {"R": "read", "O": "old", "D": "deleted", "A": "answered", "F": "flagged", "T": "draft"}
# Thunderbird keeps what it has deleted but not yet compacted in the file and marks it with this bit (X-Mozilla-Status).
_MOZILLA_DELETED = 0x0008


class _Message:
    """The message being read: its header block, and digests that grow with its bytes."""

    def __init__(self, offset: int, line: int, separator: bytes) -> None:
        self.offset = offset
        self.line = line
        self.separator = separator
        self.length = len(separator)
        self.lines = separator.count(b"\n")
        self.head = bytearray()
        self.header_done = False
        self.is_cut = False
        self.header = hashlib.sha256()
        self.body = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the message, in order."""
        self.length += len(data)
        self.lines += data.count(b"\n")
        if self.header_done:
            self.body.update(data)
            return
        self.head += data
        start = max(0, len(self.head) - len(data) - 4)
        end = _BLANK.search(self.head, start)
        if end is not None:
            self._finish_header(end.end())
        elif len(self.head) > mail_headers.MAX_HEADER_BYTES:
            self.is_cut = True
            self._finish_header(mail_headers.MAX_HEADER_BYTES)

    def _finish_header(self, end: int) -> None:
        self.header_done = True
        self.body.update(self.head[end:])
        del self.head[end:]
        self.header.update(self.head)

    def record(self, place: Record) -> RawRecord:
        """Return what the message is."""
        if not self.header_done:
            self.header.update(self.head)
        block = bytes(self.head)
        found = mail_headers.fields(block)
        flags, is_deleted = _flags(found)
        data = place | mail_headers.identity(block) | {
            "StoreKind": "mbox",
            "SizeBytes": self.length - len(self.separator),
            "HeaderDigest": self.header.hexdigest(),
            "BodyDigest": self.body.hexdigest(),
            "ReceivedAt": _from_time(self.separator.decode("latin-1")) or mail_headers.utc(found.get("delivery-date", "")),
            "Flags": flags,
            "IsDeleted": is_deleted,
            "Uid": found.get("x-uid", ""),
        }  # fmt: skip
        if found.get("x-gmail-labels"):
            data["Folder"] = mail_headers.decoded(found["x-gmail-labels"])
        if self.is_cut:
            data["Problems"] = "the header block does not end"
        return RawRecord(data, self.offset, self.length, self.line, salvaged=self.is_cut)


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield every message of an mbox file in order, and what stands before the first one as damage.

    Memory: two blocks of 1 MiB and one header block of at most 1 MiB. Raw lines:
    ``From eva@contoso.example Mon Mar  2 09:14:01 2026`` and then the message.
    """
    place = {"Path": name, "ListedAt": mail_place.written(path)} | mail_place.of_path(name)
    place["Folder"] = PurePosixPath(name).name.removesuffix(".mbox")
    current: _Message | None = None
    for offset, line, separator, data in _pieces(path):
        if separator:
            if current is not None:
                yield current.record(place)
            current = _Message(offset, line, separator)
        elif current is not None:
            current.feed(data)
        elif data.strip():
            yield Damage(offset, len(data), line, "bytes before the first message")
    if current is not None:
        yield current.record(place)


def _pieces(path: Path) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yield separators and what stands between them: offset, line, separator, other bytes; a piece is at most two blocks."""
    buffer, before, offset, line = b"", b"", 0, 1
    for block in _with_end(path):
        buffer += block
        # The last lines wait for the next block: a separator and the line after it must be seen whole.
        limit = len(buffer) - _LONGEST_SEPARATOR if block else len(buffer)
        done = 0
        for start, end in _separators(buffer, before, limit):
            if start > done:
                yield offset + done, line, b"", buffer[done:start]
                line += buffer.count(b"\n", done, start)
            yield offset + start, line, buffer[start:end], b""
            line, done = line + 1, end
        if limit > done:
            yield offset + done, line, b"", buffer[done:limit]
            line, done = line + buffer.count(b"\n", done, limit), limit
        before = (before + buffer[max(0, done - 4) : done])[-4:]
        offset, buffer = offset + done, buffer[done:]


def _with_end(path: Path) -> Iterator[bytes]:
    """Yield the blocks of a file, and nothing at its end."""
    yield from blocks(path, BLOCK_BYTES)
    yield b""


def _separators(buffer: bytes, before: bytes, limit: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the separator lines that begin before `limit`; `before` are the bytes in front of the buffer."""
    start = 0 if not before or before.endswith(b"\n") else buffer.find(b"\n") + 1 or limit
    while 0 <= start < limit:
        found = _SEPARATOR.match(buffer, start)
        if found is not None and (
            _follows_blank((before + buffer[max(0, start - 4) : start])[-4:])
            or _HEADER_NEXT.match(buffer, found.end())
        ):
            yield start, found.end()
        start = buffer.find(b"\nFrom ", start) + 1 or limit


def _follows_blank(before: bytes) -> bool:
    return before.endswith((b"\n\n", b"\n\r\n")) or before.strip(b"\r\n") == b""


def _flags(found: dict[str, str]) -> tuple[str, bool]:
    """Return the flags that mbox programs keep in headers, in words, and whether one of them says deleted."""
    letters = found.get("status", "") + found.get("x-status", "")
    words = (
        [word for letter, word in _STATUS_FLAGS.items() if letter in letters]
        if len(letters) <= len(_STATUS_FLAGS)
        else []
    )
    try:
        mozilla = int(found.get("x-mozilla-status", "0")[:8], 16)
    except ValueError:
        mozilla = 0
    if mozilla & _MOZILLA_DELETED and "deleted" not in words:
        words.append("deleted")
    return " ".join(words), "deleted" in words


def _from_time(separator: str) -> str:
    """Return the delivery time of a separator line, ISO 8601; local times without zone count as UTC."""
    match = _FROM_TIME.search(separator)
    if match is None:
        return ""
    month, day, clock, zone, year = match.groups()
    return mail_headers.utc(f"{day} {month} {year} {clock} {zone or '+0000'}")
