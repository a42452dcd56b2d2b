"""Builders of unified audit log records in the shapes Microsoft 365 writes.

Source: Microsoft pages "Office 365 Management Activity API schema" and
"Search the audit log: detailed properties". Key order follows live records.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from demo_evidence.identities import (
    DOMAIN,
    TENANT_ID,
    Person,
    new_id,
    opaque,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Record = dict[str, object]
SYSTEM = "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)"
OWA_APP = "00000002-0000-0ff1-ce00-000000000000"
# Live mailbox records end this value in CR LF; readers have to survive it.
SERVER = "LO2PR00MB0417 (15.20.9203.008)\r\n"


class Mail(msgspec.Struct, frozen=True):
    """One message that travelled; the trace prints a row for each recipient."""

    time: dt.datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    size_bytes: int
    from_ip: str
    status: str = "Delivered"


class Client(msgspec.Struct, frozen=True):
    """Who acts from where: the columns every mailbox record repeats."""

    person: Person
    ip: str
    info: str
    session: str
    logon_type: int = 0


def stamp(time: dt.datetime) -> str:
    """Write a UTC time as CreationTime has it: ISO 8601 without a zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def head(  # noqa: PLR0913 - the common schema really has this many parts
    source: random.Random,
    time: dt.datetime,
    operation: str,
    record_type: int,
    workload: str,
    user: str,
    key: str,
    *,
    user_type: int = 0,
    status: str = "Succeeded",
) -> Record:
    """Start a record with the common schema's mandatory fields."""
    return {
        "CreationTime": stamp(time),
        "Id": new_id(source),
        "Operation": operation,
        "OrganizationId": TENANT_ID,
        "RecordType": record_type,
        "ResultStatus": status,
        "UserKey": key,
        "UserType": user_type,
        "Version": 1,
        "Workload": workload,
        "UserId": user,
    }


def mailbox(
    source: random.Random,
    time: dt.datetime,
    operation: str,
    record_type: int,
    client: Client,
    owner: Person | None = None,
) -> Record:
    """Start an Exchange mailbox record (record types 2, 3 and 50)."""
    box = owner or client.person
    record = head(
        source,
        time,
        operation,
        record_type,
        "Exchange",
        client.person.upn,
        client.person.mailbox_guid[:16].replace("-", "").upper(),
    )
    # Record type 50 carries ClientIPAddress alone; the others carry both.
    if record_type != 50:  # noqa: PLR2004
        record["ClientIP"] = client.ip
    record |= {
        "AppId": OWA_APP,
        "ClientIPAddress": client.ip,
        "ClientInfoString": client.info,
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": client.logon_type,
        "MailboxGuid": box.mailbox_guid,
        "MailboxOwnerUPN": box.upn,
        "OrganizationName": DOMAIN,
        "OriginatingServer": SERVER,
        "SessionId": client.session,
    }
    if client.info == "Client=MSExchangeRPC":
        record |= {"ClientProcessName": "OUTLOOK.EXE", "ClientVersion": "16.0.18324.20000"}
    return record


def folder(source: random.Random, path: str) -> Record:
    """Describe a folder as Folder, DestFolder and ParentFolder do."""
    return {"Id": opaque(source, "LgAAAA", 12), "Path": path}


def message(source: random.Random, path: str, subject: str, message_id: str) -> Record:
    """Describe one message as AffectedItems and Item do."""
    return {
        "Id": opaque(source, "RgAAAA", 16),
        "InternetMessageId": message_id,
        "ParentFolder": folder(source, path),
        "Subject": subject,
    }


def new_message_id(source: random.Random, host: str = DOMAIN) -> str:
    """Draw an Internet message id."""
    return f"<{opaque(source, 'LO2PR00MB', 14).replace('/', '0').replace('+', '1')}@{host}>"


def deletion(
    source: random.Random,
    time: dt.datetime,
    operation: str,
    client: Client,
    path: str,
    subjects: Sequence[tuple[str, str]],
    *,
    owner: Person | None = None,
    destination: str = "",
) -> Record:
    """Build SoftDelete, HardDelete or MoveToDeletedItems of (subject, message id) pairs."""
    record = mailbox(source, time, operation, 3, client, owner)
    record["AffectedItems"] = [message(source, path, *pair) for pair in subjects]
    record["CrossMailboxOperation"] = owner is not None
    if destination:
        record["DestFolder"] = folder(source, destination)
    record["Folder"] = folder(source, path)
    return record


def accessed(
    source: random.Random,
    time: dt.datetime,
    client: Client,
    folders: Sequence[tuple[str, Sequence[str]]],
    kind: str = "Bind",
) -> Record:
    """Build MailItemsAccessed of (folder path, message ids) pairs."""
    record = mailbox(source, time, "MailItemsAccessed", 50, client)
    record["OperationProperties"] = [
        {"Name": "MailAccessType", "Value": kind},
        {"Name": "IsThrottled", "Value": "False"},
    ]
    record["Folders"] = [
        {
            "FolderItems": [
                {"InternetMessageId": mid, "SizeInBytes": source.randrange(9_000, 140_000)}
                for mid in message_ids
            ],
            **folder(source, path),
        }
        for path, message_ids in folders
    ]
    record["OperationCount"] = sum(len(message_ids) or 1 for _, message_ids in folders)
    return record


def sent(source: random.Random, mail: Mail, client: Client, path: str = "\\Drafts") -> Record:
    """Build the Send record of a mail."""
    record = mailbox(source, mail.time, "Send", 2, client)
    record["Item"] = message(source, path, mail.subject, mail.message_id) | {"SizeInBytes": mail.size_bytes}
    record["SaveToSentItems"] = True
    return record


def cmdlet(
    source: random.Random,
    time: dt.datetime,
    name: str,
    client: Client,
    target: str,
    parameters: Sequence[tuple[str, str]],
) -> Record:
    """Build an Exchange admin record (record type 1) of a person.

    Owners count as administrators of their own mailbox here: UserType is 2 for
    New-InboxRule as well. ClientIP carries the port, as live rows do.
    """
    ip = f"[{client.ip}]" if ":" in client.ip else client.ip
    record = head(
        source,
        time,
        name,
        1,
        "Exchange",
        client.person.upn,
        client.person.object_id,
        user_type=2,
        status="True",
    )
    return record | {
        "ClientIP": f"{ip}:{source.randrange(20_000, 64_000)}",
        "ObjectId": target,
        "AppId": "",
        "ClientAppId": "",
        "ExternalAccess": False,
        "OrganizationName": DOMAIN,
        "OriginatingServer": SERVER.strip(),
        "Parameters": [{"Name": key, "Value": value} for key, value in parameters],
        "SessionId": client.session,
    }


def service_cmdlet(
    source: random.Random,
    time: dt.datetime,
    name: str,
    target: str,
    parameters: Sequence[tuple[str, str]],
) -> Record:
    """Build an Exchange admin record of the service itself: noise, with no address."""
    record = head(source, time, name, 1, "Exchange", SYSTEM, SYSTEM, user_type=3, status="True")
    return record | {
        "ObjectId": f"{DOMAIN}\\{target}",
        "AppId": "",
        "ClientAppId": "",
        "ExternalAccess": True,
        "OrganizationName": DOMAIN,
        "OriginatingServer": SERVER.strip(),
        "Parameters": [{"Name": key, "Value": value} for key, value in parameters],
    }


def sign_in(source: random.Random, time: dt.datetime, client: Client, agent: str) -> Record:
    """Build UserLoggedIn (record type 15)."""
    person = client.person
    record = head(
        source,
        time,
        "UserLoggedIn",
        15,
        "AzureActiveDirectory",
        person.upn,
        person.object_id,
        status="Success",
    )
    return record | {
        "ClientIP": client.ip,
        "ObjectId": "00000003-0000-0ff1-ce00-000000000000",
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [
            {"Name": "ResultStatusDetail", "Value": "Redirect"},
            {"Name": "UserAgent", "Value": agent},
            {"Name": "RequestType", "Value": "OAuth2:Authorize"},
        ],
        "ModifiedProperties": [],
        "Actor": [{"ID": person.object_id, "Type": 0}, {"ID": person.upn, "Type": 5}],
        "ActorContextId": TENANT_ID,
        "ActorIpAddress": client.ip,
        "ApplicationId": OWA_APP,
        "DeviceProperties": [{"Name": "SessionId", "Value": client.session}],
        "ErrorNumber": "0",
    }


def directory_change(
    source: random.Random,
    time: dt.datetime,
    operation: str,
    actor: Person,
    target: Person,
    changes: Sequence[tuple[str, str, str]],
) -> Record:
    """Build an Entra directory record (record type 8) of (name, new, old) changes."""
    record = head(
        source,
        time,
        operation,
        8,
        "AzureActiveDirectory",
        actor.upn,
        actor.object_id,
        status="Success",
    )
    return record | {
        "ObjectId": target.upn,
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [{"Name": "extendedAuditEventCategory", "Value": "User"}],
        "ModifiedProperties": [
            {"Name": name, "NewValue": new, "OldValue": old} for name, new, old in changes
        ],
        "Actor": [{"ID": actor.upn, "Type": 5}, {"ID": actor.object_id, "Type": 2}],
        "ActorContextId": TENANT_ID,
        "Target": [{"ID": target.object_id, "Type": 2}, {"ID": target.upn, "Type": 5}],
        "TargetContextId": TENANT_ID,
    }


def file_access(
    source: random.Random, time: dt.datetime, operation: str, client: Client, name: str
) -> Record:
    """Build a SharePoint file record (record type 6)."""
    record = head(source, time, operation, 6, "SharePoint", client.person.upn, client.person.object_id)
    del record["ResultStatus"]
    site = "https://contoso.sharepoint.example/sites/finance"
    return record | {
        "ClientIP": client.ip,
        "ObjectId": f"{site}/Shared Documents/{name}",
        "EventSource": "SharePoint",
        "ItemType": "File",
        "SiteUrl": f"{site}/",
        "SourceFileExtension": name.rsplit(".", 1)[-1],
        "SourceFileName": name,
        "SourceRelativeUrl": "Shared Documents",
        "UserAgent": "MSWAC",
    }


def discovery(  # noqa: PLR0913 - one argument for each thing a discovery record tells
    source: random.Random,
    time: dt.datetime,
    operation: str,
    actor: Person,
    target: str,
    options: str,
    *,
    case: str = "",
    query: str = "",
    locations: str = "",
) -> Record:
    """Build a content-search record (record type 24, feed Audit.General)."""
    record = head(
        source,
        time,
        operation,
        24,
        "SecurityComplianceCenter",
        actor.upn,
        actor.object_id,
        status="Success",
    )
    return record | {
        "ObjectId": target,
        "Case": case,
        "ClientApplication": "EMC",
        "CmdletVersion": "",
        "EffectiveOrganization": DOMAIN,
        "ExchangeLocations": locations,
        "ExtendedProperties": [],
        "ObjectType": "ComplianceSearchAction" if "_" in target else "ComplianceSearch",
        "Parameters": [{"Name": "CmdletOptions", "Value": options}],
        "PublicFolderLocations": "",
        "Query": query,
        "SharepointLocations": "",
        "StartTime": stamp(time),
        "UserServicePlan": "",
    }
