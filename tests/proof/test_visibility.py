"""Hours in which nothing could have been seen are told apart from hours in which nothing happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.proof import ledger, visibility

from .histories import NOW, START, Bench, Row, act

TABLES = ("Event", "LinuxAuditLog", "SettingsSnapshot", "SigninLogs", "GoogleWorkspaceReports")


class Sight(Bench):
    """The bench with the further tables that visibility reads."""

    def __init__(self) -> None:
        super().__init__()
        for name in TABLES:
            columns = loader.tables()[name].columns
            made = ", ".join(f"{tables.identifier(c.name)} {DUCKDB_TYPES[c.type]}" for c in columns)
            self.connection.execute(f"CREATE TABLE {name} ({made})")
        self.every = ("MailboxActivity", "OfficeActivity", "EmailEvents", "Syslog", *TABLES)

    def stretches(self, *files: ledger.Given, **filled: list[Row]) -> list[dict[str, Any]]:
        for name in self.every:
            self.fill(name, filled.get(name, []))
        return self.again({n for n in self.every if filled.get(n)}, *files)

    def again(self, present: set[str], *files: ledger.Given) -> list[dict[str, Any]]:
        target = self.work / "visibility.parquet"
        visibility.build(self.connection, target, present=present, now=NOW, exhibits=files)
        return tables.rows(self.connection.execute(f"SELECT * FROM read_parquet('{target}')"))


@pytest.fixture(scope="module")
def sight() -> Iterator[Sight]:
    made = Sight()
    yield made
    made.close()


def hour(number: float) -> str:
    return (START + dt.timedelta(hours=number)).isoformat(sep=" ")


def lines(hours: list[int], **cells: Any) -> list[Row]:
    return [{"TimeGenerated": hour(h), "Computer": "mx1", "ProcessName": "dovecot", **cells} for h in hours]


def of(rows: list[dict[str, Any]], cause: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["Cause"] == cause]


def test_a_busy_log_that_falls_silent_for_a_day_was_blind(sight: Sight) -> None:
    hours = [h for h in range(24 * 10) if not 100 <= h < 130]

    silent = of(sight.stretches(Syslog=lines(hours)), "silence")

    assert [(row["TimeGenerated"].isoformat(sep=" "), row["Hours"], row["State"]) for row in silent] == [
        (hour(100), 30, "blind")
    ]


def test_a_host_that_rests_every_night_was_not_blind(sight: Sight) -> None:
    hours = [h for h in range(24 * 20) if 7 <= h % 24 <= 18]

    rows = sight.stretches(Syslog=lines(hours))

    assert of(rows, "silence") == []
    assert [row["State"] for row in rows] == ["seen"]


def test_a_bypass_makes_its_account_blind_until_it_is_taken_away(sight: Sight) -> None:
    rows = sight.stretches(
        MailboxActivity=[
            act(
                60,
                "AuditWeakened",
                "",
                Operation="Set-MailboxAuditBypassAssociation",
                Actor="admin@contoso.example",
            ),
            act(90, "AuditRestored", "", Operation="Set-MailboxAuditBypassAssociation"),
        ]
    )

    assert [(row["Subject"], row["State"], row["Hours"]) for row in of(rows, "bypass")] == [
        ("eva@contoso.example", "blind", 0.5)
    ]


def test_auditing_that_was_never_restored_stays_blind_and_says_so(sight: Sight) -> None:
    rows = sight.stretches(
        MailboxActivity=[act(60, "AuditWeakened", "", Operation="Set-Mailbox")],
        OfficeActivity=[{"TimeGenerated": hour(9), "Operation": "Send"}],
    )

    (off,) = of(rows, "audit-off")
    assert off["EndTime"].isoformat(sep=" ") == hour(10)
    assert "no record says that this ended" in off["Reason"]


def test_a_hole_of_record_numbers_is_blind_and_a_filtered_export_is_not(sight: Sight) -> None:
    def events(numbers: list[int]) -> list[Row]:
        return [
            {"TimeGenerated": hour(n / 10), "EventLog": "Security", "Computer": "dc1", "RecordId": str(n)}
            for n in numbers
        ]

    hole = sight.stretches(Event=events([*range(100, 150), *range(155, 200)]))
    filtered = sight.stretches(Event=events(list(range(100, 400, 7))))

    assert [(row["Missing"], row["Subject"], row["Source"]) for row in of(hole, "gap")] == [
        (5, "dc1", "Security")
    ]
    assert of(filtered, "gap") == []


def test_numbers_that_occur_twice_are_told_and_the_same_record_twice_is_not(sight: Sight) -> None:
    def event(number: int, at: float) -> Row:
        return {"TimeGenerated": hour(at), "EventLog": "Security", "Computer": "dc1", "RecordId": str(number)}

    anew = sight.stretches(Event=[*(event(n, n / 10) for n in range(1, 60)), event(7, 20), event(8, 20.1)])
    same = sight.stretches(Event=[*(event(n, n / 10) for n in range(1, 60)), event(7, 0.7)])

    (told,) = of(anew, "doubled")
    assert (told["State"], told["Reason"][:36]) == ("unknown", "2 record numbers, from 7 to 8, occur")
    assert of(same, "doubled") == []


def test_an_export_of_exactly_fifty_thousand_records_was_cut_off(sight: Sight) -> None:
    for name in sight.every:
        sight.fill(name, [])
    sight.connection.execute(
        "INSERT INTO OfficeActivity BY NAME SELECT TIMESTAMP '2026-03-01' + INTERVAL 1 SECOND * i AS TimeGenerated, 'E1' AS _Exhibit, i AS _Position FROM range(5000) t(i)"
    )
    target = sight.work / "visibility.parquet"
    visibility.build(sight.connection, target, present={"OfficeActivity"}, now=NOW)
    full = tables.rows(sight.connection.execute(f"SELECT * FROM read_parquet('{target}')"))
    sight.connection.execute("DELETE FROM OfficeActivity WHERE _Position = 7")
    visibility.build(sight.connection, target, present={"OfficeActivity"}, now=NOW)
    less = tables.rows(sight.connection.execute(f"SELECT * FROM read_parquet('{target}')"))

    assert [row["State"] for row in of(full, "ceiling")] == ["unknown"]
    assert of(less, "ceiling") == []


def test_the_kernel_says_when_it_dropped_audit_records(sight: Sight) -> None:
    said = "audit: audit_lost=12 audit_rate_limit=0 audit_backlog_limit=64"
    rows = sight.stretches(
        Syslog=[
            *lines([1], ProcessName="kernel", SyslogMessage=said),
            # Anybody can write such a line through a program of their own.
            *lines([2], ProcessName="logger", SyslogMessage=said),
        ]
    )

    assert [(row["Missing"], row["Subject"]) for row in of(rows, "lost")] == [(12, "mx1")]


def test_a_clock_that_went_back_is_told_and_an_export_that_runs_backwards_is_not(sight: Sight) -> None:
    stepped = sight.stretches(Syslog=lines([*range(20), 15, 16, 17, 18, 19, 20]))
    backwards = sight.stretches(Syslog=lines(list(range(30, 0, -1))))

    assert [row["State"] for row in of(stepped, "clock")] == ["unknown"]
    assert of(backwards, "clock") == []


def test_a_snapshot_with_auditing_off_is_blind_at_its_time(sight: Sight) -> None:
    rows = sight.stretches(
        SettingsSnapshot=[
            {
                "TimeGenerated": hour(5),
                "Kind": "Mailbox",
                "Mailbox": "eva@contoso.example",
                "Settings": '{"AuditEnabled":"False"}',
            },
            {
                "TimeGenerated": hour(5),
                "Kind": "Mailbox",
                "Mailbox": "ann@contoso.example",
                "Settings": '{"AuditEnabled":"True"}',
            },
        ]
    )

    assert [row["Subject"] for row in of(rows, "settings")] == ["eva@contoso.example"]


def test_the_last_day_of_a_cloud_log_is_unknown(sight: Sight) -> None:
    def ago(hours: int) -> str:
        return (NOW.replace(tzinfo=None) - dt.timedelta(hours=hours)).isoformat(sep=" ")

    rows = sight.stretches(
        OfficeActivity=[{"TimeGenerated": ago(3), "Operation": "Send"}],
        # Google allows three days; two days of Microsoft's are enough.
        GoogleWorkspaceReports=[{"TimeGenerated": ago(100)}],
        SigninLogs=[{"TimeGenerated": ago(100)}],
    )

    assert [(row["Source"], row["State"]) for row in of(rows, "lag")] == [
        ("Google log", "unknown"),
        ("audit log", "unknown"),
    ]
