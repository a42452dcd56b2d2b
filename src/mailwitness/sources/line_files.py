"""Load large text logs line by line: lines of strict kinds many at once, other usual lines by patterns, all others one by one.

A reader offers this by a module with ``split`` (what a stretch of the log holds, see `syslog_fast.Stretch`), ``groups`` (strict kinds that
are written together, with the SQL of their columns), ``SCHEMA`` (the columns of lines for the patterns), ``RELATION`` (SQL from
columns, in `mw_lines`, to the raw keys of the mapping), ``COLUMNS`` and ``WITHOUT`` (what changes in the mapping; ``PATTERNS``: for lines
for the patterns), ``other`` (how anything else is read; ``damage``, ``hidden_damage`` and ``message`` say the same of most of it with
less work), and ``plain`` and ``gathered`` (what was read so and is like a usual line after all, and many of these as a stretch).
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
from mailwitness.readers.blocks import Damage
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
    from mailwitness.readers.line_batches import Places
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.read_files import Arrivals

# A group is written when so many of its lines wait.
_MOST_OF_A_GROUP = 60_000
# Groups are written after so many stretches, which stay in memory as long as a text of theirs waits.
_MOST_STRETCHES = 16
# Of groups with fewer lines the texts are copied then, since each writing costs as much as some thousands of lines; and no more bytes.
_FEW_OF_A_GROUP, _FEW_BYTES = 12_000, 16 << 20
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
    for stretch in lines.stretches():
        store.add(stretch)
    left = _Left(opened, lines.places(), module)
    plain = left.read(store.others, arrivals)
    store.finish(plain)
    expected = left.records - len(store.others) + len(plain)
    if store.rows != expected:
        message = f"{store.rows} rows came out of {expected} records of {opened.exhibit.path}"
        raise AssertionError(message)
    opened.tally.records += store.rows
    opened.tally.count(match, store.mapping.table, store.rows)
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
        self._stretches = self._written = 0
        self._groups: dict[str, list[tuple[NDArray[np.int64], Columns]]] = {}
        self._waiting: list[tuple[NDArray[np.int64], Columns]] = []
        self._shown: list[str] = []
        self._again: list[NDArray[np.int64]] = []
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

    def add(self, stretch: Any) -> None:  # noqa: ANN401 - a stretch of the module
        """Take the next stretch of the log, and store what waits where it is enough."""
        numbers = np.arange(self._records, self._records + stretch.records)
        self._records += stretch.records
        self._gather(stretch, numbers)
        self._stretches += 1
        is_full = self._stretches % _MOST_STRETCHES == 0
        self._write_groups(_FEW_OF_A_GROUP if is_full else _MOST_OF_A_GROUP)
        if is_full:
            self._keep_few()

    def finish(self, plain: dict[int, Any]) -> None:  # Any: records as the module has them
        """Store all that waits, and records that were read one by one, by their numbers."""
        if plain:
            self._gather(self._module.gathered(list(plain.values()), self.needed), np.array(list(plain)))
        if self._shown:
            found = line_batches.find(memoryview("\n".join(self._shown).encode()))
            self._gather(self._module.split(found, self.needed), np.concatenate(self._again))
        self._write_groups(0)
        self._write_patterns()

    def _gather(self, stretch: Any, numbers: NDArray[np.int64]) -> None:  # noqa: ANN401 - a stretch of the module
        """Put what a stretch holds to what waits."""
        for group, rows, columns in stretch.groups:
            self._groups.setdefault(group, []).append((numbers[rows], columns))
        self._waiting.append((numbers[stretch.patterns[0]], stretch.patterns[1]))
        self.others += numbers[stretch.others].tolist()
        rows, shown = stretch.foreign
        self._again.append(numbers[rows])
        self._shown += shown
        if sum(len(rows) for rows, _ in self._waiting) > _MOST_WAITING:
            self._write_patterns()

    def _write_groups(self, least: int) -> None:
        """Store the groups of which more lines than that wait."""
        for group in [name for name, parts in self._groups.items() if sum(len(r) for r, _ in parts) > least]:
            self._write(group, self._mappings[group], self._groups.pop(group))

    def _keep_few(self) -> None:
        """Copy the texts of the lines that go on waiting, so that the stretches they point into are forgotten."""
        for group, parts in list(self._groups.items()):
            kept = [
                (rows, {name: _copied(array) for name, array in columns.items()}) for rows, columns in parts
            ]
            self._groups[group] = kept
            if sum(array.nbytes for _, columns in kept for array in columns.values()) > _FEW_BYTES:
                self._write(group, self._mappings[group], self._groups.pop(group))

    def _write_patterns(self) -> None:
        """Store the lines that wait for the patterns."""
        if any(len(rows) for rows, _ in self._waiting):
            # In one piece: the database looks at a piece by itself, and has to make ready for each.
            rows = np.concatenate([part for part, _ in self._waiting])
            columns = {
                name: pa.chunked_array([part[name] for _, part in self._waiting]).combine_chunks()
                for name in self._module.SCHEMA.names
            }
            self._write("patterns", self._patterns, [(rows, columns)])
        self._waiting = []

    def _write(self, group: str, mapping: Mapping, batches: list[tuple[NDArray[np.int64], Columns]]) -> None:
        self._written += 1
        tables = [
            pa.RecordBatch.from_arrays([*columns.values(), pa.array(rows)], [*columns, POSITION_KEY])
            for rows, columns in batches
        ]
        self._intake.connection.register("mw_lines", pa.Table.from_batches(tables))
        parts = [*self._digests, str(self._written), group]
        stored = self._intake.segments.store(parts, mapping, self._relation)
        self._intake.connection.unregister("mw_lines")
        self.rows += stored.segment.rows


def _copied(array: pa.Array) -> pa.Array:
    """Return strings that point into a stretch as strings of their own, of the same type; anything else as it is."""
    return array.cast(pa.string()).cast(pa.string_view()) if array.type == pa.string_view() else array


def _texts(table: str) -> set[str]:
    """Return the columns of a table that hold text."""
    return {column.name for column in loader.tables()[table].columns if column.type == "string"}


def _constants(columns: dict[str, str]) -> dict[str, frozenset[str]]:
    """Return the columns that are the same text in all rows."""
    found = {name: _CONSTANT.fullmatch(sql) for name, sql in columns.items()}
    return {name: frozenset({match.group(1)}) for name, match in found.items() if match}


class _Left:
    """The records that are no usual lines: other forms, messages of several lines, damage."""

    def __init__(self, opened: Opened, places: list[Places], module: Any) -> None:  # noqa: ANN401 - a module
        """Take the places of all records of an exhibit."""
        self.records = len(places[0])
        self._places = places
        self._module = module
        self._years = syslog_time.Years(opened.path)
        self._content = Lines(opened.path)
        self._further: list[tuple[int, int, int]] = []

    def read(
        self, others: list[int], arrivals: Arrivals
    ) -> dict[int, Any]:  # Any: records as the module has them
        """Read records by their numbers, one by one; what a record holds beyond one becomes a record behind all others.

        Returns:
            Those that say no more than usual lines do, by their numbers; all others have arrived.
        """
        lost: list[tuple[int, Damage, bytes]] = []
        # Damage that had to be looked for comes before what is plain to see.
        found_out: list[tuple[int, Damage, bytes]] = []
        plain: dict[int, Any] = {}  # Any: records as the module has them
        places = [column[others].tolist() for column in self._places]
        damage, content = self._module.damage, self._content.read
        for record, *place in zip(others, *places, strict=True):
            text = content(place[0], min(place[1], limits.LARGEST_RECORD_BYTES))
            if harm := damage(text, place):
                lost.append((record, harm, text))
            elif harm := self._module.hidden_damage(text, place):
                found_out.append((record, harm, text))
            elif says := self._module.message(text, place):
                plain[record] = says
            else:
                found_out += self._looked_for(record, place, text, plain, arrivals)
        seen = found_out + lost
        is_record = [one for one in seen if one[0] < self.records]
        self._places[1][[number for number, _, _ in is_record]] = [harm.length for _, harm, _ in is_record]
        arrivals.lose(seen)
        return plain

    def _looked_for(
        self,
        record: int,
        place: list[int],
        text: bytes,
        plain: dict[int, Any],  # Any: records as the module has them
        arrivals: Arrivals,
    ) -> Iterator[tuple[int, Damage, bytes]]:
        """Yield the damage in a record, and hand on what else is in it."""
        items = self._module.other(text, place, self._years)
        for nth, item in enumerate(items):
            number = self.records + len(self._further) if nth else record
            if isinstance(item, Damage):
                yield number, item, text[item.offset - place[0] :]
            elif len(items) == 1 and (says := self._module.plain(item)):
                plain[record] = says
            else:
                arrivals.put(number, item)
            if nth:
                self._further.append((item.offset, item.length, item.line))
            else:
                self._places[0][record], self._places[1][record] = item.offset, item.length

    def index(self) -> line_index.RecordIndex:
        """Return the places of all records."""
        more = np.array(self._further, dtype=np.uint64).reshape(-1, 3)
        pieces = [[column.astype(np.uint64), more[:, i]] for i, column in enumerate(self._places)]
        return line_index.build_index(*pieces)

    def close(self) -> None:
        """Release the file."""
        self._content.close()
