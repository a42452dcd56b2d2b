"""Lint questions and run their truth tables on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness import content_lint
from mailwitness.content import loader
from mailwitness.content.playbook import Question, QuestionCase, playbook
from mailwitness.errors import MailwitnessError
from mailwitness.investigation import answers
from mailwitness.investigation.answers import Answer, Ground
from mailwitness.kql import referenced_tables, uses_clock

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Protocol

    import duckdb

    from mailwitness.kql import KqlEngine

    class Bench(Protocol):
        """A database with empty tables that tests fill."""

        connection: duckdb.DuckDBPyConnection
        engine: KqlEngine

        def fill(self, name: str, rows: list[dict[str, Any]], place: str) -> None:  # Any: YAML cells
            """Replace the rows of a table."""


_NOTHING = Ground(tables=set(), activities=set(), absent={}, records=set())


def problems(
    path: Path, question: Question, vocabulary: set[str], engine: KqlEngine, now: dt.datetime
) -> Iterator[str]:
    """Yield one sentence for each problem of a question.

    Args:
        path: its file.
        question: the question, placeholders expanded.
        vocabulary: every activity that a parser can yield.
        engine: knows the tables.
        now: a clock for queries that ask for it.
    """
    if question.id != path.stem:
        yield f"the id is {question.id!r}, the file is called {path.stem!r}"
    rows = {row.id for row in playbook().rows}
    yield from (f"the playbook has no row {name!r}" for name in question.playbook if name not in rows)
    if not question.playbook:
        yield "playbook is empty: say which row of the playbook the question answers"
    try:
        engine.to_sql(question.query, now=now)
    except MailwitnessError as error:
        yield str(error)
        return
    if uses_clock(question.query):
        yield "the query reads the clock: an answer speaks of the time of the case"
    tables = referenced_tables(question.query, engine.schema)
    if not tables & {"CaseActs", "CaseFindings", "CaseSubjects", "CaseUsual", "CaseWindow"}:
        yield "the query names no table of the cases: it would answer the same for all"
    needed = [*question.needs.activities, *question.needs.records]
    yield from (f"{name!r} is no activity that a parser yields" for name in needed if name not in vocabulary)
    yield from (
        f"there is no table {name!r}" for name in question.needs.tables if name not in loader.tables()
    )
    yield from content_lint.dead_activities(question.query, vocabulary)
    yield from _wrong_window(question, tables)
    yield from _truth_table(question)


def _wrong_window(question: Question, tables: set[str]) -> Iterator[str]:
    """Find an answer that would say it looked at another time than its query does."""
    query = question.query.replace(" ", "")
    if "IsInWindow" in query:
        looked = "case"
    elif "-7d)" in query:
        looked = "week"
    elif "CaseActs" in tables:
        looked = "month"
    else:
        return
    if question.window != looked:
        yield f"window is {question.window!r}, but the query looks at {looked!r}"


def _truth_table(question: Question) -> Iterator[str]:
    """Find answers that the query can give and no test shows."""
    shown = {test.answer for test in question.tests}
    wanted = {"yes", "no"}
    if question.silent == "not_evaluated" or '"not_evaluated"' in question.query:
        wanted.add("not_evaluated")
    yield from (f"no test ends with {word!r}" for word in sorted(wanted - shown))


def tests(bench: Bench, question: Question, place: str, now: dt.datetime) -> Iterator[tuple[str, str]]:
    """Run the truth table of one question; yield name and problem of each line, an empty problem when it holds."""
    for test in question.tests:
        yield test.name, _problem(bench, question, test, place, now)
    needs = question.needs
    if needs.tables or needs.activities or needs.records:
        yield (
            "an evidence that holds nothing of the kind is not evaluated",
            _without(bench, question, place, now),
        )


def _without(bench: Bench, question: Question, place: str, now: dt.datetime) -> str:
    try:
        found = _ask(bench, question, QuestionCase(name="", answer="yes", rows={}), place, now, _NOTHING)
    except MailwitnessError as error:
        return str(error)
    return "" if found.said == "not_evaluated" and found.reason else f"got {found.said}"


def _problem(bench: Bench, question: Question, test: QuestionCase, place: str, now: dt.datetime) -> str:
    needs = question.needs
    everything = Ground(
        tables=set(needs.tables), activities=set(needs.activities), absent={}, records=set(needs.records)
    )
    try:
        found = _ask(bench, question, test, place, now, everything)
    except MailwitnessError as error:
        return str(error)
    if found.said != test.answer:
        return f"expected {test.answer}, got {found.said}: {found.sentence}"
    if test.sentence not in found.sentence:
        return f"the sentence is {found.sentence!r}"
    if "{" in found.sentence:
        return f"the sentence has a hole: {found.sentence!r}"
    differing = {
        name: found.numbers.get(name)
        for name, value in test.numbers.items()
        if found.numbers.get(name) != value
    }
    return f"the numbers differ: {differing}, expected {test.numbers}" if differing else ""


def _ask(
    bench: Bench, question: Question, test: QuestionCase, place: str, now: dt.datetime, ground: Ground
) -> Answer:
    for name in sorted(referenced_tables(question.query, bench.engine.schema) | set(test.rows)):
        bench.fill(name, test.rows.get(name, []), place)
    sql = bench.engine.to_sql(question.query, now=now)
    return answers.ask(bench.connection, question, sql, ["C1"], ground, {})["C1"]
