"""A bag that is asked for many values is read once, with the same rows."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from mailwitness import activities
from mailwitness.bag_values import taken_at_once
from mailwitness.content import loader
from mailwitness.content_check import Bench
from mailwitness.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
NAMES = [f"Name{number}" for number in range(12)]
BAGS = [
    None,
    "{}",
    json.dumps(
        {"Name1": 'a, FROM (SELECT "Bag"', "Name2": ["x"], "Name3": {"y": 1}, "Name4": None, "Name5": 7}
    ),
    '{"Name6": "first", "Name6": "second", "name7": "other case"}',
]


def query(names: list[str]) -> str:
    """Return a query of several stages that takes values out of a bag."""
    values = ", ".join(f"coalesce(\"Bag\" ->> '$.{name}', '') AS \"{name}\"" for name in names)
    return (
        'WITH _s0 AS (SELECT * FROM bags), _s1 AS (SELECT "Id" AS "Id", "Raw" AS "Bag", upper(\'Bag, FROM\') AS "Text" FROM _s0),\n'
        '     _s2 AS (SELECT _l."Id" AS "Id", _l."Bag" AS "Bag", _r."Id" AS "Other" FROM _s1 AS _l LEFT JOIN _s0 AS _r ON _l."Id" = _r."Id"),\n'
        '     _s3 AS (SELECT "Id", "Bag", coalesce("Other", (SELECT max("Id") FROM bags)) AS "Other" FROM _s2 WHERE "Id" >= 0)\n'
        f'SELECT "Id", "Other", "Bag" AS "Parameters", {values} FROM _s3 ORDER BY "Id"'
    )


def test_values_taken_at_once_are_the_same() -> None:
    """Also nested values, repeated names, and bags that are not there."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE bags (Id INTEGER, Raw JSON)")
        connection.executemany("INSERT INTO bags VALUES (?, ?)", list(enumerate(BAGS)))

        once = taken_at_once(query(NAMES))

        assert once.count("->>") == 0
        assert connection.execute(once).fetchall() == connection.execute(query(NAMES)).fetchall()


def test_a_bag_of_few_names_is_left_as_it_is() -> None:
    """A list of values costs more than three values."""
    assert taken_at_once(query(NAMES[:3])) == query(NAMES[:3])


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return a database with all tables."""
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("operation", "is_computed"), [("MailItemsAccessed", False), ("mailitemsaccessed", True)]
)
def test_a_parser_of_which_all_is_asked_later_costs_nothing_at_the_start(
    bench: Bench, operation: str, *, is_computed: bool
) -> None:
    """Reads whose operation is written in another case would never be asked later, so they are computed at once."""
    (reads,) = [
        parser for parser in loader.parsers() if parser.name == "OfficeActivity of reads to MailboxActivity"
    ]
    bench.fill("OfficeActivity", [{"Operation": operation, "UserId": "eva@contoso.example"}], "test")
    needed = Needs(everywhere=frozenset({"Read"}))

    union = activities.union_sql(
        bench.connection, bench.engine, [reads], {"OfficeActivity"}, now=NOW, needed=needed, early=Needs()
    )

    assert len(bench.connection.execute(union).fetchall()) == int(is_computed)
    assert ("OfficeActivity" in union) == is_computed


@pytest.mark.parametrize(("changed", "asked", "acts"), [
    ("Categories", {"HardDeleted"}, 0), ("Subject", {"HardDeleted"}, 1), ("Categories", {"Updated"}, 1),
])  # fmt: skip
def test_changes_that_nobody_asks_for_are_not_computed(
    bench: Bench, changed: str, asked: set[str], acts: int
) -> None:
    """Most changes of messages are flags and categories; those of what a message says are kept."""
    parsers = [parser for parser in loader.parsers() if "Updated" in parser.dull]
    row = {
        "Operation": "Update",
        "UserId": "eva@contoso.example",
        "ModifiedProperties": json.dumps([changed]),
    }
    bench.fill("OfficeActivity", [row], "test")
    needed = Needs(everywhere=frozenset(asked | {"MessageAltered"}))

    union = activities.union_sql(
        bench.connection, bench.engine, parsers, {"OfficeActivity"}, now=NOW, needed=needed, early=needed
    )

    assert len(bench.connection.execute(union).fetchall()) == acts
