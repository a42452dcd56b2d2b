-- Parameters of Google's Reports API as one bag. A parameter holds its value under the name of its type, and Gmail's
-- nest messages in messages four deep: event_info.client_context.session_context.delegate_user_email.

-- One parameter without what nests in it, as DuckDB reads it; numbers and truth values come as text in either spelling.
CREATE MACRO mw_google_leaf_type() AS '"name":"VARCHAR","value":"VARCHAR","intValue":"VARCHAR","boolValue":"VARCHAR","multiValue":["VARCHAR"],"multiIntValue":["VARCHAR"],"multiBoolValue":["VARCHAR"]';
CREATE MACRO mw_google_flat_type() AS '[{"parameter":[{' || mw_google_leaf_type() || '}]}]';
CREATE MACRO mw_google_type1() AS '[{' || mw_google_leaf_type() || ',"multiMessageValue":' || mw_google_flat_type() || '}]';
CREATE MACRO mw_google_type2() AS '[{' || mw_google_leaf_type() || ',"multiMessageValue":' || mw_google_flat_type() || ',"messageValue":{"parameter":' || mw_google_type1() || '}}]';
CREATE MACRO mw_google_type3() AS '[{' || mw_google_leaf_type() || ',"multiMessageValue":' || mw_google_flat_type() || ',"messageValue":{"parameter":' || mw_google_type2() || '}}]';
CREATE MACRO mw_google_type4() AS '[{' || mw_google_leaf_type() || ',"multiMessageValue":' || mw_google_flat_type() || ',"messageValue":{"parameter":' || mw_google_type3() || '}}]';

-- The value of one parameter as JSON text.
CREATE MACRO mw_google_scalar(p) AS CASE
  WHEN p.multiValue IS NOT NULL THEN to_json(p.multiValue)::VARCHAR
  WHEN p.multiIntValue IS NOT NULL THEN to_json(p.multiIntValue)::VARCHAR
  WHEN p.multiBoolValue IS NOT NULL THEN to_json(p.multiBoolValue)::VARCHAR
  ELSE to_json(coalesce(p.value, p.intValue, p.boolValue, ''))::VARCHAR END;
-- A list of messages stays a list: one bag for each, such as the destinations of a message.
CREATE MACRO mw_google_messages(m) AS '[' || array_to_string(list_transform(m, lambda x: '{' || coalesce(array_to_string(
  list_transform(x.parameter, lambda y: to_json(coalesce(y.name, ''))::VARCHAR || ':' || mw_google_scalar(y)), ','), '') || '}'), ',') || ']';
CREATE MACRO mw_google_own(p) AS coalesce(mw_google_messages(p.multiMessageValue), mw_google_scalar(p));

-- Nested messages become nested bags, so that event_info.mail_event_type is a path in it. Lambdas capture nothing on purpose:
-- prefixing names with those of the messages around them cost thirty times as much (measured).
CREATE MACRO mw_google_bag1(params) AS '{' || coalesce(array_to_string(list_transform(params, lambda d: to_json(coalesce(d.name, ''))::VARCHAR || ':' || mw_google_own(d)), ','), '') || '}';
CREATE MACRO mw_google_bag2(params) AS '{' || coalesce(array_to_string(list_transform(params, lambda c: to_json(coalesce(c.name, ''))::VARCHAR || ':' ||
  CASE WHEN c.messageValue IS NULL THEN mw_google_own(c) ELSE mw_google_bag1(c.messageValue.parameter) END), ','), '') || '}';
CREATE MACRO mw_google_bag3(params) AS '{' || coalesce(array_to_string(list_transform(params, lambda b: to_json(coalesce(b.name, ''))::VARCHAR || ':' ||
  CASE WHEN b.messageValue IS NULL THEN mw_google_own(b) ELSE mw_google_bag2(b.messageValue.parameter) END), ','), '') || '}';
CREATE MACRO mw_google_bag4(params) AS '{' || coalesce(array_to_string(list_transform(params, lambda a: to_json(coalesce(a.name, ''))::VARCHAR || ':' ||
  CASE WHEN a.messageValue IS NULL THEN mw_google_own(a) ELSE mw_google_bag3(a.messageValue.parameter) END), ','), '') || '}';

-- The usual form in one pass of one expression, five times as fast as reading and writing every parameter (measured). It drops the
-- words around names and values; an opening such as {"name": cannot stand inside a text, where quotes are escaped. Whatever does not
-- end as JSON goes the long way.
CREATE MACRO mw_google_rewritten(t) AS regexp_replace(t,
  '\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"messageValue"\s*(:\s*\{)\s*"parameter"\s*:\s*\[|\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:value|intValue|boolValue|multiValue|multiIntValue|multiBoolValue)"\s*(:)\s*("(?:[^"\\]|\\.)*"|\[(?:"(?:[^"\\]|\\.)*"|[^"\]])*\]|[^,"{}\[\]]+)\s*\}|\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"multiMessageValue"\s*(:\s*\[\s*\{)\s*"parameter"\s*:\s*\[|\]\s*(\}\s*,\s*\{)\s*"parameter"\s*:\s*\[|\]\s*(\}\s*\]?)\s*\}',
  '\1\2\3\4\5\6\7\8\9', 'g');
CREATE MACRO mw_google_fast(j) AS '{' || mw_google_rewritten(substr(j::VARCHAR, 2, length(j::VARCHAR) - 2)) || '}';
-- Parameters without a value, or with the value before the name, go the long way: that test costs little, and what coalesce() is given
-- second is computed for every row.
CREATE MACRO mw_google_is_odd(t) AS regexp_matches(t, '\{\s*(?:"name"\s*:\s*"(?:[^"\\]|\\.)*"\s*\}|"(?:value|intValue|boolValue|multi[A-Za-z]*|messageValue)"\s*:)|"multiMessageValue"\s*:\s*\[\s*\]');

-- Parameters as the API lists them, or an object of values as flattening collectors and BigQuery write it.
CREATE MACRO mw_google_bag(j) AS CASE left(j::VARCHAR, 1)
  WHEN '[' THEN CASE WHEN mw_google_is_odd(j::VARCHAR) THEN TRY(mw_google_bag4(json_transform(j, mw_google_type4()))::JSON) ELSE TRY(mw_google_fast(j)::JSON) END
  WHEN '{' THEN j END;
-- The first event of an activity: a list as the API gives it, an object where a collector has split it.
CREATE MACRO mw_google_first(events) AS CASE WHEN json_type(events) = 'ARRAY' THEN json_extract(events, '$[0]') ELSE events END;
-- Times in microseconds as BigQuery writes them, as text or number.
CREATE MACRO mw_time_us(x) AS make_timestamp(try_cast(x AS BIGINT));
-- A header of a message of the Gmail API, by its name in lower case.
CREATE MACRO mw_gmail_header(payload, wanted) AS coalesce(list_filter(TRY(json_transform(json_extract(payload, '$.headers'), '[{"name":"VARCHAR","value":"VARCHAR"}]')), lambda h: lower(h.name) = wanted)[1].value, '');
