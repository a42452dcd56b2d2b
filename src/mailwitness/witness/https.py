"""The HTTPS side of the witness: append, head and proofs for clients, records for readers. Nothing here deletes or changes.

| request                                  | who              | answer                                                        |
| ---------------------------------------- | ---------------- | ------------------------------------------------------------- |
| POST /v1/append                          | client           | msgpack: number and newness of each record, and a signed head |
| GET /v1/head                             | client or reader | JSON: the signed head and the rotations of its key            |
| GET /v1/consistency?first=&second=       | client or reader | JSON: consistency proof                                       |
| GET /v1/inclusion?number=&size=          | reader           | JSON: inclusion proof                                         |
| GET /v1/records?start=&most=             | reader           | msgpack: pairs of number and stored bytes                     |
| GET /v1/find?client=&key=                | reader           | JSON: number of the record with this content key, or null     |
| GET /v1/status                           | reader           | JSON: counters of every sender                                |

The body of an append is msgpack: a list of pairs of content key (32 bytes) and body.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from mailwitness.witness.access import name_of
from mailwitness.witness.heads import Head, Rotation
from mailwitness.witness.records import KEY_BYTES, Entry, Kind

if TYPE_CHECKING:
    import asyncio
    import datetime as dt
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailwitness.witness.access import Access
    from mailwitness.witness.commit import Committer
    from mailwitness.witness.config import Witness
    from mailwitness.witness.store import Store

_PEER = "mailwitness.certificate"
_MOST_RECORDS, _PAGE_BYTES = 50_000, 8 << 20


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """One record of an append."""

    key: bytes
    body: bytes


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an append: for each record its number and whether it is new, and a head that covers all of them."""

    stored: list[tuple[int, bool]]
    head: Head


class HeadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A signed head with the rotations that lead to its key."""

    head: Head
    rotations: list[Rotation]


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that tells the application whose certificate the connection carries."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Remember the certificate of the connection."""
        super().connection_made(transport)
        self.app = _with_peer(self.app, transport.get_extra_info("peercert"))


def _with_peer(app: Any, certificate: Any) -> ASGIApp:  # noqa: ANN401 - uvicorn and ssl
    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, _PEER: certificate}, receive, send)

    return called


class Refusal(Exception):
    """A request that is not served, with its status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Service:
    """The requests of clients and readers."""

    def __init__(
        self,
        committer: Committer,
        access: Access,
        counters: dict[str, Counter[str]],
        *,
        clock: Callable[[], dt.datetime],
        settings: Witness,
    ) -> None:
        self._committer, self._access, self._counters = committer, access, counters
        self._clock, self._settings = clock, settings

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/v1/append", self._append, methods=["POST"]),
            Route("/v1/head", self._head, methods=["GET"]),
            Route("/v1/consistency", self._consistency, methods=["GET"]),
            Route("/v1/inclusion", self._inclusion, methods=["GET"]),
            Route("/v1/records", self._records, methods=["GET"]),
            Route("/v1/find", self._find, methods=["GET"]),
            Route("/v1/status", self._status, methods=["GET"]),
        ]
        return Starlette(routes=routes, exception_handlers={Refusal: _refused, ValueError: _malformed})

    # -- writing ------------------------------------------------------------------------------

    async def _append(self, request: Request) -> Response:
        name = self._writer(request)
        counter = self._counters.setdefault(name, Counter())
        body = await self._body(request)
        try:
            batch = msgspec.msgpack.decode(body, type=list[Batch])
        except msgspec.MsgspecError as error:
            counter["malformed"] += 1
            raise Refusal(400, f"it is no batch: {error}") from error
        if any(len(record.key) != KEY_BYTES for record in batch):
            counter["malformed"] += 1
            raise Refusal(400, f"a content key has {KEY_BYTES} bytes")
        try:
            done = await self._committer.add([Entry(Kind.SHIPPED, name, r.key, r.body) for r in batch])
        except OSError as error:
            counter["disk"] += 1
            raise Refusal(507, f"the witness cannot store now: {error.strerror}") from error
        new = sum(is_new for _, is_new in done.stored)
        counter.update(shipped=new, doubled=len(batch) - new)
        return _packed(Appended(stored=done.stored, head=done.head))

    async def _body(self, request: Request) -> bytes:
        """Return the body of a request, refusing it as soon as it is too large."""
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > self._settings.batch_bytes:
                raise Refusal(413, f"a batch has at most {self._settings.batch_bytes} bytes")
        return bytes(content)

    # -- heads and proofs ---------------------------------------------------------------------

    async def _head(self, request: Request) -> Response:
        self._known(request)
        now_us = self._committer.now_us()
        return _json(
            await self._committer.read(
                lambda store: HeadAnswer(head=store.head(now_us=now_us), rotations=store.signer.rotations())
            )
        )

    async def _consistency(self, request: Request) -> Response:
        self._known(request)
        first, second = _number(request, "first"), _number(request, "second")
        return _json(
            [step.hex() for step in await self._committer.read(lambda s: s.tree.consistency(first, second))]
        )

    async def _inclusion(self, request: Request) -> Response:
        self._reader(request)
        number, size = _number(request, "number"), _number(request, "size")
        return _json(
            [step.hex() for step in await self._committer.read(lambda s: s.tree.inclusion(number, size))]
        )

    # -- reading ------------------------------------------------------------------------------

    async def _records(self, request: Request) -> Response:
        self._reader(request)
        start, most = _number(request, "start"), min(_number(request, "most"), _MOST_RECORDS)

        def page(store: Store) -> list[tuple[int, bytes]]:
            return list(store.payloads(start, most=most, most_bytes=_PAGE_BYTES))

        return _packed(await self._committer.read(page))

    async def _find(self, request: Request) -> Response:
        self._reader(request)
        client, key = request.query_params.get("client", ""), request.query_params.get("key", "")
        wanted = Entry(Kind.SHIPPED, client, bytes.fromhex(key), b"")
        return _json(await self._committer.read(lambda store: store.find(wanted)))

    async def _status(self, request: Request) -> Response:
        self._reader(request)
        notes, size = await self._committer.read(lambda store: (store.notes, store.size))
        return _json(
            {"size": size, "notes": notes, "senders": {k: dict(v) for k, v in self._counters.items()}}
        )

    # -- who asks -----------------------------------------------------------------------------

    def _writer(self, request: Request) -> str:
        certificate = request.scope.get(_PEER)
        name = self._access.writer(certificate, self._clock())
        if not name:
            self._refuse(request, "this certificate may not append")
        stated = request.query_params.get("client", name)
        if stated != name:
            self._refuse(request, "a client appends under the name in its certificate only")
        return name

    def _reader(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._access.is_reader(request.scope.get(_PEER), token, self._clock()):
            self._refuse(request, "reading needs a reader's certificate or token")

    def _known(self, request: Request) -> None:
        """Accept clients and readers: a head or a consistency proof tells nothing of what is stored."""
        if not self._access.writer(request.scope.get(_PEER), self._clock()):
            self._reader(request)

    def _refuse(self, request: Request, reason: str) -> None:
        self._counters.setdefault(name_of(request.scope.get(_PEER)) or "?", Counter())["refused"] += 1
        raise Refusal(403, reason)


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit():
        raise Refusal(400, f"{name} has to be a number")
    return int(text)


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _packed(answer: object) -> Response:
    return Response(msgspec.msgpack.encode(answer), media_type="application/msgpack")


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refusal) else 500
    return Response(f"{error}\n", status_code=status, media_type="text/plain")


async def _malformed(_: Request, error: Exception) -> Response:
    return Response(f"{error}\n", status_code=400, media_type="text/plain")
