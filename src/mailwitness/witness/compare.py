"""Comparing what the witness holds with what the host still has: line by line, message by message, entry by entry."""

from __future__ import annotations

import bz2
import datetime as dt
import email
import email.policy
import gzip
import lzma
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mailwitness.errors import ConfigError
from mailwitness.witness import journal
from mailwitness.witness.alignment import align, pair
from mailwitness.witness.lines import split_lines
from mailwitness.witness.mail_copies import Digests, digest, folders, listing, mbox_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailwitness.witness.held import Held, Line
    from mailwitness.witness.observed import Observed

Cause = Literal["", "cleared", "expired", "not known"]
What = Literal["Missing", "Altered", "Inserted", "Contradicted", "Moved"]
Thing = Literal["LogLine", "Message", "JournalEntry"]
_ROTATED = re.compile(r"[.-]\d[\d.-]*(?:\.(?:gz|bz2|xz))?")
_SHOWN = 2000
# The shipper's own limit of a line, unless its settings say otherwise.
_LINE_BYTES = 256 * 1024


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as the witness has it.

    Attributes:
        what: Missing (the host no longer has it), Altered, Inserted (the host has it among what was shipped without it),
            Contradicted (the client later sent something else for the same place), Moved (a message that lies elsewhere now).
        thing: LogLine, Message or JournalEntry.
        path: log, Maildir folder, mbox or journal, as the shipper named it.
        place: line number on the host (0 for a line that is not there), or name of the message or cursor.
        before: what the witness has, as text.
        after: what the host has, as text.
        message_id: Internet message id.
        subject: subject of the message.
        received_us: when the witness received it, microseconds since 1970 UTC; 0 for what it never had.
        noticed_us: when the shipper noticed that it was gone; 0 when it did not.
        number: of the record in the witness's log; -1 for what it never had.
        cause: of what is missing from a log or journal: cleared, expired, or not known; empty otherwise.
    """

    what: What
    thing: Thing
    path: str
    place: str
    before: str = ""
    after: str = ""
    message_id: str = ""
    subject: str = ""
    received_us: int = 0
    noticed_us: int = 0
    number: int = -1
    cause: Cause = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one path.

    Attributes:
        path: as the shipper named it.
        held: things the witness holds.
        same: things that are on the host as the witness has them.
        new: things on the host behind everything that was shipped; the witness does not have them yet.
        differences: in the order of the witness's log.
        oldest_left: number of the first record of which something is still on the host; -1 when nothing is.
        kept: how long the host keeps it by its own settings, in words; empty for mail.
    """

    path: str
    held: int
    same: int
    new: int
    differences: list[Difference]
    oldest_left: int = -1
    kept: str = ""


# -- logs --------------------------------------------------------------------------------------


def compare_log(held: Held, path: str, files: Iterable[Path]) -> Comparison:
    """Compare a log.

    Args:
        held: what the witness holds.
        path: the log as the shipper named it.
        files: the log and its rotated parts on the host, oldest first; missing ones are empty.
    """
    expected = held.text(path)
    host = [line for file in files for line in split_lines(_content(file), _LINE_BYTES)]
    differences: list[Difference] = []
    same, new = 0, 0
    left: set[int] = set()
    for part in align([line.body for line in expected], host):
        ours, theirs = expected[part.a : part.a_end], host[part.b : part.b_end]
        if part.is_same:
            same += len(ours)
            left.update(line.number for line in ours if not line.is_late)
            differences += [_late(path, line, part.b + i + 1) for i, line in enumerate(ours) if line.is_late]
            continue
        pairs = pair([line.body for line in ours], theirs)
        left.update(ours[i].number for i, _ in pairs)
        differences += [_altered(path, ours[i], theirs[j], part.b + j + 1) for i, j in pairs]
        paired = {i for i, _ in pairs}
        differences += [_missing(path, line) for i, line in enumerate(ours) if i not in paired]
        alone = [j for j in range(len(theirs)) if j not in {j for _, j in pairs}]
        if part.b_end == len(host) and part.a_end == len(expected):
            fresh = [j for j in alone if not pairs or j > pairs[-1][1]]
            new += len(fresh)
            alone = [j for j in alone if j not in fresh]
        differences += [_inserted(path, theirs[j], part.b + j + 1) for j in alone]
    differences += [_contradicted(path, line) for line in held.contradicted.get(path, [])]
    return Comparison(
        path=path,
        held=len(expected),
        same=same,
        new=new,
        differences=differences,
        oldest_left=min(left, default=-1),
    )


def host_files(path: Path) -> list[Path]:
    """Return a log with its rotated parts, the oldest first by their time of change."""
    beside = (
        [p for p in path.parent.glob("*") if p.name.startswith(path.name)] if path.parent.is_dir() else []
    )
    rotated = [p for p in beside if _ROTATED.fullmatch(p.name.removeprefix(path.name))]
    return [
        *sorted(rotated, key=lambda p: (p.stat().st_mtime_ns, p.name)),
        *([path] if path.exists() else []),
    ]


def _content(path: Path) -> bytes:
    unpack: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix)  # Any: read alike
    try:
        if unpack is None:
            return path.read_bytes()
        with unpack(path) as file:
            content: bytes = file.read()
            return content
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(
            f"it cannot be read: {error}", place=str(path), remedy="Give a readable copy."
        ) from error


def _text(body: bytes) -> str:
    return body[:_SHOWN].decode("utf-8", "backslashreplace").rstrip("\n")


def _missing(path: str, line: Line) -> Difference:
    return Difference(
        what="Missing",
        thing="LogLine",
        path=path,
        place="0",
        before=_text(line.body),
        received_us=line.received_us,
        number=line.number,
    )


def _altered(path: str, line: Line, after: bytes, place: int) -> Difference:
    return msgspec.structs.replace(_missing(path, line), what="Altered", place=str(place), after=_text(after))


def _inserted(path: str, after: bytes, place: int) -> Difference:
    return Difference(what="Inserted", thing="LogLine", path=path, place=str(place), after=_text(after))


def _late(path: str, line: Line, place: int) -> Difference:
    """A line that the witness has too, but only since the log was rewritten with it."""
    return msgspec.structs.replace(
        _inserted(path, line.body, place), received_us=line.received_us, number=line.number
    )


def _contradicted(path: str, line: Line) -> Difference:
    return msgspec.structs.replace(_missing(path, line), what="Contradicted")


# -- mail --------------------------------------------------------------------------------------


def compare_mail(held: Held, path: Path, named: str) -> list[Comparison]:
    """Compare a Maildir with its folders, or an mbox.

    Args:
        held: what the witness holds.
        path: Maildir or mbox on the host, or a copy of it; it may be missing altogether.
        named: its path as the shipper named it.
    """
    present: dict[str, dict[str, tuple[Digests, int]]] = {}
    if path.is_dir():
        for folder in folders(path):
            below = folder.relative_to(path)
            present[str(Path(named) / below) if below.parts else named] = dict(_messages(folder))
    elif path.exists():
        present[named] = {name: (found, 0) for name, found in mbox_messages(path)}
    shipped = {f for f in held.messages if f == named or f.startswith(f"{named.rstrip('/')}/.")}
    everywhere = {
        found.sha256: folder for folder, messages in present.items() for found, _ in messages.values()
    }
    return [
        _compare_folder(held, folder, present.get(folder, {}), everywhere)
        for folder in sorted(shipped | present.keys())
    ]


def _messages(folder: Path) -> Iterator[tuple[str, tuple[Digests, int]]]:
    for name, path in sorted(listing(folder).items()):
        with path.open("rb") as file:
            yield name, (digest(file, 0), path.stat().st_mtime_ns // 1000)


def _compare_folder(
    held: Held, folder: str, present: dict[str, tuple[Digests, int]], everywhere: dict[str, str]
) -> Comparison:
    known = held.messages.get(folder, {})
    differences: list[Difference] = []
    same = 0
    for name, records in known.items():
        line, first = records[0]
        if name not in present:
            moved = everywhere.get(str(first.facts.get("sha256")), "")
            found = _message(held, folder, name, line, first)
            is_moved = bool(moved) and moved != folder
            differences.append(
                msgspec.structs.replace(found, what="Moved" if is_moved else "Missing", after=moved)
            )
        elif present[name][0].sha256 != first.facts.get("sha256"):
            found = _message(held, folder, name, line, first)
            differences.append(
                msgspec.structs.replace(found, what="Altered", after=_changed(first, present[name][0]))
            )
        else:
            same += 1
    strangers = [name for name in present if name not in known]
    inserted = [name for name in strangers if 0 < present[name][1] < held.last_us]
    for name in inserted:
        subject, message_id = _headers(present[name][0].header)
        differences.append(
            Difference(
                what="Inserted",
                thing="Message",
                path=folder,
                place=name,
                subject=subject,
                message_id=message_id,
                after=present[name][0].sha256,
            )
        )
    return Comparison(
        path=folder,
        held=len(known),
        same=same,
        new=len(strangers) - len(inserted),
        differences=sorted(differences, key=lambda d: (d.number < 0, d.number, d.place)),
    )


def _message(held: Held, folder: str, name: str, line: Line, first: Observed) -> Difference:
    subject, message_id = _headers(first.body)
    return Difference(
        what="Missing",
        thing="Message",
        path=folder,
        place=name,
        before=str(first.facts.get("sha256", "")),
        subject=subject,
        message_id=message_id,
        received_us=line.received_us,
        noticed_us=held.gone.get((folder, name), 0),
        number=line.number,
    )


def _changed(first: Observed, now: Digests) -> str:
    parts = [
        name
        for name, then, found in (
            ("headers", first.facts.get("header_sha256"), now.header_sha256),
            ("body", first.facts.get("body_sha256"), now.body_sha256),
        )
        if then != found
    ]
    return f"{' and '.join(parts) or 'content'} changed; SHA-256 now {now.sha256}"


def _headers(header: bytes) -> tuple[str, str]:
    """Return subject and message id of a header block; empty where it has none or they cannot be read."""
    parsed = email.message_from_bytes(header, policy=email.policy.compat32)
    try:
        pieces = email.header.decode_header(str(parsed.get("Subject", "")))
        subject = str(email.header.make_header(pieces))
    except (ValueError, LookupError):
        subject = str(parsed.get("Subject", ""))
    return subject[:_SHOWN], str(parsed.get("Message-ID", "")).strip()[:_SHOWN]


# -- the journal -------------------------------------------------------------------------------


def compare_journal(held: Held, path: str, export: Path) -> Comparison:
    """Compare a journal with an export of it (``journalctl -o export``): entries by their cursors."""
    with export.open("rb") as file:
        present = dict(journal.entries(file))
    known = held.entries.get(path, {})
    last = max((line.number for line in known.values()), default=-1)
    differences = []
    for cursor, line in known.items():
        body = present.get(cursor)
        if body is None or not body.startswith(line.body):
            differences.append(
                Difference(
                    what="Missing" if body is None else "Altered",
                    thing="JournalEntry",
                    path=path,
                    place=cursor,
                    before=_text(line.body),
                    after=_text(body or b""),
                    received_us=line.received_us,
                    number=line.number,
                )
            )
    return Comparison(
        path=path,
        held=len(known),
        same=len(known) - len(differences),
        new=len(present.keys() - known.keys()) if last >= 0 else len(present),
        differences=differences,
        oldest_left=min((line.number for cursor, line in known.items() if cursor in present), default=-1),
    )


def iso(time_us: int) -> str:
    """Return a time in microseconds as ISO 8601 UTC; empty for 0."""
    if not time_us:
        return ""
    try:
        moment = dt.datetime.fromtimestamp(time_us / 1_000_000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        # A changed byte of a proof may say any number; the signature judges it, not the calendar.
        return f"{time_us} microseconds"
    return moment.isoformat().replace("+00:00", "Z")
