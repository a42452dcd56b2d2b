"""Windows events in one shape, whichever program exported them.

The shape, as JSON members: ``Time`` (text, UTC unless ``TimeNote`` says otherwise), ``Provider``, ``EventID``, ``Level``,
``Task``, ``Keywords``, ``Channel``, ``Computer``, ``RecordId``, ``UserSid``, ``UserName``, ``Message``, ``Data`` (named event
data), ``Params`` (event data without names, in order). `windows_state.Preparer` adds what needs more than one record.
"""

from __future__ import annotations

import re
from typing import Any

Record = dict[str, Any]  # Any: JSON values

# xmltodict and .NET write attributes with these marks, the Rust library with "#attributes".
_DOTNET_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/")
# Members of a flat NXLog record that speak of the record, not of the event.
_NXLOG_ENVELOPE = frozenset(
    [
        "@version",
        "@timestamp",
        "EventType",
        "AccountType",
        "ThreadID",
        "Channel",
        "OpcodeValue",
        "Hostname",
        "host",
        "port",
        "tags",
        "Severity",
        "SeverityValue",
        "SourceModuleType",
        "SourceModuleName",
        "Version",
        "EventTime",
        "Task",
        "SourceName",
        "Message",
        "EventReceivedTime",
        "AccountName",
        "Domain",
        "UserID",
        "ExecutionProcessID",
        "EventID",
        "ProviderGuid",
        "RecordNumber",
        "Keywords",
        "Opcode",
        "Category",
        "ActivityID",
        "RelatedActivityID",
    ]
)
_SECTIONS = ("EventData", "UserData", "ProcessingErrorData", "DebugData", "BinaryEventData")


def canonical(record: Record) -> Record | None:
    """Return a record in the common shape; None when it is no Windows event."""
    for form in (_from_tree, _from_winlogbeat, _from_get_winevent, _from_sentinel, _from_flat):
        event = form(record)
        if event is not None:
            return event
    return None


# -- the tree of the event's own XML: evtx, evtx_dump, chainsaw, xmltodict -------------------------------------------


def _from_tree(record: Record) -> Record | None:
    event = record.get("Event")
    system = event.get("System") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(system, dict):
        return None
    canonical_event = _of_evtx(system) or _of_any_tree(system)
    canonical_event["Message"] = _rendered(event) if "RenderingInfo" in event else ""
    _add_data(canonical_event, event)
    return canonical_event


def _of_evtx(system: Record) -> Record | None:
    """Read the tree as the package ``evtx`` writes it, the most frequent form, without looking for others; None when it differs."""
    try:
        number, security = system["EventID"], system.get("Security")
        return {
            "Time": system["TimeCreated"]["#attributes"]["SystemTime"],
            "Provider": system["Provider"]["#attributes"]["Name"],
            "EventID": number if type(number) is int else _number(_plain(number)),
            "Level": _number(system.get("Level")),
            "Task": _number(system.get("Task")),
            "Keywords": text(system.get("Keywords")),
            "Channel": system["Channel"] + "",
            "Computer": system["Computer"] + "",
            "RecordId": str(system["EventRecordID"]),
            "UserSid": security["#attributes"]["UserID"] if security else "",
        }
    except (KeyError, TypeError):
        return None


def _of_any_tree(system: Record) -> Record:
    provider = _attributes(system, "Provider")
    security = _attributes(system, "Security")
    return {
        "Time": text(_attributes(system, "TimeCreated").get("SystemTime")),
        "Provider": text(provider.get("Name") or provider.get("EventSourceName")),
        "EventID": _number(_plain(system.get("EventID"))),
        "Level": _number(_plain(system.get("Level"))),
        "Task": _number(_plain(system.get("Task"))),
        "Keywords": text(_plain(system.get("Keywords"))),
        "Channel": text(_plain(system.get("Channel"))),
        "Computer": text(_plain(system.get("Computer"))),
        "RecordId": text(_plain(system.get("EventRecordID"))),
        "UserSid": text(security.get("UserID")),
    }


def _add_data(target: Record, event: Record) -> None:
    for name in _SECTIONS:
        section = event.get(name)
        if isinstance(section, dict):
            if (
                name == "EventData"
                and "Data" not in section
                and not any(type(value) is dict for value in section.values())
            ):
                target["Data"] = section
                return
            # UserData holds one element of the provider's own name.
            inner = [
                value for key, value in section.items() if key[:1] not in "@#" and isinstance(value, dict)
            ]
            if name == "UserData" and len(inner) == 1 and "Data" not in section:
                section = inner[0]
            named, listed = _named_and_listed(section)
            target["Data"] = named
            if listed:
                target["Params"] = listed
            return
        if isinstance(section, (str, list)) and section:
            target["Params"] = [
                text(value) for value in (section if isinstance(section, list) else [section])
            ]
            target["Data"] = {}
            return
    target["Data"] = {}


def _named_and_listed(section: Record) -> tuple[Record, list[str]]:
    data = section.get("Data")
    if isinstance(data, (dict, list, str)):
        named, listed = _data_elements(data)
    else:
        named, listed = ({} if data is None else {"Data": text(data)}), []
    for key, value in section.items():
        if key == "Data" or key[:1] in "@#" or key.endswith("_attributes"):
            continue
        named[key] = _plain(value)
    return named, listed


def _data_elements(data: object) -> tuple[Record, list[str]]:
    if isinstance(data, dict) and isinstance(data.get("#text"), list):
        return {}, [text(value) for value in data["#text"]]
    elements = data if isinstance(data, list) else [data]
    named: Record = {}
    listed: list[str] = []
    for element in elements:
        name = _attributes({"Data": element}, "Data").get("Name") if isinstance(element, dict) else None
        value = text(_plain(element))
        if name:
            named[text(name)] = value
        else:
            listed.append(value)
    return named, listed


def _attributes(parent: Record, name: str) -> Record:
    """Return the attributes of an element, however the export writes them."""
    apart = parent.get(f"{name}_attributes")
    if isinstance(apart, dict):
        return apart
    element = parent.get(name)
    if not isinstance(element, dict):
        return (
            {"Name": element}
            if name == "Provider" and element
            else {"SystemTime": element}
            if element
            else {}
        )
    inside = element.get("#attributes")
    if isinstance(inside, dict):
        return inside
    return {key.lstrip("@_"): value for key, value in element.items() if not isinstance(value, (dict, list))}


def _rendered(event: Record) -> str:
    info = event.get("RenderingInfo")
    return text(_plain(info.get("Message"))) if isinstance(info, dict) else ""


# -- Winlogbeat ------------------------------------------------------------------------------------------------------


def _from_winlogbeat(record: Record) -> Record | None:
    source = record.get("_source")
    if isinstance(source, dict):
        return _from_winlogbeat(source) or _from_flat(source)
    log = record.get("winlog")
    if isinstance(log, dict):
        return _from_winlog(record, log)
    if any(key.startswith("winlog.") for key in record):
        return _from_winlogbeat(_nested(record))
    if "log_name" in record and "event_id" in record:
        # Winlogbeat before version 7 had no "winlog" object.
        renamed = {
            "channel": record.get("log_name"),
            "provider_name": record.get("source_name"),
            "record_id": record.get("record_number"),
        }
        return _from_winlog(record, record | renamed)
    return None


def _from_winlog(record: Record, log: Record) -> Record:
    user = log["user"] if isinstance(log.get("user"), dict) else {}
    process = log["process"] if isinstance(log.get("process"), dict) else {}
    code = log.get("event_id")
    if code is None and isinstance(record.get("event"), dict):
        code = record["event"].get("code")
    named, listed = _without_params(log.get("event_data") or log.get("user_data"))
    event: Record = {
        "Time": text(log.get("time_created") or record.get("@timestamp")),
        "Provider": text(log.get("provider_name")),
        "EventID": _number(code),
        "Level": _LEVELS.get(
            text(_at(record, "log", "level") or log.get("level") or record.get("level")).lower()
        ),
        "Channel": text(log.get("channel")),
        "Computer": text(log.get("computer_name") or _at(record, "host", "name")),
        "RecordId": text(log.get("record_id")),
        "Keywords": " ".join(text(word) for word in log["keywords"])
        if isinstance(log.get("keywords"), list)
        else "",
        "UserSid": text(user.get("identifier")),
        "UserName": account(user.get("domain"), user.get("name")),
        "ProcessId": text(process.get("pid")),
        "Message": text(record.get("message")),
        "Data": named,
    }
    if listed:
        event["Params"] = listed
    return event


def _without_params(data: object) -> tuple[Record, list[str]]:
    """Split event data into named values and those that Winlogbeat calls param1, param2, ..."""
    if not isinstance(data, dict):
        return {}, []
    places = {
        int(key[5:]): text(value)
        for key, value in data.items()
        if key.startswith("param") and key[5:].isdecimal() and len(key) < 9  # noqa: PLR2004 - named by the comment or the function around it
    }
    named = {
        key: value for key, value in data.items() if not (key.startswith("param") and key[5:].isdecimal())
    }
    return named, [places.get(place, "") for place in range(1, max(places, default=0) + 1)]


def _nested(record: Record) -> Record:
    found: Record = {}
    for key, value in record.items():
        *outer, last = key.split(".")
        place = found
        for name in outer:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            place[last] = value
    return found


# -- Get-WinEvent | ConvertTo-Json and Sentinel's WindowsEvent and Event ------------------------------------------------


def _from_get_winevent(record: Record) -> Record | None:
    if "LogName" not in record or "ProviderName" not in record:
        return None
    properties = record.get("Properties")
    values = (
        [text(_plain(item.get("Value")) if isinstance(item, dict) else item) for item in properties]
        if isinstance(properties, list)
        else []
    )
    sid = record.get("UserId")
    return {
        "Time": _dotnet_time(record.get("TimeCreated")),
        "Provider": text(record.get("ProviderName")),
        "EventID": _number(record.get("Id")),
        "Level": _number(record.get("Level")),
        "Channel": text(record.get("LogName")),
        "Computer": text(record.get("MachineName")),
        "RecordId": text(record.get("RecordId")),
        "UserSid": text(sid.get("Value") if isinstance(sid, dict) else sid),
        "Message": text(record.get("Message")),
        "Data": {},
        "Params": values,
    }


def _dotnet_time(value: object) -> str:
    found = _DOTNET_DATE.search(text(_at({"t": value}, "t", "DateTime") or value))
    if found is None:
        return text(_at({"t": value}, "t", "DateTime") or value)
    import datetime as dt  # noqa: PLC0415 - only for this form

    try:
        return (dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=int(found[1]))).isoformat()  # noqa: DTZ001 - UTC by definition
    except OverflowError:
        return ""


def _from_sentinel(record: Record) -> Record | None:
    if "EventLog" in record and ("RenderedDescription" in record or "ParameterXml" in record):
        named, listed = from_xml(text(record.get("EventData")), text(record.get("ParameterXml")))
        return {
            "Time": _first(record, "TimeGenerated", "TimeGenerated [UTC]"),
            "Provider": text(record.get("Source")),
            "EventID": _number(record.get("EventID")),
            "Level": _number(record.get("EventLevel")),
            "Channel": text(record.get("EventLog")),
            "Computer": text(record.get("Computer")),
            "UserName": text(record.get("UserName")),
            "Message": text(record.get("RenderedDescription") or record.get("Message")),
            "Data": named,
            "Params": listed,
        }
    if not {"EventID", "Channel", "EventData"} <= record.keys():
        return None
    data = record["EventData"]
    if isinstance(data, str) and data.lstrip()[:1] == "<":
        named, listed = from_xml(data, "")
    else:
        named, listed = _named_and_listed(data) if isinstance(data, dict) else _data_elements(data or [])
    return {
        "Time": _first(
            record,
            "TimeGenerated",
            "TimeGenerated [UTC]",
            "TimeCreated",
            "SystemTime",
            "@timestamp",
            "UtcTime",
        ),
        "Provider": _first(record, "Provider", "ProviderName", "EventSourceName", "SourceName"),
        "EventID": _number(record.get("EventID")),
        "Level": _number(record.get("EventLevel") if "EventLevel" in record else record.get("Level")),
        "Task": _number(record.get("Task")),
        "Keywords": text(record.get("Keywords")),
        "Channel": text(record.get("Channel")),
        "Computer": _first(record, "Computer", "Hostname"),
        "RecordId": _first(record, "EventRecordId", "EventRecordID", "RecordNumber"),
        "UserSid": _first(record, "SystemUserId", "UserID"),
        "Message": _first(record, "Message", "RenderedDescription"),
        "Data": named,
        "Params": listed,
        "IsWindowsEvent": "TimeGenerated" in record or "TimeGenerated [UTC]" in record,
    }


_XML_DATA = re.compile(r'<Data(?:\s+Name=(?:"([^"]*)"|\'([^\']*)\'))?\s*(?:/>|>([^<]*)</Data>)')
_XML_PARAM = re.compile(r"<Param\s*(?:/>|>([^<]*)</Param>)", re.IGNORECASE)
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_ENTITY = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));")


def from_xml(event_data: str, parameters: str) -> tuple[Record, list[str]]:
    """Return named and unnamed values of Sentinel's ``EventData`` and ``ParameterXml`` texts."""
    named: Record = {}
    listed: list[str] = []
    for first, second, value in _XML_DATA.findall(event_data):
        if first or second:
            named[_unescape(first or second)] = _unescape(value)
        else:
            listed.append(_unescape(value))
    listed = [_unescape(value) for value in _XML_PARAM.findall(parameters)] or listed
    return named, listed


def _unescape(value: str) -> str:
    return _ENTITY.sub(_entity, value) if "&" in value else value


def _entity(match: re.Match[str]) -> str:
    if match[1]:
        return _ENTITIES[match[1]]
    code = int(match[2]) if match[2] else int(match[3], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]  # noqa: PLR2004 - named by the comment or the function around it


# -- NXLog and other flat forms ------------------------------------------------------------------------------------------


def _from_flat(record: Record) -> Record | None:
    if "EventID" not in record or not ("Channel" in record or "SourceName" in record):
        return None
    data = {key: value for key, value in record.items() if key not in _NXLOG_ENVELOPE}
    inner = data.pop("EventData", None)
    if isinstance(inner, dict):
        data |= inner
    return {
        "Time": _first(record, "EventTime", "TimeCreated", "TimeGenerated", "@timestamp"),
        "ReceivedTime": text(record.get("@timestamp")),
        "IsLocalTime": True,
        "Provider": _first(record, "SourceName", "ProviderName", "Provider"),
        "EventID": _number(record.get("EventID")),
        "Level": _LEVELS.get(text(record.get("Severity")).lower()),
        "Task": _number(record.get("Task")),
        "Keywords": text(record.get("Keywords")),
        "Channel": text(record.get("Channel")),
        "Computer": _first(record, "Hostname", "Computer", "host"),
        "RecordId": _first(record, "RecordNumber", "EventRecordID"),
        "UserSid": text(record.get("UserID")),
        "UserName": account(record.get("Domain"), record.get("AccountName")),
        "ProcessId": text(record.get("ExecutionProcessID")),
        "Message": text(record.get("Message")),
        "Data": data,
    }


# -- small things ----------------------------------------------------------------------------------------------------------

_LEVELS = {
    "critical": 1, "error": 2, "warning": 3, "information": 4, "info": 4, "verbose": 5,
    "fehler": 2, "warnung": 3, "informationen": 4, "erreur": 2, "avertissement": 3,
}  # fmt: skip


def account(domain: object, name: object) -> str:
    r"""Return ``DOMAIN\\name``, or the name alone."""
    return f"{domain}\\{name}" if domain and name else text(name)


def text(value: object) -> str:
    """Return a JSON value as text; nothing as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _plain(value: object) -> object:
    """Return an element's text when it is an object only because of its attributes."""
    if isinstance(value, dict):
        for key in ("#text", "Value", "$t"):
            if key in value:
                return value[key]
        return "" if "#attributes" in value and len(value) == 1 else value
    return value


def _number(value: object) -> int | None:
    if type(value) is int:
        return value
    try:
        return int(text(value), 0)
    except ValueError:
        return None


def _first(record: Record, *names: str) -> str:
    return next((text(record[name]) for name in names if record.get(name) not in (None, "")), "")


def _at(record: Record, *names: str) -> object:
    value: object = record
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
