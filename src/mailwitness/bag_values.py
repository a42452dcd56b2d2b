"""Values that a query takes out of one bag in many places are taken out of it at once.

A bag is JSON text. Every value taken out of it by itself reads the whole text again, and a parser asks a command for some sixty
parameters in a hundred places: that was a third of what MailboxActivity of a million records cost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable

# With fewer names in a bag a list of them is not worth its making.
_WORTH = 10
_TAKEN = re.compile(r"\"(\w+)\" ->> '(\$(?:\.\w+(?:\[\d+\])?)+)'")
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_]\w*|[(),]|[^'"A-Za-z_(),]+""", re.DOTALL)


def taken_at_once(sql: str) -> str:
    """Return a query with the same rows in which each bag that is asked for many values is read once.

    Args:
        sql: a translation: ``SELECT`` lists that name every column, or ``*``, and ``"Bag" ->> '$.Name'`` for a value.
    """
    names: dict[str, dict[str, int]] = {}
    for column, path in _TAKEN.findall(sql):
        places = names.setdefault(column, {})
        places.setdefault(path, len(places) + 1)
    for column, places in names.items():
        if len(places) >= _WORTH:
            sql = _with_values(sql, column, places)
    return sql


def _with_values(sql: str, column: str, places: dict[str, int]) -> str:
    values = identifier(f"{column} values")
    paths = ", ".join(literal(path) for path in places)
    shown = re.escape(identifier(column))
    passed_on = re.compile(rf"((?:_[lr]\.)?){shown}(?: AS {shown})?")
    defined = re.compile(rf'((?:_[lr]\.)?"\w+") AS {shown}')

    def beside(item: str) -> str:
        """Return what has to stand in a SELECT list beside one of its items."""
        if match := passed_on.fullmatch(item):
            return f", {match.group(1)}{values}"
        if match := defined.fullmatch(item):
            return f", json_extract_string({match.group(1)}, [{paths}]) AS {values}"
        return ""

    def value(match: re.Match[str]) -> str:
        return f"{values}[{places[match.group(2)]}]" if match.group(1) == column else match.group(0)

    return _TAKEN.sub(value, _listed(sql, beside))


def _listed(sql: str, beside: Callable[[str], str]) -> str:
    """Return SQL with something added behind items of its SELECT lists."""
    lists = _Lists(beside)
    for match in _TOKEN.finditer(sql):
        lists.take(match.group())
    lists.end()
    return "".join(lists.parts)


class _Lists:
    """Follows the SELECT lists of a query token by token."""

    def __init__(self, beside: Callable[[str], str]) -> None:
        self.beside = beside
        self.parts: list[str] = []
        # For each open bracket where the item of its SELECT list begins; None outside of a list.
        self.begins: list[int | None] = [None]

    def take(self, text: str) -> None:
        """Take the next token."""
        if text in {")", ",", "FROM"}:
            self.end()
        self.parts.append(text)
        if text == "(":
            self.begins.append(None)
        elif text == ")":
            self.begins.pop()
        elif text == "FROM":
            self.begins[-1] = None
        elif text == "SELECT" or (text == "," and self.begins[-1] is not None):
            self.begins[-1] = len(self.parts)

    def end(self) -> None:
        """End the item that stands in a SELECT list."""
        start = self.begins[-1]
        if start is not None:
            item = "".join(self.parts[start:])
            kept = item.rstrip()
            self.parts[start:] = [kept, self.beside(kept.strip()), item[len(kept) :]]
