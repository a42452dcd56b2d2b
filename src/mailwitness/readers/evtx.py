r"""Windows event logs (.evtx), by the Rust-backed package ``evtx``.

The file is a 4096-byte header beginning ``ElfFile\0`` and chunks of 65536 bytes beginning ``ElfChnk\0``; records begin with
``**\0\0``, their size (4 bytes), their number (8 bytes) and the time of writing (8 bytes), little endian (libyal, libevtx,
"Windows XML Event Log format").

Where every record stands is found by walking these marks, what it says by the package; a record that the walk finds and the
package does not give is damage with its place, so that one bad record never costs another.
"""

from __future__ import annotations

import datetime as dt
import importlib
import io
import struct
from array import array
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from mailwitness.readers.windows_state import Preparer

_HEADER_BYTES = 4096
_CHUNK_BYTES = 65536
_CHUNK_HEADER_BYTES = 512
_CHUNK_MAGIC = b"ElfChnk\x00"
_RECORD_MAGIC = b"\x2a\x2a\x00\x00"
_RECORD_MARK = 0x2A2A
_SMALLEST_RECORD = 28
_RECORD_HEAD = struct.Struct("<IIQ")
_RECORD_BEGIN = struct.Struct("<II")
# Logs grow by several chunks at once.
_UNUSED = bytes(_CHUNK_BYTES)
# From so many records on it is quicker to look at all sizes of a chunk at once.
_WORTH_IT = 16
_WRITTEN = struct.Struct("<16xQ")
_FREE_SPACE = struct.Struct("<I")
_FREE_SPACE_AT = 48
_DECODER = msgspec.json.Decoder()
# So much of a file is looked through at once; more would be new memory each time, which is slow to get.
_BLOCK_BYTES = _CHUNK_BYTES
# Records are handed on in such portions: larger texts would be new memory each time, which is slow to get.
_AT_ONCE = 128
# Times of records count tenths of microseconds from here.
_FIRST_DAY = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """Records that follow one another.

    Attributes:
        texts: what they say, each as the JSON text of one object; none where they are damaged.
        offsets: where they stand in the file.
        lengths: their bytes.
        salvaged: they could only be read in a mended copy.
        reason: why they are damaged; empty where they are not.
    """

    texts: list[str]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    salvaged: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where the records of a file stand and which numbers they bear, in the order of the file."""

    offsets: array[int]
    lengths: array[int]
    numbers: array[int]

    @staticmethod
    def none() -> Places:
        """Return none; more are added to its members."""
        return Places(array("q"), array("q"), array("Q"))


def pieces(path: Path) -> Iterator[Piece]:
    """Yield the records of the file in file order, and behind them those that need mending.

    Records the package cannot parse, and bytes that look like a record in a damaged chunk, come with a reason.
    """
    try:
        package = importlib.import_module("evtx")
    except ImportError:
        size = np.array([path.stat().st_size])
        yield Piece(
            [], size * 0, size, reason="the package evtx is not installed (pip install mailwitness[evtx])"
        )
        return
    places = walk(path)
    pairing = _Pairing(places)
    faults: list[str] = []
    for items in _portions(package, str(path), faults):
        yield pairing.piece(items)
    lost = pairing.lost()
    if lost:
        yield from _mended(
            package, path, places, lost, faults[-1] if faults else "the record cannot be parsed"
        )


def record(preparer: Preparer, text: bytes, path: Path, item: Piece, at: int) -> RawRecord | Damage:
    """Return one record of a piece in the shape of `windows_event`.

    Args:
        preparer: knows the earlier records of the file.
        text: JSON text of the record.
        path: the file.
        item: the piece.
        at: number of the record in it.
    """
    offset, length = int(item.offsets[at]), int(item.lengths[at])
    try:
        event = preparer.prepare(_DECODER.decode(text))
    except (msgspec.MsgspecError, RecursionError):
        event = None
    if event is None:
        return Damage(offset, length, 0, "it is no Windows event")
    if not event["Time"]:
        # The record's own header keeps the time of writing even where the event's content is lost.
        event["Time"] = _written(path, offset)
    return RawRecord(event, offset, length, 0, item.salvaged)


def lines(texts: list[str], members: str) -> bytes:
    """Return records as lines, further members before their own.

    Args:
        texts: of a piece.
        members: JSON text of the members, a comma behind each.
    """
    start = "{" + members
    return (start + f"\n{start}".join([text[1:] for text in texts]) + "\n").encode()


def _written(path: Path, offset: int) -> str:
    with path.open("rb") as handle:
        handle.seek(offset)
        head = handle.read(_WRITTEN.size)
    if not head.startswith(_RECORD_MAGIC) or len(head) < _WRITTEN.size:
        return ""
    try:
        moment = _FIRST_DAY + dt.timedelta(microseconds=_WRITTEN.unpack_from(head)[0] // 10)
    except OverflowError:
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


# -- what the package gives ----------------------------------------------------------------------------------------------


def _portions(
    package: ModuleType, log: str | io.BytesIO, faults: list[str]
) -> Iterator[list[dict[str, Any]]]:  # Any: the package's records
    """Yield the records that can be read, many at once; why others cannot is added to ``faults``.

    The error comes out of the iterator's next step, after which iteration goes on.
    """
    try:
        records = iter(package.PyEvtxParser(log).records_json())
    except (RuntimeError, OSError, ValueError) as error:
        faults.append(f"the file header cannot be read ({error})")
        return
    is_over = False
    while not is_over:
        items: list[dict[str, Any]] = []
        while not is_over and len(items) < _AT_ONCE:
            before = len(items)
            try:
                # What came before an error stays in the list.
                items.extend(islice(records, _AT_ONCE - before))
                is_over = len(items) < _AT_ONCE
            except (RuntimeError, OSError, ValueError) as error:
                faults.append(str(error).splitlines()[0][:200])
            except BaseException as error:
                if type(error).__name__ != "PanicException":
                    raise
                # The package gave up in the middle: what it did not give is looked for chunk by chunk.
                faults.append("the reader stopped")
                is_over = True
        if items:
            yield items


class _Pairing:
    """Pair the records that the package gives with the places found by the walk."""

    def __init__(self, places: Places) -> None:
        """Start at the first place."""
        self._places = places
        self._numbers = np.frombuffer(places.numbers, dtype=np.uint64)
        # One more for a record that the walk did not find: it stands nowhere.
        self._offsets = np.append(np.frombuffer(places.offsets, dtype=np.int64), 0)
        self._lengths = np.append(np.frombuffer(places.lengths, dtype=np.int64), 0)
        self._at = 0
        self._lost = array("q")
        self._by_number: tuple[NDArray[np.intp], NDArray[np.uint64]] | None = None

    def piece(self, items: list[dict[str, Any]]) -> Piece:  # Any: the package's records
        """Return the next records with their places."""
        numbers = np.array(list(map(itemgetter("event_record_id"), items)), dtype=np.uint64)
        end = self._at + len(numbers)
        found: slice | list[int]
        if np.array_equal(self._numbers[self._at : end], numbers):
            found = slice(self._at, end)
            self._at = end
        else:
            found = [self._next(number) for number in numbers.tolist()]
        texts = list(map(itemgetter("data"), items))
        return Piece(texts, self._offsets[found], self._lengths[found])

    def _next(self, number: int) -> int:
        """Return which place the next record has, the last one for nowhere; those passed over on the way to it are lost."""
        at = self._at
        if at >= len(self._numbers) or self._places.numbers[at] != number:
            at = self._search(number)
            if at < 0:
                return at
            self._lost.extend(range(self._at, at))
        self._at = at + 1
        return at

    def _search(self, number: int) -> int:
        """Return the next place of a record that bears a number, -1 for none."""
        if self._by_number is None:
            order = np.argsort(self._numbers, kind="stable")
            self._by_number = order, self._numbers[order]
        order, listed = self._by_number
        wanted = np.uint64(number)
        same = order[np.searchsorted(listed, wanted, "left") : np.searchsorted(listed, wanted, "right")]
        following = int(np.searchsorted(same, self._at))
        return int(same[following]) if following < len(same) else -1

    def lost(self) -> list[int]:
        """Return the places that nothing was read from, when all is read."""
        return [*self._lost, *range(self._at, len(self._numbers))]


# -- records that are lost because of others -----------------------------------------------------------------------------


def _mended(package: ModuleType, path: Path, places: Places, lost: list[int], reason: str) -> Iterator[Piece]:
    """Try each lost record once more in a copy of its chunk whose marks and sizes are put right."""
    with path.open("rb") as handle:
        for chunk, group in groupby(
            lost, key=lambda at: (places.offsets[at] - _HEADER_BYTES) // _CHUNK_BYTES
        ):
            found: dict[int, str] = {}
            if chunk >= 0:
                copy = _repaired(handle, _HEADER_BYTES + chunk * _CHUNK_BYTES)
                for items in _portions(package, copy, []):
                    found |= {item["event_record_id"]: item["data"] for item in items}
            for is_found, run in groupby(group, key=lambda at: places.numbers[at] in found):
                listed = list(run)
                texts = [found[places.numbers[at]] for at in listed] if is_found else []
                offsets = np.array([places.offsets[at] for at in listed], dtype=np.int64)
                lengths = np.array([places.lengths[at] for at in listed], dtype=np.int64)
                yield Piece(texts, offsets, lengths, is_found, "" if is_found else reason)


def _repaired(handle: BinaryIO, start: int) -> io.BytesIO:
    """Return a log of one chunk: a sound file header, a sound chunk header, and every record with its size."""
    handle.seek(start)
    content = handle.read(_CHUNK_BYTES)
    places = Places.none()
    _chunk(bytearray(content), 0, 0, len(content), places)
    chunk = bytearray(content.ljust(_CHUNK_BYTES, b"\0"))
    last, last_length = places.offsets[-1], places.lengths[-1]
    if chunk[:8] != _CHUNK_MAGIC:
        numbers = (places.numbers[0], places.numbers[-1]) * 2
        chunk[:40] = _CHUNK_MAGIC + struct.pack("<4Q", *numbers)
        chunk[40:52] = struct.pack("<3I", 128, last, last + last_length)
    end = _CHUNK_HEADER_BYTES
    for at, length in zip(places.offsets, places.lengths, strict=True):
        if at - end >= _SMALLEST_RECORD:
            # A record without content over the gap: it fails alone and leads to the next one.
            chunk[end : end + 24] = _RECORD_MAGIC + _FREE_SPACE.pack(at - end) + bytes(16)
        end = at + length
        chunk[at + 4 : at + 8] = chunk[end - 4 : end] = _FREE_SPACE.pack(length)
    header = bytearray(_HEADER_BYTES)
    header[:8] = b"ElfFile\0"
    header[24:44] = struct.pack("<QIHHHH", places.numbers[-1] + 1, 128, 1, 3, _HEADER_BYTES, 1)
    return io.BytesIO(bytes(header + chunk))


# -- where records stand ---------------------------------------------------------------------------------------------------


def walk(path: Path) -> Places:
    """Find every record by its marks, also in chunks whose own header is damaged."""
    size = path.stat().st_size
    if size <= _HEADER_BYTES:
        return Places(array("q", [0]), array("q", [size]), array("Q", [0]))
    places = Places.none()
    # Reading into the same memory again and again costs a fifth of mapping the file.
    block = bytearray(min(_BLOCK_BYTES, size - _HEADER_BYTES))
    with path.open("rb", buffering=0) as handle:
        start = handle.seek(_HEADER_BYTES)
        while count := handle.readinto(block):
            for at in range(0, count, _CHUNK_BYTES):
                _chunk(block, start, at, min(at + _CHUNK_BYTES, count), places)
            start += count
    return places


def _chunk(block: bytearray, start: int, first: int, limit: int, places: Places) -> None:
    """Add the places of the records of a chunk.

    Args:
        block: part of the file.
        start: where the block stands in it.
        first: where the chunk begins in the block.
        limit: where it ends.
        places: what to add to.
    """
    end = limit
    if block.startswith(_CHUNK_MAGIC, first) and limit - first >= _CHUNK_HEADER_BYTES:
        # Behind this place lie remains of older records: not part of the log any more.
        free = _FREE_SPACE.unpack_from(block, first + _FREE_SPACE_AT)[0]
        end = min(limit, first + free) if free >= _CHUNK_HEADER_BYTES else limit
    if block[first:limit] == _UNUSED[: limit - first] or _add_regular(block, start, first, end, places):
        return
    offsets, lengths, numbers = places.offsets.append, places.lengths.append, places.numbers.append
    at = first + _CHUNK_HEADER_BYTES
    head, tail, last = _RECORD_HEAD.unpack_from, _FREE_SPACE.unpack_from, end - _SMALLEST_RECORD
    while at <= last:
        mark, length, number = head(block, at)
        is_mark = mark == _RECORD_MARK
        following = at + length
        if is_mark and _SMALLEST_RECORD <= length <= limit - at and tail(block, following - 4)[0] == length:
            offsets(start + at)
            lengths(length)
            numbers(number)
            at = following
            continue
        following = _mark(block, at + 4, end)
        if is_mark:
            offsets(start + at)
            lengths((following if following >= 0 else end) - at)
            numbers(number)
        if following < 0:
            break
        at = following


def _add_regular(block: bytearray, start: int, first: int, end: int, places: Places) -> bool:
    """Add the places of the records of a chunk where each follows the one before it; False when anything is odd, or not worth it."""
    found: list[int] = []
    at, last = first + _CHUNK_HEADER_BYTES, end - _SMALLEST_RECORD
    head, add = _RECORD_BEGIN.unpack_from, found.append
    # Written out: this runs once for every record of a log.
    while at <= last:
        mark, length = head(block, at)
        if mark != _RECORD_MARK or length < _SMALLEST_RECORD or length % 4:
            return False
        add(at)
        at += length
    if at > end or len(found) < _WORTH_IT:
        return False
    words = np.frombuffer(block, dtype="<u4", count=len(block) // 4)
    records = np.array(found)
    heads = records // 4
    lengths = words[heads + 1].astype(np.int64)
    if (words[heads + lengths // 4 - 1] != lengths).any():
        return False
    numbers = words[heads + 2].astype(np.uint64) | words[heads + 3].astype(np.uint64) << np.uint64(32)
    places.offsets.frombytes((records + start).tobytes())
    places.lengths.frombytes(lengths.tobytes())
    places.numbers.frombytes(numbers.tobytes())
    return True


def _mark(block: bytearray, start: int, end: int) -> int:
    """Return where the next mark begins, -1 for none; a search for its zeros would crawl through empty space."""
    at = block.find(b"**", start, end)
    while at >= 0 and not block.startswith(_RECORD_MAGIC, at, end):
        at = block.find(b"**", at + 1, end)
    return at
