"""Reads and sign-ins are computed when they are asked: the result is the same as with all of them computed first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engine import records
from tests.engine.cases import NOW

from mailwitness import activities, pipeline

Report = dict[str, Any]  # Any: JSON values
EVA, BOB = "eva@contoso.example", "bob@contoso.example"


def read(
    number: int, minute: int, mailbox: str = EVA, operation: str = "MailItemsAccessed"
) -> records.Record:
    return records.hard_delete(
        20_000 + number,
        CreationTime=f"2026-03-02T07:{minute:02d}:00",
        Operation=operation,
        RecordType=50 if operation == "MailItemsAccessed" else 2,
        UserId=mailbox,
        MailboxOwnerUPN=mailbox,
        SessionId=records.guid(800_001) if mailbox == EVA else records.guid(800_002),
        AffectedItems=None,
        Folder=None,
    )


def sign_in(
    number: int, time: str, user: str, address: str, operation: str = "UserLoggedIn"
) -> records.Record:
    return {
        "CreationTime": time,
        "Id": records.guid(500_000 + number),
        "Operation": operation,
        "OrganizationId": records.TENANT,
        "RecordType": 15,
        "ResultStatus": "Success",
        "UserType": 0,
        "Version": 1,
        "Workload": "AzureActiveDirectory",
        "ClientIP": address,
        "UserId": user,
    }


def evidence() -> list[records.Record]:
    """Return a burst that only both kinds of reads together make, guessed sign-ins, deletions, and other people's acts."""
    guessed = [sign_in(i, f"2026-03-02T06:5{i}:00", EVA, "198.51.100.9", "UserLoginFailed") for i in range(6)]
    return [
        sign_in(90, "2026-02-05T08:00:00", EVA, "203.0.113.7"),
        *(
            sign_in(100 + i, f"2026-03-02T05:{i:02d}:00", f"user{i}@contoso.example", "192.0.2.4")
            for i in range(20)
        ),
        *guessed,
        sign_in(91, "2026-03-02T06:58:00", EVA, "198.51.100.9"),
        *(read(i, 30 + i % 8) for i in range(6)),
        *(read(10 + i, 31 + i, operation="FolderBind") for i in range(5)),
        *(read(20 + i, 4 * i, mailbox=BOB) for i in range(12)),
        *(records.hard_delete(i) for i in range(4)),
        *(records.inbox_rule(i) for i in range(2)),
    ]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "audit.ndjson"
    path.write_text("".join(json.dumps(record) + "\n" for record in evidence()), encoding="utf-8")
    return path


def investigated(log: Path, case: Path) -> Report:
    settings = pipeline.Settings(now=NOW, proof="never")
    return pipeline.investigate([log], case, settings, pipeline.Progress()).report


@pytest.fixture(scope="module")
def late(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return investigated(log, tmp_path_factory.mktemp("late"))


def answers(report: Report, question: str) -> set[str]:
    return {
        asked["answer"] for case in report["cases"] for asked in case["questions"] if asked["id"] == question
    }


def test_late_acts_are_in_chains_and_answers(late: Report) -> None:
    followed = {chain["name"] for case in late["cases"] for chain in case["chains"]}

    assert "collected_then_deleted" in followed
    assert "yes" in answers(late, "failed_sign_ins")
    assert "yes" in answers(late, "sign_in_from_new_address")


def test_computing_them_first_gives_the_same_cases(
    log: Path, late: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities, "first_of", lambda parser, needed, _: needed.of(parser))

    first = investigated(log, tmp_path / "case")

    assert first["cases"] == late["cases"]
    assert first["not_evaluated"] == late["not_evaluated"]


def test_the_proof_changes_nothing_in_chains(log: Path, late: Report, tmp_path: Path) -> None:
    settings = pipeline.Settings(now=NOW, proof="always")
    proved = pipeline.investigate([log], tmp_path / "case", settings, pipeline.Progress()).report

    assert [case["chains"] for case in proved["cases"]] == [case["chains"] for case in late["cases"]]
