"""Lines of syslog files in the forms that daemons, relays and mail servers' own logs use.

One line of each form that is read::

    Nov 21 01:31:15 mx1 dovecot: imap-login: Login: user=<eva>, ...            RFC 3164, no year, no zone
    2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: A6BAC230690: removed   RFC 3339
    <22>1 2026-11-21T01:31:15.838936+00:00 mx1 dovecot - - -  imap-login: ...  RFC 5424
    <15>2021-03-06T04:07:33.194677+00:00 mx1 tag text                          rsyslog's forward format
    @400000004c91b044077a9e94 imap-login: Info: ...                            TAI64N
    2016-10-25T12:37:23.297265-07:00 INFO cron[13707]: text                    ChromeOS, no host
    2026-11-21 01:45:42 [4855] 1xUaAe-0001CD-18 removed by root                Exim's main log
    Nov 21 01:32:10 : eva : PWD=/home/eva ; USER=root ;                        sudo's own log, continued by indentation

What a line does not say is assumed and said: ``TimeNote`` holds the assumption, the reader's notes repeat it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mailwitness.readers import syslog_time
from mailwitness.readers.blocks import UTF8_BOM, Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# RFC 5424 asks receivers for 2,048 bytes; daemons write longer lines, but a megabyte is no log line.
LONGEST_LINE = 1 << 20
TOO_LONG = "the line is too long for a log"
NO_TIME = "the line has no time: it is damaged or continues another"
LONGEST_MESSAGE = 64 * 1024
FACILITIES = (
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "audit",
    "alert",
    "clock",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
)
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
LEVELS = {
    "DEBUG": "debug",
    "INFO": "info",
    "NOTICE": "notice",
    "WARNING": "warning",
    "WARN": "warning",
    "ERR": "err",
    "ERROR": "err",
    "CRIT": "crit",
    "ALERT": "alert",
    "EMERG": "emerg",
}

_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_BSD = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4}(?= ))?"
_SPACED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [+-]\d{4})?"
# A time in any of these forms.
TIME = rf"(?:{_ISO}|{_BSD}|{_SPACED}|@[0-9a-f]{{24}})"
_NEW = re.compile(
    rf"(?:\d+ )?<(\d{{1,3}})>1 ({_ISO}|-) (\S+) (\S+) (\S+) (\S+) (-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: (.*))?$",
    re.DOTALL,
)
_OLD = re.compile(rf"(?:<(\d{{1,3}})>)?({TIME})(?:(:) | )(.*)$", re.DOTALL)
# A tag with a process number and a colon. Names of services hold slashes, dots, blanks only inside brackets.
_TAG = re.compile(r"([A-Za-z0-9_.()/@+-]{1,100}) ?(?:\[(\d{1,10})\])?:(?: |$)")
_HOST = re.compile(r"([A-Za-z0-9_.:%-]{1,255}) (?=\S)")
_DOVECOT = re.compile(
    r"(?:imap|pop3|lmtp|lda|doveadm|managesieve|submission|indexer-worker|sieve-filter)\([^()]*\)(?:<\d+><[^>]*>)?: "
)
_EXIM = re.compile(
    r"(?:\[(\d+)\] )?(?:\w{6}-\w{6,11}-\w{2,4} |cwd=|H=|no host name|Start queue|End queue|exim |SMTP |TLS |\w+ authenticator failed|rejected |Warning: |daemon )"
)
# Two records of the forward format without a line end between them: a relay that speaks UDP or TCP without framing.
_GLUED = re.compile(r"(?=<\d{1,3}>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d \S+ )")
_FULL_TIME = re.compile(rb"(?:\d+ )?(?:<\d{1,3}>(?:1 )?)?\d{4}-\d\d-\d\dT")
_FORWARD = re.compile(rf"<\d{{1,3}}>{_ISO} ")

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each message; indented lines continue the message before them.

    A line that has no time and is not indented is damage: it may be the rest of a cut line, and adding it to another
    message would let it pass for a part of that.
    """
    yield from messages(_lines(path), syslog_time.Years(path))


def messages(
    lines: Iterable[tuple[int, int, bytes]], years: syslog_time.Years
) -> Iterator[RawRecord | Damage]:
    """Yield one record for each message of some lines, as `read` does.

    Args:
        lines: number, offset and bytes of each, line end included.
        years: gives the year to times that have none.
    """
    pending: _Pending | None = None
    for number, offset, line in lines:
        shown = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        if pending is not None and line.strip() and shown.startswith((" ", "\t")):
            pending.extend(shown, offset + len(line))
            continue
        if pending is not None:
            yield pending.record()
            pending = None
        pieces = _pieces(shown, offset, len(line)) if line.strip() else []
        for item in _items(pieces, number, years):
            if pending is not None:
                yield pending.record()
            pending = item if isinstance(item, _Pending) else None
            if isinstance(item, Damage):
                # The end of the line is no part of what is damaged.
                length = min(item.length, len(line.rstrip(b"\r\n")))
                yield Damage(item.offset, length, item.line, item.reason)
    if pending is not None:
        yield pending.record()


def _items(
    pieces: list[tuple[str, int, int]], number: int, years: syslog_time.Years
) -> Iterator[_Pending | Damage]:
    """Yield the messages of one line, and damage for what is none."""
    for piece, place, length in pieces:
        data = parse(piece, years)
        if data is None:
            is_long = length > LONGEST_LINE
            reason = TOO_LONG if is_long else NO_TIME
            yield Damage(place, length, number, reason)
        else:
            yield _Pending(data, place, length, number)


class _Pending:
    """A message to which indented lines may still be added."""

    def __init__(self, data: Data, offset: int, length: int, line: int) -> None:
        self.data = data
        self.offset = offset
        self.end = offset + length
        self.line = line

    def extend(self, text: str, end: int) -> None:
        """Add one continuation line."""
        extend(self.data, text)
        self.end = end

    def record(self) -> RawRecord:
        """Return the message as a record."""
        return RawRecord(self.data, self.offset, self.end - self.offset, self.line)


def extend(data: Data, text: str) -> None:
    """Add a continuation line to a message; sudo breaks at blanks, others at line ends."""
    glue = " " if data.get("Process") == "sudo" else "\n"
    message = str(data["Message"])
    if len(message) < LONGEST_MESSAGE:
        data["Message"] = message + glue + (text.strip() if glue == " " else text)


# Lines at the start of a file that say how all are written.
_JUDGED_LINES = 50


def bulk(head: bytes) -> str:
    """Name the module that reads a large file that begins like this; '' when lines depend on one another for their year."""
    # Most of the first lines decide: the very first one is often cut, where a log was rotated or torn.
    first = head.split(b"\n", _JUDGED_LINES)[:_JUDGED_LINES]
    full = sum(_FULL_TIME.match(line) is not None for line in first)
    return "syslog_fast" if full * 2 > sum(map(bool, first)) else ""


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    number = 0
    with path.open("rb") as handle:
        while line := handle.readline(LONGEST_LINE + 1):
            number += 1
            yield number, offset, line.removeprefix(UTF8_BOM) if number == 1 else line
            offset += len(line)
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                while (more := handle.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                    offset += len(more)
                offset += len(more)


def _pieces(text: str, offset: int, length: int) -> list[tuple[str, int, int]]:
    """Split messages that a relay sent without line ends between them; anything else stays one piece."""
    if not _FORWARD.match(text) or len(pieces := [p for p in _GLUED.split(text) if p]) == 1:
        return [(text, offset, length)]
    found = []
    for piece in pieces:
        size = len(piece.encode("utf-8", "surrogatepass"))
        found.append((piece, offset, size))
        offset += size
    return found


def parse(text: str, years: syslog_time.Years) -> Data | None:
    """Return the fields of one line: Time, Host, Process, ProcessId, Message and what else it says; None when it has no time.

    Args:
        text: the line without its end.
        years: gives the year to times that have none.
    """
    match = _NEW.match(text)
    if match:
        return _new_protocol(match)
    match = _OLD.match(text)
    if match is None:
        return None
    priority, time, colon, rest = match.groups()
    moment = syslog_time.read(time, years)
    if moment is None:
        return None
    data: Data = {"Time": moment.text, "TimeNote": moment.note}
    if moment.year:
        data["AssumedYear"] = moment.year
    if priority:
        data |= _priority(priority)
    if colon:
        return data | {"Message": rest}
    return data | origin(rest, is_spaced=time[4:5] == "-" and time[10:11] == " ")


def _new_protocol(match: re.Match[str]) -> Data:
    priority, time, host, program, process, message_id, structured, message = match.groups("")
    data: Data = {
        "Time": time.replace(",", "."),
        "Host": _given(host),
        "Process": _given(program),
        "Message": message.lstrip(" \ufeff"),
    }
    if process.isdigit():
        data["ProcessId"] = process
    if structured != "-":
        data["Structured"] = structured
    if message_id != "-":
        data["MessageKind"] = message_id
    return data | _priority(priority)


def _given(value: str) -> str:
    return "" if value == "-" else value


def _priority(number: str) -> Data:
    facility, severity = divmod(int(number), 8)
    return (
        {"Facility": FACILITIES[facility], "Severity": SEVERITIES[severity]}
        if facility < len(FACILITIES)
        else {}
    )


def origin(rest: str, *, is_spaced: bool) -> Data:
    """Tell host, program and message apart: logs of one program alone leave out host or program.

    Args:
        rest: what stands behind the time.
        is_spaced: the time is written with a blank, as Exim does.
    """
    exim = _EXIM.match(rest) if is_spaced else None
    if exim:
        return {
            "Process": "exim",
            "ProcessId": exim[1] or "",
            "Message": rest[exim.start() if not exim[1] else exim.end(1) + 2 :],
        }
    if rest.startswith(": "):
        return {"Process": "sudo", "Message": rest[2:]}
    if _DOVECOT.match(rest):
        return {"Process": "dovecot", "Message": rest}
    tag = _TAG.match(rest)
    return _tagged(tag, rest) if tag else _with_host(rest)


def _with_host(rest: str) -> Data:
    """Read a line whose first word is no program: a level, or the host."""
    first = rest.split(" ", 1)[0]
    if first in LEVELS:
        found = _TAG.match(rest, len(first) + 1)
        base: Data = {"Severity": LEVELS[first], "Message": rest[len(first) + 1 :]}
        return base | _tagged(found, rest) if found else base
    host = _HOST.match(rest)
    if host is None:
        return {"Message": rest}
    tag = _TAG.match(rest, host.end())
    if tag is None:
        return {"Host": host[1], "Message": rest[host.end() :]}
    return {"Host": host[1]} | _tagged(tag, rest)


def _tagged(tag: re.Match[str], rest: str) -> Data:
    return {"Process": tag[1], "ProcessId": tag[2] or "", "Message": rest[tag.end() :].lstrip(" ")}
