"""A Linux host's settings as rows of SettingsSnapshot, read from its files and from the kernel's audit rules; nothing is changed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mailwitness.posture import audit_rules, loaded_rules, log_settings, mail_settings, places
from mailwitness.posture.accounts import Accounts
from mailwitness.posture.root import Root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JsonDict = dict[str, Any]  # Any: JSON values
# Databases of programs that watch files, and where ours is kept by default.
BASELINE = "/var/lib/mailwitness/baseline.json"
_INTEGRITY = (
    ("/var/lib/aide/aide.db", "AIDE"),
    ("/var/lib/aide/aide.db.gz", "AIDE"),
    ("/var/lib/tripwire", "Tripwire"),
    ("/var/ossec/queue/fim/db/fim.db", "Wazuh"),
    ("/var/lib/samhain/samhain_file", "Samhain"),
    (BASELINE, "mailwitness"),
)


def snapshot(path: Path, *, now: dt.datetime) -> tuple[list[JsonDict], dict[str, str]]:
    """Return the rows of a host, and path -> why for what could not be read.

    Args:
        path: the root of the host, ``/`` or a mounted image.
        now: when it is looked at, aware UTC.
    """
    root = Root(path)
    stamp = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [{"SnapshotTime": stamp, **row} for row in _rows(root, now)]
    return rows, root.unread


def _rows(root: Root, now: dt.datetime) -> Iterator[JsonDict]:
    accounts = Accounts(root)
    rules = audit_rules.rules(root)
    if accounts.users:
        yield {
            "Kind": "LinuxHost",
            "Identity": (root.text("/etc/hostname") or "").strip() or "host",
            "Settings": {"IsLive": root.is_live},
        }
    yield from accounts.facts(root)
    if accounts.users:
        yield from audit_rules.facts(root, rules)
        yield from loaded_rules.facts(root, rules)
    yield from places.facts(root, accounts, mail_settings.stores(root), rules)
    yield from mail_settings.dovecot(root)
    yield from mail_settings.postfix(root)
    yield from log_settings.facts(root)
    yield from _integrity(root, now)


def _integrity(root: Root, now: dt.datetime) -> Iterator[JsonDict]:
    """Yield the newest baseline of files, or the statement that there is none."""
    found = [
        (status.st_mtime, program, path)
        for path, program in _INTEGRITY
        if (status := root.status(path)) is not None
    ]
    written, program, path = max(found, default=(0.0, "", ""))
    days = int((now.timestamp() - written) // 86400) if found else -1
    yield {
        "Kind": "IntegrityBaseline",
        "Identity": path or "host",
        "Settings": {"Program": program, "AgeDays": days, "Exists": bool(found)},
    }
