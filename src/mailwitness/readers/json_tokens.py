"""Finding the parts of JSON text without recursion and without trusting it."""

from __future__ import annotations

import re

import msgspec

# Every string matches, also one that never ends: a pattern that could fail would be tried again from each
# escaped quote inside and take quadratic time. Possessive quantifiers for the same reason.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
STRING = re.compile(_STRING, re.DOTALL)
BRACKET_OR_STRING = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
# All up to the next bracket outside of strings. It is matched place after place and never searched: a search would go on inside of a string.
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+[\[\]{}]', re.DOTALL)
# The rest of a string that began earlier, and whether it ended.
STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_GAP = re.compile(rb"[ \t\r\n]*+")
_KEY = re.compile(rb"[ \t\r\n,]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^\s,\[\]{}\":]++", re.DOTALL)

QUOTE = 0x22
OPEN_BRACKETS = b"{["
# As long as what it stands for.
_MASKED = b"\x01\x01"
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class Member(msgspec.Struct, frozen=True):
    """Name one member of an object and its place; `end` is -1 when the value is cut off."""

    key: str
    start: int
    end: int


class Members(msgspec.Struct, frozen=True):
    """List the members of an object; `end` is the place after its closing brace, or -1."""

    members: list[Member]
    end: int


def skip_blank(text: bytes, start: int) -> int:
    """Return the first place at or after `start` that holds no JSON whitespace."""
    match = _GAP.match(text, start)
    return match.end() if match else start


def value_end(text: bytes, start: int, end: int | None = None, depth: int = 0) -> int:
    """Return the place after the bracket that closes the one at `start`, or -1 when it is not before `end`.

    With `depth`, the scan starts inside that many open brackets instead of at one. Which kind of bracket
    closes which is not checked: the caller decodes the bytes, and the decoder judges.
    """
    place, stop = start, len(text) if end is None else end
    while match := _TO_BRACKET.match(text, place, stop):
        place = match.end()
        depth += 1 if text[place - 1] in OPEN_BRACKETS else -1
        if depth <= 0:
            return place
    return -1


def end_within(text: bytes, start: int, end: int) -> int:
    """Return the same as `value_end`; quicker where the value ends with the last bracket before `end`, or not before it."""
    masked = text[start:end].replace(b"\\\\", _MASKED).replace(b'\\"', _MASKED)
    parts = masked.split(b'"')
    outside = b"".join(parts[::2])
    # Outside of strings a backslash escapes nothing.
    if b"\\" in outside or _MASKED[:1] in outside:
        return value_end(text, start, end)
    brackets = outside.translate(_ONE_KIND, _ALL_BUT_BRACKETS)
    if b"]" not in _unpaired(brackets[1:]):
        return -1
    last = max(parts[-1].rfind(b"}"), parts[-1].rfind(b"]")) if len(parts) % 2 else -1
    if last < 0 or brackets[-1:] != b"]" or _unpaired(brackets[1:-1]):
        return value_end(text, start, end)
    return end - len(parts[-1]) + last + 1


def _unpaired(brackets: bytes) -> bytes:
    before = -1
    while before != len(brackets):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
    return brackets


def read_members(text: bytes, start: int, stop: frozenset[str] = frozenset()) -> Members:
    """Return the members of the object whose first member (or closing brace) is looked for at `start`.

    Stops before a value that is cut off (listed with end -1), before damage, and at an array whose lower-case
    key is in `stop` (listed with end -1).
    """
    members: list[Member] = []
    place = start
    while key := _KEY.match(text, place):
        name = _text(key[1])
        begin = key.end()
        is_stop = name.lower() in stop and text[begin : begin + 1] == b"["
        place = -1 if is_stop else _end_of_value(text, begin)
        members.append(Member(name, begin, place))
        if place < 0:
            return Members(members, -1)
    place = skip_blank(text, place)
    return Members(members, place + 1 if text[place : place + 1] == b"}" else -1)


def _end_of_value(text: bytes, begin: int) -> int:
    if text[begin : begin + 1] in {b"{", b"["}:
        return value_end(text, begin)
    match = _SCALAR.match(text, begin)
    # A scalar that touches the end of the text may go on after it.
    return match.end() if match and match.end() < len(text) else -1


def _text(quoted: bytes) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return quoted.strip(b'"').decode("utf-8", "replace")
