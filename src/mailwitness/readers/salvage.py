"""Salvage: what can still be read of a truncated or damaged JSON object."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.readers.blocks import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

# Audit data is at most a dozen levels deep; what is deeper is an attack on readers.
_MAX_DEPTH = 200
# So deep complete values are looked for: each level reads again what the one above could not take.
_QUICK_DEPTH = 4
# A value with fewer brackets cannot be too deep.
_QUICK_BRACKETS = _MAX_DEPTH - _QUICK_DEPTH
_TOKEN = re.compile(
    r"""[\s\0]*+(?:
        (?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+")
      | (?P<mark>[{}\[\],:])
      | (?P<word>[^\s\0{}\[\],:"]++)
    )""",
    re.VERBOSE | re.DOTALL,
)
# A member with a plain value, and what follows it: most of a record, taken at once. A number at the very end may have lost digits.
_MEMBER = re.compile(
    r"""\s*+"(?P<key>[^"\\]*+)"\s*+:\s*+
        (?:"(?P<string>[^"\\]*+)" | (?P<number>-?(?:0|[1-9][0-9]{0,99})) | (?P<word>true|false|null))
        \s*+(?:,|(?=\}))""",
    re.VERBOSE,
)
# A surrogate pair is one character; half a pair is none, and no text with one can be written as UTF-8.
SURROGATE = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_CHECKER = msgspec.json.Decoder(msgspec.Raw)
_LONE_ESCAPE_LENGTH = len("\\ud800")

Container = dict[str, object] | list[object]


class Salvage(msgspec.Struct, frozen=True):
    """Hold what was read of an object; `incomplete` names the members of which parts are missing."""

    members: dict[str, object]
    is_whole: bool
    incomplete: list[str]


def salvage_json(data: bytes) -> tuple[dict[str, object], bool]:
    """Return the members of a JSON object that can still be read, and whether there are any.

    As `salvage`, for callers that need no more. Returns ({}, False) when nothing can be salvaged.
    """
    found = salvage(data)
    return found.members, bool(found.members)


def salvage(data: bytes, limit: int = MAX_RECORD_BYTES) -> Salvage:
    r"""Read as much of a JSON object as is certain.

    First as a whole, accepting what the database refuses and people still read: raw control characters, lone
    surrogates and bytes that are not UTF-8 (both become U+FFFD), NaN, text after the object. Otherwise member
    by member up to the first fault in the structure; a member whose value is no JSON (`undefined`, `01`) is
    left out. A string, number or word that touches the cut is left out, a nested value that is cut keeps its
    complete parts:

        {"Operation":"HardDelete","Folder":{"Path":"\\Inbox","Id":"Lg  ->  Operation, Folder.Path

    Of equal keys the first counts, as in the database. Never recursive; at most `limit` bytes are looked at.
    """
    text = SURROGATE.sub(whole_character, data[:limit].decode("utf-8", "replace"))
    start = text.find("{")
    if start < 0:
        return Salvage({}, is_whole=False, incomplete=[])
    # Half a surrogate pair counts as cut too, and is mended.
    if start == 0 and b"\\u" not in data and _is_cut(data):
        return _Salvager(text, start).run()
    try:
        value, _ = _WHOLE.raw_decode(text, start)
    except (ValueError, RecursionError):
        return _Salvager(text, start).run()
    return Salvage(value, is_whole=True, incomplete=[])


def _is_cut(data: bytes) -> bool:
    """Say whether a text is JSON as far as it goes: then no reader finds its end, however lenient."""
    try:
        _CHECKER.decode(data)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except RecursionError:
        return False
    return False


def whole_character(escape: re.Match[str]) -> str:
    """Return an escape as it is, half a surrogate pair as U+FFFD."""
    return "\\ufffd" if len(escape[0]) == _LONE_ESCAPE_LENGTH else escape[0]


def _first_of_equals(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


# One for all records: making a decoder costs more than what it reads of a small one.
_WHOLE = json.JSONDecoder(strict=False, object_pairs_hook=_first_of_equals)


class _Salvager:
    """Build the object token by token; `_open` holds the containers not closed yet, outermost first."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._place = start
        self._members: dict[str, object] = {}
        self._open: list[Container] = []
        self._keys: list[str] = []  # the key under which each open container but the first stands
        self._key: str | None = None
        self._skipped: list[str] = []

    def run(self) -> Salvage:
        self._open.append(self._members)
        self._place += 1
        while self._open and (self._take_member() or self._step()):
            pass
        cut = self._keys[:1] if len(self._open) > 1 else []
        incomplete = [key for key in dict.fromkeys(self._skipped + cut) if key in self._members]
        return Salvage(self._members, is_whole=False, incomplete=incomplete)

    def _take_member(self) -> bool:
        """Take a member of an object with a plain value in one call, as four tokens would be taken."""
        inner = self._open[-1]
        if self._key is not None or not isinstance(inner, dict):
            return False
        found = _MEMBER.match(self._text, self._place)
        if found is None:
            return False
        key, string, number, word = found.groups()
        inner.setdefault(key, string if string is not None else int(number) if number else _WORDS[word])
        self._place = found.end()
        return True

    def _step(self) -> bool:
        """Take one token; False where nothing after it can be trusted."""
        token = _TOKEN.match(self._text, self._place)
        if token is None:
            return False
        self._place = token.end()
        kind, text = token.lastgroup, token[token.lastindex or 0]
        if kind == "mark":
            return self._take_mark(text)
        if kind == "string" and self._key is None and isinstance(self._open[-1], dict):
            return self._take_key(text)
        return self._take_scalar(text, is_word=kind == "word")

    def _take_mark(self, mark: str) -> bool:
        inner = self._open[-1]
        if mark in "{[":
            return self._enter({} if mark == "{" else [])
        if mark in "}]":
            if isinstance(inner, dict) is not (mark == "}"):
                return False
            self._open.pop()
            if self._keys:
                self._keys.pop()
            self._key = None
            return True
        return mark == "," and self._key is None

    def _enter(self, container: Container) -> bool:
        if len(self._open) >= _MAX_DEPTH or not self._may_take_value():
            return False
        if len(self._open) <= _QUICK_DEPTH and self._take_complete(self._place - 1):
            return True
        key = self._key or ""
        self._put(container)
        self._open.append(container)
        self._keys.append(key)
        return True

    def _take_complete(self, start: int) -> bool:
        """Take a nested value in one call; False when it is cut or damaged, and has to be read token by token."""
        try:
            value, end = _WHOLE.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            return False
        if self._text.count("{", start, end) + self._text.count("[", start, end) >= _QUICK_BRACKETS:
            return False
        self._put(value)
        self._place = end
        return True

    def _may_take_value(self) -> bool:
        return self._key is not None or isinstance(self._open[-1], list)

    def _take_key(self, quoted: str) -> bool:
        colon = _TOKEN.match(self._text, self._place)
        if colon is None or colon[colon.lastindex or 0] != ":":
            return False
        self._place = colon.end()
        key = _decoded(quoted)
        self._key = key if isinstance(key, str) else None
        return self._key is not None

    def _take_scalar(self, text: str, *, is_word: bool) -> bool:
        # A number at the very end may have lost digits.
        if not self._may_take_value() or (is_word and self._place == len(self._text)):
            return False
        value = _decoded(text)
        if value is _NOTHING:
            self._skipped += self._keys[:1]
            self._key = None
            return True
        self._put(value)
        return True

    def _put(self, value: object) -> None:
        inner = self._open[-1]
        if isinstance(inner, list):
            inner.append(value)
        elif self._key is not None:
            inner.setdefault(self._key, value)
        self._key = None


_NOTHING = object()
_WORDS = {"true": True, "false": False, "null": None}
# One for all tokens: making a decoder costs five times what it takes to decode a word.
_DECODER = json.JSONDecoder(strict=False)


def _decoded(token: str) -> object:
    if token[0] == '"' and "\\" not in token:
        return token[1:-1]
    try:
        return _DECODER.decode(token)
    except ValueError:
        return _NOTHING
