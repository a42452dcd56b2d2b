-- An Internet message id as the ledger compares it: without angle brackets and blanks, in lower case; a monstrous one is compared by its digest.
-- RFC 5322 3.6.4 allows no blanks in it; the longest line of a header is 998 characters (2.1.1).
CREATE MACRO mw_message_key(id) AS CASE
  WHEN id IS NULL OR id = '' THEN ''
  WHEN length(id) > 998 THEN 'md5:' || md5(id)
  WHEN regexp_full_match(id, '<?[!-;=?-~]+>?') THEN lower(trim(id, '<>'))
  ELSE lower(regexp_replace(id, '[\s\x00-\x20<>\x{7f}-\x{a0}\x{ad}\x{200b}-\x{200f}\x{2028}-\x{202f}\x{2060}-\x{206f}\x{feff}]', '', 'g')) END;

-- An id of which Dovecot's mail_log plugin does not write every character as it is: shortened (MSGID_LOG_LEN is 80), encoded, or with control characters.
CREATE MACRO mw_is_odd_id(id) AS length(id) > 80 OR contains(id, '=?') OR regexp_matches(id, '[\x00-\x1f\x{7f}]');

-- The first encoded word of a header (RFC 2047) in plain text; what cannot be decoded stays as it is.
CREATE MACRO mw_word_text(id) AS coalesce(CASE WHEN regexp_matches(id, '=\?[^?]*\?[qQ]\?')
    THEN try(url_decode(replace(replace(regexp_extract(id, '=\?[^?]*\?[qQ]\?([^?]*)\?=', 1), '%', '%25'), '=', '%')))
    ELSE try(decode(from_base64(regexp_extract(id, '=\?[^?]*\?[bB]\?([^?]*)\?=', 1)))) END, '');
CREATE MACRO mw_decoded_id(id) AS CASE WHEN regexp_matches(id, '=\?[^?]*\?[bBqQ]\?[^?]*\?=')
  THEN regexp_extract(id, '(?s)^(.*?)=\?[^?]*\?[bBqQ]\?[^?]*\?=', 1) || mw_word_text(id) || regexp_extract(id, '(?s)=\?[^?]*\?[bBqQ]\?[^?]*\?=(.*)$', 1) ELSE id END;

-- An id as Dovecot's mail_log plugin writes it (str_sanitize): question marks for control characters, and of long ones 77 characters and three dots.
CREATE MACRO mw_cut_id(id) AS CASE WHEN length(id) > 80 THEN left(id, 77) || '...' ELSE id END;
CREATE MACRO mw_logged_id(id) AS mw_cut_id(regexp_replace(mw_decoded_id(id), '[\x00-\x1f\x{7f}]', '?', 'g'));

-- An id that only identifies one message as long as its sender is honest must at least look like one.
CREATE MACRO mw_is_message_key(k) AS regexp_full_match(k, '[!-?A-~]+@[!-?A-~]+') AND length(k) >= 8;

-- One number that orders records by time, exhibit and place, and gives them back: the latest of millions is found without keeping their texts.
-- 64 bits for microseconds since 1970, 24 for the exhibit's number, 40 for the record's.
CREATE MACRO mw_order(t, e, n) AS CAST(greatest(epoch_us(t), 0) AS HUGEINT) * 18446744073709551616::HUGEINT
  + CAST(coalesce(try_cast(substr(e, 2) AS BIGINT), 0) & 16777215 AS HUGEINT) * 1099511627776::HUGEINT + (n & 1099511627775);
-- Shifts, because the integer division of such large numbers goes through floating point.
CREATE MACRO mw_order_time(o) AS make_timestamp(CAST(o >> 64 AS BIGINT));
CREATE MACRO mw_order_exhibit(o) AS 'E' || CAST((o >> 40) & 16777215::HUGEINT AS VARCHAR);
CREATE MACRO mw_order_record(o) AS CAST(o & 1099511627775::HUGEINT AS BIGINT);

-- The last moment that a time can mean: a log that writes whole seconds says nothing of their parts.
CREATE MACRO mw_until(t) AS CASE WHEN date_trunc('second', t) = t THEN t + INTERVAL 999999 MICROSECOND ELSE t END;

-- The time of a listing's row; a listing without any time has none.
CREATE MACRO mw_listed_time(o) AS nullif(mw_order_time(o), TIMESTAMP '1970-01-01');

-- A record behind a row of the ledger, as JSON; null when there is none. Exhibits are E and a number.
CREATE MACRO mw_behind(e, n, what) AS CASE WHEN e <> '' THEN '{"e":"' || e || '","p":' || n || ',"what":"' || what || '"}' END;
