"""What the playbook makes of the cases: answers, escalation, steps."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mailwitness.cases import full_names
from mailwitness.content.playbook import WINDOWS, Question
from mailwitness.errors import MailwitnessError
from mailwitness.investigation import answers, case_tables, escalation
from mailwitness.kql import words
from mailwitness.models import NotEvaluated
from mailwitness.open_case import question_queries, questioned
from mailwitness.proof import sight
from mailwitness.proof.summary import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.cases import Story
    from mailwitness.investigation.answers import Answer
    from mailwitness.open_case import OpenCase

JsonDict = dict[str, Any]  # Any: JSON values
# Cases that are questioned: the worst first. All share one query for each question, but a person reads them one by one.
MOST_CASES = 100
# Names of mailboxes and hosts in one sentence.
_NAMED = 3


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
        named = {word for query in question_queries(opened.knowledge) for word in words(query)}
        case_tables.create(opened, chosen, questioned(opened.knowledge), named)
        said = _answers(opened, chosen)
    except MailwitnessError as error:
        return {}, [*unanswered, _failed(str(error))]
    asked = {question.id: question for question in opened.knowledge.questions}
    return {story.id: _decided(story, said[story.id], visibility, asked) for story in chosen}, unanswered


def _answers(opened: OpenCase, stories: Sequence[Story]) -> dict[str, list[Answer]]:
    ids = [story.id for story in stories]
    ground = _ground(opened)
    questions = opened.knowledge.questions
    asked = [opened.engine.to_sql(question.query, now=opened.now) for question in questions]

    def ask(question: Question, sql: str) -> dict[str, Answer]:
        return answers.ask(opened.connection.cursor(), question, sql, ids, ground, opened.engine.cache)

    found: dict[str, list[Answer]] = {name: [] for name in ids}
    # Small queries over small tables: most of the time is planning, which one core does.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for answered in pool.map(ask, questions, asked):
            for name, answer in answered.items():
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


def _decided(story: Story, said: list[Answer], visibility: JsonDict, asked: dict[str, Question]) -> JsonDict:
    by_id = {answer.id: answer for answer in said}
    looked = _Looked(story, visibility)
    return {
        "questions": [_question(answer, *looked.at(asked[answer.id])) for answer in said],
        "escalation": escalation.decide(story, by_id),
        "tasks": escalation.tasks(story, by_id),
    }


class _Looked:
    """At what the questions of a case look, and what of it could be seen; many questions look at the same."""

    def __init__(self, story: Story, visibility: JsonDict) -> None:
        times = [t for f in story.findings for t in (f.time, f.last_time) if t]
        self.first, self.last = min(times, default=None), max(times, default=None)
        mailboxes = list(dict.fromkeys(f.mailbox for f in story.findings if f.mailbox))
        hosts = list(dict.fromkeys(f.host for f in story.findings if f.host))
        self.part = sight.about(visibility, mailboxes, hosts)
        # A cmdlet's short name stands for the only full address that it can mean.
        full = full_names(list(story.findings))
        self.names = _listed(list(dict.fromkeys([*(full.get(m.lower(), m) for m in mailboxes), *hosts])))
        self.known: dict[tuple[str, ...], tuple[str, str, str]] = {}

    def at(self, question: Question) -> tuple[str, str, str]:
        """Return begin and end of the time that a question speaks of, and the sentence that qualifies its answer."""
        key = (question.window, *question.sources)
        if key not in self.known:
            self.known[key] = self._at(question)
        return self.known[key]

    def _at(self, question: Question) -> tuple[str, str, str]:
        first, last = self._times(question.window)
        span = (
            f" from {_minute(first)} to {_minute(last)} UTC"
            if first and last
            else " at any time of the evidence"
        )
        qualified = sight.qualify(self.part, first, last, sources=question.sources, what="that time")
        return iso(first), iso(last), f"Speaks of {self.names}{span}. {qualified}"

    def _times(self, window: str) -> tuple[dt.datetime | None, dt.datetime | None]:
        if window not in WINDOWS or self.first is None or self.last is None:
            return None, None
        before, after = WINDOWS[window]
        return self.first - dt.timedelta(days=before), self.last + dt.timedelta(days=after)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "every mailbox and host that the evidence names"


def _minute(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _question(answer: Answer, first: str, last: str, visibility: str) -> JsonDict:
    return {
        "question": answer.question,
        "id": answer.id,
        "answer": answer.said,
        "sentence": answer.sentence,
        "numbers": answer.numbers,
        "rows": [{"exhibit": e, "record": p} for e, p in answer.rows],
        "confidence": answer.confidence,
        "from": first,
        "to": last,
        "visibility": " ".join(part for part in (answer.doubt, visibility) if part),
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
