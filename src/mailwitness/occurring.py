"""Which parsers can yield an act of the records that are there.

Planning a parser takes a third of a second, whether or not it finds anything. What a parser cannot do without (`Parser.occurs`) is looked
for first: in one scan of a table for all of its parsers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.kql import words
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.content.schemas import Parser

# Steps that make one row of several: a row may matter to such a query although it holds nothing of what the query looks for.
_MANY_TO_ONE = frozenset({"summarize", "join", "lookup", "union"})


def need(parser: Parser) -> str:
    """Return SQL over the table that holds for every record of which an act of a parser is made, see `Parser.occurs`."""
    # Inside CASE the second part is not computed for all records.
    return f"CASE WHEN {parser.occurs} THEN {parser.holds} ELSE false END" if parser.holds else parser.occurs


def possible(connection: duckdb.DuckDBPyConnection, parsers: Iterable[Parser]) -> list[Parser]:
    """Return the parsers that may yield acts, in their order.

    Args:
        connection: has a view for the table of every parser.
        parsers: those that are asked, whose tables have rows.
    """
    asked = list(parsers)
    by_table: dict[str, list[Parser]] = {}
    for parser in asked:
        if parser.occurs:
            by_table.setdefault(parser.table, []).append(parser)
    absent = {parser.id for table, some in by_table.items() for parser in _absent(connection, table, some)}
    return [parser for parser in asked if parser.id not in absent]


def _absent(connection: duckdb.DuckDBPyConnection, table: str, parsers: list[Parser]) -> list[Parser]:
    import duckdb  # noqa: PLC0415 - the types of its errors

    held = ", ".join(f"bool_or({need(parser)})" for parser in parsers)
    try:
        row = connection.execute(f"SELECT {held} FROM {identifier(table)}").fetchall()[0]
    except duckdb.Error:
        # What cannot be looked for may be there: the parsers themselves say what is wrong.
        return []
    return [parser for parser, hit in zip(parsers, row, strict=True) if not hit]


def filters(parser: Parser) -> list[str]:
    """Return SQL that holds for every row of the table that an act of the parser is made of, as conditions."""
    return [f"({need(parser)})"] if parser.occurs and _MANY_TO_ONE.isdisjoint(words(parser.query)) else []
