"""Windows events that the database brings into the common shape of `windows_event` by itself.

An event is plain when its members have the usual types, its event data is a flat object with names, and it means the same without
other records. All others get no time here: they are prepared one by one by `windows_state`, which gives plain ones the same rows.
Handles are followed there too: a 4660 is never plain, and `HANDLES` tells what came before it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

# What every shape gives, beside `Time`, `Data` and `Script`.
_SAME = (
    "Provider",
    "EventID",
    "Level",
    "Task",
    "Keywords",
    "Channel",
    "Computer",
    "RecordId",
    "UserSid",
    "UserName",
    "Message",
    "IsWindowsEvent",
)
COLUMNS = ("Time", *_SAME, "Data", "Script")
# Columns that a run may need of some events only, or of none.
PARTLY = ("Level", "Task", "Keywords", "UserSid", "UserName", "Message", "Data")
# Whose event data say more than the columns of a run need: UTC of Sysmon, whole scripts, what a handle stood for.
ASKED = "contains(lower(Provider), 'sysmon') OR EventID IN (4104, 4656, 4658, 4660, 4663)"
# Events from which a later 4660 learns what its handle stood for: the values that `windows_state.Preparer.follow` takes.
HANDLES = (
    "SELECT {number}, EventID, Computer, Data->>'$.ProcessId', Data->>'$.HandleId', Data->>'$.ObjectName', Data->>'$.ObjectType' "
    "FROM {table} WHERE EventID IN (4656, 4658, 4663) AND Time IS NOT NULL"
)
# A clock that is further off is told of in a note; seconds.
_SAME_CLOCK = 440


class Shape(msgspec.Struct, frozen=True):
    """The usual form of one source's records.

    Attributes:
        raw: members of a record -> DuckDB type.
        columns: column of the common shape -> SQL over the members; those that are missing are empty.
        usual: SQL that is true for a record of this form, whatever the event says.
        flat: SQL that is true for event data that are read as they stand.
    """

    raw: dict[str, str]
    columns: dict[str, str]
    usual: str
    flat: str


def _attribute(name: str) -> str:
    return f'STRUCT("#attributes" STRUCT("{name}" VARCHAR))'


def _number(sql: str) -> str:
    return f"try_cast({sql} AS INTEGER)"


def _is_number(sql: str) -> str:
    """Return SQL that is true for a text that Python reads as the same whole number, and for none."""
    return f"({sql} IS NULL OR coalesce({_number(sql)}::VARCHAR = {sql}, false))"


def _is_something(*texts: str) -> str:
    return " AND ".join(f"coalesce({sql}, '') NOT IN ('0', 'false')" for sql in texts)


def _is_flat(sql: str) -> str:
    """Return SQL that is true for an object without objects in it and without values that have no name."""
    return f"""(left({sql}, 1) = '{{' AND NOT contains({sql}, ':{{') AND NOT contains({sql}, '"Data":'))"""


_SYSTEM = (
    f'STRUCT(Provider {_attribute("Name")}, EventID JSON, "Level" VARCHAR, Task VARCHAR, Keywords VARCHAR, '
    f"TimeCreated {_attribute('SystemTime')}, EventRecordID VARCHAR, Channel VARCHAR, Computer VARCHAR, Security {_attribute('UserID')})"
)
_OTHERS = ("UserData", "ProcessingErrorData", "DebugData", "BinaryEventData")
# Older providers write an event's number with qualifiers.
_ID = """(CASE WHEN left(Event.System.EventID, 1) = '{' THEN Event.System.EventID ->> '$."#text"' ELSE Event.System.EventID ->> '$' END)"""
_LEVEL = 'Event.System."Level"'
_TREE = Shape(
    raw={
        "Event": f"STRUCT(System {_SYSTEM}, EventData JSON, {', '.join(f'{name} JSON' for name in _OTHERS)}, RenderingInfo JSON)"
    },
    columns={
        "Time": 'Event.System.TimeCreated."#attributes".SystemTime',
        "Provider": 'Event.System.Provider."#attributes"."Name"',
        "EventID": _number(_ID),
        "Level": _number(_LEVEL),
        "Task": _number("Event.System.Task"),
        "Keywords": "Event.System.Keywords",
        "Channel": "Event.System.Channel",
        "Computer": "Event.System.Computer",
        "RecordId": "Event.System.EventRecordID",
        "UserSid": 'Event.System.Security."#attributes".UserID',
        "Data": "Event.EventData",
    },
    usual=f"{_ID} = {_number(_ID)}::VARCHAR AND {_is_number(_LEVEL)} AND {_is_number('Event.System.Task')} AND Event.RenderingInfo IS NULL",
    flat=f"CASE WHEN Event.EventData IS NULL THEN coalesce({', '.join(f'Event.{name}' for name in _OTHERS)}) IS NULL "
    f"ELSE {_is_flat('Event.EventData')} END",
)
_WORD = """lower(coalesce(nullif(log."level", ''), nullif(winlog."level", ''), "level", ''))"""
_DOMAIN, _NAME = 'winlog."user"."domain"', 'winlog."user"."name"'
_WINLOG = Shape(
    raw={
        "@timestamp": "VARCHAR",
        "message": "VARCHAR",
        "level": "VARCHAR",
        "log": 'STRUCT("level" VARCHAR)',
        "winlog": "STRUCT(channel VARCHAR, provider_name VARCHAR, event_id VARCHAR, record_id VARCHAR, computer_name VARCHAR, time_created VARCHAR, "
        'keywords VARCHAR[], "level" VARCHAR, "user" STRUCT(identifier VARCHAR, "domain" VARCHAR, "name" VARCHAR), event_data JSON, user_data JSON)',
    },
    columns={
        "Time": """coalesce(nullif(winlog.time_created, ''), "@timestamp")""",
        "Provider": "winlog.provider_name",
        "EventID": _number("winlog.event_id"),
        "Level": f"CASE {_WORD} WHEN 'critical' THEN 1 WHEN 'error' THEN 2 WHEN 'warning' THEN 3 "
        "WHEN 'information' THEN 4 WHEN 'info' THEN 4 WHEN 'verbose' THEN 5 END",
        "Keywords": "array_to_string(winlog.keywords, ' ')",
        "Channel": "winlog.channel",
        "Computer": "winlog.computer_name",
        "RecordId": "winlog.record_id",
        "UserSid": 'winlog."user".identifier',
        "UserName": f"CASE WHEN {_DOMAIN} <> '' AND {_NAME} <> '' THEN concat({_DOMAIN}, '\\', {_NAME}) ELSE {_NAME} END",
        "Message": "message",
        "Data": "winlog.event_data",
    },
    # Words for levels in other languages are read one by one.
    usual=f"winlog.event_id = {_number('winlog.event_id')}::VARCHAR AND winlog.computer_name <> '' "
    # What Python takes for nothing although it has a text.
    f"AND {_is_something('winlog.computer_name', 'winlog.time_created', _DOMAIN, _NAME)} "
    f"AND {_WORD} IN ('', 'critical', 'error', 'warning', 'information', 'info', 'verbose')",
    # Event data without names (param1, param2, ...) are read one by one.
    flat="CASE WHEN winlog.event_data IS NULL THEN winlog.user_data IS NULL "
    """ELSE left(winlog.event_data, 1) = '{' AND winlog.event_data <> '{}' AND NOT contains(winlog.event_data, '"param') END""",
)
_TEXTS = (
    "TimeGenerated",
    "Provider",
    "Channel",
    "Computer",
    "Task",
    "EventLevel",
    "EventID",
    "EventRecordId",
    "Keywords",
    "SystemUserId",
    "UserID",
    "Message",
    "RenderedDescription",
    "EventLog",
)
_TABLE = Shape(
    raw={**dict.fromkeys(_TEXTS, "VARCHAR"), "EventData": "JSON"},
    columns={
        "Time": "TimeGenerated",
        "Provider": "Provider",
        "EventID": _number("EventID"),
        "Level": _number("EventLevel"),
        "Task": _number("Task"),
        "Keywords": "Keywords",
        "Channel": "Channel",
        "Computer": "Computer",
        "RecordId": "EventRecordId",
        "UserSid": "coalesce(nullif(SystemUserId, ''), UserID)",
        "Message": "coalesce(nullif(Message, ''), RenderedDescription)",
        "IsWindowsEvent": "true",
        "Data": "EventData",
    },
    # A row of the table Event is another form.
    usual=f"EventLog IS NULL AND EventID = {_number('EventID')}::VARCHAR AND EventLevel = {_number('EventLevel')}::VARCHAR AND {_is_number('Task')} "
    "AND Computer <> '' AND EventRecordId <> '' AND Provider <> ''",
    # Names with marks are attributes.
    flat=f"""{_is_flat("EventData")} AND NOT contains(EventData, '"@') """
    """AND NOT contains(EventData, '"#') AND NOT contains(EventData, '_attributes":')""",
)
# By the id of the source.
SHAPES = {
    "windows_event_tree": _TREE,
    "windows_evtx": _TREE,
    "windows_winlogbeat": _WINLOG,
    "windows_sentinel_event": _TABLE,
}
_KINDS = {
    "EventID": "INTEGER",
    "Level": "INTEGER",
    "Task": "INTEGER",
    "IsWindowsEvent": "BOOLEAN",
    "Data": "JSON",
}


# Texts that are objects or lists in truth come as JSON.
_NESTING = " AND ".join(
    f"coalesce(left({name}, 1), '') NOT IN ('{{', '[')"
    for name in (
        "Time",
        "Provider",
        "Channel",
        "Computer",
        "RecordId",
        "Keywords",
        "UserSid",
        "UserName",
        "Message",
    )
)
_SYSMON_TIME = r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3}){0,2}'"
_ISO_TIME = r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?'"
_PLAIN = (
    "coalesce(usual AND Time <> '' AND Provider IS NOT NULL AND Channel IS NOT NULL AND Computer IS NOT NULL AND RecordId IS NOT NULL "
    rf"AND {_NESTING} AND NOT coalesce(contains(Data, '\u0000'), false) "
    # Deletions have the handle of an earlier event, long scripts several parts, Exchange cmdlets positions instead of names.
    "AND EventID <> 4660 AND (parts IS NULL OR parts = '1') "
    "AND NOT (EventID IN (1, 6) AND (lower(Channel) = 'msexchange management' OR lower(Provider) = 'msexchange cmdletlogs')) "
    f"AND (utc IS NULL OR (regexp_full_match(utc, {_SYSMON_TIME}) AND regexp_full_match(Time, {_ISO_TIME}) "
    f"AND abs(epoch(try_cast(utc AS TIMESTAMP)) - epoch(try_cast(Time AS TIMESTAMP))) <= {_SAME_CLOCK})), false)"
)


def given(
    shape: Shape, reading: str, carried: tuple[str, ...] = (), asked: Mapping[str, str] | None = None
) -> str:
    """Return the SELECT of what the records give: one row for each, in their order.

    Args:
        shape: form of the records.
        reading: SQL of the records with the members of ``shape.raw``, and those that are carried.
        carried: further columns to hand on.
        asked: column of `PARTLY` -> SQL over the others, true for the events of which anything is made of it, empty for none; None
            for all of all. Event data that nothing is made of are not judged either.
    """
    columns = {name: _value(shape, name) for name in ("Time", *_SAME, "Data")}
    flat = shape.flat
    if asked is not None:
        data = _over_members(shape, " OR ".join(filter(None, [asked["Data"], ASKED])))
        flat = f"CASE WHEN {data} THEN {flat} ELSE true END"
        held = {name: _over_members(shape, asked[name]) for name in PARTLY} | {"Data": data}
        columns |= {
            name: f"CASE WHEN {sql} THEN {columns[name]} END"
            if sql
            else f"NULL::{_KINDS.get(name, 'VARCHAR')}"
            for name, sql in held.items()
        }
    shown = [f"{sql} AS {name}" for name, sql in (columns | _looked_for(shape)).items()]
    return f"SELECT {', '.join([*shown, *carried])}, ({shape.usual}) AND {flat} AS usual FROM ({reading})"


def _looked_for(shape: Shape) -> dict[str, str]:
    """Return SQL of what only some events say: it is looked for in those alone, and once."""
    data, number = shape.columns["Data"], _value(shape, "EventID")
    return {
        "utc": f"CASE WHEN contains(lower({_value(shape, 'Provider')}), 'sysmon') THEN {data}->>'$.UtcTime' END",
        "parts": f"CASE WHEN {number} = 4104 THEN coalesce({data}->>'$.MessageTotal', '') END",
        "Script": f"CASE WHEN {number} = 4104 THEN coalesce({data}->>'$.ScriptBlockText', '') END",
    }


def _value(shape: Shape, name: str) -> str:
    return shape.columns.get(name) or f"NULL::{_KINDS.get(name, 'VARCHAR')}"


def _over_members(shape: Shape, sql: str) -> str:
    """Write SQL over columns of the common shape as SQL over the members of a record."""
    return re.sub(
        r"'[^']*'|\b[A-Z]\w+\b",
        lambda match: f"({_value(shape, match[0])})" if match[0] in _SAME else match[0],
        sql,
    )


def relation(table: str, carried: tuple[str, ...] = ()) -> str:
    """Return the SELECT of the common shape, in the same order, without a time where a record is not plain.

    Args:
        table: holds what `given` gives; in one statement with it this would cost half as much again.
        carried: further columns to hand on.
    """
    shown = ", ".join([*_SAME, "coalesce(Data, '{}') AS Data", "Script", *carried])
    return f"SELECT CASE WHEN {_PLAIN} THEN coalesce(utc, Time) END AS Time, {shown} FROM {table}"
