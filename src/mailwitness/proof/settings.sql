-- Rules and settings over time. {names} are literals written by settings.py.

-- step: seen
-- Every record of a change and every object of a snapshot, in one shape.
CREATE OR REPLACE TEMP TABLE seen_settings AS
SELECT TimeGenerated, CASE WHEN Activity LIKE 'InboxRule%' THEN 'inbox rule' WHEN Activity LIKE 'TransportRule%' THEN 'transport rule' WHEN Activity LIKE 'Permission%' THEN 'permission'
    WHEN Activity = 'ForwardingChanged' THEN 'forwarding' WHEN Activity LIKE 'Audit%' THEN 'audit' WHEN Activity LIKE 'Hold%' THEN 'hold' ELSE 'retention' END AS Kind,
  CASE WHEN Activity LIKE 'TransportRule%' THEN '' ELSE lower(Mailbox) END AS Mailbox,
  CASE WHEN Activity LIKE '%Rule%' THEN regexp_replace(coalesce(nullif(ObjectName, ''), Parameters ->> '$.Name', ''), '^.*\\', '') ELSE coalesce(nullif(Setting, ''), ObjectName) END AS Name,
  CASE WHEN Activity LIKE '%Removed' THEN 'removed' WHEN Activity LIKE '%Disabled' THEN 'disabled' WHEN Activity LIKE '%Created' OR Activity LIKE '%Granted' THEN 'present' ELSE 'changed' END AS State,
  Parameters AS Definition, Actor AS ChangedBy, 'record' AS Source, CASE WHEN Setting <> '' THEN Setting || ' is now ' || coalesce(nullif(SettingAfter, ''), 'empty') ELSE '' END AS Plain, _Exhibit, _Position
FROM MailboxActivity WHERE Activity IN ({activities}) AND ActivityResult <> 'Failed' AND TimeGenerated IS NOT NULL
UNION ALL
SELECT TimeGenerated, CASE Kind WHEN 'TransportRule' THEN 'transport rule' ELSE 'inbox rule' END, CASE Kind WHEN 'TransportRule' THEN '' ELSE lower(Mailbox) END, Name,
  CASE WHEN Enabled = false THEN 'disabled' ELSE 'present' END, Settings, '', 'snapshot', '', _Exhibit, _Position
FROM SettingsSnapshot WHERE Kind IN ('InboxRule', 'MessageRule', 'TransportRule') AND TimeGenerated IS NOT NULL AND Name <> '';

-- step: spelled
-- One record writes "eva" where another writes "eva@contoso.example": the short name stands for the only full one it can mean.
UPDATE seen_settings SET Mailbox = w.Whole
FROM (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Whole FROM seen_settings WHERE contains(Mailbox, '@') GROUP BY 1 HAVING count(DISTINCT Mailbox) = 1) AS w WHERE seen_settings.Mailbox = w.Short;

-- step: unexplained
-- What a later snapshot of the same kind and mailbox shows and an earlier one does not, or the other way round, without a record in between.
CREATE OR REPLACE TEMP TABLE unexplained_settings AS
WITH taken AS (SELECT DISTINCT Kind, Mailbox, TimeGenerated AS T FROM seen_settings WHERE Source = 'snapshot'),
  steps AS (SELECT *, lag(T) OVER (PARTITION BY Kind, Mailbox ORDER BY T) AS Before FROM taken),
  shown AS (SELECT DISTINCT Kind, Mailbox, Name, TimeGenerated AS T FROM seen_settings WHERE Source = 'snapshot'),
  told AS (SELECT Kind, Mailbox, lower(Name) AS Name, TimeGenerated FROM seen_settings WHERE Source = 'record'),
  came AS (SELECT s.Kind, s.Mailbox, s.Name, p.T, p.Before, 'present' AS State FROM shown AS s JOIN steps AS p USING (Kind, Mailbox, T)
    WHERE p.Before IS NOT NULL AND NOT EXISTS (SELECT 1 FROM shown AS o WHERE o.Kind = s.Kind AND o.Mailbox = s.Mailbox AND o.Name = s.Name AND o.T = p.Before)),
  went AS (SELECT s.Kind, s.Mailbox, s.Name, p.T, p.Before, 'removed' AS State FROM shown AS s JOIN steps AS p ON s.Kind = p.Kind AND s.Mailbox = p.Mailbox AND s.T = p.Before
    WHERE NOT EXISTS (SELECT 1 FROM shown AS o WHERE o.Kind = s.Kind AND o.Mailbox = s.Mailbox AND o.Name = s.Name AND o.T = p.T))
SELECT * FROM (SELECT * FROM came UNION ALL SELECT * FROM went) AS u
WHERE NOT EXISTS (SELECT 1 FROM told AS t WHERE t.Kind = u.Kind AND (t.Mailbox = u.Mailbox OR t.Mailbox = split_part(u.Mailbox, '@', 1)) AND t.Name = lower(u.Name)
  AND t.TimeGenerated > u.Before AND t.TimeGenerated <= u.T);

-- step: versions
CREATE OR REPLACE TEMP TABLE setting_versions AS
WITH firsts AS (
  -- A snapshot that shows what is known already is no new version.
  SELECT * FROM seen_settings WHERE Source = 'snapshot'
  QUALIFY row_number() OVER (PARTITION BY Kind, Mailbox, Name, State, CAST(Definition AS VARCHAR) ORDER BY TimeGenerated) = 1),
gone AS (
  SELECT u.T AS TimeGenerated, u.Kind, u.Mailbox, u.Name, 'removed' AS State, NULL::JSON AS Definition, '' AS ChangedBy, 'snapshot' AS Source, '' AS Plain, s._Exhibit, s._Position
  FROM unexplained_settings AS u JOIN (SELECT Kind, Mailbox, Name, max({e: _Exhibit, p: _Position}) AS w, max(TimeGenerated) FILTER (true) AS t, any_value(_Exhibit) AS _Exhibit, min(_Position) AS _Position
    FROM seen_settings WHERE Source = 'snapshot' GROUP BY 1, 2, 3) AS s ON u.Kind = s.Kind AND u.Mailbox = s.Mailbox AND u.Name = s.Name WHERE u.State = 'removed'),
every AS (SELECT * FROM seen_settings WHERE Source = 'record' UNION ALL SELECT * FROM firsts UNION ALL SELECT * FROM gone)
SELECT row_number() OVER (ORDER BY e.TimeGenerated, e.Kind, e.Mailbox, e.Name, e.Source, e._Exhibit, e._Position) AS n, e.*,
  lead(e.TimeGenerated) OVER (PARTITION BY e.Kind, e.Mailbox, lower(e.Name) ORDER BY e.TimeGenerated, e._Exhibit, e._Position) AS EndTime,
  CASE WHEN e.Source = 'record' THEN 'record' WHEN u.T IS NOT NULL THEN 'unexplained' ELSE 'snapshot' END AS Origin,
  CASE WHEN u.State = 'present' THEN 'It is in the snapshot of ' || strftime(u.T, '%Y-%m-%d %H:%M:%S') || ', not in the one of ' || strftime(u.Before, '%Y-%m-%d %H:%M:%S') || ', and no record says who made it.'
    WHEN u.State = 'removed' THEN 'It is in the snapshot of ' || strftime(u.Before, '%Y-%m-%d %H:%M:%S') || ', not in the one of ' || strftime(u.T, '%Y-%m-%d %H:%M:%S') || ', and no record says who removed it.' ELSE '' END AS Reason
FROM every AS e LEFT JOIN unexplained_settings AS u
  ON e.Source = 'snapshot' AND e.Kind = u.Kind AND e.Mailbox = u.Mailbox AND e.Name = u.Name AND e.TimeGenerated = u.T AND (u.State = 'removed') = (e.State = 'removed');

-- step: parts
-- What the parameters of a version do, one row for each; lists of an audit record are separated by semicolons, those of a snapshot are arrays.
CREATE OR REPLACE TEMP TABLE setting_parts AS
SELECT v.n, w.part, w.phrase, w.place, list_filter(list_transform(string_split_regex(trim(v.Definition ->> ('$.' || w.member), '[]'), '[;,]\s*'), lambda x: trim(x, ' "''')), lambda x: x <> '') AS Words
FROM setting_versions AS v, setting_words AS w
WHERE v.Definition IS NOT NULL AND lower(coalesce(v.Definition ->> ('$.' || w.member), '')) NOT IN ('', 'false', '$false', 'null', '[]', '{}')
UNION ALL
-- A condition that no phrase is known for still narrows the rule: it must not count as a rule for every message.
SELECT n, 'other', 'with ' || k || ' {value}', 1000, [left(Definition ->> ('$."' || k || '"'), 300)]
FROM (SELECT n, Definition, unnest(json_keys(Definition)) AS k FROM setting_versions WHERE Definition IS NOT NULL AND Kind LIKE '%rule')
WHERE regexp_matches(k, '^(?:ExceptIf|From|Sent|Received|Has|Sender|Recipient|AnyOf|Manager|Subject|Header|Message(?:Type|Contains|Size)|.*(?:Contains|Matches|Scope|Domain|Attachment|MemberOf|Importance|Classification|Range|MyName|Conditions?$))')
  AND k NOT IN (SELECT member FROM setting_words) AND NOT contains(k, '"')
  AND lower(coalesce(Definition ->> ('$."' || k || '"'), '')) NOT IN ('', 'false', '$false', 'null', '[]', '{}');

-- step: told
CREATE OR REPLACE TEMP TABLE setting_told AS
SELECT n, string_agg(replace(phrase, '{value}', left(array_to_string(Words, ' or '), 300)), ', ' ORDER BY place) FILTER (part IN ('destroys', 'hides', 'strips', 'does')) AS Acts,
  string_agg(replace(phrase, '{value}', left(array_to_string(Words, ' or '), 300)), ' and ' ORDER BY place) FILTER (part IN ('subject', 'sender', 'other')) AS Conditions,
  string_agg(replace(phrase, '{value}', left(array_to_string(Words, ' or '), 300)), ' and ' ORDER BY place) FILTER (part = 'other') AS NotJudged,
  bool_or(part IN ('destroys', 'hides', 'strips')) AS Hides,
  flatten(list(list_transform(Words, lambda x: lower(x))) FILTER (part = 'subject')) AS Subjects, flatten(list(list_transform(Words, lambda x: lower(x))) FILTER (part = 'sender')) AS Senders
FROM setting_parts GROUP BY n;

-- step: hits
CREATE OR REPLACE TEMP TABLE setting_hits AS
SELECT v.n, count(*) AS Hit, list({t: m.TimeGenerated, m: m.InternetMessageId, s: m.Subject, f: m.SenderFromAddress, r: m.RecipientEmailAddress} ORDER BY m.TimeGenerated, m.InternetMessageId)[:50] AS HitMessages
FROM setting_versions AS v JOIN setting_told AS t USING (n) JOIN EmailEvents AS m
  ON m.TimeGenerated >= v.TimeGenerated AND (v.EndTime IS NULL OR m.TimeGenerated < v.EndTime)
  AND (v.Mailbox = '' OR lower(m.RecipientEmailAddress) = v.Mailbox OR split_part(lower(m.RecipientEmailAddress), '@', 1) = v.Mailbox)
WHERE t.Hides AND v.State IN ('present', 'changed') AND v.Kind IN ('inbox rule', 'transport rule') AND (t.Subjects IS NOT NULL OR t.Senders IS NOT NULL OR (t.Conditions IS NULL AND v.State = 'present'))
  AND (t.Subjects IS NULL OR len(list_filter(t.Subjects, lambda x: contains(lower(m.Subject), x))) > 0)
  AND (t.Senders IS NULL OR len(list_filter(t.Senders, lambda x: contains(lower(m.SenderFromAddress), x))) > 0)
GROUP BY v.n;

-- step: history
CREATE OR REPLACE TEMP VIEW setting_history AS
SELECT v.TimeGenerated, v.EndTime, v.Kind, v.Mailbox, v.Name, v.State,
  CASE WHEN v.State = 'removed' THEN '' WHEN t.Acts IS NOT NULL THEN t.Acts || coalesce(' ' || t.Conditions, CASE WHEN v.Kind LIKE '%rule' AND v.State = 'present' THEN ' whatever it is' END, '') ELSE v.Plain END AS Does,
  v.ChangedBy, v.Origin, v.Reason, CASE WHEN {has_trace} AND coalesce(t.Hides, false) AND (t.Subjects IS NOT NULL OR t.Senders IS NOT NULL OR (t.Conditions IS NULL AND v.State = 'present')) THEN coalesce(h.Hit, 0) END AS Hit, to_json(h.HitMessages) AS HitMessages,
  CASE WHEN coalesce(t.Hides, false) THEN coalesce(t.NotJudged, '') ELSE '' END AS NotJudged,
  v.Definition, v._Exhibit, v._Position
FROM setting_versions AS v LEFT JOIN setting_told AS t USING (n) LEFT JOIN setting_hits AS h USING (n);
