"""Splitting many JSON records at once: the quick way for the undamaged parts of a file."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.json_layout import Layout

    Positions = NDArray[np.int64]

_CHECKER = msgspec.json.Decoder(msgspec.Raw)
_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_FAULT_PLACE = re.compile(r"\(byte (\d+)\)")
_COMMA = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_ATTEMPTS = 4
# A byte that no valid JSON text holds marks the ends of records while line ends become spaces.
_MARK = b"\x1e"
_UNFOLD = bytes.maketrans(b"\r\n" + _MARK, b"  \n")


class Batch(msgspec.Struct, frozen=True):
    """Hold complete, valid records that follow one another.

    `starts` and `lengths` are relative to the beginning of the batch, `newlines` the number of line ends
    before each record, `end` the place after the last record.
    """

    records: list[msgspec.Raw]
    starts: Positions
    lengths: Positions
    newlines: Positions
    is_folded: bool
    end: int


def take_batch(text: bytes, start: int, end: int, layout: Layout) -> Batch | None:
    """Return as many records as can be proved good in `text[start:end]`, or None.

    The last seam between records is guessed from the layout and proved by decoding everything before it in
    one call: the decoder checks syntax at more than 2 GB/s and stops at the first fault, whose place tells
    where to cut next. So a guess can be wrong but never the result.
    """
    cut = layout.last_seam(text, start, end)
    for _ in range(_ATTEMPTS):
        if cut < 0:
            return None
        try:
            chunk, records = _decode(text, start, cut, layout)
        except RecursionError:
            return None
        except msgspec.DecodeError as error:
            fault = _FAULT_PLACE.search(str(error))
            # The first byte is the bracket put before the chunk. Some faults come without a place.
            end = start + (int(fault[1]) - 1 if fault else (cut - start) // 4)
            cut = layout.last_seam(text, start, end)
            continue
        batch = _placed(chunk, records, layout, cut) if records else None
        return batch if batch is None or layout.columns is None else _only_rows(batch, layout)
    return None


def take_lines(text: bytes, start: int, end: int, layout: Layout) -> Batch | None:
    """Return the good records from `start` up to the first that is none, where each stands on a line of its own; None when there are none.

    Beside damage, where batches as large as `take_batch` has them would be tried in vain. Only what is followed by another opening bracket is
    taken: what the rest belongs to has to be looked at.
    """
    gap, (opening, closing) = layout.gap or b"", (layout.brackets[:1], layout.brackets[1:])
    stop = text.rfind(gap + opening, start, end) if layout.lead is not None and b"," in gap else -1
    if stop < 0 or layout.columns is not None:
        return None
    records: list[msgspec.Raw] = []
    pieces = text[start:stop].split(gap)
    for piece, following in pairwise([*pieces, opening]):
        if not (piece.startswith(opening) and piece.endswith(closing) and following.startswith(opening)):
            break
        if not _is_one_line(piece):
            break
        records.append(msgspec.Raw(piece))
    return _of_lines(records, start, gap)


def _is_one_line(record: bytes) -> bool:
    if b"\n" in record or b"\r" in record:
        return False
    try:
        _CHECKER.decode(record)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _of_lines(records: list[msgspec.Raw], start: int, gap: bytes) -> Batch | None:
    if not records:
        return None
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    starts = np.cumsum(lengths + len(gap)) - lengths - len(gap)
    newlines = np.arange(len(records), dtype=np.int64) * gap.count(b"\n")
    end = start + int(starts[-1] + lengths[-1])
    return Batch(records, starts, lengths, newlines, is_folded=False, end=end)


def _only_rows(batch: Batch, layout: Layout) -> Batch | None:
    """Cut the batch before the first row that has not one cell for each column."""
    good = 0
    for record in batch.records:
        if not layout.resembles(bytes(record)):
            break
        good += 1
    return _first(batch, good)


def _first(batch: Batch, good: int) -> Batch | None:
    """Return the batch with so many of its records; None when none are left."""
    if good == len(batch.records):
        return batch
    if good == 0:
        return None
    lost = int(batch.starts[-1] + batch.lengths[-1] - batch.starts[good - 1] - batch.lengths[good - 1])
    return Batch(
        batch.records[:good],
        batch.starts[:good],
        batch.lengths[:good],
        batch.newlines[:good],
        batch.is_folded,
        batch.end - lost,
    )


def _decode(text: bytes, start: int, end: int, layout: Layout) -> tuple[bytes, list[msgspec.Raw]]:
    """Decode `text[start:end]` as a list; return it in brackets, and no records when that cannot be done.

    Without a comma in the learned gap its first byte becomes one for the decoder: the length stays, and a
    count proves that no seam was replaced inside a string.
    """
    # One copy, not two: copying costs as much as decoding.
    listed = b"".join((b"[", memoryview(text)[start:end], b"]"))
    gap = layout.gap or b""
    if b"," in gap:
        return listed, _RECORDS.decode(listed)
    if not gap:
        return listed, []
    opening, closing = layout.brackets[:1], layout.brackets[1:]
    seam = closing + gap + opening
    records = _RECORDS.decode(listed.replace(seam, closing + b"," + gap[1:] + opening))
    return listed, records if len(records) == listed.count(seam) + 1 else []


def _placed(chunk: bytes, records: list[msgspec.Raw], layout: Layout, end: int) -> Batch | None:
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    data = np.frombuffer(chunk, np.uint8)[1:-1]
    starts = _regular_starts(data, lengths, layout)
    if starts is None:
        starts = _irregular_starts(chunk, lengths)
    if starts is None:
        return None
    breaks = np.flatnonzero(data == ord("\n")) if b"\n" in chunk else np.zeros(0, np.int64)
    newlines = np.searchsorted(breaks, starts)
    batch = Batch(records, starts, lengths, newlines, bool(len(breaks)) or b"\r" in chunk, end)
    others = np.flatnonzero(data[starts] != layout.brackets[0])
    return _first(batch, int(others[0])) if len(others) else batch


def _regular_starts(data: NDArray[np.uint8], lengths: Positions, layout: Layout) -> Positions | None:
    """Return where the records start if the learned gap stands between all of them, else None.

    By induction exact: a record whose start is right ends right, and the gap found there byte for byte,
    followed by an opening bracket, leaves no other place for the next start.
    """
    gap = layout.gap or b""
    starts = np.cumsum(lengths + len(gap)) - lengths - len(gap)
    if starts[-1] + lengths[-1] != len(data):
        return None
    ends = (starts + lengths)[:-1]
    for place, byte in enumerate(gap):
        if not bool((data[ends + place] == byte).all()):
            return None
    return starts if bool((data[starts] == layout.brackets[0]).all()) else None


def _irregular_starts(chunk: bytes, lengths: Positions) -> Positions | None:
    starts = []
    place = 1
    for length in lengths.tolist():
        starts.append(place - 1)
        comma = _COMMA.match(chunk, place + length)
        if comma is None:
            break
        place = comma.end()
    return np.array(starts, np.int64) if len(starts) == len(lengths) else None


def as_lines(batch: Batch) -> bytes:
    """Return the records of a batch, each on one line with a line end."""
    if not batch.is_folded:
        return b"\n".join([*batch.records, b""])
    # Valid JSON has line ends outside strings only, where a space means the same.
    return _MARK.join([*batch.records, b""]).translate(_UNFOLD)
