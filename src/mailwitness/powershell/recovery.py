"""Words of a damaged PowerShell text: enough of its grammar to find commands where no syntax tree can be had.

A command begins at the start of a line, or after one of ``; | & { ( =``; its words end at blanks outside quotes and brackets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Verb-Noun, or a word that could be an alias; quotes and backticks inside a word only hide its letters.
_START = re.compile(r"(?:^|[;|&{(=\r\n])[ \t]*(?:&[ \t]*)?(?=[A-Za-z?%`'\"])")
_WORD_END = frozenset(" \t\r\n;|&})")
_OPENING = {"(": ")", "{": "}", "[": "]"}
_MOST_WORDS = 500


def commands(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield start, end and words of each piece of the text that looks like a command."""
    at = 0
    while True:
        match = _START.search(text, at)
        if match is None:
            return
        start = match.end()
        words, end = _words(text, start)
        if words:
            name = re.sub(r"[`'\"]", "", words[0])
            yield start, end, [name, *words[1:]]
        at = max(end, start, at + 1)


def _words(text: str, at: int) -> tuple[list[str], int]:
    words: list[str] = []
    while at < len(text) and len(words) < _MOST_WORDS:
        if text[at] in " \t":
            at += 1
        elif (text[at] == "`" and text[at + 1 : at + 3] == "\r\n") or text[at : at + 2] == "`\n":
            at += 3 if text[at + 1] == "\r" else 2
        elif text[at] in _WORD_END:
            break
        else:
            end = _word_end(text, at)
            word = text[at:end]
            at = end
            # -Switch:$false: the value may follow the colon without a blank.
            name, colon, value = word.partition(":")
            if word.startswith("-") and colon and value:
                words += [name + colon, value]
            else:
                words.append(word)
    return words, at


def _word_end(text: str, at: int) -> int:
    closing: list[str] = []
    while at < len(text):
        letter = text[at]
        if letter in "'\"":
            at = _quote_end(text, at)
            continue
        if letter == "`":
            at += 2
            continue
        if letter in _OPENING:
            closing.append(_OPENING[letter])
            if len(closing) > 1000:  # noqa: PLR2004 - deeper than any written by people
                return at
        elif closing and letter == closing[-1]:
            closing.pop()
        elif not closing and letter in _WORD_END:
            return at
        at += 1
    return at


def _quote_end(text: str, at: int) -> int:
    quote = text[at]
    at += 1
    while at < len(text):
        if text[at] == "`" and quote == '"':
            at += 2
        elif text[at] == quote:
            if text[at + 1 : at + 2] != quote:
                return at + 1
            at += 2
        else:
            at += 1
    return at
