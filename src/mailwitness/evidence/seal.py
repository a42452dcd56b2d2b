"""Seal evidence: its digest is on disk in the custody log before anything can read the file for its content.

BLAKE3 comes first because it is quick (2 GB in 0.3 s on two cores). SHA-256, the digest that courts and other
tools ask for, is computed in the background while the file is being loaded, and holds only if the file did
not change in between.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.errors import ChangedWhileRead, EvidenceError, Unreadable
from mailwitness.evidence.digests import Digests, blake3_of, digests_of, sha256_of
from mailwitness.evidence.names import display_name
from mailwitness.evidence.opening import (
    FileStat,
    Found,
    Refused,
    ensure_unchanged,
    explain,
    open_evidence,
    refuse,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    from mailwitness.evidence.custody import CustodyLog
    from mailwitness.evidence.digests import Feed

    Watch = Callable[[Path], Feed]

# Both digests of a smaller file take under 10 ms, less than a second visit to it is worth.
SMALL_BYTES = 8 << 20
# One fsync stands for so many small files: 10,000 of them wait for the disk 40 times.
_BATCH_FILES = 256
_BATCH_BYTES = 64 << 20
_BACKGROUND_NICENESS = 15
# A log that is written to now and then is still at some moment; one that never is, is refused.
_ATTEMPTS = 3


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed file.

    Attributes:
        path: where to read it.
        display_name: the printable name for people.
        size_bytes: its size.
        blake3: hex digest, in the custody log since before this object existed.
        sha256: hex digest; waits for the background, raises ChangedWhileRead or Unreadable from there.
        stat: what must not change as long as the file is being read.
    """

    path: Path
    display_name: str
    size_bytes: int
    blake3: str
    sha256: Future[str]
    stat: FileStat

    def ensure_unchanged(self) -> None:
        """Check that the file is still the one that was sealed.

        Raises:
            ChangedWhileRead: it is not.
        """
        ensure_unchanged(self.path, self.stat)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its quick digest, not yet in the custody log; ``sha256`` is empty for large files."""

    found: Found
    stat: FileStat
    blake3: str
    sha256: str


def seal(
    evidence: Iterable[Path | Found | Refused],
    log: CustodyLog,
    *,
    now: dt.datetime,
    threads: int = 0,
    watch: Watch | None = None,
    begun: dict[Path, Future[Measured | Refused]] | None = None,
) -> Iterator[Sealed | Refused]:
    """Hash each file, write that into the custody log, and only then yield it, in the order given.

    Small files (under 8 MiB) are logged as ``sealed`` with both digests; large ones as ``received`` with
    their BLAKE3, and as ``sealed`` when the background has their SHA-256 (``changed`` if they were written
    to). What cannot be taken in is logged as ``refused`` and yielded as Refused; no file stops the others.

    Args:
        evidence: what ``collect`` yields; a bare path is a file the user named.
        log: the custody log.
        now: time for the entries.
        threads: threads for BLAKE3; 0 means one for each core.
        watch: called before each large file is hashed; what it returns is given the blocks that are hashed.
        begun: files that :func:`measure` was begun for already.

    Raises:
        CustodyBroken: the log cannot be written; then nothing may be read.
    """
    background = ThreadPoolExecutor(1, thread_name_prefix="sha256", initializer=_step_back)
    batch: list[Measured | Refused] = []
    try:
        for one in evidence:
            batch.append(_begun(one, begun or {}) or _measure(one, threads, watch))
            if _is_full(batch):
                yield from _record(batch, log, now, background)
                batch = []
        yield from _record(batch, log, now, background)
    except BaseException:
        background.shutdown(wait=False, cancel_futures=True)
        raise
    background.shutdown(wait=False)


def _step_back() -> None:
    """Let this thread have only the time that loading leaves over; the first finding does not wait for it."""
    # Linux gives every thread a priority of its own; elsewhere it would be that of the whole process.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICENESS)


def rehash(path: Path) -> Digests:
    """Return both digests of a file as it is now, to compare with the custody log.

    Raises:
        Unreadable: it cannot be opened or read, or is not a regular file.
    """
    try:
        with open_evidence(Found(path)) as descriptor:
            return digests_of(descriptor)
    except OSError as error:
        raise explain(path, error) from error


def measure(path: Path, watch: Watch) -> Measured | Refused:
    """Return the quick digest of a file the user named, before there is a custody log to write it to.

    Whoever calls this looks at nothing but digests and line ends until :func:`seal` has written the line of the file.
    """
    return _measure(Found(path), 1, watch)


def _begun(
    one: Path | Found | Refused, begun: dict[Path, Future[Measured | Refused]]
) -> Measured | Refused | None:
    if not isinstance(one, Found) or one.root is not None:
        return None
    waiting = begun.pop(one.path, None)
    return None if waiting is None else waiting.result()


def _measure(one: Path | Found | Refused, threads: int, watch: Watch | None) -> Measured | Refused:
    if isinstance(one, Refused):
        return one
    found = one if isinstance(one, Found) else Found(Path(one))
    try:
        return _attempt(found, threads, watch)
    except (Unreadable, ChangedWhileRead) as error:
        return refuse(found.path, error)


def _attempt(found: Found, threads: int, watch: Watch | None) -> Measured:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _digest(found, threads, watch)
        except ChangedWhileRead:
            continue
    return _digest(found, threads, watch)


def _digest(found: Found, threads: int, watch: Watch | None) -> Measured:
    try:
        with open_evidence(found) as descriptor:
            stat = FileStat.of(os.fstat(descriptor))
            if stat.size_bytes < SMALL_BYTES:
                both = digests_of(descriptor)
                quick, slow, size = both.blake3, both.sha256, both.size_bytes
            else:
                feed = watch(found.path) if watch else None
                quick = blake3_of(descriptor, threads=threads, feed=feed)
                slow, size = "", stat.size_bytes
            ensure_unchanged(found.path, stat, descriptor)
    except OSError as error:
        raise explain(found.path, error) from error
    # Files that the system makes up while they are read (/proc) claim no size and have one.
    if size != stat.size_bytes:
        remedy = "Copy it to a file and give the copy."
        raise Unreadable("it holds other bytes than its size says", place=found.display_name, remedy=remedy)
    return Measured(found=found, stat=stat, blake3=quick, sha256=slow)


def _is_full(batch: list[Measured | Refused]) -> bool:
    last = batch[-1]
    # A large file is yielded at once: loading it is the long work.
    if isinstance(last, Measured) and not last.sha256:
        return True
    size = sum(one.stat.size_bytes for one in batch if isinstance(one, Measured))
    return len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES


def _record(
    batch: list[Measured | Refused], log: CustodyLog, now: dt.datetime, background: ThreadPoolExecutor
) -> Iterator[Sealed | Refused]:
    log.append_many(map(_entry, batch), now=now)
    for one in batch:
        yield one if isinstance(one, Refused) else _sealed(one, log, now, background)


def _entry(one: Measured | Refused) -> tuple[str, dict[str, Any]]:
    if isinstance(one, Refused):
        return "refused", {"file": display_name(one.path.absolute()), "reason": one.reason}
    fields = {
        "file": display_name(one.found.path.absolute()),
        "blake3": one.blake3,
        **msgspec.to_builtins(one.stat),
    }
    return ("sealed", {**fields, "sha256": one.sha256}) if one.sha256 else ("received", fields)


def _sealed(one: Measured, log: CustodyLog, now: dt.datetime, background: ThreadPoolExecutor) -> Sealed:
    if one.sha256:
        sha256 = Future[str]()
        sha256.set_result(one.sha256)
    else:
        sha256 = background.submit(_finish, one, log, now)
    return Sealed(
        path=one.found.path,
        display_name=one.found.display_name,
        size_bytes=one.stat.size_bytes,
        blake3=one.blake3,
        sha256=sha256,
        stat=one.stat,
    )


def _finish(one: Measured, log: CustodyLog, now: dt.datetime) -> str:
    """Compute the SHA-256 of a large file in the background and log it."""
    _, fields = _entry(one)
    try:
        with open_evidence(one.found) as descriptor:
            ensure_unchanged(one.found.path, one.stat, descriptor)
            sha256 = sha256_of(descriptor)
            ensure_unchanged(one.found.path, one.stat, descriptor)
    except OSError as error:
        failure: EvidenceError = explain(one.found.path, error)
        log.append("changed", now=now, **fields, reason=failure.message)
        raise failure from error
    except EvidenceError as error:
        log.append("changed", now=now, **fields, reason=error.message)
        raise
    log.append("sealed", now=now, **fields, sha256=sha256)
    return sha256
