"""The reader of Outlook .msg files: what identifies the message, from the MAPI properties of the compound file."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers, mail_place
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.readers.compound_file import CompoundFile, Entry
from mailwitness.readers.file_view import FileView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, Any]  # Any: JSON values

_MAX_TEXT_BYTES = 1 << 20
_MAX_RECIPIENTS = 200
# Property ids of [MS-OXPROPS]; text is stored as UTF-16 (001F) or in a code page (001E).
_SUBJECT, _SENDER, _SENDER_SMTP, _TO, _CC, _ID, _HEADERS = (
    "0037",
    "0C1F",
    "5D01",
    "0E04",
    "0E03",
    "1035",
    "007D",
)
_RECIPIENT_SMTP, _RECIPIENT = "39FE", "3003"
_BODIES = ("1000001F", "1000001E", "10130102", "10090102")
_SUBMITTED, _DELIVERED, _FLAGS = 0x00390040, 0x0E060040, 0x0E070003
_FILETIME_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_READ, _UNSENT = 1, 8
_INTEGER32 = 3  # PtypInteger32: only the low half of the value counts

# The same message filed twice is a message in two places.
EACH_PLACE_COUNTS = True


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield the message of a .msg file, or the file as damage when it is a compound file of another program.

    Sources: [MS-OXMSG], [MS-CFB].
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as handle:
        try:
            file = CompoundFile(FileView(handle))
            streams = (
                {entry.name.upper(): entry for entry in file.children(file.entries[0])}
                if file.entries
                else {}
            )
            if "__PROPERTIES_VERSION1.0" not in streams:
                yield Damage(0, size, 0, "a compound file that is no Outlook message")
                return
            record = _message(file, streams) | {
                "SizeBytes": size,
                "Path": name,
                "ListedAt": mail_place.written(path),
            }
        except (ValueError, struct.error, MemoryError, RecursionError) as error:
            yield Damage(0, size, 0, f"the compound file is damaged ({error})")
            return
    yield RawRecord(mail_place.of_path(name) | record, 0, size, 0)


def _message(file: CompoundFile, streams: dict[str, Entry]) -> Record:
    headers = _text(file, streams, _HEADERS)
    found = (
        mail_headers.identity(headers.encode("utf-8", "replace").replace(b"\r\n", b"\n")) if headers else {}
    )
    fixed = _fixed(file, streams["__PROPERTIES_VERSION1.0"])
    flags = fixed.get(_FLAGS, 0)
    body = next((streams[key] for tag in _BODIES if (key := f"__SUBSTG1.0_{tag}") in streams), None)
    recipients = _recipients(file, streams) or [_text(file, streams, _TO), _text(file, streams, _CC)]
    return {
        "StoreKind": "msg",
        "MessageId": mail_headers.message_id(_text(file, streams, _ID)) or found.get("MessageId", ""),
        "Subject": _text(file, streams, _SUBJECT) or found.get("Subject", ""),
        "Sender": (
            _text(file, streams, _SENDER_SMTP) or found.get("Sender") or _text(file, streams, _SENDER)
        ).lower(),
        "Recipients": found.get("Recipients") or ",".join(part.lower() for part in recipients if part),
        "Date": _time(fixed.get(_SUBMITTED)) or found.get("Date", ""),
        "ReceivedAt": _time(fixed.get(_DELIVERED)),
        "Flags": " ".join(
            word for word, holds in (("read", flags & _READ), ("draft", flags & _UNSENT)) if holds
        ),
        "HeaderDigest": hashlib.sha256(headers.encode("utf-8", "replace")).hexdigest() if headers else "",
        "BodyDigest": _digest(file, body) if body else "",
    }


def _text(file: CompoundFile, streams: dict[str, Entry], tag: str) -> str:
    """Return a text property in whichever of its two forms the file has; bounded."""
    for kind, encoding in (("001F", "utf-16-le"), ("001E", "cp1252")):
        entry = streams.get(f"__SUBSTG1.0_{tag}{kind}")
        if entry is not None:
            raw = bytearray()
            for part in file.stream(entry):
                raw += part
                if len(raw) > _MAX_TEXT_BYTES:
                    break
            return (
                bytes(raw[: len(raw) // 2 * 2] if kind == "001F" else raw)
                .decode(encoding, "replace")
                .rstrip("\x00")
                .replace("\x00", "")
            )
    return ""


def _fixed(file: CompoundFile, entry: Entry) -> dict[int, int]:
    """Return the properties of fixed size: tag -> value as an unsigned number. The list follows a header of 32 bytes."""
    raw = b"".join(file.stream(entry))[:_MAX_TEXT_BYTES]
    return {
        struct.unpack_from("<I", raw, at)[0]: struct.unpack_from("<Q", raw, at + 8)[0]
        & (0xFFFFFFFF if raw[at] == _INTEGER32 else 0xFFFFFFFFFFFFFFFF)
        for at in range(32, len(raw) - 15, 16)
    }


def _time(filetime: int | None) -> str:
    """Return a FILETIME (100 ns since 1601) as ISO 8601 UTC."""
    if not filetime:
        return ""
    with contextlib.suppress(OverflowError, ValueError):
        moment = _FILETIME_EPOCH + dt.timedelta(microseconds=filetime // 10)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return ""


def _recipients(file: CompoundFile, streams: dict[str, Entry]) -> list[str]:
    """Return the addresses of the recipients, each of which is a storage of its own."""
    found = []
    for entry in [entry for key, entry in streams.items() if key.startswith("__RECIP_VERSION1.0_")][
        :_MAX_RECIPIENTS
    ]:
        inner = {item.name.upper(): item for item in file.children(entry)}
        found.append(_text(file, inner, _RECIPIENT_SMTP) or _text(file, inner, _RECIPIENT))
    return sorted(found)


def _digest(file: CompoundFile, entry: Entry) -> str:
    digest = hashlib.sha256()
    for part in file.stream(entry):
        digest.update(part)
    return digest.hexdigest()
