"""What ``doveadm dump`` prints of Dovecot's transaction logs and folder logs.

::

    create stamp = 1795225264
    record: offset=584, type=expunge-guid, size=48
     - uid=1 (guid 9032ab7137813cb29d03a4c2052f8b23)
    #0: delete-mailbox bc16b83291f4006bb27e0000d09efc50 (2026-11-21 01:41:06)

Times are written in the zone of the host that ran it; the numbers of the binary file are in UTC and should be preferred.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RECORD = re.compile(r"record: offset=(\d+), type=([a-z0-9-]+)( \(ext\))?, size=\d+")
_EXPUNGED = re.compile(r" - uid=(\d+) \(guid ([0-9a-f]{32})\)")
_RANGE = re.compile(r" - uids=(\d+)-(\d+)(?: \(flags \+(\w+)-(\w+))?")
_UIDS = re.compile(r" - uids=([\d,]+)$")
_ATTRIBUTE = re.compile(r" - (add|remove): (\S+) : timestamp=(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_FOLDER = re.compile(r"#(\d+): ([a-z-]+) ([0-9a-f]{32}) \((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\)")
_NOTHING = "0" * 32

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each uid, attribute or folder; other lines of the print belong to these and are no records."""
    return read_named(path, str(path))


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Do the same for a file whose own path is ``name``, which tells mailbox and folder."""
    offset = 0
    shared: Data = {"FilePath": name}
    guids: dict[int, str] = {}
    current: Data = {}
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            for key, column in (("index id = ", "IndexId"), ("file seq = ", "LogSequence")):
                if text.startswith(key) and text[len(key) :].isdigit():
                    shared[column] = int(text[len(key) :])
            match = _RECORD.match(text)
            if match:
                current = {"Kind": match[2], "IsSynced": bool(match[3])}
            for data in _entries(text, current, guids):
                yield RawRecord(shared | data, offset, len(line.rstrip(b"\r\n")), number)
            offset += len(line)


def _entries(text: str, current: Data, guids: dict[int, str]) -> Iterator[Data]:
    expunged = _EXPUNGED.match(text)
    flags = _RANGE.match(text)
    listed = _UIDS.match(text)
    attribute = _ATTRIBUTE.match(text)
    folder = _FOLDER.match(text)
    if expunged:
        uid, guid = int(expunged[1]), expunged[2]
        guids[uid] = guids.get(uid, "") if guid == _NOTHING else guid
        yield current | {"Uid": uid, "LastUid": uid, "Guid": guids[uid]}
    elif flags:
        yield current | {"Uid": int(flags[1]), "LastUid": int(flags[2])}
    elif listed:
        for word in listed[1].strip(",").split(","):
            yield current | {"Uid": int(word), "LastUid": int(word)}
    elif attribute:
        seconds = _seconds(attribute[3])
        yield current | {
            "Attribute": attribute[2],
            "Change": "set" if attribute[1] == "add" else "removed",
            "Seconds": seconds,
            "KnownAfter": seconds,
            "KnownBefore": seconds,
        }
    elif folder:
        seconds = _seconds(folder[4])
        yield {
            "Kind": folder[2],
            "Guid": folder[3],
            "Seconds": seconds,
            "KnownAfter": seconds,
            "KnownBefore": seconds,
        }


def _seconds(text: str) -> int:
    return int(dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC).timestamp())
