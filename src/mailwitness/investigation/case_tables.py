"""The cases as tables, so that a question is a query like any other.

What an attacker wrote (names, addresses, titles) reaches the database as rows, never as text of a query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness import finding_tables
from mailwitness.activities import COMPUTED
from mailwitness.cases import Story
from mailwitness.content import loader
from mailwitness.content.playbook import WINDOWS
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mailwitness.open_case import OpenCase

JsonDict = dict[str, Any]  # Any: JSON values
TABLES = ("CaseActs", "CaseFindings", "CaseSubjects", "CaseUsual", "CaseWindow")
# Who acted from where repeats a hundredfold: put together first, the rest is about a few rows.
_SEEN = "mw_seen"
_SHAREABLE = {"Address": "ClientIP", "Application": "ApplicationId"}
_DAYS_BEFORE, _DAYS_AFTER = WINDOWS["month"]
# An address or application of more accounts than this is an office or a product, and ties nobody to a case.
_SHARED = 3
_KINDS = {
    "Actor": ("Actor", "IsByActor"),
    "Mailbox": ("Mailbox", "IsOnMailbox"),
    "Session": ("SessionId", "IsInSession"),
    "Address": ("ClientIP", "IsFromAddress"),
    "Application": ("ApplicationId", "IsByApplication"),
    "Host": ("Host", "IsOnHost"),
}


def create(opened: OpenCase, stories: Sequence[Story], activities: set[str], named: set[str]) -> None:
    """Make the tables CaseWindow, CaseSubjects, CaseFindings, CaseUsual and CaseActs.

    Args:
        opened: the case folder's tables.
        stories: cases to question.
        activities: acts that a question names; others are left out of CaseActs.
        named: words of the questions; columns of CaseActs that are none of them are empty.
    """
    rows = {
        "CaseWindow": [_window(story) for story in stories],
        "CaseSubjects": [row for story in stories for row in _subjects(story)],
        "CaseFindings": [row for story in stories for row in _findings(story)],
        "CaseUsual": [row for story in stories for row in _usual(story)],
    }
    for table, listed in rows.items():
        columns = {
            c.name: DUCKDB_TYPES[c.type] for c in loader.tables()[table].columns if c.name != "_Salvaged"
        }
        path = opened.work / f"{table}.jsonl"
        finding_tables.replace(
            opened.connection, table, finding_tables.rows_sql(path, columns, listed) + " ORDER BY ALL"
        )
    needed = {"TimeGenerated", "_Exhibit", "_Position", *(column for column, _ in _KINDS.values())}
    stored = [c.name for c in loader.tables()[ACTIVITY].columns if c.name in named | needed]
    kinds = {str(row["Kind"]) for row in rows["CaseSubjects"]}
    near = _near(opened, stored, activities, [kind for kind in _KINDS if kind in kinds])
    told = {"CaseId", "IsInWindow", *(flag for _, flag in _KINDS.values())}
    finding_tables.replace(opened.connection, "CaseActs", _acts_sql(stored, near), given=told.union(stored))


def _near(opened: OpenCase, columns: list[str], activities: set[str], kinds: list[str]) -> str:
    """Return the SELECT of the acts of the days of each case that name anybody or anything of it: what all others were is not asked."""
    see(opened, opened.connection)
    opened.connection.execute(f"CREATE OR REPLACE TEMP TABLE mw_crowds AS {_crowds()}")
    # Acts may come to the case before it is asked again.
    opened.connection.execute(f"DROP TABLE {_SEEN}")
    opened.connection.execute(
        "CREATE OR REPLACE TEMP TABLE mw_days AS SELECT DISTINCT Kind, Name, CAST(unnest(range("
        f"CAST(FirstTime - INTERVAL {_DAYS_BEFORE} DAY AS DATE), LastTime + INTERVAL {_DAYS_AFTER + 1} DAY, INTERVAL 1 DAY)) AS DATE) AS Day "
        "FROM CaseSubjects JOIN CaseWindow USING (CaseId) ANTI JOIN mw_crowds USING (Kind, Name)"
    )
    asked = " OR ".join(
        f"(lower({_KINDS[kind][0]}), CAST(TimeGenerated AS DATE)) IN (SELECT (Name, Day) FROM mw_days WHERE Kind = {literal(kind)})"
        for kind in kinds
    )
    asked = asked or "false"
    listed = ", ".join(map(identifier, columns))
    named = ", ".join(literal(activity) for activity in sorted(activities)) or "''"
    late = opened.later.activities & activities if opened.later else set()
    near = f"SELECT {listed} FROM {COMPUTED} WHERE Activity IN ({named}) AND ({asked})"
    if opened.later and late:
        near += f" UNION ALL SELECT {listed} FROM ({opened.later.sql(asked=asked, among=late)})"
    return near


def _window(story: Story) -> JsonDict:
    times = [t for f in story.findings for t in (f.time, f.last_time) if t]
    return {
        "CaseId": story.id,
        "Title": story.title,
        "Severity": story.severity,
        "Verdict": story.verdict,
        "FirstTime": min(times, default=None),
        "LastTime": max(times, default=None),
    }


def _subjects(story: Story) -> Iterator[JsonDict]:
    # The product's own services act upon every mailbox; they make nobody a subject.
    telling = [f for f in story.findings if f.actor_type != "System"] or list(story.findings)
    chained = [name for match in story.chains for name in match.accounts]
    values = {
        "Actor": [*(f.actor for f in telling), *(step.actor for m in story.chains for step in m.steps)],
        "Mailbox": [*(f.mailbox for f in telling), *(name for name in chained if "@" in name)],
        "Session": [f.session for f in telling],
        "Address": [f.address for f in telling],
        "Application": [str(f.evidence.get("ApplicationId") or "") for f in telling],
        "Host": [f.host for f in telling],
    }
    for kind, names in values.items():
        for name in dict.fromkeys(name.lower() for name in names if name):
            yield {"CaseId": story.id, "Kind": kind, "Name": name}


def _findings(story: Story) -> Iterator[JsonDict]:
    for f in story.findings:
        exhibit, record = f.rows[0] if f.rows else ("", None)
        yield {
            "CaseId": story.id, "Kind": f.kind, "RuleId": f.rule, "Title": f.title, "Severity": f.severity,
            "Rated": f.rated or f.severity, "Confidence": f.confidence, "Phase": f.phase, "TimeGenerated": f.time,
            "LastTime": f.last_time or f.time, "Actor": f.actor, "ActorType": f.actor_type, "Mailbox": f.mailbox,
            "ClientIP": f.address, "SessionId": f.session, "Host": f.host, "Activity": str(f.evidence.get("Activity") or ""),
            "ObjectName": str(f.evidence.get("ObjectName") or ""), "Explained": bool(f.explanations),
            "Explanation": "; ".join(f"{one.reason} ({one.reference})" if one.reference else one.reason for one in f.explanations),
            "_Exhibit": exhibit, "_Position": record,
        }  # fmt: skip


def _usual(story: Story) -> Iterator[JsonDict]:
    for one in story.usual:
        yield {
            "CaseId": story.id, "Kind": one.kind, "Actor": one.actor, "Detail": one.detail, "Activity": one.activity,
            "Day": one.day, "OnTheDay": one.on_the_day, "HistoryDays": one.history_days, "ActiveDays": one.active_days,
            "MedianPerDay": one.median_per_day, "MostPerDay": one.most_per_day, "Usual": one.answer, "Words": one.words(),
        }  # fmt: skip


def _acts_sql(columns: list[str], near: str) -> str:
    """Return the SELECT for CaseActs: one scan of the acts against a few small lists, whatever the number of cases.

    ``near`` is the SELECT of the acts; a table of them would be read by one core.
    """
    listed = ", ".join(f"m.{identifier(name)}" for name in columns)
    joins = " ".join(
        f"LEFT JOIN lists AS {kind} ON {kind}.Kind = {literal(kind)} AND {kind}.Name = lower(m.{column})"
        for kind, (column, _) in _KINDS.items()
    )
    cases = {kind: f"coalesce({kind}.Cases, [])" for kind in _KINDS}
    flags = ", ".join(
        f"list_contains(m.{kind}Cases, m.CaseId) AS {flag}" for kind, (_, flag) in _KINDS.items()
    )
    return (
        "WITH subjects AS (SELECT * FROM CaseSubjects ANTI JOIN mw_crowds USING (Kind, Name)), "
        "lists AS (SELECT Kind, Name, list(CaseId ORDER BY CaseId) AS Cases FROM subjects GROUP BY Kind, Name), "
        f"touched AS (SELECT {listed}, unnest(list_distinct(flatten([{', '.join(cases.values())}]))) AS CaseId, "
        + ", ".join(f"{sql} AS {kind}Cases" for kind, sql in cases.items())
        + f" FROM ({near}) AS m {joins} "
        f"WHERE ({' OR '.join(f'{kind}.Cases IS NOT NULL' for kind in _KINDS)})) "
        f"SELECT m.CaseId, {flags}, m.TimeGenerated BETWEEN w.FirstTime AND w.LastTime AS IsInWindow, {listed} "
        "FROM touched AS m JOIN CaseWindow AS w USING (CaseId) "
        f"WHERE m.TimeGenerated BETWEEN w.FirstTime - INTERVAL {_DAYS_BEFORE} DAY AND w.LastTime + INTERVAL {_DAYS_AFTER} DAY"
    )


def see(opened: OpenCase, connection: duckdb.DuckDBPyConnection) -> None:
    """Put together who acted from where, unless that was done: it takes a scan of all acts, and needs nothing of the cases."""
    if _is_there(connection, _SEEN):
        return
    keys = opened.later.keys() if opened.later else f"SELECT * FROM {COMPUTED} WHERE false"
    columns = f"{', '.join(_SHAREABLE.values())}, Actor"
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_SEEN} AS SELECT {columns} FROM "
        f"(SELECT {columns} FROM {COMPUTED} UNION ALL SELECT {columns} FROM ({keys})) GROUP BY ALL"
    )


def _is_there(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    asked = "SELECT count(*) FROM duckdb_tables() WHERE table_name = $1"
    return connection.execute(asked, [table]).fetchall() != [(0,)]


def _crowds() -> str:
    """Return the SELECT of addresses and applications that too many accounts share."""
    return " UNION ALL ".join(
        f"SELECT {literal(kind)} AS Kind, lower({column}) AS Name FROM {_SEEN} "
        f"WHERE lower({column}) IN (SELECT Name FROM CaseSubjects WHERE Kind = {literal(kind)}) "
        f"GROUP BY ALL HAVING count(DISTINCT lower(Actor)) > {_SHARED}"
        for kind, column in _SHAREABLE.items()
    )
