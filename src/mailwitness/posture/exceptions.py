"""Exceptions from checks: known, answered for, and ending. One that ended is itself reported.

A CSV with the columns check, identity, reason, owner and expires::

    check,identity,reason,owner,expires
    mail_spool_is_protected,/var/mail,shared spool of the old gateway,mail team,2026-09-30
"""

from __future__ import annotations

import csv
import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("check", "identity", "reason", "owner", "expires")


class Exemption(msgspec.Struct, frozen=True, kw_only=True):
    """One row in force; an empty identity means everything that the check judges."""

    check: str
    identity: str
    reason: str
    owner: str
    expires: str

    def covers(self, check: str, identity: str) -> bool:
        """Say whether it is about this thing."""
        return self.check == check and self.identity in {"", identity}


class Void(msgspec.Struct, frozen=True):
    """A row that is not in force, and why."""

    row: str
    reason: str


def read(path: Path, checks: set[str], *, now: dt.datetime) -> tuple[list[Exemption], list[Void]]:
    """Return the exceptions in force and those that are not.

    Raises:
        ConfigError: the file is no CSV with the five columns.
    """
    used: list[Exemption] = []
    void: list[Void] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            if not set(_COLUMNS) <= set(reader.fieldnames or []):
                raise ConfigError(
                    "it lacks a column", place=str(path), remedy=f"Give it the columns {', '.join(_COLUMNS)}."
                )
            for row in reader:
                cells = {name: (row[name] or "").strip() for name in _COLUMNS}
                reason = _void(cells, checks, now)
                if reason:
                    void.append(
                        Void(f"line {reader.line_num}: {cells['check']} {cells['identity']}".strip(), reason)
                    )
                else:
                    used.append(Exemption(**cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(error), place=str(path), remedy="Give a CSV file in UTF-8.") from error
    return used, void


def _void(cells: dict[str, str], checks: set[str], now: dt.datetime) -> str:
    missing = [name for name in ("check", "reason", "owner", "expires") if not cells[name]]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    if cells["check"] not in checks:
        return "there is no such check"
    try:
        last = dt.date.fromisoformat(cells["expires"])
    except ValueError:
        return "its day cannot be read; write 2026-09-30"
    # The day itself still counts.
    return f"it expired on {last}" if last < now.astimezone(dt.UTC).date() else ""
