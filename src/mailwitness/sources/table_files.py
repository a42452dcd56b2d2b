"""Load tables: CSV of any dialect, and Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers import csv_records, csv_shape
from mailwitness.readers.blocks import Damage
from mailwitness.recognise import base_name
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import flat_tables, json_cells, limits, routing, unknown
from mailwitness.sources.routing import Records
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mailwitness.content.schemas import Mapping
    from mailwitness.readers.index import RecordIndex
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened

# The database works on 2,048 rows at once; smaller batches cost it a sixth more (measured).
_BATCH_ROWS = 4096


def add_csv(intake: Intake, opened: Opened, shape: csv_records.CsvShape) -> None:
    """Load an exhibit of delimited records."""
    match = intake.recogniser.match(dict.fromkeys(shape.header, ""), "csv")
    if match is None:
        with opened.path.open("rb") as handle:
            head = handle.read(4096)
        looks_like = "binary data" if unknown.is_binary(head) else "a table of separated values"
        intake.not_recognised(opened, head, looks_like, [] if unknown.is_binary(head) else shape.header)
        return
    layout = flat_tables.of(match, shape) if match.prepare else None
    is_small = opened.path.stat().st_size < limits.SMALL_BYTES
    if match.record and not is_small and json_cells.add(intake, opened, shape, match):
        return
    if is_small or match.record or (match.prepare and layout is None):
        index = csv_records.index_csv(opened.path, shape)
        opened.tally.records += len(index)
        routing.route_all(intake, opened, _records(intake, opened, shape, index))
        return
    mapping = intake.writer.mapping(match.mapping, match.table)
    columns = {} if layout else _canonical(csv_shape.unique_names(shape.header), mapping)
    rows = _Rows(opened, shape, flat_tables.columns(layout, mapping) if layout else list(columns))
    intake.connection.register("mw_batches", rows.reader())
    relation = (
        flat_tables.relation(layout, mapping, "SELECT * FROM mw_batches", _own(opened))
        if layout
        else _csv_relation(opened, columns, mapping)
    )
    stored = intake.segments.store([opened.exhibit.blake3, opened.exhibit.id], mapping, relation)
    intake.connection.unregister("mw_batches")
    index = rows.read.index()
    opened.tally.records += len(index)
    opened.tally.count(match, mapping.table, stored.segment.rows)
    at = _records(intake, opened, shape, index)
    routing.route(intake, opened, at, sorted({*stored.damaged, *rows.damaged(index)}))


def _records(intake: Intake, opened: Opened, shape: csv_records.CsvShape, index: RecordIndex) -> Records:
    return Records(opened.path, index, intake.save_index(opened, index), shape=shape)


class _Rows:
    """The rows of a large CSV file as batches for the database, and the numbers of those it must not see."""

    def __init__(self, opened: Opened, shape: csv_records.CsvShape, columns: list[str]) -> None:
        """Take the exhibit, its dialect and the columns that are read."""
        self.read = csv_records.CsvRecords(opened.path, shape, columns=columns)
        self._opened = opened
        self._fields = columns
        self._damaged: list[int] = []

    def damaged(self, index: RecordIndex) -> list[int]:
        """Return the numbers of the records that are not among the rows, once all batches were read."""
        found: list[int] = np.searchsorted(index.offsets, self._damaged).tolist()
        return found

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches: cells, number, whether characters were replaced."""
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        own = [(POSITION_KEY, pa.int64()), (SALVAGED_KEY, pa.bool_())]
        schema = pa.schema([(name, pa.string()) for name in self._fields] + own)
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        waiting: list[pa.RecordBatch] = []
        for batch in self.read:
            waiting.append(self._batch(batch, schema))
            if sum(one.num_rows for one in waiting) >= _BATCH_ROWS:
                yield pa.concat_batches(waiting)
                waiting = []
        if waiting:
            yield pa.concat_batches(waiting)

    def _batch(self, batch: csv_records.CsvBatch, schema: pa.Schema) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415 - 81 ms, only for large tables

        self._damaged += [damage.offset for damage in batch.damaged]
        self._opened.tally.salvaged += len(batch.replaced)
        numbers = pa.array(batch.records.astype("int64"))
        replaced = np.isin(batch.records, batch.replaced)
        own = [numbers, pa.array(replaced)]
        return pa.RecordBatch.from_arrays([*batch.rows.columns, *own], schema=schema)


def _own(opened: Opened) -> str:
    return f"{literal(opened.exhibit.id)} AS {EXHIBIT_KEY}, {POSITION_KEY}, {SALVAGED_KEY}"


def _csv_relation(opened: Opened, columns: dict[str, str], mapping: Mapping) -> str:
    """Return the SQL that gives the registered batches the mapping's raw keys."""
    named = ", ".join(f"{identifier(column)} AS {identifier(key)}" for column, key in columns.items())
    inner = f"SELECT {named}, {_own(opened)} FROM mw_batches"
    missing = [key for key in mapping.raw if key not in columns.values()]
    nulls = "".join(f", NULL::{mapping.raw[key]} AS {identifier(key)}" for key in missing)
    return f"SELECT *{nulls} FROM ({inner})"


def _canonical(header: list[str], mapping: Mapping) -> dict[str, str]:
    """Pair a table's columns with raw keys; of several columns for one key the first wins."""
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
    tally.notes.append("positions are row numbers: the format has no lines")
    if match.mapping == "table_export" and match.prepare:
        damaged = _add_rows(intake, opened, file, kinds, match)
    else:
        mapping = intake.writer.mapping(match.mapping, match.table)
        relation = _parquet_relation(file, kinds, mapping)
        stored = intake.segments.store([exhibit.blake3, exhibit.id], mapping, relation, exhibit.id)
        tally.records += stored.rows
        tally.count(match, mapping.table, stored.segment.rows)
        damaged = list(stored.damaged)
    for number in damaged:
        damage = Damage(0, 0, 0, "the row has no time")
        intake.counts.quarantine_damage(tally, number, damage, exhibit.location)


def _add_rows(intake: Intake, opened: Opened, file: str, kinds: dict[str, str], match: Match) -> list[int]:
    """Load rows that mean something only together, one by one; return the numbers of those without a time."""
    shown = ", ".join(
        f"{'to_json(' + identifier(column) + ')::VARCHAR' if _is_nested(kind) else _parquet_cell(column, kind, 'VARCHAR')} AS {identifier(column)}"
        for column, kind in kinds.items()
    )
    # Batches that are full become segments meanwhile: the rows come through a connection of their own.
    with intake.connection.cursor() as cursor:
        rows = cursor.execute(f"SELECT file_row_number, {shown} FROM {file} ORDER BY 1")
        damaged = []
        while portion := rows.fetchmany(_BATCH_ROWS):
            opened.tally.records += len(portion)
            for number, *cells in portion:
                if not routing.put_row(intake, opened, match, number, dict(zip(kinds, cells, strict=True))):
                    damaged.append(int(number))
    return damaged


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))


def _parquet_relation(file: str, kinds: dict[str, str], mapping: Mapping) -> str:
    """Return the SQL that gives the columns of a file the mapping's raw keys."""
    columns = _canonical(list(kinds), mapping)
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
