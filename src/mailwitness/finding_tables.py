"""The findings of a run as tables, so that an explanation is a query like any other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from mailwitness.models import Finding

FINDINGS, ACTS = "Findings", "FindingActs"
# findings.py lists at most this many rows of a finding; a longer list may have been cut.
_MOST_ROWS = 50
# Computed from the acts that the database joins.
_JOINED = ("Acts", "Complete")
_FROM_ACTS = ("Activity", "Operation", "ObjectName")
# What Findings and Baselines are computed from.
_ACT_COLUMNS = frozenset({
    *_FROM_ACTS, "TimeGenerated", "Actor", "Mailbox", "ClientApp", "ClientIP", "ItemCount", "_Exhibit", "_Position",
})  # fmt: skip


def finding_id(number: int) -> str:
    """Return the id of the n-th finding of a run, counted from 0."""
    return f"F{number + 1}"


def create(
    connection: duckdb.DuckDBPyConnection,
    found: Sequence[Finding],
    names: Mapping[str, str],
    work: Path,
    *,
    named: set[str],
) -> None:
    """Make Findings and FindingActs of what the rules and chains found.

    Args:
        connection: shows MailboxActivity; may read files of ``work``.
        found: in the order of the run; the n-th has the id ``F<n+1>``.
        names: rule id -> name.
        work: folder for the rows on their way into the database.
        named: columns of FindingActs that somebody asks for; the others are empty, because texts of many items take
            longer to read than all the rest.
    """
    pairs = [(finding_id(i), e, p) for i, finding in enumerate(found) for e, p in finding.rows]
    keys = {"FindingId": "VARCHAR", "_Exhibit": "VARCHAR", "_Position": "BIGINT"}
    supporting = rows_sql(
        work / "finding_rows.jsonl", keys, (dict(zip(keys, pair, strict=True)) for pair in pairs)
    )
    wanted = (named | _ACT_COLUMNS) - {"FindingId"}
    asked = [c.name for c in loader.tables()[ACTS].columns if c.name in wanted]
    acts = ", ".join(f"m.{identifier(name)}" for name in asked)
    replace(
        connection,
        ACTS,
        f"SELECT r.FindingId, {acts} FROM ({supporting}) AS r JOIN {ACTIVITY} AS m USING (_Exhibit, _Position)",
        given={"FindingId", *asked},
    )
    columns = {c.name: DUCKDB_TYPES[c.type] for c in loader.tables()[FINDINGS].columns}
    given = {name: kind for name, kind in columns.items() if name not in _JOINED}
    rows = (_row(finding_id(i), finding, names) for i, finding in enumerate(found))
    listed = rows_sql(work / "findings.jsonl", given, rows)
    # A chain returns no row of its own: its last act says what it was about.
    about = ", ".join(f"coalesce(nullif(f.{name}, ''), a.{name}, '') AS {name}" for name in _FROM_ACTS)
    last = ", ".join(f"arg_max({name}, TimeGenerated) AS {name}" for name in _FROM_ACTS)
    replace(
        connection,
        FINDINGS,
        f"SELECT f.* REPLACE ({about}), coalesce(a.Acts, 0) AS Acts, "
        f"coalesce(greatest(a.Acts, a.Items) >= f.Count AND a.Acts < {_MOST_ROWS}, false) AS Complete "
        f"FROM ({listed}) AS f LEFT JOIN (SELECT FindingId, count(*) AS Acts, sum(coalesce(ItemCount, 0)) AS Items, {last} "
        f"FROM {ACTS} GROUP BY FindingId) AS a USING (FindingId)",
        given=columns.keys(),
    )


def _row(name: str, finding: Finding, names: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON values
    evidence = finding.evidence
    return {
        "FindingId": name,
        "Kind": finding.kind,
        "RuleId": finding.rule,
        "RuleName": names.get(finding.rule, finding.rule),
        "Title": finding.title,
        "Severity": finding.severity,
        "Confidence": finding.confidence,
        "Phase": finding.phase,
        "TimeGenerated": finding.time,
        "LastTime": max((t for t in (finding.time, finding.last_time) if t), default=None),
        "Actor": finding.actor,
        "ActorType": finding.actor_type,
        "Mailbox": finding.mailbox,
        "ClientIP": finding.address,
        "SessionId": finding.session,
        "Host": finding.host,
        "Activity": str(evidence.get("Activity") or ""),
        "Operation": str(evidence.get("Operation") or ""),
        "ObjectName": str(evidence.get("ObjectName") or ""),
        "Count": finding.count,
        "Evidence": evidence,
    }


def rows_sql(path: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as JSON lines and return the SELECT that reads them back in their order.

    Args:
        path: the file to write, in a folder that the connection may read.
        columns: column -> DuckDB type.
        rows: JSON values by column; times as naive UTC.
    """
    longest = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace") as handle:
        for row in rows:
            line = json.dumps(row, default=str)
            longest = max(longest, len(line))
            handle.write(line + "\n")
    structure = "{" + ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns.items()) + "}"
    listed = ", ".join(
        f"coalesce({identifier(name)}, '') AS {identifier(name)}" if kind == "VARCHAR" else identifier(name)
        for name, kind in columns.items()
    )
    return (
        f"SELECT {listed} FROM read_json({literal(str(path))}, format = 'newline_delimited', "
        # The reader takes memory for its longest line in advance.
        f"columns = {structure}, maximum_object_size = {max(1 << 20, 2 * longest)})"
    )


def replace(
    connection: duckdb.DuckDBPyConnection, table: str, sql: str, *, given: Collection[str] = ()
) -> None:
    """Put a table with the rows of ``sql`` in the place of the empty view that every table has at first.

    Columns that the rows do not have are empty, as everywhere. ``given`` names those that they have, where the caller knows.
    """
    if not given:
        given = {str(row[0]) for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
    missing = [column for column in loader.tables()[table].columns if column.name not in given]
    added = "".join(
        f", {literal('') if DUCKDB_TYPES[c.type] == 'VARCHAR' else 'NULL::' + DUCKDB_TYPES[c.type]} AS {identifier(c.name)}"
        for c in missing
    )
    connection.execute(f"DROP VIEW IF EXISTS {identifier(table)}")
    connection.execute(f"CREATE OR REPLACE TABLE {identifier(table)} AS SELECT *{added} FROM ({sql})")
