"""Settings that lie in a file of their own: whose they are, when they were saved, and when the copy was taken.

The time of the file is when somebody wrote it, and whoever wrote it could set that time. When the copy was taken is only
known from a folder or file that is named after a day.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mailwitness.readers import mail_place
from mailwitness.readers.blocks import Damage

if TYPE_CHECKING:
    from pathlib import Path

Record = dict[str, Any]  # Any: JSON values

# No setting that a person wrote is longer; Pigeonhole's own limit for scripts.
_MAX_BYTES = 1 << 20
# 20260302, 2026-03-02, 2026-03-02T0815, 2026-03-02_08-15-00: as people and scripts name folders of copies.
_DATED = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?:[T_ -]?([0-2]\d)[-:._]?([0-5]\d)(?:[-:._]?([0-5]\d))?)?Z?(?!\d)"
)
_ROOTS = frozenset({"etc", "home", "var", "usr", "root", "srv", "opt", "Users"})
_COPY = re.compile(
    r"(?i)(?:snap(?:shot)?s?|backups?|cop(?:y|ies)|before|after|first|second|old|new|day|earlier|later|evidence|root|files?)?[-_. ]?\d*"
)
_VIRTUAL = re.compile(r"/var/(?:spool/)?v?mail/(?:vhosts/|virtual/)?([^/]+\.[^/]+)/([^/]+)/")
_HOME = re.compile(r"/(?:home|Users|var/v?mail|var/spool/mail)/([^/]+)/")


def read(path: Path) -> str | Damage:
    """Return the text of a settings file; signs that are no UTF-8 are shown by their numbers."""
    size = path.stat().st_size
    if size > _MAX_BYTES:
        return Damage(0, size, 1, "a file of more than 1 MiB is no setting")
    return path.read_bytes().decode("utf-8-sig", "backslashreplace")


def place(path: Path, name: str) -> Record:
    """Return what a mapping of settings needs besides the setting: its file, owner, host and times.

    Args:
        path: where the bytes are.
        name: as the report names the file, such as ``copies/2026-03-02/home/eva/sieve/rules.sieve``.
    """
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in {"/", "."}]
    start = next((i for i, part in enumerate(parts[:-1]) if part in _ROOTS), len(parts) - 1)
    full = "/" + "/".join(parts[start:])
    taken = dated(name)
    return {
        "Identity": full,
        "Mailbox": _owner(full),
        "Name": parts[-1] if parts else "",
        "WhenChanged": mail_place.written(path),
        "Settings": {
            "File": full,
            "Host": _host(parts[:start]),
            "Taken": taken.strftime("%Y-%m-%dT%H:%M:%SZ") if taken else "",
        },
    }


def dated(path: str) -> dt.datetime | None:
    """Return the last day in a path, with its time when it has one, as naive UTC; None when no part of it is a day."""
    for match in reversed(list(_DATED.finditer(path))):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            return dt.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - naive UTC, as the database has it
        except ValueError:
            continue
    return None


def _owner(full: str) -> str:
    if found := _VIRTUAL.match(full):
        return f"{found[2]}@{found[1]}".lower()
    found = _HOME.match(full)
    return found[1].lower() if found else "root" if full.startswith("/root/") else ""


def _host(parts: list[str]) -> str:
    """Return the folder between what was given and the root of the copied host, when it may be a host's name."""
    for part in reversed(parts[1:]):
        if not _COPY.fullmatch(part) and dated(part) is None:
            return part.lower()
    return ""
