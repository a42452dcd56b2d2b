"""Large syslog files: lines with a full time, a host and a tag are turned into rows with one pattern, all others as usual."""

from __future__ import annotations

import re
from functools import cache
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.readers import syslog_lines, syslog_time

if TYPE_CHECKING:
    from mailwitness.readers.bulk import Sink

# 2026-11-21T01:31:15.838936+00:00 mx1 postfix/qmgr[14337]: text
_USUAL = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)) ([A-Za-z0-9_.-]{1,255}) ([A-Za-z0-9_./-]{1,100})(?:\[(\d{1,10})\])?: ?([^\n]*)(?:\n|\Z)(?![ \t])"
)
_ENTRY = re.compile(rb"[^\n]*(?:\n[ \t]+[^\s][^\n]*)*(?:\n|\Z)")
_LINES = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_PLAIN = re.compile(rb"[ !#-\[\]-~]*")


def identity(line: bytes) -> bytes:
    """Return nothing for a line that begins a message; indented lines belong to the one before."""
    return b"continued" if line[:1] in {b" ", b"\t"} else b""


def convert(chunk: bytes, base: int, line: int, sink: Sink) -> None:
    """Write one row for each message of a chunk that holds whole lines; see `bulk`."""
    place = 0
    size = len(chunk)
    match_usual, row, plain = _USUAL.match, sink.row, _PLAIN.fullmatch
    while place < size:
        match = match_usual(chunk, place)
        if match is None or match.end() - place > syslog_lines.LONGEST_LINE:
            end = _ENTRY.match(chunk, place).end()  # type: ignore[union-attr]
            slow(chunk[place:end], base + place, line, sink)
            line += chunk.count(b"\n", place, end)
        else:
            end = match.end()
            time, host, process, number, message = match.groups(b"")
            message = message.rstrip(b"\r").lstrip(b" ")
            shown = (
                b'"%s"' % message
                if plain(message)
                else encode_basestring_ascii(message.decode("utf-8", "backslashreplace")).encode("ascii")
            )
            row(
                b'{"Time":"%s","Host":"%s","Process":"%s","ProcessId":"%s","Message":%s}'
                % (time, host, process, number, shown),
                base + place,
                end - place,
                line,
            )
            line += 1
        place = end


@cache
def _years(path: Path) -> syslog_time.Years:
    return syslog_time.Years(path)


def slow(content: bytes, offset: int, line: int, sink: Sink) -> None:
    """Take one message, with the lines that continue it, in any other form."""
    if not content.strip():
        return
    first, _, rest = content.partition(b"\n")
    shown = first.decode("utf-8", "backslashreplace").rstrip("\r\n")
    data = (
        None
        if shown[:1] in {" ", "\t"} or len(content) > syslog_lines.LONGEST_LINE
        else syslog_lines.parse(shown, _years(sink.source))
    )
    if data is None:
        reason = (
            "the line is too long for a log"
            if len(content) > syslog_lines.LONGEST_LINE
            else "the line has no time: it is damaged or continues another"
        )
        for number, piece in enumerate([*_LINES.findall(content)] if b"\n" in content[:-1] else [content]):
            if piece.strip():
                sink.damage(offset, len(piece.rstrip(b"\r\n")), line + number, reason)
            offset += len(piece)
        return
    for continued in rest.decode("utf-8", "backslashreplace").split("\n"):
        if continued:
            syslog_lines.extend(data, continued.rstrip("\r"))
    sink.row(
        msgspec.json.encode({key: value for key, value in data.items() if value != ""}),
        offset,
        len(content),
        line,
    )
