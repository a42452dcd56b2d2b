"""No rule rests on an English folder name, on a tool's name alone, or on a path that the system itself touches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailwitness.clinic.defects import Patient, folder_names
from mailwitness.clinic.shape import comparisons
from mailwitness.content import loader
from mailwitness.pipeline import Progress, Settings, investigate

from ..case_runs import NOW

Row = dict[str, Any]  # Any: JSON values

# What tools do all day: each is a tool that clears mail when it is let loose on it, and here it is not.
COMMANDS = {
    "Windows": [
        "powershell.exe -NoProfile -Command Get-Process", "pwsh.exe -File C:\\Tools\\inventory.ps1", "wevtutil.exe qe Application /c:5",
        "sdelete64.exe C:\\Temp\\setup.log", "cipher.exe /w:D:\\Scratch", "cmd.exe /c del C:\\Temp\\a.log", "robocopy.exe C:\\A D:\\B /MIR",
        "esentutl.exe /mh C:\\Temp\\x.edb", "vssadmin.exe list shadows", "auditpol.exe /get /category:*", "reg.exe query HKCU\\Software",
        "OUTLOOK.EXE /recycle", "SCANPST.EXE", "net.exe stop spooler", "schtasks.exe /query",
        "powershell.exe -Command Get-MailboxExportRequest -Status Completed", "powershell.exe Get-TransportRule",
    ],
    "Linux": [
        "rm -rf /tmp/build", "truncate -s 0 /tmp/trace", "shred -u /home/eva/key.pem", "mail -s report bob@contoso.example", "mailx -H", "mutt",
        "s-nail -H", "doveadm who", "doveadm mailbox list -u eva", "doveadm quota get -u eva", "postsuper -r ALL", "postqueue -p", "mailq", "exim -bp",
        "sqlite3 /srv/app.db vacuum", "journalctl -u dovecot", "auditctl -l", "sed -i s/a/b/ /etc/hosts", "find /var/tmp -mtime +7 -delete",
        "systemctl status rsyslog", "systemctl reload postfix", "chattr +i /etc/resolv.conf", "dd if=/dev/zero of=/tmp/disk bs=1M count=1",
        "mount /dev/sdb1 /mnt", "perl -i -pe s/x/y/ /etc/motd", "formail -x Subject", "postmap /etc/postfix/virtual", "touch /tmp/x", "tar xf mail-tool.tgz",
    ],
    "macOS": [
        "osascript -e 'display dialog \"Backup done\"'", "osascript -e 'tell application \"Finder\" to empty trash'",
        "sqlite3 /Users/eva/Library/Safari/History.db .tables", "rm -rf /Users/eva/Downloads/old", "tmutil listbackups", "defaults read com.apple.mail",
        "log show --last 5m", "plutil -p /Users/eva/x.plist", "srm /Users/eva/secret", "find /Users/eva/Downloads -delete", "tccutil help",
    ],
}  # fmt: skip
# What the system and the mail programs do to their own files; a path-only rule calls each of these an attack.
TOUCHED = {
    "Windows": [
        ("svchost.exe -k UnistackSvcGroup -s UserDataSvc", "FileDeleted", "C:\\Users\\eva\\AppData\\Local\\Comms\\Unistore\\data\\AggregateCache.uca"),
        ("svchost.exe -k UnistackSvcGroup -s UserDataSvc", "FileDeleted", "C:\\Users\\eva\\AppData\\Local\\Comms\\UnistoreDB\\tmp.edb"),
        ("svchost.exe -k UnistackSvcGroup -s UserDataSvc", "FileModified", "C:\\Users\\eva\\AppData\\Local\\Comms\\UnistoreDB\\store.vol"),
        ("HxTsr.exe", "FileDeleted", "C:\\Users\\eva\\AppData\\Local\\Comms\\Unistore\\data\\3\\a\\7.dat"),
        ("HxOutlook.exe", "FileDeleted", "C:\\Users\\eva\\AppData\\Local\\Packages\\microsoft.windowscommunicationsapps_8wekyb3d8bbwe\\LocalState\\HxStore.hxd"),
        ("OUTLOOK.EXE", "FileDeleted", "C:\\Users\\eva\\AppData\\Local\\Microsoft\\Outlook\\~eva@contoso.example.ost.tmp"),
        ("OUTLOOK.EXE", "FileModified", "C:\\Users\\eva\\AppData\\Local\\Microsoft\\Outlook\\eva@contoso.example.ost"),
        ("SearchIndexer.exe", "FileDeleted", "C:\\ProgramData\\Microsoft\\Search\\Data\\Applications\\Windows\\mail.crwl"),
        ("w3wp.exe", "FileDeleted", "C:\\inetpub\\logs\\LogFiles\\W3SVC1\\u_ex250101.log"),
        ("thunderbird.exe", "FileModified", "C:\\Users\\eva\\AppData\\Roaming\\Thunderbird\\Profiles\\a.default\\Mail\\Local Folders\\Inbox"),
    ],
    "Linux": [
        ("/usr/lib/postfix/sbin/local -t unix", "FileModified", "/var/mail/eva"),
        ("/usr/lib/dovecot/imap", "FileDeleted", "/home/eva/Maildir/cur/1712.M1.mail:2,S"),
        ("/usr/lib/dovecot/imap", "FileModified", "/home/eva/Maildir/dovecot.index.log"),
        ("/usr/sbin/exim4 -bd", "FileDeleted", "/var/spool/exim4/input/1abc-D"),
        ("/usr/lib/postfix/sbin/qmgr", "FileDeleted", "/var/spool/postfix/active/4ABC"),
        ("/usr/sbin/logrotate /etc/logrotate.conf", "FileRenamed", "/var/log/mail.log.1"),
        ("/usr/sbin/rsyslogd -n", "FileModified", "/var/log/mail.log"),
        ("/usr/bin/systemd-tmpfiles --clean", "FileDeleted", "/srv/scratch/mail-x.tmp"),
    ],
    "macOS": [
        ("/System/Applications/Mail.app/Contents/MacOS/Mail", "FileDeleted", "/Users/eva/Library/Mail/V10/A/INBOX.mbox/Messages/4711.emlx"),
        ("/System/Applications/Mail.app/Contents/MacOS/Mail", "FileModified", "/Users/eva/Library/Mail/V10/MailData/Envelope Index"),
        ("/System/Applications/Mail.app/Contents/MacOS/Mail", "FileModified", "/Users/eva/Library/Mail/V10/MailData/SyncedRules.plist"),
        ("/System/Library/PrivateFrameworks/EmailDaemon.framework/maild", "FileModified", "/Users/eva/Library/Mail/V10/MailData/Envelope Index-wal"),
        ("/System/Library/Frameworks/CoreServices.framework/mds_stores", "FileModified", "/Users/eva/Library/Mail/V10/MailData/Envelope Index-shm"),
        ("/usr/libexec/syslogd", "FileDeleted", "/private/var/log/asl/2026.01.01.asl"),
    ],
}  # fmt: skip


def streamed(table: str, number: int, host: str, properties: Row) -> str:
    """Return a row as Defender's streaming API writes it, a minute after the one before."""
    at = f"2026-03-02T{8 + number // 60:02d}:{number % 60:02d}:00Z"
    shared = {"Timestamp": at, "DeviceName": f"{host.lower()}.contoso.example", "ReportId": number}
    return json.dumps({"time": at, "category": f"AdvancedHunting-{table}", "properties": shared | properties})


def evidence() -> Iterator[tuple[str, str]]:
    """Yield what was done, in words, and its record."""
    number = 0
    for host, lines in COMMANDS.items():
        for line in lines:
            program = line.split()[0]
            folder = {
                "Windows": f"C:\\Windows\\System32\\{program}",
                "Linux": f"/usr/bin/{program}",
                "macOS": f"/usr/bin/{program}",
            }[host]
            row = {
                "ActionType": "ProcessCreated",
                "FileName": program,
                "FolderPath": folder,
                "ProcessCommandLine": line,
                "AccountName": "eva",
            }
            yield f"{host}: {line}", streamed("DeviceProcessEvents", number, host, row)
            number += 1
    for host, touched in TOUCHED.items():
        for line, action, path in touched:
            program = line.split()[0]
            folder = f"C:\\Windows\\System32\\{program}" if host == "Windows" else program
            row = {
                "ActionType": action, "FileName": re.split(r"[\\/]", path)[-1], "FolderPath": path, "InitiatingProcessFileName": re.split(r"[\\/]", program)[-1],
                "InitiatingProcessFolderPath": folder, "InitiatingProcessCommandLine": line, "InitiatingProcessAccountName": "eva",
            }  # fmt: skip
            yield f"{host}: {line} {action} {path}", streamed("DeviceFileEvents", number, host, row)
            number += 1


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Row:
    """Everything above in one case, judged by every rule and chain."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "defender.json").write_text("\n".join(record for _, record in evidence()), "utf-8")
    return investigate(
        [folder / "defender.json"], folder / "case", Settings(now=NOW, proof="never"), Progress()
    ).report


def test_no_rule_fires_on_the_name_of_a_tool_or_on_a_path_that_the_system_touches(report: Row) -> None:
    words = [said for said, _ in evidence()]

    found = [
        f"{finding['severity']} {finding['title']}: {words[finding['position']['record']]}"
        for case in report["cases"]
        for finding in case["findings"]
    ]

    assert [(row["records"], row["loaded"]) for row in report["intake"]] == [(len(words), len(words))]
    assert found == []


def test_no_query_compares_a_folder_with_a_name_in_one_language() -> None:
    english, _ = folder_names()
    queries = [(path.stem, rule.query) for path, rule in [*loader.rules(), *loader.hunts()]]
    queries += [(path.stem, explanation.query) for path, explanation in loader.explanations()]
    for path, chain in loader.chains():
        parts = chain.parts().values()
        queries += [
            (path.stem, part.query or f"MailboxActivity | where {part.filter}")
            for part in parts
            if not part.rule
        ]

    found = []
    for name, query in queries:
        patient = Patient(query)
        for step in (step for segment in patient.segments for step in segment.steps):
            for one in comparisons(step, patient.lists):
                if one.column in {"Folder", "DestinationFolder"}:
                    names = {
                        part.strip().lower() for value in one.values for part in re.split(r"[\\/]", value)
                    }
                    found += [f"{name}: {one.text}"] if names & english else []

    assert len(queries) > 200
    assert found == []
