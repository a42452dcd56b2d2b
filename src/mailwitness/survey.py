"""What the leading filters of all rules let pass: which of them any act, and where they are few, those acts in a table of their own.

Most filters only ask of which kind an act is: activity, result, actor type, kind of folder. A million records have some hundreds
of such kinds, so these filters are asked of the kinds and only the others of all acts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb

KINDS, FEW = "mw_kinds", "mw_few_acts"
# Columns with few values; text that is never null.
_OF_KIND = (
    "Activity", "ActivityResult", "Operation", "ActorType", "FolderKind", "DestinationFolderKind", "ItemClass", "ClientApp",
    "Platform", "RecordType", "SourceTable", "Setting", "IsCrossMailbox",
)  # fmt: skip
_COLUMN = re.compile(r'"(\w+)"')
# Up to so many acts one scan is sooner done than two statements are planned.
_SMALL = 20_000
# So many acts are sooner copied than looked for again by every rule that asks for them.
_MOST_FEW = 5_000
# A statement with thousands of expressions plans slowly; chunks keep planning linear.
_CHUNK = 128


class Survey(msgspec.Struct, frozen=True):
    """What filters let pass.

    Attributes:
        passed: filters that some act passes, or that cannot be run.
        most: filter -> at most so many acts pass it; empty where nothing was counted because there are few acts at all.
    """

    passed: set[str]
    most: dict[str, int]


def survey(
    connection: duckdb.DuckDBPyConnection,
    filters: Mapping[str, frozenset[str] | None],
    columns: frozenset[str],
) -> Survey:
    """Ask all filters.

    Args:
        connection: shows MailboxActivity.
        filters: SQL over MailboxActivity -> the activities of its rows, in lower case; None when it does not say.
        columns: those of MailboxActivity.
    """
    if not filters:
        return Survey(set(), {})
    counted = connection.execute(f"SELECT lower(Activity), count(*) FROM {ACTIVITY} GROUP BY 1").fetchall()
    done = {str(activity): int(count) for activity, count in counted}
    total = sum(done.values())
    asked = [sql for sql, named in filters.items() if named is None or named & done.keys()]
    if total <= _SMALL:
        return Survey(_passed(connection, asked, ACTIVITY), {})
    listed = ", ".join(identifier(name) for name in _OF_KIND)
    connection.execute(
        f"CREATE OR REPLACE TABLE {KINDS} AS SELECT {listed}, count(*) AS mw_count FROM {ACTIVITY} GROUP BY ALL"
    )
    beyond = columns.difference(_OF_KIND)
    of_kind = [sql for sql in asked if beyond.isdisjoint(_COLUMN.findall(sql))]
    others = [sql for sql in asked if sql not in set(of_kind)]
    most = {sql: sum(done.get(one, 0) for one in filters[sql] or done) for sql in others}
    counts = _counts(connection, of_kind)
    passed = {sql for sql in of_kind if counts.get(sql, 1)} | _passed(connection, others, ACTIVITY)
    return Survey(passed, most | counts)


def _counts(connection: duckdb.DuckDBPyConnection, filters: list[str]) -> dict[str, int]:
    """Return how many acts pass filters that only ask for the kind; nothing of those that cannot be run."""
    import duckdb  # noqa: PLC0415 - the types of its errors

    found: dict[str, int] = {}
    for start in range(0, len(filters), _CHUNK):
        chunk = filters[start : start + _CHUNK]
        sums = ", ".join(f"sum(CASE WHEN {sql} THEN mw_count ELSE 0 END)" for sql in chunk)
        try:
            row = connection.execute(f"SELECT {sums} FROM {KINDS}").fetchall()[0]
        except duckdb.Error:
            continue
        found |= {sql: int(count or 0) for sql, count in zip(chunk, row, strict=True)}
    return found


def _passed(connection: duckdb.DuckDBPyConnection, filters: list[str], table: str) -> set[str]:
    """Return the filters that some row passes, or that cannot be run: one scan for many."""
    import duckdb  # noqa: PLC0415 - the types of its errors

    passed: set[str] = set()
    for start in range(0, len(filters), _CHUNK):
        chunk = filters[start : start + _CHUNK]
        # Behind CASE the parts of a condition are only computed for rows that pass those before; elsewhere for every row.
        held = ", ".join(f"bool_or(CASE WHEN {sql} THEN TRUE ELSE FALSE END)" for sql in chunk)
        try:
            row = connection.execute(f"SELECT {held} FROM {table}").fetchall()[0]
        except duckdb.Error:
            # One filter that cannot run must not stop the others; its rule runs by itself and says why.
            row = tuple(_may_pass(connection, sql, table) for sql in chunk)
        passed |= {sql for sql, hit in zip(chunk, row, strict=True) if hit}
    return passed


def _may_pass(connection: duckdb.DuckDBPyConnection, sql: str, table: str) -> bool:
    """Tell whether a row passes a filter, or the filter cannot run."""
    import duckdb  # noqa: PLC0415 - the types of its errors

    try:
        return bool(connection.execute(f"SELECT bool_or({sql}) FROM {table}").fetchall()[0][0])
    except duckdb.Error:
        return True


def few(found: Survey, filters: Iterable[str]) -> bool:
    """Tell whether few acts pass each of some filters."""
    return all(found.most.get(sql, _MOST_FEW + 1) <= _MOST_FEW for sql in filters)


def gather(connection: duckdb.DuckDBPyConnection, filters: Iterable[str]) -> bool:
    """Make a table of the acts that pass any of some filters, in their order; False where one of them cannot be run."""
    import duckdb  # noqa: PLC0415 - the types of its errors

    any_of = " OR ".join(f"({sql})" for sql in dict.fromkeys(filters))
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {FEW} AS SELECT * FROM {ACTIVITY} WHERE {any_of}")
    except duckdb.Error:
        return False
    return True
