"""A step of the plan is shown, contradicted, or not evaluated, by evidence collected after it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mailwitness import desk, pipeline, plan_desk
from mailwitness.content.actions import actions
from mailwitness.errors import CaseBookError

SAMPLE = Path(__file__).parents[2] / "src" / "mailwitness" / "samples" / "demo"
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


def investigate(path: Path, case: Path, now: dt.datetime) -> None:
    """Investigate without the proof, which no step asks and which takes as long as all the rest."""
    pipeline.investigate([path], case, pipeline.Settings(now=now, proof="never"), pipeline.Progress())


def record(operation: str, at: str, actor: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"00000000-0000-4000-8000-{abs(hash((operation, at))) % 10**12:012d}",
        "CreationTime": at,
        "Operation": operation,
        "RecordType": 1,
        "Workload": "Exchange",
        "UserId": actor,
        "UserType": 2,
        "ResultStatus": "True",
        **more,
    }


@pytest.fixture(scope="module")
def investigated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("effects") / "case"
    investigate(SAMPLE, folder, NOW)
    return folder


@pytest.fixture
def case(investigated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(investigated, tmp_path / "case"))


def worst(case: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case / "report.json").read_bytes())["cases"][0]
    return found


def mark_all(case: Path, capsys: pytest.CaptureFixture[str], until: str) -> tuple[str, dict[str, Any]]:
    """Approve and do every step up to the first of an action; return the case's name and that step."""
    name = worst(case)["id"]
    plan_desk.show(case, name, now=NOW, url="", as_json=True)
    steps = json.loads(capsys.readouterr().out)
    for step in steps:
        plan_desk.approve(case, name, step["id"], now=NOW, url="")
        plan_desk.done(case, name, step["id"], "collected.ndjson", now=NOW, url="")
        if step["action"] == until:
            capsys.readouterr()
            return name, step
    raise AssertionError(until)


def collect_again(case: Path, folder: Path, *records: dict[str, Any]) -> None:
    path = folder / "collected.ndjson"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    investigate(path, case, LATER)


def verified(
    case: Path, name: str, step: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = plan_desk.verify(case, name, [step], now=LATER, url="", as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    return code, found


def test_without_new_evidence_nothing_is_shown(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, step = mark_all(case, capsys, "disable_inbox_rule")

    code, found = verified(case, name, step["id"], capsys)

    assert (code, found["result"]) == (2, "not evaluated")
    assert "collect the evidence again" in found["sentence"]


def test_a_recorded_effect_is_shown_with_its_record_and_a_later_contrary_act_outweighs_it(
    case: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name, step = mark_all(case, capsys, "disable_inbox_rule")
    box = worst(case)["mailboxes"][0]
    parameters = [{"Name": "Mailbox", "Value": box}, {"Name": "Identity", "Value": f"{box}\\{step['value']}"}]
    disabled = record(
        "Disable-InboxRule", "2026-11-01T10:00:00", "kim@contoso.example", Parameters=parameters
    )
    collect_again(case, tmp_path, disabled)
    name = worst(case)["id"]

    code, found = verified(case, name, step["id"], capsys)
    assert (code, found["result"]) == (0, "shown")
    assert found["sentence"] == "InboxRuleDisabled by kim@contoso.example is recorded at 2026-11-01T10:00:00Z"
    report = json.loads((case / "report.json").read_bytes())
    assert found["exhibit"] in {
        item["exhibit"] for item in report["intake"] if item["path"].endswith("collected.ndjson")
    }

    again = record("Set-InboxRule", "2026-11-01T12:00:00", "kim@contoso.example", Parameters=parameters)
    collect_again(case, tmp_path, disabled, again)
    code, found = verified(case, worst(case)["id"], step["id"], capsys)
    assert (code, found["result"]) == (1, "contradicted")

    with desk.open_book(case, now=LATER, url="") as book:
        history = book.case(worst(case)["id"]).history
    assert [e.fields["result"] for e in history if e.action == "verified"] == ["shown", "contradicted"]


def test_what_was_preserved_is_shown_when_it_is_an_exhibit(
    case: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name, step = mark_all(case, capsys, "export_audit")
    collect_again(case, tmp_path, record("Send", "2026-11-01T10:00:00", "kim@contoso.example"))

    code, found = verified(case, worst(case)["id"], step["id"], capsys)

    assert (code, found["result"]) == (0, "shown")
    assert "SHA-256" in found["sentence"]
    assert name


def test_a_step_that_nobody_did_cannot_be_verified(case: Path) -> None:
    with pytest.raises(CaseBookError, match="marked as done"):
        plan_desk.verify(case, worst(case)["id"], [], now=NOW, url="", as_json=False)


def test_every_step_that_changes_something_can_be_contradicted_or_shown() -> None:
    silent = [
        action.id
        for action in actions()
        if action.phase != "preservation" and not (action.shown_by or action.contradicted_by)
    ]

    # Whether jobs still run and people were told stands in no record of mail; that of a blocked application does not say blocked.
    assert silent == ["disable_jobs", "block_application", "notify_units"]
