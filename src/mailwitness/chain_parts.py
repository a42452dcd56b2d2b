"""A chain's steps and forbidden acts, ready to be asked for."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from mailwitness.chain_keys import Act
from mailwitness.content.schemas import Chain


class Burst(NamedTuple):
    """What an account has to do for a step that counts; few acts stand that near to others.

    ``column`` holds the account, ``span`` is in microseconds; ``is_distinct`` counts values and not acts.
    """

    column: str
    span: int
    gte: int
    is_distinct: bool


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A step or a forbidden act of a chain, ready to be asked for.

    Attributes:
        index: number of the step; -1 for a forbidden act.
        filter: the KQL condition over MailboxActivity; empty when the acts come from a query or a rule.
        predicate: the same as SQL.
        sql: the query's SQL.
        burst: what is counted, for a step that counts by an account; None for all others.
        is_late: MailboxActivity does not show all acts that the filter means.
        blind: why the evidence cannot show it; empty when it can.
    """

    chain: str
    name: str
    index: int
    optional: bool
    filter: str = ""
    predicate: str = ""
    sql: str = ""
    burst: Burst | None = None
    is_late: bool = False
    rule: str = ""
    blind: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A chain with its parts; ``reason`` says why it cannot be evaluated."""

    chain: Chain
    parts: list[Part]
    reason: str = ""


# An act with its time and the parts it serves.
Fed = tuple[int, tuple[Part, ...], Act]
