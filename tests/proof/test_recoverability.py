"""The clock on a whole case: the day in the report, in the ledger and in the table."""

from __future__ import annotations

import datetime as dt
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from mailwitness import messages
from mailwitness.pipeline import Progress, Settings, investigate

NOW = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
EVA = "eva@contoso.example"


def deletion(number: int, operation: str, day: int) -> str:
    """Return an audit record as the Management API gives it."""
    return json.dumps(
        {
            "CreationTime": f"2026-03-{day:02}T10:00:00", "Id": f"7a1f0c52-3c0e-4b7e-9d07-0f1be7a3c{number:03}", "Operation": operation,
            "OrganizationId": "11111111-2222-3333-4444-555555555555", "RecordType": 3, "ResultStatus": "Succeeded", "UserType": 0, "Version": 1,
            "Workload": "Exchange", "UserId": EVA, "UserKey": "1", "MailboxOwnerUPN": EVA, "LogonType": 0, "InternalLogonType": 0,
            "MailboxGuid": "22222222-2222-3333-4444-555555555555", "ClientIPAddress": "192.0.2.9", "ClientInfoString": "Client=OWA", "ExternalAccess": False,
            "OriginatingServer": "x", "AffectedItems": [{"Id": f"i{number}", "InternetMessageId": f"<m{number}@fabrikam.example>", "Subject": f"Invoice {number}", "ParentFolder": {"Path": "\\Inbox"}}],
            "Folder": {"Path": "\\Inbox"},
        }
    )  # fmt: skip


def run(tmp_path: Path, mailbox: dict[str, Any] | None, now: dt.datetime = NOW) -> dict[str, Any]:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    lines = [deletion(1, "SoftDelete", 1), deletion(2, "HardDelete", 2), deletion(3, "SoftDelete", 3)]
    (evidence / "audit.jsonl").write_text("\n".join(lines) + "\n")
    if mailbox:
        known = {
            "PrimarySmtpAddress": EVA,
            "AuditEnabled": True,
            "SnapshotTime": "2026-03-01T00:00:00Z",
            **mailbox,
        }
        (evidence / "mailbox.json").write_text(json.dumps([known]))
    return investigate([evidence], tmp_path / "case", Settings(now=now), Progress()).report


@pytest.fixture(scope="module")
def ten_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the case and the report of a mailbox that keeps deleted items for ten days."""
    folder = tmp_path_factory.mktemp("days")
    report = run(
        folder,
        {
            "LitigationHoldEnabled": False,
            "RetainDeletedItemsFor": "10.00:00:00",
            "SingleItemRecoveryEnabled": True,
        },
    )
    return folder / "case", report


def test_with_the_settings_of_the_mailbox_the_day_is_exact_and_the_first_to_go_comes_first(
    ten_days: tuple[Path, dict[str, Any]],
) -> None:
    _, report = ten_days

    steps = report["recoverability"]["steps"]
    assert [(one["state"], one["until"], one["is_exact"], one["messages"]) for one in steps] == [
        ("Recoverable Items, Deletions", "2026-03-11T10:00:00Z", True, 2),
        ("Recoverable Items, Purges", "2026-03-12T10:00:00Z", True, 1),
    ]
    assert "3 can be saved, the first until 2026-03-11 UTC." in report["recoverability"]["sentence"]


def test_without_settings_the_default_and_its_range_are_named(tmp_path: Path) -> None:
    report = run(tmp_path, None)

    first = report["recoverability"]["steps"][0]
    assert (first["until"], first["latest"], first["is_exact"]) == (
        "2026-03-15T10:00:00Z",
        "2026-04-02T10:00:00Z",
        False,
    )
    assert "by the documented defaults" in report["recoverability"]["sentence"]


def test_a_default_that_has_passed_does_not_look_like_time_left(tmp_path: Path) -> None:
    report = run(tmp_path, None, now=dt.datetime(2026, 3, 20, tzinfo=dt.UTC))

    late = [one for one in report["recoverability"]["steps"] if one["is_late"]]
    assert {one["until"][:10] for one in late} == {"2026-03-15", "2026-03-16"}
    sentence = report["recoverability"]["sentence"]
    assert (
        "only if deleted items are kept longer than by default, at the latest until 2026-04-02 UTC"
        in sentence
    )
    assert "2026-03-15" not in sentence
    assert "by default over since 2026-03-15" in (tmp_path / "case" / "report.html").read_text()


def test_a_hold_keeps_its_caveat_in_every_form_of_the_report(tmp_path: Path) -> None:
    report = run(tmp_path, {"LitigationHoldEnabled": True, "RetainDeletedItemsFor": "14.00:00:00"})

    assert {one["hold"] for one in report["recoverability"]["steps"]} == {"LitigationHoldEnabled"}
    for name in ("report.html", "report.md"):
        assert "Priority Cleanup" in (tmp_path / "case" / name).read_text()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_command_shows_the_day(ten_days: tuple[Path, dict[str, Any]], form: str) -> None:
    case, _ = ten_days
    printed = io.StringIO()

    with redirect_stdout(printed):
        messages.ledger(case, mailbox=EVA, gone=True, form=form, limit=10)

    # A table folds its cells.
    assert ("2026-03-11" in printed.getvalue()) or (form == "table" and "2026" in printed.getvalue())
