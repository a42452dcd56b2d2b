"""Following Dovecot's own logs: every expunge and every removed folder, also those that no syslog shows."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.readers import dovecot_index
from mailwitness.readers.blocks import RawRecord
from mailwitness.witness.observed import Observed, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.witness.spool import Spool

_NAMES = ("dovecot.index.log", "dovecot.list.index.log", "dovecot.mailbox.log")
# Walking a tree of mail folders for new logs is done at every hundredth visit only.
_VISITS = 100
# What Dovecot learns later about earlier records is no new record.
_BOUNDS = {"KnownAfter", "KnownBefore"}


class DovecotLogs:
    """Follows the index logs below the folders that a path, possibly with ``*``, names."""

    def __init__(self, pattern: str, spool: Spool, *, now_us: Callable[[], int]) -> None:
        self.pattern, self._spool, self._now_us = pattern, spool, now_us
        self._paths: list[Path] = []
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        self._visit = 0

    def poll(self) -> bool:
        """Read the logs that changed; returns whether something was shipped."""
        if self._visit % _VISITS == 0:
            roots = [Path(root) for root in sorted(glob.glob(self.pattern))]  # noqa: PTH207 - as given
            self._paths = sorted(path for root in roots for name in _NAMES for path in root.rglob(name))
        self._visit += 1
        has_read = False
        for path in self._paths:
            # The log before the present one first: it may have grown after our last visit.
            for each in (path.with_name(path.name + ".2"), path):
                has_read |= self._look(each, path)
        return has_read

    def recheck(self, budget: int) -> None:
        """Dovecot itself changes flags inside its logs; there is nothing to compare."""

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self, path: Path, named: Path) -> bool:
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._stamps.get(path) == stamp or self._spool.is_full:
            return False
        has_read = self._read(path, named, status.st_ino)
        self._stamps[path] = stamp
        return has_read

    def _read(self, path: Path, named: Path, inode: int) -> bool:
        """Ship the records behind the last one of this file; its inode stays when Dovecot renames it."""
        mark = f"dovecot {named} {inode}"
        start = int(self._spool.mark(mark) or 0)
        records, end = [], start
        with path.open("rb") as file:
            for record in dovecot_index.read_named(path, str(named)):
                if not isinstance(record, RawRecord) or record.offset < start:
                    continue
                raw = os.pread(file.fileno(), record.length, record.offset)
                records.append(self._observed(named, inode, record, raw))
                end = max(end, record.offset + record.length)
        if records:
            with self._spool.transaction():
                self._spool.put(records)
                self._spool.set_mark(mark, str(end))
        return bool(records)

    def _observed(self, named: Path, inode: int, record: RawRecord, raw: bytes) -> Observed:
        fields = {key: value for key, value in record.data.items() if key not in _BOUNDS}
        return Observed(
            kind="index",
            path=shown(str(named)),
            file=str(inode),
            offset=record.offset,
            body=msgspec.json.encode(fields, order="sorted"),
            seen_us=self._now_us(),
            facts={"raw_sha256": hashlib.sha256(raw).hexdigest()},
        )
