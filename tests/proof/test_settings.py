"""Versions of rules: what they did, to which messages, and which of them nobody made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.proof import settings

from .histories import Bench, act, at

EVA = "eva@contoso.example"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    columns = loader.tables()["SettingsSnapshot"].columns
    listed = ", ".join(f"{tables.identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in columns)
    made.connection.execute(f"CREATE TABLE SettingsSnapshot ({listed})")
    yield made
    made.close()


def history(bench: Bench, **filled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for name in ("MailboxActivity", "SettingsSnapshot", "EmailEvents"):
        bench.fill(name, filled.get(name, []))
    settings.prepare(bench.connection, has_trace="EmailEvents" in filled)
    return tables.rows(bench.connection.execute("SELECT * FROM setting_history ORDER BY TimeGenerated, Name"))


def rule(minute: int, activity: str, **parameters: str) -> dict[str, Any]:
    return act(minute, activity, "", ObjectName="zz", Parameters=json.dumps(parameters), FolderKind="")


def shown(minute: int, name: str, **members: Any) -> dict[str, Any]:
    return {
        "TimeGenerated": at(minute),
        "Kind": "InboxRule",
        "Mailbox": EVA,
        "Name": name,
        "Enabled": True,
        "Settings": json.dumps(members),
    }


def mail(minute: int, subject: str, recipient: str = EVA) -> dict[str, Any]:
    return {
        "TimeGenerated": at(minute),
        "InternetMessageId": f"<{minute}@x.example>",
        "Subject": subject,
        "SenderFromAddress": "a@x.example",
        "RecipientEmailAddress": recipient,
    }


def test_a_version_lasts_until_the_next_one_and_names_what_it_hid(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[
            rule(10, "InboxRuleCreated", SubjectContainsWords="invoice;MFA", DeleteMessage="True"),
            rule(60, "InboxRuleRemoved"),
        ],
        EmailEvents=[
            mail(5, "invoice"),
            mail(20, "Your Invoice"),
            mail(21, "mfa code"),
            mail(22, "lunch"),
            mail(23, "invoice", "bob@contoso.example"),
            mail(70, "invoice"),
        ],
    )

    first, second = found
    assert (first["Does"], first["ChangedBy"], first["Origin"]) == (
        "deletes the message whose subject contains invoice or MFA", EVA, "record",
    )  # fmt: skip
    assert first["EndTime"] == second["TimeGenerated"]
    assert (first["Hit"], [one["s"] for one in first["HitMessages"]]) == (2, ["Your Invoice", "mfa code"])
    assert (second["State"], second["Hit"]) == ("removed", None)


def test_a_version_ends_when_a_record_with_the_short_name_of_the_mailbox_removes_it(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[
            rule(10, "InboxRuleCreated", DeleteMessage="True"),
            {**rule(60, "InboxRuleRemoved"), "Mailbox": "eva"},
        ],
    )

    assert [(row["Mailbox"], row["State"]) for row in found] == [(EVA, "present"), (EVA, "removed")]
    assert found[0]["EndTime"] == found[1]["TimeGenerated"]


def test_what_the_trace_cannot_judge_is_said(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[rule(10, "InboxRuleCreated", BodyContainsWords="wire", DeleteMessage="True")],
        EmailEvents=[mail(20, "wire")],
    )

    assert (found[0]["Hit"], found[0]["NotJudged"]) == (None, "whose body contains wire")


def test_a_condition_without_a_phrase_does_not_make_a_rule_for_every_message(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[
            rule(10, "InboxRuleCreated", ExceptIfFlaggedForAction="Any", DeleteMessage="True"),
            {**rule(11, "InboxRuleCreated", DeleteMessage="True"), "ObjectName": "all"},
        ],
        EmailEvents=[mail(20, "one"), mail(21, "two")],
    )

    assert [(row["Name"], row["Hit"], row["NotJudged"]) for row in found] == [
        ("zz", None, "with ExceptIfFlaggedForAction Any"),
        ("all", 2, ""),
    ]


def test_a_rule_of_the_second_snapshot_that_nobody_made_is_unexplained(bench: Bench) -> None:
    snapshots = [
        shown(10, "old", MarkAsRead=True),
        shown(90, "old", MarkAsRead=True),
        shown(90, "zz", DeleteMessage=True, SubjectContainsWords=["invoice"]),
    ]

    alone = history(bench, SettingsSnapshot=snapshots)
    told = history(
        bench,
        SettingsSnapshot=snapshots,
        MailboxActivity=[rule(50, "InboxRuleCreated", DeleteMessage="True")],
    )

    assert [(row["Name"], row["Origin"]) for row in alone] == [("old", "snapshot"), ("zz", "unexplained")]
    assert "no record says who made it" in alone[1]["Reason"]
    assert "unexplained" not in {row["Origin"] for row in told}


def test_a_rule_that_is_gone_from_the_second_snapshot_without_a_record_is_unexplained(bench: Bench) -> None:
    found = history(
        bench,
        SettingsSnapshot=[
            shown(10, "old", MarkAsRead=True),
            shown(10, "zz", DeleteMessage=True),
            shown(90, "old", MarkAsRead=True),
        ],
    )

    assert [
        (row["Name"], row["State"], row["Origin"]) for row in found if row["Origin"] == "unexplained"
    ] == [("zz", "removed", "unexplained")]
