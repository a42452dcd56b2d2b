"""The CSV reader: batches of text columns whose rows carry their record number."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.blocks import MAX_RECORD_BYTES, Damage
from mailwitness.readers.csv_index import CsvIndexer, Stretch, index_csv
from mailwitness.readers.csv_quotes import read_quotes
from mailwitness.readers.csv_shape import CsvShape, Row, is_one_line, parse_row, sniff_csv, unique_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from mailwitness.readers.index import RecordIndex

__all__ = ["CsvBatch", "CsvRecords", "CsvShape", "index_csv", "sniff_csv", "unique_names"]

# A batch is read as one piece of this size: larger ones leave the cache and take twice as long (measured).
_BATCH_BYTES = 1 << 20
# Below this number of records a batch that does not match is read record by record.
_FEW_RECORDS = 32
# Nor is a piece of short records halved further: one call of pyarrow costs what the csv module takes for a hundred of them.
_FEW_BYTES = 64 << 10


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


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """Hold the rows of a stretch of lines, and the numbers of those lines that are none of them."""

    rows: pa.RecordBatch
    others: list[int]


class CsvRecords:
    """The records of a CSV file, read once: batches of rows in order, and then the place of every record.

    pyarrow reads each stretch; its rows are believed only when their number is that of the records and every
    quote is where RFC 4180 wants it. Else the stretch is halved until the csv module reads the few records
    that are left one by one. Empty cells are '', never null.
    """

    def __init__(
        self,
        path: Path,
        shape: CsvShape,
        *,
        columns: list[str] | None = None,
        max_record: int = MAX_RECORD_BYTES,
        stretch_bytes: int = _BATCH_BYTES,
    ) -> None:
        """Take the file; nothing is read yet.

        Args:
            path: the file, UTF-8; other bytes become U+FFFD and a note.
            shape: what `sniff_csv` returned.
            columns: names, as `unique_names` gives them, of the columns wanted; None: all.
            max_record: a longer record is damage and never loaded; in bytes.
            stretch_bytes: what is read as one piece.
        """
        self._path = path
        self._shape = shape
        self._max_record = max_record
        self._indexer = CsvIndexer(
            shape, max_record=max_record, stretch_bytes=stretch_bytes, is_rows=self._is_rows
        )
        self._ready: _Found | None = None  # rows of the stretch that comes next
        self._names = unique_names(shape.header)
        self._wanted = self._names if columns is None else columns
        self._places = [self._names.index(name) for name in self._wanted]

    def __iter__(self) -> Iterator[CsvBatch]:
        """Read the file from its beginning to its end."""
        for stretch in self._indexer.stretches(self._path):
            yield self._read(stretch)

    def index(self) -> RecordIndex:
        """Return the place of every record; complete when the batches were read to the last."""
        return self._indexer.index()

    def _is_rows(self, raw: memoryview, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> bool:
        """Say whether each of these lines is a row or a damaged one, and keep the rows for the stretch."""
        rows = self._parsed(raw, len(starts))
        if rows is not None:
            self._ready = _Found(rows, [])
        else:
            self._ready = self._without_damaged(raw, starts, lengths)
        return self._ready is not None

    def _without_damaged(
        self, raw: memoryview, starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> _Found | None:
        """Return the rows of the sound lines, if all others have another number of cells or are not UTF-8."""
        lines = [
            bytes(raw[start : start + size])
            for start, size in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]
        strange = _not_utf8(raw, starts + lengths)
        sound = np.setdiff1d(np.arange(len(lines)), strange)
        # What stands alone now must not go on, or what follows it would be part of it.
        alone = [*strange, *sound[-1:].tolist()]
        if not len(sound) or not all(is_one_line(lines[line], self._shape.delimiter) for line in alone):
            return None
        uneven: list[int] = []
        text = b"\n".join([*(lines[line] for line in sound.tolist()), b""])
        rows = self._parsed(text, len(sound), uneven)
        return None if rows is None else _Found(rows, sorted([*strange, *sound[uneven].tolist()]))

    def _read(self, stretch: Stretch) -> CsvBatch:
        place = self._indexer.place
        if self._ready is not None:
            found, self._ready = self._ready, None
            return self._read_found(stretch, found)
        if stretch.last - stretch.first == 1 and place(stretch.first).length > self._max_record:
            damage = self._damage(stretch.first, f"longer than {self._max_record} bytes")
            return CsvBatch(self._batch([]), np.zeros(0, np.uint64), [damage], [])
        rows = self._read_quickly(stretch)
        if rows is not None:
            return CsvBatch(rows, np.arange(stretch.first, stretch.last, dtype=np.uint64), [], [])
        few = stretch.last - stretch.first <= _FEW_RECORDS or len(stretch.raw) <= _FEW_BYTES
        if few and len(stretch.raw) <= self._max_record:
            return self._read_slowly(stretch, range(stretch.first, stretch.last))
        middle = (stretch.first + stretch.last) // 2
        offset = place(stretch.first).offset
        cut = place(middle).offset - offset
        return _joined(
            self._read(Stretch(stretch.first, middle, offset, stretch.raw[:cut], stretch.is_clean)),
            self._read(Stretch(middle, stretch.last, offset + cut, stretch.raw[cut:], stretch.is_clean)),
        )

    def _read_quickly(self, stretch: Stretch) -> pa.RecordBatch | None:
        """Return the rows if there is no doubt that they are the records, else None."""
        if not stretch.is_clean:
            quotes = read_quotes(
                np.frombuffer(stretch.raw, np.uint8), ord(self._shape.delimiter), is_all=True
            )
            # pyarrow ends a row at a lone carriage return outside quotes and skips a row that is nothing else.
            if quotes.wrong >= 0 or quotes.has_lone_return:
                return None
        return self._parsed(stretch.raw, stretch.last - stretch.first)

    def _read_found(self, stretch: Stretch, found: _Found) -> CsvBatch:
        """Return the rows that were found, with those of the other records that can be read one by one in their places."""
        records = np.arange(stretch.first, stretch.last, dtype=np.uint64)
        if not found.others:
            return CsvBatch(found.rows, records, [], [])
        slow = self._read_slowly(stretch, [stretch.first + line for line in found.others])
        joined = _joined(CsvBatch(found.rows, np.delete(records, found.others), [], []), slow)
        order = np.argsort(joined.records)
        return CsvBatch(
            joined.rows.take(order), joined.records[order], joined.damaged, joined.notes, joined.replaced
        )

    def _parsed(
        self, raw: memoryview | bytes, records: int, uneven: list[int] | None = None
    ) -> pa.RecordBatch | None:
        """Return the rows that pyarrow finds if they are as many as the records, else None.

        With ``uneven`` rows that have another number of cells are left out, and their numbers put there.
        """
        if len(raw) > self._max_record:
            return None
        # pyarrow takes 80 ms to import; only a CSV input pays for it.
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import csv  # noqa: PLC0415

        left_out: list[int] = [] if uneven is None else uneven

        def leave_out(row: csv.InvalidRow) -> str:
            left_out.append(row.number - 1)
            return "skip"

        try:
            table = csv.read_csv(
                pa.BufferReader(pa.py_buffer(raw)),
                csv.ReadOptions(column_names=self._names, block_size=len(raw) + 1, use_threads=False),
                csv.ParseOptions(
                    delimiter=self._shape.delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=None if uneven is None else leave_out,
                ),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.string()),
                    include_columns=self._wanted,
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
        if table.num_rows + len(left_out) != records:
            return None
        return table.combine_chunks().to_batches()[0] if table.num_rows else self._batch([])

    def _read_slowly(self, stretch: Stretch, numbers: Iterable[int]) -> CsvBatch:
        cells: list[list[str]] = []
        records: list[int] = []
        damaged: list[Damage] = []
        notes: list[str] = []
        replaced: list[int] = []
        begin = self._indexer.place(stretch.first).offset
        for record in numbers:
            place = self._indexer.place(record)
            raw = bytes(stretch.raw[place.offset - begin : place.offset - begin + place.length])
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
        place = self._indexer.place(record)
        return Damage(place.offset, place.length, place.line, reason)

    def _batch(self, rows: list[list[str]]) -> pa.RecordBatch:
        import pyarrow as pa  # noqa: PLC0415 - as above

        arrays = [pa.array([row[place] for row in rows], pa.string()) for place in self._places]
        return pa.RecordBatch.from_arrays(arrays, names=self._wanted)


def _not_utf8(raw: memoryview, ends: NDArray[np.int64]) -> list[int]:
    """Return which lines hold bytes that are not UTF-8; lines end at `ends`."""
    found: list[int] = []
    begin = 0
    while begin < len(raw):
        try:
            str(raw[begin:], "utf-8")
        except UnicodeDecodeError as error:
            line = int(np.searchsorted(ends, begin + error.start, "right"))
            found.append(line)
            begin = int(ends[line])
        else:
            break
    return found


def _joined(left: CsvBatch, right: CsvBatch) -> CsvBatch:
    import pyarrow as pa  # noqa: PLC0415 - as above

    return CsvBatch(
        pa.concat_batches([left.rows, right.rows]),
        np.concatenate([left.records, right.records]),
        left.damaged + right.damaged,
        left.notes + right.notes,
        left.replaced + right.replaced,
    )
