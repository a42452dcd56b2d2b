"""A comment between the steps of a query changes nothing about what the query finds."""

from __future__ import annotations

import datetime as dt

import pytest

from mailwitness.content import loader
from mailwitness.engines import new_engine
from mailwitness.kql import KqlEngine, leading_filters
from mailwitness.needs import TABLE

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def engine() -> KqlEngine:
    return new_engine()


def test_a_comment_after_a_filter_does_not_swallow_what_follows(engine: KqlEngine) -> None:
    query = f"{TABLE}\n| where Activity == 'Sent'\n// only the owner's own mail counts\n| where ActorType == 'Owner'\n| project Actor"

    (text,) = leading_filters(query, TABLE).filters

    assert engine.predicate_sql(query, TABLE, text, now=NOW)


def test_the_leading_filters_of_every_shipped_rule_can_be_read_alone(engine: KqlEngine) -> None:
    queries = [rule.query for _, rule in loader.rules()]
    leading = [(query, text) for query in queries for text in leading_filters(query, TABLE).filters]

    for query, text in leading:
        engine.predicate_sql(query, TABLE, text, now=NOW)

    assert leading
