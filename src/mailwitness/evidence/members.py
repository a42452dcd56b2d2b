"""Members of archives on disk: written once under their own digest, never under their own name."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3

from mailwitness.errors import EvidenceError
from mailwitness.evidence.names import display_name
from mailwitness.evidence.opening import FileStat
from mailwitness.evidence.seal import rehash
from mailwitness.evidence.store import open_private, sync_folder, temp_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.evidence.entries import Entry

_PIECE_BYTES = 1 << 20
# What a decoder may have taken in ahead of what it gave out; keeps the ratio honest for small members.
_READ_AHEAD_BYTES = 1 << 16
_MIB = 1 << 20
_TRUST_REMEDY = "Unpack it yourself and give the folder if you trust it."


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How far an archive may swell before it is taken for a bomb.

    Attributes:
        total_bytes: all members of one given archive together, those of archives inside it included.
        member_bytes: one member.
        ratio: bytes out for one byte in, of one member.
        ratio_floor_bytes: below this size the ratio does not matter; empty columns compress very well.
        members: number of members, those of archives inside it included.
        depth: how many levels of archives inside the given archive are expanded.
    """

    total_bytes: int = 64 << 30
    member_bytes: int = 32 << 30
    ratio: int = 200
    ratio_floor_bytes: int = 10 << 20
    members: int = 100_000
    depth: int = 1


class TooMuch(EvidenceError):
    """The whole archive exceeds a limit, so nothing more of it is read."""


class Budget:
    """What is left of the limits while one given archive is expanded."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._bytes = 0
        self._members = 0

    def count_member(self) -> None:
        """Count one member.

        Raises:
            TooMuch: there are too many.
        """
        self._members += 1
        if self._members > self.limits.members:
            message = f"it holds more than {self.limits.members} members; the rest was not read"
            raise TooMuch(message, remedy=_TRUST_REMEDY)

    @property
    def members_left(self) -> int:
        """Return how many more members are allowed."""
        return self.limits.members - self._members

    def count_bytes(self, size: int) -> None:
        """Count decoded bytes, kept or not.

        Raises:
            TooMuch: there are too many.
        """
        self._bytes += size
        if self._bytes > self.limits.total_bytes:
            total = self.limits.total_bytes // _MIB
            message = f"it unpacks to more than {total} MiB; the rest was not read"
            raise TooMuch(message, remedy=_TRUST_REMEDY)

    def judge_member(self, size: int, consumed: int) -> None:
        """Judge one member while it swells.

        Raises:
            EvidenceError: it is too large, or too large for what it was made from.
        """
        if size > self.limits.member_bytes:
            message = f"it unpacks to more than {self.limits.member_bytes // _MIB} MiB"
            raise EvidenceError(message, remedy=_TRUST_REMEDY)
        source = consumed + _READ_AHEAD_BYTES
        if size > self.limits.ratio_floor_bytes and size > self.limits.ratio * source:
            message = f"it swells more than {self.limits.ratio} times, as a bomb does"
            raise EvidenceError(message, remedy=_TRUST_REMEDY)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A member on disk.

    Attributes:
        path: ``folder/<first two hex digits of SHA-256>/<SHA-256>``.
        stat: as it is on disk now.
        damage: why it is not whole; empty when it is.
    """

    path: Path
    stat: FileStat
    blake3: str
    sha256: str
    damage: str


def keep(entry: Entry, folder: Path, budget: Budget) -> Kept:
    """Write a member to disk under its SHA-256, hashing it on the way.

    It is written under a temporary name, made durable and then renamed, so that a run killed at any moment
    leaves either the whole member or nothing that looks like one. A damaged member is kept as far as it goes.
    ``settle`` makes the new names durable, many at once.

    Args:
        entry: the member; its stream is read to the end.
        folder: where members go; made when missing.
        budget: what is left of the limits.

    Raises:
        EvidenceError: the member exceeds a limit, has no readable byte, or the disk is full.
        TooMuch: the archive exceeds a limit.
    """
    temporary = temp_name(folder / "member")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fast, slow = _write(entry, temporary, budget)
        if entry.stream.damage and temporary.stat().st_size == 0:
            raise EvidenceError(entry.stream.damage, remedy="Get an undamaged copy of the archive.")
        path = _place(temporary, folder, fast, slow)
        return Kept(
            path=path, stat=FileStat.of(path.stat()), blake3=fast, sha256=slow, damage=entry.stream.damage
        )
    except OSError as error:
        raise _unwritable(error) from error
    finally:
        temporary.unlink(missing_ok=True)


def settle(paths: Iterable[Path]) -> None:
    """Make the names of kept members durable.

    Raises:
        EvidenceError: the disk fails.
    """
    try:
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
    except OSError as error:
        raise _unwritable(error) from error


def _write(entry: Entry, temporary: Path, budget: Budget) -> tuple[str, str]:
    fast, slow, size = blake3(), hashlib.sha256(), 0
    before = entry.stream.consumed
    with open_private(temporary) as file:
        while piece := entry.stream.read(_PIECE_BYTES):
            size += len(piece)
            budget.count_bytes(len(piece))
            budget.judge_member(size, entry.stream.consumed - before)
            fast.update(piece)
            slow.update(piece)
            file.write(piece)
        file.flush()
        # Readers of stores and settings ask when a file was written: that is not when it was taken out of an archive.
        os.utime(file.fileno(), (entry.modified, entry.modified))
        os.fchmod(file.fileno(), 0o400)
        os.fsync(file.fileno())
    return fast.hexdigest(), slow.hexdigest()


def _place(temporary: Path, folder: Path, fast: str, slow: str) -> Path:
    path = folder / slow[:2] / slow
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # An intact member of the same content stays: it may be in use, and a new file would look like a change.
    if not (path.is_file() and not path.is_symlink() and rehash(path).blake3 == fast):
        temporary.replace(path)
    return path


def _unwritable(error: OSError) -> EvidenceError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        remedy = "Free space, or choose a case folder on a larger disk, and run again."
        return EvidenceError("there is no room left in the case folder to unpack it", remedy=remedy)
    told = display_name(str(error.strerror))
    remedy = "Choose a case folder on a local disk where you may write."
    return EvidenceError(f"it could not be unpacked into the case folder: {told}", remedy=remedy)
