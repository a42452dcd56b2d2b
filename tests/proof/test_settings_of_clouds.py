"""Rules and settings of Exchange and Google over time: exports in two folders that are named after days, and the logs between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..case_runs import ask, run

Record = dict[str, Any]  # Any: JSON values

EVA, DANA, ADMIN = "eva@contoso.example", "dana@contoso.example", "admin@contoso.example"


def rule(number: int, name: str, **members: object) -> Record:
    return {
        "Name": name, "Enabled": True, "Priority": 1, "RuleIdentity": number, "DeleteMessage": False, "MoveToFolder": None,
        "MailboxOwnerId": DANA, "Identity": f"dana\\{number}", "StopProcessingRules": False, **members,
    }  # fmt: skip


def mailbox(**members: object) -> Record:
    return {
        "PrimarySmtpAddress": DANA,
        "AuditEnabled": True,
        "LitigationHoldEnabled": True,
        "Identity": "dana",
        **members,
    }


def filtered(number: str, sender: str, *labels: str) -> Record:
    return {"user": EVA, "id": number, "criteria": {"from": sender}, "action": {"addLabelIds": list(labels)}}


def activity(number: int, application: str, time: str, name: str, actor: str, *parameters: Record) -> Record:
    return {
        "kind": "admin#reports#activity", "id": {"time": time, "uniqueQualifier": str(number), "applicationName": application, "customerId": "C1"},
        "actor": {"email": actor}, "ipAddress": "203.0.113.7", "events": [{"type": "X", "name": name, "parameters": list(parameters)}],
    }  # fmt: skip


def named(name: str, value: str) -> Record:
    return {"name": name, "value": value}


def received(number: int, time: str, subject: str, sender: str) -> Record:
    info = {
        "name": "event_info",
        "messageValue": {"parameter": [{"name": "mail_event_type", "intValue": "2"}]},
    }
    source = {"name": "source", "messageValue": {"parameter": [named("address", sender)]}}
    parameters = [named("rfc2822_message_id", f"<{number}@x.example>"), named("subject", subject), named("flattened_destinations", f"primary:{EVA}"), source]  # fmt: skip
    message = {"name": "message_info", "messageValue": {"parameter": parameters}}
    return activity(number, "gmail", time, "delivery", EVA, info, message)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clouds")
    news = rule(11, "Newsletter", MarkAsRead=True, FromAddressContainsWords=["news@"])
    hidden = rule(12, "", DeleteMessage=True, SubjectContainsWords=["invoice", "MFA"], Provider="x")
    client = rule(13, "Popup", SupportedByTask=False, Description="This rule is client-only")
    google = [
        activity(1, "admin", "2026-03-02T10:00:00Z", "CREATE_GMAIL_SETTING", ADMIN, named("SETTING_NAME", "MESSAGE_SECURITY_RULE"), named("USER_DEFINED_SETTING_NAME", "zz")),
        activity(2, "admin", "2026-03-02T10:05:00Z", "CHANGE_GMAIL_SETTING", ADMIN, named("SETTING_NAME", "UNIFIED_MAIL_ROUTING"), named("USER_DEFINED_SETTING_NAME", "zz"),
                 named("OLD_VALUE", "on"), named("NEW_VALUE", "off")),
        activity(3, "user_accounts", "2026-03-02T10:10:00Z", "email_forwarding_out_of_domain", EVA, named("email_forwarding_destination_address", "x@fabrikam.example")),
        received(4, "2026-03-03T01:00:00Z", "Password reset", "security@contoso.example"),
        received(5, "2026-03-03T02:00:00Z", "Lunch", "bob@contoso.example"),
    ]  # fmt: skip
    trace = (
        '"Received","SenderAddress","RecipientAddress","Subject","Status","ToIP","FromIP","Size","MessageId","MessageTraceId"\n'
        f'"03/03/2026 1:08:15 AM","x@fabrikam.example","{DANA}","Invoice 7714","Delivered","","192.0.2.10","40810","<i1@fabrikam.example>","9e2905ab-e2b4-4ed2-8220-9af6787c6c9a"\n'
        f'"03/03/2026 1:09:15 AM","bob@contoso.example","{DANA}","Lunch","Delivered","","192.0.2.10","40810","<l2@contoso.example>","9e2905ab-e2b4-4ed2-8220-9af6787c6c9b"\n'
    )
    first, second = filtered("f1", "news@fabrikam.example", "Label_1"), filtered("f2", "security@contoso.example", "TRASH")  # fmt: skip
    files: dict[str, str | bytes] = {
        "2026-03-01/filters.json": json.dumps([first]),
        "2026-03-03/filters.json": json.dumps([first, second]),
        "2026-03-01/rules.json": json.dumps([news]),
        "2026-03-03/rules.json": json.dumps([news, hidden, client]),
        "2026-03-01/mailbox.json": json.dumps([mailbox(ForwardingSmtpAddress=None)]),
        "2026-03-03/mailbox.json": json.dumps(
            [mailbox(AuditEnabled=False, ForwardingSmtpAddress="smtp:x@fabrikam.example")]
        ),
        "google.jsonl": "".join(json.dumps(one) + "\n" for one in google),
        "trace.csv": trace,
    }
    run(folder, files, proof="always")
    return folder


def versions(case: Path, kind: str) -> list[Record]:
    return ask(case, f"SettingHistory | where Kind == '{kind}' | order by TimeGenerated asc, Name asc")


def test_a_hidden_rule_and_a_client_side_rule_are_told_as_what_they_are(case: Path) -> None:
    found = {row["Name"]: row for row in versions(case, "inbox rule")}

    hidden, client = found["(no name) 12"], found["Popup"]
    assert hidden["Does"] == "deletes the message whose subject contains invoice or MFA"
    assert "its name shows nothing" in hidden["Traits"]
    assert "leaves a rule of this provider out" in hidden["Traits"]
    assert (hidden["Origin"], hidden["TimeBasis"], hidden["Seen"], hidden["Hit"]) == ("unexplained", "folder name", 2, 1)  # fmt: skip
    assert [one["s"] for one in hidden["HitMessages"]] == ["Invoice 7714"]
    assert client["Traits"].startswith("client-only")
    assert found["Newsletter"]["Origin"] == "snapshot"


def test_a_filter_of_gmail_that_nobody_made_names_the_messages_it_binned(case: Path) -> None:
    first, second = versions(case, "Gmail filter")

    assert (first["Name"], first["Origin"], first["Seen"]) == ("f1", "snapshot", None)
    assert second["Does"] == "bins the message from security@contoso.example"
    assert (second["Origin"], second["Hit"], second["Seen"]) == ("unexplained", 1, 2)


def test_routing_of_gmail_has_a_version_for_each_change(case: Path) -> None:
    created, changed = versions(case, "Gmail routing")

    assert (created["Does"], created["ChangedBy"], created["EndTime"]) == (
        "a content rule for mail; the record does not say what it does", ADMIN, changed["TimeGenerated"],
    )  # fmt: skip
    assert changed["Does"] == "a routing rule for mail is off (was on)"


def test_settings_that_changed_in_silence_are_findings(case: Path) -> None:
    found = json.loads((case / "case" / "report.json").read_text())
    titles = {finding["title"] for story in found["cases"] for finding in story["findings"]}

    assert {
        "The audit AuditEnabled is present and no record says who did it",
        "The forwarding ForwardingSmtpAddress is present and no record says who did it",
        "The inbox rule (no name) 12 is present and no record says who did it",
        "The Gmail filter f2 is present and no record says who did it",
    } <= titles
    assert "The hold LitigationHoldEnabled is present and no record says who did it" not in titles
