"""One act is told once: in two logs, by two rules, and without raising what it amounts to."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mailwitness import activities, same_act, severity, tables
from mailwitness.content import loader
from mailwitness.models import Finding, RuleOutcome

if TYPE_CHECKING:
    import duckdb

TIME = dt.datetime(2026, 3, 2, 8)  # noqa: DTZ001 - times of findings are naive UTC
BLANK = Finding(
    rule="one", title="a request was removed", severity="high", confidence="high", phase="clearing", techniques=("T1070.008",),
    time=TIME, last_time=TIME, actor="", actor_type="Admin", mailbox="", address="", session="", host="", description="",
    reasons=(), evidence={}, rows=(("E1", 0),),
)  # fmt: skip


def finding(**cells: Any) -> Finding:  # Any: fields of a finding
    return msgspec.structs.replace(BLANK, **cells)


@pytest.fixture
def logs(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """A database in which E1 is a server's log and E2 what a client wrote down."""
    connection = tables.connect(memory="256MB", threads=1, temporary=tmp_path)
    columns = ", ".join(
        f"{tables.empty(c)} AS {tables.identifier(c.name)}"
        for c in activities.columns()
        if c.name not in {"_Exhibit", "_Position", "SourceTable", "RecordType"}
    )
    rows = ", ".join(
        f"('{exhibit}', {number}, 'Event', '{kind}')"
        for (exhibit, kind), number in itertools.product(
            {"E1": "MSExchange Management", "E2": "Microsoft-Windows-PowerShell 4104"}.items(), range(4)
        )
    )
    connection.execute(
        f"CREATE TABLE MailboxActivity AS SELECT *, {columns} "
        f"FROM (VALUES {rows}) AS v(_Exhibit, _Position, SourceTable, RecordType)"
    )
    return connection


def test_a_cmdlet_in_the_logs_of_client_and_server_is_one_finding(logs: duckdb.DuckDBPyConnection) -> None:
    server = finding(actor="contoso.example/Users/mallory", evidence={"ObjectName": "ceo"}, rows=(("E1", 0),))
    client = finding(
        actor="CONTOSO\\mallory",
        evidence={"ObjectName": "CEO"},
        rows=(("E2", 0),),
        time=TIME + dt.timedelta(seconds=9),
    )

    told = same_act.in_two_logs(logs, [server, client])

    assert [one.actor for one in told] == ["contoso.example/Users/mallory"]
    assert told[0].rows == (("E1", 0), ("E2", 0))
    assert told[0].reasons == (
        "2 logs hold this act: Event MSExchange Management, Event Microsoft-Windows-PowerShell 4104",
    )


@pytest.mark.parametrize(
    "other",
    [
        {"rows": (("E1", 1),)},
        {"rows": (("E2", 0),), "actor": "bob"},
        {"rows": (("E2", 0),), "evidence": {"ObjectName": "cfo"}},
        {"rows": (("E2", 0),), "time": TIME + dt.timedelta(seconds=61)},
        {"rows": (("E2", 0),), "rule": "another"},
        {"rows": (("E3", 0),)},
    ],
    ids=["same log", "another account", "another object", "later", "another rule", "unknown log"],
)
def test_two_acts_stay_two_findings(logs: duckdb.DuckDBPyConnection, other: dict[str, Any]) -> None:
    first = finding(actor="mallory", evidence={"ObjectName": "ceo"})
    second = msgspec.structs.replace(first, **other)

    assert same_act.in_two_logs(logs, [first, second]) == [first, second]


def test_two_acts_in_two_logs_are_two_findings(logs: duckdb.DuckDBPyConnection) -> None:
    four = [
        finding(actor="mallory", rows=((exhibit, number),), time=TIME + dt.timedelta(seconds=number))
        for number, exhibit in itertools.product(range(2), ("E1", "E2"))
    ]

    assert [one.rows for one in same_act.in_two_logs(logs, four)] == [
        (("E1", 0), ("E2", 0)),
        (("E1", 1), ("E2", 1)),
    ]


def test_nobody_is_named_then_nothing_is_put_together(logs: duckdb.DuckDBPyConnection) -> None:
    both = [finding(rows=(("E1", 0),)), finding(rows=(("E2", 0),))]

    assert same_act.in_two_logs(logs, both) == both


def test_a_broad_rule_is_told_inside_the_telling_one() -> None:
    broad = finding(rule="broad", title="removed", techniques=("T1",))
    telling = finding(rule="telling", rows=(("E1", 5), ("E1", 0)))

    told, chained = same_act.told_once([broad, telling], [], {"telling": ["broad"]})

    assert [one.rule for one in told] == ["telling"]
    assert told[0].reasons == ("told here and not again: removed",)
    assert told[0].techniques == ("T1070.008", "T1")
    assert chained == []


@pytest.mark.parametrize(
    "more",
    [
        {"severity": "critical"},
        {"count": 2, "rows": (("E1", 0), ("E1", 9))},
        {"rows": (("E1", 8),)},
        {"rule": "third"},
    ],
    ids=["more severe", "counts more", "another record", "not covered"],
)
def test_a_broad_rule_that_says_more_stays(more: dict[str, Any]) -> None:
    broad = msgspec.structs.replace(finding(rule="broad"), **more)
    telling = finding(rule="telling", rows=(("E1", 5), ("E1", 0)))

    assert same_act.told_once([broad, telling], [], {"telling": ["broad"]}) == ([broad, telling], [])


def test_a_chain_keeps_its_place_and_its_rule_is_told_in_it() -> None:
    rule, chains = finding(rule="rule"), [finding(rule="c1", rows=(("E1", 9),)), finding(rule="c2")]

    told, chained = same_act.told_once([rule], chains, {"c2": ["rule"]})

    assert told == []
    assert [one.rule for one in chained] == ["c1", "c2"]
    assert chained[1].reasons == ("told here and not again: a request was removed",)


def test_the_outcome_of_a_rule_counts_what_is_told_and_stays_found() -> None:
    outcome = RuleOutcome(
        id="broad", name="b", severity="high", outcome="found", reason="", findings=3, techniques=()
    )

    counted = same_act.counted([outcome], [finding(rule="broad")])

    assert [(one.outcome, one.findings) for one in counted] == [("found", 1)]
    assert counted[0].reason == "2 of 3 findings are told inside others about the same act"


def test_two_readings_of_one_record_do_not_raise_a_case() -> None:
    hiding = finding(rule="a", phase="hiding", severity="medium")
    clearing = finding(rule="b", phase="clearing", severity="medium")
    elsewhere = msgspec.structs.replace(clearing, rows=(("E1", 1),))

    assert severity.assess((hiding, clearing)).severity == "medium"
    assert severity.assess((hiding, elsewhere)).severity == "high"


def test_what_covers_what_names_shipped_rules_and_has_no_circle() -> None:
    ruled, chained = loader.rules(), loader.chains()

    covers = loader.covers(ruled, chained)

    levels = {rule.id: rule.level() for _, rule in ruled} | {chain.id: chain.level for _, chain in chained}
    assert {one for listed in covers.values() for one in listed} <= levels.keys()
    assert all(name not in listed for name, listed in covers.items())
