"""A Merkle tree over the witness's records: one hash that stands for all of them, and short proofs against it.

Hashing and proofs follow RFC 6962 section 2.1 (leaf ``00 || data``, node ``01 || left || right``); checking follows the
loops of RFC 9162 sections 2.1.3.2 and 2.1.4.2. Only hashes of complete subtrees are kept: level ``k`` holds the hash of
leaves ``[i * 2^k, (i + 1) * 2^k)`` at place ``i``. They never change, which makes appending cheap and any older size provable.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HASH_BYTES = 32
# Four levels are sixteen hashes, of which eleven nodes are hashed again at most: less than the reads that it saves.
_KEPT_EVERY = 4
# About a megabyte: the upper eleven levels, whatever the size of the tree.
_REMEMBERED = 4096
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf with this content."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Nodes(Protocol):
    """Where hashes of complete subtrees are kept, level by level."""

    def append(self, level: int, hashes: bytes) -> None:
        """Add hashes, 32 bytes each, at the end of a level."""

    def read(self, level: int, index: int) -> bytes:
        """Return one hash."""

    def count(self, level: int) -> int:
        """Return how many hashes a level has."""


class MemoryNodes:
    """Nodes in memory."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = []

    def append(self, level: int, hashes: bytes) -> None:
        """Add hashes at the end of a level."""
        if level == len(self._levels):
            self._levels.append(bytearray())
        self._levels[level] += hashes

    def read(self, level: int, index: int) -> bytes:
        """Return one hash."""
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def count(self, level: int) -> int:
        """Return how many hashes a level has."""
        return len(self._levels[level]) // HASH_BYTES if level < len(self._levels) else 0


class FileNodes:
    """Nodes in files; they can be computed again from the records at any time.

    Only every fourth level is kept. The levels between are hashed from it when asked for: the hashes of a proof that belong to the
    same four levels lie in 512 bytes then, so that a proof costs one place of the disk for four levels, and half the room.
    Hashes read last stay in memory, and with them the upper levels, which each proof needs; they never change.

    Args:
        folder: holds ``00``, ``04``, ``08``, ...; made when missing.
        size: leaves to keep; what lies beyond is cut off. None keeps all.
        is_writable: False opens an existing folder for reading only.
    """

    def __init__(self, folder: Path, *, size: int | None = None, is_writable: bool = True) -> None:
        self.folder = folder
        self._writable = is_writable
        if is_writable:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: list[int] = []
        self._counts: list[int] = []
        self._cached = lru_cache(maxsize=_REMEMBERED)(self._read)
        while self._path(len(self._files)).exists():
            self._open(size)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number * _KEPT_EVERY:02d}"

    def _open(self, size: int | None = None) -> None:
        number = len(self._files)
        flags = os.O_RDWR | os.O_CREAT if self._writable else os.O_RDONLY
        descriptor = os.open(self._path(number), flags | os.O_CLOEXEC, 0o600)
        self._files.append(descriptor)
        count = os.fstat(descriptor).st_size // HASH_BYTES
        if size is not None:
            count = min(count, size >> number * _KEPT_EVERY)
        if size is not None and self._writable:
            os.ftruncate(descriptor, count * HASH_BYTES)
        self._counts.append(count)

    def append(self, level: int, hashes: bytes) -> None:
        """Add hashes at the end of a level; those of a level that is not kept follow from the levels below."""
        number, above = divmod(level, _KEPT_EVERY)
        if above:
            return
        if number == len(self._files):
            self._open()
        offset = self._counts[number] * HASH_BYTES
        rest = memoryview(hashes)
        while rest:
            written = os.pwrite(self._files[number], rest, offset)
            offset += written
            rest = rest[written:]
        self._counts[number] += len(hashes) // HASH_BYTES

    def read(self, level: int, index: int) -> bytes:
        """Return one hash, with one read at most.

        Raises:
            ValueError: it is not there.
        """
        return self._cached(level, index)

    def _read(self, level: int, index: int) -> bytes:
        number, above = divmod(level, _KEPT_EVERY)
        width = HASH_BYTES << above
        hashes = os.pread(self._files[number], width, index * width)
        if len(hashes) != width:
            message = f"the tree has no hash {index} in level {level}"
            raise ValueError(message)
        return _top(hashes)

    def count(self, level: int) -> int:
        """Return how many hashes a level has."""
        number, above = divmod(level, _KEPT_EVERY)
        return self._counts[number] >> above if number < len(self._counts) else 0

    def sync(self) -> None:
        """Bring everything onto the disk."""
        for descriptor in self._files:
            os.fsync(descriptor)

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files:
            os.close(descriptor)
        self._files, self._counts = [], []


def _top(hashes: bytes) -> bytes:
    """Return the hash above a power of two of neighbouring hashes."""
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join(
            node_hash(hashes[i : i + HASH_BYTES], hashes[i + HASH_BYTES : i + 2 * HASH_BYTES]) for i in pairs
        )
    return hashes


class Tree:
    """The tree over nodes kept elsewhere; its own state is one hash for each level at most.

    Raises:
        ValueError: a size or an index lies outside the tree.
    """

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._edge: dict[int, bytes] = {}
        level = 0
        while count := nodes.count(level):
            if count != nodes.count(0) >> level:
                message = (
                    f"level {level} of the tree has {count} hashes, which {nodes.count(0)} leaves do not give"
                )
                raise ValueError(message)
            if count % 2:
                self._edge[level] = nodes.read(level, count - 1)
            level += 1

    @property
    def size(self) -> int:
        """Return the number of leaves."""
        return self.nodes.count(0)

    def append(self, hashes: Sequence[bytes]) -> None:
        """Add leaves, given by their hashes, in order."""
        level, new = 0, list(hashes)
        while new:
            self.nodes.append(level, b"".join(new))
            left = self._edge.pop(level, None)
            if left is not None:
                new.insert(0, left)
            if len(new) % 2:
                self._edge[level] = new[-1]
            new = [node_hash(new[i], new[i + 1]) for i in range(0, len(new) - 1, 2)]
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """Return the root hash of the first ``size`` leaves; of all when None."""
        wanted = self._known(self.size if size is None else size)
        return self._range(0, wanted) if wanted else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the hashes that lead from leaf ``index`` to the root of ``size`` leaves, from the bottom up."""
        end = self._known(self.size if size is None else size)
        if not 0 <= index < end:
            message = f"there is no leaf {index} among {end}"
            raise ValueError(message)
        start, path = 0, []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the hashes that show the tree of ``first`` leaves to be the beginning of that of ``second``."""
        end = self._known(self.size if second is None else second)
        if not 0 < first <= end:
            message = f"a tree of {first} leaves is not the beginning of one of {end}"
            raise ValueError(message)
        start, path, is_whole = 0, [], True
        while first != end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start, is_whole = middle, False
        if not is_whole:
            path.append(self._range(start, end))
        return path[::-1]

    def _known(self, size: int) -> int:
        if not 0 <= size <= self.size:
            message = f"the tree has {self.size} leaves, not {size}"
            raise ValueError(message)
        return size

    def _range(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self.nodes.read(level, start >> level)
        middle = start + _split(width)
        return node_hash(self._range(start, middle), self._range(middle, end))


def _split(width: int) -> int:
    """Return the largest power of two below ``width``."""
    return 1 << (width - 1).bit_length() - 1


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether a leaf's hash leads over ``path`` to ``root`` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if number % 2 or number == last:
            found = node_hash(step, found)
            while number % 2 == 0 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, step)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(first: int, second: int, roots: tuple[bytes, bytes], path: Sequence[bytes]) -> bool:
    """Say whether ``path`` shows the first tree to be the beginning of the second (RFC 9162 section 2.1.4.2)."""
    old_root, new_root = roots
    if first == second:
        return not path and old_root == new_root
    if not 0 < first < second or not path:
        return False
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, old_root)
    return _walk(first - 1, second - 1, steps) == roots


def _walk(number: int, last: int, steps: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the two roots to which a consistency proof leads, or None when its length is wrong."""
    while number % 2:
        number, last = number >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if number % 2 or number == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while number % 2 == 0 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, step)
        number, last = number >> 1, last >> 1
    return (old, new) if last == 0 else None
