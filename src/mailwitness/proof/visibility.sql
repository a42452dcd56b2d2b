-- What could have been seen, as stretches of hours. {names} are written by visibility.py. Later steps only add stretches; the worst state of an hour counts.

-- step: hours
CREATE OR REPLACE TEMP TABLE seen_hours AS
SELECT Source, Subject, date_trunc('hour', TimeGenerated) AS Hour, count(*) AS Records, min(_Exhibit) AS Exhibit, min(_Position) AS Position
FROM ({records}) WHERE TimeGenerated IS NOT NULL AND TimeGenerated <= {now} GROUP BY 1, 2, 3;

-- step: spaces
-- The silence behind each hour with records, and what is usual for this source: three times the gap that all but one of a hundred stay below, at least six hours.
-- A source with records in fewer than 48 hours has no rhythm yet.
CREATE OR REPLACE TEMP TABLE spaces AS
WITH next AS (
  SELECT *, date_diff('hour', Hour, lead(Hour) OVER w) AS Gap, lead(Hour) OVER w AS NextHour FROM seen_hours WINDOW w AS (PARTITION BY Source, Subject ORDER BY Hour)),
usual AS (
  SELECT Source, Subject, count(*) AS Active, greatest(6, 3 * coalesce(quantile_cont(Gap, 0.99), 1)) AS Usual FROM next GROUP BY 1, 2)
SELECT n.*, u.Usual, u.Active >= 48 AND Gap > u.Usual AS IsSilent FROM next AS n JOIN usual AS u ON n.Source = u.Source AND n.Subject = u.Subject;

-- step: claims
CREATE OR REPLACE TEMP TABLE claims AS
-- Hours between two records that are no further apart than usual: the log was running.
WITH runs AS (
  SELECT *, sum(CASE WHEN Broken THEN 1 ELSE 0 END) OVER (PARTITION BY Source, Subject ORDER BY Hour) AS Run
  FROM (SELECT *, coalesce(lag(IsSilent) OVER (PARTITION BY Source, Subject ORDER BY Hour), false) AS Broken FROM spaces))
SELECT min(Hour) AS FromAt, max(Hour) + INTERVAL 1 HOUR AS ToAt, Subject, Source, 'seen' AS State, 'records' AS Cause, 'Records show that the log was being written.' AS Reason,
  CAST(sum(Records) AS BIGINT) AS Records, NULL::BIGINT AS Missing, '' AS Actor, arg_min(Exhibit, Hour) AS Exhibit, arg_min(Position, Hour) AS Position
FROM runs GROUP BY Source, Subject, Run
UNION ALL
SELECT Hour + INTERVAL 1 HOUR, NextHour, Subject, Source, 'blind', 'silence',
  'Not one record for ' || (Gap - 1) || ' hours, although this log is usually never silent for more than ' || CAST(ceil(Usual) AS BIGINT) || '.', 0, NULL, '', Exhibit, Position
FROM spaces WHERE IsSilent
UNION ALL
-- Records of the cloud may arrive a day late.
SELECT greatest(max(Hour) + INTERVAL 1 HOUR, date_trunc('hour', {now}) - INTERVAL 24 HOUR), date_trunc('hour', {now}) + INTERVAL 1 HOUR, Subject, Source, 'unknown', 'lag',
  'Records of the last day may not have arrived when the log was exported.', 0, NULL, '', '', 0
FROM seen_hours WHERE Source IN ('audit log', 'message trace', 'sign-in log', 'Google log') AND Hour > {now} - INTERVAL 48 HOUR GROUP BY Subject, Source;

-- step: switches
-- Auditing that was weakened, until the next record that it was restored, or the end of what is known.
CREATE OR REPLACE TEMP TABLE audit_changes AS
SELECT TimeGenerated, Activity, lower(Mailbox) AS Subject, Setting, SettingAfter, Operation, Actor, _Exhibit AS Exhibit, _Position AS Position,
  CASE WHEN Operation ILIKE '%AuditBypass%' THEN 'bypass' WHEN Operation ILIKE 'Set-Mailbox' THEN 'audit-off' ELSE 'tenant' END AS Kind
FROM MailboxActivity WHERE Activity IN ('AuditWeakened', 'AuditRestored') AND ActivityResult <> 'Failed' AND Platform IN ('ExchangeOnline', 'Exchange');
INSERT INTO claims
WITH ordered AS (
  SELECT *, lead(TimeGenerated) OVER w AS NextAt, lead(Activity) OVER w AS NextActivity FROM audit_changes WINDOW w AS (PARTITION BY Subject, Kind ORDER BY TimeGenerated, Exhibit, Position))
SELECT TimeGenerated, coalesce(NextAt, (SELECT max(Hour) + INTERVAL 1 HOUR FROM seen_hours WHERE Source = 'audit log'), TimeGenerated + INTERVAL 1 HOUR),
  CASE Kind WHEN 'tenant' THEN '' ELSE Subject END, 'audit log', 'blind', CASE Kind WHEN 'bypass' THEN 'bypass' ELSE 'audit-off' END,
  CASE Kind WHEN 'bypass' THEN 'Nothing that ' || Subject || ' does in any mailbox is audited: a bypass is set' ELSE 'Auditing was weakened by ' || Operation END
    || CASE WHEN NextAt IS NULL THEN ', and no record says that this ended.' ELSE '.' END,
  NULL, NULL, Actor, Exhibit, Position
FROM ordered WHERE Activity = 'AuditWeakened';

-- step: stops
-- A log that was cleared has lost what was before; one that was stopped, what came after until its next record.
INSERT INTO claims
SELECT a.TimeGenerated - INTERVAL 1 HOUR, a.TimeGenerated, lower(Host), 'mail log', 'blind', 'cleared',
  'The log was cleared: ' || left(coalesce(nullif(min(ObjectName), ''), nullif(min(CommandLine), ''), min(Operation)), 200) || '.', NULL, NULL, min(Actor), min(_Exhibit), min(_Position)
FROM MailboxActivity AS a WHERE Activity = 'LogCleared' AND Host <> '' AND ActivityResult <> 'Failed'
  -- Index files of Dovecot are cleared too, but they are no log of a host.
  AND NOT regexp_matches(ObjectName, 'dovecot[.-](?:index|list|mailbox|uidlist|map)') AND NOT (ObjectName = '' AND contains(CommandLine, 'dovecot.index'))
GROUP BY a.TimeGenerated, lower(Host)
UNION ALL
SELECT a.TimeGenerated, coalesce(min(h.Hour), a.TimeGenerated + INTERVAL 1 HOUR), lower(a.Host), 'mail log', 'blind', 'stopped', 'Logging was stopped by ' || coalesce(nullif(min(CommandLine), ''), min(Operation)) || '.',
  NULL, NULL, min(Actor), min(a._Exhibit), min(a._Position)
FROM MailboxActivity AS a LEFT JOIN seen_hours AS h ON h.Source = 'mail log' AND lower(h.Subject) = lower(a.Host) AND h.Hour > a.TimeGenerated
WHERE Activity = 'LoggingStopped' AND Host <> '' GROUP BY a.TimeGenerated, a.Host;

-- step: ceilings
-- Search-UnifiedAuditLog returns at most 5,000 rows at once and 50,000 in a session, the portal exports at most 50,000: a set of exactly that many was cut.
INSERT INTO claims
SELECT date_trunc('hour', min(TimeGenerated)), date_trunc('hour', max(TimeGenerated)) + INTERVAL 1 HOUR, '', 'audit log', 'unknown', 'ceiling',
  'The export has exactly ' || count(*) || ' records, the most that one search returns: it was cut off.', count(*), NULL, '', _Exhibit, 0
FROM {ceilings} GROUP BY _Exhibit HAVING count(*) IN (5000, 50000);

-- step: numbers
-- Records carry numbers; a hole of numbers is a hole of records. Where most numbers are missing, the export was filtered and a hole means nothing.
INSERT INTO claims
WITH numbered AS (SELECT DISTINCT Source, Subject, Number, TimeGenerated, Exhibit FROM ({numbers}) WHERE Number IS NOT NULL AND TimeGenerated IS NOT NULL),
steps AS (
  SELECT *, Number - lag(Number) OVER w AS Step, lag(TimeGenerated) OVER w AS BeforeAt FROM numbered WINDOW w AS (PARTITION BY Source, Subject, Exhibit ORDER BY Number)),
dense AS (
  SELECT Source, Subject, Exhibit, count(DISTINCT Number) AS Have, max(Number) - min(Number) + 1 AS Span FROM numbered GROUP BY 1, 2, 3)
SELECT least(BeforeAt, TimeGenerated), greatest(BeforeAt, TimeGenerated), Subject, Source, 'blind', 'gap', 'Records ' || (Number - Step + 1) || ' to ' || (Number - 1) || ' of the log are missing.',
  0, Step - 1, '', s.Exhibit, 0
FROM steps AS s JOIN dense AS d USING (Source, Subject, Exhibit) WHERE Step > 1 AND d.Have >= 20 AND d.Have >= 0.8 * d.Span;

-- step: doubles
-- A Windows log gives each number once. The same number with another time means that the log began anew, or that a file was put together from several.
-- The serials of auditd start again at every boot, so for them it means nothing.
INSERT INTO claims
WITH doubled AS (
  SELECT Source, Subject, Exhibit, Number, min(TimeGenerated) AS FromAt, max(TimeGenerated) AS ToAt FROM ({numbers})
  WHERE Source <> 'auditd' AND Number IS NOT NULL AND TimeGenerated IS NOT NULL GROUP BY 1, 2, 3, 4 HAVING min(TimeGenerated) <> max(TimeGenerated))
SELECT min(FromAt), max(ToAt), Subject, Source, 'unknown', 'doubled', count(*) || ' record numbers, from ' || min(Number) || ' to ' || max(Number) || ', occur with different times: the log began anew or was put together.',
  NULL, NULL, '', Exhibit, 0 FROM doubled GROUP BY Source, Subject, Exhibit;

-- step: losses
-- The kernel counts audit records it had to drop.
INSERT INTO claims
SELECT date_trunc('hour', TimeGenerated), date_trunc('hour', TimeGenerated) + INTERVAL 1 HOUR, Subject, 'auditd', 'blind', 'lost', 'The kernel dropped audit records: ' || max(Lost) || ' in all so far.', NULL, max(Lost), '',
  min(Exhibit), min(Position)
FROM ({losses}) WHERE Lost > 0 GROUP BY date_trunc('hour', TimeGenerated), Subject;

-- step: clocks
-- A clock that went back leaves two stretches with the same times. In an export that runs backwards as a whole every step does, which says nothing.
INSERT INTO claims
WITH steps AS (
  SELECT *, lag(TimeGenerated) OVER (PARTITION BY Exhibit, Subject ORDER BY Position) AS Before FROM ({lines}) WHERE TimeGenerated IS NOT NULL),
counted AS (SELECT Exhibit, Subject, count(*) AS n, count(*) FILTER (TimeGenerated < Before) AS back FROM steps GROUP BY 1, 2)
SELECT s.TimeGenerated, s.Before, s.Subject, 'mail log', 'unknown', 'clock', 'The clock of the host went back by ' || CAST(date_diff('minute', s.TimeGenerated, s.Before) AS VARCHAR) || ' minutes.', NULL, NULL, '', s.Exhibit, s.Position
FROM steps AS s JOIN counted AS c ON s.Exhibit = c.Exhibit AND s.Subject = c.Subject
WHERE s.Before - s.TimeGenerated > INTERVAL 5 MINUTE AND c.n >= 20 AND c.back <= 3;

-- step: settings
-- A snapshot says what was in force when it was taken, not since when.
INSERT INTO claims
SELECT TimeGenerated, TimeGenerated + INTERVAL 1 HOUR, CASE Kind WHEN 'OrganizationConfig' THEN '' ELSE lower(coalesce(nullif(Mailbox, ''), Identity)) END, 'audit log', 'blind', 'settings',
  CASE WHEN Kind = 'OrganizationConfig' THEN 'The snapshot shows auditing of mailboxes switched off for the whole organisation; since when is not in it.'
    WHEN Kind LIKE '%Bypass%' THEN 'The snapshot shows an audit bypass; since when is not in it.'
    WHEN lower(Settings ->> '$.AuditEnabled') = 'false' THEN 'The snapshot shows auditing switched off for the mailbox; since when is not in it.'
    ELSE 'The snapshot shows that deletions by the owner are not audited; since when is not in it.' END, NULL, NULL, '', _Exhibit, _Position
FROM SettingsSnapshot
WHERE TimeGenerated IS NOT NULL AND (
  (Kind = 'Mailbox' AND lower(coalesce(Settings ->> '$.AuditEnabled', '')) = 'false')
  OR (Kind = 'Mailbox' AND coalesce(Settings ->> '$.AuditOwner', '') <> '' AND NOT contains(Settings ->> '$.AuditOwner', 'HardDelete'))
  OR (Kind LIKE '%Bypass%' AND lower(coalesce(Settings ->> '$.AuditBypassEnabled', '')) = 'true')
  OR (Kind = 'OrganizationConfig' AND lower(coalesce(Settings ->> '$.AuditDisabled', '')) = 'true'));

-- step: visibility
COPY (
  SELECT 0::UTINYINT AS _State, FromAt AS TimeGenerated, ToAt AS EndTime, date_diff('second', FromAt, ToAt) / 3600.0 AS Hours, coalesce(Subject, '') AS Subject, Source, State, Cause, Reason,
    coalesce(Records, 0) AS Records, coalesce(Missing, 0) AS Missing, coalesce(Actor, '') AS Actor, coalesce(Exhibit, '') AS _Exhibit, coalesce(Position, 0) AS _Position
  FROM claims WHERE FromAt IS NOT NULL AND ToAt >= FromAt ORDER BY Source, Subject, FromAt, ToAt, State, Reason
) TO {visibility} (FORMAT parquet, COMPRESSION lz4_raw);
