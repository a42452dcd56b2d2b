"""The schema of report.json: complete, described, and in step with what reads and documents it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mailwitness.report import document, reference
from mailwitness.report.validate import problems_of, schema

from .report_examples import realistic

RECORDS: dict[str, type[msgspec.Struct]] = {
    "": document.Report,
    "summary": document.Summary,
    "case": document.Case,
    "finding": document.Finding,
    "chain": document.Chain,
    "chain_step": document.ChainStep,
    "position": document.Position,
    "timeline_entry": document.TimelineEntry,
    "question": document.Question,
    "escalation": document.Escalation,
    "task": document.Task,
    "action": document.Action,
    "plan_step": document.PlanStep,
    "plan_line": document.PlanLine,
    "not_evaluated": document.NotEvaluated,
    "verdict_count": document.VerdictCount,
    "ledger_row": document.LedgerRow,
    "ledger_mailbox": document.LedgerMailbox,
    "ledger": document.Ledger,
    "stretch": document.Stretch,
    "lane": document.Lane,
    "phase_acts": document.PhaseActs,
    "deletions": document.Deletions,
    "deletion_count": document.DeletionCount,
    "visibility": document.Visibility,
    "rule": document.RuleOutcome,
    "intake": document.Intake,
    "quarantined": document.Quarantined,
}


def test_the_example_keeps_the_schema() -> None:
    assert problems_of(realistic()) == []


def test_the_example_holds_what_a_reader_has_to_see() -> None:
    report = realistic()

    assert len(report["cases"]) == 2
    assert sum(len(case["findings"]) for case in report["cases"]) == 12
    assert report["quarantine"]
    assert report["not_evaluated"]


@pytest.mark.parametrize("name", RECORDS)
def test_records_and_schema_have_the_same_fields(name: str) -> None:
    definition = schema()["$defs"][name] if name else schema()

    assert list(definition["properties"]) == [
        field.encode_name for field in msgspec.structs.fields(RECORDS[name])
    ]


def test_every_field_is_described() -> None:
    content = schema()
    missing: list[str] = []

    def look(node: dict[str, Any], path: str) -> None:
        for name, field in node.get("properties", {}).items():
            if not field.get("description") and "$ref" not in field:
                missing.append(f"{path}.{name}")
            look(field, f"{path}.{name}")

    look(content, "$")
    for name, definition in content["$defs"].items():
        assert definition["description"]
        look(definition, name)
    assert missing == []


def test_counts_that_do_not_add_up_are_a_problem() -> None:
    report = realistic()
    report["intake"][0]["records"] += 1

    assert problems_of(report) == ["$.intake[0]: 41878 records, but 41877 are accounted for"]


def test_clear_with_a_blocking_gap_is_a_problem() -> None:
    report = realistic()
    report["summary"]["outcome"] = "clear"

    assert problems_of(report) == ["$.summary.outcome: clear, although something blocking was not evaluated"]


def test_an_unknown_field_and_a_wrong_word_are_problems() -> None:
    report = realistic()
    report["cases"][0]["verdict"] = "bad"
    report["cases"][0]["extra"] = 1

    assert len(problems_of(report)) == 2


def test_the_reference_page_is_what_the_schema_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "report-json.md"

    assert page.read_text(encoding="utf-8") == reference.report_page()
