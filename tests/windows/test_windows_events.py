"""Windows events: every export of one event gives the same row, damage costs only itself, what belongs together is joined."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers import evtx, powershell_transcript, windows_event, windows_state
from mailwitness.readers.blocks import RawRecord
from mailwitness.sources import event_logs

from ..case_runs import PUBLIC, Told, run_paths
from ..engine.cases import loaded

Json = dict[str, Any]  # Any: JSON values
ATTACKS = PUBLIC / "evtx-attack-samples"
PARSER = PUBLIC / "evtx-parser-samples"
needs_samples = pytest.mark.skipif(not PARSER.exists(), reason="the public samples are not on this machine")

SYSMON = "Microsoft-Windows-Sysmon"
DELETED: Json = {
    "RuleName": "-", "UtcTime": "2026-03-02 09:14:01.120", "ProcessGuid": "{1}", "ProcessId": "7312", "User": "CONTOSO\\eva",
    "Image": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe", "TargetFilename": "C:\\Users\\eva\\AppData\\Local\\Comms\\Unistore\\data\\3\\a.dat",
    "Hashes": "SHA1=AA,MD5=BB,SHA256=CC", "IsExecutable": "false", "Archived": "true",
}  # fmt: skip


def tree(
    number: int,
    data: Json,
    channel: str = "Security",
    provider: str = "Microsoft-Windows-Security-Auditing",
    time: str = "2026-03-02T09:14:01.5Z",
) -> Json:
    return {"Event": {"#attributes": {"xmlns": "x"}, "System": {
        "Provider": {"#attributes": {"Name": provider}}, "EventID": number, "Level": 4, "Task": 1, "Channel": channel, "Computer": "WS07.contoso.example",
        "TimeCreated": {"#attributes": {"SystemTime": time}}, "EventRecordID": 7, "Security": {"#attributes": {"UserID": "S-1-5-18"}}}, "EventData": data}}  # fmt: skip


Item = tuple[Json | None, int, int, bool]


def events_of(log: Path) -> list[Item]:
    """Return event, place and whether it was salvaged of every record; damage has no event."""
    found: list[Item] = []
    preparer = windows_state.Preparer()
    for item in evtx.pieces(log):
        if item.reason:
            places = zip(item.offsets.tolist(), item.lengths.tolist(), strict=True)
            found += [(None, offset, length, False) for offset, length in places]
            continue
        for at, line in enumerate(evtx.lines(item.texts, "").splitlines()):
            one = evtx.record(preparer, line, log, item, at)
            event = one.data if isinstance(one, RawRecord) else None
            found.append((event, one.offset, one.length, item.salvaged))
    return found


def deleted_in(form: str) -> Json:
    """Return one Sysmon deletion as an export program writes it."""
    channel = "Microsoft-Windows-Sysmon/Operational"
    return {
        "evtx_dump": tree(23, DELETED, channel, SYSMON),
        "evtx_dump with separate attributes": {"Event": {"System": {
            "Provider_attributes": {"Name": SYSMON}, "EventID": 23, "EventID_attributes": {"Qualifiers": ""}, "Channel": channel, "Computer": "WS07.contoso.example",
            "TimeCreated_attributes": {"SystemTime": "2026-03-02T09:14:01.5Z"}}, "EventData": DELETED}},
        "xmltodict": {"Event": {"System": {
            "Provider": {"@Name": SYSMON}, "EventID": {"@Qualifiers": "", "#text": "23"}, "Channel": channel, "Computer": "WS07.contoso.example",
            "TimeCreated": {"@SystemTime": "2026-03-02T09:14:01.5Z"}}, "EventData": {"Data": [{"@Name": k, "#text": v} for k, v in DELETED.items()]}}},
        "winlogbeat": {"@timestamp": "2026-03-02T09:14:01.500Z", "event": {"code": 23}, "host": {"name": "x"}, "winlog": {
            "channel": channel, "event_id": "23", "provider_name": SYSMON, "computer_name": "WS07.contoso.example", "event_data": DELETED}},
        "winlogbeat in a search hit": {"_index": "x", "_source": {"@timestamp": "2026-03-02T09:14:01.500Z", "winlog": {
            "channel": channel, "event_id": 23, "provider_name": SYSMON, "computer_name": "WS07.contoso.example", "event_data": DELETED}}},
        "winlogbeat 6": {"@timestamp": "2026-03-02T09:14:01.500Z", "log_name": channel, "event_id": 23, "source_name": SYSMON, "computer_name": "WS07.contoso.example", "event_data": DELETED},
        "nxlog": {"EventTime": "2026-03-02 10:14:01", "Hostname": "WS07.contoso.example", "EventID": 23, "SourceName": SYSMON, "Channel": channel, **DELETED},
        "flat with data": {"Channel": channel, "EventID": 23, "Computer": "WS07.contoso.example", "ProviderName": SYSMON, "TimeCreated": "2026-03-02T09:14:01.5Z", "EventData": DELETED},
        "sentinel WindowsEvent": {"TimeGenerated": "2026-03-02T09:14:01.5Z", "TenantId": "t", "Provider": SYSMON, "Channel": channel, "Computer": "WS07.contoso.example", "EventID": 23, "EventData": DELETED},
        "sentinel Event": {"TimeGenerated": "2026-03-02T09:14:01.5Z", "Source": SYSMON, "EventLog": channel, "Computer": "WS07.contoso.example", "EventID": 23, "RenderedDescription": "",
            "EventData": "<DataItem><EventData>" + "".join(f'<Data Name="{k}">{v}</Data>' for k, v in DELETED.items()) + "</EventData></DataItem>"},
    }[form]  # fmt: skip


FORMS = ["evtx_dump", "evtx_dump with separate attributes", "xmltodict", "winlogbeat", "winlogbeat in a search hit", "winlogbeat 6", "nxlog", "flat with data",
         "sentinel WindowsEvent", "sentinel Event"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_one_event_gives_the_same_rows_from_every_export(form: str) -> None:
    content = json.dumps(deleted_in(form)).encode() + b"\n"

    with loaded(content) as case:
        assert case.counts() == (1, 1, 0, 0)
        event = case.rows("Event")[0]
        file = case.rows("DeviceFileEvents")[0]

    assert (event["EventID"], event["Source"], event["Computer"]) == (23, SYSMON, "WS07.contoso.example")
    assert DELETED["TargetFilename"] == event["EventDataBag"]["TargetFilename"]
    assert ("FileDeleted", DELETED["TargetFilename"], "a.dat") == (
        file["ActionType"],
        file["FolderPath"],
        file["FileName"],
    )
    assert (
        file["InitiatingProcessFileName"], file["InitiatingProcessAccountName"], file["InitiatingProcessAccountDomain"], file["InitiatingProcessId"], file["SHA256"]) == ("powershell.exe", "eva", "CONTOSO", 7312, "cc")  # fmt: skip
    # Sysmon's own time is UTC in every export.
    assert str(file["TimeGenerated"]) == "2026-03-02 09:14:01.120000"


def test_get_winevent_output_is_read() -> None:
    record = {"Id": 1, "ProviderName": "MSExchange CmdletLogs", "LogName": "MSExchange Management", "MachineName": "EX01", "TimeCreated": "/Date(1772442841000)/", "Level": 4,
              "Message": "", "Properties": [{"Value": "Search-Mailbox"}, {"Value": '-Identity "eva" -DeleteContent "True"'}, {"Value": "contoso.example/Users/mallory"}]}  # fmt: skip

    with loaded(json.dumps([record]).encode()) as case:
        row = case.rows("Event")[0]

    assert (row["Cmdlet"], row["CmdletParameters"], str(row["TimeGenerated"])) == (
        "Search-Mailbox",
        {"Identity": "eva", "DeleteContent": "True"},
        "2026-03-02 09:14:01",
    )


def test_a_process_is_read_from_sysmon_and_from_the_security_log() -> None:
    sysmon = tree(
        1,
        {
            "UtcTime": "2026-03-02 09:14:01.120",
            "ProcessId": "7312",
            "Image": "C:\\W\\powershell.exe",
            "CommandLine": "powershell -c Search-Mailbox eva -DeleteContent",
            "User": "CONTOSO\\eva",
            "ParentImage": "C:\\W\\explorer.exe",
        },
        "Microsoft-Windows-Sysmon/Operational",
        SYSMON,
    )
    audit = tree(
        4688,
        {
            "SubjectUserName": "eva",
            "SubjectDomainName": "CONTOSO",
            "SubjectLogonId": "0x3e51",
            "NewProcessId": "0x1c90",
            "NewProcessName": "C:\\W\\powershell.exe",
            "ProcessId": "0x9d4",
            "CommandLine": "powershell -c Search-Mailbox eva -DeleteContent",
            "ParentProcessName": "C:\\W\\explorer.exe",
        },
    )
    content = "\n".join(map(json.dumps, (sysmon, audit))).encode()

    with loaded(content) as case:
        rows = case.rows("DeviceProcessEvents")

    assert [row["ProcessId"] for row in rows] == [7312, 7312]
    assert [(row["AccountName"], row["AccountDomain"], row["InitiatingProcessFileName"]) for row in rows] == [
        ("eva", "CONTOSO", "explorer.exe")
    ] * 2
    assert [row["DecodedCmdlets"][0]["bag"] for row in rows] == [
        {"Identity": "eva", "DeleteContent": "True"}
    ] * 2


def test_a_deletion_gets_the_name_of_its_handle() -> None:
    asked = {
        "SubjectUserName": "eva",
        "ObjectType": "File",
        "ObjectName": "C:\\Users\\eva\\archive.pst",
        "HandleId": "0x1f4",
        "ProcessId": "0x1c90",
        "AccessMask": "0x10000",
        "ProcessName": "C:\\W\\cmd.exe",
    }
    gone = {
        "SubjectUserName": "eva",
        "ObjectServer": "Security",
        "HandleId": "0x1f4",
        "ProcessId": "0x1c90",
        "ProcessName": "C:\\W\\cmd.exe",
    }
    closed = {"HandleId": "0x1f4", "ProcessId": "0x1c90"}
    events = [tree(4663, asked), tree(4660, gone), tree(4658, closed), tree(4660, gone)]

    with loaded("\n".join(map(json.dumps, events)).encode()) as case:
        files = case.rows("DeviceFileEvents")
        security = case.rows("SecurityEvent")

    # The right to delete is also what a rename asks for; a closed handle names nothing any more.
    assert [(row["ActionType"], row["FolderPath"]) for row in files] == [
        ("FileDeleteAccess", "C:\\Users\\eva\\archive.pst"),
        ("FileDeleted", "C:\\Users\\eva\\archive.pst"),
    ]
    assert [row["ObjectName"] for row in security if row["EventID"] == 4660] == [
        "C:\\Users\\eva\\archive.pst",
        "",
    ]


def test_a_script_in_parts_is_put_together() -> None:
    def part(number: int, text: str, block: str = "a") -> Json:
        return tree(
            4104,
            {
                "MessageNumber": number,
                "MessageTotal": 3,
                "ScriptBlockText": text,
                "ScriptBlockId": block,
                "Path": "",
            },
            "Microsoft-Windows-PowerShell/Operational",
            "Microsoft-Windows-PowerShell",
        )

    events = [
        part(1, "Search-Mail"),
        part(2, "x", "other"),
        part(3, ":$false"),
        part(2, "box eva -DeleteContent"),
    ]

    with loaded("\n".join(map(json.dumps, events)).encode()) as case:
        rows = case.rows("Event")

    assert [row["ScriptBlockText"] for row in rows] == [
        "",
        "",
        "",
        "Search-Mailbox eva -DeleteContent:$false",
    ]
    assert rows[3]["DecodedCmdlets"][0]["bag"] == {"Identity": "eva", "DeleteContent": "False"}
    assert [row["IsScriptPart"] for row in rows] == [True, True, True, False]


def test_local_time_is_turned_into_utc_where_the_file_tells_the_offset() -> None:
    known = {
        "EventTime": "2026-03-02 10:14:01",
        "Hostname": "WS07",
        "EventID": 23,
        "SourceName": SYSMON,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        **DELETED,
    }
    later = {
        "EventTime": "2026-03-02 10:15:00",
        "Hostname": "WS07",
        "EventID": 4624,
        "SourceName": "Microsoft-Windows-Security-Auditing",
        "Channel": "security",
    }
    other = {**later, "Hostname": "WS08"}

    with loaded("\n".join(map(json.dumps, (known, later, other))).encode()) as case:
        rows = case.rows("Event")

    assert [str(row["TimeGenerated"]) for row in rows] == [
        "2026-03-02 09:14:01.120000",
        "2026-03-02 09:15:00",
        "2026-03-02 10:15:00",
    ]
    assert [row["TimeNote"] for row in rows] == [
        "",
        "local time, -60 minutes to UTC",
        "local time of the host, taken as UTC",
    ]


def test_rows_of_windows_event_stay_rows_of_that_table() -> None:
    with loaded(json.dumps(deleted_in("sentinel WindowsEvent")).encode()) as case:
        assert [row["EventID"] for row in case.rows("WindowsEvent")] == [23]
        assert [row["EventID"] for row in case.rows("Event")] == [23]


def test_public_queries_find_event_data_as_xml() -> None:
    record = tree(104, {"a<b": "x & y"}, "System", "Microsoft-Windows-Eventlog")

    with loaded(json.dumps(record).encode()) as case:
        row = case.rows("Event")[0]

    assert '<Data Name="a&lt;b">x &amp; y</Data>' in row["EventData"]


def events() -> str:
    """Return the clearing of a log, and a script that hides its command."""
    cleared = tree(104, {}, "System", "Microsoft-Windows-Eventlog")
    cleared["Event"]["UserData"] = {
        "LogFileCleared": {
            "SubjectUserName": "mallory",
            "SubjectDomainName": "CONTOSO",
            "Channel": "MSExchange Management",
            "BackupPath": "",
        }
    }
    del cleared["Event"]["EventData"]
    script = tree(
        4104,
        {
            "MessageNumber": 1,
            "MessageTotal": 1,
            "ScriptBlockText": "& ('Remove-'+'MailboxExportRequest') ceo -Confirm:$false",
            "ScriptBlockId": "b",
        },
        "Microsoft-Windows-PowerShell/Operational",
        "Microsoft-Windows-PowerShell",
    )
    return "\n".join(map(json.dumps, (cleared, script)))


def transcript() -> bytes:
    """Return a transcript whose command goes over two lines."""
    stars = "*" * 22
    text = f"{stars}\r\nWindows PowerShell transcript start\r\nStart time: 20260302091401\r\nUsername: CONTOSO\\mallory\r\nMachine: WS07 (Microsoft Windows NT 10.0.17763.0)\r\nHost Application: C:\\W\\powershell.exe\r\n{stars}\r\nPS C:\\> Search-Mailbox eva `\r\n>> -DeleteContent\r\nResult\r\n"
    return text.encode("utf-8-sig")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    pieces: dict[str, dict[str, str | bytes]] = {
        "events": {"events.json": events()},
        "transcript": {"transcript.txt": transcript()},
    }
    return Told(tmp_path_factory.mktemp("told"), pieces)


def test_cleared_logs_and_decoded_scripts_become_acts(told: Told) -> None:
    assert [(row["Activity"], row["ObjectName"], row["Actor"]) for row in told.acts("events")] == [
        ("LogCleared", "MSExchange Management", "CONTOSO\\mallory"),
        ("ExportRemoved", "ceo", "S-1-5-18"),
    ]


# -- files -------------------------------------------------------------------------------------------------------------------


@needs_samples
@pytest.mark.parametrize(
    ("name", "records", "salvaged", "damaged"),
    [
        ("Security_with_size_t.evtx", 636, 0, 0),
        ("sample-with-zero-data-size-event.evtx", 450, 115, 0),
        ("sample_with_a_bad_chunk_magic.evtx", 384, 31, 83),
        ("Application_no_crc32.evtx", 17, 0, 0),
    ],
)
def test_bad_records_never_cost_the_rest_of_a_log(
    name: str, records: int, salvaged: int, damaged: int
) -> None:
    items = events_of(PARSER / name)

    assert records == len(items)
    assert damaged == sum(event is None for event, *_ in items)
    assert salvaged == sum(is_salvaged for *_, is_salvaged in items)


@needs_samples
def test_every_record_of_a_log_lies_where_its_place_says() -> None:
    path = PARSER / "Security_with_size_t.evtx"
    content = path.read_bytes()

    for event, offset, size, _ in events_of(path):
        assert event is not None
        magic, length, number = struct.unpack_from("<4sIQ", content, offset)
        assert (b"\x2a\x2a\x00\x00", size, event["RecordId"]) == (magic, length, str(number))


TABLES = ("Event", "SecurityEvent", "DeviceFileEvents", "DeviceProcessEvents")
LOGS = ("sample_with_a_bad_chunk_magic.evtx", "Application_no_crc32.evtx", "MSExchange_Management_wec.evtx")


def rows_of(logs: list[Path]) -> dict[str, list[str]]:
    with loaded(*(log.read_bytes() for log in logs)) as case:
        rows = {name: sorted(map(str, case.rows(name))) for name in TABLES}
        places = [case.index(f"E{number}") for number in range(1, len(logs) + 1)]
        rows["places"] = [str(list(zip(one.offsets, one.lengths, strict=True))) for one in places]
        rows["counts"] = [str(case.counts(f"E{number}")) for number in range(1, len(logs) + 1)]
        return rows | {"quarantine": [str(one) for one in case.quarantine()]}


@needs_samples
def test_the_database_gives_the_rows_of_single_records(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [*sorted(ATTACKS.glob("*.evtx")), *(PARSER / name for name in LOGS)]
    whole = rows_of(logs)

    monkeypatch.setattr(event_logs, "PORTION_BYTES", 50_000)
    in_portions = rows_of(logs)
    # As when what the database read does not stand where it should.
    monkeypatch.setattr(event_logs._Loading, "_is_aligned", lambda _: False)
    one_by_one = rows_of(logs)

    assert whole == in_portions == one_by_one
    assert len(whole["Event"]) > 400


@needs_samples
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_log_damaged_anywhere_is_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    original = (PARSER / "sample_with_a_bad_chunk_magic.evtx").read_bytes()[: 4096 + 3 * 65536]
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 64))
        damaged[at : at + 32] = data.draw(st.binary(min_size=32, max_size=32))
    cut = data.draw(st.integers(0, len(damaged)))
    path = tmp_path_factory.mktemp("log") / "x.evtx"
    path.write_bytes(damaged if data.draw(st.booleans()) else damaged[:cut])

    places = [(offset, length) for _, offset, length, _ in events_of(path)]

    assert all(offset >= 0 and offset + length <= path.stat().st_size for offset, length in places)


@needs_samples
@pytest.mark.parametrize("folder", [ATTACKS, PARSER])
def test_public_logs_add_up(tmp_path: Path, folder: Path) -> None:
    intake = run_paths(tmp_path, sorted(folder.glob("*.evtx")))

    assert {"Windows event log files (.evtx)"} == {row["source"] for row in intake if row["loaded"]}


@pytest.mark.skipif(
    not (PUBLIC / "otrf-windows-json").exists(), reason="the public samples are not on this machine"
)
def test_public_json_events_add_up(tmp_path: Path) -> None:
    intake = run_paths(tmp_path, [PUBLIC / "otrf-windows-json"])

    assert sorted(row["loaded"] for row in intake if row["loaded"]) == [4284, 6202]


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("powershell_transcript.txt", ["whoami"]),
        (
            "powershell_transcript_ger.txt",
            [
                "whoami",
                "echo $null >> filename",
                "ping 8.8.8.8",
                "Get-Content .\\myfile.txt",
                "ping 127.0.0.1 -n 5",
                "rm .\\filename",
            ],
        ),
    ],
)
def test_transcripts_are_read_in_any_language(name: str, commands: list[str]) -> None:
    path = PUBLIC / "plaso" / name
    if not path.exists():
        pytest.skip("the public samples are not on this machine")

    items = [item for item in powershell_transcript.read(path) if isinstance(item, RawRecord)]

    assert commands == [item.data["Script"] for item in items if item.data["Script"]]
    assert {"DE\\User" if "ger" in name else "MSEDGEWIN10\\IEUser"} == {
        item.data["UserName"] for item in items
    }


def test_a_transcript_becomes_acts(told: Told) -> None:
    assert [
        (row["Activity"], row["Mailbox"], row["Actor"], row["Host"]) for row in told.acts("transcript")
    ] == [("Purged", "eva", "CONTOSO\\mallory", "WS07")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["#text", "#attributes", "Name", "Data", "@Name", "x", "Value"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "Event",
        "System",
        "EventData",
        "UserData",
        "Provider",
        "EventID",
        "TimeCreated",
        "Channel",
        "Computer",
        "winlog",
        "event_data",
        "EventTime",
        "Hostname",
        "SourceName",
        "LogName",
        "ProviderName",
        "Id",
        "Message",
        "UtcTime",
        "HandleId",
        "ScriptBlockText",
        "MessageTotal",
        "_source",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4), max_size=8), max_size=4
    )
)
def test_any_object_is_an_event_or_none(records: list[Json]) -> None:
    preparer = windows_state.Preparer()

    for record in records:
        event = preparer.prepare(record)
        assert event is None or isinstance(event["EventID"], int)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_xml_text_gives_values(first: str, second: str) -> None:
    named, listed = windows_event.from_xml(
        f'<Data Name="a">{first}</Data>' + second, f"<Param>{first}</Param>"
    )

    assert isinstance(named, dict)
    assert isinstance(listed, list)
