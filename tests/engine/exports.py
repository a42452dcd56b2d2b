"""The same act as Sentinel, Defender and other tools export it: tables, message traces, sign-ins."""

from __future__ import annotations

import io
import json
from typing import Any

from .records import TENANT, Record, compact, table

LOGON_TYPES = {0: "Owner", 1: "Admin", 2: "Delegated"}
USER_TYPES = {0: "Regular", 2: "Admin"}
TYPE_NAMES = {1: "ExchangeAdmin", 2: "ExchangeItem", 3: "ExchangeItemGroup", 50: "50"}
NESTED = ("Folder", "AffectedItems", "Parameters")


def office_activity(record: Record) -> dict[str, Any]:  # Any: JSON values
    """Return an audit record as Sentinel's OfficeActivity shows it; nested values are pretty-printed text."""
    row = {
        "TenantId": TENANT,
        "RecordType": TYPE_NAMES[record["RecordType"]],
        "TimeGenerated": record["CreationTime"] + ".000Z",
        "Operation": record["Operation"],
        "OrganizationId": record["OrganizationId"],
        "UserType": USER_TYPES[record["UserType"]],
        "UserKey": record["UserKey"],
        "OfficeWorkload": record["Workload"],
        "ResultStatus": record["ResultStatus"],
        "OfficeObjectId": record.get("ObjectId", ""),
        "UserId": record["UserId"],
        "ClientIP": record.get("ClientIP", ""),
        "ExternalAccess": str(record["ExternalAccess"]).lower(),
        "OriginatingServer": record["OriginatingServer"],
        "OrganizationName": record["OrganizationName"],
        "Logon_Type": LOGON_TYPES.get(record.get("LogonType", -1), ""),
        "MailboxOwnerUPN": record.get("MailboxOwnerUPN", ""),
        "ClientInfoString": record.get("ClientInfoString", ""),
        "Client_IPAddress": record.get("ClientIPAddress", ""),
        "OfficeId": record["Id"],
        "Type": "OfficeActivity",
    }
    nested = {name: json.dumps(record[name], indent=2) if name in record else "" for name in NESTED}
    return row | nested


def sentinel_csv(records: list[Record]) -> bytes:
    """Logs > Export: byte order mark, `TimeGenerated [UTC]` in US form, columns doubled with `_`."""
    rows = [office_activity(record) for record in records]
    names = list(rows[0])
    header = [{"TimeGenerated": "TimeGenerated [UTC]"}.get(name, name) for name in names]
    header += ["UserId_", "ClientIP_", "Start_Time"]
    cells = [
        [_portal_time(row[name]) if name == "TimeGenerated" else row[name] for name in names]
        + [row["UserId"], row["ClientIP"], "$RestApiTenantId$"]
        for row in rows
    ]
    return b"\xef\xbb\xbf" + table(header, cells)


def _portal_time(text: str) -> str:
    date, time = text.removesuffix("Z").split("T")
    year, month, day = date.split("-")
    hour, minute, second = time.split(":")
    half = "AM" if int(hour) < 12 else "PM"
    return f"{int(month)}/{int(day)}/{year}, {(int(hour) + 11) % 12 + 1}:{minute}:{second} {half}"


def sentinel_ndjson(records: list[Record]) -> bytes:
    """A continuous export to storage: one row a line, time with seven digits."""
    rows = [office_activity(record) for record in records]
    return "".join(
        compact({**row, "TimeGenerated": row["TimeGenerated"].replace(".000Z", ".0000000Z")}) + "\n"
        for row in rows
    ).encode()


def sentinel_array(records: list[Record]) -> bytes:
    """The same as an array."""
    return json.dumps([office_activity(record) for record in records], indent=1).encode()


def log_analytics_reply(records: list[Record]) -> bytes:
    """The answer of the Log Analytics query API."""
    rows = [office_activity(record) for record in records]
    columns = [
        {"name": name, "type": "datetime" if name == "TimeGenerated" else "string"} for name in rows[0]
    ]
    answer = {
        "tables": [
            {"name": "PrimaryResult", "columns": columns, "rows": [list(row.values()) for row in rows]}
        ]
    }
    return json.dumps(answer).encode()


def sentinel_parquet(records: list[Record]) -> bytes:
    """A Parquet file of the table; time as text."""
    return parquet([office_activity(record) for record in records])


def parquet(rows: list[dict[str, Any]], schema: Any = None) -> bytes:
    """Write rows as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()


TABLE_SHAPES = {
    "Sentinel CSV": sentinel_csv,
    "Sentinel NDJSON": sentinel_ndjson,
    "Sentinel JSON array": sentinel_array,
    "Log Analytics API reply": log_analytics_reply,
    "Parquet": sentinel_parquet,
}
