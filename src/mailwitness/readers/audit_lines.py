"""The lines of a stretch of an audit log: of which host and event each is, what kind of record, and where its text stands.

    node=mx type=PATH msg=audit(1772442201.349:851): item=0 name="/var/mail/bob" ... nametype=NORMAL

Lines of one event become one group, wherever they stand in the stretch. Usual lines are found many at once; any other form goes
through the patterns of the reader of small files.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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

    from mailwitness.readers.byte_words import Text, Words
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
    *("CRED_REFR", "SERVICE_START", "SERVICE_STOP", "CRYPTO_KEY_USER", "CRYPTO_SESSION"),
)
KINDS = ("", "SYSCALL", "SOCKADDR", "EXECVE", "CWD", "PATH", "PROCTITLE", "EOE", *ALONE)
# What any other line is: the patterns say what of.
OTHER = 0
# Hosts of one log that are told apart many lines at once; further ones take their lines one by one. So many lines are asked for them.
_MOST_NODES, _SAMPLED = 16, 64
_SERIAL_AT = 15
_BEGIN = b" msg=audit("
_EACH = re.compile(re.escape(_BEGIN))
_USUAL_ID = re.compile(rb"\d{10}\.\d{3}:\d{1,9}")
_ZEROS = np.uint64(0x3030303030303030)
_THREE = np.uint64(0xFFFFFF)
_FACTORS, _SLOT_BITS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0x91B7584A2265B1F5)), 7
_RETURN, _NEWLINE = 0x0D, 0x0A
# Why a line is damaged.
REASONS = (NO_RECORD, NO_TIME, TOO_LONG)
# How a line begins whose first record may be one for the patterns: at once, or behind the header of a forwarder.
_RECORD = r"^[\s\v]*(?:node=|type=|msg=|audit\(|[<0-9A-Z])"
# Lines that may be neither a record nor damage begin so: blank ones, and what ausearch writes between events.
_BEGINS_APART = np.isin(np.arange(256), np.frombuffer(b" \t\r\v\f-t<", dtype=np.uint8))


class Lines(NamedTuple):
    """The lines of a stretch that hold anything.

    Attributes:
        starts: where each starts.
        stops: where each stops, line end left out.
        ends: where the next line starts.
        numbers: its number in the stretch, from 0.
        kinds: index into `KINDS`; 0 for what is no usual line.
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
    nodes: Positions
    times: Positions
    serials: Positions
    ids: tuple[Positions, Positions]

    def blanks(self, found: Text, chosen: Positions) -> Positions:
        """Return for some of the lines the index of the blank before the first field in the blanks of the stretch."""
        # Behind the id stand a bracket and a colon.
        before: Positions = np.searchsorted(found.blanks, self.ids[1][chosen] + 2)
        return before


def _heads() -> tuple[Words, Words]:
    """Return the first eight bytes from the name of each kind on, and the next three: no two kinds share both."""
    texts = [name.encode() + _BEGIN for name in KINDS[1:]]
    one, two = (np.array([word(text[i : i + 8]) for text in texts], dtype=np.uint64) for i in (0, 8))
    return one, two & _THREE


def _slots(one: Words, two: Words) -> Positions:
    """Return the slot of each head; the factors were chosen so that no two kinds share one."""
    mixed: Positions = (((one ^ (two * _FACTORS[0])) * _FACTORS[1]) >> np.uint64(64 - _SLOT_BITS)).astype(
        np.int64
    )
    return mixed


def _filled(values: Words | Positions | Codes, kind: str) -> NDArray[Any]:  # Any: of that kind
    """Return what is known of kinds by the slots of their heads."""
    table = np.zeros(1 << _SLOT_BITS, dtype=kind)
    table[_slots(*_heads())] = values
    return table


_FIRST_WORDS, _SECOND_WORDS = (_filled(words, "<u8") for words in _heads())
_LENGTHS = _filled(np.array([len(name) for name in KINDS[1:]]), "<i8")
_KIND_OF = _filled(np.arange(1, len(KINDS)), "<i1")


class Part(NamedTuple):
    """One record on a line in a form of its own: the line, and what the patterns say about the record."""

    line: int
    node: bytes
    key: bytes
    kind: bytes
    body: bytes


class Odd(NamedTuple):
    """What the patterns find on lines that are not usual.

    Attributes:
        parts: records.
        damaged: the lines that hold none, in their order.
        reasons: why, as indexes of `REASONS`.
    """

    parts: list[Part]
    damaged: Positions
    reasons: Codes


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
    if len(numbers) < len(starts):
        starts, stops, ends = starts[numbers], stops[numbers], ends[numbers]
    codes, types = _nodes(found, starts, stops, nodes)
    kinds, ids = _kinds(found, types)
    times, serials, closes = _ids(found, ids)
    is_usual = (
        (kinds > 0) & (codes >= 0) & (serials >= 0) & (closes + 2 <= stops) & (stops - starts <= LONGEST_LINE)
    )
    kinds[~is_usual] = OTHER
    kinds[_joined(found, starts, stops, kinds)] = OTHER
    return Lines(starts, stops, ends, numbers, kinds, codes, times, serials, (ids, closes))


def _joined(found: Text, starts: Positions, stops: Positions, kinds: Codes) -> Positions:
    """Return the usual lines that hold another record behind their own: the line end between them is lost."""
    first = int(starts[0]) if len(starts) else 0
    usual = np.count_nonzero(kinds)
    other = np.flatnonzero(kinds == OTHER)
    elsewhere = pc.sum(pc.count_substring(_pieces(found, starts[other], stops[other]), _BEGIN)).as_py() or 0
    if found.raw.count(_BEGIN, first, found.size) - elsewhere <= usual:
        # Every usual line begins with one.
        return np.zeros(0, dtype=np.int64)
    places = np.array(
        [match.start() for match in _EACH.finditer(found.raw, first, found.size)], dtype=np.int64
    )
    counts = np.bincount(np.searchsorted(starts, places, side="right") - 1, minlength=len(starts))
    joined: Positions = np.flatnonzero(counts > 1)
    return joined


def _nodes(
    found: Text, starts: Positions, stops: Positions, nodes: dict[bytes, int]
) -> tuple[Positions, Positions]:
    """Return the number of each line's host, -1 where none is written as usual, and where the name of its type starts."""
    nodes.setdefault(b"", 0)
    codes = np.full(len(starts), -1, dtype=np.int64)
    types = starts.copy()
    left = np.arange(len(starts))
    for node in _common_nodes(found, starts, stops):
        sign = (b"node=" + node + b" " if node else b"") + b"type="
        same = found.begins(starts[left], sign)
        mine = left if same.all() else left[same]
        codes[mine] = nodes.setdefault(node, len(nodes))
        types[mine] = starts[mine] + len(sign)
        left = left[:0] if same.all() else left[~same]
    left = left[masked(found.at(starts[left]), len(b"node=")) == word(b"node=")]
    for line in left.tolist():
        name = _node(found, int(starts[line]), int(stops[line]))
        if name is not None:
            codes[line] = nodes.setdefault(name, len(nodes))
            types[line] = starts[line] + len(name) + len(b"node= type=")
    return codes, types


def _common_nodes(found: Text, starts: Positions, stops: Positions) -> list[bytes]:
    """Return the hosts that some of the lines name, the most frequent first, and none."""
    some = slice(None, None, 1 + len(starts) // _SAMPLED)
    listed = Counter(
        _node(found, start, stop)
        for start, stop in zip(starts[some].tolist(), stops[some].tolist(), strict=True)
    )
    named = (name for name, _ in listed.most_common(_MOST_NODES) if name is not None)
    return list(dict.fromkeys([*named, b""]))


def _node(found: Text, start: int, stop: int) -> bytes | None:
    """Return the name of a line's host, empty when it names none; None when the line does not begin as usual."""
    if found.raw.startswith(b"type=", start):
        return b""
    end = found.raw.find(b" ", start, stop)
    if end <= start + len(b"node=") or not found.raw.startswith(b"type=", end + 1):
        return None
    return found.raw[start + len(b"node=") : end] if found.raw.startswith(b"node=", start) else None


def _kinds(found: Text, types: Positions) -> tuple[Codes, Positions]:
    """Return the kind of each line's record, by where its name starts, and where the event's id starts."""
    head = found.words_at(types, 2)
    one, two = head[:, 0], head[:, 1] & _THREE
    slot = _slots(one, two)
    is_known = (_FIRST_WORDS[slot] == one) & (_SECOND_WORDS[slot] == two)
    ends = types + _LENGTHS[slot]
    sign = found.words_at(ends, 2)
    is_known &= (sign[:, 0] == word(_BEGIN[:8])) & ((sign[:, 1] & _THREE) == word(_BEGIN[8:]))
    kinds: Codes = np.where(is_known, _KIND_OF[slot], np.int8(OTHER))
    return kinds, ends + len(_BEGIN)


def _ids(found: Text, starts: Positions) -> tuple[Positions, Positions, Positions]:
    """Return milliseconds, serial (-1: not written as usual) and end of ids such as 1772442201.349:851 with ``):`` behind them."""
    words = found.words_at(starts, 3)
    one, two, three = words[:, 0], words[:, 1], words[:, 2]
    close = found.find(three, ord(")"))
    stop = starts + _SERIAL_AT + 1 + close
    three = masked(three, close)
    # Most lines belong to the event of the line before.
    is_new = np.ones(len(starts), dtype=np.bool_)
    is_new[1:] = (one[1:] != one[:-1]) | (two[1:] != two[:-1]) | (three[1:] != three[:-1])
    run = np.cumsum(is_new) - 1
    one, two, three, close = one[is_new], two[is_new], three[is_new], close[is_new]
    seconds, is_seconds = digits(one)
    # Two digits of the seconds, a dot, three of the milliseconds, a colon, the first one of the serial.
    rest, is_rest = digits((two & np.uint64(0xFF00FFFFFF00FFFF)) | np.uint64(0x0030000000300000))
    is_written = (
        is_seconds & is_rest & ((two & np.uint64(0x00FF000000FF0000)) == np.uint64(0x003A0000002E0000))
    )
    bits = close.astype(np.uint64) * np.uint64(8)
    later, is_later = digits(three << (np.uint64(64) - bits) | _ZEROS >> bits)
    is_written &= is_later
    # Of the rest: dd0mmm0s.
    seconds = seconds * 100 + rest // 1_000_000
    serials = np.where(is_written, rest % 10 * 10**close + later, -1)[run]
    times = (seconds * 1000 + rest // 100 % 1000)[run]
    return times, np.where(masked(found.at(stop), 2) == word(b"):"), serials, -1), stop


def texts(found: Text, these: Lines) -> pa.Array:
    """Return the lines, of which there are some, as texts: each up to where the next one starts."""
    offsets = np.append(these.starts, these.ends[-1:])
    return pa.Array.from_buffers(
        pa.large_binary(), len(these.starts), [None, pa.py_buffer(offsets), pa.py_buffer(found.raw)]
    )


def _pieces(found: Text, starts: Positions, stops: Positions) -> pa.Array:
    """Return some texts that stand one behind the other, without what stands between them."""
    offsets = np.stack([starts, stops], axis=1).reshape(-1)
    both = pa.Array.from_buffers(
        pa.large_binary(),
        max(len(offsets) - 1, 0),
        [
            None,
            pa.py_buffer(offsets if len(offsets) else np.zeros(1, dtype=np.int64)),
            pa.py_buffer(found.raw),
        ],
    )
    return both.take(pa.array(np.arange(0, len(both), 2)))


def odd(found: Text, these: Lines) -> Odd:
    """Read the lines that are not usual with the patterns of small files; most of them hold nothing that could be a record."""
    other = np.flatnonzero(these.kinds == OTHER)
    starts, stops = these.starts[other], these.stops[other]
    shown = _pieces(found, starts, stops)
    # What stands between the two may be no text.
    begins = pc.and_(pc.match_substring_regex(shown, _RECORD), pc.match_substring(shown, "audit(")).to_numpy(
        zero_copy_only=False
    )
    ids = pc.count_substring(shown, _BEGIN).to_numpy(zero_copy_only=False)
    may_be = begins | (ids > 1) | _BEGINS_APART[found.data[starts]] | (stops - starts > LONGEST_LINE)
    reasons = np.full(len(other), REASONS.index(NO_RECORD), dtype=np.int8)
    parts: list[Part] = []
    for row in np.flatnonzero(may_be).tolist():
        line = int(other[row])
        reasons[row] = _read(found.raw[starts[row] : stops[row]], line, parts)
    return Odd(parts, other[reasons >= 0], reasons[reasons >= 0])


def _read(content: bytes, line: int, parts: list[Part]) -> int:
    """Add the records of a line; return why it is damaged, -1 when it is not."""
    if len(content) > LONGEST_LINE:
        return REASONS.index(TOO_LONG)
    matches, host = records_of(content)
    timed = [(match, part) for match, part in matches if moment(text(match[3])) is not None]
    for match, part in timed:
        node, kind, key = match.groups(b"")
        parts.append(Part(line, node or host, key, kind, part[match.end() :]))
    if timed or not content.strip() or _SEPARATOR.match(content):
        return -1
    return REASONS.index(NO_TIME if matches else NO_RECORD)


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
        these.nodes[:count],
        these.times[:count],
        these.serials[:count],
        (first[:count], stop[:count]),
    )
    damaged = int(np.searchsorted(odd.damaged, count))
    return kept, Odd(
        [part for part in odd.parts if part.line < count], odd.damaged[:damaged], odd.reasons[:damaged]
    )
