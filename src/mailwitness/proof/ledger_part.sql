-- One part of the message ledger: the messages of some slots, whose number is chosen so that a part fits into memory.

-- step: instances
-- Exchange and Gmail keep one copy that moves; a Linux store has one for each folder. A draft is a copy of its own everywhere: clients delete it
-- as they send, which removes nothing that was sent. Orders are numbers (mw_order), because texts of a million groups would not fit into memory;
-- counting different values costs as much as all the rest, so here only the smallest and the largest are kept.
CREATE OR REPLACE TEMP TABLE instances AS
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
    FROM keyed WHERE What <> 'act' AND Key <> '' AND {chosen}) GROUP BY 1, 2, 3;

-- step: repeated
-- How often a message was delivered and removed, for the few for which it was more than once.
CREATE OR REPLACE TEMP TABLE repeated AS
WITH often AS (SELECT Mailbox, Key FROM instances GROUP BY 1, 2 HAVING bool_or(IsRepeated) OR count(*) FILTER (IsSaved) > 1),
  counted AS (
    SELECT Mailbox, Key, CASE WHEN PerFolder THEN Folder ELSE '' END AS Instance, count(DISTINCT NetworkId) FILTER (What IN ('delivered', 'saved') AND NetworkId <> '') AS Networks,
      count(DISTINCT ItemId) FILTER (What = 'saved' AND ItemId <> '') AS Saves, count(DISTINCT TimeGenerated) FILTER (What = 'removed') AS Removals
    FROM keyed SEMI JOIN often USING (Mailbox, Key) WHERE What IN ('delivered', 'saved', 'removed') AND {chosen} GROUP BY 1, 2, 3)
SELECT Mailbox, Key, greatest(max(Networks), sum(Saves), 1) AS Deliveries, max(Removals) AS Removals FROM counted GROUP BY 1, 2;

-- step: messages
CREATE OR REPLACE TEMP TABLE messages AS
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
    FROM instances GROUP BY 1, 2),
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
  FROM placed AS p LEFT JOIN repeated AS r ON p.Mailbox = r.Mailbox AND p.Key = r.Key;

-- step: edited
-- Messages whose body or header differs between listings. Digests of different salts and kinds of store cannot be compared: each scale may have one.
-- A message of which two listings hold a digest of the body was compared, whatever came of it.
-- Reading rewrites status headers of an mbox file; a Maildir file is never rewritten.
CREATE OR REPLACE TEMP TABLE edited AS
SELECT Mailbox, Key, bool_or(IsBody) AS IsBody, bool_or(IsHeader) AS IsHeader, bool_or(IsCompared) AS IsCompared FROM (
  SELECT Mailbox, Key, coalesce(min(BodyDigest) FILTER (BodyDigest <> '') <> max(BodyDigest), false) AS IsBody,
    coalesce(min(HeaderDigest) FILTER (HeaderDigest <> '' AND StoreKind IN ('maildir', 'imap')) <> max(HeaderDigest) FILTER (StoreKind IN ('maildir', 'imap')), false) AS IsHeader,
    coalesce(min(Listing) FILTER (BodyDigest <> '') <> max(Listing) FILTER (BodyDigest <> ''), false) AS IsCompared
  FROM present WHERE (BodyDigest <> '' OR HeaderDigest <> '') AND {chosen} GROUP BY Mailbox, Key, Scale) WHERE IsBody OR IsHeader OR IsCompared GROUP BY 1, 2;

-- step: shown
-- Messages in listings, one row for each mailbox and key: what the newest listing of the whole mailbox holds, and what others hold.
CREATE OR REPLACE TEMP TABLE shown AS
  WITH placed AS (
    SELECT p.*, p.Listing = b.WholeListing AS IsNewest, s.Bound IS NULL AS HasNoBound,
      -- A message in a listing without a time, or in one as new as the newest of the whole, counts as there now.
      p.Listing = b.WholeListing OR s.Bound IS NULL OR b.WholeAt IS NULL OR s.Bound >= b.WholeAt AS IsNow,
      mw_order(coalesce(s.Bound, p.ListedAt, p.ArrivedAt), p.Exhibit, p.Position) AS Last, mw_order(coalesce(p.ArrivedAt, p.ListedAt, s.Bound), p.Exhibit, p.Position) AS Earliest
    FROM present AS p LEFT JOIN scopes AS s ON p.Mailbox = s.Mailbox AND p.Listing = s.Listing LEFT JOIN boxes AS b ON p.Mailbox = b.Mailbox
    WHERE p.StoreKind <> 'folder statistics' AND {chosen}),
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
    coalesce(d.IsBody, false) AS OtherBody, coalesce(d.IsHeader, false) AS OtherHeader, coalesce(d.IsCompared, false) AS IsCompared
  FROM grouped AS g LEFT JOIN edited AS d ON g.Mailbox = d.Mailbox AND g.Key = d.Key;

-- step: judged
CREATE OR REPLACE TEMP VIEW judged AS
WITH joined AS (
  SELECT coalesce(m.Mailbox, p.Mailbox) AS Mailbox, coalesce(m.Key, p.Key) AS Key, m.* EXCLUDE (Mailbox, Key, First, MessageId, Subject), nullif(m.MessageId, '') AS RecordedId, nullif(m.Subject, '') AS RecordedSubject, p.* EXCLUDE (Mailbox, Key, First, MessageId, Subject),
    coalesce(least(m.First.t, p.First.t), m.First.t, p.First.t) AS FirstAt, coalesce(m.First.e, p.First.e) AS FirstExhibit, coalesce(m.First.n, p.First.n) AS FirstPosition,
    p.MessageId AS ListedId, p.Subject AS ListedSubject, m.Key IS NOT NULL AS HasRecords, p.Key IS NOT NULL AS IsListed
  FROM messages AS m FULL JOIN shown AS p ON m.Mailbox = p.Mailbox AND m.Key = p.Key),
scoped AS (
  SELECT j.*, b.WholeAt, b.HasUnnamed, y.Alias IS NOT NULL AS IsUnclear, b.TimelessListing, b.PartFolders, b.PartAt, b.DeliveriesFrom, b.DeliveriesTo, x.MissedAt, x.RewrittenAt,
    coalesce(InPresent, 0) > 0 AS IsThere,
    CASE WHEN IsListed AND coalesce(InPresent, 0) = 0 AND (Alive IS NULL OR Latest.t >= Alive.t) THEN Latest.t ELSE Alive.t END AS AliveAt,
    CASE WHEN IsListed AND coalesce(InPresent, 0) = 0 AND (Alive IS NULL OR Latest.t >= Alive.t) THEN Latest.f ELSE Alive.f END AS AliveFolder,
    coalesce(Deliveries, 1) > 1 OR coalesce(OtherBody, false) AS IsContested
  FROM joined AS j LEFT JOIN boxes AS b ON j.Mailbox = b.Mailbox AND j.Mailbox <> '' LEFT JOIN missed AS x ON j.Mailbox = x.Mailbox AND j.Key = x.Key
    LEFT JOIN (SELECT Mailbox, Alias FROM known_as WHERE IsSeveral) AS y ON j.Mailbox = y.Mailbox AND j.Key = y.Alias),
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
    WHEN IsThere AND InStore AND NOT IsOwn AND NOT starts_with(Key, 'description ') AND coalesce(WasStored, false) = false AND SentAt IS NULL AND DeliveriesFrom IS NOT NULL AND ArrivedAt BETWEEN DeliveriesFrom AND DeliveriesTo THEN 'planted'
    WHEN IsThere AND IsCompared THEN 'present-compared'
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
    WHEN ListingDecides AND IsUnclear THEN 'several-alike'
    WHEN ListingDecides AND HasUnnamed AND starts_with(Key, 'item ') THEN 'unnamed'
    WHEN ListingDecides THEN 'gone'
    WHEN MissedAt IS NOT NULL AND NOT IsContested AND (AliveAt IS NULL OR AliveAt <= MissedAt) THEN 'gone-witnessed'
    WHEN RewrittenAt IS NOT NULL AND NOT IsContested THEN 'altered-witnessed'
    WHEN WholeAt IS NOT NULL THEN 'after-listing'
    WHEN TimelessListing IS NOT NULL THEN 'timeless'
    WHEN PartFolders IS NOT NULL AND list_contains(PartFolders, AliveFolder) AND (PartAt IS NULL OR AliveAt <= PartAt) THEN 'left-folder'
    WHEN PartFolders IS NOT NULL THEN 'other-folder'
    ELSE 'no-listing' END AS Finding
FROM settled;

-- step: near
-- Of what is gone without a record: the last act upon the mailbox, naming no message, between its last proof and the listing that misses it.
CREATE OR REPLACE TEMP TABLE near AS
WITH lost AS (
  SELECT Mailbox, Key, coalesce(AliveAt, FirstAt) AS Since, CASE Finding WHEN 'gone-witnessed' THEN MissedAt WHEN 'noticed' THEN GoneAt ELSE WholeAt END AS DecidedAt
  FROM judged WHERE Finding IN (SELECT Finding FROM verdicts WHERE Verdict = 'gone without record') AND Mailbox IN (SELECT Mailbox FROM acts)),
last AS (SELECT Mailbox, TimeGenerated AS t, max({t: TimeGenerated, e: Exhibit, n: Position, v: Activity, a: Actor}) AS Act FROM acts GROUP BY 1, 2)
SELECT w.Mailbox, w.Key, a.Act AS near FROM lost AS w ASOF JOIN last AS a ON w.Mailbox = a.Mailbox AND w.DecidedAt >= a.t WHERE a.t >= w.Since;

-- step: part
COPY (
  WITH worded AS (
    SELECT j.*, CASE j.Finding WHEN 'gone-witnessed' THEN MissedAt WHEN 'altered-witnessed' THEN RewrittenAt WHEN 'noticed' THEN GoneAt ELSE WholeAt END AS DecidedAt,
      coalesce(v.Verdict, 'unknown') AS Verdict, coalesce(v.Reason, '') AS Words,
      -- The removal of another copy (a move leaves one) is not how the last one went.
      CASE WHEN v.Verdict = 'gone without record' THEN NULL ELSE j.Removed END AS Told FROM judged AS j LEFT JOIN verdicts AS v ON j.Finding = v.Finding)
  SELECT 0::UTINYINT AS _State, w.FirstAt AS TimeGenerated, w.Mailbox, left(coalesce(RecordedId, nullif(ListedId, ''), CASE WHEN NOT starts_with(w.Key, 'item ') AND NOT starts_with(w.Key, 'description ') AND NOT starts_with(w.Key, 'md5:') THEN '<' || w.Key || '>' END, ''), 1000) AS MessageId, left(w.Key, 1100) AS MessageKey,
    CASE WHEN starts_with(w.Key, 'item ') THEN 'item id' WHEN starts_with(w.Key, 'description ') THEN 'description' ELSE 'message id' END AS KeyKind,
    CASE WHEN IsContested THEN 'contested' WHEN mw_is_message_key(w.Key) AND w.Key NOT IN (SELECT Key FROM known_as) THEN 'strong' ELSE 'weak' END AS KeyStrength,
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
  FROM worded AS w LEFT JOIN near AS l ON w.Mailbox = l.Mailbox AND w.Key = l.Key
    LEFT JOIN proof_names AS k ON k.Mask = coalesce(Proofs, 0) | CASE WHEN IsListed THEN {listing} ELSE 0 END
  {order}
) TO {part} (FORMAT parquet, COMPRESSION lz4_raw, {rows});

-- step: done
DROP TABLE instances; DROP TABLE repeated; DROP TABLE messages; DROP TABLE edited; DROP TABLE shown; DROP TABLE near;
