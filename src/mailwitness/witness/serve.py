"""The witness as a service: both ports, the writer, and what goes elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn

from mailwitness.errors import ConfigError, MailwitnessError
from mailwitness.witness import archive as archives
from mailwitness.witness import stamps
from mailwitness.witness.access import Access, server_context
from mailwitness.witness.commit import Committer
from mailwitness.witness.config import endpoint
from mailwitness.witness.heads import Signer
from mailwitness.witness.https import PeerProtocol, Service
from mailwitness.witness.store import Store
from mailwitness.witness.syslog import SyslogPort

if TYPE_CHECKING:
    import datetime as dt
    import ssl
    from collections import Counter
    from collections.abc import Callable, Generator

    from mailwitness.witness.config import Witness
    from mailwitness.witness.heads import Head

# A client that opens a connection and says nothing may not hold it.
_HANDSHAKE_SECONDS = 10
_BACKLOG = 100


class _Server(uvicorn.Server):
    """uvicorn without its own signals: the service ends both ports together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


async def serve(
    settings: Witness,
    *,
    clock: Callable[[], dt.datetime],
    tell: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Serve until ``stop`` is set.

    Args:
        settings: see Witness.
        clock: the time, aware UTC.
        tell: is told, in one line each, what the operator should know: the addresses first, as ``https HOST:PORT``.
        stop: ends the service.

    Raises:
        MailwitnessError: certificates, keys or store cannot be used, or an address is taken.
    """
    running = _Running(settings, clock, tell)
    try:
        await running.run(stop)
    finally:
        running.committer.close()


class _Running:
    def __init__(
        self, settings: Witness, clock: Callable[[], dt.datetime], tell: Callable[[str], None]
    ) -> None:
        self.settings, self.clock, self.tell = settings, clock, tell
        self.tls = _tls(settings)
        self.archive = archives.archive(settings)
        store = Store(
            Path(settings.folder),
            signer=Signer(Path(settings.keys)),
            segment_bytes=settings.segment_bytes,
            guard=settings.guard,
            is_synced=settings.fsync,
        )
        for note in store.notes:
            tell(note)
        self.committer = Committer(store, clock, settings.waiting_bytes)
        self.counters: dict[str, Counter[str]] = {}
        self.access = Access(settings)
        self.stamped = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        https = self._https()
        sockets = [_listen(self.settings.https, "https")]
        self.tell(f"https {_shown(sockets[0])}")
        tasks = [
            asyncio.create_task(self.committer.run()),
            asyncio.create_task(https.serve(sockets)),
            asyncio.create_task(self._publish()),
        ]
        syslog = await self._syslog()
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        if syslog:
            syslog.close()
        https.should_exit = True
        await tasks[1]
        for task in (tasks[0], tasks[2], waiting):
            task.cancel()
        done = await asyncio.gather(*tasks, waiting, return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, Exception):
                raise outcome

    def _https(self) -> _Server:
        service = Service(
            self.committer, self.access, self.counters, clock=self.clock, settings=self.settings
        )
        config = uvicorn.Config(
            service.application(),
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            ssl_context_factory=lambda _config, _default: self.tls,
            limit_concurrency=self.settings.connections,
            timeout_graceful_shutdown=5,
        )
        return _Server(config)

    async def _syslog(self) -> asyncio.Server | None:
        if not self.settings.syslog:
            return None
        port = SyslogPort(
            self.committer,
            self.access,
            self.counters,
            clock=self.clock,
            frame_bytes=self.settings.frame_bytes,
            connections=self.settings.connections,
        )
        listening = _listen(self.settings.syslog, "syslog")
        self.tell(f"syslog {_shown(listening)}")
        return await asyncio.start_server(
            port.serve,
            sock=listening,
            ssl=self.tls,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            limit=2 * 64 * 1024,
        )

    async def _publish(self) -> None:
        """Publish a head now and then, and take closed segments elsewhere; a failure is told and tried again."""
        published = -1
        while True:
            await asyncio.sleep(self.settings.head_seconds)
            now, now_us = self.clock(), self.committer.now_us()
            try:
                size = await self.committer.read(lambda store: store.size)
                if size != published:
                    head = await self.committer.read(functools.partial(Store.publish, now_us=now_us))
                    published = size
                    await asyncio.to_thread(self._elsewhere, head, now)
            except (OSError, MailwitnessError) as error:
                self.tell(f"a head could not be published: {error}")

    def _elsewhere(self, head: Head, now: dt.datetime) -> None:
        if self.archive:
            name = f"heads/{head.size:012d}-{head.time_us}.json"
            problems = self.archive.put(name, msgspec.json.encode(head), now=now)
            for problem in problems or self.archive.copy(now=now):
                self.tell(f"not archived, tried again later: {problem}")
        wanted = self.settings.stamps
        if wanted and now.timestamp() - self.stamped >= wanted.every_seconds:
            response = stamps.stamp(head, wanted.url)
            folder = Path(self.settings.folder) / "stamps"
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / f"{head.size:012d}-{head.time_us}.json").write_bytes(msgspec.json.encode(head))
            (folder / f"{head.size:012d}-{head.time_us}.tsr").write_bytes(response)
            self.stamped = now.timestamp()


def _tls(settings: Witness) -> ssl.SSLContext:
    try:
        return server_context(settings)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"the certificates cannot be used: {error}",
            place=settings.certificate,
            remedy="Check certificate, key, ca and crl in the settings.",
        ) from error


def _listen(text: str, name: str) -> socket.socket:
    host, port = endpoint(text, name)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{text} cannot be listened on: {error.strerror}", place=name, remedy="Choose another address."
        ) from error


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
