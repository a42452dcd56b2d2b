"""The plan destroys nothing, quotes everything, and finds what is wrong in other playbooks."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwitness import desk, outcome, plan_commands, plan_desk, verification
from mailwitness.content.actions import actions, faults
from mailwitness.errors import CaseBookError
from mailwitness.evidence import custody
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.response import foreign, planning, quoting

DEMO = Path(__file__).resolve().parents[2] / "src" / "mailwitness" / "samples" / "demo"
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
REQUIRED = {
    "hold_mailbox", "export_audit", "export_admin_audit", "export_message_trace", "export_sign_ins", "copy_open_logs",
    "snapshot_mailbox", "copy_settings", "revoke_sessions", "disable_account", "reset_password", "remove_consents",
    "disable_inbox_rule", "disable_transport_rule", "remove_forwarding", "remove_delegates", "disable_jobs", "block_address",
    "restore_messages", "restore_audit", "strengthen_logging", "notify_units",
}  # fmt: skip


def case(**changes: Any) -> dict[str, Any]:
    finding = {
        "evidence": {"Activity": "InboxRuleCreated", "Platform": "ExchangeOnline", "ObjectName": "x"},
        "mailbox": "eva@contoso.example",
    }
    plain: dict[str, Any] = {
        "findings": [finding], "actors": ["eva@contoso.example"], "mailboxes": ["eva@contoso.example"],
        "addresses": ["203.0.113.7"], "hosts": [], "applications": [],
    }  # fmt: skip
    return plain | changes


def test_every_action_that_is_asked_for_exists() -> None:
    assert {action.id for action in actions()} >= REQUIRED


def test_every_kind_of_evidence_that_an_action_disturbs_can_be_preserved() -> None:
    disturbed = {kind for action in actions() for kind in action.disturbs}

    assert disturbed <= {kind for action in actions() for kind in action.preserves}


def test_the_plan_preserves_first() -> None:
    steps = planning.plan(case())

    assert planning.destroys([step.id for step in steps], steps) == ""
    assert next(step.phase for step in steps) == "preservation"
    assert next(step for step in steps if step.action == "disable_inbox_rule").after == ("copy_settings.1",)


def test_an_order_that_destroys_evidence_is_refused_with_its_reason() -> None:
    steps = planning.plan(case())

    refused = planning.destroys(["reset_password.1"], steps)

    assert "export_sign_ins.1" in refused
    assert "sessions" in refused


def test_what_was_saved_of_one_mailbox_does_not_save_another() -> None:
    steps = planning.plan(case(mailboxes=["ann@contoso.example", "eva@contoso.example"]))

    restoring = [step for step in steps if step.action == "restore_audit"]

    assert [step.after for step in restoring] == [("copy_settings.1",), ("copy_settings.2",)]


def test_no_line_overwrites_what_another_line_saved() -> None:
    steps = planning.plan(
        case(mailboxes=["ann@contoso.example", "eva@contoso.example"], actors=["a@x.example", "b@x.example"])
    )

    files = [
        name
        for step in steps
        for _, line in step.lines
        for name in re.findall(r"[\w-]+\.(?:csv|xml|json|txt|tar)\b", line)
    ]

    assert len(files) > 10
    assert sorted(files) == sorted(set(files))


def test_only_lines_of_the_products_of_the_case_are_shown() -> None:
    assert {shell for step in planning.plan(case()) for shell, _ in step.lines} == {"powershell", "graph"}


@given(st.text(min_size=1))
def test_no_value_leaves_its_word_in_a_shell(value: str) -> None:
    written = quoting.line("sh", "usermod --lock -- {value}", {"value": value})

    words = shlex.split(written)

    assert written == "" or (
        len(words) == 4 and words[3].removeprefix("./" if value.startswith("-") else "") == value
    )


@given(st.text(min_size=1))
def test_no_value_leaves_its_literal_in_powershell(value: str) -> None:
    written = quoting.line("powershell", "Set-Mailbox -Identity {value}", {"value": value})

    literal = written.removeprefix("Set-Mailbox -Identity ")

    assert written == "" or (literal[0] == literal[-1] == "'" and unquoted(literal[1:-1]) == value)


def unquoted(text: str) -> str:
    """Read a single-quoted literal as PowerShell does: any two quotes in a row are one, a single one would end it."""
    quotes = "'\u2018\u2019\u201a\u201b"
    out, at = "", 0
    while at < len(text):
        if text[at] in quotes:
            assert text[at + 1] in quotes
            at += 1
        out += text[at]
        at += 1
    return out


@pytest.mark.parametrize("value", ["a\u202eb", "a\nb", "a\x00b", "\u200bx", "a\u2028b"])
def test_a_name_that_hides_something_gets_no_line(value: str) -> None:
    steps = planning.plan(case(actors=[value]))

    step = next(one for one in steps if one.action == "revoke_sessions")

    assert step.lines == ()
    assert "work from a file" in step.note


def test_each_fault_is_found_and_its_sound_twin_is_not() -> None:
    for fault in faults():
        assert [one.fault for one in foreign.lint(fault.bad, [fault])] == [fault.id], fault.id
        assert foreign.lint(fault.good, [fault]) == [], fault.id


def test_a_bad_playbook_is_read_line_by_line() -> None:
    text = "# Steps\n1. Reset the user's password.\n2. `Remove-InboxRule -Mailbox x -Identity y`\n3. Do not wipe the host.\n"

    found = foreign.lint(text)

    assert [(one.line, one.fault) for one in found] == [
        (2, "password_before_logs"),
        (3, "inbox_rule_removed"),
    ]


def test_a_password_after_the_logs_is_sound() -> None:
    assert foreign.lint("Export the sign-in logs and audit log.\nReset the password.\n") == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plan") / "case"
    investigate([DEMO], place, Settings(now=NOW), Progress())
    return place


def test_a_step_is_refused_until_its_evidence_is_saved_and_everything_is_recorded(folder: Path) -> None:
    name = json.loads((folder / "report.json").read_bytes())["cases"][0]["id"]

    with pytest.raises(CaseBookError, match="has to preserve before"):
        plan_desk.approve(folder, name, "reset_password.1", now=NOW, url="")
    with pytest.raises(CaseBookError, match="not approved"):
        plan_desk.done(folder, name, "hold_mailbox.1", "ticket 7", now=NOW, url="")
    plan_desk.approve(folder, name, "hold_mailbox.1", now=NOW, url="")
    plan_desk.done(folder, name, "hold_mailbox.1", "ticket 7", now=NOW, url="")

    assert '"step":"hold_mailbox.1"' in (folder / "custody.jsonl").read_text().replace(" ", "")
    assert custody.verify(folder / "custody.jsonl").ok


def test_a_plan_is_kept_in_the_case_book_that_the_environment_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = json.loads((folder / "report.json").read_bytes())["cases"][0]["id"]
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    monkeypatch.setenv("MAILWITNESS_DATABASE", url)

    plan_commands.approve(name, "export_audit.1", case=folder, now=NOW.isoformat())

    with desk.open_book(folder, now=NOW, url=url) as book:
        shared = [entry.fields["step"] for entry in book.case(name).history if entry.action == "plan"]
    with desk.open_book(folder, now=NOW, url="") as book:
        own = [entry.fields["step"] for entry in book.case(name).history if entry.action == "plan"]
    assert shared == ["export_audit.1"]
    assert "export_audit.1" not in own


def test_the_report_holds_the_plan_that_is_shown_and_is_checked_by_verify(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((folder / "report.json").read_bytes())
    case = report["cases"][0]

    plan_desk.show(folder, case["id"], now=NOW, url="", as_json=True)

    shown = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in shown] == [one["id"] for one in case["plan"]]
    assert [one["lines"] for one in shown] == [
        [[line["shell"], line["line"]] for line in one["lines"]] for one in case["plan"]
    ]
    assert len(json.dumps(case["plan"])) < 40_000
    for part, key in (("plan", "value"), ("questions", "sentence"), ("questions", "visibility")):
        changed = json.loads(json.dumps(report))
        changed["cases"][0][part][0][key] = "x"
        assert outcome.digest(changed) != outcome.digest(report)
        assert verification.differences(report, changed)[0].startswith(f"cases[0].{part}[0].{key}: was")


def test_lint_says_faults_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "bad.md", tmp_path / "good.md"
    bad.write_text("Search-Mailbox x -DeleteContent\n")
    good.write_text("Call the owner.\n")

    assert (plan_desk.lint([bad]), plan_desk.lint([good])) == (1, 0)
    assert "bad.md:1: search_mailbox_delete" in capsys.readouterr().out
