"""Compound files (OLE2), read-only: the streams of an Outlook .msg by their path, with every chain bounded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.readers.file_view import FileView

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER_BYTES = 512
_LAST = 0xFFFFFFFA  # numbers from here on end a chain or mark a sector as unused ([MS-CFB] 2.1)
_MOST_ENTRIES = 100_000
_STORAGE, _STREAM, _ROOT = 1, 2, 5


class Entry(msgspec.Struct, frozen=True):
    """One directory entry: a storage (folder) or a stream."""

    name: str
    kind: int
    left: int
    right: int
    child: int
    start: int
    size: int


class CompoundFile:
    """The directory and the allocation tables of a compound file; source: [MS-CFB]."""

    def __init__(self, data: FileView | bytes) -> None:
        """Read the tables.

        Raises:
            ValueError: the file is no compound file, or its tables do not hold together.
        """
        self.data = data
        self._header = data[:_HEADER_BYTES]
        if len(self._header) < _HEADER_BYTES or not self._header.startswith(MAGIC):
            raise ValueError("it is no compound file")
        shift, mini_shift = struct.unpack_from("<HH", self._header, 30)
        if shift not in {9, 12} or mini_shift != 6:  # noqa: PLR2004 - the only sizes there are
            raise ValueError("its sector size is none that exists")
        self.sector, self.mini = 1 << shift, 1 << mini_shift
        directory, self.cutoff, mini_fat = struct.unpack_from("<I4xII", self._header, 48)
        self.fat = self._fat()
        self.mini_fat = self._numbers(self._chain(mini_fat))
        self.entries = self._entries(b"".join(self._chain(directory)))
        root = self.entries[0] if self.entries else None
        self.mini_stream = b"".join(self._chain(root.start))[: root.size] if root else b""

    def _at(self, number: int) -> bytes:
        start = (number + 1) * self.sector
        return self.data[start : start + self.sector]

    def _fat(self) -> list[int]:
        """Return the allocation table: for each sector the number of the next one."""
        most = len(self.data) // self.sector + 1
        listed = [n for n in struct.unpack_from("<109I", self._header, 76) if n < _LAST]
        following, count = struct.unpack_from("<II", self._header, 68)
        seen = 0
        while following < _LAST and seen < min(count, most):
            part = self._numbers([self._at(following)])
            if not part:
                break
            listed += [n for n in part[:-1] if n < _LAST]
            following, seen = part[-1], seen + 1
        return self._numbers(self._at(n) for n in listed[:most])

    @staticmethod
    def _numbers(sectors: Iterator[bytes] | list[bytes]) -> list[int]:
        found: list[int] = []
        for sector in sectors:
            found += struct.unpack(f"<{len(sector) // 4}I", sector[: len(sector) // 4 * 4])
        return found

    def _chain(self, start: int) -> Iterator[bytes]:
        """Yield the sectors of a chain; a chain that turns back on itself ends there."""
        seen = 0
        while start < len(self.fat) and seen <= len(self.fat):
            yield self._at(start)
            start, seen = self.fat[start], seen + 1

    def _entries(self, raw: bytes) -> list[Entry]:
        found = []
        for at in range(0, min(len(raw), _MOST_ENTRIES * 128) - 127, 128):
            length = min(struct.unpack_from("<H", raw, at + 64)[0], 64)
            left, right, child = struct.unpack_from("<III", raw, at + 68)
            start, size = struct.unpack_from("<IQ", raw, at + 116)
            name = raw[at : at + max(length - 2, 0)].decode("utf-16-le", "replace")
            found.append(Entry(name, raw[at + 66], left, right, child, start, size & 0xFFFFFFFF))
        return found

    def children(self, entry: Entry) -> list[Entry]:
        """Return what a storage holds, in no particular order."""
        found, waiting, seen = [], [entry.child], set()
        while waiting:
            number = waiting.pop()
            if number in seen or number >= len(self.entries):
                continue
            seen.add(number)
            item = self.entries[number]
            found.append(item)
            waiting += [item.left, item.right]
        return found

    def stream(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of a stream, sector by sector."""
        left = min(entry.size, len(self.data))
        sectors = self._chain(entry.start) if entry.size >= self.cutoff else self._mini_chain(entry.start)
        for sector in sectors:
            if left <= 0:
                return
            yield sector[:left]
            left -= len(sector)

    def _mini_chain(self, start: int) -> Iterator[bytes]:
        seen = 0
        while start < len(self.mini_fat) and seen <= len(self.mini_fat):
            yield self.mini_stream[start * self.mini : (start + 1) * self.mini]
            start, seen = self.mini_fat[start], seen + 1
