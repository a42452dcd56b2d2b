"""Watchlists with local knowledge: who is a responder, which account migrates. Each row has a reason, an owner and an end.

A row that is out of date, or holds for too much, is worse than none: it is reported and not used.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# What people call the columns; the first name is ours.
_COLUMNS = {
    "value": ("value", "searchkey", "search key", "search_key"),
    "reason": ("reason", "why"),
    "owner": ("owner", "responsible"),
    "expires": ("expires", "expiry", "valid_until", "valid until"),
    "valid_from": ("valid_from", "valid from", "from"),
    "mailbox": ("mailbox",),
    "address": ("address", "ip", "clientip"),
    "client": ("client", "application"),
}
# Knowledge that nobody looks at for longer than this is out of date without anybody noticing.
LONGEST = dt.timedelta(days=366)
_WILD = re.compile(
    r"[*?%]|^(?:all|any|everyone|everybody|anybody|anyone|admin|administrator|users?)$", re.IGNORECASE
)
_DOMAIN = re.compile(r"^@|@$|^\.")
_FEWEST_CHARACTERS = 3
# Its values are whole command lines, which say by themselves what they hold for.
_COMMANDS = "scheduled_jobs"
_LIST_NAME = re.compile(r"^[a-z0-9_-]{1,60}$")


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """One row that is in force; ``expires`` is the moment after its last day, naive UTC like all times of tables."""

    watchlist: str
    value: str
    reason: str
    owner: str
    expires: dt.datetime
    valid_from: dt.datetime | None = None
    mailbox: str = ""
    address: str = ""
    client: str = ""


class Refused(msgspec.Struct, frozen=True):
    """A row that is not used, and why."""

    place: str
    value: str
    reason: str
    remedy: str


def files(folders: Sequence[Path]) -> list[Path]:
    """Return the watchlist files of folders, in a stable order."""
    return [
        path
        for folder in folders
        for path in ([folder] if folder.is_file() else sorted(folder.glob("*.csv")))
    ]


def names(folders: Sequence[Path]) -> set[str]:
    """Return the names of the lists that were given."""
    return {path.stem.lower() for path in files(folders)}


def read(folders: Sequence[Path], *, now: dt.datetime) -> tuple[list[Exclusion], list[Refused]]:
    """Read the watchlists of folders.

    Args:
        folders: folders of ``<name>.csv``, or such files.
        now: the clock of the run; rows that ended before are not used.

    Raises:
        ConfigError: a file is no CSV with a column for the value.
    """
    used: list[Exclusion] = []
    refused: list[Refused] = []
    for path in files(folders):
        if not _LIST_NAME.match(path.stem.lower()):
            raise ConfigError(
                "this is no name of a watchlist", place=str(path), remedy="Use letters, digits and _."
            )
        for line, cells in _rows(path):
            found = _checked(path.stem.lower(), cells, now.replace(tzinfo=None))
            if isinstance(found, Exclusion):
                used.append(found)
            else:
                reason, remedy = found
                refused.append(Refused(f"watchlist {path.name}, line {line}", cells["value"], reason, remedy))
    return used, refused


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells under our names; empty lines are left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            given = {name.strip().lower(): name for name in reader.fieldnames or [] if name}
            known = {
                field: given[name]
                for field, spelt in _COLUMNS.items()
                for name in spelt[::-1]
                if name in given
            }
            if "value" not in known:
                raise ConfigError(
                    "the watchlist has no column `value`",
                    place=str(path),
                    remedy="Give it the columns value, reason, owner, expires.",
                )
            for row in reader:
                cells = {field: (row.get(known.get(field, "")) or "").strip() for field in _COLUMNS}
                if any(cells.values()):
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(error), place=str(path), remedy="Give a CSV file in UTF-8.") from error


def _checked(name: str, cells: dict[str, str], now: dt.datetime) -> Exclusion | tuple[str, str]:
    """Return the row, or why it is not used and what to do about it."""
    missing = [field for field in ("value", "reason", "owner", "expires") if not cells[field]]
    if missing:
        return (
            f"it has no {' and no '.join(missing)}",
            "Say why it is there, who answers for it, and until when.",
        )
    broad = _too_broad(name, cells)
    if broad:
        return (
            f"it is too broad: {broad}",
            "Name the account, and the mailbox, address or client it holds for.",
        )
    try:
        last = dt.datetime.fromisoformat(cells["expires"]).replace(tzinfo=None)
        first = (
            dt.datetime.fromisoformat(cells["valid_from"]).replace(tzinfo=None)
            if cells["valid_from"]
            else None
        )
    except ValueError:
        return "its dates cannot be read", "Write dates as 2026-03-31."
    # A day counts to its end.
    end = last + dt.timedelta(days=1) if len(cells["expires"]) <= len("2026-03-31") else last
    if end <= now:
        return f"it expired on {cells['expires']}", "Renew it with a new day, or take it out."
    if end - now > LONGEST:
        return (
            f"it holds until {cells['expires']}, more than a year ahead",
            "Let it end within a year, and renew it.",
        )
    texts = {field: cells[field].lower() for field in ("value", "mailbox", "address", "client")}
    return Exclusion(
        watchlist=name, reason=cells["reason"], owner=cells["owner"], expires=end, valid_from=first, **texts
    )


def _too_broad(name: str, cells: dict[str, str]) -> str:
    value = cells["value"]
    if name == _COMMANDS:
        return "" if len(value.split()) > 1 else "a program without its arguments"
    checks = {
        "the value stands for many": any(
            _WILD.search(cells[f]) for f in ("value", "mailbox", "client") if cells[f]
        ),
        "the value is a whole domain": bool(_DOMAIN.search(value)),
        "the value is too short to mean one thing": len(value) < _FEWEST_CHARACTERS,
        "the address is a network": "/" in cells["address"],
        "it holds for every mailbox, from every address, through every client": not (
            cells["mailbox"] or cells["address"] or cells["client"]
        ),
    }
    return next((words for words, holds in checks.items() if holds), "")
