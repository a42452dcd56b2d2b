"""The shipper's memory on disk: what waits to be sent, and how far everything was read.

Both are changed in one transaction, so that a kill between reading and noting cannot happen; a kill between the witness's answer and
our removal sends a record twice, and the witness knows its key. Nothing is ever removed that the witness has not acknowledged.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailwitness.witness.observed import Observed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL, generation INTEGER NOT NULL,
  offset INTEGER NOT NULL DEFAULT 0, head_bytes INTEGER NOT NULL DEFAULT 0, head BLOB NOT NULL DEFAULT x'',
  tail BLOB NOT NULL DEFAULT x'', done INTEGER NOT NULL DEFAULT 0, UNIQUE (device, inode, generation));
CREATE TABLE IF NOT EXISTS blocks (file INTEGER NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL,
  PRIMARY KEY (file, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (folder TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL,
  digest TEXT NOT NULL, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_ROW_BYTES = 64


class Waiting(NamedTuple):
    """A queued record."""

    seq: int
    key: bytes
    body: bytes


class Spool:
    """The open queue and memory; safe to use from two threads.

    Args:
        folder: made when missing, mode 0700: the queue holds lines of logs and headers of mail.
        most_bytes: what may wait.

    Raises:
        sqlite3.Error: the file cannot be opened or is no database.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "spool.sqlite"
        self._most = most_bytes
        self._lock = threading.RLock()
        self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        path.chmod(0o600)
        # After a power cut the last transactions may be missing, but never half: we then read again what we had read.
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        self._base.executescript(_SCHEMA)
        row = self._base.execute(
            f"SELECT coalesce(sum(length(body) + {_ROW_BYTES}), 0), count(*) FROM queue"
        ).fetchone()
        self.waiting_bytes, self.waiting_records = int(row[0]), int(row[1])
        # Acknowledged, but not yet removed because the disk was full.
        self._sent = 0

    def close(self) -> None:
        """Close the database."""
        self._base.close()

    @property
    def is_full(self) -> bool:
        """Say whether reading has to wait."""
        return self.waiting_bytes >= self._most

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do everything or nothing.

        Raises:
            sqlite3.OperationalError: the disk is full or fails; nothing was changed.
        """
        with self._lock:
            waiting = (self.waiting_bytes, self.waiting_records)
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                self.waiting_bytes, self.waiting_records = waiting
                with contextlib.suppress(sqlite3.OperationalError):
                    self._base.execute("ROLLBACK")
                raise

    def put(self, records: Sequence[Observed]) -> None:
        """Queue records; within a transaction."""
        rows = [(record.key(), record.packed()) for record in records]
        self._base.executemany("INSERT INTO queue (key, body) VALUES (?, ?)", rows)
        self.waiting_bytes += sum(len(body) + _ROW_BYTES for _, body in rows)
        self.waiting_records += len(rows)

    def first(self, most: int, most_bytes: int) -> list[Waiting]:
        """Return the oldest records that were not acknowledged, at least one when there is one."""
        with self._lock:
            found: list[Waiting] = []
            total = 0
            for row in self._base.execute(
                "SELECT seq, key, body FROM queue WHERE seq > ? ORDER BY seq LIMIT ?", (self._sent, most)
            ):
                total += len(row[2])
                if found and total > most_bytes:
                    break
                found.append(Waiting(*row))
            return found

    def acknowledge(self, sent: Sequence[Waiting]) -> None:
        """Remove what the witness has; when the disk is too full even for that, remember it and try again later."""
        with self._lock:
            self._sent = sent[-1].seq
            size = sum(len(row.body) + _ROW_BYTES for row in sent)
            self.waiting_bytes -= size
            self.waiting_records -= len(sent)
            with contextlib.suppress(sqlite3.OperationalError):
                self._base.execute("DELETE FROM queue WHERE seq <= ?", (self._sent,))

    def execute_many(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Change rows; within a transaction."""
        self._base.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:  # Any: rows of SQLite
        """Return the rows of a query."""
        with self._lock:
            return self._base.execute(sql, values).fetchall()

    def mark(self, name: str) -> str:
        """Return a remembered text; empty when there is none."""
        found = self.rows("SELECT value FROM marks WHERE name = ?", (name,))
        return str(found[0][0]) if found else ""

    def set_mark(self, name: str, value: str) -> None:
        """Remember a text; within a transaction."""
        self._base.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))
