"""Headers of RFC 5322 messages: the few that identify a message, decoded, whatever a sender made of them."""

from __future__ import annotations

import datetime as dt
import re
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

# A header block longer than this is cut: the identifying members stand within the first lines.
MAX_HEADER_BYTES = 1 << 20
_MAX_VALUE = 8192
_MAX_ADDRESSES = 200
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_MESSAGE_ID = re.compile(r"<[^<>\s]*>")
_WANTED = {
    b"message-id", b"subject", b"from", b"to", b"cc", b"date", b"status", b"x-status", b"x-uid", b"x-mozilla-status", b"x-keywords",
    b"x-gmail-labels", b"x-gm-thrid", b"content-length", b"delivered-to", b"x-folder", b"delivery-date",
}  # fmt: skip

Record = dict[str, Any]  # Any: JSON values


def fields(block: bytes) -> dict[str, str]:
    """Return the first value of every wanted field of a header block, unfolded; names in lower case."""
    found: dict[str, str] = {}
    for match in _FIELD.finditer(block):
        name = match[1].lower()
        if name in _WANTED and name.decode() not in found:
            found[name.decode()] = _text(match[2][: _MAX_VALUE * 4])
    return found


def identity(block: bytes) -> Record:
    """Return what identifies a message: MessageId, Subject, Sender, Recipients and Date.

    Raw header: ``Message-ID: <a@contoso.example>``; source: RFC 5322 section 3.6.
    """
    found = fields(block)
    return {
        "MessageId": message_id(found.get("message-id", "")),
        "Subject": decoded(found.get("subject", "")),
        "Sender": addresses(found.get("from", "")),
        "Recipients": addresses(", ".join(found[name] for name in ("to", "cc") if found.get(name))),
        "Date": utc(found.get("date", "")),
    }


def message_id(value: str) -> str:
    """Return a message id in angle brackets; Outlook and some lists leave them out."""
    value = value.strip()
    match = _MESSAGE_ID.search(value)
    if match:
        return match[0]
    return f"<{value}>" if "@" in value and " " not in value else value[:_MAX_VALUE]


def decoded(value: str) -> str:
    """Return a header text with its encoded words (RFC 2047) decoded as far as they can be."""
    if "=?" not in value:
        return value[:_MAX_VALUE]
    try:
        parts = decode_header(value[:_MAX_VALUE])
    except Exception:  # noqa: BLE001 - the standard library raises several types for damaged words
        return value[:_MAX_VALUE]
    return "".join(_part(part, charset) for part, charset in parts)[:_MAX_VALUE]


def _part(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    try:
        return part.decode(charset or "ascii", "replace")
    except (LookupError, ValueError):
        return part.decode("latin-1")


def addresses(value: str) -> str:
    """Return the addresses of a header field in lower case, comma separated."""
    try:
        found = [address for _, address in getaddresses([value[: _MAX_VALUE * 4]]) if address]
    except Exception:  # noqa: BLE001 - as above
        return value[:_MAX_VALUE].lower()
    return ",".join(address.lower() for address in found[:_MAX_ADDRESSES])[:_MAX_VALUE]


def utc(value: str) -> str:
    """Return a header date as ISO 8601 in UTC, or empty text when it is none; without a zone it counts as UTC."""
    try:
        moment = parsedate_to_datetime(value.strip())
        moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1000 else ""  # noqa: PLR2004 - strftime writes earlier years short


def _text(raw: bytes) -> str:
    """Return an unfolded field body: UTF-8 where it is (RFC 6532), else Latin-1."""
    joined = re.sub(rb"\r?\n[ \t]+", b" ", raw).strip(b" \t\r\n")
    try:
        return joined.decode("utf-8").replace("\x00", "")
    except UnicodeDecodeError:
        return joined.decode("latin-1").replace("\x00", "")
