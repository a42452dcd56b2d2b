"""Say in words what is wrong with a rule: a rule that can never fire is worse than none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailwitness import activities, findings, rule_form
from mailwitness.content import loader
from mailwitness.errors import MailwitnessError
from mailwitness.kql import leading_filters, referenced_tables, tokens, uses_clock, words
from mailwitness.needs import TABLE as ACTIVITY

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from mailwitness.content.schemas import Explanation, Parser, Rule
    from mailwitness.kql import KqlEngine, Token

_GUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


def problems(rule: Rule, engine: KqlEngine, vocabulary: set[str], *, now: dt.datetime) -> Iterator[str]:
    """Yield one sentence for each problem of a rule.

    Args:
        rule: the rule, placeholders expanded.
        engine: knows the tables.
        vocabulary: every activity that a parser can yield.
        now: a clock for queries that ask for it.
    """
    yield from _form(rule)
    try:
        engine.to_sql(rule.query, now=now)
    except MailwitnessError as error:
        yield str(error)
        return
    tables = referenced_tables(rule.query, engine.schema)
    if not tables:
        yield "the query names no known table"
    for table in sorted(tables & findings.AFTER_RULES):
        yield f"the query names {table}, whose rows are made after the rules have run: it would never fire"
    if uses_clock(rule.query):
        yield "the query reads the clock (ago, now): the engine binds the period, remove it"
    yield from _filters(rule, tables)
    yield from _activities(rule, vocabulary, tables)
    yield from _parameters(rule)


def explanation_problems(
    explanation: Explanation, engine: KqlEngine, vocabulary: set[str], *, now: dt.datetime
) -> Iterator[str]:
    """Yield one sentence for each problem of an explanation."""
    if not _GUID.match(explanation.id):
        yield "id is not a lower-case GUID"
    if not explanation.abuse:
        yield "abuse is empty: say how somebody could hide behind it"
    try:
        engine.to_sql(explanation.query, now=now)
    except MailwitnessError as error:
        yield str(error)
        return
    tables = referenced_tables(explanation.query, engine.schema)
    if "Findings" not in tables:
        yield "the query does not ask Findings: an explanation returns the ids of findings"
    if uses_clock(explanation.query):
        yield "the query reads the clock: bind it to times of the evidence"
    if "ActorType" not in words(explanation.query) and "Actor" not in words(explanation.query):
        yield "the query is bound to no principal: name Actor or ActorType"
    if ACTIVITY in tables and not leading_filters(explanation.query, ACTIVITY).complete:
        yield f"a mention of {ACTIVITY} is not followed by `| where`"
    yield from _activities(explanation, vocabulary, tables | {ACTIVITY})
    yield from _parameters(explanation)


def parser_problems(parser: Parser) -> Iterator[str]:
    """Yield one sentence for each thing that a parser says of itself and that does not hold.

    Args:
        parser: the parser; ``keys`` are read side by side with those of other parsers, so each has to have all of them.
    """
    if parser.keys and set(parser.keys) != set(activities.KEYS):
        yield f"keys has to name exactly {', '.join(activities.KEYS)}"
    if parser.keys and not parser.bulk:
        yield "keys says what bulk rows hold, and bulk is empty"
    for activity in sorted(parser.bulk.keys() - set(parser.activities)):
        yield f"bulk names {activity}, which is not among activities"


def _parameters(item: Rule | Explanation) -> Iterator[str]:
    for name in item.parameters:
        if not re.search(rf"\blet\s+{re.escape(name)}\s*=", item.query):
            yield f"the parameter {name!r} has no line `let {name} = ...;` in the query"


def _form(rule: Rule) -> Iterator[str]:
    if not _GUID.match(rule.id):
        yield "id is not a lower-case GUID"
    yield from rule_form.problems(rule)


def _filters(rule: Rule, tables: set[str]) -> Iterator[str]:
    for table in sorted(tables):
        if table != ACTIVITY:
            continue
        leading = leading_filters(rule.query, table)
        if not leading.complete:
            yield f"a mention of {table} is not followed by `| where`: the rule scans everything"
        columns = {column.name for column in loader.tables()[table].columns}
        for text in leading.filters:
            if not words(text) & columns:
                yield f"the filter `{text[:80]}` names no column of {table}: it is constant"


def _activities(rule: Rule | Explanation, vocabulary: set[str], tables: set[str]) -> Iterator[str]:
    """Find words compared with Activity that no parser ever yields."""
    if ACTIVITY in tables:
        yield from dead_activities(rule.query, vocabulary)


def dead_activities(kql: str, vocabulary: set[str]) -> Iterator[str]:
    """Yield one sentence for each word that a query compares with Activity and no parser yields."""
    listed = tokens(kql)
    for i, token in enumerate(listed):
        if token.text != "Activity" or (i and listed[i - 1].text == "."):
            continue
        for text in _compared_with(listed[i + 1 : i + 60]):
            if text not in vocabulary:
                yield f"{text!r} is no activity that a parser yields: the filter is dead"


def _compared_with(following: Sequence[Token]) -> Iterator[str]:
    """Yield the strings that stand on the right of a comparison: one, or those in brackets."""
    at = 0
    while at < len(following) and following[at].text in {"=", "!", "~", "in"}:
        at += 1
    if at == 0 or at >= len(following):
        return
    if following[at].kind == "string":
        yield following[at].text.strip("\"'")
    elif following[at].kind == "open":
        for token in following[at + 1 :]:
            if token.kind == "close":
                return
            if token.kind == "string":
                yield token.text.strip("\"'")
