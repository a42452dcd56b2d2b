"""Two example reports: a realistic one, and one in which every text is hostile. All names are synthetic."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

Json = dict[str, Any]  # Any: a report is read and written as plain JSON

INTRUDER, OWNER, ADMIN = (
    "dana.reyes@contoso.example",
    "finance.lead@contoso.example",
    "records.admin@contoso.example",
)
WORST_FIRST = ("critical", "high", "medium", "low", "informational")
SESSION, ADDRESS = "0b6f4c52-7d1e-4a0c-9f3b-5e2a91c4d801", "203.0.113.44"

HOSTILE_TEXTS = {
    "script": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "breakout": "</script></style></title></textarea>--><svg onload=document.title='owned'>\"'><b>",
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\link\x9b31m\r\b\x7f",
    "bidi": "invoice\u202efdp.exe\u2066\u2069\u200f\u200b\u200b\u200b\u200b\u200b\ufeff",
    "nul": "before\x00after\n# Heading\n\n| a | b |\u2028line",
    "formula": '=HYPERLINK("http://evil.example","click")',
    "query": "'; DROP TABLE OfficeActivity; -- | where 1==1 | project *",
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "markdown": "[click](javascript:alert(1)) ![x](http://evil.example/p.png) **bold** `code` www.evil.example",
    "zalgo": "Za" + "\u0301" * 60 + "lgo \ud800 \U000e0041",
}


def _raw(operation: str, when: str, **more: Any) -> str:
    record = {
        "CreationTime": when,
        "Id": f"7c1e2d40-0000-4000-8000-{abs(hash_of(operation + when)):012d}",
        "Operation": operation,
        "OrganizationId": "11111111-2222-4333-8444-555555555555",
        "RecordType": 2,
        "ResultStatus": "Succeeded",
        "UserId": INTRUDER,
        "ClientIP": ADDRESS,
        "Workload": "Exchange",
        "SessionId": SESSION,
        "MailboxOwnerUPN": OWNER,
        **more,
    }
    audit_data = json.dumps(record, separators=(",", ":")).replace('"', '""')
    return f'{when}.0000000Z,{INTRUDER},{operation},"{audit_data}"'


def hash_of(text: str) -> int:
    """Return a small number that is the same in every run, unlike `hash`."""
    return sum(ord(character) * (at + 7) for at, character in enumerate(text)) % 10**12


def _finding(rule: str, title: str, severity: str, time: str, record: int, **more: Any) -> Json:
    operation = more.pop("operation", "HardDelete")
    properties = more.pop("properties", {})
    raw = more.pop("raw", _raw(operation, time.rstrip("Z"), **properties))
    return {
        "rule": rule,
        "title": title,
        "severity": severity,
        "confidence": "high",
        "time": time,
        "actor": INTRUDER,
        "mailbox": OWNER,
        "description": "",
        "entities": {"Account": [INTRUDER], "Mailbox": [OWNER], "IP": [ADDRESS]},
        "exhibit": "E1",
        "position": {"record": record, "line": record + 2, "offset": record * 1911 + 214, "length": len(raw)},
        "evidence": {"Operation": operation, "ClientIP": ADDRESS, "SessionId": SESSION},
        "raw": raw,
        "count": 1,
        **more,
    }


def _entry(time: str, phase: str, what: str, record: int, **more: Any) -> Json:
    return {
        "time": time, "phase": phase, "what": what, "actor": INTRUDER, "mailbox": OWNER,
        "exhibit": "E1", "record": record, **more,
    }  # fmt: skip


def _attack_findings() -> list[Json]:
    day = "2025-03-04T"
    return [
        _finding(
            "exchange-online/mailbox-read-from-new-address", "Finance mailbox synchronised by a new client",
            "medium", f"{day}08:21:40Z", 1203, confidence="medium", operation="MailItemsAccessed",
            properties={"RecordType": 50, "ClientInfoString": "Client=REST;Client=RESTSystem;;"},
            description="The whole Inbox was synchronised from an address this account had not used in the 30 days before.",
            evidence={"MailAccessType": "Sync", "Folder": "Inbox", "ClientIP": ADDRESS, "DaysSinceFirstSeen": 0},
        ),
        _finding(
            "exchange-online/export-requested", "Mailbox export of finance.lead started",
            "high", f"{day}08:44:02Z", 1291, operation="New-MailboxExportRequest",
            properties={"RecordType": 1, "Parameters": [{"Name": "Mailbox", "Value": OWNER}, {"Name": "FilePath", "Value": "\\\\fs01.contoso.example\\share\\q4.pst"}]},
            description="An export of the whole mailbox to a file share was requested without an open eDiscovery case.",
            evidence={"Mailbox": OWNER, "FilePath": "\\\\fs01.contoso.example\\share\\q4.pst", "Case": None},
        ),
        _finding(
            "exchange-online/inbox-rule-hides", "Inbox rule “..” deletes security notices",
            "high", f"{day}08:58:17Z", 1377, operation="New-InboxRule", count=3,
            properties={"RecordType": 1, "Parameters": [{"Name": "Name", "Value": ".."}, {"Name": "SubjectContainsWords", "Value": "security;sign-in;export"}, {"Name": "DeleteMessage", "Value": "True"}]},
            description="Messages whose subject contains security, sign-in or export are deleted on arrival.",
            evidence={"RuleName": "..", "SubjectContainsWords": "security;sign-in;export", "DeleteMessage": True},
        ),
        _finding(
            "exchange-online/audit-weakened", "Auditing of hard deletions switched off for finance.lead",
            "high", f"{day}09:03:31Z", 1402, operation="Set-Mailbox",
            properties={"RecordType": 1, "Parameters": [{"Name": "AuditOwner", "Value": "Update"}, {"Name": "Identity", "Value": OWNER}]},
            description="From here on deletions by the owner leave no audit record.",
            evidence={"Setting": "AuditOwner", "Before": "HardDelete, SoftDelete, Update", "After": "Update"},
        ),
        _finding(
            "exchange-online/export-request-removed", "Traces of the mailbox export removed",
            "critical", f"{day}09:21:05Z", 1466, operation="Remove-MailboxExportRequest",
            properties={"RecordType": 1, "Parameters": [{"Name": "Identity", "Value": "finance.lead\\MailboxExport"}]},
            description="The request was removed 37 minutes after it was made, and before it was reported as completed to its owner.",
            evidence={"Request": "finance.lead\\MailboxExport", "MinutesAfterRequest": 37},
        ),
        _finding(
            "exchange-online/messages-hard-deleted", "214 messages deleted past recovery",
            "critical", f"{day}09:32:48Z", 1533, count=214,
            properties={"Folder": {"Path": "\\Recoverable Items\\Deletions"}, "AffectedItems": [{"Subject": "Your mailbox export is ready"}]},
            description="Messages in Recoverable Items were removed by the delegate within 11 minutes; the mailbox's own daily maximum in 30 days was 6.",
            evidence={"Folder": "\\Recoverable Items\\Deletions", "Items": 214, "OwnDailyMaximum": 6, "FirstSubject": "Your mailbox export is ready"},
        ),
        _finding(
            "exchange-online/sent-items-cleared", "Sent messages to the intruder's own address deleted",
            "high", f"{day}09:41:20Z", 1761, operation="SoftDelete",
            properties={"Folder": {"Path": "\\Sent Items"}, "AffectedItems": [{"Subject": "q4"}]},
            description="Four sent messages with attachments were deleted two to nine minutes after they were sent.",
            evidence={"Folder": "\\Sent Items", "Items": 4, "Recipient": "q4.archive@mail.example"},
        ),
        _finding(
            "exchange-online/inbox-rule-removed", "Hiding inbox rules removed again",
            "medium", f"{day}09:47:33Z", 1790, operation="Remove-InboxRule", count=3,
            description="The three rules existed for 49 minutes: only as long as they were needed.",
            evidence={"RuleName": "..", "LifetimeMinutes": 49},
        ),
        _finding(
            "entra/sign-in-new-country", "Sign-in from an address never seen for this account",
            "low", f"{day}08:12:09Z", 311, exhibit="E2", confidence="medium",
            raw='{"createdDateTime":"2025-03-04T08:12:09Z","userPrincipalName":"dana.reyes@contoso.example","ipAddress":"203.0.113.44","appDisplayName":"Office 365 Exchange Online","status":{"errorCode":0},"authenticationRequirement":"singleFactorAuthentication"}',
            description="Single-factor sign-in; the account has a second factor registered.",
            evidence={"ipAddress": ADDRESS, "authenticationRequirement": "singleFactorAuthentication"},
        ),
    ]  # fmt: skip


def _attack_timeline() -> list[Json]:
    day = "2025-03-04T"
    reads = [
        _entry(
            f"{day}08:{21 + at // 2:02d}:{(at % 2) * 30 + 10:02d}Z",
            "collection",
            "Messages of the Inbox read",
            1203 + at,
        )
        for at in range(14)
    ]
    deletions = [
        _entry(
            f"{day}09:{32 + at // 5:02d}:{(at % 5) * 11 + 4:02d}Z",
            "clearing",
            "Message hard deleted from Recoverable Items",
            1533 + at,
        )
        for at in range(46)
    ]
    return [
        _entry(f"{day}08:12:09Z", "access", "Signed in with a password only, from 203.0.113.44", 311, exhibit="E2"),
        _entry(f"{day}08:15:51Z", "access", "Full access to the mailbox used for the first time", 1188),
        *reads,
        _entry(f"{day}08:44:02Z", "exfiltration", "Export of the whole mailbox requested to \\\\fs01.contoso.example\\share\\q4.pst", 1291),
        _entry(f"{day}08:58:17Z", "hiding", "Inbox rule “..” created: delete security notices", 1377),
        _entry(f"{day}08:58:40Z", "hiding", "Inbox rule “.” created: move replies to RSS Feeds", 1378),
        _entry(f"{day}09:03:31Z", "hiding", "Auditing of deletions by the owner switched off", 1402),
        _entry(f"{day}09:21:05Z", "clearing", "Export request removed", 1466),
        *deletions,
        _entry(f"{day}09:41:20Z", "clearing", "Four sent messages with attachments deleted", 1761),
        _entry(f"{day}09:47:33Z", "clearing", "Inbox rules removed", 1790),
        _entry("2025-03-05T07:02:10Z", "after", "Signed in again from 203.0.113.44; password had been changed, refused", 402, exhibit="E2"),
    ]  # fmt: skip


def _attack() -> Json:
    return {
        "id": "C1",
        "title": "Finance mailbox read, exported, and the traces cleared",
        "severity": "critical",
        "confidence": "high",
        "verdict": "attack",
        "reasons": [
            "One session did all of it: sign-in, export, hiding rules, removal of the export request, hard deletion.",
            "The export request was removed 37 minutes after it was made; completed requests of this tenant stay for 30 days.",
            "214 hard deletions in 11 minutes; the mailbox's own daily maximum in the 30 days before is 6.",
            "Speaks against it: dana.reyes holds full access to this mailbox since 2024-11-02, so access alone is not unusual.",
        ],
        "actors": [INTRUDER],
        "mailboxes": [OWNER],
        "hosts": ["fs01.contoso.example"],
        "addresses": [ADDRESS, "2001:db8:44::9"],
        "sessions": [SESSION],
        "techniques": ["T1070.008", "T1114.002", "T1564.008", "T1562.008"],
        "first_seen": "2025-03-04T08:12:09Z",
        "last_seen": "2025-03-05T07:02:10Z",
        "findings": sorted(
            _attack_findings(), key=lambda one: (WORST_FIRST.index(one["severity"]), one["time"])
        ),
        "timeline": _attack_timeline(),
        "chains": [
            {
                "name": "Export, then removal of the export request",
                "steps": "2 of 2 seen",
                "joined_by": "session",
            }
        ],
        "questions": [
            {
                "question": "Was anything deleted past recovery?",
                "answer": "Yes: 214 messages, no hold was in place.",
            },
            {
                "question": "Did the export complete?",
                "answer": "Not evaluated: the server-side request log was not given.",
            },
        ],
    }


def _authorised() -> Json:
    common = {"actor": ADMIN, "mailbox": "", "exhibit": "E1", "confidence": "medium"}
    findings = [
        _finding("exchange-online/compliance-purge", "Compliance purge of one message in 31 mailboxes", "medium",
                 "2025-03-06T14:10:00Z", 2904, operation="New-ComplianceSearchAction", **common,
                 entities={"Account": [ADMIN]},
                 description="A soft-delete purge ran under an open case; the message carried a known malicious link.",
                 evidence={"Case": "IR-2025-017", "PurgeType": "SoftDelete", "Mailboxes": 31}),
        _finding("exchange-online/search-removed", "Compliance search removed", "low",
                 "2025-03-06T15:02:44Z", 2971, operation="Remove-ComplianceSearch", **common,
                 entities={"Account": [ADMIN]}, description="Removed after its case was closed.",
                 evidence={"Search": "IR-2025-017 link", "CaseStatus": "Closed"}),
        _finding("exchange-online/export-request-removed", "Completed export requests removed", "low",
                 "2025-03-06T15:05:12Z", 2975, operation="Remove-MailboxExportRequest", **common, count=4,
                 entities={"Account": [ADMIN]},
                 description="Four requests, all completed more than 30 days earlier.",
                 evidence={"Status": "Completed", "OldestDays": 41}),
    ]  # fmt: skip
    who = {"actor": ADMIN, "mailbox": ""}
    return {
        "id": "C2",
        "title": "Compliance purge and clean-up by the records administrator",
        "severity": "low",
        "confidence": "medium",
        "verdict": "authorised",
        "reasons": [
            "The purge ran under case IR-2025-017, opened the day before by a second person.",
            "Only completed requests were removed, at a usual hour, from the office address 198.51.100.20.",
        ],
        "actors": [ADMIN],
        "mailboxes": [],
        "hosts": [],
        "addresses": ["198.51.100.20"],
        "sessions": [],
        "techniques": ["T1070.008"],
        "first_seen": "2025-03-06T14:10:00Z",
        "last_seen": "2025-03-06T15:05:12Z",
        "findings": findings,
        "timeline": [
            _entry("2025-03-06T14:10:00Z", "clearing", "Message purged from 31 mailboxes", 2904, **who),
            _entry("2025-03-06T15:02:44Z", "after", "Compliance search removed", 2971, **who),
            _entry("2025-03-06T15:05:12Z", "after", "Four completed export requests removed", 2975, **who),
        ],
        "chains": [],
        "questions": [],
    }


def _rules() -> list[Json]:
    named = [
        ("exchange-online/export-request-removed", "Mailbox export request removed", "high", "found", 2),
        ("exchange-online/messages-hard-deleted", "Messages deleted past recovery", "high", "found", 1),
        ("exchange-online/inbox-rule-hides", "Inbox rule deletes or hides messages", "high", "found", 1),
        ("exchange-online/audit-weakened", "Mailbox auditing weakened", "high", "found", 1),
        ("exchange-online/export-requested", "Mailbox export requested", "medium", "found", 1),
        (
            "exchange-online/sent-items-cleared",
            "Sent messages deleted soon after sending",
            "medium",
            "found",
            1,
        ),
        (
            "exchange-online/mailbox-read-from-new-address",
            "Mailbox read from a new address",
            "medium",
            "found",
            1,
        ),
        ("exchange-online/inbox-rule-removed", "Short-lived inbox rule removed", "medium", "found", 1),
        ("exchange-online/compliance-purge", "Compliance purge", "medium", "found", 1),
        ("exchange-online/search-removed", "Compliance search removed", "low", "found", 1),
        ("entra/sign-in-new-country", "Sign-in from a new address", "low", "found", 1),
        ("exchange-online/transport-rule-deletes", "Transport rule deletes or redirects", "high", "clear", 0),
        ("exchange-online/hold-weakened", "Litigation hold weakened", "high", "clear", 0),
        ("exchange-online/forwarding-changed", "Forwarding to another organisation", "medium", "clear", 0),
        (
            "exchange-online/delivered-then-gone",
            "Message delivered but in no mailbox",
            "high",
            "not_evaluated",
            0,
        ),
        ("linux/mail-store-deleted", "Mail store file deleted", "high", "not_evaluated", 0),
    ]
    reasons = {
        "exchange-online/delivered-then-gone": "No message trace was given.",
        "linux/mail-store-deleted": "No Linux audit log was given.",
    }
    return [
        {"id": key, "name": name, "severity": severity, "outcome": outcome, "reason": reasons.get(key, ""),
         "findings": findings, "techniques": ["T1070.008"]}
        for key, name, severity, outcome, findings in named
    ]  # fmt: skip


def _intake(exhibit: str, path: str, counts: tuple[int, int, int, int, int], **more: Any) -> Json:
    records, loaded, duplicates, quarantined, salvaged = counts
    return {
        "exhibit": exhibit, "path": path, "sha256": sha256(path.encode()).hexdigest(), "blake3": sha256(path[::-1].encode()).hexdigest(),
        "size_bytes": records * 1911, "source": "", "table": "OfficeActivity", "records": records,
        "loaded": loaded, "duplicates": duplicates, "quarantined": quarantined, "salvaged": salvaged,
        "first_time": "2025-03-01T00:00:12Z", "last_time": "2025-03-07T23:58:40Z", "notes": [], **more,
    }  # fmt: skip


def realistic() -> Json:
    """Return a report with two cases, twelve findings, quarantined records and things not evaluated."""
    return {
        "schema_version": 1,
        "tool": {"name": "mailwitness", "version": "0.1.0"},
        "rule_pack": {"digest": "sha256:4f1d7a6c0e2b9385d4c6a1f07b3e5d92c8a04e6f1b7d3952e0c4a6b8d1f3e570", "rules": 16},
        "evaluated": {"from": "2025-03-01T00:00:12Z", "to": "2025-03-07T23:58:40Z", "now": "2025-03-08T06:30:00Z"},
        "summary": {
            "outcome": "found",
            "severity": "critical",
            "sentences": [
                "The traces of a mailbox export were cleared from finance.lead@contoso.example.",
                "One case is an attack with high confidence; one more is authorised work.",
                "214 messages were deleted past recovery; no hold protected the mailbox.",
            ],
        },
        "cases": [_attack(), _authorised()],
        "not_evaluated": [
            {"what": "Whether every delivered message still exists", "blocking": True,
             "reason": "No message trace was given for 2025-03-01 to 2025-03-07.",
             "remedy": "Export the message trace of these days and add the file to the same case."},
            {"what": "Owner deletions in finance.lead after 2025-03-04 09:03:31", "blocking": True,
             "reason": "Auditing of owner deletions was off, so their absence in the log means nothing.",
             "remedy": "Compare the mailbox with a backup of 2025-03-04 or earlier."},
            {"what": "Rule “Mail store file deleted”", "blocking": False,
             "reason": "No Linux audit log was given.",
             "remedy": "Add auditd or journal files if mail is also stored on own servers."},
        ],
        "rules": _rules(),
        "intake": [
            _intake("E1", "evidence/purview/AuditLog_2025-03-01_2025-03-07.csv", (41_877, 40_912, 958, 7, 3),
                    source="Purview audit export (CSV)",
                    notes=["Times carry no zone; UTC was assumed, as the portal writes them.",
                           "AuditData was cut at 32,767 characters in 3 records; their fields were salvaged."]),
            _intake("E2", "evidence/entra/signins.json", (6_204, 6_204, 0, 0, 0), source="Entra sign-in export (JSON)",
                    table="SigninLogs"),
            _intake("E3", "evidence/purview/AuditLog_again.csv.gz#AuditLog.csv", (132, 0, 132, 0, 0),
                    source="Purview audit export (CSV)"),
            _intake("E4", "evidence/readme.docx", (0, 0, 0, 0, 0), source=None, table=None, size_bytes=18_220,
                    first_time=None, last_time=None, notes=["Not recognised as a log; kept and hashed, not read."]),
        ],
        "quarantine": [
            {"exhibit": "E1", "record": 20_114 + at, "line": 20_116 + at, "offset": 38_437_900 + 900 * at, "length": 899,
             "reason": reason, "start": "2025-03-05T10:1" + str(at) + ':22.0000000Z,ext@contoso.example,Send,"{""CreationTime"":""2025-03'}
            for at, reason in enumerate(["AuditData is empty"] * 4 + ["AuditData is not JSON, nothing could be salvaged"] * 2
                                        + ["Row has 3 columns, header has 5"])
        ],
        "quarantine_total": 7,
    }  # fmt: skip


def hostile() -> Json:
    """Return the realistic report with every text replaced by hostile ones, and one subject of a megabyte."""
    report: Json = poison(realistic(), list(HOSTILE_TEXTS.values()))
    report["cases"][0]["findings"][0]["evidence"]["Subject"] = "A" * 1_048_576
    report["cases"][0]["findings"][0]["title"] = "Subject " + "\u202e" * 500 + "B" * 5_000
    report["summary"]["sentences"] = [*HOSTILE_TEXTS.values()]
    return report


# These are chosen by the program, never by the evidence.
OWN_WORDS = frozenset(
    ("outcome", "severity", "confidence", "verdict", "phase", "time", "first_seen", "last_seen", "from", "to", "now",
     "first_time", "last_time")
)  # fmt: skip


def poison(value: Any, texts: list[str], *, also_own_words: bool = False) -> Any:
    """Return `value` with every text and every open key replaced by the next of `texts`, in turn."""
    turn = iter(range(10**9))

    def replaced(node: Any, key: str) -> Any:
        if isinstance(node, dict):
            if key in {"entities", "evidence"}:
                return {
                    texts[next(turn) % len(texts)] + name: replaced(inner, "") for name, inner in node.items()
                }
            return {name: replaced(inner, name) for name, inner in node.items()}
        if isinstance(node, list):
            return [replaced(inner, key) for inner in node]
        if isinstance(node, str) and (also_own_words or key not in OWN_WORDS):
            return texts[next(turn) % len(texts)]
        return node

    return replaced(value, "")
