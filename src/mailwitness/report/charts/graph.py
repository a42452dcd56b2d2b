"""Who acted through which session or address upon which mailbox: three columns, lines as thick as findings are many."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mailwitness.report.text import plain
from mailwitness.report.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.report.document import Case, Finding

ROW = 28
"""Pixels from one name to the next."""
_MOST = 12
_ROWS = 60
_UNKNOWN = "not known"


class Node(NamedTuple):
    """A name in a column; ``is_rest`` stands for all that did not fit."""

    label: str
    findings: int
    is_rest: bool


class Edge(NamedTuple):
    """A line between two neighbouring columns; y in pixels, width in pixels."""

    start: float
    end: float
    width: float
    title: str


class Graph(NamedTuple):
    """Three columns, the lines between them, the same as rows, and the same in words."""

    actors: tuple[Node, ...]
    ways: tuple[Node, ...]
    mailboxes: tuple[Node, ...]
    left: tuple[Edge, ...]
    right: tuple[Edge, ...]
    height: int
    rows: tuple[tuple[str, str, str, int], ...]
    rows_left: int
    description: str


def draw_graph(case: Case) -> Graph | None:
    """Draw who reached what; None when the case has one way only, which its facts say already."""
    paths = Counter(_path(finding) for finding in case.findings)
    paths.pop((_UNKNOWN, _UNKNOWN, _UNKNOWN), None)
    if len(paths) < 2:  # noqa: PLR2004 - a single line is no picture
        return None
    actors, ways, mailboxes = (_column(paths, at) for at in range(3))
    columns = (actors, ways, mailboxes)
    places = [{node.label: i for i, node in enumerate(column)} for column in columns]
    ranked = sorted(paths.items(), key=lambda pair: (-pair[1], pair[0]))
    names = [count_of(len({path[at] for path in paths} - {_UNKNOWN}), noun, plural) for at, noun, plural in (
        (0, "actor", ""), (1, "session or address", "sessions or addresses"), (2, "mailbox", "mailboxes"),
    )]  # fmt: skip
    first, count = ranked[0]
    return Graph(
        actors=actors,
        ways=ways,
        mailboxes=mailboxes,
        left=tuple(_edges(paths, places, 0)),
        right=tuple(_edges(paths, places, 1)),
        height=max(map(len, columns)) * ROW,
        rows=tuple((*path, number) for path, number in ranked[:_ROWS]),
        rows_left=max(0, len(ranked) - _ROWS),
        description=f"{', '.join(names)}; most findings: {first[0]} through {first[1]} in {first[2]}, {count}.",
    )


def _path(finding: Finding) -> tuple[str, str, str]:
    session, address = (plain(finding.entities.get(kind)) for kind in ("Session", "IP"))
    way = f"session {session}" if session else address
    # Addresses of people differ in case from record to record; they are one mailbox all the same.
    return finding.actor.lower() or _UNKNOWN, way or _UNKNOWN, finding.mailbox.lower() or _UNKNOWN


def _column(paths: Counter[tuple[str, str, str]], at: int) -> tuple[Node, ...]:
    counts: Counter[str] = Counter()
    for path, number in paths.items():
        counts[path[at]] += number
    ranked = sorted(counts.items(), key=lambda pair: (pair[0] == _UNKNOWN, -pair[1], pair[0]))
    if len(ranked) <= _MOST:
        return tuple(Node(label, number, is_rest=False) for label, number in ranked)
    rest = ranked[_MOST - 1 :]
    told = Node(f"{len(rest):,} more", sum(number for _, number in rest), is_rest=True)
    return (*(Node(label, number, is_rest=False) for label, number in ranked[: _MOST - 1]), told)


def _edges(paths: Counter[tuple[str, str, str]], places: list[dict[str, int]], at: int) -> Iterable[Edge]:
    """Join the names of two columns; what did not fit joins the last row."""
    counts: Counter[tuple[int, int]] = Counter()
    for path, number in paths.items():
        ends = [places[at + side].get(path[at + side], len(places[at + side]) - 1) for side in (0, 1)]
        counts[ends[0], ends[1]] += number
    most = max(counts.values())
    for (start, end), number in sorted(counts.items()):
        yield Edge(
            start=(start + 0.5) * ROW,
            end=(end + 0.5) * ROW,
            # The square root keeps one finding visible beside a thousand.
            width=round(1 + 5 * (number / most) ** 0.5, 1),
            title=count_of(number, "finding"),
        )
