"""Who may do what: the name in a certificate is the name in every record, and readers are others than writers."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt

    from mailwitness.witness.config import Witness

# Any: what ssl.SSLSocket.getpeercert returns, nested tuples by field name
Certificate = dict[str, Any]


def server_context(settings: Witness) -> ssl.SSLContext:
    """Return the TLS side of the witness: at least TLS 1.2, and a certificate of our authority from whoever connects.

    Where readers' tokens are configured, a connection without a certificate is let in; it can then do nothing but read
    with a token. A certificate that is expired, foreign or revoked ends the handshake in any case.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    context.load_verify_locations(settings.ca)
    if settings.crl:
        context.load_verify_locations(settings.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = ssl.CERT_OPTIONAL if settings.reader_tokens else ssl.CERT_REQUIRED
    return context


def client_context(certificate: str, key: str, ca: str) -> ssl.SSLContext:
    """Return the TLS side of a shipper or reader: its own certificate, and only our authority for the witness."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    return context


def name_of(certificate: Certificate | None) -> str:
    """Return the common name of a certificate, else its first DNS name; empty when it has neither."""
    if not certificate:
        return ""
    for part in certificate.get("subject", ()):
        for field, value in part:
            if field == "commonName" and value:
                return str(value)
    names = [str(value) for field, value in certificate.get("subjectAltName", ()) if field == "DNS"]
    return names[0] if names else ""


def is_current(certificate: Certificate | None, now: dt.datetime) -> bool:
    """Say whether a certificate is valid at ``now``: a connection may outlive the certificate that opened it."""
    if not certificate:
        return False
    after = ssl.cert_time_to_seconds(certificate["notAfter"])
    before = ssl.cert_time_to_seconds(certificate["notBefore"])
    return before <= now.timestamp() <= after


class Access:
    """Decides by the certificate and, for reading, by a token."""

    def __init__(self, settings: Witness) -> None:
        self._clients = frozenset(settings.clients)
        self._readers = frozenset(settings.readers)
        self._tokens = [bytes.fromhex(token) for token in settings.reader_tokens]

    def writer(self, certificate: Certificate | None, now: dt.datetime) -> str:
        """Return the name under which this certificate may append; empty when it may not."""
        name = name_of(certificate)
        if not name or not is_current(certificate, now) or name in self._readers:
            return ""
        return name if not self._clients or name in self._clients else ""

    def is_reader(self, certificate: Certificate | None, token: str, now: dt.datetime) -> bool:
        """Say whether this certificate or token may read."""
        if is_current(certificate, now) and name_of(certificate) in self._readers:
            return True
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        # Every digest is compared, so that the time taken tells nothing.
        matches = sum(hmac.compare_digest(digest, known) for known in self._tokens)
        return bool(token) and matches > 0
