"""MailboxActivity: what the parsers make of the tables, one row for each act."""

from __future__ import annotations

import json
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from mailwitness import direct_reads, occurring, record_values, sql_domains
from mailwitness.bag_values import taken_at_once
from mailwitness.content import loader
from mailwitness.errors import ContentError
from mailwitness.kql import DUCKDB_TYPES, at_clock, referenced_tables, words
from mailwitness.loading import Wanted, first_pass_steps, query_digest
from mailwitness.needs import TABLE, Needs, operations_asked, operations_read
from mailwitness.sql_nesting import nested
from mailwitness.tables import empty, identifier, literal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Mapping

    import duckdb

    from mailwitness.content.schemas import Column, Parser
    from mailwitness.direct_reads import Read
    from mailwitness.kql import KqlEngine
    from mailwitness.sql_domains import Values

# MailboxActivity with acts that only chains, the proof and the questions ask for, as far as they were computed at the start.
COMPUTED = "mw_computed"
# What a parser says of its bulk rows before they are acts.
KEYS = ("Actor", "ApplicationId", "ClientIP", "Host", "Mailbox", "SessionId")
# How SQL that reads a bag once takes a value out of it.
_OF_A_BAG = ' values"['
_OPERATION = "Operation"


def vocabulary(parsers: Iterable[Parser]) -> set[str]:
    """Return every activity that some parser can yield."""
    return {activity for parser in parsers for activity in parser.activities}


def columns() -> list[Column]:
    """Return the table's columns."""
    return loader.tables()[TABLE].columns


def wanted(
    engine: KqlEngine,
    parsers: list[Parser],
    queries: list[str],
    needed: Needs,
    early: Needs,
    *,
    now: dt.datetime,
    for_ledger: bool = False,
) -> Wanted:
    """Return what a run's parsers and rules need stored.

    Args:
        engine: translates the parsers.
        parsers: read the tables for MailboxActivity.
        queries: the rules.
        needed: the activities that are asked.
        early: those that are asked before any other.
        now: the clock of the run.
        for_ledger: the message ledger will be computed; it also reads what rules do not.
    """
    known = loader.tables()
    whole: dict[str, set[str]] = {}
    reads: dict[str, list[Read]] = {}
    for query in queries:
        for table in referenced_tables(query, known) - {TABLE}:
            names = {column.name for column in known[table].columns} & words(query)
            reads.setdefault(table, []).append(direct_reads.of_query(query, table, names))
            whole.setdefault(table, set()).add(query_digest(query))
    parsed: dict[str, list[Read]] = {}
    for parser in parsers:
        read = frozenset(_read_columns(engine, parser, now=now))
        parsed.setdefault(parser.table, []).append(direct_reads.of_query(parser.query, parser.table, read))
    columns_of = {
        table: set[str]().union(*(read.columns for read in [*reads.get(table, []), *parsed.get(table, [])]))
        for table in parsed | reads
    }
    bulk: dict[str, list[str]] = {}
    for parser in parsers:
        without = left_out(parser, first_of(parser, needed, early)) + ([] if for_ledger else parser.shallow)
        # What one parser of a table can do without, another may read.
        bulk[parser.table] = [name for name in without if name in bulk.get(parser.table, without)]
    told = {table: _read(table, parsers, queries, needed) for table in first_pass_steps()}
    return Wanted(
        columns=columns_of,
        bulk=bulk,
        of_operations={table: sql for table, sql in told.items() if sql},
        whole=whole,
        parsed=parsed,
        reads=reads,
    )


def _read(table: str, parsers: Iterable[Parser], queries: Iterable[str], needed: Needs) -> str:
    """Return SQL over Operation, true of all records of a table that parsers and queries read; empty where it is not known for sure."""
    operations: set[str] = set()
    further: set[str] = set()
    for parser in parsers:
        if parser.table != table or not needed.of(parser) & set(parser.activities):
            continue
        read = operations_read(parser)
        if read is not None:
            operations |= read - {name.lower() for name in left_out(parser, needed.of(parser))}
        elif words(parser.occurs) & {column.name for column in loader.tables()[table].columns} == {
            _OPERATION
        }:
            further.add(f"({parser.occurs})")
        else:
            return ""
    for query in queries:
        if table in words(query):
            asked = operations_asked(query, table)
            if asked is None:
                return ""
            operations |= asked
    told = [f"{_OPERATION} IN ({in_list(sorted(operations))})"] if operations else []
    return " OR ".join([*told, *sorted(further)])


def _read_columns(engine: KqlEngine, parser: Parser, *, now: dt.datetime) -> set[str]:
    """Return the columns a parser really reads, as the database plans it.

    Names alone would not tell: most columns a parser writes are called like columns of the table.
    """
    key = f"columns that {parser.id} reads: {parser.query}"
    if key not in engine.cache:
        import duckdb  # noqa: PLC0415

        with duckdb.connect(":memory:") as connection:
            # An empty table would otherwise be planned away, and a column that only a filter reads goes into the scan unnamed.
            connection.execute("SET disabled_optimizers = 'statistics_propagation,filter_pushdown'")
            for name, table in loader.tables().items():
                if name in parser.query:
                    listed = ", ".join(f"{identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in table.columns)
                    connection.execute(f"CREATE TABLE {identifier(name)} ({listed})")
            sql = engine.to_sql(parser.query, now=now)
            try:
                plan = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]
            except duckdb.Error as error:
                message = f"the parser cannot be run: {' '.join(str(error).split())[:300]}"
                raise ContentError(message, place=parser.id, remedy="Correct its query.") from error
        engine.cache[key] = ",".join(sorted(_projections(json.loads(plan))))
    return set(engine.cache[key].split(","))


def _projections(plan: Any) -> set[str]:  # noqa: ANN401 - DuckDB's plan
    """Return all columns that the scans of a plan read."""
    if isinstance(plan, list):
        return set().union(*(_projections(node) for node in plan)) if plan else set()
    read = (
        plan.get("extra_info", {}).get("Projections", [])
        if plan.get("name", "").strip() == "SEQ_SCAN"
        else []
    )
    return set([read] if isinstance(read, str) else read) | _projections(plan.get("children", []))


def left_out(parser: Parser, needed: set[str]) -> list[str]:
    """Return the operations that yield only activities no rule names."""
    return [name for activity, names in parser.bulk.items() if activity not in needed for name in names]


def first_of(parser: Parser, needed: Needs, early: Needs) -> set[str]:
    """Return the activities of a parser that are computed before the rules run."""
    return early.of(parser) if parser.keys else needed.of(parser)


def bulk(parsers: Iterable[Parser]) -> set[str]:
    """Return the activities that fill audit logs and that a run can leave for when they are asked."""
    return {activity for parser in parsers for activity in parser.bulk if parser.keys}


def parser_sql(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    parser: Parser,
    *,
    now: dt.datetime,
    relation: str = "",
) -> str:
    """Return the SELECT that gives a parser's rows all columns of MailboxActivity, never a null string.

    ``relation`` is the SELECT of the rows that are read instead of all of the parser's table.
    """
    sql = _acts_of(connection, engine, parser, now=now)
    return _shown(connection, engine, parser, _reading(parser, sql, relation))


def _reading(parser: Parser, sql: str, relation: str) -> str:
    return sql.replace(f"FROM {identifier(parser.table)}", f"FROM ({relation})") if relation else sql


def _shown(connection: duckdb.DuckDBPyConnection, engine: KqlEngine, parser: Parser, sql: str) -> str:
    """Return the SELECT of what a parser's SQL gives, in all columns of MailboxActivity."""
    given = _columns_of(connection, engine, parser, sql)
    defaults = {"SourceTable": literal(parser.table)}
    shown = []
    for column in columns():
        name = identifier(column.name)
        kind = DUCKDB_TYPES[column.type]
        if column.name not in given:
            shown.append(f"{defaults.get(column.name, empty(column))} AS {name}")
        elif kind == "VARCHAR":
            shown.append(f"coalesce(CAST({name} AS VARCHAR), '') AS {name}")
        else:
            shown.append(f"TRY_CAST({name} AS {kind}) AS {name}")
    return f"SELECT {', '.join(shown)} FROM ({sql})"


class OfOperations(NamedTuple):
    """The SELECT of the acts of some operations, and the activities that they can be.

    Attributes:
        is_certain: they can be no others, whatever the parser says of itself.
        constants: column -> the text that every one of these acts has there.
    """

    sql: str
    activities: frozenset[str]
    is_certain: bool = False
    constants: Mapping[str, str] = MappingProxyType({})


def of_operations(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    parser: Parser,
    operations: Collection[str],
    *,
    now: dt.datetime,
    relation: str,
    is_looked_through: bool = True,
) -> OfOperations:
    """Return a parser's SELECT for the records of some operations, without what only others need.

    Args:
        connection: has a view for every table.
        engine: translates the parser.
        parser: reads a table with the column Operation.
        operations: as they stand in the records of ``relation``, and no others.
        now: the clock of the run.
        relation: the SELECT of the records.
        is_looked_through: look first what their bags hold; what none holds is left out.
    """
    plain = at_clock(engine.open_sql(parser.query), now)
    is_bagged = _OF_A_BAG in _acts_of(connection, engine, parser, now=now)

    names = [column.name for column in loader.tables()[parser.table].columns]
    narrowed = sql_domains.narrowed(
        plain,
        "Operation",
        operations,
        columns=names,
        ask=partial(record_values.computed, connection),
        held=(
            partial(record_values.names_held, connection, parser.table, operations)
            # The bags of another table hold something else.
            if is_looked_through and referenced_tables(parser.query, loader.tables()) == {parser.table}
            else record_values.all_names
        ),
    )
    sql = nested(taken_at_once(narrowed.sql) if is_bagged else narrowed.sql)
    possible = narrowed.values.get("Activity", frozenset(parser.activities))
    shown = _shown(connection, engine, parser, _reading(parser, sql, relation))
    return OfOperations(
        shown,
        frozenset(map(str, possible)),
        is_certain="Activity" in narrowed.values,
        constants=_constants(parser, _columns_of(connection, engine, parser, sql), narrowed.values),
    )


def of_all(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    parser: Parser,
    *,
    now: dt.datetime,
    relation: str,
) -> OfOperations:
    """Return a parser's SELECT for whatever records; see `parser_sql`."""
    sql = _acts_of(connection, engine, parser, now=now)
    given = _columns_of(connection, engine, parser, sql)
    shown = _shown(connection, engine, parser, _reading(parser, sql, relation))
    return OfOperations(shown, frozenset(parser.activities), constants=_constants(parser, given, {}))


def _constants(parser: Parser, given: set[str], values: Mapping[str, Values]) -> dict[str, str]:
    """Return the columns of texts that are the same for all acts of a parser's SQL, which gives some columns, with that text."""
    found = {}
    for column in columns():
        if DUCKDB_TYPES[column.type] == "VARCHAR":
            default = parser.table if column.name == "SourceTable" else ""
            possible = values.get(column.name) if column.name in given else {default}
            [only] = possible if possible is not None and len(possible) == 1 else [None]
            if isinstance(only, str):
                found[column.name] = only
    return found


def _acts_of(
    connection: duckdb.DuckDBPyConnection, engine: KqlEngine, parser: Parser, *, now: dt.datetime
) -> str:
    """Return a parser's query as SQL that reads each bag once, its steps nested; kept with the translations."""
    key = f"nested acts of {parser.id}: {parser.query}"
    if key not in engine.cache:
        import duckdb  # noqa: PLC0415

        plain = engine.open_sql(parser.query)
        shorter = taken_at_once(plain)
        try:
            connection.execute(f"DESCRIBE {at_clock(shorter, now)}")
        except duckdb.Error:
            # A query of a form that is not known there is run as it is.
            shorter = plain
        engine.cache[key] = shorter
    return at_clock(engine.cache[key], now)


def _columns_of(
    connection: duckdb.DuckDBPyConnection, engine: KqlEngine, parser: Parser, sql: str
) -> set[str]:
    """Return the columns a parser yields; kept with the translations, because planning a parser takes 0.3 s."""
    key = f"columns of {parser.id}: {parser.query}"
    if key not in engine.cache:
        engine.cache[key] = ",".join(str(row[0]) for row in connection.execute(f"DESCRIBE {sql}").fetchall())
    return set(engine.cache[key].split(","))


def union_sql(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    parsers: Iterable[Parser],
    present: set[str],
    *,
    now: dt.datetime,
) -> str:
    """Return the SELECT that gives all acts of all tables that have rows.

    Args:
        connection: has a view for every table.
        engine: translates the parsers.
        parsers: all parsers; those whose table is absent are left out.
        present: tables with rows.
        now: the clock of the run.
    """
    return united([
        parser_sql(connection, engine, parser, now=now) for parser in parsers if parser.table in present
    ])  # fmt: skip


def asked_first(parser: Parser, needed: Needs, early: Needs) -> list[str]:
    """Return what must hold of a parser's rows for somebody to ask for them at the start, as SQL; empty for all rows."""
    operations = left_out(parser, first_of(parser, needed, early))
    unasked = [f"Operation NOT IN ({in_list(operations)})"] if operations else []
    unasked += [f"NOT ({sql})" for activity, sql in parser.dull.items() if activity not in needed.of(parser)]
    return unasked + occurring.filters(parser)


def in_list(names: Iterable[str]) -> str:
    """Write texts for ``IN (...)``."""
    return ", ".join(literal(name) for name in names)


def united(parts: list[str]) -> str:
    """Return the SELECT of all acts that some SELECTs give, in all columns."""
    if not parts:
        nothing = ", ".join(f"{empty(column)} AS {identifier(column.name)}" for column in columns())
        return f"SELECT {nothing} WHERE false"
    return " UNION ALL ".join(parts)


def create_view(connection: duckdb.DuckDBPyConnection, union: str) -> None:
    """Create MailboxActivity as a view: complete, computed when it is asked."""
    connection.execute(f"CREATE OR REPLACE VIEW {TABLE} AS {union}")
