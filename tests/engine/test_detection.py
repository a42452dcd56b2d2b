"""Rules end as found, clear or not evaluated, whichever way they are run."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import activities, blind_rules, findings, needs, survey
from mailwitness.content import loader
from mailwitness.content.schemas import Rule
from mailwitness.content_check import Bench
from mailwitness.kql import leading_filters, scalar_lets
from mailwitness.needs import TABLE
from mailwitness.row_flow import row_flow

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
VOCABULARY = {"HardDeleted", "SoftDeleted", "InboxRuleCreated", "Sent", "Exported", "ExportRemoved"}
EVERYTHING = blind_rules.Evidence(tables={"OfficeActivity"}, activities=VOCABULARY, absent={})

QUERIES = [
    "MailboxActivity | where Activity == 'HardDeleted' | where ItemCount > 5",
    "MailboxActivity | where Activity in ('HardDeleted', 'SoftDeleted') and Actor startswith 'u1' | project TimeGenerated, Actor",
    "let least = 3; MailboxActivity | where Activity in ('HardDeleted') | summarize Count = count(), TimeGenerated = min(TimeGenerated) by Actor | where Count >= least",
    "MailboxActivity | where Activity =~ 'inboxrulecreated' and ObjectName contains '.' | project TimeGenerated, Actor, ObjectName",
    """MailboxActivity | where Activity == 'Exported' | project Actor, Begun = TimeGenerated
       | join kind=inner (MailboxActivity | where Activity == 'ExportRemoved' | project Actor, TimeGenerated) on Actor
       | where TimeGenerated > Begun | project TimeGenerated, Actor""",
    "MailboxActivity | where Activity == 'Sent' | where Subject has_any ('invoice', 'urgent') | summarize Count = count() by Mailbox, bin(TimeGenerated, 1h)",
    "MailboxActivity | where Activity == 'HardDeleted' | summarize Count = count()",
    "MailboxActivity | count",
    "MailboxActivity | where ActorType == 'Nobody' | project TimeGenerated",
    """let E = MailboxActivity | where Activity == 'Exported' | distinct Actor;
       MailboxActivity | where Activity == 'SoftDeleted' | join kind=leftouter E on Actor | project Actor, Actor1""",
    """MailboxActivity | where Activity == 'SoftDeleted' | distinct Actor
       | join kind=leftanti (MailboxActivity | where Activity == 'Exported') on Actor""",
    """MailboxActivity | where Activity == 'SoftDeleted' | distinct Mailbox
       | join kind=rightouter (MailboxActivity | where Activity == 'Exported' | distinct Mailbox) on Mailbox""",
    """let A = MailboxActivity | where Activity == 'Exported' | distinct Actor; let B = MailboxActivity | where Activity in~ ('Sent') | distinct Actor;
       union A, (B | where Actor != '') | join kind=inner (MailboxActivity | where Activity == 'HardDeleted' and ItemCount > 4 | distinct Actor) on Actor""",
    """let A = materialize(MailboxActivity | where Activity == 'Exported' or ItemCount == 9 | summarize Count = count() by Actor);
       A | join kind=fullouter (MailboxActivity | where Activity == 'Sent' | distinct Actor) on Actor""",
    """MailboxActivity | where Activity == 'Sent' | distinct Actor, Mailbox
       | lookup kind=inner (MailboxActivity | where Activity == 'Exported' | summarize Count = count() by Actor) on Actor""",
]


def rule(number: int, query: str) -> Rule:
    """Return a rule around a query."""
    return Rule(id=f"rule-{number}", name=f"rule {number}", description="", severity="Medium", query=query)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return random activity rows."""
    size = draw(st.integers(0, 30))
    return [
        {
            "Activity": draw(st.sampled_from(sorted(VOCABULARY))),
            "Actor": draw(st.sampled_from(["u1@contoso.example", "u2@contoso.example", ""])),
            "Mailbox": draw(st.sampled_from(["u1@contoso.example", "u3@contoso.example"])),
            "ItemCount": draw(st.integers(0, 9)),
            "ObjectName": draw(st.sampled_from([".", "Newsletters", ""])),
            "Subject": draw(st.sampled_from(["Urgent: invoice", "lunch", "a 'quoted' \"subject\""])),
            "TimeGenerated": f"2026-03-0{draw(st.integers(1, 9))}T0{draw(st.integers(0, 9))}:00:00",
        }
        for _ in range(size)
    ]


@pytest.fixture(scope="module")
def bench() -> Any:
    """Return one database for all examples."""
    made = Bench()
    yield made
    made.close()


def outcomes(bench: Bench, *, fused: bool) -> list[tuple[str, str, list[str]]]:
    """Run all queries and return what each gave."""
    prepared = [
        findings.prepare(rule(i, q), bench.engine, EVERYTHING, VOCABULARY, now=NOW)
        for i, q in enumerate(QUERIES)
    ]
    ran = findings.detect(bench.connection, prepared, fused=fused)
    return sorted((o.id, o.outcome, sorted(str(f.evidence) for f in found)) for o, found in ran)


@settings(max_examples=15, deadline=None)
@given(rows=histories())
def test_evaluating_all_filters_in_one_scan_gives_the_same_as_one_rule_at_a_time(
    bench: Bench, rows: list[dict[str, Any]]
) -> None:
    """The fast way may only skip rules that have no findings."""
    bench.fill("MailboxActivity", rows, "test")
    expected = outcomes(bench, fused=False)

    few_acts = outcomes(bench, fused=True)
    with pytest.MonkeyPatch.context() as patch:
        # As with many acts, of which few pass the filters.
        patch.setattr(survey, "_SMALL", 0)
        patch.setattr(findings, "_WORTH_GATHERING", 1)
        many_acts = outcomes(bench, fused=True)

    assert (few_acts, many_acts) == (expected, expected)


def test_most_of_the_queries_can_be_fused(bench: Bench) -> None:
    """A fast path that nothing takes would prove nothing."""
    prepared = [
        findings.prepare(rule(i, q), bench.engine, EVERYTHING, VOCABULARY, now=NOW)
        for i, q in enumerate(QUERIES)
    ]

    assert [bool(item.predicates) for item in prepared] == [True] * 6 + [False] * 2 + [True] * 7


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        (QUERIES[4], {("Exported", "ExportRemoved")}),
        (QUERIES[9], {("SoftDeleted",)}),
        (QUERIES[10], {("SoftDeleted",)}),
        (QUERIES[11], {("Exported",)}),
        (QUERIES[12], {("Exported", "HardDeleted"), ("Sent", "HardDeleted")}),
        (QUERIES[13], {("Exported",), ("Sent",)}),
        (QUERIES[14], {("Sent", "Exported")}),
        ("MailboxActivity | where Activity == 'Sent' | join hint.strategy=shuffle kind=fullouter (MailboxActivity | where Activity == 'Exported') on Actor", {("Sent",), ("Exported",)}),
        ("MailboxActivity | where Activity == 'Sent' | make-series n = count() on TimeGenerated step 1d", {()}),
        ("union Mail*, (MailboxActivity | where Activity == 'Sent')", {()}),
    ],
)  # fmt: skip
def test_a_rule_is_only_skipped_where_an_act_is_missing_that_its_findings_need(
    query: str, needed: set[tuple[str, ...]]
) -> None:
    """An act that may be missing, one of several ways, and a step that is not known keep a rule running."""
    named = [
        sorted(needs.named_activities(text, VOCABULARY)) for text in leading_filters(query, TABLE).filters
    ]

    def may_find(held: tuple[str, ...]) -> bool:
        return row_flow(query, TABLE).may_have_rows(lambda number: bool({*held} & {*named[number]}))

    for held in itertools.chain.from_iterable(
        itertools.combinations(sorted(VOCABULARY), n) for n in range(4)
    ):
        assert may_find(held) == any({*acts} <= {*held} for acts in needed), held


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Activity == 'Sent' and ItemCount > 1)", {"sent"}),
        ("(Activity in ('Sent', \"Exported\"))", {"sent", "exported"}),
        ("(ItemCount > 1) and (Activity =~ 'SENT')", {"sent"}),
        ("(Activity in~ ('Sent', 'Exported') and Activity == 'Sent')", {"sent"}),
        ("(Activity == 'Sent' or ItemCount > 1)", None),
        ("((Activity == 'Sent' or ItemCount > 1) and Actor != '')", None),
        ("(not(Activity == 'Sent'))", None),
        ("(Activity != 'Sent')", None),
        ("(Activity !in ('Sent'))", None),
        ("(Activity in (Named))", None),
    ],
)
def test_a_filter_is_about_activities_only_where_it_says_so_for_sure(
    text: str, expected: set[str] | None
) -> None:
    """A filter that is left out although a row may pass it would make a rule look clear."""
    assert needs.activities_asked(text) == expected


def test_the_acts_that_pass_a_filter_are_counted_by_their_kind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter on another column is asked of the acts themselves; how many pass it is not known, only how many may."""
    monkeypatch.setattr(survey, "_SMALL", 0)
    acts = [{"Activity": "Sent", "Subject": str(n)} for n in range(3)] + [{"Activity": "Exported"}] * 2
    bench.fill("MailboxActivity", acts, "test")
    of_kind, of_act, of_nothing = "\"Activity\" = 'Exported'", "\"Subject\" = '1'", "\"Activity\" = 'Purged'"
    asked = {of_kind: frozenset({"exported"}), of_act: frozenset({"sent"}), of_nothing: frozenset({"purged"})}

    found = survey.survey(bench.connection, asked, frozenset(column.name for column in activities.columns()))

    assert (found.passed, found.most) == ({of_kind, of_act}, {of_kind: 2, of_act: 3})
    assert [survey.few(found, [sql]) for sql in asked] == [True, True, False]


def test_a_rule_whose_table_is_absent_is_not_evaluated(bench: Bench) -> None:
    """It must never look clear."""
    item = findings.prepare(
        rule(0, "SigninLogs | where ResultType == '0'"), bench.engine, EVERYTHING, VOCABULARY, now=NOW
    )

    (outcome, found), *_ = findings.detect(bench.connection, [item])

    assert (outcome.outcome, found) == ("not_evaluated", [])
    assert "no exhibit holds SigninLogs" in outcome.reason


def test_a_rule_whose_activities_no_record_can_show_is_not_evaluated(bench: Bench) -> None:
    """An export without item records says nothing about deletions."""
    blind = blind_rules.Evidence(
        tables={"OfficeActivity"},
        activities=VOCABULARY,
        absent={"HardDeleted": "the evidence holds no item records"},
    )

    item = findings.prepare(rule(0, QUERIES[0]), bench.engine, blind, VOCABULARY, now=NOW)

    assert item.reason == "the evidence holds no item records"


@pytest.mark.parametrize(
    ("query", "is_blind"),
    [
        ("let E = MailboxActivity | where Activity == 'Exported'; E | join kind=inner (MailboxActivity | where Activity == 'HardDeleted') on Actor", True),
        ("MailboxActivity | where Activity == 'HardDeleted' | join (MailboxActivity | where Activity == 'Exported') on Actor", True),
        ("MailboxActivity | where Activity == 'HardDeleted' | join kind=leftanti (MailboxActivity | where Activity == 'Exported') on Actor", False),
        ("MailboxActivity | where Activity == 'HardDeleted' | join kind=leftouter (MailboxActivity | where Activity == 'Exported') on Actor", False),
        ("union (MailboxActivity | where Activity == 'HardDeleted'), (MailboxActivity | where Activity == 'Exported')", False),
        ("let E = MailboxActivity | where Activity == 'Exported' | distinct Actor; MailboxActivity | where Activity == 'HardDeleted' and (Actor in (E) or ItemCount > 9)", False),
        ("MailboxActivity | where Activity in ('HardDeleted', 'Exported')", False),
    ],
)  # fmt: skip
def test_a_rule_that_needs_two_acts_is_not_clear_where_one_cannot_be_shown(
    bench: Bench, query: str, *, is_blind: bool
) -> None:
    """Of two acts that are joined both are needed; alternatives, and what may be missing, are not."""
    blind = blind_rules.Evidence(
        tables={"OfficeActivity"},
        activities=VOCABULARY,
        absent={"Exported": "the evidence holds no records of eDiscovery"},
    )

    item = findings.prepare(rule(0, query), bench.engine, blind, VOCABULARY, now=NOW)

    assert item.reason == ("the evidence holds no records of eDiscovery" if is_blind else "")


def test_a_rule_that_the_database_refuses_is_not_evaluated(bench: Bench) -> None:
    """A run-time error of one rule is its outcome, and does not stop the others."""
    bench.fill("MailboxActivity", [{"Activity": "Sent", "Subject": "x"}], "test")
    bad = "MailboxActivity | where Activity == 'Sent' | extend n = toint(Subject) / 0, d = todatetime(Subject) | where NoSuchColumn == 1"
    prepared = [
        findings.prepare(rule(0, bad), bench.engine, EVERYTHING, VOCABULARY, now=NOW),
        findings.prepare(rule(1, QUERIES[5]), bench.engine, EVERYTHING, VOCABULARY, now=NOW),
    ]

    ran = {
        outcome.id: outcome.outcome for outcome, _ in findings.detect(bench.connection, prepared, fused=False)
    }

    assert ran == {"rule-0": "not_evaluated", "rule-1": "clear"}


@pytest.mark.parametrize(
    "query",
    [
        "['/etc/passwd'] | take 1",
        "['data.csv']",
        ".drop table OfficeActivity",
        ".set-or-replace T <| OfficeActivity",
        "NoSuchTable | take 1",
        "externaldata(a:string)['file:///etc/passwd']",
        "OfficeActivity | where",
        "duckdb_settings",
        "information_schema.tables | take 1",
    ],
)
def test_a_query_that_reaches_beyond_the_tables_is_refused(bench: Bench, query: str) -> None:
    """Rules and queries are half trusted: they may not read files, write, or see the database's own tables."""
    from mailwitness.errors import MailwitnessError

    def ask() -> None:
        findings.execute(bench.connection, bench.engine.to_sql(query, now=NOW), timeout_seconds=10, limit=10)

    with pytest.raises(MailwitnessError):
        ask()


def test_leading_filters_are_those_right_after_the_table() -> None:
    """Strings, comments and brackets must not confuse the reading."""
    query = """
      let a = dynamic(['|', ';']);  // MailboxActivity | where Fake == 1
      MailboxActivity | where Activity == 'x | y' and (Actor in (a) or Subject has ')') | where ItemCount > 1
      | summarize count() by Actor | where count_ > 2
      | join (MailboxActivity | where Activity != "z;" ) on Actor
    """

    found = leading_filters(query, "MailboxActivity")

    assert found.complete
    assert found.filters == (
        "(Activity == 'x | y' and (Actor in (a) or Subject has ')')) and (ItemCount > 1)",
        '(Activity != "z;")',
    )
    assert scalar_lets(query).strip().startswith("let a = ")


def test_a_mention_without_filter_is_seen() -> None:
    """Then the rule must always run."""
    assert not leading_filters("MailboxActivity | summarize count() by Actor", "MailboxActivity").complete


def test_every_activity_column_has_a_description() -> None:
    """The normalised table is the language of rules; each word of it is explained."""
    assert [column.name for column in activities.columns() if not column.description] == []
    assert "MailboxActivity" in loader.tables()
