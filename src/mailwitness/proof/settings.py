"""Settings over time: versions of rules and settings from records and snapshots, in plain words, replayed over the message trace."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.proof import statements
from mailwitness.tables import Segment, literal

if TYPE_CHECKING:
    import duckdb

    from mailwitness.tables import TableStore

TABLE = "SettingHistory"
SEGMENT = "settings"


def queries() -> list[str]:
    """Return what the steps read from public tables: a first pass stores it."""
    return [
        "SELECT TimeGenerated, Kind, Mailbox, Name, Enabled, Settings FROM SettingsSnapshot",
        "SELECT TimeGenerated, InternetMessageId, Subject, SenderFromAddress, RecipientEmailAddress FROM EmailEvents",
    ]


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the steps read."""
    rules = {
        f"{kind}Rule{what}"
        for kind in ("Inbox", "Transport")
        for what in ("Created", "Changed", "Removed", "Disabled")
    }
    return rules | {
        "ForwardingChanged", "PermissionGranted", "PermissionRemoved", "AuditWeakened", "AuditRestored", "AuditChanged", "HoldWeakened",
        "HoldRestored", "RetentionWeakened", "RetentionChanged",
    }  # fmt: skip


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the steps read."""
    return {
        "Activity",
        "ActivityResult",
        "Mailbox",
        "ObjectName",
        "Setting",
        "SettingAfter",
        "Parameters",
        "Actor",
    }


def prepare(connection: duckdb.DuckDBPyConnection, *, has_trace: bool) -> None:
    """Create the view ``setting_history``.

    Args:
        connection: has MailboxActivity, SettingsSnapshot and EmailEvents.
        has_trace: the case has a message trace, so that no hit means none.
    """
    path = loader.CONTENT / "settings" / "_words.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        words = [
            (row["member"], row["part"], row["phrase"], i) for i, row in enumerate(csv.DictReader(handle))
        ]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE setting_words (member VARCHAR, part VARCHAR, phrase VARCHAR, place INTEGER)"
    )
    connection.executemany("INSERT INTO setting_words VALUES (?, ?, ?, ?)", words)
    listed = ", ".join(literal(activity) for activity in sorted(activities()))
    statements.run(connection, "settings.sql", {"activities": listed, "has_trace": literal(has_trace)})


def store(connection: duckdb.DuckDBPyConnection, tables: TableStore, *, present: set[str]) -> int:
    """Compute the versions as a table of the case; return their number."""
    prepare(connection, has_trace="EmailEvents" in present)
    target = literal(str(tables.partial_path(TABLE, SEGMENT)))
    connection.execute(
        "COPY (SELECT 0::UTINYINT AS _State, * FROM setting_history ORDER BY Kind, Mailbox, Name, TimeGenerated, _Exhibit, _Position) "
        f"TO {target} (FORMAT parquet)"
    )
    number = int(connection.execute(f"SELECT count(*) FROM read_parquet({target})").fetchall()[0][0])
    known = loader.tables()[TABLE].columns
    names = tuple(column.name for column in known if column.name != "_Salvaged")
    tables.commit(Segment(name=SEGMENT, table=TABLE, columns=names, exhibit="", mapping="", rows=number))
    connection.execute(f"CREATE OR REPLACE VIEW {TABLE} AS {tables.view_sql(TABLE, known)}")
    return number
