"""What could have been seen: for each source and mailbox or host, stretches that were recorded, blind or unknown.

A rule that finds nothing says little about hours in which nothing could have been written. Every negative answer is
therefore read together with these stretches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.proof import results, statements
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    import duckdb

    from mailwitness.tables import TableStore

TABLE = "Visibility"
SEGMENT = "visibility"
# Table -> (name of the source, column of the host; empty for a source of the whole tenant).
_SOURCES = {
    "OfficeActivity": ("'audit log'", "''"),
    "EmailEvents": ("'message trace'", "''"),
    "SigninLogs": ("'sign-in log'", "''"),
    "GoogleWorkspaceReports": ("'Google log'", "''"),
    "Syslog": ("'mail log'", "lower(Computer)"),
    "LinuxAuditLog": ("'auditd'", "lower(Computer)"),
    "Event": ("EventLog", "lower(Computer)"),
}


def queries() -> list[str]:
    """Return what the steps read from public tables: a first pass stores it."""
    return [
        "SELECT TimeGenerated, Computer, SyslogMessage FROM Syslog",
        "SELECT TimeGenerated, Computer, SerialNumber FROM LinuxAuditLog",
        "SELECT TimeGenerated, Computer, EventLog, RecordId FROM Event",
    ]


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the steps read."""
    return {"AuditWeakened", "AuditRestored", "LogCleared", "LoggingStopped"}


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the steps read."""
    return {
        "Activity", "Mailbox", "Setting", "SettingAfter", "Operation", "Actor", "ActivityResult", "Platform", "Host", "CommandLine", "ObjectName",
    }  # fmt: skip


def build(connection: duckdb.DuckDBPyConnection, target: Path, *, present: set[str], now: dt.datetime) -> int:
    """Compute the stretches into a Parquet file and return their number.

    Args:
        connection: has a view for every table, and MailboxActivity.
        target: the file to write.
        present: tables with rows.
        now: the clock of the run, aware UTC.
    """
    values = {
        "now": f"TIMESTAMP {literal(now.replace(tzinfo=None).isoformat(sep=' '))}",
        "visibility": literal(str(target)),
        "records": _records(present),
        "ceilings": "OfficeActivity",
        "numbers": _numbers(present),
        "losses": _losses(present),
        "lines": _lines(present),
    }
    statements.run(connection, "visibility.sql", values)
    return results.count(connection, target)


def _records(present: set[str]) -> str:
    shape = "SELECT NULL::TIMESTAMP AS TimeGenerated, '' AS Source, '' AS Subject, '' AS _Exhibit, 0::BIGINT AS _Position WHERE false"
    parts = [
        f"SELECT TimeGenerated, {source}, {subject}, _Exhibit, _Position FROM {identifier(table)}"
        for table, (source, subject) in _SOURCES.items()
        if table in present
    ]
    return " UNION ALL ".join([shape, *parts])


def _numbers(present: set[str]) -> str:
    shape = "SELECT '' AS Source, '' AS Subject, 0::BIGINT AS Number, NULL::TIMESTAMP AS TimeGenerated, '' AS Exhibit WHERE false"
    parts = {
        "Event": "SELECT EventLog, lower(Computer), try_cast(RecordId AS BIGINT), TimeGenerated, _Exhibit FROM Event",
        "LinuxAuditLog": "SELECT 'auditd', lower(Computer), try_cast(SerialNumber AS BIGINT), TimeGenerated, _Exhibit FROM LinuxAuditLog",
    }
    return " UNION ALL ".join([shape, *(sql for table, sql in parts.items() if table in present)])


def _losses(present: set[str]) -> str:
    # kernel/audit.c writes "audit: audit_backlog=65 > audit_backlog_limit=64" and "audit: audit_lost=12 audit_rate_limit=0 ...".
    source = "Syslog" if "Syslog" in present else "(SELECT * FROM Syslog WHERE false)"
    return (
        "SELECT TimeGenerated, lower(Computer) AS Subject, try_cast(regexp_extract(SyslogMessage, 'audit_lost=(\\d+)', 1) AS BIGINT) AS Lost, "
        f"_Exhibit AS Exhibit, _Position AS Position FROM {source} WHERE contains(SyslogMessage, 'audit_lost=') AND ProcessName IN ('kernel', '')"
    )


def _lines(present: set[str]) -> str:
    source = "Syslog" if "Syslog" in present else "(SELECT * FROM Syslog WHERE false)"
    return f"SELECT TimeGenerated, lower(Computer) AS Subject, _Exhibit AS Exhibit, _Position AS Position FROM {source}"


def store(
    connection: duckdb.DuckDBPyConnection, tables: TableStore, *, present: set[str], now: dt.datetime
) -> int:
    """Compute the stretches as a table of the case; return the number of its rows."""
    partial = tables.partial_path(TABLE, SEGMENT)
    build(connection, partial, present=present, now=now)
    return results.commit(connection, tables, TABLE, SEGMENT, partial)
