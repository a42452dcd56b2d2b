"""Sigma rules fire on the rows they mean, and on no other; what would be silently dead is refused with its reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwitness.content_check import Bench

from .rules import given, query_of, reason_of, rows_of, sigma

Row = dict[str, Any]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    opened = Bench()
    yield opened
    opened.close()


AUDIT = {"product": "m365", "service": "audit"}
SOURCES: list[tuple[str, dict[str, str], dict[str, Any], str, Row, Row]] = [
    (
        "unified audit log",
        AUDIT,
        {
            "sel": {"Operation": ["New-InboxRule", "Set-InboxRule"], "Parameters|contains": "DeleteMessage"},
            "condition": "sel",
        },
        "OfficeActivity",
        {"Operation": "new-inboxrule", "Parameters": '[{"Name":"DeleteMessage"}]'},
        {"Operation": "New-InboxRule", "Parameters": '[{"Name":"MarkAsRead"}]'},
    ),
    (
        "one parameter of the unified audit log",
        AUDIT,
        {"sel": {"Parameters.AuditEnabled": False}, "condition": "sel"},
        "OfficeActivity",
        {"Operation": "Set-Mailbox", "ParametersBag": {"AuditEnabled": "False"}},
        {"Operation": "Set-Mailbox", "ParametersBag": {"AuditEnabled": "True"}},
    ),
    (
        "numbers that the table writes as words",
        AUDIT,
        {"sel": {"LogonType": 2}, "condition": "sel"},
        "OfficeActivity",
        {"Logon_Type": "Delegated"},
        {"Logon_Type": "Owner"},
    ),
    (
        "words without a field in the management log",
        {"product": "windows", "service": "msexchange-management"},
        {"words": {"|all": ["Remove-MailboxExportRequest", '-Confirm "False"']}, "condition": "words"},
        "Event",
        {
            "EventLog": "MSExchange Management",
            "Cmdlet": "Remove-MailboxExportRequest",
            "CmdletText": '-Identity "ceo" -Confirm "False"',
        },
        {
            "EventLog": "MSExchange Management",
            "Cmdlet": "Remove-MailboxExportRequest",
            "CmdletText": '-Identity "ceo"',
        },
    ),
    (
        "script block",
        {"product": "windows", "category": "ps_script"},
        {"sel": {"ScriptBlockText|contains|all": ["Search-Mailbox", "-DeleteContent"]}, "condition": "sel"},
        "Event",
        {
            "EventLog": "Microsoft-Windows-PowerShell/Operational",
            "EventID": 4104,
            "ScriptBlockText": "search-mailbox eva -deletecontent",
        },
        {
            "EventLog": "Microsoft-Windows-PowerShell/Operational",
            "EventID": 4103,
            "ScriptBlockText": "search-mailbox eva -deletecontent",
        },
    ),
    (
        "module logging",
        {"product": "windows", "category": "ps_module"},
        {"sel": {"Payload|contains": "CommandInvocation(Remove-Item)"}, "condition": "sel"},
        "Event",
        {
            "EventLog": "Microsoft-Windows-PowerShell/Operational",
            "EventID": 4103,
            "EventDataBag": {"Payload": 'CommandInvocation(Remove-Item): "x"'},
        },
        {
            "EventLog": "Microsoft-Windows-PowerShell/Operational",
            "EventID": 4103,
            "EventDataBag": {"Payload": "CommandInvocation(Get-Item)"},
        },
    ),
    (
        "classic PowerShell",
        {"product": "windows", "category": "ps_classic_start"},
        {"sel": {"Data|contains": "EngineVersion=2."}, "condition": "sel"},
        "Event",
        {"EventLog": "Windows PowerShell", "EventID": 400, "EventData": "<Data>EngineVersion=2.0</Data>"},
        {"EventLog": "Windows PowerShell", "EventID": 600, "EventData": "<Data>EngineVersion=2.0</Data>"},
    ),
    (
        "Windows process",
        {"product": "windows", "category": "process_creation"},
        {
            "sel": {"Image|endswith": "\\wevtutil.exe", "CommandLine|contains": "MSExchange"},
            "condition": "sel",
        },
        "DeviceProcessEvents",
        {
            "FolderPath": "C:\\Windows\\System32\\wevtutil.exe",
            "ProcessCommandLine": 'wevtutil cl "MSExchange Management"',
        },
        {"FolderPath": "C:\\Windows\\System32\\wevtutil.exe", "ProcessCommandLine": "wevtutil cl System"},
    ),
    (
        "Windows file",
        {"product": "windows", "category": "file_delete"},
        {"sel": {"TargetFilename|contains": "\\Logging\\CmdletInfra\\"}, "condition": "sel"},
        "DeviceFileEvents",
        {"ActionType": "FileDeleted", "FolderPath": "C:\\Exchange\\Logging\\CmdletInfra\\a.log"},
        {"ActionType": "FileCreated", "FolderPath": "C:\\Exchange\\Logging\\CmdletInfra\\a.log"},
    ),
    (
        "Windows security log",
        {"product": "windows", "service": "security"},
        {"sel": {"EventID": 4663, "ObjectName|endswith": [".pst", ".ost"]}, "condition": "sel"},
        "SecurityEvent",
        {"EventID": 4663, "ObjectName": "C:\\mail\\a.PST"},
        {"EventID": 4656, "ObjectName": "C:\\mail\\a.pst"},
    ),
    (
        "Linux process",
        {"product": "linux", "category": "process_creation"},
        {
            "sel": {"Image|endswith": ["/rm", "/shred"]},
            "where": {"CommandLine|contains": "/var/mail"},
            "condition": "all of them",
        },
        "DeviceProcessEvents",
        {"FolderPath": "/usr/bin/rm", "ProcessCommandLine": "rm /var/mail/eva", "SourceSystem": "auditd"},
        {"FolderPath": "/bin/rm", "ProcessCommandLine": "rm /var/mail/eva", "SourceSystem": "eslogger"},
    ),
    (
        "Linux audit",
        {"product": "linux", "service": "auditd"},
        {"sel": {"type": "PATH", "nametype": "DELETE", "name|startswith": "/var/mail/"}, "condition": "sel"},
        "LinuxAuditLog",
        {"RecordTypes": "SYSCALL,CWD,PATH,PROCTITLE", "NameType": "DELETE", "ObjectPath": "/var/mail/eva"},
        {"RecordTypes": "SYSCALL,CWD,SOCKADDR", "NameType": "DELETE", "ObjectPath": "/var/mail/eva"},
    ),
    (
        "syslog",
        {"product": "linux", "service": "syslog"},
        {"words": ["mailbox delete", "expunge"], "condition": "words"},
        "Syslog",
        {"SyslogMessage": "imap(eva): expunge: box=INBOX"},
        {"SyslogMessage": "imap(eva): copy: box=INBOX"},
    ),
    (
        "macOS file",
        {"product": "macos", "category": "file_delete"},
        {"sel": {"TargetFilename|re": "/Library/Mail/V[0-9]+/.*\\.emlx$"}, "condition": "sel"},
        "DeviceFileEvents",
        {
            "ActionType": "FileDeleted",
            "FolderPath": "/Users/eva/Library/Mail/V10/a/1.emlx",
            "SourceSystem": "eslogger",
        },
        {
            "ActionType": "FileDeleted",
            "FolderPath": "/Users/eva/Library/Mail/V10/a/1.emlx",
            "SourceSystem": "auditd",
        },
    ),
    (
        "Google Workspace",
        {"product": "gcp", "service": "google_workspace.admin"},
        {
            "sel": {"eventService": "admin.googleapis.com", "eventName": "DELETE_MAILBOX_DUMP"},
            "condition": "sel",
        },
        "GoogleWorkspaceReports",
        {"IdApplicationName": "admin", "EventName": "DELETE_MAILBOX_DUMP"},
        {"IdApplicationName": "drive", "EventName": "DELETE_MAILBOX_DUMP"},
    ),
]


@pytest.mark.parametrize(
    ("logsource", "detection", "table", "hit", "miss"), [s[1:] for s in SOURCES], ids=[s[0] for s in SOURCES]
)
def test_a_rule_of_each_log_source_fires_on_its_row_and_not_on_the_twin(
    bench: Bench,
    tmp_path: Path,
    logsource: dict[str, str],
    detection: dict[str, Any],
    table: str,
    hit: Row,
    miss: Row,
) -> None:
    query = query_of(tmp_path, sigma(logsource, detection))

    found = rows_of(bench, query, **{table: [hit, miss]})

    assert [row["_Position"] for row in found] == [0]


VALUES: list[tuple[str, dict[str, Any], str, str]] = [
    ("wildcards keep their order", {"ObjectId": "a*b*c"}, "xx", "acb"),
    ("a question mark is one sign", {"ObjectId": "a?c"}, "abc", "abbc"),
    ("a literal wildcard", {"ObjectId": "a\\*c"}, "a*c", "abc"),
    ("upper and lower case are the same", {"ObjectId": "CASE"}, "case", "other"),
    ("cased keeps case", {"ObjectId|cased": "Case"}, "Case", "case"),
    ("cased within", {"ObjectId|contains|cased": "Case"}, "aCaseb", "acaseb"),
    ("null is empty", {"ObjectId": None}, "", "x"),
    ("exists", {"ObjectId|exists": True}, "x", ""),
    ("a regular expression keeps case", {"ObjectId|re": "^ab+$"}, "abb", "ABB"),
    ("a regular expression told not to", {"ObjectId|re|i": "^ab+$"}, "ABB", "a"),
    ("quotes and backslashes", {"ObjectId": 'a"\\b'}, 'a"\\b', "ab"),
    ("a network", {"ObjectId|cidr": "192.0.2.0/26"}, "192.0.2.63", "192.0.2.64"),
    ("all of several", {"ObjectId|contains|all": ["ab", "cd"]}, "xcdab", "ab"),
    ("several beginnings", {"ObjectId|startswith": ["ab", "cd"]}, "cdx", "xab"),
    ("an inner blank line of code", {"ObjectId": "a\nb"}, "a\nb", "ab"),
    ("encoded", {"ObjectId|base64offset|contains": "Remove-Mail"}, "xUmVtb3ZlLU1haW", "UmVt"),
]


@pytest.mark.parametrize(("selection", "hit", "miss"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES])
def test_values_mean_what_sigma_says(
    bench: Bench, tmp_path: Path, selection: dict[str, Any], hit: str, miss: str
) -> None:
    hit = "a1b2c" if hit == "xx" else hit
    query = query_of(tmp_path, sigma(AUDIT, {"sel": selection, "condition": "sel"}))

    found = rows_of(bench, query, OfficeActivity=[{"OfficeObjectId": hit}, {"OfficeObjectId": miss}])

    assert [row["OfficeObjectId"] for row in found] == [hit]


def test_not_binds_before_and_before_or(bench: Bench, tmp_path: Path) -> None:
    detection = {
        "a": {"UserId": "a"},
        "b": {"Operation": ["x", "y"]},
        "c": {"ObjectId": "c"},
        "condition": "a and not b or c",
    }
    query = query_of(tmp_path, sigma(AUDIT, detection))
    rows = [
        {"UserId": "a", "Operation": "z"},
        {"UserId": "a", "Operation": "x"},
        {"OfficeObjectId": "c", "Operation": "x"},
    ]

    found = rows_of(bench, query, OfficeActivity=rows)

    assert [row["_Position"] for row in found] == [0, 2]


REFUSED: list[tuple[str, str, str]] = [
    (
        "a dotted field",
        sigma(AUDIT, {"sel": {"properties.message": "x"}, "condition": "sel"}),
        "'properties.message' is no column",
    ),
    (
        "an unknown field",
        sigma(AUDIT, {"sel": {"Nonsense": "x"}, "condition": "sel"}),
        "'Nonsense' is no column",
    ),
    (
        "a word where no text is",
        sigma({"product": "windows", "category": "file_delete"}, {"w": ["x"], "condition": "w"}),
        "in no field",
    ),
    (
        "an unknown log source",
        sigma({"product": "aws", "service": "cloudtrail"}, {"sel": {"a": "x"}, "condition": "sel"}),
        "aws cloudtrail",
    ),
    (
        "an event nobody writes",
        sigma({"product": "windows", "category": "file_access"}, {"sel": {"a": "x"}, "condition": "sel"}),
        "file_access",
    ),
    ("an open value", sigma(AUDIT, {"sel": {"UserId|expand": "%admins%"}, "condition": "sel"}), "%admins%"),
    ("a look-around", sigma(AUDIT, {"sel": {"UserId|re": "a(?!b)"}, "condition": "sel"}), "looks around"),
    ("a pipe", sigma(AUDIT, {"sel": {"UserId": "a"}, "condition": "sel | count() > 5"}), ""),
    ("an unknown modifier", sigma(AUDIT, {"sel": {"UserId|nonsense": "a"}, "condition": "sel"}), "nonsense"),
    ("no condition", sigma(AUDIT, {"sel": {"UserId": "a"}}), ""),
    ("a condition over nothing", sigma(AUDIT, {"sel": {"UserId": "a"}, "condition": "other"}), "other"),
    ("an hour of the day", sigma(AUDIT, {"sel": {"UserId|hour": 3}, "condition": "sel"}), ""),
    ("detection is a list", "title: x\nlogsource: {product: m365}\ndetection: [1]\n", ""),
    ("logsource is a number", "title: x\nlogsource: 5\ndetection: {a: {b: c}, condition: a}\n", ""),
    ("tags are a number", sigma(AUDIT, {"sel": {"UserId": "a"}, "condition": "sel"}, tags=5), ""),
    ("level is a list", sigma(AUDIT, {"sel": {"UserId": "a"}, "condition": "sel"}, level=["high"]), ""),
    (
        "a filter",
        "title: x\nlogsource: {product: m365}\nfilter: {rules: [a], s: {UserId: a}, condition: s}\n",
        "filter",
    ),
]


@pytest.mark.parametrize(("text", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_would_be_silently_dead_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    reason = reason_of(tmp_path, text)

    assert words in reason
    assert "\n" not in reason
    assert len(reason) > 10


def test_the_rule_keeps_level_tags_and_phase(tmp_path: Path) -> None:
    text = sigma(
        AUDIT,
        {"sel": {"UserId": "a"}, "condition": "sel"},
        level="critical",
        status="stable",
        tags=["attack.stealth", "attack.t1070.008"],
        falsepositives=["A clerk"],
    )

    rule = given(tmp_path, one=text).accepted[0].rule

    assert (rule.level(), rule.confidence, rule.relevantTechniques, rule.falsePositives) == (
        "critical",
        "high",
        ["T1070.008"],
        ["A clerk"],
    )
    assert rule.finding is not None
    assert rule.finding.phase == "clearing"
    assert given(tmp_path, one=text).accepted[0].rule == rule


def test_sigma_is_imported_only_for_those_who_give_sigma() -> None:
    code = "import sys; from mailwitness import interactive, pipeline, rule_loading; from mailwitness.content import pack; pack.load(); sys.exit('sigma' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
