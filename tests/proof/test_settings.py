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
from mailwitness.readers import setting_file

from .histories import Bench, act, at

EVA = "eva@contoso.example"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    for name in ("SettingsSnapshot", "MessageLedger"):
        columns = loader.tables()[name].columns
        listed = ", ".join(f"{tables.identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in columns)
        made.connection.execute(f"CREATE TABLE {name} ({listed})")
    yield made
    made.close()


def history(bench: Bench, **filled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for name in ("MailboxActivity", "SettingsSnapshot", "EmailEvents", "MessageLedger", "Syslog"):
        bench.fill(name, filled.get(name, []))
    settings.prepare(bench.connection, bench.work, present=set(filled))
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

    assert (found[0]["Hit"], found[0]["Possible"], found[0]["NotJudged"]) == (
        None, 1, "whose body contains wire",
    )  # fmt: skip


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


def test_a_message_that_fails_one_condition_is_not_possible_whatever_the_body_says(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[
            rule(
                10,
                "InboxRuleCreated",
                BodyContainsWords="wire",
                SubjectContainsWords="pay",
                DeleteMessage="True",
            )
        ],
        EmailEvents=[mail(20, "Payment"), mail(21, "lunch")],
    )

    assert (found[0]["Seen"], found[0]["Hit"], found[0]["Possible"]) == (2, None, 1)


def test_the_ledger_says_what_became_of_the_messages_a_version_took(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[rule(10, "InboxRuleCreated", DeleteMessage="True")],
        EmailEvents=[mail(20, "one"), mail(21, "two")],
        MessageLedger=[
            {"Mailbox": EVA, "MessageId": "<20@x.example>", "Verdict": "gone without record"},
            {"Mailbox": "bob@contoso.example", "MessageId": "<21@x.example>", "Verdict": "present"},
        ],
    )

    assert found[0]["Ledger"] == {"gone without record": 1, "not in the ledger": 1}
    assert [one["v"] for one in found[0]["HitMessages"]] == ["gone without record", "not in the ledger"]


def test_a_rule_that_differs_between_snapshots_without_a_record_is_unexplained(bench: Bench) -> None:
    found = history(
        bench,
        SettingsSnapshot=[
            shown(10, "zz", MarkAsRead=True, RunspaceId="a"),
            shown(50, "zz", MarkAsRead=True, RunspaceId="b"),
            shown(90, "zz", DeleteMessage=True),
        ],
    )

    assert [(row["Does"], row["Origin"]) for row in found] == [
        ("marks it as read", "snapshot"),
        ("deletes the message whatever it is", "unexplained"),
    ]
    assert "no record says who changed it" in found[1]["Reason"]


def test_a_rule_that_a_record_made_and_a_listing_does_not_show_is_hidden_or_gone(bench: Bench) -> None:
    found = history(
        bench,
        MailboxActivity=[rule(50, "InboxRuleCreated", DeleteMessage="True")],
        SettingsSnapshot=[shown(90, "old", MarkAsRead=True)],
    )

    assert [(row["Name"], row["State"], row["Origin"]) for row in found] == [
        ("zz", "present", "record"), ("old", "present", "snapshot"), ("zz", "removed", "unexplained"),
    ]  # fmt: skip
    assert "hidden from the listing" in found[2]["Reason"]


def test_an_outlook_record_that_names_a_rule_by_its_number_belongs_to_the_rule_of_the_snapshot(
    bench: Bench,
) -> None:
    snapshots = [
        shown(10, "zz", MarkAsRead=True, RuleIdentity=12345678901),
        shown(90, "zz", DeleteMessage=True, RuleIdentity=12345678901),
    ]
    modified = act(50, "InboxRuleChanged", "", ObjectName="12345678901", Operation="UpdateInboxRules")

    found = history(bench, SettingsSnapshot=snapshots, MailboxActivity=[modified])

    assert [(row["Name"], row["Origin"]) for row in found] == [
        ("zz", "snapshot"), ("zz", "record"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("copies/2026-03-02T0815/rules.json", "2026-03-02 08:15:00"),
        ("20260302/rules.json", "2026-03-02 00:00:00"),
        ("v20260399/rules.json", None),
        ("case 4711/rules.json", None),
    ],
)
def test_a_folder_that_is_named_after_a_day_says_when_a_snapshot_was_taken(
    path: str, expected: str | None
) -> None:
    found = setting_file.dated(path)

    assert expected == (None if found is None else found.isoformat(sep=" "))
