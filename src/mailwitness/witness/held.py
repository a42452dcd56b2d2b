"""What the witness holds of one client, put in order for a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from mailwitness.errors import StoreDamaged, WitnessError, WitnessRefused
from mailwitness.witness import segments
from mailwitness.witness.alignment import align
from mailwitness.witness.heads import Head, Rotation, is_trusted, newest
from mailwitness.witness.merkle import MemoryNodes, Tree, leaf_hash
from mailwitness.witness.observed import HAPPENINGS, Observed, parse
from mailwitness.witness.records import Kind
from mailwitness.witness.records import parse as parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.witness.client import Client

_DAMAGED = "Ask who runs the witness, and compare with the copies of heads and segments elsewhere."


class Line(NamedTuple):
    """A line as the witness has it.

    Attributes:
        number: of the record in the log; -1 for none.
        body: the line with its line feed.
        received_us: when the witness received it.
        is_late: it first appeared among lines that had been shipped without it.
    """

    number: int
    body: bytes
    received_us: int
    is_late: bool = False


class Source(Protocol):
    """Where the witness's records come from."""

    head: Head
    rotations: list[Rotation]

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and stored bytes of all records under the head."""

    def path(self, number: int) -> list[bytes]:
        """Return the proof that a record is under the head."""


class LocalSource:
    """A witness's folder on this machine, or a copy of it; everything is read and the head computed again.

    Args:
        folder: the store with ``segments`` and ``heads.jsonl``.
        pinned: public key to trust, hexadecimal; empty takes the key of the head as it is.

    Raises:
        StoreDamaged: the records do not lead to the newest head.
        WitnessError: there is no head yet, or its key does not follow from the pinned one.
    """

    def __init__(self, folder: Path, pinned: str) -> None:
        self._folder = folder
        heads = folder / "heads.jsonl"
        self.rotations = _rotations(folder)
        self.head = _newest(heads)
        _trust(self.head, self.rotations, pinned, str(heads))
        self._tree = Tree(MemoryNodes())
        batch: list[bytes] = []
        for placed in segments.scan(folder / "segments"):
            if placed.number >= self.head.size:
                break
            batch.append(leaf_hash(placed.payload))
        self._tree.append(batch)
        if self._tree.size != self.head.size or self._tree.root().hex() != self.head.root:
            message = f"its {self._tree.size} records do not lead to the signed head of {self.head.size}"
            raise StoreDamaged(message, place=str(folder), remedy=_DAMAGED)

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and stored bytes of all records under the head."""
        for placed in segments.scan(self._folder / "segments"):
            if placed.number >= self.head.size:
                return
            yield placed.number, placed.payload

    def path(self, number: int) -> list[bytes]:
        """Return the proof that a record is under the head."""
        return self._tree.inclusion(number, self.head.size)


class RemoteSource:
    """A running witness, read with a reader's key; every record that matters is proved against its head.

    Raises:
        WitnessError: it does not answer, or its key does not follow from the pinned one.
    """

    def __init__(self, client: Client, pinned: str) -> None:
        self._client = client
        answer = client.head()
        self.head, self.rotations = answer.head, answer.rotations
        _trust(self.head, self.rotations, pinned, "the witness")

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and stored bytes of all records under the head; all of them have to lead to it."""
        tree = Tree(MemoryNodes())
        for number, payload in self._client.records():
            if number >= self.head.size:
                break
            tree.append([leaf_hash(payload)])
            yield number, payload
        if tree.size != self.head.size or tree.root().hex() != self.head.root:
            raise WitnessRefused(
                "what the witness hands out does not lead to its signed head", remedy=_DAMAGED
            )

    def path(self, number: int) -> list[bytes]:
        """Return the proof that a record is under the head."""
        return self._client.inclusion(number, self.head.size)


def _newest(path: Path) -> Head:
    head = newest(path)
    if head is None:
        raise WitnessError("it has no signed head yet", place=str(path), remedy="Wait for the first one.")
    return head


def _rotations(folder: Path) -> list[Rotation]:
    path = folder / "rotations.jsonl"
    path = path if path.exists() else folder.parent / "keys" / "rotations.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Rotation) for line in lines]


def _trust(head: Head, rotations: list[Rotation], pinned: str, place: str) -> None:
    if pinned and not is_trusted(head.key, pinned, head.log, rotations):
        raise WitnessRefused(
            f"its key {head.key} does not follow from the noted key {pinned}", place=place, remedy=_DAMAGED
        )


class Held:
    """Everything the witness holds of a client.

    Attributes:
        lines: path -> file identity -> offset -> line, the first one that came for each offset.
        contradicted: lines that came later for an offset that had another line: forged, or a disk that lies.
        messages: folder -> name -> records of the message, oldest first.
        gone: (folder, name) -> when its absence was noticed, microseconds.
        entries: journal -> cursor -> entry.
        happenings: what the shipper noticed, in order: (number, what).
        last_us: when the last record of this client was received.
    """

    def __init__(self, source: Source, client: str) -> None:
        self.source, self.client = source, client
        self.lines: dict[str, dict[str, dict[int, Line]]] = {}
        self.contradicted: dict[str, list[Line]] = {}
        self.messages: dict[str, dict[str, list[tuple[Line, Observed]]]] = {}
        self.gone: dict[tuple[str, str], int] = {}
        self.entries: dict[str, dict[str, Line]] = {}
        self.happenings: list[tuple[int, Observed]] = []
        self.clients: set[str] = set()
        self.last_us = 0
        for number, payload in source.payloads():
            record = parse_record(payload)
            self.clients.add(record.client)
            seen = parse(record.body) if record.kind == Kind.SHIPPED and record.client == client else None
            if seen is not None:
                self.last_us = max(self.last_us, record.received_us)
                self._take(seen, Line(number, seen.body, record.received_us))

    def _take(self, seen: Observed, line: Line) -> None:
        if seen.kind == "line":
            held = self.lines.setdefault(seen.path, {}).setdefault(seen.file, {})
            if seen.offset in held:
                self.contradicted.setdefault(seen.path, []).append(line)
            else:
                held[seen.offset] = line
        elif seen.kind == "message":
            self.messages.setdefault(seen.path, {}).setdefault(seen.file, []).append((line, seen))
        elif seen.kind == "journal":
            self.entries.setdefault(seen.path, {}).setdefault(seen.file, line)
        if seen.kind in HAPPENINGS:
            self.happenings.append((line.number, seen))
        if seen.kind == "message_gone":
            self.gone[seen.path, seen.file] = seen.seen_us

    def text(self, path: str) -> list[Line]:
        """Return all lines that ever stood in a log, in order.

        A log that was edited was shipped again as a whole; its lines are laid over the earlier ones, so that each stands once.
        """
        files = sorted(self.lines.get(path, {}).values(), key=lambda held: held[min(held)].number)
        merged: list[Line] = []
        known: set[bytes] = set()
        for held in files:
            lines = [held[offset] for offset in sorted(held)]
            bodies = {line.body for line in lines}
            merged = merged + lines if bodies.isdisjoint(known) else _overlaid(merged, lines)
            known |= bodies
        return merged


def _overlaid(earlier: list[Line], later: list[Line]) -> list[Line]:
    """Return both in order; what is new in ``later`` is late unless it stands behind everything they share."""
    merged: list[Line] = []
    for part in align([line.body for line in earlier], [line.body for line in later]):
        merged += earlier[part.a : part.a_end]
        if not part.is_same:
            is_end = part.b_end == len(later)
            merged += [line._replace(is_late=not is_end) for line in later[part.b : part.b_end]]
    return merged
