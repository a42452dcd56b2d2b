"""Regular expressions of other programs as RE2 runs them, in time linear in the text: or the reason why they are not run.

An expression comes from evidence. RE2 cannot be made to backtrack, and what it lacks (back references, looking around)
or means otherwise is refused and said, never approximated.

Sources: regex(7) (POSIX extended), pcrepattern(3), regexp_table(5) and pcre_table(5) of Postfix, RE2's syntax page.
"""

from __future__ import annotations

import re

import msgspec

_LONGEST = 4000
_CLASS = re.compile(r"\[(?::[a-z]+:)\]")
_INTERVAL = re.compile(r"\{\d{1,3}(?:,\d{0,3})?\}")
# Escapes that mean the same in PCRE and RE2.
_PCRE_ESCAPES = frozenset("dDsSwWbBnrtfaxAzQE")
# Escapes of GNU's regex that RE2 has.
_GNU_ESCAPES = frozenset("wWsSbB")


class Runnable(msgspec.Struct, frozen=True):
    """An expression in RE2's syntax; empty with a reason when it is not run."""

    pattern: str = ""
    reason: str = ""


def posix(expression: str) -> Runnable:
    """Translate a POSIX extended regular expression, as Sieve's ``:regex`` and Postfix's ``regexp:`` tables use it."""
    return _translated(expression, _GNU_ESCAPES, is_pcre=False)


def pcre(expression: str) -> Runnable:
    """Translate a Perl-compatible regular expression, as Postfix's ``pcre:`` tables use it."""
    if re.search(r"\(\?(?!:|[imsU]*(?:-[imsU]+)?[:)])|\(\*|[*+?}]\+", expression):
        return Runnable(reason="it looks around, names groups or does not give back")
    return _translated(expression, _PCRE_ESCAPES, is_pcre=True)


def _translated(expression: str, escapes: frozenset[str], *, is_pcre: bool) -> Runnable:
    if len(expression) > _LONGEST:
        return Runnable(reason=f"it is longer than {_LONGEST} characters")
    found: list[str] = []
    place = 0
    while place < len(expression):
        piece, step, reason = _piece(expression, place, escapes, is_pcre=is_pcre)
        if reason:
            return Runnable(reason=reason)
        found.append(piece)
        place += step
    return Runnable("".join(found))


def _piece(expression: str, place: int, escapes: frozenset[str], *, is_pcre: bool) -> tuple[str, int, str]:
    """Return the next part in RE2's syntax, its length, and why it is refused."""
    sign = expression[place]
    if sign == "\\":
        piece, reason = _escaped(expression[place : place + 2], escapes)
        return piece, 2, reason
    if sign == "[":
        return _bracket(expression, place, is_pcre=is_pcre)
    if sign == "{":
        interval = _INTERVAL.match(expression, place)
        if interval:
            return interval[0], len(interval[0]), ""
        return r"\{", 1, "" if is_pcre else "it has a brace that counts nothing"
    if expression.startswith("(?", place) and not is_pcre:
        return "", 0, "POSIX does not say what (? means"
    return sign, 1, ""


def _escaped(piece: str, escapes: frozenset[str]) -> tuple[str, str]:
    if len(piece) < 2:  # noqa: PLR2004 - a backslash and its sign
        return "", "it ends with a backslash"
    sign = piece[1]
    if sign.isdigit():
        return "", "it refers back to a group"
    if sign.isalpha() and sign not in escapes:
        return "", f"\\{sign} is not the same everywhere"
    if sign in "<>`'":
        return (
            ("", f"\\{sign} is not the same everywhere") if escapes is _GNU_ESCAPES else (re.escape(sign), "")
        )
    return (piece if sign.isalpha() else re.escape(sign)), ""


def _bracket(expression: str, start: int, *, is_pcre: bool) -> tuple[str, int, str]:
    """Return a bracket expression in RE2's syntax, its length, and why it is refused."""
    place = start + 1
    found = ["["]
    if expression.startswith("^", place):
        found.append("^")
        place += 1
    is_first = True
    while place < len(expression):
        sign = expression[place]
        if sign == "]" and not is_first:
            return "".join([*found, "]"]), place + 1 - start, ""
        is_first = False
        if sign == "[" and (named := _CLASS.match(expression, place)):
            found.append(named[0])
            place += len(named[0])
        elif expression.startswith(("[.", "[="), place):
            return "", 0, "it sorts by a language's order"
        elif sign == "\\" and is_pcre:
            piece, reason = _escaped(expression[place : place + 2], _PCRE_ESCAPES - frozenset("bBAzQE"))
            if reason:
                return "", 0, reason
            found.append(piece)
            place += 2
        else:
            found.append(sign if sign == "-" or sign.isalnum() else f"\\{sign}" if sign.isascii() else sign)
            place += 1
    return "", 0, "a bracket is not closed"
