"""Proofs anyone can check without us: records, the way from each to a signed head, and the head.

A proof file is JSON::

    {
        "proof": 1,
        "head": {...},
        "rotations": [...],
        "records": [{"number": 4, "payload": "base64", "path": ["hex", ...]}],
    }
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from mailwitness.errors import ConfigError
from mailwitness.witness.compare import iso
from mailwitness.witness.heads import Head, Rotation, is_genuine, is_trusted
from mailwitness.witness.merkle import is_included, leaf_hash
from mailwitness.witness.observed import parse
from mailwitness.witness.records import parse as parse_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.witness.held import Source


class ProvedRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stored record with the hashes that lead from it to the head."""

    number: int
    payload: bytes
    path: list[str]


class ProofFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything needed to check records offline."""

    proof: Literal[1]
    head: Head
    rotations: list[Rotation]
    records: list[ProvedRecord]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One statement of the check: whether it holds, and in words what it is about."""

    ok: bool
    text: str


def make(source: Source, numbers: Iterable[int]) -> ProofFile:
    """Return the proofs of records."""
    wanted = sorted({number for number in numbers if number >= 0})
    last = wanted[-1] if wanted else -1
    found: dict[int, bytes] = {}
    chosen = set(wanted)
    for number, payload in source.payloads():
        if number in chosen:
            found[number] = payload
        if number > last and last < 0:
            break
    records = [
        ProvedRecord(number=n, payload=found[n], path=[step.hex() for step in source.path(n)])
        for n in wanted
        if n in found
    ]
    return ProofFile(proof=1, head=source.head, rotations=source.rotations, records=records)


def check(path: Path, *, pinned: str = "") -> list[Checked]:
    """Check a proof file without any connection.

    Args:
        path: the file.
        pinned: the witness's public key as noted elsewhere, hexadecimal.

    Raises:
        ConfigError: it is no proof file.
    """
    try:
        file = read(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"it is no proof file: {error}", place=str(path), remedy="Give what --proofs wrote."
        ) from error
    return checked(file, pinned=pinned)


def read(content: bytes) -> ProofFile:
    """Return the proofs in the bytes of a file.

    Raises:
        ValueError: they are none.
    """
    try:
        return msgspec.json.decode(content, type=ProofFile)
    except RecursionError as error:
        message = "it is nested too deeply"
        raise ValueError(message) from error


def checked(file: ProofFile, *, pinned: str = "") -> list[Checked]:
    """Return one statement for the head, one for its key when one is pinned, and one for each record."""
    head = file.head
    lines = [
        Checked(
            ok=is_genuine(head),
            text=f"head of {head.size} records, signed {iso(head.time_us)} by key {head.key}",
        )
    ]
    if pinned:
        trusted = is_trusted(head.key, pinned.lower(), head.log, file.rotations)
        lines.append(Checked(ok=trusted, text=f"that key follows from the noted key {pinned}"))
    return lines + [_record(record, head) for record in file.records]


def _record(record: ProvedRecord, head: Head) -> Checked:
    try:
        steps = [bytes.fromhex(step) for step in record.path]
        stored = parse_record(record.payload)
        root = bytes.fromhex(head.root)
    except ValueError as error:
        return Checked(ok=False, text=f"record {record.number}: {error}")
    is_plain = [step.hex() for step in steps] == record.path  # one way of writing only
    ok = is_plain and is_included(leaf_hash(record.payload), record.number, head.size, steps, root)
    seen = parse(stored.body)
    what = f"{seen.kind} of {seen.path}: {_shown(seen.body)}" if seen else _shown(stored.body)
    when = iso(stored.received_us)
    return Checked(ok=ok, text=f"record {record.number}, received {when} from {stored.client}: {what}")


def _shown(body: bytes) -> str:
    return body[:200].decode("utf-8", "backslashreplace").strip()
