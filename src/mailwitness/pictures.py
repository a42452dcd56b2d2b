"""What the charts of a case show and its findings do not hold: deletions by hour, acts by phase and hour."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mailwitness import deletion_hours, timeline
from mailwitness.needs import TABLE
from mailwitness.tables import literal, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from mailwitness.cases import Story

JsonDict = dict[str, Any]  # Any: JSON values
# People look at the pictures of the first cases.
_CASES = 20
# Longer than this, hours can no longer be told apart in a picture.
_MONTH = dt.timedelta(days=31)
_KEYS = {**dict.fromkeys(timeline.KEYS, "lower"), "ClientIP": ""}
_NAMES, _TIMES = "mw_case_names", "mw_case_times"


def describe(connection: duckdb.DuckDBPyConnection, stories: Sequence[Story]) -> dict[str, JsonDict]:
    """Return ``deletions`` and ``acts`` of each case, as far as there are any.

    Args:
        connection: shows MailboxActivity.
        stories: cases, the most severe first.
    """
    found: dict[str, JsonDict] = {
        case: {"deletions": part} for case, part in deletion_hours.describe(connection, stories).items()
    }
    for case, acts in _phase_hours(connection, stories[:_CASES]).items():
        found.setdefault(case, {})["acts"] = acts
    return found


def _phase_hours(
    connection: duckdb.DuckDBPyConnection, stories: Sequence[Story]
) -> dict[str, list[JsonDict]]:
    """Count the acts of cases by phase and hour, in one scan of the acts; those of no certain phase are left out.

    Returns:
        Case id -> ``phase``, ``time`` (begin of the hour, ISO 8601 UTC) and ``acts``, in order; a case of more than a
        month is counted by day.
    """
    names = [row for story in stories for row in _names(story)]
    times = [row for story in stories for row in _times(story)]
    if not names or not times:
        return {}
    _list(connection, _NAMES, "CaseId VARCHAR, Kind VARCHAR, Name VARCHAR", names)
    _list(connection, _TIMES, "CaseId VARCHAR, Since TIMESTAMP, Until TIMESTAMP, Unit VARCHAR", times)
    found: dict[str, list[JsonDict]] = {}
    for row in rows(connection.execute(_counted_sql())):
        found.setdefault(str(row.pop("CaseId")), []).append(row)
    connection.execute(f"DROP TABLE {_NAMES}; DROP TABLE {_TIMES}")
    return found


def _names(story: Story) -> Iterator[tuple[str, str, str]]:
    for one in story.findings:
        named = {
            "Actor": one.actor,
            "Mailbox": one.mailbox,
            "SessionId": one.session,
            "ClientIP": one.address,
        }
        for kind, name in named.items():
            if name:
                yield story.id, kind, name.lower() if _KEYS[kind] else name


def _times(story: Story) -> Iterator[tuple[str, dt.datetime, dt.datetime, str]]:
    found = [time for one in story.findings for time in (one.time, one.last_time) if time]
    if found:
        first, last = (time.replace(microsecond=0) for time in (min(found), max(found)))
        unit = "hour" if last - first <= _MONTH else "day"
        yield story.id, first - timeline.MARGIN, last + timeline.MARGIN, unit


def _list(
    connection: duckdb.DuckDBPyConnection, table: str, columns: str, listed: list[tuple[Any, ...]]
) -> None:
    """Make a small table."""
    values = ", ".join(
        f"({', '.join(literal(value) for value in row)})" for row in sorted(dict.fromkeys(listed))
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
    connection.execute(f"INSERT INTO {table} VALUES {values}")


def _counted_sql() -> str:
    """Return the SELECT that joins the acts with the names of all cases at once."""
    lists = ", ".join(
        f"{kind}s AS (SELECT Name, list(CaseId) AS Cases FROM {_NAMES} WHERE Kind = {literal(kind)}"
        + (" AND Name IN (SELECT Name FROM few)" if kind == "ClientIP" else "")
        + " GROUP BY Name)"
        for kind in _KEYS
    )
    joins = " ".join(f"LEFT JOIN {kind}s ON {kind}s.Name = {how}(a.{kind})" for kind, how in _KEYS.items())
    cases = ", ".join(f"coalesce({kind}s.Cases, [])" for kind in _KEYS)
    return f"""
        WITH few AS (
          SELECT ClientIP AS Name FROM {TABLE} WHERE ClientIP IN (SELECT Name FROM {_NAMES} WHERE Kind = 'ClientIP')
          GROUP BY 1 HAVING count(DISTINCT lower(Actor)) <= {timeline.SHARED_ADDRESS}),
        {lists},
        touched AS (
          SELECT unnest(list_distinct(flatten([{cases}]))) AS CaseId, {timeline.phase_sql()} AS phase, TimeGenerated
          FROM {TABLE} AS a {joins} WHERE {" OR ".join(f"{kind}s.Cases IS NOT NULL" for kind in _KEYS)})
        SELECT CaseId, phase, strftime(date_trunc(Unit, TimeGenerated), '%Y-%m-%dT%H:%M:%SZ') AS time, count(*) AS acts
        FROM touched JOIN {_TIMES} USING (CaseId)
        WHERE phase <> 'other' AND TimeGenerated BETWEEN Since AND Until
        GROUP BY CaseId, phase, time ORDER BY CaseId, time, phase"""
