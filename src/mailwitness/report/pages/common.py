"""Sentences that several pages share."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from mailwitness.report import wording
from mailwitness.report.wording import count_of, number

if TYPE_CHECKING:
    from mailwitness.report.document import Case, Finding, RecoveryStep, Report
    from mailwitness.report.pages.beside import Beside

QUIET = frozenset({"noise", "authorised"})
"""Verdicts that nobody has to be woken for."""


def pressing(report: Report) -> tuple[Case, ...]:
    """Return the cases that need somebody, worst first."""
    return tuple(case for case in report.cases if case.verdict not in QUIET)


def listed(values: tuple[str, ...], most: int = 6) -> str:
    """Write several values on one line, and how many were left out."""
    more = f" and {number(len(values) - most)} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more


def verdict_of(case: Case) -> str:
    """Return verdict and confidence in words: Attack, high confidence."""
    word = wording.VERDICTS.get(case.verdict, wording.VERDICTS["undetermined"])
    return f"{word}, {case.confidence} confidence" if case.confidence else word


def proof_of(report: Report, finding: Finding) -> str:
    """Say where the record that proves a finding lies."""
    name = wording.file_name(report.exhibit(finding.exhibit))
    return f"{finding.exhibit} {name}, {wording.place(finding.position)}" if finding.exhibit else "no record"


def phases_of(case: Case) -> tuple[tuple[str, str, str], ...]:
    """Return each phase of a case with its first time and what was worst in it, in order of time."""
    rank = {one.title: wording.SEVERITIES.index(wording.severity_of(one.severity)) for one in case.findings}
    order = list(wording.PHASES)
    entries = sorted(
        (one for one in case.timeline if one.phase in order),
        key=lambda one: (order.index(one.phase), one.time or "9"),
    )
    rows = []
    for phase, group in groupby(entries, key=lambda one: one.phase):
        within = list(group)
        worst = min(within, key=lambda one: (rank.get(one.what, len(wording.SEVERITIES)), one.time or "9"))
        kinds = len({one.what for one in within}) - 1
        more = f", and {count_of(kinds, 'act')} more" if kinds else ""
        rows.append((wording.PHASES[phase], wording.moment(within[0].time), worst.what + more))
    return tuple(sorted(rows, key=lambda row: row[1]))


def unseen(report: Report, case: Case | None) -> tuple[str, ...]:
    """Return what qualifies a verdict: what was not evaluated, not readable, or not visible."""
    blocking = [one for one in report.not_evaluated if one.blocking]
    told = [f"{one.what}: {one.reason}. {one.remedy}" for one in blocking[:5]]
    rest = len(report.not_evaluated) - len(blocking)
    if rest:
        told.append(
            f"{count_of(rest, 'group').capitalize()} of rules had no evidence to judge; the technical report lists them."
        )
    if case is not None and case.visibility:
        told.append(case.visibility)
    return tuple(told)


def escalation_of(case: Case) -> str:
    """Return the escalation decision in words; empty for a report that was written before there was one."""
    return wording.DECISIONS.get(case.escalation.decision, "") if case.escalation else ""


def running(report: Report) -> tuple[RecoveryStep, ...]:
    """Return what can still be saved, mailboxes of pressing cases first, each in the order of the clock.

    What only a longer setting than the default can have kept comes last: often it is gone.
    """
    steps = report.recoverability.steps if report.recoverability else ()
    named = {name.lower() for case in pressing(report) for name in case.mailboxes}
    return tuple(
        sorted(
            (one for one in steps if not (one.is_over or one.is_gone)),
            key=lambda one: (one.is_late, one.mailbox.lower() not in named),
        )
    )


def foot(report: Report) -> str:
    """Say what wrote a page, with which rules and from which clock."""
    return (
        f"{report.tool.name} {report.tool.version}, judged from {wording.moment(report.evaluated.now)} UTC, "
        f"rule pack {report.rule_pack.digest[:16]}. Times are UTC. The complete record is report.json."
    )


def decided(beside: Beside, case: Case) -> str:
    """Say who works on a case and what was decided; empty when nobody has opened the case book."""
    worked = beside.people.get(case.id)
    if worked is None:
        return ""
    parts = [f"status {worked.status}"]
    parts += [f"with {worked.assignee}"] if worked.assignee else ["with nobody"]
    parts += [f"decided: {worked.decision}"] if worked.decision else ["not decided"]
    return ", ".join(parts)
