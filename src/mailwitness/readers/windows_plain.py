"""Windows events that the database brings into the common shape of `windows_event` by itself.

An event is plain when its members have the usual types, its event data is a flat object with names, and it means the same without
other records. All others get no time here: they are prepared one by one by `windows_state`, which gives plain ones the same rows.
Handles are followed there too: a 4660 is never plain, and `HANDLES` tells what came before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
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
# What the events have that a later 4660 learns from, what its handle stood for: column -> member of the event data.
_OF_HANDLES = {
    "HandleProcess": "ProcessId",
    "HandleId": "HandleId",
    "HandleName": "ObjectName",
    "HandleType": "ObjectType",
}
_ON_HANDLES = "EventID IN (4656, 4658, 4663)"
# The values that `windows_state.Preparer.follow` takes.
HANDLES = f"SELECT {{number}}, EventID, Computer, {', '.join(_OF_HANDLES)} FROM {{table}} WHERE {_ON_HANDLES} AND Time IS NOT NULL"
_IS_SYSMON = "contains(lower(Provider), 'sysmon')"
# A clock that is further off is told of in a note; seconds.
_SAME_CLOCK = 440
_MEMBER = re.compile(r'\bData\."?(\w+)')


class Asked(msgspec.Struct, frozen=True):
    """What a run makes of events; SQL over the columns of the common shape.

    Attributes:
        probed: true for events into whose data the conditions below look.
        told: name -> condition, which may look into members of ``Data``; each is a column beside those of the shape.
        kept: the same, over the names above too.
        partly: column of `PARTLY` -> condition over all these names, true for the events of which it is handed on; empty for none.
    """

    probed: str
    told: dict[str, str]
    kept: dict[str, str]
    partly: dict[str, str]


EVERYTHING = Asked("false", {}, {}, dict.fromkeys(PARTLY, "true"))


class Shape(msgspec.Struct, frozen=True):
    """The usual form of one source's records.

    Attributes:
        raw: members of a record -> DuckDB type.
        columns: column of the common shape -> SQL over the members; those that are missing are empty.
        usual: SQL that is true for a record of this form, whatever the event says.
        flat: SQL that is true for event data, the text ``mw_text``, that are read as they stand.
        probed: the same for event data of which only some members are read.
        without: SQL that is true for a record that has its data in no other place either, if it has no event data.
        is_timeless: tells of the text of a record, and of the names of its members, that it has no time and that others learn nothing
            from it; None where that takes more than a look.
    """

    raw: dict[str, str]
    columns: dict[str, str]
    usual: str
    flat: str
    probed: str
    without: str = "true"
    is_timeless: Callable[[bytes, Iterable[str]], bool] | None = None


def _attribute(name: str) -> str:
    return f'STRUCT("#attributes" STRUCT("{name}" VARCHAR))'


def _number(sql: str) -> str:
    return f"try_cast({sql} AS INTEGER)"


def _is_number(sql: str) -> str:
    """Return SQL that is true for a text that Python reads as the same whole number, and for none."""
    return f"({sql} IS NULL OR coalesce({_number(sql)}::VARCHAR = {sql}, false))"


def _is_something(*texts: str) -> str:
    return " AND ".join(f"coalesce({sql}, '') NOT IN ('0', 'false')" for sql in texts)


# An object without objects in it and without values that have no name. The database looks for the first character of a text first: a quote is in
# every one.
_FLAT = (
    """left(mw_text, 1) = '{' AND NOT contains(mw_text, ':{') """
    """AND CASE WHEN contains(mw_text, 'Data":') THEN NOT contains(mw_text, '"Data":') ELSE true END"""
)
# Names with marks are attributes.
_UNMARKED = (
    """CASE WHEN contains(mw_text, '@') THEN NOT contains(mw_text, '"@') ELSE true END """
    """AND CASE WHEN contains(mw_text, '#') THEN NOT contains(mw_text, '"#') ELSE true END AND NOT contains(mw_text, '_attributes":')"""
)
_NAMED = """left(mw_text, 1) = '{' AND Data."Data" IS NULL"""
_SYSTEM = (
    f'STRUCT(Provider {_attribute("Name")}, EventID JSON, "Level" VARCHAR, Task VARCHAR, Keywords VARCHAR, '
    f"TimeCreated {_attribute('SystemTime')}, EventRecordID VARCHAR, Channel VARCHAR, Computer VARCHAR, Security {_attribute('UserID')})"
)


def _is_cut_before_time(text: bytes, names: Iterable[str]) -> bool:
    """Tell whether a tree ends before its time: the time stands before all that others may learn from."""
    return list(names) == ["Event"] and not any(word in text for word in (b"TimeCreated", b"Data", b"\\u"))


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
        # What ends before them has a time and says little more.
        "Channel": "coalesce(Event.System.Channel, '')",
        "Computer": "coalesce(Event.System.Computer, '')",
        "RecordId": "Event.System.EventRecordID",
        "UserSid": 'Event.System.Security."#attributes".UserID',
        "Data": "Event.EventData",
    },
    usual=f"{_ID} = {_number(_ID)}::VARCHAR AND {_is_number(_LEVEL)} AND {_is_number('Event.System.Task')} AND Event.RenderingInfo IS NULL",
    flat=_FLAT,
    probed=_NAMED,
    without=f"coalesce({', '.join(f'Event.{name}' for name in _OTHERS)}) IS NULL",
    is_timeless=_is_cut_before_time,
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
    flat="""left(mw_text, 1) = '{' AND mw_text <> '{}' AND NOT contains(mw_text, '"param')""",
    # What has no event data in truth has user data.
    probed="""left(mw_text, 1) = '{' AND mw_text <> '{}'""",
    without="winlog.user_data IS NULL",
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
    flat=f"{_FLAT} AND {_UNMARKED}",
    probed=_NAMED,
    without="false",
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
    f"NOT coalesce({name} >= '[' AND {name} < '\\' OR {name} >= '{{' AND {name} < '|', false)"
    for name in (
        "Stated",
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
    "mw_usual AND Stated <> '' AND Provider IS NOT NULL AND Channel IS NOT NULL AND Computer IS NOT NULL AND RecordId IS NOT NULL "
    f"AND {_NESTING} "
    # Deletions have the handle of an earlier event, long scripts several parts, Exchange cmdlets positions instead of names.
    "AND EventID <> 4660 AND (parts IS NULL OR parts = '1') "
    "AND CASE WHEN EventID IN (1, 6) THEN NOT (lower(Channel) = 'msexchange management' OR lower(Provider) = 'msexchange cmdletlogs') ELSE true END "
    f"AND CASE WHEN utc IS NULL THEN true ELSE regexp_full_match(utc, {_SYSMON_TIME}) AND regexp_full_match(Stated, {_ISO_TIME}) "
    f"AND abs(epoch(try_cast(utc AS TIMESTAMP)) - epoch(try_cast(Stated AS TIMESTAMP))) <= {_SAME_CLOCK} END"
)


def relation(shape: Shape, reading: str, carried: tuple[str, ...] = (), asked: Asked = EVERYTHING) -> str:
    """Return the SELECT of the common shape: one row for each record, in their order, without a time where a record is not plain.

    Step by step, so that the database works out once what several conditions need.

    Args:
        shape: form of the records.
        reading: SQL of the records with the members of ``shape.raw``, and those that are carried.
        carried: further columns to hand on.
        asked: what is made of the events; event data that nothing is made of are not judged either.
    """
    members = _members(asked)
    sql = _probed(_named(shape, reading, carried, asked), members, asked)
    for told in (asked.told, asked.kept):
        if told:
            listed = _listed({name: f"coalesce({one}, false)" for name, one in told.items()})
            sql = f"SELECT *, {listed} FROM ({sql})"
    sql = _judged(sql, asked)
    plain = f"coalesce({_PLAIN} AND {_flat(shape, members)}, false)"
    shown = {"Time": f"CASE WHEN {plain} THEN coalesce(utc, Stated) END"}
    shown |= {name: name for name in _SAME}
    shown |= {"Data": "CASE WHEN mw_whole THEN coalesce(mw_text, '{}') ELSE '{}' END", "Script": "Script"}
    shown |= {name: name for name in (*asked.told, *asked.kept)}
    shown |= {name: f"CASE WHEN {_ON_HANDLES} THEN Data.{member} END" for name, member in _OF_HANDLES.items()}
    return f"SELECT {_listed(shown)}{_more(carried)} FROM ({sql})"


def _named(shape: Shape, reading: str, carried: tuple[str, ...], asked: Asked) -> str:
    """Return the SQL of the members under the names of the common shape, the event data as text."""
    columns = {name: shape.columns.get(name) or _nothing(name) for name in _SAME}
    columns |= {name: _nothing(name) for name in PARTLY if name in columns and not asked.partly[name]}
    columns |= {"Stated": shape.columns["Time"], "mw_text": shape.columns["Data"]}
    columns |= {"mw_usual": shape.usual, "mw_without": shape.without}
    return f"SELECT {_listed(columns)}{_more(carried)} FROM ({reading})"


def _probed(sql: str, members: list[str], asked: Asked) -> str:
    """Add the members of event data that conditions look at, of those events alone that may meet one."""
    probed = f"coalesce(({asked.probed}) OR {_IS_SYSMON} OR {_ON_HANDLES}, false)"
    structure = json.dumps({**dict.fromkeys(members, "VARCHAR"), "Data": "JSON"})
    data = f"CASE WHEN mw_probed THEN json_transform(mw_text, '{structure}') END AS Data"
    return f"SELECT *, {data} FROM (SELECT *, {probed} AS mw_probed FROM ({sql}))"


def _judged(sql: str, asked: Asked) -> str:
    """Leave out what is not handed on of each event, and add what only some say."""
    held = {
        name: f"CASE WHEN {one} THEN {name} END"
        for name, one in asked.partly.items()
        if one not in {"", "true"} and name != "Data"
    }
    columns = f"* REPLACE ({_listed(held)})" if held else "*"
    whole = f"coalesce(({asked.partly['Data'] or 'false'}) OR EventID = 4104, false)"
    return f"SELECT {columns}, {whole} AS mw_whole, {_listed(_LOOKED_FOR)} FROM ({sql})"


def _flat(shape: Shape, members: list[str]) -> str:
    """Return SQL that is true for event data that are read as they stand, as far as anything of them is read."""
    nested = " OR ".join(f"starts_with(Data.\"{name}\", '{{')" for name in members)
    # Of a name that is written twice single records have the last value.
    unique = "len(list_distinct(json_keys(mw_text))) = len(json_keys(mw_text))"
    whole = f"{shape.flat} AND NOT contains(mw_text, '{_NUL}') AND {unique}"
    probed = f"{shape.probed} AND NOT coalesce({nested}, false)"
    judged = f"WHEN mw_text IS NULL THEN mw_without WHEN mw_whole THEN {whole} ELSE {probed}"
    return f"CASE WHEN NOT (mw_whole OR mw_probed) THEN true {judged} END"


_NUL = r"\u0000"
# What only some events say: it is looked for in those alone.
_LOOKED_FOR = {
    "utc": f"CASE WHEN {_IS_SYSMON} THEN Data.UtcTime END",
    "parts": "CASE WHEN EventID = 4104 THEN coalesce(mw_text->>'$.MessageTotal', '') END",
    "Script": "CASE WHEN EventID = 4104 THEN coalesce(mw_text->>'$.ScriptBlockText', '') END",
}


def _nothing(name: str) -> str:
    return f"NULL::{_KINDS.get(name, 'VARCHAR')}"


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(sql if sql == name else f'{sql} AS "{name}"' for name, sql in columns.items())


def _more(carried: tuple[str, ...]) -> str:
    return "".join(f", {name}" for name in carried)


def _members(asked: Asked) -> list[str]:
    """Return the members of event data that conditions look at."""
    named = {name for sql in asked.told.values() for name in _MEMBER.findall(sql)}
    named |= {name for sql in asked.kept.values() for name in _MEMBER.findall(sql)}
    return sorted(named | {*_OF_HANDLES.values(), "UtcTime"})
