"""Which content keys the witness holds already, in little memory.

A key is known by the first eight bytes of a hash over client and key. The newest stand in a dictionary, the others in sorted runs on
disk that are searched in place; a run's name tells the records it covers: ``000000000000-000000065536.run``. A hit is only a hint: the
caller compares the record itself. Runs can be made again from the records at any time.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# 65,536 pairs are a megabyte on disk and a few megabytes in the dictionary.
RECENT = 1 << 16
# Runs are merged with neighbours of their own size up to 4 million pairs (64 MB), so that merging needs bounded memory.
_LARGEST_RUN = 1 << 22
_PAIR = np.dtype([("key", "<u8"), ("number", "<u8")])


def short_key(client: str, key: bytes) -> int:
    """Return the number under which a client's content key is looked up."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, person=_person(client)).digest(), "little")


def _person(client: str) -> bytes:
    return hashlib.sha256(client.encode()).digest()[:16]


class _Run(NamedTuple):
    first: int
    end: int
    path: Path
    pairs: np.ndarray[tuple[int], np.dtype[np.void]]


class KeyIndex:
    """The index over the records ``[0, end)``.

    Args:
        folder: holds the runs; made when missing.
        size: records that exist; runs that speak of more are thrown away.
        recent: pairs kept in memory.
    """

    def __init__(self, folder: Path, *, size: int, recent: int = RECENT) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._limit = recent
        self._recent: dict[int, int] = {}
        self._runs: list[_Run] = []
        self.covered = 0
        self._load(size)
        self.end = self.covered

    def _load(self, size: int) -> None:
        """Take the runs that join without a gap; others are remains of a merge that was cut short."""
        found = sorted(self._folder.glob("*-*.run"), key=lambda path: (path.name[:12], -int(path.stem[13:])))
        for path in found:
            first, end = int(path.name[:12]), int(path.stem[13:])
            if first == self.covered and end <= size:
                pairs = np.memmap(path, dtype=_PAIR, mode="r") if path.stat().st_size else np.empty(0, _PAIR)
                self._runs.append(_Run(first, end, path, pairs))
                self.covered = end
            else:
                path.unlink()

    def add(self, keys: Sequence[int | None], first: int) -> None:
        """Add the keys of the records from ``first`` on; None for a record that is not looked up."""
        self._recent.update({key: first + i for i, key in enumerate(keys) if key is not None})
        self.end = first + len(keys)
        if self.end - self.covered >= self._limit:
            self._flush()

    def find(self, keys: Sequence[int]) -> list[list[int]]:
        """Return for each key the records it may belong to; usually none."""
        found: list[list[int]] = [[self._recent[key]] if key in self._recent else [] for key in keys]
        wanted = np.array(keys, dtype="<u8")
        for run in self._runs:
            column = run.pairs["key"]
            starts = np.searchsorted(column, wanted, side="left")
            if not len(column):
                continue
            inside = np.minimum(starts, len(column) - 1)
            for i in np.nonzero((starts < len(column)) & (column[inside] == wanted))[0]:
                end = int(np.searchsorted(column, wanted[i], side="right"))
                found[i] += [int(number) for number in run.pairs["number"][int(starts[i]) : end]]
        return found

    def _flush(self) -> None:
        pairs = np.fromiter(self._recent.items(), dtype=_PAIR, count=len(self._recent))
        self._write(self.covered, self.end, pairs)
        self.covered = self.end
        self._recent = {}
        while len(self._runs) > 1:
            left, right = self._runs[-2:]
            if len(left.pairs) > 2 * len(right.pairs) or len(left.pairs) + len(right.pairs) > _LARGEST_RUN:
                break
            self._runs = self._runs[:-2]
            self._write(left.first, right.end, np.concatenate([left.pairs, right.pairs]))
            for run in (left, right):
                run.path.unlink()

    def _write(self, first: int, end: int, pairs: np.ndarray[tuple[int], np.dtype[np.void]]) -> None:
        path = self._folder / f"{first:012d}-{end:012d}.run"
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(np.sort(pairs, order=["key", "number"]).tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        kept = np.memmap(path, dtype=_PAIR, mode="r") if len(pairs) else np.empty(0, _PAIR)
        self._runs.append(_Run(first, end, path, kept))
