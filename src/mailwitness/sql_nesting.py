"""Named steps of a translation that are used once are written where they are used.

The translator names every step of a query (``WITH _s0 AS (...), _s1 AS (...)``). The database takes each name for a query of its
own, which it binds, copies and puts into its place again; written as a query within a query, the same plan is made in three
quarters of the time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mailwitness.sql_tree import Group, is_blank, read, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailwitness.sql_tree import Node, Nodes

_BEFORE_A_TABLE = ("FROM", "JOIN")


def nested(sql: str) -> str:
    """Return a translation with the same rows in the same order, whose steps stand where they are used."""
    return written(_nested(read(sql)))


def _nested(nodes: Nodes) -> Nodes:
    listed: Nodes = [Group(_nested(node.nodes)) if isinstance(node, Group) else node for node in nodes]
    solid = [i for i, node in enumerate(listed) if not is_blank(node)]
    if not solid or listed[solid[0]] != "WITH":
        return listed
    steps: list[tuple[Node, Group]] = []
    at = 1
    while True:
        name, word, query = (listed[i] for i in solid[at : at + 3])
        if word != "AS" or not isinstance(query, Group):
            # MATERIALIZED, or a form that is not known: what somebody wants named stays named.
            return listed
        steps.append((name, query))
        at += 3
        if listed[solid[at]] != ",":
            return _written_in(steps, listed[solid[at] :])
        at += 1


def _written_in(steps: list[tuple[Node, Group]], body: Nodes) -> Nodes:
    """Return a query with those of its steps written in that are used once, as a table."""
    uses: Counter[str] = Counter()
    tables: Counter[str] = Counter()
    for nodes in (*(query.nodes for _, query in steps), body):
        _count(nodes, uses, tables)
    once = {name: query for name, query in steps if isinstance(name, str) and uses[name] == tables[name] == 1}
    begin: Nodes = []
    for name, query in steps:
        if name not in once:
            begin += [", ", name, " AS ", Group(_put(query.nodes, once))]
    return ["WITH ", *begin[1:], " ", *_put(body, once)] if begin else _put(body, once)


def _count(nodes: Iterable[Node], uses: Counter[str], tables: Counter[str]) -> None:
    """Count how often each word stands anywhere, and how often where a table is named."""
    before: Node = ""
    for node in nodes:
        if isinstance(node, str):
            uses[node] += 1
            tables[node] += before in _BEFORE_A_TABLE
        elif isinstance(node, Group):
            _count(node.nodes, uses, tables)
        else:
            for condition, result in node.branches:
                _count([*condition, *result], uses, Counter())
            _count([*node.subject, *(node.otherwise or [])], uses, Counter())
        before = before if is_blank(node) else node


def _put(nodes: Nodes, queries: Mapping[str, Group]) -> Nodes:
    """Return nodes with queries in the place of their names."""
    found: Nodes = []
    before: Node = ""
    for i, node in enumerate(nodes):
        if isinstance(node, Group):
            found.append(Group(_put(node.nodes, queries)))
        elif isinstance(node, str) and node in queries and before in _BEFORE_A_TABLE:
            behind = next((one for one in nodes[i + 1 :] if not is_blank(one)), "")
            query = Group(_put(queries[node].nodes, queries))
            found += [query] if behind == "AS" else [query, " AS ", node]
        else:
            found.append(node)
        before = before if is_blank(node) else node
    return found
