"""What is left of a translation when the operations of its records are known.

The parser of an audit log knows two hundred and fifty operations, and a log holds twenty of them. The cases for all others are
read, bound and optimised all the same, and nobody can tell what acts may come out before they are computed. Here the values
that a column can have are followed through a translation: cases that cannot occur are left out, and of a column that is
worked out by cases its possible values are known. A command has sixty parameters that a parser asks for, and the commands of a log
hold five of them: what no record holds is empty.

What is not understood may have any value, so that nothing is left out that could occur.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.sql_tree import Case, Group, read, split, without_blanks, words, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailwitness.sql_tree import Node, Nodes

_COMPARED = frozenset({"=", "<>", "IN", "LIKE", "ILIKE"})
# How a translation takes a value out of a bag.
_TAKEN = re.compile(r"\"(\w+)\" ->> '\$\.(\w+)'")
# Functions of texts alone, never null.
_OF_TEXTS = frozenset({"lower", "regexp_matches"})
# Only per cent signs at the ends: anything else in a pattern is left to the database.
_PATTERN = re.compile(r"(%?)([\x00-\x24\x26-\x5b\x5d\x5e\x60-\x7f]*)(%?)")

Values = frozenset[str | bool]
# Takes an expression over one column and the values of that column; returns the values of the expression.
Ask = Callable[[str, str, Collection[str]], Values]
# Takes a column with bags and names; returns those of the names that some bag has.
Held = Callable[[str, Collection[str]], Collection[str]]
_TRUE, _FALSE, _EITHER = Values({True}), Values({False}), Values({True, False})


class Narrowed(NamedTuple):
    """A translation without the cases that cannot occur, and the values that its columns can have."""

    sql: str
    values: dict[str, Values]


def narrowed(
    sql: str,
    column: str,
    values: Collection[str],
    *,
    columns: Collection[str],
    ask: Ask,
    held: Held = lambda _, names: names,
) -> Narrowed:
    """Return a translation as it is needed when a column of its table has only some values.

    Args:
        sql: as the translator writes it.
        column: of the table that it reads.
        values: all that the column can have.
        columns: all of that table.
        ask: computes an expression over a column for values of it.
        held: tells what its bags hold.
    """
    nodes = read(sql)
    known = _Known(nodes, columns, ask)
    known.leave_out_unheld(sql, held)
    known.follow(column, values)
    return Narrowed(written(known.pruned(nodes)), known.values)


class _Known:
    """The values that columns of a translation can have.

    Attributes:
        values: column -> its values; a column that is not here may have any.
    """

    def __init__(self, nodes: Nodes, columns: Collection[str], ask: Ask) -> None:
        self.values: dict[str, Values] = {}
        self._nodes = nodes
        self._ask = ask
        self._asked: dict[tuple[str, Values], Values] = {}
        self._columns = columns
        self._unheld: set[tuple[str, str]] = set()
        self._defined: dict[str, list[Nodes]] = {}
        for name, expression in _items(nodes):
            if _passed_on(expression) != name:
                self._defined.setdefault(name, []).append(expression)
        self._foreign = set(columns) - _made_first(written(nodes))

    def leave_out_unheld(self, sql: str, held: Held) -> None:
        """Find the values of bags that no record has."""
        names: dict[str, set[str]] = {}
        for bag, name in _TAKEN.findall(sql):
            names.setdefault(bag, set()).add(name)
        for bag, wanted in names.items():
            if column := self._stored(bag):
                there = held(column, sorted(wanted))
                self._unheld |= {(bag, name) for name in wanted.difference(there)}

    def _stored(self, name: str) -> str:
        """Return the column of the table that a name stands for everywhere; empty where it may stand for anything else."""
        defined = self._defined.get(name)
        sources = [name] if defined is None else [_passed_on(one) for one in defined]
        is_plain = (
            len(sources) == 1
            and sources[0] in self._columns
            and (sources[0] == name or sources[0] not in self._defined)
        )
        return sources[0] if is_plain else ""

    def follow(self, column: str, values: Collection[str]) -> None:
        """Find the values of all columns that follow from those of one."""
        ask = self._ask
        whole = written(self._nodes)
        for table, names, rows in _tables(self._nodes):
            key = self._single(names[0])
            joined = f'LEFT JOIN (SELECT * FROM {table}) AS _r ON _l."{names[0]}" IS NOT DISTINCT FROM _r."{names[0]}"'
            if key is None or _named(key) != {column} or joined not in whole or whole.count(table) != 2:  # noqa: PLR2004 - made and joined
                continue
            found = ask(written(key), column, values)
            kept = [(node, cells) for node, cells in rows.found if cells[0] in found]
            if found and found <= {cells[0] for _, cells in kept}:
                self.values[names[0]] = found
                rows.keep([node for node, _ in kept])
                self._looked_up(names[1:], [cells[1:] for _, cells in kept])
        _leave_out_filters(
            self._nodes, lambda part: _named(part) == {column} and ask(written(part), column, values) == _TRUE
        )
        for name in self._defined:
            expression = self._single(name)
            if expression is not None and name not in self.values and name not in self._foreign:
                possible = self.of(expression)
                if possible is not None:
                    self.values[name] = possible

    def _looked_up(self, names: Sequence[str], rows: list[Sequence[str]]) -> None:
        for i, name in enumerate(names):
            if name not in self._defined and name not in self._foreign:
                self.values[name] = Values(row[i] for row in rows)

    def _single(self, name: str) -> Nodes | None:
        """Return the only definition of a column."""
        found = self._defined.get(name, [])
        return found[0] if len(found) == 1 else None

    # -- expressions -------------------------------------------------------------------------

    def of(self, nodes: Nodes) -> Values | None:
        """Return the values of an expression, None when it may have any; what is returned is never null."""
        bare = without_blanks(nodes)
        if len(bare) == 1:
            return self._one(bare[0])
        if "BETWEEN" in bare or not bare:
            return None
        for word, decides in (("OR", _TRUE), ("AND", _FALSE)):
            parts = list(split(bare, word))
            if len(parts) > 1:
                return _together([self.of(part) for part in parts], decides)
        if bare[0] == "NOT":
            return _not(self.of(bare[1:]))
        if len(bare) == 2 and isinstance(bare[1], Group):  # noqa: PLR2004 - a name and its arguments
            return self._call(bare[0], bare[1].nodes)
        return self._compared(bare)

    def _one(self, node: Node) -> Values | None:
        if isinstance(node, Case):
            return self._case(node)
        if isinstance(node, Group):
            return self.of(node.nodes)
        if node in ("TRUE", "FALSE"):
            return _TRUE if node == "TRUE" else _FALSE
        if node[0] == "'":
            return Values({_unquoted(node)})
        return self.values.get(node[1:-1]) if node[0] == '"' else None

    def _call(self, name: Node, arguments: Nodes) -> Values | None:
        parts = list(split(arguments, ","))
        if name == "coalesce" and self._is_unheld(parts):
            return self.of(parts[1])
        first = self.of(parts[0])
        if name == "coalesce":
            return first
        if name in _OF_TEXTS:
            return self._of_texts(str(name), first, parts[1:])
        bare = without_blanks(arguments)
        if name == "CAST" and first is not None and bare[-2:] in (["AS", "BOOLEAN"], ["AS", "VARCHAR"]):
            inner = self.of(bare[:-2])
            kind = bool if bare[-1] == "BOOLEAN" else str
            return inner if inner is not None and all(isinstance(one, kind) for one in inner) else None
        return None

    def _is_unheld(self, parts: list[Nodes]) -> bool:
        """Tell whether the arguments of a ``coalesce`` are a value of a bag that no record has, and what stands for it."""
        if len(parts) != 2 or "->>" not in parts[0]:  # noqa: PLR2004 - value and substitute
            return False
        match = _TAKEN.fullmatch(written(parts[0]).strip())
        return match is not None and match.groups() in self._unheld

    def _of_texts(self, name: str, first: Values | None, others: list[Nodes]) -> Values | None:
        """Return what the database makes of texts with a function."""
        further = [self.of(one) for one in others]
        texts = [one for values in (first, *further) for one in values or (None,)]
        if (
            first is None
            or len(texts) != len(first) + len(others)
            or not all(isinstance(one, str) for one in texts)
        ):
            return None
        given = ["value", *(_quoted(str(one)) for one in texts[len(first) :])]
        asked = f"{name}({', '.join(given)})", first
        if asked not in self._asked:
            self._asked[asked] = self._ask(asked[0], "value", [str(one) for one in first])
        return self._asked[asked]

    def _compared(self, bare: Nodes) -> Values | None:
        places = [i for i, node in enumerate(bare) if isinstance(node, str) and node in _COMPARED]
        if len(places) != 1:
            return None
        at = places[0]
        sign, is_not = bare[at], bare[at - 1] == "NOT"
        left = self.of(bare[: at - is_not])
        right = self._listed(bare[at + 1 :]) if sign == "IN" else self.of(bare[at + 1 :])
        if left is None or right is None:
            return None
        if sign in {"LIKE", "ILIKE"}:
            found = _matched(left, right, is_folded=sign == "ILIKE")
        elif sign != "IN" and len(right) > 1:
            return None
        else:
            found = Values(one in right for one in left)
        return _not(found) if is_not or sign == "<>" else found

    def _listed(self, nodes: Nodes) -> Values | None:
        if len(nodes) != 1 or not isinstance(nodes[0], Group):
            return None
        parts = [self.of(part) for part in split(nodes[0].nodes, ",")]
        # Only what is written down: a column's possible values are not all there at once.
        return _united(parts) if all(part is not None and len(part) == 1 for part in parts) else None

    def _case(self, case: Case) -> Values | None:
        if without_blanks(case.subject):
            return None
        found = []
        for condition, result in case.branches:
            holds = self.of(condition)
            if holds != _FALSE:
                found.append(self.of(result))
            if holds == _TRUE:
                return _united(found)
        return None if case.otherwise is None else _united([*found, self.of(case.otherwise)])

    # -- what cannot occur -------------------------------------------------------------------

    def pruned(self, nodes: Nodes) -> Nodes:
        """Return the same without the cases that cannot occur."""
        found: Nodes = []
        for node in nodes:
            parts = (
                list(split(node.nodes, ",")) if isinstance(node, Group) and found[-1:] == ["coalesce"] else []
            )
            if self._is_unheld(parts):
                found[-1] = Group(self.pruned(parts[1]))
            else:
                found.append(node if isinstance(node, str) else self._pruned(node))
        return found

    def _pruned(self, node: Group | Case) -> Node:
        if isinstance(node, Group):
            return Group(self.pruned(node.nodes))
        branches: list[tuple[Nodes, Nodes]] = []
        otherwise = node.otherwise
        for condition, result in node.branches:
            holds = None if without_blanks(node.subject) else self.of(condition)
            if holds == _TRUE:
                otherwise = result
                break
            if holds != _FALSE:
                branches.append((self.pruned(condition), self.pruned(result)))
        if otherwise is not None and not branches:
            return Group(self.pruned(otherwise))
        # Without ELSE the type of the value stands in the branches alone.
        kept = branches or [(self.pruned(a), self.pruned(b)) for a, b in node.branches[-1:]]
        return Case(node.subject, kept, None if otherwise is None else self.pruned(otherwise))


class _Rows(NamedTuple):
    """The rows of a list of values, in their place within the translation."""

    place: Nodes
    found: list[tuple[Node, list[str]]]

    def keep(self, rows: list[Node]) -> None:
        """Leave only these rows, at least one."""
        self.place[:] = ["VALUES", " ", *(word for row in rows for word in (row, ", "))][:-1]


def _tables(nodes: Nodes) -> Iterator[tuple[str, list[str], _Rows]]:
    """Yield the lists of texts that a translation looks up: quoted name, columns, rows."""
    bare = without_blanks(nodes)
    for i, node in enumerate(bare):
        inner = bare[i + 2] if bare[i + 1 : i + 2] == ["AS"] and len(bare) > i + 2 else None
        if isinstance(node, str) and node[0] == '"' and isinstance(inner, Group):
            parts = without_blanks(inner.nodes)
            if [*parts[:3], *parts[4:6]] == ["SELECT", "*", "FROM", "AS", "_dt"]:
                rows = _rows(parts[3])
                names = [one[1:-1] for one in without_blanks(parts[6].nodes) if one != ","] if isinstance(parts[6], Group) else []  # fmt: skip
                if rows is not None and all(len(cells) == len(names) for _, cells in rows.found):
                    yield node, [str(name) for name in names], rows
        if isinstance(node, Group):
            yield from _tables(node.nodes)


def _rows(node: Node) -> _Rows | None:
    """Return the rows of ``VALUES (CAST('a' AS VARCHAR), ...), ...``; None when a cell is anything else."""
    if not isinstance(node, Group) or without_blanks(node.nodes)[:1] != ["VALUES"]:
        return None
    found: list[tuple[Node, list[str]]] = []
    for row in without_blanks(node.nodes)[1:]:
        if isinstance(row, Group):
            cells = [_cell(part) for part in split(row.nodes, ",")]
            if None in cells:
                return None
            found.append((row, [str(cell) for cell in cells]))
    return _Rows(node.nodes, found)


def _cell(nodes: Nodes) -> str | None:
    bare = without_blanks(nodes)
    inner = without_blanks(bare[1].nodes) if len(bare) == 2 and isinstance(bare[1], Group) else []  # noqa: PLR2004 - CAST(...)
    is_text = bare[0] == "CAST" and inner[1:] == ["AS", "VARCHAR"]
    return _unquoted(inner[0]) if is_text and isinstance(inner[0], str) and inner[0][0] == "'" else None


def _items(nodes: Nodes) -> Iterator[tuple[str, Nodes]]:
    """Yield every ``expression AS "name"`` in its order."""
    start = 0
    for i, node in enumerate(nodes):
        if isinstance(node, Group):
            yield from _items(node.nodes)
        elif isinstance(node, Case):
            continue
        elif node in {",", "SELECT", "DISTINCT"}:
            start = i + 1
        elif node == "AS":
            name = next((one for one in nodes[i + 1 :] if not (isinstance(one, str) and one.isspace())), "")
            if isinstance(name, str) and name[:1] == '"':
                yield name[1:-1], nodes[start:i]


def _leave_out_filters(nodes: Nodes, holds_always: Callable[[Nodes], bool]) -> None:
    """Take the filters away that every row of a translation's table passes: the database would not read fewer rows for them."""
    for node in nodes:
        if isinstance(node, Group):
            _leave_out_filters(node.nodes, holds_always)
    places = [i for i, node in enumerate(nodes) if node == "WHERE"]
    if len(places) == 1 and without_blanks(nodes)[:4] == ["SELECT", "*", "FROM", "_s0"]:
        at = places[0]
        if holds_always(nodes[at + 1 :]):
            del nodes[at:]


def _made_first(sql: str) -> set[str]:
    """Return the names that are given to something before anything of that name is read."""
    seen: set[str] = set()
    found = set()
    before = ""
    for word in words(sql):
        if word[0] == '"' and word not in seen:
            seen.add(word)
            found |= {word[1:-1]} if before == "AS" else set()
        before = before if word.isspace() else word
    return found


def _passed_on(nodes: Nodes) -> str:
    """Return the name of a column that an item only passes on."""
    bare = without_blanks(nodes)
    if len(bare) == 3 and bare[0] in ("_l", "_r") and bare[1] == ".":  # noqa: PLR2004 - side, dot, column
        bare = bare[2:]
    return bare[0][1:-1] if len(bare) == 1 and isinstance(bare[0], str) and bare[0][0] == '"' else ""


def _named(nodes: Nodes) -> set[str]:
    """Return the columns that an expression names."""
    return {word[1:-1] for word in words(written(nodes)) if word[0] == '"'}


def _together(parts: list[Values | None], decides: Values) -> Values | None:
    """Return the values of parts joined by ``or`` (which TRUE decides) or by ``and`` (which FALSE decides)."""
    if decides in parts:
        return decides
    if None in parts or not all(part and part <= _EITHER for part in parts):
        return None
    undecided = any(part == _EITHER for part in parts)
    return _EITHER if undecided else _not(decides)


def _not(values: Values | None) -> Values | None:
    return None if values is None or not values <= _EITHER else Values(not one for one in values)


def _united(parts: Sequence[Values | None]) -> Values | None:
    return None if None in parts else Values().union(*(part for part in parts if part is not None))


def _matched(values: Values, patterns: Values, *, is_folded: bool) -> Values | None:
    """Return whether values match a pattern that has its wildcards at the ends; None for any other pattern."""
    match = _PATTERN.fullmatch(str(next(iter(patterns)))) if len(patterns) == 1 else None
    if match is None or not all(isinstance(one, str) and one.isascii() for one in values):
        return None
    begin, text, end = match.groups()
    form = re.compile(
        (".*" if begin else "") + re.escape(text) + (".*" if end else ""),
        re.DOTALL | (re.IGNORECASE if is_folded else 0),
    )
    return Values(form.fullmatch(str(one)) is not None for one in values)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unquoted(word: str) -> str:
    return word[1:-1].replace("''", "'")
