"""The acts that pass the filters of steps: tables in the database, and arrays of what they are compared by.

MailboxActivity is read once for all filters, for a few numbers of each act. The records themselves are read only for
the acts that are left after narrowing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from mailwitness import finding_tables
from mailwitness.chain_acts import ACT_SQL, MESSAGES_SQL
from mailwitness.chain_keys import Act
from mailwitness.chain_narrowing import Acts, Value, short_name, value_sql
from mailwitness.errors import MailwitnessError
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb
    from numpy.typing import NDArray

    from mailwitness.chain_parts import Burst, Fed, Part
    from mailwitness.open_case import OpenCase

_BATCH = 20_000
_LIST = 100_000
# Columns of an act as they lie in a table of candidates.
COLUMNS = {
    "time": "BIGINT",
    **dict.fromkeys(Act._fields[1:-1], "VARCHAR"),
    "Messages": "VARCHAR[]",
    "position": "BIGINT",
}
_SCANNED = "mw_chain_scanned"


class Rows:
    """Tables of acts; they are dropped at the end."""

    def __init__(self, opened: OpenCase, values: Iterable[Value]) -> None:
        """Make arrays of ``values``."""
        self._opened = opened
        self._values = sorted(values)
        self._made = [_SCANNED]
        self._numbers = itertools.count()

    def scanned(self, parts: list[Part], activities: set[str]) -> dict[str, Acts]:
        """Return for each predicate the acts of MailboxActivity that pass it.

        Args:
            parts: steps and forbidden acts with predicates over MailboxActivity.
            activities: the activities of which there is an act; empty when nobody knows.
        """
        predicates = list(dict.fromkeys(part.predicate for part in parts))
        if not predicates:
            return {}
        # Behind CASE the parts of a condition are only computed for rows that pass those before; elsewhere for every row.
        flags = ", ".join(
            f"CASE WHEN {predicate} THEN TRUE ELSE FALSE END AS mw_{i}"
            for i, predicate in enumerate(predicates)
        )
        listed = ", ".join(f"mw_{i}" for i in range(len(predicates)))
        named = f"AND Activity IN ({', '.join(map(literal, sorted(activities)))})" if activities else ""
        self._run(
            f"CREATE OR REPLACE TABLE {_SCANNED} AS SELECT epoch_us(TimeGenerated) AS mw_time, _Exhibit AS mw_exhibit, "
            f"_Position AS mw_position{self._hashes()}, {listed} "
            f"FROM (SELECT *, {flags} FROM {ACTIVITY} WHERE TimeGenerated IS NOT NULL {named}) "
            f"WHERE {' OR '.join(f'mw_{i}' for i in range(len(predicates)))}"
        )
        arrays = self._arrays(f"SELECT rowid AS mw_row, * EXCLUDE (mw_exhibit, mw_position) FROM {_SCANNED}")
        found = {}
        for i, predicate in enumerate(predicates):
            kept = arrays[f"mw_{i}"]
            if kept.any():
                acts = self._acts(arrays, _SCANNED)
                found[predicate] = acts.only(kept)
        return found

    def late(self, part: Part, first: int, last: int) -> Acts | None:
        """Return the acts of a step that are computed when they are asked, between two times; None when there are none."""
        keys = self._opened.keys(part.filter) if part.burst else ""
        places = ""
        if part.burst and keys:
            places = self._name()
            made = f"CREATE OR REPLACE TABLE {places} AS {_near(keys, part.burst, first, last)}"
            if not int(self._run(made)[0][0]):
                return None
        acts = self._opened.acts(part.filter, places=places)
        when = f"TimeGenerated BETWEEN make_timestamp({first}) AND make_timestamp({last})"
        return self._stored(f"SELECT {ACT_SQL} FROM {acts} WHERE ({part.predicate}) AND {when}")

    def given(self, acts: Iterable[Act]) -> Acts | None:
        """Return acts that came from elsewhere as a table and as arrays."""
        path = self._opened.work / f"{self._name()}.jsonl"
        return self._stored(finding_tables.rows_sql(path, COLUMNS, (act._asdict() for act in acts)))

    def fed(self, listed: list[tuple[Part, Acts, bool]]) -> Iterator[Fed]:
        """Yield time, part and act of all parts in the order of time, of one time in the order of ``listed``.

        Args:
            listed: parts with the acts that are left of each, and whether their message ids are needed.
        """
        chosen = [(i, *one) for i, one in enumerate(listed) if len(one[1].rows)]
        if not chosen:
            return
        pairs = self._name()
        numbers = np.concatenate([np.full(len(acts.rows), i) for i, _, acts, _ in chosen])
        rows = np.concatenate([acts.rows for _, _, acts, _ in chosen])
        self._run(f"CREATE OR REPLACE TABLE {pairs} (mw_part INTEGER, mw_row BIGINT)")
        # A list on its way into the database takes ten times its size.
        for at in range(0, len(rows), _LIST):
            self._run(
                f"INSERT INTO {pairs} SELECT unnest($1::INTEGER[]), unnest($2::BIGINT[])",
                [numbers[at : at + _LIST].tolist(), rows[at : at + _LIST].tolist()],
            )
        sql = " UNION ALL ".join(
            _full(table, pairs, chosen) for table in sorted({one[2].table for one in chosen})
        )
        cursor = self._opened.connection.cursor()
        self._run(f"SELECT * FROM ({sql}) ORDER BY time, mw_part, exhibit, position", on=cursor)
        parts = [(part,) for part, _, _ in listed]
        while found := self._fetched(cursor):
            yield from ((row[1], parts[row[0]], Act._make(row[1:])) for row in found)

    def drop(self) -> None:
        """Release what the tables take."""
        for name in self._made:
            self._run(f"DROP TABLE IF EXISTS {name}")

    # -- the database ------------------------------------------------------------------------

    def _name(self) -> str:
        name = f"mw_chain_{next(self._numbers)}"
        self._made.append(name)
        return name

    def _hashes(self) -> str:
        return "".join(f", {value_sql(value)} AS mw_{value.kind}_{value.column}" for value in self._values)

    def _stored(self, sql: str) -> Acts | None:
        name = self._name()
        made = f"CREATE OR REPLACE TABLE {name}({', '.join(COLUMNS)}) AS {sql}"
        if not int(self._run(made)[0][0]):
            return None
        told = "MessageId <> '' OR len(Messages) > 0"
        arrays = self._arrays(
            f"SELECT rowid AS mw_row, time AS mw_time, coalesce({told}, false) AS mw_told{self._hashes()} FROM {name}"
        )
        return self._acts(arrays, name)

    def _acts(self, arrays: dict[str, NDArray[Any]], table: str) -> Acts:  # Any: numbers of several kinds
        values = {value: arrays[f"mw_{value.kind}_{value.column}"] for value in self._values}
        is_told = arrays.get("mw_told")
        return Acts(
            rows=arrays["mw_row"],
            time=arrays["mw_time"],
            values=values,
            messages=lambda rows: self._messages(table, rows, is_told),
            table=table,
            is_dear=table == _SCANNED,
        )

    def _messages(
        self, table: str, rows: NDArray[np.int64], is_told: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the hashes of the message ids of some rows: index of the row, hash.

        ``is_told`` says of all rows of the table, where that is known, whether they have one.
        """
        if not len(rows) or (is_told is not None and not is_told[rows].any()):
            return rows[:0], np.zeros(0, np.uint64)
        found = [self._told(table, rows[at : at + _LIST]) for at in range(0, len(rows), _LIST)]
        row = np.concatenate([one["mw_row"] for one in found])
        order = np.argsort(rows, kind="stable")
        index = order[np.searchsorted(rows, row, sorter=order)]
        return index, np.concatenate([one["message"] for one in found])

    def _told(self, table: str, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:  # Any: numbers
        asked = "(SELECT unnest($1::BIGINT[]) AS mw_row) AS asked"
        if table == _SCANNED:
            source = (
                f"SELECT mw_row, {MESSAGES_SQL} AS Messages, MessageId FROM {asked} JOIN {_SCANNED} AS s ON s.rowid = mw_row "
                f"JOIN {ACTIVITY} ON _Exhibit = mw_exhibit AND _Position = mw_position"
            )
        else:
            source = f"SELECT mw_row, Messages, MessageId FROM {asked} JOIN {table} AS t ON t.rowid = mw_row"
        unnested = f"SELECT mw_row, unnest(list_append(coalesce(Messages, []), MessageId)) AS message FROM ({source})"
        sql = f"SELECT mw_row, hash(lower(message)) AS message FROM ({unnested}) WHERE message <> ''"
        return self._arrays(sql, [rows.tolist()])

    def _arrays(self, sql: str, given: list[Any] | None = None) -> dict[str, NDArray[Any]]:  # Any: numbers
        try:
            return self._opened.connection.execute(sql, given or []).fetchnumpy()
        except _errors() as error:
            raise _refused(error) from error

    def _run(
        self, sql: str, given: list[Any] | None = None, on: duckdb.DuckDBPyConnection | None = None
    ) -> list[tuple[Any, ...]]:  # Any: query cells
        try:
            cursor = (on or self._opened.connection).execute(sql, given or [])
            return [] if on else cursor.fetchall()
        except _errors() as error:
            raise _refused(error) from error

    @staticmethod
    def _fetched(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:  # Any: query cells
        try:
            return cursor.fetchmany(_BATCH)
        except _errors() as error:
            raise _refused(error) from error


def _full(table: str, pairs: str, chosen: list[tuple[int, Part, Acts, bool]]) -> str:
    """Return the SELECT of the whole acts that are left of one table: number of the part, columns of Act."""
    here = [(i, part, needs_messages) for i, part, acts, needs_messages in chosen if acts.table == table]
    columns = ", ".join(COLUMNS)
    numbers = ", ".join(str(i) for i, _, _ in here)
    asked = f"(SELECT * FROM {pairs} WHERE mw_part IN ({numbers})) AS asked"
    if table != _SCANNED:
        return f"SELECT mw_part, {columns} FROM {asked} JOIN {table} AS t ON t.rowid = mw_row"
    # A record may be several acts: the filter tells which of them was meant.
    passes = " ".join(f"WHEN {i} THEN {part.predicate}" for i, part, _ in here)
    acts = ACT_SQL if any(needs for _, _, needs in here) else ACT_SQL.replace(MESSAGES_SQL, "NULL")
    places = f"SELECT DISTINCT mw_part, mw_time, mw_exhibit, mw_position FROM {asked} JOIN {_SCANNED} AS s ON s.rowid = mw_row"
    return (
        f"SELECT mw_part, {columns} FROM (SELECT mw_part, {acts} FROM ({places}) JOIN {ACTIVITY} ON _Exhibit = mw_exhibit "
        f"AND _Position = mw_position AND epoch_us(TimeGenerated) = mw_time WHERE CASE mw_part {passes} END) "
        f"AS found(mw_part, {columns})"
    )


def _near(keys: str, burst: Burst, first: int, last: int) -> str:
    """Return the SELECT of the records that are in a burst, and of few others: _Exhibit, _Position.

    Args:
        keys: the SELECT of places and keys.
        burst: what is counted.
        first: no act before this time matters.
        last: no act after it does.
    """
    window = "OVER (PARTITION BY who ORDER BY time"
    kept = (
        f"count(*) {window} RANGE BETWEEN {burst.span} PRECEDING AND {burst.span} FOLLOWING) >= {burst.gte}"
        if burst.is_distinct
        else f"min(span) {window} ROWS BETWEEN CURRENT ROW AND {burst.gte - 1} FOLLOWING) <= {burst.span}"
    )
    acts = (
        f"SELECT epoch_us(TimeGenerated) AS time, {burst.column} AS name, _Exhibit, _Position FROM ({keys}) "
        f"WHERE TimeGenerated BETWEEN make_timestamp({first}) AND make_timestamp({last})"
    )
    return (
        # A few accounts do most of what a log holds: each name is taken apart once.
        f"WITH names AS MATERIALIZED (SELECT name, hash({short_name('name')}) AS who "
        f"FROM (SELECT DISTINCT {burst.column} AS name FROM ({keys}))), "
        f"near AS (SELECT time, who, _Exhibit, _Position, time - lag(time, {burst.gte - 1}) {window}) AS span "
        f"FROM ({acts}) JOIN names USING (name)) "
        f"SELECT DISTINCT _Exhibit, _Position FROM (SELECT * FROM near QUALIFY {kept})"
    )


def _errors() -> type[Exception]:
    import duckdb  # noqa: PLC0415 - the types of its errors

    return duckdb.Error


def _refused(error: Exception) -> MailwitnessError:
    message = f"the database refused the steps: {str(error).splitlines()[0][:300]}"
    return MailwitnessError(message, remedy="Correct the filter of the step.")
