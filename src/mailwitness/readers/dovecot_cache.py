"""``dovecot.index.cache``: what Dovecot remembers of messages, among it Message-ID and Subject of those that are gone.

Dovecot marks a record as deleted in the index only; until the file is rebuilt, the headers stay. A record is found through the
offset that the index or its log holds for a uid.

Source: Dovecot 2.3 `src/lib-index/mail-cache-private.h` (facts only).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FILE = 512 << 20
MOST_FIELDS = 4096
# Sizes of the file's header, of a record's head and of a word; a field of any size has the largest number as its size.
_HEADER, _HEAD, _WORD, _ANY = 32, 8, 4, 0xFFFFFFFF
_HEADERS = {
    "hdr.message-id": "MessageId",
    "hdr.subject": "Subject",
    "hdr.from": "From",
    "hdr.to": "To",
    "hdr.date": "Date",
}

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each record of the cache; an update of a message is a record of its own."""
    return read_named(path, str(path))


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Do the same for a file whose own path is ``name``, which tells mailbox and folder."""
    with path.open("rb") as handle:
        content = handle.read(LARGEST_FILE)
    header = _offset(content[28:32])
    fields, offset = _fields(content, header)
    if not fields:
        yield Damage(0, len(content), 0, "the cache has no readable list of fields")
        return
    index = int.from_bytes(content[4:8], "little")
    base: Data = {"Kind": "cache", "FilePath": name, "IndexId": index}
    while offset + 8 <= len(content):
        previous, size = struct.unpack_from("<II", content, offset)
        if size < _HEAD or size % _WORD or offset + size > len(content) or previous >= len(content):
            break
        found = _record(content[offset + 8 : offset + size], fields)
        if found is None:
            break
        yield RawRecord(base | {"CacheOffset": offset} | found, offset, size, 0)
        offset += size
    if content[offset:].strip(b"\0"):
        yield Damage(offset, len(content) - offset, 0, "what follows in the cache is no record of a message")


def _offset(word: bytes) -> int:
    if len(word) < _WORD or not all(byte & 0x80 for byte in word):
        return 0
    return (
        ((word[0] & 0x7F) << 23)
        | ((word[1] & 0x7F) << 16)
        | ((word[2] & 0x7F) << 9)
        | ((word[3] & 0x7F) << 2)
    )


def _fields(content: bytes, offset: int) -> tuple[list[tuple[str, int]], int]:
    """Return names and sizes of the fields (4294967295: variable) and where the first record begins."""
    if not _HEADER <= offset <= len(content) - 12:
        return [], 0
    _, size, count = struct.unpack_from("<III", content, offset)
    names_at = offset + 12 + count * 10
    if count > MOST_FIELDS or offset + size > len(content) or names_at > offset + size:
        return [], 0
    sizes = struct.unpack_from(f"<{count}I", content, offset + 12 + 4 * count)
    names = content[names_at : offset + size].split(b"\0")[:count]
    listed = [
        (name.decode("ascii", "backslashreplace"), length) for name, length in zip(names, sizes, strict=False)
    ]
    return (listed if len(listed) == count else []), (offset + size + 3) // 4 * 4


def _record(body: bytes, fields: list[tuple[str, int]]) -> Data | None:
    found: Data = {}
    place = 0
    while place + 4 <= len(body):
        number = int.from_bytes(body[place : place + 4], "little")
        if number >= len(fields):
            return None
        name, length = fields[number]
        place += 4
        if length == _ANY:
            length = int.from_bytes(body[place : place + 4], "little")
            place += 4
        if place + length > len(body):
            return None
        key = _HEADERS.get(name.lower())
        if key:
            found[key] = _header_value(body[place : place + length])
        elif name in {"date.received", "date.save", "date.sent"} and length >= _WORD:
            found["Saved" if name == "date.save" else "Received" if name == "date.received" else "Sent"] = (
                int.from_bytes(body[place : place + 4], "little")
            )
        elif name == "size.physical" and length >= _HEAD:
            found["SizeBytes"] = int.from_bytes(body[place : place + 8], "little")
        place += (length + 3) // 4 * 4
    return found


def _header_value(data: bytes) -> str:
    """Return the text of cached header lines: numbers of lines up to a zero, then the lines with their names."""
    place = 0
    while place + 4 <= len(data) and data[place : place + 4] != b"\0\0\0\0":
        place += 4
    text = data[place + 4 :].decode("utf-8", "backslashreplace").strip()
    return re.sub(r"\r?\n\s*", " ", text.partition(":")[2].strip())
