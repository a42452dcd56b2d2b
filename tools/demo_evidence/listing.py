"""The listing of the victim's mailbox that the responders made last: what is left of it.

Everything the other files name is in it, less what a record says was removed, and less five messages that
went while the administrator's account was not audited.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from demo_evidence.collection import at
from demo_evidence.identities import INTRUDER_IP, VICTIM

if TYPE_CHECKING:
    from demo_evidence.collection import Evidence
    from demo_evidence.records import Record

FILE = f"{VICTIM.upn}.json"
LISTED = at(14, 9, 30)
# Read by the intruder on the 13th and gone since the half hour without audit on the 16th.
LOST = 5
_REMOVED = {"HardDelete", "SoftDelete"}


def listing_json(evidence: Evidence) -> str:
    """Write the messages as Microsoft Graph returns them: one object with a value array, newest first."""
    messages = _messages(evidence)
    newest_first = sorted(messages.items(), key=lambda pair: (pair[1]["receivedDateTime"], pair[0]))[::-1]
    return (
        json.dumps(
            {"value": [message for _, message in newest_first]}, ensure_ascii=False, separators=(",", ":")
        )
        + "\n"
    )


def _messages(evidence: Evidence) -> dict[str, dict[str, Any]]:  # Any: JSON values
    own = [record for record in evidence.audit if record.get("MailboxOwnerUPN") == VICTIM.upn]
    found: dict[str, dict[str, Any]] = {}
    for mail in evidence.mails:
        if VICTIM.upn in mail.recipients:
            found[mail.message_id] = _message(mail.message_id, mail.subject, mail.sender, mail.time, "inbox")
        elif mail.sender == VICTIM.upn:
            found[mail.message_id] = _message(
                mail.message_id, mail.subject, mail.sender, mail.time, "sentitems"
            )
    read: list[str] = []
    for record in own:
        for message_id, subject, folder in _named(record):
            read += [message_id] if _is_by_the_intruder(record) else []
            time = dt.datetime.fromisoformat(str(record["CreationTime"])).replace(
                tzinfo=dt.UTC
            ) - dt.timedelta(days=9)
            found.setdefault(
                message_id, _message(message_id, subject, "partner@fabrikam.example", time, folder)
            )
    removed = {
        message_id
        for record in own
        if record["Operation"] in _REMOVED
        for message_id, _, folder in _named(record)
        if folder != "drafts"
    }
    lost = [message_id for message_id in dict.fromkeys(read) if message_id not in removed][:LOST]
    last = _message(
        "<notice-14@helpdesk.contoso.example>",
        "Your mailbox was secured",
        "helpdesk@contoso.example",
        LISTED,
        "inbox",
    )
    kept = {key: value for key, value in found.items() if key not in removed and key not in lost}
    return kept | {last["internetMessageId"]: last}


def _is_by_the_intruder(record: Record) -> bool:
    return record["Operation"] == "MailItemsAccessed" and INTRUDER_IP in str(
        record.get("ClientIPAddress", "")
    )


def _named(record: dict[str, Any]) -> list[tuple[str, str, str]]:  # Any: JSON values
    """Return message id, subject and folder of every message that an audit record names."""
    rows = [
        (
            item["InternetMessageId"],
            "",
            str(folder.get("Path", "")).strip("\\").replace(" ", "").lower() or "inbox",
        )
        for folder in record.get("Folders", [])
        for item in folder.get("FolderItems", [])
    ]
    items = [*record.get("AffectedItems", []), *([record["Item"]] if "Item" in record else [])]
    for item in items:
        if "InternetMessageId" in item:
            path = str(item.get("ParentFolder", {}).get("Path", ""))
            rows.append(
                (
                    item["InternetMessageId"],
                    str(item.get("Subject", "")),
                    "drafts" if "Drafts" in path else "inbox",
                )
            )
    return rows


def _message(
    message_id: str, subject: str, sender: str, time: dt.datetime, folder: str
) -> dict[str, Any]:  # Any: JSON values
    digest = hashlib.sha256(message_id.encode()).hexdigest()
    return {
        "id": f"AAMk{digest[:40]}=",
        "receivedDateTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": subject,
        "internetMessageId": message_id,
        "parentFolderId": folder,
        "isRead": True,
        "from": {"emailAddress": {"address": sender}},
    }
