-- Parameters of Google's Reports API as one bag. A parameter holds its value under the name of its type, and Gmail's
-- nest messages in messages four deep: event_info.client_context.session_context.delegate_user_email.

-- The usual form by plain replacement, eight times as fast as one expression with groups (measured). The text has no blanks: it comes
-- from the database. A quote before or after the letters of a name cannot be part of a text, where quotes are escaped; nor can chr(1),
-- which stands where a parameter ends and moves to the left over the ends of the messages around it, each of which leaves its own bracket.
-- Whatever is not of that form does not end as JSON.
CREATE MACRO mw_google_left(t) AS replace(t, ']}}' || chr(1), chr(1) || '}');
CREATE MACRO mw_google_left_many(t) AS replace(t, ']}]}' || chr(1), chr(1) || '}]');
CREATE MACRO mw_google_named(t) AS replace(replace(replace(replace(replace(substr(t, 2, length(t) - 2), ',{"name":', chr(1) || ','),
  ',"value":', ':'), ',"intValue":', ':'), ',"boolValue":', ':'), ',"messageValue":{"parameter":[{"name":', ':{') || chr(1);
CREATE MACRO mw_google_named_many(t) AS replace(replace(replace(replace(replace(t, ',"multiValue":', ':'), ',"multiIntValue":', ':'), ',"multiBoolValue":', ':'),
  ',"multiMessageValue":[{"parameter":[{"name":', ':[{'), ']},{"parameter":[{"name":', chr(1) || '},{');
CREATE MACRO mw_google_closed(t) AS '{' || substr(replace(t, '}' || chr(1), ''), 9) || '}';
CREATE MACRO mw_google_quick(t) AS TRY_CAST(CASE
  WHEN left(t, 9) <> '[{"name":' THEN NULL
  WHEN contains(t, ',"multi') THEN mw_google_closed(mw_google_left_many(mw_google_left(mw_google_left_many(mw_google_left_many(mw_google_left(mw_google_left(mw_google_left(mw_google_named_many(mw_google_named(t))))))))))
  ELSE mw_google_closed(mw_google_left(mw_google_left(mw_google_left(mw_google_named(t))))) END AS JSON);

-- Parameters as the API lists them, or an object of values as flattening collectors and BigQuery write it. What is left after the usual
-- form goes through Python, which takes any depth; nested lists of structures took the database half a second to plan.
CREATE MACRO mw_google_other(j, first) AS CASE first WHEN '{' THEN j WHEN '[' THEN TRY_CAST(nullif(mw_google_nested(j::VARCHAR), '') AS JSON) END;
-- The number of an event of Gmail where it is written as usual: the first parameter is event_info, and before the number stand plain values.
-- Whatever is not exactly so gives NULL, and the bag has to tell.
CREATE MACRO mw_google_mail_type(j) AS CASE WHEN starts_with(j::VARCHAR, '[{"name":"event_info","messageValue":{"parameter":[{"name":"mail_event_type","intValue":"')
  THEN nullif(regexp_extract(substr(j::VARCHAR, 90, 12), '^(\d+)"\}', 1), '') ELSE nullif(regexp_extract(j::VARCHAR,
  '^\[\{"name":"event_info","messageValue":\{"parameter":\[(?:\{"name":"[a-ln-z]\w*","(?:intValue|boolValue|value)":(?:"[^"\\]*"|\w+)\},)*\{"name":"mail_event_type","intValue":"?(\d+)"?\}', 1), '') END;
CREATE MACRO mw_google_bag(j) AS coalesce(mw_google_quick(j::VARCHAR), mw_google_other(j, left(j::VARCHAR, 1)));
-- The first event of an activity: a list as the API gives it, an object where a collector has split it.
CREATE MACRO mw_google_first(events) AS CASE WHEN left(events::VARCHAR, 1) = '[' THEN json_extract(events, ['$[0].type', '$[0].name', '$[0].parameters'])
  ELSE json_extract(events, ['$.type', '$.name', '$.parameters']) END;
-- Times in microseconds as BigQuery writes them, as text or number.
CREATE MACRO mw_time_us(x) AS make_timestamp(try_cast(x AS BIGINT));
-- A header of a message of the Gmail API, by its name in lower case.
CREATE MACRO mw_gmail_header(payload, wanted) AS coalesce(list_filter(TRY(json_transform(json_extract(payload, '$.headers'), '[{"name":"VARCHAR","value":"VARCHAR"}]')), lambda h: lower(h.name) = wanted)[1].value, '');
