"""The response plan of a case as Markdown."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from mailwitness.report.plan import LINE_LIMIT, about, phases_of
from mailwitness.report.text import safe_markdown, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailwitness.report.document import Case, PlanStep, Report
    from mailwitness.report.plan import Part

_ELSEWHERE = "(this line holds characters that a page could obey; it stands in report.html and `mailwitness plan show`)"
# How renderers of Markdown call what reads a line.
_LANGUAGES = {"powershell": "powershell", "graph": "http", "gam": "sh", "sh": "sh"}


def plan_lines(report: Report, case: Case) -> Iterator[str]:
    """Yield the plan: phases as headings, each action with what it needs and disturbs, and the lines to type."""
    phases = phases_of(report, case)
    if phases:
        yield from ("", "### Response plan, in an order that destroys nothing")
    for phase in phases:
        yield from ("", f"#### {safe_markdown(phase.title, 80)}")
        for part in phase.parts:
            yield from _part(part)


def _part(part: Part) -> Iterator[str]:
    action = part.action
    yield from ("", f"**{safe_markdown(action.title)}.** {safe_markdown(action.do, 800)}", "")
    told = (*part.about, ("verify", action.verify), ("undo", action.undo))
    yield from (f"- {label.capitalize()}: {safe_markdown(words, 1500)}" for label, words in told if words)
    for step in part.steps:
        yield from _step(step)


def _step(step: PlanStep) -> Iterator[str]:
    told = [about(step), step.note]
    words = "; ".join(safe_markdown(part, 600) for part in told if part)
    yield from ("", f"Step `{_code(step.id)}`{f': {words}' if words else ''}")
    for shell, lines in groupby(step.lines, key=lambda one: one.shell):
        yield ""
        yield from fenced((one.line for one in lines), shell)


def fenced(lines: Iterable[str], language: str = "") -> Iterator[str]:
    """Yield lines as a code block that none of them can end; ``language`` is a name of ours."""
    # A reader that knows no code blocks would obey a tag within; such a line stands where it is safe.
    shown = [_ELSEWHERE if "<" in line else visible(line, LINE_LIMIT) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence + _LANGUAGES.get(language, ""), *shown, fence)


def _code(name: str) -> str:
    return visible(name, 80).replace("`", "'")
