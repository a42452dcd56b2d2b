"""The lines of a stretch of an audit log: of which host and event each is, what kind of record, and where its text stands.

    node=mx type=PATH msg=audit(1772442201.349:851): item=0 name="/var/mail/bob" ... nametype=NORMAL

Lines of one event become one group, wherever they stand in the stretch. Usual lines are found many at once; any other form goes
through the patterns of the reader of small files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.readers.audit_event import moment
from mailwitness.readers.audit_fields import text
from mailwitness.readers.auditd import (
    _SEPARATOR,
    LONGEST_LINE,
    NO_RECORD,
    NO_TIME,
    TOO_LONG,
    records_of,
)
from mailwitness.readers.byte_words import digits, masked, word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions

    Mask = NDArray[np.bool_]
    Codes = NDArray[np.int8]

# The kinds that a plain system call consists of, in the order in which the kernel writes them.
SYSCALL, SOCKADDR, EXECVE, CWD, PATH, PROCTITLE, EOE = range(1, 8)
# A record of a program that stands alone.
FIRST_ALONE = 8
ALONE = (
    *(
        "USER_ACCT",
        "USER_AUTH",
        "USER_START",
        "USER_END",
        "USER_LOGIN",
        "USER_LOGOUT",
        "CRED_ACQ",
        "CRED_DISP",
    ),
    *("CRED_REFR", "SERVICE_START", "SERVICE_STOP"),
)
KINDS = ("", "SYSCALL", "SOCKADDR", "EXECVE", "CWD", "PATH", "PROCTITLE", "EOE", *ALONE)
# What any other line is: the patterns say what of.
OTHER = 0
# Hosts of one log that are told apart many lines at once; further ones take their lines one by one.
_MOST_NODES = 16
_LONGEST_TYPE, _SERIAL_AT = 16, 15
_BEGIN = b" msg=audit("
_EACH = re.compile(re.escape(_BEGIN))
_USUAL_ID = re.compile(rb"\d{10}\.\d{3}:\d{1,9}")
_ZEROS = np.uint64(0x3030303030303030)
_RETURN, _NEWLINE = 0x0D, 0x0A


class Lines(NamedTuple):
    """The lines of a stretch that hold anything.

    Attributes:
        starts: where each starts.
        stops: where each stops, line end left out.
        ends: where the next line starts.
        numbers: its number in the stretch, from 0.
        kinds: index into `KINDS`; 0 for what is no usual line.
        blanks: index of the blank before its first field in the blanks of the stretch.
        nodes: index of its host in the names of hosts.
        times: milliseconds since 1970 UTC.
        serials: serial of its event; below 0 for one whose id is not written as usual.
        ids: where its event's id starts and stops.
    """

    starts: Positions
    stops: Positions
    ends: Positions
    numbers: Positions
    kinds: Codes
    blanks: Positions
    nodes: Positions
    times: Positions
    serials: Positions
    ids: tuple[Positions, Positions]


class Part(NamedTuple):
    """One record on a line in a form of its own: the line, and what the patterns say about the record."""

    line: int
    node: bytes
    key: bytes
    kind: bytes
    body: bytes


class Odd(NamedTuple):
    """What the patterns find on lines that are not usual: records, and damage as line and reason."""

    parts: list[Part]
    damaged: list[tuple[int, str]]


def lines(found: Text, nodes: dict[bytes, int]) -> Lines:
    """Find the lines of a stretch; hosts that are not known yet are added to the names."""
    data = found.data
    newlines = np.flatnonzero(data[: found.size] == _NEWLINE)
    ends = newlines + 1
    if not len(ends) or ends[-1] != found.size:
        ends = np.append(ends, found.size)
    starts = np.concatenate([[0], ends[:-1]])
    stops = ends - (data[ends - 1] == _NEWLINE)
    stops -= (stops > starts) & (data[stops - 1] == _RETURN)
    numbers = np.flatnonzero(stops > starts)
    starts, stops, ends = starts[numbers], stops[numbers], ends[numbers]
    blank = np.searchsorted(found.blanks, starts)
    codes, types, blank = _nodes(found, starts, blank, nodes)
    kinds, blank, ids = _kinds(found, types, blank)
    times, serials, closes = _ids(found, ids)
    is_usual = (
        (kinds > 0) & (codes >= 0) & (serials >= 0) & (closes + 2 <= stops) & (stops - starts <= LONGEST_LINE)
    )
    kinds[~is_usual] = OTHER
    kinds[_joined(found, starts, stops, kinds)] = OTHER
    return Lines(starts, stops, ends, numbers, kinds, blank, codes, times, serials, (ids, closes))


def _joined(found: Text, starts: Positions, stops: Positions, kinds: Codes) -> Positions:
    """Return the usual lines that hold another record behind their own: the line end between them is lost."""
    first = int(starts[0]) if len(starts) else 0
    usual = np.count_nonzero(kinds)
    elsewhere = (
        found.raw.count(_BEGIN, start, stop)
        for start, stop in zip(starts[kinds == OTHER].tolist(), stops[kinds == OTHER].tolist(), strict=True)
    )
    if found.raw.count(_BEGIN, first, found.size) - sum(elsewhere) <= usual:
        # Every usual line begins with one.
        return np.zeros(0, dtype=np.int64)
    places = np.array(
        [match.start() for match in _EACH.finditer(found.raw, first, found.size)], dtype=np.int64
    )
    counts = np.bincount(np.searchsorted(starts, places, side="right") - 1, minlength=len(starts))
    joined: Positions = np.flatnonzero(counts > 1)
    return joined


def _nodes(
    found: Text, starts: Positions, blank: Positions, nodes: dict[bytes, int]
) -> tuple[Positions, Positions, Positions]:
    """Return the number of each line's host, where its type starts and the index of the blank behind that; -1 for no host's line."""
    has_node = masked(found.at(starts), 5) == word(b"node=")
    codes = np.where(has_node, -1, nodes.setdefault(b"", 0))
    after = np.where(has_node, found.blanks[blank] + 1, starts)
    left = np.flatnonzero(has_node & (after - starts > len(b"node= ")) & (after < found.size))
    for _ in range(_MOST_NODES):
        if not len(left):
            break
        first = found.raw[starts[left[0]] : after[left[0]]]
        same = after[left] - starts[left] == len(first)
        for place in range(0, len(first), 8):
            piece = first[place : place + 8]
            same &= masked(found.at(starts[left] + place), len(piece)) == word(piece)
        codes[left[same]] = nodes.setdefault(first[5:-1], len(nodes))
        left = left[~same]
    for line in left.tolist():
        codes[line] = nodes.setdefault(found.raw[starts[line] + 5 : after[line] - 1], len(nodes))
    return codes, after, blank + has_node


def _kinds(found: Text, types: Positions, blank: Positions) -> tuple[Codes, Positions, Positions]:
    """Return the kind of each line's record, the index of the blank before its first field, and where its id starts."""
    start = types + len(b"type=")
    stop = found.blanks[blank]
    length = np.clip(stop - start, 0, _LONGEST_TYPE)
    one, two = masked(found.at(start), length), masked(found.at(start + 8), np.maximum(length - 8, 0))
    is_typed = (masked(found.at(types), 5) == word(b"type=")) & (found.at(stop + 1) == word(b"msg=audi"))
    is_typed &= masked(found.at(stop + 9), 2) == word(b"t(")
    kinds = np.zeros(len(types), dtype=np.int8)
    for kind, name in enumerate(KINDS[1:FIRST_ALONE], 1):
        kinds[one == word(name.encode()[:8])] = kind
    left = np.flatnonzero((kinds == OTHER) & is_typed)
    for kind, name in enumerate(ALONE, FIRST_ALONE):
        kinds[left[(one[left] == word(name.encode()[:8])) & (two[left] == word(name.encode()[8:]))]] = kind
    kinds[(two != 0) & (kinds < FIRST_ALONE) & ((kinds != PROCTITLE) | (two != word(b"E")))] = OTHER
    kinds[~is_typed] = OTHER
    return kinds, blank + 1, stop + 11


def _ids(found: Text, starts: Positions) -> tuple[Positions, Positions, Positions]:
    """Return milliseconds, serial (-1: not written as usual) and end of ids such as 1772442201.349:851 with ``):`` behind them."""
    one, two, three = found.at(starts), found.at(starts + 8), found.at(starts + 16)
    seconds, is_seconds = digits(one)
    # Two digits of the seconds, a dot, three of the milliseconds, a colon, the first one of the serial.
    rest, is_rest = digits((two & np.uint64(0xFF00FFFFFF00FFFF)) | np.uint64(0x0030000000300000))
    is_written = (
        is_seconds & is_rest & ((two & np.uint64(0x00FF000000FF0000)) == np.uint64(0x003A0000002E0000))
    )
    close = found.find(three, ord(")"))
    bits = close.astype(np.uint64) * np.uint64(8)
    later, is_later = digits(three << (np.uint64(64) - bits) | _ZEROS >> bits)
    is_written &= is_later
    stop = starts + _SERIAL_AT + 1 + close
    is_written &= masked(found.at(stop), 2) == word(b"):")
    # Of the rest: dd0mmm0s.
    seconds = seconds * 100 + rest // 1_000_000
    serials = rest % 10 * 10**close + later
    return seconds * 1000 + rest // 100 % 1000, np.where(is_written, serials, -1), stop


def odd(found: Text, these: Lines) -> Odd:
    """Read the lines that are not usual with the patterns of small files."""
    answer = Odd([], [])
    for line in np.flatnonzero(these.kinds == OTHER).tolist():
        content = found.raw[these.starts[line] : these.stops[line]]
        if len(content) > LONGEST_LINE:
            answer.damaged.append((line, TOO_LONG))
            continue
        matches, host = records_of(content)
        timed = [(match, part) for match, part in matches if moment(text(match[3])) is not None]
        for match, part in timed:
            node, kind, key = match.groups(b"")
            answer.parts.append(Part(line, node or host, key, kind, part[match.end() :]))
        if not timed and content.strip() and not _SEPARATOR.match(content):
            answer.damaged.append((line, NO_TIME if matches else NO_RECORD))
    return answer


def usual_id(key: bytes) -> tuple[int, int] | None:
    """Return milliseconds and serial of an id that is written as in usual lines."""
    if not _USUAL_ID.fullmatch(key):
        return None
    return int(key[:10]) * 1000 + int(key[11:14]), int(key[15:])


def before(these: Lines, odd: Odd, count: int) -> tuple[Lines, Odd]:
    """Return the first lines only, with what the patterns found on them."""
    first, stop = these.ids
    kept = Lines(
        these.starts[:count],
        these.stops[:count],
        these.ends[:count],
        these.numbers[:count],
        these.kinds[:count],
        these.blanks[:count],
        these.nodes[:count],
        these.times[:count],
        these.serials[:count],
        (first[:count], stop[:count]),
    )
    return kept, Odd(
        [part for part in odd.parts if part.line < count], [one for one in odd.damaged if one[0] < count]
    )
