"""What a bundle says about itself: its members with their digests, and the signature over that.

The signature covers ``mailwitness bundle v1``, a line feed, the SHA-256 of manifest.json in hexadecimal, and a line feed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.bundles.archive import Member
from mailwitness.witness.heads import is_signed, public_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST, SIGNATURE, SETTINGS, REPORT, CUSTODY, HEAD = (
    "manifest.json",
    "manifest.sig.json",
    "settings.json",
    "report.json",
    "custody.jsonl",
    "custody.head.json",
)
CONTENT, RULES, WATCHLISTS, ORIGINALS, PROOFS = "content", "rules", "watchlists", "originals", "proofs"
_KIND = "mailwitness bundle"
_SIGNED = "mailwitness bundle v1"


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was given to the investigation.

    Attributes:
        given: number of the file or folder it was found by.
        name: its path from that file or folder on, escaped as in the custody log.
        member: where its content is in the bundle; empty when it was left out.
        modified: when it was last written, seconds since 1970 UTC; the ledger reads it of empty files.
    """

    given: int
    name: str
    sha256: str
    size: int
    modified: int
    member: str = ""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the run was given beside evidence and content.

    Attributes:
        rules: numbers of the members below ``rules`` in the order of the run, one list for each folder.
        parameters: as written, in their order.
    """

    now: str
    inputs: list[Input]
    rules: list[list[str]]
    watchlists: list[list[str]]
    parameters: list[dict[str, Any]]  # Any: a rule's parameter holds any literal
    proof: str
    incomplete: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of manifest.json."""

    kind: str
    version: int
    made: str
    tool: str
    outcome: str
    rule_pack: str
    custody_head: str
    has_originals: bool
    members: list[Member]


class Signature(msgspec.Struct, frozen=True):
    """The content of manifest.sig.json; both hexadecimal."""

    key: str
    signature: str


def manifest(members: list[Member], **fields: Any) -> bytes:  # noqa: ANN401 - the fields of Manifest
    """Return manifest.json."""
    return canonical(Manifest(kind=_KIND, version=1, members=members, **fields))


def canonical(content: msgspec.Struct) -> bytes:
    """Return JSON in one form only."""
    text = json.dumps(msgspec.to_builtins(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return manifest.sig.json for a manifest."""
    return canonical(Signature(public_text(key), key.sign(_text(content)).hex()))


def _text(content: bytes) -> bytes:
    return f"{_SIGNED}\n{hashlib.sha256(content).hexdigest()}\n".encode()


def signer(content: bytes, signature: bytes) -> str:
    """Return the public key that signed a manifest; empty when the signature is not genuine."""
    try:
        found = msgspec.json.decode(signature, type=Signature)
    except msgspec.MsgspecError:
        return ""
    # The same signature in other letters would be a changed byte that nobody notices.
    if (
        canonical(found) != signature
        or found.key != found.key.lower()
        or found.signature != found.signature.lower()
    ):
        return ""
    return found.key if is_signed(_text(content), found.key, found.signature) else ""


def read_manifest(content: bytes) -> Manifest | None:
    """Return a manifest, or None when the bytes are none."""
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError:
        return None
    return found if found.kind == _KIND and found.version == 1 and canonical(found) == content else None
