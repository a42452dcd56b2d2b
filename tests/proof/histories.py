"""Tables for tests of the proof: rows in, the rows of the ledger out, without a case around them."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.proof import ledger

Row = dict[str, Any]  # Any: cells

NOW = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
START = dt.datetime(2026, 3, 1)  # noqa: DTZ001 - as the database gives times
TABLES = (
    "MailboxActivity",
    "PresentMessage",
    "OfficeActivity",
    "EmailEvents",
    "Syslog",
    "MailStoreIndex",
    "WitnessComparison",
)


def at(minute: int) -> str:
    """Return a time of the story, naive UTC."""
    return (START + dt.timedelta(minutes=minute)).isoformat(sep=" ")


class Bench:
    """A database whose tables are filled anew for each history."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mailwitness-")
        self.work = Path(self._folder.name)
        self.connection = tables.connect(memory="512MB", threads=1, temporary=self.work)
        for name in TABLES:
            columns = loader.tables()[name].columns
            made = ", ".join(f"{tables.identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in columns)
            self.connection.execute(f"CREATE TABLE {name} ({made})")

    def fill(self, name: str, rows: list[Row]) -> None:
        """Replace a table's rows; strings that are left out are empty."""
        columns = loader.tables()[name].columns
        self.connection.execute(f"DELETE FROM {name}")
        for number, row in enumerate(rows):
            given = {"_Exhibit": "E1", "_Position": number, **row}
            empty = {c.name: "" if DUCKDB_TYPES[c.type] == "VARCHAR" else None for c in columns}
            cells = [given.get(c.name, empty[c.name]) for c in columns]
            marks = ", ".join("?" for _ in cells)
            self.connection.execute(f"INSERT INTO {name} VALUES ({marks})", cells)

    def ledger(
        self, *, given: list[ledger.Given] | None = None, **filled: list[Row]
    ) -> dict[tuple[str, str], Row]:
        """Return the rows of the ledger by mailbox and key."""
        for name in TABLES:
            self.fill(name, filled.get(name, []))
        target = self.work / "ledger.parquet"
        ledger.build(self.connection, target, self.work, present=set(TABLES), exhibits=given or [], now=NOW)
        found = tables.rows(self.connection.execute(f"SELECT * FROM read_parquet('{target}')"))
        return {(row["Mailbox"], row["MessageKey"]): row for row in found}

    def close(self) -> None:
        self.connection.close()
        self._folder.cleanup()


def act(minute: int, activity: str, message: str, **cells: Any) -> Row:
    """Return a row of MailboxActivity for an audited cloud mailbox."""
    return {
        "TimeGenerated": at(minute), "Activity": activity, "ActivityResult": "Succeeded", "Mailbox": "eva@contoso.example",
        "MessageId": message, "Platform": "ExchangeOnline", "SourceTable": "OfficeActivity", "Actor": "eva@contoso.example",
        "ItemCount": 1, "FolderKind": "Inbox", **cells,
    }  # fmt: skip


def delivered(minute: int, message: str, **cells: Any) -> Row:
    """Return a row of MailboxActivity as a message trace gives it; each delivery has an id of its own."""
    return act(minute, "Delivered", message, SourceTable="EmailEvents", ItemId=f"trace-{message}", **cells)


def saved(minute: int, message: str, uid: int, **cells: Any) -> Row:
    """Return a row of MailboxActivity as Dovecot's delivery logs it."""
    return {**linux(minute, "Delivered", message, uid), "Actor": "lmtp", "ActorType": "System", **cells}


def linux(minute: int, activity: str, message: str, uid: int, folder: str = "INBOX", **cells: Any) -> Row:
    """Return a row of MailboxActivity of a Linux store."""
    return {
        "TimeGenerated": at(minute), "Activity": activity, "ActivityResult": "Succeeded", "Mailbox": "eva",
        "MessageId": message, "ItemId": str(uid), "Platform": "Linux", "SourceTable": "Syslog", "Actor": "eva",
        "Operation": activity.lower(), "ItemCount": 1, "Folder": folder, **cells,
    }  # fmt: skip


def listed(minute: int | None, message: str, folder: str = "inbox", **cells: Any) -> Row:
    """Return a row of PresentMessage; the minute is the listing's, None for a listing without a time."""
    return {
        "TimeGenerated": at(0), "ListedAt": None if minute is None else at(minute), "Mailbox": "eva@contoso.example",
        "Folder": folder, "MessageId": message, "StoreKind": "pst", "ItemCount": 1, "_Exhibit": "E9", **cells,
    }  # fmt: skip
