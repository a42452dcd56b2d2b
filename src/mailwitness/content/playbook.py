"""Records of the playbook's content: questions, the rule of escalation, the steps for people; and their loaders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from mailwitness.content import loader
from mailwitness.content.schemas import Level, Rows

Said = Literal["yes", "no", "not_evaluated"]
# Days before the first and after the last finding of a case of which a question speaks; ``all`` is the whole evidence.
# A new password, device or consent comes weeks before its use; what follows is seen within days.
WINDOWS = {"case": (0, 0), "week": (7, 7), "month": (30, 7)}


class Needs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the evidence has to hold before "no" means anything; each list that is given needs one of its members.

    Attributes:
        tables: tables with rows; ``Watchlists`` counts when a list was given.
        activities: acts that the evidence could show.
        records: acts of which the evidence holds at least one record, by whomever: proof that such a log was given.
        remedy: what to get, in one imperative sentence.
    """

    tables: list[str] = []
    activities: list[str] = []
    records: list[str] = []
    remedy: str


class Sentences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an answer is worded; ``{Column}`` and ``{number}`` are replaced by the first row's values and the numbers."""

    yes: str
    no: str
    not_evaluated: str = ""


class QuestionCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a question's truth table: rows in, answer out.

    Attributes:
        answer: what is expected.
        sentence: text that the sentence must contain.
        numbers: expected numbers.
    """

    name: str
    answer: Said
    rows: Rows
    sentence: str = ""
    numbers: dict[str, Any] = {}  # Any: a number or text


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question of the playbook, asked of every case at once.

    The query returns rows with ``CaseId``. A row means yes, unless its column ``Answer`` says ``no`` or
    ``not_evaluated``; a case without rows is answered by ``silent``.

    Attributes:
        id: name of the file.
        window: time that the query looks at: one of WINDOWS, or ``all``; the answer says so, and what was blind in it.
        playbook: rows of the playbook that it answers, as in ``playbook.yaml``.
        sources: sources of the table Visibility whose blindness qualifies the answer; empty takes all.
        numbers: name -> ``count``, or ``distinct``, ``sum``, ``min`` or ``max`` of a column, over the rows of the answer.
        silent: answer of a case for which the query returns nothing.
        covered: what the answer rests on.
        notCovered: what it cannot see.
    """

    id: str
    question: str
    playbook: list[str]
    window: Literal["case", "week", "month", "all"]
    needs: Needs
    query: str
    answers: Sentences
    numbers: dict[str, str] = {}
    silent: Said = "no"
    confidence: Level = "medium"
    sources: list[str] = []
    covered: list[str]
    notCovered: list[str]  # noqa: N815 - beside covered, as DFIQ writes it
    version: str = "1.0.0"
    tests: list[QuestionCase] = []


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition on a case; everything that is given has to hold.

    Attributes:
        question: id of a question whose answer is one of ``answers``.
        verdict: verdicts of which the case has one.
        severity: severities of which the case has one.
        explained: every grave finding has (true) or has not (false) a known cause.
    """

    question: str = ""
    answers: list[Said] = []
    verdict: list[str] = []
    severity: list[str] = []
    explained: bool | None = None


class Criterion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sentence of the rule of escalation.

    Attributes:
        weight: ``escalate`` suffices alone; ``for`` is named and suffices with another; ``against`` is named beside them.
        when: all of these hold.
        words: how it is said; ``{sentence}`` is the answer of the first question among the conditions.
    """

    id: str
    playbook: str = ""
    weight: Literal["escalate", "for", "against"]
    when: list[Condition]
    words: str


class Escalation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule of escalation as data; ``close`` are verdicts that end a case when nothing speaks for escalation."""

    close: list[str]
    criteria: list[Criterion]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step for people; what the answers already say is filled in.

    Attributes:
        when: verdicts of the cases that get the step; empty gives it to all.
    """

    id: str
    tier: str
    title: str
    playbook: str
    questions: list[str]
    when: list[str] = []


class PlaybookRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One demand of the playbook, in our words, with the content files that meet it."""

    id: str
    demand: str
    files: list[str]


class Playbook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The playbook: its rows, the rule of escalation, the steps for people."""

    rows: list[PlaybookRow]
    escalation: Escalation
    steps: list[Step]


@cache
def playbook() -> Playbook:
    """Return the playbook.

    Raises:
        ContentError: its file is wrong.
    """
    return loader.read(loader.CONTENT / "playbook.yaml", Playbook)


def questions(*paths: Path) -> list[tuple[Path, Question]]:
    """Return the shipped questions, or those in the given files, with their files.

    Raises:
        ContentError: a question is wrong.
    """
    listed = list(paths) if paths else list(loader.files("questions"))
    return [(path, loader.with_query(loader.read(path, Question))) for path in listed]
