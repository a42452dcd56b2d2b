r"""Audit searches of an Exchange server as XML: SearchResults with one Event for each record.

The file that New-AdminAuditLogSearch and New-MailboxAuditLogSearch send by mail::

    <SearchResults><Event Caller="contoso.example/Users/mallory" Cmdlet="Remove-MailboxExportRequest" ObjectModified="..."
      RunDate="2026-03-02T10:20:11+01:00" Succeeded="true" Error="None" OriginatingServer="EX01 (15.02.1544.004)">
      <CmdletParameters><Parameter Name="Identity" Value="ceo\MailboxExport"/></CmdletParameters><ModifiedProperties/></Event></SearchResults>
    <SearchResults><Event Owner="Eva" LastAccessed="..." Operation="HardDelete" OperationResult="Succeeded"
      LogonType="Delegate" FolderPathName="\Inbox" ClientIPAddress="192.0.2.1"><SourceItems/></Event></SearchResults>

RunDate and LastAccessed carry their offset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.readers import safe_xml
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.readers.exchange_audit import prepare_admin, prepare_mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailwitness.readers.safe_xml import Element


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield each Event as a record in the shape of `exchange_audit`."""
    for found in safe_xml.elements(path, lambda name, depth: name == "Event" and depth > 1, b"<Event"):
        if isinstance(found, Damage):
            yield found
            continue
        event = members(found.element)
        prepared = (
            prepare_admin(event) if "Cmdlet" in event or "CmdletName" in event else prepare_mailbox(event)
        )
        if prepared is None:
            yield Damage(
                found.offset, found.length, found.line, "the event names neither a cmdlet nor an operation"
            )
        else:
            yield RawRecord(prepared, found.offset, found.length, found.line, not found.is_whole)


def members(element: Element) -> dict[str, Any]:  # Any: JSON values
    """Return an element as an object: attributes and children by name, repeated children as lists."""
    event: dict[str, Any] = dict(element.attributes)  # Any: JSON values
    for child in element.children:
        if not child.children:
            event[child.name] = child.attributes or child.text.strip()
        else:
            event[child.name] = [dict(inner.attributes) | _texts(inner) for inner in child.children]
    return event


def _texts(element: Element) -> dict[str, str]:
    return {child.name: child.text.strip() or child.attributes.get("Value", "") for child in element.children}
