"""Cases that cannot occur are left out of a translation, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from mailwitness import sql_domains
from mailwitness.sql_nesting import nested
from mailwitness.sql_tree import read, written

if TYPE_CHECKING:
    from collections.abc import Collection

LOOKED_UP = (
    "WITH \"_l0_Kinds\" AS (SELECT * FROM (VALUES (CAST('a' AS VARCHAR), CAST('x' AS VARCHAR)), (CAST('b' AS VARCHAR), "
    "CAST('it''s' AS VARCHAR)), (CAST('c' AS VARCHAR), CAST('z' AS VARCHAR))) AS _dt(\"Verb\", \"Kind\")),\n"
    '     _s0 AS (SELECT * FROM "T"),\n'
    "     _s1 AS (SELECT * FROM _s0 WHERE (coalesce((lower(\"Operation\") IN (lower('A'), lower('B'), lower('C'))), FALSE))),\n"
    '     _s2 AS (SELECT "Id" AS "Id", lower("Operation") AS "Verb" FROM _s1),\n'
    '     _s3 AS (SELECT _l."Id" AS "Id", _l."Verb" AS "Verb", _r."Kind" AS "Kind" FROM _s2 AS _l LEFT JOIN '
    '(SELECT * FROM "_l0_Kinds") AS _r ON _l."Verb" IS NOT DISTINCT FROM _r."Verb")\n'
    'SELECT "Id", "Kind", {cases} AS "Found" FROM _s3 ORDER BY "Id"'
)
ROWS = [(1, "A"), (2, "a"), (3, "B")]


def ask(expression: str, column: str, values: Collection[str]) -> frozenset[str | bool]:
    """Compute an expression as the database does."""
    with duckdb.connect(":memory:") as connection:
        rows = ", ".join(f"('{value}')" for value in values)
        sql = f'SELECT DISTINCT ({expression}) FROM (VALUES {rows}) AS given("{column}")'
        return frozenset(row[0] for row in connection.execute(sql).fetchall())


def narrowed(sql: str, held: Collection[str] = ("Set", "Unset")) -> sql_domains.Narrowed:
    """Narrow a query to the operations of ROWS, whose bags hold some names."""
    return sql_domains.narrowed(
        sql,
        "Operation",
        ["A", "a", "B"],
        columns=["Id", "Operation", "Bag"],
        ask=ask,
        held=lambda _, names: set(names) & set(held),
    )


CASES = {
    "a value that cannot be": ("CASE WHEN \"Verb\" = 'c' THEN 'never' ELSE \"Kind\" END", {"x", "it's"}, False),
    "a value in a list": ("CASE WHEN \"Verb\" IN ('c', 'd') THEN 'never' WHEN \"Id\" > 1 THEN 'y' ELSE 'n' END", {"y", "n"}, False),
    "not in a list": ("CASE WHEN NOT (\"Verb\" IN ('a', 'b')) THEN 'never' ELSE 'n' END", {"n"}, False),
    "one of two conditions": ("CASE WHEN \"Id\" > 1 AND coalesce((\"Kind\" = 'z'), FALSE) THEN 'never' ELSE 'n' END", {"n"}, False),
    "always": ("CASE WHEN \"Id\" > 1 OR \"Verb\" <> 'c' THEN 'y' ELSE 'never' END", {"y"}, False),
    "a pattern": ("CASE WHEN \"Verb\" ILIKE 'C%' THEN 'never' ELSE 'n' END", {"n"}, False),
    "it may be": ("CASE WHEN \"Verb\" = 'a' THEN 'y' ELSE 'never' END", {"y", "never"}, True),
    "within": ("CASE WHEN \"Verb\" = 'a' THEN CASE WHEN \"Kind\" = 'z' THEN 'never' ELSE 'y' END ELSE 'n' END", {"y", "n"}, False),
    "what is not understood": ("CASE WHEN \"Verb\" BETWEEN 'c' AND 'd' THEN 'never' ELSE upper(\"Kind\") END", None, True),
    "an escaped pattern": ("CASE WHEN \"Verb\" LIKE 'c\\_' ESCAPE '\\' THEN 'never' ELSE 'n' END", {"never", "n"}, True),
}  # fmt: skip


@pytest.mark.parametrize(("cases", "values", "keeps"), CASES.values(), ids=CASES.keys())
def test_what_is_left_gives_the_same_rows(cases: str, values: set[str] | None, *, keeps: bool) -> None:
    """Both the query with the cases left out and the same with its steps nested."""
    sql = LOOKED_UP.format(cases=cases)
    found = narrowed(sql)
    with duckdb.connect(":memory:") as connection:
        connection.execute('CREATE TABLE "T" ("Id" INTEGER, "Operation" VARCHAR)')
        connection.executemany('INSERT INTO "T" VALUES (?, ?)', ROWS)

        expected = connection.execute(sql).fetchall()

        assert connection.execute(found.sql).fetchall() == expected
        assert connection.execute(nested(found.sql)).fetchall() == expected
    assert found.values.get("Found") == values
    assert ("never" in found.sql) == keeps
    assert found.values["Kind"] == {"x", "it's"}


def test_a_filter_that_all_rows_pass_is_left_out() -> None:
    """The list of two hundred operations is not compared with every record again."""
    assert "WHERE" in LOOKED_UP
    assert "WHERE" not in narrowed(LOOKED_UP.format(cases='"Kind"')).sql


def test_a_look_up_that_misses_a_value_says_nothing() -> None:
    """What is not in the list has no kind at all, which is none of the kinds."""
    sql = LOOKED_UP.format(cases="CASE WHEN \"Kind\" = 'x' THEN 'y' ELSE 'n' END").replace("'b'", "'d'")

    assert "Kind" not in narrowed(sql).values


def test_a_translation_is_put_together_as_it_was() -> None:
    """Also quoted names and texts with brackets, and cases of both forms."""
    sql = "SELECT CASE \"a(\" WHEN 1 THEN ')' END, CASE WHEN (x) THEN 'it''s' ELSE f(y, CASE WHEN z THEN 1 END) END\n FROM t"

    assert written(read(sql)) == sql


def test_a_step_that_is_used_twice_keeps_its_name() -> None:
    """Written in twice it would be computed twice."""
    sql = "WITH a AS (SELECT 1 AS x), b AS (SELECT x FROM a), c AS (SELECT * FROM b JOIN b AS d USING (x)) SELECT * FROM c"

    assert nested(sql) == (
        "WITH b AS (SELECT x FROM (SELECT 1 AS x) AS a) SELECT * FROM (SELECT * FROM b JOIN b AS d USING (x)) AS c"
    )


BAGGED = (
    'WITH _s0 AS (SELECT * FROM "T"),\n'
    '     _s1 AS (SELECT "Id" AS "Id", "Bag" AS "Given" FROM _s0),\n'
    "     _s2 AS (SELECT \"Id\", (coalesce(regexp_matches(lower(coalesce(\"Given\" ->> '$.Unset', '')), '^(?:o|n)'), FALSE)) AS \"IsOn\", "
    "coalesce(\"Given\" ->> '$.Set', '') AS \"Value\" FROM _s1)\n"
    'SELECT "Id", CASE WHEN "IsOn" THEN \'never\' WHEN "Value" <> \'\' THEN "Value" ELSE \'n\' END AS "Found" FROM _s2 ORDER BY "Id"'
)


@pytest.mark.parametrize(
    ("bag", "held"), [('{"Set": "on"}', ["Set"]), ('{"Unset": "on"}', ["Unset"]), ("{}", [])]
)
def test_what_no_bag_holds_is_empty(bag: str, held: list[str]) -> None:
    """The cases that ask for it are left out; those that ask for what a bag holds stay."""
    found = narrowed(BAGGED, held)

    with duckdb.connect(":memory:") as connection:
        connection.execute('CREATE TABLE "T" ("Id" INTEGER, "Operation" VARCHAR, "Bag" JSON)')
        connection.execute("INSERT INTO \"T\" VALUES (1, 'A', ?), (2, 'B', NULL)", [bag])
        expected = connection.execute(BAGGED).fetchall()
        assert connection.execute(found.sql).fetchall() == expected
    assert ("never" in found.sql) == ("Unset" in held)
    assert ("$.Set" in found.sql) == ("Set" in held)


def test_a_name_that_two_bags_have_is_not_looked_for() -> None:
    """Whichever of them is meant, it may hold it."""
    sql = BAGGED.replace(
        "FROM _s1)", 'FROM (SELECT * FROM _s1 UNION ALL SELECT 9 AS "Id", \'{}\' AS "Given"))'
    )

    assert "never" in narrowed(sql, []).sql
