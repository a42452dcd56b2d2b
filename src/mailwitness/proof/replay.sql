-- Versions of rules replayed over messages. {names} are filled in by setting_replay.py.

-- step: kept
COPY (SELECT * REPLACE (lower(Recipient) AS Recipient, lower(Sender) AS Sender, lower(Envelope) AS Envelope) FROM ({union}) WHERE TimeGenerated IS NOT NULL) TO {path} (FORMAT parquet);

-- step: messages
-- With the mailbox as the versions write it: logs write "eva" and "eva@contoso.example".
CREATE OR REPLACE TEMP VIEW setting_messages AS
WITH boxes AS (SELECT DISTINCT Mailbox FROM setting_versions WHERE Mailbox <> ''),
  shorts AS (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Mailbox, count(*) AS Boxes, bool_or(contains(Mailbox, '@')) AS IsFull FROM boxes GROUP BY 1)
SELECT p.*, coalesce(b.Mailbox, CASE WHEN s.Boxes = 1 AND NOT (s.IsFull AND contains(p.Recipient, '@')) THEN s.Mailbox END, p.Recipient) AS Mailbox
FROM read_parquet({path}) AS p LEFT JOIN boxes AS b ON b.Mailbox = p.Recipient LEFT JOIN shorts AS s ON s.Short = split_part(p.Recipient, '@', 1);

-- step: replayed
INSERT INTO setting_hits
WITH taking AS (SELECT n, Kind, Mailbox, Condition, TimeGenerated AS Since, EndTime AS Until, Platforms FROM setting_versions WHERE IsTaking AND State IN ('present', 'changed') AND Condition BETWEEN {first} AND {last}),
  joined AS (
    SELECT v.*, m.* EXCLUDE (Mailbox) FROM taking AS v JOIN setting_messages AS m
      ON m.Mailbox = v.Mailbox AND m.TimeGenerated >= v.Since AND (v.Until IS NULL OR m.TimeGenerated < v.Until) AND contains(v.Platforms, '|' || m.Platform || '|') WHERE v.Mailbox <> ''
    UNION ALL
    SELECT v.*, m.* EXCLUDE (Mailbox) FROM taking AS v JOIN setting_messages AS m
      ON m.TimeGenerated >= v.Since AND (v.Until IS NULL OR m.TimeGenerated < v.Until) AND contains(v.Platforms, '|' || m.Platform || '|') WHERE v.Mailbox = ''),
  -- What the log itself says that a filter did settles what its conditions leave open.
  -- It names the kind of the rule and not the rule: it was the newest one of the mailbox.
  newest AS (SELECT *, Took = Kind AND Since = max(Since) OVER (PARTITION BY Kind, Mailbox, TimeGenerated, MessageId, Recipient, Took) AS IsTold FROM joined),
  judged AS (SELECT * REPLACE (coalesce(IsTold, false) AS IsTold), CASE WHEN IsTold THEN true ELSE (CASE Condition {cases} END) END AS Fits FROM newest AS m),
  -- One message may have several records: it counts once.
  single AS (
    SELECT n, coalesce(nullif(MessageId, ''), CAST(TimeGenerated AS VARCHAR) || coalesce(Subject, '')) AS Id, split_part(Recipient, '@', 1) AS Short, max(Recipient) AS Recipient, min(TimeGenerated) AS T,
      coalesce(max(MessageId), '') AS M, coalesce(max(Subject), '') AS S, coalesce(max(Sender), max(Envelope), '') AS F, bool_or(Fits) AS Fits, bool_or(IsTold) AS IsTold
    FROM judged GROUP BY 1, 2, 3),
  held AS (SELECT lower(Mailbox) AS Box, lower(MessageId) AS Id, min(Verdict) AS Verdict FROM MessageLedger WHERE MessageId <> '' GROUP BY 1, 2),
  told AS (SELECT s.*, h.Verdict FROM single AS s LEFT JOIN held AS h ON h.Id = lower(s.M) AND (h.Box = s.Recipient OR split_part(h.Box, '@', 1) = s.Short)),
  once AS (SELECT * FROM told QUALIFY row_number() OVER (PARTITION BY n, Id, Short ORDER BY Verdict NULLS LAST) = 1),
  totals AS (
    SELECT n, count(*) AS Seen, count(*) FILTER (Fits) AS Hit, count(*) FILTER (Fits IS NULL) AS Possible, count(*) FILTER (IsTold) AS Recorded,
      arg_min({t: T, m: M, s: S, f: F, r: Recipient, v: Verdict, told: IsTold}, (T, M, Recipient), 50) FILTER (Fits) AS HitMessages FROM once GROUP BY 1),
  verdicts AS (
    SELECT n, map_from_entries(list((Verdict, c) ORDER BY Verdict)) AS Ledger FROM (SELECT n, coalesce(Verdict, 'not in the ledger') AS Verdict, count(*) AS c FROM once WHERE Fits GROUP BY 1, 2) GROUP BY 1)
SELECT n, Seen, CASE WHEN Hit > 0 OR Possible = 0 THEN Hit END, Possible, Recorded, to_json(HitMessages), to_json(Ledger) FROM totals LEFT JOIN verdicts USING (n);

-- step: silent
-- Versions in whose time no message came, although a log of their platform was given.
INSERT INTO setting_hits
SELECT v.n, 0, 0, 0, 0, NULL, NULL FROM setting_versions AS v
WHERE v.IsTaking AND v.State IN ('present', 'changed') AND v.n NOT IN (SELECT n FROM setting_hits)
  AND EXISTS (SELECT 1 FROM (SELECT DISTINCT Platform FROM setting_messages) AS p WHERE contains(v.Platforms, '|' || p.Platform || '|'));
