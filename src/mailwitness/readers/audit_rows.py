r"""Records of one audit event that an agent or a workspace keeps as rows of their own, brought together.

The kernel writes several records for one call; the agents of Log Analytics send each as a row of LinuxAuditLog, or AUOMS
puts the paths of all into lists beside the first::

    {"RecordType":"SYSCALL","AuditID":"1772442201.349:851","syscall":"openat","a2":"241","auid":"1004","exe":"/usr/bin/bash"}
    {"RecordType":"CWD","AuditID":"1772442201.349:851","cwd":"/var/mail"}
    {"RecordType":"PATH","AuditID":"1772442201.349:851","name":"bob","nametype":"NORMAL"}
    {"RecordType":"AUOMS_SYSCALL",...,"path_name":"[\"/var/mail/\",\"/var/mail/bob\"]","path_nametype":"[\"PARENT\",\"DELETE\"]"}

Only a PATH names the file, only the SYSCALL says what was done to it and by whom. Each row stays a row of its own; the one with
which an event says both gets what the others said. Rows that come earlier than that stay as they are, so that nothing counts twice.

Source: microsoft/OMS-Auditd-Plugin, OMSEventWriter.cpp and AuditEventProcessor.cpp; kernel `kernel/auditsc.c`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

Record = dict[str, Any]  # Any: a parsed JSON object or CSV row

# Events whose rows are still awaited: an export sorted by time has the rows of one event within a second of others.
_MOST_EVENTS = 4096
# What a row about a file or a program takes over from the call; an EXECVE has arguments of its own under a0 to a9.
_IDS = {"auid", "uid", "euid", "gid", "egid", "ses", "pid", "ppid"}
_NAMES = {"audit_user", "user", "effective_user", "group", "effective_group", "tty"}
_OF_CALL = {"syscall", "arch", "success", "exit", "exe", "comm", "key"} | _IDS | _NAMES
_ARGUMENTS = {"a0", "a1", "a2", "a3"}
_RENAMES = {"rename", "renameat", "renameat2"}
# Source and target.
_NAMES_OF_RENAME = 2
# The kernel writes six at most; an export may say anything.
_MOST_NAMES = 32


class _Event:
    """What the rows of one event have said so far."""

    __slots__ = ("call", "cwd", "names")

    def __init__(self) -> None:
        self.call: Record = {}
        self.cwd = ""
        self.names: list[tuple[str, str]] = []


class Preparer:
    """Bring the rows of one export, in order, together by their event."""

    def __init__(self) -> None:
        """Start before the first row."""
        self._events: OrderedDict[tuple[str, str], _Event] = OrderedDict()

    def prepare(self, record: Record) -> Record:
        """Return a row with what earlier rows of its event said; columns have their plain names, case folded."""
        row = {key: cell for key, cell in record.items() if cell not in ("", None)}
        kind = str(row.get("recordtype", "")).removeprefix("AUOMS_")
        key = _event_key(row)
        if not key[1] or kind not in {"SYSCALL", "CWD", "PATH", "EXECVE"}:
            return row
        if "path_name" in row:
            names = list(zip(_texts(row["path_name"]), _texts(row.get("path_nametype")), strict=False))
            return _named(row, names[:_MOST_NAMES])
        event = self._event(key)
        if kind == "CWD":
            event.cwd = str(row.get("cwd", ""))
        elif kind == "SYSCALL":
            event.call = row
            return _named(row | _folder(event), event.names) if event.names and "name" not in row else row
        elif kind == "EXECVE":
            return _of_call(event, _OF_CALL) | row
        elif "name" in row:
            return _of_path(event, row)
        return row

    def _event(self, key: tuple[str, str]) -> _Event:
        if key not in self._events and len(self._events) >= _MOST_EVENTS:
            self._events.popitem(last=False)
        return self._events.setdefault(key, _Event())


def _event_key(row: Record) -> tuple[str, str]:
    """Return host and id of a row's event; the id is empty when the row has none."""
    serial = str(row.get("auditid") or "")
    if not serial and row.get("serialnumber"):
        serial = f"{row['serialnumber']} {row.get('timegenerated', '')}"
    return str(row.get("computer", "")), serial


def _texts(value: object) -> list[str]:
    """Return the texts of a list that is written as JSON."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _folder(event: _Event) -> Record:
    return {"cwd": event.cwd} if event.cwd else {}


def _of_call(event: _Event, keys: set[str]) -> Record:
    return {key: cell for key, cell in event.call.items() if key in keys}


def _of_path(event: _Event, row: Record) -> Record:
    """Return the row of a path with its call, when that is known and no earlier row holds what was done."""
    if len(event.names) < _MOST_NAMES:
        event.names.append((str(row["name"]), str(row.get("nametype", ""))))
    if not event.call or "name" in event.call or not _files(event.names[-1:], event.cwd):
        return row
    call = _of_call(event, _OF_CALL | _ARGUMENTS)
    if call.get("syscall") not in _RENAMES:
        return call | _folder(event) | row
    if len(_files(event.names, event.cwd)) < _NAMES_OF_RENAME:
        # The first name of a rename is its source: what it became stands in the next row.
        return row
    return _named(call | _folder(event) | row, event.names)


def _files(names: list[tuple[str, str]], cwd: str) -> list[tuple[str, str]]:
    """Return the names that are not the folder of another: what the call was about."""
    return [
        (name, kind)
        for name, kind in names
        if kind != "PARENT"
        and name not in {"(null)", cwd}
        and not name.endswith("/")
        and not any(other.startswith(f"{name}/") for other, _ in names)
    ]


def _named(row: Record, names: list[tuple[str, str]]) -> Record:
    """Return a row of a call with the file it was about, and for a rename what that was before."""
    files = _files(names, str(row.get("cwd", "")))
    if not files:
        return row
    if row.get("syscall") not in _RENAMES:
        return row | {"name": files[-1][0], "nametype": files[-1][1]}
    made = [name for name, kind in files if kind == "CREATE"]
    gone = [name for name, kind in files if kind == "DELETE" and name not in made]
    if made and gone:
        replaced = len(files) > len({name for name, _ in files})
        return row | _renamed(row, gone[0], made[-1]) | ({"isreplacement": "true"} if replaced else {})
    return row | _renamed(row, files[0][0], files[-1][0]) if len(files) == _NAMES_OF_RENAME else row


def _renamed(row: Record, source: str, target: str) -> Record:
    folder = str(row.get("cwd", "")).rstrip("/")
    path = source if source.startswith("/") or not folder else f"{folder}/{source}"
    spool = "/var/spool/mail/"
    # As the columns of exports write it.
    path = f"/var/mail/{path.removeprefix(spool)}" if path.startswith(spool) else path
    return {"name": target, "nametype": "CREATE", "sourcepath": path}
