"""What the translator leaves open is decided where the types are certain, and nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.engine.cases import NOW

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.engines import new_engine
from mailwitness.kql import DUCKDB_TYPES, KqlEngine, referenced_tables
from mailwitness.kql_types import resolve, type_of

if TYPE_CHECKING:
    import duckdb

GUARD = 'CASE WHEN typeof("A") = \'JSON\' THEN "A" ->> \'$\' ELSE "A" END'


def test_only_the_case_that_can_occur_is_kept() -> None:
    sql = f'SELECT {GUARD} AS "B" FROM "T"'

    assert resolve(sql, {"A": "VARCHAR"}) == 'SELECT ("A") AS "B" FROM "T"'
    assert resolve(sql, {"A": "JSON"}) == 'SELECT ("A" ->> \'$\') AS "B" FROM "T"'
    assert resolve(sql, {}) == sql


def test_the_type_of_a_written_value_is_known() -> None:
    sql = "SELECT CASE typeof('by ') WHEN 'JSON' THEN 1 WHEN 'BOOLEAN' THEN 2 ELSE 3 END"

    assert resolve(sql, {}) == "SELECT (3)"


@pytest.mark.parametrize(
    "definition",
    [
        'SELECT json_extract("P", \'$.A\') AS "A"',
        'SELECT * FROM (VALUES (1, 2)) AS _dt("A", "B")',
        'SELECT "Unknown" AS "A"',
        'SELECT unnest("L") AS "A"',
    ],
)
def test_a_name_that_is_given_again_is_only_decided_when_all_agree(definition: str) -> None:
    sql = f'WITH _s0 AS (SELECT * FROM "T"), _s1 AS ({definition} FROM _s0) SELECT {GUARD} FROM _s1'

    assert resolve(sql, {"A": "VARCHAR"}) == sql


def test_a_value_list_tells_its_types_by_its_casts() -> None:
    values = "SELECT * FROM (VALUES (CAST('x' AS VARCHAR)), (CAST('y' AS VARCHAR))) AS _dt(\"A\")"

    assert resolve(f"WITH _s0 AS ({values}) SELECT {GUARD} FROM _s0", {}).endswith('SELECT ("A") FROM _s0')


def test_a_name_that_keeps_its_type_when_it_is_given_again_is_decided() -> None:
    keeps, changes = 'coalesce("A", CAST(0 AS BIGINT))', 'lower("A")'
    sql = f'WITH _s0 AS (SELECT count(*) AS "A" FROM "T"), _s1 AS (SELECT {{}} AS "A" FROM _s0) SELECT {GUARD} FROM _s1'

    assert resolve(sql.format(keeps), {}).endswith('SELECT ("A") FROM _s1')
    assert resolve(sql.format(changes), {}) == sql.format(changes)


def test_a_column_of_two_types_is_not_decided() -> None:
    schema = {"T": {"A": "VARCHAR"}, "U": {"A": "JSON"}}
    engine = KqlEngine(schema, {}, schema)

    assert "typeof" not in engine.to_sql('T | where A == "x"', now=NOW)
    assert "typeof" in engine.to_sql('T | union U | where A == "x"', now=NOW)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("'x'", "VARCHAR"),
        ('lower("A")', "VARCHAR"),
        ('lower("A") || "B"', None),
        ("coalesce(\"J\" ->> '$.x', '')", "VARCHAR"),
        ("coalesce(\"J\", '{}')", None),
        ("json_extract(\"J\", ['$.a', '$.b'])", None),
        ("CASE WHEN \"C\" THEN 'x' ELSE '' END", "VARCHAR"),
        ('CASE WHEN "C" THEN \'x\' ELSE "J" END', None),
        ("CASE WHEN \"C\" THEN 'x' END || 'y'", None),
        ("COALESCE(arg_min({'v': \"J\"}, \"T\"), any_value({'v': \"J\"}))['v']", "JSON"),
        ("COALESCE(arg_min({'v': \"J\"}, \"T\"), any_value({'v': \"K\"}))['v']", None),
        ('count(*) FILTER (WHERE ("C"))', "BIGINT"),
        ("count(*) FILTER (WHERE (\"C\")) || ('y')", None),
    ],
)
def test_a_type_is_only_said_when_it_is_certain(expression: str, kind: str | None) -> None:
    assert type_of(expression, {"J": "JSON"}) == kind


@pytest.fixture(scope="module")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = tables.connect(memory="512MB", threads=1, temporary=tmp_path_factory.mktemp("work"))
    # Empty tables would otherwise be planned away, and every plan be the same.
    connection.execute("SET disabled_optimizers = 'statistics_propagation,empty_result_pullup'")
    yield connection
    connection.close()


def plan(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    return re.sub(r"[\s│─╭╮╰╯┬┴├┤┼]+", "", connection.execute(f"EXPLAIN {sql}").fetchall()[0][1])


RULES = sorted((rule for _, rule in loader.rules()), key=lambda rule: rule.id)[::8]


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_a_shipped_rule_is_planned_the_same_either_way(
    empty_tables: duckdb.DuckDBPyConnection, name: str
) -> None:
    query = next(rule.query for rule in RULES if rule.name == name)
    known = loader.tables()
    for table in referenced_tables(query, known):
        listed = ", ".join(f'"{c.name}" {DUCKDB_TYPES[c.type]}' for c in known[table].columns)
        empty_tables.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({listed})')
    open_types = KqlEngine({table: [c.name for c in one.columns] for table, one in known.items()})

    decided, undecided = new_engine().to_sql(query, now=NOW), open_types.to_sql(query, now=NOW)

    assert len(decided) < len(undecided)
    assert plan(empty_tables, decided) == plan(empty_tables, undecided)
