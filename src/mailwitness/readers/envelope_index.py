"""The reader of Apple Mail's `Envelope Index`: one record for each message, from a private copy with its write-ahead log."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_headers, mail_place
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Record = dict[str, Any]  # Any: JSON values

# A hostile database may make every row expensive: the interpreter of SQLite is stopped after so many steps between two rows.
_STEPS = 50_000_000
_CHECK_EVERY = 1_000_000
_MAX_TEXT = 8192
_MAX_SQL_BYTES = 1 << 20
# What a message row tells, by the column names of the versions seen (macOS 10.13 to 15); a column that is missing is empty.
_WANTED = (
    "ROWID",
    "message_id",
    "global_message_id",
    "remote_id",
    "document_id",
    "sender",
    "subject",
    "subject_prefix",
    "date_sent",
    "date_received",
    "mailbox",
    "flags",
    "read",
    "flagged",
    "deleted",
    "size",
)
_NUMBERED = {"sender", "subject", "mailbox"}
_READ, _DELETED = 1, 2
# Beyond any calendar: a number like this is no time.
_LATEST_SECONDS = 1e11


def read_beside(path: Path, name: str, beside: Callable[[str], Path | None]) -> Iterator[RawRecord | Damage]:
    """Yield the messages that the index knows, in the order of their numbers; deleted ones are marked.

    The database is copied together with its ``-wal`` first: opening it would otherwise merge the log into the evidence.
    ``beside`` returns the sealed file whose name has the given suffix more.
    """
    size = path.stat().st_size
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as folder:
        copy = Path(folder) / "index"
        shutil.copyfile(path, copy)
        notes = _copy_log(beside("-wal"), copy)
        try:
            yield from _messages(copy, name, size, mail_place.written(path), notes)
        except sqlite3.Error as error:
            yield Damage(0, size, 0, f"the database cannot be read further ({str(error)[:120]})")


def _copy_log(log: Path | None, copy: Path) -> str:
    """Copy the write-ahead log; say whether there was one."""
    if log is not None:
        with contextlib.suppress(OSError):
            shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
            return ""
    return "read without a write-ahead log"


def _open(copy: Path) -> sqlite3.Connection:
    """Open the private copy so that nothing in it can run, attach or grow."""
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(copy))}", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_SQL_BYTES * 16)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    steps = [0]

    def _stop() -> int:
        steps[0] += _CHECK_EVERY
        return steps[0] > _STEPS * 200

    connection.set_progress_handler(_stop, _CHECK_EVERY)
    return connection


def _messages(copy: Path, name: str, size: int, listed: str, notes: str) -> Iterator[RawRecord | Damage]:
    connection = _open(copy)
    try:
        columns = _table(connection, "messages")
        if not columns:
            yield Damage(0, size, 0, "an SQLite database without Mail's table of messages")
            return
        lookups = {part: _lookup(connection, part) for part in _NUMBERED}
        shown = ", ".join(f'm."{c}"' if c == "ROWID" or c in columns else f"NULL AS {c}" for c in _WANTED)
        cursor = connection.execute(f"SELECT {shown} FROM main.messages AS m ORDER BY m.ROWID")
        for row in cursor:
            yield RawRecord(
                _message(dict(zip(_WANTED, row, strict=True)), lookups, name, listed, notes), 0, size, 0
            )
    finally:
        connection.close()


def _table(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the columns of a real table; a view or a virtual table of that name could run anything."""
    kind = connection.execute("SELECT type, sql FROM main.sqlite_master WHERE name = ?", (table,)).fetchone()
    if kind is None or kind[0] != "table" or str(kind[1] or "").upper().lstrip().startswith("CREATE VIRTUAL"):
        return set()
    return {str(row[1]) for row in connection.execute(f'PRAGMA main.table_info("{table}")')}


def _lookup(connection: sqlite3.Connection, part: str) -> dict[int, str]:
    """Return the texts that message rows refer to by number: senders, subjects, mailboxes."""
    table, text = {
        "sender": ("addresses", "address"),
        "subject": ("subjects", "subject"),
        "mailbox": ("mailboxes", "url"),
    }[part]
    if text not in _table(connection, table):
        return {}
    rows = connection.execute(f'SELECT ROWID, "{text}" FROM main."{table}"')
    return {number: str(value)[:_MAX_TEXT] for number, value in rows if isinstance(value, str)}


def _message(row: Record, lookups: dict[str, dict[int, str]], name: str, listed: str, notes: str) -> Record:
    text = {
        part: lookups[part].get(row[part], row[part] if isinstance(row[part], str) else "")
        for part in _NUMBERED
    }
    url = (
        urllib.parse.urlsplit(text["mailbox"]) if text["mailbox"].isprintable() else urllib.parse.urlsplit("")
    )
    flags = row["flags"] if isinstance(row["flags"], int) else 0
    is_deleted = bool(row["deleted"]) or bool(flags & _DELETED)
    words = [
        word
        for word, holds in (
            ("read", row["read"] or flags & _READ),
            ("flagged", row["flagged"]),
            ("deleted", is_deleted),
        )
        if holds
    ]
    subject = (
        f"{row['subject_prefix'] or ''}{text['subject']}"
        if isinstance(row["subject_prefix"], str | None)
        else text["subject"]
    )
    return {
        "StoreKind": "envelope index",
        "Mailbox": urllib.parse.unquote((url.netloc or "").rpartition("@")[0]).lower()
        or mail_place.of_path(name)["Mailbox"],
        "Folder": urllib.parse.unquote(url.path.strip("/")),
        "MessageId": mail_headers.message_id(row["message_id"]) if isinstance(row["message_id"], str) else "",
        "Subject": subject[:_MAX_TEXT],
        "Sender": mail_headers.addresses(text["sender"]),
        "Date": _moment(row["date_sent"]),
        "ReceivedAt": _moment(row["date_received"]),
        "SizeBytes": row["size"] if isinstance(row["size"], int) else None,
        "Flags": " ".join(words),
        "IsDeleted": is_deleted,
        "Uid": str(row["ROWID"]),
        "Path": name,
        "ListedAt": listed,
        "Problems": notes,
    }


def _moment(value: object) -> str:
    return (
        mail_place.from_epoch(int(value))
        if isinstance(value, int | float) and 0 < value < _LATEST_SECONDS
        else ""
    )
