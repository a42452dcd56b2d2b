"""Run the tests inside content files on a real database, and lint what they say.

``python -m mailwitness.content_check`` does both for everything that is shipped.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import activities, chain_check, content_lint, findings, question_check, rule_form, tables
from mailwitness.content import documents, loader, pack, playbook
from mailwitness.content.schemas import Parser, Proof, Recovery, SettingFamily
from mailwitness.content_cells import cell
from mailwitness.engines import new_engine
from mailwitness.errors import ContentError, MailwitnessError
from mailwitness.kql import DUCKDB_TYPES, referenced_tables
from mailwitness.posture import check_tests
from mailwitness.proof import ledger, recoverability, settings
from mailwitness.scenarios import lint as lint_of_scenarios

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.content.schemas import Case, Explanation, Rule

# The clock of content tests; tests that need another moment write times relative to it.
TEST_NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
_DEFAULT_TIME = "2026-03-02T08:00:00"
_OK, _FAILED = 0, 2


class Outcome(msgspec.Struct, frozen=True):
    """One test: where it stands and, when it failed, what came instead."""

    place: str
    name: str
    problem: str = ""


class Bench:
    """A database with empty tables that tests fill and queries read."""

    def __init__(self) -> None:
        """Open the database once; creating 36 tables for each test would take longer than the tests."""
        self._folder = tempfile.TemporaryDirectory(prefix="mailwitness-")
        self.connection = tables.connect(memory="512MB", threads=1, temporary=Path(self._folder.name))
        # Translating all queries takes a minute; what is tested is what a run would use.
        self._known = len(_translations())
        self.engine = new_engine(_translations())
        self._made: set[str] = set()

    def close(self) -> None:
        """Release the database; keep what was translated for the next check."""
        if len(self.engine.cache) > self._known:
            pack.keep(self.engine.cache)
        documents.save()
        self.connection.close()
        self._folder.cleanup()

    def fill(self, name: str, rows: list[dict[str, Any]], place: str) -> None:  # Any: YAML cells
        """Replace a table's rows; missing cells get the table's defaults, positions count up.

        Raises:
            ContentError: a row names a column that the table does not have.
        """
        table = loader.tables().get(name)
        if table is None:
            raise ContentError(f"there is no table {name!r}", place=place, remedy="Correct the test.")
        columns = {column.name: column for column in table.columns}
        if name not in self._made:
            made = ", ".join(f"{tables.identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in table.columns)
            self.connection.execute(f"CREATE TABLE {tables.identifier(name)} ({made})")
            self._made.add(name)
        self.connection.execute(f"DELETE FROM {tables.identifier(name)}")
        listed = []
        for i, row in enumerate(rows):
            unknown = sorted(set(row) - set(columns))
            if unknown:
                raise ContentError(
                    f"{name} has no column {unknown[0]!r}", place=place, remedy="Correct the test."
                )
            given = {"_Exhibit": "E1", "_Position": i, **_times(columns), **row}
            cells = {c: cell(column.type, given.get(c)) for c, column in columns.items()}
            written = (
                f"CAST({tables.literal(v)} AS {DUCKDB_TYPES[columns[c].type]})" for c, v in cells.items()
            )
            listed.append(f"({', '.join(written)})")
        if listed:
            self.connection.execute(f"INSERT INTO {tables.identifier(name)} VALUES {', '.join(listed)}")

    def ask(self, kql: str, test: Case, place: str) -> list[dict[str, Any]]:  # Any: query cells
        """Fill the tables of a test, empty the others the query names, and return its rows."""
        for name in sorted(referenced_tables(kql, self.engine.schema) | set(test.rows)):
            self.fill(name, test.rows.get(name, []), place)
        sql = self.engine.to_sql(kql, now=TEST_NOW)
        return findings.execute(self.connection, sql, timeout_seconds=60, limit=10_000)


@cache
def _translations() -> dict[str, str]:
    """Return the translations of this process: lint and tests ask the same queries."""
    return pack.translations()


def _times(columns: dict[str, Any]) -> dict[str, str]:  # Any: Column
    return {name: _DEFAULT_TIME for name in ("TimeGenerated", "Timestamp") if name in columns}


def rule_tests(bench: Bench, path: Path, rule: Rule) -> Iterator[Outcome]:
    """Run the tests of one rule."""
    place = _place(path)
    for test in rule.tests:
        yield Outcome(place, test.name, _problem(bench, rule.query, test, place))
    if rule.kind == "Hunting":
        if {test.expect for test in rule.tests} != {"hit", "silent"}:
            yield Outcome(place, "has a hit and a silent test", "a hunt needs at least one of each")
        return
    # What a rule of one's own has to bring is its owner's choice; the clinic says what would make it better.
    for problem in rule_form.kinds(rule.tests) if path.is_relative_to(loader.CONTENT) else ():
        yield Outcome(place, "has a hit, a near-miss and a benign twin", problem)


def explanation_tests(bench: Bench, path: Path, explanation: Explanation) -> Iterator[Outcome]:
    """Run the tests of one explanation: what it explains, what it leaves alone, and the attacks that stay loud."""
    place = _place(path)
    for test in [*explanation.tests, *explanation.attacks]:
        yield Outcome(place, test.name, _problem(bench, explanation.query, test, place))
    if {test.expect for test in explanation.tests} != {"hit", "silent"}:
        yield Outcome(place, "has a hit and a near-miss", "an explanation needs at least one of each")
    if not explanation.attacks or any(test.expect != "silent" for test in explanation.attacks):
        yield Outcome(
            place, "has an attack that stays loud", "an explanation needs one, and it may explain none"
        )


def parser_tests(bench: Bench, path: Path, parser: Parser) -> Iterator[Outcome]:
    """Run the tests of one parser."""
    place = _place(path)
    for test in parser.tests:
        yield Outcome(place, test.name, _problem(bench, parser.query, test, place))
    if not parser.tests:
        yield Outcome(place, "has tests", "a parser needs tests")


def proof_tests(bench: Bench, path: Path, proof: Proof) -> Iterator[Outcome]:
    """Run the tests of one proof of the ledger, or of one source of messages for settings over time."""
    read = {proof.table}
    yield from _computed(bench, path, proof.tests, read, lambda _: ledger.proof_sql(proof))


def recovery_tests(bench: Bench, path: Path, recovery: Recovery) -> Iterator[Outcome]:
    """Run the tests of what one product keeps of deleted mail."""

    def asked(_: Case) -> str:
        recoverability.prepare(bench.connection, now=TEST_NOW)
        return f"SELECT * FROM recoverable WHERE Product = {tables.literal(recovery.product)}"

    read = {"MessageLedger", "SettingsSnapshot", "MailboxActivity"}
    yield from _computed(bench, path, recovery.tests, read, asked)


def setting_tests(bench: Bench, path: Path, family: SettingFamily) -> Iterator[Outcome]:
    """Run the tests of one family of settings: rows in, its rows of SettingHistory out."""

    def asked(test: Case) -> str:
        with tempfile.TemporaryDirectory(prefix="mailwitness-") as work:
            settings.prepare(bench.connection, Path(work), present=set(test.rows))
        kind = tables.literal(family.kind)
        return f"SELECT * FROM setting_history WHERE Kind = {kind} ORDER BY TimeGenerated, Name"

    read = {
        "MailboxActivity",
        "SettingsSnapshot",
        "MessageLedger",
        *(one.table for one in loader.deliveries()),
    }
    yield from _computed(bench, path, family.tests, read, asked)


def _computed(
    bench: Bench, path: Path, tests: list[Case], read: set[str], asked: Callable[[Case], str]
) -> Iterator[Outcome]:
    """Run tests of content that is SQL: fill the tables, compute, ask."""
    place = _place(path)
    for test in tests:
        try:
            for name in sorted(read | set(test.rows)):
                bench.fill(name, test.rows.get(name, []), place)
            found = findings.execute(bench.connection, asked(test), timeout_seconds=60, limit=10_000)
            yield Outcome(place, test.name, _difference(found, test))
        except MailwitnessError as error:
            yield Outcome(place, test.name, str(error))
    if {test.expect for test in tests} != {"hit", "silent"}:
        problem = "it needs at least one hit and one silent near-miss"
        yield Outcome(place, "has a hit and a near-miss", problem)


def chain_tests(bench: Bench, paths: list[Path]) -> Iterator[Outcome]:
    """Run the tests of the given chains, or of all that are shipped."""
    rules = {rule.id: rule for _, rule in loader.rules()}
    for path, chain in loader.chains(*paths):
        place = _place(path)
        for name, problem in chain_check.tests(bench, chain, rules, place, now=TEST_NOW):
            yield Outcome(place, name, problem)


def chain_problems(bench: Bench, paths: list[Path]) -> Iterator[str]:
    """Yield what is wrong with the given chains, or with all that are shipped."""
    vocabulary = activities.vocabulary(loader.parsers())
    rules = {rule.id for _, rule in loader.rules()}
    for path, chain in loader.chains(*paths):
        for problem in chain_check.problems(chain, bench.engine, vocabulary, rules, now=TEST_NOW):
            yield f"{_place(path)}: {problem}"


def run_chain_tests(paths: list[Path]) -> int:
    """Lint and test chains, print what fails and a count; exit code 0 when nothing does, 2 otherwise."""
    bench = Bench()
    try:
        wrong = list(chain_problems(bench, paths))
        results = list(chain_tests(bench, paths))
    finally:
        bench.close()
    return _told("chains", wrong, results)


def question_tests(bench: Bench, paths: list[Path]) -> Iterator[Outcome]:
    """Run the truth tables of the given questions, or of all that are shipped."""
    for path, question in playbook.questions(*paths):
        place = _place(path)
        for name, problem in question_check.tests(bench, question, place, TEST_NOW):
            yield Outcome(place, name, problem)


def question_problems(bench: Bench, paths: list[Path]) -> Iterator[str]:
    """Yield what is wrong with the given questions, or with all that are shipped."""
    vocabulary = activities.vocabulary(loader.parsers())
    for path, question in playbook.questions(*paths):
        for problem in question_check.problems(path, question, vocabulary, bench.engine, TEST_NOW):
            yield f"{_place(path)}: {problem}"


def run_question_tests(paths: list[Path]) -> int:
    """Lint and test questions, print what fails and a count; exit code 0 when nothing does, 2 otherwise."""
    bench = Bench()
    try:
        wrong = list(question_problems(bench, paths))
        results = list(question_tests(bench, paths))
    finally:
        bench.close()
    return _told("questions", wrong, results)


def _told(kind: str, wrong: list[str], results: list[Outcome]) -> int:
    failed = [one for one in results if one.problem]
    for text in [*wrong, *(f"{one.place}: {one.name}: {one.problem}" for one in failed)]:
        print(text)
    print(f"{kind}: {len(results) - len(failed)} tests passed, {len(failed)} failed, {len(wrong)} problems")
    return _FAILED if failed or wrong else _OK


def _problem(bench: Bench, kql: str, test: Case, place: str) -> str:
    try:
        found = bench.ask(kql, test, place)
    except MailwitnessError as error:
        return str(error)
    return _difference(found, test)


def _difference(found: list[dict[str, Any]], test: Case) -> str:  # Any: query cells
    wanted = test.hits if test.hits is not None else None
    if test.expect == "silent":
        return f"expected silence, got {len(found)} rows: {_shown(found[0])}" if found else ""
    if wanted is not None and len(found) != wanted:
        return f"expected {wanted} rows, got {len(found)}"
    if not found:
        return "expected a hit, got silence"
    differing = {k: found[0].get(k) for k, v in (test.row or {}).items() if not _same(found[0].get(k), v)}
    return f"the first row differs: {differing}, expected {test.row}" if differing else ""


def _same(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - cells
    if isinstance(found, dt.datetime):
        return found.isoformat() == str(wanted).removesuffix("Z")
    return bool(found == wanted)


def _shown(row: dict[str, Any]) -> str:  # Any: query cells
    return str({key: value for key, value in row.items() if value not in (None, "", 0)})[:300]


def _place(path: Path) -> str:
    return path.relative_to(loader.CONTENT).as_posix() if path.is_relative_to(loader.CONTENT) else str(path)


def posture_tests() -> Iterator[Outcome]:
    """Run the tests of the checks of posture."""
    for path, name, problem in check_tests.tests([], now=TEST_NOW):
        yield Outcome(_place(path), name, problem)


def outcomes(paths: list[Path]) -> Iterator[Outcome]:
    """Run all tests of the given rule files, or of everything shipped."""
    bench = Bench()
    try:
        for path, rule in loader.rules(*paths):
            yield from rule_tests(bench, path, rule)
        if not paths:
            yield from _shipped(bench)
    finally:
        bench.close()


def _shipped(bench: Bench) -> Iterator[Outcome]:
    """Run the tests of everything shipped that is no rule."""
    for path, hunt in loader.hunts():
        yield from rule_tests(bench, path, hunt)
    yield from chain_tests(bench, [])
    yield from question_tests(bench, [])
    for path in loader.files("parsers"):
        yield from parser_tests(bench, path, loader.with_query(loader.read(path, Parser)))
    for path, explanation in loader.explanations():
        yield from explanation_tests(bench, path, explanation)
    yield from posture_tests()
    for path in [*loader.files("proofs"), *loader.files("deliveries")]:
        yield from proof_tests(bench, path, loader.read(path, Proof))
    for path in loader.files("settings"):
        yield from setting_tests(bench, path, loader.read(path, SettingFamily))
    for path in loader.files("recoverability"):
        yield from recovery_tests(bench, path, loader.read(path, Recovery))


def run_tests(paths: list[Path]) -> int:
    """Print failing tests and a count; exit code 0 when all pass, 2 otherwise."""
    passed = failed = 0
    for outcome in outcomes(paths):
        if outcome.problem:
            failed += 1
            print(f"{outcome.place}: {outcome.name}: {outcome.problem}")
        else:
            passed += 1
    print(f"content tests: {passed} passed, {failed} failed")
    return _FAILED if failed else _OK


def lint(paths: list[Path]) -> int:
    """Print what is wrong with rules; exit code 0 when nothing is, 2 otherwise."""
    rules = loader.rules(*paths) + ([] if paths else loader.hunts())
    bench = Bench()
    found = 0
    for line in _wrong(bench, rules, is_everything=not paths):
        found += 1
        print(line)
    bench.close()
    print(f"lint: {len(rules)} rules, {found} problems")
    return _FAILED if found else _OK


def _wrong(bench: Bench, rules: list[tuple[Path, Rule]], *, is_everything: bool) -> Iterator[str]:
    """Yield a line for each problem of the rules and, when everything is asked, of all other content."""
    vocabulary = activities.vocabulary(loader.parsers())
    for path, rule in rules:
        for problem in content_lint.problems(rule, bench.engine, vocabulary, now=TEST_NOW):
            yield f"{_place(path)}: {problem}"
    if is_everything:
        yield from rule_form.mutable_elements([rule for _, rule in rules])
        yield from _wrong_elsewhere(bench, vocabulary)


def _wrong_elsewhere(bench: Bench, vocabulary: set[str]) -> Iterator[str]:
    for path in loader.files("parsers"):
        for problem in content_lint.parser_problems(loader.read(path, Parser)):
            yield f"{_place(path)}: {problem}"
    for path, explanation in loader.explanations():
        for problem in content_lint.explanation_problems(explanation, bench.engine, vocabulary, now=TEST_NOW):
            yield f"{_place(path)}: {problem}"
    yield from chain_problems(bench, [])
    yield from question_problems(bench, [])
    for path, problem in check_tests.problems([]):
        yield f"{_place(path)}: {problem}"


def lint_scenarios() -> int:
    """Print what is wrong with the scenarios: what cannot be told, and what nothing covers."""
    found = [f"{place}: {problem}" for place, problem in lint_of_scenarios.problems()]
    for line in found:
        print(line)
    return _FAILED if found else _OK


def main() -> int:
    """Lint and test everything that is shipped."""
    return max(lint([]), lint_scenarios(), run_tests([]))


if __name__ == "__main__":
    sys.exit(main())
