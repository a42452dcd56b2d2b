"""The acts that the machines of the chains are fed with, in the order of time.

Only rows that pass a step's filter leave the database, only for chains of which every needed step has such a row, and
of many rows only those that can be part of a whole chain.
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import chain_narrowing, finding_tables
from mailwitness.chain_acts import ACT_SQL
from mailwitness.chain_keys import Act
from mailwitness.content.schemas import Chain
from mailwitness.errors import MailwitnessError
from mailwitness.findings import execute
from mailwitness.needs import TABLE as ACTIVITY

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from mailwitness.chain_machine import Machine
    from mailwitness.models import Finding
    from mailwitness.open_case import OpenCase

_BATCH = 20_000
_STEP_TIMEOUT_SECONDS = 600
_MOST_QUERY_ROWS = 1_000_000
_TEXTS = tuple(name for name in Act._fields if name[0].isupper() and name != "Messages")
# Any time that the database can write as a number of microseconds.
_EVER = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times in the database are naive UTC

Fed = tuple[int, tuple["Part", ...], Act]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A step or a forbidden act of a chain, ready to be asked for.

    Attributes:
        index: number of the step; -1 for a forbidden act.
        filter: the KQL condition over MailboxActivity; empty when the acts come from a query or a rule.
        predicate: the same as SQL.
        sql: the query's SQL.
        near: SQL that holds for acts with enough others near them, for a step that counts.
        is_late: MailboxActivity does not show all acts that the filter means.
        blind: why the evidence cannot show it; empty when it can.
    """

    chain: str
    name: str
    index: int
    optional: bool
    filter: str = ""
    predicate: str = ""
    sql: str = ""
    near: str = ""
    is_late: bool = False
    rule: str = ""
    blind: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with its parts; ``reason`` says why it cannot be evaluated."""

    chain: Chain
    parts: list[Part]
    reason: str = ""


def feed(
    opened: OpenCase,
    ready: list[Prepared],
    machines: dict[str, Machine],
    found: list[Finding],
) -> None:
    """Give every machine its acts in the order of time.

    Args:
        opened: the case.
        ready: chains that can be evaluated.
        machines: their machines, by the chain's id.
        found: findings of the rules, which may be steps.

    Raises:
        MailwitnessError: the database refused a step.
    """
    further = [*_from_queries(opened, ready), *_from_findings(ready, found)]
    spans = _spans(opened, ready)
    elsewhere = {(part.chain, part.name) for _, parts, _ in further for part in parts}
    alive = [item for item in ready if _may_match(item, spans, elsewhere)]
    candidates = _Candidates(opened, alive, spans)
    # Narrowing one chain asks many small queries, which keep one core busy.
    with ThreadPoolExecutor(max_workers=2) as pool:
        left = pool.map(lambda item: candidates.of(item, further), alive)
        listed = [pair for pairs in left for pair in pairs]
    # Of two records of one second the earlier step's is the earlier.
    listed.sort(key=lambda pair: (not pair[0].near, pair[0].index))
    further.sort(key=lambda fed: fed[0])
    for _, parts, act in heapq.merge(further, _rows(opened, listed), key=lambda fed: fed[0]):
        for part in parts:
            if part.index < 0:
                machines[part.chain].forbid(part.name, act)
            else:
                machines[part.chain].feed(part.index, act)
    candidates.drop()


class _Candidates:
    """Tables of the acts that pass the filters of the steps; chains that share a filter share its table."""

    def __init__(self, opened: OpenCase, alive: list[Prepared], spans: dict[str, tuple[int, int]]) -> None:
        """Fill the tables, several at a time: planning one takes as long as running it."""
        self._opened = opened
        self._limits = _limits(alive, spans)
        parts = [part for item in alive for part in item.parts if part.predicate in spans]
        asked = {(part.predicate, part.near): part for part in parts}
        self._tables = {key: f"mw_step_acts_{number}" for number, key in enumerate(asked)}
        self._made = list(self._tables.values())
        # Names of further tables, which chains make side by side.
        self._numbers = itertools.count(len(asked))
        with ThreadPoolExecutor(max_workers=2) as pool:
            counts = pool.map(self._fill, asked.values())
            self._counts = dict(zip(self._tables, counts, strict=True))

    def _fill(self, part: Part) -> int:
        first, last = self._limits[part.predicate]
        table = self._opened.acts(part.filter, near=part.near)
        where = (
            f"({part.predicate}) AND TimeGenerated BETWEEN make_timestamp({first}) AND make_timestamp({last})"
        )
        if part.near:
            table, where = f"(SELECT *, {part.near} AS mw_near FROM {table} WHERE {where})", "mw_near"
        name = self._tables[part.predicate, part.near]
        listed = ", ".join(chain_narrowing.COLUMNS)
        filled = _execute(
            self._opened.connection.cursor(),
            f"CREATE OR REPLACE TABLE {name}({listed}) AS SELECT {ACT_SQL} FROM {table} WHERE {where}",
        ).fetchone()
        return int(filled[0]) if filled else 0

    def of(self, item: Prepared, further: list[Fed]) -> list[tuple[Part, str]]:
        """Return the parts of a chain with their tables, narrowed where that is worth it."""
        own = {
            part: (part.predicate, part.near)
            for part in item.parts
            if (part.predicate, part.near) in self._tables
        }
        tables = {part: self._tables[key] for part, key in own.items()}
        is_ordered = item.chain.correlation.type == "temporal_ordered"
        if not is_ordered or sum(self._counts[key] for key in own.values()) < chain_narrowing.WORTHWHILE:
            return list(tables.items())
        given = {part.index: table for part, table in tables.items() if part.index >= 0}
        given |= self._further(item, further, set(given))
        narrowing = chain_narrowing.Narrowing(
            self._opened.connection.cursor(), item.chain, given, f"mw_step_left_{next(self._numbers)}"
        )
        left = narrowing.narrow()
        self._made += narrowing.made
        return [(part, left.get(part.index, table)) for part, table in tables.items()]

    def _further(self, item: Prepared, further: list[Fed], known: set[int]) -> dict[int, str]:
        """Return tables of the acts of a chain that come from queries and rules."""
        acts: dict[int, list[Act]] = {}
        for _, parts, act in further:
            for part in parts:
                if part.chain == item.chain.id and part.index not in known:
                    acts.setdefault(part.index, []).append(act)
        return {index: self._table_of(listed) for index, listed in acts.items() if index >= 0}

    def _table_of(self, acts: list[Act]) -> str:
        name = f"mw_step_acts_{next(self._numbers)}"
        self._made.append(name)
        rows = finding_tables.rows_sql(
            self._opened.work / f"{name}.jsonl", chain_narrowing.COLUMNS, (act._asdict() for act in acts)
        )
        self._opened.connection.cursor().execute(f"CREATE OR REPLACE TABLE {name} AS {rows}")
        return name

    def drop(self) -> None:
        """Release what the tables take."""
        for name in self._made:
            self._opened.connection.execute(f"DROP TABLE IF EXISTS {name}")


def _rows(opened: OpenCase, listed: list[tuple[Part, str]]) -> Iterator[Fed]:
    """Yield the acts of all steps in the order of time, of one time in the order of ``listed``."""
    if not listed:
        return
    columns = ", ".join(chain_narrowing.COLUMNS)
    tables = " UNION ALL ".join(
        f"SELECT {number} AS part, {columns} FROM {table}" for number, (_, table) in enumerate(listed)
    )
    cursor = opened.connection.cursor()
    cursor.execute(f"SELECT * FROM ({tables}) ORDER BY time, part, exhibit, position")
    alone = [(part,) for part, _ in listed]
    while rows := cursor.fetchmany(_BATCH):
        yield from ((row[1], alone[row[0]], Act._make(row[1:])) for row in rows)


def _spans(opened: OpenCase, ready: list[Prepared]) -> dict[str, tuple[int, int]]:
    """Return the first and the last time of each filter that some row passes.

    Acts that are computed when they are asked are not asked for their times alone: those may be any.
    """
    listed = [part for item in ready for part in item.parts if part.predicate]
    late = {part.predicate: _EVER for part in listed if part.is_late}
    predicates = list(dict.fromkeys(part.predicate for part in listed if not part.is_late))
    if not predicates:
        return late
    # A query for each filter lets the database skip what its first condition excludes; filters inside one aggregate
    # are all computed for every row, which cost four times as much.
    asked = " UNION ALL ".join(
        f"SELECT {i} AS number, epoch_us(min(TimeGenerated)), epoch_us(max(TimeGenerated)) FROM {ACTIVITY} WHERE {p}"
        for i, p in enumerate(predicates)
    )
    return late | {
        predicates[row[0]]: (row[1], row[2])
        for row in _execute(opened.connection, asked).fetchall()
        if row[1] is not None
    }


def _may_match(item: Prepared, spans: dict[str, tuple[int, int]], elsewhere: set[tuple[str, str]]) -> bool:
    return all(
        part.optional or part.predicate in spans or (part.chain, part.name) in elsewhere
        for part in item.parts
    )


def _limits(alive: list[Prepared], spans: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return for each filter the time in which its rows can matter: after a first step, before a last one."""
    limits: dict[str, tuple[int, int]] = {}
    for item in alive:
        needed = [part for part in item.parts if not part.optional]
        firsts = [spans[part.predicate][0] for part in needed if part.predicate in spans and part.index == 0]
        lasts = [
            spans[part.predicate][1]
            for part in needed
            if part.predicate in spans and part.index == len(item.chain.steps) - 1
        ]
        ordered = item.chain.correlation.type == "temporal_ordered"
        low = firsts[0] if firsts and ordered else None
        high = lasts[0] if lasts and ordered else None
        for part in item.parts:
            if part.predicate not in spans:
                continue
            first, last = spans[part.predicate]
            if part.index >= 0:
                first, last = max(first, low or first), min(last, high or last)
            before = limits.get(part.predicate, (first, last))
            limits[part.predicate] = (min(before[0], first), max(before[1], last))
    return limits


def _from_queries(opened: OpenCase, ready: list[Prepared]) -> Iterator[Fed]:
    asked = [part for item in ready for part in item.parts if part.sql and not part.blind]
    for part in asked:
        found = execute(
            opened.connection, part.sql, timeout_seconds=_STEP_TIMEOUT_SECONDS, limit=_MOST_QUERY_ROWS
        )
        acts = (_act_of_row(row) for row in found)
        yield from ((act.time, (part,), act) for act in acts if act is not None)


def _act_of_row(row: dict[str, Any]) -> Act | None:  # Any: query cells
    time = row.get("TimeGenerated")
    if not isinstance(time, dt.datetime):
        return None
    position = row.get("_Position")
    texts: dict[str, Any] = {name: str(row[name]) for name in _TEXTS if row.get(name)}  # Any: fields of Act
    return Act(
        time=_microseconds(time),
        exhibit=str(row.get("_Exhibit") or ""),
        position=-1 if position is None else int(position),
        **texts,
    )


def _from_findings(ready: list[Prepared], found: list[Finding]) -> Iterator[Fed]:
    wanted: dict[str, list[Part]] = {}
    for item in ready:
        for part in item.parts:
            if part.rule:
                wanted.setdefault(part.rule, []).append(part)
    # Later steps first: a finding that is two steps must not follow itself.
    ordered = {rule: tuple(sorted(parts, key=lambda part: -part.index)) for rule, parts in wanted.items()}
    for finding in found:
        parts = ordered.get(finding.rule)
        if not parts or finding.time is None:
            continue
        exhibit, position = finding.rows[0] if finding.rows else ("", -1)
        act = Act(
            time=_microseconds(finding.time),
            Actor=finding.actor,
            ActorType=finding.actor_type,
            Mailbox=finding.mailbox,
            SessionId=finding.session,
            ClientIP=finding.address,
            Host=finding.host,
            ObjectName=str(finding.evidence.get("ObjectName") or ""),
            MessageId=str(finding.evidence.get("MessageId") or ""),
            exhibit=exhibit,
            position=position,
        )
        yield act.time, parts, act


def _microseconds(time: dt.datetime) -> int:
    return (time.replace(tzinfo=None) - _EPOCH) // dt.timedelta(microseconds=1)


def _execute(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    import duckdb  # noqa: PLC0415 - the types of its errors

    try:
        return connection.execute(sql)
    except duckdb.Error as error:
        message = f"the database refused the steps: {str(error).splitlines()[0][:300]}"
        raise MailwitnessError(message, remedy="Correct the filter of the step.") from error
