"""An export and the removal of its request are found at every distance, through the whole program."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from mailwitness.pipeline import Progress, Result, Settings, investigate
from mailwitness.report.validate import problems_of

from ..case_runs import NOW

Record = dict[str, Any]  # Any: JSON values

MINUTES = {
    "1 minute": 1,
    "5 minutes": 5,
    "15 minutes": 15,
    "30 minutes": 30,
    "59 minutes": 59,
    "61 minutes": 61,
    "4 hours": 240,
    "24 hours": 1440,
    "6 days": 8640,
}
START = dt.datetime(2026, 3, 2, 23, 41)  # noqa: DTZ001 - audit records write UTC without a zone
CHAIN = "export_then_request_removed"


def investigated(tmp_path: Path, lines: list[Record]) -> Record:
    path = tmp_path / "audit.json"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return read_back(investigate([path], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()))


def read_back(result: Result) -> Record:
    report: Record = json.loads((result.case / "report.json").read_text("utf-8"))
    return report


def matches(report: Record, name: str = CHAIN) -> list[Record]:
    return [chain for case in report["cases"] for chain in case["chains"] if chain["name"] == name]


def admin_record(number: int, operation: str, minutes: int, **changes: Any) -> Record:
    return {
        "CreationTime": (START + dt.timedelta(minutes=minutes)).isoformat(),
        "Id": f"00000000-0000-4000-8000-{number:012d}",
        "Operation": operation,
        "OrganizationId": "6f1d2c3b-0a4e-4d58-9b77-1c2d3e4f5a60",
        "RecordType": 1,
        "ResultStatus": "True",
        "UserKey": "admin@contoso.example",
        "UserType": 2,
        "Version": 1,
        "Workload": "Exchange",
        "ClientIP": "203.0.113.7:52378",
        "UserId": "admin@contoso.example",
        "ObjectId": "",
        "Parameters": [],
    } | changes


def mailbox_export(number: int, minutes: int) -> list[Record]:
    name = f"cfo{number}\\Q3-{number}"
    export = [
        {"Name": "Mailbox", "Value": f"cfo{number}"},
        {"Name": "Name", "Value": f"Q3-{number}"},
        {"Name": "FilePath", "Value": f"\\\\fs01\\drop$\\cfo{number}.pst"},
    ]
    removal = [{"Name": "Identity", "Value": name}, {"Name": "Confirm", "Value": "False"}]
    return [
        admin_record(2 * number, "New-MailboxExportRequest", 0, ObjectId=name, Parameters=export),
        admin_record(
            2 * number + 1, "Remove-MailboxExportRequest", minutes, ObjectId=name, Parameters=removal
        ),
    ]


def search_export(number: int, minutes: int) -> list[Record]:
    shared = {"RecordType": 24, "Workload": "SecurityComplianceCenter"}
    return [
        admin_record(2 * number, "SearchExported", 0, **shared, ObjectId=f"case-{number}"),
        admin_record(
            2 * number + 1,
            "RemovedSearchExported",
            minutes,
            **shared,
            ObjectId=f"case-{number}_Export",
            UserId="clerk@contoso.example",
        ),
    ]


def search_action(number: int, minutes: int) -> list[Record]:
    shared = {"RecordType": 18, "Workload": "SecurityComplianceCenter"}
    name = f"case-{number}"
    export = [{"Name": "SearchName", "Value": name}, {"Name": "Export", "Value": "True"}]
    removal = [{"Name": "Identity", "Value": f"{name}_Export"}]
    return [
        admin_record(2 * number, "New-ComplianceSearchAction", 0, **shared, ObjectId=name, Parameters=export),
        admin_record(
            2 * number + 1,
            "Remove-ComplianceSearchAction",
            minutes,
            **shared,
            ObjectId=f"{name}_Export",
            Parameters=removal,
        ),
    ]


@pytest.mark.parametrize("pair", [mailbox_export, search_export, search_action])
def test_pairs_at_every_distance_are_found(pair: Any, tmp_path: Path) -> None:
    pairs = [pair(number, minutes) for number, minutes in enumerate(MINUTES.values())]

    report = investigated(tmp_path, [record for records in pairs for record in records])

    found = sorted(matches(report), key=lambda match: match["steps"][0]["rows"][0]["record"])
    assert [[step["rows"] for step in match["steps"][:2]] for match in found] == [
        [[{"exhibit": "E1", "record": 2 * i}], [{"exhibit": "E1", "record": 2 * i + 1}]]
        for i in range(len(MINUTES))
    ]
    assert {match["steps"][1]["joined"] for match in found} == {"the same name of what was acted upon"}
    assert {match["steps"][2]["state"] for match in found} == {"not_visible"}
    assert report["cases"][0]["severity"] == "critical"
    assert problems_of(report) == []


def test_the_other_way_round_is_no_pair(tmp_path: Path) -> None:
    export, removal = mailbox_export(1, 30)
    removal["CreationTime"], export["CreationTime"] = export["CreationTime"], removal["CreationTime"]

    report = investigated(tmp_path, [removal, export])

    assert matches(report) == []
    assert {item["outcome"] for item in report["chains"] if item["name"].startswith("Mail exported")} == {
        "clear"
    }


def test_a_chain_whose_step_the_evidence_cannot_show_is_not_evaluated_and_names_the_step(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mail.log"
    path.write_text(
        "2026-03-02T08:00:00+00:00 mx dovecot: imap(eva@contoso.example)<1><a>: Info: expunge: box=INBOX, uid=1, msgid=<m1@x>, size=3\n",
        encoding="utf-8",
    )

    report = read_back(investigate([path], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()))

    [outcome] = [item for item in report["chains"] if item["name"].startswith("Mail exported")]
    assert outcome["outcome"] == "not_evaluated"
    assert "'mail exported' cannot be seen" in outcome["reason"]
    assert any(item["what"].startswith("chain: ") for item in report["not_evaluated"])


def test_the_same_evidence_gives_the_same_report(tmp_path: Path) -> None:
    reports = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        reports.append(investigated(tmp_path / name, mailbox_export(1, 30)))

    assert reports[0] == reports[1]
