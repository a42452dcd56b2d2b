r"""PowerShell transcripts, whatever language their headers are in.

The words of a header follow the host's language, the shape of its values does not, and so the values are found by their shape::

    **********************
    Windows PowerShell transcript start
    Start time: 20220721023749
    Username: CONTOSO\eva
    Machine: WS07 (Microsoft Windows NT 10.0.17763.0)
    Host Application: C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe
    **********************
    PS C:\Users\eva> Get-Mailbox eva

A command begins at a prompt (``PS path>``) and goes on over ``>>`` lines. Times have no zone: they are the host's local time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.readers.blocks import MAX_RECORD_BYTES, UTF8_BOM, Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RULE = re.compile(r"^\*{10,}\s*$")
_PROMPT = re.compile(r"^(?:\[[^\]\r\n]{1,255}\]: )?PS(?: [^>\r\n]{0,400})?> ?(.*)$")
_MORE = re.compile(r"^>> ?(.*)$")
_TIME = re.compile(r":\s*(\d{14})\s*$")
_MACHINE = re.compile(r":\s*(\S+) \(Microsoft Windows NT ([\d.]+)\)")
_ACCOUNT = re.compile(r":\s*([^\s\\:]+\\[^\\:]+?)\s*$")
_PROGRAM = re.compile(r":\s*(\S.*\.exe.*?)\s*$", re.IGNORECASE)


class _Session(msgspec.Struct):
    """What the headers of one session tell."""

    time: str = ""
    computer: str = ""
    account: str = ""
    program: str = ""


class _Open(msgspec.Struct):
    """A command whose further lines may still come."""

    offset: int
    line: int
    end: int
    text: list[str]


def read(path: Path) -> Iterator[RawRecord | Damage]:  # noqa: C901, PLR0915 - one line for each case
    """Yield each command with the session's account and host, and each header as a record without script.

    The output of commands belongs to the record of the command before it.
    """
    session = _Session()
    open_command: _Open | None = None
    header: _Open | None = None
    for offset, number, raw in _lines(path):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if _RULE.match(line):
            if open_command is not None:
                yield _command(open_command, session)
                open_command = None
            if header is None:
                header = _Open(offset, number, offset + len(raw), [])
            else:
                header.end = offset + len(raw)
                yield _header(header, session)
                header = None
            continue
        if header is not None:
            header.text.append(line)
            continue
        prompt = _PROMPT.match(line)
        # The host writes errors behind a prompt as well; they are output.
        if prompt is not None and not prompt[1].startswith("TerminatingError("):
            if open_command is not None:
                yield _command(open_command, session)
            open_command = _Open(offset, number, offset + len(raw), [prompt[1]])
        elif open_command is not None:
            more = _MORE.match(line)
            if (
                more is not None
                and not more[1].startswith("TerminatingError(")
                and len(open_command.text) < 10_000  # noqa: PLR2004 - named by the comment or the function around it
            ):
                open_command.text.append(more[1])
            open_command.end = offset + len(raw)
    if open_command is not None:
        yield _command(open_command, session)
    if header is not None:
        yield _header(header, session)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    offset, number = 0, 0
    with path.open("rb") as stream:
        while line := stream.readline(MAX_RECORD_BYTES):
            number += 1
            start, offset = offset, offset + len(line)
            if number == 1 and line.startswith(UTF8_BOM):
                line, start = line[3:], 3
            yield start, number, line


def _header(header: _Open, session: _Session) -> RawRecord:
    """Read the values of a header block by their shape and return the block as a record."""
    for line in header.text:
        time = _TIME.search(line)
        if time is not None:
            digits = time[1]
            session.time = (
                f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}:{digits[12:14]}"
            )
            continue
        machine = _MACHINE.search(line)
        if machine is not None:
            session.computer = machine[1]
        elif (program := _PROGRAM.search(line)) is not None:
            session.program = program[1]
        elif (account := _ACCOUNT.search(line)) is not None:
            session.account = account[1]
    return RawRecord(
        _event(session, "", "\n".join(header.text)), header.offset, header.end - header.offset, header.line
    )


def _command(command: _Open, session: _Session) -> RawRecord:
    return RawRecord(
        _event(session, "\n".join(command.text), ""),
        command.offset,
        command.end - command.offset,
        command.line,
    )


def _event(session: _Session, script: str, message: str) -> dict[str, Any]:  # Any: JSON values
    return {
        "Time": session.time or "unknown",
        "TimeNote": "local time of the host, taken as UTC",
        "Provider": "PowerShell transcript",
        "Channel": "PowerShell transcript",
        "EventID": 0,
        "Computer": session.computer,
        "RecordId": "",
        "UserName": session.account,
        "Message": message,
        "Data": {"HostApplication": session.program, "Command": script},
        "Script": script,
    }
