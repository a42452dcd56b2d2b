"""Times at the start of log lines, many at once: ISO 8601 with a zone, of lengths that are each written alike.

2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.readers import line_batches
from mailwitness.readers.byte_words import Text, digits, word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_batches import Bytes, Records

    Mask = NDArray[np.bool_]

# 2026-11-21T01:31:15 at least, with nine digits of a second and +00:00 at most, and the blank behind it.
_SHORTEST_TIME, _TIME_BYTES, _SECONDS = 20, 36, 19
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_SIGNS = ((4, b"-"), (7, b"-"), (10, b"T"), (13, b":"), (16, b":"))
# Digits behind the seconds that a time here can hold.
_MICROSECONDS = 6
# With microseconds and +hh:mm: the signs of each of its words, and what they are (the sign of the zone is looked at by itself).
USUAL_TIME = 32
# The colons in it; no other sign of `line_signs` is.
USUAL_SIGNS = 3
_ZEROS = np.uint64(0x3030303030303030)
_SIGNS_OF_WORDS = tuple(
    (
        word(bytes(0 if letter == ord("0") else 0xFF for letter in form)),
        word(bytes(0 if letter in b"0?" else 0xFF for letter in form)),
        word(bytes(0 if letter in b"0?" else letter for letter in form)),
    )
    for form in (b"0000-00-", b"00T00:00", b":00.0000", b"00?00:00")
)
_DAY_SECONDS = 86_400


class Times(NamedTuple):
    """The times of some lines: where each stops, microseconds since 1970 UTC, and whether it is one."""

    stops: Positions
    micros: Positions
    is_time: Mask


def read(text: Text, found: Records) -> Times:
    """Read the times at the start of lines, up to the first blank; those of one length have to be written alike."""
    micros, is_time = _usual_times(text, found.starts)
    is_time &= text.data[found.starts + USUAL_TIME] == ord(" ")
    stops = found.starts + USUAL_TIME
    left = np.flatnonzero(~is_time)
    # Of most damaged lines it is seen at once that they have no time.
    for place, sign in _SIGNS:
        left = left[text.data[found.starts[left] + place] == sign[0]]
    if len(left):
        stops[left] = text.first(found.starts[left], ord(" "), _TIME_BYTES + 1)
        length = np.clip(stops[left] - found.starts[left], 0, _TIME_BYTES)
        for one in np.flatnonzero(np.bincount(length, minlength=1)).tolist():
            chosen = left[length == one]
            if not _SHORTEST_TIME - 1 <= one < _TIME_BYTES:
                continue
            rows = line_batches.windows(found.data, found.starts[chosen], _TIME_BYTES)
            zone = _zone(one, rows[0])
            if zone is not None:
                micros[chosen], is_time[chosen] = _parsed(rows, one, zone)
    is_time &= stops < found.stops
    return Times(stops, micros, is_time)


def _usual_times(text: Text, starts: Positions) -> tuple[Positions, Mask]:
    """Read times such as 2026-11-21T01:31:15.838936+00:00: four words of eight bytes."""
    values, good = [], np.ones(len(starts), dtype=np.bool_)
    four = text.words_at(starts, 4)
    words = [four[:, number] for number in range(4)]
    for found_word, (signs, fixed, pattern) in zip(words, _SIGNS_OF_WORDS, strict=True):
        value, is_number = digits((found_word & ~signs) | (signs & _ZEROS))
        good &= is_number & ((found_word & fixed) == pattern)
        values.append(value)
    sign = (words[3] >> np.uint64(16)) & np.uint64(0xFF)
    good &= (sign == ord("+")) | (sign == ord("-"))
    date, clock, second, zone = values
    hour, minute = clock // 1000 % 100, clock % 100
    good &= (hour < 24) & (minute < 60) & (second // 100_000 < 60)  # noqa: PLR2004 - of a day, of an hour, of a minute
    days, is_day = _days(date // 10_000, date // 10 % 100, clock // 1_000_000)
    seconds = days * _DAY_SECONDS + hour * 3600 + minute * 60 + second // 100_000
    away = zone // 1000 % 100 * 3600 + zone % 100 * 60
    seconds -= np.where(sign == ord("-"), -away, away)
    return seconds * 1_000_000 + second % 10_000 * 100 + zone // 1_000_000, good & is_day


def _zone(length: int, row: Bytes) -> str | None:
    """Return how the zone of times of this length is written, by the first of them: Z, +hh:mm or +hhmm."""
    first = bytes(row)[:length].decode("latin-1")
    for name, width in (("Z", 1), ("+hh:mm", 6), ("+hhmm", 5)):
        rest = length - _SECONDS - width
        fits = first[-width:] == "Z" if name == "Z" else first[-width:][:1] in {"+", "-"}
        if fits and (not rest or 1 < rest <= _MICROSECONDS + 1):
            return name
    return None


def _parsed(rows: Bytes, length: int, zone: str) -> tuple[Positions, Mask]:
    """Return microseconds since 1970 UTC of times that are written alike, and which of them are times."""
    width = len(zone)
    fraction = range(_SECONDS + 1, length - width)
    shift = [length - width + i for i in range(1, width) if i != width - 3 or width != len("+hh:mm")]
    digits = rows[:, [*_DIGITS, *fraction, *shift]].astype(np.int64) - ord("0")
    good = ((digits >= 0) & (digits <= 9)).all(axis=1)  # noqa: PLR2004 - one digit
    for place, sign in (*_SIGNS, *([(_SECONDS, b".")] if fraction else [])):
        good &= rows[:, place] == sign[0]
    year, month, day = _value(digits[:, :4]), _value(digits[:, 4:6]), _value(digits[:, 6:8])
    hour, minute, second = (_value(digits[:, at : at + 2]) for at in (8, 10, 12))
    micros = _value(digits[:, 14 : 14 + len(fraction)]) * 10 ** (_MICROSECONDS - len(fraction))
    good &= (hour < 24) & (minute < 60) & (second < 60)  # noqa: PLR2004 - of a day, of an hour, of a minute
    days, is_day = _days(year, month, day)
    seconds = days * _DAY_SECONDS + hour * 3600 + minute * 60 + second
    if zone == "Z":
        good &= rows[:, length - 1] == ord("Z")
    else:
        is_west = rows[:, length - width] == ord("-")
        good &= is_west | (rows[:, length - width] == ord("+"))
        if width == len("+hh:mm"):
            good &= rows[:, length - 3] == ord(":")
        away = _value(digits[:, -4:-2]) * 3600 + _value(digits[:, -2:]) * 60
        seconds = seconds - np.where(is_west, -away, away)
    return seconds * 1_000_000 + micros, good & is_day


def _value(digits: Positions) -> Positions:
    """Return the numbers that rows of decimal digits say."""
    value = np.zeros(len(digits), dtype=np.int64)
    for place in range(digits.shape[1]):
        value = value * 10 + digits[:, place]
    return value


def _days(year: Positions, month: Positions, day: Positions) -> tuple[Positions, Mask]:
    """Return the days since 1970 of dates, and which of them exist."""
    dates = (year * 100 + month) * 100 + day
    # A log goes on from day to day: the calendar is asked once for each.
    firsts = np.flatnonzero(np.append(True, dates[1:] != dates[:-1]))[: len(dates)]
    run = np.cumsum(np.append(True, dates[1:] != dates[:-1]))[: len(dates)] - 1
    year, month, day = year[firsts], month[firsts], day[firsts]
    good = (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)  # noqa: PLR2004 - months of a year
    months = (year - 1970) * 12 + np.where(good, month - 1, 0)
    begin = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    nexts = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days = begin + day - 1
    return days[run], (good & (days < nexts))[run]
