"""Settings as the Get- cmdlets and Graph return them, in one shape: kind, identity, mailbox, name, enabled, times, all members.

A snapshot says what a setting was when somebody looked. When that was is rarely in the file, and is never guessed from the file's
own times: a setting without a time stays without one.
"""

from __future__ import annotations

import re
from typing import Any

from mailwitness.readers.windows_event import text

Record = dict[str, Any]  # Any: JSON values

# Members by which an object without a type name is known, the most telling first; names are compared without case.
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("MailboxAuditBypassAssociation", ("AuditBypassEnabled",)),
    ("AdminAuditLogConfig", ("AdminAuditLogEnabled",)),
    ("AdminAuditLogConfig", ("UnifiedAuditLogIngestionEnabled",)),
    ("InboxRule", ("RuleIdentity", "DeleteMessage")),
    ("InboxRule", ("MailboxOwnerId", "StopProcessingRules")),
    ("InboxRule", ("DeleteMessage", "MoveToFolder", "Enabled")),
    ("MessageRule", ("sequence", "isEnabled", "actions")),
    ("SweepRule", ("KeepLatest", "SourceFolder", "Provider")),
    ("TransportRule", ("State", "Mode", "Priority", "SetAuditSeverity")),
    ("TransportRule", ("State", "Mode", "Priority", "RuleErrorAction")),
    ("TransportRule", ("State", "Mode", "Priority", "Conditions", "Actions")),
    ("Mailbox", ("AuditEnabled", "LitigationHoldEnabled")),
    ("Mailbox", ("AuditEnabled", "PrimarySmtpAddress")),
    ("Mailbox", ("ForwardingSmtpAddress", "PrimarySmtpAddress")),
    ("OrganizationConfig", ("AuditDisabled", "ElcProcessingDisabled")),
    ("OrganizationConfig", ("AuditDisabled", "MapiHttpEnabled")),
    ("RetentionPolicyTag", ("AgeLimitForRetention", "RetentionAction")),
    ("RetentionPolicy", ("RetentionPolicyTagLinks",)),
    ("RetentionCompliancePolicy", ("ExchangeLocation", "RetentionRuleTypes")),
    ("RetentionCompliancePolicy", ("ExchangeLocation", "RestrictiveRetention")),
    ("CaseHoldPolicy", ("ExchangeLocation", "CaseId")),
    ("MailboxSearch", ("InPlaceHoldEnabled", "SourceMailboxes")),
    ("MailboxExportRequest", ("FilePath", "Status", "SourceAlias")),
    ("MailboxExportRequest", ("RequestGuid", "Status", "Mailbox", "BatchName")),
    ("MailboxFolderPermission", ("FolderName", "User", "AccessRights")),
    ("MailboxPermission", ("User", "AccessRights", "Deny", "IsInherited")),
    ("RecipientPermission", ("Trustee", "AccessRights")),
    ("MailboxJunkEmailConfiguration", ("BlockedSendersAndDomains", "TrustedSendersAndDomains")),
    ("CASMailbox", ("ImapEnabled", "PopEnabled", "OWAEnabled")),
    ("JournalRule", ("JournalEmailAddress", "Scope")),
    ("RemoteDomain", ("AutoForwardEnabled", "DomainName")),
    ("InboundConnector", ("SenderDomains", "ConnectorType")),
    ("OutboundConnector", ("RecipientDomains", "SmartHosts")),
    ("ReceiveConnector", ("AuthMechanism", "RemoteIPRanges")),
    ("SendConnector", ("AddressSpaces", "DNSRoutingEnabled")),
    ("TransportAgent", ("TransportAgentFactory", "AssemblyPath")),
    ("UnifiedAuditLogRetentionPolicy", ("RetentionDuration", "RecordTypes")),
    ("MailboxDatabase", ("DeletedItemRetention", "MailboxRetention")),
    ("TransportService", ("MessageTrackingLogEnabled",)),
    ("UserLicence", ("userPrincipalName", "assignedPlans")),
    ("UserLicence", ("userPrincipalName", "assignedLicenses")),
    ("UserLicence", ("userPrincipalName", "licenseDetails")),
    ("UserLicence", ("User principal name", "Licenses")),
    ("ComplianceTag", ("RetentionDuration", "RetentionAction", "RetentionType")),
    ("MailboxFolderStatistics", ("FolderPath", "ItemsInFolder")),
)
# Types of the server whose name is not that of their cmdlet.
_TYPES = {
    "ADOrganizationConfig": "OrganizationConfig",
    "Rule": "TransportRule",
    "MailboxAcePresentationObject": "MailboxPermission",
    "ADMailboxAuditBypassAssociation": "MailboxAuditBypassAssociation",
}
_MAILBOX = (
    "PrimarySmtpAddress",
    "MailboxOwnerId",
    "MailboxOwnerUPN",
    "Mailbox",
    "UserPrincipalName",
    "User principal name",
    "MailboxIdentity",
    "SourceAlias",
)
_IDENTITY = ("Identity", "RuleIdentity", "RuleId", "Guid", "id", "Id", "DistinguishedName")
_NAME = ("Name", "displayName", "DisplayName", "FolderName", "Id")
_SNAPSHOT_TIMES = ("SnapshotTime", "CollectedAt", "TimeGenerated", "snapshotTime")
_PERMISSIONS = frozenset({"MailboxPermission", "RecipientPermission", "MailboxFolderPermission"})


def kind_of(members: Record) -> str:
    """Return the kind of an object by its members; empty when none fits."""
    names = {name.strip().lower() for name in members}
    return next((kind for kind, keys in KINDS if all(key.lower() in names for key in keys)), "")


def prepare(members: Record, type_name: str = "") -> Record | None:
    """Return an object of settings in the shape of the mapping ``settings_snapshot``; None when it is of no known kind."""
    found = {name.strip().lower(): value for name, value in members.items()}
    kind = kind_of(members) or _TYPES.get(type_name, type_name)
    if not kind or not members:
        return None
    identity = _first(found, _IDENTITY)
    mailbox = _first(found, _MAILBOX)
    if not mailbox and (
        kind in _PERMISSIONS
        or (kind in {"InboxRule", "SweepRule"} and "\\" in identity)
        or kind == "MailboxAuditBypassAssociation"
    ):
        # Permissions are listed by mailbox; a rule's identity is mailbox, backslash, number.
        mailbox = re.split(r"[\\:]", identity)[0]
    return {
        "Kind": kind,
        "Identity": identity,
        "Mailbox": re.split(r"[/\\]", mailbox)[-1].lower(),
        "Name": _first(found, _NAME),
        "Enabled": _enabled(found),
        "WhenChanged": _first(found, ("WhenChangedUTC", "WhenChanged", "LastModifiedTime")),
        "WhenCreated": _first(found, ("WhenCreatedUTC", "WhenCreated", "CreationTime")),
        "SnapshotTime": _first(found, _SNAPSHOT_TIMES),
        "Settings": members,
    }


def _first(found: Record, names: tuple[str, ...]) -> str:
    for name in names:
        value = found.get(name.lower())
        if isinstance(value, dict):
            value = value.get("Name") or value.get("value")
        if isinstance(value, (str, int)) and value != "":
            return text(value)
    return ""


def _enabled(found: Record) -> bool | None:
    for name in ("enabled", "isenabled", "state", "auditenabled"):
        if name in found:
            word = text(found[name]).lower()
            return (
                True
                if word in {"true", "enabled", "1"}
                else False
                if word in {"false", "disabled", "0"}
                else None
            )
    return None


class Preparer:
    """Bring objects of a CSV or JSON export into the common shape."""

    def prepare(self, record: Record) -> Record | None:
        """Return an object in the common shape; None when it is of no known kind."""
        if not kind_of(record):
            return None
        return prepare(record)
