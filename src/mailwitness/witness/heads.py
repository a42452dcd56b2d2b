"""Signed tree heads: what the witness held at a moment, in a form that it cannot deny later.

A head is a JSON object; its Ed25519 signature covers this text, with a line feed behind every line::

    mailwitness tree head v1
    c0ffee...        id of the log, 32 hexadecimal digits
    1204             number of records
    5dc9da79...      root hash, hexadecimal
    1772442000000000 when it was signed, microseconds since 1970, UTC

Keys change by rotation: the old key signs the new one, so that whoever trusts the first key can follow to the present one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mailwitness.errors import WitnessError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEAD, _ROTATION = "mailwitness tree head v1", "mailwitness key rotation v1"
_PUBLIC_BYTES = 32


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A signed tree head.

    Attributes:
        log: id of the log.
        size: number of records.
        root: root hash, hexadecimal.
        time_us: when it was signed, microseconds since 1970 UTC.
        key: the public key that signed it, hexadecimal.
        signature: hexadecimal.
    """

    log: str
    size: int
    root: str
    time_us: int
    key: str
    signature: str = ""

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        return "".join(f"{part}\n" for part in (_HEAD, self.log, self.size, self.root, self.time_us)).encode()


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The statement of one key that another follows it; keys and signature are hexadecimal."""

    log: str
    old: str
    new: str
    time_us: int
    signature: str = ""

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        return "".join(
            f"{part}\n" for part in (_ROTATION, self.log, self.old, self.new, self.time_us)
        ).encode()


def public_text(key: Ed25519PrivateKey) -> str:
    """Return a key's public half, hexadecimal."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def is_signed(text: bytes, key: str, signature: str) -> bool:
    """Say whether the public key made the signature over the text; anything malformed is a no."""
    try:
        raw, signed = bytes.fromhex(key), bytes.fromhex(signature)
        # One way of writing only, so that a changed byte in a proof never goes unnoticed.
        if len(raw) != _PUBLIC_BYTES or (raw.hex(), signed.hex()) != (key, signature):
            return False
        Ed25519PublicKey.from_public_bytes(raw).verify(signed, text)
    except (ValueError, InvalidSignature):
        return False
    return True


def is_genuine(head: Head) -> bool:
    """Say whether a head bears the signature of the key it names."""
    return is_signed(head.text(), head.key, head.signature)


def newest(path: Path, log: str = "") -> Head | None:
    """Return the newest genuine head of ``heads.jsonl``, of one log only where it is named; None when there is none."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            head = msgspec.json.decode(line, type=Head)
        except msgspec.MsgspecError:
            continue  # the last line of a run that was killed
        if is_genuine(head) and log in {"", head.log}:
            return head
    return None


def is_trusted(key: str, pinned: str, log: str, rotations: Iterable[Rotation]) -> bool:
    """Say whether ``key`` is the pinned key or follows from it by rotations in order."""
    trusted = {pinned}
    for turn in rotations:
        if turn.log == log and turn.old in trusted and is_signed(turn.text(), turn.old, turn.signature):
            trusted.add(turn.new)
    return key in trusted


class Signer:
    """The witness's signing keys in a folder that only its account can read.

    ``log.id`` names the log, ``current`` the key in use, ``<id>.pem`` hold the keys (PKCS 8, mode 0600), ``rotations.jsonl`` the
    statements. The folder is made, with a first key, when it is missing.

    Raises:
        WitnessError: a key can be read by others, or is no Ed25519 key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = folder / "log.id"
        if not name.exists():
            write_private(name, os.urandom(16).hex().encode())
        self.log = name.read_text(encoding="ascii").strip()
        if not (folder / "current").exists():
            self._use(Ed25519PrivateKey.generate())
        self._key = self._load((folder / "current").read_text(encoding="ascii").strip())
        self.key = public_text(self._key)

    def sign(self, size: int, root: bytes, *, time_us: int) -> Head:
        """Return a signed head."""
        head = Head(log=self.log, size=size, root=root.hex(), time_us=time_us, key=self.key)
        return msgspec.structs.replace(head, signature=self._key.sign(head.text()).hex())

    def rotate(self, *, time_us: int) -> Rotation:
        """Make a new key, have the present one sign it, and use it from now on; the old key's file is kept."""
        following = Ed25519PrivateKey.generate()
        turn = Rotation(log=self.log, old=self.key, new=public_text(following), time_us=time_us)
        turn = msgspec.structs.replace(turn, signature=self._key.sign(turn.text()).hex())
        with (self.folder / "rotations.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(turn) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._use(following)
        self._key, self.key = following, turn.new
        return turn

    def rotations(self) -> list[Rotation]:
        """Return all statements, oldest first."""
        path = self.folder / "rotations.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=Rotation) for line in lines]

    def _use(self, key: Ed25519PrivateKey) -> None:
        name = public_text(key)[:16]
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(self.folder / f"{name}.pem", pem)
        write_private(self.folder / "current", name.encode())

    def _load(self, name: str) -> Ed25519PrivateKey:
        path = self.folder / f"{name}.pem"
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise WitnessError(
                f"others may read this key (mode {mode:04o})",
                place=str(path),
                remedy="Make a new key with `mailwitness witness rotate`, then run chmod 600 on the old one.",
            )
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except ValueError as error:
            raise WitnessError(
                f"it is no key: {error}", place=str(path), remedy="Restore it from the copy you keep."
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise WitnessError(
                "it is no Ed25519 key", place=str(path), remedy="Restore it from the copy you keep."
            )
        return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 under its final name at once, on disk when this returns."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
