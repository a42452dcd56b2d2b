"""What a parser is told of the values in its records before it is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import duckdb

# With fewer names asked of a bag, looking for them costs more than it spares.
_WORTH_LOOKING = 10


def computed(
    connection: duckdb.DuckDBPyConnection, expression: str, column: str, values: Collection[str]
) -> frozenset[str | bool]:
    """Return what the database makes of the values of a column."""
    rows = ", ".join(f"({literal(value)})" for value in sorted(values))
    asked = f"SELECT DISTINCT ({expression}) FROM (VALUES {rows}) AS given({identifier(column)})"
    return frozenset(row[0] for row in connection.execute(asked).fetchall())


def names_held(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    operations: Iterable[str],
    column: str,
    names: Collection[str],
) -> Collection[str]:
    """Return those of some names that a bag has in the records of some operations; all of them where that cannot be told.

    Args:
        connection: has a view of the table.
        table: has the column Operation.
        operations: as they stand in the records.
        column: holds JSON objects, or nothing.
        names: keys of such objects.
    """
    import duckdb  # noqa: PLC0415 - the types of its errors

    if len(names) < _WORTH_LOOKING:
        return names
    records = f"FROM {identifier(table)} WHERE Operation IN ({', '.join(map(literal, operations))})"
    bags = f"SELECT DISTINCT {identifier(column)} AS bag {records}"
    keys = f"SELECT unnest(json_keys(bag)) AS name FROM ({bags})"
    wanted = ", ".join(map(literal, names))
    try:
        found = connection.execute(f"SELECT DISTINCT name FROM ({keys}) WHERE name IN ({wanted})").fetchall()
    except duckdb.Error:
        return names
    return frozenset(str(row[0]) for row in found)


def all_names(_column: str, names: Collection[str]) -> Collection[str]:
    """Say that any of some names may be in a bag."""
    return names
