"""A translation taken apart at its brackets and cases, so that parts of it can be left out or moved.

This is no parser of SQL: words and signs stay as they stand, and what is put together again is the same text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*|\s+|[^\s'"A-Za-z_(),]+|.""", re.DOTALL
)


class Group(NamedTuple):
    """What stands in round brackets."""

    nodes: list[Node]


class Case(NamedTuple):
    """``CASE WHEN ... THEN ... ELSE ... END``; ``subject`` is what stands before the first WHEN."""

    subject: list[Node]
    branches: list[tuple[list[Node], list[Node]]]
    otherwise: list[Node] | None


Node = str | Group | Case
Nodes = list[Node]


def words(sql: str) -> list[str]:
    """Return the words, quoted texts, signs and blanks of a translation; joined they are the same text."""
    return _TOKEN.findall(sql)


def read(sql: str) -> Nodes:
    """Take a translation apart."""
    return _Reader(words(sql)).nodes()


class _Reader:
    def __init__(self, listed: list[str]) -> None:
        self._words = listed
        self._at = 0

    def nodes(self, ends: Collection[str] = ()) -> Nodes:
        """Return what stands before the next of ``ends``, which is left to be read."""
        found: Nodes = []
        while self._at < len(self._words):
            word = self._words[self._at]
            if word in ends:
                break
            self._at += 1
            if word == "(":
                found.append(Group(self.nodes((")",))))
                self._at += 1
            elif word == "CASE":
                found.append(self._case())
            else:
                found.append(word)
        return found

    def _case(self) -> Case:
        subject = self.nodes(("WHEN", "END"))
        branches: list[tuple[Nodes, Nodes]] = []
        otherwise: Nodes | None = None
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if word == "WHEN":
                condition = self.nodes(("THEN", "END"))
                self._at += 1
                branches.append((condition, self.nodes(("WHEN", "ELSE", "END"))))
            elif word == "ELSE":
                otherwise = self.nodes(("END",))
            else:
                break
        return Case(subject, branches, otherwise)


def is_blank(node: Node) -> bool:
    """Tell whether a node is nothing but white space."""
    return isinstance(node, str) and node.isspace()


def without_blanks(nodes: Nodes) -> Nodes:
    """Return nodes without blanks, and without brackets around all of them."""
    found = [node for node in nodes if not is_blank(node)]
    while len(found) == 1 and isinstance(found[0], Group):
        found = [node for node in found[0].nodes if not is_blank(node)]
    return found


def split(nodes: Nodes, word: str) -> Iterator[Nodes]:
    """Yield what stands between the places of a word; what is within brackets is not looked at."""
    start = 0
    for i, node in enumerate(nodes):
        if node == word:
            yield nodes[start:i]
            start = i + 1
    yield nodes[start:]


def written(nodes: Nodes) -> str:
    """Put nodes together again."""
    return "".join(_of(node) for node in nodes)


def _of(node: Node) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, Group):
        return f"({written(node.nodes)})"
    cases = "".join(f"WHEN{written(condition)}THEN{written(result)}" for condition, result in node.branches)
    otherwise = "" if node.otherwise is None else f"ELSE{written(node.otherwise)}"
    return f"CASE{written(node.subject)}{cases}{otherwise}END"
