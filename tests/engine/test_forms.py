"""Shorter translations give the same rows."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest

from mailwitness import kql
from mailwitness.kql_forms import shorten

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
TEXTS = ["", "Audit", "xAUDITx", "a_b", "a%b", "axb", "a\\b", "it's", "Straße", "İstanbul", None]
BAGS = [
    '{"Name": "x"}',
    '{"Name": null}',
    '{"Name": 5}',
    '{"Name": {"a": [1, "b"]}}',
    '{"Name": true}',
    '{"Other": "x"}',
    '"text"',
    "[1]",
    None,
]


@pytest.mark.parametrize("name", ["contains", "contains_cs", "startswith", "endswith", "!contains"])
@pytest.mark.parametrize("text", ["Audit", "a_b", "a%b", "a\\\\b", "it's", "B", "straße"])
def test_a_search_finds_the_same_texts(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    query = f'T | where A {name} "{text}"'
    short = kql.KqlEngine({"T": ["A"]}, None, {"T": {"A": "VARCHAR"}}).to_sql(query, now=NOW)
    monkeypatch.setattr(kql, "shorten", lambda sql: sql)
    long = kql.KqlEngine({"T": ["A"]}, None, {"T": {"A": "VARCHAR"}}).to_sql(query, now=NOW)

    assert "ESCAPE" in long
    assert ("ESCAPE" in short) == any(sign in text for sign in "_%\\")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE T AS SELECT unnest($1) AS A", [TEXTS])
        assert connection.execute(short).fetchall() == connection.execute(long).fetchall()


def test_a_nested_value_is_read_once_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query = "T | extend Name = tostring(Bag.Name), Deep = tostring(Bag.Name.a)"
    short = kql.KqlEngine({"T": ["Bag"]}, None, {"T": {"Bag": "JSON"}}).to_sql(query, now=NOW)
    monkeypatch.setattr(kql, "shorten", lambda sql: sql)
    long = kql.KqlEngine({"T": ["Bag"]}, None, {"T": {"Bag": "JSON"}}).to_sql(query, now=NOW)

    assert short.count("json_extract") < long.count("json_extract")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE T AS SELECT CAST(unnest($1) AS JSON) AS Bag", [BAGS])
        assert connection.execute(short).fetchall() == connection.execute(long).fetchall()


def test_a_text_that_only_looks_like_a_form_is_left_alone() -> None:
    hostile = """SELECT 'json_extract(x, ''$.a'') ->> ''$''' WHERE "A" LIKE '%' || replace('a', 'b', 'c') || 'lower('''')'"""

    assert shorten(hostile) == hostile
