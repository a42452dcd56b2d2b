"""Take a query apart: its pipelines with their tables and steps, and what is compared with which texts."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.kql import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_OPERATORS = {
    *("in", "has", "has_any", "has_all", "has_cs", "hasprefix", "hassuffix"),
    *("contains", "contains_cs", "startswith", "startswith_cs", "endswith", "endswith_cs"),
}


class Step(msgspec.Struct, frozen=True):
    """One step of a pipeline: its word (``where``, ``extend``, ...), its text and its tokens without the word."""

    word: str
    text: str
    tokens: tuple[Token, ...]


class Segment(msgspec.Struct, frozen=True):
    """A table and the steps that follow it, up to the end of its brackets or statement."""

    table: str
    steps: tuple[Step, ...]

    def texts(self, word: str) -> list[Step]:
        """Return the steps of one word."""
        return [step for step in self.steps if step.word == word]


class Comparison(msgspec.Struct, frozen=True):
    """A column compared with texts, as written."""

    column: str
    operator: str
    is_negated: bool
    values: tuple[str, ...]
    text: str


def literal(token: Token) -> str:
    """Return the value of a text token."""
    raw = token.text.lstrip("hH")
    if raw.startswith("@"):
        return raw[2:-1].replace(raw[1] * 2, raw[1])
    return re.sub(r"\\(.)", r"\1", raw[1:-1])


def segments(kql: str, tables: Collection[str]) -> list[Segment]:
    """Return the pipelines of a query in the order in which they are written."""
    listed = tokens(kql)
    found = []
    for i, token in enumerate(listed):
        before = listed[i - 1].text if i else ""
        if token.kind == "word" and token.text in tables and before not in {".", "$", "by", ","}:
            found.append(Segment(token.text, tuple(_steps(kql, listed, i))))
    return found


def _steps(kql: str, listed: Sequence[Token], at: int) -> Iterator[Step]:
    depth = listed[at].depth
    start: int | None = None
    for i in range(at + 1, len(listed) + 1):
        token = listed[i] if i < len(listed) else None
        over = token is None or token.depth < depth or (token.depth == depth and token.kind == "end")
        if start is not None and (
            over or (token is not None and token.kind == "pipe" and token.depth == depth)
        ):
            end = token.start if token is not None else len(kql)
            inner = tuple(listed[start + 1 : i])
            yield Step(listed[start].text, kql[listed[start].start : end].strip(), inner)
            start = None
        if over:
            return
        if token is not None and token.kind == "pipe" and token.depth == depth and i + 1 < len(listed):
            start = i + 1


def lists(kql: str) -> dict[str, list[str]]:
    """Return the texts of every ``let name = dynamic([...])``, by name."""
    listed = tokens(kql)
    found: dict[str, list[str]] = {}
    for i, token in enumerate(listed[:-2]):
        if token.text == "let" and listed[i + 2].text == "=":
            values: list[str] = []
            for later in listed[i + 3 :]:
                if later.kind == "end" and later.depth == token.depth:
                    break
                if later.kind == "pipe":
                    values = []
                    break
                if later.kind == "string":
                    values.append(literal(later))
            if values:
                found[listed[i + 1].text] = values
    return found


def comparisons(step: Step, named: dict[str, list[str]]) -> Iterator[Comparison]:
    """Yield each column that a step compares with texts; names of lists are replaced by their texts."""
    listed = step.tokens
    for i, token in enumerate(listed):
        if token.kind not in {"word", "close"}:
            continue
        at, operator, is_negated = _operator(listed, i + 1)
        values = _values(listed, at, named) if operator else ()
        if values:
            end = listed[min(at, len(listed) - 1)]
            column = token.text if token.kind == "word" else _inner_name(listed[:i])
            text = f"{column} {'!' if is_negated else ''}{operator} {end.text if end.kind != 'open' else '(...)'}"
            yield Comparison(column, operator, is_negated, values, text)


def _inner_name(before: Sequence[Token]) -> str:
    """Return the last name inside brackets that close here, such as ``MoveToFolder`` of ``tostring(Bag.MoveToFolder)``."""
    return next((token.text for token in reversed(before) if token.kind == "word"), "")


def _operator(listed: Sequence[Token], at: int) -> tuple[int, str, bool]:
    """Return where the right side begins, the operator and whether it is negated; an empty operator is none."""
    is_negated = False
    signs = ""
    while at < len(listed) and listed[at].kind == "other" and listed[at].text in "=!~<>":
        signs += listed[at].text
        at += 1
    if signs in {"==", "=~", "!=", "!~"}:
        return at, {"!=": "==", "!~": "=~"}.get(signs, signs), signs.startswith("!")
    is_negated = signs == "!"
    if at < len(listed) and listed[at].text.lower() in _OPERATORS and signs in {"", "!"}:
        word = listed[at].text.lower()
        at += 1
        if at < len(listed) and listed[at].text == "~":
            return at + 1, word + "~", is_negated
        return at, word, is_negated
    return at, "", False


def _values(listed: Sequence[Token], at: int, named: dict[str, list[str]]) -> tuple[str, ...]:
    if at >= len(listed):
        return ()
    first = listed[at]
    if first.kind == "string":
        return (literal(first),)
    if first.kind == "word" and first.text in named:
        return tuple(named[first.text])
    if first.kind != "open":
        return ()
    inner = itertools.takewhile(lambda token: token.depth > first.depth, listed[at + 1 :])
    found = [[literal(token)] if token.kind == "string" else named.get(token.text, []) for token in inner]
    return tuple(itertools.chain.from_iterable(found))
