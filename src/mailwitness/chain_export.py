"""Write a chain as KQL for Sentinel: the `scan` operator over the steps, sorted by key and time.

The steps' acts are spread over their keys, one row for each way of joining; the scan then goes through each key once,
in the order of time. Self-joins would compare every act of a busy account with all others.
Source: Microsoft's reference page of the scan operator (Azure Data Explorer, Azure Monitor, Microsoft Sentinel).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailwitness.chain_keys import UNLIMITED, column_of
from mailwitness.errors import QueryUnsupported
from mailwitness.needs import TABLE

if TYPE_CHECKING:
    from mailwitness.content.schemas import Chain, ChainStep, Condition, Forbidden

_COLUMNS = "TimeGenerated, Actor, ActorType, Mailbox, SessionId, ClientIP, Host, ObjectName, Operation"
# KQL knows no months and years in a timespan literal.
_DAYS = {"w": 7, "M": 30, "y": 365}


class NotInKqlError(QueryUnsupported):
    """A chain cannot be said in KQL; the message says why."""


def to_kql(chain: Chain) -> str:
    """Return a chain as KQL over MailboxActivity.

    Steps that may be missing are looked for after the chain is found and do not decide it, so they are left out; so
    are forbidden acts of steps by rule. All steps of a match share one key here, whereas the engine follows a chain
    from one way of joining to another.

    Raises:
        NotInKqlError: a needed step rests on the findings of another rule.
    """
    names = [name for name in chain.correlation.rules if not chain.steps[name].optional]
    for name in names:
        if chain.steps[name].rule:
            raise NotInKqlError(
                f"the step {name!r} rests on findings of another rule",
                place=chain.name,
                remedy="Export that rule and join its alerts.",
            )
    lets = [_let(chain, name, names) for name in names]
    union = ", ".join(f"Step_{name}" for name in names)
    body = _unordered(chain, names) if chain.correlation.type == "temporal" else _scan(chain, names)
    head = "\n".join(f"// {line}" for line in _head(chain))
    return f"{head}\n{''.join(lets)}union {union}\n{body}\n"


def _head(chain: Chain) -> list[str]:
    left_out = [step.title for step in chain.steps.values() if step.optional]
    left_out += [f"not with {step.title} {step.where}" for step in chain.forbidden.values()]
    lines = [_one_line(chain.title)]
    if left_out:
        lines.append(_one_line(f"Not asked here: {'; '.join(left_out)}."))
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _let(chain: Chain, name: str, names: list[str]) -> str:
    """Return the acts of one step, one row for each of their keys."""
    step = chain.steps[name]
    source = step.query.strip().rstrip(";") if step.query else f"{TABLE}\n| where {step.filter.strip()}"
    ways = _ways(chain, names)
    keys = ", ".join(_key(chain, way, name) for way in ways)
    counted = _burst(chain, step)
    return (
        f"let Step_{name} = {source}\n"
        f"| extend Step = {names.index(name)}, Keys = pack_array({keys})\n"
        "| mv-expand Key = Keys to typeof(string)\n"
        '| where Key !endswith "="\n'
        f"{counted}"
        f"| project Step, Key, {_available(step)};\n"
    )


def _available(step: ChainStep | Forbidden) -> str:
    """Return the columns to keep; a query of another table gives what it has."""
    if not step.query:
        return _COLUMNS
    return ", ".join(
        name if re.search(rf"\b{name}\b", step.query) else f'{name} = ""' for name in _COLUMNS.split(", ")
    )


def _ways(chain: Chain, names: list[str]) -> list[str]:
    shared = "+".join(chain.correlation.group_by)
    ways = [way for name in names[1:] for way in (chain.steps[name].join or {shared: ""})]
    if not ways:
        ways = [_counted_by(chain, chain.steps[names[0]])]
    return list(dict.fromkeys(way for way in ways if way))


def _counted_by(chain: Chain, step: ChainStep) -> str:
    condition = step.count or chain.correlation.condition
    return (condition.by if condition else "") or "+".join(chain.correlation.group_by)


def _key(chain: Chain, way: str, name: str) -> str:
    values = [_value(column_of(chain, part, name)) for part in way.split("+")]
    # An empty part would join everything that says nothing.
    empty = " or ".join(f'{value} == ""' for value in values if value != '"all"')
    joined = ', "|", '.join(values)
    whole = f'strcat("{way}=", {joined})'
    return f'iff({empty}, "=", {whole})' if empty else whole


def _value(column: str) -> str:
    if not column:
        return '"all"'
    if column in {"Actor", "Mailbox", "SettingAfter"}:
        return f'tolower(extract(@"([^\\\\/@]+)(?:@.*)?$", 1, {column}))'
    if column == "ObjectName":
        return 'tolower(extract(@"([^\\\\/]+?)(?:_(?:Export|Report|Preview|Purge))?$", 1, ObjectName))'
    if column == "FilePath":
        path = 'iff(tostring(Parameters.FilePath) != "", tostring(Parameters.FilePath), ObjectName)'
        return f'tolower(extract(@"([^\\\\/]+)$", 1, {path}))'
    return f"tolower({column})"


def _burst(chain: Chain, step: ChainStep) -> str:
    """Return the filter that keeps the act with which a count is reached, within a sliding time."""
    condition = step.count or chain.correlation.condition
    if condition is None:
        return ""
    span = condition.timespan or chain.correlation.timespan
    if condition.field:
        return _distinct(step, condition, span)
    return (
        "| sort by Key asc, TimeGenerated asc\n"
        f"| extend Before = prev(TimeGenerated, {condition.gte - 1}), BeforeKey = prev(Key, {condition.gte - 1})\n"
        f"| where BeforeKey == Key{_within('TimeGenerated', 'Before', span)}\n"
    )


def _distinct(step: ChainStep, condition: Condition, span: str) -> str:
    """Return the filter that keeps acts before which, within a sliding time, their key had enough different values."""
    # A look back of fixed length cannot count them, and equal slots of time would lose what lies on both sides of a border.
    # Only keys that have enough values at all are joined with themselves.
    acts = f"Counted_{condition.field}"
    kept = _available(step)
    kept += f", {condition.field}" if condition.field not in _COLUMNS.split(", ") else ""
    return (
        f"| project Step, Key, {kept}\n"
        f"| as hint.materialized=true {acts}\n"
        f"| join kind=leftsemi ({acts} | summarize Different = dcount({condition.field}) by Key | where Different >= {condition.gte}) on Key\n"
        f"| join kind=inner ({acts} | project Key, Other = {condition.field}, OtherTime = TimeGenerated) on Key\n"
        f"| where OtherTime <= TimeGenerated{_within('TimeGenerated', 'OtherTime', span)}\n"
        f"| summarize Different = dcount(Other) by Step, Key, {_COLUMNS}\n"
        f"| where Different >= {condition.gte}\n"
    )


def timespan(text: str) -> str:
    """Return a time span as a KQL literal."""
    number, unit = int(text[:-1]), text[-1]
    return f"{number * _DAYS[unit]}d" if unit in _DAYS else text


def _within(later: str, earlier: str, span: str) -> str:
    return "" if span == UNLIMITED else f" and {later} - {earlier} <= {timespan(span)}"


def _scan(chain: Chain, names: list[str]) -> str:
    """Return the scan; a step is reached only from the one before, and a new start replaces an open one."""
    span = chain.correlation.timespan
    steps = []
    for i, name in enumerate(names):
        conditions = [f"Step == {i}"]
        if i:
            conditions.append(f"Key == s{i - 1}.Key")
            conditions += _gaps(chain, name, i)
            if span != UNLIMITED:
                conditions.append(f"TimeGenerated - s0.TimeGenerated <= {timespan(span)}")
        assigned = " => " + ", ".join(_assigned(i, len(names)))
        output = " output=last" if i < len(names) - 1 else " output=all"
        steps.append(f"    step s{i}{output}: {' and '.join(conditions)}{assigned};")
    declared = ", ".join(f"Time{i}: datetime, Actor{i}: string, Object{i}: string" for i in range(len(names)))
    last = len(names) - 1
    times = ", ".join(f"Time{i}" for i in range(len(names)))
    return (
        "| sort by Key asc, TimeGenerated asc, Step asc\n"
        f"| scan declare ({declared}) with (\n" + "\n".join(steps) + "\n)\n"
        f"| where Step == {last} and isnotnull(Time0)\n"
        f"| summarize Keys = make_set(Key, 20), arg_max(Time0, *) by Time{last}, Actor, ObjectName\n"
        f"| project TimeGenerated, {times}, Actor, ActorType, Mailbox, SessionId, ClientIP, Host, ObjectName, Operation, Keys, "
        + ", ".join(f"Actor{i}, Object{i}" for i in range(len(names)))
    )


def _assigned(i: int, count: int) -> list[str]:
    own = [f"Time{i} = TimeGenerated", f"Actor{i} = Actor", f"Object{i} = ObjectName"]
    carried = [
        f"{column}{j} = s{i - 1}.{column}{j}" for j in range(i) for column in ("Time", "Actor", "Object")
    ]
    return [*own, *carried] if count else own


def _gaps(chain: Chain, name: str, i: int) -> list[str]:
    """Return the longest gap of each way of joining as one condition."""
    join = chain.steps[name].join
    limited = {way: gap for way, gap in join.items() if gap != UNLIMITED}
    if not limited:
        return []
    cases = "".join(f'Key startswith "{way}=", {timespan(gap)}, ' for way, gap in limited.items())
    # Ways that do not expire, and ways of other steps, which then reach as far as the chain does.
    return [f"TimeGenerated - s{i - 1}.TimeGenerated <= case({cases}365000d)"]


def _unordered(chain: Chain, names: list[str]) -> str:
    span = "1d" if chain.correlation.timespan == UNLIMITED else timespan(chain.correlation.timespan)
    return (
        f"| extend Slots = pack_array(bin(TimeGenerated, {span}), bin(TimeGenerated + {span} / 2, {span}))\n"
        "| mv-expand Slot = Slots to typeof(datetime)\n"
        "| summarize Different = dcount(Step), TimeGenerated = min(TimeGenerated), LastTime = max(TimeGenerated), Actor = take_any(Actor),\n"
        "    Mailbox = take_any(Mailbox), ClientIP = take_any(ClientIP), SessionId = take_any(SessionId), Host = take_any(Host) by Key, Slot\n"
        f"| where Different == {len(names)} and LastTime - TimeGenerated <= {span}"
    )
