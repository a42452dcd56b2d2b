"""Pre-rendered audit records: JSON templates that only need their blanks filled.

A record is rendered once as JSON and turned into a %-format; filling it costs a few
microseconds, against some sixty for building and encoding a dictionary each time.
Shapes and key order follow the Microsoft page "Office 365 Management Activity API
schema" and what live exports hold, including the CR LF at the end of OriginatingServer.
"""

from __future__ import annotations

import json
import re

TENANT_ID = "6f1d2c3b-0a4e-4d58-9b77-1c2d3e4f5a60"
DOMAIN = "contoso.example"
OWA_APP = "00000002-0000-0ff1-ce00-000000000000"
SITE = "https://contoso.sharepoint.example/sites"

Shape = dict[str, object]


def render(shape: Shape) -> str:
    """Turn a shape into a %-format: "{name}" is a text blank, "{#name}" a raw one."""
    text = json.dumps(shape, separators=(",", ":")).replace("%", "%%")
    text = re.sub(r'"\{#(\w+)\}"', r"%(\1)s", text)
    return re.sub(r"\{(\w+)\}", r"%(\1)s", text)


def head(record_type: int, workload: str, status: str = "Succeeded") -> Shape:
    """Start a shape with the common fields."""
    return {
        "CreationTime": "{time}",
        "Id": "{id}",
        "Operation": "{operation}",
        "OrganizationId": TENANT_ID,
        "RecordType": record_type,
        "ResultStatus": status,
        "UserKey": "{key}",
        "UserType": 0,
        "Version": 1,
        "Workload": workload,
        "UserId": "{upn}",
    }


def mailbox(record_type: int) -> Shape:
    """Start an Exchange mailbox shape."""
    shape = head(record_type, "Exchange")
    if record_type != AGGREGATED:
        shape["ClientIP"] = "{ip}"
    return shape | {
        "AppAccessContext": {
            "AADSessionId": "{session}",
            "IssuedAtTime": "{time}",
            "UniqueTokenId": "{token}",
        },
        "AppId": OWA_APP,
        "ClientAppId": OWA_APP,
        "ClientIPAddress": "{ip}",
        "ClientInfoString": "{client}",
        "ClientRequestId": "{request}",
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": 0,
        "LogonUserSid": "{sid}",
        "MailboxGuid": "{mailbox_guid}",
        "MailboxOwnerSid": "{sid}",
        "MailboxOwnerUPN": "{upn}",
        "OrganizationName": DOMAIN,
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)\r\n",
        "SessionId": "{session}",
        "TokenObjectId": "{object_id}",
        "TokenTenantId": TENANT_ID,
        "TokenType": "Access",
    }


AGGREGATED = 50
FOLDER = {"Id": "LgAAAAC{folder_id}AAAB", "Path": "{path}"}

ACCESSED = render(
    mailbox(AGGREGATED)
    | {
        "OperationProperties": [
            {"Name": "MailAccessType", "Value": "{access}"},
            {"Name": "IsThrottled", "Value": "False"},
        ],
        "Folders": [{"FolderItems": "{#messages}", **FOLDER}],
        "OperationCount": "{#count}",
    }
)
READ_MESSAGE = render(
    {
        "ClientRequestId": "{request}",
        "Id": "RgAAAAC{message_id}AAAJ",
        "ImmutableId": "LgAAAAC{message_id}AAEP",
        "InternetMessageId": "<{message_id}@LO2PR00MB0417.contoso.example>",
        "SizeInBytes": "{#size}",
    }
)
MESSAGE = {
    "Attachments": "{attachment}",
    "Id": "RgAAAAC{message_id}AAAJ",
    "ImmutableId": "LgAAAAC{message_id}AAEP",
    "InternetMessageId": "<{message_id}@LO2PR00MB0417.contoso.example>",
    "ParentFolder": FOLDER,
    "SizeInBytes": "{#size}",
    "Subject": "{subject}",
}
SENT = render(mailbox(2) | {"Item": MESSAGE, "SaveToSentItems": True})
UPDATED = render(mailbox(2) | {"Item": MESSAGE, "ModifiedProperties": ["Categories", "ResponseType"]})
AFFECTED_MESSAGE = render(
    {
        "Id": "RgAAAAC{message_id}AAAJ",
        "ImmutableId": "LgAAAAC{message_id}AAEP",
        "InternetMessageId": "<{message_id}@LO2PR00MB0417.contoso.example>",
        "ParentFolder": FOLDER,
        "Subject": "{subject}",
    }
)
GROUP = mailbox(3) | {"AffectedItems": "{#messages}", "CrossMailboxOperation": False}
DELETED = render(GROUP | {"Folder": FOLDER})
MOVED = render(
    GROUP | {"DestFolder": {"Id": "LgAAAAC{folder_id}AAAC", "Path": "{destination}"}, "Folder": FOLDER}
)

_sharepoint = head(6, "{workload}")
del _sharepoint["ResultStatus"]
FILE = render(
    _sharepoint
    | {
        "ClientIP": "{ip}",
        "ObjectId": SITE + "/{team}/Shared Documents/General/{file}",
        "AppAccessContext": {
            "AADSessionId": "{session}",
            "ClientAppId": OWA_APP,
            "ClientAppName": "Microsoft Office",
            "CorrelationId": "{request}",
            "TokenIssuedAtTime": "{time}",
            "UniqueTokenId": "{token}",
        },
        "ApplicationDisplayName": "Microsoft Office",
        "ApplicationId": OWA_APP,
        "AuthenticationType": "OAuth",
        "BrowserName": "Edge",
        "BrowserVersion": "141.0.0.0",
        "CorrelationId": "{request}",
        "CrossScopeSyncDelete": False,
        "DeviceDisplayName": "{ip}",
        "EventSource": "SharePoint",
        "FileSizeBytes": "{#size}",
        "GeoLocation": "GBR",
        "HighPriorityMediaProcessing": False,
        "IsManagedDevice": False,
        "ItemType": "File",
        "ListBaseType": 1,
        "ListId": "{mailbox_guid}",
        "ListItemUniqueId": "{token_id}",
        "ListServerTemplate": 101,
        "Platform": "WinDesktop",
        "Site": "{object_id}",
        "SiteUrl": SITE + "/{team}/",
        "SourceFileExtension": "docx",
        "SourceFileName": "{file}",
        "SourceRelativeUrl": "Shared Documents/General",
        "UserAgent": "{agent}",
        "WebId": "{object_id}",
    }
)
SIGN_IN = render(
    head(15, "AzureActiveDirectory", "{result}")
    | {
        "ClientIP": "{ip}",
        "ObjectId": "00000003-0000-0ff1-ce00-000000000000",
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [
            {"Name": "ResultStatusDetail", "Value": "Redirect"},
            {"Name": "UserAgent", "Value": "{agent}"},
            {"Name": "RequestType", "Value": "OAuth2:Authorize"},
        ],
        "ModifiedProperties": [],
        "Actor": [{"ID": "{object_id}", "Type": 0}, {"ID": "{upn}", "Type": 5}],
        "ActorContextId": TENANT_ID,
        "ActorIpAddress": "{ip}",
        "InterSystemsId": "{request}",
        "IntraSystemId": "{token_id}",
        "SupportTicketId": "",
        "Target": [{"ID": "00000003-0000-0ff1-ce00-000000000000", "Type": 0}],
        "TargetContextId": TENANT_ID,
        "ApplicationId": OWA_APP,
        "DeviceProperties": [
            {"Name": "OS", "Value": "Windows10"},
            {"Name": "BrowserType", "Value": "Edge"},
            {"Name": "IsCompliantAndManaged", "Value": "False"},
            {"Name": "SessionId", "Value": "{session}"},
        ],
        "ErrorNumber": "{error}",
    }
)
TEAMS = render(
    head(25, "MicrosoftTeams")
    | {
        "ClientIP": "{ip}",
        "AppAccessContext": {"AADSessionId": "{session}", "UniqueTokenId": "{token}"},
        "ChatThreadId": "19:{token_id}@thread.v2",
        "CommunicationType": "GroupChat",
        "ExtraProperties": [
            {"Key": "TimeZone", "Value": "Europe/London"},
            {"Key": "OsName", "Value": "windows"},
            {"Key": "OsVersion", "Value": "10"},
            {"Key": "Country", "Value": "gb"},
            {"Key": "ClientName", "Value": "skypeteams"},
            {"Key": "ClientVersion", "Value": "49/25100201500"},
        ],
        "MessageId": "17{count}0000{size}",
        "MessageVersion": "17{count}0000{size}",
        "ItemName": "19:{token_id}@thread.v2",
        "ParticipantInfo": {
            "HasForeignTenantUsers": False,
            "HasGuestUsers": False,
            "HasOtherGuestUsers": False,
            "HasUnauthenticatedUsers": False,
            "ParticipatingTenantIds": [TENANT_ID],
        },
        "ResourceTenantId": TENANT_ID,
        "TeamName": "{team}",
    }
)
_service = head(1, "Exchange", "True") | {
    "UserKey": "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)",
    "UserId": "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)",
    "UserType": 3,
}
SERVICE_CMDLET = render(
    _service
    | {
        "ObjectId": "GBRP265A001.PROD.OUTLOOK.EXAMPLE/Microsoft Exchange Hosted Organizations/"
        + DOMAIN
        + "/{mailbox_guid}",
        "AppId": "",
        "AppPoolName": "MSExchangeServiceHost",
        "ClientAppId": "",
        "CorrelationID": "{request}",
        "ExternalAccess": True,
        "OrganizationName": DOMAIN,
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)",
        "Parameters": [
            {"Name": "DomainController", "Value": "LO2PR00A01DC003.GBRP265A001.PROD.OUTLOOK.EXAMPLE"},
            {"Name": "Identity", "Value": DOMAIN + "/{mailbox_guid}"},
            {"Name": "{parameter}", "Value": "{value}"},
            {"Name": "ErrorAction", "Value": "SilentlyContinue"},
            {"Name": "WarningAction", "Value": "SilentlyContinue"},
        ],
        "RequestId": "{token_id}",
        "SessionId": "",
    }
)
CMDLET = render(
    head(1, "Exchange", "True")
    | {
        "UserType": 2,
        "ClientIP": "{ip}:{port}",
        "ObjectId": "{target}",
        "AppId": "",
        "AppAccessContext": {"AADSessionId": "{session}", "UniqueTokenId": "{token}"},
        "ClientAppId": "",
        "ExternalAccess": False,
        "OrganizationName": DOMAIN,
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)",
        "Parameters": "{#parameters}",
        "RequestId": "{request}",
        "SessionId": "{session}",
    }
)
DIRECTORY = render(
    head(8, "AzureActiveDirectory", "Success")
    | {
        "ObjectId": "{upn}",
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [
            {"Name": "additionalDetails", "Value": '{"UserType":"Member"}'},
            {"Name": "extendedAuditEventCategory", "Value": "User"},
        ],
        "ModifiedProperties": [
            {"Name": "Department", "NewValue": '[\r\n  "{team}"\r\n]', "OldValue": "[]"},
            {"Name": "Included Updated Properties", "NewValue": "Department", "OldValue": ""},
        ],
        "Actor": [{"ID": "identity-sync@" + DOMAIN, "Type": 5}, {"ID": "{object_id}", "Type": 2}],
        "ActorContextId": TENANT_ID,
        "InterSystemsId": "{request}",
        "IntraSystemId": "{token_id}",
        "Target": [{"ID": "User_{object_id}", "Type": 2}, {"ID": "{upn}", "Type": 5}],
        "TargetContextId": TENANT_ID,
    }
)
DISCOVERY = render(
    head(24, "SecurityComplianceCenter", "Success")
    | {
        "ClientIP": "{ip}",
        "ObjectId": "{target}",
        "Case": "",
        "ClientApplication": "EMC",
        "CmdletVersion": "",
        "EffectiveOrganization": DOMAIN,
        "ExchangeLocations": "{upn}",
        "ExtendedProperties": [],
        "ObjectType": "ComplianceSearchAction",
        "Parameters": [{"Name": "CmdletOptions", "Value": "{options}"}],
        "PublicFolderLocations": "",
        "Query": "kind:email AND invoice",
        "SharepointLocations": "",
        "StartTime": "{time}",
        "UserServicePlan": "",
    }
)
