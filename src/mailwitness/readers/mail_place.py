"""What the path of a mail file tells: whose mailbox, which folder, and what a Maildir name states."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path, PurePosixPath
from typing import Any

Record = dict[str, Any]  # Any: JSON values

_MAILDIR_PARTS = {"cur", "new", "tmp"}
# 1772442841.M20046P2137.host,S=4521,W=4600:2,FS - time, uniqueness, host, sizes, flags (maildir(5); Dovecot: Maildir++).
_MAILDIR_NAME = re.compile(r"^(\d{9,11})\.[^,:;!]+(?:,[^:;!]*)?(?:[:;!]2,([A-Za-z]*))?$")
_STATED = re.compile(r",([SW])=(\d{1,15})")
_STORES = {"maildir", "mail", ".maildir", "mdbox", "sdbox", ".mail", "mbox"}
_APPLE_MAILBOX = re.compile(r"(?i)^(.+)\.mbox$")
_HOMES = {"home", "users", "vmail", "vhosts", "mailboxes"}


def of_path(name: str) -> Record:
    """Return Mailbox, Folder and, for a Maildir file, Uid, Flags, IsDeleted, sizes and time from the name of an exhibit.

    Name: ``vmail/eva@contoso.example/Maildir/.Sent/cur/1772442841.M1P2.mx1,S=4521,W=4600:2,S``.
    """
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in {"/", "."}]
    found: Record = {"Mailbox": _mailbox(parts), "Folder": _folder(parts)}
    stated = _MAILDIR_NAME.match(parts[-1]) if parts else None
    if stated and len(parts) > 1 and parts[-2] in _MAILDIR_PARTS:
        sizes = dict(_STATED.findall(parts[-1]))
        flags = stated[2] or ""
        found |= {
            "StoreKind": "maildir",
            "Uid": parts[-1].split(":")[0].split(",")[0],
            "Flags": flags,
            "IsDeleted": "T" in flags,
            "ReceivedAt": from_epoch(int(stated[1])),
        }
        if "S" in sizes:
            found["StatedSizeBytes"] = int(sizes["S"])
    return found


def written(path: Path) -> str:
    """Return when a file was last written, ISO 8601 UTC; empty for a member of an archive that does not say."""
    try:
        seconds = int(path.stat().st_mtime)
    except OSError:
        return ""
    return from_epoch(seconds) if seconds else ""


def from_epoch(seconds: int) -> str:
    """Return seconds since 1970 as ISO 8601 UTC; empty when no calendar has that day."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def _mailbox(parts: list[str]) -> str:
    """Return the part that names a person: one with an @, else what stands below a folder of homes or above the store."""
    for part in parts[:-1]:
        if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", part):
            return part.lower()
    for i, part in enumerate(parts[:-2]):
        if part.lower() in _HOMES and i + 1 < len(parts) - 1:
            return parts[i + 1].lower()
    for i, part in enumerate(parts[:-1]):
        if part.lower() in _STORES - {"mail"} and i:
            return parts[i - 1].lower()
    return ""


def _folder(parts: list[str]) -> str:
    """Return the folder: of Maildir++ the dotted name, of Apple Mail the nearest .mbox, else the folder of the file."""
    if len(parts) > 1 and parts[-2] in _MAILDIR_PARTS:
        holder = parts[-3] if len(parts) > 2 else ""  # noqa: PLR2004 - holder, cur, file
        return (
            holder.lstrip(".").replace(".", "/")
            if holder.startswith(".") and holder.lower() != ".maildir"
            else "INBOX"
            if holder.lower() in {"", "maildir", ".maildir"}
            else holder
        )
    for part in reversed(parts[:-1]):
        if match := _APPLE_MAILBOX.match(part):
            return match[1]
    return parts[-2] if len(parts) > 1 else ""
