"""Message traces, sign-ins and Defender tables become rows too: chains need them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from . import exports
from .cases import loaded, through, utc
from .records import compact, guid, hard_delete, ndjson, table

WAYS = ("python", "sql")
MOMENT = utc(2026, 3, 2, 8, 0, 1)

TRACE = {
    "Received": "2026-03-02T08:00:01.1230000Z",
    "SenderAddress": "Ann@fabrikam.example",
    "RecipientAddress": "eva@contoso.example",
    "Subject": 'Re: "payment", urgent',
    "Status": "Delivered",
    "ToIP": "",
    "FromIP": "198.51.100.9",
    "Size": "48211",
    "MessageId": "<a1@fabrikam.example>",
    "MessageTraceId": guid(5),
}
TRACE_ROW = {
    "TimeGenerated": MOMENT.replace(microsecond=123_000),
    "SenderFromAddress": "ann@fabrikam.example",
    "RecipientEmailAddress": "eva@contoso.example",
    "Subject": 'Re: "payment", urgent',
    "DeliveryAction": "Delivered",
    "SenderIPv4": "198.51.100.9",
    "InternetMessageId": "<a1@fabrikam.example>",
    "NetworkMessageId": guid(5),
    "EmailSize": 48211,
}


def trace_csv() -> bytes:
    """Get-MessageTrace | Export-Csv."""
    return table(list(TRACE), [list(TRACE.values())])


def trace_graph() -> bytes:
    """A page of Graph's message traces."""
    value = {
        "id": TRACE["MessageTraceId"],
        "senderAddress": TRACE["SenderAddress"],
        "recipientAddress": TRACE["RecipientAddress"],
        "messageId": TRACE["MessageId"],
        "receivedDateTime": TRACE["Received"],
        "subject": TRACE["Subject"],
        "size": 48211,
        "fromIP": TRACE["FromIP"],
        "toIP": None,
        "status": "Delivered",
    }
    return json.dumps({"@odata.context": "x", "value": [value]}).encode()


def trace_historical() -> bytes:
    """The report of a historical search, without encoding."""
    row = {
        "origin_timestamp_utc": TRACE["Received"],
        "sender_address": TRACE["SenderAddress"],
        "recipient_status": "eva@contoso.example##Delivered",
        "message_subject": TRACE["Subject"],
        "total_bytes": TRACE["Size"],
        "message_id": TRACE["MessageId"],
        "network_message_id": guid(5),
        "original_client_ip": TRACE["FromIP"],
    }
    return table(list(row), [list(row.values())])


TRACES = {
    "CSV": trace_csv(),
    "JSON array": json.dumps([TRACE]).encode(),
    "NDJSON": ndjson([TRACE]),
    "reporting service": json.dumps({"d": {"results": [TRACE]}}).encode(),
    "Graph": trace_graph(),
    "historical": trace_historical(),
    "historical, UTF-16": b"\xff\xfe" + trace_historical().decode().encode("utf-16-le"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", TRACES)
def test_a_message_trace_gives_the_same_row_in_every_shape(shape: str, way: str) -> None:
    with through(way), loaded(TRACES[shape]) as found:
        rows = found.rows("EmailEvents")
        counts = found.counts()

    assert counts == (1, 1, 0, 0)
    assert [{name: row[name] for name in TRACE_ROW} for row in rows] == [TRACE_ROW]


SIGN_IN = {
    "id": guid(6),
    "createdDateTime": "2026-03-02T08:00:01Z",
    "userDisplayName": "Eva",
    "userPrincipalName": "Eva@contoso.example",
    "userId": guid(7),
    "appId": guid(8),
    "appDisplayName": "Office 365 Exchange Online",
    "ipAddress": "203.0.113.66",
    "clientAppUsed": "Browser",
    "correlationId": guid(9),
    "conditionalAccessStatus": "success",
    "isInteractive": True,
    "status": {
        "errorCode": 50126,
        "failureReason": "Invalid username or password.",
        "additionalDetails": None,
    },
    "location": {"city": "Ghent", "state": "", "countryOrRegion": "BE"},
}
SIGN_IN_ROW = {
    "TimeGenerated": MOMENT,
    "Id": guid(6),
    "UserPrincipalName": "eva@contoso.example",
    "UserId": guid(7),
    "AppDisplayName": "Office 365 Exchange Online",
    "IPAddress": "203.0.113.66",
    "ClientAppUsed": "Browser",
    "ResultType": "50126",
    "ResultDescription": "Invalid username or password.",
    "CorrelationId": guid(9),
}


def sign_in_csv() -> bytes:
    """The portal's download, with a byte order mark."""
    row = {
        "Date (UTC)": "2026-03-02T08:00:01Z",
        "Request ID": guid(6),
        "User agent": "Mozilla/5.0",
        "Correlation ID": guid(9),
        "User ID": guid(7),
        "User": "Eva",
        "Username": "eva@contoso.example",
        "User type": "Member",
        "Application": "Office 365 Exchange Online",
        "Application ID ": guid(8),
        "IP address": "203.0.113.66",
        "Location": "Ghent, BE",
        "Status": "Failure",
        "Sign-in error code": "50126",
        "Failure reason": "Invalid username or password.",
        "Client app": "Browser",
    }
    return b"\xef\xbb\xbf" + table(list(row), [list(row.values())])


SIGN_INS = {
    "array": json.dumps([SIGN_IN], indent=2).encode(),
    "NDJSON": ndjson([SIGN_IN]),
    "value page": json.dumps({"value": [SIGN_IN]}).encode(),
    "portal CSV": sign_in_csv(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SIGN_INS)
def test_a_sign_in_gives_the_same_row_in_every_shape(shape: str, way: str) -> None:
    with through(way), loaded(SIGN_INS[shape]) as found:
        rows = found.rows("SigninLogs")
        counts = found.counts()

    assert counts == (1, 1, 0, 0)
    assert [{name: row[name] for name in SIGN_IN_ROW} for row in rows] == [SIGN_IN_ROW]


def defender(name: str, properties: dict[str, Any]) -> bytes:
    """Return one record of the streaming API."""
    return ndjson(
        [
            {
                "time": "2026-03-02T08:05:00Z",
                "tenantId": guid(1),
                "operationName": "Publish",
                "category": f"AdvancedHunting-{name}",
                "properties": properties,
            }
        ]
    )


@pytest.mark.parametrize("way", WAYS)
def test_defender_streaming_rows_go_to_the_table_of_their_category(way: str) -> None:
    events = defender(
        "EmailEvents",
        {
            "Timestamp": "2026-03-02T08:00:01Z",
            "NetworkMessageId": guid(5),
            "RecipientEmailAddress": "eva@contoso.example",
            "Subject": "s",
            "EmailSize": 7,
        },
    )
    process = defender(
        "DeviceProcessEvents",
        {
            "Timestamp": "2026-03-02T08:00:01Z",
            "DeviceName": "host1",
            "FileName": "wevtutil.exe",
            "ProcessCommandLine": "wevtutil cl Security",
            "ActionType": "ProcessCreated",
        },
    )

    with through(way), loaded(events + process, process) as found:
        mail = found.rows("EmailEvents")
        processes = found.rows("DeviceProcessEvents")
        counts = [found.counts("E1"), found.counts("E2")]

    assert counts == [(2, 2, 0, 0), (1, 1, 0, 0)]
    assert [
        (row["TimeGenerated"], row["Timestamp"], row["NetworkMessageId"], row["_Position"]) for row in mail
    ] == [(MOMENT, MOMENT, guid(5), 0)]
    assert [(row["ProcessCommandLine"], row["_Exhibit"], row["_Position"]) for row in processes] == [
        ("wevtutil cl Security", "E1", 1),
        ("wevtutil cl Security", "E2", 0),
    ]


def test_a_parquet_table_with_real_types_gives_the_same_row_as_one_of_text() -> None:
    import pyarrow as pa

    row = exports.office_activity(hard_delete(1))
    offset = dt.timezone(dt.timedelta(hours=2))
    typed = row | {
        "TimeGenerated": MOMENT.replace(tzinfo=dt.UTC).astimezone(offset),
        "InternalLogonType": 0,
        "CrossMailboxOperations": True,
    }
    schema = pa.schema(
        [
            (
                name,
                pa.timestamp("us", tz="+02:00")
                if name == "TimeGenerated"
                else pa.int32()
                if name == "InternalLogonType"
                else pa.bool_()
                if name == "CrossMailboxOperations"
                else pa.string(),
            )
            for name in typed
        ]
    )

    with loaded(exports.parquet([typed], schema)) as found:
        rows = found.rows()

    assert [
        (r["TimeGenerated"], r["FolderPath"], r["CrossMailboxOperations"], r["InternalLogonType"])
        for r in rows
    ] == [(MOMENT, "\\Recoverable Items\\Deletions", True, 0)]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_mixes_sources_sends_each_record_to_its_table(way: str) -> None:
    content = ndjson(
        [hard_delete(1), SIGN_IN, hard_delete(2), TRACE, {"log": hard_delete(3)}, {"something": "else"}]
    )

    with through(way), loaded(content) as found:
        audit = [(row["OfficeId"], row["_Position"]) for row in found.rows()]
        others = [row["_Position"] for name in ("SigninLogs", "EmailEvents") for row in found.rows(name)]
        counts = found.counts()
        kept = found.quarantine()

    assert counts == (6, 5, 0, 1)
    assert audit == [(guid(1), 0), (guid(2), 2), (guid(3), 4)]
    assert others == [1, 3]
    assert [(item["record"], item["line"], item["reason"]) for item in kept] == [
        (5, 6, "it is not a record of a known source")
    ]


@pytest.mark.parametrize("way", WAYS)
def test_the_name_of_a_file_decides_nothing(way: str) -> None:
    with (
        through(way),
        loaded(
            ndjson([hard_delete(1)]),
            table(list(TRACE), [list(TRACE.values())]),
            names=("export.csv", "mail.json"),
        ) as found,
    ):
        rows = (found.rows(), found.rows("EmailEvents"))

    assert [len(part) for part in rows] == [1, 1]


@pytest.mark.parametrize(
    "content",
    [b'{"a": 1}\n{"b": 2}\n', b"a,b\n1,2\n3,4\n", b"hello\nworld\n", compact({"x": [1, 2]}).encode()],
    ids=["NDJSON", "CSV", "text", "JSON"],
)
def test_what_is_not_recognised_is_named_with_a_remedy_and_blocks_a_clear_verdict(content: bytes) -> None:
    with loaded(content, ndjson([hard_delete(1)])) as found:
        stated = found.intake.not_evaluated
        rows = found.rows()

    assert len(rows) == 1
    assert [(item.what, item.blocking) for item in stated] == [("export1", True)]
    assert "not recognised" in stated[0].reason
    assert "mailwitness sources" in stated[0].remedy
