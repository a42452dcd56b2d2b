"""Following logs line by line, through rotation, truncation, editing and removal."""

from __future__ import annotations

import bz2
import fnmatch
import glob
import gzip
import lzma
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness.witness.followed_file import FollowedFile, Identity, is_beginning
from mailwitness.witness.observed import Observed, shown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from mailwitness.witness.observed import Kind
    from mailwitness.witness.spool import Spool

_CHUNK = 1 << 20
# A file that lost its path is read on for this many quiet visits (some minutes), because its writer may still have it open.
_QUIET_VISITS = 3000
# What rotation appends to a name: mail.log.1, mail.log.2.gz, mail.log-20260302.
_ROTATED = re.compile(r"[.-]\d[\d.-]*(?:\.(?:gz|bz2|xz))?")
_PACKED = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
_DETACHED = 32


def split_lines(content: bytes, most: int) -> Iterator[bytes]:
    """Yield the lines of ``content`` with their line feeds; longer ones in pieces of ``most`` bytes."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        end = min(end, start + most)
        yield content[start:end]
        start = end


class Lines:
    """Follows the logs that a path, possibly with ``*``, names.

    Args:
        pattern: the path.
        spool: queue and memory.
        now_us: the host's clock, microseconds since 1970 UTC.
        record_bytes: longer lines are shipped in pieces.
    """

    def __init__(self, pattern: str, spool: Spool, *, now_us: Callable[[], int], record_bytes: int) -> None:
        self.pattern, self._spool, self._now_us, self._most = pattern, spool, now_us, record_bytes
        self._active: dict[str, FollowedFile] = {}
        self._detached: list[FollowedFile] = []
        self._turn = 0
        self._is_started = False
        # Rotated files beside a log: as they were at the last look, and those of which nothing new can be learnt.
        self._seen_beside: dict[Path, tuple[int, ...]] = {}
        self._judged: set[tuple[int, ...]] = set()

    def poll(self) -> bool:
        """Look at everything once; returns whether something was read.

        Raises:
            OSError: a file cannot be read.
            sqlite3.OperationalError: the queue cannot be written; nothing was forgotten.
        """
        if not self._is_started:
            self._resume()
            self._is_started = True
        paths = sorted(glob.glob(self.pattern))  # noqa: PTH207 - patterns come with absolute paths
        for path in {*paths, *self._active}:
            self._look(path)
        has_read = False
        for file in [*self._active.values(), *self._detached]:
            if self._spool.is_full:
                return False
            has_read |= self._read(file)
        self._forget()
        return has_read

    def recheck(self, budget: int) -> None:
        """Compare some of what was shipped with what stands there now, a file at each call."""
        files = list(self._active.values())
        if not files or self._spool.is_full:
            return
        for path in list(self._active):
            self._unseen(path, is_waiting=True)
        self._turn += 1
        file = files[self._turn % len(files)]
        if file.status().st_size < file.offset:
            return  # the next visit says so
        changed, _ = file.recheck(budget)
        if changed is None:
            changed = file.first_change()
        if changed is not None:
            self._again(file, "edited", changed)

    def close(self) -> None:
        """Close all files."""
        for file in [*self._active.values(), *self._detached]:
            file.close()
        self._active, self._detached = {}, []

    # -- which file a path leads to -----------------------------------------------------------

    def _look(self, path: str) -> None:
        file = self._active.get(path)
        try:
            found = os.stat(path)  # noqa: PTH116 - a text pattern gives texts
        except FileNotFoundError:
            found = None
        if file is not None:
            if found and (found.st_dev, found.st_ino) == file.identity[:2]:
                return
            self._detach(path, file)
            self._unseen(path)
        if found is not None:
            self._open(path)

    def _detach(self, path: str, file: FollowedFile) -> None:
        """Keep reading a file to which the path no longer leads, and say what became of it."""
        is_named = file.status().st_nlink > 0
        with self._spool.transaction():
            self._happened("rotated" if is_named else "removed", file, {"shipped_bytes": file.offset})
        del self._active[path]
        self._detached.append(file)

    def _open(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(descriptor)
        for file in self._detached:  # renamed back, or under another name of the same pattern
            if os.path.samestat(file.status(), status):
                self._detached.remove(file)
                os.close(descriptor)
                file.path = path
                self._active[path] = file
                return
        self._active[path] = self._known(descriptor, path, status) or self._new(descriptor, path, status)

    def _known(self, descriptor: int, path: str, status: os.stat_result) -> FollowedFile | None:
        """Return the file as it was followed before, if it is that file."""
        rows = self._spool.rows(
            "SELECT id, generation, offset, head_bytes, head, tail FROM files WHERE device = ? AND inode = ? "
            "ORDER BY generation DESC LIMIT 1",
            (status.st_dev, status.st_ino),
        )
        if not rows or not is_beginning(descriptor, rows[0][3], rows[0][4]):
            return None
        number, generation, *rest = rows[0]
        identity = Identity(status.st_dev, status.st_ino, generation)
        return FollowedFile(self._spool, descriptor, path, (number, identity, *rest))

    def _new(self, descriptor: int, path: str, status: os.stat_result) -> FollowedFile:
        with self._spool.transaction() as base:
            row = base.execute(
                "SELECT coalesce(max(generation) + 1, 0) FROM files WHERE device = ? AND inode = ?",
                (status.st_dev, status.st_ino),
            ).fetchone()
            identity = Identity(status.st_dev, status.st_ino, int(row[0]))
            number = _insert(base, path, identity)
        return FollowedFile(self._spool, descriptor, path, (number, identity, 0, 0, b"", b""))

    # -- reading ------------------------------------------------------------------------------

    def _read(self, file: FollowedFile) -> bool:
        if (size := file.status().st_size) < file.offset:
            file = self._again(file, "truncated", size)
        if file.status().st_size == file.offset:
            file.quiet += 1
            return False
        changed = file.first_change()
        if changed is not None:
            file = self._again(file, "edited", changed)
        content = self._whole_lines(file)
        if not content:
            file.quiet += 1
            return False
        self._ship(file, content)
        file.quiet = 0
        return True

    def _whole_lines(self, file: FollowedFile) -> bytes:
        """Return new bytes up to the last line feed; an unfinished line only when it is too long or nobody will finish it."""
        content = file.read(_CHUNK)
        end = content.rfind(b"\n") + 1
        if end == 0 and (
            len(content) >= self._most or (file in self._detached and file.quiet == _QUIET_VISITS - 1)
        ):
            end = min(len(content), self._most)
        return content[:end]

    def _ship(self, file: FollowedFile, content: bytes) -> None:
        records, offset, now_us = [], file.offset, self._now_us()
        identity, path = file.identity.text(), shown(file.path)
        for line in split_lines(content, self._most):
            records.append(
                Observed(kind="line", path=path, file=identity, offset=offset, body=line, seen_us=now_us)
            )
            offset += len(line)
        with self._spool.transaction():
            self._spool.put(records)
            file.advance(content)
        file.confirm()

    def _again(self, file: FollowedFile, kind: Kind, where: int) -> FollowedFile:
        """Say that what was shipped no longer stands there, and ship the file as it is now under a new generation."""
        self._rescue(file)
        with self._spool.transaction() as base:
            self._happened(kind, file, {"from_byte": where, "shipped_bytes": file.offset})
            identity = file.identity._replace(generation=file.identity.generation + 1)
            number = _insert(base, file.path, identity)
        fresh = FollowedFile(self._spool, file.descriptor, file.path, (number, identity, 0, 0, b"", b""))
        if file in self._detached:
            self._detached[self._detached.index(file)] = fresh
        else:
            self._active[file.path] = fresh
        return fresh

    def _happened(self, kind: Kind, file: FollowedFile, facts: dict[str, str | int]) -> None:
        self._spool.put(
            [
                Observed(
                    kind=kind,
                    path=shown(file.path),
                    file=file.identity.text(),
                    offset=file.offset,
                    seen_us=self._now_us(),
                    facts=facts,
                )
            ]
        )

    # -- files without their path -------------------------------------------------------------

    def _forget(self) -> None:
        """Close files that are quiet for long, the oldest also when there are too many."""
        for file in list(self._detached):
            is_old = len(self._detached) > _DETACHED and file is self._detached[0]
            if file.quiet >= _QUIET_VISITS or (is_old and file.quiet):
                with self._spool.transaction() as base:
                    base.execute("UPDATE files SET done = 1 WHERE id = ?", (file.id,))
                file.close()
                self._detached.remove(file)

    def _resume(self) -> None:
        """After a start: find the files that were followed and have another name by now, to read their rest."""
        for row in self._spool.rows(
            "SELECT path, id, device, inode, generation, offset, head_bytes, head, tail FROM files AS f WHERE done = 0 "
            "AND generation = (SELECT max(generation) FROM files AS g WHERE g.device = f.device AND g.inode = f.inode)"
        ):
            path, number, device, inode, generation, *rest = row
            if not fnmatch.fnmatchcase(path, self.pattern) or self._is_in_place(path, row):
                continue
            identity = Identity(device, inode, generation)
            file = self._sibling(path, (number, identity, *rest))
            if file is not None:
                self._detached.append(file)
            if _identity(path) == (device, inode):
                self._lost("edited", path, number, identity, rest[0])
            elif file is None:
                self._lost("gap", path, number, identity, rest[0])

        for path in sorted({*glob.glob(self.pattern), *self._paths()}):  # noqa: PTH207 - as given
            self._unseen(path)

    def _paths(self) -> list[str]:
        rows = self._spool.rows("SELECT DISTINCT path FROM files")
        return [row[0] for row in rows if fnmatch.fnmatchcase(row[0], self.pattern)]

    def _unseen(self, path: str, *, is_waiting: bool = False) -> None:
        """Read rotated files that we never had: logs may be rotated or truncated twice between two visits.

        At the very first visit, what was rotated before is noted and left alone. ``is_waiting`` leaves files that still change,
        because a copy that is being made cannot be told from the log it is made of.
        """
        rows = self._spool.rows(
            "SELECT device, inode, head_bytes, head FROM files WHERE path = ?", (shown(path),)
        )
        is_first = not rows
        for other in sorted(Path(path).parent.glob(glob.escape(Path(path).name) + "?*")):
            if not _ROTATED.fullmatch(other.name.removeprefix(Path(path).name)):
                continue
            if not self._is_to_judge(other, is_waiting=is_waiting):
                continue
            descriptor = _opened(other)
            if descriptor is None:
                continue
            if os.fstat(descriptor).st_size == 0 or _is_among(rows, descriptor, other):
                os.close(descriptor)
                continue
            file = self._new(descriptor, path, other.stat())
            if not is_first:
                self._detached.append(file)
                continue
            with self._spool.transaction():
                file.note_beginning()
            file.close()

    def _is_to_judge(self, path: Path, *, is_waiting: bool) -> bool:
        """Say whether a rotated file was not judged yet and, if asked, is at rest since the last look."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        before, self._seen_beside[path] = self._seen_beside.get(path), stamp
        if stamp in self._judged or (is_waiting and before != stamp):
            return False
        self._judged.add(stamp)
        return True

    def _is_in_place(self, path: str, row: tuple[Any, ...]) -> bool:  # Any: a row of the table files
        if _identity(path) != (row[2], row[3]):
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return is_beginning(descriptor, row[6], row[7])
        finally:
            os.close(descriptor)

    def _rescue(self, file: FollowedFile) -> None:
        """Read from the copy what was written between our last visit and a truncation, as copytruncate leaves it."""
        row = self._spool.rows("SELECT offset, head_bytes, head, tail FROM files WHERE id = ?", (file.id,))[0]
        copy = self._sibling(file.path, (file.id, file.identity, *row))
        if copy is not None:
            self._detached.append(copy)

    def _sibling(
        self, path: str, row: tuple[Any, ...]
    ) -> FollowedFile | None:  # Any: as FollowedFile takes it
        """Return the file beside ``path`` that holds what was shipped under this row: renamed, copied or compressed."""
        for other in sorted(Path(path).parent.glob(glob.escape(Path(path).name) + "?*")):
            descriptor = _opened(other)
            if descriptor is None:
                continue
            file = FollowedFile(self._spool, descriptor, path, row)
            is_same = _identity(str(other)) == row[1][:2] or file.offset > 0
            if is_same and file.status().st_size >= file.offset and file.first_change() is None:
                return file
            file.close()
        return None

    def _lost(self, kind: Kind, path: str, number: int, identity: Identity, offset: int) -> None:
        """Say what happened to a file while nobody looked; its row is done unless a copy is read on."""
        gap = Observed(
            kind=kind,
            path=path,
            file=identity.text(),
            offset=offset,
            seen_us=self._now_us(),
            facts={"shipped_bytes": offset},
        )
        with self._spool.transaction() as base:
            self._spool.put([gap])
            if all(file.id != number for file in self._detached):
                base.execute("UPDATE files SET done = 1 WHERE id = ?", (number,))


def _is_among(rows: list[Any], descriptor: int, path: Path) -> bool:  # Any: rows of the table files
    """Say whether a file is one that was followed: by its inode, or by its beginning as a copy has it."""
    identity = _identity(str(path))
    return any(
        is_beginning(descriptor, head_bytes, head)
        for device, inode, head_bytes, head in rows
        if head_bytes or (device, inode) == identity
    )


def _insert(base: sqlite3.Connection, path: str, identity: Identity) -> int:
    number = base.execute(
        "INSERT INTO files (path, device, inode, generation) VALUES (?, ?, ?, ?)", (shown(path), *identity)
    ).lastrowid
    return int(number or 0)


def _opened(path: Path) -> int | None:
    """Return a descriptor of a file's content, unpacked when it is compressed; None when it cannot be read."""
    try:
        unpack: Any = _PACKED.get(path.suffix)  # Any: three classes that are read alike
        if unpack is None:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with unpack(path) as packed, tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(packed, plain, _CHUNK)
            plain.flush()
            return os.dup(plain.fileno())
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as stored
    except OSError:
        return None
    return found.st_dev, found.st_ino
