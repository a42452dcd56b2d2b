"""Load records that are prepared one by one, except those that the database brings into the same shape by itself.

A module of ``mailwitness.readers`` that prepares records may offer this by a module ``PLAIN`` with ``SHAPES`` (by source), ``given``,
``relation`` (see `readers.windows_plain`) and ``HANDLES``. The records of a portion become one table in memory, from which every table of the case
gets its rows; what is not plain in it has no time, and goes the way of single records.
"""

from __future__ import annotations

import importlib
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from mailwitness.loading import line_options
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY, select_sql, words_read
from mailwitness.sources import also_tables
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake

_TABLE = "mw_plain"
_GIVEN = "mw_given"
_OWN = (EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY)
OWN_KINDS = {EXHIBIT_KEY: "VARCHAR", POSITION_KEY: "BIGINT", SALVAGED_KEY: "BOOLEAN"}


def module_of(match: Match) -> Any:  # noqa: ANN401 - a module
    """Return the module that knows the plain records of a source; None when there is none."""
    if not match.prepare:
        return None
    plain = getattr(importlib.import_module(f"mailwitness.readers.{match.prepare}"), "PLAIN", None)
    return plain if plain is not None and match.source in plain.SHAPES else None


def reading(path: Path, raw: dict[str, str], largest: int) -> str:
    """Return the SQL that reads members of one JSON record for each line, in order; all null where it is damaged."""
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in raw.items())
    # With a single column and without `records`, an odd first line would put the text of whole lines into it.
    return f"SELECT * FROM read_json({literal(str(path))}, columns = {{{columns}}}, records = true, {line_options(largest)})"


class Earlier:
    """The plain records of a portion that others refer to, told to the preparers of those when they need it."""

    def __init__(self, loader: Loader, preparer: Callable[[str], Any], first: int = 0) -> None:
        """Take the portion, what gives the preparer of an exhibit, and the row at which the records begin that are not told yet."""
        self._loader = loader
        self._preparer = preparer
        self._first = first
        self._rows: deque[tuple[Any, ...]] | None = None  # Any: cells

    def until(self, number: int) -> None:
        """Tell all before a record of the portion."""
        if self._rows is None:
            self._rows = deque(self._loader.handles(self._first))
        while self._rows and self._rows[0][0] < number:
            _, exhibit, *values = self._rows.popleft()
            self._preparer(exhibit).follow(*values)


class Loader:
    """Turns portions of records of one source into rows of all its tables."""

    def __init__(self, intake: Intake, match: Match) -> None:
        """Take the run and the source, which `module_of` knows."""
        self._intake = intake
        self._match = match
        self._plain = module_of(match)
        self._shape = self._plain.SHAPES[match.source]
        self._rows = 0
        self._mapping = intake.writer.mapping(match.mapping, match.table)
        mappings = [self._mapping, *intake.segments.further(match)]
        self._asked = {
            name: " OR ".join(f"({sql})" for one in mappings if (sql := self._reads(one, name)))
            for name in self._plain.PARTLY
        }

    def take(self, path: Path, largest: int, *, exhibit: str = "", first: int = 0) -> int:
        """Read a portion behind those that wait to be stored, and return how many records it has.

        Args:
            path: one record for each line.
            largest: bytes of the longest line.
            exhibit: exhibit of all records, which are the only portion then; empty when they carry it, whether they were salvaged, and
                by how much their number is above that of their line.
            first: number of the first record, when they do not carry it.
        """
        carried = () if exhibit else _OWN
        raw = self._shape.raw | ({} if exhibit else OWN_KINDS)
        given = self._plain.given(self._shape, reading(path, raw, largest), carried, self._asked)
        connection = self._intake.connection
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_GIVEN} AS {given}")
        relation = self._plain.relation(_GIVEN, carried)
        if self._rows:
            further = f"SELECT * REPLACE ({POSITION_KEY} - {self._rows} AS {POSITION_KEY}) FROM ({relation})"
            connection.execute(f"INSERT INTO {_TABLE} {further}")
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS {relation}")
        connection.execute(f"DROP TABLE {_GIVEN}")
        if exhibit:
            self._own = f"{literal(exhibit)} AS {EXHIBIT_KEY}, {first} + rowid AS {POSITION_KEY}, false AS {SALVAGED_KEY}"
        else:
            self._own = f"{EXHIBIT_KEY}, rowid + {POSITION_KEY} AS {POSITION_KEY}, {SALVAGED_KEY}"
        before = self._rows
        self._rows = int(connection.execute(f"SELECT count(*) FROM {_TABLE}").fetchall()[0][0])
        return self._rows - before

    @property
    def rows(self) -> int:
        """How many records wait to be stored, plain or not."""
        return self._rows

    def leave_from(self, first: int) -> None:
        """Let all records from a row on go the way of single records."""
        self._intake.connection.execute(f"UPDATE {_TABLE} SET Time = NULL WHERE rowid >= {first}")

    def left(self, first: int = 0) -> list[int]:
        """Return the rows, from one on, of the records that go the way of single records, in order."""
        asked = f"SELECT rowid FROM {_TABLE} WHERE Time IS NULL AND rowid >= {first} ORDER BY 1"
        return [row for (row,) in self._intake.connection.execute(asked).fetchall()]

    def leave(self, numbers: list[int]) -> None:
        """Let records of the portion, by their number in it, go the way of single records."""
        listed = ", ".join(map(str, numbers))
        self._intake.connection.execute(f"UPDATE {_TABLE} SET Time = NULL WHERE rowid IN ({listed})")

    def ids(self, numbers: list[int]) -> list[tuple[int, str]]:
        """Return number in the portion and id of the plain ones among these records."""
        listed = ", ".join(map(str, numbers))
        asked = f"SELECT rowid, RecordId FROM {_TABLE} WHERE rowid IN ({listed}) AND Time IS NOT NULL"
        return self._intake.connection.execute(asked).fetchall()

    def store(self, parts: list[str]) -> dict[str, tuple[int, int]]:
        """Write the plain records that wait as segments of all tables.

        Returns:
            Exhibit -> records that are rows now, and how many of them are salvaged.
        """
        segments, connection = self._intake.segments, self._intake.connection
        segments.store(parts, self._mapping, self._relation(self._mapping))
        for further in segments.further(self._match):
            segments.store_further(further, parts, self._relation(further))
        counted = connection.execute(
            f"SELECT {EXHIBIT_KEY}, count(*), count(*) FILTER ({SALVAGED_KEY}) FROM "
            f"(SELECT {self._own} FROM {_TABLE} WHERE Time IS NOT NULL) GROUP BY ALL"
        ).fetchall()
        return {name: (number, salvaged) for name, number, salvaged in counted}

    def handles(self, first: int) -> list[tuple[Any, ...]]:
        """Return number behind the first row, exhibit and values of the plain events that later ones may refer to, in order."""
        asked = self._plain.HANDLES.format(
            table=f"(SELECT *, rowid - {first} AS mw_number, {self._own} FROM {_TABLE} WHERE rowid >= {first})",
            number=f"mw_number, {EXHIBIT_KEY}",
        )
        return self._intake.connection.execute(f"{asked} ORDER BY mw_number").fetchall()

    def done(self) -> None:
        """Forget the records."""
        self._rows = 0
        self._intake.connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")

    def _relation(self, mapping: Mapping) -> str:
        """Return the SQL of the plain records with the raw keys of a mapping."""
        read = self._read(mapping)
        kept = mapping.keep if self._is_kept_in_part(mapping, "Data") else ""
        shown = [self._value(key, kind, read, kept) for key, kind in mapping.raw.items()]
        held = (
            f" AND ({mapping.first or mapping.accept})"
            if mapping.first or "Data." not in mapping.accept
            else ""
        )
        return f"SELECT {', '.join(shown)}, {self._own} FROM {_TABLE} WHERE Time IS NOT NULL{held}"

    def _read(self, mapping: Mapping, without: Iterable[str] = ()) -> set[str]:
        """Return the words of all that is computed for a mapping's stored columns, or for those that are not left out."""
        writer = self._intake.writer
        wanted = None if writer.wanted is None else writer.stored_columns(mapping).difference(without)
        return words_read(mapping, wanted)

    def _is_kept_in_part(self, mapping: Mapping, key: str) -> bool:
        """Tell whether a key is only read for columns that are stored where the mapping's ``keep`` holds."""
        _, _, partial = select_sql(mapping, "", self._intake.writer.stored_columns(mapping), own=True)
        return key.lower() not in self._read(mapping, {*mapping.nested, *partial})

    def _reads(self, mapping: Mapping, key: str) -> str:
        """Return SQL over the common shape, true for the events of which a mapping reads a key; empty for none."""
        if key.lower() not in self._read(mapping):
            return ""
        is_in_part = self._is_kept_in_part(mapping, key)
        sql = mapping.keep if is_in_part else mapping.first or mapping.accept
        # What only single records have (a cmdlet) is nothing here.
        apart = "|".join(sorted(mapping.raw.keys() - {*self._plain.COLUMNS}))
        return re.sub(rf"\b(?:{apart})\b", "NULL", sql) if apart else sql

    def _value(self, key: str, kind: str, read: set[str], kept: str) -> str:
        name = identifier(key)
        if key not in self._plain.COLUMNS:
            return f"NULL::{kind} AS {name}"
        if not kind.startswith("STRUCT"):
            return name
        structure = also_tables.structure(kind)
        # Only members that something is computed from are worth taking out of the text.
        members = {member: inner for member, inner in structure.items() if member.lower() in read}
        value = f"json_transform({name}, {literal(json.dumps(members or structure))})"
        return (
            f"CASE WHEN {kept} THEN {value} END AS {name}" if kept and key == "Data" else f"{value} AS {name}"
        )
