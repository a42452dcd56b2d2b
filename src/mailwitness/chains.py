"""Follow chains: ordered patterns over acts and findings, one pass through the candidates in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mailwitness.chain_acts import filter_query
from mailwitness.chain_candidates import feed
from mailwitness.chain_keys import microseconds
from mailwitness.chain_machine import machine
from mailwitness.chain_matches import as_match
from mailwitness.chain_parts import Burst, Part, Prepared
from mailwitness.errors import MailwitnessError
from mailwitness.kql import referenced_tables
from mailwitness.models import RuleOutcome
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.needs import named_activities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Chain, ChainStep, Forbidden
    from mailwitness.models import ChainMatch, Finding
    from mailwitness.open_case import OpenCase

_MOST_MATCHES = 500


def need_no_finding(listed: Iterable[Chain]) -> bool:
    """Tell whether no step of some chains is the finding of a rule."""
    return not any(step.rule for chain in listed for step in chain.parts().values())


def prepare(opened: OpenCase, outcomes: Iterable[RuleOutcome]) -> list[Prepared]:
    """Translate every chain's steps, and say of each what the evidence cannot show."""
    blind_rules = {item.id: item.reason for item in outcomes if item.outcome == "not_evaluated"}
    return [_prepared(chain, opened, blind_rules) for chain in opened.knowledge.chains]


def _prepared(chain: Chain, opened: OpenCase, blind_rules: dict[str, str]) -> Prepared:
    order = chain.correlation.rules
    try:
        parts = [
            _part(chain, name, step, order.index(name) if name in order else -1, opened, blind_rules)
            for name, step in chain.parts().items()
        ]
    except MailwitnessError as error:
        return Prepared(chain=chain, parts=[], reason=str(error))
    blind = [part for part in parts if part.blind and not part.optional]
    reason = "; ".join(
        f"the step {chain.steps[part.name].title!r} cannot be seen: {part.blind}" for part in blind
    )
    return Prepared(chain=chain, parts=parts, reason=reason)


def _part(
    chain: Chain,
    name: str,
    step: ChainStep | Forbidden,
    index: int,
    opened: OpenCase,
    blind_rules: dict[str, str],
    /,
) -> Part:
    optional = index < 0 or chain.steps[name].optional
    part = Part(chain=chain.id, name=name, index=index, optional=optional, rule=step.rule)
    if step.rule:
        return msgspec.structs.replace(part, blind=blind_rules.get(step.rule, ""))
    if step.query:
        named = referenced_tables(step.query, opened.engine.schema)
        here = named & (opened.evidence.tables | {ACTIVITY})
        blind = "" if here else f"no exhibit holds {' or '.join(sorted(named))}"
        return msgspec.structs.replace(
            part, blind=blind, sql=opened.engine.to_sql(step.query, now=opened.now)
        )
    predicate = opened.engine.predicate_sql(
        filter_query(step.filter), ACTIVITY, step.filter.strip(), now=opened.now
    )
    if predicate is None:
        raise MailwitnessError("a step's filter cannot stand alone", place=chain.name)
    return msgspec.structs.replace(
        part,
        filter=step.filter,
        predicate=predicate,
        burst=_burst(chain, name),
        is_late=not opened.shows(step.filter),
        blind=_blind(step.filter, opened),
    )


def _burst(chain: Chain, name: str) -> Burst | None:
    """Return what a step counts; None where the count is not by an account.

    Most reads and sends stand alone: the database leaves them out, so that Python does not see them.
    """
    step = chain.steps.get(name)
    condition = (step.count or chain.correlation.condition) if step else None
    if condition is None:
        return None
    span = microseconds(condition.timespan or chain.correlation.timespan)
    column = {"mailbox": "Mailbox", "actor": "Actor", "tenant": "''"}.get(condition.by)
    if column is None or span is None or condition.by in chain.correlation.aliases:
        return None
    return Burst(column, span, condition.gte, bool(condition.field))


def _blind(text: str, opened: OpenCase) -> str:
    """Say why no record of the case can show what a filter asks for; empty when some can."""
    named = named_activities(text, opened.vocabulary)
    evidence = opened.evidence
    visible = {name for name in named if name in evidence.activities and name not in evidence.absent}
    if visible or not named:
        return "" if visible or evidence.activities else "no exhibit can show it"
    reasons = sorted({evidence.absent[name] for name in named if name in evidence.absent})
    return "; ".join(reasons) or f"no exhibit can show {', '.join(sorted(named)[:4])}"


def follow(
    opened: OpenCase, found: list[Finding], rule_outcomes: list[RuleOutcome]
) -> tuple[list[RuleOutcome], list[ChainMatch]]:
    """Follow all chains through an open case.

    Args:
        opened: the case.
        found: findings of its rules.
        rule_outcomes: what each rule gave.

    Returns:
        One outcome for each chain (found, clear, or not_evaluated with its reason), and the matches in the order of
        the chains and of time.
    """
    prepared = prepare(opened, rule_outcomes)
    ready = [item for item in prepared if not item.reason]
    machines = {item.chain.id: machine(item.chain) for item in ready}
    failed: dict[str, str] = {}
    try:
        feed(opened, ready, machines, found)
    except MailwitnessError as error:
        failed = dict.fromkeys(machines, str(error))
    outcomes, matches = [], []
    for item in prepared:
        reason = item.reason or failed.get(item.chain.id, "")
        paths = [] if reason else machines[item.chain.id].matches()
        paths.sort(key=lambda path: (path[0].first, path[-1].last))
        matches += [as_match(item.chain, path, _blindness(item)) for path in paths[:_MOST_MATCHES]]
        outcomes.append(_outcome(item.chain, reason, len(paths)))
    return outcomes, matches


def _blindness(item: Prepared) -> dict[str, str]:
    return {part.name: part.blind for part in item.parts if part.blind}


def _outcome(chain: Chain, reason: str, count: int) -> RuleOutcome:
    return RuleOutcome(
        id=chain.id,
        name=chain.title,
        severity=chain.level,
        outcome="not_evaluated" if reason else "found" if count else "clear",
        reason=reason,
        findings=count,
        techniques=tuple(chain.attack.v19 or chain.attack.v18),
    )
