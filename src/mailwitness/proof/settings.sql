-- Rules and settings over time. {names} are filled in by settings.py.

-- step: seen
-- IsWhole: a record that something of the kind changed, whatever it was.
-- Every record of a change and every object of a snapshot, in one shape: the union of the families in content/settings.
-- SavedAt is when a file or object says that it was last changed; Plain is the sentence of a setting that is a value.
CREATE OR REPLACE TEMP TABLE seen_settings AS
SELECT Kind, coalesce(Host, '') AS Host, lower(coalesce(Mailbox, '')) AS Mailbox, coalesce(Name, '') AS Name, coalesce(State, 'present') AS State, Definition,
  coalesce(ChangedBy, '') AS ChangedBy, coalesce(Plain, '') AS Plain, coalesce(Traits, '') AS Traits, coalesce(IsWhole, false) AS IsWhole, Source, TimeGenerated, SavedAt, CASE WHEN TimeGenerated IS NULL THEN '' ELSE coalesce(Basis, '') END AS Basis, _Exhibit, _Position
FROM ({union});

-- step: placed
-- An export rarely says when it was taken; a folder or file named after a day does.
UPDATE seen_settings SET TimeGenerated = p.Taken, Basis = 'folder name'
FROM setting_places AS p WHERE seen_settings.Source = 'snapshot' AND seen_settings.TimeGenerated IS NULL AND seen_settings._Exhibit = p.Exhibit AND p.Taken IS NOT NULL;

-- step: timed
UPDATE seen_settings SET Basis = CASE WHEN Basis <> '' THEN Basis WHEN Source = 'record' THEN 'record' WHEN TimeGenerated IS NOT NULL THEN 'snapshot' WHEN SavedAt IS NOT NULL THEN 'saved' ELSE 'none' END,
  TimeGenerated = coalesce(TimeGenerated, SavedAt);

-- step: spelled
-- One record writes "eva" where another writes "eva@contoso.example": the short name stands for the only full one it can mean.
UPDATE seen_settings SET Mailbox = w.Whole
FROM (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Whole FROM seen_settings WHERE contains(Mailbox, '@') GROUP BY 1 HAVING count(DISTINCT Mailbox) = 1) AS w WHERE seen_settings.Mailbox = w.Short;

-- step: named
-- One log writes "mx1" where another writes "mx1.corp.example".
UPDATE seen_settings SET Host = w.Whole
FROM (SELECT split_part(Host, '.', 1) AS Short, max(Host) AS Whole FROM seen_settings WHERE Host <> '' GROUP BY 1 HAVING count(DISTINCT Host) FILTER (contains(Host, '.')) = 1) AS w WHERE seen_settings.Host = w.Short;

-- step: identified
-- Outlook's records name a rule by its number, which a snapshot shows beside the name.
UPDATE seen_settings SET Name = i.Name
FROM (SELECT Kind, Mailbox, Definition ->> '$.RuleIdentity' AS Id, min(Name) AS Name FROM seen_settings WHERE Source = 'snapshot' AND coalesce(Definition ->> '$.RuleIdentity', '') <> '' GROUP BY 1, 2, 3) AS i
WHERE seen_settings.Source = 'record' AND seen_settings.Kind = i.Kind AND seen_settings.Mailbox = i.Mailbox AND seen_settings.Name = i.Id;

-- step: hosted
-- A file that was copied does not say from which host; where the records know only one, it is that one.
UPDATE seen_settings SET Host = h.Host
FROM (SELECT Kind, min(Host) FILTER (Source = 'record') AS Host FROM seen_settings GROUP BY 1 HAVING count(DISTINCT Host) FILTER (Source = 'record' AND Host <> '') = 1 AND count(DISTINCT Host) FILTER (Source = 'snapshot') = 1) AS h
WHERE seen_settings.Source = 'snapshot' AND seen_settings.Kind = h.Kind;

-- step: versions
CREATE OR REPLACE TEMP TABLE setting_versions (
  n BIGINT, TimeGenerated TIMESTAMP, EndTime TIMESTAMP, Kind VARCHAR, Host VARCHAR, Mailbox VARCHAR, Name VARCHAR, State VARCHAR, Does VARCHAR, ChangedBy VARCHAR, Origin VARCHAR, TimeBasis VARCHAR,
  Reason VARCHAR, Traits VARCHAR, NotJudged VARCHAR, Definition VARCHAR, IsTaking BOOLEAN, Condition BIGINT, Platforms VARCHAR, _Exhibit VARCHAR, _Position BIGINT);

-- step: hits
CREATE OR REPLACE TEMP TABLE setting_hits (n BIGINT, Seen BIGINT, Hit BIGINT, Possible BIGINT, Recorded BIGINT, HitMessages JSON, Ledger JSON);

-- step: history
CREATE OR REPLACE TEMP VIEW setting_history AS
SELECT v.TimeGenerated, v.EndTime, v.Kind, v.Host, v.Mailbox, v.Name, v.State, v.Does, v.ChangedBy, v.Origin, v.TimeBasis, v.Reason, v.Traits,
  h.Seen, h.Hit, h.Possible, h.Recorded, h.HitMessages, h.Ledger, CASE WHEN v.IsTaking THEN v.NotJudged ELSE '' END AS NotJudged,
  v.Definition::JSON AS Definition, v._Exhibit, v._Position
FROM setting_versions AS v LEFT JOIN setting_hits AS h USING (n);
