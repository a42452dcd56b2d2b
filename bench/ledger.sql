-- The evidence of bench/ledger.py, written by the database. Messages arrive over sixty days from the first of March; records have about 1.3 KB, as in real exports.

-- step: message
  SELECT i, i % {boxes} AS box, 'user' || (i % {boxes}) || '@contoso.example' AS upn, hash(i) AS h,
    TIMESTAMP '2026-03-01' + to_microseconds(CAST(i * (5184000000000 / {messages}) AS BIGINT)) AS t,
    md5(CAST(i AS VARCHAR)) || '@mail.fabrikam.example' AS id, hash(i) % 4 = 0 AS removed, hash(i) % 4 <> 0 AND hash(i + 7) % 50 = 0 AS taken
  FROM range({messages}) AS r(i)

-- step: trace
  SELECT strftime(t, '%m/%d/%Y %I:%M:%S %p') AS "Received", 'sender' || (h % 5000) || '@fabrikam.example' AS "SenderAddress", upn AS "RecipientAddress",
    'Order ' || i || ' of the week' AS "Subject", 'Delivered' AS "Status", '' AS "ToIP", '192.0.2.10' AS "FromIP", CAST(4000 + h % 90000 AS VARCHAR) AS "Size",
    '<' || id || '>' AS "MessageId", CAST(md5('t' || i) AS UUID)::VARCHAR AS "MessageTraceId" FROM ({message})

-- step: audit
  WITH m AS ({message}),
  acts AS (
    SELECT *, unnest([1, 2, 3, 4]) AS k FROM m),
  filled AS (
    SELECT *, t + to_minutes(CAST(k * 7 + h % 5 AS BIGINT)) AS done, CAST(md5(k || 'r' || i) AS UUID)::VARCHAR AS rid, CAST(md5(box || 's' || (i // 5000)) AS UUID)::VARCHAR AS sid,
      CASE k WHEN 1 THEN 'MailItemsAccessed' WHEN 2 THEN CASE WHEN h % 10 < 3 THEN 'Move' ELSE 'Update' END WHEN 3 THEN 'MailItemsAccessed'
        ELSE CASE WHEN removed THEN CASE WHEN h % 8 = 0 THEN 'HardDelete' ELSE 'SoftDelete' END ELSE 'FileAccessed' END END AS op FROM acts)
  SELECT '{"CreationTime":"' || strftime(done, '%Y-%m-%dT%H:%M:%S') || '","Id":"' || rid || '","Operation":"' || op || '","OrganizationId":"6f1d2c3b-0a4e-4d58-9b77-1c2d3e4f5a60","RecordType":' ||
    CASE op WHEN 'MailItemsAccessed' THEN '50' WHEN 'FileAccessed' THEN '6' WHEN 'Update' THEN '2' ELSE '3' END || ',"ResultStatus":"Succeeded","UserKey":"1003200' || box || '","UserType":0,"Version":1,"Workload":"' ||
    CASE op WHEN 'FileAccessed' THEN 'SharePoint' ELSE 'Exchange' END || '","UserId":"' || upn || '","ClientIP":"192.0.2.' || (box % 250) || '",' ||
    CASE op WHEN 'FileAccessed' THEN '"ObjectId":"https://contoso.sharepoint.example/sites/a/' || i || '.docx","SiteUrl":"https://contoso.sharepoint.example/sites/a","SourceFileName":"' || i || '.docx","ItemType":"File","EventSource":"SharePoint","UserAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64)"'
    ELSE '"AppId":"00000002-0000-0ff1-ce00-000000000000","ClientAppId":"00000002-0000-0ff1-ce00-000000000000","ClientIPAddress":"192.0.2.' || (box % 250) || '","ClientInfoString":"Client=OWA;Action=ViaProxy","ClientRequestId":"' || rid ||
      '","ExternalAccess":false,"InternalLogonType":0,"LogonType":0,"LogonUserSid":"S-1-5-21-1111111111-2222222222-3333333333-' || box || '","MailboxGuid":"' || CAST(md5('g' || box) AS UUID)::VARCHAR ||
      '","MailboxOwnerSid":"S-1-5-21-1111111111-2222222222-3333333333-' || box || '","MailboxOwnerUPN":"' || upn || '","OrganizationName":"contoso.example","OriginatingServer":"LO2PR00MB0417 (15.20.9203.008)\r\n","SessionId":"' || sid || '",' ||
      CASE op WHEN 'MailItemsAccessed' THEN '"OperationProperties":[{"Name":"MailAccessType","Value":"Bind"},{"Name":"IsThrottled","Value":"False"}],"Folders":[{"FolderItems":[{"Id":"RgAAAAC' || i || 'AAAJ","ImmutableId":"LgAAAAC' || i || 'AAEP","InternetMessageId":"<' || id || '>","SizeInBytes":' || (4000 + h % 90000) || '}' ||
          CASE WHEN k = 1 AND i >= {boxes} AND hash(i - {boxes}) % 4 <> 0 THEN ',{"Id":"RgAAAAC' || (i - {boxes}) || 'AAAJ","ImmutableId":"LgAAAAC' || (i - {boxes}) || 'AAEP","InternetMessageId":"<' || md5(CAST(i - {boxes} AS VARCHAR)) || '@mail.fabrikam.example>","SizeInBytes":4100}' ELSE '' END ||
          '],"Id":"LgAAAACabcAAAB","Path":"\\Inbox"}],"OperationCount":' || CASE WHEN k = 1 AND i >= {boxes} AND hash(i - {boxes}) % 4 <> 0 THEN '2' ELSE '1' END
        WHEN 'Update' THEN '"Item":{"Attachments":"","Id":"RgAAAAC' || i || 'AAAJ","InternetMessageId":"<' || id || '>","ParentFolder":{"Id":"LgAAAACabcAAAB","Path":"\\Inbox"},"SizeInBytes":4100,"Subject":"Order ' || i || ' of the week"},"ModifiedProperties":["Categories"]'
        ELSE '"AffectedItems":[{"Id":"RgAAAAC' || i || 'AAAJ","InternetMessageId":"<' || id || '>","ParentFolder":{"Id":"LgAAAACabcAAAB","Path":"\\Inbox"},"Subject":"Order ' || i || ' of the week"}],"CrossMailboxOperation":false,"Folder":{"Id":"LgAAAACabcAAAB","Path":"\\Inbox"}' ||
          CASE op WHEN 'Move' THEN ',"DestFolder":{"Id":"LgAAAACdefAAAB","Path":"\\Archive"}' ELSE '' END END
    END || '}' AS line
  FROM filled ORDER BY i, k

-- step: listed
  SELECT '{"id":"RgAAAAC' || i || 'AAAJ","receivedDateTime":"' || strftime(t, '%Y-%m-%dT%H:%M:%SZ') || '","subject":"Order ' || i || ' of the week","internetMessageId":"<' || id || '>","parentFolderId":"' ||
    CASE WHEN h % 10 < 3 THEN 'archive' ELSE 'inbox' END || '","isRead":true,"from":{"emailAddress":{"address":"sender@fabrikam.example"}}}' AS line, upn
  FROM ({message}) WHERE NOT removed AND NOT taken
  UNION ALL SELECT '{"id":"last","receivedDateTime":"2026-05-31T00:00:00Z","subject":"Last","internetMessageId":"<last' || b || '@mail.fabrikam.example>","parentFolderId":"' || f || '"}', 'user' || b || '@contoso.example'
  FROM range({boxes}) AS r(b), (SELECT unnest(['inbox', 'archive']) AS f)

-- step: host
  WITH m AS (SELECT *, upper(substr(md5('q' || i), 1, 11)) AS q, strftime(t, '%Y-%m-%dT%H:%M:%S.') || lpad(CAST(i % 1000000 AS VARCHAR), 6, '0') || '+00:00 mx1 ' AS head, 'user' || box AS who, md5('x' || i)[:22] AS ses FROM ({message})),
  lines AS (
    SELECT i, unnest([
      {'k': 1, 'x': head || 'postfix/cleanup[2944]: ' || q || ': message-id=<' || id || '>'},
      {'k': 2, 'x': head || 'postfix/qmgr[2936]: ' || q || ': from=<sender' || (h % 5000) || '@fabrikam.example>, size=' || (4000 + h % 90000) || ', nrcpt=1 (queue active)'},
      {'k': 3, 'x': head || 'postfix/lmtp[2951]: ' || q || ': to=<' || upn || '>, relay=mx1.contoso.example[private/dovecot-lmtp], delay=0.1, delays=0.01/0/0.1/0, dsn=2.0.0, status=sent (250 2.0.0 <' || upn || '> ' || ses || ' Saved)'},
      {'k': 4, 'x': head || 'dovecot: lmtp(' || who || ')<2951><' || ses || '>: save: box=INBOX, uid=' || i || ', msgid=<' || id || '>, size=' || (4000 + h % 90000) || ', vsize=' || (4100 + h % 90000) || ', from=sender@fabrikam.example, subject=Order ' || i || ' of the week, flags=()'},
      {'k': 5, 'x': CASE WHEN removed THEN head || 'dovecot: imap(' || who || ')<2965><' || ses || '>: expunge: box=INBOX, uid=' || i || ', msgid=<' || id || '>, size=' || (4000 + h % 90000) || ', vsize=' || (4100 + h % 90000) || ', from=sender@fabrikam.example, subject=Order ' || i || ' of the week, flags=(\Deleted \Seen)'
        ELSE head || 'postfix/qmgr[2936]: ' || q || ': removed' END}]) AS line FROM m)
  SELECT line.x FROM lines ORDER BY i, line.k

-- step: stored
  SELECT '{"user":"user' || box || '","mailbox":"INBOX","uid":"' || i || '","flags":"\\Seen","hdr.message-id":"<' || id || '>","size.physical":"' || (4000 + h % 90000) || '","date.received":"' || strftime(t, '%Y-%m-%d %H:%M:%S') || '"}'
  FROM ({message}) WHERE NOT removed AND NOT taken
  UNION ALL SELECT '{"user":"user' || b || '","mailbox":"' || f || '","uid":"9' || b || '","flags":"","hdr.message-id":"<last' || b || f || '@mail.fabrikam.example>","size.physical":"900","date.received":"2026-05-31 00:00:00"}'
  FROM range({boxes}) AS r(b), (SELECT unnest(['INBOX', 'Archive']) AS f)
