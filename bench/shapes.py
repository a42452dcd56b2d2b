"""The three file shapes (and one CSV dialect more) that the generator writes."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from bench.records import Record

SHAPES = ("ndjson", "array", "purview-csv", "search-csv")
TYPE_NAMES = {
    1: "ExchangeAdmin",
    2: "ExchangeItem",
    3: "ExchangeItemGroup",
    6: "SharePointFileOperation",
    8: "AzureActiveDirectory",
    15: "AzureActiveDirectoryStsLogon",
    24: "Discovery",
    25: "MicrosoftTeams",
    50: "ExchangeItemAggregated",
}
PURVIEW_HEADER = (
    b"RecordId,CreationDate,RecordType,Operation,UserId,AuditData,"
    b"AssociatedAdminUnits,AssociatedAdminUnitsNames\r\n"
)
SEARCH_HEADER = (
    b'"RecordType","CreationDate","UserIds","Operations","AuditData",'
    b'"ResultIndex","ResultCount","Identity","IsValid","ObjectState"\r\n'
)


class Frame(NamedTuple):
    """What stands before, between and after the records of a shape."""

    opening: bytes
    separator: bytes
    closing: bytes
    first_line: int


FRAMES = {
    "ndjson": Frame(b"", b"\n", b"\n", 1),
    # One line without blanks, as the Management Activity API sends its content blobs.
    "array": Frame(b"[", b",", b"]", 1),
    "purview-csv": Frame(PURVIEW_HEADER, b"\r\n", b"\r\n", 2),
    "search-csv": Frame(SEARCH_HEADER, b"\r\n", b"\r\n", 2),
}


def write_record(shape: str, record: Record, cell: bytes, kind: str, index: str) -> bytes:
    """Wrap one AuditData text, whole or damaged, as the shape has it.

    Noise and blank lines replace the whole row; other damage stays inside the
    AuditData cell, which is where a shipper with a size limit cuts. index is the
    ResultIndex and ResultCount pair of a Search-UnifiedAuditLog row.
    """
    if shape in {"ndjson", "array"} or kind in {"noise", "blank"}:
        return cell
    quoted = cell.replace(b'"', b'""')
    if shape == "purview-csv":
        outer = f"{record.id},{record.time}.0000000Z,{record.record_type},{record.operation},{record.user}"
        return outer.encode() + b',"' + quoted + b'",,'
    time = us_time(record.time)
    name = TYPE_NAMES[record.record_type]
    outer = f'"{name}","{time}","{record.user}","{record.operation}"'
    tail = f'{index},"{record.id}","True","Unchanged"'
    return outer.encode() + b',"' + quoted + b'",' + tail.encode()


def us_time(time: str) -> str:
    """Write a CreationTime as Export-Csv does on a US system: 10/5/2026 9:13:33 PM."""
    moment = dt.datetime.fromisoformat(time)
    hour = moment.hour % 12 or 12
    half = "PM" if moment.hour >= 12 else "AM"  # noqa: PLR2004
    clock = f"{hour}:{moment.minute:02d}:{moment.second:02d} {half}"
    return f"{moment.month}/{moment.day}/{moment.year} {clock}"
