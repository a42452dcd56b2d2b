"""What could have been seen: for each source and mailbox or host, stretches that were recorded, blind or unknown.

A rule that finds nothing says little about hours in which nothing could have been written. Every negative answer is
therefore read together with these stretches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.proof import results, statements
from mailwitness.proof import visibility_inputs as inputs
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import duckdb

    from mailwitness.proof.ledger import Given
    from mailwitness.tables import TableStore

TABLE = "Visibility"
SEGMENT = "visibility"


def queries() -> list[str]:
    """Return what the steps read from public tables: a first pass stores it."""
    return [
        "SELECT TimeGenerated, Computer, ProcessName, SyslogMessage FROM Syslog",
        "SELECT TimeGenerated, Computer, SerialNumber, RecordType FROM LinuxAuditLog",
        "SELECT TimeGenerated, Computer, EventLog, RecordId, EventID, Source, EventDataBag FROM Event",
        "SELECT TimeGenerated, Operation, MailboxOwnerUPN, ResultIndex, ResultCount FROM OfficeActivity",
        "SELECT TimeGenerated, Kind, Identity, Mailbox, Settings FROM SettingsSnapshot",
    ]


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the steps read."""
    return {"AuditWeakened", "AuditRestored", "LogCleared", "LoggingStopped", "LicenceChanged"}


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the steps read."""
    return {
        "Activity", "Mailbox", "Setting", "SettingAfter", "Operation", "Actor", "ActivityResult", "Platform", "Host", "CommandLine", "ObjectName",
    }  # fmt: skip


def build(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    *,
    present: set[str],
    now: dt.datetime,
    exhibits: Iterable[Given] = (),
    raw: Callable[[str], str] = identifier,
) -> int:
    """Compute the stretches into a Parquet file and return their number.

    Args:
        connection: has a view for every table, and MailboxActivity.
        target: the file to write.
        present: tables with rows.
        now: the clock of the run, aware UTC.
        exhibits: all exhibits of the case: by their names the files of one log are told from each other.
        raw: gives the SQL of a table with its duplicates, which exports count.
    """
    values = {
        "now": f"TIMESTAMP {literal(now.replace(tzinfo=None).isoformat(sep=' '))}",
        "visibility": literal(str(target)),
        "records": inputs.records(present),
        "counted": inputs.counted(present, raw),
        "results": inputs.results(present, raw),
        "reads": inputs.reads(present),
        "numbers": inputs.numbers(present),
        "lines": inputs.lines(present),
        "clocks": inputs.clocks(present),
        "speakers": inputs.speakers(),
        "sayings": inputs.sayings(),
        "premium": inputs.premium(),
        "rotated": inputs.ROTATED,
        "numbered": inputs.NUMBERED,
    }
    inputs.prepare(connection, exhibits)
    for name in ("visibility", "visibility_cloud", "visibility_host", "visibility_written"):
        statements.run(connection, f"{name}.sql", values)
    return results.count(connection, target)


def store(
    connection: duckdb.DuckDBPyConnection,
    tables: TableStore,
    *,
    present: set[str],
    now: dt.datetime,
    exhibits: Iterable[Given] = (),
) -> int:
    """Compute the stretches as a table of the case; return the number of its rows."""

    def raw(table: str) -> str:
        return f"({tables.view_sql(table, loader.tables()[table].columns, raw=True)})"

    partial = tables.partial_path(TABLE, SEGMENT)
    build(connection, partial, present=present, now=now, exhibits=exhibits, raw=raw)
    return results.commit(connection, tables, TABLE, SEGMENT, partial)
