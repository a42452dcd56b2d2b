"""Certificates and example settings for a test or a small site; a larger one has its own authority.

The folder holds ``ca``, ``witness``, ``clients/<name>`` and ``readers/<name>``. Each client's and reader's folder is whole: hand it
over as it is, then delete it here. The authority's key belongs on neither host.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailwitness.errors import ConfigError
from mailwitness.witness.heads import Signer, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CA_DAYS, _LEAF_DAYS = 3650, 397
# Clocks differ; a certificate of this minute must be valid on a host that lags.
_LEEWAY = dt.timedelta(hours=1)
_NAME_LENGTH = 64


class Authority:
    """A certificate authority in a folder; made when missing.

    Args:
        folder: holds ``ca.crt`` and ``ca.key``.
        now: when certificates begin (aware).
        days: how long certificates it issues are valid.
    """

    def __init__(self, folder: Path, *, now: dt.datetime, days: int = _LEAF_DAYS) -> None:
        self.folder, self._now, self._days = folder, now, days
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate = folder / "ca.crt"
        if not self.certificate.exists():
            self._make()
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(
                "it is no key of ours", place=str(folder / "ca.key"), remedy="Use an empty folder."
            )
        self._key = key
        self._issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("mailwitness witness authority")
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _LEEWAY)
            .not_valid_after(self._now + dt.timedelta(days=_CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.folder / "ca.key", _pem(key))
        self.certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))

    def issue(self, folder: Path, name: str, *, hosts: Sequence[str] = (), is_server: bool = False) -> None:
        """Write ``tls.crt``, ``tls.key`` and ``ca.crt`` for a name into a folder.

        Args:
            folder: made when missing, mode 0700.
            name: common name.
            hosts: host names and addresses that the certificate also stands for.
            is_server: for a witness; otherwise for a client or reader.

        Raises:
            ConfigError: the name cannot stand in a certificate.
        """
        if not 0 < len(name) <= _NAME_LENGTH or not name.isprintable() or "/" in name:
            raise ConfigError(
                f"{name!r} cannot be the name in a certificate", remedy="Take 1 to 64 characters without /."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        names = x509.SubjectAlternativeName([_alternative(host) for host in (hosts or [name])])
        built = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _LEEWAY)
            .not_valid_after(self._now + dt.timedelta(days=self._days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(names, critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write_private(folder / "tls.key", _pem(key))
        (folder / "tls.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        (folder / "ca.crt").write_bytes(self.certificate.read_bytes())


def initialise(
    folder: Path, *, server: Sequence[str], clients: Sequence[str], readers: Sequence[str], now: dt.datetime
) -> str:
    """Make authority, certificates, signing key and example settings.

    Args:
        folder: new or empty.
        server: names and addresses of the witness; the first one is used in the settings.
        clients: names of the hosts that append.
        readers: names of those who read.
        now: the clock.

    Returns:
        The public key of the witness, hexadecimal: what readers pin.

    Raises:
        ConfigError: the folder is not empty, or a name does not do.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError("the folder is not empty", place=str(folder), remedy="Name a new folder.")
    both = sorted(set(clients) & set(readers))
    if both:
        raise ConfigError(f"{both[0]} cannot be client and reader", remedy="Give the reader another name.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority(folder / "ca", now=now)
    authority.issue(folder / "witness", server[0], hosts=server, is_server=True)
    pinned = Signer(folder / "witness" / "keys").key
    listed = ", ".join(f'"{name}"' for name in readers)
    known = ", ".join(f'"{name}"' for name in clients)
    (folder / "witness" / "witness.toml").write_text(_WITNESS.format(readers=listed, clients=known), "utf-8")
    for name in clients:
        authority.issue(folder / "clients" / name, name)
        (folder / "clients" / name / "ship.toml").write_text(_SHIP.format(host=_in_url(server[0])), "utf-8")
    for name in readers:
        authority.issue(folder / "readers" / name, name)
        text = _READER.format(host=_in_url(server[0]), pinned=pinned)
        (folder / "readers" / name / "reader.toml").write_text(text, "utf-8")
    return pinned


_WITNESS = """folder = "store"
keys = "keys"
certificate = "tls.crt"
key = "tls.key"
ca = "ca.crt"
https = "0.0.0.0:6515"
syslog = "0.0.0.0:6514"
clients = [{clients}]
readers = [{readers}]
"""
_SHIP = """witness = "https://{host}:6515"
certificate = "tls.crt"
key = "tls.key"
ca = "ca.crt"
state = "state"

[[follow]]
kind = "lines"
path = "/var/log/mail.log"

[[follow]]
kind = "lines"
path = "/var/log/audit/audit.log"

[[follow]]
kind = "maildir"
path = "/home/*/Maildir"

[[follow]]
kind = "dovecot"
path = "/home/*/Maildir"

[[follow]]
kind = "journal"
"""
_READER = """witness = "https://{host}:6515"
certificate = "tls.crt"
key = "tls.key"
ca = "ca.crt"
pinned = "{pinned}"
"""


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
