"""Damaged lines of a large file, many at once: what is still sound of them is read as the undamaged lines are.

Each line is mended as text, the mended ones become a file of lines of their own, and the database reads that with the very SQL of the others. What
it refuses, and what belongs to another source, goes the way of single records.
"""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mailwitness.loading import Lines, json_line, json_relation
from mailwitness.readers import index as line_index
from mailwitness.readers.blocks import UTF8_BOM
from mailwitness.readers.mending import mend
from mailwitness.readers.salvage import salvage_json
from mailwitness.recognise import Match, base_name
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import also_tables, limits
from mailwitness.sources.routing import NOT_PARSED, Decided, required_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.routing import Record, Records

# A few hundred lines: each time that a buffer is full costs as much as looking at a line.
_BUFFER_BYTES = 1 << 18
# Values that fill nothing, as they are written.
_NOTHING: dict[bytes, object] = {b"null": None, b'""': "", b"[]": [], b"{}": {}}
# Fewer are looked at one by one: a segment more costs as much as a hundred of them.
FEWEST = 100
_FILL_NOTHING: tuple[object, ...] = (None, "", [], {})
_LONGEST_NOTHING = max(map(len, _NOTHING))
# Of an object that is looked into only the names of its members count.
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SOMETHING = "?"
_EMPTY = b"{}"


def load(
    intake: Intake, opened: Opened, match: Match, at: Records, numbers: Sequence[int], part: str = ""
) -> tuple[list[int], Decided]:
    """Load what can be mended of lines that the database refused.

    Args:
        intake: the run.
        opened: the exhibit.
        match: source of most of its records, which has no reader or preparer of its own.
        at: where its records stand.
        numbers: the refused ones, ascending.
        part: says which numbers of the exhibit these are, when they are asked for part by part.

    Returns:
        Numbers of those that are in no table yet, and of some of them why they will be in none.
    """
    if match.record or len(numbers) < FEWEST:
        return list(numbers), {}
    mapping, also = intake.writer.mapping(match.mapping, match.table), intake.segments.further(match)
    together = also_tables.together(mapping, also)
    mended = write(intake, opened, match, at, numbers, together.raw)
    left = set(numbers) - set(mended.numbers)
    if mended.numbers:
        relation = json_relation([mended.path], together, largest=mended.largest, own=True)
        parts = [opened.exhibit.blake3, opened.exhibit.id, "mended", part]
        stored = intake.segments.store(parts, mapping, relation, also=also)
        opened.tally.count(match, mapping.table, stored.segment.rows)
        left |= set(stored.damaged)
        rows = intake.segments.store_also(stored, together, also, parts)
        loaded = stored.segment.rows
        if mapping.accept != "true":
            for further in also:
                opened.tally.count(match, further.table, rows[further.id])
                loaded += rows[further.id]
        opened.tally.salvaged += loaded
    mended.path.unlink()
    return sorted(left), mended.refused


class MendedLines(msgspec.Struct, frozen=True):
    """The damaged lines of a file after they were looked at.

    Attributes:
        path: file of the mended ones, each with exhibit, number and the word that it was salvaged.
        numbers: their numbers in the exhibit, ascending.
        largest: bytes of the longest.
        refused: numbers and reasons of those of which nothing can be used.
        others: numbers of those that are records of another source.
    """

    path: Path
    numbers: list[int]
    largest: int
    refused: Decided
    others: dict[Match, list[int]]


def write(
    intake: Intake,
    opened: Opened,
    match: Match,
    at: Records,
    numbers: Sequence[int],
    keys: Iterable[str],
    *,
    is_above_line: bool = False,
    is_lacking: Callable[[bytes, Iterable[str]], bool] | None = None,
) -> MendedLines:
    """Mend lines of an exhibit; those of other sources, and those that are sound, are neither mended nor refused.

    Args:
        intake: the run.
        opened: the exhibit.
        match: source of most of its records; lines of others are left alone.
        at: where its records stand.
        numbers: those that the database refused, ascending.
        keys: members of a record that are read, as the database spells them.
        is_above_line: the mended lines say by how much their number is above that of their line, instead of their number.
        is_lacking: tells of the text of a record, and of the names of its members, whether it lacks what it says nothing without.
    """
    lacking = f"it lacks {required_name(intake.writer.mapping(match.mapping, match.table))}"
    path = intake.work / f"{opened.exhibit.id}.mended"
    found = MendedLines(path, [], 0, {}, {})
    judge = _Judge(intake, match, keys)
    index = line_index.index_lines(at.path).records if at.index is None else at.index
    start = f'{{"{EXHIBIT_KEY}":"{opened.exhibit.id}","{SALVAGED_KEY}":true,"{POSITION_KEY}":'.encode()
    chosen = np.asarray(numbers)
    places = zip(numbers, index.offsets[chosen].tolist(), index.lengths[chosen].tolist(), strict=True)
    lines, largest = Lines(at.path), 0
    with path.open("wb", buffering=_BUFFER_BYTES) as out:
        for number, offset, length in places:
            if length > limits.LARGEST_RECORD_BYTES:
                continue
            text, members = _mended(lines.read(offset, length))
            verdict, source = judge.accepts(members) if text else (None, None)
            if verdict and is_lacking is not None and is_lacking(text, members):
                found.refused[number] = lacking
            elif verdict:
                # Of equal names the first counts, so that no line can say where it stands itself.
                place = number - len(found.numbers) * is_above_line
                line = b"%b%d,%b\n" % (start, place, text[text.index(b"{") + 1 :])
                out.write(line)
                largest = max(largest, len(line))
                found.numbers.append(number)
            elif verdict is not None:
                found.refused[number] = NOT_PARSED
            elif source is not None:
                found.others.setdefault(source, []).append(number)
    lines.close()
    return msgspec.structs.replace(found, largest=largest)


def _mended(line: bytes) -> tuple[bytes, dict[str, Any]]:  # Any: JSON values, decoded or not
    """Return what can be read of a line, and its members; no text for a line that is sound."""
    mended = mend(line)
    if mended is None:
        members, _ = salvage_json(line)
        return json_line(members), members
    return (b"" if mended.text == line.removeprefix(UTF8_BOM) else mended.text or _EMPTY), mended.members


class _Kind(Enum):
    """What the recogniser makes of a member: only whether it is filled, which names it holds, or its value."""

    COUNTED = auto()
    LOOKED_INTO = auto()
    READ = auto()


class _Judge:
    """Says of the members of mended lines whether they are a record of a source; answers of the recogniser need few of the values."""

    def __init__(self, intake: Intake, match: Match, keys: Iterable[str]) -> None:
        self._recogniser = intake.recogniser
        self._match = match
        keys = list(keys)
        self._fold = base_name if match.mapping == "table_export" else _folded
        self._written = {key.lower() for key in keys}
        self._harmless: set[str] = set(keys)
        # Sets of names that only this source has, and those that none has: what else a record is known by may be just what was damaged.
        self._certain: dict[tuple[str, ...], bool] = {}
        # Names of members, and sets of names inside of a member that the recogniser looks into no further.
        self._kinds: dict[str, _Kind] = {}
        self._shallow: set[tuple[str, tuple[str, ...]]] = set()
        # By names, which of them are filled, and the names inside of those that are looked into, where no value decides.
        self._by_shape: dict[tuple[object, ...], Match | None] = {}

    def accepts(
        self, members: dict[str, Any]
    ) -> tuple[bool | None, Match | None]:  # Any: JSON values, decoded or not
        """Return True for a record of the source, False for none of any, None where it has to be looked at by itself; and its other source."""
        names = tuple(members)
        certain = self._certain.get(names)
        if certain is not None:
            return certain, None
        if not self._is_spelled(members):
            return None, None
        is_own = self._recogniser.may_only_be(members, self._match.source)
        if is_own or self._recogniser.is_unknown(members):
            if len(self._certain) < limits.MOST_NAMES:
                self._certain[names] = is_own
            return is_own, None
        found = self._found(names, members) if members else None
        if found is None or found == self._match:
            return found is not None, None
        return None, found

    def _found(self, names: tuple[str, ...], members: dict[str, Any]) -> Match | None:  # Any: as above
        """Return what the recogniser takes members for."""
        record, inside = self._record(members)
        if inside is None:
            return self._recogniser.match(record, "json")
        filled = tuple([value not in _FILL_NOTHING for value in record.values()])
        shape = (names, filled, *inside)
        if shape not in self._by_shape:
            found = self._recogniser.match(record, "json")
            if len(self._by_shape) >= limits.MOST_NAMES:
                return found
            self._by_shape[shape] = found
        return self._by_shape[shape]

    def _record(
        self, members: dict[str, Any]
    ) -> tuple[Record, list[tuple[str, ...]] | None]:  # Any: as above
        """Return the members with those values that the recogniser looks into; all others count as filled or not.

        And the names inside of what it looks into; None where it looks deeper than that.
        """
        record: Record = dict(members)
        inside: list[tuple[str, ...]] | None = []
        for name, value in members.items():
            kind = self._kinds.get(name) or self._kind(name)
            if not isinstance(value, msgspec.Raw):
                inside = inside if kind is _Kind.COUNTED else None
            elif kind is _Kind.COUNTED:
                if len(value) <= _LONGEST_NOTHING:
                    record[name] = _NOTHING.get(bytes(value), value)
            elif kind is _Kind.READ or (names := self._names(name, value)) is None:
                record[name] = msgspec.json.decode(value)
                inside = None
            else:
                record[name] = dict.fromkeys(names, _SOMETHING)
                if inside is not None:
                    inside.append(names)
        return record, inside

    def _kind(self, name: str) -> _Kind:
        """Return what the recogniser makes of a member, and remember it."""
        folded = _folded(name)
        found = _Kind.LOOKED_INTO if folded in self._recogniser.asked else _Kind.COUNTED
        found = _Kind.READ if folded in self._recogniser.read else found
        if len(self._kinds) < limits.MOST_NAMES:
            self._kinds[name] = found
        return found

    def _names(self, name: str, value: msgspec.Raw) -> tuple[str, ...] | None:
        """Return the names of the members of an object that a member is; None for another value, and where one of them is looked into."""
        if not bytes(value).startswith(b"{"):
            return None
        names = tuple(_OBJECT.decode(value))
        if (name, names) not in self._shallow:
            deeper, folded = self._recogniser.deeper, _folded(name)
            if len(self._shallow) >= limits.MOST_NAMES or any(
                (folded, _folded(inner)) in deeper for inner in names
            ):
                return None
            self._shallow.add((name, names))
        return names

    def _is_spelled(self, members: dict[str, Any]) -> bool:  # Any: as above
        """Tell whether no key that is read is written in another way: the database matches them exactly."""
        for name in members.keys() - self._harmless:
            if self._fold(name) in self._written:
                return False
            if len(self._harmless) < limits.MOST_NAMES:
                self._harmless.add(name)
        return True


def _folded(name: str) -> str:
    return name.strip().lower()
