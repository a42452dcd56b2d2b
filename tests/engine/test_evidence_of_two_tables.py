"""What one table lacks does not silence a rule that another table can feed."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from mailwitness import pipeline
from mailwitness.scenarios import emulation, replay, telling


def test_a_mailbox_audit_without_cmdlets_does_not_silence_the_cmdlets_of_the_event_log(
    tmp_path: Path,
) -> None:
    told = [
        telling.tell(emulation.find(name))
        for name in ("server_mailbox_cleared.delegate", "server_audit_weakened.bypass")
    ]
    replay.write(told, tmp_path / "evidence")
    settings = pipeline.Settings(
        now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC), memory="1GB", threads=1, proof="never"
    )

    report = pipeline.investigate(
        [tmp_path / "evidence"], tmp_path / "case", settings, pipeline.Progress()
    ).report

    outcomes = {rule["name"]: rule["outcome"] for rule in report["rules"]}
    assert outcomes["Auditing weakened"] == "found"


def test_an_act_under_another_kind_of_record_is_judged_although_its_own_kind_is_missing(
    tmp_path: Path,
) -> None:
    # The kind "ExchangeAdmin" is missing, but the act that it would show is there under another kind.
    item = {
        "CreationTime": "2026-03-02T08:00:00",
        "Id": "11111111-0000-4000-8000-000000000001",
        "Operation": "Set-AdminAuditLogConfig",
        "RecordType": 18,
        "ResultStatus": "True",
        "UserKey": "1003",
        "UserType": 2,
        "Version": 1,
        "Workload": "SecurityComplianceCenter",
        "UserId": "mallory@contoso.example",
        "Parameters": [{"Name": "UnifiedAuditLogIngestionEnabled", "Value": "False"}],
    }
    evidence = tmp_path / "audit.json"
    evidence.write_text(json.dumps([item]), "utf-8")
    settings = pipeline.Settings(
        now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC), memory="1GB", threads=1, proof="never"
    )

    report = pipeline.investigate([evidence], tmp_path / "case", settings, pipeline.Progress()).report

    outcomes = {rule["name"]: rule["outcome"] for rule in report["rules"]}
    assert outcomes["Auditing weakened"] == "found"
    assert any("no Exchange administration records" in row["reason"] for row in report["not_evaluated"])
