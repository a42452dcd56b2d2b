-- Two snapshots side by side. A message of the first is paired with one of the second, by the strongest mark first: its id in the store, then its message id and body,
-- then its message id alone, so that a header that was edited does not look like one message lost and another one new.

-- step: first
CREATE OR REPLACE TEMP TABLE first_side AS
SELECT row_number() OVER () AS n, *, mw_message_key(MessageId) AS Key FROM read_parquet({first}) WHERE StoreKind <> 'folder statistics';

-- step: second
CREATE OR REPLACE TEMP TABLE second_side AS
SELECT row_number() OVER () AS n, *, mw_message_key(MessageId) AS Key FROM read_parquet({second}) WHERE StoreKind <> 'folder statistics';

-- step: by_uid
CREATE OR REPLACE TEMP TABLE pairs AS
WITH a AS (SELECT n, Mailbox, CASE StoreKind WHEN 'maildir' THEN '' ELSE Folder END AS Place, Uid, row_number() OVER (PARTITION BY Mailbox, Place, Uid ORDER BY n) AS k FROM first_side WHERE Uid <> ''),
  b AS (SELECT n, Mailbox, CASE StoreKind WHEN 'maildir' THEN '' ELSE Folder END AS Place, Uid, row_number() OVER (PARTITION BY Mailbox, Place, Uid ORDER BY n) AS k FROM second_side WHERE Uid <> '')
SELECT a.n AS f, b.n AS s FROM a JOIN b USING (Mailbox, Place, Uid, k);

-- step: by_body
INSERT INTO pairs
WITH a AS (SELECT n, Mailbox, Key, BodyDigest, row_number() OVER (PARTITION BY Mailbox, Key, BodyDigest ORDER BY HeaderDigest, n) AS k FROM first_side ANTI JOIN pairs ON n = f),
  b AS (SELECT n, Mailbox, Key, BodyDigest, row_number() OVER (PARTITION BY Mailbox, Key, BodyDigest ORDER BY HeaderDigest, n) AS k FROM second_side ANTI JOIN pairs ON n = s)
SELECT a.n, b.n FROM a JOIN b USING (Mailbox, Key, BodyDigest, k) WHERE Key <> '' OR BodyDigest <> '';

-- step: by_id
INSERT INTO pairs
WITH a AS (SELECT n, Mailbox, Key, row_number() OVER (PARTITION BY Mailbox, Key ORDER BY n) AS k FROM first_side ANTI JOIN pairs ON n = f WHERE Key <> ''),
  b AS (SELECT n, Mailbox, Key, row_number() OVER (PARTITION BY Mailbox, Key ORDER BY n) AS k FROM second_side ANTI JOIN pairs ON n = s WHERE Key <> '')
SELECT a.n, b.n FROM a JOIN b USING (Mailbox, Key, k);

-- step: differences
CREATE OR REPLACE TEMP VIEW differences AS
WITH joined AS (
  SELECT a.Mailbox, a.MessageId, a.Subject, a.Sender, a.Folder AS FolderBefore, b.Folder AS FolderAfter, a.SizeBytes AS SizeBefore, b.SizeBytes AS SizeAfter,
    a.StoreKind <> b.StoreKind OR a.DigestSalt <> b.DigestSalt AS IsOtherScale, a.HeaderDigest <> b.HeaderDigest AS IsOtherHeader, a.BodyDigest <> b.BodyDigest AND a.BodyDigest <> '' AND b.BodyDigest <> '' AS IsOtherBody,
    a.MessageId <> b.MessageId AS IsOtherId, a.Flags AS FlagsBefore, b.Flags AS FlagsAfter, b.MessageId AS IdAfter, b.Subject AS SubjectAfter,
    a.StoreKind IN ('maildir', 'imap', 'eml') AS IsNeverRewritten
  FROM pairs JOIN first_side AS a ON f = a.n JOIN second_side AS b ON s = b.n)
SELECT 'lost' AS Difference, Mailbox, Folder, MessageId, Subject, Sender, SizeBytes, TimeGenerated AS ReceivedAt, '' AS Detail FROM first_side ANTI JOIN pairs ON n = f
UNION ALL
SELECT 'new', Mailbox, Folder, MessageId, Subject, Sender, SizeBytes, TimeGenerated, '' FROM second_side ANTI JOIN pairs ON n = s
UNION ALL
SELECT CASE WHEN IsOtherBody THEN 'body altered' ELSE 'header altered' END, Mailbox, FolderAfter, MessageId, Subject, Sender, SizeAfter, NULL,
  concat_ws('; ', CASE WHEN IsOtherId THEN 'message id is now ' || IdAfter END, CASE WHEN Subject <> SubjectAfter THEN 'subject is now ' || SubjectAfter END,
    CASE WHEN SizeBefore <> SizeAfter THEN SizeBefore || ' bytes became ' || SizeAfter END)
FROM joined WHERE NOT IsOtherScale AND (IsOtherBody OR (IsOtherHeader AND (IsNeverRewritten OR IsOtherId OR Subject <> SubjectAfter)))
UNION ALL
SELECT 'moved', Mailbox, FolderAfter, MessageId, Subject, Sender, SizeAfter, NULL, 'from ' || FolderBefore FROM joined WHERE FolderBefore <> FolderAfter;
