"""The commands we look for: their names, parameters, switches, and the aliases that hide them.

Names only, of the cmdlets that touch mail, mail settings, logs and files. A command that is not listed is reported as written.
"""

# Rows of a table: broken over lines nobody could compare them.
# ruff: noqa: E501

from __future__ import annotations

from typing import NamedTuple


class Cmdlet(NamedTuple):
    """What is known of one cmdlet.

    Attributes:
        name: name in its usual spelling.
        first: parameter that the first value without a name belongs to.
        parameters: names of parameters that take a value.
        switches: names of parameters that stand alone or take $true or $false.
    """

    name: str
    first: str
    parameters: tuple[str, ...]
    switches: tuple[str, ...]


# Parameters of every advanced function, of which ErrorAction and its kin can be shortened to the aliases beside them.
_COMMON = "ErrorAction WarningAction InformationAction ErrorVariable WarningVariable InformationVariable OutVariable OutBuffer PipelineVariable"
_COMMON_SWITCHES = "Verbose Debug WhatIf Confirm"
COMMON_ALIASES = {"ea": "ErrorAction", "wa": "WarningAction", "infa": "InformationAction", "ev": "ErrorVariable", "wv": "WarningVariable",
                  "ov": "OutVariable", "ob": "OutBuffer", "pv": "PipelineVariable", "vb": "Verbose", "db": "Debug", "wi": "WhatIf", "cf": "Confirm"}  # fmt: skip

_RULE = """Mailbox Name Priority MoveToFolder CopyToFolder ForwardTo ForwardAsAttachmentTo RedirectTo SubjectContainsWords SubjectOrBodyContainsWords
BodyContainsWords FromAddressContainsWords RecipientAddressContainsWords HeaderContainsWords From SentTo ApplyCategory MarkImportance WithImportance
ReceivedAfterDate ReceivedBeforeDate DomainController"""
_RULE_SWITCHES = """DeleteMessage SoftDeleteMessage PermanentDelete MarkAsRead StopProcessingRules Force HasAttachment MyNameInToBox MyNameInCcBox
MyNameInToOrCcBox MyNameNotInToBox SentOnlyToMe AlwaysDeleteOutlookRulesBlob FlaggedForAction"""
_TRANSPORT = """Name Priority Mode Comments From FromScope FromMemberOf SentTo SentToScope SentToMemberOf SubjectContainsWords SubjectOrBodyContainsWords
SubjectMatchesPatterns SubjectOrBodyMatchesPatterns HeaderContainsMessageHeader HeaderContainsWords HeaderMatchesMessageHeader HeaderMatchesPatterns
RecipientAddressContainsWords SenderDomainIs BlindCopyTo CopyTo AddToRecipients RedirectMessageTo ModerateMessageByUser RemoveHeader SetHeaderName
SetHeaderValue SetSCL SetAuditSeverity PrependSubject RejectMessageReasonText ActivationDate ExpiryDate RouteMessageOutboundConnector DomainController"""
_TRANSPORT_SWITCHES = "DeleteMessage Quarantine StopRuleProcessing Enabled"
_MAILBOX = """AuditEnabled AuditOwner AuditDelegate AuditAdmin AuditLogAgeLimit DefaultAuditSet LitigationHoldEnabled LitigationHoldDuration LitigationHoldDate
LitigationHoldOwner SingleItemRecoveryEnabled RetainDeletedItemsFor RetentionPolicy RetentionHoldEnabled StartDateForRetentionHold EndDateForRetentionHold
ElcProcessingDisabled ForwardingAddress ForwardingSmtpAddress DeliverToMailboxAndForward GrantSendOnBehalfTo MessageCopyForSentAsEnabled
MessageCopyForSendOnBehalfEnabled HiddenFromAddressListsEnabled UseDatabaseRetentionDefaults UseDatabaseQuotaDefaults RecoverableItemsQuota
RecoverableItemsWarningQuota IssueWarningQuota ProhibitSendQuota ProhibitSendReceiveQuota ExcludeFromOrgHolds EmailAddresses PrimarySmtpAddress DisplayName
Alias Type DomainController"""
_MAILBOX_SWITCHES = """RemoveDelayHoldApplied RemoveDelayReleaseHoldApplied ExcludeFromAllOrgHolds ExcludeFromAllHolds GroupMailbox InactiveMailbox Force
Arbitration Migration PublicFolder AuditLog"""
_SEARCH = "SearchQuery TargetMailbox TargetFolder LogLevel DomainController"
_SEARCH_SWITCHES = "DeleteContent EstimateResultOnly LogOnly Force SearchDumpster SearchDumpsterOnly IncludeUnsearchableItems DoNotIncludeArchive"
_EXPORT = """Mailbox FilePath Name BatchName ContentFilter IncludeFolders ExcludeFolders SourceRootFolder TargetRootFolder Priority BadItemLimit
LargeItemLimit CompletedRequestAgeLimit RemoteCredential RemoteHostName AcceptLargeDataLoss DomainController"""
_EXPORT_SWITCHES = "IsArchive ExcludeDumpster AcceptLargeDataLoss Suspend Force"
_POLICY = """Name Comment Enabled ExchangeLocation AddExchangeLocation RemoveExchangeLocation AddExchangeLocationException RemoveExchangeLocationException
ModernGroupLocation RetentionRuleTypes Policy RetentionDuration RetentionComplianceAction ContentMatchQuery ExpirationDateOption Workload RecordTypes Operations
UserIds Priority Description"""

# name | first positional | parameters | switches
_TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("Search-Mailbox", "Identity", _SEARCH, _SEARCH_SWITCHES),
    ("New-MailboxExportRequest", "Mailbox", _EXPORT, _EXPORT_SWITCHES),
    ("Remove-MailboxExportRequest", "Identity", "RequestQueue RequestGuid DomainController", "Force"),
    ("Get-MailboxExportRequest", "Identity", "Status Name BatchName Mailbox Database ResultSize", "HighPriority Suspend"),
    ("Set-MailboxExportRequest", "Identity", "CompletedRequestAgeLimit Priority BatchName", "RehomeRequest Force"),
    ("Remove-MailboxImportRequest", "Identity", "RequestQueue RequestGuid", "Force"),
    ("Remove-MailboxRestoreRequest", "Identity", "RequestQueue RequestGuid", "Force"),
    ("Remove-MoveRequest", "Identity", "MoveRequestQueue MailboxGuid", "Force ProxyToMailbox"),
    ("New-ComplianceSearch", "Name", "ContentMatchQuery ExchangeLocation ExchangeLocationExclusion Case Description SharePointLocation", "AllowNotFoundExchangeLocationsEnabled Force"),
    ("Start-ComplianceSearch", "Identity", "", "Force RetryOnError"),
    ("New-ComplianceSearchAction", "SearchName", "PurgeType ActionName ExchangeArchiveFormat Format Scope NotifyEmail", "Purge Preview Export Report RetryOnError Force"),
    ("Remove-ComplianceSearchAction", "Identity", "", "Force"),
    ("Remove-ComplianceSearch", "Identity", "", "Force"),
    ("Remove-ComplianceCase", "Identity", "", "Force"),
    ("New-InboxRule", "Name", _RULE, _RULE_SWITCHES),
    ("Set-InboxRule", "Identity", _RULE, _RULE_SWITCHES),
    ("Remove-InboxRule", "Identity", "Mailbox DomainController", "Force AlwaysDeleteOutlookRulesBlob"),
    ("Disable-InboxRule", "Identity", "Mailbox", "Force AlwaysDeleteOutlookRulesBlob"),
    ("Enable-InboxRule", "Identity", "Mailbox", "Force AlwaysDeleteOutlookRulesBlob"),
    ("Get-InboxRule", "Identity", "Mailbox BypassScopeCheck SweepRules", "IncludeHidden"),
    ("New-SweepRule", "Name", "Mailbox Provider DestinationFolder KeepForDays KeepLatest Sender SourceFolder", "Enabled"),
    ("Remove-SweepRule", "Identity", "Mailbox", ""),
    ("New-TransportRule", "Name", _TRANSPORT, _TRANSPORT_SWITCHES),
    ("Set-TransportRule", "Identity", _TRANSPORT, _TRANSPORT_SWITCHES),
    ("Remove-TransportRule", "Identity", "DomainController", ""),
    ("Disable-TransportRule", "Identity", "Mode", ""),
    ("Enable-TransportRule", "Identity", "Mode", ""),
    ("Import-TransportRuleCollection", "Identity", "FileData MigrationSource", "Force"),
    ("Set-Mailbox", "Identity", _MAILBOX, _MAILBOX_SWITCHES),
    ("Get-Mailbox", "Identity", "Filter ResultSize Database Server OrganizationalUnit RecipientTypeDetails SortBy", "Archive InactiveMailboxOnly SoftDeletedMailbox"),
    ("Remove-Mailbox", "Identity", "Database StoreMailboxIdentity Permanent", "Force KeepWindowsLiveID PermanentlyDelete IgnoreLegalHold RemoveLastArbitrationMailboxAllowed PublicFolder Disconnect"),
    ("Disable-Mailbox", "Identity", "", "Archive IgnoreLegalHold RemoteArchive PermanentlyDisable PublicFolder"),
    ("Remove-StoreMailbox", "Database", "Identity MailboxState", ""),
    ("Set-MailboxAuditBypassAssociation", "Identity", "AuditBypassEnabled", ""),
    ("Set-AdminAuditLogConfig", "Identity", "AdminAuditLogEnabled AdminAuditLogAgeLimit AdminAuditLogCmdlets AdminAuditLogParameters AdminAuditLogExcludedCmdlets LogLevel TestCmdletLoggingEnabled UnifiedAuditLogIngestionEnabled", "Force IgnoreDehydratedFlag"),
    ("Set-OrganizationConfig", "", "AuditDisabled ElcProcessingDisabled MessageRecallEnabled FocusedInboxOn", ""),
    ("Set-MailboxJunkEmailConfiguration", "Identity", "BlockedSendersAndDomains TrustedSendersAndDomains Enabled ContactsTrusted TrustedListsOnly", "IgnoreDefaultScope"),
    ("Set-MailboxMessageConfiguration", "Identity", "EmptyDeletedItemsOnLogoff HideDeletedItems", ""),
    ("Set-MailboxAutoReplyConfiguration", "Identity", "AutoReplyState InternalMessage ExternalMessage ExternalAudience StartTime EndTime", ""),
    ("Set-CASMailbox", "Identity", "ImapEnabled PopEnabled EwsEnabled OWAEnabled ActiveSyncEnabled MAPIEnabled SmtpClientAuthenticationDisabled", ""),
    ("Add-MailboxPermission", "Identity", "User AccessRights InheritanceType Owner AutoMapping", "Deny"),
    ("Remove-MailboxPermission", "Identity", "User AccessRights InheritanceType", "Deny ClearAutoMapping ResetDefault"),
    ("Add-RecipientPermission", "Identity", "Trustee AccessRights", ""),
    ("Remove-RecipientPermission", "Identity", "Trustee AccessRights", "Deny"),
    ("Add-MailboxFolderPermission", "Identity", "User AccessRights SharingPermissionFlags SendNotificationToUser", ""),
    ("Set-MailboxFolderPermission", "Identity", "User AccessRights SharingPermissionFlags SendNotificationToUser", ""),
    ("Remove-MailboxFolderPermission", "Identity", "User SendNotificationToUser", "ResetDelegateUserCollection"),
    ("Start-ManagedFolderAssistant", "Identity", "", "FullCrawl HoldCleanup StopHoldCleanup InactiveMailbox"),
    ("Invoke-HoldRemovalAction", "Action", "HoldId ExchangeLocation", "Force"),
    ("Restore-RecoverableItems", "Identity", "SubjectContains FilterItemType FilterStartTime FilterEndTime SourceFolder EntryID ResultSize", "NoOutput"),
    ("Set-MailboxDatabase", "Identity", "DeletedItemRetention MailboxRetention RetainDeletedItemsUntilBackup CircularLoggingEnabled", ""),
    ("Set-RetentionPolicyTag", "Identity", "AgeLimitForRetention RetentionAction RetentionEnabled Name", "Force"),
    ("New-RetentionPolicyTag", "Name", "Type AgeLimitForRetention RetentionAction RetentionEnabled", "IsDefaultAutoGroupPolicyTag"),
    ("Set-RetentionPolicy", "Identity", "RetentionPolicyTagLinks Name", "Force IsDefault"),
    ("New-RetentionCompliancePolicy", "Name", _POLICY, "PriorityCleanup RestrictiveRetention Force"),
    ("Set-RetentionCompliancePolicy", "Identity", _POLICY, "RetryDistribution Force RestrictiveRetention"),
    ("Remove-RetentionCompliancePolicy", "Identity", "", "PriorityCleanup ForceDeletion Force"),
    ("New-RetentionComplianceRule", "Name", _POLICY, "PriorityCleanup"),
    ("Set-RetentionComplianceRule", "Identity", _POLICY, ""),
    ("Remove-RetentionComplianceRule", "Identity", "", "ForceDeletion"),
    ("Set-CaseHoldPolicy", "Identity", _POLICY, "RetryDistribution Force"),
    ("Remove-CaseHoldPolicy", "Identity", "", "Force"),
    ("Remove-CaseHoldRule", "Identity", "", "Force"),
    ("Set-MailboxSearch", "Identity", "InPlaceHoldEnabled SourceMailboxes ItemHoldPeriod SearchQuery", "EstimateOnly Force"),
    ("Remove-MailboxSearch", "Identity", "", ""),
    ("Set-UnifiedAuditLogRetentionPolicy", "Identity", _POLICY, "Force"),
    ("Remove-UnifiedAuditLogRetentionPolicy", "Identity", "", "ForceDeletion"),
    ("Disable-JournalRule", "Identity", "", ""),
    ("Remove-JournalRule", "Identity", "", ""),
    ("Set-EventLogLevel", "Identity", "Level", ""),
    ("Set-TransportService", "Identity", "MessageTrackingLogEnabled MessageTrackingLogMaxAge MessageTrackingLogMaxDirectorySize MessageTrackingLogSubjectLoggingEnabled MessageTrackingLogPath", ""),
    ("Disable-CmdletExtensionAgent", "Identity", "", ""),
    ("Install-TransportAgent", "Name", "TransportAgentFactory AssemblyPath", ""),
    ("Remove-Message", "Identity", "Filter Server WithNDR", ""),
    ("Delete-QuarantineMessage", "Identity", "Identities EntityType", "HardDelete"),
    ("Release-QuarantineMessage", "Identity", "Identities User ActionType", "ReleaseToAll Force"),
    ("New-ManagementRoleAssignment", "Name", "Role User SecurityGroup Policy App", "Delegating Force"),
    ("Add-RoleGroupMember", "Identity", "Member", "BypassSecurityGroupManagerCheck"),
    ("Remove-RoleGroupMember", "Identity", "Member", "BypassSecurityGroupManagerCheck"),
    ("Connect-ExchangeOnline", "ConnectionUri", "UserPrincipalName Credential CertificateThumbprint AppId Organization Prefix CommandName AccessToken", "ShowBanner Device ManagedIdentity SkipLoadingFormatData"),
    ("Remove-Item", "Path", "LiteralPath Filter Include Exclude Stream", "Recurse Force"),
    ("Clear-Content", "Path", "LiteralPath Filter Include Exclude Stream", "Force"),
    ("Set-Content", "Path", "Value LiteralPath Encoding Filter Include Exclude", "Force NoNewline AsByteStream"),
    ("Add-Content", "Path", "Value LiteralPath Encoding", "Force NoNewline"),
    ("Copy-Item", "Path", "Destination LiteralPath Filter Include Exclude ToSession FromSession", "Recurse Force Container PassThru"),
    ("Move-Item", "Path", "Destination LiteralPath Filter Include Exclude", "Force PassThru"),
    ("Get-ChildItem", "Path", "Filter LiteralPath Include Exclude Depth Attributes", "Recurse Force Name File Directory Hidden"),
    ("Clear-EventLog", "LogName", "ComputerName", ""),
    ("Remove-EventLog", "LogName", "ComputerName Source", ""),
    ("Limit-EventLog", "LogName", "ComputerName MaximumSize OverflowAction RetentionDays", ""),
    ("Stop-Service", "Name", "DisplayName InputObject Include Exclude", "Force NoWait PassThru"),
    ("Set-Service", "Name", "StartupType Status DisplayName", "PassThru Force"),
    ("Invoke-Expression", "Command", "", ""),
    ("Invoke-Command", "ScriptBlock", "ComputerName Credential Session ArgumentList FilePath ConnectionUri ConfigurationName", "AsJob HideComputerName"),
    ("Start-Process", "FilePath", "ArgumentList Credential Verb WindowStyle WorkingDirectory RedirectStandardOutput", "Wait NoNewWindow PassThru"),
    ("ForEach-Object", "Process", "Begin End MemberName ArgumentList InputObject", "Parallel"),
    ("Where-Object", "FilterScript", "Property Value InputObject", ""),
    ("Get-Command", "Name", "Module CommandType Noun Verb", "All ListImported"),
    ("Set-Alias", "Name", "Value Scope", "Force"),
    ("New-Alias", "Name", "Value Scope", "Force"),
    ("Set-Variable", "Name", "Value Scope", "Force"),
    ("Get-Variable", "Name", "Scope", "ValueOnly"),
    ("Write-Output", "InputObject", "", "NoEnumerate"),
    ("New-Object", "TypeName", "ArgumentList ComObject Property", "Strict"),
)  # fmt: skip

ALIASES = {
    "gcm": "Get-Command", "iex": "Invoke-Expression", "icm": "Invoke-Command", "ri": "Remove-Item", "rm": "Remove-Item", "del": "Remove-Item",
    "erase": "Remove-Item", "rd": "Remove-Item", "rmdir": "Remove-Item", "gci": "Get-ChildItem", "ls": "Get-ChildItem", "dir": "Get-ChildItem",
    "cp": "Copy-Item", "copy": "Copy-Item", "cpi": "Copy-Item", "mv": "Move-Item", "move": "Move-Item", "mi": "Move-Item", "cat": "Get-Content",
    "gc": "Get-Content", "type": "Get-Content", "sc": "Set-Content", "ac": "Add-Content", "clc": "Clear-Content", "%": "ForEach-Object",
    "foreach": "ForEach-Object", "?": "Where-Object", "where": "Where-Object", "select": "Select-Object", "sort": "Sort-Object", "echo": "Write-Output",
    "write": "Write-Output", "ni": "New-Item", "si": "Set-Item", "sp": "Set-ItemProperty", "gp": "Get-ItemProperty", "rp": "Remove-ItemProperty",
    "nal": "New-Alias", "sal": "Set-Alias", "gv": "Get-Variable", "sv": "Set-Variable", "set": "Set-Variable", "start": "Start-Process", "saps": "Start-Process",
    "kill": "Stop-Process", "spps": "Stop-Process", "spsv": "Stop-Service", "sasv": "Start-Service", "gsv": "Get-Service", "gwmi": "Get-WmiObject",
    "iwmi": "Invoke-WmiMethod", "sleep": "Start-Sleep", "ft": "Format-Table", "fl": "Format-List", "tee": "Tee-Object", "group": "Group-Object",
    "measure": "Measure-Object", "ipmo": "Import-Module", "nsn": "New-PSSession", "etsn": "Enter-PSSession", "ipsn": "Import-PSSession", "ren": "Rename-Item",
    "rni": "Rename-Item", "ii": "Invoke-Item", "iwr": "Invoke-WebRequest", "irm": "Invoke-RestMethod", "curl": "Invoke-WebRequest", "wget": "Invoke-WebRequest",
    "sajb": "Start-Job", "gm": "Get-Member", "gi": "Get-Item", "cls": "Clear-Host", "clear": "Clear-Host", "pwd": "Get-Location", "cd": "Set-Location",
}  # fmt: skip


def _cmdlet(name: str, first: str, parameters: str, switches: str) -> Cmdlet:
    listed = dict.fromkeys([*([first] if first else []), *parameters.split(), *_COMMON.split()])
    alone = dict.fromkeys([*switches.split(), *_COMMON_SWITCHES.split()])
    return Cmdlet(name, first, tuple(n for n in listed if n not in alone), tuple(alone))


CMDLETS: dict[str, Cmdlet] = {row[0].lower(): _cmdlet(*row) for row in _TABLE}
_UNKNOWN_SWITCHES = frozenset(
    f"{_COMMON_SWITCHES} Force Recurse Wait PassThru AsJob All Full Detailed Online Raw".lower().split()
)


def cmdlet_name(word: str, aliases: dict[str, str]) -> tuple[str, str]:
    """Return the full name of a command and how it was found: ``alias``, ``spelling`` or empty."""
    plain = (
        word.rpartition("\\")[2]
        if "\\" in word and not word.lower().endswith((".exe", ".ps1", ".cmd", ".bat"))
        else word
    )
    known = CMDLETS.get(plain.lower())
    if known is not None:
        return known.name, "" if known.name == word else "spelling" if plain == word else "module"
    target = aliases.get(plain.lower()) or ALIASES.get(plain.lower())
    if target is not None:
        return CMDLETS[target.lower()].name if target.lower() in CMDLETS else target, "alias"
    return plain, "" if plain == word else "module"


def parameter_name(cmdlet: str, word: str) -> tuple[str, bool | None, str]:
    """Return a parameter's full name, whether it is a switch (None: not known), and how it was found."""
    lower = word.lower()
    known = CMDLETS.get(cmdlet.lower())
    if lower in COMMON_ALIASES:
        name = COMMON_ALIASES[lower]
        return name, name in _COMMON_SWITCHES.split(), "alias"
    if known is None:
        return word, True if lower in _UNKNOWN_SWITCHES else None, ""
    every = {name.lower(): name for name in (*known.parameters, *known.switches)}
    if lower in every:
        return every[lower], every[lower] in known.switches, ""
    fitting = [name for key, name in every.items() if key.startswith(lower)]
    if len(fitting) == 1:
        return fitting[0], fitting[0] in known.switches, "prefix"
    return word, None, "ambiguous prefix" if fitting else ""
