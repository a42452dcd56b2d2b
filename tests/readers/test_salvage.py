"""Promises of the salvage of damaged JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers.mending import mend
from mailwitness.readers.salvage import salvage, salvage_json

# None cuts a text off; all others are written over it.
DAMAGES = (
    None,
    b"\xff\xfe\x00",
    b"\x00",
    b'"',
    b"{",
    b"}",
    b"]",
    b",",
    b":",
    b"\\",
    b"1",
    b"x",
    b" ",
    b"NaN",
    b"\\ud800",
)

# Values of any JSON shape; Any because JSON is what it is.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def is_part_of(part: object, whole: object) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part_of(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_part_of, part, whole))
    return part == whole


@settings(max_examples=500)
@given(
    value=st.dictionaries(st.text(max_size=4), json_values, max_size=5),
    share=st.floats(0, 1),
    indent=st.sampled_from([None, 1]),
)
def test_a_cut_object_gives_nothing_but_true_parts(
    value: dict[str, Any], share: float, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).encode()

    found = salvage(text[: int(share * len(text))])

    assert is_part_of(found.members, value)
    whole = list(value)[: max(0, len(found.members) - 1)]
    assert all(found.members[key] == value[key] for key in whole)


@settings(max_examples=500)
@given(data=st.binary(max_size=40) | st.text('{}[]",:\\a1 ', max_size=40).map(str.encode))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    members, has_any = salvage_json(data)

    assert has_any == bool(members)
    json.dumps(members).encode()
    json.dumps(members, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "members", "incomplete"),
    [
        (b"", {}, []),
        (b"text", {}, []),
        (b'{"a":1,"b":"cut', {"a": 1}, []),
        (b'{"a":1,"b":12', {"a": 1}, []),
        (b'{"a":1,"b":tru', {"a": 1}, []),
        (b'{"a":1,"b', {"a": 1}, []),
        (b'{"a":1,"b":', {"a": 1}, []),
        (b'{"a":{"b":1,"c":[1,2,{"d":"x"},{"e":', {"a": {"b": 1, "c": [1, 2, {"d": "x"}, {}]}}, ["a"]),
        (b'{"a":undefined,"b":01,"c":2', {}, []),
        (b'{"a":undefined,"b":01,"c":2}', {"c": 2}, []),
        (b'{"a":1]"b":2}', {"a": 1}, []),
        (b'{"a":1 "b":{"c":oops}}', {"a": 1, "b": {}}, ["b"]),
        (b'{"a":1,"a":2,', {"a": 1}, []),
    ],
)
def test_complete_members_are_kept(text: bytes, members: dict[str, object], incomplete: list[str]) -> None:
    found = salvage(text)

    assert found.members == members
    assert found.incomplete == incomplete
    assert not found.is_whole


@pytest.mark.parametrize(
    ("text", "members"),
    [
        (b'{"a":"\\ud800"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d\\ude00 \\\\ud800"}', {"a": "😀 \\ud800"}),
        (b'{"a":"x\x00\x01\n"}', {"a": "x\x00\x01\n"}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":1} and more', {"a": 1}),
        (b'Jan 02 host: {"a":1}', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 1}),
    ],
)
def test_what_the_database_refuses_is_still_read(text: bytes, members: dict[str, object]) -> None:
    found = salvage(text)

    assert found.members == members
    assert found.is_whole


@pytest.mark.parametrize(
    "text", [b'{"a":' + b"[" * 300_000, b'{"a":' * 100_000, b'{"k":1,"a":' + b"[" * 100_000]
)
def test_bottomless_nesting_is_left(text: bytes) -> None:
    members, _ = salvage_json(text)

    assert len(str(members)) < 10_000


def test_only_the_allowed_bytes_are_looked_at() -> None:
    assert salvage(b'{"a":1,"b":2,"c":3}', limit=13).members == {"a": 1, "b": 2}


def _first_of_equals(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


@settings(max_examples=300)
@given(
    value=st.dictionaries(st.text(max_size=4), json_values, max_size=5),
    places=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([*DAMAGES])), max_size=3),
    separators=st.sampled_from([(",", ":"), (" , ", " : ")]),
)
def test_a_mended_text_says_what_salvage_finds(
    value: dict[str, Any], places: list[tuple[float, bytes | None]], separators: tuple[str, str]
) -> None:
    line = json.dumps(value, separators=separators, ensure_ascii=False).encode()
    for share, piece in places:
        place = int(share * len(line))
        line = line[:place] if piece is None else line[:place] + piece + line[place + len(piece) :]

    mended = mend(line)

    if mended is not None:
        members = json.loads(mended.text or b"{}", object_pairs_hook=_first_of_equals)
        assert members == salvage(line).members
        assert list(mended.members) == list(members)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"text", b""),
        (b'{"a":1,"b":"cut', b'{"a":1}'),
        (b'{"a":{"b":[1,{"c":"x"},{"d":', b'{"a":{"b":[1,{"c":"x"},{}]}}'),
        (b'{"a":"C:\\\\","b":"\\"{', b'{"a":"C:\\\\"}'),
        (b'{"a":"x\x00\xffy","b":2}', '{"a":"x\\u0000\ufffdy","b":2}'.encode()),
        (b'{"a":1,"b":\xff\xfe\x00","c":3}', b'{"a":1}'),
        (b'{"a":"val\xff\xfe\x00b":"2"}', '{"a":"val\ufffd\ufffd\\u0000b"}'.encode()),
        (b'cut","b":{"c":1},"d":2}', b'{"c":1}'),
        (b'{"a":"\\ud800"}', b'{"a":"\\ufffd"}'),
        (b'{"a":12}{"b":1}', b'{"a":12}'),
    ],
)
def test_a_damaged_line_becomes_sound_text(line: bytes, text: bytes) -> None:
    mended = mend(line)

    assert mended is not None
    assert mended.text == text
