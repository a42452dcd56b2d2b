"""What visibility is computed from, as SQL and small tables: records of each source, their numbers, log lines, exhibits, facts about products.

Which table is which source, which counts mean that an export was cut off, and which lines say that a log lost something is content
(``content/proofs/_sources.csv``, ``_ceilings.csv`` and ``_statements.csv``), each with its origin.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.proof import statements
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import duckdb

    from mailwitness.proof.ledger import Given

_FOLDER = loader.CONTENT / "proofs"
_PACKED = r"\.(?:gz|xz|bz2|zst|lz4)"
_UNPACKED = re.compile(rf"([^/]*(?<!\.tar){_PACKED})/[^/]+$")
# Names that logrotate gives: mail.log.1, mail.log.2.gz, mail.log-20260301.gz, mail.log-20260301-1772323200 (logrotate(8), dateext and dateformat).
ROTATED = rf"(?:\.\d{{1,3}}|[-.]\d{{8}}(?:-?\d{{2,10}})?)(?:{_PACKED})?$|{_PACKED}$"
NUMBERED = rf"\.(\d{{1,3}})(?:{_PACKED})?$"


def known(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of facts, such as ``_sources``."""
    with (_FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def prepare(connection: duckdb.DuckDBPyConnection, exhibits: Iterable[Given]) -> None:
    """Create the small tables that the steps join: exhibits, lags and ceilings."""
    statements.fill(
        connection,
        "lags",
        "Source VARCHAR, Hours INTEGER",
        [(row["source"].strip("'"), int(row["lag_hours"])) for row in known("_sources") if row["lag_hours"]],
    )
    statements.fill(
        connection,
        "ceilings",
        "Tab VARCHAR, Source VARCHAR, Most BIGINT, Search VARCHAR",
        [(row["table"], row["source"], int(row["rows"]), row["search"]) for row in known("_ceilings")],
    )
    # "mail.log.2.gz/mail.log.2" is what was in the compressed file: it takes the compressed file's place in its series.
    statements.fill(
        connection,
        "visible_files",
        "Id VARCHAR, Path VARCHAR",
        [(one.id, _UNPACKED.sub(r"\1", one.path)) for one in exhibits],
    )


def records(present: set[str]) -> str:
    """Return the SQL of all records with their source and host: what shows that a log was being written."""
    shape = "SELECT NULL::TIMESTAMP AS TimeGenerated, '' AS Source, '' AS Subject, '' AS _Exhibit, 0::BIGINT AS _Position WHERE false"
    parts = [
        f"SELECT TimeGenerated, {row['source']}, {row['subject']}, _Exhibit, _Position FROM {identifier(row['table'])}"
        for row in known("_sources")
        if row["table"] in present
    ]
    return " UNION ALL ".join([shape, *parts])


def counted(present: set[str], raw: Callable[[str], str]) -> str:
    """Return the SQL of the number of records of each export, duplicates included: a search returns them too."""
    shape = "SELECT '' AS Tab, '' AS Exhibit, 0::BIGINT AS n, NULL::TIMESTAMP AS FromAt, NULL::TIMESTAMP AS ToAt WHERE false"
    parts = [
        f"SELECT {literal(table)}, _Exhibit, count(*), min(TimeGenerated), max(TimeGenerated) FROM {raw(table)} GROUP BY _Exhibit"
        for table in sorted({row["table"] for row in known("_ceilings")} & present)
    ]
    return " UNION ALL ".join([shape, *parts])


def numbers(present: set[str]) -> str:
    """Return the SQL of the numbers that records carry.

    Records that auditd writes about itself (DAEMON_START and others) have numbers of their own, which it draws at random
    (audit-userspace, auditd-event.c): they are in no sequence.
    """
    shape = (
        "SELECT '' AS Source, '' AS Subject, 0::BIGINT AS Number, NULL::TIMESTAMP AS TimeGenerated, '' AS Exhibit, 0::BIGINT AS Position "
        "WHERE false"
    )
    parts = {
        "Event": "SELECT EventLog, lower(Computer), try_cast(RecordId AS BIGINT), TimeGenerated, _Exhibit, _Position FROM Event",
        "LinuxAuditLog": "SELECT 'auditd', lower(Computer), try_cast(SerialNumber AS BIGINT), TimeGenerated, _Exhibit, _Position FROM LinuxAuditLog "
        "WHERE NOT starts_with(RecordType, 'DAEMON_')",
    }
    return " UNION ALL ".join([shape, *(sql for table, sql in parts.items() if table in present)])


def lines(present: set[str]) -> str:
    """Return the SQL of all log lines in the order in which they stand."""
    source = "Syslog" if "Syslog" in present else "(SELECT * FROM Syslog WHERE false)"
    return (
        "SELECT TimeGenerated, lower(Computer) AS Subject, ProcessName AS Process, SyslogMessage AS Message, _Exhibit AS Exhibit, "
        f"_Position AS Position FROM {source} WHERE TimeGenerated IS NOT NULL"
    )


def speakers() -> str:
    """Return the pattern of all programs whose lines may say something about their log, as an SQL literal."""
    return literal("|".join(f"(?:{row['process']})" for row in known("_statements")))


def sayings() -> str:
    """Return the SQL of the lines that say what a log lost, when it was rotated and when the clock was set.

    Each pattern is a literal: the database compiles one that comes from a table anew for every line.
    """
    parts = [
        f"SELECT TimeGenerated, Subject, {literal(row['cause'])} AS Cause, {literal(row['source'])} AS Source, {literal(row['reason'])} AS Reason, "
        f"{_amount(row['pattern'])} AS Amount, Exhibit, Position FROM speakers "
        f"WHERE regexp_full_match(Process, {literal(row['process'])}) AND regexp_matches(Message, {literal(row['pattern'])})"
        for row in known("_statements")
    ]
    return " UNION ALL ".join(parts)


def _amount(pattern: str) -> str:
    return f"regexp_extract(Message, {literal(pattern)}, 1)" if re.compile(pattern).groups else "''"


def premium() -> str:
    """Return the SQL that says whether a text about a licence names one with Audit (Premium)."""
    patterns = [row["pattern"] for row in known("_licences") if row["level"] == "premium"]
    return " OR ".join(f"regexp_matches(Text, {literal(pattern)})" for pattern in patterns)


def clocks(present: set[str]) -> str:
    """Return the SQL of changes of a Windows clock, with both times.

    Event 4616 of the Security log, event 1 of Kernel-General in the System log (Microsoft Learn: "4616(S): The system time was changed").
    """
    source = "Event" if "Event" in present else "(SELECT * FROM Event WHERE false)"
    return (
        "SELECT lower(Computer) AS Subject, mw_time(coalesce(EventDataBag ->> '$.PreviousTime', EventDataBag ->> '$.OldTime')) AS OldAt, "
        "mw_time(EventDataBag ->> '$.NewTime') AS NewAt, coalesce(EventDataBag ->> '$.SubjectUserName', '') AS Actor, _Exhibit AS Exhibit, "
        f"_Position AS Position FROM {source} WHERE EventID = 4616 OR (EventID = 1 AND Source ILIKE '%Kernel-General')"
    )


def results(present: set[str], raw: Callable[[str], str]) -> str:
    """Return the SQL of the numbers that a search gave its results, duplicates included."""
    source = (
        raw("OfficeActivity") if "OfficeActivity" in present else "(SELECT * FROM OfficeActivity WHERE false)"
    )
    return f"SELECT ResultIndex, ResultCount, TimeGenerated, _Exhibit, _Position FROM {source}"


def reads(present: set[str]) -> str:
    """Return the SQL of each audited mailbox of Exchange with its recorded reads and its last act of any kind."""
    source = "OfficeActivity" if "OfficeActivity" in present else "(SELECT * FROM OfficeActivity WHERE false)"
    return (
        "SELECT lower(MailboxOwnerUPN) AS Subject, count(*) FILTER (Operation = 'MailItemsAccessed') AS Reads, "
        "date_trunc('hour', min(TimeGenerated) FILTER (Operation = 'MailItemsAccessed')) AS FirstAt, "
        "date_trunc('hour', max(TimeGenerated) FILTER (Operation = 'MailItemsAccessed')) AS LastAt, max(TimeGenerated) AS LastAct, "
        "coalesce(min(_Exhibit) FILTER (Operation = 'MailItemsAccessed'), '') AS Exhibit "
        f"FROM {source} WHERE MailboxOwnerUPN <> '' AND TimeGenerated IS NOT NULL GROUP BY 1"
    )
