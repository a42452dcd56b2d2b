"""Times of syslog lines: what they leave out, and what is assumed in its place."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_BSD = re.compile(r"(\w{3}) +(\d{1,2})(?: (\d{4}))? (\d\d):(\d\d):(\d\d)(\.\d+)?(?: (\d{4}))?$")
_STARTS = re.compile(
    rb"^(?:<\d{1,3}>(?:1 )?)?(?:(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}(\d{1,2}) (?!\d{4} )|(\d{4})-(\d\d)-)",
    re.MULTILINE,
)
# A step back of more than half a year is a new year, a smaller one is a late line.
_HALF_YEAR = 6
# TAI64 counts from 2^62 and TAI was ten seconds ahead of UTC in 1970; daemontools ignores leap seconds since.
_TAI_EPOCH = (1 << 62) + 10
_BLOCK = 8 << 20


class Moment(msgspec.Struct, frozen=True):
    """A time as ISO text, what was assumed about it, and the year when that was assumed."""

    text: str
    note: str = ""
    year: int = 0


class Years:
    """Give the year to dates that have none, from the other lines of the file or from the file's own time.

    Lines are written in order: the last one is no later than the file's last change, and a step from December to
    January is a new year. A line of the same file that has a year is believed more than the file's time, which
    copying changes.
    """

    def __init__(self, path: Path) -> None:
        """Remember the file; it is only looked through when a date without a year comes."""
        self._path = path
        self._year = 0
        self._month = 0
        self.origin = ""

    def year(self, month: int) -> int:
        """Return the year of the next date in file order."""
        if not self._year:
            self._year, self.origin = self._first_year()
        if self._month and self._month - month > _HALF_YEAR:
            self._year += 1
        elif self._month and month - self._month > _HALF_YEAR:
            self._year -= 1
        self._month = month
        return self._year

    def _first_year(self) -> tuple[int, str]:
        """Look through the file: the year of its last date less the new years on the way."""
        steps = most = last = day = 0
        anchor = 0
        tail = b""
        with self._path.open("rb") as handle:
            while block := handle.read(_BLOCK):
                for match in _STARTS.finditer(tail + block):
                    if match[3]:
                        anchor = anchor or int(match[3]) - steps
                        continue
                    month = MONTHS[match[1].decode()]
                    steps += (last - month > _HALF_YEAR) - (bool(last) and month - last > _HALF_YEAR)
                    most = max(most, steps)
                    last, day = month, int(match[2])
                end = block.rfind(b"\n")
                tail = block[end + 1 :][-4096:] if end >= 0 else b""
        if anchor:
            return anchor, "lines beside it"
        changed = dt.datetime.fromtimestamp(self._path.stat().st_mtime, tz=dt.UTC)
        # A clock may be a day ahead or in another zone.
        is_later = (last, day) > (
            (changed + dt.timedelta(days=1)).month,
            (changed + dt.timedelta(days=1)).day,
        )
        return changed.year - is_later - most, "the file's last change"


def read(text: str, years: Years) -> Moment | None:
    """Read a time of any form as ISO text; None when it is no date.

    Args:
        text: such as ``Nov 21 01:31:15``, ``2026-11-21T01:31:15.838936+00:00`` or ``@400000004c91b044077a9e94``.
        years: gives the year to dates that have none.
    """
    if text[:1] == "@":
        return _tai(text[1:])
    if text[:1].isdigit():
        has_zone = text.endswith("Z") or re.search(r"[+-]\d\d:?\d\d$", text[19:]) is not None
        shown = text.replace(",", ".").replace(" ", "T", 1).replace(" ", "")
        return Moment(shown) if has_zone else Moment(shown, "no time zone in the line: UTC is assumed")
    match = _BSD.match(text)
    if match is None or match[1] not in MONTHS:
        return None
    month, day = MONTHS[match[1]], int(match[2])
    given = match[3] or match[8]
    year = int(given) if given else years.year(month)
    clock = f"{match[4]}:{match[5]}:{match[6]}{match[7] or ''}"
    shown = f"{year:04d}-{month:02d}-{day:02d}T{clock}"
    if given:
        return Moment(shown, "no time zone in the line: UTC is assumed")
    return Moment(
        shown,
        f"no year and no time zone in the line: UTC is assumed, the year is taken from {years.origin}",
        year,
    )


def _tai(digits: str) -> Moment | None:
    try:
        when = dt.datetime.fromtimestamp(int(digits[:16], 16) - _TAI_EPOCH, tz=dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    nano = int(digits[16:24] or "0", 16)
    return Moment(f"{when:%Y-%m-%dT%H:%M:%S}.{min(nano, 999_999_999) // 1000:06d}Z")
