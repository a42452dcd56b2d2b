-- The recoverability clock: what each lost message waits for, by the settings that are known. {names} are literals written by recoverability.py.

-- step: said
-- What snapshots and records say about the settings that keep deleted items, each with its time.
CREATE OR REPLACE TEMP TABLE said_settings AS
WITH asked AS (SELECT unnest(['RetainDeletedItemsFor', 'SingleItemRecoveryEnabled', 'LitigationHoldEnabled', 'InPlaceHolds', 'DelayHoldApplied', 'ComplianceTagHoldApplied', 'RemoveDelayHoldApplied']) AS Setting),
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

-- step: lost
CREATE OR REPLACE TEMP VIEW lost_messages AS
SELECT Mailbox, MessageId, MessageKey, Subject, Verdict, Platform, _Exhibit, _Position,
  CASE WHEN Verdict = 'gone without record' THEN 'none' WHEN Verdict = 'never stored' THEN 'Discarded'
    WHEN Verdict = 'deleted with record' THEN RemovalActivity ELSE 'InTrash' END AS Act,
  CASE Verdict WHEN 'deleted with record' THEN RemovedAt WHEN 'gone without record' THEN LastSeen ELSE coalesce(RemovedAt, LastSeen, FirstSeen) END AS FromAt,
  CASE Verdict WHEN 'gone without record' THEN ListedAt WHEN 'deleted with record' THEN RemovedAt ELSE coalesce(RemovedAt, LastSeen, FirstSeen) END AS ToAt
FROM MessageLedger
WHERE Verdict IN ('deleted with record', 'gone without record', 'never stored')
  OR (Verdict IN ('present', 'unknown') AND regexp_matches(CASE Verdict WHEN 'present' THEN PresentFolder ELSE LastFolder END, '^(?:.*[/\\.])?(?:deleted ?items|trash|bin|deleted messages|gel(?:ö|oe)schte elemente)$', 'i'))
UNION ALL
SELECT '', '', '', ObjectName, '', Platform, _Exhibit, _Position, 'StoreFileArchived', TimeGenerated, TimeGenerated
FROM MailboxActivity WHERE Activity = 'StoreFileDeleted' AND Platform = 'Windows' AND lower(coalesce(Properties ->> '$.Archived', '')) LIKE 'true%';

-- step: recoverable
CREATE OR REPLACE TEMP VIEW recoverable AS
WITH placed AS (
  SELECT l.*, s.RetainDeletedItemsFor, s.SingleItemRecovery, s.EndedAt,
    concat_ws(', ', s.Hold, (SELECT 'hold of the organisation' FROM organisation_holds AS o WHERE l.Platform = 'ExchangeOnline' AND NOT contains(coalesce(s.InPlaceHolds, ''), '-mbx' || o.Id) LIMIT 1)) AS Hold,
    CASE WHEN s.Hold IS NOT NULL OR (l.Platform = 'ExchangeOnline' AND EXISTS (SELECT 1 FROM organisation_holds AS o WHERE NOT contains(coalesce(s.InPlaceHolds, ''), '-mbx' || o.Id))) THEN 'true'
      WHEN s.EndedAt IS NOT NULL AND s.DelayEndedAt IS NULL AND s.EndedAt + INTERVAL 30 DAY >= {now} AND l.FromAt <= s.EndedAt THEN 'delay'
      WHEN s.IsDelayed THEN 'delay' ELSE 'false' END AS HoldState
  FROM lost_messages AS l LEFT JOIN mailbox_settings AS s
    ON l.Mailbox = s.Mailbox OR (NOT contains(s.Mailbox, '@') AND s.Mailbox <> '' AND s.Mailbox = split_part(l.Mailbox, '@', 1))),
fitting AS (
  SELECT p.*, r.* EXCLUDE (Act, Platform),
    -- "14.00:00:00" of a cmdlet, or a number of days.
    CASE WHEN r.Setting = 'RetainDeletedItemsFor' AND p.RetainDeletedItemsFor IS NOT NULL
      THEN coalesce(try_cast(split_part(p.RetainDeletedItemsFor, '.', 1) AS INTEGER), CASE WHEN starts_with(p.RetainDeletedItemsFor, '00:') THEN 0 END) END AS KnownDays
  FROM placed AS p JOIN recoveries AS r ON r.Platform = p.Platform AND r.Act = p.Act
    AND (r.HoldState = 'any' OR r.HoldState = p.HoldState)
    AND (r.SingleItem = '' OR r.SingleItem = coalesce(nullif(p.SingleItemRecovery, ''), r.AssumedSingleItem))
  QUALIFY row_number() OVER (PARTITION BY p.Mailbox, p.MessageKey, p.Subject, p._Exhibit, p._Position ORDER BY r.Place) = 1),
clocked AS (
  SELECT *,
    CASE WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Days)
      ELSE ToAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Days) AS INTEGER)) END AS Ends,
    CASE WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Least)
      ELSE FromAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Least) AS INTEGER)) END AS EndsEarliest,
    CASE WHEN NOT HasPeriod THEN NULL WHEN HoldState = 'delay' AND EndedAt IS NOT NULL AND r_delay THEN EndedAt + to_days(Most)
      ELSE ToAt + to_days(CAST(coalesce(CASE WHEN r_follows THEN KnownDays END, Most) AS INTEGER)) END AS EndsLatest
  FROM fitting)
SELECT coalesce(ToAt, FromAt) AS TimeGenerated, Mailbox, MessageId, MessageKey, Subject, Verdict, State, CASE HoldState WHEN 'true' THEN Hold WHEN 'delay' THEN 'delay hold' ELSE '' END AS Hold,
  CASE WHEN HasPeriod AND r_follows THEN Setting ELSE '' END AS Setting, CASE WHEN HasPeriod AND r_follows THEN coalesce(RetainDeletedItemsFor, '') ELSE '' END AS SettingValue,
  Ends AS Until, EndsEarliest AS UntilEarliest, EndsLatest AS UntilLatest, coalesce(HasPeriod AND FromAt = ToAt AND EndsEarliest = EndsLatest, false) AS IsExact,
  coalesce(EndsLatest < {now}, false) AS IsOver, IsGone, RemovedBy,
  CASE WHEN Platform = 'ExchangeOnline' AND (SELECT LatestAt FROM cleanups) IS NOT NULL THEN 'A record of ' || strftime((SELECT LatestAt FROM cleanups), '%Y-%m-%d %H:%M:%S') || ' UTC concerns a Priority Cleanup policy, which deletes what is held. ' ELSE '' END || Caveat AS Caveat,
  Step, Product, _Exhibit, _Position
FROM clocked;
