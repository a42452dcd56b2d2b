"""Chains as KQL for Sentinel: what Microsoft's parser accepts, with nothing of a chain left out in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import check_kql
from mailwitness import chain_acts, cli
from mailwitness.chain_export import NotInKqlError, timespan, to_kql
from mailwitness.content import loader
from mailwitness.errors import ConfigError

if TYPE_CHECKING:
    from mailwitness.content.schemas import Chain

CHAINS = {chain.name: chain for _, chain in loader.chains()}


def faults(chains: list[Chain]) -> list[str]:
    """Return what Microsoft's parser and binder say of the chains; skip where they are not installed."""
    queries = [check_kql.Query(check_kql.CONTENT, 1, to_kql(chain)) for chain in chains]
    try:
        answers: list[dict[str, Any]] = check_kql.ask_microsoft(check_kql.content_tables(), queries)
    except check_kql.NotEvaluatedError as reason:
        pytest.skip(str(reason))
    return [
        f"{chain.name}: {fault['message']}"
        for chain, answer in zip(chains, answers, strict=True)
        for fault in answer["faults"]
    ]


def test_microsofts_parser_accepts_every_chain() -> None:
    assert faults(list(CHAINS.values())) == []


@pytest.mark.parametrize("kind", ["temporal", "event_count", "value_count"])
def test_microsofts_parser_accepts_every_type_of_correlation(kind: str) -> None:
    chain = CHAINS["rule_created_then_removed"]
    rules = chain.correlation.rules if kind == "temporal" else chain.correlation.rules[:1]
    condition = {"gte": 3, "field": "Mailbox" if kind == "value_count" else ""}
    changed = {
        "type": kind,
        "rules": rules,
        "group-by": ["actor"],
        "timespan": "2w",
        "condition": None if kind == "temporal" else condition,
    }
    correlation = msgspec.convert(changed, type(chain.correlation))
    steps = {name: msgspec.structs.replace(chain.steps[name], join={}) for name in rules}

    assert faults([msgspec.structs.replace(chain, correlation=correlation, steps=steps)]) == []


def test_microsofts_parser_accepts_every_step_and_forbidden_act() -> None:
    queries = [check_kql.Query(check_kql.CONTENT, 1, text) for text in chain_acts.queries(CHAINS.values())]
    try:
        answers = check_kql.ask_microsoft(check_kql.content_tables(), queries)
    except check_kql.NotEvaluatedError as reason:
        pytest.skip(str(reason))

    assert [answer["faults"] for answer in answers] == [[] for _ in queries]


def test_a_step_that_is_left_out_is_named() -> None:
    kql = to_kql(CHAINS["export_then_request_removed"])

    assert "// Not asked here: file of the export deleted." in kql
    assert "let Step_file" not in kql


def test_each_way_of_joining_keeps_its_own_gap() -> None:
    kql = to_kql(CHAINS["export_then_request_removed"])

    assert 'Key startswith "mailbox=", 30d' in kql
    assert 'Key startswith "actor=", 7d' in kql
    assert 'Key startswith "object="' not in kql


def test_different_values_are_counted_in_a_sliding_time_and_not_in_equal_slots() -> None:
    exported = [to_kql(chain) for chain in CHAINS.values()]

    assert not any("bin(" in kql for kql in exported)
    assert any("TimeGenerated - OtherTime <= 1d" in kql for kql in exported)


def test_a_title_cannot_break_out_of_its_comment() -> None:
    chain = msgspec.structs.replace(CHAINS["rule_created_then_removed"], title="x\n.drop table y")

    assert "\n.drop" not in to_kql(chain)


def test_a_step_by_rule_is_refused_with_the_reason() -> None:
    chain = CHAINS["rule_created_then_removed"]
    step = msgspec.structs.replace(chain.steps["rule"], filter="", rule="some-rule")

    with pytest.raises(NotInKqlError, match="findings of another rule"):
        to_kql(msgspec.structs.replace(chain, steps={**chain.steps, "rule": step}))


def test_weeks_months_and_years_become_days() -> None:
    assert [timespan(text) for text in ("30m", "2w", "1M", "1y")] == ["30m", "14d", "30d", "365d"]


def test_chains_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [
        cli.list_chains(),
        cli.list_chains(json=True),
        cli.show_chain("export_then_request_removed"),
        cli.show_chain("export_then_request_removed", kql=True),
    ]

    printed = capsys.readouterr().out
    assert codes == [0, 0, 0, 0]
    assert f"{len(CHAINS)} chains" in printed
    assert "joined by the same name of what was acted upon, at any distance" in printed
    assert "| scan declare" in printed


def test_a_name_that_fits_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 chains are called"):
        cli.show_chain("no such chain")
