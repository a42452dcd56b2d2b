"""Event logs read one after the other and written as portions of lines, in a process of its own where there is much to read.

The package that reads logs and the work between its records keep one core busy. Nothing here knows the database.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers import evtx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailwitness.readers.evtx import Piece

# Number of the log that is being read, for whoever comes after a reader that died.
_MARK = "logs.reading"
_MARK_BYTES = 8


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """A piece of a log in a portion.

    Attributes:
        log: which log.
        row: row of the portion at which it begins.
        position: number of its first record among all of its log.
        item: the piece, without its texts.
        first: text of its first record; empty where it is damaged.
    """

    log: int
    row: int
    position: int
    item: Piece
    first: str


@dataclass(eq=False, slots=True)
class Portion:
    """Records of one or more logs, written as lines.

    Attributes:
        path: the file of lines.
        size: its bytes.
        rows: how many lines.
        largest: the most bytes that a line may have.
        stretches: what stands in it, in order.
        ended: logs of which nothing follows.
    """

    path: Path
    size: int = 0
    rows: int = 0
    largest: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Order:
    """What to read.

    Attributes:
        logs: file and exhibit of each log.
        work: folder of the portions.
        keys: members of a line for its exhibit, for by how much its number is above that of its line, and for whether it is salvaged.
        size: bytes of a portion.
        log: the first log to read.
        position: its first record that is wanted.
        deadly: logs that a reader died of.
        number: of the first portion.
    """

    logs: list[tuple[Path, str]]
    work: Path
    keys: tuple[str, str, str]
    size: int
    log: int = 0
    position: int = 0
    deadly: set[int] = field(default_factory=set)
    number: int = 0


def portions(order: Order) -> Iterator[Portion]:
    """Yield portion after portion; each is complete."""
    mark = os.open(order.work / _MARK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        yield from _portions(order, mark)
    finally:
        os.close(mark)


def _portions(order: Order, mark: int) -> Iterator[Portion]:
    writer = _Writer(order)
    for log in range(order.log, len(order.logs)):
        os.pwrite(mark, log.to_bytes(_MARK_BYTES, "little"), 0)
        wanted = order.position if log == order.log else 0
        position = wanted if log in order.deadly else 0
        for item in _pieces(order, log):
            if position >= wanted:
                writer.add(log, position, item)
            position += len(item.offsets)
            if writer.portion.size >= order.size:
                yield writer.end()
                writer = _Writer(order)
        writer.portion.ended.append(log)
    yield writer.end()


def _pieces(order: Order, log: int) -> Iterator[Piece]:
    path = order.logs[log][0]
    if log not in order.deadly:
        return evtx.pieces(path)
    size = np.array([path.stat().st_size])
    return iter([evtx.Piece([], size * 0, size, reason="the reader of event logs died of it")])


class _Writer:
    """Writes a portion."""

    def __init__(self, order: Order) -> None:
        order.number += 1
        self.portion = Portion(order.work / f"logs{order.number}.lines")
        self._order = order
        self._handle = self.portion.path.open("wb")

    def add(self, log: int, position: int, item: Piece) -> None:
        """Write the records of a piece, each with its exhibit, and by how much its number differs from its line's."""
        portion = self.portion
        portion.stretches.append(
            Stretch(log, portion.rows, position, item, item.texts[0] if item.texts else "")
        )
        if not item.texts:
            return
        exhibit, number, salvaged = self._order.keys
        own = f'"{exhibit}":"{self._order.logs[log][1]}","{number}":{position - portion.rows},"{salvaged}":{str(item.salvaged).lower()},'
        portion.size += self._handle.write(evtx.lines(item.texts, own))
        # A character has four bytes at most.
        portion.largest = max(portion.largest, 4 * (len(own) + max(map(len, item.texts))))
        portion.rows += len(item.texts)
        item.texts.clear()

    def end(self) -> Portion:
        """Return the portion, complete."""
        self._handle.close()
        return self.portion


# -- in a process of its own -------------------------------------------------------------------------------------------------

_RUNNING: list[Iterator[Portion]] = []


def begin(order: Order) -> None:
    """Prepare a process to answer `following`; to stop it is its parent's part."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _RUNNING.append(portions(order))


def following() -> Portion | None:
    """Return the next portion, in the process that was prepared by `begin`."""
    return next(_RUNNING[-1], None)


def last_read(work: Path) -> int:
    """Return which log a reader was at; -1 when none began."""
    try:
        mark = (work / _MARK).read_bytes()
    except FileNotFoundError:
        return -1
    return int.from_bytes(mark, "little") if mark else -1
