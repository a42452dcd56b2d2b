"""Records of the administrator and mailbox audit logs of an Exchange server, whichever way they were exported.

`prepare_admin` gives the shape of the mapping ``windows_event`` (a cmdlet is a cmdlet, wherever the server wrote it), `prepare_mailbox`
that of ``exchange_mailbox_audit``. Both take the properties of Search-AdminAuditLog and Search-MailboxAuditLog as JSON values.
"""

from __future__ import annotations

import re
from typing import Any

from mailwitness.readers.exchange_events import parameters_of
from mailwitness.readers.windows_event import text

Record = dict[str, Any]  # Any: JSON values

_PAIR = re.compile(r"^\s*([A-Za-z][\w]*)\s*[:=]\s?(.*)$", re.DOTALL)
_SERVER = re.compile(r"^([^\s(]+)")
_NONE = ("", "None", "none")


def prepare_admin(event: Record) -> Record | None:
    """Return an entry of the administrator audit log as a cmdlet event; None when it names no cmdlet or time."""
    cmdlet = text(event.get("CmdletName") or event.get("Cmdlet"))
    time = text(event.get("RunDate"))
    if not cmdlet or not time:
        return None
    succeeded = text(event.get("Succeeded")).lower()
    error = text(event.get("Error"))
    server = _SERVER.match(text(event.get("OriginatingServer")))
    parameters = bag(event.get("CmdletParameters"))
    return {
        "Time": time,
        "Provider": "AdminAuditLog",
        "Channel": "Administrator audit log",
        "EventID": 1 if succeeded == "true" else 6,
        "Computer": server[1] if server else "",
        "RecordId": text(event.get("Identity")),
        "UserName": text(event.get("Caller")),
        "Message": "",
        "Data": {},
        "Cmdlet": cmdlet,
        "CmdletText": " ".join(f'-{name} "{value}"' for name, value in parameters.items()),
        "CmdletParameters": parameters,
        "CmdletSucceeded": succeeded == "true" if succeeded in {"true", "false"} else None,
        "CmdletError": "" if error in _NONE else error,
        "Caller": text(event.get("Caller")),
        "ObjectModified": text(event.get("ObjectModified")),
        "ModifiedProperties": properties(event.get("ModifiedProperties")),
        "ClientIP": text(event.get("ClientIP")),
    }


def prepare_mailbox(event: Record) -> Record | None:
    """Return an entry of the mailbox audit log; None when it names no operation or time."""
    operation = text(event.get("Operation"))
    time = text(event.get("LastAccessed"))
    if not operation or not time:
        return None
    found: Record = {key: text(value) for key, value in event.items() if not isinstance(value, (list, dict))}
    found["Time"] = time
    found["Items"] = _items(event)
    found["Owner"] = text(
        event.get("MailboxOwnerUPN") or event.get("MailboxResolvedOwnerName") or event.get("Owner")
    )
    return found


def _items(event: Record) -> list[Record]:
    listed = event.get("SourceItems")
    subjects = text(event.get("SourceItemSubjectsList")).strip()
    folders = text(event.get("SourceItemFolderPathNamesList")).split(", ")
    items: list[Record] = []
    if isinstance(listed, list):
        items = [_item(item) if isinstance(item, dict) else {"Subject": text(item)} for item in listed]
    elif subjects:
        items = [{"Subject": subject} for subject in re.split(r"\s*\r?\n\s*|,\s(?=\S)", subjects)]
        for item, folder in zip(items, folders, strict=False):
            item["ParentFolder"] = {"Path": folder}
    if not items and (event.get("ItemSubject") or event.get("ItemId")):
        items = [
            {
                "Subject": text(event.get("ItemSubject")),
                "Id": text(event.get("ItemId")),
                "InternetMessageId": text(event.get("ItemInternetMessageId")),
            }
        ]
    return [{key: value for key, value in item.items() if value not in ("", None)} for item in items]


def _item(item: Record) -> Record:
    path = text(
        item.get("SourceItemFolderPathName") or item.get("FolderPathName") or item.get("ItemFolderPathName")
    )
    found: Record = {
        "Id": text(item.get("SourceItemId") or item.get("ItemId") or item.get("Id")),
        "Subject": text(item.get("SourceItemSubject") or item.get("ItemSubject") or item.get("Subject")),
        "InternetMessageId": text(
            item.get("SourceItemInternetMessageId")
            or item.get("ItemInternetMessageId")
            or item.get("InternetMessageId")
        ),
    }
    if path:
        found["ParentFolder"] = {"Path": path}
    return found


def bag(value: object) -> dict[str, str]:
    """Return cmdlet parameters as a bag, from a list of Name and Value, an object, or text in one of its forms."""
    if isinstance(value, dict):
        if {"Name", "Value"} <= value.keys():
            return {text(value["Name"]): text(value["Value"])}
        return {key: text(item) for key, item in value.items()}
    if isinstance(value, list):
        found: dict[str, str] = {}
        for item in value:
            for name, content in bag(item).items():
                found[name] = f"{found[name]}; {content}" if name in found else content
        return found
    line = text(value).strip()
    if line.startswith("-"):
        return parameters_of(line)
    pairs = (_PAIR.match(part) for part in re.split(r"[;\r\n]+|,\s*(?=[A-Za-z]\w*\s*[:=])", line.strip("{}")))
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


def properties(value: object) -> list[Record]:
    """Return changed properties as a list of Name, OldValue and NewValue."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return []
    kept = ("Name", "OldValue", "NewValue")
    return [
        {key: text(item.get(key)) for key in kept}
        for item in value
        if isinstance(item, dict) and item.get("Name")
    ]


class Preparer:
    """Bring rows of an exported audit log, as CSV or JSON, into the common shape."""

    def prepare(self, record: Record) -> Record | None:
        """Return a row of either log; None when it is neither."""
        return (
            prepare_admin(record)
            if record.get("CmdletName") or record.get("Cmdlet")
            else prepare_mailbox(record)
        )
