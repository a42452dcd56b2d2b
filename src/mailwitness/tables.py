"""The case's tables: Parquet segments seen as the public schemas, queried read-only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from mailwitness import google_bag
from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.powershell import function as powershell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Column

# Control column of a segment that is not shown: 0 loaded, 1 damaged, 2 a record of another table.
STATE = "_State"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file of a table and what it came from.

    Attributes:
        columns: table columns stored in the file.
        exhibit: the exhibit of all rows, or empty when the rows carry ``_Exhibit`` and ``_Position``.
        mapping: id of the mapping that made it.
        partial: columns whose values are only stored for kept rows.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    exhibit: str
    mapping: str
    rows: int
    partial: tuple[str, ...] = ()


# What the message ledger and the visibility verdict ask with.
_PROOF_MACROS = "proof.sql"


def connect(
    *, memory: str, threads: int, temporary: Path, in_order: bool = False, maps: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with our limits and macros; UTC, no extensions fetched.

    Args:
        memory: DuckDB's limit, such as ``"1GB"``.
        threads: number of worker threads.
        temporary: folder for what does not fit into memory.
        in_order: rows keep the order of their file, which loading needs.
        maps: records will become rows here; without, the macros of the mappings are left out, which take longer to
            read than most queries to run.
    """
    connection = new_database(in_order=in_order, maps=maps)
    limit(connection, memory=memory, threads=threads, temporary=temporary)
    return connection


def limit(connection: duckdb.DuckDBPyConnection, *, memory: str, threads: int, temporary: Path) -> None:
    """Set the limits of a new database."""
    connection.execute(
        f"SET memory_limit = {literal(memory)}; SET threads = {threads}; SET temp_directory = {literal(str(temporary))}"
    )


def new_database(*, in_order: bool, maps: bool) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with our macros, whose limits the caller sets before it holds anything."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET max_expression_depth = 10000")
    if in_order:
        # DuckDB 2.0 turns a long IN list into a join, and rows come out of it in another order: a row's number
        # would no longer be its record's number.
        connection.execute("SET disabled_optimizers = 'in_clause'")
    google_bag.register(connection)
    connection.execute((Path(__file__).parent / "macros.sql").read_text(encoding="utf-8"))
    for path in sorted((loader.CONTENT / "macros").glob("*.sql")):
        if maps or path.name == _PROOF_MACROS:
            connection.execute(path.read_text(encoding="utf-8"))
    powershell.register(connection)
    record_types = _record_type_names()
    connection.execute(
        "CREATE MACRO mw_record_type(x) AS CASE WHEN try_cast(x AS INTEGER) IS NULL "
        # Graph spells the names in camel case.
        "THEN upper(left(x, 1)) || substr(x, 2) ELSE "
        f"coalesce(nullif({record_types}[try_cast(x AS INTEGER) + 1], ''), x) END"
    )
    return connection


def _record_type_names() -> str:
    """Return the audit record types as a list literal indexed by number + 1: the fastest look-up."""
    import csv  # noqa: PLC0415

    path = loader.CONTENT / "watchlists" / "audit_record_types.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        names = {int(row["value"]): row["name"] for row in csv.DictReader(handle)}
    return "[" + ", ".join(literal(names.get(i, "")) for i in range(max(names) + 1)) + "]"


def literal(value: object) -> str:
    """Write a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a column or table name."""
    return '"' + name.replace('"', '""') + '"'


def empty(column: Column) -> str:
    """Return the SQL of a missing value: Kusto's missing string is '' and never null."""
    kind = DUCKDB_TYPES[column.type]
    return "''" if kind == "VARCHAR" else f"NULL::{kind}"


def _no_rows(columns: Iterable[Column]) -> str:
    nothing = ", ".join(f"{empty(column)} AS {identifier(column.name)}" for column in columns)
    return f"SELECT {nothing} WHERE false"


def create_empty_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create an empty view for every table of the schema, before anybody knows what the case holds."""
    for name, table in loader.tables().items():
        connection.execute(f"CREATE VIEW {identifier(name)} AS {_no_rows(table.columns)}")


class TableStore:
    """The segments of a case.

    A segment is committed when its description (``.json``) stands beside the data (``.parquet``):
    a run killed between the two leaves a data file that the next run replaces.
    """

    def __init__(self, root: Path) -> None:
        """Use ``root`` (the case's ``tables`` folder)."""
        self.root = root
        self._segments: list[Segment] | None = None

    def segments(self) -> list[Segment]:
        """Return all committed segments in a stable order."""
        if self._segments is None:
            described = [p for p in sorted(self.root.glob("*/*.json")) if p.with_suffix(".parquet").exists()]
            self._segments = [msgspec.json.decode(path.read_bytes(), type=Segment) for path in described]
        return self._segments

    def path(self, segment: Segment) -> Path:
        """Return the data file of a segment."""
        return self.root / segment.table / f"{segment.name}.parquet"

    def partial_path(self, table: str, name: str) -> Path:
        """Return where a segment's data is written before it is committed."""
        (self.root / table).mkdir(parents=True, exist_ok=True)
        return self.root / table / f"{name}.parquet.tmp-{os.getpid()}"

    def commit(self, segment: Segment) -> None:
        """Move the data into place, then describe it: after this the segment exists."""
        partial = self.partial_path(segment.table, segment.name)
        target = self.path(segment)
        target.with_suffix(".json").unlink(missing_ok=True)
        partial.replace(target)
        description = target.with_suffix(f".json.tmp-{os.getpid()}")
        description.write_bytes(msgspec.json.encode(segment))
        description.replace(target.with_suffix(".json"))
        self._segments = None

    def remove(self, segment: Segment) -> None:
        """Take a segment out of the case: first its description, then its data."""
        path = self.path(segment)
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self._segments = None

    def rows(self) -> dict[str, int]:
        """Return the number of rows of every table that has any, duplicates among them."""
        found: dict[str, int] = {}
        for segment in self.segments():
            found[segment.table] = found.get(segment.table, 0) + segment.rows
        return {table: count for table, count in found.items() if count}

    def tables(self) -> set[str]:
        """Return the tables that have rows in this case."""
        return {segment.table for segment in self.segments()}

    def duplicates_path(self, table: str) -> Path:
        """Return the file that lists the duplicate rows of a table."""
        return self.root / table / "_duplicates.parquet"

    def view_sql(self, table: str, columns: Iterable[Column], *, raw: bool = False) -> str:
        """Return the SELECT that shows all segments of a table in its schema.

        With ``raw`` duplicates are not left out.
        """
        listed = list(columns)
        # Segments of the same columns are one scan: a query over a log that came in portions is planned no longer than over one file.
        alike: dict[object, list[Segment]] = {}
        for segment in self.segments():
            if segment.table == table:
                alone = segment.name if segment.exhibit else ""
                alike.setdefault((alone, segment.columns, segment.mapping), []).append(segment)
        parts = [self._segment_sql(group, listed) for group in alike.values()]
        if not parts:
            return _no_rows(listed)
        union = " UNION ALL ".join(parts)
        duplicates = self.duplicates_path(table)
        if raw or not duplicates.exists():
            return union
        # Duplicates are few; a hash anti-join costs less than writing the segments again.
        return (
            f"SELECT * FROM ({union}) AS t ANTI JOIN read_parquet({literal(str(duplicates))}) AS d "
            "ON t._Exhibit = d._Exhibit AND t._Position = d._Position"
        )

    def _segment_sql(self, group: list[Segment], columns: list[Column]) -> str:
        """Return the SELECT that shows segments of the same columns; one alone where the rows do not carry their exhibit."""
        segment = group[0]
        stored = {name.lower() for name in segment.columns}
        shown = []
        for column in columns:
            name = identifier(column.name)
            if column.name == "_Exhibit" and segment.exhibit:
                shown.append(f"{literal(segment.exhibit)} AS _Exhibit")
            elif column.name == "_Position" and segment.exhibit:
                shown.append("file_row_number AS _Position")
            elif column.name.lower() in stored:
                shown.append(name)
            elif column.name == "_Salvaged":
                # Records that the database itself reads are whole.
                shown.append("false AS _Salvaged")
            else:
                shown.append(f"{empty(column)} AS {name}")
        numbered = ", file_row_number = true" if segment.exhibit else ""
        files = ", ".join(literal(str(self.path(one))) for one in group)
        # Segments live in our own folder under digest names: no quoting trouble.
        return f"SELECT {', '.join(shown)} FROM read_parquet([{files}]{numbered}) WHERE {STATE} = 0"

    def create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create a view for every table of the schema, empty where the case has no rows.

        A view that is there already is an empty one, made while nobody knew yet what the case holds.
        """
        present = self.tables()
        asked = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        made = {str(row[0]) for row in connection.execute(asked).fetchall()} - present
        for name, table in loader.tables().items():
            if name not in made:
                connection.execute(
                    f"CREATE OR REPLACE VIEW {identifier(name)} AS {self.view_sql(name, table.columns)}"
                )


def lock(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path]) -> None:
    """Take away everything a query does not need: files, extensions, settings."""
    allowed = ", ".join(literal(str(folder.resolve())) for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def rows(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:  # Any: query cells
    """Fetch all rows as dictionaries; dynamic columns are parsed."""
    description = cursor.description or []
    names = [column[0] for column in description]
    kinds = [str(column[1]) for column in description]
    found = []
    for row in cursor.fetchall():
        cells = zip(names, kinds, row, strict=True)
        found.append({name: _cell(kind, value) for name, kind, value in cells})
    return found


def _cell(kind: str, value: Any) -> Any:  # noqa: ANN401 - query cells
    if kind == "JSON" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
