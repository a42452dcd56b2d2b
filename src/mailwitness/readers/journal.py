"""The journal's export format: fields of an entry line by line, binary ones with their length, a blank line between entries.

An entry::

    __CURSOR=s=386f9adc;i=3
    __REALTIME_TIMESTAMP=1795225977673003
    SYSLOG_IDENTIFIER=dovecot
    MESSAGE
    <64-bit little-endian length><bytes>

Source: systemd, "Journal Export Formats".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# systemd refuses fields above 768 MB and entries of more than 1,024 fields; messages of a mail host are short.
LONGEST_FIELD = 16 << 20
MOST_FIELDS = 1024
_NAME = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")

Data = dict[str, Any]  # Any: JSON values


class _Entry(msgspec.Struct):
    """Fields of one entry while they are read."""

    offset: int
    line: int
    data: Data = msgspec.field(default_factory=dict)
    problem: str = ""


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each entry; of a field that occurs twice the first value counts."""
    with path.open("rb") as handle:
        entry: _Entry | None = None
        number = 0
        while line := handle.readline(LONGEST_FIELD + 1):
            number += 1
            start = handle.tell() - len(line)
            if line == b"\n":
                if entry is not None:
                    yield _finish(entry, start)
                entry = None
                continue
            entry = entry or _Entry(start, number)
            _add(entry, line, handle)
        if entry is not None:
            yield _finish(entry, handle.tell())


def _add(entry: _Entry, line: bytes, handle: BinaryIO) -> None:
    name, equals, value = line.rstrip(b"\n").partition(b"=")
    if not _NAME.fullmatch(name) or len(line) > LONGEST_FIELD:
        entry.problem = entry.problem or "a field of the journal entry has no name"
        return
    if not equals:
        size = int.from_bytes(handle.read(8), "little")
        if size > LONGEST_FIELD:
            entry.problem = entry.problem or "a field of the journal entry is longer than its limit"
            return
        value = handle.read(size)
        if len(value) < size or handle.read(1) != b"\n":
            entry.problem = entry.problem or "a binary field of the journal entry is cut"
    if len(entry.data) < MOST_FIELDS:
        entry.data.setdefault(name.decode("ascii"), value.decode("utf-8", "backslashreplace"))


def _finish(entry: _Entry, end: int) -> RawRecord | Damage:
    length = end - entry.offset
    if "__REALTIME_TIMESTAMP" not in entry.data:
        return Damage(entry.offset, length, entry.line, entry.problem or "the journal entry has no time")
    return RawRecord(entry.data, entry.offset, length, entry.line, bool(entry.problem))
