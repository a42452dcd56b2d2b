"""How long a host keeps its logs by its own settings, and which missing lines that explains.

Rotation takes the oldest part of a log and nothing else. A missing line behind one that is still there was therefore cleared; a missing
line before all others may have left by rotation, and the settings say whether it was old enough for that. Without settings nobody knows.

Sources: logrotate(8) for ``rotate``, the periods, ``maxage`` and ``size``; journald.conf(5) for ``MaxRetentionSec``.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailwitness.witness.compare import Cause, Comparison, Difference

_DAY_US = 86_400_000_000
_PERIODS = {"hourly": 1 / 24, "daily": 1.0, "weekly": 7.0, "monthly": 31.0, "yearly": 366.0}
_UNITS = {"s": 1 / 86400, "sec": 1 / 86400, "m": 1 / 1440, "min": 1 / 1440, "h": 1 / 24, "hour": 1 / 24,
          "d": 1.0, "day": 1.0, "week": 7.0, "month": 30.44, "y": 365.25, "year": 365.25}  # fmt: skip


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How long something is kept.

    Attributes:
        days: at least so long; None when the settings give no time (a limit of size, or none at all).
        said: where that stands, in words.
    """

    days: float | None
    said: str


def of_log(path: str, files: Mapping[str, str]) -> Kept:
    """Return how long logrotate keeps a log.

    Args:
        path: the log.
        files: path -> text of logrotate's files, the main one first.
    """
    common: dict[str, str] = {}
    for name, text in files.items():
        for patterns, settings in _blocks(text):
            if not patterns:
                common |= settings
            elif any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
                return _kept({**common, **settings}, name)
    return Kept(days=None, said="no file of logrotate names it")


def _blocks(text: str) -> list[tuple[list[str], dict[str, str]]]:
    """Return patterns and settings of each block; the settings outside of blocks come with no pattern, in their order."""
    found: list[tuple[list[str], dict[str, str]]] = []
    patterns: list[str] = []
    inside: dict[str, str] | None = None
    is_script = False
    for raw in text.splitlines():
        line = raw.strip()
        if is_script or line.startswith("#") or not line:
            is_script = is_script and line != "endscript"
            continue
        if line in {"prerotate", "postrotate", "firstaction", "lastaction", "preremove"}:
            is_script = True
        elif line == "}":
            found.append((patterns, inside or {}))
            patterns, inside = [], None
        elif inside is None and (line[0] in "/\"'{" or line.endswith("{")):
            patterns += _words(line.removesuffix("{"))
            inside = {} if line.endswith("{") else None
        else:
            name, _, value = line.partition(" ")
            setting = {name.rstrip("="): value.strip(" =")}
            if inside is None:
                found.append(([], setting))
            else:
                inside |= setting
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _kept(settings: Mapping[str, str], name: str) -> Kept:
    count = settings.get("rotate", "0")
    period = next((word for word in reversed(list(settings)) if word in _PERIODS), "")
    if "size" in settings or not period or not re.fullmatch(r"-?\d+", count):
        return Kept(days=None, said=f"{name} rotates it by size, which says no time")
    days = int(count) * _PERIODS[period] if int(count) >= 0 else float("inf")
    most = settings.get("maxage", "")
    if most.isdecimal():
        days = min(days, int(most))
    return Kept(days=days, said=f"{name}: {period}, rotate {count}{', maxage ' + most if most else ''}")


def of_journal(files: Mapping[str, str]) -> Kept:
    """Return how long journald keeps entries; its limits of size say no time."""
    value, place = "", ""
    for name, text in files.items():
        for found in re.findall(r"(?mi)^\s*MaxRetentionSec\s*=\s*(.*?)\s*$", text):
            value, place = found, name
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", value.lower())
    unit = (match[2] or "s") if match else ""
    if match is None or int(match[1]) == 0 or (unit not in _UNITS and unit.rstrip("s") not in _UNITS):
        return Kept(days=None, said="journald keeps entries by size, which says no time")
    days = int(match[1]) * _UNITS.get(unit, _UNITS.get(unit.rstrip("s"), 1.0))
    return Kept(days=days, said=f"{place}: MaxRetentionSec={value}")


def explain(comparison: Comparison, kept: Kept, *, oldest_left: int, now_us: int) -> Comparison:
    """Return the comparison with the cause of each difference.

    Args:
        comparison: of a log or a journal.
        kept: how long the host keeps it.
        oldest_left: number of the first record of which something is still on the host; -1 when nothing is.
        now_us: when it was compared, microseconds since 1970 UTC.
    """
    found = [_judged(one, kept, oldest_left, now_us) for one in comparison.differences]
    return msgspec.structs.replace(comparison, differences=found, kept=kept.said)


def _judged(one: Difference, kept: Kept, oldest_left: int, now_us: int) -> Difference:
    return msgspec.structs.replace(one, cause=_cause(one, kept, oldest_left, now_us))


def _cause(one: Difference, kept: Kept, oldest_left: int, now_us: int) -> Cause:
    if one.what != "Missing":
        return ""
    if 0 <= oldest_left < one.number:
        return "cleared"
    if kept.days is None:
        return "not known"
    return "expired" if now_us - one.received_us >= kept.days * _DAY_US else "cleared"


def counted(differences: Sequence[Difference]) -> str:
    """Return in words how many missing things have which cause; empty when nothing is missing or nothing was asked."""
    words = {
        "cleared": "cleared",
        "expired": "left by rotation or expiry",
        "not known": "not known whether cleared or expired",
    }
    counts = {cause: sum(one.cause == cause for one in differences) for cause in words}
    return ", ".join(f"{count} {words[cause]}" for cause, count in counts.items() if count)
