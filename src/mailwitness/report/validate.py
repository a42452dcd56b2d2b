"""Compare a report with the JSON Schema of report.json; for tests, as it needs the package jsonschema."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of report.json."""
    text = (files("mailwitness.report") / "schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def problems_of(report: dict[str, Any]) -> list[str]:
    """Return every way in which a report breaks its promises, one sentence each with its place.

    Besides the schema this adds up the counts of each exhibit and of the
    quarantine, which a schema cannot say, and asks that no blocking gap is called clear.

    Raises:
        ModuleNotFoundError: the development package jsonschema is not installed.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - a development package

    found = [
        f"{error.json_path}: {error.message[:300]}"
        for error in Draft202012Validator(schema()).iter_errors(report)
    ]
    return found or [*_wrong_sums(report), *_wrong_outcome(report)]


def _wrong_sums(report: dict[str, Any]) -> list[str]:
    wrong = []
    for at, entry in enumerate(report["intake"]):
        parts = entry["loaded"] + entry["duplicates"] + entry["quarantined"]
        if entry["records"] != parts:
            wrong.append(f"$.intake[{at}]: {entry['records']} records, but {parts} are accounted for")
        if entry["salvaged"] > entry["loaded"]:
            wrong.append(f"$.intake[{at}]: more salvaged than loaded")
    quarantined = sum(entry["quarantined"] for entry in report["intake"])
    if report["quarantine_total"] != quarantined:
        wrong.append(
            f"$.quarantine_total: {report['quarantine_total']}, but the exhibits count {quarantined}"
        )
    return wrong


def _wrong_outcome(report: dict[str, Any]) -> list[str]:
    is_blocked = any(entry["blocking"] for entry in report["not_evaluated"])
    if report["summary"]["outcome"] == "clear" and is_blocked:
        return ["$.summary.outcome: clear, although something blocking was not evaluated"]
    return []
