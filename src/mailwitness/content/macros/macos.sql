-- Endpoint Security events as eslogger writes them. The name inside `event` says what happened; the numbers of event_type differ
-- between releases. One json_transform reads all members at once: extracting them one by one parses the record again each time.
CREATE MACRO mw_es_path() AS '{"path":"VARCHAR"}';
CREATE MACRO mw_es_new() AS '{"existing_file":{"path":"VARCHAR"},"new_path":{"dir":{"path":"VARCHAR"},"filename":"VARCHAR"}}';
CREATE MACRO mw_es_process(p) AS json_transform(p, '{"executable":{"path":"VARCHAR"},"audit_token":{"pid":"BIGINT","euid":"BIGINT","auid":"BIGINT","ruid":"BIGINT"},"ppid":"BIGINT","original_ppid":"BIGINT","session_id":"BIGINT","signing_id":"VARCHAR","team_id":"VARCHAR","is_platform_binary":"BOOLEAN","start_time":"VARCHAR"}');
CREATE MACRO mw_es_event(e) AS json_transform(e, '{"exec":{"target":{"executable":{"path":"VARCHAR"},"audit_token":{"pid":"BIGINT","euid":"BIGINT","auid":"BIGINT"},"signing_id":"VARCHAR","team_id":"VARCHAR"},"args":["VARCHAR"],"cwd":{"path":"VARCHAR"},"script":{"path":"VARCHAR"}},"create":{"destination":' || mw_es_new() || '},"unlink":{"target":' || mw_es_path() || '},"rename":{"source":' || mw_es_path() || ',"destination":' || mw_es_new() || '},"truncate":{"target":' || mw_es_path() || '},"write":{"target":' || mw_es_path() || '},"close":{"target":' || mw_es_path() || ',"modified":"BOOLEAN"},"open":{"file":' || mw_es_path() || ',"fflag":"BIGINT"},"clone":{"source":' || mw_es_path() || ',"target_dir":' || mw_es_path() || ',"target_name":"VARCHAR"},"copyfile":{"source":' || mw_es_path() || ',"target_dir":' || mw_es_path() || ',"target_file":' || mw_es_path() || ',"target_name":"VARCHAR"},"link":{"source":' || mw_es_path() || ',"target_dir":' || mw_es_path() || ',"target_filename":"VARCHAR"},"exchangedata":{"file1":' || mw_es_path() || ',"file2":' || mw_es_path() || '}}');
-- JSON text of the database has no blanks: a plain first name can be read without parsing the text again.
CREATE MACRO mw_es_name(e) AS CASE WHEN regexp_matches(e::VARCHAR, '^\{"[^"\\]*"') THEN substr(e::VARCHAR, 3, strpos(substr(e::VARCHAR, 3), '"') - 1) ELSE coalesce(json_keys(e)[1], '') END;
CREATE MACRO mw_es_kind(e) AS CASE WHEN e.unlink IS NOT NULL THEN 'unlink' WHEN e."rename" IS NOT NULL THEN 'rename' WHEN e."create" IS NOT NULL THEN 'create'
  WHEN e.truncate IS NOT NULL THEN 'truncate' WHEN e.write IS NOT NULL THEN 'write' WHEN e.close IS NOT NULL THEN 'close' WHEN e.open IS NOT NULL THEN 'open'
  WHEN e.clone IS NOT NULL THEN 'clone' WHEN e.copyfile IS NOT NULL THEN 'copyfile' WHEN e.link IS NOT NULL THEN 'link' WHEN e.exchangedata IS NOT NULL THEN 'exchangedata' ELSE '' END;
CREATE MACRO mw_es_destination(d) AS coalesce(d.existing_file.path, rtrim(d.new_path.dir.path, '/') || '/' || d.new_path.filename);
CREATE MACRO mw_es_in(dir, name) AS rtrim(dir.path, '/') || '/' || name;
-- The file an event is about, in the order of the members above; a close counts only when something was written.
CREATE MACRO mw_es_target(e) AS coalesce(e.unlink.target.path, mw_es_destination(e."rename".destination), mw_es_destination(e."create".destination), e.truncate.target.path, e.write.target.path,
  e.close.target.path, e.open.file.path, mw_es_in(e.clone.target_dir, e.clone.target_name), mw_es_in(e.copyfile.target_dir, e.copyfile.target_name), e.copyfile.target_file.path,
  mw_es_in(e.link.target_dir, e.link.target_filename), e.exchangedata.file1.path, '');
CREATE MACRO mw_es_source(e) AS coalesce(e."rename".source.path, e.clone.source.path, e.copyfile.source.path, e.link.source.path, e.exchangedata.file2.path, '');
-- FWRITE is 2; an open for reading changes nothing.
CREATE MACRO mw_es_action(name, e) AS CASE name
  WHEN 'unlink' THEN 'FileDeleted' WHEN 'rename' THEN 'FileRenamed' WHEN 'create' THEN 'FileCreated' WHEN 'truncate' THEN 'FileModified' WHEN 'write' THEN 'FileModified'
  WHEN 'close' THEN CASE WHEN e.close.modified THEN 'FileModified' ELSE '' END WHEN 'open' THEN CASE WHEN (e.open.fflag & 2) <> 0 THEN 'FileModified' ELSE '' END
  WHEN 'clone' THEN 'FileCreated' WHEN 'copyfile' THEN 'FileCreated' WHEN 'link' THEN 'FileCreated' WHEN 'exchangedata' THEN 'FileModified' ELSE '' END;
-- Arguments as one line a person can read back: quoted where the shell would need it.
CREATE MACRO mw_unix_command(args) AS coalesce(array_to_string(list_transform(args, lambda a: CASE WHEN a IS NULL THEN '' WHEN regexp_matches(a, '^[\w@%+=:,./~-]+$') THEN a ELSE '''' || replace(a, '''', '''\''''') || '''' END), ' '), '');
CREATE MACRO mw_unix_name(path) AS coalesce(regexp_extract(path, '[^/]*$'), '');
-- /System/Volumes/Data/Users is /Users seen through the data volume, /private/var is /var.
CREATE MACRO mw_macos_path(p) AS regexp_replace(regexp_replace(coalesce(p, ''), '^/System/Volumes/Data/', '/'), '^/private/(var|tmp|etc)/', '/\1/');
-- Whose home a path is in: Endpoint Security gives user numbers, the mail store names its owner.
CREATE MACRO mw_macos_home(p) AS coalesce(regexp_extract(p, '^/Users/([^/]+)/', 1), '');
-- osquery: the members of `columns`, whichever table they come from.
CREATE MACRO mw_osquery(c) AS json_transform(c, '{"target_path":"VARCHAR","action":"VARCHAR","sha256":"VARCHAR","md5":"VARCHAR","sha1":"VARCHAR","size":"VARCHAR","time":"BIGINT","uid":"VARCHAR","path":"VARCHAR","cmdline":"VARCHAR","pid":"BIGINT","parent":"BIGINT","username":"VARCHAR","euid":"VARCHAR","event_type":"VARCHAR","filename":"VARCHAR","dest_filename":"VARCHAR","source_path":"VARCHAR","category":"VARCHAR","executable":"VARCHAR","partial":"VARCHAR","auid":"VARCHAR","cwd":"VARCHAR"}');
CREATE MACRO mw_osquery_action(c) AS CASE
  WHEN upper(c.action) IN ('CREATED') THEN 'FileCreated' WHEN upper(c.action) IN ('DELETED') THEN 'FileDeleted' WHEN upper(c.action) IN ('UPDATED', 'WRITE') THEN 'FileModified'
  WHEN upper(c.action) LIKE 'MOVED%' THEN 'FileRenamed'
  WHEN lower(c.event_type) IN ('unlink') THEN 'FileDeleted' WHEN lower(c.event_type) = 'rename' THEN 'FileRenamed' WHEN lower(c.event_type) = 'create' THEN 'FileCreated'
  WHEN lower(c.event_type) IN ('truncate', 'write') THEN 'FileModified' ELSE '' END;
