"""Expand archives and compressed files, recognised by their content, into sealed members."""

from __future__ import annotations

import os
from concurrent.futures import Future
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.errors import EvidenceError
from mailwitness.evidence.decoders import GzipDecoder, bzip2_decoder, xz_decoder, zstd_decoder
from mailwitness.evidence.entries import Entry, Rejected, notes_on_name
from mailwitness.evidence.members import Budget, Kept, Limits, TooMuch, keep, settle
from mailwitness.evidence.names import display_name, original_name
from mailwitness.evidence.opening import Found, Refused, ensure_unchanged, explain, open_evidence
from mailwitness.evidence.seal import Sealed
from mailwitness.evidence.sevenzips import sevenzip_entries
from mailwitness.evidence.streams import DecodedStream, FilePart, Rewound
from mailwitness.evidence.tars import BLOCK_BYTES, is_tar_header, tar_entries
from mailwitness.evidence.walk import is_macos_leftover
from mailwitness.evidence.zips import zip_entries

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailwitness.evidence.custody import CustodyLog
    from mailwitness.evidence.decoders import Decoder

__all__ = ["Kind", "Limits", "Member", "expand", "kind_of", "recognise"]

# One write to the custody log stands for so many members.
_BATCH_MEMBERS = 256
_BATCH_BYTES = 64 << 20


class Kind(StrEnum):
    """What kind of container a file is; those after SEVEN_ZIP are recognised only to say what to do."""

    ZIP = "zip"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    TAR = "tar"
    SEVEN_ZIP = "7-Zip"
    RAR = "RAR"
    CABINET = "cabinet"
    LZ4 = "lz4"
    COMPRESS = "compress"
    LZIP = "lzip"


# A zstd file may begin with a skippable frame, of 16 magics (RFC 8878, 3.1.2).
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([number, 0x2A, 0x4D, 0x18]) for number in range(0x50, 0x60)))
# Bytes 4 to 9 of bzip2 are pi, or the square root of pi when it is empty.
_BZIP2_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
_MAGICS: tuple[tuple[Kind, tuple[bytes, ...]], ...] = (
    (Kind.ZIP, (b"PK\3\4", b"PK\5\6", b"PK\7\x08PK", b"PK00PK")),
    (Kind.GZIP, (b"\x1f\x8b\x08",)),
    (Kind.XZ, (b"\xfd7zXZ\0",)),
    (Kind.ZSTD, _ZSTD),
    (Kind.SEVEN_ZIP, (b"7z\xbc\xaf\x27\x1c",)),
    (Kind.RAR, (b"Rar!\x1a\x07",)),
    (Kind.CABINET, (b"MSCF\0\0\0\0",)),
    (Kind.LZ4, (b"\x04\x22\x4d\x18",)),
    (Kind.COMPRESS, (b"\x1f\x9d",)),
    (Kind.LZIP, (b"LZIP\x01",)),
)
_DECODED: dict[Kind, tuple[Callable[[], Decoder], tuple[bytes, ...], tuple[str, ...]]] = {
    Kind.GZIP: (GzipDecoder, (b"\x1f\x8b\x08",), (".gz", ".gzip", ".z")),
    Kind.BZIP2: (bzip2_decoder, (b"BZh",), (".bz2", ".bz")),
    Kind.XZ: (xz_decoder, (b"\xfd7zXZ\0",), (".xz",)),
    Kind.ZSTD: (zstd_decoder, _ZSTD, (".zst", ".zstd")),
}


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file out of an archive, on disk in the case folder and in the custody log.

    Attributes:
        sealed: where it is and its digests; read and treated like any sealed file.
        name: as in the archive, printable.
        parent_blake3: digest of the archive it lies in directly.
        truncated: its end, or all after some damage, is missing.
        notes: what is odd about it, for the report.
    """

    sealed: Sealed
    name: str
    parent_blake3: str
    truncated: bool
    notes: tuple[str, ...]


def recognise(start: bytes) -> Kind | None:
    """Return what kind of container begins with these bytes (512 of them are enough), or None."""
    for kind, magics in _MAGICS:
        if start.startswith(magics):
            return kind
    if start.startswith(b"BZh") and start[4:10] in _BZIP2_BLOCKS:
        return Kind.BZIP2
    return Kind.TAR if is_tar_header(start[:BLOCK_BYTES]) else None


def kind_of(sealed: Sealed) -> Kind | None:
    """Return what kind of container a sealed file is, or None for any other file.

    Raises:
        Unreadable: it can no longer be opened.
    """
    with open_evidence(Found(sealed.path)) as descriptor:
        return recognise(os.pread(descriptor, BLOCK_BYTES, 0))


def expand(
    sealed: Sealed, folder: Path, limits: Limits, log: CustodyLog, *, now: dt.datetime
) -> Iterator[Member | Refused]:
    """Extract what a sealed archive holds, and what archives inside it hold, down to ``limits.depth``.

    Each member is hashed while it is written to ``folder/<2 hex digits>/<SHA-256>`` and is in the custody log
    (``extracted``) before it is yielded; archives inside are extracted and logged but only what they hold is
    yielded. Members of one name stay apart; damaged and cut-off ones are kept as far as they go. What is not
    extracted is logged as ``refused`` and yielded as Refused; no member stops the others. A file that is no
    container yields nothing.

    Args:
        sealed: the archive.
        folder: where members go.
        limits: how far it may swell.
        log: the custody log.
        now: time for the entries.

    Raises:
        CustodyBroken: the log cannot be written.
        Unreadable: the archive can no longer be opened.
        EvidenceError: the disk of the case folder fails.
    """
    if kind_of(sealed) is not None:
        yield from _Expansion(folder, Budget(limits), log, now).archive(sealed, (sealed.blake3,))


class _Expansion:
    """One given archive being expanded."""

    def __init__(self, folder: Path, budget: Budget, log: CustodyLog, now: dt.datetime) -> None:
        self._folder = folder
        self._budget = budget
        self._log = log
        self._now = now

    def archive(self, archive: Sealed, lineage: tuple[str, ...]) -> Iterator[Member | Refused]:
        """Yield what one archive holds; ``lineage`` are the digests from the given archive down to it."""
        batch: list[Member | Refused] = []
        for one in self._members(archive):
            batch.append(one)
            if _is_full(batch):
                yield from self._record(batch, lineage)
                batch = []
        yield from self._record(batch, lineage)

    def _record(self, batch: list[Member | Refused], lineage: tuple[str, ...]) -> Iterator[Member | Refused]:
        settle(one.sealed.path for one in batch if isinstance(one, Member))
        self._log.append_many(map(_log_entry, batch), now=self._now)
        for one in batch:
            if isinstance(one, Refused):
                yield one
            else:
                yield from self._inside(one, lineage)

    def _inside(self, member: Member, lineage: tuple[str, ...]) -> Iterator[Member | Refused]:
        """Yield a member, or when it is an archive what that holds."""
        sealed = member.sealed
        try:
            kind = kind_of(sealed)
        except EvidenceError as error:
            yield self._refused(sealed, error.message, error.remedy)
            return
        if kind is None:
            yield member
        elif sealed.blake3 in lineage:
            yield self._refused(sealed, "it contains itself", "Get the archive from its source again.")
        elif len(lineage) > self._budget.limits.depth:
            remedy = "Unpack it and give the folder."
            yield self._refused(sealed, f"it is an archive ({kind}) inside archives, too deep", remedy)
        else:
            yield from self.archive(sealed, (*lineage, sealed.blake3))

    def _refused(self, sealed: Sealed, reason: str, remedy: str) -> Refused:
        refused = Refused(path=sealed.path, display_name=sealed.display_name, reason=reason, remedy=remedy)
        self._log.append_many([_log_entry(refused)], now=self._now)
        return refused

    def _members(self, archive: Sealed) -> Iterator[Member | Refused]:
        """Extract one archive, its own trouble included."""
        leftovers, is_empty = 0, True
        try:
            with open_evidence(Found(archive.path)) as descriptor:
                ensure_unchanged(archive.path, archive.stat, descriptor)
                for entry in _entries(descriptor, archive, self._budget.members_left):
                    self._budget.count_member()
                    is_empty = False
                    if any(map(is_macos_leftover, entry.name.split("/"))):
                        leftovers += 1
                    else:
                        yield self._member(entry, archive)
                ensure_unchanged(archive.path, archive.stat, descriptor)
        except EvidenceError as error:
            yield _refuse(archive, Rejected(name="", reason=error.message, remedy=error.remedy))
            return
        except OSError as error:
            trouble = explain(archive.path, error)
            yield _refuse(archive, Rejected(name="", reason=trouble.message, remedy=trouble.remedy))
            return
        if leftovers or is_empty:
            reason = f"{leftovers} files in it were made by macOS; they hold no evidence"
            yield _passed_over(archive, "it holds no files" if is_empty else reason)

    def _member(self, entry: Entry | Rejected, archive: Sealed) -> Member | Refused:
        if isinstance(entry, Rejected):
            return _refuse(archive, entry)
        try:
            kept = keep(entry, self._folder, self._budget)
        except TooMuch:
            raise
        except EvidenceError as error:
            return _refuse(archive, Rejected(name=entry.name, reason=error.message, remedy=error.remedy))
        return _member(entry, kept, archive)


def _entries(descriptor: int, archive: Sealed, most: int) -> Iterator[Entry | Rejected]:
    kind = recognise(os.pread(descriptor, BLOCK_BYTES, 0))
    if kind is Kind.ZIP:
        return zip_entries(descriptor, most)
    if kind is Kind.SEVEN_ZIP:
        return sevenzip_entries(descriptor, most)
    if kind is Kind.TAR:
        return tar_entries(FilePart(descriptor))
    if kind in _DECODED:
        return _decoded_entries(descriptor, archive, kind)
    remedy = f"Unpack it with a program for {kind} and give the folder."
    reason = f"{kind} archives need a program that is not part of mailwitness, so nothing in it was read"
    return iter([Rejected(name="", reason=reason, remedy=remedy)])


def _decoded_entries(descriptor: int, archive: Sealed, kind: Kind) -> Iterator[Entry | Rejected]:
    make, magics, suffixes = _DECODED[kind]
    stream = DecodedStream(FilePart(descriptor), make, magics)
    first = b""
    while len(first) < BLOCK_BYTES and (piece := stream.read(BLOCK_BYTES - len(first))):
        first += piece
    whole = Rewound(first, stream)
    if is_tar_header(first[:BLOCK_BYTES]):
        return tar_entries(whole)
    name = stream.name or _without_suffix(original_name(archive.display_name), suffixes)
    # Programs that compress a single file give the result the file's own time.
    return iter([Entry(name, whole, notes_on_name(name), archive.stat.modified_ns // 1_000_000_000)])


def _without_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    last = name.rsplit("/", 1)[-1]
    for suffix in suffixes:
        if last.lower().endswith(suffix) and len(last) > len(suffix):
            return last[: -len(suffix)]
    return last


def _member(entry: Entry, kept: Kept, archive: Sealed) -> Member:
    name = display_name(entry.name)
    sha256 = Future[str]()
    sha256.set_result(kept.sha256)
    sealed = Sealed(
        path=kept.path,
        display_name=f"{archive.display_name}/{name}",
        size_bytes=kept.stat.size_bytes,
        blake3=kept.blake3,
        sha256=sha256,
        stat=kept.stat,
    )
    return Member(
        sealed=sealed,
        name=name,
        parent_blake3=archive.blake3,
        truncated=bool(kept.damage),
        notes=(*entry.notes, kept.damage) if kept.damage else entry.notes,
    )


def _refuse(archive: Sealed, rejected: Rejected) -> Refused:
    inside = f"/{display_name(rejected.name)}" if rejected.name else ""
    return Refused(
        path=archive.path,
        display_name=archive.display_name + inside,
        reason=rejected.reason,
        remedy=rejected.remedy,
        blocking=rejected.blocking,
    )


def _passed_over(archive: Sealed, reason: str) -> Refused:
    remedy = "Check that it is the right file."
    return _refuse(archive, Rejected(name="", reason=reason, remedy=remedy, blocking=False))


def _log_entry(one: Member | Refused) -> tuple[str, dict[str, Any]]:  # Any: JSON values
    if isinstance(one, Refused):
        return "refused", {"file": one.display_name, "reason": one.reason}
    return "extracted", {
        "file": one.sealed.display_name,
        "parent_blake3": one.parent_blake3,
        "blake3": one.sealed.blake3,
        "sha256": one.sealed.sha256.result(),
        "size_bytes": one.sealed.size_bytes,
        "truncated": one.truncated,
        "notes": list(one.notes),
    }


def _is_full(batch: list[Member | Refused]) -> bool:
    size = sum(one.sealed.size_bytes for one in batch if isinstance(one, Member))
    return len(batch) >= _BATCH_MEMBERS or size >= _BATCH_BYTES
