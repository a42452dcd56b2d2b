"""Syslog over TLS: frames counted in octets, as rsyslog and syslog-ng send them.

A frame is ``83 <22>1 2026-03-02T09:00:00Z mail dovecot ...``: its length in decimal, a space, the message (RFC 5425 section 4.3).

There is no acknowledgement in this protocol: what a sender had written into a connection that breaks is lost or sent again, and
nobody can tell which. Our shipper has no such hole; this port is for hosts where it cannot run.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections import Counter
from typing import TYPE_CHECKING

from mailwitness.witness.access import Access, name_of
from mailwitness.witness.records import Entry, Kind

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from mailwitness.witness.commit import Committer

# Lengths have at most nine digits here: a gigabyte is no syslog message.
_LENGTH_DIGITS = 9
_READ_BYTES = 64 * 1024
_MALFORMED_KEPT = 256
# While the disk is full the connection waits, and the sender's own queue fills instead.
_RETRY_SECONDS = 1.0


class Malformed(Exception):
    """What came is no frame; where the next one begins cannot be known."""


class Frames:
    """Takes bytes as they come and gives whole frames.

    Args:
        most_bytes: a larger frame is cut there; the rest of it is skipped.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, content: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Yield the frames that are complete with this content.

        Raises:
            Malformed: the content is no sequence of frames; ``buffer`` says what it was.
        """
        skipped = min(self._skip, len(content))
        self._skip -= skipped
        self._buffer += content[skipped:]
        start = 0
        while (found := self._frame(start)) is not None:
            kind, body, start = found
            yield kind, body
        del self._buffer[:start]

    @property
    def waiting(self) -> bytes:
        """Return what is not yet a frame."""
        return bytes(self._buffer[:_MALFORMED_KEPT])

    def _frame(self, start: int) -> tuple[Kind, bytes, int] | None:
        space = self._buffer.find(b" ", start, start + _LENGTH_DIGITS + 1)
        digits = bytes(self._buffer[start : space if space >= 0 else start + _LENGTH_DIGITS + 1])
        is_number = digits.isdigit() and not digits.startswith(b"0") and len(digits) <= _LENGTH_DIGITS
        if (digits and not is_number) or space == start:
            del self._buffer[:start]
            raise Malformed
        if space < 0:
            return None
        length, body = int(digits), space + 1
        available = len(self._buffer) - body
        if length > self._most and available >= self._most:
            cut = bytes(self._buffer[body : body + self._most])
            self._skip = max(length - available, 0)
            return Kind.SYSLOG_CUT, cut, min(body + length, len(self._buffer))
        if available < length:
            return None
        return Kind.SYSLOG, bytes(self._buffer[body : body + length]), body + length


class SyslogPort:
    """Serves connections of syslog senders."""

    def __init__(
        self,
        committer: Committer,
        access: Access,
        counters: dict[str, Counter[str]],
        *,
        clock: Callable[[], dt.datetime],
        frame_bytes: int,
        connections: int,
    ) -> None:
        self._committer, self._access, self._counters = committer, access, counters
        self._clock, self._frame_bytes = clock, frame_bytes
        self._free = connections
        self._run = os.urandom(16)
        self._serial = itertools.count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        certificate = writer.get_extra_info("peercert")
        name = self._access.writer(certificate, self._clock())
        if not name or self._free <= 0:
            self._counters.setdefault(name_of(certificate) or "?", Counter())["refused"] += 1
            writer.close()
            return
        self._free -= 1
        counter = self._counters.setdefault(name, Counter())
        try:
            await self._follow(reader, name, counter, lambda: self._access.writer(certificate, self._clock()))
        except (ConnectionError, TimeoutError, OSError):
            counter["broken"] += 1
        finally:
            self._free += 1
            writer.close()

    async def _follow(
        self, reader: asyncio.StreamReader, name: str, counter: Counter[str], allowed: Callable[[], str]
    ) -> None:
        frames = Frames(self._frame_bytes)
        while content := await reader.read(_READ_BYTES):
            if not allowed():  # the certificate ran out meanwhile
                counter["refused"] += 1
                return
            entries, is_malformed = self._entries(frames, content, name)
            counter.update(Kind(entry.kind).name.lower() for entry in entries)
            if entries:
                await self._store(entries)
            if is_malformed:
                return
        if frames.waiting:
            counter["unfinished"] += 1

    def _entries(self, frames: Frames, content: bytes, name: str) -> tuple[list[Entry], bool]:
        entries: list[Entry] = []
        try:
            for kind, body in frames.feed(content):
                entries.append(self._entry(kind, name, body))
        except Malformed:
            return [*entries, self._entry(Kind.MALFORMED, name, frames.waiting)], True
        return entries, False

    def _entry(self, kind: Kind, name: str, body: bytes) -> Entry:
        # Two equal lines are two records: syslog gives nothing by which a repetition could be told.
        serial = next(self._serial).to_bytes(8, "big")
        return Entry(kind, name, hashlib.sha256(self._run + serial + body).digest(), body)

    async def _store(self, entries: list[Entry]) -> None:
        while True:
            try:
                await self._committer.add(entries)
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return
