"""The pictures of cases: every act of a case's names by hour, and none of somebody else's."""

from __future__ import annotations

import datetime as dt

import duckdb

from mailwitness import pictures
from mailwitness.cases import Story
from mailwitness.models import Finding

NOON = dt.datetime(2026, 3, 2, 12)  # noqa: DTZ001 - naive UTC, as in every table
OFFICE, HOME = "203.0.113.7", "198.51.100.9"


def story(name: str, actor: str, *, address: str = "", days: int = 0) -> Story:
    found = Finding(
        rule="r", title="t", severity="high", confidence="high", phase="clearing", techniques=(), time=NOON,
        last_time=NOON + dt.timedelta(days=days), actor=actor, actor_type="Owner", mailbox=actor, address=address,
        session="", host="", description="", reasons=(), evidence={}, rows=(("E1", 1),),
    )  # fmt: skip
    return Story(
        id=name,
        title="t",
        severity="high",
        confidence="high",
        verdict="attack",
        reasons=(),
        findings=(found,),
    )


def acts(*rows: tuple[str, float, str, str]) -> duckdb.DuckDBPyConnection:
    """Return a database with acts: activity, hours after noon, actor (whose mailbox it is, too), address."""
    connection = duckdb.connect(":memory:")
    connection.execute(
        "CREATE TABLE MailboxActivity (Activity VARCHAR, TimeGenerated TIMESTAMP, Actor VARCHAR, Mailbox VARCHAR, "
        "SessionId VARCHAR, ClientIP VARCHAR, ActorType VARCHAR, ItemCount INTEGER)"
    )
    for activity, hours, actor, address in rows:
        time = NOON + dt.timedelta(hours=hours)
        connection.execute(
            "INSERT INTO MailboxActivity VALUES (?, ?, ?, ?, '', ?, 'Owner', 1)",
            [activity, time, actor, actor, address],
        )
    return connection


def test_the_acts_of_each_case_are_counted_by_phase_and_hour() -> None:
    connection = acts(
        ("HardDeleted", 0, "Eva@contoso.example", OFFICE),
        ("HardDeleted", 0.5, "eva@contoso.example", OFFICE),
        ("SignedIn", -1, "stranger@fabrikam.example", HOME),
        ("HardDeleted", 0, "bob@contoso.example", OFFICE),
        ("HardDeleted", 30, "eva@contoso.example", OFFICE),
    )

    shown = pictures.describe(
        connection,
        [
            story("C1", "eva@contoso.example", address=HOME),
            story("C2", "bob@contoso.example", days=60),
        ],
    )

    # One day around the findings; the other case is longer than a month and told by day.
    assert shown["C1"]["acts"] == [
        {"phase": "access", "time": "2026-03-02T11:00:00Z", "acts": 1},
        {"phase": "clearing", "time": "2026-03-02T12:00:00Z", "acts": 2},
    ]
    assert shown["C2"]["acts"] == [{"phase": "clearing", "time": "2026-03-02T00:00:00Z", "acts": 1}]


def test_an_address_of_many_people_ties_nobody_to_a_case() -> None:
    others = [("HardDeleted", 0.0, f"user{i}@contoso.example", OFFICE) for i in range(4)]
    connection = acts(("HardDeleted", 0, "eva@contoso.example", OFFICE), *others)

    shown = pictures.describe(connection, [story("C1", "eva@contoso.example", address=OFFICE)])

    assert [one["acts"] for one in shown["C1"]["acts"]] == [1]
