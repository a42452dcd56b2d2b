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
-- Records of the cloud arrive late; how late stands in _sources.csv.
SELECT greatest(max(Hour) + INTERVAL 1 HOUR, date_trunc('hour', {now}) - to_hours(l.Hours)), date_trunc('hour', {now}) + INTERVAL 1 HOUR, Subject, Source, 'unknown', 'lag',
  'Records of the last ' || CASE l.Hours WHEN 24 THEN 'day' ELSE l.Hours || ' hours' END || ' may not have arrived when the log was exported.', 0, NULL, '', '', 0
FROM seen_hours JOIN lags AS l USING (Source) WHERE Hour > {now} - 2 * to_hours(l.Hours) GROUP BY Subject, Source, l.Hours;

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

-- step: numbers
-- Records carry numbers; a hole of numbers is a hole of records. Where most numbers are missing, the export was filtered and a hole means nothing.
-- The serials of auditd start again at every boot: they are followed in the order of the file, one boot after the other.
CREATE OR REPLACE TEMP TABLE numbered AS
SELECT * EXCLUDE (IsBoot), sum(CASE WHEN IsBoot THEN 1 ELSE 0 END) OVER (PARTITION BY Source, Subject, Exhibit ORDER BY Position) AS Boot
FROM (
  SELECT *, coalesce(Source = 'auditd' AND (Before - Number > 1000 OR (Number < 100 AND Before - Number > 50)), false) AS IsBoot
  FROM (SELECT *, lag(Number) OVER (PARTITION BY Source, Subject, Exhibit ORDER BY Position) AS Before
    FROM ({numbers}) WHERE Number IS NOT NULL AND TimeGenerated IS NOT NULL));
INSERT INTO claims
WITH single AS (SELECT DISTINCT Source, Subject, Number, TimeGenerated, Exhibit, Boot FROM numbered),
steps AS (
  SELECT *, Number - lag(Number) OVER w AS Step, lag(TimeGenerated) OVER w AS BeforeAt FROM single WINDOW w AS (PARTITION BY Source, Subject, Exhibit, Boot ORDER BY Number)),
dense AS (
  SELECT Source, Subject, Exhibit, Boot, count(DISTINCT Number) AS Have, max(Number) - min(Number) + 1 AS Span FROM single GROUP BY 1, 2, 3, 4)
SELECT least(BeforeAt, TimeGenerated), greatest(BeforeAt, TimeGenerated), Subject, Source, 'blind', 'gap', 'Records ' || (Number - Step + 1) || ' to ' || (Number - 1) || ' of the log are missing.',
  0, Step - 1, '', s.Exhibit, 0
FROM steps AS s JOIN dense AS d USING (Source, Subject, Exhibit, Boot) WHERE Step > 1 AND d.Have >= 20 AND d.Have >= 0.8 * d.Span;

-- step: doubles
-- A Windows log gives each number once. The same number with another time means that the log began anew, or that a file was put together from several.
-- The serials of auditd start again at every boot, so for them it means nothing.
INSERT INTO claims
WITH doubled AS (
  SELECT Source, Subject, Exhibit, Number, min(TimeGenerated) AS FromAt, max(TimeGenerated) AS ToAt FROM numbered
  WHERE Source <> 'auditd' GROUP BY 1, 2, 3, 4 HAVING min(TimeGenerated) <> max(TimeGenerated))
SELECT min(FromAt), max(ToAt), Subject, Source, 'unknown', 'doubled', count(*) || ' record numbers, from ' || min(Number) || ' to ' || max(Number) || ', occur with different times: the log began anew or was put together.',
  NULL, NULL, '', Exhibit, 0 FROM doubled GROUP BY Source, Subject, Exhibit;
