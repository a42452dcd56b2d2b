-- What a host's own logs say about themselves: what they lost, when they were rotated, cut or shortened, and when the clock was set.
-- {names} are written by visibility.py.

-- step: log_lines
CREATE OR REPLACE TEMP VIEW log_lines AS {lines};

-- step: speakers
-- Patterns are tried only on lines of the programs that may say such a thing: a user may write any text, though not under every name.
CREATE OR REPLACE TEMP TABLE speakers AS SELECT * FROM log_lines WHERE regexp_full_match(Process, {speakers});

-- step: sayings
CREATE OR REPLACE TEMP TABLE sayings AS {sayings};

-- step: losses
INSERT INTO claims
SELECT date_trunc('hour', TimeGenerated), date_trunc('hour', TimeGenerated) + INTERVAL 1 HOUR, Subject, Source, 'blind', 'lost', replace(Reason, '{n}', CAST(coalesce(max(try_cast(Amount AS BIGINT)), 0) AS VARCHAR)),
  NULL, coalesce(max(try_cast(Amount AS BIGINT)), 0), '', min(Exhibit), min(Position)
FROM sayings WHERE Cause = 'lost' GROUP BY date_trunc('hour', TimeGenerated), Subject, Source, Reason
UNION ALL
-- "auditctl -s" as a snapshot of the host holds it.
SELECT TimeGenerated, TimeGenerated + INTERVAL 1 HOUR, coalesce((SELECT lower(min(Identity)) FROM SettingsSnapshot AS h WHERE h.Kind = 'LinuxHost' AND h._Exhibit = s._Exhibit), ''),
  'auditd', 'blind', 'lost', 'The kernel had dropped ' || (Settings ->> '$.Lost') || ' audit records when the host was looked at; when is not known.', NULL, try_cast(Settings ->> '$.Lost' AS BIGINT), '', _Exhibit, _Position
FROM SettingsSnapshot AS s WHERE Kind = 'AuditLoaded' AND try_cast(Settings ->> '$.Lost' AS BIGINT) > 0 AND TimeGenerated IS NOT NULL;

-- step: order
-- Every line with the one before it in its file.
CREATE OR REPLACE TEMP TABLE line_steps AS
SELECT Exhibit, Subject, TimeGenerated, Before, Position FROM (
  SELECT *, lag(TimeGenerated) OVER (PARTITION BY Exhibit, Subject ORDER BY Position) AS Before FROM log_lines)
WHERE TimeGenerated < Before;

-- step: clocks
-- A clock that went back leaves two stretches with the same times. In an export that runs backwards as a whole every step does, which says nothing.
INSERT INTO claims
WITH counted AS (SELECT Exhibit, Subject, count(*) AS n FROM log_lines GROUP BY 1, 2),
  backs AS (SELECT Exhibit, Subject, count(*) AS n FROM line_steps GROUP BY 1, 2),
  number_steps AS (SELECT *, lag(TimeGenerated) OVER (PARTITION BY Source, Subject, Exhibit, Boot ORDER BY Number) AS BeforeAt FROM numbered),
  -- Counted by groups: as window functions the same counts take twenty times as long.
  numbers_of AS (SELECT Source, Subject, Exhibit, count(*) AS n, count(*) FILTER (TimeGenerated < BeforeAt) AS Backs FROM number_steps GROUP BY ALL)
SELECT s.TimeGenerated, s.Before, s.Subject, 'mail log', 'unknown', 'clock', 'The clock of the host went back by ' || CAST(date_diff('minute', s.TimeGenerated, s.Before) AS VARCHAR) || ' minutes.', NULL, NULL, '', s.Exhibit, s.Position
FROM line_steps AS s JOIN counted AS c ON s.Exhibit = c.Exhibit AND s.Subject = c.Subject JOIN backs AS b ON s.Exhibit = b.Exhibit AND s.Subject = b.Subject
WHERE s.Before - s.TimeGenerated > INTERVAL 5 MINUTE AND c.n >= 20 AND b.n <= 3
UNION ALL
-- Numbers that go up while times go down: the same for event logs and auditd.
SELECT TimeGenerated, BeforeAt, Subject, Source, 'unknown', 'clock', 'The clock of the host went back by ' || CAST(date_diff('minute', TimeGenerated, BeforeAt) AS VARCHAR) || ' minutes while the numbers of the records went on.',
  NULL, NULL, '', Exhibit, Position
FROM number_steps JOIN numbers_of USING (Source, Subject, Exhibit)
WHERE BeforeAt - TimeGenerated > INTERVAL 5 MINUTE AND n >= 20 AND Backs <= 3
UNION ALL
-- The log says so itself, in either direction. Small corrections are what these programs are for.
SELECT TimeGenerated - INTERVAL 1 SECOND * CAST(least(604800, coalesce(abs(try_cast(Amount AS DOUBLE)), 3600)) AS BIGINT), TimeGenerated, Subject, Source, 'unknown', 'clock',
  replace(Reason, '{n}', Amount), NULL, NULL, '', Exhibit, Position
FROM sayings WHERE Cause = 'clock' AND (Amount = '' OR abs(try_cast(Amount AS DOUBLE)) > 300)
UNION ALL
SELECT least(OldAt, NewAt), greatest(OldAt, NewAt), Subject, 'Security', 'unknown', 'clock',
  'The clock of the host was set ' || CASE WHEN NewAt > OldAt THEN 'forward' ELSE 'back' END || ' by ' || CAST(date_diff('minute', least(OldAt, NewAt), greatest(OldAt, NewAt)) AS VARCHAR) || ' minutes.',
  NULL, NULL, Actor, Exhibit, Position
FROM ({clocks}) WHERE OldAt IS NOT NULL AND NewAt IS NOT NULL AND greatest(OldAt, NewAt) - least(OldAt, NewAt) > INTERVAL 5 MINUTE;

-- step: uptimes
-- The kernel writes seconds since its start beside the time of the day; where the two drift apart by minutes, somebody set the clock or the machine slept.
INSERT INTO claims
WITH ticks AS (
  SELECT *, try_cast(regexp_extract(Message, '^\[ *(\d+\.\d{3,6})\]', 1) AS DOUBLE) AS Uptime FROM log_lines WHERE Process = 'kernel' AND starts_with(Message, '[')),
steps AS (
  SELECT *, Uptime - lag(Uptime) OVER w AS Ticked, epoch(TimeGenerated) - epoch(lag(TimeGenerated) OVER w) AS Passed, lag(TimeGenerated) OVER w AS BeforeAt
  FROM ticks WHERE Uptime IS NOT NULL WINDOW w AS (PARTITION BY Exhibit, Subject ORDER BY Position))
SELECT least(BeforeAt, TimeGenerated), greatest(BeforeAt, TimeGenerated), Subject, 'mail log', 'unknown', 'clock',
  'The clock of the host went ' || CASE WHEN Passed > Ticked THEN 'forward' ELSE 'back' END || ' by ' || CAST(CAST(round(abs(Passed - Ticked) / 60) AS BIGINT) AS VARCHAR)
    || ' minutes against the seconds that the kernel counts since its start' || CASE WHEN Passed > Ticked THEN ', or the machine slept.' ELSE '.' END, NULL, NULL, '', Exhibit, Position
FROM steps WHERE Ticked >= 0 AND abs(Passed - Ticked) > 300;

-- step: files
-- Files of one log: mail.log, mail.log.1, mail.log.2.gz, mail.log-20260301 are one series in one folder.
CREATE OR REPLACE TEMP TABLE log_files AS
WITH spans AS (
  SELECT Source, Subject, _Exhibit AS Exhibit, min(TimeGenerated) AS FirstAt, max(TimeGenerated) AS LastAt, count(*) AS n, min(_Position) AS Position
  FROM ({records}) WHERE Source IN ('mail log', 'auditd') AND TimeGenerated IS NOT NULL GROUP BY 1, 2, 3)
SELECT s.*, regexp_extract(f.Path, '([^/]+)$', 1) AS File, regexp_replace(f.Path, '{rotated}', '') AS Series, regexp_replace(regexp_extract(f.Path, '([^/]+)$', 1), '{rotated}', '') AS Name,
  coalesce(try_cast(regexp_extract(f.Path, '{numbered}', 1) AS INTEGER), 0) AS Number
FROM spans AS s JOIN visible_files AS f ON s.Exhibit = f.Id;

-- step: missing_rotations
-- mail.log.1 and mail.log.3 without mail.log.2: an empty file counts as one that is there.
INSERT INTO claims
WITH there AS (
  SELECT DISTINCT regexp_replace(Path, '{rotated}', '') AS Series, try_cast(regexp_extract(Path, '{numbered}', 1) AS INTEGER) AS Number FROM visible_files WHERE regexp_matches(Path, '{numbered}')),
older AS (
  SELECT f.*, lag(Number) OVER w AS Younger, lag(FirstAt) OVER w AS YoungerAt, lag(File) OVER w AS YoungerFile FROM log_files AS f WINDOW w AS (PARTITION BY Source, Subject, Series ORDER BY Number))
SELECT LastAt, YoungerAt, Subject, Source, 'blind', 'rotation',
  'Between ' || File || ' and ' || YoungerFile || ' the files ' || (SELECT string_agg(Name || '.' || k, ', ' ORDER BY k) FROM range(Younger + 1, Number) AS r(k) WHERE k NOT IN (SELECT t.Number FROM there AS t WHERE t.Series = o.Series))
    || ' of this series are missing.', NULL, NULL, '', Exhibit, Position
FROM older AS o
WHERE Number - Younger > 1 AND Number - Younger < 100 AND YoungerAt > LastAt
  AND EXISTS (SELECT 1 FROM range(Younger + 1, Number) AS r(k) WHERE k NOT IN (SELECT t.Number FROM there AS t WHERE t.Series = o.Series));

-- step: cut_files
-- A file that begins long after its predecessor ends, measured against the longest pause inside the two.
INSERT INTO claims
WITH paused AS (
  SELECT Exhibit, Subject, max(epoch(TimeGenerated) - epoch(Before)) AS Longest FROM (
    SELECT Exhibit, Subject, TimeGenerated, lag(TimeGenerated) OVER (PARTITION BY Exhibit, Subject ORDER BY TimeGenerated) AS Before FROM log_lines) GROUP BY 1, 2),
pairs AS (
  SELECT f.*, p.Longest, lag(LastAt) OVER w AS EndedAt, lag(File) OVER w AS Before, lag(n) OVER w AS BeforeLines, lag(Number) OVER w AS BeforeNumber, lag(p.Longest) OVER w AS BeforeLongest
  FROM log_files AS f JOIN paused AS p ON f.Exhibit = p.Exhibit AND f.Subject = p.Subject WHERE f.Source = 'mail log' AND f.Subject <> ''
  WINDOW w AS (PARTITION BY f.Subject, f.Series ORDER BY FirstAt))
SELECT EndedAt, FirstAt, Subject, Source, 'blind', 'rotation',
  File || ' begins ' || CAST(CAST(round((epoch(FirstAt) - epoch(EndedAt)) / 60) AS BIGINT) AS VARCHAR) || ' minutes after ' || Before || ' ends, while inside these files no two lines are more than '
    || CAST(CAST(ceil(greatest(Longest, BeforeLongest) / 60) AS BIGINT) AS VARCHAR) || ' minutes apart: the head of one or the end of the other is missing.', NULL, NULL, '', Exhibit, Position
FROM pairs WHERE n >= 20 AND BeforeLines >= 20 AND abs(BeforeNumber - Number) <= 1 AND epoch(FirstAt) - epoch(EndedAt) > greatest(3600, 3 * greatest(Longest, BeforeLongest));

-- step: beginnings
-- The oldest file of a log begins where it was rotated: what was before is in a file that was not given. Where other logs of the host were being written before and
-- no rotation is announced at that time, its head may have been cut off.
INSERT INTO claims
WITH oldest AS (
  SELECT Subject, Series, min(FirstAt) AS FirstAt, arg_min(File, FirstAt) AS File, arg_min(Exhibit, FirstAt) AS Exhibit, arg_min(Position, FirstAt) AS Position, sum(n) AS n
  FROM log_files WHERE Source = 'mail log' AND Subject <> '' GROUP BY 1, 2),
judged AS (
  SELECT o.*, EXISTS (SELECT 1 FROM sayings AS r WHERE r.Cause = 'rotation' AND r.Subject = o.Subject AND abs(epoch(r.TimeGenerated) - epoch(o.FirstAt)) <= 1800) AS IsRotated,
    EXISTS (SELECT 1 FROM sayings AS r WHERE r.Cause = 'rotation' AND r.Subject = o.Subject) AS IsAnnounced,
    EXISTS (SELECT 1 FROM log_files AS f WHERE f.Subject = o.Subject AND f.Source = 'mail log' AND f.Series <> o.Series AND f.FirstAt < o.FirstAt - INTERVAL 1 DAY AND f.LastAt > o.FirstAt) AS IsOthersOlder
  FROM oldest AS o)
SELECT FirstAt - INTERVAL 1 HOUR, FirstAt, Subject, 'mail log', 'unknown', 'rotation',
  CASE WHEN IsRotated THEN File || ' begins where the logs were rotated; what it held before is in a file that was not given.'
    ELSE File || ' begins without a rotation, although other logs of this host go further back and announce rotations: its head may have been cut off.' END, NULL, NULL, '', Exhibit, Position
FROM judged WHERE n >= 20 AND (IsRotated OR (IsAnnounced AND IsOthersOlder));

-- step: shrunken
-- Two copies of one log that overlap in time hold the same lines there, unless somebody took some out of one of them. The seconds at both ends are left out.
INSERT INTO claims
WITH pairs AS (
  SELECT Subject, Name, FirstAt, Exhibit AS A, File AS AFile, Series AS ASeries, lead(Exhibit) OVER w AS B, lead(Series) OVER w AS BSeries, lead(File) OVER w AS BFile,
    lead(FirstAt) OVER w AS FromAt, least(LastAt, lead(LastAt) OVER w) AS ToAt, Position
  FROM log_files WHERE Source = 'mail log' AND Subject <> '' WINDOW w AS (PARTITION BY Subject, Name ORDER BY FirstAt, LastAt, Exhibit)),
shared AS (SELECT * FROM pairs WHERE ToAt - FromAt > INTERVAL 2 SECOND),
compared AS (
  SELECT o.Subject, o.Name, o.A, o.B, o.FromAt, o.ToAt, any_value(o.Position) AS Position, count(*) FILTER (l.Exhibit = o.A) AS InA, count(*) FILTER (l.Exhibit = o.B) AS InB
  FROM shared AS o JOIN log_lines AS l ON l.Subject = o.Subject AND l.Exhibit IN (o.A, o.B) AND l.TimeGenerated > o.FromAt AND l.TimeGenerated < o.ToAt GROUP BY ALL)
SELECT FromAt, ToAt, Subject, 'mail log', 'unknown', 'shrunken',
  'Two copies of ' || Name || ' overlap here; one (' || A || ') has ' || InA || ' lines and the other (' || B || ') ' || InB || ': lines were taken out of one of them.',
  NULL, abs(InA - InB), '', CASE WHEN InA < InB THEN A ELSE B END, 0
FROM compared WHERE InA <> InB;

-- step: listed_sizes
-- The same file (by its inode) that is smaller than before was cut, unless its content was copied to a rotated file beside it (copytruncate).
INSERT INTO claims
WITH listed AS (
  SELECT TimeGenerated, Identity AS Path, try_cast(Settings ->> '$.SizeBytes' AS BIGINT) AS Size, coalesce(Settings ->> '$.Inode', '') AS Inode, _Exhibit, _Position,
    coalesce((SELECT lower(min(Identity)) FROM SettingsSnapshot AS h WHERE h.Kind = 'LinuxHost' AND h._Exhibit = s._Exhibit), '') AS Subject
  FROM SettingsSnapshot AS s WHERE Kind = 'HostFile' AND TimeGenerated IS NOT NULL AND (Settings ->> '$.Role') IN ('mail log', 'audit log')),
steps AS (
  SELECT *, lag(TimeGenerated) OVER w AS BeforeAt, lag(Size) OVER w AS SizeBefore, lag(Inode) OVER w AS InodeBefore FROM listed WHERE Size IS NOT NULL
  WINDOW w AS (PARTITION BY Subject, Path ORDER BY TimeGenerated, _Exhibit))
SELECT BeforeAt, TimeGenerated, Subject, CASE WHEN contains(Path, '/audit') THEN 'auditd' ELSE 'mail log' END, 'blind', 'shrunken',
  Path || ' had ' || SizeBefore || ' bytes and then ' || Size || ': it was shortened between two listings of the host.', NULL, NULL, '', _Exhibit, _Position
FROM steps AS s WHERE Size < SizeBefore AND Inode = InodeBefore
  AND NOT EXISTS (SELECT 1 FROM listed AS r WHERE r.Subject = s.Subject AND r.Path <> s.Path AND starts_with(r.Path, s.Path) AND r.TimeGenerated = s.TimeGenerated
    AND NOT EXISTS (SELECT 1 FROM listed AS e WHERE e.Subject = r.Subject AND e.Path = r.Path AND e.TimeGenerated = s.BeforeAt AND e.Size = r.Size));
