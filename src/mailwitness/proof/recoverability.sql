-- The recoverability clock: what each lost message waits for, by the settings that are known. {names} are literals written by recoverability.py.

-- step: said
-- What snapshots and records say about the settings that keep deleted items, each with its time.
CREATE OR REPLACE TEMP TABLE said_settings AS
WITH asked AS (SELECT unnest(['RetainDeletedItemsFor', 'SingleItemRecoveryEnabled', 'LitigationHoldEnabled', 'LitigationHoldDuration', 'InPlaceHolds', 'DelayHoldApplied', 'ComplianceTagHoldApplied', 'RemoveDelayHoldApplied',
    'ElcProcessingDisabled', 'RetentionHoldEnabled']) AS Setting),
  snapshots AS (
    SELECT lower(coalesce(nullif(Mailbox, ''), Identity)) AS Mailbox, a.Setting, Settings ->> ('$.' || a.Setting) AS Value, coalesce(TimeGenerated, WhenChanged, TIMESTAMP '1970-01-01') AS SaidAt
    FROM SettingsSnapshot, asked AS a WHERE Kind = 'Mailbox'),
  records AS (
    SELECT lower(Mailbox) AS Mailbox, a.Setting, Parameters ->> ('$.' || a.Setting) AS Value, TimeGenerated AS SaidAt
    FROM MailboxActivity, asked AS a
    WHERE Activity IN ('HoldWeakened', 'HoldRestored', 'RetentionWeakened', 'RetentionChanged', 'SettingChanged') AND ActivityResult <> 'Failed' AND Mailbox <> '' AND Parameters IS NOT NULL),
  vault AS (
    SELECT lower(Mailbox), 'Vault hold', CASE Activity WHEN 'HoldRestored' THEN 'true' ELSE 'false' END, TimeGenerated
    FROM MailboxActivity WHERE Platform = 'GoogleWorkspace' AND Activity IN ('HoldWeakened', 'HoldRestored') AND ActivityResult <> 'Failed' AND Mailbox <> '')
SELECT Mailbox, Setting, lower(replace(trim(Value), '$', '')) AS Value, SaidAt FROM (SELECT * FROM snapshots UNION ALL SELECT * FROM records UNION ALL SELECT * FROM vault) WHERE Value IS NOT NULL AND SaidAt <= {now};

-- step: state
-- A hold that is on, or when it was taken away; a delay hold that was removed keeps nothing.
CREATE OR REPLACE TEMP TABLE mailbox_settings AS
WITH latest AS (SELECT Mailbox, Setting, arg_max(Value, SaidAt) AS Value, max(SaidAt) AS SaidAt FROM said_settings GROUP BY 1, 2),
  flags AS (
    -- "-mbx..." takes the mailbox out of a hold of the organisation: such an entry is no hold.
    SELECT *, CASE Setting WHEN 'InPlaceHolds' THEN regexp_matches(regexp_replace(Value, '-[a-z]*[0-9a-f-]{8,}(?::\d)?', '', 'g'), '[a-z0-9]') ELSE Value NOT IN ('', 'false', '[]', 'null', '0') END AS IsOn FROM latest)
SELECT Mailbox, max(Value) FILTER (Setting = 'RetainDeletedItemsFor') AS RetainDeletedItemsFor,
  max(Value) FILTER (Setting = 'SingleItemRecoveryEnabled') AS SingleItemRecovery,
  string_agg(Setting, ', ' ORDER BY Setting) FILTER (IsOn AND Setting IN ('LitigationHoldEnabled', 'InPlaceHolds', 'ComplianceTagHoldApplied', 'Vault hold')) AS Hold,
  coalesce(max(Value) FILTER (Setting = 'InPlaceHolds'), '') AS InPlaceHolds,
  CASE WHEN bool_or(IsOn AND Setting = 'LitigationHoldEnabled') THEN 'litigation' WHEN bool_or(IsOn AND Setting = 'InPlaceHolds') THEN 'policy'
    WHEN bool_or(IsOn AND Setting = 'ComplianceTagHoldApplied') THEN 'label' WHEN bool_or(IsOn AND Setting = 'Vault hold') THEN 'vault' END AS HoldKind,
  -- "365.00:00:00" of a cmdlet, or a number of days; "unlimited" is neither.
  max(try_cast(split_part(Value, '.', 1) AS INTEGER)) FILTER (Setting = 'LitigationHoldDuration') AS HoldDays,
  string_agg(Setting, ', ' ORDER BY Setting) FILTER (IsOn AND Setting IN ('ElcProcessingDisabled', 'RetentionHoldEnabled')) AS Paused,
  bool_or(IsOn AND Setting = 'DelayHoldApplied') AS IsDelayed,
  max(SaidAt) FILTER (NOT IsOn AND Setting IN ('LitigationHoldEnabled', 'InPlaceHolds', 'Vault hold')) AS EndedAt,
  max(SaidAt) FILTER (IsOn AND Setting = 'RemoveDelayHoldApplied') AS DelayEndedAt
FROM flags GROUP BY 1;

-- step: organisation
-- Holds of the whole organisation as Get-OrganizationConfig lists them: "mbx" and an id for mailboxes, then 2 (keep) or 3 (keep, then delete); 1 only deletes.
-- A record that a policy was taken away ends none of them here: it does not say which mailboxes it covered.
CREATE OR REPLACE TEMP TABLE organisation_holds AS
WITH latest AS (SELECT arg_max(lower(Settings ->> '$.InPlaceHolds'), TimeGenerated) AS Holds FROM SettingsSnapshot WHERE Kind = 'OrganizationConfig' AND coalesce(TimeGenerated, TIMESTAMP '1970-01-01') <= {now})
SELECT DISTINCT unnest(regexp_extract_all(Holds, '(?:^|[^-a-z0-9])mbx([0-9a-f]{8,}):[23]', 1)) AS Id FROM latest;

-- step: cleanup
-- Priority Cleanup deletes what is held; the latest record of such a policy.
CREATE OR REPLACE TEMP TABLE cleanups AS
SELECT max(TimeGenerated) AS LatestAt FROM MailboxActivity WHERE Activity = 'PriorityCleanup' AND ActivityResult <> 'Failed' AND TimeGenerated <= {now};

-- step: labels
-- The retention label that an item carried when it was acted upon, as the audit record names it; the newest counts.
CREATE OR REPLACE TEMP TABLE labels AS
WITH items AS (
  SELECT lower(MailboxOwnerUPN) AS Mailbox, TimeGenerated, unnest(from_json(coalesce(mw_json(AffectedItems), '[]'::JSON), '["JSON"]') || [coalesce(mw_json(Item), '{}'::JSON)]) AS One
  FROM OfficeActivity WHERE contains(CAST(AffectedItems AS VARCHAR), '"ComplianceLabel"') OR contains(CAST(Item AS VARCHAR), '"ComplianceLabel"'))
SELECT Mailbox, mw_message_key(One ->> '$.InternetMessageId') AS MessageKey, arg_max(One ->> '$.ComplianceLabel', TimeGenerated) AS Label
FROM items WHERE coalesce(One ->> '$.InternetMessageId', '') <> '' AND coalesce(One ->> '$.ComplianceLabel', '') <> '' AND TimeGenerated <= {now} GROUP BY 1, 2;

-- step: tags
-- What a label does, as Get-ComplianceTag lists it: Keep and KeepAndDelete hold an item, Delete does not.
CREATE OR REPLACE TEMP TABLE label_settings AS
SELECT lower(Name) AS Label, arg_max(Settings ->> '$.RetentionAction', TimeGenerated) ILIKE 'keep%' AS IsHold, try_cast(arg_max(Settings ->> '$.RetentionDuration', TimeGenerated) AS INTEGER) AS Days,
  arg_max(Settings ->> '$.RetentionType', TimeGenerated) AS CountedFrom, arg_max(Settings ->> '$.RetentionDuration', TimeGenerated) AS Duration
FROM SettingsSnapshot WHERE Kind = 'ComplianceTag' AND Name <> '' AND coalesce(TimeGenerated, TIMESTAMP '1970-01-01') <= {now} GROUP BY 1;

-- step: trash_tags
-- A retention tag on Deleted Items removes what lies there; only where all such tags agree is it known which one counts.
CREATE OR REPLACE TEMP TABLE trash_tags AS
SELECT min(Days) AS Days, any_value(Name) AS Name FROM (
  SELECT Name, try_cast(split_part(arg_max(Settings ->> '$.AgeLimitForRetention', TimeGenerated), '.', 1) AS INTEGER) AS Days
  FROM SettingsSnapshot WHERE Kind = 'RetentionPolicyTag' AND (Settings ->> '$.Type') = 'DeletedItems' AND lower(coalesce(Settings ->> '$.RetentionEnabled', 'true')) = 'true' GROUP BY Name)
HAVING count(DISTINCT Days) = 1 AND count(*) = count(Days);

-- step: stores
-- Where Dovecot puts what is expunged, as a snapshot of its settings says.
CREATE OR REPLACE TEMP TABLE lazy_stores AS
SELECT arg_max(coalesce(Settings ->> '$.LazyExpunge', ''), coalesce(TimeGenerated, TIMESTAMP '1970-01-01')) AS Place
FROM SettingsSnapshot WHERE Kind = 'DovecotConfig' AND contains(Settings ->> '$.Plugins', 'lazy_expunge') HAVING count(*) > 0;

-- step: cleaned
-- Messages that Priority Cleanup deleted, in spite of any hold.
CREATE OR REPLACE TEMP TABLE cleaned AS
SELECT lower(Mailbox) AS Mailbox, mw_message_key(MessageId) AS MessageKey, max(TimeGenerated) AS CleanedAt FROM MailboxActivity
WHERE Activity = 'PriorityCleanup' AND ActivityResult <> 'Failed' AND Operation ILIKE 'PriorityCleanupDelete' AND MessageId <> '' AND TimeGenerated <= {now} GROUP BY 1, 2;

-- step: lost
-- A folder of Recoverable Items is named by its path in a listing of Exchange and by a well-known name in one of Graph.
CREATE OR REPLACE TEMP VIEW lost_messages AS
WITH placed AS (
  SELECT m.*, CASE Verdict WHEN 'present' THEN PresentFolder ELSE LastFolder END AS Place, c.CleanedAt
  FROM MessageLedger AS m LEFT JOIN cleaned AS c ON m.Mailbox = c.Mailbox AND m.MessageKey = c.MessageKey),
found AS (
  SELECT *, CASE WHEN CleanedAt IS NOT NULL AND Verdict <> 'present' THEN 'PriorityCleaned' WHEN Verdict = 'gone without record' THEN 'none' WHEN Verdict = 'never stored' THEN 'Discarded' WHEN Verdict = 'altered' THEN 'Altered'
    WHEN Verdict = 'deleted with record' THEN RemovalActivity
    WHEN regexp_matches(Place, '^(?:.*[/\\])?(?:recoverable ?items[/\\ ]?)?deletions$', 'i') THEN 'InDeletions'
    WHEN regexp_matches(Place, '^(?:.*[/\\])?(?:recoverable ?items[/\\ ]?)?versions$', 'i') THEN 'InVersions'
    WHEN regexp_matches(Place, '^(?:.*[/\\])?(?:recoverable ?items[/\\ ]?)?purges$', 'i') THEN 'InPurges'
    WHEN regexp_matches(Place, '^(?:.*[/\\])?(?:recoverable ?items[/\\ ]?)?discovery ?holds$', 'i') THEN 'InDiscoveryHolds'
    WHEN regexp_matches(Place, '^(?:.*[/\\.])?(?:deleted ?items|trash|bin|deleted messages|gel(?:ö|oe)schte elemente)$', 'i') THEN 'InTrash' END AS FoundAct
  FROM placed
  WHERE Verdict IN ('deleted with record', 'gone without record', 'never stored', 'present', 'unknown', 'altered'))
SELECT Mailbox, MessageId, MessageKey, Subject, Verdict, Platform, _Exhibit, _Position,
  -- An act that this product has no state for is a loss all the same.
  CASE WHEN Verdict = 'deleted with record' AND FoundAct <> 'PriorityCleaned' AND FoundAct NOT IN (SELECT r.Act FROM recoveries AS r WHERE r.Platform = found.Platform) THEN 'none' ELSE FoundAct END AS Act,
  coalesce(DeliveredAt, SentAt) AS ReceivedAt, FirstSeen,
  CASE WHEN FoundAct = 'PriorityCleaned' THEN CleanedAt WHEN Verdict = 'deleted with record' THEN RemovedAt WHEN Verdict = 'gone without record' THEN LastSeen WHEN Verdict = 'altered' OR (FoundAct LIKE 'In%' AND FoundAct <> 'InTrash') THEN coalesce(RemovedAt, FirstSeen)
    ELSE coalesce(RemovedAt, LastSeen, FirstSeen) END AS FromAt,
  CASE WHEN FoundAct = 'PriorityCleaned' THEN CleanedAt WHEN Verdict = 'gone without record' THEN ListedAt WHEN Verdict = 'deleted with record' THEN RemovedAt WHEN Verdict = 'altered' OR (FoundAct LIKE 'In%' AND FoundAct <> 'InTrash') THEN coalesce(RemovedAt, ListedAt, LastSeen)
    ELSE coalesce(RemovedAt, LastSeen, FirstSeen) END AS ToAt
FROM found WHERE FoundAct IS NOT NULL
UNION ALL
SELECT '', '', '', ObjectName, '', Platform, _Exhibit, _Position, 'StoreFileArchived', NULL, NULL, TimeGenerated, TimeGenerated
FROM MailboxActivity WHERE Activity = 'StoreFileDeleted' AND Platform = 'Windows' AND lower(coalesce(Properties ->> '$.Archived', '')) LIKE 'true%';

-- step: recoverable
CREATE OR REPLACE TEMP VIEW recoverable AS
WITH placed AS (
  SELECT l.*, s.RetainDeletedItemsFor, s.SingleItemRecovery, s.EndedAt, s.Paused, b.Label, t.Days AS LabelDays, t.CountedFrom, t.Duration, s.HoldDays,
    concat_ws(', ', s.Hold, (SELECT 'hold of the organisation' FROM organisation_holds AS o WHERE l.Platform = 'ExchangeOnline' AND NOT contains(coalesce(s.InPlaceHolds, ''), '-mbx' || o.Id) LIMIT 1),
      CASE WHEN b.Label IS NOT NULL AND coalesce(t.IsHold, true) THEN 'retention label ' || b.Label END) AS Hold,
    CASE WHEN s.HoldKind IN ('litigation', 'policy', 'vault') THEN s.HoldKind
      WHEN l.Platform = 'ExchangeOnline' AND EXISTS (SELECT 1 FROM organisation_holds AS o WHERE NOT contains(coalesce(s.InPlaceHolds, ''), '-mbx' || o.Id)) THEN 'policy'
      WHEN (b.Label IS NOT NULL AND coalesce(t.IsHold, true)) OR s.HoldKind = 'label' THEN 'label'
      WHEN s.EndedAt IS NOT NULL AND s.DelayEndedAt IS NULL AND s.EndedAt + INTERVAL 30 DAY >= {now} AND l.FromAt <= s.EndedAt THEN 'delay'
      WHEN s.IsDelayed THEN 'delay' ELSE 'false' END AS HoldState
  FROM lost_messages AS l LEFT JOIN mailbox_settings AS s
    ON l.Mailbox = s.Mailbox OR (NOT contains(s.Mailbox, '@') AND s.Mailbox <> '' AND s.Mailbox = split_part(l.Mailbox, '@', 1))
  LEFT JOIN labels AS b ON l.Mailbox = b.Mailbox AND l.MessageKey = b.MessageKey LEFT JOIN label_settings AS t ON lower(b.Label) = t.Label),
fitting AS (
  SELECT p.*, r.* EXCLUDE (Act, Platform, HoldState),
    -- "14.00:00:00" of a cmdlet, or a number of days.
    CASE WHEN r.Setting = 'RetainDeletedItemsFor' AND p.RetainDeletedItemsFor IS NOT NULL
      THEN coalesce(try_cast(split_part(p.RetainDeletedItemsFor, '.', 1) AS INTEGER), CASE WHEN starts_with(p.RetainDeletedItemsFor, '00:') THEN 0 END) END AS KnownDays,
    -- A hold with a duration keeps an item so many days from when it came; then it falls back on the period for deleted items.
    CASE p.HoldState WHEN 'litigation' THEN p.HoldDays WHEN 'label' THEN CASE WHEN p.CountedFrom ILIKE 'Creation%' THEN p.LabelDays END END AS KeptDays,
    CASE WHEN p.Act = 'InTrash' AND p.Platform IN ('ExchangeOnline', 'Exchange') THEN (SELECT Days FROM trash_tags) END AS TagDays
  FROM placed AS p JOIN recoveries AS r ON r.Platform = p.Platform AND r.Act = p.Act
    AND (r.HoldState = 'any' OR r.HoldState = p.HoldState OR (r.HoldState = 'true' AND p.HoldState IN ('litigation', 'policy', 'label', 'vault')))
    AND (r.SingleItem = '' OR r.SingleItem = coalesce(nullif(p.SingleItemRecovery, ''), r.AssumedSingleItem))
    AND (r.Needs = '' OR EXISTS (FROM lazy_stores))
  QUALIFY row_number() OVER (PARTITION BY p.Mailbox, p.MessageKey, p.Subject, p._Exhibit, p._Position ORDER BY r.Place) = 1),
clocked AS (
  SELECT *, KeptDays IS NOT NULL AND coalesce(ReceivedAt, FirstSeen) IS NOT NULL AS IsKept,
    CASE WHEN TagDays IS NOT NULL THEN ToAt + to_days(TagDays) WHEN KeptDays IS NOT NULL THEN greatest(coalesce(ReceivedAt, FirstSeen) + to_days(KeptDays), ToAt + to_days(coalesce(KnownDays, 0)))
      WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Days)
      ELSE ToAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Days) AS INTEGER)) END AS Ends,
    -- Priority Cleanup deletes what is held: where there is a record of it, what is held may go at any time.
    CASE WHEN Platform = 'ExchangeOnline' AND HoldState IN ('litigation', 'policy', 'label') AND (SELECT LatestAt FROM cleanups) IS NOT NULL AND NOT IsGone AND Act <> 'InTrash' THEN {now}
      WHEN TagDays IS NOT NULL THEN FromAt + to_days(TagDays) WHEN KeptDays IS NOT NULL THEN greatest(coalesce(ReceivedAt, FirstSeen) + to_days(KeptDays), FromAt + to_days(coalesce(KnownDays, 0)))
      WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Least)
      ELSE FromAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Least) AS INTEGER)) END AS EndsEarliest,
    CASE WHEN TagDays IS NOT NULL THEN ToAt + to_days(TagDays) WHEN KeptDays IS NOT NULL THEN greatest(coalesce(ReceivedAt, FirstSeen) + to_days(KeptDays), ToAt + to_days(coalesce(KnownDays, 0)))
      WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Most)
      ELSE ToAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Most) AS INTEGER)) END AS EndsLatest
  FROM fitting)
SELECT coalesce(ToAt, FromAt) AS TimeGenerated, Mailbox, MessageId, MessageKey, Subject, Verdict, State, CASE HoldState WHEN 'delay' THEN 'delay hold' WHEN 'false' THEN '' ELSE Hold END AS Hold,
  CASE WHEN TagDays IS NOT NULL THEN 'RetentionPolicyTag' WHEN HoldState = 'litigation' AND IsKept THEN 'LitigationHoldDuration' WHEN HoldState = 'label' AND Label IS NOT NULL THEN 'ComplianceTag'
    WHEN HasPeriod AND r_follows THEN Setting ELSE '' END AS Setting,
  CASE WHEN TagDays IS NOT NULL THEN (SELECT Name FROM trash_tags) || ': ' || TagDays || ' days' WHEN HoldState = 'litigation' AND IsKept THEN CAST(HoldDays AS VARCHAR)
    WHEN HoldState = 'label' AND Label IS NOT NULL THEN concat_ws(': ', Label, Duration, CountedFrom) WHEN HasPeriod AND r_follows THEN coalesce(RetainDeletedItemsFor, '') ELSE '' END AS SettingValue,
  Ends AS Until, EndsEarliest AS UntilEarliest, EndsLatest AS UntilLatest,
  coalesce(Ends IS NOT NULL AND FromAt = ToAt AND EndsEarliest = EndsLatest AND (NOT IsKept OR TagDays IS NOT NULL OR ReceivedAt IS NOT NULL), false) AS IsExact,
  coalesce(EndsLatest < {now}, false) AS IsOver, IsGone, RemovedBy || CASE WHEN Paused IS NOT NULL AND contains(RemovedBy, 'Managed Folder Assistant') THEN ' (paused for this mailbox by ' || Paused || ' until somebody ends that)' ELSE '' END AS RemovedBy,
  CASE WHEN Platform = 'ExchangeOnline' AND (SELECT LatestAt FROM cleanups) IS NOT NULL THEN 'A record of ' || strftime((SELECT LatestAt FROM cleanups), '%Y-%m-%d %H:%M:%S') || ' UTC concerns a Priority Cleanup policy, which deletes what is held. ' ELSE '' END || Caveat AS Caveat,
  Step || CASE WHEN Needs = 'lazy_expunge' THEN ' It is ' || coalesce(nullif((SELECT Place FROM lazy_stores), ''), 'not named in the snapshot') || '.' ELSE '' END AS Step, Product, _Exhibit, _Position
FROM clocked;
