-- Versions of rules replayed over messages. {names} are filled in by setting_replay.py.

-- step: kept
-- One row for each message and recipient, whatever number of records tells of it, with what the ledger says of it.
COPY (
  WITH told AS (SELECT * REPLACE (lower(Recipient) AS Recipient, lower(Sender) AS Sender, lower(Envelope) AS Envelope, coalesce(MessageId, '') AS MessageId) FROM ({union}) WHERE TimeGenerated IS NOT NULL AND Recipient <> ''),
    single AS (
      SELECT Platform, split_part(Recipient, '@', 1) AS Short, MessageId, min(TimeGenerated) AS TimeGenerated, max(Recipient) AS Recipient, max(Subject) AS Subject, max(Sender) AS Sender, max(Envelope) AS Envelope, max(Took) AS Took
      FROM told GROUP BY Platform, Short, MessageId, CASE WHEN MessageId = '' THEN CAST(TimeGenerated AS VARCHAR) || coalesce(Subject, '') END),
    held AS (SELECT split_part(lower(Mailbox), '@', 1) AS Short, lower(MessageId) AS Id, min(Verdict) AS Verdict FROM MessageLedger WHERE MessageId <> '' GROUP BY 1, 2)
  SELECT s.*, row_number() OVER () AS Number, coalesce(h.Verdict, 'not in the ledger') AS Verdict FROM single AS s LEFT JOIN held AS h ON h.Short = s.Short AND h.Id = lower(s.MessageId)
) TO {path} (FORMAT parquet);

-- step: messages
-- With the mailbox as the versions write it: logs write "eva" and "eva@contoso.example".
CREATE OR REPLACE TEMP VIEW setting_messages AS
WITH boxes AS (SELECT DISTINCT Mailbox FROM setting_versions WHERE Mailbox <> ''),
  shorts AS (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Mailbox, count(*) AS Boxes, bool_or(contains(Mailbox, '@')) AS IsFull FROM boxes GROUP BY 1)
SELECT p.*, coalesce(b.Mailbox, CASE WHEN s.Boxes = 1 AND NOT (s.IsFull AND contains(p.Recipient, '@')) THEN s.Mailbox END, p.Recipient) AS Mailbox
FROM read_parquet({path}) AS p LEFT JOIN boxes AS b ON b.Mailbox = p.Recipient LEFT JOIN shorts AS s ON s.Short = p.Short;

-- step: taking
CREATE OR REPLACE TEMP TABLE setting_taking AS
SELECT n, Kind, Mailbox, Condition, TimeGenerated AS Since, EndTime AS Until, Platforms FROM setting_versions WHERE IsTaking AND State IN ('present', 'changed');

-- step: told
-- What the log itself says that a filter did settles what conditions leave open. It names the kind of the rule and not the rule: it was the newest one.
CREATE OR REPLACE TEMP TABLE setting_told AS
SELECT max_by(v.n, (v.Since, v.n)) AS n, m.Number FROM setting_taking AS v JOIN setting_messages AS m ON m.Took = v.Kind AND m.TimeGenerated >= v.Since AND (v.Until IS NULL OR m.TimeGenerated < v.Until)
WHERE m.Took IS NOT NULL AND v.Mailbox IN ('', m.Mailbox) GROUP BY v.Kind, m.Number;

-- step: replayed
INSERT INTO setting_hits
WITH chosen AS (SELECT * FROM setting_taking WHERE Condition BETWEEN {first} AND {last}),
  joined AS (
    SELECT v.n, v.Condition, m.* FROM chosen AS v JOIN setting_messages AS m
      ON m.Mailbox = v.Mailbox AND m.TimeGenerated >= v.Since AND (v.Until IS NULL OR m.TimeGenerated < v.Until) AND contains(v.Platforms, '|' || m.Platform || '|') WHERE v.Mailbox <> ''
    UNION ALL
    SELECT v.n, v.Condition, m.* FROM chosen AS v JOIN setting_messages AS m
      ON m.TimeGenerated >= v.Since AND (v.Until IS NULL OR m.TimeGenerated < v.Until) AND contains(v.Platforms, '|' || m.Platform || '|') WHERE v.Mailbox = ''),
  judged AS (
    SELECT m.n, m.TimeGenerated AS T, m.MessageId AS M, m.Subject AS S, coalesce(m.Sender, m.Envelope) AS F, m.Recipient AS R, m.Verdict, t.n IS NOT NULL AS IsTold,
      CASE WHEN t.n IS NOT NULL THEN true ELSE (CASE m.Condition {cases} END) END AS Fits
    FROM joined AS m LEFT JOIN setting_told AS t ON t.n = m.n AND t.Number = m.Number)
SELECT n, count(*), CASE WHEN count(*) FILTER (Fits) > 0 OR count(*) FILTER (Fits IS NULL) = 0 THEN count(*) FILTER (Fits) END, count(*) FILTER (Fits IS NULL), count(*) FILTER (IsTold),
  to_json(arg_min({t: T, m: M, s: coalesce(S, ''), f: coalesce(F, ''), r: R, v: Verdict, told: IsTold}, (T, M, R, S), 50) FILTER (Fits)), to_json(histogram(Verdict) FILTER (Fits))
FROM judged GROUP BY n;

-- step: silent
-- Versions in whose time no message came, although a log of their platform was given.
INSERT INTO setting_hits
SELECT v.n, 0, 0, 0, 0, NULL, NULL FROM setting_taking AS v
WHERE v.n NOT IN (SELECT n FROM setting_hits) AND EXISTS (SELECT 1 FROM (SELECT DISTINCT Platform FROM setting_messages) AS p WHERE contains(v.Platforms, '|' || p.Platform || '|'));
