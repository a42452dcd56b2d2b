"""A mailbox listed over IMAP with TLS, from a server that answers like Dovecot."""

from __future__ import annotations

import datetime as dt
import re
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailwitness.errors import ConfigError, Unreadable
from mailwitness.snapshots import imap

BODY = b"x" * ((1 << 20) + 17) + b"\r\n"
HEADER = b"Message-ID: <m%d@fabrikam.example>\r\nSubject: Message %d\r\nFrom: a@fabrikam.example\r\n\r\n"
SAID: list[bytes] = []


class Mailbox(socketserver.StreamRequestHandler):
    """Two messages in INBOX (uids 4 and 9), a folder that cannot be opened, and an empty one."""

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, _, words = line.strip().partition(b" ")
            SAID.append(words)
            done = self._answer(words)
            self.wfile.write(tag + b" " + done + b"\r\n")
            if words.startswith(b"LOGOUT"):
                return

    def _answer(self, words: bytes) -> bytes:
        if words == b"CAPABILITY":
            self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
        elif words.startswith(b"LOGIN"):
            return b"OK in" if b'"right"' in words else b"NO wrong"
        elif words.startswith(b"LIST"):
            self.wfile.write(
                b'* LIST (\\HasNoChildren) "." INBOX\r\n* LIST (\\Noselect) "." Root\r\n* LIST () "." "My Sent"\r\n'
            )
        elif words.startswith(b"EXAMINE"):
            self.folder = words
            self.uids = [b"4", b"9"] if b"INBOX" in words else []
            self.wfile.write(b"* %d EXISTS\r\n" % len(self.uids))
        elif words.startswith(b"UID SEARCH"):
            self._search(words.split()[2])
        elif words.startswith(b"UID FETCH"):
            self._fetch(words)
        return b"OK done"

    def _search(self, numbers: bytes) -> None:
        first, last = (int(number) for number in numbers.split(b":"))
        self.wfile.write(b" ".join([b"* SEARCH", *self.uids[first - 1 : last]]) + b"\r\n")
        if numbers == b"1:1":
            # Another client removes the first message while it is being listed.
            self.uids = self.uids[1:]
            self.wfile.write(b"* 1 EXPUNGE\r\n")

    def _fetch(self, words: bytes) -> None:
        uid = int(words.split()[2])
        part = re.search(rb"BODY\.PEEK\[TEXT\]<(\d+)\.(\d+)>", words)
        if part:
            start, length = int(part[1]), int(part[2])
            data, told = BODY[start : start + length], b"BODY[TEXT]<%d>" % start
        else:
            data = HEADER % (uid, uid)
            told = b'FLAGS (\\Seen) INTERNALDATE " 2-Mar-2026 09:14:01 +0100" RFC822.SIZE %d BODY[HEADER]' % (
                len(data) + len(BODY)
            )
        self.wfile.write(b"* 1 FETCH (UID %d %s {%d}\r\n%s)\r\n" % (uid, told, len(data), data))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "server.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    SAID.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as listening:
        listening.daemon_threads = True
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        monkeypatch.setenv(imap.PASSWORD, "right")
        yield f"imaps://Eva%40contoso.example@localhost:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_every_message_is_listed_and_nothing_is_marked_as_read(server: str) -> None:
    items = list(imap.walk(server))

    found = [item.record for item in items if item.record and item.record["StoreKind"] == "imap"]
    assert [
        (one["Mailbox"], one["Folder"], one["Uid"], one["MessageId"], one["ReceivedAt"]) for one in found
    ] == [
        ("eva@contoso.example", "INBOX", "4", "<m4@fabrikam.example>", "2026-03-02T08:14:01Z"),
        ("eva@contoso.example", "INBOX", "9", "<m9@fabrikam.example>", "2026-03-02T08:14:01Z"),
    ]
    assert found[0]["BodyDigest"] == found[1]["BodyDigest"] != ""
    assert {item.order for item in items} == {("INBOX",), ("My Sent",)}
    assert not [said for said in SAID if said.startswith((b"SELECT", b"UID STORE")) or b"BODY[" in said]


def test_a_listing_goes_on_behind_the_last_message(server: str) -> None:
    items = imap.walk(server, (("INBOX",), 4))

    found = [item for item in items if item.record and item.record["StoreKind"] == "imap"]
    # The server quotes the name of the second folder, which must not bring it before the first.
    assert [(item.order, item.number) for item in found][:1] == [(("INBOX",), 9)]


def test_a_folder_is_asked_for_in_stretches_and_what_is_expunged_between_them_hides_nothing(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "_UIDS_AT_ONCE", 1)

    found = [item.number for item in imap.walk(server) if item.record and item.record["StoreKind"] == "imap"]

    assert found == [4, 9]
    assert [said for said in SAID if b"SEARCH" in said] == [b"UID SEARCH 1:1", b"UID SEARCH 1:1"]


def test_a_wrong_password_and_an_untrusted_certificate_are_refused(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(imap.PASSWORD, "wrong")
    with pytest.raises(Unreadable):
        list(imap.walk(server))
    monkeypatch.setenv(imap.PASSWORD, "right")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreadable):
        list(imap.walk(server))
    assert not [said for said in SAID if b'"right"' in said]


@pytest.mark.parametrize("address", ["imaps://eva:secret@localhost", "imaps://localhost", "imaps://"])
def test_a_password_in_the_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(imap.PASSWORD, "right")
    with pytest.raises(ConfigError) as error:
        list(imap.walk(address))
    assert "secret" not in str(error.value)
