r"""Saved answers of an IMAP server: what FETCH said about each message, whatever program asked.

One raw answer: ``* 1 FETCH (UID 5 FLAGS (\Seen) INTERNALDATE "02-Mar-2026 08:00:00 +0000" RFC822.SIZE 420 ENVELOPE (...))``.
Strings are quoted or literals, whose length stands before them as ``{n}`` (RFC 3501 sections 4.3 and 7.4.2). The folder is that of the
last SELECT or EXAMINE, sent or answered, or of a LIST or STATUS line with nothing behind it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, Any]  # Any: values of an answer: text, lists, None

# Answers are text; a file beyond this is none.
_LARGEST_BYTES = 1 << 30
# An envelope nests three deep; more is an attempt to exhaust the reader.
_DEEPEST = 40
# date, subject, from, sender, reply-to, to, cc, bcc, in-reply-to, message-id; name, route, mailbox, host (RFC 3501 section 7.4.2).
_ENVELOPE_MEMBERS = 10
_ADDRESS_MEMBERS = 4
_LITERAL = re.compile(rb"\{(\d{1,10})\+?\}\r?\n?\Z")
_FETCH = re.compile(rb"\* (\d{1,10}) FETCH (?=\()", re.IGNORECASE)
_OPENED = re.compile(
    rb"(?:[A-Za-z0-9.>: ]{1,40} )?(?:SELECT|EXAMINE) (\"(?:[^\"\\\r\n]|\\.)*\"|[^\s\"(){]+)", re.IGNORECASE
)
_FRAME = re.compile(
    rb"(?:[<>CS]:? ?)?(?:\* |\+ |[A-Za-z0-9.]{1,20} (?:OK|NO|BAD|LOGIN|AUTHENTICATE|LIST|LSUB|SELECT|EXAMINE|UID|FETCH|LOGOUT|STATUS|SEARCH"
    rb"|CAPABILITY|NOOP|CLOSE|ID|ENABLE|IDLE)\b)",
    re.IGNORECASE,
)
_TOKEN = re.compile(rb'[ \r\n]*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|\{(\d{1,10})\+?\}\r?\n|([^\s()"{]+))')
_HEADERS = re.compile(r"(?i)^(?:BODY\[HEADER.*|RFC822\.HEADER|BODY\[\]|RFC822)$")


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each FETCH answer, in file order; lines of the dialogue are no records, everything else is damage."""
    content = path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else b""
    if not content:
        yield Damage(0, path.stat().st_size, 1, "the file is too large for saved answers of a server")
        return
    place, line, folder = 0, 1, ""
    for end in _ends(content):
        answer = content[place:end]
        if opened := _OPENED.match(answer):
            folder = _unquoted(opened[1])
        if fetched := _FETCH.match(answer):
            yield _record(answer, fetched, folder, (place, line))
        elif answer.strip() and not _FRAME.match(answer):
            yield Damage(place, len(answer.rstrip(b"\r\n")), line, "the line is no answer of a mail server")
        line += answer.count(b"\n")
        place = end


def _ends(content: bytes) -> Iterator[int]:
    """Yield where each answer ends: behind its line, and behind the lines and literals that belong to it."""
    place = 0
    while place < len(content):
        end = _line_end(content, place)
        is_answer = content.startswith(b"* ", place)
        start = place
        while is_answer and (literal := _LITERAL.search(content[max(start, end - 16) : end])):
            start = end + int(literal[1])
            if start > len(content):
                # The literal was cut off, or its length is a lie: only this line is lost.
                break
            end = _line_end(content, start)
        yield end
        place = end


def _line_end(content: bytes, place: int) -> int:
    found = content.find(b"\n", place)
    return len(content) if found < 0 else found + 1


def _record(answer: bytes, fetched: re.Match[bytes], folder: str, at: tuple[int, int]) -> RawRecord | Damage:
    place, line = at
    length = len(answer.rstrip(b"\r\n"))
    listed = _list(answer, fetched.end())
    if listed is None or len(listed) < 2:  # noqa: PLR2004 - one item and its value
        return Damage(place, length, line, "the answer is cut off")
    items = {str(name).upper(): value for name, value in zip(listed[::2], listed[1::2], strict=False)}
    flags = " ".join(str(flag) for flag in items.get("FLAGS") or [])
    size = str(items.get("RFC822.SIZE") or "")
    record: Record = _identity(items) | {
        "Folder": folder,
        "Flags": flags,
        "IsDeleted": "\\deleted" in flags.lower().split(),
        "Uid": str(items.get("UID") or fetched[1].decode()),
        "ReceivedAt": _moment(str(items.get("INTERNALDATE") or "")),
        "StoreKind": "imap",
        "Path": folder,
    }
    if size.isdecimal():
        record["SizeBytes"] = int(size)
    return RawRecord(
        {key: value for key, value in record.items() if value not in ("", None)}, place, length, line
    )


def _identity(items: Record) -> Record:
    """Return what identifies the message: from its headers where they were fetched, else from the envelope."""
    for name, value in items.items():
        if isinstance(value, str) and _HEADERS.match(name):
            block = value.encode("utf-8", "surrogateescape")
            digest = hashlib.sha256(block.partition(b"\r\n\r\n")[0]).hexdigest()
            return mail_headers.identity(block) | {"HeaderDigest": digest}
    envelope = items.get("ENVELOPE")
    if not isinstance(envelope, list) or len(envelope) < _ENVELOPE_MEMBERS:
        return {}
    return {
        "MessageId": mail_headers.message_id(_text(envelope[9])),
        "Subject": mail_headers.decoded(_text(envelope[1])),
        "Sender": _addresses(envelope[2]),
        "Recipients": ", ".join(filter(None, (_addresses(envelope[5]), _addresses(envelope[6])))),
        "Date": mail_headers.utc(_text(envelope[0])),
    }


def _addresses(value: Any) -> str:  # noqa: ANN401 - a value of an answer
    """Return addresses of an envelope: lists of name, route, mailbox and host."""
    listed = value if isinstance(value, list) else []
    people = [one for one in listed if isinstance(one, list) and len(one) == _ADDRESS_MEMBERS]
    return ", ".join(f"{_text(one[2])}@{_text(one[3])}".lower() for one in people if one[2] and one[3])


def _text(value: Any) -> str:  # noqa: ANN401 - a value of an answer
    return value if isinstance(value, str) else ""


def _list(  # noqa: C901 - one loop over the five kinds of token
    answer: bytes, place: int
) -> list[Any] | None:  # Any: values of an answer
    """Parse the parenthesised list that begins at a place; None when it does not end."""
    open_lists: list[list[Any]] = []
    while token := _TOKEN.match(answer, place):
        place = token.end()
        begins, ends, quoted, literal, _ = token.groups()
        if begins:
            if len(open_lists) >= _DEEPEST:
                return None
            inner: list[Any] = []
            if open_lists:
                open_lists[-1].append(inner)
            open_lists.append(inner)
        elif ends:
            done = open_lists.pop() if open_lists else None
            if not open_lists:
                return done
        elif not open_lists:
            return None
        elif literal is not None:
            open_lists[-1].append(_decoded(answer[place : place + int(literal)]))
            place += int(literal)
        elif quoted is not None:
            open_lists[-1].append(_decoded(re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)))
        else:
            place = _rest_of_section(answer, token, place)
            name = _decoded(answer[token.start(5) : place])
            open_lists[-1].append(None if name.upper() == "NIL" else name)
    return None


def _rest_of_section(answer: bytes, token: re.Match[bytes], place: int) -> int:
    """Return the end of an item such as ``BODY[HEADER.FIELDS (SUBJECT)]``: its name holds blanks and brackets."""
    if b"[" in token[5] and b"]" not in token[5]:
        closed = answer.find(b"]", place, place + 4096)
        return closed + 1 if closed >= 0 else place
    return place


def _unquoted(name: bytes) -> str:
    return _decoded(re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name)


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _moment(value: str) -> str:
    """Return an internal date (``02-Mar-2026 08:00:00 +0000``) in UTC; empty when it is none."""
    try:
        found = dt.datetime.strptime(value.strip(), "%d-%b-%Y %H:%M:%S %z")
        return found.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return ""
