"""Which activities a run needs, and from which platforms: what nobody asks for is neither stored nor computed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from mailwitness.kql import leading_filters, tokens, words

if TYPE_CHECKING:
    from mailwitness.content.schemas import Parser

TABLE = "MailboxActivity"
_QUOTED = re.compile(r"[\"']([^\"']*)[\"']")
_VALUES = r"(?:==|=~|in~?(?=\())\(?((?:[\"'][^\"'\\]*[\"'],?)+)\)?"
_PLATFORM, _ACTIVITY = re.compile("Platform" + _VALUES), re.compile("Activity" + _VALUES)
_OPERATION = re.compile("Operation" + _VALUES)
PLATFORMS = frozenset({"ExchangeOnline", "Exchange", "GoogleWorkspace", "Linux", "macOS", "Windows", "Entra"})


class Needs(msgspec.Struct, frozen=True):
    """Activities that are needed from everywhere, and those that are only needed from some platforms."""

    everywhere: frozenset[str] = frozenset()
    on: dict[str, frozenset[str]] = {}

    def of(self, parser: Parser) -> set[str]:
        """Return what is needed of a parser; one that names no platform may write any."""
        platforms = platforms_of(parser.query) or PLATFORMS
        return set(self.everywhere).union(*(self.on.get(platform, frozenset()) for platform in platforms))

    def activities(self) -> set[str]:
        """Return every activity that is needed from anywhere."""
        return set(self.everywhere).union(*self.on.values())

    def plus(self, activities: Iterable[str]) -> Needs:
        """Return the same needs and these activities from everywhere."""
        return Needs(self.everywhere | frozenset(activities), self.on)


def of_queries(queries: Iterable[str], vocabulary: set[str]) -> Needs:
    """Return what queries need; one that names no activity may mean any.

    Args:
        queries: KQL; those that do not ask MailboxActivity need nothing.
        vocabulary: all activities.
    """
    everywhere: set[str] = set()
    on: dict[str, set[str]] = {}
    for query in queries:
        if TABLE not in words(query):
            continue
        named = named_activities(query, vocabulary) or vocabulary
        asked = platforms_asked(query)
        if asked is None:
            everywhere |= named
        for platform in asked or ():
            on.setdefault(platform, set()).update(named)
    return Needs(frozenset(everywhere), {name: frozenset(found) for name, found in sorted(on.items())})


def named_activities(kql: str, known: set[str]) -> set[str]:
    """Return the activities that a query names in its strings."""
    return set(_strings(kql)) & known


def is_of(kql: str, activities: set[str], vocabulary: set[str]) -> bool:
    """Tell whether a query asks MailboxActivity for nothing but some of these activities."""
    named = named_activities(kql, vocabulary)
    return TABLE in words(kql) and bool(named) and named <= activities


@lru_cache(maxsize=2048)
def _strings(kql: str) -> frozenset[str]:
    return frozenset(token.text.strip("@h").strip("\"'") for token in tokens(kql) if token.kind == "string")


@lru_cache(maxsize=256)
def platforms_of(kql: str) -> frozenset[str]:
    """Return the platforms that a parser can write: each stands as a string in its query.

    Found as text, because taking thirty parsers apart costs half a second: one in a comment would count too, which
    at worst stores what nobody asks for.
    """
    return frozenset(name for name in PLATFORMS if f'"{name}"' in kql or f"'{name}'" in kql)


@lru_cache(maxsize=2048)
def platforms_asked(kql: str) -> frozenset[str] | None:
    """Return the platforms to which every mention of MailboxActivity is narrowed at once; None when one is not.

    Only ``Platform == "..."`` and ``Platform in ("...", ...)`` as a condition of their own narrow a query: beside
    an ``or``, under a ``not`` or with ``!=`` they say nothing for sure.
    """
    leading = leading_filters(kql, TABLE)
    if not leading.complete:
        return None
    found: set[str] = set()
    for text in leading.filters:
        asked = _narrowed(text)
        if asked is None:
            return None
        found |= asked
    return frozenset(found)


def _narrowed(text: str) -> set[str] | None:
    """Return the platforms of one conjunction of ``(step) and (step)``; None when it does not narrow them."""
    found = _values(text, _PLATFORM)
    return found if found is not None and found <= PLATFORMS else None


def activities_asked(text: str) -> frozenset[str] | None:
    """Return the activities, in lower case, that a leading filter is narrowed to; None when it does not say for sure.

    Args:
        text: one of ``kql.leading_filters``.
    """
    return _lower(_values(text, _ACTIVITY))


def operations_read(parser: Parser) -> frozenset[str] | None:
    """Return the operations, in lower case, of which a parser reads the records; None when it does not say for sure."""
    return operations_asked(parser.query, parser.table)


def operations_asked(query: str, table: str) -> frozenset[str] | None:
    """Return the operations, in lower case, of which a query reads the records of a table; None when it does not say for sure."""
    leading = leading_filters(query, table)
    found = [_lower(_values(text, _OPERATION)) for text in leading.filters]
    if not leading.complete or None in found:
        return None
    return frozenset[str]().union(*(one for one in found if one))


def _lower(names: set[str] | None) -> frozenset[str] | None:
    # Beyond ASCII the database may fold case in another way; a dash has no case.
    if names is None or not all(
        letter.isascii() or letter.lower() == letter.upper() for name in names for letter in name
    ):
        return None
    return frozenset(name.lower() for name in names)


def _values(text: str, form: re.Pattern[str]) -> set[str] | None:
    """Return the values that all conditions of a form leave, of one conjunction of steps; None when there is none."""
    found: set[str] | None = None
    for conditions in _steps(text):
        for condition in conditions:
            match = form.fullmatch(condition)
            if match is not None:
                values = set(_QUOTED.findall(match.group(1)))
                found = values if found is None else found & values
    return found


def _steps(text: str) -> list[list[str]]:
    """Return the conditions that must all hold, step by step, without blanks; none of a step with an ``or`` between them."""
    steps: list[list[str]] = []
    for token in tokens(text):
        if token.depth == 0:
            if token.kind == "open":
                steps.append([""])
        elif token.depth == 1 and token.text == "and":
            steps[-1].append("")
        elif token.depth == 1 and token.text == "or":
            steps[-1].append("or")
        else:
            steps[-1][-1] += token.text
    return [conditions for conditions in steps if not any(one.startswith("or") for one in conditions)]
