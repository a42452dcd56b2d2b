"""Narrowing in the database leaves out nothing that a machine would have made a chain of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import blind_rules, chain_parts, chains
from mailwitness.activities import vocabulary
from mailwitness.chain_keys import MICROSECONDS, Act, account
from mailwitness.chain_machine import Burst, machine
from mailwitness.chain_narrowing import Narrowing, compared
from mailwitness.chain_parts import Part
from mailwitness.chain_rows import Rows
from mailwitness.content import loader, pack
from mailwitness.content.schemas import Chain, Condition
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.open_case import OpenCase

MINUTE = 60 * MICROSECONDS
_CHAINS = {chain.name: chain for _, chain in loader.chains() if chain.correlation.type == "temporal_ordered"}
_ACCOUNTS = ["eva@contoso.example", "CONTOSO\\eva", "eva", "bob@contoso.example", "bob@fabrikam.example", ""]
_WITHOUT = (
    "ActorType", "SessionId", "ClientIP", "Host", "ApplicationId", "ObjectName", "MessageId", "SettingAfter", "Operation", "Activity",
)  # fmt: skip
_IDS = ["<1@mail.example>", "<2@MAIL.example>", "<2@mail.example>", "<3@mail.example>", ""]


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[tuple[int, Act]]]:
    """Return a shipped chain's name and acts for its steps, no two at one time."""
    name = draw(st.sampled_from(sorted(_CHAINS)))
    acts = [
        Act(
            time=minute * 7 * MINUTE,
            Actor=draw(st.sampled_from(_ACCOUNTS)),
            Mailbox=draw(st.sampled_from(_ACCOUNTS)),
            SessionId=draw(st.sampled_from(["S1", "s1", "S2", ""])),
            ClientIP=draw(st.sampled_from(["192.0.2.1", "192.0.2.2", ""])),
            ApplicationId=draw(st.sampled_from(["app", ""])),
            Host=draw(st.sampled_from(["mx1", ""])),
            ObjectName=draw(st.sampled_from(["cfo\\Q3", "Q3", ""])),
            MessageId=draw(st.sampled_from(_IDS)),
            Messages=draw(st.none() | st.lists(st.sampled_from(_IDS), max_size=3)),
            exhibit="E1",
            position=minute,
        )
        for minute in range(draw(st.integers(2, 12)))
    ]
    numbers = st.integers(0, len(_CHAINS[name].steps) - 1)
    return name, [(draw(numbers), act) for act in acts]


def _counting_low(chain: Chain) -> Chain:
    """Return the chain with small counts: few acts make it, and some belong to none."""
    steps = {
        name: msgspec.structs.replace(step, count=step.count and msgspec.structs.replace(step.count, gte=2))
        for name, step in chain.steps.items()
    }
    return msgspec.structs.replace(chain, steps=steps)


def _paths(chain: Chain, fed: list[tuple[int, Act]]) -> list[list[tuple[int, list[int], int, str]]]:
    followed = machine(chain)
    for step, act in fed:
        followed.feed(step, act)
    return [
        [(link.step, [act.position for act in link.acts], link.count, link.way) for link in path]
        for path in followed.matches()
    ]


def _left(chain: Chain, fed: list[tuple[int, Act]], work: Path) -> list[tuple[int, Act]]:
    with duckdb.connect() as connection:
        rows = Rows(cast("OpenCase", SimpleNamespace(connection=connection, work=work)), compared(chain))
        steps = sorted({step for step, _ in fed})
        given = {step: rows.given(act for at, act in fed if at == step) for step in steps}
        left = Narrowing(chain, {step: acts for step, acts in given.items() if acts}).narrow()
        kept = {
            (step, position)
            for step, acts in left.items()
            for row in acts.rows.tolist()
            for (position,) in connection.execute(
                f"SELECT position FROM {acts.table} WHERE rowid = {row}"
            ).fetchall()
        }
    return [(step, act) for step, act in fed if (step, act.position) in kept]


@pytest.fixture(scope="module")
def seen() -> dict[str, int]:
    return {"matches": 0, "left out": 0}


@settings(max_examples=80)
@given(history=histories())
def test_the_same_chains_are_found(
    history: tuple[str, list[tuple[int, Act]]],
    tmp_path_factory: pytest.TempPathFactory,
    seen: dict[str, int],
) -> None:
    name, fed = history
    chain = _counting_low(_CHAINS[name])
    left = _left(chain, fed, tmp_path_factory.mktemp("acts"))

    assert _paths(chain, left) == _paths(chain, fed)
    seen["matches"] += len(_paths(chain, fed))
    seen["left out"] += len(fed) - len(left)


def test_the_histories_had_chains_and_acts_of_none(seen: dict[str, int]) -> None:
    assert seen["matches"] > 10
    assert seen["left out"] > 50


@settings(max_examples=25)
@given(
    minutes=st.lists(st.integers(0, 40), min_size=3, max_size=25),
    names=st.lists(st.sampled_from(_ACCOUNTS), min_size=25, max_size=25),
    is_distinct=st.booleans(),
)
def test_of_acts_computed_late_those_of_every_burst_are_there(
    minutes: list[int], names: list[str], is_distinct: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    condition = Condition(gte=3, by="mailbox", field="Actor" if is_distinct else "", timespan="5m")
    acts = [
        Act(time=minute * MINUTE, Mailbox=name, Actor=f"a{i % 3}", exhibit="E1", position=i)
        for i, (minute, name) in enumerate(zip(sorted(minutes), names, strict=False))
    ]
    needed: set[int] = set()
    bursts: dict[str, Burst] = {}
    for act in acts:
        for key in account(act.Mailbox).filed:
            burst = bursts.setdefault(key, Burst(condition, 5 * MINUTE))
            if burst.add(act):
                needed |= {one.position for one in burst.acts()}

    with duckdb.connect() as connection:
        listed = ", ".join(
            f"(make_timestamp({one.time}), '{one.Mailbox}', '{one.exhibit}', {one.position})" for one in acts
        )
        connection.execute(
            f"CREATE TABLE keyed AS FROM (VALUES {listed}) AS t(TimeGenerated, Mailbox, _Exhibit, _Position)"
        )
        empty = ", ".join(f"'' AS {name}" for name in ("Actor", *_WITHOUT))
        opened = SimpleNamespace(
            connection=connection,
            work=tmp_path_factory.mktemp("late"),
            keys=lambda _: "SELECT * FROM keyed",
            acts=lambda _, places: (
                f"(SELECT *, {empty}, NULL AS Items, NULL::JSON AS Parameters FROM keyed SEMI JOIN {places} USING (_Exhibit, _Position))"
            ),
        )
        part = Part(
            chain="c",
            name="reads",
            index=0,
            optional=False,
            filter="x",
            predicate="true",
            burst=chain_parts.Burst("Mailbox", 5 * MINUTE, 3, is_distinct),
        )
        late = Rows(cast("OpenCase", opened), []).late(part, 0, 60 * MINUTE)
        left = (
            {row[0] for row in connection.execute(f"SELECT position FROM {late.table}").fetchall()}
            if late
            else set()
        )

    assert needed <= left


def test_what_the_database_refuses_is_said_and_leaves_no_table(tmp_path: Path) -> None:
    bench = Bench()
    chain = _CHAINS["export_then_request_removed"]
    knowledge = pack.Pack(digest="", rules=[], parsers=loader.parsers(), chains=[chain])
    evidence = blind_rules.Evidence(
        tables=set(bench.engine.schema), activities=vocabulary(knowledge.parsers), absent={}
    )
    opened = OpenCase(bench.connection, bench.engine, knowledge, evidence, now=TEST_NOW, work=tmp_path)
    bench.fill("MailboxActivity", chain.tests[0].rows["MailboxActivity"], "here")
    found, _ = chains.follow(opened, [], [])
    left = bench.connection.execute("FROM duckdb_tables() WHERE table_name LIKE 'mw_chain%'").fetchall()
    bench.connection.execute("ALTER TABLE MailboxActivity DROP COLUMN Actor")
    refused, matches = chains.follow(opened, [], [])
    left += bench.connection.execute("FROM duckdb_tables() WHERE table_name LIKE 'mw_chain%'").fetchall()
    bench.close()

    assert found[0].outcome == "found"
    assert (refused[0].outcome, matches) == ("not_evaluated", [])
    assert "the database refused the steps" in refused[0].reason
    assert "Correct the filter" in refused[0].reason
    assert left == []
