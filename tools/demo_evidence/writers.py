"""Writers of the evidence files in the exact dialects a responder receives them in."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from demo_evidence.identities import new_id

if TYPE_CHECKING:
    from demo_evidence.collection import Evidence
    from demo_evidence.records import Mail, Record

PURVIEW_HEADER = (
    "RecordId",
    "CreationDate",
    "RecordType",
    "Operation",
    "UserId",
    "AuditData",
    "AssociatedAdminUnits",
    "AssociatedAdminUnitsNames",
)
TRACE_HEADER = (
    "Received",
    "SenderAddress",
    "RecipientAddress",
    "Subject",
    "Status",
    "ToIP",
    "FromIP",
    "Size",
    "MessageId",
    "MessageTraceId",
)
# A row that lost everything after its first cells, as a copied or concatenated export has.
DAMAGED_LINE = "4c0de9b2-17d3-4f0e-9a55-2b1f0c7d8e6a,2026-10-09T13:2"
CUT_SHARE = 0.62


def compact(value: object) -> str:
    """Write JSON as Microsoft does: no blanks, non-ASCII left readable."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def purview_csv(evidence: Evidence) -> str:
    """Write the Purview portal export: CRLF, no mark, newest first, doubled quotes.

    One AuditData cell is cut short and one line is damaged, because real exports
    are: the report has to say so.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(PURVIEW_HEADER)
    newest_first = sorted(evidence.audit, key=lambda record: str(record["CreationTime"]))[::-1]
    for number, record in enumerate(newest_first):
        if number == len(newest_first) // 2:
            text.write(DAMAGED_LINE + "\r\n")
        writer.writerow(_purview_row(record, evidence.cut_id))
    return text.getvalue()


def _purview_row(record: Record, cut_id: str) -> tuple[object, ...]:
    """Return the cells of one record."""
    cell = compact(record)
    if record["Id"] == cut_id:
        cell = cell[: int(len(cell) * CUT_SHARE)]
    date = f"{record['CreationTime']}.0000000Z"
    return (record["Id"], date, record["RecordType"], record["Operation"], record["UserId"], cell, "", "")


def management_json(evidence: Evidence) -> str:
    """Write the general feed as one content blob: a JSON array in no strict order."""
    records = list(evidence.general)
    records[1], records[-1] = records[-1], records[1]
    return compact(records)


def sign_in_json(evidence: Evidence) -> str:
    """Write the sign-in export: a JSON array of Graph signIn objects, newest first."""
    rows = sorted(evidence.sign_ins, key=lambda row: str(row["createdDateTime"]))[::-1]
    return "[\n" + ",\n".join(compact(row) for row in rows) + "\n]\n"


def trace_csv(evidence: Evidence) -> str:
    """Write the message trace as Export-Csv does: every cell quoted, US dates, CRLF."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(TRACE_HEADER)
    for mail in sorted(evidence.mails, key=lambda mail: mail.time)[::-1]:
        trace_id = new_id(evidence.source)
        for recipient in mail.recipients:
            writer.writerow(_trace_row(mail, recipient, trace_id))
    return text.getvalue()


def _trace_row(mail: Mail, recipient: str, trace_id: str) -> tuple[object, ...]:
    """Return the cells of one recipient."""
    time = mail.time
    date = f"{time.month}/{time.day}/{time.year} {time.strftime('%I:%M:%S %p').lstrip('0')}"
    return (
        date,
        mail.sender,
        recipient,
        mail.subject,
        mail.status,
        "",
        mail.from_ip,
        mail.size_bytes,
        mail.message_id,
        trace_id,
    )
