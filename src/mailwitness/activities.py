"""MailboxActivity: what the parsers make of the tables, one row for each act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES, tokens, words
from mailwitness.tables import empty, identifier, literal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    import duckdb

    from mailwitness.content.schemas import Column, Parser
    from mailwitness.kql import KqlEngine

TABLE = "MailboxActivity"


def vocabulary(parsers: Iterable[Parser]) -> set[str]:
    """Return every activity that some parser can yield."""
    return {activity for parser in parsers for activity in parser.activities}


def named_activities(kql: str, known: set[str]) -> set[str]:
    """Return the activities that a query names in its strings."""
    strings = {token.text.strip("@h").strip("\"'") for token in tokens(kql) if token.kind == "string"}
    return strings & known


def columns() -> list[Column]:
    """Return the table's columns."""
    return loader.tables()[TABLE].columns


def wanted_columns(queries: Iterable[str], tables: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each table, the columns that the queries name: these are worth storing."""
    named: set[str] = set()
    for query in queries:
        named |= words(query)
    known = loader.tables()
    return {t: {c.name for c in known[t].columns if c.name in named} for t in tables if t in known}


def parser_sql(connection: duckdb.DuckDBPyConnection, engine: KqlEngine, parser: Parser, *, now: dt.datetime) -> str:
    """Return the SELECT that gives a parser's rows all columns of MailboxActivity, never a null string."""
    sql = engine.to_sql(parser.query, now=now)
    given = {str(row[0]) for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
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


def create(connection: duckdb.DuckDBPyConnection, engine: KqlEngine, parsers: Iterable[Parser], present: set[str], *, now: dt.datetime, needed: set[str] | None) -> None:
    """Create MailboxActivity from the tables that have rows.

    Args:
        connection: has a view for every table.
        engine: translates the parsers.
        parsers: all parsers; those whose table is absent are left out.
        present: tables with rows.
        now: the clock of the run.
        needed: activities to compute and keep in memory; None creates a view of all of them.
    """
    parts = []
    for parser in parsers:
        if parser.table in present and (needed is None or needed & set(parser.activities)):
            parts.append(parser_sql(connection, engine, parser, now=now))
    if not parts:
        nothing = ", ".join(f"{empty(column)} AS {identifier(column.name)}" for column in columns())
        parts.append(f"SELECT {nothing} WHERE false")
    union = " UNION ALL ".join(parts)
    if needed is None:
        connection.execute(f"CREATE OR REPLACE VIEW {TABLE} AS {union}")
        return
    kept = ", ".join(literal(activity) for activity in sorted(needed)) or "''"
    connection.execute(f"DROP VIEW IF EXISTS {TABLE}")
    connection.execute(f"CREATE OR REPLACE TABLE {TABLE} AS SELECT * FROM ({union}) WHERE Activity IN ({kept})")
