"""The plan of a case as a reader follows it: phase by phase, each action once with the values it is done for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.document import Action, Case, PlanLine, PlanStep, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The longest line we write, with the longest values, stays below this: a line that is cut must not be typed.
LINE_LIMIT = 6_000
_PHASES = {
    "preservation": "Preserve first",
    "containment": "Contain",
    "eradication": "Remove",
    "recovery": "Restore and strengthen",
}


class Part(NamedTuple):
    """One action of a plan with its steps, in order."""

    action: Action
    steps: tuple[PlanStep, ...]

    @property
    def after(self) -> str:
        """The steps that have to come before, as their ids."""
        return ", ".join(dict.fromkeys(name for step in self.steps for name in step.after))

    @property
    def unpreserved(self) -> str:
        """The kinds of evidence that are lost with it."""
        return spoken(tuple(dict.fromkeys(kind for step in self.steps for kind in step.unpreserved)))

    @property
    def needs(self) -> str:
        """Permission and role."""
        return (
            self.action.role
            if self.action.permission == "none"
            else f"{self.action.permission} ({self.action.role})"
        )

    @property
    def about(self) -> Iterator[tuple[str, str]]:
        """What the action asks for and does besides its purpose, as label and words; what it has nothing of is left out."""
        told = (
            ("needs", self.needs), ("approved by", self.action.approves), ("preserves", spoken(self.action.preserves)),
            ("disturbs", spoken(self.action.disturbs)), ("only after", self.after),
            ("nothing here preserves", self.unpreserved),
        )  # fmt: skip
        return ((label, words) for label, words in told if words)


class Phase(NamedTuple):
    """A phase of a plan."""

    title: str
    parts: tuple[Part, ...]


def phases_of(report: Report, case: Case) -> tuple[Phase, ...]:
    """Return the plan of a case in its order; a step whose action the report does not describe stands under its id."""
    parts = list(_parts(report, case))
    return tuple(
        Phase(_PHASES.get(phase, phase.capitalize() or "Other steps"), tuple(within))
        for phase, within in groupby(parts, key=lambda part: part.action.phase)
    )


def first_told(cases: Sequence[Case]) -> dict[str, tuple[int, int]]:
    """Return for each action of some plans its number, and that of the first case that has it; both from 1."""
    told: dict[str, tuple[int, int]] = {}
    for number_of_case, case in enumerate(cases, 1):
        for step in case.plan:
            told.setdefault(step.action, (len(told) + 1, number_of_case))
    return told


def _parts(report: Report, case: Case) -> Iterator[Part]:
    known = {action.id: action for action in report.actions}
    for name, steps in groupby(case.plan, key=lambda step: step.action):
        yield Part(known.get(name) or Action(id=name, title=name), tuple(steps))


def about(step: PlanStep) -> str:
    """Say what a step is done for."""
    return f"{step.value} in {step.mailbox}" if step.mailbox else step.value


def shell_of(line: PlanLine) -> str:
    """Name what reads a line."""
    return {"powershell": "PowerShell", "graph": "Graph request", "gam": "GAM", "sh": "Shell"}.get(
        line.shell, line.shell
    )


def spoken(kinds: tuple[str, ...]) -> str:
    """Write kinds of evidence for people: audit_log becomes audit log."""
    return ", ".join(kind.replace("sign_ins", "sign-ins").replace("_", " ") for kind in kinds)
