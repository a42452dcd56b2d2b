"""Foreign rules in tests: written to a folder, loaded as a user's are, run on rows of the public tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import yaml

from mailwitness.content.foreign import load
from mailwitness.content.schemas import Case
from mailwitness.content_check import Bench

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


def sigma(logsource: dict[str, str], detection: dict[str, Any], **more: Any) -> str:
    """Return a Sigma rule as YAML."""
    rule = {
        "title": "A planted rule",
        "logsource": logsource,
        "detection": detection,
        "level": "high",
        **more,
    }
    return str(yaml.safe_dump(rule, sort_keys=False))


def sentinel(query: str, **more: Any) -> str:
    """Return a Sentinel rule as YAML."""
    rule = {
        "id": "0d6e7a2e-7b0c-4b5b-8d2d-6f4f0a8f0c11",
        "name": "A published rule",
        "severity": "High",
        "query": query,
        **more,
    }
    return str(yaml.safe_dump(rule, sort_keys=False))


def given(folder: Path, **files: str) -> load.Loaded:
    """Write rules into a folder and load it."""
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text, "utf-8")
    return load.load(folder)


def query_of(folder: Path, text: str) -> str:
    """Return the query of the one rule of a text."""
    loaded = given(folder, one=text)
    assert not loaded.refused, loaded.refused
    return loaded.accepted[0].rule.query


def reason_of(folder: Path, text: str) -> str:
    """Return why the one rule of a text is refused."""
    loaded = given(folder, one=text)
    assert not loaded.accepted
    return loaded.refused[0].reason


def rows_of(bench: Bench, query: str, **tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a query on these table rows."""
    return bench.ask(query, Case(name="", expect="hit", rows=tables), "test")
