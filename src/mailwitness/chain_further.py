"""Steps of chains that are no acts of MailboxActivity: rows of a query, and findings of the rules."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mailwitness.chain_keys import Act
from mailwitness.findings import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.chain_parts import Fed, Part, Prepared
    from mailwitness.models import Finding
    from mailwitness.open_case import OpenCase

_STEP_TIMEOUT_SECONDS = 600
_MOST_QUERY_ROWS = 1_000_000
_TEXTS = tuple(name for name in Act._fields if name[0].isupper() and name != "Messages")
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times in the database are naive UTC


def from_queries(opened: OpenCase, ready: list[Prepared]) -> Iterator[Fed]:
    """Yield the rows of the steps that are queries.

    Raises:
        MailwitnessError: the database refused a query.
    """
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


def from_findings(ready: list[Prepared], found: list[Finding]) -> Iterator[Fed]:
    """Yield the findings of the rules that are steps."""
    wanted: dict[str, list[Part]] = {}
    for item in ready:
        for part in item.parts:
            if part.rule:
                wanted.setdefault(part.rule, []).append(part)
    # Later steps first: a finding that is two steps must not follow itself.
    ordered = {rule: tuple(sorted(parts, key=lambda part: -part.index)) for rule, parts in wanted.items()}
    for finding in found:
        parts = ordered.get(finding.rule)
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
        yield act.time, parts, act


def _microseconds(time: dt.datetime) -> int:
    return (time.replace(tzinfo=None) - _EPOCH) // dt.timedelta(microseconds=1)
