"""Follow chains: ordered patterns over acts and findings, one pass through the candidates in the order of time.

Only rows that pass a step's filter leave the database, and only for chains of which every needed step has such a row.
"""

from __future__ import annotations

import datetime as dt
import heapq
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.activities import COMPUTED
from mailwitness.chain_acts import ACT_SQL, filter_query
from mailwitness.chain_keys import Act, microseconds
from mailwitness.chain_machine import Machine, machine
from mailwitness.chain_matches import as_match
from mailwitness.content.schemas import Chain
from mailwitness.errors import MailwitnessError
from mailwitness.findings import execute
from mailwitness.kql import referenced_tables
from mailwitness.models import RuleOutcome
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.needs import named_activities

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailwitness.content.schemas import ChainStep, Forbidden
    from mailwitness.models import ChainMatch, Finding
    from mailwitness.open_case import OpenCase

# Bits of one number in the database; chains beyond it are followed in a further pass.
_MASK_BITS = 62
_BATCH = 20_000
_MOST_MATCHES = 500
_STEP_TIMEOUT_SECONDS = 600
_MOST_QUERY_ROWS = 1_000_000
_TEXTS = tuple(name for name in Act._fields if name[0].isupper() and name != "Messages")
# Any time that the database can write as a number of microseconds.
_EVER = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times in the database are naive UTC


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A step or a forbidden act of a chain, ready to be asked for.

    Attributes:
        index: number of the step; -1 for a forbidden act.
        predicate: SQL over MailboxActivity; empty when the acts come from a query or a rule.
        sql: the query's SQL.
        near: SQL that holds for acts with enough others near them, for a step that counts.
        table: the table of acts that has what the filter names, or a SELECT in brackets.
        named: the activities that it names.
        blind: why the evidence cannot show it; empty when it can.
    """

    chain: str
    name: str
    index: int
    optional: bool
    predicate: str = ""
    sql: str = ""
    near: str = ""
    table: str = ACTIVITY
    named: set[str] = set()
    rule: str = ""
    blind: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with its parts; ``reason`` says why it cannot be evaluated."""

    chain: Chain
    parts: list[Part]
    reason: str = ""


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
        predicate=predicate,
        near=_near(chain, name),
        table=opened.acts(step.filter),
        named=named_activities(step.filter, opened.vocabulary),
        blind=_blind(step.filter, opened),
    )


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
        _feed(opened, ready, machines, found)
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


# -- candidates ----------------------------------------------------------------------------------

Fed = tuple[int, tuple[Part, ...], Act]


def _feed(
    opened: OpenCase, ready: list[Prepared], machines: dict[str, Machine], found: list[Finding]
) -> None:
    """Give every machine its acts in the order of time."""
    further = [*_from_queries(opened, ready), *_from_findings(ready, found)]
    spans = _spans(opened, ready)
    elsewhere = {(part.chain, part.name) for _, parts, _ in further for part in parts}
    alive = [item for item in ready if _may_match(item, spans, elsewhere)]
    listed = [part for item in alive for part in item.parts if part.predicate and part.predicate in spans]
    streams: list[Iterator[Fed]] = [iter(sorted(further, key=lambda fed: fed[0]))]
    limits = _limits(alive, spans)
    streams += [_bursts(opened, part, limits) for part in listed if part.near]
    listed = [part for part in listed if not part.near]
    for table in dict.fromkeys(part.table for part in listed):
        asked = [part for part in listed if part.table == table]
        predicates = list(dict.fromkeys(part.predicate for part in asked))
        chunks = [predicates[at : at + _MASK_BITS] for at in range(0, len(predicates), _MASK_BITS)]
        streams += [_from_activity(opened, table, asked, chunk, limits) for chunk in chunks]
    for _, parts, act in heapq.merge(*streams, key=lambda fed: fed[0]):
        # Later steps first: a record that passes two filters must not follow itself.
        for part in sorted(parts, key=lambda part: -part.index):
            if part.index < 0:
                machines[part.chain].forbid(part.name, act)
            else:
                machines[part.chain].feed(part.index, act)


def _spans(opened: OpenCase, ready: list[Prepared]) -> dict[str, tuple[int, int]]:
    """Return the first and the last time of each filter that some row passes.

    Acts that are computed when they are asked are not asked for their times alone: those may be any.
    """
    listed = [part for item in ready for part in item.parts if part.predicate]
    late = {part.predicate: _EVER for part in listed if part.table != ACTIVITY}
    predicates = list(dict.fromkeys(part.predicate for part in listed if part.table == ACTIVITY))
    if not predicates:
        return late
    # A query for each filter lets the database skip what its first condition excludes; filters inside one aggregate
    # are all computed for every row, which cost four times as much.
    asked = " UNION ALL ".join(
        f"SELECT {i} AS number, epoch_us(min(TimeGenerated)), epoch_us(max(TimeGenerated)) FROM {ACTIVITY} WHERE {p}"
        for i, p in enumerate(predicates)
    )
    return late | {
        predicates[row[0]]: (row[1], row[2]) for row in _fetch(opened, asked) if row[1] is not None
    }


def _may_match(item: Prepared, spans: dict[str, tuple[int, int]], elsewhere: set[tuple[str, str]]) -> bool:
    return all(
        part.optional or part.predicate in spans or (part.chain, part.name) in elsewhere
        for part in item.parts
    )


def _limits(alive: list[Prepared], spans: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return for each filter the time in which its rows can matter: after a first step, before a last one."""
    limits: dict[str, tuple[int, int]] = {}
    for item in alive:
        needed = [part for part in item.parts if not part.optional]
        firsts = [spans[part.predicate][0] for part in needed if part.predicate in spans and part.index == 0]
        lasts = [
            spans[part.predicate][1]
            for part in needed
            if part.predicate in spans and part.index == len(item.chain.steps) - 1
        ]
        ordered = item.chain.correlation.type == "temporal_ordered"
        low = firsts[0] if firsts and ordered else None
        high = lasts[0] if lasts and ordered else None
        for part in item.parts:
            if part.predicate not in spans:
                continue
            first, last = spans[part.predicate]
            if part.index >= 0:
                first, last = max(first, low or first), min(last, high or last)
            before = limits.get(part.predicate, (first, last))
            limits[part.predicate] = (min(before[0], first), max(before[1], last))
    return limits


def _bursts(opened: OpenCase, part: Part, limits: dict[str, tuple[int, int]]) -> Iterator[Fed]:
    """Yield the rows of a step that counts acts, those left out that have too few others near them."""
    first, last = limits[part.predicate]
    cursor = opened.connection.cursor()
    cursor.execute(
        f"SELECT {ACT_SQL} FROM (SELECT *, {part.near} AS mw_near FROM {_acts(opened, part)} WHERE ({part.predicate}) "
        f"AND TimeGenerated BETWEEN make_timestamp({first}) AND make_timestamp({last})) "
        "WHERE mw_near ORDER BY TimeGenerated, _Exhibit, _Position"
    )
    while rows := cursor.fetchmany(_BATCH):
        yield from ((row[0], (part,), Act._make(row)) for row in rows)


def _acts(opened: OpenCase, part: Part) -> str:
    """Return the acts that a step can count; of late ones only those that have enough others near them."""
    if opened.later is None or not part.named or not part.named <= opened.later.activities:
        return part.table
    late = opened.later.sql(near=part.near, among=part.named)
    return f"(SELECT * FROM {COMPUTED} UNION ALL {late})"


def _near(chain: Chain, name: str) -> str:
    """Return SQL that holds for every act of a burst, and for few others; empty where the count is not by an account.

    Most reads and sends stand alone: the database leaves them out, so that Python does not see them.
    """
    step = chain.steps.get(name)
    condition = (step.count or chain.correlation.condition) if step else None
    if condition is None:
        return ""
    span = microseconds(condition.timespan or chain.correlation.timespan)
    column = {"mailbox": "Mailbox", "actor": "Actor", "tenant": "''"}.get(condition.by)
    if column is None or span is None or condition.by in chain.correlation.aliases:
        return ""
    # Spellings of one account share its last part: eva, CONTOSO\eva and eva@contoso.example are counted together.
    same = f"regexp_extract(lower({column}), '([^\\\\/@]*)(?:@.*)?$', 1)"
    around = f"INTERVAL {span} MICROSECOND"
    return (
        f"count(*) OVER (PARTITION BY {same} ORDER BY TimeGenerated "
        f"RANGE BETWEEN {around} PRECEDING AND {around} FOLLOWING) >= {condition.gte}"
    )


def _from_activity(
    opened: OpenCase,
    table: str,
    listed: list[Part],
    predicates: list[str],
    limits: dict[str, tuple[int, int]],
) -> Iterator[Fed]:
    """Yield the acts that pass a filter, with the steps they belong to."""
    bits = " + ".join(
        f"(CASE WHEN ({p}) AND TimeGenerated BETWEEN make_timestamp({limits[p][0]}) AND make_timestamp({limits[p][1]}) "
        f"THEN {1 << i} ELSE 0 END)"
        for i, p in enumerate(predicates)
    )
    by_predicate: dict[str, list[Part]] = {}
    for part in listed:
        by_predicate.setdefault(part.predicate, []).append(part)
    steps_of: dict[int, tuple[Part, ...]] = {}
    cursor = opened.connection.cursor()
    cursor.execute(
        f"SELECT ({bits})::BIGINT AS mask, {ACT_SQL} FROM {table} "
        "WHERE mask <> 0 ORDER BY TimeGenerated, mask, _Exhibit, _Position"
    )
    while rows := cursor.fetchmany(_BATCH):
        for row in rows:
            mask = row[0]
            if mask not in steps_of:
                chosen = [p for i, p in enumerate(predicates) if mask >> i & 1]
                steps_of[mask] = tuple(part for p in chosen for part in by_predicate[p])
            yield row[1], steps_of[mask], Act._make(row[1:])


def _from_queries(opened: OpenCase, ready: list[Prepared]) -> Iterator[Fed]:
    asked = [part for item in ready for part in item.parts if part.sql and not part.blind]
    for part in asked:
        found = execute(
            opened.connection, part.sql, timeout_seconds=_STEP_TIMEOUT_SECONDS, limit=_MOST_QUERY_ROWS
        )
        acts = (_act_of_row(row) for row in found)
        yield from ((act.time, (part,), act) for act in acts if act is not None)


def _act_of_row(row: dict[str, Any]) -> Act | None:  # Any: query cells
    time = row.get("TimeGenerated")
    if not isinstance(time, dt.datetime):
        return None
    position = row.get("_Position")
    texts: dict[str, Any] = {name: str(row[name]) for name in _TEXTS if row.get(name)}  # Any: fields of Act
    return Act(
        time=_microseconds(time),
        exhibit=str(row.get("_Exhibit") or ""),
        position=-1 if position is None else int(position),
        **texts,
    )


def _from_findings(ready: list[Prepared], found: list[Finding]) -> Iterator[Fed]:
    wanted: dict[str, list[Part]] = {}
    for item in ready:
        for part in item.parts:
            if part.rule:
                wanted.setdefault(part.rule, []).append(part)
    for finding in found:
        parts = wanted.get(finding.rule)
        if not parts or finding.time is None:
            continue
        exhibit, position = finding.rows[0] if finding.rows else ("", -1)
        act = Act(
            time=_microseconds(finding.time),
            Actor=finding.actor,
            ActorType=finding.actor_type,
            Mailbox=finding.mailbox,
            SessionId=finding.session,
            ClientIP=finding.address,
            Host=finding.host,
            ObjectName=str(finding.evidence.get("ObjectName") or ""),
            MessageId=str(finding.evidence.get("MessageId") or ""),
            exhibit=exhibit,
            position=position,
        )
        yield act.time, tuple(parts), act


def _microseconds(time: dt.datetime) -> int:
    return (time.replace(tzinfo=None) - _EPOCH) // dt.timedelta(microseconds=1)


def _fetch(opened: OpenCase, sql: str) -> list[tuple[Any, ...]]:  # Any: query cells
    import duckdb  # noqa: PLC0415 - the types of its errors

    try:
        return opened.connection.execute(sql).fetchall()
    except duckdb.Error as error:
        message = f"the database refused the steps: {str(error).splitlines()[0][:300]}"
        raise MailwitnessError(message, remedy="Correct the filter of the step.") from error
