"""The grammar of Sieve scripts: text to commands, tests and arguments, or a place at which it cannot be read.

Written after RFC 5228, section 8. A script is an attacker's text: size, depth and the number of words are bounded, and
what does not fit the grammar raises, so that nothing of it is guessed.

One line: ``if header :contains "subject" ["invoice", "MFA"] { discard; stop; }``
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

# Pigeonhole takes scripts of up to 1 MiB by default (sieve_max_script_size).
_LONGEST = 1 << 20
# Each level is a call; Pigeonhole itself stops at 32 nested blocks or tests.
_DEEPEST = 32
_MOST_WORDS = 50_000
_WORD = re.compile(
    r"""(?P<blank>[ \t\r\n]+|\#[^\n]*|/\*.*?\*/)"""
    r"""|(?P<multiline>text:[ \t]*(?:\#[^\n]*)?\r?\n)"""
    r"""|(?P<number>\d+[KkMmGg]?)(?![A-Za-z0-9_])"""
    r"""|(?P<tag>:[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<string>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<sign>[\[\]{}(),;])""",
    re.DOTALL,
)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Unreadable(ValueError):
    """The script does not fit the grammar; the message names the line."""


class Word(msgspec.Struct, frozen=True):
    """One word of a script: its kind, its text without quotes, and its line."""

    kind: str
    text: str
    line: int


class Argument(msgspec.Struct, frozen=True):
    """An argument: a ``tag`` without its colon, a ``number``, or ``strings``."""

    kind: str
    strings: tuple[str, ...] = ()
    number: int = 0


class Test(msgspec.Struct, frozen=True):
    """A test such as ``header`` with its arguments, or ``anyof`` with further tests."""

    name: str
    arguments: tuple[Argument, ...]
    tests: tuple[Test, ...]
    line: int


class Command(msgspec.Struct, frozen=True):
    """A command; ``block`` is None where the grammar has a semicolon."""

    name: str
    arguments: tuple[Argument, ...]
    tests: tuple[Test, ...]
    block: tuple[Command, ...] | None
    line: int


def parse(text: str) -> tuple[Command, ...]:
    """Return the commands of a script in their order.

    Raises:
        Unreadable: it is too long, too deep, or no Sieve.
    """
    if len(text) > _LONGEST:
        message = f"the script has more than {_LONGEST} characters"
        raise Unreadable(message)
    parser = _Parser(list(_words(text.removeprefix("\ufeff"))))
    found = parser.commands(0)
    parser.expect_end()
    return found


def _words(text: str) -> Iterator[Word]:
    place, line, number = 0, 1, 0
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None or not match.lastgroup:
            message = f"line {line}: {text[place : place + 20]!r} is no word of Sieve"
            raise Unreadable(message)
        kind, found = match.lastgroup, match[0]
        end = match.end()
        if kind == "multiline":
            found, end = _multiline(text, end, line)
            yield Word("string", found, line)
        elif kind == "string":
            yield Word("string", re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL), line)
        elif kind != "blank":
            yield Word(kind, found, line)
        number += 1
        if number > _MOST_WORDS:
            message = f"line {line}: the script has more than {_MOST_WORDS} words"
            raise Unreadable(message)
        line += text.count("\n", place, end)
        place = end


def _multiline(text: str, start: int, line: int) -> tuple[str, int]:
    """Return what stands up to the line with a single dot; a line that begins with a dot has one more."""
    end = re.compile(r"^\.\r?(?:\n|\Z)", re.MULTILINE).search(text, start)
    if end is None:
        message = f"line {line}: the text has no end"
        raise Unreadable(message)
    return re.sub(r"^\.\.", ".", text[start : end.start()], flags=re.MULTILINE), end.end()


class _Parser:
    def __init__(self, words: list[Word]) -> None:
        self._words = words
        self._place = 0

    def commands(self, depth: int) -> tuple[Command, ...]:
        found = []
        while self._peek().kind == "name":
            found.append(self._command(depth))
        return tuple(found)

    def expect_end(self) -> None:
        word = self._peek()
        if word.kind != "end":
            message = f"line {word.line}: {word.text!r} stands where a command belongs"
            raise Unreadable(message)

    def _command(self, depth: int) -> Command:
        name = self._take("name")
        if depth > _DEEPEST:
            message = f"line {name.line}: it is nested deeper than {_DEEPEST} levels"
            raise Unreadable(message)
        arguments, tests = self._arguments(depth)
        if self._peek().text == "{" and self._peek().kind == "sign":
            self._sign("{")
            block = self.commands(depth + 1)
            self._sign("}")
            return Command(name.text.lower(), arguments, tests, block, name.line)
        self._sign(";")
        return Command(name.text.lower(), arguments, tests, None, name.line)

    def _arguments(self, depth: int) -> tuple[tuple[Argument, ...], tuple[Test, ...]]:
        found: list[Argument] = []
        while (word := self._peek()).kind in {"tag", "number", "string"} or word.text == "[":
            found.append(self._argument())
        if word.kind == "name":
            return tuple(found), (self._test(depth + 1),)
        if word.kind == "sign" and word.text == "(":
            return tuple(found), self._tests(depth + 1)
        return tuple(found), ()

    def _argument(self) -> Argument:
        word = self._next()
        if word.kind == "tag":
            return Argument("tag", (word.text[1:].lower(),))
        if word.kind == "number":
            unit = _UNITS.get(word.text[-1].lower(), 1)
            return Argument("number", number=int(word.text.rstrip("KkMmGg")[:18]) * unit)
        if word.kind == "string":
            return Argument("strings", (word.text,))
        strings = [self._take("string").text]
        while self._peek().text == "," and self._peek().kind == "sign":
            self._sign(",")
            strings.append(self._take("string").text)
        self._sign("]")
        return Argument("strings", tuple(strings))

    def _test(self, depth: int) -> Test:
        name = self._take("name")
        if depth > _DEEPEST:
            message = f"line {name.line}: it is nested deeper than {_DEEPEST} levels"
            raise Unreadable(message)
        arguments, tests = self._arguments(depth)
        return Test(name.text.lower(), arguments, tests, name.line)

    def _tests(self, depth: int) -> tuple[Test, ...]:
        self._sign("(")
        found = [self._test(depth)]
        while self._peek().text == ",":
            self._sign(",")
            found.append(self._test(depth))
        self._sign(")")
        return tuple(found)

    def _peek(self) -> Word:
        if self._place < len(self._words):
            return self._words[self._place]
        return Word("end", "the end", self._words[-1].line if self._words else 1)

    def _next(self) -> Word:
        word = self._peek()
        self._place += 1
        return word

    def _take(self, kind: str) -> Word:
        word = self._next()
        if word.kind != kind:
            message = f"line {word.line}: {word.text[:40]!r} stands where a {kind} belongs"
            raise Unreadable(message)
        return word

    def _sign(self, sign: str) -> None:
        word = self._next()
        if word.kind != "sign" or word.text != sign:
            message = f"line {word.line}: {word.text[:40]!r} stands where {sign!r} belongs"
            raise Unreadable(message)
