"""A first pass stores what the parsers read, also where they only compare it."""

from __future__ import annotations

import datetime as dt

from mailwitness import activities, completion
from mailwitness.content import pack
from mailwitness.content.schemas import Parser
from mailwitness.needs import Needs
from mailwitness.open_case import new_engine
from mailwitness.tables import Segment

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


def test_a_column_that_only_a_filter_reads_is_stored() -> None:
    knowledge = pack.load()
    parser = next(one for one in knowledge.parsers if one.table == "EmailEvents")

    wanted = activities.wanted(
        new_engine(knowledge),
        [parser],
        [],
        Needs().plus(parser.activities),
        Needs().plus(parser.activities),
        now=NOW,
    )

    assert "DeliveryAction" in wanted.columns["EmailEvents"]


def test_messages_that_were_read_are_only_stored_for_the_ledger() -> None:
    knowledge = pack.load()
    parsers = [one for one in knowledge.parsers if one.table == "OfficeActivity"]
    everything = Needs().plus(activities.vocabulary(parsers))

    without = activities.wanted(new_engine(knowledge), parsers, [], everything, everything, now=NOW)
    with_ledger = activities.wanted(
        new_engine(knowledge), parsers, [], everything, everything, now=NOW, for_ledger=True
    )

    assert without.bulk["OfficeActivity"] == ["MailItemsAccessed"]
    assert with_ledger.bulk["OfficeActivity"] == []


def test_what_one_parser_of_a_table_reads_is_stored_although_another_does_not() -> None:
    one, other = (
        Parser(
            id=name,
            name=name,
            table="OfficeActivity",
            activities=["Read"],
            query="OfficeActivity | project TimeGenerated",
            bulk=bulk,
        )
        for name, bulk in (("a", {"Read": ["MailItemsAccessed"]}), ("b", {}))
    )
    engine = new_engine(pack.load())

    for parsers in ([one, other], [other, one]):
        assert activities.wanted(engine, parsers, [], Needs(), Needs(), now=NOW).bulk["OfficeActivity"] == []


def test_operations_that_somebody_reads_are_told_for_sure_or_not_at_all() -> None:
    """A parser, a chain or a rule that does not say what it reads has everything stored."""
    knowledge = pack.load()
    parsers = [one for one in knowledge.parsers if one.table == "GoogleWorkspaceReports"]
    needed = Needs().plus({"HardDeleted", "ExportRemoved"})

    def read(*queries: str) -> str:
        wanted = activities.wanted(new_engine(knowledge), parsers, list(queries), needed, needed, now=NOW)
        return wanted.of_operations.get("GoogleWorkspaceReports", "")

    told = read()
    assert "'delivery 27'" in told
    assert "'delivery 23'" not in told
    assert "'login_success'" not in told
    assert "'x y'" in read('GoogleWorkspaceReports | where Operation in ("x y") | project ActorEmail')
    assert read('GoogleWorkspaceReports | where EventName == "x" | project ActorEmail') == ""


def test_every_segment_is_asked_whether_a_parser_needs_more_of_it() -> None:
    knowledge = pack.load()
    segments = [
        Segment(
            name=name, table="OfficeActivity", columns=(), exhibit="E1", mapping="m", rows=1, partial=partial
        )
        for name, partial in (("a", ("NobodyReadsThis",)), ("b", ("Parameters",)))
    ]

    assert completion._parsers_need_more(segments, {"OfficeActivity"}, knowledge)
    assert not completion._parsers_need_more(segments[:1], {"OfficeActivity"}, knowledge)
    assert not completion._parsers_need_more(segments, {"Syslog"}, knowledge)
