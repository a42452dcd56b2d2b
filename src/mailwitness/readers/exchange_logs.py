"""Exchange's own comma separated logs of cmdlets (CmdletInfra) and of web services (EWS), by their ``#Fields`` line.

Cmdlets get the shape of a Windows cmdlet event, requests that of the mapping ``iis_w3c``: rules then need to know one of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.readers import fields_log
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.readers.exchange_events import parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FAILURES = ("ErrorType", "GenericErrors", "ExecutionResult")
_GOOD = frozenset({"", "success", "succeeded", "none", "-", "0"})


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield each line of the log in the shape of the table it belongs to."""
    for item in fields_log.read(path):
        if isinstance(item, Damage):
            yield item
            continue
        shape = _cmdlet(item.data) if "Cmdlet" in item.data else _request(item.data)
        yield RawRecord(shape, item.offset, item.length, item.line, item.salvaged)


def _cmdlet(line: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    failures = [line.get(name, "") for name in _FAILURES if line.get(name, "").lower() not in _GOOD]
    parameters = line.get("Parameters", "")
    return {
        "Time": line.get("StartTime") or line.get("DateTime"),
        "Provider": "CmdletInfra",
        "Channel": "CmdletInfra",
        "EventID": 6 if failures else 1,
        "Computer": line.get("ServerHostName", ""),
        "RecordId": line.get("CmdletUniqueId") or line.get("RequestId", ""),
        "UserName": line.get("AuthenticatedUser", ""),
        "Message": "",
        "Data": line,
        "Cmdlet": line["Cmdlet"],
        "CmdletText": parameters,
        "CmdletParameters": parameters_of(parameters),
        "CmdletSucceeded": not failures,
        "CmdletError": "; ".join(failures),
        "CmdletHost": line.get("ClientApplication", ""),
        "CmdletProcess": f"{line.get('ProcessId', '')} {line.get('ProcessName', '')}".strip(),
        "Caller": line.get("AuthenticatedUser", ""),
        "ClientIP": line.get("ClientIpAddress") or line.get("ClientIPAddress", ""),
    }


def _request(line: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    return {
        "date-time": line.get("DateTime"),
        "s-computername": line.get("ServerHostName", ""),
        "cs-method": "POST",
        "cs-uri-stem": "/EWS/Exchange.asmx",
        "cs-uri-query": f"SoapAction={line.get('SoapAction', '')};ImpersonatedUser={line.get('ImpersonatedUser', '')};",
        "cs-username": line.get("AuthenticatedUser", ""),
        "c-ip": line.get("ClientIpAddress") or line.get("ClientIPAddress", ""),
        "cs(User-Agent)": line.get("UserAgent", ""),
        "sc-status": line.get("HttpStatus", ""),
        "time-taken": line.get("TotalRequestTime", ""),
    }
