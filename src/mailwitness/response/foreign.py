"""Read a foreign playbook for steps that destroy evidence or come too early."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.content.actions import Fault, faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# "Do not wipe the host" is advice, not a step.
_WARNING = re.compile(r"(?i)\b(?:do not|don't|never|must not|avoid|instead of)\b[^.;:]{0,40}$")


class Found(msgspec.Struct, frozen=True):
    """One fault: 1-based line, its text, why it is wrong, what to do instead."""

    line: int
    text: str
    fault: str
    why: str
    instead: str


def lint(text: str, known: Sequence[Fault] | None = None) -> list[Found]:
    """Return the faults of a playbook in the order of its lines.

    Args:
        text: Markdown or plain text with cmdlets.
        known: faults to look for; None takes the shipped ones.
    """
    lines = text.splitlines()
    listed = faults() if known is None else known
    return [
        one for number, line in enumerate(lines) for one in _of_line(number, line, lines[:number], listed)
    ]


def _of_line(number: int, line: str, before: list[str], listed: Sequence[Fault]) -> Iterator[Found]:
    for fault in listed:
        match = re.search(fault.pattern, line, re.IGNORECASE)
        if match is None or _WARNING.search(line[: match.start()]):
            continue
        above = [one for one in before if not _WARNING.search(one)]
        if fault.unless_before and any(re.search(fault.unless_before, one, re.IGNORECASE) for one in above):
            continue
        yield Found(number + 1, line.strip(), fault.id, fault.why, fault.instead)
