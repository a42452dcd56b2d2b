"""A first pass stores the data of few events: those of which a parser makes something."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from mailwitness import activities
from mailwitness.content import loader
from mailwitness.content_check import Bench
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.content.schemas import Parser

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
MAPPINGS = {
    mapping.table: mapping
    for name, mapping in loader.mappings().items()
    if name in {"windows_event", "windows_security"}
}
PARSERS = [parser for parser in loader.parsers() if parser.table in MAPPINGS]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return a database with all tables."""
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_acts_need_no_event_data_that_are_left_out(bench: Bench, parser: Parser) -> None:
    mapping = MAPPINGS[parser.table]
    tests = [test for one in PARSERS if one.table == parser.table for test in one.tests]
    rows = [row for test in tests for row in test.rows.get(parser.table, [])]
    bench.fill(parser.table, rows, parser.id)
    known = {column.name: column.type for column in loader.tables()[parser.table].columns}
    empty = {name: "''" if known[name] == "string" else "NULL" for name in mapping.nested}
    left_out = ", ".join(
        f"CASE WHEN {mapping.keep} THEN {identifier(name)} ELSE {nothing} END AS {identifier(name)}"
        for name, nothing in empty.items()
    )
    table = identifier(parser.table)

    def acts(relation: str) -> list[tuple[object, ...]]:
        sql = activities.parser_sql(bench.connection, bench.engine, parser, now=NOW, relation=relation)
        return sorted(bench.connection.execute(sql).fetchall(), key=str)

    complete = acts("")
    assert complete
    assert acts(f"SELECT * REPLACE ({left_out}) FROM {table}") == complete
