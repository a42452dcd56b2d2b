"""Sources that an organisation adds: one YAML file each, with its mapping and its tests inside."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from mailwitness import tables
from mailwitness.content import loader, schemas
from mailwitness.errors import ContentError
from mailwitness.loading import json_relation, mapping_for
from mailwitness.recognise import Recogniser
from mailwitness.row_select import select_sql
from mailwitness.tables import STATE, identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

_REMEDY = "See docs/how-to/add-a-source.md."
_NAME = re.compile(r"[a-z][a-z0-9_]{2,60}")
_TYPES = frozenset({"VARCHAR", "JSON", "BIGINT", "DOUBLE", "BOOLEAN"})
_PLACES = frozenset({"_Exhibit", "_Position", "_Salvaged"})
_RESERVED = "_mw_"
_LONGEST_LAMBDA_NAME = 3
# DuckDB defines these by others, and says nothing of what they depend on.
_PURE_MACROS = frozenset({"split_part", "nullif", "if", "array_to_string", "fmod", "list_first", "list_last"})


class OwnMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a mapping that a file outside the program may state; see `schemas.Mapping`."""

    table: str
    raw: dict[str, str]
    columns: dict[str, str]
    required: list[str]
    accept: str = "true"


class Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record and the cells of its row; without ``row`` the record must not become one."""

    name: str
    record: dict[str, Any]  # Any: a parsed JSON object or CSV row
    row: dict[str, Any] = {}  # Any: cells as written in YAML


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from the given folders.

    Attributes:
        sources: to be asked beside the shipped ones.
        mappings: of those sources that state their own, by id.
    """

    sources: tuple[schemas.Source, ...] = ()
    mappings: dict[str, schemas.Mapping] = {}


NONE = Own()


def files(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the source files of the given folders (or files) in a stable order."""
    for folder in folders:
        if folder.is_file():
            yield folder
        else:
            yield from sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"})


def read(folders: Sequence[Path]) -> Own:
    """Read sources, check them against the tables, and run the tests they carry.

    The SQL of a mapping may compute from its own record only: no file, no other row, no clock.

    Raises:
        ContentError: a folder holds no source, or a source is wrong or fails its tests.
    """
    if not folders:
        return NONE
    own = Own()
    with tempfile.TemporaryDirectory(prefix="mailwitness-sources-") as work:
        connection = tables.connect(memory="256MB", threads=1, temporary=Path(work))
        try:
            for folder in folders:
                listed = list(files([folder]))
                if not listed:
                    raise ContentError("there is no source here", place=str(folder), remedy=_REMEDY)
                for path in listed:
                    own = _with(own, path, connection, Path(work))
        finally:
            connection.close()
    return own


def _with(own: Own, path: Path, connection: duckdb.DuckDBPyConnection, work: Path) -> Own:
    document = loader.read_yaml(path)
    if not isinstance(document, dict):
        _refuse(path, "the file is no mapping of keys")
    source, mapping, tests = _parts(path, document)
    taken = {item.id for item in [*loader.sources(), *own.sources]}
    if source.id in taken or not _NAME.fullmatch(source.id):
        _refuse(path, f"the id {source.id!r} is taken, or is not lower case letters, digits and underscores")
    _check_names(path, source)
    mappings = own.mappings
    if mapping is not None:
        _check_mapping(path, mapping, connection)
        mappings = mappings | {mapping.id: mapping}
    grown = Own(sources=(*own.sources, source), mappings=mappings)
    _run_tests(path, grown, source, tests, connection, work)
    return grown


def _parts(
    path: Path,
    document: dict[str, Any],  # Any: a YAML document
) -> tuple[schemas.Source, schemas.Mapping | None, list[Test]]:
    """Take the file apart: the source, the mapping it states itself (or None), and the tests."""
    document = dict(document)
    try:
        tests = msgspec.convert(document.pop("tests", []), list[Test], strict=False)
        mapping = None
        if isinstance(document.get("mapping"), dict):
            stated = msgspec.convert(document["mapping"], OwnMapping, strict=False)
            document["mapping"] = f"own_{document.get('id')}"
            mapping = schemas.Mapping(id=document["mapping"], **msgspec.structs.asdict(stated))
        return msgspec.convert(document, schemas.Source, strict=False), mapping, tests
    except msgspec.ValidationError as error:
        raise ContentError(str(error), place=str(path), remedy=_REMEDY) from error


def _check_names(path: Path, source: schemas.Source) -> None:
    """Check that what a source refers to is part of the program: a file cannot bring code."""
    for module in filter(None, (source.reader, source.prepare)):
        if not _NAME.fullmatch(module) or not importlib.util.find_spec(f"mailwitness.readers.{module}"):
            _refuse(path, f"there is no reader {module!r}")
    for name in [source.mapping, *source.also]:
        if name not in {*loader.mappings(), "table_export", f"own_{source.id}"}:
            _refuse(path, f"there is no mapping {name!r}")
    if not source.recognise:
        _refuse(path, "it does not say how an input is recognised")
    for pattern in [text for rule in source.recognise for text in (*rule.first, rule.named)]:
        try:
            re.compile(pattern)
        except re.error as error:
            _refuse(path, f"{pattern!r} is no regular expression ({error})")


def _check_mapping(path: Path, mapping: schemas.Mapping, connection: duckdb.DuckDBPyConnection) -> None:
    table = loader.tables().get(mapping.table)
    if table is None or table.made:
        _refuse(path, f"there is no table {mapping.table!r} for evidence")
    known = {column.name for column in table.columns} - _PLACES
    for name in mapping.columns:
        if name not in known:
            _refuse(path, f"the table {table.table} has no column {name!r}")
    for key, kind in mapping.raw.items():
        if kind not in _TYPES or key.startswith(_RESERVED):
            _refuse(path, f"{key}: {kind!r} is none of {', '.join(sorted(_TYPES))}")
    _check_sql(path, mapping, connection)


def _check_sql(path: Path, mapping: schemas.Mapping, connection: duckdb.DuckDBPyConnection) -> None:
    """Check each expression alone, then all of them against the table."""
    if "TimeGenerated" not in mapping.columns or not mapping.required:
        _refuse(path, "it needs the column TimeGenerated, and under required what every sound record has")
    for sql in [*mapping.columns.values(), *mapping.required, mapping.accept]:
        if sql not in mapping.raw:
            _check_expression(path, sql, mapping.raw, connection)
    empty = ", ".join(f"NULL::{kind} AS {identifier(key)}" for key, kind in mapping.raw.items())
    _rows(path, mapping, f"SELECT {empty} WHERE false", connection)


def _check_expression(
    path: Path, sql: str, raw: dict[str, str], connection: duckdb.DuckDBPyConnection
) -> None:
    """Refuse SQL that is more than one expression over one record."""
    told = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql})"]).fetchall()[0][0]
    parsed = json.loads(told)
    if parsed["error"] or len(parsed["statements"]) != 1:
        _refuse(path, f"{sql!r} is no SQL expression")
    node = parsed["statements"][0]["node"]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or _has_clauses(node):
        _refuse(path, f"{sql!r} is more than one SQL expression")
    pure = _pure_functions(connection)
    named = {key.lower() for key in raw} | _lambda_names(node["select_list"])
    for part in _walk(node["select_list"][0]):
        if part.get("class") in {"SUBQUERY", "WINDOW", "STAR", "PARAMETER"}:
            _refuse(path, f"{sql!r} looks beyond its own record")
        name = part.get("function_name")
        if name is not None and name.lower() not in pure:
            _refuse(path, f"{sql!r} uses {name!r}, which is unknown or does not depend on the record alone")
        # A bare word such as current_timestamp or user is a column to the parser and a function later.
        if part.get("class") == "COLUMN_REF" and part["column_names"][0].lower() not in named:
            _refuse(path, f"{sql!r} names {part['column_names'][0]!r}, which is no key under raw")


def _lambda_names(tree: Any) -> set[str]:  # noqa: ANN401 - DuckDB's parse tree
    """Return the names that lambdas in an expression give to elements; short ones, which are no function's."""
    sides = [part["lhs"] for part in _walk(tree) if part.get("class") == "LAMBDA"]
    names = {name.lower() for side in sides for part in _walk(side) for name in part.get("column_names", [])}
    return {name for name in names if len(name) <= _LONGEST_LAMBDA_NAME}


def _has_clauses(node: dict[str, Any]) -> bool:  # Any: DuckDB's parse tree
    clauses = ("where_clause", "having", "qualify", "sample", "modifiers", "group_expressions")
    return node["from_table"]["type"] != "EMPTY" or any(node.get(name) for name in clauses)


def _pure_functions(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the functions whose value depends on their arguments alone: DuckDB's own, and our macros."""
    rows = connection.execute(
        "SELECT lower(function_name) FROM duckdb_functions() WHERE (function_type = 'scalar' AND stability = 'CONSISTENT' "
        "AND NOT coalesce(has_side_effects, false)) OR (function_type = 'macro' AND function_name LIKE 'mw!_%' ESCAPE '!')"
    ).fetchall()
    return _PURE_MACROS.union(name for (name,) in rows)


def _walk(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - DuckDB's parse tree
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _rows(
    path: Path, mapping: schemas.Mapping, relation: str, connection: duckdb.DuckDBPyConnection
) -> list[dict[str, Any]]:  # Any: cells
    """Return the rows that a mapping makes of raw records; those of another table or without a time are left out."""
    import duckdb  # noqa: PLC0415 - slow to import, and only needed where somebody has own sources

    sql, columns, _ = select_sql(mapping, relation, None, own=False)
    try:
        found = connection.execute(f"SELECT * FROM ({sql}) WHERE {STATE} = 0").fetchall()
    except duckdb.Error as error:
        _refuse(path, f"its SQL does not run: {str(error).splitlines()[0][:200]}")
    return [dict(zip(columns, row, strict=False)) for row in found]


# -- tests ---------------------------------------------------------------------------------------


def _run_tests(
    path: Path,
    own: Own,
    source: schemas.Source,
    tests: list[Test],
    connection: duckdb.DuckDBPyConnection,
    work: Path,
) -> None:
    if source.reader:
        # Its records come out of bytes: the reader's own tests hold them.
        return
    if not any(test.row for test in tests) or all(test.row for test in tests):
        _refuse(path, "it needs one test with a row and one near miss without")
    for test in tests:
        row = _row_of(path, own, source, test, connection, work)
        wrong = [name for name, value in test.row.items() if row is None or row.get(name) != _plain(value)]
        if bool(test.row) != (row is not None) or wrong:
            got = (
                "no row"
                if row is None
                else ", ".join(f"{n} = {row.get(n)!r}" for n in wrong or list(row)[:3])
            )
            _refuse(path, f"the test {test.name!r} fails: it gives {got}")


def _row_of(
    path: Path,
    own: Own,
    source: schemas.Source,
    test: Test,
    connection: duckdb.DuckDBPyConnection,
    work: Path,
) -> dict[str, str] | None:
    """Send a record the whole way: recognised (among all sources), mapped, in its table; None where it stops."""
    recogniser = Recogniser(own.sources, own.mappings)
    match = recogniser.match(test.record, source.recognise[0].format)
    if match is None or match.source != source.id:
        return None
    mapping = own.mappings.get(match.mapping) or mapping_for(match.mapping, match.table)
    line = work / "record.jsonl"
    line.write_text(json.dumps(test.record) + "\n", encoding="utf-8")
    relation = json_relation(
        [line], mapping, largest=1 << 20, own=False, record=match.record, outer=match.outer
    )
    found = _rows(path, msgspec.structs.replace(mapping, keep="true"), relation, connection)
    return {name: _plain(value) for name, value in found[0].items()} if found else None


def _plain(value: Any) -> str:  # noqa: ANN401 - a cell
    """Write a cell as a test does: times as ISO 8601 UTC, true and false in small letters."""
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse(path: Path, message: str) -> NoReturn:
    raise ContentError(message, place=str(path), remedy=_REMEDY)
