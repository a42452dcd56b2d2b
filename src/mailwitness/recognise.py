"""Tell what an input is, by its content and never by its name alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content import loader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailwitness.content.schemas import Mapping, Recognise, Source

Record = dict[str, Any]  # Any: a parsed JSON object or CSV row

# Columns that an export adds or renames: `TimeGenerated [UTC]`, `OrganizationId_`, `Status_dynamic`.
_SUFFIX = re.compile(r"(?:\s*\[[^\]]+\]|_string|_dynamic|_[sdgbt]|_)$")
_TIME_COLUMNS = ("timegenerated", "timestamp", "createddatetime", "activitydatetime")
# Members in which a row may name its table.
TABLE_HINTS = ("Type", "category", "$table")
_START_BYTES = 64 * 1024
# A table is only believed when this share of the input's columns is its own.
_MATCHING_SHARE = 0.6
_MATCHING_COLUMNS = 5
_FEWEST_COLUMNS = 3
# So many sets of names are remembered: damage makes new ones without end.
_MOST_SHAPES = 10_000


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Which source recognises an input, and the table its records go to."""

    source: str
    name: str
    mapping: str
    table: str
    record: str = ""
    outer: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()
    reader: str = ""
    prepare: str = ""


def unwrap(record: Record, path: str) -> object:
    """Follow a dotted member path; JSON text inside a string is returned as text."""
    value: object = record
    for name in path.split(".") if path else []:
        if isinstance(value, dict):
            value = folded(value, name)
        else:
            return None
    return value


def folded(record: Record, name: str) -> Any:  # noqa: ANN401 - a JSON value
    """Return a member by its name, however its letters are written; None when there is none."""
    if name in record:
        return record[name]
    wanted = name.lower()
    return next((value for key, value in record.items() if key.strip().lower() == wanted), None)


def base_name(column: str) -> str:
    """Return a column's name without what exports add to it, case folded."""
    return _SUFFIX.sub("", column.strip().strip("\ufeff")).lower()


class Recogniser:
    """All known sources and tables, asked about one record at a time; answers are kept by shape."""

    def __init__(self, own: Iterable[Source] = (), mappings: dict[str, Mapping] | None = None) -> None:
        """Load the sources and the table schemas; own sources and their mappings come beside the shipped ones."""
        self.sources = sorted([*loader.sources(), *own], key=lambda source: (-source.priority, source.id))
        mappings = loader.mappings() | (mappings or {})
        self.mapping_tables = {item.id: item.table for item in mappings.values()}
        self.tables = {
            table.table: {column.name.lower() for column in table.columns if not column.name.startswith("_")}
            for table in loader.tables().values()
            if not table.made
        }
        self._together: dict[str, str] = loader.read_yaml(loader.CONTENT / "tables" / "_together.yaml")
        # Members whose values decide, in small letters; of all others only names count, and whether they are filled.
        self.asked = frozenset(
            path.split(".")[0].lower()
            for source in self.sources
            for path in (source.record, *(path for rule in source.recognise for path in rule.nested))
        ).union(name.lower() for name in TABLE_HINTS)
        # Of these the values are read themselves; and of members of others, by their names, what these members hold.
        self.read = frozenset(
            source.record.split(".")[0].lower() for source in self.sources if source.mapping == "table_export"
        ).union(name.lower() for name in TABLE_HINTS)
        self.deeper = frozenset(
            tuple(path.lower().split(".")[:2])
            for source in self.sources
            for path in (source.record, *(path for rule in source.recognise for path in rule.nested))
            if "." in path
        )
        # Answers that only depend on names, and on which of them are filled.
        self._exports: dict[tuple[str, frozenset[str], str], Match | None] = {}
        self._matches: dict[str, Match] = {}
        self._by_names: dict[tuple[str, frozenset[str]], list[tuple[Source, list[Recognise]]]] = {}

    def match(self, record: Record, form: str) -> Match | None:
        """Return the source of one record of format ``json`` or ``csv``; None when nothing fits."""
        hint = str(next((record[name] for name in TABLE_HINTS if record.get(name)), ""))
        for source, rules in self._fitting(record, form):
            if any(_fits_inside(rule, record) for rule in rules):
                return self._as_match(source, record, hint)
        # Rows of several tables in one reply carry the columns of all: only what is filled tells them apart.
        filled = (
            record
            if form == "csv"
            else [name for name, value in record.items() if value not in (None, "", [], {})]
        )
        key = (form, frozenset(filled), hint)
        if key not in self._exports:
            if len(self._exports) >= _MOST_SHAPES:
                self._exports.clear()
            self._exports[key] = self._as_export(record, hint, form)
        return self._exports[key]

    def may_only_be(self, record: Record, source: str) -> bool:
        """Tell whether the names of a JSON record's members are those of one source alone, whatever became of their values."""
        fitting = self._fitting(record, "json")
        return len(fitting) == 1 and fitting[0][0].id == source

    def is_unknown(self, record: Record) -> bool:
        """Tell whether the names of a JSON record's members are those of no source and no table, whatever became of their values."""
        return (
            not self._fitting(record, "json")
            and not any(name in record for name in TABLE_HINTS)
            and not any(base_name(name) in _TIME_COLUMNS for name in record)
        )

    def match_start(self, head: bytes, *, is_text: bool, name: str = "") -> Match | None:
        """Return the source with a reader of its own that recognises the start of a file."""
        form = "text" if is_text else "binary"
        start = head[:_START_BYTES].decode("utf-8" if is_text else "latin-1", "replace")
        for source in self.sources:
            for rule in source.recognise:
                if rule.format != form or (rule.named and not re.search(rule.named, name)):
                    continue
                if any(re.search(pattern, start, re.MULTILINE) for pattern in rule.first):
                    return self._as_match(source, {}, "")
        return None

    def _as_export(self, record: Record, hint: str, form: str) -> Match | None:
        table = self._table_of(record, hint, form)
        if not table:
            return None
        return Match(
            source="table_export",
            name=f"{table} export",
            mapping="table_export",
            table=table,
            prepare=self._together.get(table, ""),
        )

    def _fitting(self, record: Record, form: str) -> list[tuple[Source, list[Recognise]]]:
        """Return the sources whose rules a record's own names meet, highest first; records of one file have few sets of names."""
        key = (form, frozenset(record))
        if key not in self._by_names:
            if len(self._by_names) >= _MOST_SHAPES:
                self._by_names.clear()
            names = {name.strip().strip("\ufeff").lower() for name in record}
            fitting = [
                (source, [rule for rule in source.recognise if _fits(rule, names, form)])
                for source in self.sources
            ]
            self._by_names[key] = [(source, rules) for source, rules in fitting if rules]
        return self._by_names[key]

    def _as_match(self, source: Source, record: Record, hint: str) -> Match | None:
        if source.id in self._matches:
            return self._matches[source.id]
        table = self.mapping_tables.get(source.mapping, "")
        if source.mapping == "table_export":
            inner = unwrap(record, source.record)
            table = self._table_of(inner, hint, "json") if isinstance(inner, dict) else ""
            if not table:
                return None
        found = Match(
            source=source.id,
            name=source.name,
            mapping=source.mapping,
            table=table,
            record=source.record,
            outer=tuple(source.outer.items()),
            also=tuple(source.also),
            reader=source.reader,
            prepare=source.prepare,
        )
        if source.mapping != "table_export":
            self._matches[source.id] = found
        return found

    def _table_of(self, record: Record, hint: str, form: str) -> str:
        """Find the table whose columns an input has; its own word for the table wins."""
        names = {base_name(n) for n, v in record.items() if form == "csv" or v not in (None, "", [], {})}
        stated = hint.removeprefix("AdvancedHunting-")
        if stated in self.tables and len(names & self.tables[stated]) >= min(3, len(names)):
            return stated
        if not names.intersection(_TIME_COLUMNS):
            return ""
        best = max(self.tables, key=lambda table: _likeness(names, self.tables[table]))
        common = len(names & self.tables[best])
        if (
            common < min(_MATCHING_COLUMNS, len(names))
            or common < _MATCHING_SHARE * len(names)
            or common < _FEWEST_COLUMNS
        ):
            return ""
        return best


def _likeness(names: set[str], columns: set[str]) -> tuple[int, float]:
    common = len(names & columns)
    return common, common / len(columns)


def _fits(rule: Recognise, names: set[str], form: str) -> bool:
    if rule.format != form:
        return False
    if not all(key.lower() in names for key in rule.keys):
        return False
    if rule.any_keys and not any(key.lower() in names for key in rule.any_keys):
        return False
    return not any(key.lower() in names for key in rule.not_keys)


def _fits_inside(rule: Recognise, record: Record) -> bool:
    return all(_has_nested(record, path, keys) for path, keys in rule.nested.items())


def _has_nested(record: Record, path: str, keys: Sequence[str]) -> bool:
    value = unwrap(record, path)
    if isinstance(value, str):
        # Text is only looked at, not parsed: it may be cut off.
        return value.lstrip().startswith("{") and all(f'"{key}"' in value for key in keys)
    if not isinstance(value, dict):
        return False
    names = {name.lower() for name in value}
    return all(key.lower() in names for key in keys)
