r"""Windows event logs (.evtx), by the Rust-backed package ``evtx``.

The file is a 4096-byte header beginning ``ElfFile\0`` and chunks of 65536 bytes beginning ``ElfChnk\0``; records begin with
``**\0\0``, their size (4 bytes) and their number (8 bytes), little endian (libyal, libevtx, "Windows XML Event Log format").

Where every record stands is found by walking these marks, what it says by the package; a record that the walk finds and the
package does not give is damage with its place, so that one bad record never costs another.
"""

from __future__ import annotations

import importlib
import io
import mmap
import re
import struct
from bisect import bisect_left
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.readers.blocks import Damage, RawRecord, RawRows
from mailwitness.readers.windows_state import Preparer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

_HEADER_BYTES = 4096
_CHUNK_BYTES = 65536
_CHUNK_HEADER_BYTES = 512
_CHUNK_MAGIC = b"ElfChnk\x00"
_RECORD_MAGIC = b"\x2a\x2a\x00\x00"
_SMALLEST_RECORD = 28
_RECORD_HEAD = struct.Struct("<4xIQ")
_FREE_SPACE = struct.Struct("<I")
_FREE_SPACE_AT = 48
_DECODER = msgspec.json.Decoder()
# Attributes are texts without backslashes; braces in them are text.
_INSIDE = r'(?:"[^"\\]*+"|[^"{}]++)*+'
_ATTRIBUTES = r'(?:null|\{"#attributes":\{' + _INSIDE + r"\}\})"
# A System element as the package writes it, and flat event data behind it.
_PLAIN = re.compile(
    r'\{"Event":\{"#attributes":\{'
    + _INSIDE
    + r'\},"System":\{"Provider":\{"#attributes":\{"Name":"([^"\\]++)"'
    + _INSIDE
    + r'\}\},"EventID":(\d++),(?:"Version":\d++,)?+'
    r'"Level":(\d++),"Task":(\d++),(?:"Opcode":\d++,)?+"Keywords":"([^"\\]*+)","TimeCreated":\{"#attributes":\{"SystemTime":"([^"\\]++)"\}\},"EventRecordID":(\d++),'
    r'(?:"Correlation":' + _ATTRIBUTES + r',)?+(?:"Execution":' + _ATTRIBUTES + r",)?+"
    r'"Channel":"([^"\\]++)","Computer":"([^"\\]++)","Security":(?:null|\{"#attributes":\{"UserID":"([^"\\]*+)"\}\})\},'
    r'"EventData":(\{.*\}|null)\}\}\Z',
    re.DOTALL,
)
_UTC_TIME = re.compile(r'"UtcTime":"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)"')
_SCRIPT = re.compile(
    r'\{"MessageNumber":(?:1|"1"),"MessageTotal":(?:1|"1"),"ScriptBlockText":("(?:[^"\\]++|\\.)*+")',
    re.DOTALL,
)
# Events that mean something only together with others of the log, or whose unnamed values get names.
_JOINED = frozenset({"4103", "4656", "4658", "4660", "4663"})
_SCRIPT_BLOCK = "4104"
# Plain rows are handed on in such portions.
_AT_ONCE = 1000


class Place(msgspec.Struct, frozen=True):
    """Where a record stands and which number it bears."""

    offset: int
    length: int
    record: int


def read(path: Path) -> Iterator[RawRecord | RawRows | Damage]:
    """Yield every record of the file in file order, in the shape of `windows_event`; plain ones as rows written already.

    Records the package cannot parse, and bytes that look like a record in a damaged chunk, come as Damage.
    """
    try:
        package = importlib.import_module("evtx")
    except ImportError:
        yield Damage(
            0, path.stat().st_size, 0, "the package evtx is not installed (pip install mailwitness[evtx])"
        )
        return
    preparer = Preparer()
    cursor = _Cursor(walk(path))
    lost: list[Place] = []
    faults: list[str] = []
    yield from _portions(preparer, cursor, _items(package, str(path), faults), lost)
    lost += cursor.rest()
    if lost:
        reason = faults[-1] if faults else "the record cannot be parsed"
        yield from _salvaged(package, path, lost, preparer, reason)


def _portions(
    preparer: Preparer,
    cursor: _Cursor,
    items: Iterator[dict[str, Any]],  # Any: the package's records
    lost: list[Place],
) -> Iterator[RawRecord | RawRows | Damage]:
    """Yield what the package gives; plain records as many rows at once, and every other one alone."""
    rows = RawRows([], [])
    for item in items:
        place = cursor.take(item["event_record_id"], lost)
        row = _row(item["data"])
        if row is not None:
            rows.rows.append(row)
            rows.places.append((place.offset, place.length, 0))
        if rows.rows and (row is None or len(rows.rows) == _AT_ONCE):
            yield rows
            rows = RawRows([], [])
        if row is None:
            yield _record(preparer, item, place, salvaged=False)
    if rows.rows:
        yield rows


def _row(data: str) -> str | None:
    """Write a plain event as a row without parsing its JSON; None when it needs more than its own text.

    Most events of a log are a flat object behind a System element that the package always writes in one order. What is
    joined with other events, has positions instead of names, or nests, goes the long way.
    """
    match = _PLAIN.match(data)
    if match is None:
        return None
    provider, number, level, task, keywords, time, record, channel, computer, sid, content = match.groups()
    if number in _JOINED or "MSExchange" in provider or _is_odd(content):
        return None
    script = _script(content) if number == _SCRIPT_BLOCK else ""
    if script is None:
        return None
    if "Sysmon" in provider and (utc := _UTC_TIME.search(content)) is not None:
        time = utc[1]
    return (
        f'"Time":"{time}","Provider":"{provider}","EventID":{number},"Level":{level},"Task":{task},"Keywords":"{keywords}","Channel":"{channel}",'
        f'"Computer":"{computer}","RecordId":"{record}","UserSid":"{sid or ""}","Message":"",{script}'
        f'"Data":{"{}" if content == "null" else content}}}'
    )


def _is_odd(content: str) -> bool:
    """Tell whether event data holds values that nest or have no names, or text that cannot be handed on as it is."""
    # Written out: this runs once for every record of a log.
    return (
        ":{" in content
        or ":[" in content
        or '"Data":' in content
        or "\\u0000" in content
        or "\\ud" in content
        or "\\uD" in content
    )


def _script(content: str) -> str | None:
    """Return the member with the text of a script that is logged in one part; None for one of several."""
    found = _SCRIPT.match(content)
    return found and f'"Script":{found[1]},'


def _record(
    preparer: Preparer, item: dict[str, Any], place: Place, *, salvaged: bool
) -> RawRecord | Damage:  # Any: the package's record
    try:
        event = preparer.prepare(_DECODER.decode(item["data"]))
    except (msgspec.MsgspecError, RecursionError):
        event = None
    if event is not None and not event["Time"]:
        # The record's own header keeps the time of writing even where the event's content is lost.
        event["Time"] = item["timestamp"].removesuffix(" UTC")
    if event is None:
        return Damage(place.offset, place.length, 0, "it is no Windows event")
    return RawRecord(event, place.offset, place.length, 0, salvaged)


def _salvaged(
    package: ModuleType,
    path: Path,
    lost: list[Place],
    preparer: Preparer,
    reason: str,
) -> Iterator[RawRecord | Damage]:
    """Try each lost record once more in a copy of its chunk whose marks and sizes are put right."""
    for start, group in groupby(lost, key=lambda place: (place.offset - _HEADER_BYTES) // _CHUNK_BYTES):
        places = list(group)
        found: dict[int, dict[str, Any]] = {}  # Any: the package's records
        if start >= 0:
            copy = _repaired(path, _HEADER_BYTES + start * _CHUNK_BYTES)
            found = {item["event_record_id"]: item for item in _items(package, copy, [])}
        for place in places:
            if place.record in found:
                yield _record(preparer, found[place.record], place, salvaged=True)
            else:
                yield Damage(place.offset, place.length, 0, reason)


def _repaired(path: Path, start: int) -> io.BytesIO:
    """Return a log of one chunk: a sound file header, a sound chunk header, and every record with its size."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        places = _chunk(view, start, min(start + _CHUNK_BYTES, len(view)))
        chunk = bytearray(view[start : start + _CHUNK_BYTES].ljust(_CHUNK_BYTES, b"\0"))
    last = places[-1]
    if chunk[:8] != _CHUNK_MAGIC:
        numbers = (places[0].record, last.record) * 2
        chunk[:40] = _CHUNK_MAGIC + struct.pack("<4Q", *numbers)
        chunk[40:52] = struct.pack("<3I", 128, last.offset - start, last.offset + last.length - start)
    end = _CHUNK_HEADER_BYTES
    for place in places:
        at = place.offset - start
        if at - end >= _SMALLEST_RECORD:
            # A record without content over the gap: it fails alone and leads to the next one.
            chunk[end : end + 24] = _RECORD_MAGIC + _FREE_SPACE.pack(at - end) + bytes(16)
        end = at + place.length
        chunk[at + 4 : at + 8] = chunk[at + place.length - 4 : at + place.length] = _FREE_SPACE.pack(
            place.length
        )
    header = bytearray(_HEADER_BYTES)
    header[:8] = b"ElfFile\0"
    header[24:44] = struct.pack("<QIHHHH", last.record + 1, 128, 1, 3, _HEADER_BYTES, 1)
    return io.BytesIO(bytes(header + chunk))


def _items(
    package: ModuleType, log: str | io.BytesIO, faults: list[str]
) -> Iterator[dict[str, Any]]:  # Any: the package's records
    """Yield the records that can be read; why others cannot is added to ``faults``.

    The error comes out of the iterator's next step, after which iteration goes on.
    """
    try:
        records = iter(package.PyEvtxParser(log).records_json())
    except (RuntimeError, OSError, ValueError) as error:
        faults.append(f"the file header cannot be read ({error})")
        return
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except (RuntimeError, OSError, ValueError) as error:
            faults.append(str(error).splitlines()[0][:200])


class _Cursor:
    """Pair the records that the package gives with the places found by the walk."""

    def __init__(self, places: list[Place]) -> None:
        """Start at the first place."""
        self._places = places
        self._at = 0
        self._by_number: dict[int, list[int]] = {}

    def take(self, number: int, passed: list[Place]) -> Place:
        """Return the place of the next record; places passed over on the way to it are added to ``passed``."""
        if self._at < len(self._places) and self._places[self._at].record == number:
            self._at += 1
            return self._places[self._at - 1]
        if not self._by_number:
            by_number: defaultdict[int, list[int]] = defaultdict(list)
            for at, place in enumerate(self._places):
                by_number[place.record].append(at)
            self._by_number = dict(by_number)
        listed = self._by_number.get(number, [])
        next_one = bisect_left(listed, self._at)
        if next_one == len(listed):
            return Place(0, 0, number)
        passed += self._places[self._at : listed[next_one]]
        self._at = listed[next_one] + 1
        return self._places[listed[next_one]]

    def rest(self) -> list[Place]:
        """Return the places that nothing was read from."""
        return self._places[self._at :]


def walk(path: Path) -> list[Place]:
    """Find every record by its marks, also in chunks whose own header is damaged."""
    size = path.stat().st_size
    if size <= _HEADER_BYTES:
        return [Place(0, size, 0)]
    places: list[Place] = []
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for start in range(_HEADER_BYTES, size, _CHUNK_BYTES):
            places += _chunk(view, start, min(start + _CHUNK_BYTES, size))
    return places


def _chunk(view: mmap.mmap, start: int, limit: int) -> list[Place]:
    # Searching bytes is ten times as fast as searching a mapped file.
    chunk = view[start:limit]
    size = end = len(chunk)
    if chunk[:8] == _CHUNK_MAGIC and size >= _CHUNK_HEADER_BYTES:
        # Behind this place lie remains of older records: not part of the log any more.
        free = _FREE_SPACE.unpack_from(chunk, _FREE_SPACE_AT)[0]
        end = min(size, free) if free >= _CHUNK_HEADER_BYTES else size
    places: list[Place] = []
    at = _CHUNK_HEADER_BYTES
    head, tail = _RECORD_HEAD.unpack_from, _FREE_SPACE.unpack_from
    while at + _SMALLEST_RECORD <= end:
        length, number = head(chunk, at)
        is_mark = chunk.startswith(_RECORD_MAGIC, at)
        if is_mark and _SMALLEST_RECORD <= length <= size - at and tail(chunk, at + length - 4)[0] == length:
            places.append(Place(start + at, length, number))
            at += length
            continue
        following = _mark(chunk, at + 4, end)
        if is_mark:
            places.append(Place(start + at, (following if following >= 0 else end) - at, number))
        if following < 0:
            break
        at = following
    return places


def _mark(chunk: bytes, start: int, end: int) -> int:
    """Return where the next mark begins, -1 for none; a search for its zeros would crawl through empty space."""
    at = chunk.find(b"**", start, end)
    while at >= 0 and not chunk.startswith(_RECORD_MAGIC, at, end):
        at = chunk.find(b"**", at + 1, end)
    return at
