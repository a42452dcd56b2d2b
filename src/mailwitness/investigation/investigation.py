"""What the playbook makes of the cases: answers, escalation, steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.errors import MailwitnessError
from mailwitness.investigation import answers, case_tables, escalation
from mailwitness.models import NotEvaluated
from mailwitness.open_case import questioned
from mailwitness.proof import sight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.cases import Story
    from mailwitness.investigation.answers import Answer
    from mailwitness.open_case import OpenCase

JsonDict = dict[str, Any]  # Any: JSON values
# Cases that are questioned: the worst first. All share one query for each question, but a person reads them one by one.
MOST_CASES = 100


def investigate(
    opened: OpenCase, stories: Sequence[Story], visibility: JsonDict
) -> tuple[dict[str, JsonDict], list[NotEvaluated]]:
    """Answer the playbook's questions for every case that is more than noise, and decide what follows.

    Args:
        opened: the open case.
        stories: cases, the most severe first.
        visibility: the report's part on what could have been seen.

    Returns:
        By case id what belongs into its part of the report, and what could not be judged.
    """
    real = [story for story in stories if story.verdict != "noise"]
    chosen = real[:MOST_CASES]
    left = len(real) - len(chosen)
    unanswered = [_too_many(left)] if left else []
    if not chosen:
        return {}, unanswered
    try:
        case_tables.create(opened, chosen, questioned(opened.knowledge))
        said = _answers(opened, chosen)
    except MailwitnessError as error:
        return {}, [*unanswered, _failed(str(error))]
    return {story.id: _decided(story, said[story.id], visibility) for story in chosen}, unanswered


def _answers(opened: OpenCase, stories: Sequence[Story]) -> dict[str, list[Answer]]:
    ids = [story.id for story in stories]
    ground = _ground(opened)
    found: dict[str, list[Answer]] = {name: [] for name in ids}
    for question in opened.knowledge.questions:
        sql = opened.engine.to_sql(question.query, now=opened.now)
        for name, answer in answers.ask(opened.connection, question, sql, ids, ground).items():
            found[name].append(answer)
    return found


def _ground(opened: OpenCase) -> answers.Ground:
    evidence = opened.evidence
    return answers.Ground(
        tables=evidence.tables | ({"Watchlists"} if evidence.watchlists else set()),
        activities=evidence.activities,
        absent=evidence.absent,
        records=opened.held,
    )


def _decided(story: Story, said: list[Answer], visibility: JsonDict) -> JsonDict:
    by_id = {answer.id: answer for answer in said}
    return {
        "questions": [_question(story, answer, visibility) for answer in said],
        "escalation": escalation.decide(story, by_id),
        "tasks": escalation.tasks(story, by_id),
    }


def _question(story: Story, answer: Answer, visibility: JsonDict) -> JsonDict:
    times = [t for f in story.findings for t in (f.time, f.last_time) if t]
    qualified = sight.qualify(
        visibility,
        list(dict.fromkeys(f.mailbox for f in story.findings)),
        list(dict.fromkeys(f.host for f in story.findings)),
        min(times, default=None),
        max(times, default=None),
    )
    return {
        "question": answer.question,
        "id": answer.id,
        "answer": answer.said,
        "sentence": answer.sentence,
        "numbers": answer.numbers,
        "rows": [{"exhibit": e, "record": p} for e, p in answer.rows],
        "confidence": answer.confidence,
        "visibility": " ".join(part for part in (answer.doubt, qualified) if part)
        if answer.said == "no"
        else "",
        "reason": answer.reason,
    }


def _too_many(left: int) -> NotEvaluated:
    return NotEvaluated(
        what=f"questions of {left:,} further cases",
        reason=f"only the {MOST_CASES} most severe cases are questioned",
        remedy="Decide the worst cases first, or narrow the evidence in time.",
    )


def _failed(reason: str) -> NotEvaluated:
    return NotEvaluated(
        what="the questions of the playbook",
        reason=reason,
        remedy="Answer them by hand from the timeline of each case.",
    )
