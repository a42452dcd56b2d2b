"""Audit events as laurel writes them: one JSON object for each event, arguments and paths as lists.

One line::

    {
        "ID": "1795224843.349:851",
        "NODE": "mx1",
        "SYSCALL": {"syscall": 257, "ARGV": ["0xffffff9c", ...], "AUID": "eva"},
        "PATH": [{"name": "/var/mail/bob"}],
    }

laurel writes `%`, `+` and bytes that are not UTF-8 as percent codes. Source: laurel `man/laurel.8.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from mailwitness.readers.audit_event import Event
from mailwitness.readers.audit_event import Path as AuditPath
from mailwitness.readers.audit_fields import fields
from mailwitness.readers.auditd import LONGEST_LINE
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each line; a line that is no complete JSON object of an event is damage."""
    offset = 0
    number = 0
    with path.open("rb") as handle:
        while line := handle.readline(LONGEST_LINE * 4):
            number += 1
            length = len(line.rstrip(b"\r\n"))
            if line.strip():
                data = _event(line)
                if data is None:
                    yield Damage(offset, length, number, "the line is no audit event of laurel")
                else:
                    yield RawRecord(data, offset, length, number)
            offset += len(line)


def _event(line: bytes) -> Data | None:
    try:
        parsed = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("ID"), str):
        return None
    event = Event(parsed["ID"], _text(parsed.get("NODE", "")))
    for kind, content in parsed.items():
        if kind not in {"ID", "NODE"}:
            for record in content if isinstance(content, list) else [content]:
                if isinstance(record, dict):
                    _add(event, kind, record)
    return event.data() if event.types else None


def _add(event: Event, kind: str, record: Data) -> None:
    """Add one record; it is filled in where the raw reader would put what it decodes."""
    event.types.append(kind)
    if kind == "SYSCALL":
        _add_call(event, record)
    elif kind == "EXECVE":
        event.arguments = dict(
            enumerate(_list(record.get("ARGV")) or _text(record.get("ARGV_STR", "")).split())
        )
    elif kind == "PATH":
        found = _flat(record)
        mode = found.get("mode", "").removeprefix("0o")
        event.paths.append(
            AuditPath(
                found.get("name", ""),
                found.get("nametype", ""),
                found.get("inode", ""),
                mode,
                found.get("OUID", ""),
                found.get("ouid", ""),
            )
        )
    elif kind == "CWD":
        event.cwd = _text(record.get("cwd", ""))
    elif kind == "PROCTITLE":
        event.title = " ".join(_list(record.get("ARGV")))
    elif kind not in {"BPRM_FCAPS", "PARENT_INFO"}:
        target = event.main if not event.main else event.rest
        target.update(_flat(record))
        if isinstance(record.get("msg"), str):
            target.update(fields(record["msg"].encode("utf-8", "surrogatepass")))


def _add_call(event: Event, record: Data) -> None:
    event.main.update(_flat(record))
    for number, value in enumerate(_list(record.get("ARGV"))):
        event.main[f"a{number}"] = value.removeprefix("0x")
    event.main["arch"] = event.main.get("arch", "").removeprefix("0x")
    event.parent = _flat(record["PPID"]) if isinstance(record.get("PPID"), dict) else {}


def _flat(record: Data) -> dict[str, str]:
    return {
        name: _text(value)
        for name, value in record.items()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
    }


def _list(value: object) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else []


def _text(value: object) -> str:
    shown = str(value)
    return unquote(shown, errors="backslashreplace") if "%" in shown else shown
