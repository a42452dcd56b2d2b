-- The message ledger as set-based steps: here what is asked of all records together, in ledger_part.sql what is asked of each message.
-- Each step is one statement; {names} are file paths and literals written by ledger.py.
-- A slot is a number made of the key: a part of the ledger takes some slots at a time. Rows without a message id have none (-1) until their key is known.

-- step: evidence
-- Most ids are plain: in angle brackets, in lower case. Those need no repair, and are not stored a second time as written.
COPY (
  -- The transport gives a message without an id one of its own.
  SELECT * REPLACE (CASE WHEN Key = '' AND ItemId = '' THEN NetworkId ELSE ItemId END AS ItemId), {slot} AS Slot FROM (
  SELECT TimeGenerated, lower(trim(coalesce(Mailbox, ''))) AS Mailbox, CASE WHEN IsPlain THEN MessageId[2:-2] ELSE mw_message_key(MessageId) END AS Key,
    CASE WHEN IsPlain OR MessageId = '<' || mw_message_key(MessageId) || '>' THEN '' ELSE coalesce(MessageId, '') END AS MessageId,
    coalesce(ItemId, '') AS ItemId, coalesce(NetworkId, '') AS NetworkId, coalesce(PerFolder, false) AS PerFolder,
    lower(trim(coalesce(Folder, ''), '\')) AS Folder, lower(trim(coalesce(ToFolder, ''), '\')) AS ToFolder,
    What, Proof, coalesce(Activity, '') AS Activity,
    -- The unit separator divides texts further down, so none may hold it.
    replace(coalesce(Actor, ''), chr(31), '') AS Actor, replace(coalesce(Session, ''), chr(31), '') AS Session,
    replace(coalesce(ClientIP, ''), chr(31), '') AS ClientIP, coalesce(Subject, '') AS Subject, SizeBytes, coalesce(Platform, '') AS Platform,
    coalesce(_Exhibit, '') AS Exhibit, coalesce(_Position, 0) AS Position
  FROM (SELECT *, regexp_full_match(MessageId, '<[!-;=?@\[-~]+>') AND length(MessageId) <= 998 AS IsPlain FROM ({union}))
  WHERE TimeGenerated IS NOT NULL)
) TO {evidence} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: listings
-- What stores and listings of the present hold. A Maildir is many exhibits but one store, so its root names the listing. A spool file names its mailbox.
COPY (
  WITH raw AS (
    -- Plain digests are salted like those of the case's snapshots, so that both can be compared.
    SELECT p.* REPLACE (CASE WHEN p.DigestSalt = '' AND p.HeaderDigest <> '' AND z.Salt IS NOT NULL THEN sha256(z.Salt || ':' || p.HeaderDigest) ELSE p.HeaderDigest END AS HeaderDigest,
      CASE WHEN p.DigestSalt = '' AND p.BodyDigest <> '' AND z.Salt IS NOT NULL THEN sha256(z.Salt || ':' || p.BodyDigest) ELSE p.BodyDigest END AS BodyDigest,
      coalesce(nullif(p.DigestSalt, ''), z.Salt, '') AS DigestSalt), coalesce(x.Path, '') AS File FROM (SELECT min(DigestSalt) FILTER (DigestSalt <> '') AS Salt FROM PresentMessage) AS z, PresentMessage AS p LEFT JOIN exhibits AS x ON p._Exhibit = x.Id),
  placed AS (
    SELECT *, CASE WHEN Path <> '' THEN Path ELSE File END AS Place,
      StoreKind = 'mbox' AND regexp_matches(CASE WHEN Path <> '' THEN Path ELSE File END, '(?:^|/)(?:var/)?(?:spool/)?mail/[^/]+$') AS IsSpool FROM raw),
  named AS (
    SELECT *, lower(trim(CASE WHEN Mailbox <> '' THEN Mailbox WHEN IsSpool THEN regexp_extract(Place, '([^/]+)$', 1) ELSE '' END)) AS Box FROM placed)
  SELECT *, {slot} AS Slot FROM (
  SELECT coalesce(nullif(n.Box, ''), o.Name, '') AS Mailbox,
    CASE WHEN Snapshot <> '' THEN _Exhibit WHEN StoreKind = 'maildir' THEN 'maildir ' || regexp_replace(Place, '/(?:\.[^/]+/)*(?:cur|new|tmp)/[^/]+$', '')
      WHEN StoreKind = 'mbox' THEN 'mbox ' || regexp_replace(Place, '/[^/]+$', '') ELSE _Exhibit END AS Listing,
    StoreKind, IsSpool, CASE WHEN IsSpool THEN 'inbox' ELSE lower(trim(Folder, '\/')) END AS Folder, mw_message_key(MessageId) AS Key, MessageId, coalesce(Uid, '') AS ItemId,
    Subject, SizeBytes, StatedSizeBytes, HeaderDigest, BodyDigest, DigestSalt || StoreKind AS Scale, coalesce(IsDeleted, false) AS IsDeleted, coalesce(ItemCount, 1) AS ItemCount,
    -- least() passes over nulls, and a listing without a time must stay one. A time of the future is a forgery or a wrong clock.
    CASE WHEN ListedAt IS NOT NULL THEN least(ListedAt, {now}) END AS ListedAt, CASE WHEN TimeGenerated IS NOT NULL THEN least(TimeGenerated, {now}) END AS ArrivedAt, _Exhibit AS Exhibit, _Position AS Position
  FROM named AS n LEFT JOIN owners AS o ON n.Box = '' AND n._Exhibit = o.Exhibit)
) TO {listed} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: names
-- A host logs "eva" where the transport logs "eva@contoso.example": the short name stands for the only full one it can mean.
CREATE OR REPLACE TEMP TABLE mailbox_names AS
WITH known AS (SELECT DISTINCT Mailbox FROM read_parquet({evidence}) UNION SELECT DISTINCT Mailbox FROM read_parquet({listed})),
  spelled AS (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Whole FROM known WHERE contains(Mailbox, '@') GROUP BY 1 HAVING count(*) = 1)
SELECT k.Mailbox AS Short, s.Whole FROM known AS k JOIN spelled AS s ON k.Mailbox = s.Short WHERE k.Mailbox <> '' AND NOT contains(k.Mailbox, '@');

-- step: links
-- An id of the store stands for a message id when it was never seen with another one. Only ids of rows without a message id are looked up.
CREATE OR REPLACE TEMP TABLE item_links AS
WITH wanted AS (
  SELECT coalesce(m.Whole, e.Mailbox) AS Mailbox, CASE WHEN PerFolder THEN Folder || '/' || ItemId ELSE ItemId END AS Link
  FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short WHERE Slot = -1 AND ItemId <> ''
  UNION SELECT coalesce(m.Whole, p.Mailbox), unnest([Folder || '/' || ItemId, ItemId])
  FROM read_parquet({listed}) AS p LEFT JOIN mailbox_names AS m ON p.Mailbox = m.Short WHERE Slot = -1 AND ItemId <> ''),
named AS (
  SELECT coalesce(m.Whole, e.Mailbox) AS Mailbox, CASE WHEN PerFolder THEN Folder || '/' || ItemId ELSE ItemId END AS Link, Key
  FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
  WHERE ItemId <> '' AND Key <> '' AND What <> 'moved')
SELECT Mailbox, Link, min(Key) AS Key FROM named SEMI JOIN wanted USING (Mailbox, Link) GROUP BY 1, 2 HAVING min(Key) = max(Key);

-- step: homes
-- A record that does not say whose mailbox it speaks of belongs to the only mailbox that has the message.
CREATE OR REPLACE TEMP TABLE homes AS
SELECT Key, min(Mailbox) AS Mailbox FROM (
  SELECT DISTINCT Key, coalesce(m.Whole, e.Mailbox) AS Mailbox FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
  WHERE e.Mailbox <> '' AND Key IN (SELECT DISTINCT Key FROM read_parquet({evidence}) WHERE Mailbox = '' AND Key <> ''))
GROUP BY 1 HAVING count(*) = 1;

-- step: known_as
-- A mail log shortens and rewrites ids, and a listing has them as they are. What a log's id stands for in a mailbox, or that it can stand for several.
CREATE OR REPLACE TEMP TABLE known_as AS
WITH whole AS (
  SELECT Mailbox, Key, MessageId FROM read_parquet({listed}) WHERE Key <> ''
  UNION ALL SELECT Mailbox, Key, CASE WHEN MessageId = '' THEN '<' || Key || '>' ELSE MessageId END FROM read_parquet({evidence})
  WHERE Proof <> 'mail log' AND Key <> '' AND (MessageId <> '' OR length(Key) > 78)),
odd AS (
  SELECT DISTINCT coalesce(m.Whole, w.Mailbox) AS Mailbox, mw_message_key(mw_logged_id(MessageId)) AS Alias, Key
  FROM whole AS w LEFT JOIN mailbox_names AS m ON w.Mailbox = m.Short WHERE mw_is_odd_id(MessageId)),
logged AS (
  SELECT coalesce(m.Whole, e.Mailbox) AS Mailbox, Key AS Alias FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short WHERE Proof = 'mail log' AND Key <> ''),
linked AS (FROM odd SEMI JOIN logged USING (Mailbox, Alias) WHERE Alias <> Key),
-- What a listing has under the very id of the log is what the log means.
exact AS (
  SELECT coalesce(m.Whole, p.Mailbox) AS Mailbox, Key AS Alias FROM read_parquet({listed}) AS p LEFT JOIN mailbox_names AS m ON p.Mailbox = m.Short WHERE Key IN (SELECT Alias FROM linked))
SELECT Mailbox, Alias, min(Key) AS Key, min(Key) <> max(Key) AS IsSeveral FROM linked ANTI JOIN exact USING (Mailbox, Alias) GROUP BY 1, 2;

-- step: keyed
CREATE OR REPLACE TEMP VIEW keyed AS
SELECT * REPLACE (CASE WHEN IsFound THEN {slot} ELSE Slot END AS Slot) FROM (
  SELECT e.* REPLACE (coalesce(m.Whole, nullif(e.Mailbox, ''), h.Mailbox, '') AS Mailbox, CASE WHEN a.Key IS NULL THEN e.MessageId ELSE '' END AS MessageId,
      CASE WHEN a.Key IS NOT NULL THEN a.Key WHEN e.Key <> '' THEN e.Key WHEN l.Key IS NOT NULL THEN l.Key
        WHEN e.ItemId <> '' THEN 'item ' || CASE WHEN PerFolder THEN e.Folder || '/' ELSE '' END || e.ItemId ELSE '' END AS Key),
    e.Slot AS FirstSlot, e.Slot = -1 OR a.Key IS NOT NULL AS IsFound
  FROM read_parquet({evidence}) AS e
    LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
    LEFT JOIN homes AS h ON e.Mailbox = '' AND e.Key = h.Key
    LEFT JOIN (SELECT Mailbox, Alias, Key FROM known_as WHERE NOT IsSeveral) AS a ON a.Mailbox = coalesce(m.Whole, e.Mailbox) AND a.Alias = e.Key AND e.Proof = 'mail log'
    -- No row with a message id may find a link: a join by the mailbox alone would pair all of its messages with all of its links.
    LEFT JOIN item_links AS l ON l.Mailbox = coalesce(m.Whole, e.Mailbox)
      AND l.Link = CASE WHEN e.Key = '' AND e.ItemId <> '' THEN CASE WHEN PerFolder THEN e.Folder || '/' ELSE '' END || e.ItemId END);

-- step: present
CREATE OR REPLACE TEMP VIEW present AS
SELECT * REPLACE (CASE WHEN Slot = -1 THEN {slot} ELSE Slot END AS Slot) FROM (
SELECT p.* REPLACE (coalesce(m.Whole, nullif(p.Mailbox, ''), h.Mailbox, '') AS Mailbox,
    CASE WHEN p.Key <> '' THEN p.Key WHEN f.Key IS NOT NULL THEN f.Key WHEN l.Key IS NOT NULL THEN l.Key
      ELSE 'description ' || md5(concat_ws('|', p.Subject, CAST(p.SizeBytes AS VARCHAR), CAST(p.ArrivedAt AS VARCHAR))) END AS Key), p.Slot AS FirstSlot
FROM read_parquet({listed}) AS p
  LEFT JOIN mailbox_names AS m ON p.Mailbox = m.Short
  LEFT JOIN homes AS h ON p.Mailbox = '' AND p.Key = h.Key
  LEFT JOIN item_links AS f ON f.Mailbox = coalesce(m.Whole, p.Mailbox) AND f.Link = CASE WHEN p.Key = '' AND p.ItemId <> '' THEN p.Folder || '/' || p.ItemId END
  LEFT JOIN item_links AS l ON l.Mailbox = coalesce(m.Whole, p.Mailbox) AND l.Link = CASE WHEN p.Key = '' AND p.ItemId <> '' THEN p.ItemId END);

-- step: scopes
-- What a listing covers. Single exported messages cover nothing. A listing is of a whole mailbox when the store is one by nature, when folder statistics say
-- which folders there are, or when it names at least two folders; a listing of one folder only speaks of that folder.
-- Its time is what the store says, else the newest arrival in it: a message that came later cannot be missed in it.
CREATE OR REPLACE TEMP TABLE scopes AS
WITH counted AS (
  SELECT Mailbox, Listing, min(StoreKind) AS StoreKind, bool_or(IsSpool) AS IsSpool, count(DISTINCT Folder) AS Folders, max(ListedAt) AS StatedAt,
    max(ArrivedAt) FILTER (StoreKind IN ('doveadm', 'graph', 'gmail', 'pst', 'envelope index')) AS NewestAt, list_sort(list(DISTINCT Folder)) AS FolderNames,
    sum(ItemCount) AS Messages, bool_or(starts_with(Key, 'description ')) AS HasUnnamed
  FROM present WHERE Mailbox <> '' AND StoreKind NOT IN ('eml', 'emlx', 'msg', 'folder statistics') GROUP BY 1, 2
  UNION ALL SELECT coalesce(m.Whole, e.Mailbox), Exhibit, 'mbox', true, 1, ListedAt, NULL, ['inbox'], 0, false FROM empty_stores AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short),
stated AS (
  SELECT Mailbox, bool_and(ItemCount = 0 OR Folder IN (SELECT f.Folder FROM present AS f WHERE f.Mailbox = s.Mailbox AND f.StoreKind <> 'folder statistics')) AS Covered, max(ListedAt) AS At
  FROM present AS s WHERE StoreKind = 'folder statistics' AND Mailbox <> '' GROUP BY 1)
SELECT c.Mailbox, Listing, FolderNames, Messages,
  coalesce(StatedAt, NewestAt) AS Bound,
  IsSpool OR StoreKind IN ('maildir', 'pst', 'envelope index', 'gmail', 'imap') OR Folders >= 2 OR coalesce(Covered, false) AS IsWhole, HasUnnamed
FROM counted AS c LEFT JOIN stated AS s ON c.Mailbox = s.Mailbox
UNION ALL
-- Folder statistics that count nothing at all are a listing of an empty mailbox.
SELECT Mailbox, min(Exhibit), list_sort(list(DISTINCT Folder)), 0, max(ListedAt), true, false FROM present
WHERE StoreKind = 'folder statistics' AND Mailbox <> '' GROUP BY Mailbox HAVING sum(ItemCount) = 0;

-- step: boxes
-- For each mailbox: the newest listing of the whole, folders that a partial listing covers, and the period in which deliveries are proved.
CREATE OR REPLACE TEMP TABLE boxes AS
WITH whole AS (SELECT Mailbox, max({b: Bound, l: Listing, u: HasUnnamed}) AS w, count(*) AS n FROM scopes WHERE IsWhole AND Bound IS NOT NULL GROUP BY 1),
  timeless AS (SELECT Mailbox, min(Listing) AS Listing FROM scopes WHERE IsWhole AND Bound IS NULL GROUP BY 1),
  part AS (SELECT Mailbox, flatten(list(FolderNames)) AS Folders, max(Bound) AS Bound FROM scopes WHERE NOT IsWhole GROUP BY 1),
  arrivals AS (SELECT Mailbox, min(TimeGenerated) AS FirstAt, max(TimeGenerated) AS LastAt, count(*) AS n FROM keyed WHERE What IN ('delivered', 'saved') AND Mailbox <> '' GROUP BY 1),
  every AS (SELECT Mailbox FROM whole UNION SELECT Mailbox FROM timeless UNION SELECT Mailbox FROM part UNION SELECT Mailbox FROM arrivals)
SELECT every.Mailbox, w.b AS WholeAt, w.l AS WholeListing, coalesce(w.u, false) AS HasUnnamed, timeless.Listing AS TimelessListing, part.Folders AS PartFolders, part.Bound AS PartAt,
  arrivals.FirstAt AS DeliveriesFrom, arrivals.LastAt AS DeliveriesTo
FROM every LEFT JOIN whole USING (Mailbox) LEFT JOIN timeless USING (Mailbox) LEFT JOIN part USING (Mailbox) LEFT JOIN arrivals USING (Mailbox);

-- step: acts
-- Acts that name no message; one of them may be how a message went.
CREATE OR REPLACE TEMP TABLE acts AS
SELECT Mailbox, TimeGenerated, Activity, Actor, Session, ClientIP, Folder, Exhibit, Position FROM keyed WHERE What = 'act' AND Mailbox <> ''
  -- A message without any id came or was looked at: that is not how another one went.
  AND Activity NOT IN ('Delivered', 'Sent', 'Created', 'Copied', 'Updated', 'Restored', 'MessageRecalled');

-- step: missed
-- What the witness held and a comparison with its host did not find, or found otherwise.
CREATE OR REPLACE TEMP TABLE missed AS
SELECT Mailbox, Key, max(TimeGenerated) FILTER (What = 'missed') AS MissedAt, max(TimeGenerated) FILTER (What = 'altered') AS RewrittenAt
FROM keyed WHERE Proof = 'witness' AND What IN ('missed', 'altered') AND Key <> '' GROUP BY 1, 2;
