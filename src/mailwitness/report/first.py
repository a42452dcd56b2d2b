"""The first screen: where to start, what to do first, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report import wording
from mailwitness.report.pages import common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import Case, RecoveryStep, Report

STEPS_SHOWN = 4


class Start(NamedTuple):
    """The case to start with; ``number`` counts from 1 in the order of the report."""

    case: Case
    number: int
    verdict: str
    steps: tuple[str, ...]


def start_of(report: Report) -> Start | None:
    """Return where to start; None when no case needs anybody."""
    cases = common.pressing(report)
    if not cases:
        return None
    case = cases[0]
    return Start(
        case, report.cases.index(case) + 1, _verdict(case), tuple(_steps(report, case))[:STEPS_SHOWN]
    )


def _verdict(case: Case) -> str:
    decided = common.escalation_of(case)
    return common.verdict_of(case) + (f". {decided}" if decided else "")


def _steps(report: Report, case: Case) -> Iterator[str]:
    """Yield what to do first: save what ends first, look at the strongest proof, close what blocks a verdict."""
    ending = [one for one in common.running(report) if one.until]
    yield from (f"{_deadline(one)}, {one.mailbox or 'files'}: {one.step}" for one in ending[:2])
    strongest = wording.strongest(case)
    if strongest is not None:
        yield f"Look at the proof: {common.proof_of(report, strongest)}."
    for one in report.not_evaluated:
        if one.blocking and one.remedy:
            yield f"{one.what}: {one.remedy}"


def _deadline(step: RecoveryStep) -> str:
    if step.is_late:
        return (
            f"At the latest until {wording.moment(step.latest)}, where items are kept longer than by default"
        )
    return f"Until {wording.moment(step.until)}{'' if step.is_exact else ' by default'}"
