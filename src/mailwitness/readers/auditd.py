"""The Linux audit log as auditd, ausearch, audisp, OMS and Wazuh write it: one record for each event.

A raw event is several lines of one `timestamp:serial` (an enriched part may follow a 0x1D byte)::

    node=mx type=SYSCALL msg=audit(1772442201.349:851): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c ...
    node=mx type=CWD msg=audit(1772442201.349:851): cwd="/root"
    node=mx type=PATH msg=audit(1772442201.349:851): item=0 name="/var/mail/bob" ... nametype=NORMAL

A forwarder puts the header of syslog before each line (``Mar  2 09:03:21 mx audispd: type=SYSCALL msg=audit(...)``);
its host is the node of a line that names none.

Lines of several events are mixed, come late, or are lost; some shippers put a whole event on one line. Lines of the
same node and id belong together as long as no more than `WINDOW` lines stand between them: memory stays bounded
whatever the file says, and a line that comes later than that becomes an event of its own.

Source: linux-audit `docs/auditd.8`, `auparse.3`, kernel `kernel/audit.c`, `kernel/auditsc.c`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from mailwitness.readers.audit_event import Event, moment
from mailwitness.readers.audit_fields import text
from mailwitness.readers.blocks import UTF8_BOM, Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Lines that may stand between two lines of one event. Audit records reach the disk within a second of each other.
WINDOW = 2000
# More lines than any real event has (argument lists of 2 MB come in some 300 records).
MOST_LINES = 5000
# The kernel cuts a record at 8,960 bytes; joined events are longer. Beyond this it is no line of an audit log.
LONGEST_LINE = 1 << 20

NO_TIME = "the time of the audit record cannot be read"
NO_RECORD = "the line is no audit record"
TOO_LONG = "the line is too long for an audit log"

_START = re.compile(rb"(?:node=(\S+) )?(?:type=([A-Za-z0-9_\[\]]+) )?(?:msg=)?audit\(([^()]{5,64})\)\s?:?")
# What rsyslog or the journal's forwarder writes before a line of audispd; the audit record keeps its own time.
_HEADER = re.compile(
    rb"(?:<\d{1,3}>)?(?:1 )?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{8,32}) (\S{1,255}) [\w.-]{1,32}(?:\[\d+\])?: (?=node=|type=)"
)
# Where the next record begins on a line that holds a whole event. A string that a process chose cannot hold blanks.
_NEXT = re.compile(rb"\s(?=(?:node=\S+ )?type=[A-Z0-9_]+ msg=audit\()")
# What ausearch writes between events.
_SEPARATOR = re.compile(rb"(?:----|time->.*|<no matches>)\s*$")


class _Open:
    """An event whose lines are still coming in."""

    __slots__ = ("end", "event", "last", "line", "lines", "offset")

    def __init__(self, event: Event, offset: int, line: int) -> None:
        self.event = event
        self.offset = offset
        self.end = offset
        self.line = line
        self.last = line
        self.lines = 0


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each event in the order in which the events end, and damage where a line is none.

    A record's place reaches from its first to its last line; lines of other events may stand between.
    """
    waiting: OrderedDict[tuple[str, str], _Open] = OrderedDict()
    for number, offset, line in _lines(path):
        if len(line) > LONGEST_LINE:
            yield Damage(offset, len(line), number, TOO_LONG)
            continue
        if number % 256 == 0:
            yield from _close(waiting, number - WINDOW)
        matches, host = records_of(line)
        timed = [(match, part) for match, part in matches if moment(text(match[3])) is not None]
        for match, part in timed:
            yield from _take(waiting, match, part, (number, offset, len(line)), host)
        if not timed and line.strip() and not _SEPARATOR.match(line):
            yield Damage(offset, len(line.rstrip(b"\r\n")), number, NO_TIME if matches else NO_RECORD)
    yield from _close(waiting, None)


def records_of(line: bytes) -> tuple[list[tuple[re.Match[bytes], bytes]], bytes]:
    """Return the records of a line, each with what its start says, and the host that a forwarder wrote before them."""
    header = _HEADER.match(line)
    parts = _segments(line[header.end() :] if header else line)
    return [(match, part) for part in parts if (match := _START.match(part))], header[1] if header else b""


def bulk(head: bytes) -> str:
    """Name the module that converts a large file; '' when events are joined on one line and have to be taken apart anyway."""
    # The very first line may be cut, where a log was rotated or torn: the first one that is whole decides.
    first = next((line for line in head[:65536].split(b"\n") if b" msg=audit(" in line), b"")
    return "audit_batches" if first.count(b" msg=audit(") == 1 and not _HEADER.match(first) else ""


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, offset and bytes of each line; a line beyond the limit is cut and its rest skipped."""
    offset = 0
    number = 0
    with path.open("rb") as handle:
        while line := handle.readline(LONGEST_LINE + 1):
            number += 1
            length = len(line)
            while (
                len(line) > LONGEST_LINE
                and not line.endswith(b"\n")
                and (more := handle.readline(LONGEST_LINE))
            ):
                length += len(more)
                if more.endswith(b"\n"):
                    break
            yield number, offset, line.removeprefix(UTF8_BOM) if number == 1 else line
            offset += length


def _segments(line: bytes) -> list[bytes]:
    """Split a line that holds a whole event into its records."""
    if line.count(b" msg=audit(") <= 1 or line.count(b"type=") <= 1:
        return [line.strip()]
    return _NEXT.split(line.strip())


def _take(
    waiting: OrderedDict[tuple[str, str], _Open],
    match: re.Match[bytes],
    segment: bytes,
    place: tuple[int, int, int],
    host: bytes = b"",
) -> Iterator[RawRecord | Damage]:
    number, offset, length = place
    node, kind, key = match.groups(b"")
    name = (text(node or host), text(key))
    found = waiting.get(name)
    if found is not None and (number - found.last > WINDOW or found.lines >= MOST_LINES):
        yield from _record(waiting.pop(name))
        found = None
    if found is None:
        event = Event(name[1], name[0], interpreted=b"/" in key)
        found = waiting[name] = _Open(event, offset, number)
    found.event.add(text(kind).removeprefix("AUOMS_") or "UNKNOWN", segment[match.end() :])
    found.last = number
    found.lines += 1
    found.end = offset + length


def _close(waiting: OrderedDict[tuple[str, str], _Open], before: int | None) -> Iterator[RawRecord | Damage]:
    """Yield the events without a line since ``before``; all of them when it is None."""
    finished = [name for name, event in waiting.items() if before is None or event.last <= before]
    for name in finished:
        yield from _record(waiting.pop(name))


def _record(found: _Open) -> Iterator[RawRecord | Damage]:
    data = found.event.data()
    length = found.end - found.offset
    if data is None:
        yield Damage(found.offset, length, found.line, NO_TIME)
    else:
        yield RawRecord(data, found.offset, length, found.line, found.event.is_partial())
