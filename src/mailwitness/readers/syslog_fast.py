"""Large syslog files: lines with a full time, a host and a tag are split many at once, everything else is read as usual.

    2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: text

A record that is not exactly such a line has no `Moment` and comes back to `other`: a line of another form, a message of several
lines, damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import line_batches, syslog_lines
from mailwitness.readers.blocks import UTF8_BOM, Damage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mailwitness.readers.blocks import RawRecord
    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_batches import Bytes, Records
    from mailwitness.readers.syslog_time import Years

    Mask = NDArray[np.bool_]

SCHEMA = pa.schema(
    [
        ("Moment", pa.timestamp("us")),
        ("Host", pa.string_view()),
        ("Process", pa.string_view()),
        ("ProcessId", pa.string_view()),
        ("Message", pa.string_view()),
    ]
)
# The raw keys of the mapping `linux_syslog`; the time is read already.
_KEYS = '"Time", Host AS "Host", Process AS "Process", ProcessId AS "ProcessId", Message AS "Message"'
# Lines that only the patterns of mw_mail_record can take apart have no time here: many of them together cost a tenth of what
# some in every batch cost.
RELATION = f"""
SELECT CASE WHEN mw_kind <> 'whole' THEN Moment END AS {_KEYS}, mw_head, mw_body, mw_kind
FROM (SELECT *, mw_line_kind(Process, Message, mw_head, mw_body) AS mw_kind
  FROM (SELECT *, CASE WHEN mw_colon > 1 THEN substr(Message, 1, mw_colon - 1) ELSE '' END AS mw_head, substr(Message, mw_colon + 2) AS mw_body
    FROM (SELECT *, strpos(Message, ': ') AS mw_colon FROM mw_lines)))"""
WHOLE = f"""SELECT Moment AS {_KEYS}, '' AS mw_head, '' AS mw_body, 'whole' AS mw_kind, * EXCLUDE (Moment, Host, Process, ProcessId, Message) FROM mw_lines WHERE Moment IS NOT NULL"""
# What takes the place of the mapping's columns, or stands beside them as steps of derived ones.
COLUMNS = {
    "TimeGenerated": '"Time"',
    "EventTime": '"Time"',
    "mw_head": "mw_head",
    "mw_body": "mw_body",
    "mw_kind": "mw_kind",
}
# No line that `RELATION` keeps needs the patterns.
STRICT = {"mw_whole": "CASE WHEN false THEN mw_mail_record('', '') END"}
# Columns of which such lines say nothing.
WITHOUT = ("Facility", "SeverityLevel", "TimeNote")

# 2026-11-21T01:31:15 at least, with nine digits of a second and +00:00 at most, and the blank behind it.
_SHORTEST_TIME, _TIME_BYTES, _SECONDS = 20, 36, 19
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_SIGNS = ((4, b"-"), (7, b"-"), (10, b"T"), (13, b":"), (16, b":"))
# Digits behind the seconds that a time here can hold.
_MICROSECONDS = 6
_MOST_HOST, _MOST_TAG, _MOST_NUMBER = 255, 100, 10
_DAY_SECONDS = 86_400


def _letters(text: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    table[list(text)] = True
    return table


_NUMBER = _letters(b"0123456789")
_HOST = _letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_TAG = _HOST | _letters(b"/")


class _Times(NamedTuple):
    """The times of some lines: where each stops, microseconds since 1970 UTC, and whether it is one."""

    stops: Positions
    micros: Positions
    is_time: Mask


def split(found: Records) -> pa.RecordBatch:
    """Split the lines of a chunk into the columns of `SCHEMA`; all null where a line has another form."""
    data = found.data
    stops = found.stops - ((found.stops > found.starts) & (data[found.stops - 1] == ord("\r")))
    times = _times(found)
    is_usual = times.is_time & (found.ends <= found.stops + 1)
    is_usual &= (found.ends - found.starts <= syslog_lines.LONGEST_LINE) & (data[stops - 1] != ord("\r"))
    host = times.stops + 1
    tag = _behind(data, host, _HOST, _MOST_HOST, is_usual) + 1
    is_usual &= (tag - 1 > host) & (data[np.minimum(tag - 1, len(data) - 1)] == ord(" "))
    tag_stop = _behind(data, tag, _TAG, _MOST_TAG, is_usual)
    number, number_stop = _process_numbers(data, tag_stop, is_usual)
    text = np.where(number > 0, number_stop + 1, tag_stop)
    at = np.minimum(text, len(data) - 3)
    is_usual &= (tag_stop > tag) & (text + 2 < stops)
    is_usual &= (data[at] == ord(":")) & (data[at + 1] == ord(" ")) & (data[at + 2] != ord(" "))
    number = np.where(number > 0, number, tag_stop)
    columns = [
        pa.array(times.micros, mask=~is_usual).cast(pa.timestamp("us")),
        line_batches.strings(found, host, tag - 1, is_usual, is_ascii=True),
        line_batches.strings(found, tag, tag_stop, is_usual, is_ascii=True),
        line_batches.strings(found, number, np.maximum(number_stop, number), is_usual, is_ascii=True),
        line_batches.strings(found, text + 2, stops, is_usual),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _behind(data: Bytes, starts: Positions, table: Mask, most: int, rows: Mask) -> Positions:
    """Return the first place from each start on whose byte is not in the table, at most so many bytes behind it."""
    stops = starts.copy()
    going = np.flatnonzero(rows & (starts < len(data)))
    for _ in range(most):
        going = going[table[data[stops[going]]]]
        if not len(going):
            break
        stops[going] += 1
        going = going[stops[going] < len(data)]
    return stops


def _process_numbers(data: Bytes, tag_stop: Positions, rows: Mask) -> tuple[Positions, Positions]:
    """Return where the number in brackets behind a tag starts and stops; 0 where there is none."""
    has = rows & (data[np.minimum(tag_stop, len(data) - 1)] == ord("["))
    start = tag_stop + 1
    stop = _behind(data, start, _NUMBER, _MOST_NUMBER, has)
    has &= (stop > start) & (data[np.minimum(stop, len(data) - 1)] == ord("]"))
    return np.where(has, start, 0), np.where(has, stop, 0)


def _times(found: Records) -> _Times:
    """Read the times at the start of lines; those of one length have to be written alike."""
    rows = line_batches.windows(found.data, found.starts, _TIME_BYTES)
    length = np.argmax(rows[:, _SHORTEST_TIME - 1 :] == ord(" "), axis=1) + _SHORTEST_TIME - 1
    micros = np.zeros(len(rows), dtype=np.int64)
    is_time = np.zeros(len(rows), dtype=np.bool_)
    for one in np.unique(length).tolist():
        zone = _zone(one, rows, length)
        if zone is None:
            continue
        chosen = np.flatnonzero(length == one)
        micros[chosen], is_time[chosen] = _read(rows[chosen], one, zone)
    is_time &= found.starts + length < found.stops
    return _Times(found.starts + length, micros, is_time)


def _zone(length: int, rows: Bytes, lengths: Positions) -> str | None:
    """Return how the zone of times of this length is written, by the first of them: Z, +hh:mm or +hhmm."""
    first = bytes(rows[np.argmax(lengths == length)])[:length].decode("latin-1")
    for name, width in (("Z", 1), ("+hh:mm", 6), ("+hhmm", 5)):
        rest = length - _SECONDS - width
        fits = first[-width:] == "Z" if name == "Z" else first[-width:][:1] in {"+", "-"}
        if fits and (not rest or 1 < rest <= _MICROSECONDS + 1):
            return name
    return None


def _read(rows: Bytes, length: int, zone: str) -> tuple[Positions, Mask]:
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
    good = (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)  # noqa: PLR2004 - months of a year
    months = (year - 1970) * 12 + np.where(good, month - 1, 0)
    firsts = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    nexts = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days = firsts + day - 1
    return days, good & (days < nexts)


def other(content: bytes, place: tuple[int, int, int], years: Years) -> list[RawRecord | Damage]:
    """Read what is no line of the usual form as in a small file; see `syslog_lines.read`.

    Args:
        content: a line that begins a message and the indented ones behind it, line ends included.
        place: its offset, length and line in the file.
        years: gives the year to times that have none.
    """
    offset, length, line = place
    if length > syslog_lines.LONGEST_LINE:
        return [Damage(offset, length, line, syslog_lines.TOO_LONG)]
    return list(syslog_lines.messages(_numbered(content, offset, line), years))


def _numbered(content: bytes, offset: int, line: int) -> Iterator[tuple[int, int, bytes]]:
    *whole, last = content.split(b"\n")
    for number, text in enumerate([*(part + b"\n" for part in whole), *filter(None, [last])], line):
        yield number, offset, text.removeprefix(UTF8_BOM) if not offset else text
        offset += len(text)
