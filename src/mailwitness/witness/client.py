"""The other end of the witness's HTTPS: appending for the shipper, reading for whoever compares."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Self, TypeVar

import httpx2
import msgspec

from mailwitness.errors import ConfigError, WitnessError, WitnessRefused, WitnessUnreachable
from mailwitness.witness.access import client_context
from mailwitness.witness.heads import is_genuine
from mailwitness.witness.https import Appended, HeadAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailwitness.witness.config import Reader, Ship

T = TypeVar("T")
_SECONDS = 30.0
_PAGE = 10_000
_REFUSED, _BUSY = 400, 500


class Client:
    """A connection that is made again when it broke.

    Raises:
        ConfigError: the certificates cannot be used.
    """

    def __init__(self, settings: Ship | Reader, *, seconds: float = _SECONDS) -> None:
        self._place = settings.witness
        try:
            context = client_context(settings.certificate, settings.key, settings.ca)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the certificates cannot be used: {error}",
                place=settings.certificate,
                remedy="Check certificate, key and ca in the settings.",
            ) from error
        self._http = httpx2.Client(
            base_url=settings.witness, verify=context, timeout=seconds, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def append(self, records: Sequence[tuple[bytes, bytes]]) -> Appended:
        """Hand over pairs of content key and body; they are on the witness's disk when this returns.

        Raises:
            WitnessUnreachable: no answer, or not now; hand the same records over again.
            WitnessRefused: the witness does not take records from this certificate, or not these.
        """
        body = msgspec.msgpack.encode(list(records))
        answer = self._ask("POST", "/v1/append", {}, body)
        return self._decoded(answer, Appended, is_packed=True)

    def head(self) -> HeadAnswer:
        """Return the present head; its signature is checked, its key is not.

        Raises:
            WitnessError: there is no answer or it is not genuine.
        """
        answer = self._decoded(self._ask("GET", "/v1/head", {}), HeadAnswer)
        if not is_genuine(answer.head):
            raise WitnessRefused(
                "the witness's head bears no valid signature",
                place=self._place,
                remedy="Ask who runs the witness.",
            )
        return answer

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the tree of ``first`` records is the beginning of that of ``second``."""
        answer = self._ask("GET", "/v1/consistency", {"first": first, "second": second})
        return [bytes.fromhex(step) for step in self._decoded(answer, list[str])]

    def inclusion(self, number: int, size: int) -> list[bytes]:
        """Return the proof that a record is in the tree of ``size`` records."""
        answer = self._ask("GET", "/v1/inclusion", {"number": number, "size": size})
        return [bytes.fromhex(step) for step in self._decoded(answer, list[str])]

    def records(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield numbers and stored bytes of all records from ``start`` on, in order."""
        while True:
            answer = self._ask("GET", "/v1/records", {"start": start, "most": _PAGE})
            page = self._decoded(answer, list[tuple[int, bytes]], is_packed=True)
            yield from page
            if not page:
                return
            start = page[-1][0] + 1

    def find(self, client: str, key: bytes) -> int | None:
        """Return the number of a client's record with a content key, or None."""
        answer = self._ask("GET", "/v1/find", {"client": client, "key": key.hex()})
        return msgspec.json.decode(answer, type=int | None)

    def status(self) -> dict[str, object]:
        """Return the counters of every sender."""
        return self._decoded(self._ask("GET", "/v1/status", {}), dict[str, object])

    def _ask(self, method: str, path: str, query: dict[str, int | str], body: bytes | None = None) -> bytes:
        try:
            answer = self._http.request(method, path, params=query, content=body)
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            raise WitnessUnreachable(
                f"the witness does not answer: {str(error) or type(error).__name__}",
                place=self._place,
                remedy="Check the address, the network and the certificates of both sides.",
            ) from error
        if answer.status_code >= _BUSY:
            raise WitnessUnreachable(
                answer.text.strip()[:200] or f"status {answer.status_code}",
                place=self._place,
                remedy="Wait; look at the witness.",
            )
        if answer.status_code >= _REFUSED:
            raise WitnessRefused(
                answer.text.strip()[:200] or f"status {answer.status_code}",
                place=self._place,
                remedy="Check which name and which rights this certificate has there.",
            )
        return answer.content

    def _decoded(self, content: bytes, kind: type[T], *, is_packed: bool = False) -> T:
        decode = msgspec.msgpack.decode if is_packed else msgspec.json.decode
        try:
            return decode(content, type=kind)
        except msgspec.MsgspecError as error:
            raise WitnessError(
                f"the witness's answer makes no sense: {error}",
                place=self._place,
                remedy="Check its version.",
            ) from error
