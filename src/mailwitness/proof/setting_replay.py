"""Versions replayed over what logs say of messages: which of them it hid, deleted or stripped, and what the ledger says of those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.proof import ledger, statements
from mailwitness.tables import literal

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

# One query tests so many different conditions.
_CONDITIONS = 200
_ACTIVITY = "MailboxActivity"
# Took is the kind of rule that took the message, where the log itself says so.
_SHAPE = (
    "NULL::TIMESTAMP AS TimeGenerated, NULL::VARCHAR AS Recipient, NULL::VARCHAR AS MessageId, NULL::VARCHAR AS Subject, "
    "NULL::VARCHAR AS Sender, NULL::VARCHAR AS Envelope, NULL::VARCHAR AS Platform, NULL::VARCHAR AS Took"
)


def run(
    connection: duckdb.DuckDBPyConnection, conditions: list[str], work: Path, *, present: set[str]
) -> None:
    """Fill the table ``setting_hits``.

    Args:
        connection: has the table ``setting_versions``, the public tables, and MessageLedger.
        conditions: SQL by number, as ``setting_versions.Condition`` names them.
        work: folder for the messages while they are compared; they are removed.
        present: tables with rows.
    """
    if not conditions:
        return
    path = work / "setting-messages.parquet"
    steps = statements.steps("replay.sql")
    parts = [f"SELECT {_SHAPE} WHERE false"]
    parts += [
        f"({ledger.proof_sql(one)})" for one in loader.deliveries() if one.table in present | {_ACTIVITY}
    ]
    values = {"union": " UNION ALL BY NAME ".join(parts), "path": literal(str(path))}
    try:
        for step in ("kept", "messages", "taking", "told"):
            connection.execute(statements.filled(steps[step], values))
        for first in range(0, len(conditions), _CONDITIONS):
            last = min(first + _CONDITIONS, len(conditions)) - 1
            cases = " ".join(f"WHEN {number} THEN {conditions[number]}" for number in range(first, last + 1))
            chosen = {"first": str(first), "last": str(last), "cases": cases}
            connection.execute(statements.filled(steps["replayed"], chosen))
        connection.execute(steps["silent"])
        connection.execute("DROP VIEW setting_messages")
    finally:
        path.unlink(missing_ok=True)
