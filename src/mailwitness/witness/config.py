"""The settings of witness and shipper: TOML files, checked once and never guessed at.

Paths in them are relative to the file. Secrets do not stand in them: keys are files of mode 0600, readers' tokens stand as digests.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from mailwitness.errors import ConfigError

_MEGABYTE = 1 << 20


class S3(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket with Object Lock.

    Attributes:
        retention_days: how long nobody can delete an object, not even the account's owner.
    """

    bucket: str
    prefix: str = "mailwitness/"
    endpoint: str = ""
    region: str = ""
    retention_days: int = 365


class Stamps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time stamping authority after RFC 3161.

    Attributes:
        url: where requests are posted.
        roots: PEM file with the authority's root certificates.
        every_seconds: how often a head is stamped.
    """

    url: str
    roots: str
    every_seconds: int = 3600


class Witness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``witness serve`` needs.

    Attributes:
        folder: the store.
        keys: folder of the signing keys.
        certificate: the server's certificate, PEM.
        key: its private key, PEM.
        ca: authorities whose certificates clients and readers carry, PEM.
        crl: revoked certificates, PEM.
        https: address and port for shippers and readers.
        syslog: address and port for RFC 5425; empty for none.
        clients: names that may append; empty allows every certificate of ``ca`` that is no reader's.
        readers: names that may read; they may not append.
        reader_tokens: SHA-256 digests, hexadecimal, of tokens that allow reading.
        guard: ask the kernel for append-only and immutable segments.
        fsync: wait for the disk before acknowledging.
        segment_bytes: a larger segment is closed.
        frame_bytes: largest syslog frame that is kept whole.
        batch_bytes: largest request of a shipper.
        waiting_bytes: records held in memory before senders have to wait.
        connections: most connections at a time, on each of the two ports.
        head_seconds: how often a signed head is published.
        archive: folder, better on another disk, to which closed segments and heads are copied.
        age_recipients: encrypt everything that leaves for the archive or S3 to these age keys.
        s3: bucket with Object Lock to which closed segments and heads are copied.
        stamps: authority that stamps heads.
    """

    folder: str
    keys: str
    certificate: str
    key: str
    ca: str
    crl: str = ""
    https: str = "127.0.0.1:6515"
    syslog: str = ""
    clients: list[str] = []
    readers: list[str] = []
    reader_tokens: list[str] = []
    guard: bool = True
    fsync: bool = True
    segment_bytes: int = 64 * _MEGABYTE
    frame_bytes: int = 64 * 1024
    batch_bytes: int = 8 * _MEGABYTE
    waiting_bytes: int = 32 * _MEGABYTE
    connections: int = 200
    head_seconds: int = 10
    archive: str = ""
    age_recipients: list[str] = []
    s3: S3 | None = None
    stamps: Stamps | None = None


class Follow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing the shipper follows.

    Attributes:
        kind: ``lines`` (a log), ``maildir`` (a Maildir with its folders), ``mbox``, ``dovecot`` (a folder searched for index
            logs), ``journal``.
        path: file or folder; may contain ``*``. For ``journal`` the folder of the journal, or empty for the system's.
        bodies: ship whole messages, and not only headers and digests.
    """

    kind: Literal["lines", "maildir", "mbox", "dovecot", "journal"]
    path: str = ""
    bodies: bool = False


class Ship(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``witness ship`` needs.

    Attributes:
        witness: address of the witness, such as ``https://witness.contoso.example:6515``.
        certificate: this client's certificate, PEM.
        key: its private key, PEM.
        ca: authority of the witness's certificate, PEM.
        state: folder of the queue and of what was followed how far.
        follow: what is followed.
        queue_bytes: records that may wait on disk; when it is full, reading stops until the witness takes some.
        record_bytes: longer lines and messages are cut there, and say so.
        poll_seconds: how often files are looked at.
        recheck_bytes: bytes already shipped that are read again each second, to notice editing in place.
        canary_seconds: how often the delay is measured; 0 never.
        journalctl: the command that reads the journal.
    """

    witness: str
    certificate: str
    key: str
    ca: str
    state: str
    follow: list[Follow]
    queue_bytes: int = 1 << 30
    record_bytes: int = 256 * 1024
    poll_seconds: float = 0.2
    recheck_bytes: int = 4 * _MEGABYTE
    canary_seconds: float = 60.0
    journalctl: tuple[str, ...] = ("journalctl",)


class Reader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reading from a witness needs; ``pinned`` is the public key noted when the witness was set up, hexadecimal."""

    witness: str
    certificate: str
    key: str
    ca: str
    pinned: str = ""


Settings = TypeVar("Settings", Witness, Ship, Reader)
_PATHS = ("folder", "keys", "certificate", "key", "ca", "crl", "archive", "state")


def read(path: Path, kind: type[Settings]) -> Settings:
    """Return the settings of a file, with its relative paths made absolute.

    Raises:
        ConfigError: the file cannot be read or a setting is wrong.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        base = path.absolute().parent
        found = msgspec.convert(raw, kind)
        whole = {name: str(base / value) for name in _PATHS if (value := getattr(found, name, ""))}
        found = msgspec.structs.replace(found, **whole)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(str(error), place=str(path), remedy="See docs/how-to/run-a-witness.md.") from error
    if isinstance(found, Witness):
        for name in ("https", "syslog"):
            endpoint(getattr(found, name) or "localhost:1", name)
    return found


def endpoint(text: str, name: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address stands in brackets.

    Raises:
        ConfigError: it is something else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 1 << 16:
        raise ConfigError(
            f"{text!r} is no address with a port", place=name, remedy="Write for example 192.0.2.1:6515."
        )
    return host.strip("[]"), int(port)
