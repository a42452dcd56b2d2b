"""``mailwitness questions``: the playbook's questions, listed, shown and tested."""

from __future__ import annotations

import json as json_text
from pathlib import Path

from cyclopts import App

from mailwitness.errors import ConfigError

questions_app = App(name="questions", help="List, show and test the questions that are asked of every case.")


@questions_app.command(name="list")
def list_questions(*, json: bool = False) -> int:
    """List the questions with the rows of the playbook that they answer.

    Parameters
    ----------
    json
        Print the list as JSON.
    """
    from mailwitness.content import playbook

    found = [question for _, question in playbook.questions()]
    if json:
        keys = ("id", "question", "playbook", "covered", "notCovered")
        print(json_text.dumps([{key: getattr(one, key) for key in keys} for one in found], indent=1))
        return 0
    for one in found:
        print(f"{one.id:38} {one.question}")
    return 0


@questions_app.command
def show(name: str) -> int:
    """Show one question: what it rests on, what it cannot see, and its query.

    Parameters
    ----------
    name
        Id of the question.
    """
    from mailwitness.content import playbook

    one = next((question for _, question in playbook.questions() if question.id == name), None)
    if one is None:
        raise ConfigError(
            "there is no such question", place=name, remedy="Look at `mailwitness questions list`."
        )
    print(f"{one.question}\n\nanswers: {', '.join(one.playbook)}")
    print(
        "".join(f"\ncovered: {text}" for text in one.covered)
        + "".join(f"\nnot covered: {text}" for text in one.notCovered)
    )
    print(f"\n{one.query.strip()}")
    return 0


@questions_app.command
def test(*files: Path) -> int:
    """Lint questions and run their truth tables; exit code 0 when all hold, 2 otherwise.

    Parameters
    ----------
    files
        Question files; none takes all that are shipped.
    """
    from mailwitness import content_check

    return content_check.run_question_tests(list(files))
