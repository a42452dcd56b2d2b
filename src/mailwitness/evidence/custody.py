"""The custody log: who did what to which exhibit and when, as hash-chained lines of JSON.

One line, wrapped here::

    {
        "blake3": "9a..",
        "event": "received",
        "file": "/evidence/audit.csv",
        "hash": "4c..",
        "host": "lab-1",
        "operator": "kim",
        "previous": "00..",
        "seq": 1,
        "size_bytes": 812,
        "time": "2026-03-01T09:00:00Z",
        "tool": "mailwitness 0.1.0",
    }

``hash`` is the SHA-256 of the line without ``hash``; ``previous`` that of the whole line before it (64 zeros
in the first). A change, removal, insertion or exchange inside the log breaks the chain. Lines cut off at the
end, or a chain computed anew, show only against a head kept elsewhere: keep ``CustodyReport.head``.
"""

from __future__ import annotations

import datetime as dt
import getpass
import hashlib
import json
import os
import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.errors import CustodyBroken
from mailwitness.evidence.names import display_name
from mailwitness.evidence.store import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIRST = "0" * 64
# Our lines are under 100 KB even with the longest name; a longer one was not written by us.
_LINE_BYTES = 16 << 20
# A broken log can have as many problems as lines; the first ones tell the story.
_PROBLEMS_KEPT = 100
_OURS = frozenset({"seq", "time", "event", "previous", "hash", "tool", "operator", "host"})


class CustodyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What checking a custody log gave.

    Attributes:
        entries: whole lines read.
        problems: sentences with line numbers, the first hundred; empty when ``ok``.
        head: SHA-256 of the last whole line; what a signature or a note elsewhere has to hold.
    """

    ok: bool
    entries: int
    problems: tuple[str, ...]
    head: str


class CustodyLog:
    """The open custody log of one case; safe to use from several threads.

    Opening repairs what a killed run left: an unfinished last line becomes an entry ``torn`` that keeps its
    bytes. Every entry names tool, operator and host.

    Args:
        path: the log; made when missing.
        tool: name and version of this program.
        operator: who runs it; None asks the system.
        host: where it runs; None asks the system.
        now: time to give a ``torn`` entry (aware).

    Raises:
        CustodyBroken: the last line does not verify, or the log cannot be opened.
    """

    def __init__(
        self, path: Path, *, now: dt.datetime, tool: str, operator: str | None = None, host: str | None = None
    ) -> None:
        self.path = Path(path)
        self._handled_by = {
            "tool": tool,
            "operator": operator or operator_name(),
            "host": host or platform.node(),
        }
        self._writing = threading.Lock()
        is_new = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
            if is_new:
                sync_folder(self.path.parent)
        except OSError as error:
            raise self._broken(f"it cannot be opened: {error.strerror}") from error
        self._seq, self._previous, self._end = self._resume()
        self._mend(now)

    def append(self, event: str, *, now: dt.datetime, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """Write one entry; it is on disk when this returns.

        Raises:
            CustodyBroken: it cannot be written, or something else wrote to the log meanwhile.
        """
        return self.append_many([(event, fields)], now=now)[0]

    def append_many(
        self, events: Iterable[tuple[str, Mapping[str, Any]]], *, now: dt.datetime
    ) -> list[dict[str, Any]]:
        """Write several entries in one go: all are on disk when this returns.

        Raises:
            CustodyBroken: they cannot be written, or something else wrote to the log meanwhile.
        """
        with self._writing:
            entries, lines = self._chain(events, _utc(now))
            if lines:
                self._write(b"".join(lines))
                self._seq += len(lines)
                self._previous = line_digest(lines[-1])
            return entries

    @property
    def head(self) -> str:
        """Return the SHA-256 of the last line."""
        return self._previous

    def close(self) -> None:
        """Close the file; every entry is on disk already."""
        os.close(self._descriptor)

    def _chain(
        self, events: Iterable[tuple[str, Mapping[str, Any]]], time: str
    ) -> tuple[list[Any], list[bytes]]:
        entries: list[dict[str, Any]] = []
        lines: list[bytes] = []
        previous = self._previous
        for seq, (event, fields) in enumerate(events, self._seq + 1):
            if clash := _OURS & fields.keys():
                message = f"fields {sorted(clash)} belong to the log itself"
                raise ValueError(message)
            entry = {
                **fields,
                **self._handled_by,
                "seq": seq,
                "time": time,
                "event": event,
                "previous": previous,
            }
            entry["hash"] = _digest(entry)
            entries.append(entry)
            lines.append(_canonical(entry) + b"\n")
            previous = line_digest(lines[-1])
        return entries, lines

    def _write(self, content: bytes) -> None:
        if os.fstat(self._descriptor).st_size != self._end:
            raise self._broken("something else wrote to it during this run")
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self._end)
            raise self._broken(f"it cannot be written: {error.strerror}") from error
        self._end += len(content)

    def _resume(self) -> tuple[int, str, int]:
        """Return number and digest of the last whole line and where it ends."""
        size = os.fstat(self._descriptor).st_size
        end = _last_line_break(self._descriptor, size) + 1
        start = _last_line_break(self._descriptor, max(end - 1, 0)) + 1
        if end == 0:
            return 0, FIRST, 0
        line = os.pread(self._descriptor, end - start, start) if end - start <= _LINE_BYTES else b""
        entry = _parse(line)
        if entry is None or not isinstance(entry["seq"], int):
            raise self._broken("its last line was changed")
        return entry["seq"], line_digest(line), end

    def _mend(self, now: dt.datetime) -> None:
        torn = os.fstat(self._descriptor).st_size - self._end
        if torn == 0:
            return
        kept = os.pread(self._descriptor, min(torn, _LINE_BYTES // 4), self._end)
        fields = {"bytes_hex": kept.hex(), "size_bytes": torn}
        _, lines = self._chain([("torn", fields)], _utc(now))
        # Written over the torn bytes in one call, and longer than they are as it holds them in hex: whenever
        # this run dies too, either they or this entry are there. O_APPEND would ignore the offset.
        with open(self.path, "r+b", buffering=0) as file:  # noqa: PTH123 - a descriptor without O_APPEND
            os.pwrite(file.fileno(), lines[0], self._end)
            os.ftruncate(file.fileno(), self._end + len(lines[0]))
            os.fsync(file.fileno())
        self._end += len(lines[0])
        self._seq += 1
        self._previous = line_digest(lines[0])

    def _broken(self, message: str) -> CustodyBroken:
        return CustodyBroken(
            message,
            place=display_name(self.path),
            remedy="Keep this case folder as it is and investigate into a new one.",
        )


def verify(path: Path, *, head: str | None = None) -> CustodyReport:
    """Check every line of a custody log.

    Args:
        path: the log.
        head: the head noted earlier, if any: the only way to see that lines are missing at the end.

    Raises:
        CustodyBroken: the log cannot be read at all.
    """
    problems: list[str] = []
    previous, number = FIRST, 0
    try:
        with Path(path).open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                number += 1
                problems += _problems(line, number, previous)
                previous = line_digest(line)
    except OSError as error:
        remedy = "Give a case folder with a readable custody log."
        raise CustodyBroken(
            f"it cannot be read: {error.strerror}", place=display_name(path), remedy=remedy
        ) from error
    if head is not None and head != previous:
        problems.append(f"the log ends in {previous}, not in the head {head} noted earlier")
    return CustodyReport(
        ok=not problems, entries=number, problems=tuple(problems[:_PROBLEMS_KEPT]), head=previous
    )


def _problems(line: bytes, number: int, previous: str) -> list[str]:
    entry = _parse(line)
    if entry is None:
        return [f"line {number} was changed or is incomplete"]
    found = []
    if entry["seq"] != number:
        found.append(
            f"line {number} carries the number {entry['seq']!r}: lines were removed, added or exchanged"
        )
    if entry["previous"] != previous:
        found.append(f"line {number} does not follow from the line before it")
    return found


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the entry of an intact line, or None."""
    try:
        entry = json.loads(line)
        intact = (
            isinstance(entry, dict)
            # The same entry in other bytes (spaces, order, a key given twice) is a changed line too.
            and _canonical(entry) + b"\n" == line
            and entry.keys() >= _OURS
            and entry.pop("hash") == _digest(entry)
        )
    except (ValueError, RecursionError):
        return None
    return entry if intact else None


def _canonical(entry: Mapping[str, Any]) -> bytes:
    # ASCII only: a hostile file name can neither break a line nor steer the terminal of whoever prints it.
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(entry)).hexdigest()


def line_digest(line: bytes) -> str:
    """Return the SHA-256 of a line without its line feed: what the next line names as ``previous``, and the head."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def _last_line_break(descriptor: int, end: int, block: int = 1 << 16) -> int:
    """Return the offset of the last line break before ``end``, or -1."""
    while end > 0:
        start = max(end - block, 0)
        place = os.pread(descriptor, end - start, start).rfind(b"\n")
        if place >= 0:
            return start + place
        end = start
    return -1


def _utc(now: dt.datetime) -> str:
    if now.tzinfo is None:
        message = "the time of a custody entry needs a time zone"
        raise ValueError(message)
    return now.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def operator_name() -> str:
    """Return the account that runs this program."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        return f"uid {os.getuid()}"
