"""``mailwitness plan``: the response to a case, and the check of other people's playbooks."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

plan_app = App(
    name="plan", help="Plan the response to a case so that it destroys nothing; check other playbooks."
)

_DEFAULT_CASE = Path("mailwitness-case")


@plan_app.command
def show(name: str, *, case: Path = _DEFAULT_CASE, json: bool = False, now: str | None = None) -> int:
    """Show the steps for a case in order: what to preserve first, the exact lines, who approves.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    case
        Folder of the case.
    json
        Print the plan as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import plan_desk
    from mailwitness.settings import clock, database

    return plan_desk.show(case, name, now=clock(now), url=database(), as_json=json)


@plan_app.command
def approve(name: str, step: str, *, case: Path = _DEFAULT_CASE, now: str | None = None) -> int:
    """Approve a step; refused while what it disturbs is not preserved.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    step
        Id of the step, as `plan show` prints it.
    case
        Folder of the case.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import plan_desk
    from mailwitness.settings import clock, database

    return plan_desk.approve(case, name, step, now=clock(now), url=database())


@plan_app.command
def done(name: str, step: str, *, evidence: str, case: Path = _DEFAULT_CASE, now: str | None = None) -> int:
    """Say that an approved step was done by hand, and what shows it.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    step
        Id of the step.
    evidence
        What shows it: a file, a ticket, a result.
    case
        Folder of the case.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import plan_desk
    from mailwitness.settings import clock, database

    return plan_desk.done(case, name, step, evidence, now=clock(now), url=database())


@plan_app.command
def verify(
    name: str, *steps: str, case: Path = _DEFAULT_CASE, json: bool = False, now: str | None = None
) -> int:
    """Say whether evidence collected again shows that the steps marked as done took effect.

    Collect the logs again and run `investigate` on the same case first. Exit code 0: each is shown; 1: one is
    contradicted; 2: one could not be judged.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    steps
        Ids of steps; default every step that was marked as done.
    case
        Folder of the case.
    json
        Print the results as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import plan_desk
    from mailwitness.settings import clock, database

    return plan_desk.verify(case, name, list(steps), now=clock(now), url=database(), as_json=json)


@plan_app.command
def lint(*files: Path) -> int:
    """Check playbooks (Markdown or text with cmdlets) for steps that destroy evidence or come too early.

    Exit code 0: none; 1: at least one; 2: a file could not be read.

    Parameters
    ----------
    files
        The playbooks.
    """
    from mailwitness import plan_desk

    return plan_desk.lint(list(files))
