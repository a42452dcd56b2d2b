"""Conditions of rules as SQL over one message of a trace: true, false, or null where the trace cannot tell.

SQL's own logic is the three-valued one that is needed: a rule for "subject contains invoice and body contains wire" is
false for a message without the subject and unknown, not true, for one with it.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mailwitness.tables import literal

Field = Literal["subject", "sender", "envelope", "recipient", "message id", "subject or body"]
Match = Literal["contains", "is", "fits"]

# Where a trace has what a condition speaks of; a null there is "the log does not say".
COLUMNS: dict[str, str] = {
    "subject": "m.Subject",
    "sender": "m.Sender",
    "envelope": "m.Envelope",
    "recipient": "m.Recipient",
    "message id": "m.MessageId",
    "subject or body": "m.Subject",
}
# A condition longer than this is some generated list; it is said, not run.
_LONGEST_SQL = 200_000
_WORDS_SHOWN = 300


class Condition(msgspec.Struct, frozen=True):
    """A condition in SQL and in words.

    Attributes:
        sql: Boolean over the row ``m`` of a message; null where it cannot be told.
        words: as they follow "the message", such as ``whose subject contains invoice``; empty for every message.
        unjudged: those parts in words that no trace can tell.
        sign: ``AND`` or ``OR`` where ``terms`` are joined by it; a chain of hundreds must not become as many brackets.
    """

    sql: str
    words: str = ""
    unjudged: tuple[str, ...] = ()
    sign: str = ""
    terms: tuple[str, ...] = ()


ALWAYS = Condition("true")
NEVER = Condition("false", "that cannot exist")


def unknown(words: str) -> Condition:
    """Return a condition that only the message itself could answer."""
    return Condition("NULL::BOOLEAN", words, (words,))


def shown(values: list[str]) -> str:
    """Return values as a sentence names them."""
    return " or ".join(values)[:_WORDS_SHOWN]


def compare(
    field: Field,
    match: Match,
    values: list[str],
    words: str,
    *,
    is_partial: bool = False,
    is_exact: bool = False,
    within: str = "",
) -> Condition:
    """Compare a field with values, any of which may fit.

    Args:
        field: what is compared.
        match: ``fits`` takes regular expressions in RE2's syntax.
        values: what is looked for.
        words: the condition in words.
        is_partial: the trace has a part of what the rule sees, so that only a hit is certain.
        is_exact: case counts.
        within: SQL with ``{column}`` for the part of the field that is compared, such as the domain of an address.
    """
    whole = within.replace("{column}", COLUMNS[field]) if within else COLUMNS[field]
    column, kept = (whole, values) if is_exact else (f"lower({whole})", [value.lower() for value in values])
    if match == "contains":
        tests = [f"contains({column}, {literal(value)})" for value in kept]
    elif match == "is":
        tests = [f"{column} = {literal(value)}" for value in kept]
    else:
        tests = [
            f"regexp_matches({whole}, {literal(value)}, '{'s' if is_exact else 'is'}')" for value in values
        ]
    sql = f"({' OR '.join(tests)})" if tests else "false"
    if is_partial or field == "subject or body":
        sql = f"(CASE WHEN {sql} THEN true END)"
        return _bounded(Condition(sql, words, (words,)))
    return _bounded(Condition(sql, words))


def glob(pattern: str) -> str:
    """Return a pattern with ``*`` and ``?`` as a regular expression; a backslash takes the next sign as it is (RFC 5228, 2.7.1)."""
    found = ["^"]
    signs = iter(pattern)
    for sign in signs:
        if sign == "\\":
            found.append(re.escape(next(signs, "\\")))
        else:
            found.append({"*": ".*", "?": "."}.get(sign) or re.escape(sign))
    return "".join(found) + "$"


def all_of(parts: list[Condition]) -> Condition:
    """Return the condition that all of them hold."""
    return _joined(parts, "AND", " and ", ALWAYS)


def any_of(parts: list[Condition]) -> Condition:
    """Return the condition that one of them holds."""
    return _joined(parts, "OR", " or ", NEVER)


def negate(part: Condition) -> Condition:
    """Return the condition that it does not hold."""
    if part.sql in {"true", "false"}:
        return NEVER if part.sql == "true" else ALWAYS
    words = f"unless it is one {part.words}" if part.words else ""
    return Condition(f"(NOT {part.sql})", words, part.unjudged)


def _joined(parts: list[Condition], sign: str, between: str, nothing: Condition) -> Condition:
    parts = [part for part in parts if part.sql != nothing.sql]
    if any(part.sql == ("false" if sign == "AND" else "true") for part in parts):
        return NEVER if sign == "AND" else ALWAYS
    if len(parts) < 2:  # noqa: PLR2004 - nothing to join
        return parts[0] if parts else nothing
    terms = tuple(
        dict.fromkeys(term for part in parts for term in (part.terms if part.sign == sign else (part.sql,)))
    )
    worded = list(dict.fromkeys(part.words for part in parts if part.words))
    unjudged = tuple(dict.fromkeys(words for part in parts for words in part.unjudged))
    sql = f"({f' {sign} '.join(terms)})"
    return _bounded(Condition(sql, between.join(worded), unjudged, sign, terms))


def _bounded(condition: Condition) -> Condition:
    if len(condition.sql) <= _LONGEST_SQL:
        return condition
    words = condition.words[:_WORDS_SHOWN]
    return Condition("NULL::BOOLEAN", words, (f"{words} (too long to be run)",))
