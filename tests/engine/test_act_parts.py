"""The few acts of rare operations are computed first, and both parts together are all acts."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from mailwitness import act_parts, activities
from mailwitness.content import loader
from mailwitness.content_check import Bench
from mailwitness.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.content.schemas import Parser

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
TABLE = "OfficeActivity"
EVERYTHING = Needs(everywhere=frozenset(activities.vocabulary(loader.parsers())))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a database with all tables."""
    made = Bench()
    yield made
    made.close()


def parser(name: str) -> Parser:
    """Return a shipped parser."""
    (found,) = [one for one in loader.parsers() if one.name == name]
    return found


def parts(
    bench: Bench, parsers: list[Parser], *, needed: Needs, early: Needs, most_first: int = 20_000
) -> act_parts.Parts:
    """Return the parts of the acts in the table of the audit log."""
    return act_parts.parts(
        bench.connection,
        bench.engine,
        parsers,
        act_parts.Counted(bench.connection, {TABLE: 1}),
        now=NOW,
        needed=needed,
        early=early,
        most_first=most_first,
    )


@pytest.mark.parametrize(
    ("operation", "is_computed"), [("MailItemsAccessed", False), ("mailitemsaccessed", True)]
)
def test_a_parser_of_which_all_is_asked_later_costs_nothing_at_the_start(
    bench: Bench, operation: str, *, is_computed: bool
) -> None:
    """Reads whose operation is written in another case would never be asked later, so they are computed at once."""
    reads = parser("OfficeActivity of reads to MailboxActivity")
    bench.fill(TABLE, [{"Operation": operation, "UserId": "eva@contoso.example"}], "test")

    first = parts(bench, [reads], needed=Needs(everywhere=frozenset({"Read"})), early=Needs()).first.sql

    assert len(bench.connection.execute(first).fetchall()) == int(is_computed)
    assert (TABLE in first) == is_computed


@pytest.mark.parametrize(("changed", "asked", "acts"), [
    ("Categories", {"HardDeleted"}, 0), ("Subject", {"HardDeleted"}, 1), ("Categories", {"Updated"}, 1),
])  # fmt: skip
def test_changes_that_nobody_asks_for_are_not_computed(
    bench: Bench, changed: str, asked: set[str], acts: int
) -> None:
    """Most changes of messages are flags and categories; those of what a message says are kept."""
    parsers = [one for one in loader.parsers() if "Updated" in one.dull]
    row = {
        "Operation": "Update",
        "UserId": "eva@contoso.example",
        "ModifiedProperties": json.dumps([changed]),
    }
    bench.fill(TABLE, [row], "test")
    needed = Needs(everywhere=frozenset(asked | {"MessageAltered"}))

    first = parts(bench, parsers, needed=needed, early=needed).first.sql

    assert len(bench.connection.execute(first).fetchall()) == acts


def test_both_parts_are_all_acts_and_the_first_has_all_of_its_activities(bench: Bench) -> None:
    """Each part is computed by a parser without the cases of the other's operations: the acts must be the same."""
    parsers = [one for one in loader.parsers() if one.table == TABLE]
    cases = [case for one in parsers for case in one.tests]
    rows = [row for case in cases for row in case.rows.get(TABLE, [])]
    bench.fill(TABLE, rows, "test")
    whole = parts(bench, parsers, needed=EVERYTHING, early=EVERYTHING)
    assert whole.rest is None
    expected = sorted(map(repr, bench.connection.execute(whole.first.sql).fetchall()))

    for most in (0, 12, 40):
        split = parts(bench, parsers, needed=EVERYTHING, early=EVERYTHING, most_first=most)
        assert split.rest is not None
        rest = split.rest()

        first_acts, rest_acts = (bench.connection.execute(one.sql).fetchall() for one in (split.first, rest))

        assert sorted(map(repr, first_acts + rest_acts)) == expected
        place = [column.name for column in activities.columns()].index("Activity")
        assert {str(row[place]) for row in rest_acts} <= rest.activities
        assert len(first_acts) > 0 or not most
        for column, text in rest.constants.items():
            place = [one.name for one in activities.columns()].index(column)
            assert {row[place] for row in rest_acts} == {text}


def test_an_operation_in_another_case_belongs_to_a_part(bench: Bench) -> None:
    """Operations are counted as they stand and compared as the parser compares them."""
    main = parser("OfficeActivity to MailboxActivity")
    bench.fill(
        TABLE,
        [
            {"Operation": "REMOVEDSEARCHEXPORTED", "UserId": "eva@contoso.example"},
            {
                "Operation": "UPDATE APPLICATION \u2013 CERTIFICATES AND SECRETS MANAGEMENT ",
                "UserId": "eva@contoso.example",
            },
            *({"Operation": "HardDelete", "UserId": "eva@contoso.example"} for _ in range(3)),
        ],
        "test",
    )

    split = parts(bench, [main], needed=EVERYTHING, early=EVERYTHING, most_first=2)

    assert split.rest is not None
    rest = split.rest()
    found = bench.connection.execute(f"SELECT Activity FROM ({split.first.sql}) ORDER BY ALL").fetchall()
    assert found == [("ApplicationChanged",), ("ExportRemoved",)]
    assert "ExportRemoved" not in rest.activities
    assert "HardDeleted" in rest.activities
    assert rest.constants["CommandLine"] == ""
    assert rest.constants["SourceTable"] == TABLE
