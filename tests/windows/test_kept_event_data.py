"""A first pass stores the data of few events: those of which a parser makes something."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from mailwitness import activities, findings
from mailwitness.content import loader
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.loading import query_digest
from mailwitness.row_select import derived_columns
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.content.schemas import Case, Mapping, Parser

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


# What the columns of a row were made of, as far as `keep` names it.
_MADE_OF = {
    "windows_process": "{'CommandLine': ProcessCommandLine, 'OriginalFileName': ProcessVersionInfoOriginalFileName, 'Image': FolderPath, "
    "'NewProcessName': FolderPath} AS Data, SourceSystem AS Channel",
    "windows_file": "{'TargetFilename': FolderPath, 'ObjectName': ''} AS Data, '' AS ObjectPath",
}
_OF_WINDOWS = [
    "Windows process events to MailboxActivity",
    "Windows commands on mail files to MailboxActivity",
    "Windows file events to MailboxActivity",
]


def _readers(mapping: Mapping) -> list[tuple[str, str, list[Case]]]:
    """Return name, query and tests of what reads the rows of a mapping."""
    found = [
        (one.name, one.query, one.tests)
        for one in loader.parsers()
        if one.name in _OF_WINDOWS and one.table == mapping.table
    ]
    return found + [
        (rule.name, rule.query, rule.tests) for _, rule in loader.rules() if rule.id in mapping.rules
    ]


@pytest.mark.parametrize("name", _MADE_OF)
def test_what_reads_programs_and_files_needs_no_values_that_are_left_out(bench: Bench, name: str) -> None:
    mapping = loader.mappings()[name]
    table = identifier(mapping.table)
    known = {column.name: column.type for column in loader.tables()[mapping.table].columns}
    derived = {one for one in derived_columns(mapping.table) if one in known}
    left_out = [one for one in (*mapping.nested, *derived) if known[one] in {"string", "dynamic"}]
    hits = 0

    for reader, query, tests in _readers(mapping):
        for test in tests:
            complete = bench.ask(query, test, reader)
            sets = ", ".join(
                f"{identifier(one)} = {chr(39) * 2 if known[one] == 'string' else 'NULL'}" for one in left_out
            )
            bench.connection.execute(
                f"UPDATE {table} SET {sets} WHERE rowid NOT IN (SELECT rowid FROM (SELECT rowid, {_MADE_OF[name]} FROM {table}) WHERE {mapping.keep})"
            )
            sql = bench.engine.to_sql(query, now=TEST_NOW)
            kept = findings.execute(bench.connection, sql, timeout_seconds=60, limit=10_000)
            hits += len(complete)
            assert sorted(kept, key=str) == sorted(complete, key=str), (reader, test.name)

    assert hits


def test_the_rules_that_a_mapping_names_are_those_it_was_made_for() -> None:
    rules = {rule.id: rule.query for _, rule in loader.rules()}
    named = [
        (name, rule, digest) for name, one in loader.mappings().items() for rule, digest in one.rules.items()
    ]

    # A rule that was changed: look whether `keep` of the mapping still holds for every row that it looks for, then put in the new digest.
    assert named == [(name, rule, query_digest(rules[rule])) for name, rule, _ in named]
