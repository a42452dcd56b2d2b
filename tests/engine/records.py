"""Audit records and the shapes in which exports deliver them; every identity is synthetic."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import Any, Literal

Record = dict[str, Any]  # Any: JSON values
Writer = Callable[[list[Record]], bytes]

TENANT = "6f1d2c3b-0a4e-4d58-9b77-1c2d3e4f5a60"


def guid(number: int) -> str:
    """Return a record id that counts up."""
    return f"00000000-0000-4000-8000-{number:012d}"


def hard_delete(number: int = 1, **changes: Any) -> Record:
    """Return a HardDelete in the Recoverable Items folder, as the Management Activity API writes it."""
    record: Record = {
        "CreationTime": f"2026-03-02T08:{number // 60 % 60:02d}:{number % 60:02d}",
        "Id": guid(number),
        "Operation": "HardDelete",
        "OrganizationId": TENANT,
        "RecordType": 3,
        "ResultStatus": "Succeeded",
        "UserKey": "10032001B7A0C3D1",
        "UserType": 0,
        "Version": 1,
        "Workload": "Exchange",
        "ClientIP": "203.0.113.7:49152",
        "UserId": "eva@contoso.example",
        "ClientIPAddress": "203.0.113.7:49152",
        "ClientInfoString": "Client=OWA;Action=ViaProxy",
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": 0,
        "LogonUserSid": "S-1-5-21-1-2-3-1001",
        "MailboxGuid": guid(900_001),
        "MailboxOwnerSid": "S-1-5-21-1-2-3-1001",
        "MailboxOwnerUPN": "eva@contoso.example",
        "OrganizationName": "contoso.example",
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)\r\n",
        "SessionId": guid(800_001),
        "CrossMailboxOperation": False,
        "Folder": {"Id": "LgAAAAC1AAAB", "Path": "\\Recoverable Items\\Deletions"},
        "AffectedItems": [
            {
                "Id": "RgAAAAC2AAAJ",
                "InternetMessageId": f"<{number}@contoso.example>",
                "ParentFolder": {"Id": "LgAAAAC1AAAB", "Path": "\\Recoverable Items\\Deletions"},
                "Subject": 'Invoice, overdue; "final" notice',
            }
        ],
    }
    return without_none({**record, **changes})


def inbox_rule(number: int = 1, **changes: Any) -> Record:
    """Return a New-InboxRule that hides mail, as the Management Activity API writes it."""
    record: Record = {
        "CreationTime": f"2026-03-02T09:{number // 60 % 60:02d}:{number % 60:02d}",
        "Id": guid(100_000 + number),
        "Operation": "New-InboxRule",
        "OrganizationId": TENANT,
        "RecordType": 1,
        "ResultStatus": "True",
        "UserKey": "eva@contoso.example",
        "UserType": 2,
        "Version": 1,
        "Workload": "Exchange",
        "ClientIP": "[2001:db8::9c]:42402",
        "ObjectId": "EURPR00A001\\eva\\.",
        "UserId": "eva@contoso.example",
        "AppId": "",
        "ExternalAccess": False,
        "OrganizationName": "contoso.example",
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)\r\n",
        "Parameters": [
            {"Name": "Name", "Value": "."},
            {"Name": "SubjectOrBodyContainsWords", "Value": "invoice;payment"},
            {"Name": "DeleteMessage", "Value": "True"},
        ],
    }
    return without_none({**record, **changes})


def without_none(record: Record) -> Record:
    """Drop members that a test set to None: they are absent, not null."""
    return {key: value for key, value in record.items() if value is not None}


def compact(value: Any) -> str:
    """Write JSON as the services do."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def ndjson(records: Iterable[Record]) -> bytes:
    """One record a line."""
    return "".join(compact(record) + "\n" for record in records).encode()


def table(header: list[str], rows: Iterable[list[str]], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> bytes:
    """Write comma separated values as Export-Csv does: CRLF, quotes doubled."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


RECORD_TYPES = {1: "ExchangeAdmin", 2: "ExchangeItem", 3: "ExchangeItemGroup", 50: "ExchangeItemAggregated"}


def us_time(record: Record) -> str:
    """Return the time as the cmdlet's CSV shows it: US, 12 hours, no zone."""
    date, _, time = record["CreationTime"].partition("T")
    year, month, day = date.split("-")
    hour, minute, second = time.split(":")
    half = "AM" if int(hour) < 12 else "PM"
    return f"{int(month)}/{int(day)}/{year} {(int(hour) + 11) % 12 + 1}:{minute}:{second} {half}"


SEARCH_HEADER = [
    "RecordType",
    "CreationDate",
    "UserIds",
    "Operations",
    "AuditData",
    "ResultIndex",
    "ResultCount",
    "Identity",
    "IsValid",
    "ObjectState",
]
REMOTING_HEADER = ["PSComputerName", "RunspaceId", "PSShowComputerName", *SEARCH_HEADER]
PURVIEW_HEADER = [
    "RecordId",
    "CreationDate",
    "RecordType",
    "Operation",
    "UserId",
    "AuditData",
    "AssociatedAdminUnits",
    "AssociatedAdminUnitsNames",
]


def _search_cells(record: Record, place: int, count: int) -> list[str]:
    name = RECORD_TYPES.get(record["RecordType"], str(record["RecordType"]))
    return [
        name,
        us_time(record),
        record["UserId"],
        record["Operation"],
        compact(record),
        str(place),
        str(count),
        record["Id"],
        "True",
        "Unchanged",
    ]


def search_csv(records: list[Record]) -> bytes:
    """Search-UnifiedAuditLog | Export-Csv."""
    return table(SEARCH_HEADER, [_search_cells(r, i + 1, len(records)) for i, r in enumerate(records)])


def search_csv_of_windows_powershell(records: list[Record]) -> bytes:
    """The same from Windows PowerShell: every cell quoted, a #TYPE line first."""
    rows = [_search_cells(r, i + 1, len(records)) for i, r in enumerate(records)]
    return b"#TYPE Deserialized.Microsoft.Exchange.Data\r\n" + table(
        SEARCH_HEADER, rows, quoting=csv.QUOTE_ALL
    )


def search_csv_remoting(records: list[Record]) -> bytes:
    """The same through a remote session, which adds three columns."""
    rows = [
        ["outlook.office365.example", guid(7), "False", *_search_cells(r, i + 1, len(records))]
        for i, r in enumerate(records)
    ]
    return table(REMOTING_HEADER, rows)


def four_columns_csv(records: list[Record]) -> bytes:
    """What many scripts keep of the cmdlet's output."""
    rows = [[us_time(r), r["UserId"], r["Operation"], compact(r)] for r in records]
    return table(["CreationDate", "UserIds", "Operations", "AuditData"], rows)


def purview_csv(records: list[Record]) -> bytes:
    """The Purview portal's export."""
    rows = [
        [
            r["Id"],
            r["CreationTime"] + ".0000000Z",
            str(r["RecordType"]),
            r["Operation"],
            r["UserId"],
            compact(r),
            "",
            "",
        ]
        for r in records
    ]
    return table(PURVIEW_HEADER, rows)


def purview_csv_with_blank(records: list[Record]) -> bytes:
    """A 2026 export: a blank after the time, inside the quotes."""
    rows = [
        [
            r["Id"],
            r["CreationTime"] + ".0000000Z ",
            str(r["RecordType"]),
            r["Operation"],
            r["UserId"],
            compact(r),
            "",
            "",
        ]
        for r in records
    ]
    return table(PURVIEW_HEADER, rows, quoting=csv.QUOTE_ALL)


def splunk_csv(records: list[Record]) -> bytes:
    """The cmdlet's output as a log shipper exported it again, with the shipper's columns."""
    header = ["_raw", "_time", "host", "source", "tag::eventtype", *SEARCH_HEADER, "punct"]
    rows = []
    for i, record in enumerate(records):
        cells = _search_cells(record, i + 1, len(records))
        rows.append([",".join(cells), us_time(record), "forwarder1", "audit.csv", "", *cells, '","//__::_'])
    return table(header, rows, quoting=csv.QUOTE_ALL)


def graph_query(records: list[Record]) -> bytes:
    """A page of a Graph audit log query."""
    value = [
        {
            "@odata.type": "#microsoft.graph.security.auditLogRecord",
            "id": r["Id"],
            "createdDateTime": r["CreationTime"] + "Z",
            "auditLogRecordType": RECORD_TYPES[r["RecordType"]][0].lower()
            + RECORD_TYPES[r["RecordType"]][1:],
            "operation": r["Operation"],
            "organizationId": r["OrganizationId"],
            "userType": "Regular",
            "userId": r["UserId"],
            "service": r["Workload"],
            "objectId": r.get("ObjectId"),
            "userPrincipalName": r["UserId"],
            "clientIp": r.get("ClientIP"),
            "administrativeUnits": [""],
            "auditData": {"@odata.type": "#microsoft.graph.security.defaultAuditData", **r},
        }
        for r in records
    ]
    return json.dumps(
        {
            "@odata.context": "https://graph.example/$metadata#records",
            "@odata.nextLink": "https://graph.example/next",
            "value": value,
        },
        indent=2,
    ).encode()


def wrapped(name: str) -> Writer:
    """Return a writer that puts each record into a member of a shipper's object."""

    def write(records: list[Record]) -> bytes:
        return ndjson(
            {"@timestamp": r["CreationTime"] + "Z", "agent": {"type": "shipper"}, name: r} for r in records
        )

    return write


def event_original(records: list[Record]) -> bytes:
    """The record as text in event.original."""
    return ndjson(
        {"@timestamp": r["CreationTime"] + "Z", "event": {"module": "o365", "original": compact(r)}}
        for r in records
    )


def lower_case(value: Any) -> Any:
    """Spell every key, at every depth, in lower case."""
    if isinstance(value, dict):
        return {key.lower(): lower_case(item) for key, item in value.items()}
    return [lower_case(item) for item in value] if isinstance(value, list) else value


SHAPES: dict[str, Writer] = {
    "management API array": lambda records: compact(records).encode(),
    "management API array, pretty": lambda records: json.dumps(records, indent=4).encode(),
    "NDJSON": ndjson,
    "NDJSON with CRLF": lambda records: ndjson(records).replace(b"\n", b"\r\n"),
    "NDJSON with BOM": lambda records: b"\xef\xbb\xbf" + ndjson(records),
    "NDJSON, last line without end": lambda records: ndjson(records).removesuffix(b"\n"),
    "objects one after another, pretty": lambda records: "".join(
        json.dumps(r, indent=1) for r in records
    ).encode(),
    "top-level keys in lower case": lambda records: ndjson(
        {k.lower(): v for k, v in r.items()} for r in records
    ),
    "member log": wrapped("log"),
    "member o365audit": wrapped("o365audit"),
    "member _source": wrapped("_source"),
    "event.original": event_original,
    "Graph query page": graph_query,
    "AuditData as text in JSON": lambda records: json.dumps(
        [
            {
                "RecordType": RECORD_TYPES[r["RecordType"]],
                "CreationDate": us_time(r),
                "UserIds": r["UserId"],
                "Operations": r["Operation"],
                "AuditData": compact(r),
                "Identity": r["Id"],
            }
            for r in records
        ]
    ).encode(),
    "Search-UnifiedAuditLog CSV": search_csv,
    "Search-UnifiedAuditLog CSV of Windows PowerShell": search_csv_of_windows_powershell,
    "Search-UnifiedAuditLog CSV, remoting": search_csv_remoting,
    "four columns CSV": four_columns_csv,
    "Purview CSV": purview_csv,
    "Purview CSV with blanks after times": purview_csv_with_blank,
    "Purview CSV with BOM": lambda records: b"\xef\xbb\xbf" + purview_csv(records),
    "Splunk CSV": splunk_csv,
}
