"""A bag that is asked for many values is read once, with the same rows."""

from __future__ import annotations

import json

import duckdb

from mailwitness.bag_values import taken_at_once

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
