-- What exports and settings of the cloud say about what could have been recorded: limits of searches, numbers of results, settings of auditing, licences.
-- {names} are written by visibility.py.

-- step: ceilings
-- A search that returned exactly as many records as one search can was cut off.
INSERT INTO claims
SELECT date_trunc('hour', FromAt), date_trunc('hour', ToAt) + INTERVAL 1 HOUR, '', c.Source, 'unknown', 'ceiling',
  'The export has exactly ' || n || ' records, the most that ' || c.Search || ' returns: it was cut off.', n, NULL, '', Exhibit, 0
FROM ({counted}) AS k JOIN ceilings AS c ON k.Tab = c.Tab AND k.n = c.Most;

-- step: results
-- Search-UnifiedAuditLog numbers its results and says how many there are. Pages of one search may lie in several files of one folder, and searches may have found equally many:
-- every search has a first result, so its number tells how many searches there are.
CREATE OR REPLACE TEMP TABLE results AS
SELECT coalesce(regexp_extract(f.Path, '^(.*)/[^/]*$', 1), '') AS Folder, r.ResultCount AS Stated, r.ResultIndex AS Number, r.TimeGenerated, r._Exhibit AS Exhibit, r._Position AS Position
FROM ({results}) AS r LEFT JOIN visible_files AS f ON r._Exhibit = f.Id WHERE r.ResultCount IS NOT NULL AND r.ResultIndex IS NOT NULL;

-- step: result_sets
INSERT INTO claims
WITH occurring AS (SELECT Folder, Stated, Number, count(*) AS n FROM results GROUP BY 1, 2, 3),
  searches AS (SELECT Folder, Stated, greatest(1, coalesce(max(n) FILTER (Number = 1), 1)) AS k, max(Number) AS LastNumber, count(*) AS Different FROM occurring GROUP BY 1, 2),
  counted AS (
    SELECT s.*, s.k * s.Stated - sum(least(o.n, s.k)) FILTER (o.Number BETWEEN 1 AND s.Stated) AS Lacking, sum(greatest(0, o.n - s.k)) AS Surplus, bool_or(o.Number < 1 OR s.Stated < 1) AS IsFailed
    FROM searches AS s JOIN occurring AS o ON s.Folder = o.Folder AND s.Stated = o.Stated GROUP BY s.Folder, s.Stated, s.k, s.LastNumber, s.Different),
  spans AS (SELECT Folder, Stated, date_trunc('hour', min(TimeGenerated)) AS FromAt, date_trunc('hour', max(TimeGenerated)) + INTERVAL 1 HOUR AS ToAt, count(*) AS n, min(Exhibit) AS Exhibit, arg_min(Position, (Exhibit, Position)) AS Position FROM results GROUP BY 1, 2)
SELECT FromAt, ToAt, '', 'audit log', 'unknown', CASE WHEN NOT IsFailed AND coalesce(Lacking, 0) = 0 THEN 'doubled' ELSE 'ceiling' END,
  CASE WHEN IsFailed THEN 'Results without a number (ResultIndex ' || LastNumber || ' of ' || Stated || '): the search ended with an error, so its results are not all.'
    WHEN coalesce(Lacking, 0) = 0 THEN 'Results of a search for ' || Stated || ' records occur ' || Surplus || ' times too often: pages were fetched twice or files were put together; no number is missing.'
    WHEN LastNumber < Stated AND Lacking = k * (Stated - LastNumber) THEN 'The search found ' || Stated || ' records and the export ends with number ' || LastNumber || ': it was cut off.'
    ELSE 'The search found ' || Stated || ' records and ' || Lacking || ' of their numbers are missing in the export: it was cut off, filtered or changed.' END
    || CASE WHEN Surplus > 0 AND coalesce(Lacking, 0) > 0 THEN ' ' || Surplus || ' results are there twice.' ELSE '' END,
  n, coalesce(Lacking, 0), '', Exhibit, Position
FROM counted JOIN spans USING (Folder, Stated) WHERE IsFailed OR coalesce(Lacking, 0) > 0 OR Surplus > 0;

-- step: settings
-- A snapshot says what was in force when it was taken. Between two that both show auditing off it was off; where one shows it on, the time of the change is not known.
CREATE OR REPLACE TEMP TABLE audit_states AS
WITH found AS (
  SELECT TimeGenerated, CASE WHEN Kind = 'OrganizationConfig' THEN 'tenant' WHEN Kind = 'AdminAuditLogConfig' THEN 'unified' WHEN Kind LIKE '%Bypass%' THEN 'bypass' ELSE 'mailbox' END AS About,
    CASE WHEN Kind IN ('OrganizationConfig', 'AdminAuditLogConfig') THEN '' ELSE lower(coalesce(nullif(Mailbox, ''), Identity)) END AS Subject,
    CASE WHEN Kind = 'OrganizationConfig' THEN CASE WHEN lower(coalesce(Settings ->> '$.AuditDisabled', '')) = 'true' THEN 'auditing of mailboxes switched off for the whole organisation' END
      WHEN Kind = 'AdminAuditLogConfig' THEN CASE WHEN lower(coalesce(Settings ->> '$.UnifiedAuditLogIngestionEnabled', '')) = 'false' THEN 'the unified audit log switched off for the whole organisation' END
      WHEN Kind LIKE '%Bypass%' THEN CASE WHEN lower(coalesce(Settings ->> '$.AuditBypassEnabled', '')) = 'true' THEN 'an audit bypass' END
      WHEN lower(coalesce(Settings ->> '$.AuditEnabled', '')) = 'false' THEN 'auditing switched off for the mailbox'
      -- An empty list is the default of Exchange Server: nothing that the owner does is audited. Exchange Online shows which lists are its own defaults.
      WHEN Settings ->> '$.AuditOwner' IS NOT NULL AND NOT contains(Settings ->> '$.AuditOwner', 'HardDelete') AND NOT contains(coalesce(Settings ->> '$.DefaultAuditSet', ''), 'Owner')
        THEN 'that deletions by the owner are not audited' END AS Off, _Exhibit AS Exhibit, _Position AS Position
  FROM SettingsSnapshot
  WHERE TimeGenerated IS NOT NULL AND (Kind LIKE '%Bypass%' OR (Kind = 'OrganizationConfig' AND Settings ->> '$.AuditDisabled' IS NOT NULL)
    OR (Kind = 'AdminAuditLogConfig' AND Settings ->> '$.UnifiedAuditLogIngestionEnabled' IS NOT NULL)
    OR (Kind = 'Mailbox' AND (Settings ->> '$.AuditEnabled' IS NOT NULL OR Settings ->> '$.AuditOwner' IS NOT NULL))))
SELECT *, lead(TimeGenerated) OVER w AS NextAt, lead(Off) OVER w AS NextOff, lag(TimeGenerated) OVER w AS BeforeAt, lag(Off) OVER w AS BeforeOff
FROM found WINDOW w AS (PARTITION BY About, Subject ORDER BY TimeGenerated, Exhibit, Position);
INSERT INTO claims
SELECT TimeGenerated, CASE WHEN NextOff IS NOT NULL THEN NextAt ELSE TimeGenerated + INTERVAL 1 HOUR END, Subject, 'audit log', 'blind', 'settings',
  'The snapshot shows ' || Off || CASE WHEN NextOff IS NOT NULL THEN ', and so does the next one.' ELSE '; since when is not in it.' END, NULL, NULL, '', Exhibit, Position
FROM audit_states WHERE Off IS NOT NULL
UNION ALL
SELECT TimeGenerated, NextAt, Subject, 'audit log', 'unknown', 'settings',
  CASE WHEN Off IS NULL THEN 'Between these two snapshots auditing was weakened: the second shows ' || NextOff || '.' ELSE 'Between these two snapshots auditing was restored: the first shows ' || Off || '.' END, NULL, NULL, '', Exhibit, Position
FROM audit_states WHERE NextAt IS NOT NULL AND (Off IS NULL) <> (NextOff IS NULL);

-- step: levels
-- Which level of auditing a mailbox had, by licence listings, PersistedCapabilities of Get-Mailbox, and records that changed a licence.
CREATE OR REPLACE TEMP TABLE audit_levels AS
WITH said AS (
  SELECT lower(coalesce(nullif(Mailbox, ''), Identity)) AS Subject, TimeGenerated, CASE Kind WHEN 'Mailbox' THEN Settings ->> '$.PersistedCapabilities' ELSE CAST(Settings AS VARCHAR) END AS Text,
    'listing' AS Kind, '' AS Actor, _Exhibit AS Exhibit, _Position AS Position
  FROM SettingsSnapshot WHERE TimeGenerated IS NOT NULL AND (Kind = 'UserLicence' OR (Kind = 'Mailbox' AND coalesce(Settings ->> '$.PersistedCapabilities', '') <> ''))
  UNION ALL
  SELECT lower(Mailbox), TimeGenerated, SettingAfter, 'change', Actor, _Exhibit, _Position
  FROM MailboxActivity WHERE Activity = 'LicenceChanged' AND ActivityResult <> 'Failed' AND Mailbox <> '')
SELECT *, coalesce(({premium}), false) AS IsPremium FROM said AS s;

-- step: reads
CREATE OR REPLACE TEMP TABLE read_spans AS {reads};

-- step: licences
INSERT INTO claims
WITH ended AS (SELECT max(Hour) + INTERVAL 1 HOUR AS ToAt, min(Hour) AS FromAt FROM seen_hours WHERE Source = 'audit log'),
  ordered AS (
    SELECT v.*, lead(v.TimeGenerated) OVER w AS NextAt, lag(v.IsPremium) OVER w AS WasPremium FROM audit_levels AS v WINDOW w AS (PARTITION BY Subject ORDER BY TimeGenerated, Exhibit, Position))
SELECT o.TimeGenerated, greatest(o.TimeGenerated + INTERVAL 1 HOUR, coalesce(o.NextAt, e.ToAt)), o.Subject, 'reads in the audit log',
  CASE WHEN r.LastAt < o.TimeGenerated AND r.LastAct > o.TimeGenerated + INTERVAL 1 DAY THEN 'blind' ELSE 'unknown' END, 'licence',
  CASE WHEN o.Kind = 'change' THEN 'The licence of the mailbox was changed to one without Audit (Premium)' ELSE 'The licence of the mailbox does not have Audit (Premium)' END
    || CASE WHEN r.LastAt < o.TimeGenerated AND r.LastAct > o.TimeGenerated + INTERVAL 1 DAY THEN ': reads of it were recorded before, and none since.'
      ELSE ': whether reads and searches are recorded without it is not known, and records are kept for 180 days instead of a year.' END, NULL, NULL, o.Actor, o.Exhibit, o.Position
FROM ordered AS o CROSS JOIN ended AS e LEFT JOIN read_spans AS r ON r.Subject = o.Subject
WHERE NOT o.IsPremium AND (r.LastAt IS NULL OR r.LastAt < o.TimeGenerated)
UNION ALL
-- Whoever customised what is audited may have left reads out.
SELECT TimeGenerated, TimeGenerated + INTERVAL 1 HOUR, lower(coalesce(nullif(Mailbox, ''), Identity)), 'reads in the audit log', 'blind', 'settings',
  'The snapshot shows that reads (MailItemsAccessed) by the owner are not audited; since when is not in it.', NULL, NULL, '', _Exhibit, _Position
FROM SettingsSnapshot WHERE Kind = 'Mailbox' AND TimeGenerated IS NOT NULL AND coalesce(Settings ->> '$.AuditOwner', '') <> '' AND NOT contains(Settings ->> '$.AuditOwner', 'MailItemsAccessed')
  AND NOT contains(coalesce(Settings ->> '$.DefaultAuditSet', ''), 'Owner')
UNION ALL
SELECT FirstAt, LastAt + INTERVAL 1 HOUR, Subject, 'reads in the audit log', 'seen', 'records', 'Reads of this mailbox were recorded.', Reads, NULL, '', Exhibit, 0
FROM read_spans WHERE Reads > 0 AND Subject IN (SELECT v.Subject FROM audit_levels AS v WHERE NOT v.IsPremium)
UNION ALL
-- A lane for each mailbox would bury the others: where nothing is wrong they are one.
SELECT min(FirstAt), max(LastAt) + INTERVAL 1 HOUR, '', 'reads in the audit log', 'seen', 'records', 'Reads of ' || count(*) || CASE count(*) WHEN 1 THEN ' mailbox' ELSE ' mailboxes' END || ' were recorded.',
  CAST(sum(Reads) AS BIGINT), NULL, '', min(Exhibit), 0
FROM read_spans WHERE Reads > 0 HAVING count(*) > 0
UNION ALL
-- All other mailboxes together: one row, however many they are.
SELECT e.FromAt, e.ToAt, '', 'reads in the audit log', 'unknown', 'licence',
  'For ' || n || CASE n WHEN 1 THEN ' mailbox' ELSE ' mailboxes' END || ' with audit records nothing says which licence they had, and no read is recorded: whether reads and searches were recorded is not known.', NULL, NULL, '', '', 0
FROM ended AS e, (SELECT count(*) AS n FROM read_spans AS r WHERE Reads = 0 AND Subject NOT IN (SELECT Subject FROM audit_levels)) WHERE n > 0 AND e.FromAt IS NOT NULL;
