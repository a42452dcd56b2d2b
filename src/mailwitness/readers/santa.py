"""The reader of Santa's log on macOS: one record for each line, its members split at the bars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mailwitness.readers.blocks import MAX_RECORD_BYTES, Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, Any]  # Any: JSON values

_LINE = re.compile(r"^\[([0-9T:.Z+-]{19,35})\]\s+\w\s+santad:\s+(action=\S.*)$", re.DOTALL)
# The logging system says that lines of Santa were dropped: a gap is evidence too.
_DROPPED = re.compile(r"^\[([0-9T:.Z+-]{19,35})\]\s+\*+ (LOG MESSAGE QUOTA EXCEEDED)")


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield each line of a Santa log; a bar within a value is written ``<pipe>``.

    Raw line: ``[2026-03-02T09:14:01.120Z] I santad: action=DELETE|path=/Users/eva/x|pid=4|ppid=1|process=rm|processpath=/bin/rm|uid=501|user=eva``.
    """
    offset = 0
    with path.open("rb") as handle:
        for number, raw in enumerate(iter(lambda: handle.readline(MAX_RECORD_BYTES), b""), 1):
            if raw.strip():
                yield _record(raw, offset, number)
            offset += len(raw)


def _record(raw: bytes, offset: int, line: int) -> RawRecord | Damage:
    text = raw.decode("utf-8", "replace").rstrip("\r\n")
    if dropped := _DROPPED.match(text):
        return RawRecord({"time": dropped[1], "action": dropped[2]}, offset, len(raw), line)
    match = _LINE.match(text)
    if match is None:
        return Damage(offset, len(raw), line, "not a line of Santa")
    members: Record = {"time": match[1]}
    for part in match[2].split("|"):
        name, sign, value = part.partition("=")
        if sign:
            members.setdefault(name, value.replace("<pipe>", "|"))
    return RawRecord(members, offset, len(raw), line)
