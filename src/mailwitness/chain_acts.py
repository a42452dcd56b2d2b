"""What chains ask of the evidence: their steps as queries, and the columns of an act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.needs import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Chain

# The ids of all messages of an act, at most a hundred.
MESSAGES_SQL = """CASE WHEN Items IS NULL THEN NULL ELSE regexp_extract_all(Items::VARCHAR, '"InternetMessageId":\\s*"([^"\\\\]+)"', 1)[:100] END"""
# Columns of an act as SQL over MailboxActivity, in the order of Act.
ACT_SQL = (
    "epoch_us(TimeGenerated), Actor, ActorType, Mailbox, SessionId, ClientIP, Host, ApplicationId, ObjectName, MessageId, "
    f"{MESSAGES_SQL}, "
    "coalesce(Parameters->>'$.FilePath', ''), SettingAfter, Operation, Activity, _Exhibit, _Position"
)
# What KQL has to name, so that a run stores these columns.
_NAMED = (
    "TimeGenerated, Actor, ActorType, Mailbox, SessionId, ClientIP, Host, ApplicationId, ObjectName, MessageId, "
    "Items, Parameters, SettingAfter, Operation, Activity, _Exhibit, _Position"
)


def filter_query(text: str) -> str:
    """Return a step's filter as the query that a run has to be able to answer."""
    return f"{TABLE}\n| where {text.strip()}"


def queries(chains: Iterable[Chain]) -> list[str]:
    """Return everything that chains ask of MailboxActivity and the public tables."""
    found = []
    for chain in chains:
        for step in chain.parts().values():
            if step.filter:
                found.append(f"{filter_query(step.filter)}\n| project {_NAMED}")
            elif step.query:
                found.append(step.query)
    return found
