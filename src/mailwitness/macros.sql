-- Functions shared by the mappings. Names start with mw_ so that no column can hide them.

-- A time in any form exports use, as UTC without zone. An offset must be honoured: DuckDB's plain cast drops it.
-- 12-hour US forms come from the portal and from Windows PowerShell; they carry no zone and are taken as UTC.
CREATE MACRO mw_time(x) AS coalesce(
  CASE WHEN length(x) > 19 AND regexp_matches(substr(x, 20), '[+-]\d\d:?\d\d\s*$')
       THEN make_timestamp(epoch_us(try_cast(trim(x) AS TIMESTAMPTZ)))
       ELSE try_cast(x AS TIMESTAMP) END,
  try_strptime(trim(x), ['%m/%d/%Y %I:%M:%S %p', '%m/%d/%Y, %I:%M:%S.%f %p', '%m/%d/%Y, %I:%M:%S %p', '%m/%d/%Y %I:%M %p',
                         '%m/%d/%Y %H:%M:%S', '%m/%d/%Y %H:%M', '%Y-%m-%d %H:%M:%S UTC', '%Y-%m-%dT%H:%M:%S.%fZ', '%d %b %Y %H:%M:%S']));

-- Text as JSON, or null: json functions raise on damaged text.
CREATE MACRO mw_json(x) AS CASE WHEN json_valid(x::VARCHAR) THEN x::JSON END;

-- A dynamic cell: an object, or an object written as text inside a string.
CREATE MACRO mw_dynamic(x) AS CASE
  WHEN x IS NULL OR x::VARCHAR IN ('', '""') THEN NULL
  WHEN NOT json_valid(x::VARCHAR) THEN to_json(x::VARCHAR)
  WHEN left(x::VARCHAR, 1) = '"' AND json_valid(x::JSON ->> '$') AND left(ltrim(x::JSON ->> '$'), 1) IN ('{', '[') THEN (x::JSON ->> '$')::JSON
  ELSE x::JSON END;

-- An address without port and brackets: 192.0.2.1:443, [2001:db8::1]:443, ::ffff:192.0.2.1.
CREATE MACRO mw_address(x) AS (CASE
  WHEN x IS NULL THEN ''
  WHEN NOT contains(x, ':') THEN x
  WHEN left(x, 1) = '[' THEN regexp_replace(lower(split_part(substr(x, 2), ']', 1)), '^::ffff:(\d+\.)', '\1')
  WHEN x LIKE '::ffff:%.%' THEN split_part(substr(x, 8), ':', 1)
  WHEN contains(x, '.') THEN split_part(x, ':', 1)
  ELSE lower(x) END);

-- `-Name "value" -Switch:$true` as a bag; a switch without value becomes "".
CREATE MACRO mw_bag_text(t) AS CASE WHEN t IS NULL OR t = '' THEN NULL ELSE
  ('{' || coalesce(array_to_string(list_transform(
    list_zip(regexp_extract_all(t, '-([A-Za-z][A-Za-z0-9]*)(?::|\s+|$)(?:"((?:[^"]|"")*)"|([^-\s][^\s]*))?', 1),
             regexp_extract_all(t, '-([A-Za-z][A-Za-z0-9]*)(?::|\s+|$)(?:"((?:[^"]|"")*)"|([^-\s][^\s]*))?', 2),
             regexp_extract_all(t, '-([A-Za-z][A-Za-z0-9]*)(?::|\s+|$)(?:"((?:[^"]|"")*)"|([^-\s][^\s]*))?', 3)),
    lambda p: to_json(p[1])::VARCHAR || ':' || to_json(coalesce(nullif(p[2], ''), p[3], ''))::VARCHAR), ','), '') || '}')::JSON END;

-- A list of Name/Value as a bag.
CREATE MACRO mw_bag_list(t) AS ('{' || coalesce(array_to_string(list_transform(
  try(from_json(replace(replace(t, '"name":', '"Name":'), '"value":', '"Value":'), '[{"Name":"VARCHAR","Value":"VARCHAR"}]')),
  lambda p: to_json(coalesce(p.Name, ''))::VARCHAR || ':' || to_json(coalesce(p.Value, ''))::VARCHAR), ','), '') || '}')::JSON;

-- Parameters in any form they come in: a list of Name/Value (any case), one text, or a bag already.
-- Built as text because an attacker may repeat a name: a DuckDB map refuses that, a JSON object keeps the first.
CREATE MACRO mw_bag(j) AS CASE
  WHEN j IS NULL OR j::VARCHAR = '' THEN NULL
  WHEN left(ltrim(j::VARCHAR), 1) NOT IN ('[', '{', '"') THEN mw_bag_text(j::VARCHAR)
  WHEN NOT json_valid(j::VARCHAR) THEN NULL
  WHEN left(ltrim(j::VARCHAR), 1) = '[' THEN mw_bag_list(j::VARCHAR)
  WHEN left(ltrim(j::VARCHAR), 1) = '"' AND left(ltrim(j::JSON ->> '$'), 1) = '[' THEN mw_bag_list(j::JSON ->> '$')
  WHEN left(ltrim(j::VARCHAR), 1) = '"' THEN mw_bag_text(j::JSON ->> '$')
  ELSE j::JSON END;

CREATE MACRO mw_text(j) AS coalesce(j::VARCHAR, '');
