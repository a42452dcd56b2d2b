"""Generated event logs of hosts and tenants: eslogger and the unified log of macOS, Google Workspace, and Windows events as three programs export them.

Every record follows a shape that the product documents or that a sample shows; names, addresses and texts are invented. The same
seed gives the same bytes. `damage` breaks records the way transfers and full disks do: cut, overwritten, without a beginning.
"""

from __future__ import annotations

import csv
import io
import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Record = dict[str, Any]  # Any: JSON values

_PEOPLE = [f"user{number}@contoso.example" for number in range(200)]
_STEP_SECONDS = 7


def _time(number: int) -> str:
    seconds = number * _STEP_SECONDS % 86_400
    day = 1 + number * _STEP_SECONDS // 86_400 % 28
    return f"2026-03-{day:02d}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{number % 1000:03d}"


# -- macOS -------------------------------------------------------------------------------------------------------------


def _process(path: str, pid: int) -> Record:
    token = {
        "pid": pid,
        "euid": 501,
        "auid": 501,
        "ruid": 501,
        "rgid": 20,
        "egid": 20,
        "asid": 100_013,
        "pidversion": pid * 3,
    }
    return {
        "audit_token": token, "parent_audit_token": token | {"pid": 1}, "responsible_audit_token": token, "ppid": 1, "original_ppid": 1,
        "group_id": pid, "session_id": 1, "codesigning_flags": 570_509_313, "is_platform_binary": True, "is_es_client": False,
        "cdhash": f"{pid * 7919:040x}", "signing_id": "com.apple." + path.rsplit("/", 1)[-1], "team_id": None, "tty": None,
        "start_time": "2026-03-02T08:00:00.000000Z",
        "executable": {"path": path, "path_truncated": False, "stat": {"st_dev": 16_777_231, "st_ino": pid * 31, "st_mode": 33_261, "st_size": 134_000}},
    }  # fmt: skip


def _file(path: str) -> Record:
    return {
        "path": path,
        "path_truncated": False,
        "stat": {"st_dev": 1, "st_ino": len(path), "st_mode": 33_188, "st_size": 4096, "st_uid": 501},
    }


def eslogger(number: int, choose: random.Random) -> Record:
    """Return one Endpoint Security event."""
    pid = choose.randrange(300, 60_000)
    path = f"/Users/eva/Library/Mail/V10/{pid % 64:02X}/INBOX.mbox/Messages/{number}.emlx"
    other = f"/Users/eva/Library/Caches/app{pid % 50}/{number}.db"
    events: list[Record] = [
        {"exec": {"target": _process("/usr/bin/grep", pid), "args": ["grep", "-r", f"word{number}", "."], "env": [], "cwd": _file("/Users/eva"), "script": None}},
        {"unlink": {"target": _file(path if number % 97 == 0 else other), "parent_dir": _file("/Users/eva/Library")}},
        {"open": {"fflag": 1 + number % 3, "file": _file(other)}},
        {"close": {"modified": number % 4 == 0, "target": _file(other)}},
        {"rename": {"source": _file(other), "destination_type": 1, "destination": {"new_path": {"dir": _file("/Users/eva/Documents"), "filename": f"{number}.txt"}}}},
        {"create": {"destination_type": 1, "destination": {"new_path": {"dir": _file("/private/tmp"), "filename": f"{number}.tmp", "mode": 420}}, "acl": None}},
        {"write": {"target": _file(other)}},
        {"fork": {"child": _process("/bin/zsh", pid + 1)}},
    ]  # fmt: skip
    return {
        "schema_version": 1, "version": 7, "time": _time(number) + "Z", "mach_time": number * 1000, "event_type": number % 90, "action_type": 1,
        "seq_num": number, "global_seq_num": number, "thread": {"thread_id": pid * 11}, "process": _process("/bin/zsh", pid),
        "action": {"result": {"result_type": 0, "result": {"auth": 0}}}, "event": choose.choice(events),
    }  # fmt: skip


def unified_log(number: int, choose: random.Random) -> Record:
    """Return one message as `log show --style ndjson` writes it."""
    program, subsystem, category = choose.choice(
        [
            ("/usr/libexec/tccd", "com.apple.TCC", "access"),
            ("/System/Applications/Mail.app/Contents/MacOS/Mail", "com.apple.mail", "IMAP"),
            ("/usr/libexec/runningboardd", "com.apple.runningboard", "process"),
            ("/kernel", "", ""),
        ]
    )
    return {
        "timezoneName": "", "messageType": "Default", "eventType": "logEvent", "source": None, "formatString": "%{public}s: %d", "userID": 501, "activityIdentifier": 0,
        "subsystem": subsystem, "category": category, "threadID": 7_000 + number % 97, "senderImageUUID": "C1F5E1B0-0000-3C1A-8A2E-5D7B6C1F0A11", "backtrace": {"frames": [{"imageOffset": number % 65_536, "imageUUID": "C1F5E1B0-0000-3C1A-8A2E-5D7B6C1F0A11"}]},
        "bootUUID": "11111111-2222-3333-4444-555555555555", "processImagePath": program, "senderImagePath": program, "timestamp": _time(number).replace("T", " ") + "000+0000",
        "machTimestamp": number * 1000, "eventMessage": f"connection {number}: state changed to {number % 5}", "processImageUUID": "C1F5E1B0-0000-3C1A-8A2E-5D7B6C1F0A12",
        "traceID": number * 31, "processID": 300 + number % 500, "senderProgramCounter": number % 65_536, "parentActivityIdentifier": 0,
    }  # fmt: skip


# -- Google ------------------------------------------------------------------------------------------------------------


def _parameter(name: str, kind: str, value: object) -> Record:
    return {"name": name, kind: value}


def google(number: int, choose: random.Random) -> Record:
    """Return one activity of the Reports API."""
    who = choose.choice(_PEOPLE)
    kind = choose.randrange(10)
    if kind < 6:  # noqa: PLR2004 - six of ten are about mail
        info = [_parameter("mail_event_type", "intValue", str(choose.choice([1, 2, 10, 15, 23, 27]))), _parameter("timestamp_usec", "intValue", str(1_772_000_000_000_000 + number)),
                _parameter("success", "boolValue", True), _parameter("elapsed_time_usec", "intValue", "82431")]  # fmt: skip
        message = [_parameter("subject", "value", f"Quarterly figures {number}"), _parameter("rfc2822_message_id", "value", f"<{number}@contoso.example>"),
                   _parameter("payload_size", "intValue", "20481"), _parameter("is_spam", "boolValue", False), _parameter("num_message_attachments", "intValue", "1")]  # fmt: skip
        events = [{"type": "delivery_type", "name": "delivery", "parameters": [{"name": "event_info", "messageValue": {"parameter": info}}, {"name": "message_info", "messageValue": {"parameter": message}}]}]  # fmt: skip
        application = "gmail"
    elif kind < 9:  # noqa: PLR2004 - three of ten are sign-ins
        events = [{"type": "login", "name": "login_success", "parameters": [_parameter("login_type", "value", "google_password"), _parameter("is_suspicious", "boolValue", False)]}]  # fmt: skip
        application = "login"
    else:
        events = [{"type": "EMAIL_SETTINGS", "name": "CHANGE_EMAIL_SETTING", "parameters": [_parameter("SETTING_NAME", "value", "x"), _parameter("USER_EMAIL", "value", who)]}] * (1 + number % 2)  # fmt: skip
        application = "admin"
    return {
        "kind": "admin#reports#activity", "id": {"time": _time(number) + "Z", "uniqueQualifier": str(number), "applicationName": application, "customerId": "C01234567"},
        "etag": f'"{number:064x}"', "actor": {"email": who, "profileId": "104720000000000000001", "callerType": "USER"}, "ownerDomain": "contoso.example",
        "ipAddress": f"203.0.113.{number % 250}", "networkInfo": {"ipAsn": [64_500], "regionCode": "DE", "subdivisionCode": "BY"}, "events": events,
    }  # fmt: skip


def gam_row(number: int, choose: random.Random) -> Record:
    """Return one row as GAM writes activities."""
    who = choose.choice(_PEOPLE)
    return {
        "name": "CHANGE_EMAIL_SETTING" if number % 5000 else "DELETE_MAILBOX_DUMP", "actor.callerType": "USER", "actor.email": who, "actor.profileId": "1047",
        "id.applicationName": "admin", "id.customerId": "C01234567", "id.time": _time(number) + "Z", "id.uniqueQualifier": str(number), "ipAddress": f"203.0.113.{number % 250}",
        "type": "EMAIL_SETTINGS", "USER_EMAIL": who, "SETTING_NAME": "x", "NEW_VALUE": f"value, {number}", "OLD_VALUE": "",
    }  # fmt: skip


# -- Windows -----------------------------------------------------------------------------------------------------------


def _windows(number: int, choose: random.Random) -> tuple[str, str, int, dict[str, str], int]:
    """Return provider, channel, event id, event data and version of one event."""
    guid = f"{{{number:08x}-ea3b-61b8-8d01-000000000800}}"
    kind = choose.randrange(20)
    who = {
        "SubjectUserSid": "S-1-5-21-1-2-3-1104",
        "SubjectUserName": "eva",
        "SubjectDomainName": "CONTOSO",
        "SubjectLogonId": f"0x{number:x}",
    }
    security, sysmon = "Microsoft-Windows-Security-Auditing", "Microsoft-Windows-Sysmon"
    utc = _time(number).replace("T", " ")
    if kind < 6:  # noqa: PLR2004 - shares of a server with Sysmon
        return security, "Security", 4624, who | {"TargetUserSid": "S-1-5-18", "TargetUserName": "SYSTEM", "TargetDomainName": "NT AUTHORITY", "LogonType": "3", "IpAddress": "192.0.2.7", "IpPort": "0", "LogonProcessName": "Kerberos", "AuthenticationPackageName": "Kerberos", "WorkstationName": "WS07", "LogonGuid": guid}, 2  # fmt: skip
    if kind < 9:  # noqa: PLR2004
        return security, "Security", 4688, who | {"NewProcessId": f"0x{number:x}", "NewProcessName": "C:\\Windows\\System32\\cmd.exe", "TokenElevationType": "%%1936", "ProcessId": "0x2c4", "CommandLine": f'cmd.exe /c "dir {number}"', "ParentProcessName": "C:\\Windows\\explorer.exe", "MandatoryLabel": "S-1-16-8192"}, 2  # fmt: skip
    if kind < 12:  # noqa: PLR2004
        return security, "Security", 4663, who | {"ObjectServer": "Security", "ObjectType": "File", "ObjectName": f"C:\\Mail\\{number}.edb", "HandleId": f"0x{number:x}", "AccessList": "%%4416", "AccessMask": "0x1", "ProcessId": "0x2c4", "ProcessName": "C:\\Windows\\explorer.exe", "ResourceAttributes": "-"}, 1  # fmt: skip
    if kind < 16:  # noqa: PLR2004
        return sysmon, f"{sysmon}/Operational", 1, {"RuleName": "-", "UtcTime": utc, "ProcessGuid": guid, "ProcessId": str(number % 60_000), "Image": "C:\\Windows\\System32\\cmd.exe", "FileVersion": "10.0", "Description": "Windows Command Processor", "Product": "Windows", "Company": "Microsoft Corporation", "OriginalFileName": "Cmd.Exe", "CommandLine": f"cmd.exe /c dir {number}", "CurrentDirectory": "C:\\Users\\eva\\", "User": "CONTOSO\\eva", "LogonGuid": guid, "LogonId": "0x3e7", "TerminalSessionId": "1", "IntegrityLevel": "Medium", "Hashes": f"SHA1={number:040X},MD5={number:032X},SHA256={number:064X}", "ParentProcessGuid": guid, "ParentProcessId": "708", "ParentImage": "C:\\Windows\\explorer.exe", "ParentCommandLine": "explorer.exe"}, 5  # fmt: skip
    if kind < 19:  # noqa: PLR2004
        return sysmon, f"{sysmon}/Operational", choose.choice([11, 23]), {"RuleName": "-", "UtcTime": utc, "ProcessGuid": guid, "ProcessId": "4711", "Image": "C:\\Windows\\explorer.exe", "TargetFilename": f"C:\\Users\\eva\\{number}.txt", "CreationUtcTime": utc, "User": "CONTOSO\\eva"}, 2  # fmt: skip
    return "Microsoft-Windows-PowerShell", "Microsoft-Windows-PowerShell/Operational", 4104, {"MessageNumber": "1", "MessageTotal": "1", "ScriptBlockText": f"Get-ChildItem -Path C:\\Temp\\{number % 500} | Where-Object {{ $_.Length -gt 10 }}", "ScriptBlockId": guid.strip("{}"), "Path": ""}, 1  # fmt: skip


def evtx_dump(number: int, choose: random.Random) -> Record:
    """Return one event as the tree of its XML."""
    provider, channel, event, data, version = _windows(number, choose)
    return {"Event": {"#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"}, "System": {
        "Provider": {"#attributes": {"Name": provider, "Guid": "54849625-5478-4994-A5BA-3E3B0328C30D"}}, "EventID": event, "Version": version, "Level": 4, "Task": event,
        "Opcode": 0, "Keywords": "0x8020000000000000", "TimeCreated": {"#attributes": {"SystemTime": _time(number) + "000Z"}}, "EventRecordID": number,
        "Correlation": None, "Execution": {"#attributes": {"ProcessID": 4, "ThreadID": 88}}, "Channel": channel, "Computer": "ws07.contoso.example", "Security": None}, "EventData": data}}  # fmt: skip


def winlogbeat(number: int, choose: random.Random) -> Record:
    """Return one event as Winlogbeat ships it."""
    provider, channel, event, data, version = _windows(number, choose)
    return {
        "@timestamp": _time(number) + "Z", "event": {"code": str(event), "kind": "event", "provider": provider, "action": "x", "created": _time(number) + "Z"}, "log": {"level": "information"},
        "winlog": {"channel": channel, "provider_name": provider, "provider_guid": "{54849625-5478-4994-A5BA-3E3B0328C30D}", "event_id": event, "record_id": number, "computer_name": "ws07.contoso.example",
                   "api": "wineventlog", "opcode": "Info", "version": version, "task": "x", "keywords": ["Audit Success"], "process": {"pid": 4, "thread": {"id": 88}}, "event_data": data},
        "host": {"name": "ws07.contoso.example"}, "ecs": {"version": "8.0.0"}, "agent": {"type": "winlogbeat", "version": "8.12.0", "hostname": "ws07"},
        "message": f"An event happened.\n\nSubject:\n\tSecurity ID:\t\tS-1-5-18\n\tNumber:\t\t{number}",
    }  # fmt: skip


def sentinel(number: int, choose: random.Random) -> Record:
    """Return one row of Sentinel's WindowsEvent."""
    provider, channel, event, data, version = _windows(number, choose)
    return {
        "TenantId": "00000000-0000-0000-0000-000000000001", "TimeGenerated": _time(number) + "Z", "Provider": provider, "Channel": channel, "Computer": "ws07.contoso.example", "Task": event,
        "EventLevel": 4, "EventLevelName": "Information", "EventID": event, "EventOriginId": f"{number:032x}", "EventRecordId": str(number), "Keywords": "0x8020000000000000", "Version": version,
        "EventData": data, "SystemUserId": "S-1-5-18", "Type": "WindowsEvent",
    }  # fmt: skip


MAKERS: dict[str, Callable[[int, random.Random], Record]] = {
    "eslogger": eslogger, "unified-log": unified_log, "google": google, "google-list": google, "gam-csv": gam_row, "evtx_dump": evtx_dump, "winlogbeat": winlogbeat, "sentinel": sentinel,
}  # fmt: skip


def damaged(line: bytes, choose: random.Random) -> bytes:
    """Return a record cut at its end, overwritten in its middle, or without its beginning."""
    place = choose.randrange(1, max(2, len(line) - 1))
    kind = choose.randrange(3)
    return (line[:place], line[:place] + b"\xff\xfe\x00" + line[place + 3 :], line[place:])[kind] or b"x"


def _lines(form: str, records: int, damage: float, seed: int) -> Iterator[bytes]:
    choose, breaker = random.Random(seed), random.Random(seed + 1)
    make = MAKERS[form]
    for number in range(records):
        record = make(number, choose)
        line = _row(record) if form == "gam-csv" else json.dumps(record, separators=(",", ":")).encode()
        yield damaged(line, breaker) if breaker.random() < damage else line


def _row(record: Record) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(record.values())
    return text.getvalue().encode()


def write(path: Path, form: str, records: int, damage: float = 0.0, seed: int = 1) -> None:
    """Write a log of ``records`` records, of which the share ``damage`` is broken."""
    lines = _lines(form, records, damage, seed)
    with path.open("wb") as out:
        if form == "gam-csv":
            out.write(",".join(gam_row(0, random.Random(0))).encode() + b"\n")
        if form == "google-list":
            out.write(b'{"kind":"admin#reports#activities","etag":"x","items":[\n')
            out.write(b",\n".join(lines) + b"\n]}\n")
        else:
            out.writelines(line + b"\n" for line in lines)
