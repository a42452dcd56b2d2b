"""The CSV reader: batches of text columns whose rows carry their record number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mailwitness.readers.blocks import MAX_RECORD_BYTES, Damage
from mailwitness.readers.csv_index import index_csv
from mailwitness.readers.csv_quotes import read_quotes
from mailwitness.readers.csv_shape import CsvShape, Row, parse_row, sniff_csv, unique_names
from mailwitness.readers.index import RecordIndex

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["CsvBatch", "CsvShape", "index_csv", "read_csv", "sniff_csv", "unique_names"]

# A batch is read as one piece of this size: larger ones leave the cache and take twice as long (measured).
_BATCH_BYTES = 1 << 20
# Below this number of records a batch that does not match is read record by record.
_FEW_RECORDS = 32


@dataclass(frozen=True, eq=False, slots=True)
class CsvBatch:
    """Hold consecutive records of a CSV file.

    `rows` is a pyarrow RecordBatch of string columns without nulls, `records` the record number of each row,
    `damaged` the records of this stretch that are not rows, `notes` one sentence and `replaced` the number of each that was
    read with replaced characters.
    """

    rows: pa.RecordBatch
    records: NDArray[np.uint64]
    damaged: list[Damage]
    notes: list[str]
    replaced: list[int] = field(default_factory=list)


class _Stretch(msgspec.Struct, frozen=True):
    """Name consecutive records, from `first` up to but without `last`, and their bytes."""

    first: int
    last: int
    raw: bytes


def read_csv(
    path: Path,
    shape: CsvShape,
    index: RecordIndex,
    *,
    columns: list[str] | None = None,
    batch_rows: int = 1 << 16,
    max_record: int = MAX_RECORD_BYTES,
) -> Iterator[CsvBatch]:
    """Yield the records of a CSV file in order, as text.

    pyarrow reads each stretch; its rows are believed only when their number is that of the records and every
    quote is where RFC 4180 wants it. Else the stretch is halved until the csv module reads the few records
    that are left one by one. Empty cells are '', never null.

    Args:
        path: the file, UTF-8; other bytes become U+FFFD and a note.
        shape: what `sniff_csv` returned.
        index: what `index_csv` returned.
        columns: names, as `unique_names` gives them, of the columns wanted; None: all.
        batch_rows: most rows in a batch.
        max_record: a longer record is damage and never loaded; in bytes.
    """
    reader = _CsvReader(shape, index, columns)
    with path.open("rb", buffering=0) as stream:
        for first, last in _stretches(index, batch_rows, max_record):
            start = int(index.offsets[first])
            length = int(index.offsets[last - 1]) + int(index.lengths[last - 1]) - start
            if length > max_record and last - first == 1:
                yield reader.oversized(first, max_record)
                continue
            stream.seek(start)
            yield reader.read(_Stretch(first, last, stream.read(length)))


def _stretches(index: RecordIndex, batch_rows: int, max_record: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of consecutive records that together are about one batch."""
    ends = index.offsets + index.lengths
    first = 0
    while first < len(index):
        bound = int(index.offsets[first]) + _BATCH_BYTES
        last = int(np.searchsorted(ends, np.uint64(bound), "right"))
        last = max(first + 1, min(last, first + batch_rows))
        if last - first == 1 or int(ends[last - 1]) - int(index.offsets[first]) <= max_record:
            yield first, last
        else:
            last = first + 1
            yield first, last
        first = last


class _CsvReader:
    def __init__(self, shape: CsvShape, index: RecordIndex, columns: list[str] | None) -> None:
        self._shape = shape
        self._index = index
        self._names = unique_names(shape.header)
        self._wanted = self._names if columns is None else columns
        self._places = [self._names.index(name) for name in self._wanted]

    def read(self, stretch: _Stretch) -> CsvBatch:
        rows = self._read_quickly(stretch)
        if rows is not None:
            return CsvBatch(rows, np.arange(stretch.first, stretch.last, dtype=np.uint64), [], [])
        if stretch.last - stretch.first <= _FEW_RECORDS:
            return self._read_slowly(stretch)
        middle = (stretch.first + stretch.last) // 2
        cut = int(self._index.offsets[middle] - self._index.offsets[stretch.first])
        return _joined(
            self.read(_Stretch(stretch.first, middle, stretch.raw[:cut])),
            self.read(_Stretch(middle, stretch.last, stretch.raw[cut:])),
        )

    def _read_quickly(self, stretch: _Stretch) -> pa.RecordBatch | None:
        """Return the rows if there is no doubt that they are the records, else None."""
        # pyarrow takes 80 ms to import; only a CSV input pays for it.
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415

        data = np.frombuffer(stretch.raw, np.uint8)
        quotes = read_quotes(data, ord(self._shape.delimiter), is_all=True)
        # pyarrow ends a row at a lone carriage return outside quotes and skips a row that is nothing else.
        if quotes.wrong >= 0 or quotes.has_lone_return:
            return None
        try:
            table = csv.read_csv(
                pa.BufferReader(stretch.raw),
                csv.ReadOptions(column_names=self._names, block_size=len(stretch.raw) + 1, use_threads=False),
                csv.ParseOptions(delimiter=self._shape.delimiter, newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.string()),
                    include_columns=self._wanted,
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
        if table.num_rows != stretch.last - stretch.first:
            return None
        return table.combine_chunks().to_batches()[0]

    def _read_slowly(self, stretch: _Stretch) -> CsvBatch:
        cells: list[list[str]] = []
        records: list[int] = []
        damaged: list[Damage] = []
        notes: list[str] = []
        replaced: list[int] = []
        for record in range(stretch.first, stretch.last):
            start = int(self._index.offsets[record] - self._index.offsets[stretch.first])
            raw = stretch.raw[start : start + int(self._index.lengths[record])]
            text = raw.decode("utf-8", "replace")
            # The empty line after it is drawn only when a quote is still open at the end of the record.
            row = parse_row([text, ""], self._shape.delimiter)
            if row is None or self._fault(row):
                damaged.append(self._damage(record, "not valid CSV" if row is None else self._fault(row)))
                continue
            if text.encode("utf-8") != raw:
                notes.append(f"record {record}: bytes that are not UTF-8 were replaced")
                replaced.append(record)
            cells.append(row.cells)
            records.append(record)
        return CsvBatch(self._batch(cells), np.array(records, np.uint64), damaged, notes, replaced)

    def _fault(self, row: Row) -> str:
        if row.lines > 1:
            return "a quote is never closed"
        if len(row.cells) != len(self._names):
            return f"{len(row.cells)} cells instead of {len(self._names)}"
        return ""

    def _damage(self, record: int, reason: str) -> Damage:
        place = self._index.locate(record)
        return Damage(place.offset, place.length, place.line, reason)

    def _batch(self, rows: list[list[str]]) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415 - as above

        arrays = [pa.array([row[place] for row in rows], pa.string()) for place in self._places]
        return pa.RecordBatch.from_arrays(arrays, names=self._wanted)

    def oversized(self, record: int, max_record: int) -> CsvBatch:
        """Return a batch without rows for a record that must not be loaded."""
        damage = self._damage(record, f"longer than {max_record} bytes")
        return CsvBatch(self._batch([]), np.zeros(0, np.uint64), [damage], [])


def _joined(left: CsvBatch, right: CsvBatch) -> CsvBatch:
    import pyarrow as pa  # noqa: PLC0415 - as above

    return CsvBatch(
        pa.concat_batches([left.rows, right.rows]),
        np.concatenate([left.records, right.records]),
        left.damaged + right.damaged,
        left.notes + right.notes,
        left.replaced + right.replaced,
    )
