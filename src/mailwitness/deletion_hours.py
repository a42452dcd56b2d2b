"""How many messages were deleted in the mailboxes of a case, hour by hour, beside what was usual before it began."""

from __future__ import annotations

import datetime as dt
from statistics import median
from typing import TYPE_CHECKING, Any

from mailwitness.baselines import MINIMUM_DAYS
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mailwitness.cases import Story

JsonDict = dict[str, Any]  # Any: JSON values
# Acts that take a message or its file away; moves and settings clear too, but delete nothing.
_DELETIONS = (
    "MovedToDeletedItems", "SoftDeleted", "HardDeleted", "Purged", "PriorityCleanup", "FolderDeleted", "MessageRecalled",
    "StoreFileDeleted", "StoreFileTruncated",
)  # fmt: skip
# What happened shortly before and after the findings belongs to the picture.
_MARGIN = dt.timedelta(days=1)
# More hours than a month has cannot be told apart on a page: a longer case is counted by day.
_MOST_HOURS = dt.timedelta(days=31)
_HOUR, _DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
_NO_ROW: tuple[object, ...] = (None, None)
_BOXES = "mw_case_boxes"
# What the mail service itself removes (retention) would hide what people do.
_COUNTED = f"""
SELECT b.CaseId, time_bucket(to_seconds(b.Seconds), a.TimeGenerated) AS Began,
  CAST(sum(greatest(coalesce(a.ItemCount, 1), 1)) AS BIGINT)
FROM {ACTIVITY} AS a JOIN {_BOXES} AS b ON lower(a.Mailbox) = b.Mailbox
WHERE a.Activity IN ({", ".join(map(literal, _DELETIONS))}) AND a.ActorType <> 'System' AND a.TimeGenerated < b.Until
GROUP BY ALL ORDER BY ALL
"""


def describe(connection: duckdb.DuckDBPyConnection, stories: Sequence[Story]) -> dict[str, JsonDict]:
    """Count the deletions of each story.

    Args:
        connection: shows MailboxActivity.
        stories: the cases; one without a mailbox or a time has no picture.

    Returns:
        Case id -> ``unit`` (hour or day), ``from`` and ``to`` of the picture (ISO 8601 UTC), ``counts`` of the units
        with deletions, and what was usual before the case began: ``before_days`` of evidence, ``before_units`` with
        deletions, their ``median`` and ``most``.
    """
    spans = {story.id: span for story in stories if (span := _span(story)) and _mailboxes(story)}
    if not spans:
        return {}
    began = connection.execute(f"SELECT min(TimeGenerated), max(TimeGenerated) FROM {ACTIVITY}").fetchone()
    first, last = began or _NO_ROW
    if not isinstance(first, dt.datetime) or not isinstance(last, dt.datetime):
        return {}
    _list_mailboxes(connection, stories, spans)
    counted: dict[str, list[tuple[dt.datetime, int]]] = {}
    for case, unit, count in connection.execute(_COUNTED).fetchall():
        counted.setdefault(case, []).append((unit, int(count)))
    connection.execute(f"DROP TABLE {_BOXES}")
    return {case: _part(span, (first, last), counted.get(case, [])) for case, span in spans.items()}


def _mailboxes(story: Story) -> set[str]:
    return {finding.mailbox.lower() for finding in story.findings if finding.mailbox}


def _span(story: Story) -> tuple[dt.datetime, dt.datetime] | None:
    times = [time for finding in story.findings for time in (finding.time, finding.last_time) if time]
    return (min(times), max(times)) if times else None


def _unit(span: tuple[dt.datetime, dt.datetime]) -> dt.timedelta:
    return _HOUR if span[1] - span[0] <= _MOST_HOURS else _DAY


def _list_mailboxes(
    connection: duckdb.DuckDBPyConnection,
    stories: Sequence[Story],
    spans: dict[str, tuple[dt.datetime, dt.datetime]],
) -> None:
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_BOXES} (CaseId VARCHAR, Mailbox VARCHAR, Seconds BIGINT, Until TIMESTAMP)"
    )
    rows = [
        (story.id, mailbox, int(_unit(spans[story.id]).total_seconds()), spans[story.id][1] + _MARGIN)
        for story in stories
        if story.id in spans
        for mailbox in sorted(_mailboxes(story))
    ]
    values = ", ".join(
        f"({literal(case)}, {literal(box)}, {seconds}, TIMESTAMP {literal(until.isoformat(' '))})"
        for case, box, seconds, until in rows
    )
    connection.execute(f"INSERT INTO {_BOXES} VALUES {values}")


def _part(
    span: tuple[dt.datetime, dt.datetime],
    evidence: tuple[dt.datetime, dt.datetime],
    counted: list[tuple[dt.datetime, int]],
) -> JsonDict:
    unit = _unit(span)
    first, last = evidence
    begin = _floor(max(first, span[0] - _MARGIN), unit)
    before = [count for time, count in counted if time + unit <= span[0]]
    days = max((span[0] - first).days, 0)
    return {
        "unit": "hour" if unit == _HOUR else "day",
        "from": _iso(begin),
        "to": _iso(_floor(min(max(last, span[1]), span[1] + _MARGIN), unit) + unit),
        "counts": [{"time": _iso(time), "count": count} for time, count in counted if time >= begin],
        "before_days": days,
        "before_units": len(before),
        "median": float(median(before)) if before else 0.0,
        "most": max(before, default=0),
        "is_enough": days >= MINIMUM_DAYS,
    }


def _floor(time: dt.datetime, unit: dt.timedelta) -> dt.datetime:
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (time - midnight) // unit * unit


def _iso(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
