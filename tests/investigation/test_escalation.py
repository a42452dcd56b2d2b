"""The rule of escalation and the steps, on the demo and on an honest twin."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from mailwitness.cases import Story
from mailwitness.content.playbook import playbook, questions
from mailwitness.investigation import escalation
from mailwitness.investigation.answers import Answer
from mailwitness.models import Explained, Finding
from mailwitness.pipeline import Progress, Settings, investigate

DEMO = Path(__file__).resolve().parents[2] / "src" / "mailwitness" / "samples" / "demo"
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
EXPLAINED = (
    Explained(
        id="x", name="x", verdict="authorised", reason="the migration of March", reference="change CHG1"
    ),
)


def finding(**changes: Any) -> Finding:
    plain: dict[str, Any] = {
        "rule": "r1", "title": "t", "severity": "high", "confidence": "high", "phase": "clearing", "techniques": (),
        "time": None, "last_time": None, "actor": "eva@contoso.example", "actor_type": "Owner", "mailbox": "", "address": "",
        "session": "", "host": "", "description": "", "reasons": (), "evidence": {}, "rows": (),
    }  # fmt: skip
    return Finding(**(plain | changes))


def story(verdict: str, *findings: Finding) -> Story:
    return Story(
        id="C1",
        title="t",
        severity="high",
        confidence="high",
        verdict=verdict,
        reasons=(),
        findings=findings or (finding(),),
    )


def said(**answers: str) -> dict[str, Answer]:
    return {
        name: Answer(
            id=name,
            question=name,
            said=word,
            sentence=f"{name} {word}",
            numbers={},
            rows=(),
            confidence="high",
        )
        for name, word in answers.items()
    }


def test_an_attack_is_escalated_with_its_reason() -> None:
    decided = escalation.decide(story("attack"), {})

    assert decided["decision"] == "escalate"
    assert decided["reasons_for"] == ["the verdict is attack"]


def test_a_benign_twin_is_closed_with_the_reason_that_authorises_it() -> None:
    decided = escalation.decide(
        story("authorised", finding(severity="low", rated="high", explanations=EXPLAINED)),
        said(legitimate_administration="yes", export_then_deletion="yes", scripts_involved="yes"),
    )

    assert decided["decision"] == "close"
    assert decided["reasons_against"] == [
        "legitimate_administration yes",
        "every grave finding has a known cause",
    ]


def test_one_weak_reason_keeps_a_case_and_two_escalate_it() -> None:
    one = escalation.decide(story("suspicious"), said(legitimate_administration="not_evaluated"))
    two = escalation.decide(
        story("suspicious"), said(legitimate_administration="not_evaluated", risky_sign_in="yes")
    )

    assert (one["decision"], two["decision"]) == ("keep", "escalate")


def test_what_was_not_evaluated_never_speaks_against_escalation() -> None:
    silent = said(**{question.id: "not_evaluated" for _, question in questions()})

    decided = escalation.decide(story("suspicious"), silent)

    assert decided["reasons_against"] == []


def test_export_and_deletion_without_a_cause_is_escalated_whatever_the_verdict() -> None:
    decided = escalation.decide(story("undetermined"), said(export_then_deletion="yes"))

    assert decided["decision"] == "escalate"


def test_the_rule_and_the_steps_name_only_questions_that_exist() -> None:
    known = {question.id for _, question in questions()}

    named = {c.question for one in playbook().escalation.criteria for c in one.when if c.question}
    named |= {name for step in playbook().steps for name in step.questions}

    assert named <= known


def test_every_question_is_part_of_a_step() -> None:
    used = {name for step in playbook().steps for name in step.questions}

    assert {question.id for _, question in questions()} == used | {"export_then_deletion"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = investigate([DEMO], tmp_path_factory.mktemp("demo") / "case", Settings(now=NOW), Progress())
    return result.report


def test_the_demo_is_escalated_and_every_question_has_an_answer(report: dict[str, Any]) -> None:
    case = report["cases"][0]

    assert case["escalation"]["decision"] == "escalate"
    assert {one["id"] for one in case["questions"]} == {question.id for _, question in questions()}
    assert all(one["reason"] for one in case["questions"] if one["answer"] == "not_evaluated")
    assert all(
        one["rows"]
        for one in case["questions"]
        if one["answer"] == "yes" and one["id"] != "unusual_for_account"
    )


def test_noise_is_not_questioned(report: dict[str, Any]) -> None:
    noise = [case for case in report["cases"] if case["verdict"] == "noise"]

    assert noise
    assert all(case["questions"] == [] for case in noise)


def test_every_step_says_what_is_known(report: dict[str, Any]) -> None:
    tasks = report["cases"][0]["tasks"]

    assert {task["tier"] for task in tasks} == {"level 1", "tier 2"}
    assert all(task["known"] for task in tasks)
