-- What is kept of a snapshot. {names} are literals written by taking.py; the records are those of the readers of mail stores.

-- step: messages
COPY (
  WITH read AS (SELECT * FROM read_parquet({parts}, file_row_number = true, filename = true)),
  -- A message that was moved from "new" to "cur" while the store was walked was seen twice. What an emptied mailbox leaves behind is one row.
  single AS (
    SELECT * FROM read
    QUALIFY (StoreKind <> 'maildir' AND StoreKind <> 'folder statistics')
      OR row_number() OVER (PARTITION BY StoreKind, lower(Mailbox), Folder, Uid, HeaderDigest, BodyDigest, regexp_replace(Path, '/(?:cur|new)/[^/]*$', '') ORDER BY filename, file_row_number) = 1),
  holding AS (SELECT DISTINCT lower(Mailbox) AS Mailbox FROM read WHERE StoreKind <> 'folder statistics')
  SELECT coalesce(mw_time(ReceivedAt), mw_time("Date"), {at}) AS TimeGenerated, {at} AS ListedAt, CASE WHEN {mailbox} <> '' THEN {mailbox} ELSE lower(s.Mailbox) END AS Mailbox,
    Folder, MessageId, Subject, Sender, Recipients, mw_time("Date") AS "Date", SizeBytes, coalesce(ItemCount, 1) AS ItemCount,
    CASE WHEN HeaderDigest <> '' THEN sha256({salt} || ':' || HeaderDigest) ELSE '' END AS HeaderDigest,
    CASE WHEN BodyDigest <> '' THEN sha256({salt} || ':' || BodyDigest) ELSE '' END AS BodyDigest,
    Flags, coalesce(IsDeleted, false) AS IsDeleted, Uid, StoreKind, Path, StatedSizeBytes, Problems, {name} AS Snapshot, {salt} AS DigestSalt
  FROM single AS s LEFT JOIN holding AS h ON lower(s.Mailbox) = h.Mailbox
  WHERE StoreKind <> 'folder statistics' OR (h.Mailbox IS NULL AND ({mailbox} = '' OR NOT EXISTS (FROM holding)))
  ORDER BY filename, file_row_number
) TO {target} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 61440);
