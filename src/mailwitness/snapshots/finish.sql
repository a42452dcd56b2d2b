-- What is kept of a snapshot. {names} are literals written by finishing.py; the records are those of the readers of mail stores.

-- step: holding
-- A mailbox that holds a message needs no row that says it was looked at.
CREATE OR REPLACE TEMP TABLE holding AS
SELECT DISTINCT lower(Mailbox) AS Mailbox FROM read_parquet({parts}) WHERE StoreKind <> 'folder statistics';

-- step: repeated
-- A message that was moved from "new" to "cur" while the store was walked was seen twice; what an emptied mailbox leaves behind is one row.
-- By fixed-size values first: they are few, and only they are compared whole.
CREATE OR REPLACE TEMP TABLE repeated AS
WITH narrow AS (
  SELECT hash(StoreKind, lower(Mailbox), Folder, Uid, HeaderDigest, BodyDigest, regexp_replace(Path, '/(?:cur|new)/[^/]*$', '')) AS h
  FROM read_parquet({parts}) WHERE StoreKind IN ('maildir', 'folder statistics'))
SELECT h FROM narrow GROUP BY h HAVING count(*) > 1;

-- step: doubled
CREATE OR REPLACE TEMP TABLE doubled AS
WITH read AS (
  SELECT parse_filename(filename) AS Part, file_row_number AS Row, StoreKind, lower(Mailbox) AS Mailbox, Folder, Uid, HeaderDigest, BodyDigest,
    regexp_replace(Path, '/(?:cur|new)/[^/]*$', '') AS Place
  FROM read_parquet({parts}, file_row_number = true, filename = true)
  WHERE StoreKind IN ('maildir', 'folder statistics') AND EXISTS (FROM repeated))
SELECT Part, Row FROM read WHERE hash(StoreKind, Mailbox, Folder, Uid, HeaderDigest, BodyDigest, Place) IN (SELECT h FROM repeated)
QUALIFY row_number() OVER (PARTITION BY StoreKind, Mailbox, Folder, Uid, HeaderDigest, BodyDigest, Place ORDER BY Part, Row) > 1;

-- step: messages
CREATE OR REPLACE TEMP MACRO kept_of(files) AS TABLE
  SELECT coalesce(mw_time(ReceivedAt), mw_time("Date"), {at}) AS TimeGenerated, {at} AS ListedAt, CASE WHEN {mailbox} <> '' THEN {mailbox} ELSE lower(s.Mailbox) END AS Mailbox,
    Folder, MessageId, Subject, Sender, Recipients, mw_time("Date") AS "Date", SizeBytes, coalesce(ItemCount, 1) AS ItemCount,
    CASE WHEN HeaderDigest <> '' THEN sha256({salt} || ':' || HeaderDigest) ELSE '' END AS HeaderDigest,
    CASE WHEN BodyDigest <> '' THEN sha256({salt} || ':' || BodyDigest) ELSE '' END AS BodyDigest,
    Flags, coalesce(IsDeleted, false) AS IsDeleted, Uid, StoreKind, Path, StatedSizeBytes, Problems, {name} AS Snapshot, {salt} AS DigestSalt
  FROM read_parquet(files, file_row_number = true, filename = true) AS s
  ANTI JOIN doubled AS d ON parse_filename(s.filename) = d.Part AND s.file_row_number = d.Row
  LEFT JOIN holding AS h ON lower(s.Mailbox) = h.Mailbox
  WHERE StoreKind <> 'folder statistics' OR (h.Mailbox IS NULL AND ({mailbox} = '' OR NOT EXISTS (FROM holding)))
  ORDER BY s.filename, s.file_row_number;
