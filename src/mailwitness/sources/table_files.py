"""Load tables: CSV of any dialect, and Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mailwitness.loading import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY, record_relation
from mailwitness.readers import csv_records, csv_shape
from mailwitness.readers.blocks import Damage
from mailwitness.recognise import base_name
from mailwitness.sources import limits, routing, unknown
from mailwitness.sources.routing import Records
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mailwitness.content.schemas import Mapping
    from mailwitness.readers.index import RecordIndex
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened


def add_csv(intake: Intake, opened: Opened, shape: csv_records.CsvShape) -> None:
    """Load an exhibit of delimited records."""
    match = intake.recogniser.match(dict.fromkeys(shape.header, ""), "csv")
    if match is None:
        with opened.path.open("rb") as handle:
            head = handle.read(4096)
        looks_like = "binary data" if unknown.is_binary(head) else "a table of separated values"
        intake.not_recognised(opened, head, looks_like, [] if unknown.is_binary(head) else shape.header)
        return
    index = csv_records.index_csv(opened.path, shape)
    at = Records(opened.path, index, intake.save_index(opened, index), shape=shape)
    opened.tally.records += len(index.offsets)
    if opened.path.stat().st_size < limits.SMALL_BYTES or match.prepare:
        routing.route_all(intake, opened, at)
        return
    mapping = intake.writer.mapping(match.mapping, match.table)
    rows = _Rows(opened, shape, index)
    intake.connection.register("mw_batches", rows.reader())
    relation = _csv_relation(opened, shape, match, mapping)
    stored = intake.segments.store([opened.exhibit.blake3, opened.exhibit.id], mapping, relation)
    intake.connection.unregister("mw_batches")
    opened.tally.count(match, mapping.table, stored.segment.rows)
    routing.route(intake, opened, at, sorted({*stored.damaged, *rows.damaged}))


class _Rows:
    """The rows of a large CSV file as batches for the database, and the numbers of those it must not see."""

    def __init__(self, opened: Opened, shape: csv_records.CsvShape, index: RecordIndex) -> None:
        """Take the exhibit, its dialect and where its records stand."""
        self.damaged: list[int] = []
        self._opened = opened
        self._shape = shape
        self._index = index

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches, each row with its number and whether characters of it were replaced."""
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        fields = csv_shape.unique_names(self._shape.header)
        own = [(POSITION_KEY, pa.int64()), (SALVAGED_KEY, pa.bool_())]
        schema = pa.schema([(name, pa.string()) for name in fields] + own)
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        for batch in csv_records.read_csv(self._opened.path, self._shape, self._index):
            offsets = [damage.offset for damage in batch.damaged]
            self.damaged.extend(np.searchsorted(self._index.offsets, offsets).tolist())
            numbers = pa.array(batch.records.astype("int64"))
            replaced = pa.array(np.isin(batch.records, batch.replaced))
            self._opened.tally.salvaged += len(batch.replaced)
            yield pa.RecordBatch.from_arrays([*batch.rows.columns, numbers, replaced], schema=schema)


def _csv_relation(opened: Opened, shape: csv_records.CsvShape, match: Match, mapping: Mapping) -> str:
    """Return the SQL that gives the registered batches the mapping's raw keys."""
    columns = _canonical(csv_shape.unique_names(shape.header), mapping, match)
    own = f"{literal(opened.exhibit.id)} AS {EXHIBIT_KEY}, {POSITION_KEY}, {SALVAGED_KEY}"
    named = ", ".join(f"{identifier(column)} AS {identifier(key)}" for column, key in columns.items())
    inner = f"SELECT {named}, {own} FROM mw_batches"
    if match.record:
        present = {column.lower() for column in columns.values()}
        outer = [(name, key) for name, key in match.outer if name.lower() in present]
        carried = [EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY]
        return record_relation(inner, identifier(match.record), mapping, outer, carried)
    missing = [key for key in mapping.raw if key not in columns.values()]
    nulls = "".join(f", NULL::{mapping.raw[key]} AS {identifier(key)}" for key in missing)
    return f"SELECT *{nulls} FROM ({inner})"


def _canonical(header: list[str], mapping: Mapping, match: Match) -> dict[str, str]:
    """Pair a table's columns with raw keys; of several columns for one key the first wins."""
    if match.record:
        return {column: column.strip() for column in header}
    names = {key.lower(): key for key in mapping.raw}
    pairs: dict[str, str] = {}
    for column in header:
        folded = column.strip().lower() if column.strip().lower() in names else base_name(column)
        if folded in names and names[folded] not in pairs.values():
            pairs[column] = names[folded]
    return pairs


def add_parquet(intake: Intake, opened: Opened) -> None:
    """Load an exhibit in the Parquet format."""
    exhibit, tally = opened.exhibit, opened.tally
    file = f"read_parquet({literal(str(exhibit.location))}, file_row_number = true)"
    try:
        described = intake.connection.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()
    except Exception as error:  # noqa: BLE001 - DuckDB raises many types for a damaged file
        # The reason must not name a place of this machine: a repeated run says the same.
        reason = _first_line(error, str(exhibit.location), exhibit.path)
        intake.counts.not_read(exhibit, f"the Parquet file is damaged ({reason})", "Export it again.")
        return
    kinds = {str(row[0]): str(row[1]) for row in described if row[0] != "file_row_number"}
    match = intake.recogniser.match(dict.fromkeys(kinds, ""), "csv")
    if match is None or match.record:
        intake.not_recognised(opened, b"PAR1", "a Parquet table", kinds)
        return
    mapping = intake.writer.mapping(match.mapping, match.table)
    relation = _parquet_relation(file, kinds, match, mapping)
    stored = intake.segments.store([exhibit.blake3, exhibit.id], mapping, relation, exhibit.id)
    tally.records += stored.rows
    tally.notes.append("positions are row numbers: the format has no lines")
    tally.count(match, mapping.table, stored.segment.rows)
    for number in stored.damaged:
        damage = Damage(0, 0, 0, "the row has no time")
        intake.counts.quarantine_damage(tally, number, damage, exhibit.location)


def _parquet_relation(file: str, kinds: dict[str, str], match: Match, mapping: Mapping) -> str:
    """Return the SQL that gives the columns of a file the mapping's raw keys."""
    columns = _canonical(list(kinds), mapping, match)
    named = ", ".join(
        f"{_parquet_cell(column, kinds[column], mapping.raw[key])} AS {identifier(key)}"
        for column, key in columns.items()
        if key in mapping.raw
    )
    missing = "".join(
        f", NULL::{kind} AS {identifier(key)}"
        for key, kind in mapping.raw.items()
        if key not in columns.values()
    )
    return f"SELECT {named}{missing} FROM {file}"


def _parquet_cell(column: str, kind: str, wanted: str) -> str:
    name = identifier(column)
    if wanted == "JSON":
        return (
            f"CASE WHEN {name} IS NULL THEN NULL ELSE mw_dynamic({name}::VARCHAR) END"
            if kind == "VARCHAR"
            else f"to_json({name})"
        )
    if kind.startswith("TIMESTAMP WITH"):
        return f"strftime({name}::TIMESTAMPTZ AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f')"
    return f"CAST({name} AS VARCHAR)"


def _first_line(error: Exception, place: str, shown: str) -> str:
    text = str(error).replace(place, shown)
    return text.splitlines()[0][:200] if text else type(error).__name__
