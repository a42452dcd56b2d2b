"""Leave out, in the database, the acts that cannot be part of a whole chain, so that the machines do not see them.

An act of a later step matters only when an earlier one shares a key with it, and an act of the first step only when a
later one does. What is left may still be too much, and is never too little: one part of a way of joining is compared
instead of all, names of accounts without their domain, and times by the first and the last act of a key. Every
comparison is one join by equal values, so that the work stays linear whatever an intruder writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailwitness.chain_keys import Act, column_of, microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from mailwitness.content.schemas import Chain, Condition

# Below this, asking the database costs more than the machines.
WORTHWHILE = 2_000
_ACCOUNTS = frozenset({"Actor", "Mailbox", "SettingAfter"})
_TEXTS = frozenset({"SessionId", "ClientIP", "Host", "ApplicationId"})
# Columns of an act as they lie in a table of candidates.
COLUMNS = {
    "time": "BIGINT",
    **dict.fromkeys(Act._fields[1:-1], "VARCHAR"),
    "Messages": "VARCHAR[]",
    "position": "BIGINT",
}


class Way(NamedTuple):
    """The part of a way of joining by which acts are compared; ``kind`` is message, text or account."""

    name: str
    part: str
    kind: str


def short_name(column: str) -> str:
    r"""Return SQL for what all spellings of an account share: ``eva``, ``CONTOSO\eva`` and ``eva@contoso.example``."""
    text = f"lower(trim({column}))"
    # Most names are addresses, which need no regular expression.
    return (
        f"CASE WHEN contains({column}, '/') OR contains({column}, '\\') "
        f"THEN regexp_extract({text}, '([^\\\\/@]*)(?:@.*)?$', 1) ELSE split_part({text}, '@', 1) END"
    )


class Narrowing:
    """The candidates of one ordered chain, narrowed step by step.

    Attributes:
        tables: for each step its table of candidates, in the columns of Act; steps without one are left out.
        made: names of all tables that were made.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, chain: Chain, tables: Mapping[int, str], prefix: str
    ) -> None:
        """Take the tables of ``connection``; what is left of them goes to tables whose names begin with ``prefix``."""
        self.connection = connection
        self.chain = chain
        self.tables = dict(tables)
        self.names = chain.correlation.rules
        self.steps = chain.ordered()
        self.timespan = microseconds(chain.correlation.timespan)
        self.made: list[str] = []
        self._prefix = prefix

    def narrow(self) -> dict[int, str]:
        """Return for each step the table of the acts that are left."""
        for i in sorted(self.tables):
            self._too_few(i)
        for i in sorted(self.tables):
            if not all(step.optional for step in self.steps[:i]):
                self._joined(i, [j for j in self.tables if j < i])
        needed = [i for i, step in enumerate(self.steps) if i and not step.optional]
        if 0 in self.tables and needed:
            self._joined(0, [j for j in self.tables if 0 < j <= needed[0]])
        return self.tables

    def _too_few(self, i: int) -> None:
        """Leave out the acts of a step that counts, where too few share what it counts by."""
        condition = self._condition(i)
        if condition is None:
            return
        way = self._way(condition.by or "+".join(self.chain.correlation.group_by), [i])
        if way is None:
            return
        counted = f"count(DISTINCT lower({condition.field}))" if condition.field else "count(*)"
        extra = f", {condition.field}" if condition.field else ""
        self._keep(
            i,
            f"SELECT row FROM ({self._values(way, i)}) WHERE value IN (SELECT value FROM ({self._values(way, i, extra)}) "
            f"GROUP BY value HAVING {counted} >= {condition.gte})",
        )

    def _condition(self, i: int) -> Condition | None:
        return self.steps[i].count or self.chain.correlation.condition

    def _joined(self, i: int, others: list[int]) -> None:
        """Leave out the acts of step ``i`` that share no key with an act of ``others``."""
        ways = self._ways([i] if i else others, [i, *others])
        grouped = self._grouped(i)
        if not ways or not others or grouped is False:
            return
        span = "" if self.timespan is None else f" + {self.timespan}"
        in_time = "a.time >= b.first" if i else "a.time <= b.last"
        if span:
            in_time += f" AND a.time <= b.last{span}" if i else f" AND a.time{span} >= b.first"
        rows = []
        for way in ways:
            values = " UNION ALL ".join(self._values(way, j) for j in others)
            rows.append(
                f"SELECT a.row FROM ({self._values(way, i)}) AS a JOIN (SELECT value, min(time) AS first, max(time) AS last "
                f"FROM ({values}) GROUP BY value) AS b ON a.value = b.value AND {in_time}"
            )
        kept = " UNION ALL ".join(rows)
        if isinstance(grouped, Way):
            # What is counted together stays together: only its last act has to join.
            runs = self._runs(grouped, i)
            kept = (
                f"WITH runs AS MATERIALIZED ({runs}) SELECT row FROM runs "
                f"WHERE (value, run) IN (SELECT (value, run) FROM runs WHERE row IN ({kept}))"
            )
        self._keep(i, kept)

    def _runs(self, way: Way, i: int) -> str:
        """Return the SELECT of the runs of acts of a step that counts: row, value, run.

        Acts further apart than its time span are never counted together.
        """
        condition = self._condition(i)
        span = microseconds((condition and condition.timespan) or self.chain.correlation.timespan)
        if span is None:
            return f"SELECT row, value, 0 AS run FROM ({self._values(way, i)})"
        of_key = "OVER (PARTITION BY value ORDER BY time)"
        return (
            f"SELECT row, value, sum(CAST(is_first AS INTEGER)) {of_key} AS run "
            f"FROM (SELECT *, time - lag(time, 1, time) {of_key} > {span} AS is_first FROM ({self._values(way, i)}))"
        )

    def _grouped(self, i: int) -> Way | bool:
        """Return by what a step counts: True when it counts nothing, False when it cannot be compared."""
        condition = self._condition(i)
        if condition is None:
            return True
        return self._way(condition.by or "+".join(self.chain.correlation.group_by), [i]) or False

    def _ways(self, joining: list[int], steps: list[int]) -> list[Way]:
        """Return the ways in which some of ``joining`` follow others; empty when one of them cannot be compared."""
        shared = "+".join(self.chain.correlation.group_by)
        names = {
            name
            for i in joining
            for name in (self.steps[i].join or {shared: self.chain.correlation.timespan})
            if name
        }
        ways = [self._way(name, steps) for name in sorted(names)]
        return [] if None in ways else [way for way in ways if way is not None]

    def _way(self, name: str, steps: list[int]) -> Way | None:
        """Return the part of a way by which the acts of some steps can be compared; None when there is none."""
        found = [
            Way(name, part, kind)
            for part in name.split("+")
            for kind in ("message", "text", "account")
            if all(_kind(column_of(self.chain, part, self.names[i])) == kind for i in steps)
        ]
        return min(found, key=lambda way: ("message", "text", "account").index(way.kind), default=None)

    def _values(self, way: Way, i: int, extra: str = "") -> str:
        """Return the SELECT of what the acts of a step are compared by: row, time, value."""
        column = column_of(self.chain, way.part, self.names[i])
        source = f"FROM {self.tables[i]}"
        if way.kind == "message":
            listed = "list_append(coalesce(Messages, []), MessageId)"
            unnested = f"SELECT rowid AS row, time, lower(unnest({listed})) AS value{extra} {source}"
            return f"SELECT * FROM ({unnested}) WHERE value <> ''"
        value = short_name(column) if way.kind == "account" else f"lower({column})"
        return f"SELECT rowid AS row, time, {value} AS value{extra} {source} WHERE {column} <> ''"

    def _keep(self, i: int, rows: str) -> None:
        name = f"{self._prefix}_{len(self.made)}"
        self.made.append(name)
        self.connection.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {self.tables[i]} WHERE rowid IN ({rows})"
        )
        self.tables[i] = name


def _kind(column: str) -> str:
    """Return how the values of a column are compared; empty when the database cannot."""
    if column == "MessageId":
        return "message"
    return "text" if column in _TEXTS else "account" if column in _ACCOUNTS else ""
