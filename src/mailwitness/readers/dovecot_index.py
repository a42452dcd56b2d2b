"""Dovecot's own binary records: transaction logs of its indexes, and the log of deleted folders.

``dovecot.index.log`` keeps every expunge with uid and, where the format has them, the GUID of the message - also those that
`doveadm` makes and that no syslog shows. It begins with::

    01 03 28 00  version 1.3, header of 40 bytes | id of the index | number of the file | ... | time of creation

and goes on with records of a size, a type and a body. Few records hold a time, so that an expunge is only known to lie between the
last time before it and the first one behind it. Who did it is not in the file, nor are subject and folder name.

Source: Dovecot 2.3 `src/lib-index/mail-transaction-log.h`, `src/lib-storage/mailbox-log.h` (facts only).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Dovecot starts a new log at 1 MB and no later than some 100 MB; more is not read.
LARGEST_FILE = 512 << 20
_HEADER = struct.Struct("<BBHIIIII")
_KINDS = {
    0x1: "expunge",
    0x2: "append",
    0x4: "flag-update",
    0x20: "header-update",
    0x40: "ext-intro",
    0x80: "ext-reset",
    0x100: "ext-hdr",
    0x200: "ext-rec",
    0x400: "keyword-update",
    0x800: "keyword-reset",
    0x1000: "ext-atomic-inc",
    0x2000: "expunge-guid",
    0x8000: "modseq-update",
    0x10000: "ext-hdr32",
    0x20000: "index-deleted",
    0x40000: "index-undeleted",
    0x80000: "boundary",
    0x100000: "attribute-update",
}
_TYPE_MASK, _EXTERNAL = 0x0FFFFFFF, 0x10000000
# Or'ed to the type of an expunge, so that a damaged log deletes nothing.
_EXPUNGE_MARK = 0xCD90
_FLAGS = {
    0x1: "\\Answered",
    0x2: "\\Flagged",
    0x4: "\\Deleted",
    0x8: "\\Seen",
    0x10: "\\Draft",
    0x20: "\\Recent",
}
_FOLDER_EVENTS = {
    1: "delete-mailbox",
    2: "delete-dir",
    3: "rename",
    4: "subscribe",
    5: "unsubscribe",
    6: "create-dir",
}
_FOLDER_RECORD = 24
# No extension; the size of the Maildir extension's header, of an introduction and of a record's head.
_NEW, _MAILDIR_HEADER, _INTRODUCTION, _HEAD, _WORD = 0xFFFFFFFF, 36, 20, 8, 4
# Times outside 2001 to 2106 in an extension header are something else.
_OLDEST, _NEWEST = 1_000_000_000, 4_200_000_000
_NO_GUID = "0" * 32

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each message of an expunge, each attribute, and each other transaction; in file order."""
    return read_named(path, str(path))


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Do the same for a file whose own path is ``name``, which tells mailbox and folder."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        content = handle.read(LARGEST_FILE)
    if len(content) >= _HEADER.size and content[0] == 1 and content[2] >= _HEADER.size:
        yield from _with_bounds(_transactions(content, name))
    else:
        yield from _folder_log(content, name)
    if size > LARGEST_FILE:
        yield Damage(LARGEST_FILE, size - LARGEST_FILE, 0, "the file is larger than any log of Dovecot")


# -- the log of folders ----------------------------------------------------------------------


def _folder_log(content: bytes, path: str) -> Iterator[RawRecord | Damage]:
    for offset in range(0, len(content), _FOLDER_RECORD):
        record = content[offset : offset + _FOLDER_RECORD]
        kind = _FOLDER_EVENTS.get(record[0])
        if len(record) < _FOLDER_RECORD or kind is None:
            yield Damage(offset, len(record), 0, "this is no record of a folder log")
            continue
        seconds = int.from_bytes(record[20:24], "big")
        yield RawRecord(
            {
                "Kind": kind,
                "Guid": record[4:20].hex(),
                "Seconds": seconds,
                "KnownAfter": seconds,
                "KnownBefore": seconds,
                "FilePath": path,
            },
            offset,
            _FOLDER_RECORD,
            0,
        )


# -- transaction logs ------------------------------------------------------------------------


def _transactions(content: bytes, path: str) -> Iterator[RawRecord | Damage]:
    _, _, header, index, number, _, _, created = _header(content)
    base: Data = {"FilePath": path, "IndexId": index, "LogSequence": number}
    state = _State(created)
    offset = header
    while offset + 8 <= len(content):
        size, kind = (
            _size(content[offset : offset + 4]),
            int.from_bytes(content[offset + 4 : offset + 8], "little"),
        )
        if size < _HEAD or size % _WORD or offset + size > len(content):
            break
        body = content[offset + 8 : offset + size]
        for found, place, length in _records(kind, body, state):
            yield RawRecord(base | found, offset + place, length or size, 0)
        offset += size
    if offset < len(content):
        yield Damage(
            offset,
            len(content) - offset,
            0,
            "the transaction log ends inside a record or goes on with something else",
        )


def _header(content: bytes) -> tuple[int, ...]:
    major, minor, size, index, number, _, _, created = _HEADER.unpack_from(content)
    return major, minor, size, index, number, 0, 0, created


def _size(word: bytes) -> int:
    """Read the size of a record: seven bits of each byte, counted in words of four bytes; 0 when it was never finished."""
    if not all(byte & 0x80 for byte in word):
        return 0
    return (
        ((word[0] & 0x7F) << 23)
        | ((word[1] & 0x7F) << 16)
        | ((word[2] & 0x7F) << 9)
        | ((word[3] & 0x7F) << 2)
    )


class _State:
    """What later records need of earlier ones: extensions by number, GUIDs by uid, the last time seen."""

    def __init__(self, created: int) -> None:
        self.time = created
        self.names: list[str] = []
        self.current = ""
        self.guids: dict[int, str] = {}


def _records(kind: int, body: bytes, state: _State) -> Iterator[tuple[Data, int, int]]:
    """Yield what one transaction says: fields, place within it and length (0: all of it)."""
    is_synced = bool(kind & _EXTERNAL)
    plain = kind & _TYPE_MASK
    if plain & 0xFFFF in {0x1 | _EXPUNGE_MARK, 0x2000 | _EXPUNGE_MARK}:
        plain &= ~_EXPUNGE_MARK | 0x2001
        plain = 0x2000 if plain & 0x2000 else 0x1
    name = _KINDS.get(plain, f"0x{plain:x}")
    shared: Data = {"Kind": name, "IsSynced": is_synced}
    entries = list(_entries(name, body, state))
    for fields, place, length in entries or [({}, 0, 0)]:
        yield shared | fields, place + 8 if length else 0, length


def _entries(name: str, body: bytes, state: _State) -> Iterator[tuple[Data, int, int]]:
    if name == "expunge-guid":
        yield from _expunged(body, state)
    elif name in {"expunge", "keyword-reset"}:
        for i in range(0, len(body) - 7, 8):
            first, last = struct.unpack_from("<II", body, i)
            yield {"Uid": first, "LastUid": last}, i, 8
    elif name in {"append", "flag-update"}:
        yield from _flagged(name, body)
    elif name == "attribute-update":
        yield from _attributes(body, state)
    else:
        yield from _extension(name, body, state)


def _expunged(body: bytes, state: _State) -> Iterator[tuple[Data, int, int]]:
    """Messages by uid and GUID; what the storage confirms has no GUID, the request before it had."""
    for i in range(0, len(body) - 19, 20):
        uid, guid = int.from_bytes(body[i : i + 4], "little"), body[i + 4 : i + 20].hex()
        known = state.guids.get(uid, "") if guid == _NO_GUID else guid
        state.guids[uid] = known
        yield {"Uid": uid, "LastUid": uid, "Guid": known}, i, 20


def _flagged(name: str, body: bytes) -> Iterator[tuple[Data, int, int]]:
    size = 8 if name == "append" else 12
    for i in range(0, len(body) - size + 1, size):
        if name == "append":
            uid, flags = struct.unpack_from("<IB", body, i)
            yield {"Uid": uid, "LastUid": uid, "Flags": _flags(flags)}, i, size
        else:
            first, last, added, removed = struct.unpack_from("<IIBB", body, i)
            yield (
                {"Uid": first, "LastUid": last, "Flags": _flags(added), "RemovedFlags": _flags(removed)},
                i,
                size,
            )


def _flags(bits: int) -> str:
    return " ".join(word for bit, word in _FLAGS.items() if bits & bit)


def _attributes(body: bytes, state: _State) -> Iterator[tuple[Data, int, int]]:
    """Attributes of a mailbox, among them its Sieve scripts: `+pKEY` set, `-pKEY` removed, then a time for each."""
    end = body.find(b"\0\0")
    keys = body[: max(end, 0)].split(b"\0")
    place = (end + 2 + 3) // 4 * 4
    for key in keys:
        seconds = int.from_bytes(body[place : place + 4], "little")
        place += 8 if key[:1] == b"+" else 4
        scope = {b"p": "private", b"s": "shared"}.get(key[1:2], "")
        if _OLDEST < seconds < _NEWEST:
            state.time = seconds
            action = "set" if key[:1] == b"+" else "removed"
            yield (
                {
                    "Attribute": f"{scope}/{key[2:].decode('utf-8', 'backslashreplace')}",
                    "Change": action,
                    "Seconds": seconds,
                    "Stamp": seconds,
                },
                0,
                0,
            )


def _extension(name: str, body: bytes, state: _State) -> Iterator[tuple[Data, int, int]]:
    if name == "ext-intro" and len(body) >= _INTRODUCTION:
        number, _, _, _, _, _, length = struct.unpack_from("<IIIHHHH", body)
        if number == _NEW:
            state.current = body[20 : 20 + length].decode("utf-8", "backslashreplace")
            if state.current not in state.names:
                state.names.append(state.current)
        else:
            state.current = state.names[number] if number < len(state.names) else f"number {number}"
        yield {"Extension": state.current}, 0, 0
    elif name == "ext-hdr" and len(body) >= _HEAD:
        stamp = _stamp(body, state)
        yield {"Extension": state.current} | ({"Stamp": stamp} if stamp else {}), 0, 0
    elif name == "ext-reset" and len(body) >= _WORD:
        stamp = int.from_bytes(body[:4], "little")
        yield {"Extension": state.current} | ({"Stamp": stamp} if _OLDEST < stamp < _NEWEST else {}), 0, 0
    elif name == "ext-rec" and state.current == "cache":
        for i in range(0, len(body) - 7, 8):
            uid, place = struct.unpack_from("<II", body, i)
            yield {"Uid": uid, "LastUid": uid, "Extension": "cache", "CacheOffset": place}, i, 8


def _stamp(body: bytes, state: _State) -> int:
    """Return the newest time in the header of the Maildir extension: when `new`, `cur` and the list of uids were last looked at."""
    start, length = struct.unpack_from("<HH", body)
    if state.current != "maildir" or start or length < _MAILDIR_HEADER:
        return 0
    times = [int.from_bytes(body[4 + i : 8 + i], "little") for i in (0, 4, 12, 16, 24)]
    return max((t for t in times if _OLDEST < t < _NEWEST), default=0)


def _with_bounds(records: Iterator[RawRecord | Damage]) -> Iterator[RawRecord | Damage]:
    """Give each record the last time seen before it and the first one seen behind it."""
    before = 0
    waiting: list[RawRecord | Damage] = []
    for record in records:
        stamp = record.data.pop("Stamp", 0) if isinstance(record, RawRecord) else 0
        waiting.append(record)
        if stamp:
            for item in waiting:
                _bound(item, before, stamp)
            yield from waiting
            waiting.clear()
            before = max(before, stamp)
    for item in waiting:
        _bound(item, before, 0)
    yield from waiting


def _bound(item: RawRecord | Damage, before: int, after: int) -> None:
    if isinstance(item, RawRecord):
        if before:
            item.data["KnownAfter"] = before
        if after:
            item.data["KnownBefore"] = after
        # The storage looks at its folders right before it removes: the time before is the better guess.
        item.data.setdefault("Seconds", before or after or None)
