"""Records in cells that the database refused, many at once: the JSON text of each is mended, and its gaps are filled from the other cells.

They become a file of lines that the database reads as it reads the lines of a log. What it refuses still, and what is no such record, goes
the way of single records.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mailwitness.loading import Lines, json_line, json_relation
from mailwitness.readers import csv_shape
from mailwitness.readers.blocks import BLANK_BYTES, UTF8_BOM, is_utf8
from mailwitness.readers.mending import mend
from mailwitness.readers.salvage import salvage_json
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import limits
from mailwitness.sources.mended_lines import FEWEST
from mailwitness.sources.routing import NOT_PARSED, Decided, required_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.routing import Records

# Values that fill nothing, as they are written.
_EMPTY = (None, "", b"null", b'""')
# Line ends between the members of an object; inside of its strings there are none.
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def load(
    intake: Intake, opened: Opened, match: Match, at: Records, numbers: Sequence[int]
) -> tuple[list[int], Decided]:
    """Load what can be used of records that the database refused.

    Args:
        intake: the run.
        opened: the exhibit, a table.
        match: its source, whose records are texts in a cell.
        at: where its records stand.
        numbers: the refused ones, ascending.

    Returns:
        Numbers of those that are in no table yet, and of some of them why they will be in none.
    """
    contents = _contents(at, numbers)
    if len(numbers) < FEWEST and all(is_utf8(content) for _, content in contents):
        return list(numbers), {}
    mapping = intake.writer.mapping(match.mapping, match.table)
    path = intake.work / f"{opened.exhibit.id}.mended"
    mender = _Mender(opened.exhibit.id, at, match, mapping)
    largest = 0
    with path.open("wb") as out:
        for number, content in _contents(at, numbers):
            line = mender.line(number, content)
            out.write(line)
            largest = max(largest, len(line))
    left = set(numbers) - mender.written
    if mender.written:
        relation = json_relation([path], mapping, largest=largest, own=True)
        parts = [opened.exhibit.blake3, opened.exhibit.id, "mended"]
        stored = intake.segments.store(parts, mapping, relation)
        opened.tally.count(match, mapping.table, stored.segment.rows)
        opened.tally.salvaged += len(mender.salvaged.difference(stored.damaged))
        left |= set(stored.damaged)
    path.unlink()
    return sorted(left), mender.refused


def _contents(at: Records, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of each record that is not too long."""
    index = at.original if at.index is None else at.index
    chosen = np.asarray(numbers, np.int64)
    places = zip(numbers, index.offsets[chosen].tolist(), index.lengths[chosen].tolist(), strict=True)
    with closing(Lines(at.path)) as lines:
        for number, offset, length in places:
            if length <= limits.LARGEST_RECORD_BYTES:
                yield number, lines.read(offset, length)


class _Mender:
    """Makes a line of JSON of each record, and remembers which ones it could."""

    def __init__(self, exhibit: str, at: Records, match: Match, mapping: Mapping) -> None:
        assert at.shape is not None  # noqa: S101 - records of a table  # pragma: no cover
        self._shape = at.shape
        self._exhibit = exhibit
        header = csv_shape.unique_names(at.shape.header)
        places = {name.strip().lower(): place for place, name in reversed(list(enumerate(header)))}
        self._place = places[match.record.lower()]
        self._fills = [(key, places[outer.lower()]) for outer, key in match.outer if outer.lower() in places]
        self._mapping = mapping
        self._folded = {key.lower() for key in mapping.raw}
        self.written: set[int] = set()
        self.salvaged: set[int] = set()
        self.refused: Decided = {}

    def line(self, number: int, content: bytes) -> bytes:
        """Return a record as a line, with exhibit, number and whether it was salvaged; nothing where it has to be looked at by itself."""
        shown = content.decode("utf-8", "replace")
        row = csv_shape.parse_row([shown, ""], self._shape.delimiter)
        is_one = len(shown.splitlines()) == 1
        if row is None or row.lines > 1 or len(row.cells) != len(self._shape.header):
            if is_one:
                self.refused[number] = NOT_PARSED
            return b""
        text = row.cells[self._place].encode("utf-8", "replace").removeprefix(UTF8_BOM)
        body, members = _object(text)
        is_sound = bool(members) and body == text.lstrip(BLANK_BYTES)
        if not self._is_usable(members, is_sound=is_sound, is_one=is_one):
            return b""
        filled = self._filled(row.cells, members)
        if not any(members.get(key) not in _EMPTY or key in filled for key in self._mapping.required):
            self.refused[number] = f"it lacks {required_name(self._mapping)}"
            return b""
        self.written.add(number)
        is_salvaged = not is_sound or not is_utf8(content)
        if is_salvaged:
            self.salvaged.add(number)
        own = {EXHIBIT_KEY: self._exhibit, POSITION_KEY: number, SALVAGED_KEY: is_salvaged} | filled
        # Of equal names the first counts, so that no text can say where it stands itself.
        start = msgspec.json.encode(own)
        return start + b"\n" if not members else b"%b,%b\n" % (start[:-1], body[1:].translate(_ONE_LINE))

    def _is_usable(
        self, members: dict[str, Any], *, is_sound: bool, is_one: bool
    ) -> bool:  # Any: JSON values
        """Say whether a record is read here as it is read by itself."""
        if is_sound and any(members.get(key) not in (None, b"null") for key in self._mapping.required):
            return True
        raw = self._mapping.raw
        # By itself a record is read however its keys are spelled; the database takes them as they are.
        return is_one and not any(
            name not in raw and name.strip().lower() in self._folded for name in members
        )

    def _filled(self, cells: list[str], members: dict[str, Any]) -> dict[str, str]:  # Any: as above
        return {
            key: cells[place]
            for key, place in self._fills
            if cells[place] and key in self._mapping.raw and members.get(key) in _EMPTY
        }


def _object(text: bytes) -> tuple[bytes, dict[str, Any]]:  # Any: JSON values, decoded or not
    """Return the object of a text, mended where it is damaged, and its members."""
    mended = mend(text)
    if mended is None:
        members, _ = salvage_json(text)
        return json_line(members), members
    return mended.text, {name: bytes(value) for name, value in mended.members.items()}
