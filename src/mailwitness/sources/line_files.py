"""Load large text logs line by line: lines of strict kinds many at once, other usual lines by patterns, all others one by one.

A reader offers this by a module with ``split`` (what a stretch of the log holds, see `syslog_fast.Stretch`), ``groups`` (strict kinds that
are written together, with the SQL of their columns), ``SCHEMA`` (the columns of lines for the patterns), ``RELATION`` (SQL from
columns, in `mw_lines`, to the raw keys of the mapping), ``COLUMNS`` and ``WITHOUT`` (what changes in the mapping; ``PATTERNS``: for lines
for the patterns), and ``other`` (how anything else is read, and ``damage``, what at once is seen to be none).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

from mailwitness import direct_reads
from mailwitness.content import loader
from mailwitness.loading import Lines
from mailwitness.readers import index as line_index
from mailwitness.readers import line_batches, syslog_time
from mailwitness.row_select import (
    EXHIBIT_KEY,
    POSITION_KEY,
    SALVAGED_KEY,
    derived_columns,
    words_read,
)
from mailwitness.sources import limits
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mailwitness.content.schemas import Mapping
    from mailwitness.readers.blocks import Damage
    from mailwitness.readers.line_batches import Places
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.read_files import Arrivals

# So much of a log is given to the database at once.
PORTION_BYTES = 32 << 20
# So many lines for the patterns are gathered: an expression of that size costs the same for one line as for many.
_MOST_WAITING = 200_000

# SQL of a text.
_CONSTANT = re.compile("'([^']*)'")

Columns = dict[str, pa.Array]


def add(intake: Intake, opened: Opened, match: Match, module: Any, arrivals: Arrivals) -> None:  # noqa: ANN401 - a module
    """Load an exhibit of one record for each line, or for a line and the indented ones behind it."""
    store = _Store(intake, opened, match, module)
    split = partial(module.split, needed=store.needed)
    lines = line_batches.LineBatches(opened.path, split)
    for portion in lines.portions(PORTION_BYTES):
        store.add(portion)
    store.write_patterns()
    places = lines.places()
    if store.rows + len(store.others) != len(places[0]):
        message = f"{store.rows} and {len(store.others)} rows came out of {len(places[0])} records of {opened.exhibit.path}"
        raise AssertionError(message)
    opened.tally.records += store.rows
    opened.tally.count(match, store.mapping.table, store.rows)
    left = _Left(opened, places, store.others, module)
    left.read(arrivals)
    arrivals.finish()
    intake.save_index(opened, left.index())
    left.close()


class _Store:
    """Writes what stretches hold: each group of strict kinds with the columns it fills, and the lines for the patterns together."""

    def __init__(self, intake: Intake, opened: Opened, match: Match, module: Any) -> None:  # noqa: ANN401 - a module
        self._intake = intake
        self._module = module
        exhibit = opened.exhibit
        self._digests = [exhibit.blake3, exhibit.id]
        self._relation = f"SELECT {literal(exhibit.id)} AS {EXHIBIT_KEY}, false AS {SALVAGED_KEY}, * FROM ({module.RELATION})"
        mapping = intake.writer.mapping(match.mapping, match.table)
        columns = {name: sql for name, sql in mapping.columns.items() if name not in module.WITHOUT}
        # Every one of these lines has a time: none lacks what a record has to have.
        self.mapping = msgspec.structs.replace(mapping, columns=columns | module.COLUMNS, required=["'+'"])
        self._patterns = msgspec.structs.replace(self.mapping, columns=self.mapping.columns | module.PATTERNS)
        self._mappings = {group: self._of_group(group) for group in module.groups().columns}
        self.needed = self._needed()
        self._portions = self._written = 0
        self._waiting: list[tuple[NDArray[np.int64], Columns]] = []
        self._records = 0
        self.rows = 0
        self.others: list[int] = []

    def _of_group(self, group: str) -> Mapping:
        """Return the mapping of the lines of a group: what other kinds fill is left out, and what nobody reads."""
        groups, wanted = self._module.groups(), self._intake.writer.wanted
        # A table that is stored whole lacks no column.
        other = "NULL" if wanted is None else ""
        instead = {
            name: groups.columns[group].get(name, other) for name in derived_columns(self.mapping.table)
        }
        values = {name: name for name in groups.values(group)}
        mapping = msgspec.structs.replace(
            self.mapping, columns=self.mapping.columns | values, instead=instead
        )
        if wanted is None:
            return mapping
        # Of a column that these lines do not fill it is known that it is empty.
        filled = {*self.mapping.columns, *(name for name, sql in instead.items() if sql)}
        facts = {name: frozenset({""}) for name in _texts(mapping.table) - filled}
        facts |= _constants(mapping.columns | instead) | groups.facts(group)
        asked = wanted.asked(mapping.table, facts) | groups.kept
        if group not in groups.unread:
            asked |= direct_reads.columns_of(wanted.parsed.get(mapping.table, []), facts)
        unasked = wanted.columns.get(mapping.table, set()) - asked
        return msgspec.structs.replace(mapping, unasked=sorted(unasked))

    def _needed(self) -> dict[str, frozenset[str]]:
        """Return the names of the columns and values that are read of each group."""
        writer = self._intake.writer
        found = {}
        for group, mapping in self._mappings.items():
            gated = writer.gated(mapping)
            read = words_read(gated, None if writer.wanted is None else writer.stored_columns(gated))
            names = (*self._module.SCHEMA.names, *mapping.columns)
            found[group] = frozenset(name for name in names if name.lower() in read) | {"Moment"}
        return found

    def add(self, portion: list[Any]) -> None:  # Any: stretches of the module
        """Store what some stretches hold, in the order of the log."""
        groups: dict[str, list[tuple[NDArray[np.int64], Columns]]] = {}
        for stretch, numbers in self._numbered(portion):
            for group, rows, columns in stretch.groups:
                groups.setdefault(group, []).append((numbers[rows], columns))
            self._waiting.append((numbers[stretch.patterns[0]], stretch.patterns[1]))
            self.others += numbers[stretch.others].tolist()
        for group, batches in groups.items():
            self._write([str(self._portions), group], self._mappings[group], batches)
        self._portions += 1
        if sum(len(rows) for rows, _ in self._waiting) > _MOST_WAITING:
            self.write_patterns()

    def _numbered(self, portion: list[Any]) -> Iterator[tuple[Any, NDArray[np.int64]]]:  # Any: stretches
        """Yield stretches with the numbers of their records; last, those that are shown with escapes."""
        shown: list[str] = []
        again: list[NDArray[np.int64]] = []
        for stretch in portion:
            numbers = np.arange(self._records, self._records + stretch.records)
            self._records += stretch.records
            yield stretch, numbers
            again.append(numbers[stretch.foreign[0]])
            shown += stretch.foreign[1]
        if shown:
            found = line_batches.find(memoryview("\n".join(shown).encode()))
            yield self._module.split(found, self.needed), np.concatenate(again)

    def write_patterns(self) -> None:
        """Store the lines that wait for the patterns."""
        if any(len(rows) for rows, _ in self._waiting):
            self._write([str(self._written), "patterns"], self._patterns, self._waiting)
            self._written += 1
        self._waiting = []

    def _write(
        self, parts: list[str], mapping: Mapping, batches: list[tuple[NDArray[np.int64], Columns]]
    ) -> None:
        tables = [
            pa.RecordBatch.from_arrays([*columns.values(), pa.array(rows)], [*columns, POSITION_KEY])
            for rows, columns in batches
        ]
        self._intake.connection.register("mw_lines", pa.Table.from_batches(tables))
        stored = self._intake.segments.store([*self._digests, *parts], mapping, self._relation)
        self._intake.connection.unregister("mw_lines")
        self.rows += stored.segment.rows


def _texts(table: str) -> set[str]:
    """Return the columns of a table that hold text."""
    return {column.name for column in loader.tables()[table].columns if column.type == "string"}


def _constants(columns: dict[str, str]) -> dict[str, frozenset[str]]:
    """Return the columns that are the same text in all rows."""
    found = {name: _CONSTANT.fullmatch(sql) for name, sql in columns.items()}
    return {name: frozenset({match.group(1)}) for name, match in found.items() if match}


class _Left:
    """The records that are no usual lines: other forms, messages of several lines, damage."""

    def __init__(self, opened: Opened, places: list[Places], others: list[int], module: Any) -> None:  # noqa: ANN401 - a module
        """Take the places of all records of an exhibit, and the numbers of those that were left out."""
        self._places = places
        self._others = others
        self._module = module
        self._years = syslog_time.Years(opened.path)
        self._content = Lines(opened.path)
        self._further: list[tuple[int, int, int]] = []

    def read(self, arrivals: Arrivals) -> None:
        """Read them one by one; what a record holds beyond one becomes a record behind all others."""
        offsets, lengths, lines = self._places
        lost: list[tuple[int, Damage, bytes]] = []
        for record in self._others:
            place = int(offsets[record]), int(lengths[record]), int(lines[record])
            text = self._content.read(place[0], min(place[1], limits.LARGEST_RECORD_BYTES))
            if damage := self._module.damage(text, place):
                lost.append((record, damage, text))
                lengths[record] = damage.length
                continue
            for nth, item in enumerate(self._module.other(text, place, self._years)):
                if nth:
                    arrivals.put(len(offsets) + len(self._further), item)
                    self._further.append((item.offset, item.length, item.line))
                else:
                    arrivals.put(record, item)
                    offsets[record], lengths[record] = item.offset, item.length
        arrivals.lose(lost)

    def index(self) -> line_index.RecordIndex:
        """Return the places of all records."""
        more = np.array(self._further, dtype=np.uint64).reshape(-1, 3)
        pieces = [[column.astype(np.uint64), more[:, i]] for i, column in enumerate(self._places)]
        return line_index.build_index(*pieces)

    def close(self) -> None:
        """Release the file."""
        self._content.close()
