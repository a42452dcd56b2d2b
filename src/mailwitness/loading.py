"""Turn records into Parquet segments: SQL for the many, Python for the few that need care."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import direct_reads
from mailwitness.content import loader
from mailwitness.content.schemas import Mapping
from mailwitness.direct_reads import Read
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.row_select import (
    EXHIBIT_KEY,
    POSITION_KEY,
    SALVAGED_KEY,
    derived_columns,
    raw_keys,
    select_sql,
)
from mailwitness.tables import STATE, Segment, identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as Facts
    from pathlib import Path

    import duckdb

    from mailwitness.content.schemas import Column, Table
    from mailwitness.direct_reads import Fact
    from mailwitness.tables import TableStore

_TIME_COLUMNS = ("timegenerated", "timestamp", "createddatetime", "activitydatetime")
# Tables of ours that are always stored with all their columns.
COMPLETE_TABLES = frozenset({"PresentMessage", "SettingsSnapshot"})
# A group of rows is held in memory until it is written. Groups of the usual 122,880 rows touch three times as many pages of memory, which
# the system has to clear first: a twentieth of the time of loading.
_GROUP_ROWS = 32_768
_SMALL_GROUP_ROWS = 16_384
# The database reads in pieces of twice the longest line that it is told to expect. It is told the longest there is, but no less than
# this: smaller pieces are still in the processor's cache when their values are taken out, and take less memory.
_SHORTEST_LONGEST_LINE = 4 * 1024 * 1024
_OWN_KEYS = {EXHIBIT_KEY: "VARCHAR", POSITION_KEY: "BIGINT", SALVAGED_KEY: "BOOLEAN"}


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What one load statement stored.

    Attributes:
        rows: rows written, damaged ones included.
        damaged: record numbers of the damaged rows.
    """

    segment: Segment
    rows: int
    damaged: tuple[int, ...]


def export_mapping(table: Table) -> Mapping:
    """Return the mapping that loads a table from its own columns, as exports write them."""
    names = {column.name.lower() for column in table.columns}
    public = [
        column for column in table.columns if not column.name.startswith("_") or column.name == "_ResourceId"
    ]
    raw = {column.name: "JSON" if column.type == "dynamic" else "VARCHAR" for column in public}
    columns = {column.name: _export_cell(column) for column in public}
    # Defender's advanced hunting has Timestamp, Sentinel has TimeGenerated, some exports only the product's own time.
    times = [c.name for c in public if c.type == "datetime" and c.name.lower() in _TIME_COLUMNS]
    times.sort(key=lambda name: _TIME_COLUMNS.index(name.lower()))
    moment = "coalesce(" + ", ".join(f"mw_time({identifier(name)})" for name in times) + ", NULL)"
    columns |= {name: moment for name in ("TimeGenerated", "Timestamp") if name.lower() in names}
    time = "coalesce(" + ", ".join(f"nullif({identifier(name)}, '')" for name in times) + ", NULL)"
    derived = set(derived_columns(table.table))
    own = {name for name in columns if name in derived}
    return Mapping(
        id=f"export_{table.table}",
        table=table.table,
        raw=raw,
        columns={name: sql for name, sql in columns.items() if name not in own} | export_columns(table.table),
        required=[time],
    )


def _export_cell(column: Column) -> str:
    name = identifier(column.name)
    if column.type == "datetime":
        return f"mw_time({name})"
    if column.type == "dynamic":
        return f"mw_dynamic({name})"
    if column.type == "bool":
        return f"try_cast(CASE {name} WHEN '1' THEN 'true' WHEN '0' THEN 'false' ELSE {name} END AS BOOLEAN)"
    if DUCKDB_TYPES[column.type] == "VARCHAR":
        return name
    return f"try_cast({name} AS {DUCKDB_TYPES[column.type]})"


def export_columns(table: str) -> dict[str, str]:
    """Return the columns of a table that exports do not write as the table should hold them."""
    found: dict[str, str] = loader.read_yaml(loader.CONTENT / "tables" / "_exports.yaml").get(table, {})
    return found


def first_pass_steps() -> dict[str, dict[str, str]]:
    """Return by table the columns that a first pass works out for some records only, each with the step that holds a record's operation."""
    found: dict[str, dict[str, str]] = loader.read_yaml(loader.CONTENT / "tables" / "_first_pass.yaml")
    return found


def identity_column(table: str) -> str:
    """Return the column that holds a table's record id; empty when it has none."""
    return str(loader.read_yaml(loader.CONTENT / "tables" / "_identity.yaml").get(table, ""))


def mapping_for(mapping: str, table: str) -> Mapping:
    """Return a mapping by id; ``table_export`` is made from the table's schema."""
    if mapping == "table_export":
        return export_mapping(loader.tables()[table])
    found: Mapping = loader.mappings()[mapping]
    return found


def struct_of(mapping: Mapping, *, own: bool) -> dict[str, str]:
    """Return the raw keys with their DuckDB types."""
    slim = {key: _duckdb_type(shape) for key, shape in mapping.slim.items()}
    return mapping.raw | slim | (_OWN_KEYS if own else {})


def _duckdb_type(shape: Any) -> str:  # noqa: ANN401 - a structure as json_transform takes it
    """Write a structure such as ``[{"Path": "VARCHAR"}]`` as a DuckDB type."""
    if isinstance(shape, list):
        return f"{_duckdb_type(shape[0])}[]"
    if isinstance(shape, dict):
        return "STRUCT(" + ", ".join(f"{identifier(k)} {_duckdb_type(v)}" for k, v in shape.items()) + ")"
    return str(shape)


def line_options(largest: int) -> str:
    """Return the options of ``read_json`` with which each line that is not blank gives one row.

    Args:
        largest: bytes of the longest line; a longer one would make the database give up the file.
    """
    size = max(_SHORTEST_LONGEST_LINE, largest + 1024)
    # That lines are records is found out by reading the start twice, if it is not said.
    known = "format = 'newline_delimited', records = true, auto_detect = false"
    return f"{known}, ignore_errors = true, maximum_object_size = {size}"


def json_relation(
    paths: Iterable[Path | str],
    mapping: Mapping,
    *,
    largest: int,
    own: bool,
    record: str = "",
    outer: Iterable[tuple[str, str]] = (),
) -> str:
    """Return the SQL that reads one JSON record for each line.

    ``read_json`` with explicit columns is the only reader that yields exactly one row for each
    line that is not blank, in file order, damaged lines included (all null).

    Args:
        paths: files of one record for each line.
        mapping: names the raw keys.
        largest: bytes of the longest line.
        own: the records carry their exhibit and position.
        record: member that holds the record itself; empty when the line is the record.
        outer: pairs of outer member and raw key, used where the record lacks the key.
    """
    options = line_options(largest)
    listed = "[" + ", ".join(literal(str(path)) for path in paths) + "]"
    if not record:
        columns = ", ".join(f"{literal(k)}: {literal(t)}" for k, t in struct_of(mapping, own=own).items())
        return f"SELECT * FROM read_json({listed}, columns = {{{columns}}}, {options})"
    members = dict.fromkeys([record, *(name for name, _ in outer)])
    columns = ", ".join(f"{literal(k)}: {literal('JSON' if k == record else 'VARCHAR')}" for k in members)
    inner = f"SELECT * FROM read_json({listed}, columns = {{{columns}}}, {options})"
    text = f"CASE WHEN left({identifier(record)}::VARCHAR, 1) = '\"' THEN {identifier(record)} ->> '$' ELSE {identifier(record)}::VARCHAR END"
    return record_relation(inner, text, mapping, outer)


def record_relation(inner: str, text: str, mapping: Mapping, outer: Iterable[tuple[str, str]]) -> str:
    """Return the SQL that parses each record's JSON text once and fills gaps from outer columns."""
    structure = json.dumps(mapping.raw | mapping.slim)
    fallback = {key: name for name, key in outer}
    keys = [key for key in mapping.required if key in mapping.raw] or list(mapping.raw)
    # A record that cannot be parsed, or is no object, stays all null: it is salvaged or quarantined, not guessed.
    is_record = f"coalesce({', '.join(f'mw_r.{identifier(key)}::VARCHAR' for key in keys)}, NULL) IS NOT NULL"
    shown = []
    for key, kind in mapping.raw.items():
        member = f"mw_r.{identifier(key)}"
        if key in fallback and kind == "VARCHAR":
            member = (
                f"CASE WHEN {is_record} THEN coalesce(nullif({member}, ''), {identifier(fallback[key])}) END"
            )
        shown.append(f"{member} AS {identifier(key)}")
    return f"SELECT {', '.join(shown)} FROM (SELECT *, TRY(json_transform({text}, {literal(structure)})) AS mw_r FROM ({inner}))"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a first pass stores, so that no rule of this run can miss anything.

    Attributes:
        columns: table -> columns that parsers and rules on it name.
        bulk: table -> operations of which no rule needs nested values.
        of_operations: table -> SQL over Operation, true of all records that somebody reads; not of tables of which it is not known.
        whole: table -> digests of the queries that read it directly; its nested values are stored for every row, unless its mapping
            says of all of these (``Mapping.rules``) that they need no others than it keeps.
        parsed: table -> what each of its parsers reads.
        reads: table -> what each query that names it reads of it by itself.
    """

    columns: dict[str, set[str]]
    bulk: dict[str, list[str]] = {}
    of_operations: dict[str, str] = {}
    whole: dict[str, set[str]] = {}
    parsed: dict[str, list[Read]] = {}
    reads: dict[str, list[Read]] = {}

    def asked(self, table: str, facts: Facts[str, Fact]) -> set[str]:
        """Return the columns that queries, and not parsers, can ask of rows of which the facts are known."""
        return direct_reads.columns_of(self.reads.get(table, []), facts)


def query_digest(query: str) -> str:
    """Return by what a mapping knows the query of a rule (``Mapping.rules``)."""
    return hashlib.sha256(query.encode()).hexdigest()[:16]


def _written(reply: list[tuple[Any, ...]]) -> tuple[int, bool]:  # Any: query cells
    """Read what COPY says of the file it wrote: how many rows there are, and whether each of them is a record."""
    _, rows, _, _, columns, *_ = reply[0]
    highest = columns[identifier(STATE)].get("max", "0")
    return int(rows), highest == "0"


class Writer:
    """Write segments of one case through one connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: TableStore,
        wanted: Wanted | None,
        own: dict[str, Mapping] | None = None,
    ) -> None:
        """Take what to store (None stores everything), and mappings beside the shipped ones."""
        self.own = own or {}
        self.connection = connection
        self.store = store
        self.wanted = wanted
        # Records that go their ways one by one ask for theirs again and again.
        self._used: dict[tuple[str, str], Mapping] = {}

    def mapping(self, name: str, table: str) -> Mapping:
        """Return a mapping by id, own ones included, as this run uses it."""
        used = self._used.get((name, table))
        if used is None:
            used = self._used[name, table] = self.gated(self.own.get(name) or mapping_for(name, table))
        return used

    def name(self, parts: Iterable[str], mapping: Mapping) -> str:
        """Return the segment's name: the digest of what it comes from."""
        mapping = self.gated(mapping)
        wanted = ["*"] if self.wanted is None else sorted(self.stored_columns(mapping))
        text = "\n".join([*parts, mapping.id, msgspec.json.encode(mapping).decode(), *wanted])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def store_rows(
        self,
        relation: str,
        mapping: Mapping,
        name: str,
        *,
        exhibit: str = "",
        carried: Sequence[tuple[str, str]] = (),
    ) -> Stored:
        """Load the records of ``relation`` as one committed segment.

        Args:
            relation: SQL of the raw records.
            mapping: how they become rows.
            name: digest name of the segment.
            exhibit: the exhibit of all rows, whose record number is then the row number; empty
                when the records carry both themselves.
            carried: further values that stand in the file beside the columns; see `sources.also_tables`.
        """
        mapping = self.gated(mapping)
        wanted = None if self.wanted is None else self.stored_columns(mapping)
        sql, columns, partial = select_sql(mapping, relation, wanted, own=not exhibit, carried=carried)
        path = self.store.partial_path(mapping.table, name)
        # Compression and bloom filters would take a fifth of the time of loading, and all readers wait for the former again.
        # With texts for further tables beside the columns a group has to be small.
        size = _SMALL_GROUP_ROWS if carried else _GROUP_ROWS
        options = f"COMPRESSION uncompressed, WRITE_BLOOM_FILTER false, ROW_GROUP_SIZE {size}, RETURN_STATS"
        written = self.connection.execute(
            f"COPY ({sql}) TO {literal(str(path))} (FORMAT parquet, {options})"
        ).fetchall()
        rows, is_loaded = _written(written)
        number = "file_row_number" if exhibit else "_Position"
        option = ", file_row_number = true" if exhibit else ""
        file = f"read_parquet({literal(str(path))}{option})"
        other, damaged = (0, []) if is_loaded else self._not_loaded(file, number)
        segment = Segment(
            name=name,
            table=mapping.table,
            columns=tuple(columns),
            exhibit=exhibit,
            mapping=mapping.id,
            rows=rows - len(damaged) - other,
            partial=tuple(partial),
        )
        self.store.commit(segment)
        return Stored(segment=segment, rows=rows, damaged=tuple(damaged))

    def _not_loaded(self, file: str, number: str) -> tuple[int, list[int]]:
        """Return how many rows of a file are of another kind, and the numbers of those that are damaged, in order."""
        other = self.connection.execute(f"SELECT count(*) FROM {file} WHERE {STATE} = 2").fetchall()[0][0]
        damaged = self.connection.execute(
            f"SELECT {number} FROM {file} WHERE {STATE} = 1 ORDER BY 1"
        ).fetchall()
        return other, [one for (one,) in damaged]

    def stored_columns(self, mapping: Mapping) -> set[str]:
        """Return the columns worth storing: what rules and parsers name, time and identity."""
        always = {"TimeGenerated", "Timestamp", identity_column(mapping.table)}
        if mapping.table in COMPLETE_TABLES:
            # Evidence of what is there is asked by other means than rules, and it is small beside the logs.
            return set(mapping.columns) | always
        wanted = self.wanted.columns.get(mapping.table, set()) if self.wanted else set()
        return wanted.difference(mapping.unasked) | always

    def may_lack(self, table: str, columns: frozenset[str]) -> bool:
        """Tell whether rows that no parser reads need none but these columns in this run."""
        return self.wanted is not None and self.wanted.asked(table, {}) <= columns

    def gated(self, mapping: Mapping) -> Mapping:
        """Say for which rows nested values are stored in this run."""
        if self.wanted is None:
            return msgspec.structs.replace(mapping, nested=[], slim={})
        mapping = self._of_those_read(mapping, self.wanted)
        if self.wanted.whole.get(mapping.table, set()) - set(mapping.rules.values()):
            gated = msgspec.structs.replace(mapping, nested=[], slim={})
        else:
            bulk = ", ".join(literal(name) for name in self.wanted.bulk.get(mapping.table, [])) or "''"
            columns = mapping.columns | mapping.slim_columns
            keep = mapping.keep.replace("{{bulk}}", bulk)
            gated = msgspec.structs.replace(mapping, columns=columns, keep=keep)
        read = raw_keys(gated, self.stored_columns(gated))
        # Where a record is a text inside a cell, the parsing of each key is paid for, read or not.
        return msgspec.structs.replace(
            gated,
            raw={key: kind for key, kind in gated.raw.items() if key in read},
            slim={key: shape for key, shape in gated.slim.items() if key in read},
        )

    @staticmethod
    def _of_those_read(mapping: Mapping, wanted: Wanted) -> Mapping:
        """Have some columns worked out only for records of operations that somebody reads, where that is known for sure."""
        steps, read = first_pass_steps().get(mapping.table), wanted.of_operations.get(mapping.table)
        if not steps or read is None or mapping.partly:
            return mapping
        derived = derived_columns(mapping.table)
        partly = [name for name in steps if name not in mapping.columns and name not in mapping.instead]
        asked = {name: re.sub(r"\bOperation\b", steps[name], read) for name in partly}
        only = {name: f"CASE WHEN {sql} THEN {derived[name]} END" for name, sql in asked.items()}
        return msgspec.structs.replace(mapping, instead=mapping.instead | only, partly=partly)


class Lines:
    """Random access to the records of a sealed file.

    It is read, not mapped: a mapped file that shrinks ends the process.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; nothing is read yet."""
        self._handle = path.open("rb", buffering=0)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of one record, fewer if the file has become shorter."""
        return os.pread(self._handle.fileno(), length, offset)

    def close(self) -> None:
        """Release the file."""
        self._handle.close()


def json_line(record: dict[str, Any]) -> bytes:  # Any: a parsed JSON object
    """Write a record as one line that DuckDB reads: no lone surrogates."""
    try:
        line = msgspec.json.encode(record)
    except (UnicodeEncodeError, TypeError, ValueError, msgspec.MsgspecError):
        line = json.dumps(_clean(record), ensure_ascii=False).encode("utf-8", "replace")
    return line


def _clean(value: Any) -> Any:  # noqa: ANN401 - a parsed JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
