"""What is to be decided and done: questions, escalation, steps and deadlines as blocks; absent parts say so, never look done."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from mailwitness.report import plan, wording
from mailwitness.report.pages import common
from mailwitness.report.pages.beside import Step
from mailwitness.report.pages.blocks import Block, Bullets, Commands, Heading, Table, Text, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import Case, Question, RecoveryStep, Report, Task
    from mailwitness.report.pages.beside import Beside, Worked

_SHOWN = 30


def saving_blocks(report: Report, most: int, *, with_steps: bool) -> Iterator[Block]:
    """Say what can still be saved and until when, what ends first before the rest.

    Args:
        report: the report.
        most: rows to show.
        with_steps: name the step that saves it instead of the place where it is.
    """
    clock = report.recoverability
    if clock is None or not clock.is_computed:
        said = clock.sentence if clock else "This report was written before there was a recoverability clock."
        yield Text(f"Not evaluated. {said}", "warning")
        return
    yield Text(clock.sentence)
    rows = [
        (_until(one), str(one.messages), one.mailbox or "files", one.step if with_steps else one.state)
        for one in common.running(report)
    ]
    if rows:
        shown, left = cut(rows, most, "the technical report")
        last = "What to do" if with_steps else "Where they are now"
        yield Table("What can still be saved", ("Until (UTC)", "Messages", "Mailbox", last), shown, left=left)


def _until(step: RecoveryStep) -> str:
    if not step.until:
        return "no period: save it now"
    return wording.moment(step.until) + ("" if step.is_exact else " by default")


def today_blocks(cases: tuple[Case, ...], beside: Beside) -> Iterator[Block]:
    """Say what somebody has to decide."""
    open_ = [case for case in cases if not (beside.people.get(case.id) and beside.people[case.id].decision)]
    asked = [
        f"Case {case.id}: the rules say {common.verdict_of(case).lower()}. Confirm or reject it, with a reason."
        + (f" By the playbook: {said.lower()}." if (said := common.escalation_of(case)) else "")
        for case in open_[:4]
    ]
    yield Bullets(tuple(asked)) if asked else Text("No case waits for a decision.")


def question_blocks(case: Case) -> Iterator[Block]:
    """Answer the playbook's questions, and say whether tier 2 has to look."""
    if not case.questions:
        return
    yield Heading("Questions answered", 3)
    for speaks_of, answers in wording.answers_of(case.questions[:_SHOWN]):
        if speaks_of:
            yield Text(speaks_of)
        yield Bullets(tuple(_answered(one) for one in answers))
    if case.escalation is not None:
        decision = wording.DECISIONS.get(case.escalation.decision, wording.DECISIONS["keep"])
        yield Heading(decision, 3)
        reasons = [f"For: {reason}" for reason in case.escalation.reasons_for]
        reasons += [f"Against: {reason}" for reason in case.escalation.reasons_against]
        yield Bullets(tuple(reasons[:_SHOWN]))


def _answered(one: Question) -> str:
    """Write a question with its answer on one line."""
    word = wording.QUESTION_ANSWERS.get(one.answer, wording.QUESTION_ANSWERS["not_evaluated"])
    begins = one.sentence.lower().startswith(word.lower())
    return f"{one.question} {'' if begins else f'{word}. '}{one.sentence}"


def plan_blocks(report: Report, case: Case) -> Iterator[Block]:
    """Give the response plan: for each action what it needs, disturbs and waits for, and the lines to type."""
    for phase in plan.phases_of(report, case):
        yield Heading(f"Response plan: {phase.title.lower()}", 3)
        for part in phase.parts:
            yield from _part_blocks(part)


def _part_blocks(part: plan.Part) -> Iterator[Block]:
    action = part.action
    about = "; ".join(f"{label} {words}" for label, words in part.about)
    yield Text(action.title, "lead")
    yield Text(f"{action.do} {about[:1].upper()}{about[1:]}. Verify: {action.verify} Undo: {action.undo}")
    for step in part.steps:
        words = "; ".join(one for one in (plan.about(step), step.note) if one)
        yield Text(f"{step.id}{f': {words}' if words else ''}")
        for shell, lines in groupby(step.lines, key=lambda one: one.shell):
            yield Commands(tuple(one.line for one in lines), shell)


def task_blocks(case: Case, worked: Worked | None) -> Iterator[Block]:
    """List the steps for people: what is done, with what shows it, and what is open."""
    tasks = worked.tasks if worked else tuple(_open(one) for one in case.tasks)
    if tasks:
        yield Bullets(
            tuple(
                f"{one.state}: {one.title} ({one.tier})"
                + (f". {one.evidence or one.known}" if one.evidence or one.known else "")
                for one in tasks[:_SHOWN]
            )
        )


def _open(task: Task) -> Step:
    """Return a step as nobody has marked it yet."""
    return Step(id=task.id, tier=task.tier, title=task.title, known=task.known)
