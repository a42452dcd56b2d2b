"""RFC 3161 time stamps on heads: an authority that neither we nor the intruder control says when a head existed."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509

from mailwitness.errors import ConfigError, WitnessError
from mailwitness.witness.heads import Head, is_genuine

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

_SECONDS = 10
_LARGEST = 1 << 20


def stamp(head: Head, url: str) -> bytes:
    """Return the authority's response (DER) over a head.

    Raises:
        WitnessError: the authority does not answer.
        ConfigError: the package is not installed, or the address is no web address.
    """
    try:
        from rfc3161_client import TimestampRequestBuilder  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ConfigError(
            "time stamps need rfc3161-client", place="stamps", remedy="Install mailwitness[witness]."
        ) from error
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url!r} is no web address", place="stamps.url", remedy="Write https://...")
    asked = TimestampRequestBuilder().data(head.text()).build().as_bytes()
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url, data=asked, headers={"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            return bytes(answer.read(_LARGEST))
    except (OSError, urllib.error.URLError) as error:
        raise WitnessError(
            f"the time stamping authority does not answer: {error}", place=url, remedy="Check the address."
        ) from error


def kept(store: Path, roots: Path) -> Iterator[tuple[bool, str]]:
    """Yield for each stamp in a store whether it holds, and in words what it says.

    Args:
        store: folder of the witness's store, or a copy of it.
        roots: PEM file with certificates to trust.

    Raises:
        ConfigError: the certificates or a stamp cannot be read.
    """
    for path in sorted((store / "stamps").glob("*.tsr")):
        try:
            head = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Head)
            moment = stamped_at(head, path.read_bytes(), roots) if is_genuine(head) else None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"it cannot be read: {error}", place=str(path), remedy="Give roots in PEM and a whole store."
            ) from error
        said = (
            f"existed at {moment.isoformat()}, as the authority says"
            if moment
            else "is not proved by its stamp"
        )
        yield moment is not None, f"the head of {head.size} records {said}"


def stamped_at(head: Head, response: bytes, roots: Path) -> dt.datetime | None:
    """Return when the authority says that the head existed (aware UTC); None when the stamp does not verify.

    Args:
        head: the head.
        response: the authority's response, DER.
        roots: PEM file with certificates to trust.
    """
    from rfc3161_client import VerifierBuilder, decode_timestamp_response  # noqa: PLC0415 - optional
    from rfc3161_client.errors import VerificationError  # noqa: PLC0415 - optional

    builder = VerifierBuilder()
    for certificate in x509.load_pem_x509_certificates(roots.read_bytes()):
        builder = builder.add_root_certificate(certificate)
    try:
        decoded = decode_timestamp_response(response)
        builder.build().verify_message(decoded, head.text())
    except (VerificationError, ValueError):
        return None
    return decoded.tst_info.gen_time
