"""Sentences of ours with values of the evidence in their holes: `{Column}` stands for the row's value."""

from __future__ import annotations

import re
from typing import Any

# A value inside a sentence; the whole stands in the finding's evidence.
_LONGEST = 120
# A hole, the blank before it, and a noun in the plural that follows it; a word such as "address" that ends in "ss" is none.
_HOLE = re.compile(
    r"(?P<blank> ?)\{(?P<name>\w+)\}"
    r"(?:(?P<between>(?: [a-z-]*[a-rt-z])? )(?P<noun>[a-z]+[a-rt-z]s|[a-z]+(?:ss|x|ch|sh)es)\b)?"
)


def filled(template: str, row: dict[str, Any]) -> str:
    """Fill the holes of a template in one pass, so that a value which looks like a hole stays as it was written.

    >>> filled(
    ...     "{Actor} deleted {Count} messages in {Mailbox}", {"Actor": "{Count}", "Count": 1, "Mailbox": ""}
    ... )
    '{Count} deleted 1 message in'
    """
    return _HOLE.sub(lambda hole: _part(hole, row), template)


def _part(hole: re.Match[str], row: dict[str, Any]) -> str:
    if hole["name"] not in row:
        return hole[0]
    value = row[hole["name"]]
    text = _short(value)
    after = hole[0][hole.end("name") + 1 - hole.start() :]
    if hole["noun"] and type(value) is int and value == 1:
        after = hole["between"] + _one(hole["noun"])
    return (hole["blank"] + text if text else "") + after


def _short(value: Any) -> str:  # noqa: ANN401 - a query cell
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _one(noun: str) -> str:
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    return noun[:-2] if noun.endswith(("sses", "xes", "ches", "shes")) else noun[:-1]
