r"""Cmdlets as an Exchange server writes them down: one line of parameters, in the event log and in sentences about it.

An event of the channel ``MSExchange Management`` has no names, only places: cmdlet, parameters, caller, two SIDs, host application,
process, ... , error text at place 11. Event 1 says success, event 6 failure. Texts at later places follow the server's language::

    [
        "Search-Mailbox",
        '-Identity "eva" -DeleteContent "True" -Force "True"',
        "contoso.example/Users/mallory",
        "S-1-5-21-...",
        ...,
    ]

Exporters that render events leave a sentence (the misspelling is the product's)::

    Cmdlet suceeded. Cmdlet Search-Mailbox, parameters -Identity "eva" -DeleteContent "True".
"""

from __future__ import annotations

import re
from typing import Any

Record = dict[str, Any]  # Any: JSON values

_SUCCESS, _FAILURE = 1, 6
_CMDLET, _PARAMETERS, _CALLER, _CALLER_SID, _HOST, _PROCESS, _ERROR = 0, 1, 2, 3, 5, 6, 11
_NAME = re.compile(r"[A-Z][A-Za-z]{1,30}-[A-Za-z0-9]{2,60}")
_SENTENCE = re.compile(r"(?<![\w-])([A-Z][A-Za-z]{1,30}-[A-Z][A-Za-z0-9]{1,60})(?![\w-])(.*)", re.DOTALL)
_PARAMETER = re.compile(r"(?:(?<=^)|(?<=\s))-([A-Za-z][A-Za-z0-9]*)(?=\s|:|$)")
_BLANK_STYLE = re.compile(r'-[A-Za-z][A-Za-z0-9]* "')


def add_cmdlet(event: Record) -> None:
    """Add ``Cmdlet``, ``CmdletParameters``, ``Caller``, ``CmdletError``, ``CmdletSucceeded`` to an Exchange cmdlet event."""
    if event["EventID"] not in (_SUCCESS, _FAILURE) or not _is_cmdlet_log(event):
        return
    values = event.get("Params") or []
    if values and _NAME.fullmatch(str(values[0]).strip()):
        padded = [*values, *[""] * (_ERROR + 1 - len(values))]
        event["Cmdlet"] = padded[_CMDLET].strip()
        event["CmdletText"] = padded[_PARAMETERS]
        event["Caller"] = padded[_CALLER]
        event["CallerSid"] = padded[_CALLER_SID]
        event["CmdletHost"] = padded[_HOST]
        event["CmdletProcess"] = padded[_PROCESS]
        event["CmdletError"] = padded[_ERROR] if event["EventID"] == _FAILURE else ""
    else:
        found = _SENTENCE.search(event["Message"])
        if found is None:
            return
        event["Cmdlet"] = found[1]
        start = _PARAMETER.search(found[2])
        event["CmdletText"] = "" if start is None else found[2][start.start() :].rstrip().removesuffix(".")
        event["Caller"] = event.get("UserName", "")
    event["CmdletParameters"] = parameters_of(event["CmdletText"])
    event["CmdletSucceeded"] = event["EventID"] == _SUCCESS


def _is_cmdlet_log(event: Record) -> bool:
    channel, provider = str(event["Channel"]).lower(), str(event["Provider"]).lower()
    return channel == "msexchange management" or provider == "msexchange cmdletlogs"


def parameters_of(line: str) -> dict[str, str]:
    """Return the parameters of an Exchange cmdlet line as a bag.

    Values stand in quotes that nobody escapes, so a parameter begins only where the value before it can have ended: after a
    closing quote or bracket or a bare word. A name that comes twice keeps both values, joined: an attacker who forges one
    inside a rule name cannot hide the other.
    """
    found: dict[str, str] = {}
    # Where values follow after a blank, a name with a colon is part of a value.
    has_blanks = _BLANK_STYLE.search(line) is not None
    begun: re.Match[str] | None = None
    for match in [*_PARAMETER.finditer(line), None]:
        if begun is not None:
            raw = line[begun.end() : match.start() if match else len(line)]
            if match is not None and (
                not _can_end(raw) or (has_blanks and line[match.end() : match.end() + 1] == ":")
            ):
                continue
            value = _value(raw)
            name = begun[1]
            known = next((key for key in found if key.lower() == name.lower()), name)
            found[known] = f"{found[known]}; {value}" if known in found else value
        begun = match
    return found


def _can_end(raw: str) -> bool:
    value = raw.strip().lstrip(":").strip()
    if value in {"", '"'}:
        return value == ""
    if value[0] == '"':
        return len(value) > 1 and value[-1] == '"'
    if value[0] == "(":
        return value[-1] == ")"
    return True


def _value(raw: str) -> str:
    value = raw.strip().lstrip(":").strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    if len(value) > 1 and value[0] == "(" and value[-1] == ")":
        return (
            ", ".join(part.strip().strip('"') for part in value[1:-1].split('","'))
            if '","' in value
            else value[1:-1].strip('"')
        )
    return value
