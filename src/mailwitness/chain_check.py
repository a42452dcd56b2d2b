"""Run the tests inside chains on a real database, and say in words what is wrong with a chain."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mailwitness import blind_rules, chain_acts, chains, content_lint, findings
from mailwitness.chain_keys import column_of, microseconds
from mailwitness.chain_machine import machine
from mailwitness.content import loader, pack
from mailwitness.errors import MailwitnessError
from mailwitness.kql import referenced_tables, uses_clock
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.needs import named_activities
from mailwitness.open_case import OpenCase

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    import duckdb

    from mailwitness.content.schemas import Chain, ChainCase, ChainStep, Forbidden, Rule
    from mailwitness.kql import KqlEngine
    from mailwitness.models import ChainMatch, Finding

_GUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_PATTERNS = {
    "v18": re.compile(r"^T\d{4}(?:\.\d{3})?$"),
    "v19": re.compile(r"^T\d{4}(?:\.\d{3})?$"),
    "strategies": re.compile(r"^DET\d{4}$"),
    "analytics": re.compile(r"^AN\d{4}$"),
}
_KINDS = {"hit", "near_miss", "benign_twin"}


class Tables(Protocol):
    """The database of content tests."""

    connection: duckdb.DuckDBPyConnection
    engine: KqlEngine

    def fill(self, name: str, rows: list[dict[str, Any]], place: str) -> None:
        """Replace a table's rows."""


def tests(
    bench: Tables, chain: Chain, rules: dict[str, Rule], place: str, *, now: dt.datetime
) -> Iterator[tuple[str, str]]:
    """Yield the name of each test with what went wrong; empty when it passed.

    Args:
        bench: the database.
        chain: the chain.
        rules: rules by id, for steps that name one.
        place: the chain's file, for errors.
        now: the clock of the tests.
    """
    for test in chain.tests:
        try:
            yield test.name, _difference(test, run(bench, chain, test, rules, place, now=now))
        except MailwitnessError as error:
            yield test.name, str(error)


def run(
    bench: Tables, chain: Chain, test: ChainCase, rules: dict[str, Rule], place: str, *, now: dt.datetime
) -> list[ChainMatch]:
    """Return the matches of a chain over the rows of a test.

    Raises:
        MailwitnessError: a row or a step is wrong.
    """
    used = [rules[step.rule] for step in chain.parts().values() if step.rule in rules]
    asked = [*chain_acts.queries([chain]), *(rule.query for rule in used)]
    named = {name for query in asked for name in referenced_tables(query, bench.engine.schema)}
    for name in sorted(named | set(test.rows) | {ACTIVITY}):
        bench.fill(name, test.rows.get(name, []), place)
    known = pack.Pack(digest="", rules=[], parsers=loader.parsers(), chains=[chain])
    vocabulary = {activity for parser in known.parsers for activity in parser.activities}
    evidence = blind_rules.Evidence(tables=set(bench.engine.schema), activities=vocabulary, absent={})
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as work:
        opened = OpenCase(bench.connection, bench.engine, known, evidence, now=now, work=Path(work))
        outcomes, matches = chains.follow(opened, _findings(bench, used, now), [])
    if outcomes[0].reason:
        raise MailwitnessError(outcomes[0].reason, place=place)
    return matches


def _findings(bench: Tables, rules: list[Rule], now: dt.datetime) -> list[Finding]:
    found: list[Finding] = []
    for rule in rules:
        rows = findings.execute(
            bench.connection, bench.engine.to_sql(rule.query, now=now), timeout_seconds=60, limit=10_000
        )
        found += [findings.as_finding(rule, row) for row in rows]
    return found


def _difference(test: ChainCase, found: list[ChainMatch]) -> str:
    if test.expect == "silent":
        return f"expected silence, got {len(found)} matches: {found[0].title}" if found else ""
    if not found:
        return "expected a match, got silence"
    if test.matches and len(found) != test.matches:
        return f"expected {test.matches} matches, got {len(found)}"
    seen = [step.step for step in found[0].steps if step.state == "seen"]
    missing = [step.step for step in found[0].steps if step.state != "seen"]
    way = [step.way for step in found[0].steps if step.state == "seen"][-1]
    compared = {"seen": (test.seen, seen), "missing": (test.missing, missing), "joined": (test.joined, way)}
    for name, (wanted, got) in compared.items():
        if wanted and wanted != got:
            return f"{name}: expected {wanted}, got {got}"
    return ""


def problems(
    chain: Chain, engine: KqlEngine, vocabulary: set[str], rules: set[str], *, now: dt.datetime
) -> Iterator[str]:
    """Yield one sentence for each problem of a chain.

    Args:
        chain: the chain, placeholders expanded.
        engine: knows the tables.
        vocabulary: every activity that a parser can yield.
        rules: ids of all rules.
        now: a clock for queries.
    """
    yield from _form(chain)
    if set(chain.correlation.rules) != set(chain.steps):
        yield "correlation.rules and steps do not name the same steps"
        return
    try:
        machine(chain)
        for name, step in chain.forbidden.items():
            microseconds(step.within)
            for way in step.join:
                for part in way.split("+"):
                    column_of(chain, part, name)
    except MailwitnessError as error:
        yield str(error)
    for name, one in chain.parts().items():
        yield from (f"{name}: {problem}" for problem in _step(one, engine, vocabulary, rules, now))


def _form(chain: Chain) -> Iterator[str]:
    if not _GUID.match(chain.id):
        yield "id is not a lower-case GUID"
    for key, pattern in _PATTERNS.items():
        for value in getattr(chain.attack, key):
            if not pattern.match(value):
                yield f"attack.{key}: {value!r} is none"
    for key in ("falsepositives", "gaps", "guide", "reasons"):
        if not getattr(chain, key):
            yield f"{key} is empty"
    yield from _sense(chain)


def _sense(chain: Chain) -> Iterator[str]:
    lacking = sorted(_KINDS - {test.kind for test in chain.tests})
    if lacking:
        yield f"no test of kind {' or '.join(lacking)}"
    ordered = chain.ordered() if set(chain.correlation.rules) <= set(chain.steps) else []
    if ordered and all(step.optional for step in ordered):
        yield "every step is optional: the chain would match anything"
    for name, step in chain.steps.items():
        if step.optional and not step.missing:
            yield f"{name}: missing is empty: say what its absence can mean"


def _step(
    step: ChainStep | Forbidden, engine: KqlEngine, vocabulary: set[str], rules: set[str], now: dt.datetime
) -> Iterator[str]:
    kinds = [text for text in (step.filter, step.query, step.rule) if text]
    if len(kinds) != 1:
        yield "give one of filter, query and rule"
        return
    if step.rule:
        if step.rule not in rules:
            yield f"there is no rule {step.rule}"
        return
    query = step.query or chain_acts.filter_query(step.filter)
    if uses_clock(query):
        yield "the query reads the clock (ago, now): remove it"
    try:
        engine.to_sql(query, now=now)
    except MailwitnessError as error:
        yield str(error)
        return
    if step.filter:
        yield from content_lint.dead_activities(query, vocabulary)
        if not named_activities(query, vocabulary):
            yield "the filter names no activity, so a run would have to store all"
