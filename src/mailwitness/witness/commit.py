"""The one way into the store for all connections: who comes while the disk is busy goes with the next write."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from mailwitness.witness.heads import Head
    from mailwitness.witness.records import Entry
    from mailwitness.witness.store import Store

T = TypeVar("T")
# A write this large takes some milliseconds; larger ones would only make the first one wait.
_GROUP_BYTES = 4 << 20


class Acknowledged(NamedTuple):
    """What became of a list of entries: number and newness of each, and a head that covers them."""

    stored: list[tuple[int, bool]]
    head: Head


class _Waiting(NamedTuple):
    entries: Sequence[Entry]
    size: int
    done: asyncio.Future[Acknowledged]


class Committer:
    """Writes for many connections, one group at a time; also the only way to read, so that nothing is read half-written.

    Args:
        store: the store.
        clock: the time, aware UTC.
        most_bytes: what may wait in memory; beyond it, senders wait and stop reading from their connections.
    """

    def __init__(self, store: Store, clock: Callable[[], dt.datetime], most_bytes: int) -> None:
        self.store, self._clock, self._most = store, clock, most_bytes
        self._thread = ThreadPoolExecutor(1, "store")
        self._queue: list[_Waiting] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Condition()

    def now_us(self) -> int:
        """Return the time in microseconds since 1970 UTC."""
        return int(self._clock().timestamp() * 1_000_000)

    async def add(self, entries: Sequence[Entry]) -> Acknowledged:
        """Store entries; everything is on disk when this returns.

        Raises:
            OSError: the disk is full or fails; nothing of these entries counts as stored.
        """
        size = sum(len(entry.body) + 100 for entry in entries)
        async with self._room:
            await self._room.wait_for(lambda: self._bytes == 0 or self._bytes + size <= self._most)
            self._bytes += size
        done: asyncio.Future[Acknowledged] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(entries, size, done))
        self._arrived.set()
        try:
            return await done
        finally:
            async with self._room:
                self._bytes -= size
                self._room.notify_all()

    async def read(self, ask: Callable[[Store], T]) -> T:
        """Return what ``ask`` reads from the store."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, ask, self.store)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._arrived.wait()
            group = self._take()
            try:
                answers = await self.read(functools.partial(self._write, group))
            except OSError as error:
                for waiting in group:
                    if not waiting.done.done():
                        waiting.done.set_exception(OSError(error.errno, error.strerror))
                continue
            for waiting, answer in zip(group, answers, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(answer)

    def close(self) -> None:
        """Stop the writing thread and close the store."""
        self._thread.shutdown()
        self.store.close()

    def _take(self) -> list[_Waiting]:
        size, count = 0, 0
        for waiting in self._queue:
            size += waiting.size
            if count and size > _GROUP_BYTES:
                break
            count += 1
        group, self._queue = self._queue[:count], self._queue[count:]
        if not self._queue:
            self._arrived.clear()
        return group

    def _write(self, group: list[_Waiting], _: Store) -> list[Acknowledged]:
        now_us = self.now_us()
        joined = [entry for waiting in group for entry in waiting.entries]
        stored = self.store.append(joined, now_us=now_us)
        head = self.store.head(now_us=now_us)
        answers, start = [], 0
        for waiting in group:
            answers.append(Acknowledged(stored[start : start + len(waiting.entries)], head))
            start += len(waiting.entries)
        return answers
