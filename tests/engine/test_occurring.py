"""A parser whose need does not occur yields no row, so it need not be planned."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING

import pytest

from mailwitness import act_parts, activities, occurring
from mailwitness.content import loader
from mailwitness.content_check import Bench
from mailwitness.kql import words
from mailwitness.needs import Needs
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.content.schemas import Parser

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
PARSERS = [parser for parser in loader.parsers() if parser.occurs]
DECODED = [parser for parser in PARSERS if "DecodedCmdlets" in parser.occurs]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return a database with all tables."""
    made = Bench()
    yield made
    made.close()


def fill(bench: Bench, parser: Parser, expect: str = "") -> int:
    """Fill a parser's table with the rows of all tests of all parsers of the table; return how many there are."""
    same = [one for one in loader.parsers() if one.table == parser.table]
    tests = [
        test
        for one in same
        for test in one.tests
        if not expect or (one.id == parser.id and test.expect == expect)
    ]
    rows = [row for test in tests for row in test.rows.get(parser.table, [])]
    bench.fill(parser.table, rows, parser.id)
    return len(rows)


def acts(bench: Bench, parser: Parser, relation: str = "") -> list[tuple[object, ...]]:
    """Return a parser's rows, of all rows of its table or of some."""
    sql = activities.parser_sql(bench.connection, bench.engine, parser, now=NOW, relation=relation)
    return sorted(bench.connection.execute(sql).fetchall(), key=str)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_records_without_the_need_yield_nothing(bench: Bench, parser: Parser) -> None:
    assert fill(bench, parser) > 1
    table = identifier(parser.table)
    without = f"SELECT * FROM {table} WHERE ({occurring.need(parser)}) IS NOT TRUE"

    assert bench.connection.execute(f"SELECT count(*) FROM ({without})").fetchall()[0][0] > 0
    assert acts(bench, parser, without) == []

    bench.connection.execute(f"DELETE FROM {table} WHERE ({occurring.need(parser)}) IS NOT TRUE")
    assert occurring.possible(bench.connection, [parser]) == [parser]
    bench.connection.execute(f"DELETE FROM {table}")
    assert occurring.possible(bench.connection, [parser]) == []


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_rows_are_the_same_with_and_without_the_need(bench: Bench, parser: Parser) -> None:
    assert fill(bench, parser, "hit") > 0
    needed = Needs(everywhere=frozenset(parser.activities))

    counted = act_parts.Counted(bench.connection, {parser.table: 1})
    first = act_parts.parts(
        bench.connection, bench.engine, [parser], counted, now=NOW, needed=needed, early=needed
    ).first.sql

    found = sorted(bench.connection.execute(first).fetchall(), key=str)
    assert found
    assert found == acts(bench, parser)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_need_names_columns_that_the_query_reads(bench: Bench, parser: Parser) -> None:
    """Others are not stored in a first pass."""
    known = {column.name for column in loader.tables()[parser.table].columns}

    assert words(occurring.need(parser)) & known <= activities._read_columns(bench.engine, parser, now=NOW)


@pytest.mark.parametrize("parser", DECODED, ids=lambda parser: parser.name)
def test_every_cmdlet_that_means_something_is_a_need(bench: Bench, parser: Parser) -> None:
    """The names are those that the parser's own query compares a command with."""
    names = set(re.findall(r'"([a-z]+-[a-z0-9]+)"', parser.query))
    assert len(names) > 100
    missed = []
    for name in sorted({*names, "wevtutil.exe"}):
        row = {"DecodedCmdlets": json.dumps([{"name": "Get-ChildItem"}, {"name": name.title()}])}
        bench.fill(parser.table, [row], parser.id)
        missed += [name] if not occurring.possible(bench.connection, [parser]) else []

    assert missed == []


def test_a_need_that_cannot_be_asked_stops_nothing(bench: Bench) -> None:
    """An own parser may say something that the database does not know."""
    import msgspec

    parser = msgspec.structs.replace(PARSERS[0], occurs="no_such_column = 1")
    bench.fill(parser.table, [], parser.id)

    assert occurring.possible(bench.connection, [parser]) == [parser]
