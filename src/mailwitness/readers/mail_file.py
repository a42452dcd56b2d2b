"""The reader of single messages: .eml, Maildir files and Apple Mail's .emlx, headers and digests only."""

from __future__ import annotations

import hashlib
import plistlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers, mail_place
from mailwitness.readers.blocks import Damage, RawRecord, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]  # Any: JSON values

_BLANK = re.compile(rb"\r?\n\r?\n")
# .emlx: the length of the message as a decimal number on a line of its own, the message, then a property list with its flags.
_EMLX = re.compile(rb"\A[ \t]*(\d{1,12})[ \t]*\r?\n")
_MAX_PLIST_BYTES = 4 << 20
# Bits of the flags number in an .emlx file; the number is undocumented, these are the ones all descriptions agree on.
_EMLX_FLAGS = {
    0: "read",
    1: "deleted",
    2: "answered",
    3: "encrypted",
    4: "flagged",
    5: "recent",
    6: "draft",
    8: "forwarded",
}

# The same message filed twice is a message in two places.
EACH_PLACE_COUNTS = True


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield the message of a file, or the file as damage when it has no header.

    Raw file: ``Return-Path: <a@fabrikam.example>`` and so on; .emlx has ``4521`` before it and a property list after it.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(mail_headers.MAX_HEADER_BYTES + 64)
    counted = _EMLX.match(head)
    start = counted.end() if counted else 0
    length = min(int(counted[1]), size - start) if counted else size - start
    head = head[start : start + min(length, mail_headers.MAX_HEADER_BYTES)]
    blank = _BLANK.search(head)
    is_cut = blank is None and length > len(head)
    block = head[: blank.end()] if blank else head
    if not re.match(rb"[!-9;-~]+[ \t]*:", block):
        yield Damage(0, size, 1, "no header at the start of the message")
        return
    place: Record = {
        "StoreKind": "emlx" if counted else "eml",
        "Path": name,
        "ListedAt": mail_place.written(path),
    } | mail_place.of_path(name)
    found = mail_headers.fields(block)
    problems = [text for text, holds in _problems(place, counted, start, length, size, is_cut) if holds]
    data = place | mail_headers.identity(block) | {
        "SizeBytes": length,
        "HeaderDigest": hashlib.sha256(block).hexdigest(),
        "BodyDigest": _digest(path, start + len(block), start + length),
        "Problems": "; ".join(problems),
    }  # fmt: skip
    if found.get("delivery-date") and not data.get("ReceivedAt"):
        data["ReceivedAt"] = mail_headers.utc(found["delivery-date"])
    if counted:
        data |= _emlx_state(path, start + length, size)
    yield RawRecord(data, 0, size, 1, salvaged=is_cut)


def _problems(
    place: Record, counted: re.Match[bytes] | None, start: int, length: int, size: int, is_cut: bool
) -> list[tuple[str, bool]]:
    """Return what may be wrong with a message file, each with whether it is."""
    stated = place.get("StatedSizeBytes")
    return [
        (f"its name states {stated} bytes, it has {size}", stated is not None and stated != size),
        (
            "the file is shorter than it says",
            bool(counted) and int(counted[1]) > size - start if counted else False,
        ),
        ("the header block does not end", is_cut),
        ("empty", length == 0),
    ]


def _digest(path: Path, start: int, end: int) -> str:
    """Return the SHA-256 of a part of a file, read block by block."""
    digest = hashlib.sha256()
    position = 0
    for block in blocks(path):
        low, high = max(start - position, 0), min(end - position, len(block))
        if low < high:
            digest.update(block[low:high])
        position += len(block)
        if position >= end:
            break
    return digest.hexdigest()


def _emlx_state(path: Path, start: int, size: int) -> Record:
    """Return flags and delivery time from the property list after the message; nothing when it cannot be read."""
    if not 0 < size - start <= _MAX_PLIST_BYTES:
        return {}
    with path.open("rb") as handle:
        handle.seek(start)
        raw = handle.read(_MAX_PLIST_BYTES)
    if b"<!ENTITY" in raw:
        return {}
    try:
        state = plistlib.loads(raw.strip())
    except Exception:  # noqa: BLE001 - plistlib lets the XML parser's errors through, of many types
        return {}
    if not isinstance(state, dict):
        return {}
    flags = state.get("flags")
    words = [word for bit, word in _EMLX_FLAGS.items() if isinstance(flags, int) and flags >> bit & 1]
    found: Record = {"Flags": " ".join(words), "IsDeleted": "deleted" in words}
    received = state.get("date-received") or state.get("date-last-viewed")
    if isinstance(received, int | float):
        found["ReceivedAt"] = mail_place.from_epoch(int(received))
    if isinstance(state.get("remote-id"), str | int):
        found["Uid"] = str(state["remote-id"])
    return found
