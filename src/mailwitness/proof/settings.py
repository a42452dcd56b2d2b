"""Settings over time: versions of rules and settings from records and snapshots, in plain words, replayed over the message trace."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from mailwitness.content import loader
from mailwitness.proof import results, statements
from mailwitness.proof.summary import iso
from mailwitness.tables import literal, rows

if TYPE_CHECKING:
    import duckdb

    from mailwitness.tables import TableStore

JsonDict = dict[str, Any]  # Any: JSON values

TABLE = "SettingHistory"
SEGMENT = "settings"
# A report holds so many versions, and of each so many of the messages that it took.
_VERSIONS = 100
_MESSAGES = 10


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
    partial = tables.partial_path(TABLE, SEGMENT)
    connection.execute(
        "COPY (SELECT 0::UTINYINT AS _State, * FROM setting_history ORDER BY Kind, Mailbox, Name, TimeGenerated, _Exhibit, _Position) "
        f"TO {literal(str(partial))} (FORMAT parquet)"
    )
    return results.commit(connection, tables, TABLE, SEGMENT, partial)


def describe(connection: duckdb.DuckDBPyConnection) -> JsonDict:
    """Return the report's part on settings over time: versions that nobody explains first, then those that took messages.

    Args:
        connection: has the table SettingHistory.
    """
    total, unexplained, hit = connection.execute(
        "SELECT count(*), count(*) FILTER (Origin = 'unexplained'), coalesce(sum(Hit), 0) FROM SettingHistory"
    ).fetchall()[0]
    found = rows(
        connection.execute(
            "SELECT * FROM SettingHistory ORDER BY Origin <> 'unexplained', coalesce(Hit, 0) = 0, TimeGenerated, Kind, Mailbox, Name, State, "
            f"_Exhibit, _Position LIMIT {_VERSIONS}"
        )
    )
    return {
        "is_computed": True,
        "sentence": _sentence(int(total), int(unexplained), int(hit)),
        "versions": [_version(row) for row in found],
        "versions_total": int(total),
    }


def missing(reason: str) -> JsonDict:
    """Return the part of a report whose settings over time were not computed."""
    return {
        "is_computed": False, "sentence": f"Settings over time were not computed: {reason}.", "versions": [], "versions_total": 0,
    }  # fmt: skip


def _sentence(total: int, unexplained: int, hit: int) -> str:
    if not total:
        return "No record and no snapshot shows a version of a rule or setting."
    told = [f"{total:,} {'version' if total == 1 else 'versions'} of rules and settings"]
    told += [f"{unexplained:,} that no record explains"] if unexplained else []
    told += (
        [f"by their conditions they hid, deleted or stripped {hit:,} {'message' if hit == 1 else 'messages'}"]
        if hit
        else []
    )
    return "; ".join(told) + "."


def _version(row: dict[str, Any]) -> JsonDict:  # Any: query cells
    taken = row["HitMessages"] if isinstance(row["HitMessages"], list) else []
    return {
        "from": iso(row["TimeGenerated"]),
        "to": iso(row["EndTime"]),
        "kind": row["Kind"],
        "mailbox": row["Mailbox"],
        "name": row["Name"],
        "state": row["State"],
        "does": row["Does"],
        "by": row["ChangedBy"],
        "origin": row["Origin"],
        "reason": row["Reason"],
        "hit": None if row["Hit"] is None else int(row["Hit"]),
        "hit_subjects": [str(one.get("s") or one.get("m") or "") for one in taken[:_MESSAGES]],
        "not_judged": row["NotJudged"],
        "exhibit": row["_Exhibit"],
        "record": int(row["_Position"]),
    }
