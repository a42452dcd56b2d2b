-- The message ledger as set-based steps over Parquet files. Each step is one statement; {names} are file paths and literals written by ledger.py.
-- Columns that a proof may yield; those it leaves out are empty here.

-- step: evidence
COPY (
  SELECT TimeGenerated, lower(trim(coalesce(Mailbox, ''))) AS Mailbox, mw_message_key(MessageId) AS Key, -- The id as written only where it is not the key in angle brackets, which most are: a million ids need not be stored twice.
    CASE WHEN MessageId = '<' || mw_message_key(MessageId) || '>' THEN '' ELSE coalesce(MessageId, '') END AS MessageId,
    coalesce(ItemId, '') AS ItemId, coalesce(NetworkId, '') AS NetworkId, coalesce(PerFolder, false) AS PerFolder,
    lower(trim(coalesce(Folder, ''), '\')) AS Folder, lower(trim(coalesce(ToFolder, ''), '\')) AS ToFolder,
    What, Proof, coalesce(Activity, '') AS Activity,
    -- The unit separator divides texts further down, so none may hold it.
    replace(coalesce(Actor, ''), chr(31), '') AS Actor, replace(coalesce(Session, ''), chr(31), '') AS Session,
    replace(coalesce(ClientIP, ''), chr(31), '') AS ClientIP, coalesce(Subject, '') AS Subject, SizeBytes, coalesce(Platform, '') AS Platform,
    coalesce(_Exhibit, '') AS Exhibit, coalesce(_Position, 0) AS Position
  FROM ({union})
  WHERE TimeGenerated IS NOT NULL
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
  SELECT coalesce(nullif(n.Box, ''), o.Name, '') AS Mailbox,
    CASE WHEN Snapshot <> '' THEN _Exhibit WHEN StoreKind = 'maildir' THEN 'maildir ' || regexp_replace(Place, '/(?:\.[^/]+/)*(?:cur|new|tmp)/[^/]+$', '')
      WHEN StoreKind = 'mbox' THEN 'mbox ' || regexp_replace(Place, '/[^/]+$', '') ELSE _Exhibit END AS Listing,
    StoreKind, IsSpool, CASE WHEN IsSpool THEN 'inbox' ELSE lower(trim(Folder, '\/')) END AS Folder, mw_message_key(MessageId) AS Key, MessageId, coalesce(Uid, '') AS ItemId,
    Subject, SizeBytes, StatedSizeBytes, HeaderDigest, BodyDigest, DigestSalt || StoreKind AS Scale, coalesce(IsDeleted, false) AS IsDeleted, coalesce(ItemCount, 1) AS ItemCount,
    -- least() passes over nulls, and a listing without a time must stay one. A time of the future is a forgery or a wrong clock.
    CASE WHEN ListedAt IS NOT NULL THEN least(ListedAt, {now}) END AS ListedAt, CASE WHEN TimeGenerated IS NOT NULL THEN least(TimeGenerated, {now}) END AS ArrivedAt, _Exhibit AS Exhibit, _Position AS Position
  FROM named AS n LEFT JOIN owners AS o ON n.Box = '' AND n._Exhibit = o.Exhibit
) TO {listed} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: names
-- A host logs "eva" where the transport logs "eva@contoso.example": the short name stands for the only full one it can mean.
CREATE OR REPLACE TEMP TABLE mailbox_names AS
WITH known AS (SELECT DISTINCT Mailbox FROM read_parquet({evidence}) UNION SELECT DISTINCT Mailbox FROM read_parquet({listed})),
  spelled AS (SELECT split_part(Mailbox, '@', 1) AS Short, min(Mailbox) AS Whole FROM known WHERE contains(Mailbox, '@') GROUP BY 1 HAVING count(*) = 1)
SELECT k.Mailbox AS Short, s.Whole FROM known AS k JOIN spelled AS s ON k.Mailbox = s.Short WHERE k.Mailbox <> '' AND NOT contains(k.Mailbox, '@');

-- step: links
-- An id of the store stands for a message id when it was never seen with another one.
CREATE OR REPLACE TEMP TABLE item_links AS
SELECT Mailbox, Link, min(Key) AS Key FROM (
  SELECT coalesce(m.Whole, e.Mailbox) AS Mailbox, CASE WHEN PerFolder THEN Folder || '/' || ItemId ELSE ItemId END AS Link, Key
  FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
  WHERE ItemId <> '' AND Key <> '' AND What <> 'moved')
GROUP BY 1, 2 HAVING count(DISTINCT Key) = 1;

-- step: homes
-- A record that does not say whose mailbox it speaks of belongs to the only mailbox that has the message.
CREATE OR REPLACE TEMP TABLE homes AS
SELECT Key, min(Mailbox) AS Mailbox FROM (
  SELECT DISTINCT Key, coalesce(m.Whole, e.Mailbox) AS Mailbox FROM read_parquet({evidence}) AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
  WHERE e.Mailbox <> '' AND Key IN (SELECT DISTINCT Key FROM read_parquet({evidence}) WHERE Mailbox = '' AND Key <> ''))
GROUP BY 1 HAVING count(*) = 1;

-- step: keyed
CREATE OR REPLACE TEMP VIEW keyed AS
SELECT e.* REPLACE (coalesce(m.Whole, nullif(e.Mailbox, ''), h.Mailbox, '') AS Mailbox,
    CASE WHEN e.Key <> '' THEN e.Key WHEN l.Key IS NOT NULL THEN l.Key WHEN e.ItemId <> '' THEN 'item ' || CASE WHEN PerFolder THEN e.Folder || '/' ELSE '' END || e.ItemId ELSE '' END AS Key)
FROM read_parquet({evidence}) AS e
  LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short
  LEFT JOIN homes AS h ON e.Mailbox = '' AND e.Key = h.Key
  LEFT JOIN item_links AS l ON e.Key = '' AND e.ItemId <> '' AND l.Mailbox = coalesce(m.Whole, e.Mailbox)
    AND l.Link = CASE WHEN PerFolder THEN e.Folder || '/' || e.ItemId ELSE e.ItemId END;

-- step: present
CREATE OR REPLACE TEMP VIEW present AS
SELECT p.* REPLACE (coalesce(m.Whole, nullif(p.Mailbox, ''), h.Mailbox, '') AS Mailbox,
    CASE WHEN p.Key <> '' THEN p.Key WHEN l.Key IS NOT NULL THEN l.Key
      ELSE 'description ' || md5(concat_ws('|', p.Subject, CAST(p.SizeBytes AS VARCHAR), CAST(p.ArrivedAt AS VARCHAR))) END AS Key)
FROM read_parquet({listed}) AS p
  LEFT JOIN mailbox_names AS m ON p.Mailbox = m.Short
  LEFT JOIN homes AS h ON p.Mailbox = '' AND p.Key = h.Key
  LEFT JOIN item_links AS l ON p.Key = '' AND p.ItemId <> '' AND l.Mailbox = coalesce(m.Whole, p.Mailbox) AND l.Link IN (p.Folder || '/' || p.ItemId, p.ItemId);

-- step: scopes
-- What a listing covers. Single exported messages cover nothing. A listing is of a whole mailbox when the store is one by nature, when folder statistics say
-- which folders there are, or when it names at least two folders; a listing of one folder only speaks of that folder.
-- Its time is what the store says, else the newest arrival in it: a message that came later cannot be missed in it.
CREATE OR REPLACE TEMP TABLE scopes AS
WITH counted AS (
  SELECT Mailbox, Listing, min(StoreKind) AS StoreKind, bool_or(IsSpool) AS IsSpool, count(DISTINCT Folder) AS Folders, max(ListedAt) AS StatedAt,
    max(ArrivedAt) FILTER (StoreKind IN ('doveadm', 'graph', 'gmail', 'pst', 'envelope index')) AS NewestAt, list_sort(list(DISTINCT Folder)) AS FolderNames,
    sum(ItemCount) AS Messages
  FROM present WHERE Mailbox <> '' AND StoreKind NOT IN ('eml', 'emlx', 'msg', 'folder statistics') GROUP BY 1, 2
  UNION ALL SELECT coalesce(m.Whole, e.Mailbox), Exhibit, 'mbox', true, 1, ListedAt, NULL, ['inbox'], 0 FROM empty_stores AS e LEFT JOIN mailbox_names AS m ON e.Mailbox = m.Short),
stated AS (
  SELECT Mailbox, bool_and(ItemCount = 0 OR Folder IN (SELECT f.Folder FROM present AS f WHERE f.Mailbox = s.Mailbox AND f.StoreKind <> 'folder statistics')) AS Covered, max(ListedAt) AS At
  FROM present AS s WHERE StoreKind = 'folder statistics' AND Mailbox <> '' GROUP BY 1)
SELECT c.Mailbox, Listing, FolderNames, Messages,
  coalesce(StatedAt, NewestAt) AS Bound,
  IsSpool OR StoreKind IN ('maildir', 'pst', 'envelope index', 'gmail', 'imap') OR Folders >= 2 OR coalesce(Covered, false) AS IsWhole
FROM counted AS c LEFT JOIN stated AS s ON c.Mailbox = s.Mailbox
UNION ALL
-- Folder statistics that count nothing at all are a listing of an empty mailbox.
SELECT Mailbox, min(Exhibit), list_sort(list(DISTINCT Folder)), 0, max(ListedAt), true FROM present
WHERE StoreKind = 'folder statistics' AND Mailbox <> '' GROUP BY Mailbox HAVING sum(ItemCount) = 0;

-- step: boxes
-- For each mailbox: the newest listing of the whole, folders that a partial listing covers, and the period in which deliveries are proved.
CREATE OR REPLACE TEMP TABLE boxes AS
WITH whole AS (SELECT Mailbox, max({b: Bound, l: Listing}) AS w, count(*) AS n FROM scopes WHERE IsWhole AND Bound IS NOT NULL GROUP BY 1),
  timeless AS (SELECT Mailbox, min(Listing) AS Listing FROM scopes WHERE IsWhole AND Bound IS NULL GROUP BY 1),
  part AS (SELECT Mailbox, flatten(list(FolderNames)) AS Folders, max(Bound) AS Bound FROM scopes WHERE NOT IsWhole GROUP BY 1),
  arrivals AS (SELECT Mailbox, min(TimeGenerated) AS FirstAt, max(TimeGenerated) AS LastAt, count(*) AS n FROM keyed WHERE What IN ('delivered', 'saved') AND Mailbox <> '' GROUP BY 1),
  every AS (SELECT Mailbox FROM whole UNION SELECT Mailbox FROM timeless UNION SELECT Mailbox FROM part UNION SELECT Mailbox FROM arrivals)
SELECT every.Mailbox, w.b AS WholeAt, w.l AS WholeListing, timeless.Listing AS TimelessListing, part.Folders AS PartFolders, part.Bound AS PartAt,
  arrivals.FirstAt AS DeliveriesFrom, arrivals.LastAt AS DeliveriesTo
FROM every LEFT JOIN whole USING (Mailbox) LEFT JOIN timeless USING (Mailbox) LEFT JOIN part USING (Mailbox) LEFT JOIN arrivals USING (Mailbox);

-- step: acts
-- Acts that name no message; one of them may be how a message went.
CREATE OR REPLACE TEMP TABLE acts AS
SELECT Mailbox, TimeGenerated, Activity, Actor, Session, ClientIP, Folder, Exhibit, Position FROM keyed WHERE What = 'act' AND Mailbox <> '';

-- step: missed
-- What the witness held and a comparison with its host did not find, or found otherwise.
CREATE OR REPLACE TEMP TABLE missed AS
SELECT Mailbox, Key, max(TimeGenerated) FILTER (What = 'missed') AS MissedAt, max(TimeGenerated) FILTER (What = 'altered') AS RewrittenAt
FROM keyed WHERE Proof = 'witness' AND What IN ('missed', 'altered') AND Key <> '' GROUP BY 1, 2;

-- step: instances
-- Exchange and Gmail keep one copy that moves; a Linux store has one for each folder. A draft is a copy of its own everywhere: clients delete it
-- as they send, which removes nothing that was sent. Orders are numbers (mw_order), because texts of a million groups would not fit into memory;
-- counting different values costs as much as all the rest, so here only the smallest and the largest are kept.
-- Parquet has no whole numbers of 128 bits and would write them as floating point; decimals keep every digit.
COPY (
  SELECT * REPLACE (CAST(First AS DECIMAL(38, 0)) AS First, CAST(Alive AS DECIMAL(38, 0)) AS Alive, CAST(Opened AS DECIMAL(38, 0)) AS Opened, CAST(Removed AS DECIMAL(38, 0)) AS Removed, CAST(Discarded AS DECIMAL(38, 0)) AS Discarded, CAST(Altered AS DECIMAL(38, 0)) AS Altered) FROM (
  SELECT Mailbox, Key, CASE WHEN PerFolder THEN CASE What WHEN 'moved' THEN ToFolder ELSE Folder END WHEN Folder = 'drafts' AND What <> 'moved' THEN 'drafts' ELSE '' END AS Instance,
    count(*) AS Records, bit_or(ProofBit) AS Proofs, max(Platform) AS Platform, min(Place) AS First,
    max(Place) FILTER (IsProof) AS Alive,
    arg_max(CASE What WHEN 'moved' THEN ToFolder ELSE Folder END, Place) FILTER (IsProof) AS AliveIn,
    min(TimeGenerated) FILTER (What IN ('delivered', 'saved', 'created')) AS DeliveredAt,
    min(TimeGenerated) FILTER (What IN ('sent', 'sent-unsaved')) AS SentAt,
    max(Place) FILTER (What = 'read') AS Opened, arg_max(Words, Place) FILTER (What = 'read') AS OpenedWords,
    max(Place) FILTER (What IN ('removed', 'noticed')) AS Removed,
    arg_max(Words, Place) FILTER (What IN ('removed', 'noticed')) AS RemovedWords,
    max(Place) FILTER (What IN ('discarded', 'refused')) AS Discarded,
    arg_max(Words, Place) FILTER (What IN ('discarded', 'refused')) AS DiscardedWords,
    max(Place) FILTER (What = 'altered') AS Altered,
    bool_or(What = 'sent-unsaved') AS Unsaved,
    bool_or(What NOT IN ('transit', 'refused', 'discarded', 'sent-unsaved', 'mentioned', 'sent')) AS WasStored,
    coalesce(min(Network) <> max(Network), false) OR coalesce(min(SavedItem) <> max(SavedItem), false)
      OR coalesce(min(TimeGenerated) FILTER (What = 'removed') <> max(TimeGenerated) FILTER (What = 'removed'), false) AS IsRepeated,
    count(SavedItem) > 0 AS IsSaved,
    max(SizeBytes) FILTER (What = 'saved') AS SizeBytes, min(SizeBytes) FILTER (What = 'saved') AS LeastSize,
    max(MessageId) AS MessageId, max(Subject) AS Subject
  FROM (
    SELECT *, mw_order(TimeGenerated, Exhibit, Position) AS Place, What IN ('delivered', 'saved', 'created', 'moved', 'touched', 'read', 'altered', 'indexed', 'sent') AS IsProof, {bits} AS ProofBit,
      -- Texts of a record are put together only for the kinds of record of which one is told.
      CASE WHEN What = 'read' THEN Actor || chr(31) || Session WHEN What IN ('removed', 'noticed') THEN concat_ws(chr(31), Activity, Actor, Session, ClientIP, Folder)
        WHEN What IN ('discarded', 'refused') THEN Activity || chr(31) || Actor END AS Words,
      -- Whether two ids differ shows in numbers too, which are cheaper to keep; the mail system makes these ids, not the sender.
      CASE WHEN What IN ('delivered', 'saved') AND NetworkId <> '' THEN hash(NetworkId) END AS Network, CASE WHEN What = 'saved' AND ItemId <> '' THEN hash(ItemId) END AS SavedItem
    FROM keyed WHERE What <> 'act' AND Key <> '') GROUP BY 1, 2, 3)
) TO {instances} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: repeated
-- How often a message was delivered and removed, for the few for which it was more than once.
CREATE OR REPLACE TEMP TABLE repeated AS
WITH often AS (SELECT Mailbox, Key FROM read_parquet({instances}) GROUP BY 1, 2 HAVING bool_or(IsRepeated) OR count(*) FILTER (IsSaved) > 1),
  counted AS (
    SELECT Mailbox, Key, CASE WHEN PerFolder THEN Folder ELSE '' END AS Instance, count(DISTINCT NetworkId) FILTER (What IN ('delivered', 'saved') AND NetworkId <> '') AS Networks,
      count(DISTINCT ItemId) FILTER (What = 'saved' AND ItemId <> '') AS Saves, count(DISTINCT TimeGenerated) FILTER (What = 'removed') AS Removals
    FROM keyed SEMI JOIN often USING (Mailbox, Key) WHERE What IN ('delivered', 'saved', 'removed') GROUP BY 1, 2, 3)
SELECT Mailbox, Key, greatest(max(Networks), sum(Saves), 1) AS Deliveries, max(Removals) AS Removals FROM counted GROUP BY 1, 2;

-- step: messages
COPY (
  WITH joined AS (
    SELECT Mailbox, Key, sum(Records) AS Records, bit_or(Proofs) AS Proofs, max(Platform) AS Platform, min(First) AS First, max(Alive) AS Alive, arg_max(AliveIn, Alive) AS AliveIn,
      min(DeliveredAt) AS DeliveredAt, min(SentAt) AS SentAt, max(Opened) AS Opened, arg_max(OpenedWords, Opened) AS OpenedWords,
      bool_or(Instance <> 'drafts') AS IsMore, max(Removed) AS AnyRemoved, arg_max(RemovedWords, Removed) AS AnyRemovedWords,
      max(Removed) FILTER (Instance <> 'drafts') AS MainRemoved, arg_max(RemovedWords, Removed) FILTER (Instance <> 'drafts') AS MainRemovedWords,
      max(Discarded) AS Discarded, arg_max(DiscardedWords, Discarded) AS DiscardedWords, max(Altered) AS Altered, bool_or(Unsaved) AS Unsaved, bool_or(WasStored) AS WasStored,
      -- A copy lives while its last proof is later than its removal; a draft says nothing of what was sent.
      bool_or(Alive IS NOT NULL AND (Removed IS NULL OR mw_order_time(Alive) > mw_until(mw_order_time(Removed)))) FILTER (Instance <> 'drafts') AS MainLivesOn,
      bool_or(Alive IS NOT NULL AND (Removed IS NULL OR mw_order_time(Alive) > mw_until(mw_order_time(Removed)))) AS AnyLivesOn,
      max(SizeBytes) AS SizeBytes, min(LeastSize) AS LeastSize, max(MessageId) AS MessageId, max(Subject) AS Subject
    FROM (SELECT * REPLACE (CAST(First AS HUGEINT) AS First, CAST(Alive AS HUGEINT) AS Alive, CAST(Opened AS HUGEINT) AS Opened, CAST(Removed AS HUGEINT) AS Removed, CAST(Discarded AS HUGEINT) AS Discarded, CAST(Altered AS HUGEINT) AS Altered) FROM read_parquet({instances})) GROUP BY 1, 2),
  placed AS (
    SELECT *, CASE WHEN IsMore THEN MainRemoved ELSE AnyRemoved END AS GoneOrder, string_split(CASE WHEN IsMore THEN MainRemovedWords ELSE AnyRemovedWords END, chr(31)) AS GoneWords,
      string_split(OpenedWords, chr(31)) AS o, string_split(DiscardedWords, chr(31)) AS d FROM joined)
  SELECT p.Mailbox, p.Key, Records, Proofs, Platform, {t: mw_order_time(First), e: mw_order_exhibit(First), n: mw_order_record(First)} AS First,
    CASE WHEN Alive IS NOT NULL THEN {t: mw_order_time(Alive), e: mw_order_exhibit(Alive), n: mw_order_record(Alive), f: AliveIn} END AS Alive, DeliveredAt, SentAt,
    CASE WHEN Opened IS NOT NULL THEN {t: mw_order_time(Opened), e: mw_order_exhibit(Opened), n: mw_order_record(Opened), a: o[1], s: o[2]} END AS Opened,
    CASE WHEN GoneOrder IS NOT NULL THEN {t: mw_order_time(GoneOrder), e: mw_order_exhibit(GoneOrder), n: mw_order_record(GoneOrder), v: GoneWords[1], a: GoneWords[2], s: GoneWords[3],
      i: GoneWords[4], f: GoneWords[5]} END AS Removed,
    CASE WHEN Discarded IS NOT NULL THEN {t: mw_order_time(Discarded), e: mw_order_exhibit(Discarded), n: mw_order_record(Discarded), v: d[1], a: d[2]} END AS Discarded,
    CASE WHEN Altered IS NOT NULL THEN mw_order_time(Altered) END AS Altered, Unsaved, WasStored, CASE WHEN IsMore THEN MainLivesOn ELSE AnyLivesOn END AS LivesOn,
    coalesce(r.Deliveries, 1) AS Deliveries, coalesce(r.Removals, CASE WHEN AnyRemoved IS NULL THEN 0 ELSE 1 END) AS Removals, SizeBytes, LeastSize, p.MessageId, p.Subject
  FROM placed AS p LEFT JOIN repeated AS r ON p.Mailbox = r.Mailbox AND p.Key = r.Key
) TO {messages} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: edited
-- Messages whose body or header differs between listings. Digests of different salts and kinds of store cannot be compared: each scale may have one.
-- Reading rewrites status headers of an mbox file; a Maildir file is never rewritten.
CREATE OR REPLACE TEMP TABLE edited AS
SELECT Mailbox, Key, bool_or(IsBody) AS IsBody, bool_or(IsHeader) AS IsHeader FROM (
  SELECT Mailbox, Key, coalesce(min(BodyDigest) FILTER (BodyDigest <> '') <> max(BodyDigest), false) AS IsBody,
    coalesce(min(HeaderDigest) FILTER (HeaderDigest <> '' AND StoreKind IN ('maildir', 'imap')) <> max(HeaderDigest) FILTER (StoreKind IN ('maildir', 'imap')), false) AS IsHeader
  FROM present WHERE BodyDigest <> '' OR HeaderDigest <> '' GROUP BY Mailbox, Key, Scale) WHERE IsBody OR IsHeader GROUP BY 1, 2;

-- step: shown
-- Messages in listings, one row for each mailbox and key: what the newest listing of the whole mailbox holds, and what others hold.
COPY (
  WITH placed AS (
    SELECT p.*, p.Listing = b.WholeListing AS IsNewest, s.Bound IS NULL AS HasNoBound,
      -- A message in a listing without a time, or in one as new as the newest of the whole, counts as there now.
      p.Listing = b.WholeListing OR s.Bound IS NULL OR b.WholeAt IS NULL OR s.Bound >= b.WholeAt AS IsNow,
      mw_order(coalesce(s.Bound, p.ListedAt, p.ArrivedAt), p.Exhibit, p.Position) AS Last, mw_order(coalesce(p.ArrivedAt, p.ListedAt, s.Bound), p.Exhibit, p.Position) AS Earliest
    FROM present AS p LEFT JOIN scopes AS s ON p.Mailbox = s.Mailbox AND p.Listing = s.Listing LEFT JOIN boxes AS b ON p.Mailbox = b.Mailbox
    WHERE p.StoreKind <> 'folder statistics'),
  grouped AS (
    SELECT Mailbox, Key, count(*) AS Rows, count(*) FILTER (IsNewest) AS InNewest, count(*) FILTER (IsNow) AS InPresent,
      max(Last) FILTER (IsNow) AS Newest, arg_max(Folder, Last) FILTER (IsNow) AS NewestFolder, max(Last) AS Latest, arg_max(Folder, Last) AS LatestFolder, min(Earliest) AS First,
      bool_and(HasNoBound) AS IsTimeless, min(ArrivedAt) AS ArrivedAt, bool_or(StoreKind NOT IN ('eml', 'emlx', 'msg')) AS InStore,
      bool_or(StatedSizeBytes IS NOT NULL AND StatedSizeBytes <> SizeBytes) AS SizeDiffers,
      max(SizeBytes) FILTER (StoreKind IN ('maildir', 'doveadm')) AS StoreSize, max(MessageId) AS MessageId, max(Subject) AS Subject, bool_or(regexp_matches(Folder, 'sent|draft|outbox')) AS IsOwn
    FROM placed GROUP BY 1, 2)
  SELECT g.* REPLACE (
      CASE WHEN Newest IS NOT NULL THEN {t: mw_listed_time(Newest), e: mw_order_exhibit(Newest), n: mw_order_record(Newest), f: NewestFolder} END AS Newest,
      {t: mw_listed_time(Latest), e: mw_order_exhibit(Latest), n: mw_order_record(Latest), f: LatestFolder} AS Latest,
      {t: mw_listed_time(First), e: mw_order_exhibit(First), n: mw_order_record(First)} AS First),
    coalesce(d.IsBody, false) AS OtherBody, coalesce(d.IsHeader, false) AS OtherHeader
  FROM grouped AS g LEFT JOIN edited AS d ON g.Mailbox = d.Mailbox AND g.Key = d.Key
) TO {shown} (FORMAT parquet, COMPRESSION lz4_raw, PRESERVE_ORDER false);

-- step: judged
CREATE OR REPLACE TEMP VIEW judged AS
WITH joined AS (
  SELECT coalesce(m.Mailbox, p.Mailbox) AS Mailbox, coalesce(m.Key, p.Key) AS Key, m.* EXCLUDE (Mailbox, Key, First, MessageId, Subject), nullif(m.MessageId, '') AS RecordedId, nullif(m.Subject, '') AS RecordedSubject, p.* EXCLUDE (Mailbox, Key, First, MessageId, Subject),
    coalesce(least(m.First.t, p.First.t), m.First.t, p.First.t) AS FirstAt, coalesce(m.First.e, p.First.e) AS FirstExhibit, coalesce(m.First.n, p.First.n) AS FirstPosition,
    p.MessageId AS ListedId, p.Subject AS ListedSubject, m.Key IS NOT NULL AS HasRecords, p.Key IS NOT NULL AS IsListed
  FROM read_parquet({messages}) AS m FULL JOIN read_parquet({shown}) AS p ON m.Mailbox = p.Mailbox AND m.Key = p.Key),
scoped AS (
  SELECT j.*, b.WholeAt, b.TimelessListing, b.PartFolders, b.PartAt, b.DeliveriesFrom, b.DeliveriesTo, x.MissedAt, x.RewrittenAt,
    coalesce(InPresent, 0) > 0 AS IsThere,
    CASE WHEN IsListed AND coalesce(InPresent, 0) = 0 AND (Alive IS NULL OR Latest.t >= Alive.t) THEN Latest.t ELSE Alive.t END AS AliveAt,
    CASE WHEN IsListed AND coalesce(InPresent, 0) = 0 AND (Alive IS NULL OR Latest.t >= Alive.t) THEN Latest.f ELSE Alive.f END AS AliveFolder,
    coalesce(Deliveries, 1) > 1 OR coalesce(OtherBody, false) AS IsContested
  FROM joined AS j LEFT JOIN boxes AS b ON j.Mailbox = b.Mailbox AND j.Mailbox <> '' LEFT JOIN missed AS x ON j.Mailbox = x.Mailbox AND j.Key = x.Key),
-- A folder that was deleted took its messages along.
folders AS (
  SELECT s.*, f.Latest.t AS FolderGoneAt, f.Latest.a AS FolderGoneBy, f.Latest.s AS FolderSession, f.Latest.i AS FolderIP, f.Latest.e AS FolderExhibit, f.Latest.n AS FolderPosition
  FROM scoped AS s LEFT JOIN (
    SELECT Mailbox, Folder, max({t: TimeGenerated, a: Actor, s: Session, i: ClientIP, e: Exhibit, n: Position}) AS Latest
    FROM acts WHERE Activity = 'FolderDeleted' AND Folder <> '' GROUP BY 1, 2) AS f
  ON s.Mailbox = f.Mailbox AND s.AliveFolder = f.Folder AND f.Latest.t >= s.AliveAt),
settled AS (
  SELECT *, CASE WHEN Removed IS NOT NULL AND (FolderGoneAt IS NULL OR Removed.t >= FolderGoneAt) THEN Removed.t ELSE FolderGoneAt END AS GoneAt,
    (Removed IS NOT NULL AND NOT coalesce(LivesOn, false) AND (AliveAt IS NULL OR mw_until(Removed.t) >= AliveAt)) OR FolderGoneAt IS NOT NULL AS IsRemoved,
    WholeAt IS NOT NULL AND (AliveAt IS NULL OR AliveAt <= WholeAt) AS ListingDecides
  FROM folders)
SELECT *,
  CASE
    WHEN IsThere AND GoneAt IS NOT NULL AND GoneAt > Newest.t AND IsRemoved THEN 'removed-after-listing'
    WHEN IsThere AND IsContested AND Deliveries > InPresent AND Deliveries > InPresent + coalesce(Removals, 0) THEN 'contested-fewer'
    WHEN IsThere AND (SizeDiffers OR (StoreSize IS NOT NULL AND SizeBytes IS NOT NULL AND SizeBytes = LeastSize AND StoreSize <> SizeBytes AND Deliveries = 1)) THEN 'altered-size'
    WHEN IsThere AND NOT coalesce(Deliveries, 1) > 1 AND (OtherBody OR OtherHeader) THEN 'altered-digest'
    WHEN IsThere AND Altered IS NOT NULL THEN 'altered-record'
    WHEN IsThere AND IsContested THEN 'present-contested'
    WHEN IsThere AND InStore AND NOT IsOwn AND coalesce(WasStored, false) = false AND SentAt IS NULL AND DeliveriesFrom IS NOT NULL AND ArrivedAt BETWEEN DeliveriesFrom AND DeliveriesTo THEN 'planted'
    WHEN IsThere THEN 'present'
    WHEN IsRemoved AND Removed.v = 'Noticed' AND Removed.t = GoneAt THEN 'noticed'
    WHEN Mailbox = '' AND IsRemoved THEN 'removed'
    WHEN Mailbox = '' THEN 'no-mailbox'
    WHEN Discarded IS NOT NULL AND NOT WasStored THEN 'discarded'
    WHEN coalesce(Unsaved, false) AND NOT WasStored THEN 'sent-unsaved'
    WHEN NOT WasStored AND SentAt IS NULL AND NOT IsListed THEN 'in-transit'
    WHEN IsContested AND ListingDecides AND coalesce(Removals, 0) > 0 AND Removals < Deliveries THEN 'contested-gone'
    WHEN IsContested AND NOT ListingDecides AND IsRemoved AND Removals < Deliveries THEN 'contested-removed'
    WHEN IsRemoved THEN 'removed'
    WHEN ListingDecides THEN 'gone'
    WHEN MissedAt IS NOT NULL AND NOT IsContested AND (AliveAt IS NULL OR AliveAt <= MissedAt) THEN 'gone-witnessed'
    WHEN RewrittenAt IS NOT NULL AND NOT IsContested THEN 'altered-witnessed'
    WHEN WholeAt IS NOT NULL THEN 'after-listing'
    WHEN TimelessListing IS NOT NULL THEN 'timeless'
    WHEN PartFolders IS NOT NULL AND list_contains(PartFolders, AliveFolder) AND (PartAt IS NULL OR AliveAt <= PartAt) THEN 'left-folder'
    WHEN PartFolders IS NOT NULL THEN 'other-folder'
    ELSE 'no-listing' END AS Finding
FROM settled;

-- step: ledger
COPY (
  WITH worded AS (
    SELECT j.*, CASE j.Finding WHEN 'gone-witnessed' THEN MissedAt WHEN 'altered-witnessed' THEN RewrittenAt WHEN 'noticed' THEN GoneAt ELSE WholeAt END AS DecidedAt,
      coalesce(v.Verdict, 'unknown') AS Verdict, coalesce(v.Reason, '') AS Words,
      -- The removal of another copy (a move leaves one) is not how the last one went.
      CASE WHEN v.Verdict = 'gone without record' THEN NULL ELSE j.Removed END AS Told FROM judged AS j LEFT JOIN verdicts AS v ON j.Finding = v.Finding),
  lost AS (
    SELECT w.Mailbox, w.Key, max({t: a.TimeGenerated, e: a.Exhibit, n: a.Position, v: a.Activity, a: a.Actor}) AS near
    FROM worded AS w JOIN acts AS a ON w.Mailbox = a.Mailbox AND a.TimeGenerated >= coalesce(w.AliveAt, w.FirstAt) AND a.TimeGenerated <= w.DecidedAt
    WHERE w.Verdict = 'gone without record' GROUP BY 1, 2)
  SELECT 0::UTINYINT AS _State, w.FirstAt AS TimeGenerated, w.Mailbox, left(coalesce(RecordedId, nullif(ListedId, ''), CASE WHEN NOT starts_with(w.Key, 'item ') AND NOT starts_with(w.Key, 'description ') AND NOT starts_with(w.Key, 'md5:') THEN '<' || w.Key || '>' END, ''), 1000) AS MessageId, left(w.Key, 1100) AS MessageKey,
    CASE WHEN starts_with(w.Key, 'item ') THEN 'item id' WHEN starts_with(w.Key, 'description ') THEN 'description' ELSE 'message id' END AS KeyKind,
    CASE WHEN IsContested THEN 'contested' WHEN mw_is_message_key(w.Key) THEN 'strong' ELSE 'weak' END AS KeyStrength,
    coalesce(RecordedSubject, ListedSubject, '') AS Subject, w.Verdict,
    CASE WHEN NOT contains(w.Words, '{') THEN w.Words ELSE replace(replace(replace(replace(replace(w.Words, '{folder}', coalesce(nullif(AliveFolder, ''), CASE WHEN w.Finding = 'noticed' THEN nullif(Removed.f, '') END, 'its folder')), '{when}', coalesce(strftime(DecidedAt, '%Y-%m-%d %H:%M:%S'), 'an unknown time')),
      '{deliveries}', CAST(coalesce(Deliveries, 1) AS VARCHAR)), '{removals}', CAST(coalesce(Removals, 0) AS VARCHAR)), '{copies}', CAST(coalesce(InPresent, 0) AS VARCHAR)) END AS Reason,
    coalesce(k.Names, '') AS Proofs,
    CAST(coalesce(Records, 0) + coalesce(Rows, 0) AS BIGINT) AS Records, w.FirstAt AS FirstSeen,
    CASE WHEN IsThere THEN coalesce(greatest(Newest.t, AliveAt), Newest.t) ELSE AliveAt END AS LastSeen, coalesce(CASE WHEN IsThere THEN Newest.f ELSE AliveFolder END, '') AS LastFolder,
    DeliveredAt, SentAt, Opened.t AS ReadAt, coalesce(Opened.a, '') AS ReadBy, coalesce(Opened.s, '') AS ReadSession,
    CASE WHEN w.Verdict = 'deleted with record' OR Told IS NOT NULL THEN GoneAt WHEN w.Verdict = 'never stored' THEN Discarded.t END AS RemovedAt,
    CASE WHEN Told.t = GoneAt THEN Told.a WHEN FolderGoneAt IS NOT NULL THEN FolderGoneBy WHEN w.Verdict = 'never stored' THEN coalesce(Discarded.a, '') ELSE '' END AS RemovedBy,
    CASE WHEN Told.t = GoneAt THEN Told.v WHEN FolderGoneAt IS NOT NULL THEN 'FolderDeleted' WHEN w.Verdict = 'never stored' THEN coalesce(Discarded.v, '') ELSE '' END AS RemovalActivity,
    CASE WHEN Told.t = GoneAt THEN Told.s ELSE coalesce(FolderSession, '') END AS RemovalSession,
    CASE WHEN Told.t = GoneAt THEN Told.i ELSE coalesce(FolderIP, '') END AS RemovalIP,
    coalesce(CASE WHEN IsThere THEN Newest.f END, '') AS PresentFolder, CASE WHEN IsThere THEN Newest.t WHEN w.Finding = 'noticed' OR ends_with(w.Finding, '-witnessed') THEN DecidedAt WHEN ListingDecides THEN WholeAt END AS ListedAt,
    CAST(coalesce(Deliveries, 0) AS BIGINT) AS Deliveries, CAST(coalesce(Removals, 0) AS BIGINT) AS Removals, CAST(coalesce(InPresent, 0) AS BIGINT) AS Copies, coalesce(SizeBytes, StoreSize) AS SizeBytes,
    coalesce(near.v, '') AS NearestAct, near.t AS NearestActAt, coalesce(near.a, '') AS NearestActBy, coalesce(Platform, '') AS Platform,
    CAST('[' || concat_ws(',', mw_behind(FirstExhibit, FirstPosition, 'first'), mw_behind(Alive.e, Alive.n, 'last'), mw_behind(Opened.e, Opened.n, 'read'),
      mw_behind(coalesce(Removed.e, FolderExhibit, Discarded.e), coalesce(Removed.n, FolderPosition, Discarded.n), 'removed'),
      mw_behind(coalesce(Newest.e, Latest.e), coalesce(Newest.n, Latest.n), 'listed'), mw_behind(near.e, near.n, 'act')) || ']' AS JSON) AS Evidence,
    FirstExhibit AS _Exhibit, FirstPosition AS _Position
  FROM worded AS w LEFT JOIN lost AS l ON w.Mailbox = l.Mailbox AND w.Key = l.Key
    LEFT JOIN proof_names AS k ON k.Mask = coalesce(Proofs, 0) | CASE WHEN IsListed THEN {listing} ELSE 0 END
  ORDER BY w.Mailbox, w.FirstAt, w.Key
) TO {ledger} (FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE 61440);
