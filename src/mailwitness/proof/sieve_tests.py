"""Tests of Sieve scripts as conditions: what a log of messages has is compared, everything else is unknown and named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.proof import conditions, regexes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.proof.conditions import Condition, Field, Match
    from mailwitness.proof.sieve_grammar import Argument, Test

_MATCHES = {"is", "contains", "matches", "regex", "count", "value"}
_PARTS = {"all": "", "localpart": "split_part({column}, '@', 1)", "domain": "split_part({column}, '@', 2)"}
# Tags of tests that are followed by a value.
_VALUED = frozenset(
    {"comparator", "count", "value", "zone", "index", "mime", "handle", "header", "uniqueid", "seconds"}
)
_WORDS = 200
_VERBS = {"is": "is", "contains": "contains", "matches": "fits", "regex": "fits"}


class _Asked(msgspec.Struct, frozen=True):
    """A comparison: how, with what part of an address, of which fields, with which keys."""

    match: str
    part: str
    is_exact: bool
    fields: tuple[str, ...]
    keys: tuple[str, ...]


def condition(test: Test, value: Callable[[str], str | None], can_run: Callable[[str], bool]) -> Condition:
    """Return the condition of a test.

    Args:
        test: as parsed.
        value: fills the variables of a string in; None when one is not known.
        can_run: whether RE2 takes a regular expression.
    """
    if test.name in {"allof", "anyof"} and test.tests:
        parts = [condition(one, value, can_run) for one in test.tests]
        return conditions.all_of(parts) if test.name == "allof" else conditions.any_of(parts)
    if test.name == "not" and test.tests:
        return conditions.negate(condition(test.tests[0], value, can_run))
    if test.name in {"true", "false"}:
        return conditions.ALWAYS if test.name == "true" else conditions.NEVER
    if test.name in {"header", "address", "envelope"}:
        asked = _asked(test, value)
        if asked is not None:
            return conditions.any_of([_compared(test.name, field, asked, can_run) for field in asked.fields])
    return conditions.unknown(_worded(test))


def _asked(test: Test, value: Callable[[str], str | None]) -> _Asked | None:
    match, part, is_exact = "is", "all", False
    strings: list[tuple[str, ...]] = []
    waiting = ""
    for argument in test.arguments:
        if argument.kind == "tag":
            tag = argument.strings[0]
            match = tag if tag in _MATCHES else match
            part = tag if tag in {*_PARTS, "user", "detail"} else part
            waiting = tag if tag in _VALUED else ""
        elif waiting:
            is_exact = is_exact or (waiting == "comparator" and argument.strings == ("i;octet",))
            waiting = ""
        elif argument.kind == "strings":
            strings.append(argument.strings)
    filled = [value(key) for key in strings[1]] if len(strings) == 2 else [None]  # noqa: PLR2004 - headers and keys
    if match in {"count", "value"} or part in {"user", "detail"} or None in filled:
        return None
    keys = tuple(key for key in filled if key is not None)
    return _Asked(match, part, is_exact, tuple(name.lower() for name in strings[0]), keys)


def _compared(kind: str, field: str, asked: _Asked, can_run: Callable[[str], bool]) -> Condition:
    words = _sentence(kind, field, asked)
    known: dict[tuple[str, str], Field] = {
        ("header", "subject"): "subject", ("header", "message-id"): "message id", ("header", "from"): "sender", ("address", "from"): "sender",
        ("envelope", "from"): "envelope", ("envelope", "to"): "recipient",
    }  # fmt: skip
    named = known.get((kind, field))
    if named is None or "" in asked.keys:
        return conditions.unknown(words)
    # A header has a display name beside the address, and a delivery log writes the account for the recipient.
    is_partial = (kind, field) in {("header", "from"), ("envelope", "to")}
    match, values = _values(asked, can_run, is_partial=is_partial)
    if values is None:
        return conditions.unknown(words)
    within = _PARTS[asked.part] if kind != "header" else ""
    return conditions.compare(
        named, match, values, words, is_partial=is_partial, is_exact=asked.is_exact, within=within
    )


def _values(
    asked: _Asked, can_run: Callable[[str], bool], *, is_partial: bool
) -> tuple[Match, list[str] | None]:
    """Return how keys are compared in SQL; None when they are not run."""
    if asked.match == "contains":
        return "contains", list(asked.keys)
    if asked.match == "is":
        return "is", None if is_partial else list(asked.keys)
    if asked.match == "matches":
        if is_partial and not all(key[:1] == "*" and key[-1:] == "*" for key in asked.keys):
            return "fits", None
        return "fits", [conditions.glob(key) for key in asked.keys]
    found = [regexes.posix(key) for key in asked.keys]
    if is_partial or any(one.reason or not can_run(one.pattern) for one in found):
        return "fits", None
    return "fits", [one.pattern for one in found]


def _sentence(kind: str, field: str, asked: _Asked) -> str:
    what = {"subject": "subject", "from": "sender", "to": "recipient"}.get(field, f"header {field}")
    what = {"envelope": f"envelope {what}"}.get(kind, what)
    part = {"localpart": "the name in its ", "domain": "the domain of its "}.get(asked.part, "")
    return f"whose {part}{what} {_VERBS[asked.match]} {conditions.shown([key or 'nothing' for key in asked.keys])}"


def _worded(test: Test) -> str:
    """Return a test as the script writes it."""
    told = " ".join([test.name, *(_argument(one) for one in test.arguments)])
    shown = re.sub(r"\s+", " ", told)[:_WORDS]
    return f"where {shown} holds"


def _argument(argument: Argument) -> str:
    if argument.kind == "tag":
        return f":{argument.strings[0]}"
    return str(argument.number) if argument.kind == "number" else conditions.shown(list(argument.strings))
