"""A rule that fires on an amount compares it with earlier days of the same mailbox or account, and says with what."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness.content import loader
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.findings import execute

Row = dict[str, Any]  # Any: cell values

RULES = {path.stem: rule for path, rule in loader.rules()}
_THRESHOLD = re.compile(r"\b(?:Count|Sessions|Items|Messages)\s*>=?\s*(?:minimum\w*|many\w*|\d\d+)\b")
_HISTORY = re.compile(r"\b(?:Baseline\w*|History|Earlier\w*|Habit\w*|Totals)\b")
# Amounts that are no volume of a mailbox: what the number is instead, and why earlier days would say nothing.
OTHERWISE = {
    "export_requests_swept": "requests of a server, told by one command that sweeps them all",
    "web_services_delete_requests": "requests of a script's client, which no person uses",
    "mailbox_taken_out_then_emptied": "follows a copy of the whole mailbox",
    "vault_hold_removed_then_deleted": "follows the removal of a hold",
    "sent_items_emptied": "a part of what was sent in the same hours",
    "answers_to_mass_mail_deleted": "follows a mailing of the same account",
    "grant_then_delete": "follows a grant of access",
    "messages_destroyed_steadily": "the opposite of volume: few each hour, by a client that the owner never uses",
    "new_client_then_deletes": "the client has no earlier day: that is what is looked for",
    "mail_store_deleted": "files below a mail store, removed by a program that is not the mail program",
    "mail_store_overwritten": "files below a mail store, written by a program that is not the mail program",
    "mail_files_by_command": "commands, not messages",
    "compliance_purge": "search actions: each purges mail of anybody",
    "messages_gone": "messages that nothing explains: one is too many",
}


def test_every_rule_with_a_threshold_knows_earlier_days_or_says_why_not() -> None:
    counting = {name for name, rule in RULES.items() if _THRESHOLD.search(rule.query)}

    bare = {name for name in counting if not _HISTORY.search(RULES[name].query)}

    assert {"deletion_above_baseline", "trash_then_removed", "quarantine_deleted"} <= counting - bare
    assert bare - OTHERWISE.keys() == set()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def act(day: int, minute: int, **cells: Any) -> Row:
    at = dt.datetime(2026, 3, day, 8, 0, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)
    shared = {
        "TimeGenerated": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ActivityResult": "Succeeded",
        "Actor": "eva@contoso.example",
        "ActorType": "Owner",
    }
    return {**shared, "Mailbox": "eva@contoso.example", "Platform": "ExchangeOnline", **cells}


def last_day(bench: Bench, name: str, days: list[list[Row]]) -> Row:
    """Return what a rule says of the last of several days."""
    bench.fill("MailboxActivity", [row for rows in days for row in rows], name)
    found = execute(
        bench.connection, bench.engine.to_sql(RULES[name].query, now=TEST_NOW), timeout_seconds=60, limit=100
    )
    return max(found, key=lambda row: row["Day"])


def trashed(day: int) -> list[Row]:
    google = {"Platform": "GoogleWorkspace"}
    return [
        act(day, 2 * n + step, Activity=activity, MessageId=f"<{day}.{n}@x>", **google)
        for n in range(3)
        for step, activity in enumerate(("MovedToDeletedItems", "HardDeleted"))
    ]


def uncopied(day: int) -> list[Row]:
    return [act(day, n, Activity="Sent", Properties={"SaveToSentItems": "False"}) for n in range(3)]


def hidden(day: int) -> list[Row]:
    return [
        act(day, n, Activity="Moved", FolderKind="Inbox", DestinationFolderKind="RssFeeds", ItemCount=1)
        for n in range(4)
    ]


def purged(day: int) -> list[Row]:
    return [act(day, 0, Activity="HardDeleted", FolderKind="RecoverableItemsDeletions", ItemCount=60)]


def quarantined(day: int) -> list[Row]:
    return [
        act(day, n, Activity="QuarantineDeleted", ActorType="Admin", ObjectName=f"q{day}.{n}")
        for n in range(20)
    ]


@pytest.mark.parametrize(
    ("name", "of_day", "at_first", "as_usual"),
    [
        ("trash_then_removed", trashed, "medium", "low"),
        ("sent_without_copy", uncopied, "medium", "low"),
        ("moved_to_hiding_folder", hidden, "low", "informational"),
        ("recoverable_items_deletions_purged", purged, "high", "medium"),
        ("quarantine_deleted", quarantined, "medium", "low"),
    ],
)
def test_what_was_done_on_days_before_weighs_less_and_is_said(
    bench: Bench, name: str, of_day: Any, at_first: str, as_usual: str
) -> None:
    alone = last_day(bench, name, [of_day(20)])
    usual = last_day(bench, name, [of_day(day) for day in range(15, 21)])

    assert (alone["Severity"], usual["Severity"]) == (at_first, as_usual)
    assert "no earlier day in this data to compare with" in alone["Reason"]
    assert "on 5 earlier days at most" in usual["Reason"]
