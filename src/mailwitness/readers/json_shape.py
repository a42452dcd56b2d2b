"""Telling the shapes of JSON text apart: lines, an array, an array in a wrapper, one object, several."""

from __future__ import annotations

import msgspec

from mailwitness.readers.blocks import UTF8_BOM
from mailwitness.readers.json_tokens import Member, Members, read_members, skip_blank, value_end

# Names under which services wrap their records: Graph and the Management API (value), AWS (Records), Google
# (items), Elasticsearch (hits.hits), Sentinel and Log Analytics (tables), Okta and others. Lower case.
_WRAPPER_KEYS = frozenset(
    (  # noqa: SIM905 - words in a row are read and extended more easily than a tall list
        "value records events items results hits data entries logs resources activities auditlogs "
        "auditevents auditrecords documents docs alerts incidents messages responses searchresults tables "
        "d result response body issues content filter forwardingaddresses delegates sendas"
    ).split()
)
# An object with one of these keys beside the array is itself a record, for instance a Google activity, whose
# `events` are part of one record.
_RECORD_KEYS = frozenset(
    (  # noqa: SIM905 - words in a row are read and extended more easily than a tall list
        "operation operationname creationtime creationdate createddatetime recordtype userid actor workload "
        "eventid eventname eventtime timegenerated timestamp @timestamp time id.time auditdata action"
    ).split()
)
# Objects that describe an answer, not a record.
_DESCRIPTIONS = frozenset(
    (  # noqa: SIM905 - words in a row are read and extended more easily than a tall list
        "_shards aggregations profile meta metadata _meta pagination paging links _links page statistics "
        "stats error errors warnings responseinfo render schema"
    ).split()
)
_MAX_SIBLINGS = 12
# An unknown name is believed to wrap records when the array is at least this share of the object.
_MIN_SHARE = 0.8
_MAX_SCALAR_BYTES = 4096
_SNIFFED_LINES = 200


class Wrapper(msgspec.Struct, frozen=True):
    """Describe an object that wraps an array of records.

    `path` leads to the array (`("hits", "hits")`), `start` is the place of its bracket, `scalars` the plain
    members before it, `is_tables` says that it holds Log Analytics tables with columns and rows.
    """

    path: tuple[str, ...]
    start: int
    scalars: dict[str, object]
    is_tables: bool = False


def scalars_of(text: bytes, members: list[Member]) -> dict[str, object]:
    """Return the members that are neither objects nor arrays, decoded; overlong ones are left out."""
    found: dict[str, object] = {}
    for member in members:
        raw = text[member.start : max(member.end, member.start)]
        if raw[:1] in {b"{", b"[", b""} or len(raw) > _MAX_SCALAR_BYTES:
            continue
        try:
            found[member.key] = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def find_wrapper(text: bytes, start: int) -> Wrapper | None:
    """Return how the object at `start` wraps records, or None when it is a record itself.

    `text` may end before the object does. Known names at depth 1 or 2 count first; an unknown name counts
    when the array holds objects and makes up most of the object, so that a single audit record with its
    Parameters is never taken apart.
    """
    outer = read_members(text, start + 1)
    if any(member.key.lower() in _RECORD_KEYS for member in outer.members):
        return None
    for member in outer.members:
        if wrapper := _known(text, outer, member) or _known_inside(text, outer, member):
            return wrapper
    for member in outer.members:
        if _is_most_of(text, start, outer, member):
            return Wrapper((member.key,), member.start, scalars_of(text, _before(outer, member)))
    return None


def _before(outer: Members, member: Member) -> list[Member]:
    return [other for other in outer.members if other.start < member.start]


def _known(text: bytes, outer: Members, member: Member) -> Wrapper | None:
    if member.key.lower() not in _WRAPPER_KEYS or text[member.start : member.start + 1] != b"[":
        return None
    first = skip_blank(text, member.start + 1)
    if text[first : first + 1] not in {b"{", b"]"} or not _has_plain_siblings(text, outer, member):
        return None
    is_tables = member.key.lower() == "tables" and is_table(text, first) is not None
    return Wrapper((member.key,), member.start, scalars_of(text, _before(outer, member)), is_tables)


def _known_inside(text: bytes, outer: Members, member: Member) -> Wrapper | None:
    is_object = text[member.start : member.start + 1] == b"{"
    if (
        not is_object
        or member.key.lower() not in _WRAPPER_KEYS
        or not _has_plain_siblings(text, outer, member)
    ):
        return None
    inner = read_members(text, member.start + 1)
    if any(other.key.lower() in _RECORD_KEYS for other in inner.members):
        return None
    for candidate in inner.members:
        if found := _known(text, inner, candidate):
            scalars = scalars_of(text, _before(outer, member)) | found.scalars
            return Wrapper((member.key, candidate.key), candidate.start, scalars)
    return None


def _has_plain_siblings(text: bytes, outer: Members, member: Member) -> bool:
    others = [other for other in outer.members if other is not member]
    return len(others) <= _MAX_SIBLINGS and all(
        _is_plain(text, other) or other.key.lower() in _DESCRIPTIONS for other in others
    )


def _is_plain(text: bytes, member: Member) -> bool:
    """Say whether a member holds a scalar, or an array without objects."""
    first = text[member.start : member.start + 1]
    if first == b"[":
        inside = skip_blank(text, member.start + 1)
        return text[inside : inside + 1] not in {b"{", b"["}
    return first != b"{"


def is_table(text: bytes, start: int) -> list[str] | None:
    """Return the column names when the object at `start` is a table of columns and then rows, else None."""
    members = {
        member.key.lower(): member for member in read_members(text, start + 1, frozenset({"rows"})).members
    }
    if not {"columns", "rows"} <= members.keys():
        return None
    place = members["columns"]
    try:
        columns = msgspec.json.decode(text[place.start : max(place.end, 0)], type=list[dict[str, object]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return [str(column.get("name", column.get("ColumnName", ""))) for column in columns]


def unread_parts(text: bytes, members: list[Member]) -> list[Member]:
    """Return the members that hold objects and do not merely describe an answer."""
    return [
        member
        for member in members
        if member.end > 0 and not _is_plain(text, member) and member.key.lower() not in _DESCRIPTIONS
    ]


def _is_most_of(text: bytes, start: int, outer: Members, member: Member) -> bool:
    """Say whether a member under an unknown name is an array of several objects that fills its object."""
    first = skip_blank(text, member.start + 1)
    if text[member.start : member.start + 1] != b"[" or text[first : first + 1] != b"{":
        return False
    if not _has_plain_siblings(text, outer, member):
        return False
    size = (len(text) if outer.end < 0 else outer.end) - start
    length = (len(text) if member.end < 0 else member.end) - member.start
    after_first = value_end(text, first)
    has_second = after_first > 0 and text[skip_blank(text, after_first)] == ord(",")
    return has_second and length >= _MIN_SHARE * size


def sniff_json(head: bytes) -> str | None:
    """Say which JSON shape a file has, from its first bytes (64 KiB or more are advisable).

    Returns:
        `ndjson`: one object a line, DuckDB reads it directly. All others go through `split_json`: `array`,
        `wrapped` (an object around an array of records, Log Analytics tables included), `object` (a single
        one), `concatenated` (several values one after another, also one array a line). None: not JSON.
    """
    text = head.removeprefix(UTF8_BOM)
    start = skip_blank(text, 0)
    first = text[start : start + 1]
    if first == b"[":
        return _sniff_array(text, start)
    if _most_lines_are_objects(text):
        line_end = text.find(b"\n", start)
        whole = text[start:] if line_end < 0 else text[start:line_end]
        return "wrapped" if first == b"{" and find_wrapper(whole, 0) else "ndjson"
    if first != b"{" or text[skip_blank(text, start + 1) :][:1] not in {b'"', b"}"}:
        return None
    if find_wrapper(text, start):
        return "wrapped"
    return _sniff_object(text, start)


def _sniff_array(text: bytes, start: int) -> str | None:
    inside = text[skip_blank(text, start + 1) :][:1]
    if inside not in {b"{", b"]", b""}:
        return None
    end = value_end(text, start)
    after = text[skip_blank(text, end) :][:1] if end > 0 else b""
    return "concatenated" if after in {b"[", b"{"} else "array"


def _sniff_object(text: bytes, start: int) -> str:
    end = value_end(text, start)
    if end < 0:
        # One record that fills the whole head: on a line of its own it is NDJSON as far as anyone can see.
        return "object" if b"\n" in text[start:].rstrip() else "ndjson"
    rest = text[end:].lstrip(b" \t\r\n,")
    return "concatenated" if rest[:1] in {b"{", b"["} else "object"


def _most_lines_are_objects(text: bytes) -> bool:
    lines = [line for line in text.split(b"\n", _SNIFFED_LINES)[:_SNIFFED_LINES] if line.strip()]
    if len(lines) > 1 and not text.endswith(b"\n") and len(lines) < _SNIFFED_LINES:
        lines.pop()  # the head may cut it off
    objects = sum(1 for line in lines if _is_object(line))
    return objects > 0 and 2 * objects >= len(lines)


def _is_object(line: bytes) -> bool:
    try:
        # Raw is checked but not built: any object will do.
        raw = msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return bytes(raw).startswith(b"{")
