"""Events that the database reads by itself: whatever it takes for plain, it reads as the way of single records does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mailwitness.readers import windows_plain, windows_state
from mailwitness.sources import limits, mended_lines, plain_json
from mailwitness.sources.plain_records import reading

from ..engine.cases import loaded

Json = dict[str, Any]  # Any: JSON values
_TEXT = st.one_of(
    st.sampled_from(["", "-", "eva", "5", "0x10", '"Data":1', ":{", "param1", "a\u0000b", "[x]", "{", "\\", "é\u2028", "Sysmon"]),
    st.text(max_size=6, alphabet=st.characters(exclude_categories=["Cs"])),
)  # fmt: skip
_VALUE = st.one_of(
    _TEXT,
    st.integers(-5, 70_000),
    st.booleans(),
    st.none(),
    st.just([1, "b"]),
    st.just({"a": "b"}),
    st.just({}),
)
_NUMBER = st.one_of(
    *[st.integers(4600, 4700)] * 6,
    st.sampled_from([1, 4, 4103, 4104, 4656, 4658, 4660, 4663, "4688", "0x10", None, 4.5, True]),
    st.just({"#text": 7036, "#attributes": {"Qualifiers": 16384}}),
)
_PROVIDER = st.sampled_from(
    ["Microsoft-Windows-Sysmon", "Microsoft-Windows-Security-Auditing", "MSExchange CmdletLogs"]
)
_CHANNEL = st.sampled_from(["Security", "System", "MSExchange Management"])
_TIME = st.sampled_from(
    ["2026-03-02T09:14:01.500Z", "2026-03-02T09:14:01.5000000Z", "2026-03-02T12:14:01Z", "x"]
)
_DATA = st.one_of(
    st.none(), _VALUE,
    st.dictionaries(st.one_of(st.sampled_from(["Data", "param1", "@x", "#x", "x_attributes", "User"]), _TEXT), _VALUE, max_size=4),
    st.fixed_dictionaries({"UtcTime": st.sampled_from(["2026-03-02 09:14:01.120", "2026-03-02 09:14:01", "x", None, 5])}),
    st.fixed_dictionaries({"MessageNumber": st.just("1"), "MessageTotal": st.sampled_from(["1", 1, "2", "x"]), "ScriptBlockText": _VALUE, "ScriptBlockId": st.just("a")}),
    *[st.just({"User": "eva", "Number": 5})] * 12,
)  # fmt: skip


def _odd(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly the usual value, now and then any."""
    # Alternatives inside alternatives count one by one, and there are some ten of them.
    return st.one_of(*[usual] * 60, _VALUE)


def _attribute(name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _odd(st.fixed_dictionaries({"#attributes": st.fixed_dictionaries({name: _odd(value)})}))


_TREE = st.fixed_dictionaries(
    {"Event": st.fixed_dictionaries(
        {"System": st.fixed_dictionaries(
            {"Provider": _attribute("Name", _PROVIDER), "EventID": _NUMBER, "TimeCreated": _attribute("SystemTime", _TIME),
             "EventRecordID": _odd(st.integers(0, 9)), "Channel": _odd(_CHANNEL), "Computer": _odd(st.just("ws07"))},
            optional={"Level": _odd(st.integers(0, 5)), "Task": _VALUE, "Keywords": _TEXT, "Security": _attribute("UserID", st.just("S-1-5-18"))}),
         "EventData": _DATA},
        optional={"UserData": _DATA, "RenderingInfo": st.just({"Message": "m"})})})  # fmt: skip
_WINLOG = st.fixed_dictionaries(
    {"@timestamp": _TIME, "winlog": st.fixed_dictionaries(
        {"channel": _odd(_CHANNEL), "provider_name": _odd(_PROVIDER), "event_id": _NUMBER, "record_id": _odd(st.integers(0, 9)), "computer_name": _odd(st.just("ws07"))},
        optional={"event_data": _DATA, "user_data": _DATA, "time_created": _odd(_TIME), "keywords": st.lists(st.sampled_from(["a", "b"]), max_size=2),
                  "level": st.sampled_from(["", "error", "Fehler"]), "user": st.fixed_dictionaries({}, optional={"identifier": _TEXT, "domain": _TEXT, "name": _TEXT})})},
    optional={"message": _VALUE, "log": st.fixed_dictionaries({"level": st.sampled_from(["information", "Warnung", ""])})})  # fmt: skip
_ROW = {"TimeGenerated": "2026-03-02T09:14:01.500Z", "Provider": "p", "Channel": "Security", "EventID": 4688, "EventData": {"User": "eva"}, "Computer": "ws07",
        "EventLevel": 4, "EventRecordId": "7"}  # fmt: skip
# A usual row of which up to two cells are anything.
_TABLE = st.dictionaries(
    st.sampled_from([*_ROW, "EventData", "EventData", "Task", "SystemUserId", "UserID", "Keywords", "Message", "RenderedDescription"]),
    st.one_of(_VALUE, _DATA, _NUMBER, _TIME, _PROVIDER),
    max_size=2,
).map(lambda odd: _ROW | odd)  # fmt: skip
_FORMS = {
    "windows_event_tree": _TREE,
    "windows_winlogbeat": _WINLOG,
    "windows_sentinel_event": _TABLE,
}


def _in_database(source: str, records: list[Json], folder: Path, asked: windows_plain.Asked) -> list[Json]:
    """Return what the database makes of the records, None for those that are not plain."""
    path = folder / "events.json"
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    shape = windows_plain.SHAPES[source]
    with duckdb.connect() as connection:
        relation = windows_plain.relation(shape, reading(path, shape.raw, 1000), asked=asked)
        shown = ", ".join(windows_plain.COLUMNS)
        cursor = connection.execute(
            f"SELECT {shown} FROM (SELECT * REPLACE (Data::VARCHAR AS Data) FROM ({relation}))"
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _as_row(event: Json | None) -> Json:
    """Return an event in the common shape as the columns of `windows_plain`; what is not told is empty."""
    assert event is not None
    row = {name: event.get(name) for name in windows_plain.COLUMNS}
    return {name: "" if value is None else value for name, value in row.items()}


# What a run may ask for: everything, or little.
_ASKED_NUMBERS = (4662, 4688, 4700)
_ASKED = [
    windows_plain.EVERYTHING,
    windows_plain.Asked(
        probed="EventID > 4690",
        told={"is_row": f"EventID IN {_ASKED_NUMBERS} AND coalesce(Data.User, '') <> 'x'"},
        kept={"is_kept": "CASE WHEN is_row THEN true END"},
        partly=dict.fromkeys(windows_plain.PARTLY, "")
        | dict.fromkeys(("Data", "UserSid", "Message"), "is_kept"),
    ),
]


def _as_asked(row: Json, asked: windows_plain.Asked) -> Json:
    """Leave out of a row what was not asked for."""
    if asked == windows_plain.EVERYTHING:
        return row
    is_asked = row["EventID"] in _ASKED_NUMBERS
    kept = {name: is_asked and bool(asked.partly[name]) for name in windows_plain.PARTLY}
    kept["Data"] = is_asked or row["EventID"] == 4104
    return row | {name: {} if name == "Data" else "" for name, is_kept in kept.items() if not is_kept}


@pytest.mark.parametrize("asked", _ASKED, ids=["everything", "little"])
@pytest.mark.parametrize("source", sorted(_FORMS))
def test_what_the_database_takes_for_plain_it_reads_as_python_does(
    source: str, asked: windows_plain.Asked, tmp_path: Path
) -> None:
    plain = 0

    @settings(max_examples=10, deadline=None, phases=[Phase.generate], derandomize=True)
    @given(st.lists(_FORMS[source], min_size=20, max_size=40))
    def holds(records: list[Json]) -> None:
        nonlocal plain
        for record, row in zip(records, _in_database(source, records, tmp_path, asked), strict=True):
            if row["Time"] is None:
                continue
            plain += 1
            expected = _as_asked(_as_row(windows_state.Preparer().prepare(record)), asked)
            found = {name: "" if value is None else value for name, value in row.items()}
            found["Data"] = json.loads(found["Data"])
            assert found == expected

    holds()
    # The examples are not all odd.
    assert plain > 5


def test_event_data_with_a_name_twice_are_not_plain(tmp_path: Path) -> None:
    record = json.dumps(_ROW | {"EventData": {"User": "eva", "Uses": "eve"}})

    twice = record.replace('"Uses"', '"User"')

    path = tmp_path / "events.json"
    path.write_text(f"{record}\n{twice}\n", "utf-8")
    shape = windows_plain.SHAPES["windows_sentinel_event"]
    with duckdb.connect() as connection:
        relation = windows_plain.relation(shape, reading(path, shape.raw, 1000))
        assert connection.execute(f"SELECT Time IS NULL FROM ({relation})").fetchall() == [(False,), (True,)]


def test_a_large_file_gives_the_rows_of_its_single_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(number: int, place: int, data: Json) -> bytes:
        system = {"Provider": {"#attributes": {"Name": "p"}}, "EventID": number, "TimeCreated": {"#attributes": {"SystemTime": "2026-03-02T09:14:01Z"}},
                  "EventRecordID": place, "Channel": "Security", "Computer": "ws07"}  # fmt: skip
        return json.dumps({"Event": {"System": system, "EventData": data}}).encode() + b"\n"

    opened = {"ProcessId": "0x4", "HandleId": "0x9", "ObjectType": "File", "ObjectName": "C:\\Mail\\a.pst"}
    content = event(4663, 1, opened) + event(4688, 2, {"NewProcessName": "C:\\b.exe"})
    content += b'{"Event":{"System":{"Provider":{"#attributes":{"Name":"p"}},"EventID":46\n' + event(
        4660, 4, {"ProcessId": "0x4", "HandleId": "0x9"}
    )
    content += event(4658, 5, {"ProcessId": "0x4", "HandleId": "0x9"}) + event(
        4660, 6, opened | {"ObjectName": ""}
    )

    with loaded(content) as case:
        slow = {
            table: case.rows(table)
            for table in ("Event", "SecurityEvent", "DeviceFileEvents", "DeviceProcessEvents")
        }
        counts = case.counts()
    monkeypatch.setattr(limits, "SMALL_BYTES", 0)
    monkeypatch.setattr(mended_lines, "FEWEST", 1)
    monkeypatch.setattr(plain_json, "PORTION_BYTES", 300)
    monkeypatch.setattr(plain_json, "_LARGEST_PORTION_BYTES", 300)
    with loaded(content) as case:
        fast = {table: case.rows(table) for table in slow}

        assert counts == case.counts()
    for table, rows in slow.items():
        assert sorted(rows, key=str) == sorted(fast[table], key=str)
    assert "C:\\Mail\\a.pst" in {
        row["FolderPath"] for row in fast["DeviceFileEvents"] if row["ActionType"] == "FileDeleted"
    }
