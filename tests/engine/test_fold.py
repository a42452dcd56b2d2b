"""Folding a term list into one expression must not change a single row."""

from __future__ import annotations

import datetime as dt

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailwitness.kql import KqlEngine, fold_terms

TERMS = st.lists(
    st.text(alphabet="aB.é-' 1_+(|\\ß密", min_size=1, max_size=5).filter(str.strip), min_size=2, max_size=6
)
TEXTS = st.lists(st.text(alphabet="aAbB.éÉ-' 1_+(|\\ß密x", max_size=12), min_size=1, max_size=8)


def rows(sql: str, texts: list[str]) -> list[str]:
    """Return the texts that a translated query keeps."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE T (Subject VARCHAR)")
        connection.executemany("INSERT INTO T VALUES (?)", [[text] for text in texts])
        return sorted(row[0] for row in connection.execute(sql).fetchall())


@settings(max_examples=60, deadline=None)
@given(terms=TERMS, texts=TEXTS)
@example(terms=["a", "aB", "é"], texts=["a", "xa", "a é", "aé", "É", "ab"])
@example(terms=["'", "a'b"], texts=["'", "a'b", "x a'b y"])
def test_folded_terms_find_the_same_rows(terms: list[str], texts: list[str]) -> None:
    """The translation as it comes and the folded one agree on every text."""
    import duckdb_kql

    listed = ", ".join("'" + term.replace("\\", "\\\\").replace("'", "\\'") + "'" for term in terms)
    sql = str(
        duckdb_kql.to_sql(
            f"T | where Subject has_any ({listed})", schema={"T": ["Subject"]}, allow_write=False
        )
    )

    assert rows(sql, texts) == rows(fold_terms(sql), texts)


def test_a_long_list_becomes_one_expression() -> None:
    """Otherwise the speed would be gone and nobody would notice."""
    engine = KqlEngine({"T": ["Subject"]})

    sql = engine.to_sql(
        "T | where Subject has_any ('alpha', 'béta', 'écho', 'delta')",
        now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )

    assert sql.count("regexp_matches(") == 2  # one for text, one for a dynamic column
