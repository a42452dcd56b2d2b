"""Exchange Server's own records: every way a cmdlet is logged gives the same act, and no text in it can forge another."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers import (
    clixml,
    exchange_audit,
    exchange_logs,
    exchange_xml,
    fields_log,
    safe_xml,
    settings_snapshot,
)
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.readers.exchange_events import parameters_of

from ..case_runs import PUBLIC, acts, run, run_paths
from ..engine.cases import loaded

Json = dict[str, Any]  # Any: JSON values
RECORDED = PUBLIC.parent / "recorded" / "windows-exchange"
CALLER = "contoso.example/Users/mallory"

# -- the line of parameters ----------------------------------------------------------------------------------------------------

LINES: list[tuple[str, dict[str, str]]] = [
    ('-Identity "eva" -DeleteContent "True"', {"Identity": "eva", "DeleteContent": "True"}),
    ("", {}),
    ('-Confirm "False"', {"Confirm": "False"}),
    (
        '-Identity "contoso.example/Users/ceo\\MailboxExport" -Confirm "False"',
        {"Identity": "contoso.example/Users/ceo\\MailboxExport", "Confirm": "False"},
    ),
    ('-Name "a "quoted" name" -Force "True"', {"Name": 'a "quoted" name', "Force": "True"}),
    ('-Name "a -Force b" -Confirm "False"', {"Name": "a -Force b", "Confirm": "False"}),
    ('-ForwardingSmtpAddress $null -Identity "eva"', {"ForwardingSmtpAddress": "$null", "Identity": "eva"}),
    (
        '-AuditOwner ("Update","HardDelete") -Identity "eva"',
        {"AuditOwner": "Update, HardDelete", "Identity": "eva"},
    ),
    ("-Identity eva -Force", {"Identity": "eva", "Force": ""}),
    (
        '-SearchQuery "subject:"pay now" -from:x" -DeleteContent "True"',
        {"SearchQuery": 'subject:"pay now" -from:x', "DeleteContent": "True"},
    ),
    ('-Name "x -Force:y" -Confirm "False"', {"Name": "x -Force:y", "Confirm": "False"}),
    ('-Force:True -Identity:"eva"', {"Force": "True", "Identity": "eva"}),
    # A name forged inside a value keeps what the server wrote for the real one.
    ('-Name "x" -DeleteMessage "False" -DeleteMessage "True"', {"Name": "x", "DeleteMessage": "False; True"}),
    ('-Subject "é\u200b" -Identity "eva"', {"Subject": "é\u200b", "Identity": "eva"}),
]


@pytest.mark.parametrize(("line", "bag"), LINES, ids=[row[0][:40] for row in LINES])
def test_a_line_of_parameters_is_split_where_values_end(line: str, bag: dict[str, str]) -> None:
    assert bag == parameters_of(line)


@given(st.text(alphabet="-abAB \"':()$,;\n", max_size=120))
def test_any_line_gives_a_bag(line: str) -> None:
    assert all(isinstance(value, str) for value in parameters_of(line).values())


# -- the same cmdlet, logged in every way -----------------------------------------------------------------------------------------

LINE = '-Identity "eva" -DeleteContent "True" -Force "True"'
XML = (
    f'<SearchResults><Event Caller="{CALLER}" Cmdlet="Search-Mailbox" ObjectModified="contoso.example/Users/eva" RunDate="2026-03-02T10:14:01+01:00" Succeeded="true" Error="None"'
    ' OriginatingServer="EX01 (15.02.1544.004)"><CmdletParameters><Parameter Name="Identity" Value="eva"/><Parameter Name="DeleteContent" Value="True"/>'
    '<Parameter Name="Force" Value="True"/></CmdletParameters><ModifiedProperties/></Event></SearchResults>'
)
CLIXML = """<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">
  <Obj RefId="0"><TN RefId="0"><T>Deserialized.Microsoft.Exchange.Management.SystemConfigurationTasks.AdminAuditLogEvent</T><T>System.Object</T></TN>
    <Props><S N="CmdletName">Search-Mailbox</S><S N="Caller">contoso.example/Users/mallory</S><DT N="RunDate">2026-03-02T09:14:01Z</DT><B N="Succeeded">true</B>
      <S N="OriginatingServer">EX01 (15.02.1544.004)</S><Obj N="CmdletParameters" RefId="1"><TN RefId="1"><T>X</T></TN><LST>
        <Obj RefId="2"><TN RefId="2"><T>P</T></TN><Props><S N="Name">Identity</S><S N="Value">eva</S></Props></Obj>
        <Obj RefId="3"><TNRef RefId="2"/><Props><S N="Name">DeleteContent</S><S N="Value">True</S></Props></Obj>
        <Obj RefId="4"><TNRef RefId="2"/><Props><S N="Name">Force</S><S N="Value">True</S></Props></Obj></LST></Obj></Props></Obj>
</Objs>"""
CMDLET_LOG = (
    "#Software: Microsoft Exchange Server\n#Fields: DateTime,StartTime,ServerHostName,ProcessId,ProcessName,AuthenticatedUser,Cmdlet,Parameters,CmdletUniqueId,ExecutionResult\n"
    + ",".join(
        [
            "2026-03-02T09:14:02Z",
            "2026-03-02T09:14:01Z",
            "EX01",
            "12",
            "w3wp",
            CALLER,
            "Search-Mailbox",
            '"' + LINE.replace('"', '""') + '"',
            "u1",
            "Success",
        ]
    )
)


def event(number: int = 1, values: list[str] | None = None) -> Json:
    listed = values or [
        "Search-Mailbox",
        LINE,
        CALLER,
        "S-1-5-21-1",
        "S-1-5-21-1",
        "Remote-ManagementShell-Unknown",
        "8372 w3wp#MSExchangePowerShellAppPool",
        "",
        "54",
        "00:00:00.05",
        "Gesamte Struktur anzeigen: 'False'",
        "",
    ]
    return {"Event": {"System": {"Provider": {"#attributes": {"Name": "MSExchange CmdletLogs"}}, "EventID": {"#attributes": {"Qualifiers": "16384"}, "#text": str(number)}, "Channel": "MSExchange Management",
                                 "Computer": "EX01", "TimeCreated": {"#attributes": {"SystemTime": "2026-03-02T09:14:01Z"}}}, "EventData": {"Data": {"#text": listed}}}}  # fmt: skip


def sentence(number: int, text: str) -> Json:
    return {
        "EventTime": "2026-03-02 09:14:01",
        "Hostname": "EX01",
        "EventID": number,
        "SourceName": "MSExchange CmdletLogs",
        "Channel": "MSExchange Management",
        "Message": text,
        "AccountName": "mallory",
        "Domain": "CONTOSO",
    }


WAYS: dict[str, str] = {
    "event log as JSON": json.dumps(event()),
    "Winlogbeat": json.dumps(
        {
            "@timestamp": "2026-03-02T09:14:01Z",
            "winlog": {
                "channel": "MSExchange Management",
                "event_id": 1,
                "provider_name": "MSExchange CmdletLogs",
                "computer_name": "EX01",
                "event_data": {"param1": "Search-Mailbox", "param2": LINE, "param3": CALLER},
            },
        }
    ),
    "a sentence of NXLog": json.dumps(
        sentence(1, f"Cmdlet suceeded. Cmdlet Search-Mailbox, parameters {LINE}.")
    ),
    "Sentinel's Event table": json.dumps(
        {
            "TimeGenerated": "2026-03-02T09:14:01Z",
            "Source": "MSExchange CmdletLogs",
            "EventLog": "MSExchange Management",
            "Computer": "EX01",
            "EventID": 1,
            "RenderedDescription": "",
            "ParameterXml": f"<Param>Search-Mailbox</Param><Param>{LINE.replace(chr(34), '&quot;')}</Param><Param>{CALLER}</Param>",
        }
    ),
    "audit search as XML": XML,
    "audit search as CLIXML": CLIXML,
    "audit search as JSON": json.dumps(
        {
            "ObjectModified": "contoso.example/Users/eva",
            "CmdletName": "Search-Mailbox",
            "CmdletParameters": [
                {"Name": "Identity", "Value": "eva"},
                {"Name": "DeleteContent", "Value": "True"},
            ],
            "Caller": CALLER,
            "Succeeded": True,
            "Error": "None",
            "RunDate": "2026-03-02T09:14:01",
            "OriginatingServer": "EX01 (15)",
        }
    ),
    "the server's cmdlet log": CMDLET_LOG,
}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """Return the acts of every way; one investigation of all takes an eighth of the time of one for each."""
    folder = tmp_path_factory.mktemp("ways")
    intake = run(folder, {f"{number}.log": content for number, content in enumerate(WAYS.values())})
    ways = list(WAYS)
    of_exhibit = {row["exhibit"]: ways[int(Path(row["path"]).stem)] for row in intake}
    found: dict[str, list[Json]] = {way: [] for way in WAYS}
    for row in acts(folder):
        found[of_exhibit[row["_Exhibit"]]].append(row)
    return found


@pytest.mark.parametrize("way", WAYS.keys())
def test_a_cmdlet_is_the_same_act_however_it_was_logged(way: str, logged: dict[str, list[Json]]) -> None:
    found = logged[way]

    assert [
        (row["Activity"], row["ActivityResult"], row["Operation"], row["Mailbox"], row["Platform"], row["Host"], str(row["TimeGenerated"])[:19]) for row in found] == [("Purged", "Succeeded", "Search-Mailbox", "eva", "Exchange", "EX01", "2026-03-02T09:14:01")]  # fmt: skip
    assert found[0]["Parameters"]["DeleteContent"] == "True"
    assert found[0]["Actor"].endswith("mallory")


def test_a_failed_cmdlet_is_a_failed_act_with_its_error() -> None:
    values = [
        "Remove-MailboxExportRequest",
        '-Identity "ceo"',
        CALLER,
        *[""] * 8,
        "The request could not be found.",
    ]

    with loaded(json.dumps(event(6, values)).encode()) as case:
        row = case.rows("Event")[0]

    assert (row["CmdletSucceeded"], row["CmdletError"], row["CmdletParameters"]) == (
        False,
        "The request could not be found.",
        {"Identity": "ceo"},
    )


def test_a_sentence_may_hold_quotes_within_quotes() -> None:
    text = 'Cmdlet suceeded. Cmdlet New-InboxRule, parameters -Name "the "new" rule" -DeleteMessage "True".'

    with loaded(json.dumps(sentence(1, text)).encode()) as case:
        row = case.rows("Event")[0]

    assert (row["Cmdlet"], row["CmdletParameters"]) == (
        "New-InboxRule",
        {"Name": 'the "new" rule', "DeleteMessage": "True"},
    )


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded samples are not on this machine")
def test_a_real_french_server_is_understood(tmp_path: Path) -> None:
    run_paths(tmp_path, [RECORDED / "MSExchange_Management_wec.evtx"])

    assert [
        (row["Activity"], row["Mailbox"], row["Actor"], row["SettingAfter"]) for row in acts(tmp_path)
    ] == [("ForwardingChanged", "administrateur", "ave.local/Users/Administrateur", "smtp:test2@example.com")]


# -- mailbox audit, tracking, requests ----------------------------------------------------------------------------------------------


def test_mailbox_audit_entries_are_acts_upon_messages(tmp_path: Path) -> None:
    text = (
        '<SearchResults><Event MailboxGuid="1" Owner="Eva" MailboxOwnerUPN="eva@contoso.example" LastAccessed="2026-03-02T10:14:01+01:00" Operation="HardDelete" OperationResult="Succeeded" LogonType="Delegate"'
        ' LogonUserDisplayName="Mallory" FolderPathName="\\Recoverable Items\\Deletions" ClientInfoString="Client=OWA" ClientIPAddress="203.0.113.7">'
        '<SourceItems><Item Id="A" Subject="Payment &amp; more" FolderPathName="\\Recoverable Items\\Deletions"/><Item Id="B" Subject="b"/></SourceItems></Event></SearchResults>'
    )

    run(tmp_path, {"audit.xml": text})

    row = acts(tmp_path)[0]
    assert (
        row["Activity"], row["FolderKind"], row["Mailbox"], row["ActorType"], row["ItemCount"], row["Subject"], row["ClientIP"], row["Platform"]) == ("HardDeleted", "RecoverableItemsDeletions", "eva@contoso.example", "Delegate", 2, "Payment & more", "203.0.113.7", "Exchange")  # fmt: skip


def test_mailbox_audit_as_csv_is_read() -> None:
    out = io.StringIO()
    writer = csv.DictWriter(
        out,
        [
            "Operation",
            "OperationResult",
            "LogonType",
            "FolderPathName",
            "MailboxOwnerUPN",
            "LogonUserDisplayName",
            "ItemSubject",
            "LastAccessed",
            "Identity",
        ],
    )
    writer.writeheader()
    writer.writerow(
        {
            "Operation": "SoftDelete",
            "OperationResult": "Succeeded",
            "LogonType": "Owner",
            "FolderPathName": "\\Inbox",
            "MailboxOwnerUPN": "eva@contoso.example",
            "ItemSubject": "Hi, you",
            "LastAccessed": "3/2/2026 9:14:01 AM",
            "Identity": "R1",
        }
    )

    with loaded(out.getvalue().encode()) as case:
        row = case.rows()[0]

    assert (
        row["Operation"],
        row["UserId"],
        row["FirstSubject"],
        row["SourceSystem"],
        str(row["TimeGenerated"]),
    ) == ("SoftDelete", "eva@contoso.example", "Hi, you", "ExchangeServer", "2026-03-02 09:14:01")


TRACKING = "#Software: Microsoft Exchange Server\n#Log-type: Message Tracking Log\n#Fields: date-time,client-ip,server-hostname,source,event-id,message-id,network-message-id,recipient-address,total-bytes,message-subject,sender-address,directionality,custom-data\n"


def test_each_recipient_of_a_tracked_message_gets_a_row() -> None:
    line = '2026-03-02T08:00:02.100Z,198.51.100.7,EX01,STOREDRIVER,DELIVER,<a@b.example>,g1,eva@contoso.example;Bob@contoso.example,4321,"Pay, ""now""",ap@b.example,Incoming,S:x'

    with loaded((TRACKING + line + "\n").encode()) as case:
        rows = case.rows("EmailEvents")
        assert case.counts() == (1, 1, 0, 0)

    assert sorted(row["RecipientEmailAddress"] for row in rows) == [
        "bob@contoso.example",
        "eva@contoso.example",
    ]
    assert {("Delivered", 'Pay, "now"', "<a@b.example>", 4321)} == {
        (row["DeliveryAction"], row["Subject"], row["InternetMessageId"], row["EmailSize"]) for row in rows
    }


def test_a_message_dropped_by_a_rule_names_the_rule() -> None:
    line = "2026-03-02T08:00:03Z,,EX01,AGENT,FAIL,<a@b.example>,g1,eva@contoso.example,1,x,ap@b.example,Incoming,S:TRA=ETR|ruleId=6e0d0000-0000-0000-0000-000000000001|action=DeleteMessage"

    with loaded((TRACKING + line).encode()) as case:
        row = case.rows("EmailEvents")[0]

    assert (row["DeliveryAction"], row["ExchangeTransportRule"]) == (
        "Blocked",
        "6e0d0000-0000-0000-0000-000000000001",
    )


def test_iis_and_ews_requests_are_rows_of_one_table() -> None:
    iis = b"#Fields: date time cs-method cs-uri-stem cs-uri-query cs-username c-ip cs(User-Agent) sc-status\n2026-03-02 08:00:00 POST /EWS/Exchange.asmx SoapAction=DeleteItem; CONTOSO\\eva 203.0.113.7 python-requests/2 200\n"
    ews = b"#Fields: DateTime,RequestId,AuthenticatedUser,ClientIpAddress,SoapAction,HttpStatus\n2026-03-02T08:00:00Z,r,eva@contoso.example,203.0.113.7,DeleteItem,200\n"

    with loaded(iis, ews) as case:
        rows = case.rows("W3CIISLog")

    assert [row["cIP"] for row in rows] == ["203.0.113.7", "203.0.113.7"]
    assert all("SoapAction=DeleteItem" in row["csUriQuery"] for row in rows)


# -- settings --------------------------------------------------------------------------------------------------------------------------

SETTINGS: list[tuple[Json, tuple[str, str, str, bool | None]]] = [
    (
        {
            "Name": ".",
            "Enabled": True,
            "Priority": 1,
            "RuleIdentity": 42,
            "DeleteMessage": True,
            "MoveToFolder": None,
            "Identity": "eva\\42",
        },
        ("InboxRule", "eva", ".", True),
    ),
    (
        {
            "id": "A",
            "displayName": "..",
            "sequence": 1,
            "isEnabled": False,
            "conditions": {},
            "actions": {"delete": True},
        },
        ("MessageRule", "", "..", False),
    ),
    (
        {
            "Name": ".",
            "State": "Enabled",
            "Mode": "Enforce",
            "Priority": 0,
            "SetAuditSeverity": "DoNotAudit",
            "DeleteMessage": True,
        },
        ("TransportRule", "", ".", True),
    ),
    (
        {
            "Identity": "Eva",
            "Name": "Eva",
            "AuditEnabled": False,
            "LitigationHoldEnabled": False,
            "PrimarySmtpAddress": "Eva@contoso.example",
        },
        ("Mailbox", "eva@contoso.example", "Eva", False),
    ),
    (
        {"Identity": "svc", "Name": "svc", "AuditBypassEnabled": True},
        ("MailboxAuditBypassAssociation", "svc", "svc", None),
    ),
    (
        {"AuditDisabled": True, "ElcProcessingDisabled": False, "Name": "contoso"},
        ("OrganizationConfig", "", "contoso", None),
    ),
    ({"Name": "keep", "RetentionPolicyTagLinks": ["a"]}, ("RetentionPolicy", "", "keep", None)),
    (
        {
            "Identity": "eva\\x2hlsdpG",
            "Name": "news",
            "Enabled": True,
            "KeepLatest": 1,
            "SourceFolder": "Inbox",
            "Provider": "Exchange16",
        },
        ("SweepRule", "eva", "news", True),
    ),
    (
        {
            "Identity": "Copy",
            "Enabled": True,
            "Priority": 1,
            "TransportAgentFactory": "A.B",
            "AssemblyPath": "C:\\a.dll",
        },
        ("TransportAgent", "", "", True),
    ),
    (
        {
            "Identity": "ex01\\Relay",
            "Name": "Relay",
            "Enabled": True,
            "AuthMechanism": "Tls",
            "RemoteIPRanges": ["192.0.2.7"],
        },
        ("ReceiveConnector", "", "Relay", True),
    ),
    (
        {
            "Identity": "Out",
            "Name": "Out",
            "Enabled": False,
            "AddressSpaces": ["SMTP:*;1"],
            "SmartHosts": [],
            "DNSRoutingEnabled": True,
        },
        ("SendConnector", "", "Out", False),
    ),
    (
        {
            "Identity": "eva",
            "User": "CONTOSO\\mallory",
            "AccessRights": ["FullAccess"],
            "Deny": False,
            "IsInherited": False,
        },
        ("MailboxPermission", "eva", "", None),
    ),
]


@pytest.mark.parametrize(("members", "shape"), SETTINGS, ids=[row[1][0] for row in SETTINGS])
def test_settings_are_snapshots_of_their_kind(
    members: Json, shape: tuple[str, str, str, bool | None]
) -> None:
    with loaded(json.dumps([members]).encode()) as case:
        row = case.rows("SettingsSnapshot")[0]

    assert shape == (row["Kind"], row["Mailbox"], row["Name"], row["Enabled"])
    assert members == row["Settings"]


@pytest.mark.skipif(
    not (PUBLIC / "exchange-clixml").exists(), reason="the public samples are not on this machine"
)
@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("GetOrganizationConfig.xml", "OrganizationConfig", 1),
        ("GetAcceptedDomain.xml", "AcceptedDomain", 3),
        ("GetReceiveConnector.xml", "ReceiveConnector", 5),
    ],
)
def test_real_clixml_is_read(name: str, kind: str, count: int) -> None:
    items = [item for item in clixml.read(PUBLIC / "exchange-clixml" / name) if isinstance(item, RawRecord)]

    assert [kind] * count == [item.data["Kind"] for item in items]
    assert all(item.data["Settings"] and item.data["Name"] for item in items)


# -- hostile and damaged files -----------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "x"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_entities_are_refused_and_what_stands_outside_is_kept(tmp_path: Path) -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>\n'
        + XML.replace('"Search-Mailbox"', '"&b;&f;"')
    )

    items = list(exchange_xml.read(written(tmp_path, bomb)))

    assert items
    assert all(isinstance(item, Damage) or item.salvaged for item in items)
    assert "root:" not in str(items)
    assert "aaaaaaaa" not in str(items)


def test_an_event_with_a_broken_neighbour_is_read(tmp_path: Path) -> None:
    one = XML[len("<SearchResults>") : -len("</SearchResults>")]
    broken = one[: one.index("Force")]

    items = list(
        exchange_xml.read(written(tmp_path, "<SearchResults>\n" + "\n".join([one, broken, one, one[:-20]])))
    )

    assert [item.salvaged for item in items if isinstance(item, RawRecord)] == [False, True, False, True]


def test_the_place_of_an_event_is_its_bytes(tmp_path: Path) -> None:
    text = "<SearchResults>\n  " + XML[len("<SearchResults>") :]
    path = written(tmp_path, text)

    item = next(iter(exchange_xml.read(path)))

    assert (
        text[18 : text.rindex("</SearchResults>")].encode()
        == path.read_bytes()[item.offset : item.offset + item.length]
    )
    assert item.line == 2


def test_deep_elements_end_the_element_only(tmp_path: Path) -> None:
    deep = "<SearchResults>" + "<Event Cmdlet='x'>" + "<a>" * 100_000 + XML[len("<SearchResults>") :]

    items = list(exchange_xml.read(written(tmp_path, deep)))

    assert "Search-Mailbox" in [item.data["Cmdlet"] for item in items if isinstance(item, RawRecord)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_xml_gives_records_and_damage_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = bytearray(
        (CLIXML if data.draw(st.booleans()) else XML.replace("</Event>", "</Event>\n" + XML[15:-16])).encode()
    )
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + 3] = data.draw(st.binary(max_size=6))
    path = tmp_path_factory.mktemp("x") / "x"
    path.write_bytes(text[: data.draw(st.integers(1, len(text)))])

    items = [*exchange_xml.read(path), *clixml.read(path)]

    assert all(item.offset >= 0 and item.offset + item.length <= path.stat().st_size for item in items)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_a_header_are_lines_or_damage(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("x") / "x"
    path.write_bytes(TRACKING.encode() + rest)

    items = [*fields_log.read(path), *exchange_logs.read(path)]

    assert all(item.offset + item.length <= path.stat().st_size for item in items)


def test_a_quote_left_open_costs_one_line(tmp_path: Path) -> None:
    good = "2026-03-02T08:00:02Z,,EX01,SMTP,SEND,<a@b.example>,g,eva@contoso.example,1,x,ap@b.example,Incoming,y\n"
    bad = good.replace(",x,", ',"x,')

    items = list(fields_log.read(written(tmp_path, TRACKING + bad + good * 500)))

    assert sum(isinstance(item, RawRecord) for item in items) == 500
    assert sum(isinstance(item, Damage) for item in items) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=30),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["Name", "Value", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_any_parameters_give_a_bag(value: object) -> None:
    assert isinstance(exchange_audit.bag(value), dict)
    assert isinstance(exchange_audit.properties(value), list)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "AuditBypassEnabled",
                "Identity",
                "Mailbox",
                "Name",
                "Enabled",
                "State",
                "DeleteMessage",
                "RuleIdentity",
            ]
        ),
        st.none() | st.booleans() | st.text(max_size=10) | st.lists(st.text(max_size=3), max_size=2),
        max_size=6,
    )
)
def test_any_settings_give_a_snapshot_or_none(members: Json) -> None:
    snapshot = settings_snapshot.Preparer().prepare(members)

    assert snapshot is None or snapshot["Kind"]


def test_elements_of_an_empty_file(tmp_path: Path) -> None:
    assert list(safe_xml.elements(written(tmp_path, ""), lambda *_: True, b"<x")) == []
