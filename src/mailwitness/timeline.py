"""The timeline of a case: every act of its actors, sessions and addresses and upon its mailboxes, over all sources."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content import loader
from mailwitness.needs import TABLE
from mailwitness.tables import literal, rows

if TYPE_CHECKING:
    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values
PHASES = ("access", "collection", "exfiltration", "hiding", "clearing", "after", "other")
# What happened shortly before and after the findings belongs to the story: the sign-in, the next read.
MARGIN = dt.timedelta(days=1)
# An address that more people than this act from is an office or a provider, and ties nobody to the case.
SHARED_ADDRESS = 3
KEYS = {"Actor": "actors", "Mailbox": "mailboxes", "SessionId": "sessions"}


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One act: when (ISO 8601 UTC), in which phase, who did what to what, from where, and its record."""

    time: str
    phase: str
    activity: str
    result: str
    actor: str
    mailbox: str
    what: str
    items: int
    address: str
    session: str
    host: str
    platform: str
    exhibit: str
    record: int


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which acts to show; what is empty does not narrow. Times are naive UTC."""

    phases: tuple[str, ...] = ()
    actor: str = ""
    mailbox: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None


def phases() -> dict[str, str]:
    """Return the phase of each activity."""
    listed = msgspec.convert(loader.read_yaml(loader.CONTENT / "phases.yaml"), dict[str, list[str]])
    return {activity: phase for phase, activities in listed.items() for activity in activities}


def acts(
    connection: duckdb.DuckDBPyConnection, case: JsonDict, wanted: Filter | None = None, *, limit: int
) -> list[Act]:
    """Return the acts of a case in order of time.

    Args:
        connection: has MailboxActivity.
        case: one of ``cases`` of report.json.
        wanted: narrows what is shown.
        limit: most acts to return, the earliest first.
    """
    chosen = wanted or Filter()
    where = _where(case, chosen)
    if not where:
        return []
    phase = phase_sql()
    narrowed = f"phase IN ({_listed(chosen.phases)})" if chosen.phases else "true"
    query = f"""
        SELECT * FROM (
          SELECT strftime(TimeGenerated, '%Y-%m-%dT%H:%M:%SZ') AS time, {phase} AS phase, Activity AS activity,
                 ActivityResult AS result, Actor AS actor, Mailbox AS mailbox,
                 coalesce(nullif(Subject, ''), nullif(ObjectName, ''), nullif(CommandLine, ''), nullif(Folder, ''), Operation) AS what,
                 coalesce(ItemCount, 0) AS items, ClientIP AS address, SessionId AS session, Host AS host,
                 Platform AS platform, _Exhibit AS exhibit, _Position AS record
          FROM {TABLE} WHERE {where})
        WHERE {narrowed}
        ORDER BY time, exhibit, record, activity LIMIT {limit}"""
    return [msgspec.convert(row, Act) for row in rows(connection.execute(query))]


def _where(case: JsonDict, chosen: Filter) -> str:
    """Return the SQL of what belongs to a case; empty when the case names nobody and nothing."""
    named = [
        f"lower({column}) IN ({_listed([value.lower() for value in case[key]])})"
        for column, key in KEYS.items()
        if case[key]
    ]
    if case["addresses"]:
        few = (
            f"SELECT ClientIP FROM {TABLE} WHERE ClientIP IN ({_listed(case['addresses'])}) "
            f"GROUP BY 1 HAVING count(DISTINCT lower(Actor)) <= {SHARED_ADDRESS}"
        )
        named.append(f"ClientIP IN ({few})")
    if not named or not case["first_seen"]:
        return ""
    first, last = (dt.datetime.fromisoformat(case[key][:19]) for key in ("first_seen", "last_seen"))
    parts = [f"({' OR '.join(named)})"]
    parts.append(f"TimeGenerated >= TIMESTAMP '{chosen.since or first - MARGIN}'")
    parts.append(f"TimeGenerated <= TIMESTAMP '{chosen.until or last + MARGIN}'")
    if chosen.actor:
        parts.append(f"contains(lower(Actor), {literal(chosen.actor.lower())})")
    if chosen.mailbox:
        parts.append(f"contains(lower(Mailbox), {literal(chosen.mailbox.lower())})")
    return " AND ".join(parts)


def phase_sql() -> str:
    """Return the SQL of the phase of an act; ``other`` for an act of no certain phase."""
    by_phase: dict[str, list[str]] = {}
    for activity, phase in phases().items():
        by_phase.setdefault(phase, []).append(activity)
    parts = [
        f"WHEN Activity IN ({_listed(names)}) THEN {literal(phase)}" for phase, names in by_phase.items()
    ]
    return f"CASE {' '.join(parts)} ELSE 'other' END"


def _listed(values: list[str] | tuple[str, ...]) -> str:
    return ", ".join(literal(value) for value in values)
