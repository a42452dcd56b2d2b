"""The store of the witness: append records once, keep the tree over them, sign its head. There is no other way to write.

A record is acknowledged when :meth:`Store.append` has returned: its frame is on disk by then. Segments hold everything; places, tree
and key index beside them are computed from the segments and are mended from there whenever they lag behind.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import StoreDamaged, WitnessError
from mailwitness.witness import segments
from mailwitness.witness.heads import Head, newest
from mailwitness.witness.keyindex import RECENT, KeyIndex, short_key
from mailwitness.witness.merkle import FileNodes, Tree, leaf_hash
from mailwitness.witness.records import Entry, Kind, frame, parse, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mailwitness.witness.heads import Signer

_PLACE = struct.Struct(">IQI")
_MARK = struct.Struct(">QI")
# Small enough to copy and to verify one by one, large enough that a day has a few hundred at most.
SEGMENT_BYTES = 64 << 20
_HEAD_AGE_US = 60_000_000
# Segments kept open for reading.
_READERS = 8
_KEEP = "Keep the folder as it is and compare it with its copies elsewhere."


class Store:
    """The open store; one process writes at a time.

    Args:
        folder: the store; made when missing.
        signer: signs heads.
        segment_bytes: a segment that is larger is closed.
        guard: ask the kernel for append-only and immutable files.
        is_synced: wait for the disk before acknowledging; without it a power cut may take the last seconds.
        closed: told the path of each segment that is finished.
        recent: content keys kept in memory.

    Raises:
        StoreDamaged: acknowledged records are missing, or do not lead to a head that was signed.
        WitnessError: another process has the store open.
    """

    def __init__(
        self,
        folder: Path,
        *,
        signer: Signer,
        segment_bytes: int = SEGMENT_BYTES,
        guard: bool = True,
        is_synced: bool = True,
        closed: Callable[[Path], None] | None = None,
        recent: int = RECENT,
    ) -> None:
        self.folder = folder
        self.signer = signer
        self.notes: list[str] = []
        self._segment_bytes, self._guard, self._synced, self._recent = segment_bytes, guard, is_synced, recent
        self._closed = closed
        self._segments = folder / "segments"
        self._segments.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self._handles: list[int] = []
        self._readers: dict[int, int] = {}
        self._head: Head | None = None
        self._is_sound = False
        self._end = 0
        self._recover()
        self._check_last_head()

    # -- reading ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Return the number of records."""
        return self.tree.size

    def payload(self, number: int) -> bytes:
        """Return the stored bytes of a record.

        Raises:
            ValueError: there is no such record.
        """
        if not 0 <= number < self.size:
            message = f"there is no record {number} among {self.size}"
            raise ValueError(message)
        segment, offset, length = _PLACE.unpack(os.pread(self._places, _PLACE.size, number * _PLACE.size))
        return os.pread(self._reader(segment), length, offset)

    def payloads(self, start: int, *, most: int, most_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Yield numbers and stored bytes from record ``start`` on; at least one when there is one."""
        total = 0
        for number in range(max(start, 0), min(max(start, 0) + most, self.size)):
            content = self.payload(number)
            total += len(content)
            yield number, content
            if total >= most_bytes:
                return

    def find(self, wanted: Entry) -> int | None:
        """Return the number of the record with the client and content key of ``wanted``, or None."""
        return self._known([wanted])[1][0]

    def _reader(self, segment: int) -> int:
        """Return a descriptor for reading a segment; the last few are kept open."""
        if segment not in self._readers:
            if len(self._readers) >= _READERS:
                os.close(self._readers.pop(next(iter(self._readers))))
            path = segments.path_of(self._segments, segment)
            self._readers[segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._readers[segment]

    # -- writing ------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], *, now_us: int) -> list[tuple[int, bool]]:
        """Store the entries that are not there yet; everything is on disk when this returns.

        Args:
            entries: in the order of the log.
            now_us: time of reception, microseconds since 1970 UTC.

        Returns:
            For each entry its number in the log, and whether it is new.

        Raises:
            OSError: the disk is full or fails; nothing of this call counts as acknowledged.
        """
        if not self._is_sound:
            self._recover()
        keys, known = self._known(entries)
        fresh = [i for i, number in enumerate(known) if number is None]
        numbers: list[int] = [-1 if number is None else number for number in known]
        fresh = self._number(fresh, entries, keys, numbers)
        if fresh:
            self._is_sound = False
            self._write([payload(entries[i], now_us) for i in fresh], [keys[i] for i in fresh])
            self._is_sound = True
            if self._end > self._segment_bytes:
                self._roll()
        added = set(fresh)
        return [(number, i in added) for i, number in enumerate(numbers)]

    def head(self, *, now_us: int, is_fresh: bool = False) -> Head:
        """Return a signed head of everything stored; one of the last minute when nothing came since."""
        last = self._head
        if last and last.size == self.size and not is_fresh and 0 <= now_us - last.time_us < _HEAD_AGE_US:
            return last
        self._head = self.signer.sign(self.size, self.tree.root(), time_us=now_us)
        return self._head

    def publish(self, *, now_us: int) -> Head:
        """Sign a head and add it to ``heads.jsonl``."""
        head = self.head(now_us=now_us, is_fresh=True)
        descriptor = os.open(
            self.folder / "heads.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, msgspec.json.encode(head) + b"\n")
            if self._synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return head

    def close(self) -> None:
        """Close all files; everything acknowledged is on disk already."""
        self._close_files()
        os.close(self._lock)

    # -- what is known already ----------------------------------------------------------------

    def _known(self, entries: Sequence[Entry]) -> tuple[list[int | None], list[int | None]]:
        """Return the index keys of entries, and the numbers of those that are stored already."""
        keys = [short_key(e.client, e.key) if e.kind == Kind.SHIPPED else None for e in entries]
        asked = [(i, key) for i, key in enumerate(keys) if key is not None]
        known: list[int | None] = [None] * len(entries)
        for (i, _), candidates in zip(asked, self.keys.find([key for _, key in asked]), strict=True):
            for number in candidates:
                record = parse(self.payload(number))
                if (record.client, record.key) == (entries[i].client, entries[i].key):
                    known[i] = number
        return keys, known

    def _number(
        self, fresh: list[int], entries: Sequence[Entry], keys: list[int | None], numbers: list[int]
    ) -> list[int]:
        """Give new entries their numbers; the same entry twice in one call gets one."""
        seen: dict[tuple[str, bytes], int] = {}
        kept: list[int] = []
        for i in fresh:
            identity = (entries[i].client, entries[i].key)
            if keys[i] is not None and identity in seen:
                numbers[i] = seen[identity]
                continue
            numbers[i] = seen[identity] = self.size + len(kept)
            kept.append(i)
        return kept

    def _write(self, contents: list[bytes], keys: list[int | None]) -> None:
        first = self.size
        joined = b"".join(frame(content) for content in contents)
        _write_all(self._segment, joined)
        if self._synced:
            os.fdatasync(self._segment)
        offset, places = self._end, []
        for content in contents:
            offset += 8  # length and checksum
            places.append(_PLACE.pack(self._number_of_segment, offset, len(content)))
            offset += len(content)
        self._end = offset
        _pwrite_all(self._places, b"".join(places), first * _PLACE.size)
        self.tree.append([leaf_hash(content) for content in contents])
        self.keys.add(keys, first)
        self._mark(self.size)

    def _mark(self, size: int) -> None:
        """Note how many records are acknowledged, so that missing ones can be told from a torn tail."""
        content = struct.pack(">Q", size)
        os.pwrite(self._watermark, content + struct.pack(">I", zlib.crc32(content)), 0)

    # -- segments -----------------------------------------------------------------------------

    def _roll(self, *, torn: int = 0) -> None:
        """Close the present segment for good and begin the next."""
        closed, end = self._number_of_segment, self._end
        os.fsync(self._segment)
        self._sync_derived()
        header = segments.Header(
            segment=closed + 1, first=self.size, log=self.signer.log, previous_end=end, previous_torn=torn
        )
        path = segments.create(self._segments, header)
        os.close(self._segment)
        self._handles.remove(self._segment)
        self._note(segments.immutable if self._guard else None, segments.path_of(self._segments, closed))
        self._begin(path)
        if self._closed is not None:
            self._closed(segments.path_of(self._segments, closed))

    def _begin(self, path: Path) -> None:
        self._note(segments.append_only if self._guard else None, path)
        self._segment = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._handles.append(self._segment)
        self._number_of_segment = int(path.stem)
        self._end = path.stat().st_size

    def _note(self, guard: Callable[[Path], str] | None, path: Path) -> None:
        reason = guard(path) if guard else ""
        if reason and not self.notes:
            self.notes.append(f"the kernel does not guard segments against change here: {reason}")

    def _sync_derived(self) -> None:
        self.nodes.sync()
        os.fsync(self._places)
        os.fsync(self._watermark)

    # -- opening ------------------------------------------------------------------------------

    def _take_lock(self) -> int:
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise WitnessError(
                "another process has this store open", place=str(self.folder), remedy="Stop it first."
            ) from error
        return descriptor

    def _close_files(self) -> None:
        if hasattr(self, "nodes"):
            self.nodes.close()
        for handle in [*self._handles, *self._readers.values()]:
            os.close(handle)
        self._handles, self._readers = [], {}

    def _recover(self) -> None:
        """Open everything as the segments say; what was derived from them is mended."""
        self._close_files()
        listed = segments.paths(self._segments)
        if not listed:
            listed = [
                segments.create(self._segments, segments.Header(segment=1, first=0, log=self.signer.log))
            ]
        header = segments.header_of(listed[-1])[0]
        if header.log != self.signer.log:
            raise StoreDamaged(
                f"it belongs to log {header.log}, and the keys to {self.signer.log}",
                place=str(listed[-1]),
                remedy="Name the folder of keys that belongs to this store.",
            )
        first = self._open_derived(header)
        torn = self._replay(first)
        self._check_mark()
        self._begin(listed[-1])
        if torn:
            self._end -= torn
            self._roll(torn=torn)
        self._is_sound = True

    def _open_derived(self, header: segments.Header) -> int:
        """Open places and tree up to the last segment; returns the segment to read again from."""
        index = self.folder / "index"
        index.mkdir(mode=0o700, exist_ok=True)
        self._places = self._open_file(index / "places")
        self._watermark = self._open_file(self.folder / "watermark")
        known = os.fstat(self._places).st_size // _PLACE.size
        self.nodes = FileNodes(index / "tree", size=header.first)
        if min(known, self.nodes.count(0)) >= header.first:
            self.tree = Tree(self.nodes)
            return header.segment
        self.nodes.close()
        self.nodes = FileNodes(index / "tree", size=0)
        self.tree = Tree(self.nodes)
        return 1

    def _open_file(self, path: Path) -> int:
        self._handles.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return self._handles[-1]

    def _replay(self, first: int) -> int:
        """Compute places and tree of the segments from ``first`` on; returns the bytes of a torn tail."""
        batch: list[segments.Placed] = []
        for placed in segments.scan(self._segments, first=first):
            batch.append(placed)
            if len(batch) >= 10_000:  # noqa: PLR2004 - keeps memory small; any number does
                self._derive(batch)
                batch = []
        self._derive(batch)
        os.ftruncate(self._places, self.size * _PLACE.size)
        self.keys = KeyIndex(self.folder / "index" / "keys", size=self.size, recent=self._recent)
        for number in range(self.keys.covered, self.size):
            record = parse(self.payload(number))
            self.keys.add(
                [short_key(record.client, record.key) if record.kind == Kind.SHIPPED else None], number
            )
        last = segments.Scan(segments.paths(self._segments)[-1])
        for _ in last:
            pass
        return last.torn

    def _derive(self, batch: list[segments.Placed]) -> None:
        if not batch:
            return
        places = b"".join(_PLACE.pack(p.segment, p.offset + 8, len(p.payload)) for p in batch)
        _pwrite_all(self._places, places, batch[0].number * _PLACE.size)
        self.tree.append([leaf_hash(p.payload) for p in batch])

    def _check_mark(self) -> None:
        content = os.pread(self._watermark, _MARK.size, 0)
        marked = 0
        if len(content) == _MARK.size and zlib.crc32(content[:8]) == _MARK.unpack(content)[1]:
            marked = int(_MARK.unpack(content)[0])
        if self.size < marked:
            message = f"{marked} records were acknowledged, and {self.size} are here"
            raise StoreDamaged(message, place=str(self._segments), remedy=_KEEP)
        self._mark(self.size)

    def _check_last_head(self) -> None:
        path = self.folder / "heads.jsonl"
        head = newest(path, self.signer.log)
        if head is not None:
            self._check_head(head, path)

    def _check_head(self, head: Head, path: Path) -> None:
        if head.size > self.size or self.tree.root(head.size).hex() != head.root:
            message = f"the {self.size} records here do not lead to the signed head of {head.size}"
            raise StoreDamaged(message, place=str(path), remedy=_KEEP)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _pwrite_all(descriptor: int, content: bytes, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]
