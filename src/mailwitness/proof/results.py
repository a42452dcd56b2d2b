"""Results of the proof as tables of the case: written once, then a view like any other table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.tables import Segment, literal

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from mailwitness.tables import TableStore


def count(connection: duckdb.DuckDBPyConnection, target: Path) -> int:
    """Return the number of rows of a Parquet file."""
    return int(
        connection.execute(f"SELECT count(*) FROM read_parquet({literal(str(target))})").fetchall()[0][0]
    )


def commit(
    connection: duckdb.DuckDBPyConnection, tables: TableStore, table: str, segment: str, target: Path
) -> int:
    """Take a file that was written to the table's partial path into the case; show it as a view; return its rows."""
    number = count(connection, target)
    known = loader.tables()[table].columns
    names = tuple(column.name for column in known if column.name != "_Salvaged")
    tables.commit(Segment(name=segment, table=table, columns=names, exhibit="", mapping="", rows=number))
    connection.execute(f"CREATE OR REPLACE VIEW {table} AS {tables.view_sql(table, known)}")
    return number
