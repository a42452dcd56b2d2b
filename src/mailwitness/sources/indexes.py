"""The indexes of a case's exhibits: one file for each large one, one file for many small ones."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.index import RecordIndex

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.models import Exhibit

# Writing a file takes as long as reading a log of a hundred records.
_SMALL_RECORDS = 10_000
# Small indexes that wait to be written take at most a tenth of the smallest memory limit.
_MOST_WAITING = 1_000_000
_COLUMNS = ("offsets", "lengths", "lines")


class Indexes:
    """Where the records of each exhibit stand."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the indexes."""
        self._folder = folder
        self._waiting: dict[str, RecordIndex] = {}
        self._records = 0
        # Digest of an exhibit -> the file that it shares, its first record in it, and how many it has.
        self._shared: dict[str, tuple[Path, int, int]] = {}

    def save(self, exhibit: Exhibit, index: RecordIndex) -> None:
        """Keep the index of an exhibit; that of a small one is written by `flush`."""
        self._shared.pop(exhibit.blake3, None)
        if len(index) >= _SMALL_RECORDS:
            index.save(self._path(exhibit.blake3))
            return
        self._waiting[exhibit.blake3] = index
        self._records += len(index)
        if self._records > _MOST_WAITING:
            self.flush()

    def load(self, exhibit: Exhibit) -> RecordIndex | None:
        """Return the index of an exhibit; None for formats without byte positions."""
        if exhibit.blake3 in self._waiting:
            return self._waiting[exhibit.blake3]
        if exhibit.blake3 in self._shared:
            return RecordIndex.load(*self._shared[exhibit.blake3])
        path = self._path(exhibit.blake3)
        return RecordIndex.load(path) if path.exists() else None

    def flush(self) -> None:
        """Write the indexes that wait into one file, and which of its records are whose beside it."""
        if not self._waiting:
            return
        name = hashlib.sha256("\n".join(self._waiting).encode()).hexdigest()
        path, first = self._path(name), 0
        places: dict[str, tuple[int, int]] = {}
        for digest, index in self._waiting.items():
            places[digest] = (first, len(index))
            self._shared[digest] = (path, first, len(index))
            first += len(index)
        columns = ([getattr(index, column) for index in self._waiting.values()] for column in _COLUMNS)
        RecordIndex(*map(np.concatenate, columns)).save(path)
        path.with_suffix(".json").write_text(json.dumps(places), "utf-8")
        self._waiting, self._records = {}, 0

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest[:32]}.npy"
