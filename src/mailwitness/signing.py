"""The investigator's own signing key, and the signed head of a custody log.

A chain of digests shows every change inside a log, but not lines cut off at its end, nor a chain computed anew: whoever
holds the case can do both. A signature over the head, made with a key that the case folder does not hold, shows them.

The signature covers this text, with a line feed behind every line::

    mailwitness custody head v1
    6f1a...          digest of the custody log's last line
    14               number of lines
    2026-03-02T09:00:00Z
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailwitness.errors import CaseError, ConfigError
from mailwitness.evidence import custody
from mailwitness.witness.heads import is_signed, public_text, write_private

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from mailwitness.evidence.store import CaseFolder

HEAD_FILE = "custody.head.json"
_HEAD = "mailwitness custody head v1"
_MOST_BYTES = 10_000


class CustodyHead(msgspec.Struct, frozen=True, kw_only=True):
    """A signed head of a custody log; all digests and keys hexadecimal."""

    head: str
    entries: int
    time: str
    key: str
    signature: str = ""

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        return "".join(f"{part}\n" for part in (_HEAD, self.head, self.entries, self.time)).encode()


def make(path: Path) -> str:
    """Make a key of mode 0600 and return its public half; a key that is there already is kept.

    Raises:
        ConfigError: the folder cannot be written, or the key there cannot be used.
    """
    if path.exists():
        return public_text(load(path))
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, pem)
    except OSError as error:
        raise ConfigError(
            f"the key cannot be written: {error.strerror}", place=str(path), remedy="Set XDG_CONFIG_HOME."
        ) from error
    return public_text(key)


def load(path: Path) -> Ed25519PrivateKey:
    """Return the key.

    Raises:
        ConfigError: there is none, others may read it, or it is no Ed25519 key.
    """
    try:
        mode = path.stat().st_mode & 0o777
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"there is no signing key: {error.strerror}",
            place=str(path),
            remedy="Run `mailwitness bundle key`.",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"others may read this key (mode {mode:04o})",
            place=str(path),
            remedy="Move it away and make a new one with `mailwitness bundle key`.",
        )
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError("this is no key", place=str(path), remedy="Restore it from your copy.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("this is no Ed25519 key", place=str(path), remedy="Restore it from your copy.")
    return key


def sign_custody(folder: CaseFolder, key: Ed25519PrivateKey, *, now: dt.datetime) -> CustodyHead:
    """Sign the head of a case's custody log and keep the signature in the case.

    Raises:
        CaseError: the log does not verify: a signature would bless what was changed.
    """
    checked = custody.verify(folder.custody)
    if not checked.ok:
        raise CaseError(
            f"its custody log does not verify: {checked.problems[0]}",
            place=str(folder.custody),
            remedy="Run `mailwitness verify`.",
        )
    head = CustodyHead(
        head=checked.head,
        entries=checked.entries,
        time=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        key=public_text(key),
    )
    head = msgspec.structs.replace(head, signature=key.sign(head.text()).hex())
    folder.write_json(HEAD_FILE, msgspec.to_builtins(head))
    return head


def signed_head(path: Path) -> CustodyHead | None:
    """Return the signed head kept in a case; None when there is none.

    Raises:
        CaseError: the file holds something else.
    """
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=CustodyHead)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise CaseError(
            f"the signed head cannot be read: {error}", place=str(path), remedy="Restore it from your copy."
        ) from error


def custody_problem(log: Path, head: CustodyHead) -> str:
    """Return what speaks against a custody log under its signed head; empty when nothing does.

    The log may have grown since: the signed line has to be in it, under its number.
    """
    if not is_signed(head.text(), head.key, head.signature):
        return "the signature of its head is not genuine"
    with log.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == head.entries:
                same = custody.line_digest(line) == head.head
                return "" if same else f"line {number} is not the one that was signed on {head.time}"
    return f"it ends before line {head.entries}, which was signed on {head.time}"
