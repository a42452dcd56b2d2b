"""Load records that are prepared one by one, except those that the database brings into the same shape by itself.

A module of ``mailwitness.readers`` that prepares records may offer this by a module ``PLAIN`` with ``SHAPES`` (by source), ``relation``,
``Asked`` (see `readers.windows_plain`) and ``HANDLES``. The records of a portion become one table in memory, from which every table of the case
gets its rows; what is not plain in it has no time, and goes the way of single records.
"""

from __future__ import annotations

import importlib
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content.schemas import Mapping
from mailwitness.loading import line_options
from mailwitness.row_select import (
    EXHIBIT_KEY,
    POSITION_KEY,
    SALVAGED_KEY,
    derived_columns,
    select_sql,
    words_read,
)
from mailwitness.sources import also_tables
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake

_TABLE = "mw_plain"
# Handles of the portions before: few files have a record that asks for one.
_HANDLES = "mw_plain_handles"
# They take no more than a portion does.
_MOST_KEPT = 250_000
_OWN = (EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY)
_PLACES = f"{EXHIBIT_KEY}, rowid + {POSITION_KEY} AS {POSITION_KEY}, {SALVAGED_KEY}"
OWN_KINDS = {EXHIBIT_KEY: "VARCHAR", POSITION_KEY: "BIGINT", SALVAGED_KEY: "BOOLEAN"}


def module_of(match: Match) -> Any:  # noqa: ANN401 - a module
    """Return the module that knows the plain records of a source; None when there is none."""
    if not match.prepare:
        return None
    plain = getattr(importlib.import_module(f"mailwitness.readers.{match.prepare}"), "PLAIN", None)
    return plain if plain is not None and match.source in plain.SHAPES else None


def reading(path: Path | str, raw: dict[str, str], largest: int) -> str:
    """Return the SQL that reads members of one JSON record for each line, in order; all null where it is damaged."""
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in raw.items())
    return f"SELECT * FROM read_json({literal(str(path))}, columns = {{{columns}}}, {line_options(largest)})"


class _Table(msgspec.Struct, frozen=True):
    """How plain records become rows of a table.

    Attributes:
        mapping: of the table, without its conditions.
        brief: the same for the records of which only some columns are stored; None where there are none.
        is_row: name of the column that tells whether a record is a row of it.
        is_kept: name of the column that tells whether its nested values are stored.
        accept: SQL of the first, over the common shape.
        keep: SQL of the second, over the common shape and the first.
        probed: SQL that is true for events into whose data these look; empty for none.
    """

    mapping: Mapping
    brief: Mapping | None
    is_row: str
    is_kept: str
    accept: str
    keep: str
    probed: str


class Earlier:
    """The plain records that others refer to, told to the preparers of those when they need it."""

    def __init__(self, loader: Loader, preparer: Callable[[str], Any], first: int | None = None) -> None:
        """Take the portion, what gives the preparer of an exhibit, and the row at which the records begin that are not told yet.

        Records are counted from that row; without one, as in their exhibit.
        """
        self._loader = loader
        self._preparer = preparer
        self._first = first
        self._rows: deque[tuple[Any, ...]] = deque()  # Any: cells
        self._is_asked = False

    def until(self, number: int) -> None:
        """Tell all before a record."""
        if not self._is_asked:
            self._rows += self._loader.kept_handles()
            self._rows += self._loader.handles(self._first)
            self._is_asked = True
        rows = self._rows
        while rows and rows[0][0] < number:
            _, exhibit, *values = rows.popleft()
            self._preparer(exhibit).follow(*values)

    def leave_portion(self, settle: Callable[[], None]) -> None:
        """Put aside what was not told of a portion that is about to be forgotten; where that becomes too much, have it told by ``settle``."""
        kept = len(self._rows) if self._is_asked else self._loader.keep_handles()
        if kept >= _MOST_KEPT:
            self._rows += self._loader.kept_handles()
            self._is_asked = True
            settle()
        self._is_asked = False


class Loader:
    """Turns portions of records of one source into rows of all its tables."""

    def __init__(self, intake: Intake, match: Match) -> None:
        """Take the run and the source, which `module_of` knows."""
        self._intake = intake
        self._match = match
        self._plain = module_of(match)
        self._shape = self._plain.SHAPES[match.source]
        self._rows = 0
        self._kept_handles = 0
        own = intake.writer.mapping(match.mapping, match.table)
        self._tables = [
            self._table(number, one) for number, one in enumerate([own, *intake.segments.further(match)])
        ]
        self._asked = self._plain.Asked(
            probed=" OR ".join(f"({one.probed})" for one in self._tables if one.probed) or "false",
            told={one.is_row: one.accept for one in self._tables},
            kept={one.is_kept: one.keep for one in self._tables},
            partly={name: self._reads(name) for name in self._plain.PARTLY},
        )

    def _table(self, number: int, mapping: Mapping) -> _Table:
        """Return how the records become rows of a table, the conditions of its mapping worked out before."""
        is_row, has_parts = f"mw_row_{number}", bool(mapping.nested) and mapping.keep != "true"
        conditions = " ".join([mapping.accept, mapping.keep if has_parts else ""])
        whole = msgspec.structs.replace(mapping, accept="true", first="", keep="true", nested=[])
        return _Table(
            whole,
            brief=self._brief(mapping) if has_parts else None,
            is_row=is_row,
            is_kept=f"mw_keep_{number}",
            accept=self._over_shape(mapping, mapping.accept),
            keep=f"CASE WHEN {is_row} THEN {self._over_shape(mapping, mapping.keep)} END"
            if has_parts
            else is_row,
            probed=self._over_shape(mapping, mapping.first or mapping.accept)
            if "Data." in conditions
            else "",
        )

    def _brief(self, mapping: Mapping) -> Mapping:
        """Return a mapping without the columns that are only stored where its ``keep`` holds."""
        _, _, partial = select_sql(mapping, "", self._intake.writer.stored_columns(mapping), own=True)
        left_out = {*mapping.nested, *partial}
        return msgspec.structs.replace(
            mapping,
            columns={name: sql for name, sql in mapping.columns.items() if name not in left_out},
            instead=mapping.instead | dict.fromkeys(left_out & derived_columns(mapping.table).keys(), ""),
            accept="true",
            first="",
            keep="true",
            nested=[],
        )

    def _over_shape(self, mapping: Mapping, sql: str) -> str:
        """Write SQL over the raw keys of a mapping over the common shape: what only single records have (a cmdlet) is nothing here."""
        apart = "|".join(sorted(mapping.raw.keys() - {*self._plain.COLUMNS}))
        return re.sub(rf"\b(?:{apart})\b", "NULL", sql) if apart else sql

    def take(self, path: Path | str, largest: int, *, exhibit: str = "", first: int = 0) -> int:
        """Read a portion behind those that wait to be stored, and return how many records it has.

        Args:
            path: one record for each line.
            largest: bytes of the longest line.
            exhibit: exhibit of all records; empty when they carry it, whether they were salvaged, and by how much their number is above
                that of their line.
            first: number of the first record, when they do not carry it.
        """
        raw = self._shape.raw | ({} if exhibit else OWN_KINDS)
        records = reading(path, raw, largest)
        if exhibit:
            own = f"{literal(exhibit)} AS {EXHIBIT_KEY}, {first}::BIGINT AS {POSITION_KEY}, false AS {SALVAGED_KEY}"
            records = f"SELECT *, {own} FROM ({records})"
        relation = self._plain.relation(self._shape, records, _OWN, self._asked)
        connection = self._intake.connection
        if self._rows:
            further = f"SELECT * REPLACE ({POSITION_KEY} - {self._rows} AS {POSITION_KEY}) FROM ({relation})"
            connection.execute(f"INSERT INTO {_TABLE} {further}")
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS {relation}")
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
        kept = self._kept()
        for table, number in zip(self._tables, kept, strict=True):
            if table.brief is not None:
                condition = f"{table.is_row} AND NOT {table.is_kept}"
                segments.store_further(table.brief, [*parts, "brief"], self._relation(table.brief, condition))
            if number:
                segments.store_further(table.mapping, parts, self._relation(table.mapping, table.is_kept))
        counted = connection.execute(
            f"SELECT {EXHIBIT_KEY}, count(*), count(*) FILTER ({SALVAGED_KEY}) FROM "
            f"(SELECT {_PLACES} FROM {_TABLE} WHERE Time IS NOT NULL) GROUP BY ALL"
        ).fetchall()
        return {name: (number, salvaged) for name, number, salvaged in counted}

    def handles(self, first: int | None) -> list[tuple[Any, ...]]:
        """Return number, exhibit and values of the plain events that later ones may refer to, in order; see `Earlier`."""
        return self._intake.connection.execute(f"{self._handles_sql(first)} ORDER BY mw_number").fetchall()

    def keep_handles(self) -> int:
        """Keep what `handles` returns of a portion beside that of the portions before; return how many there are."""
        into = (
            f"INSERT INTO {_HANDLES}" if self._kept_handles else f"CREATE OR REPLACE TEMP TABLE {_HANDLES} AS"
        )
        self._intake.connection.execute(f"{into} {self._handles_sql(None)}")
        [(self._kept_handles,)] = self._intake.connection.execute(
            f"SELECT count(*) FROM {_HANDLES}"
        ).fetchall()
        return self._kept_handles

    def kept_handles(self) -> list[tuple[Any, ...]]:
        """Return what was kept, in order, and forget it."""
        if not self._kept_handles:
            return []
        found = self._intake.connection.execute(f"SELECT * FROM {_HANDLES} ORDER BY mw_number").fetchall()
        self.forget_handles()
        return found

    def forget_handles(self) -> None:
        """Forget what was kept."""
        self._kept_handles = 0
        self._intake.connection.execute(f"DROP TABLE IF EXISTS {_HANDLES}")

    def _handles_sql(self, first: int | None) -> str:
        number = f"rowid + {POSITION_KEY}" if first is None else f"rowid - {first}"
        asked: str = self._plain.HANDLES.format(
            table=f"(SELECT *, {number} AS mw_number FROM {_TABLE} WHERE rowid >= {first or 0})",
            number=f"mw_number, {EXHIBIT_KEY}",
        )
        return asked

    def done(self) -> None:
        """Forget the records."""
        self._rows = 0
        self._intake.connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")

    def _kept(self) -> list[int]:
        """Return for each table how many of its rows are stored with all columns."""
        counted = ", ".join(f"count(*) FILTER ({one.is_kept})" for one in self._tables)
        [row] = self._intake.connection.execute(
            f"SELECT {counted} FROM {_TABLE} WHERE Time IS NOT NULL"
        ).fetchall()
        return list(row)

    def _relation(self, mapping: Mapping, condition: str) -> str:
        """Return the SQL of plain records with the raw keys of a mapping.

        Args:
            mapping: of all their columns, or of some.
            condition: SQL that says which records are meant.
        """
        read = self._read(mapping)
        shown = [self._value(key, kind, read) for key, kind in mapping.raw.items() if key.lower() in read]
        return f"SELECT {', '.join(shown)}, {_PLACES} FROM {_TABLE} WHERE Time IS NOT NULL AND {condition}"

    def _read(self, mapping: Mapping) -> set[str]:
        """Return the words of all that is computed for a mapping's stored columns."""
        writer = self._intake.writer
        return words_read(mapping, None if writer.wanted is None else writer.stored_columns(mapping))

    def _reads(self, key: str) -> str:
        """Return SQL that is true for the events of which some table reads a key; empty for none."""
        found = []
        for one in self._tables:
            if one.brief is not None and key.lower() in self._read(one.brief):
                found.append(one.is_row)
            elif key.lower() in self._read(one.mapping):
                found.append(one.is_kept)
        return " OR ".join(found)

    def _value(self, key: str, kind: str, read: set[str]) -> str:
        name = identifier(key)
        if key not in self._plain.COLUMNS:
            return f"NULL::{kind} AS {name}"
        if not kind.startswith("STRUCT"):
            return name
        structure = also_tables.structure(kind)
        # Only members that something is computed from are worth taking out of the text.
        members = {member: inner for member, inner in structure.items() if member.lower() in read}
        return f"json_transform({name}, {literal(json.dumps(members or structure))}) AS {name}"
