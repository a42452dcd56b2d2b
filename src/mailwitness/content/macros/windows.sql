-- Functions for Windows events in the common shape of readers/windows_event.py.

CREATE MACRO mw_xml_text(x) AS replace(replace(replace(replace(x, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');

-- Values without names as Sentinel writes them: <Param>a</Param><Param>b</Param>.
CREATE MACRO mw_param_xml(p) AS coalesce(array_to_string(list_transform(p, lambda v: '<Param>' || mw_xml_text(coalesce(v, '')) || '</Param>'), ''), '');

-- Event data as Sentinel's Event table writes it.
CREATE MACRO mw_event_xml(d, p) AS
  '<DataItem type="System.XmlData"><EventData>' ||
  coalesce(array_to_string(list_transform(json_keys(d), lambda k: '<Data Name="' || mw_xml_text(k) || '">' ||
    mw_xml_text(coalesce(json_extract_string(d, '$."' || replace(k, '"', '') || '"'), '')) || '</Data>'), ''), '') ||
  coalesce(array_to_string(list_transform(p, lambda v: '<Data>' || mw_xml_text(coalesce(v, '')) || '</Data>'), ''), '') || '</EventData></DataItem>';

-- The last part of a Windows path.
CREATE MACRO mw_file_name(x) AS coalesce(regexp_extract(x, '([^\\/]*)$', 1), '');

-- A hash out of Sysmon's list: SHA1=..,MD5=..,SHA256=..
CREATE MACRO mw_hash(x, kind) AS coalesce(lower(regexp_extract(x, '(?:^|,)' || kind || '=([0-9A-Fa-f]+)', 1)), '');

-- The two halves of DOMAIN\name.
CREATE MACRO mw_domain(x) AS CASE WHEN contains(x, '\') THEN split_part(x, '\', 1) ELSE '' END;
CREATE MACRO mw_user(x) AS CASE WHEN contains(x, '\') THEN split_part(x, '\', 2) ELSE coalesce(x, '') END;

-- A Sysmon value or the dash it writes for none.
CREATE MACRO mw_known(x) AS CASE WHEN x = '-' THEN '' ELSE coalesce(x, '') END;

CREATE MACRO mw_is_sysmon(provider) AS provider IN ('Microsoft-Windows-Sysmon', 'Linux-Sysmon');

-- Bits of an access mask given as 0x10000; DELETE is 0x10000, WriteData 0x2, AppendData 0x4, WRITE_DAC 0x40000.
CREATE MACRO mw_mask(x) AS coalesce(try_cast(x AS BIGINT), 0);
