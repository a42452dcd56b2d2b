"""Large syslog files: lines with a full time, a host and a tag are split many at once, everything else is read as usual.

    2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: text

Lines of strict kinds are taken apart here (`line_kinds`), all other usual lines go to the patterns. A record that is not exactly such
a line comes back to `other`: a line of another form, a message of several lines, damage.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from mailwitness.content import loader
from mailwitness.readers import line_shapes, line_signs, line_table, line_times, syslog_lines
from mailwitness.readers.blocks import UTF8_BOM, Damage
from mailwitness.readers.byte_words import Text
from mailwitness.readers.known_texts import KnownTexts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from mailwitness.readers.blocks import RawRecord
    from mailwitness.readers.index import Positions
    from mailwitness.readers.line_batches import Records
    from mailwitness.readers.syslog_time import Years

    Mask = NDArray[np.bool_]
    Span = tuple[Positions, Positions]
    Columns = dict[str, pa.Array]

# Microseconds since 1970 UTC, and the texts of the other columns of a line.
Plain = tuple[int, str, str, str, str]
# The columns of lines that the patterns read.
SCHEMA = pa.schema(
    [
        ("Moment", pa.timestamp("us")),
        ("Host", pa.string()),
        ("Process", pa.string()),
        ("ProcessId", pa.string()),
        ("Message", pa.string()),
    ]
)
# The raw keys of the mapping `linux_syslog`; the time is read already.
RELATION = 'SELECT * EXCLUDE (Moment), Moment AS "Time" FROM mw_lines'
# What takes the place of the mapping's columns.
COLUMNS = {"TimeGenerated": '"Time"', "EventTime": '"Time"'}
# Steps of derived columns: these lines are of no strict kind.
PATTERNS = {"mw_head": "''", "mw_body": "''", "mw_kind": "'whole'"}
# Columns of which such lines say nothing.
WITHOUT = ("Facility", "SeverityLevel", "TimeNote")


class Stretch(NamedTuple):
    """The records of one stretch of a log.

    Attributes:
        records: how many there are.
        groups: groups of strict kinds, each with the numbers of its lines and their columns.
        patterns: numbers and columns of usual lines that are of no strict kind.
        others: numbers of records that are no usual line.
        foreign: numbers of usual lines that are no UTF-8, and these with escapes for the wrong bytes, as they are shown everywhere.
    """

    records: int
    groups: list[tuple[str, Positions, Columns]]
    patterns: tuple[Positions, Columns]
    others: Positions
    foreign: tuple[Positions, list[str]]


@cache
def groups() -> line_table.Groups:
    """Return the strict kinds of lines, in their groups."""
    listed = loader.read_yaml(loader.CONTENT / "tables" / "_lines.yaml")["Syslog"]
    return line_table.Groups(msgspec.convert(listed, line_shapes.Shapes))


# No byte of UTF-8 is as high as the second, RFC 3629.
_HIGH, _NEVER = 0x80, 0xF5
_LONGEST_HOST, _USUAL_HOST = 255, 64
# The signs behind a tag.
_NUMBERED, _PLAIN = line_signs.pattern("[]:"), line_signs.pattern(":")


_TAG = re.compile(rb"[A-Za-z0-9_./-]{1,100}")
_HOST = re.compile(rb"[A-Za-z0-9_.-]{1,255}")


def _fits_host(text: bytes) -> bool:
    """Tell whether a text can be a host; some logs have a level in its place."""
    return _HOST.fullmatch(text) is not None and text.decode() not in syslog_lines.LEVELS


def _program(text: bytes) -> int:
    """Return the number of a program, from 1 on; 0 for what can be no tag."""
    return 1 + groups().finder.program(text) if _TAG.fullmatch(text) else 0


_HOSTS, _TAGS = KnownTexts(_fits_host), KnownTexts(_program)


def split(found: Records, needed: Mapping[str, Collection[str]]) -> Stretch:
    """Take the lines of a stretch apart.

    Args:
        found: the records of the stretch.
        needed: names of the columns and values that are read of each group.
    """
    content = found.text.obj
    text = Text(content if isinstance(content, bytes) else bytes(found.text), len(found.text))
    signs = line_signs.Signs(text)
    usual = _usual(signs, found)
    is_text = _is_text(found, usual)
    rows = np.flatnonzero(usual.is_usual & is_text)
    begin, stop = _at(usual.message, rows)
    message = begin, usual.sign[rows], stop
    kinds = groups().finder.find(signs, usual.program[rows], message, rows, found.lines[rows])
    is_left = usual.is_usual & is_text
    by_group = []
    for group, chosen, values in groups().batches(text, kinds, needed):
        is_left[chosen] = False
        columns = _columns(text, usual, chosen, needed[group])
        by_group.append((group, chosen, columns | values))
    left = np.flatnonzero(is_left)
    return Stretch(
        len(found.starts),
        by_group,
        (left, _copied(text, usual, left)),
        np.flatnonzero(~usual.is_usual),
        _foreign(found, usual, np.flatnonzero(~is_text)),
    )


def _foreign(found: Records, usual: _Usual, rows: Positions) -> tuple[Positions, list[str]]:
    places = zip(found.starts[rows].tolist(), usual.message[1][rows].tolist(), strict=True)
    return rows, [str(found.text[start:stop], "utf-8", "backslashreplace") for start, stop in places]


class _Usual(NamedTuple):
    """Which records are usual lines, and where their parts stand; places of other records mean nothing.

    `sign` is the number of the first sign of each message, `program` that of its program.
    """

    is_usual: Mask
    micros: Positions
    host: Span
    process: Span
    number: Span
    message: Span
    sign: Positions
    program: NDArray[np.int8]


def _usual(signs: line_signs.Signs, found: Records) -> _Usual:
    text, data = signs.text, found.data
    stops = found.stops - ((found.stops > found.starts) & (data[found.stops - 1] == ord("\r")))
    times = line_times.read(text, found)
    is_usual = times.is_time & (found.ends <= found.stops + 1) & (data[stops - 1] != ord("\r"))
    is_usual &= found.ends - found.starts <= syslog_lines.LONGEST_LINE
    host = np.where(is_usual, times.stops + 1, 0)
    is_host, host_stop = _hosts(text, host)
    is_usual &= is_host
    tag, rank = host_stop + 1, _rank(signs, found, times, host_stop)
    # A tag ends with a colon; before it there may be a number in brackets.
    has_number = signs.are(rank, _NUMBERED)
    is_usual &= has_number | signs.are(rank, _PLAIN)
    tag_stop = signs.at[rank]
    rank = rank + np.where(has_number, len("[]:"), 1)
    colon = signs.at[rank - 1]
    number = np.where(has_number, tag_stop + 1, 0)
    is_usual &= ~has_number | line_signs.are_digits(text, number, colon - 1) & (
        text.data[colon - 1] == ord("]")
    )
    is_usual &= (colon + 2 < stops) & (text.data[colon + 1] == ord(" ")) & (text.data[colon + 2] != ord(" "))
    program = _TAGS.ask(text, *_only(is_usual, tag, tag_stop))
    is_usual &= program > 0
    return _Usual(
        is_usual,
        times.micros,
        (host, host_stop),
        (tag, tag_stop),
        (number, np.where(has_number, colon - 1, 0)),
        (colon + 2, stops),
        rank,
        program - 1,
    )


def _hosts(text: Text, places: Positions) -> tuple[Mask, Positions]:
    """Tell at which places a host with a blank behind it stands, and where each stops."""
    # Most logs have one host: it is looked for by itself.
    first = int(places[np.argmax(places > 0)])
    name = text.raw[first : text.raw.find(b" ", first, first + _USUAL_HOST) + 1]
    is_host = places > 0
    is_host &= line_signs.Literal(name.decode()).stands(text, places) if _fits_host(name[:-1]) else False
    stops = places + len(name) - 1
    others = np.flatnonzero(~is_host & (places > 0))
    if len(others):
        stops[others] = text.first(places[others], ord(" "), _LONGEST_HOST + 1)
        is_host[others] = _HOSTS.ask(text, places[others], stops[others]) > 0
    return is_host, stops


def _rank(signs: line_signs.Signs, found: Records, times: line_times.Times, places: Positions) -> Positions:
    """Return the number of the first sign from each place on, with nothing but the time and a host before it in its line."""
    # Usual times have all the same signs; a line is no usual one where a host has any.
    rank = signs.of_lines()[found.lines] + line_times.USUAL_SIGNS
    others = np.flatnonzero(times.stops - found.starts != line_times.USUAL_TIME)
    rank[others] = signs.rank(places[others])
    return rank


def _is_text(found: Records, usual: _Usual) -> Mask:
    """Tell which records are UTF-8."""
    is_text = np.ones(len(found.starts), dtype=np.bool_)
    high = np.flatnonzero(found.data >= _HIGH)
    # What stands in no text at all, and wrong bytes do in damaged logs, is told many at once.
    never = high[found.data[high] >= _NEVER]
    if not len(high) or (not len(never) and _decodes(found.text)):
        return is_text
    starts, stops = usual.message
    numbers = _records_at(found, never)
    is_text[numbers] = ~usual.is_usual[numbers]
    numbers = _records_at(found, high)
    for number in numbers[usual.is_usual[numbers] & is_text[numbers]].tolist():
        is_text[number] = _decodes(found.text[int(starts[number]) : int(stops[number])])
    return is_text


def _records_at(found: Records, places: Positions) -> Positions:
    """Return the records in which some bytes stand, by their places."""
    numbers = np.searchsorted(found.starts, places, side="right") - 1
    # Ascending, each once.
    return np.flatnonzero(np.bincount(numbers[numbers >= 0], minlength=1))


def _decodes(text: memoryview) -> bool:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _at(span: Span, rows: Positions) -> Span:
    return span[0][rows], span[1][rows]


def _columns(text: Text, usual: _Usual, rows: Positions, needed: Collection[str]) -> Columns:
    """Return what the head of usual lines says, and their messages, which have to be UTF-8: what of it is needed."""
    found = {"Moment": pa.array(usual.micros[rows]).cast(pa.timestamp("us"))}
    parts = {
        "Host": usual.host,
        "Process": usual.process,
        "ProcessId": usual.number,
        "Message": usual.message,
    }
    for name, span in parts.items():
        if name in needed:
            found[name] = line_table.texts(text, *_at(span, rows))
    return found


def _copied(text: Text, usual: _Usual, rows: Positions) -> Columns:
    """Return the same of lines that are kept until many of a log are there."""
    columns = _columns(text, usual, rows, SCHEMA.names)
    return {name: array.cast(SCHEMA.field(name).type) for name, array in columns.items()}


def _only(rows: Mask, starts: Positions, stops: Positions) -> tuple[Positions, Positions]:
    """Return places of texts, none where a row is not meant."""
    return np.where(rows, starts, 0), np.where(rows, stops, 0)


# What a message may say that is like a usual line, with a full time.
_USUAL = frozenset({"Time", "TimeNote", *SCHEMA.names[1:]})
_USUAL_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([^\n]*)\n?", re.ASCII
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
# What a line begins with that may have a time.
_MAY_BEGIN = re.compile(
    rb"(?:\d+ )?<|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) |@[0-9a-f]{24}"
)
_LONGEST_BEGIN = 40


def damage(content: bytes, place: tuple[int, int, int]) -> Damage | None:
    """Return what `other` would say of a line that has no time for sure, which damaged logs are full of; None of any other.

    Args:
        content: see `other`.
        place: see `other`.
    """
    offset, length, line = place
    begin, end = content[:_LONGEST_BEGIN], content.find(b"\n")
    if not offset or length > syslog_lines.LONGEST_LINE or 0 <= end < len(content) - 1 or not begin.isascii():
        return None
    if _MAY_BEGIN.match(begin):
        return None
    return Damage(offset, len(content.rstrip(b"\r\n")), line, syslog_lines.NO_TIME)


_TIMED = rf"(?:\d+ )?<|{syslog_lines.TIME}(?::)? "
_TIMED_BYTES, _TIMED_TEXT = re.compile(_TIMED.encode()), re.compile(_TIMED)


def hidden_damage(content: bytes, place: tuple[int, int, int]) -> Damage | None:
    """Return what `other` would say of a line whose time is torn, or begins with what is no text; None of any other.

    Args:
        content: see `other`.
        place: see `other`.
    """
    if not _is_one_line(content, *place[:2]) or _TIMED_BYTES.match(content):
        return None
    # Digits of other scripts are digits too.
    if not content.isascii() and _TIMED_TEXT.match(content.decode("utf-8", "backslashreplace")):
        return None
    return Damage(place[0], len(content.rstrip(b"\r\n")), place[2], syslog_lines.NO_TIME)


def _is_one_line(content: bytes, offset: int, length: int) -> bool:
    """Tell whether a record is a line that is neither too long nor the first of a file, which may begin with a byte order mark."""
    return offset > 0 and length <= syslog_lines.LONGEST_LINE and 0 <= content.find(b"\n") == len(content) - 1


def message(content: bytes, place: tuple[int, int, int]) -> Plain | None:
    """Return what `other` and `plain` would say of a line with a usual time, many of which damage leaves; None of any other.

    Args:
        content: see `other`.
        place: see `other`.
    """
    if not _is_one_line(content, *place[:2]):
        return None
    match = _USUAL_LINE.fullmatch(content.decode("utf-8", "backslashreplace"))
    if match is None:
        return None
    data = syslog_lines.origin(match[2].rstrip("\r"), is_spaced=False)
    micros = _micros(match[1])
    if micros is None or not data.keys() <= _USUAL:
        return None
    get = data.get
    return micros, get("Host", ""), get("Process", ""), get("ProcessId", ""), get("Message", "")


def _micros(time: str) -> int | None:
    """Return the microseconds since 1970 of a time; None where the calendar has no such day."""
    try:
        return (dt.datetime.fromisoformat(time) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


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


def plain(item: RawRecord | Damage) -> Plain | None:
    """Return the columns of a message that says no more than a usual line does; None of any other."""
    if isinstance(item, Damage) or item.salvaged or not item.data.keys() <= _USUAL or item.data["TimeNote"]:
        return None
    data = item.data
    micros = _micros(data["Time"]) if _USUAL_LINE.fullmatch(data["Time"] + " ") else None
    if micros is None:
        return None
    host, process, number, message = (str(data.get(name, "")) for name in SCHEMA.names[1:])
    return micros, host, process, number, message


def gathered(found: list[Plain], needed: Mapping[str, Collection[str]]) -> Stretch:
    """Return messages that are like usual lines, one by one, as a stretch; see `split`."""
    others = {name: groups().finder.is_other(name.encode()) for name in {one[2] for one in found}}
    says_nothing = np.array([others[one[2]] for one in found])
    rows, left = np.flatnonzero(says_nothing), np.flatnonzero(~says_nothing)
    group = line_shapes.OTHER
    # As the columns of other lines of the group are, which point into the log.
    columns = _listed([found[row] for row in rows.tolist()], {"Moment", *needed[group]}, pa.string_view())
    by_group = [(group, rows, columns)] if len(rows) else []
    whole = _listed([found[row] for row in left.tolist()], SCHEMA.names, pa.string())
    nothing = np.zeros(0, dtype=np.int64)
    return Stretch(len(found), by_group, (left, whole), nothing, (nothing, []))


def _listed(found: list[Plain], names: Collection[str], kind: pa.DataType) -> Columns:
    fields = [(at, field) for at, field in enumerate(SCHEMA) if field.name in names]
    return {
        field.name: pa.array([one[at] for one in found], field.type if field.name == "Moment" else kind)
        for at, field in fields
    }


def _numbered(content: bytes, offset: int, line: int) -> Iterator[tuple[int, int, bytes]]:
    *whole, last = content.split(b"\n")
    for number, text in enumerate([*(part + b"\n" for part in whole), *filter(None, [last])], line):
        yield number, offset, text.removeprefix(UTF8_BOM) if not offset else text
        offset += len(text)
