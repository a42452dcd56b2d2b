"""Every reason for which something could not have been seen: where it holds, and where it only looks like it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness.proof.ledger import Given

from .histories import START, Row
from .test_visibility import Sight, hour, of


@pytest.fixture(scope="module")
def sight() -> Iterator[Sight]:
    made = Sight()
    yield made
    made.close()


def minutes(exhibit: str, host: str, first: float, number: int, step: float = 1, **cells: Any) -> list[Row]:
    """Return lines of a log, one every so many minutes, from an hour of the story on."""
    return [
        {
            "TimeGenerated": (START + dt.timedelta(hours=first, minutes=n * step)).isoformat(sep=" "),
            "Computer": host, "ProcessName": "dovecot", "_Exhibit": exhibit, "_Position": n, **cells,
        }
        for n in range(number)
    ]  # fmt: skip


def file(name: str, path: str) -> Given:
    return Given(name, path, 1, None)


def said(host: str, at: float, process: str, message: str, number: int = 0) -> Row:
    return {
        "TimeGenerated": hour(at), "Computer": host, "ProcessName": process, "SyslogMessage": message, "_Position": number,
    }  # fmt: skip


def results(exhibit: str, *pairs: tuple[int, int]) -> list[Row]:
    return [
        {"TimeGenerated": hour(n), "Operation": "Send", "ResultIndex": index, "ResultCount": count, "_Exhibit": exhibit, "_Position": n}
        for n, (index, count) in enumerate(pairs)
    ]  # fmt: skip


def snapshot(kind: str, at: float, settings: dict[str, Any], **cells: Any) -> Row:
    return {"TimeGenerated": hour(at), "Kind": kind, "Settings": json.dumps(settings), **cells}


def test_a_set_of_results_that_ends_early_has_holes_or_failed_is_told_and_a_whole_one_is_not(
    sight: Sight,
) -> None:
    rows = sight.stretches(
        file("E1", "cut/a.csv"), file("E2", "whole/a.csv"), file("E3", "holes/a.csv"), file("E4", "failed/a.csv"),
        file("E5", "pages/1.csv"), file("E6", "pages/2.csv"), file("E7", "twice/a.csv"), file("E8", "doubled/a.csv"),
        OfficeActivity=[
            *results("E1", (1, 5), (2, 5), (3, 5)),
            *results("E2", (1, 3), (2, 3), (3, 3)),
            *results("E3", (1, 3), (3, 3)),
            *results("E4", (-1, 0)),
            # The pages of one search in two files; two searches that found equally many; a page that was fetched twice.
            *results("E5", (1, 4), (2, 4)), *results("E6", (3, 4), (4, 4)),
            *results("E7", (1, 2), (2, 2), (1, 2), (2, 2)),
            *results("E8", (1, 2), (2, 2), (2, 2)),
        ],
    )  # fmt: skip

    told = {row["_Exhibit"]: (row["Cause"], row["Missing"], row["Reason"]) for row in rows if row["Missing"]}
    assert told == {
        "E1": ("ceiling", 2, "The search found 5 records and the export ends with number 3: it was cut off."),
        "E3": ("ceiling", 1, "The search found 3 records and 1 of their numbers are missing in the export: it was cut off, filtered or changed."),
    }  # fmt: skip
    assert [row["_Exhibit"] for row in of(rows, "doubled")] == ["E8"]
    assert {row["_Exhibit"] for row in of(rows, "ceiling")} == {"E1", "E3", "E4"}


def test_what_a_licence_records_is_known_only_where_something_says_so(sight: Sight) -> None:
    plan = {"servicePlanId": "2f442157-a11c-46b9-ae5b-6e39ff4e5849", "capabilityStatus": "Enabled"}
    names = ("eva", "ann", "bob", "carol", "dave", "off")
    acts = [{"TimeGenerated": hour(h), "Operation": "Send", "MailboxOwnerUPN": f"{n}@contoso.example"} for n in names for h in (1, 90)]  # fmt: skip

    rows = sight.stretches(
        OfficeActivity=[
            *acts,
            *({"TimeGenerated": hour(2), "Operation": "MailItemsAccessed", "MailboxOwnerUPN": f"{n}@contoso.example"} for n in ("bob", "dave")),
        ],
        SettingsSnapshot=[
            snapshot("UserLicence", 5, {"assignedPlans": [plan]}, Mailbox="ann@contoso.example"),
            snapshot("UserLicence", 5, {"assignedPlans": [plan | {"capabilityStatus": "Deleted"}]}, Mailbox="off@contoso.example"),
            snapshot("Mailbox", 5, {"PersistedCapabilities": "BPOS_S_Standard"}, Mailbox="eva@contoso.example"),
        ],
        MailboxActivity=[
            {"TimeGenerated": hour(10), "Activity": "LicenceChanged", "ActivityResult": "Succeeded", "Mailbox": "dave@contoso.example",
             "SettingBefore": "[SkuName=SPE_E5]", "SettingAfter": "[SkuName=SPE_E3]", "Actor": "mallory@contoso.example"},
        ],
    )  # fmt: skip

    told = {row["Subject"]: (row["State"], row["Actor"]) for row in of(rows, "licence")}
    assert told == {
        "eva@contoso.example": ("unknown", ""),
        "off@contoso.example": ("unknown", ""),
        "dave@contoso.example": ("blind", "mallory@contoso.example"),
        "": ("unknown", ""),
    }
    (rest,) = [row for row in of(rows, "licence") if not row["Subject"]]
    assert rest["Reason"].startswith("For 1 mailbox with audit records nothing says which licence they had")
    assert {
        (row["Subject"], row["Reason"])
        for row in rows
        if row["Source"] == "reads in the audit log" and row["State"] == "seen"
    } == {
        ("", "Reads of 2 mailboxes were recorded."),
        ("dave@contoso.example", "Reads of this mailbox were recorded."),
    }


def test_a_rotation_that_is_missing_from_a_series_is_blind_and_an_empty_one_is_not(sight: Sight) -> None:
    rows = sight.stretches(
        file("E1", "mx1/mail.log.1"), file("E3", "mx1/mail.log.3.gz/mail.log.3"),
        file("E4", "mx2/mail.log.1"), file("E5", "mx2/mail.log.2.gz/mail.log.2"), file("E6", "mx2/mail.log.3.gz/mail.log.3"),
        Syslog=[
            *minutes("E3", "mx1", 0, 3), *minutes("E1", "mx1", 48, 3),
            *minutes("E6", "mx2", 0, 3), *minutes("E4", "mx2", 48, 3),
        ],
    )  # fmt: skip

    assert [(row["Subject"], row["State"], row["Reason"]) for row in of(rows, "rotation")] == [
        (
            "mx1",
            "blind",
            "Between mail.log.3.gz and mail.log.1 the files mail.log.2 of this series are missing.",
        )
    ]


def test_a_file_that_begins_long_after_its_predecessor_ends_was_cut(sight: Sight) -> None:
    rows = sight.stretches(
        file("E1", "mx1/mail.log.1"), file("E2", "mx1/mail.log"), file("E3", "mx2/mail.log.1"), file("E4", "mx2/mail.log"),
        Syslog=[
            *minutes("E1", "mx1", 0, 30), *minutes("E2", "mx1", 6, 30),
            # The same pause, in a log that pauses like that within its files.
            *minutes("E3", "mx2", 0, 20, 180), *minutes("E4", "mx2", 63, 20, 180),
        ],
    )  # fmt: skip

    (cut,) = of(rows, "rotation")
    assert (cut["Subject"], cut["State"], cut["TimeGenerated"].isoformat(sep=" ")) == ("mx1", "blind", "2026-03-01 00:29:00")  # fmt: skip
    assert "mail.log begins 331 minutes after mail.log.1 ends" in cut["Reason"]


def test_a_log_that_begins_with_a_rotation_is_told_from_one_whose_head_is_missing(sight: Sight) -> None:
    files = [file(f"E{n}", f"{host}/{log}") for n, (host, log) in enumerate(
        (host, log) for host in ("mx1", "mx2", "mx3") for log in ("mail.log", "syslog"))]  # fmt: skip
    rotated = "rsyslogd was HUPed"

    rows = sight.stretches(
        *files,
        Syslog=[
            *minutes("E0", "mx1", 48, 20), *minutes("E1", "mx1", 0, 20, 200), said("mx1", 48, "rsyslogd", rotated) | {"_Exhibit": "E1"},
            *minutes("E2", "mx2", 48, 20), *minutes("E3", "mx2", 0, 20, 200), said("mx2", 30, "rsyslogd", rotated) | {"_Exhibit": "E3"},
            # A host that never says when it rotates.
            *minutes("E4", "mx3", 48, 20), *minutes("E5", "mx3", 0, 20, 200),
        ],
    )  # fmt: skip

    told = {row["Subject"]: row["Reason"] for row in of(rows, "rotation")}
    assert sorted(told) == ["mx1", "mx2"]
    assert "begins where the logs were rotated" in told["mx1"]
    assert "its head may have been cut off" in told["mx2"]


def test_two_copies_of_a_log_that_differ_where_they_overlap_are_told(sight: Sight) -> None:
    short = minutes("E2", "mx1", 0, 40)
    del short[10:13]

    rows = sight.stretches(
        file("E1", "monday/var/log/mail.log"), file("E2", "friday/var/log/mail.log"),
        file("E3", "monday/mx2/mail.log"), file("E4", "friday/mx2/mail.log.1"),
        Syslog=[
            *minutes("E1", "mx1", 0, 30), *short,
            # The later copy has more behind the overlap, under the name that rotation gave it.
            *minutes("E3", "mx2", 0, 30), *minutes("E4", "mx2", 0, 60),
        ],
    )  # fmt: skip

    assert [
        (row["Subject"], row["State"], row["Missing"], row["_Exhibit"]) for row in of(rows, "shrunken")
    ] == [("mx1", "unknown", 3, "E2")]


def test_a_log_that_is_smaller_in_a_later_listing_was_shortened_unless_it_was_rotated(sight: Sight) -> None:
    def listed(path: str, at: float, size: int, inode: int) -> Row:
        return snapshot(
            "HostFile", at, {"Role": "mail log", "SizeBytes": size, "Inode": str(inode)}, Identity=path
        )

    rows = sight.stretches(
        SettingsSnapshot=[
            listed("/var/log/mail.log", 1, 9000, 7), listed("/var/log/mail.log", 20, 400, 7),
            # A new file under the old name; one that was copied and then emptied; one that grew.
            listed("/var/log/mail.err", 1, 9000, 8), listed("/var/log/mail.err", 20, 400, 9),
            listed("/var/log/mail.warn", 1, 9000, 10), listed("/var/log/mail.warn", 20, 400, 10), listed("/var/log/mail.warn.1", 20, 9000, 11),
            listed("/var/log/mail.info", 1, 9000, 12), listed("/var/log/mail.info", 20, 9400, 12),
        ],
    )  # fmt: skip

    (cut,) = of(rows, "shrunken")
    assert (cut["State"], cut["Hours"]) == ("blind", 19)
    assert cut["Reason"].startswith("/var/log/mail.log had 9000 bytes and then 400")


def test_a_clock_that_was_set_in_either_direction_is_told_and_a_correction_is_not(sight: Sight) -> None:
    rows = sight.stretches(
        Syslog=[
            said("mx1", 5, "chronyd", "System clock was stepped by 7200.25 seconds"),
            said("mx2", 5, "chronyd", "System clock was stepped by 0.4 seconds"),
            # Two hours of the day within ten seconds of the machine; then a machine that counts as the clock does.
            said("mx3", 5, "kernel", "[ 1000.000001] first"), said("mx3", 7, "kernel", "[ 1010.000001] second", 1),
            said("mx4", 5, "kernel", "[ 1000.000001] first"), said("mx4", 7, "kernel", "[ 8200.000001] second", 1),
            said("mx5", 5, "mallory", "System clock was stepped by 7200.25 seconds"),
        ],
        Event=[
            {"TimeGenerated": hour(9), "EventLog": "Security", "EventID": 4616, "Computer": "dc1", "RecordId": "1",
             "EventDataBag": json.dumps({"PreviousTime": "2026-03-01T09:00:00Z", "NewTime": "2026-03-01T03:00:00Z", "SubjectUserName": "mallory"})},
            {"TimeGenerated": hour(9), "EventLog": "Security", "EventID": 4616, "Computer": "dc2", "RecordId": "1",
             "EventDataBag": json.dumps({"PreviousTime": "2026-03-01T09:00:00Z", "NewTime": "2026-03-01T09:00:01Z", "SubjectUserName": "LOCAL SERVICE"})},
        ],
    )  # fmt: skip

    told = {row["Subject"]: (row["State"], row["Reason"], row["Actor"]) for row in of(rows, "clock")}
    assert told == {
        "mx1": ("unknown", "The clock of the host was set by 7200.25 seconds.", ""),
        "mx3": ("unknown", "The clock of the host went forward by 120 minutes against the seconds that the kernel counts since its start, or the machine slept.", ""),
        "dc1": ("unknown", "The clock of the host was set back by 360 minutes.", "mallory"),
    }  # fmt: skip


def test_numbers_that_go_on_while_the_time_goes_back_show_a_clock_that_was_set(sight: Sight) -> None:
    def events(host: str, back: int) -> list[Row]:
        return [
            {"TimeGenerated": hour(n - (back if n >= 15 else 0)), "EventLog": "System", "Computer": host, "RecordId": str(n), "EventDataBag": "{}"}
            for n in range(30)
        ]  # fmt: skip

    rows = sight.stretches(Event=[*events("dc1", 9), *events("dc2", 0)])

    assert {row["Subject"] for row in of(rows, "clock")} == {"dc1"}


def test_what_the_log_daemons_dropped_is_blind_and_the_words_of_others_are_not(sight: Sight) -> None:
    rows = sight.stretches(
        Syslog=[
            said("mx1", 5, "rsyslogd", "imjournal: 1234 messages lost due to rate-limiting (20000 allowed within 600 seconds)"),
            said("mx2", 5, "systemd-journald", "Suppressed 77 messages from dovecot.service"),
            said("mx3", 5, "auditd", "Audit daemon is suspending logging due to low disk space."),
            said("mx4", 5, "dovecot", "imjournal: 1234 messages lost due to rate-limiting"),
            said("mx5", 5, "kernel", "audit: audit_lost=0 audit_rate_limit=0"),
        ],
        SettingsSnapshot=[
            snapshot("LinuxHost", 5, {}, Identity="MX6"), snapshot("AuditLoaded", 5, {"Lost": 9}, Identity="kernel"),
        ],
    )  # fmt: skip

    assert {(row["Subject"], row["Source"], row["Missing"]) for row in of(rows, "lost")} == {
        ("mx1", "mail log", 1234), ("mx2", "mail log", 77), ("mx3", "auditd", 0), ("mx6", "auditd", 9),
    }  # fmt: skip


def test_serials_of_auditd_are_followed_through_boots_and_past_what_the_daemon_numbers_itself(
    sight: Sight,
) -> None:
    def events(host: str, numbers: list[int], kind: str = "SYSCALL") -> list[Row]:
        return [
            {"TimeGenerated": hour(n / 60), "Computer": host, "SerialNumber": str(number), "RecordType": kind, "_Position": n}
            for n, number in enumerate(numbers)
        ]  # fmt: skip

    daemon = [{**row, "_Position": 500} for row in events("mx1", [93000], "DAEMON_START")]

    rows = sight.stretches(
        LinuxAuditLog=[
            *events("mx1", [*range(100, 140), *range(150, 180)]), *daemon,
            # Two boots, both whole: together their numbers would overlap and leave holes.
            *events("mx2", [*range(300, 340), *range(1, 30)]),
        ],
    )  # fmt: skip

    assert [(row["Subject"], row["Missing"]) for row in of(rows, "gap")] == [("mx1", 10)]


def test_settings_of_two_snapshots_bound_the_time_in_which_auditing_was_off(sight: Sight) -> None:
    def audited(name: str, at: float, **settings: Any) -> Row:
        return snapshot("Mailbox", at, settings, Mailbox=f"{name}@contoso.example")

    rows = sight.stretches(
        SettingsSnapshot=[
            audited("eva", 1, AuditEnabled="False"), audited("eva", 30, AuditEnabled="False"),
            audited("ann", 1, AuditEnabled="True"), audited("ann", 30, AuditEnabled="False"),
            # The default of Exchange Server audits nothing that the owner does; the default of Exchange Online does.
            audited("bob", 1, AuditEnabled="True", AuditOwner="{}"),
            audited("carol", 1, AuditEnabled="True", AuditOwner="{}", DefaultAuditSet="{Admin, Delegate, Owner}"),
        ],
    )  # fmt: skip

    told = sorted(
        (row["Subject"][:3], row["State"], row["Hours"])
        for row in of(rows, "settings")
        if row["Source"] == "audit log"
    )
    assert told == [("ann", "blind", 1), ("ann", "unknown", 29), ("bob", "blind", 1), ("eva", "blind", 1), ("eva", "blind", 29)]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "rows"), [("SigninLogs", 100_000), ("EmailEvents", 1000), ("GoogleWorkspaceReports", 1000)]
)
def test_the_ceilings_of_other_searches(sight: Sight, table: str, rows: int) -> None:
    sight.stretches()
    sight.connection.execute(
        f"INSERT INTO {table} BY NAME SELECT TIMESTAMP '2026-03-01' + INTERVAL 1 SECOND * (i // 2) AS TimeGenerated, "
        f"CASE i % 2 WHEN 0 THEN 'E1' ELSE 'E2' END AS _Exhibit, i AS _Position FROM range({2 * rows} - 1) t(i)"
    )

    told = of(sight.again({table}), "ceiling")

    assert [(row["_Exhibit"], row["Records"]) for row in told] == [("E1", rows)]
