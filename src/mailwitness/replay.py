"""Run a rule that asks for the present time as its schedule would have: at every tick over the hours with data.

An investigation looks at months that are past, where ``ago(1h)`` of today finds nothing and looks clear. Our own rules
carry no clock; rules of others are replayed.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from mailwitness.errors import QueryTimeout, QueryUnsupported
from mailwitness.kql import at_clock
from mailwitness.tables import identifier, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import duckdb

    from mailwitness.content.schemas import Rule

# A month at every quarter of an hour; one run of a query takes about 20 ms.
_MOST_TICKS = 3000
_TIMESPAN = re.compile(r"^(\d+(?:\.\d+)?)\s*(d|h|m|s)$", re.IGNORECASE)
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_HOUR = dt.timedelta(hours=1)
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

Rows = list[dict[str, Any]]  # Any: query cells


def timespan(text: str, default: dt.timedelta) -> dt.timedelta:
    """Return a Kusto timespan such as ``1h``; the default where it is something else."""
    match = _TIMESPAN.match(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2].lower()] if match else 0.0
    return dt.timedelta(seconds=seconds) if seconds > 0 else default


def ticks(hours: Iterable[dt.datetime], rule: Rule) -> list[dt.datetime]:
    """Return the moments at which a schedule would have run over these hours, aware UTC, in order.

    A tick counts when its period holds an hour with data. Where that is too many, those at which data is new: a period
    that has only lost rows since the last tick seldom says anything that was not said before.

    Args:
        hours: beginnings of the hours in which there is data, naive UTC.
        rule: its ``queryFrequency`` and ``queryPeriod`` are the schedule.

    Raises:
        QueryUnsupported: the schedule would run more often than can be repeated.
    """
    every = timespan(rule.queryFrequency, _HOUR)
    listed = sorted({hour.replace(tzinfo=dt.UTC) for hour in hours})
    found = _within(listed, every, max(timespan(rule.queryPeriod, every), every))
    if len(found) > _MOST_TICKS:
        found = _within(listed, every, every)
    if len(found) <= _MOST_TICKS:
        return found
    message = f"it asks for the present time, and its schedule of {rule.queryFrequency} would have run {len(found):,} times over this evidence"
    raise QueryUnsupported(message, remedy="Give it a longer queryFrequency, or write it without ago().")


def _within(hours: list[dt.datetime], every: dt.timedelta, reach: dt.timedelta) -> list[dt.datetime]:
    found: set[int] = set()
    for hour in hours:
        first = (hour - _EPOCH) // every + 1
        last = -((_EPOCH - (hour + _HOUR + reach)) // every)
        found.update(range(first, last))
        if len(found) > 100 * _MOST_TICKS:
            break
    return [_EPOCH + number * every for number in sorted(found)]


def note(rule: Rule, count: int) -> str:
    """Return the sentence that says how such a rule was run."""
    times = "once" if count == 1 else f"{count:,} times"
    return f"The rule asks for the present time (ago, now): it was run {times}, at every {rule.queryFrequency} over the hours in which there is data."


def run(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    open_sql: str,
    read: Iterable[str],
    execute: Callable[[str], Rows],
    *,
    budget: Callable[[], float],
) -> tuple[Rows, int]:
    """Return the distinct rows over all ticks, and the number of ticks.

    A tick with no more rows than ``triggerThreshold`` raises nothing, as in the product.

    Args:
        connection: the database.
        rule: the rule.
        open_sql: its translation with an open clock.
        read: tables it names.
        execute: runs SQL and returns rows.
        budget: seconds left for this rule.

    Raises:
        QueryTimeout: the ticks took longer than allowed.
        QueryUnsupported: the schedule would run too often.
    """
    moments = ticks(_hours(connection, read), rule)
    found: dict[str, dict[str, Any]] = {}  # Any: query cells
    for number, moment in enumerate(moments):
        if budget() <= 0:
            message = f"its schedule was repeated {number:,} of {len(moments):,} times when its time was over"
            raise QueryTimeout(message, remedy="Give it a longer queryFrequency, or write it without ago().")
        seen = execute(until(at_clock(open_sql, moment), read, moment))
        if len(seen) > rule.triggerThreshold:
            found |= {repr(row): row for row in seen if repr(row) not in found}
    return list(found.values()), len(moments)


def until(sql: str, read: Iterable[str], moment: dt.datetime) -> str:
    """Let a query see only what had happened at that moment: a query written for the present bounds its start alone."""
    end = moment.replace(tzinfo=None).isoformat(sep=" ")
    tables = ", ".join(
        f"{identifier(name)} AS (SELECT * FROM main.{identifier(name)} WHERE TimeGenerated <= TIMESTAMP '{end}')"
        for name in sorted(read)
    )
    return f"WITH {tables} SELECT * FROM ({sql})"


def _hours(connection: duckdb.DuckDBPyConnection, read: Iterable[str]) -> list[dt.datetime]:
    """Return the hours in which any of these tables has rows."""
    found: set[dt.datetime] = set()
    for table in sorted(read):
        name = identifier(table)
        sql = f"SELECT DISTINCT date_trunc('hour', TimeGenerated) AS hour FROM {name} WHERE TimeGenerated IS NOT NULL"
        found |= {row["hour"] for row in rows(connection.execute(sql))}
    return sorted(found)
