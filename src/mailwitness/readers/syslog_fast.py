"""Large syslog files: lines with a full time, a host and a tag are split many at once, everything else is read as usual.

    2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: text

A record that is not exactly such a line has no `Moment` and comes back to `other`: a line of another form, a message of several
lines, damage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mailwitness.readers import line_batches, syslog_lines
from mailwitness.readers.blocks import UTF8_BOM, Damage
from mailwitness.readers.byte_words import Text, digits, word
from mailwitness.readers.known_texts import KnownTexts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
# Lines that can be taken apart by their place in the line, see `mw_line_kind`; those of one group are written together, with the
# columns that they fill. Lines of which mw_mail_record would say nothing are of the kind ''.
GROUPS = (("",), ("id", "removed", "client", "from", "to"), ("message",), ("sieve", "logout", "login"))
KINDS = tuple(kind for group in GROUPS for kind in group)
WHOLE = "whole"
_PARTS = """*, CASE WHEN mw_colon > 1 THEN substr(Message, 1, mw_colon - 1) ELSE '' END AS mw_head, substr(Message, mw_colon + 2) AS mw_body
  FROM (SELECT *, strpos(Message, ': ') AS mw_colon FROM mw_lines)"""
_LISTED = ", ".join(f"'{kind}'" for kind in (*KINDS, WHOLE))
# The kind of each line as its number among `KINDS`; what needs the patterns, or is no usual line, comes behind them.
KIND_OF = f"""SELECT enum_code(CAST(CASE WHEN Moment IS NULL THEN '{WHOLE}' ELSE mw_line_kind(Process, Message, mw_head, mw_body) END AS ENUM({_LISTED}))) AS kind
  FROM (SELECT {_PARTS})"""
# The raw keys of the mapping `linux_syslog`; the time is read already.
_KEYS = (
    'Moment AS "Time", Host AS "Host", Process AS "Process", ProcessId AS "ProcessId", Message AS "Message"'
)
_OWN = "* EXCLUDE (Moment, Host, Process, ProcessId, Message)"
RELATION = f"""SELECT {_KEYS}, {_OWN} FROM (SELECT {_PARTS})"""
RELATION_WHOLE = f"""SELECT {_KEYS}, '' AS mw_head, '' AS mw_body, '{WHOLE}' AS mw_kind, {_OWN} FROM mw_lines WHERE Moment IS NOT NULL"""
# What takes the place of the mapping's columns, or stands beside them as steps of derived ones.
COLUMNS = {
    "TimeGenerated": '"Time"',
    "EventTime": '"Time"',
    "mw_head": "mw_head",
    "mw_body": "mw_body",
    "mw_kind": "mw_kind",
}
# Columns of which such lines say nothing.
WITHOUT = ("Facility", "SeverityLevel", "TimeNote")
# What the patterns would say; no line of a kind is asked.
_NO_RECORD = f"""CAST(NULL AS STRUCT(line STRUCT({
    ", ".join(
        f'"{name}" VARCHAR'
        for name in (
            *(
                "service",
                "event",
                "user",
                "session",
                "address",
                "box",
                "target",
                "uid",
                "tail",
                "message_id",
                "subject",
                "sender",
                "recipient",
            ),
            *("size", "items", "queue", "result", "counters"),
        )
    )
}), fields STRUCT(message_id VARCHAR, size VARCHAR, vsize VARCHAR, sender VARCHAR, subject VARCHAR), is_ambiguous BOOLEAN))"""
_IS_KIND = re.compile(r"mw_kind = '(\w*)'")
_IS_ONE_OF = re.compile(r"mw_kind IN \(([^)]*)\)")
# What every line of a kind has; of lines without one only the last is not empty.
_OF_ALL = ("MailService", "MailEvent", "MailIsHostile")


def instead(derived: Mapping[str, str], group: tuple[str, ...]) -> dict[str, str]:
    """Return how the derived columns are written for lines of a group of kinds: what other kinds fill is left out.

    Args:
        derived: the columns as they are written for all kinds, which they compare ``mw_kind`` with.
        group: some kinds.
    """
    found = {"mw_whole": _NO_RECORD}
    for name, sql in derived.items():
        is_filled = name in _OF_ALL[-1 if group == ("",) else 0 :] or any(
            f"'{kind}'" in sql for kind in group if kind
        )
        if name.startswith("mw_"):
            found.setdefault(name, _narrowed(sql, group))
        else:
            found[name] = _narrowed(sql, group) if is_filled else ""
    return found


def _narrowed(sql: str, group: tuple[str, ...]) -> str:
    """Decide comparisons with kinds that are the same for all lines of a group."""

    def one_of(match: re.Match[str]) -> str:
        fitting = [kind for kind in re.findall(r"'(\w*)'", match[1]) if kind in group]
        if not fitting:
            return "false"
        return (
            "true"
            if set(fitting) >= set(group)
            else f"mw_kind IN ({', '.join(repr(kind) for kind in fitting)})"
        )

    def is_kind(match: re.Match[str]) -> str:
        return "false" if match[1] not in group else match[0] if len(group) > 1 else "true"

    return _IS_ONE_OF.sub(one_of, _IS_KIND.sub(is_kind, sql))


# 2026-11-21T01:31:15 at least, with nine digits of a second and +00:00 at most, and the blank behind it.
_SHORTEST_TIME, _TIME_BYTES, _SECONDS = 20, 36, 19
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_SIGNS = ((4, b"-"), (7, b"-"), (10, b"T"), (13, b":"), (16, b":"))
# Digits behind the seconds that a time here can hold.
_MICROSECONDS = 6
_MOST_NUMBER, _HIGH = 10, 0x80
# With microseconds and +hh:mm: the signs of each of its words, and what they are (the sign of the zone is looked at by itself).
_USUAL_TIME = 32
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


_TAG = re.compile(rb"[A-Za-z0-9_./-]{1,100}")
_HOST = re.compile(rb"[A-Za-z0-9_.-]{1,255}")
_FITS_HOST, _FITS_TAG = 1, 2


def _fits(text: bytes) -> int:
    """Tell what a text can be: 1 for a host, 2 for a tag, 3 for both."""
    return _FITS_HOST * bool(_HOST.fullmatch(text)) + _FITS_TAG * bool(_TAG.fullmatch(text))


_KNOWN = KnownTexts(_fits)


class _Times(NamedTuple):
    """The times of some lines: where each stops, microseconds since 1970 UTC, and whether it is one."""

    stops: Positions
    micros: Positions
    is_time: Mask


def split(found: Records) -> pa.RecordBatch:
    """Split the lines of a chunk into the columns of `SCHEMA`; all null where a line has another form."""
    content = found.text.obj
    text, data = (
        Text(content if isinstance(content, bytes) else bytes(found.text), len(found.text)),
        found.data,
    )
    stops = found.stops - ((found.stops > found.starts) & (data[found.stops - 1] == ord("\r")))
    blank = np.searchsorted(text.blanks, found.starts)
    times = _times(text, found, text.blanks[blank])
    host, host_stop = times.stops + 1, text.blanks[blank + 1]
    tag, colon = host_stop + 1, text.blanks[blank + 2] - 1
    is_usual = times.is_time & (found.ends <= found.stops + 1) & (colon + 2 < stops)
    is_usual &= (found.ends - found.starts <= syslog_lines.LONGEST_LINE) & (data[stops - 1] != ord("\r"))
    is_usual &= (text.data[colon] == ord(":")) & (text.data[colon + 2] != ord(" "))
    colon = np.where(is_usual, colon, 0)
    number = _process_numbers(text, colon, is_usual)
    tag_stop = np.where(number > 0, number - 1, colon)
    is_usual &= (_KNOWN.ask(text, *_only(is_usual, host, host_stop)) & _FITS_HOST) > 0
    is_usual &= (_KNOWN.ask(text, *_only(is_usual, tag, tag_stop)) & _FITS_TAG) > 0
    begin = text.blanks[blank + 2] + 1
    is_foreign = bool((data >= _HIGH).any())
    columns = [
        pa.array(times.micros, mask=~is_usual).cast(pa.timestamp("us")),
        text.strings(*_only(is_usual, host, host_stop)),
        text.strings(*_only(is_usual, tag, tag_stop)),
        text.strings(*_only(is_usual & (number > 0), number, colon - 1)),
        line_batches.strings(found, begin, stops, is_usual)
        if is_foreign
        else text.strings(*_only(is_usual, begin, stops)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _only(rows: Mask, starts: Positions, stops: Positions) -> tuple[Positions, Positions]:
    """Return places of texts, none where a row is not meant."""
    return np.where(rows, starts, 0), np.where(rows, stops, 0)


def _process_numbers(text: Text, colons: Positions, rows: Mask) -> Positions:
    """Return where the number in brackets before a colon starts; 0 where there is none."""
    data = text.data
    place = colons - 2
    has = rows & (data[colons - 1] == ord("]"))
    going = np.flatnonzero(has)
    for _ in range(_MOST_NUMBER):
        letters = data[place[going]]
        going = going[(letters >= ord("0")) & (letters <= ord("9"))]
        if not len(going):
            break
        place[going] -= 1
    has &= (place < colons - 2) & (data[place] == ord("["))
    return np.where(has, place + 1, 0)


def _times(text: Text, found: Records, stops: Positions) -> _Times:
    """Read the times at the start of lines, up to the first blank; those of one length have to be written alike."""
    length = np.clip(stops - found.starts, 0, _TIME_BYTES)
    micros = np.zeros(len(length), dtype=np.int64)
    is_time = np.zeros(len(length), dtype=np.bool_)
    for one in np.flatnonzero(np.bincount(length, minlength=1)).tolist():
        chosen = np.flatnonzero(length == one)
        if one == _USUAL_TIME:
            micros[chosen], is_time[chosen] = _usual_times(text, found.starts[chosen])
        elif one >= _SHORTEST_TIME - 1:
            rows = line_batches.windows(found.data, found.starts[chosen], _TIME_BYTES)
            zone = _zone(one, rows[0])
            if zone is not None:
                micros[chosen], is_time[chosen] = _read(rows, one, zone)
    is_time &= stops < found.stops
    return _Times(stops, micros, is_time)


def _usual_times(text: Text, starts: Positions) -> tuple[Positions, Mask]:
    """Read times such as 2026-11-21T01:31:15.838936+00:00: four words of eight bytes."""
    values, good = [], np.ones(len(starts), dtype=np.bool_)
    words = [text.at(starts + 8 * number) for number in range(4)]
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
