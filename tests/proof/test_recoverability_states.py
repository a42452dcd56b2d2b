"""Every state of the clock with every setting that decides it: state, days, range, and the source of each figure."""

# ruff: noqa: FBT003 - a table is read by its rows

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.content.schemas import Recovery
from mailwitness.content_check import Bench, recovery_tests
from mailwitness.proof import recoverability

NOW = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
EVA = "eva@contoso.example"
ONLINE, SERVER, GOOGLE, LINUX = "ExchangeOnline", "Exchange", "GoogleWorkspace", "Linux"
SOFT, HARD, FOLDER = "SoftDeleted", "HardDeleted", "FolderDeleted"
CLEANUP = "Microsoft Learn: Learn about priority cleanup"
HOLDS = "Microsoft Learn: How to identify the type of hold placed on an Exchange Online mailbox"
ITEMS = "Microsoft Learn: Recoverable Items folder in Exchange Online"
PERIOD = "Microsoft Learn: Change how long permanently deleted items are kept for an Exchange Online mailbox"
LABELS = "Microsoft Learn: Learn about retention policies and retention labels"
SERVERS = "Microsoft Learn: Recoverable Items folder in Exchange Server; Get-MailboxDatabase"
GMAIL = (
    "Google Workspace Admin Help: Restore a user's Gmail data; Gmail Help: Delete or recover deleted messages"
)
VAULT = "Google Vault Help: Holds"
DOVECOT = "Dovecot documentation: lazy_expunge plugin"
UNLINKED = "unlink(2), proc(5)"
SYSMON = "Sysinternals Sysmon: event 23"

HELD = {"LitigationHoldEnabled": True}
POLICY = {"InPlaceHolds": ["mbx0123456789abcdef0123456789abcdef:2"]}
TAGGED = {"ComplianceTagHoldApplied": True}
KEEP = {"RetentionAction": "Keep", "RetentionDuration": "365", "RetentionType": "CreationAgeInDays"}


class Case(NamedTuple):
    """One row: what happened and what is known, then what the clock must say; days are of March 2026 unless they are whole dates."""

    platform: str
    act: str
    mailbox: dict[str, Any]
    state: str
    until: str
    earliest: str
    latest: str
    is_exact: bool
    source: str
    further: str = ""


# The message came on the 1st at 08:00 and went on the 2nd at 10:00; a listing is of the 5th at 00:00; the clock is the 10th.
CASES = [
    Case(ONLINE, "InTrash", {}, "Deleted Items", "", "", "", False, "Microsoft Learn: Default Retention Policy in Exchange Online (no tag on Deleted Items)"),
    Case(ONLINE, "InTrash", {}, "Deleted Items", "04-01", "04-01", "04-01", True, "Microsoft Learn: Retention tags and retention policies (AgeLimitForRetention)", "trash tag"),
    Case(ONLINE, SOFT, {}, "Recoverable Items, Deletions", "03-16", "03-02", "04-01", False, PERIOD),
    Case(ONLINE, SOFT, {"RetainDeletedItemsFor": "20.00:00:00"}, "Recoverable Items, Deletions", "03-22", "03-22", "03-22", True, PERIOD),
    Case(ONLINE, FOLDER, {"RetainDeletedItemsFor": "30.00:00:00"}, "Recoverable Items, Deletions", "04-01", "04-01", "04-01", True, PERIOD),
    Case(ONLINE, "InDeletions", {"RetainDeletedItemsFor": "20.00:00:00"}, "Recoverable Items, Deletions", "03-25", "03-21", "03-25", False, ITEMS),
    Case(ONLINE, HARD, {}, "Recoverable Items, Purges", "03-16", "03-02", "04-01", False, ITEMS),
    Case(ONLINE, HARD, {"SingleItemRecoveryEnabled": True, "RetainDeletedItemsFor": "10"}, "Recoverable Items, Purges", "03-12", "03-12", "03-12", True, ITEMS),
    Case(ONLINE, HARD, {"SingleItemRecoveryEnabled": False}, "Recoverable Items, Purges, without single item recovery", "03-02", "03-02", "03-09", False, "Microsoft Learn: Managed Folder Assistant (a mailbox at least once in seven days)"),
    Case(ONLINE, "InPurges", {"RetainDeletedItemsFor": "10"}, "Recoverable Items, Purges", "03-15", "03-11", "03-15", False, ITEMS),
    Case(ONLINE, HARD, HELD, "Recoverable Items, Purges, held", "", "", "", False, ITEMS),
    Case(ONLINE, SOFT, HELD | {"LitigationHoldDuration": "365.00:00:00"}, "Recoverable Items, Purges, held", "2027-03-01", "2027-03-01", "2027-03-01", True, "Microsoft Learn: Set-Mailbox (LitigationHoldDuration, from the day of receipt)"),
    Case(ONLINE, SOFT, HELD | {"LitigationHoldDuration": "Unlimited"}, "Recoverable Items, Purges, held", "", "", "", False, "Microsoft Learn: Set-Mailbox (LitigationHoldDuration)"),
    Case(ONLINE, HARD, HELD, "Recoverable Items, Purges, held", "", "03-10", "", False, CLEANUP, "cleanup policy"),
    Case(ONLINE, HARD, HELD, "gone; Priority Cleanup deleted it in spite of holds", "", "", "", False, CLEANUP, "cleaned"),
    Case(ONLINE, HARD, POLICY, "Recoverable Items, DiscoveryHolds", "", "", "", False, ITEMS),
    Case(ONLINE, "InDiscoveryHolds", POLICY, "Recoverable Items, DiscoveryHolds", "", "", "", False, ITEMS),
    Case(ONLINE, "InDiscoveryHolds", {}, "Recoverable Items, DiscoveryHolds; no hold is known", "03-05", "03-01", "04-04", False, ITEMS),
    Case(ONLINE, HARD, {}, "Recoverable Items, DiscoveryHolds", "", "", "", False, HOLDS, "organisation hold"),
    Case(ONLINE, HARD, {"InPlaceHolds": ["-mbx0123456789abcdef0123456789abcdef"]}, "Recoverable Items, Purges", "03-16", "03-02", "04-01", False, HOLDS, "organisation hold"),
    Case(ONLINE, HARD, TAGGED, "Recoverable Items, DiscoveryHolds, kept by a retention label", "", "", "", False, HOLDS),
    Case(ONLINE, HARD, {}, "Recoverable Items, DiscoveryHolds, kept by a retention label", "2027-03-01", "2027-03-01", "2027-03-01", True, LABELS, "label"),
    Case(ONLINE, HARD, {}, "Recoverable Items, DiscoveryHolds, kept by a retention label", "", "", "", False, LABELS, "unknown label"),
    Case(ONLINE, HARD, {}, "Recoverable Items, Purges", "03-16", "03-02", "04-01", False, LABELS, "deleting label"),
    Case(ONLINE, HARD, {"DelayHoldApplied": True}, "Recoverable Items, delay hold", "04-01", "03-02", "04-01", False, HOLDS),
    Case(ONLINE, HARD, HELD, "Recoverable Items, delay hold", "04-02", "03-03", "04-02", False, HOLDS, "hold removed"),
    Case(ONLINE, HARD, HELD, "Recoverable Items, Purges", "03-16", "03-02", "04-01", False, HOLDS, "delay hold removed"),
    Case(ONLINE, "Altered", HELD, "Recoverable Items, Versions (the original), held", "", "", "", False, ITEMS),
    Case(ONLINE, "Altered", {"DelayHoldApplied": True}, "Recoverable Items, Versions (the original), delay hold", "04-04", "03-01", "04-04", False, ITEMS),
    Case(ONLINE, "Altered", {"SingleItemRecoveryEnabled": True, "RetainDeletedItemsFor": "10"}, "Recoverable Items, Versions (the original)", "03-15", "03-11", "03-15", False, ITEMS),
    Case(ONLINE, "InVersions", {}, "Recoverable Items, Versions (the original)", "03-19", "03-01", "04-04", False, ITEMS),
    Case(ONLINE, "Altered", {"SingleItemRecoveryEnabled": False}, "gone; without single item recovery and hold no earlier version is kept", "", "", "", False, ITEMS),
    Case(ONLINE, "none", {}, "not known; perhaps in Recoverable Items", "03-19", "03-01", "04-04", False, ITEMS),
    Case(ONLINE, "Discarded", {}, "gone from this mailbox", "", "", "", False, "Microsoft Learn: Mail flow rules (delete the message without notifying anyone)"),
    Case(SERVER, "InTrash", {}, "Deleted Items", "", "", "", False, SERVERS),
    Case(SERVER, SOFT, {}, "Recoverable Items, Deletions", "03-16", "03-02", "2094-03-20", False, SERVERS),
    Case(SERVER, HARD, {"SingleItemRecoveryEnabled": True, "RetainDeletedItemsFor": "14"}, "Recoverable Items, Purges", "03-16", "03-16", "03-16", True, SERVERS),
    Case(SERVER, HARD, {}, "removed from the store; perhaps in a database backup", "03-02", "03-02", "03-03", False, SERVERS),
    Case(SERVER, HARD, HELD, "Recoverable Items, held (Purges or DiscoveryHolds)", "", "", "", False, SERVERS),
    Case(SERVER, HARD, HELD, "Recoverable Items; the hold was taken away", "03-03", "03-03", "03-04", False, SERVERS, "hold removed"),
    Case(SERVER, "InDiscoveryHolds", {}, "Recoverable Items, DiscoveryHolds; no hold is known", "03-05", "03-01", "03-06", False, SERVERS),
    Case(SERVER, "Altered", HELD, "Recoverable Items, Versions (the original), held", "", "", "", False, SERVERS),
    Case(SERVER, "Altered", {"SingleItemRecoveryEnabled": True, "RetainDeletedItemsFor": "14"}, "Recoverable Items, Versions (the original)", "03-19", "03-15", "03-19", False, SERVERS),
    Case(SERVER, "Altered", {}, "gone; without single item recovery and hold no earlier version is kept", "", "", "", False, SERVERS),
    Case(SERVER, "none", {}, "not known; perhaps in Recoverable Items or a backup", "03-19", "03-01", "2094-03-23", False, SERVERS),
    Case(SERVER, "Discarded", {}, "gone from this mailbox", "", "", "", False, SERVERS),
    Case(GOOGLE, "InTrash", {}, "Google Trash", "04-01", "04-01", "04-01", True, GMAIL),
    Case(GOOGLE, HARD, {}, "Google administrator's restore window", "03-27", "03-27", "03-27", True, GMAIL),
    Case(GOOGLE, HARD, {}, "Google Vault, held", "", "", "", False, VAULT, "vault hold"),
    Case(GOOGLE, HARD, {}, "Google administrator's restore window; a Vault hold was taken away", "03-27", "03-27", "03-27", True, VAULT, "vault hold removed"),
    Case(GOOGLE, "none", {}, "not known; perhaps in the administrator's restore window", "03-30", "03-26", "03-30", False, GMAIL),
    Case(GOOGLE, "Discarded", {}, "gone from this mailbox", "", "", "", False, GMAIL),
    Case(LINUX, "InTrash", {}, "Trash folder of the store", "", "", "", False, "Dovecot documentation: autoexpunge"),
    Case(LINUX, HARD, {}, "Dovecot lazy_expunge", "", "", "", False, DOVECOT, "lazy_expunge"),
    Case(LINUX, HARD, {}, "gone from the store; perhaps in a lazy_expunge namespace, a backup, a file system snapshot or a hard-link vault", "", "", "", False, DOVECOT),
    Case(LINUX, "none", {}, "removed behind the server's back; perhaps a file that is unlinked but still open, a backup or a hard-link vault", "", "", "", False, UNLINKED),
    Case(LINUX, "Discarded", {}, "gone from this mailbox", "", "", "", False, "RFC 5228 section 4.4 (discard)"),
    Case("Windows", "StoreFileArchived", {}, "Sysmon 23 archive", "", "", "", False, SYSMON, "archived file"),
]  # fmt: skip

_FOLDERS = {
    "InTrash": "Deleted Items", "InDeletions": "recoverableitemsdeletions", "InVersions": "\\Recoverable Items\\Versions",
    "InPurges": "/Purges", "InDiscoveryHolds": "Recoverable Items/DiscoveryHolds",
}  # fmt: skip


def message(case: Case) -> dict[str, Any]:
    """Return the row of the ledger: what it calls each of these losses."""
    row = {
        "Mailbox": EVA, "MessageId": "<a@b.example>", "MessageKey": "a@b.example", "Platform": case.platform,
        "FirstSeen": "2026-03-01T08:00:00Z", "DeliveredAt": "2026-03-01T08:00:00Z", "LastSeen": "2026-03-01T08:00:00Z",
    }  # fmt: skip
    if case.act == "InTrash":
        return row | {"Verdict": "unknown", "LastFolder": "trash", "RemovedAt": "2026-03-02T10:00:00Z"}
    if case.act in _FOLDERS:
        return row | {"Verdict": "present", "PresentFolder": _FOLDERS[case.act], "ListedAt": "2026-03-05T00:00:00Z"}  # fmt: skip
    if case.act in {"none", "Altered"}:
        verdict = "altered" if case.act == "Altered" else "gone without record"
        return row | {"Verdict": verdict, "ListedAt": "2026-03-05T00:00:00Z"}
    if case.act == "Discarded":
        return row | {"Verdict": "never stored"}
    return row | {"Verdict": "deleted with record", "RemovalActivity": case.act, "RemovedAt": "2026-03-02T10:00:00Z"}  # fmt: skip


def snapshot(kind: str, settings: dict[str, Any], **cells: Any) -> dict[str, Any]:
    return {"TimeGenerated": "2026-02-01T00:00:00Z", "Kind": kind, "Settings": json.dumps(settings), **cells}


def changed(activity: str, **cells: Any) -> dict[str, Any]:
    return {"TimeGenerated": "2026-03-03T09:00:00Z", "Activity": activity, "ActivityResult": "Succeeded", "Mailbox": EVA, "Platform": ONLINE, **cells}  # fmt: skip


_LABELLED = {
    "MailboxOwnerUPN": EVA,
    "AffectedItems": json.dumps([{"InternetMessageId": "<a@b.example>", "ComplianceLabel": "Finance"}]),
}
_DELETE = KEEP | {"RetentionAction": "Delete"}
_BIN = {"Type": "DeletedItems", "AgeLimitForRetention": "30.00:00:00", "RetentionEnabled": True}
_HOLD_OFF = changed("HoldWeakened", Parameters=json.dumps({"LitigationHoldEnabled": "False"}))
# What else the evidence of a case holds: table and row.
_FURTHER: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "": [],
    "trash tag": [("SettingsSnapshot", snapshot("RetentionPolicyTag", _BIN, Name="Bin"))],
    "organisation hold": [("SettingsSnapshot", snapshot("OrganizationConfig", POLICY))],
    "label": [("SettingsSnapshot", snapshot("ComplianceTag", KEEP, Name="Finance")), ("OfficeActivity", _LABELLED)],
    "deleting label": [("SettingsSnapshot", snapshot("ComplianceTag", _DELETE, Name="Finance")), ("OfficeActivity", _LABELLED)],
    "unknown label": [("OfficeActivity", _LABELLED)],
    "lazy_expunge": [("SettingsSnapshot", snapshot("DovecotConfig", {"Plugins": ["lazy_expunge"], "LazyExpunge": ".EXPUNGED/"}))],
    "cleanup policy": [("MailboxActivity", changed("PriorityCleanup", Operation="New-RetentionCompliancePolicy"))],
    "cleaned": [("MailboxActivity", changed("PriorityCleanup", Operation="PriorityCleanupDelete", MessageId="<a@b.example>"))],
    "hold removed": [("MailboxActivity", _HOLD_OFF)],
    "delay hold removed": [
        ("MailboxActivity", _HOLD_OFF),
        ("MailboxActivity", changed("HoldWeakened", Parameters=json.dumps({"RemoveDelayHoldApplied": "True"}))),
    ],
    "vault hold": [("MailboxActivity", changed("HoldRestored", Platform=GOOGLE))],
    "vault hold removed": [("MailboxActivity", changed("HoldWeakened", Platform=GOOGLE))],
    "archived file": [
        ("MailboxActivity", changed("StoreFileDeleted", Platform="Windows", ObjectName="C:\\mail\\a.pst", Properties=json.dumps({"Archived": "true"}))),
    ],
}  # fmt: skip


def evidence(case: Case) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables for one case."""
    found: dict[str, list[dict[str, Any]]] = {
        "MessageLedger": [] if case.platform == "Windows" else [message(case)],
        "SettingsSnapshot": [snapshot("Mailbox", case.mailbox, Mailbox=EVA)] if case.mailbox else [],
        "MailboxActivity": [],
        "OfficeActivity": [],
    }
    for table, row in _FURTHER[case.further]:
        found[table].append(row)
    return found


def day(text: str) -> str:
    return "" if not text else text if len(text) == 10 else f"2026-{text}"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def clock(bench: Bench, case: Case) -> dict[str, Any]:
    for name, rows in evidence(case).items():
        bench.fill(name, rows, "recoverability")
    recoverability.prepare(bench.connection, now=NOW)
    (row,) = tables.rows(bench.connection.execute("SELECT * FROM recoverable"))
    return row


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.platform} {case.act} {case.mailbox} {case.further}"
)
def test_each_state_with_each_setting(bench: Bench, case: Case) -> None:
    row = clock(bench, case)

    days = tuple(
        f"{row[name]:%Y-%m-%d}" if row[name] else "" for name in ("Until", "UntilEarliest", "UntilLatest")
    )
    assert (row["State"], *days, row["IsExact"]) == (
        case.state, day(case.until), day(case.earliest), day(case.latest), case.is_exact,
    )  # fmt: skip
    assert case.source
    assert row["RemovedBy"]
    assert row["Step"]
    # What is held always says why a hold is not safety, and what is on a shelf without end is never called over.
    assert not row["Hold"] or row["Caveat"]
    assert not row["IsOver"] or days[2] < "2026-03-10"


def test_no_state_is_left_out() -> None:
    known = {(item.product, state.name) for item in loader.recoveries() for state in item.states}
    products = {platform: item.product for item in loader.recoveries() for platform in item.platforms}

    assert {(products[case.platform], case.state) for case in CASES} == known


def test_a_paused_assistant_is_named_where_it_would_remove(bench: Bench) -> None:
    paused = {"ElcProcessingDisabled": True, "RetainDeletedItemsFor": "14"}

    rows = [clock(bench, Case(ONLINE, SOFT, settings, "", "", "", "", False, "")) for settings in (paused, paused | {"ElcProcessingDisabled": False})]  # fmt: skip

    assert "paused for this mailbox by ElcProcessingDisabled" in rows[0]["RemovedBy"]
    assert "paused" not in rows[1]["RemovedBy"]


def test_what_the_content_says_of_itself_holds(bench: Bench) -> None:
    failed = [
        outcome
        for path in loader.files("recoverability")
        for outcome in recovery_tests(bench, path, loader.read(path, Recovery))
        if outcome.problem
    ]

    assert failed == []
