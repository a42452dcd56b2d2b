"""The reader of Outlook data files (PST, OST) through libpff, an optional extra: one record for each message."""

# ruff: noqa: ANN401 - libpff has no types, so its objects are Any throughout.

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers, mail_place
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, Any]  # Any: JSON values

_MOST_FOLDERS = 100_000
# Property tags of [MS-OXPROPS] that libpff has no method for.
_MESSAGE_ID, _SENDER_SMTP, _SENDER, _SIZE = 0x1035, 0x5D01, 0x0C1F, 0x0E08
_MAX_VALUE = 8192
# The year of the epoch of Windows stands for no time.
_NO_YEAR = 1601


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield every message of a PST or OST file, folder by folder, recovered ones last.

    Offsets are 0 and lengths those of the file: the format has no place of its own for a message.
    """
    size = path.stat().st_size
    try:
        import pypff  # noqa: PLC0415 - an optional extra
    except ImportError:
        yield Damage(0, size, 0, "Outlook data files need the extra 'pst': pip install 'mailwitness[pst]'")
        return
    file = pypff.file()
    try:
        file.open(str(path))
    except OSError as error:
        yield Damage(
            0, size, 0, f"the Outlook data file cannot be opened ({str(error).splitlines()[0][:120]})"
        )
        return
    place = {
        "StoreKind": "pst",
        "Path": name,
        "ListedAt": mail_place.written(path),
        "Mailbox": mail_place.of_path(name)["Mailbox"],
    }
    try:
        yield from _folders(file, place, size)
        yield from _recovered(file, place, size)
    finally:
        file.close()


def _folders(file: Any, place: Record, size: int) -> Iterator[RawRecord | Damage]:
    """Walk the folders without recursion: a damaged file may nest them in each other."""
    waiting = [(file.get_root_folder(), "")]
    seen = 0
    while waiting and seen < _MOST_FOLDERS:
        folder, parent = waiting.pop(0)
        seen += 1
        own = _safe(folder, "get_name") or ""
        title = f"{parent}\\{own}" if seen > 1 else ""
        for i in range(_safe(folder, "get_number_of_sub_messages") or 0):
            message = _safe(folder, "get_sub_message", i)
            yield (
                _record(message, place | {"Folder": title}, size)
                if message is not None
                else Damage(0, size, 0, f"message {i} of {title} cannot be read")
            )
        for i in range(_safe(folder, "get_number_of_sub_folders") or 0):
            below = _safe(folder, "get_sub_folder", i)
            if below is None:
                yield Damage(0, size, 0, f"folder {i} of {title} cannot be read")
            else:
                waiting.append((below, title))


def _recovered(file: Any, place: Record, size: int) -> Iterator[RawRecord | Damage]:
    """Yield what libpff finds in unallocated space: messages that were deleted and not yet overwritten."""
    for i in range(_safe(file, "get_number_of_recovered_items") or 0):
        message = _safe(file, "get_recovered_item", i)
        if message is not None:
            yield _record(message, place | {"Folder": "(recovered)", "IsDeleted": True}, size)


def _record(message: Any, place: Record, size: int) -> RawRecord:
    headers = _safe(message, "get_transport_headers") or ""
    found = (
        mail_headers.identity(headers.encode("utf-8", "replace").replace(b"\r\n", b"\n")) if headers else {}
    )
    values = _values(message)
    body = _safe(message, "get_plain_text_body") or _safe(message, "get_html_body") or b""
    data = place | found | {
        "MessageId": mail_headers.message_id(values.get(_MESSAGE_ID, "")) or found.get("MessageId", ""),
        "Subject": (_safe(message, "get_subject") or found.get("Subject", ""))[:_MAX_VALUE],
        "Sender": (values.get(_SENDER_SMTP) or found.get("Sender") or values.get(_SENDER) or _safe(message, "get_sender_name") or "").lower(),
        "Date": _time(_safe(message, "get_client_submit_time")) or found.get("Date", ""),
        "ReceivedAt": _time(_safe(message, "get_delivery_time")),
        "SizeBytes": int(values[_SIZE]) if values.get(_SIZE, "").isdigit() else None,
        "HeaderDigest": hashlib.sha256(headers.encode("utf-8", "replace")).hexdigest() if headers else "",
        "BodyDigest": hashlib.sha256(body if isinstance(body, bytes) else body.encode("utf-8", "replace")).hexdigest() if body else "",
        "Uid": str(_safe(message, "get_identifier") or ""),
    }  # fmt: skip
    return RawRecord(data, 0, size, 0)


def _values(message: Any) -> dict[int, str]:
    """Return the few properties that libpff has no method for, as text."""
    found: dict[int, str] = {}
    for i in range(_safe(message, "get_number_of_record_sets") or 0):
        records = _safe(message, "get_record_set", i)
        for k in range(_safe(records, "get_number_of_entries") or 0 if records is not None else 0):
            entry = _safe(records, "get_entry", k)
            tag = _safe(entry, "get_entry_type") if entry is not None else None
            if tag in {_MESSAGE_ID, _SENDER_SMTP, _SENDER}:
                found.setdefault(tag, (_safe(entry, "get_data_as_string") or "")[:_MAX_VALUE])
            elif tag == _SIZE:
                found.setdefault(tag, str(_safe(entry, "get_data_as_integer") or ""))
    return found


def _safe(item: Any, method: str, *arguments: Any) -> Any:
    """Return what a method of libpff gives, or None: damage in one property must not hide the others."""
    try:
        return getattr(item, method)(*arguments)
    except (AttributeError, OSError, ValueError, OverflowError, MemoryError, UnicodeError):
        # Contacts, appointments and the like lack the methods of messages.
        return None


def _time(moment: object) -> str:
    return (
        moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        if isinstance(moment, dt.datetime) and moment.year > _NO_YEAR
        else ""
    )
