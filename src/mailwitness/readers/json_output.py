"""Collecting what a JSON file was split into: lines, their index, damage."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mailwitness.readers.blocks import Damage
from mailwitness.readers.index import RecordIndex, build_index
from mailwitness.readers.json_batch import Batch, as_lines
from mailwitness.readers.json_layout import cells_of

if TYPE_CHECKING:
    from typing import BinaryIO


class SplitResult(msgspec.Struct, frozen=True):
    """Describe a JSON file after splitting.

    Attributes:
        index: place of each record in the original; record n is line n of the written lines.
        damaged: what is not a record, in file order. Records, damage, wrapper members, brackets, commas and
            whitespace are together the whole file.
        kind: `array`, `wrapped`, `tables`, `object` or `concatenated`. wrapper: plain members around the
        records, such as `@odata.nextLink`; of several wrappers the last wins. mended: numbers of records
        whose line differs from the original by more than whitespace: control
            characters inside strings are escaped there.
    """

    index: RecordIndex
    damaged: list[Damage]
    kind: str
    wrapper: dict[str, object]
    mended: list[int]


class Output:
    """Write records as lines and remember where each came from."""

    def __init__(self, stream: BinaryIO) -> None:
        """Write to an open binary stream."""
        self._stream = stream
        self._columns: list[bytes] | None = None
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._lines = array("Q")
        self.damaged: list[Damage] = []
        self.mended: list[int] = []

    def use_columns(self, columns: list[str] | None) -> None:
        """Turn the rows that follow into objects with these keys; None: records are objects already."""
        self._columns = None if columns is None else [msgspec.json.encode(name) + b":" for name in columns]

    def add_batch(self, batch: Batch, offset: int, line: int) -> None:
        """Write a batch that starts at a file offset on a line."""
        if self._columns is None:
            self._stream.write(as_lines(batch))
        else:
            self._stream.write(b"".join(self._row_line(bytes(record)) for record in batch.records))
        self._offsets.frombytes((batch.starts + offset).astype(np.uint64).tobytes())
        self._lengths.frombytes(batch.lengths.astype(np.uint64).tobytes())
        self._lines.frombytes((batch.newlines + line).astype(np.uint64).tobytes())

    def add(self, line_text: bytes, place: tuple[int, int, int], *, is_mended: bool = False) -> None:
        """Write one record; `place` is its (offset, length, line) in the original."""
        if is_mended:
            self.mended.append(len(self._offsets))
        self._stream.write(line_text + b"\n" if self._columns is None else self._row_line(line_text))
        for values, value in zip((self._offsets, self._lengths, self._lines), place, strict=True):
            values.append(value)

    def _row_line(self, row: bytes) -> bytes:
        cells = cells_of(row) or []
        pairs = (key + bytes(cell) for key, cell in zip(self._columns or (), cells, strict=True))
        line = b"{" + b",".join(pairs) + b"}\n"
        return line if line.find(b"\n") == len(line) - 1 else line[:-1].replace(b"\n", b" ") + b"\n"

    def index(self) -> RecordIndex:
        """Return the index of everything written."""
        pieces = ([np.array(values, np.uint64)] for values in (self._offsets, self._lengths, self._lines))
        return build_index(*pieces)
