"""Chains as lines to read: each step with its time, how it was joined, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.wording import moment, times

if TYPE_CHECKING:
    from mailwitness.report.document import Chain, ChainStep

CHAINS_SHOWN = 20
ROWS_SHOWN = 3


class StepLine(NamedTuple):
    """One step in words; the texts still hold what the evidence wrote."""

    when: str
    what: str
    about: str
    is_seen: bool


def step_lines(chain: Chain) -> list[StepLine]:
    """Return the steps of a chain in order; those that are missing say what their absence can mean."""
    return [_line(step) for step in chain.steps]


def _line(step: ChainStep) -> StepLine:
    if step.state != "seen":
        word = "cannot be seen" if step.state == "not_visible" else "missing"
        return StepLine(word, step.title, step.why, is_seen=False)
    who = [step.actor] if step.actor else []
    if step.mailbox and step.mailbox.lower() != step.actor.lower():
        who.append(f"in {step.mailbox}")
    listed = ", ".join(f"{row.exhibit} record {row.record:,}" for row in step.rows[:ROWS_SHOWN])
    more = f" and {len(step.rows) - ROWS_SHOWN:,} more" if len(step.rows) > ROWS_SHOWN else ""
    joined = [f"joined by {step.joined}"] if step.joined else []
    until = f"until {moment(step.last_time)}" if step.count > 1 and step.last_time != step.time else ""
    about = "; ".join(part for part in (until, " ".join(who), *joined, listed + more) if part)
    return StepLine(moment(step.time), f"{step.title}{times(step.count)}", about, is_seen=True)
