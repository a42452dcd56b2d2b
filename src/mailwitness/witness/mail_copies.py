"""Following deliveries: every message of a Maildir or mbox as headers and digests, and what becomes of it later."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mailwitness.witness.observed import Observed, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailwitness.witness.spool import Spool

# Headers of one message; longer ones are cut there, the digests cover all of them.
_HEADER_BYTES = 64 * 1024
_CHUNK = 1 << 20
# A folder changed so recently may change again within the same time stamp of its file system.
_SETTLED_NS = 2_000_000_000
# Changes of a message's file are looked for in this many files at each recheck.
_RECHECKED = 500
_BATCH = 200
# Lines that mail programs rewrite in an mbox without touching the message.
_KEPT_BY_READERS = (b"status:", b"x-status:", b"x-keywords:", b"x-uid:", b"x-imap:", b"x-imapbase:")


class Digests(NamedTuple):
    """What is remembered of a message: its headers (cut), all of it when asked, and SHA-256 digests."""

    header: bytes
    whole: bytes
    size: int
    header_sha256: str
    body_sha256: str
    sha256: str


def digest(file: BinaryIO, most_bytes: int) -> Digests:
    """Return the digests of a message; headers end at the first empty line."""
    whole, header_hash, body_hash = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    header, kept, size, is_header = bytearray(), bytearray(), 0, True
    while chunk := file.readline(_CHUNK) if is_header else file.read(_CHUNK):
        whole.update(chunk)
        size += len(chunk)
        if most_bytes:
            kept += chunk[: max(most_bytes - len(kept), 0)]
        if not is_header:
            body_hash.update(chunk)
            continue
        header_hash.update(chunk)
        header += chunk[: max(_HEADER_BYTES - len(header), 0)]
        is_header = chunk not in (b"\n", b"\r\n")
    return Digests(
        bytes(header), bytes(kept), size, header_hash.hexdigest(), body_hash.hexdigest(), whole.hexdigest()
    )


def observed(folder: str, name: str, found: Digests, *, changed_us: int, seen_us: int) -> Observed:
    """Return the record of a message."""
    return Observed(
        kind="message",
        path=shown(folder),
        file=shown(name),
        body=found.whole or found.header,
        seen_us=seen_us,
        facts={
            "size": found.size,
            "sha256": found.sha256,
            "header_sha256": found.header_sha256,
            "body_sha256": found.body_sha256,
            "changed_us": changed_us,
        },
    )


def base_name(name: str) -> str:
    """Return a Maildir file's name without the flags behind ``:2,``."""
    return name.partition(":2,")[0]


def folders(maildir: Path) -> list[Path]:
    """Return a Maildir and its folders (Maildir++ folders begin with a dot)."""
    below = sorted(path for path in maildir.glob(".*") if (path / "cur").is_dir())
    return [maildir, *below] if (maildir / "cur").is_dir() else below


def listing(folder: Path) -> dict[str, Path]:
    """Return the messages of a Maildir folder: name without flags -> file."""
    found: dict[str, Path] = {}
    # In this order: a message moves from new to cur and never back, so that it cannot slip through between the two.
    for place in ("new", "cur"):
        try:
            with os.scandir(folder / place) as entries:
                found |= {base_name(e.name): Path(e.path) for e in entries if not e.name.startswith(".")}
        except FileNotFoundError:
            continue
    return found


class Maildirs:
    """Follows the Maildirs that a path, possibly with ``*``, names; see :class:`Lines` for the arguments."""

    def __init__(
        self, pattern: str, spool: Spool, *, now_us: Callable[[], int], record_bytes: int, bodies: bool
    ) -> None:
        self.pattern, self._spool, self._now_us = pattern, spool, now_us
        self._body_bytes = record_bytes if bodies else 0
        self._stamps: dict[str, tuple[int, int]] = {}
        self._missing: dict[str, set[str]] = {}
        self._turn = 0

    def poll(self) -> bool:
        """Look at folders that changed; returns whether something was shipped."""
        has_read = False
        known = {row[0] for row in self._spool.rows("SELECT DISTINCT folder FROM messages")}
        present = [str(f) for m in sorted(glob.glob(self.pattern)) for f in folders(Path(m))]  # noqa: PTH207 - as given
        gone = [folder for folder in known if folder in self._stamps and folder not in present]
        for folder in [*present, *gone]:
            if self._spool.is_full:
                return False
            has_read |= self._look(folder)
        return has_read

    def recheck(self, budget: int) -> None:
        """Look whether the files of some known messages changed."""
        del budget
        rows = self._spool.rows(
            "SELECT folder, name, size, changed, digest FROM messages ORDER BY folder, name LIMIT ? OFFSET ?",
            (_RECHECKED, self._turn * _RECHECKED),
        )
        self._turn = self._turn + 1 if len(rows) == _RECHECKED else 0
        by_folder: dict[str, list[tuple[str, int, int, str]]] = {}
        for folder, *message in rows:
            by_folder.setdefault(folder, []).append((message[0], message[1], message[2], message[3]))
        for folder, messages in by_folder.items():
            if folder in self._stamps and not self._spool.is_full:
                present = listing(Path(folder))
                for name, size, changed, known in messages:
                    if name in present and _differs(present[name], size, changed):
                        self._ship(folder, {name: present[name]}, {name: known})

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self, folder: str) -> bool:
        before = self._stamp(folder)
        if self._stamps.get(folder) == before and not self._missing.get(folder):
            return False
        present = listing(Path(folder))
        known = {row[0] for row in self._spool.rows("SELECT name FROM messages WHERE folder = ?", (folder,))}
        new = {name: path for name, path in present.items() if name not in known}
        names = sorted(new)
        for start in range(0, len(names), _BATCH):
            if self._spool.is_full:
                return True
            self._ship(folder, {name: new[name] for name in names[start : start + _BATCH]})
        # A listing may miss a file that is renamed at that moment; what is missing twice is gone.
        missing = known - present.keys()
        confirmed = missing & self._missing.get(folder, set())
        self._miss(folder, sorted(confirmed))
        self._missing[folder] = missing - confirmed
        is_settled = all(self._now_us() * 1000 - stamp > _SETTLED_NS for stamp in before)
        self._stamps[folder] = before if is_settled else (0, 0)
        return bool(new or confirmed)

    def _stamp(self, folder: str) -> tuple[int, int]:
        def changed(place: str) -> int:
            try:
                return Path(folder, place).stat().st_mtime_ns
            except FileNotFoundError:
                return -1

        return changed("new"), changed("cur")

    def _ship(
        self, folder: str, files: dict[str, Path], known: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Ship messages, but not those whose digest is known already."""
        records, rows = [], []
        for name, path in files.items():
            try:
                with path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    found = digest(file, self._body_bytes)
            except FileNotFoundError:
                continue  # renamed since the listing; the next visit finds it
            changed_us = status.st_mtime_ns // 1000
            rows.append((folder, name, status.st_size, status.st_mtime_ns, found.sha256))
            if known.get(name) == found.sha256:
                continue  # touched, and the same as before
            records.append(observed(folder, name, found, changed_us=changed_us, seen_us=self._now_us()))
        with self._spool.transaction():
            self._spool.put(records)
            self._spool.execute_many("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?)", rows)

    def _miss(self, folder: str, names: list[str]) -> None:
        if names:
            miss(self._spool, folder, names, self._now_us())


def miss(spool: Spool, folder: str, names: list[str], now_us: int) -> None:
    """Say that messages are gone, and forget them, so that one that comes back is shipped again."""
    records = []
    for name in names:
        row = spool.rows("SELECT digest FROM messages WHERE folder = ? AND name = ?", (folder, name))
        records.append(
            Observed(
                kind="message_gone",
                path=shown(folder),
                file=shown(name),
                seen_us=now_us,
                facts={"sha256": row[0][0], "noticed_us": now_us},
            )
        )
    with spool.transaction():
        spool.put(records)
        spool.execute_many(
            "DELETE FROM messages WHERE folder = ? AND name = ?", [(folder, name) for name in names]
        )


def _differs(path: Path, size: int, changed: int) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) != (size, changed)


class Mboxes:
    """Follows the mbox files that a path, possibly with ``*``, names.

    A message begins with a line ``From `` behind an empty line; its name is a digest over that line and the message without the lines
    that mail programs rewrite, so that marking it as read makes no new message.
    """

    def __init__(
        self, pattern: str, spool: Spool, *, now_us: Callable[[], int], record_bytes: int, bodies: bool
    ) -> None:
        self.pattern, self._spool, self._now_us = pattern, spool, now_us
        self._body_bytes = record_bytes if bodies else 0
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._done: dict[str, tuple[int, int, int]] = {}

    def poll(self) -> bool:
        """Read the files that changed and are at rest; returns whether something was shipped."""
        has_read = False
        paths = sorted({*glob.glob(self.pattern), *self._seen})  # noqa: PTH207 - as given
        for path in paths:
            try:
                status = os.stat(path)  # noqa: PTH116 - as given
                # A folder beside the mailboxes is none, and a pipe or device in place of one holds no messages.
                is_file = stat.S_ISREG(status.st_mode)
                now = (status.st_ino, status.st_size, status.st_mtime_ns) if is_file else (0, 0, 0)
            except FileNotFoundError:
                now = (0, 0, 0)
            # The same at two visits: nobody is in the middle of rewriting it.
            if self._seen.get(path) == now and self._done.get(path) != now and not self._spool.is_full:
                has_read |= self._read(path)
                self._done[path] = now
            self._seen[path] = now
        return has_read

    def recheck(self, budget: int) -> None:
        """Every change of an mbox changes its times; there is nothing more to look at."""

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self, path: str) -> bool:
        known = {row[0] for row in self._spool.rows("SELECT name FROM messages WHERE folder = ?", (path,))}
        present: set[str] = set()
        waiting: list[tuple[str, Digests]] = []
        for name, found in mbox_messages(Path(path), self._body_bytes):
            if name not in known and name not in present:
                waiting.append((name, found))
            present.add(name)
            if len(waiting) >= _BATCH:
                self._ship(path, waiting)
                waiting = []
        self._ship(path, waiting)
        gone = sorted(known - present)
        if gone:
            miss(self._spool, path, gone, self._now_us())
        return bool(present - known or gone)

    def _ship(self, path: str, messages: list[tuple[str, Digests]]) -> None:
        now_us = self._now_us()
        records = [observed(path, name, found, changed_us=0, seen_us=now_us) for name, found in messages]
        with self._spool.transaction():
            self._spool.put(records)
            self._spool.execute_many(
                "INSERT OR REPLACE INTO messages VALUES (?, ?, ?, 0, ?)",
                [(path, name, found.size, found.sha256) for name, found in messages],
            )


def mbox_messages(path: Path, most_bytes: int = 0) -> Iterator[tuple[str, Digests]]:
    """Yield name and digests of the messages of an mbox, in order; nothing when there is no such file."""
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
        return
    try:
        with path.open("rb") as file:
            message: _Message | None = None
            was_empty = True
            while line := file.readline(_CHUNK):
                if was_empty and line.startswith(b"From "):
                    if message:
                        yield message.finished()
                    message = _Message(line, most_bytes)
                elif message:
                    message.add(line)
                was_empty = line in (b"\n", b"\r\n")
            if message:
                yield message.finished()
    except FileNotFoundError:
        return


class _Message:
    """A message of an mbox while its lines come."""

    def __init__(self, envelope: bytes, most_bytes: int) -> None:
        self._name = hashlib.sha256(envelope)
        self._header_hash, self._body_hash = hashlib.sha256(), hashlib.sha256()
        self._header, self._whole, self._size, self._most = bytearray(), bytearray(), 0, most_bytes
        self._is_header = True

    def add(self, line: bytes) -> None:
        """Take the next line."""
        if self._is_header and line.lower().startswith(_KEPT_BY_READERS):
            return
        self._size += len(line)
        self._whole += line[: max(self._most - len(self._whole), 0)]
        if self._is_header:
            self._header_hash.update(line)
            self._header += line[: max(_HEADER_BYTES - len(self._header), 0)]
            self._is_header = line not in (b"\n", b"\r\n")
        else:
            self._body_hash.update(line)

    def finished(self) -> tuple[str, Digests]:
        """Return name and digests."""
        header, body = self._header_hash.hexdigest(), self._body_hash.hexdigest()
        self._name.update(f"{header}{body}".encode())
        whole = hashlib.sha256(f"{header}{body}".encode()).hexdigest()
        return self._name.hexdigest(), Digests(
            bytes(self._header), bytes(self._whole), self._size, header, body, whole
        )
