"""One log file that is followed: what was shipped of it, and whether that still stands there."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mailwitness.witness.spool import Spool

BLOCK = 64 * 1024
# So much of a file's beginning tells it from another one that later has the same inode number.
HEAD = 1024


class Identity(NamedTuple):
    """A file as the kernel knows it; the generation counts what was written under the same inode after a change."""

    device: int
    inode: int
    generation: int

    def text(self) -> str:
        """Return the identity as it stands in records."""
        return f"{self.device}:{self.inode}:{self.generation}"


class FollowedFile:
    """A file with its open descriptor, which keeps its content readable after rotation and removal.

    Attributes:
        path: where it was found.
        offset: bytes shipped.
        quiet: visits in a row without new bytes.
    """

    def __init__(
        self, spool: Spool, descriptor: int, path: str, row: tuple[int, Identity, int, int, bytes, bytes]
    ) -> None:
        self._spool, self.descriptor, self.path = spool, descriptor, path
        self.id, self.identity, self.offset, self._head_bytes, self._head, self._tail_digest = row
        self.quiet = 0
        self._checked = 0
        self._tail = b""
        self.reload()

    def reload(self) -> None:
        """Read the last unfinished block again from the file, as after a start."""
        start = self.offset // BLOCK * BLOCK
        self._tail = _pread(self.descriptor, self.offset - start, start)

    def status(self) -> os.stat_result:
        """Return what the kernel says of the open file."""
        return os.fstat(self.descriptor)

    def first_change(self) -> int | None:
        """Return where the last unfinished block or the beginning differs from what was shipped; None when they do not."""
        head = _pread(self.descriptor, self._head_bytes, 0)
        if hashlib.sha256(head).digest() != self._head and self._head_bytes:
            return 0
        start = self.offset // BLOCK * BLOCK
        tail = _pread(self.descriptor, self.offset - start, start)
        return start if self.offset and hashlib.sha256(tail).digest() != self._tail_digest else None

    def recheck(self, budget: int) -> tuple[int | None, int]:
        """Compare the next blocks with what was shipped.

        Args:
            budget: bytes to read.

        Returns:
            Where the first changed block begins (None when none is), and the bytes read.
        """
        count = self.offset // BLOCK
        first = self._checked if self._checked < count else 0
        last = min(first + max(budget // BLOCK, 1), count)
        rows = self._spool.rows(
            "SELECT number, digest FROM blocks WHERE file = ? AND number >= ? AND number < ? ORDER BY number",
            (self.id, first, last),
        )
        for number, digest in rows:
            if hashlib.sha256(_pread(self.descriptor, BLOCK, number * BLOCK)).digest() != digest:
                return number * BLOCK, (number - first + 1) * BLOCK
        self._checked = last
        return None, (last - first) * BLOCK

    def read(self, most: int) -> bytes:
        """Return the bytes behind what was shipped."""
        return _pread(self.descriptor, most, self.offset)

    def advance(self, content: bytes) -> None:
        """Note that ``content`` was shipped; within a transaction, and followed by :meth:`reload` when that fails."""
        start = self.offset // BLOCK * BLOCK
        tail, number = self._tail + content, start // BLOCK
        offset = self.offset + len(content)
        blocks = []
        while len(tail) >= BLOCK:
            blocks.append((self.id, number, hashlib.sha256(tail[:BLOCK]).digest()))
            tail, number = tail[BLOCK:], number + 1
        head_bytes, head = self._head_bytes, self._head
        if head_bytes < HEAD and offset > head_bytes:
            head_bytes = min(offset, HEAD)
            beginning = content if self.offset == 0 else _pread(self.descriptor, head_bytes, 0)
            head = hashlib.sha256(beginning[:head_bytes]).digest()
        digest = hashlib.sha256(tail).digest()
        self._spool.execute_many("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", blocks)
        self._spool.execute_many(
            "UPDATE files SET offset = ?, head_bytes = ?, head = ?, tail = ? WHERE id = ?",
            [(offset, head_bytes, head, digest, self.id)],
        )
        self._pending = (offset, head_bytes, head, digest, tail)

    def note_beginning(self) -> None:
        """Remember the file by its beginning and never read it; within a transaction."""
        head = _pread(self.descriptor, HEAD, 0)
        self._spool.execute_many(
            "UPDATE files SET done = 1, head_bytes = ?, head = ? WHERE id = ?",
            [(len(head), hashlib.sha256(head).digest(), self.id)],
        )

    def confirm(self) -> None:
        """Take over what :meth:`advance` noted, after the transaction has succeeded."""
        self.offset, self._head_bytes, self._head, self._tail_digest, self._tail = self._pending

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def is_beginning(descriptor: int, head_bytes: int, head: bytes) -> bool:
    """Say whether a file begins with the bytes that were shipped first."""
    return head_bytes == 0 or hashlib.sha256(_pread(descriptor, head_bytes, 0)).digest() == head


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    """Read up to ``size`` bytes; fewer only at the end of the file."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)
