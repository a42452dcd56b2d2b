"""Promises of the JSON splitter."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailwitness.readers.blocks import Damage
from mailwitness.readers.json_records import SplitResult, sniff_json, split_json
from mailwitness.readers.json_tokens import end_within, value_end

SEPARATORS = b" \t\r\n,[]"

# Values of any JSON shape; Any because JSON is what it is.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
json_objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(max_size=4), json_values, max_size=4
)
indents = st.sampled_from([None, 0, 2])
line_ends = st.sampled_from(["\n", "\r\n"])


class Split:
    """One text, split; with what a test wants to look at."""

    def __init__(self, folder: Path, text: bytes, **options: Any) -> None:
        self.text = text
        path = folder / "input.json"
        path.write_bytes(text)
        self.result: SplitResult = split_json(path, folder / "lines.json", **options)
        self.lines = (folder / "lines.json").read_bytes().split(b"\n")[:-1]
        index = self.result.index
        self.originals = [index.read(path, record) for record in range(len(index))]
        self.damaged = [self._bytes_of(damage) for damage in self.result.damaged]
        self.numbers = index.lines.tolist()

    def _bytes_of(self, damage: Damage) -> bytes:
        return self.text[damage.offset : damage.offset + damage.length]

    def uncovered(self) -> bytes:
        """Return all bytes that belong to no record and no damage."""
        rest = bytearray(self.text)
        for damage in self.result.damaged:
            rest[damage.offset : damage.offset + damage.length] = b" " * damage.length
        index = self.result.index
        for offset, length in zip(index.offsets.tolist(), index.lengths.tolist(), strict=True):
            rest[offset : offset + length] = b" " * length
        return bytes(rest)


def records(split: Split) -> list[object]:
    return [json.loads(line) for line in split.lines]


def as_text(values: list[dict[str, Any]], shape: str, indent: int | None, line_end: str) -> bytes:
    texts = [json.dumps(value, indent=indent) for value in values]
    text = {
        "array": json.dumps(values, indent=indent),
        "array of texts": "[" + " ,\n".join(texts) + "]",
        "one after another": "\n".join(texts),
        "nothing between": "".join(texts),
        "commas between": ",".join(texts),
        "one array a line": "\n".join(f"[{text}]" for text in texts),
        "value": json.dumps({"@odata.context": "x", "value": values, "count": len(values)}, indent=indent),
        "hits": json.dumps({"took": 3, "hits": {"total": 1, "hits": values}}, indent=indent),
    }[shape]
    return text.replace("\n", line_end).encode()


SHAPES = [
    "array",
    "array of texts",
    "one after another",
    "nothing between",
    "commas between",
    "one array a line",
    "value",
    "hits",
]


@example(values=[{}, {"": [{}, float("inf")]}], shape="array", indent=0, line_end="\n")
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(json_objects, max_size=8),
    shape=st.sampled_from(SHAPES),
    indent=indents,
    line_end=line_ends,
)
def test_splitting_gives_back_the_elements_of_every_shape(
    tmp_path: Path, values: list[dict[str, Any]], shape: str, indent: int | None, line_end: str
) -> None:
    unwraps = shape in {"value", "hits"}

    split = Split(tmp_path, as_text(values, shape, indent, line_end), depth=None if unwraps else 0)

    assert records(split) == values
    assert [json.loads(original) for original in split.originals] == values
    assert split.damaged == []
    starts = split.result.index.offsets.tolist()
    assert split.numbers == [split.text.count(b"\n", 0, start) + 1 for start in starts]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(json_objects, min_size=1, max_size=6),
    shape=st.sampled_from(SHAPES[:-2]),
    indent=indents,
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), max_size=3),
)
def test_damage_loses_no_byte(
    tmp_path: Path,
    values: list[dict[str, Any]],
    shape: str,
    indent: int | None,
    cuts: list[tuple[float, int, bytes]],
) -> None:
    text = as_text(values, shape, indent, "\n")
    for share, length, put in cuts:
        place = int(share * len(text))
        text = text[:place] + put + text[place + length :]

    split = Split(tmp_path, text, depth=0)

    bom = b"\xef\xbb\xbf"
    assert split.uncovered().removeprefix(bom).strip(SEPARATORS) == b""
    assert len(split.lines) == len(split.originals)
    places = sorted(
        [(damage.offset, damage.length) for damage in split.result.damaged]
        + list(zip(split.result.index.offsets.tolist(), split.result.index.lengths.tolist(), strict=True))
    )
    assert all(offset + length <= following for (offset, length), (following, _) in pairwise(places))


EVENT = {"Id": "1", "Operation": "HardDelete", "Items": [{"Id": "a"}, {"Id": "b", "Subject": 'x "{" y'}]}


def events(count: int) -> list[dict[str, Any]]:
    return [EVENT | {"Id": str(number)} for number in range(count)]


@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "pretty"])
@pytest.mark.parametrize("size", [5, 400], ids=["small", "large"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"HardDelete"', b'"HardDelete'),
        (b'"HardDelete"', b'HardDelete"'),
        (b'"HardDelete"', b"\x00\xff"),
        (b'"Items": [', b'"Items": '),
        (b'"Items": [', b'"Items": [['),
        (b'"Operation"', b'}"Operation"'),
        (b'"Operation"', b'{"Operation"'),
    ],
)
def test_damage_costs_only_the_damaged_element(
    tmp_path: Path, indent: int | None, size: int, old: bytes, new: bytes
) -> None:
    text = json.dumps(events(size), indent=indent).encode()
    third = text.index(b'"Id": "2"')
    place = text.index(old, third)
    text = text[:place] + new + text[place + len(old) :]

    split = Split(tmp_path, text)

    found = [
        record for record in records(split) if isinstance(record, dict) and {"Id", "Items"} <= record.keys()
    ]
    assert found == [event for event in events(size) if event["Id"] != "2"]
    assert b"".join(split.damaged)
    assert split.uncovered().strip(SEPARATORS) == b""


def test_one_in_ten_damaged_costs_no_other_record(tmp_path: Path) -> None:
    texts = [json.dumps(event, separators=(",", ":")) for event in events(3000)]
    for number in range(0, 3000, 10):
        texts[number] = texts[number].replace('"HardDelete"', '"HardDelete', 1)

    split = Split(tmp_path, ("[" + ",".join(texts) + "]").encode())

    assert [record["Id"] for record in map(json.loads, split.lines)] == [
        str(number) for number in range(3000) if number % 10
    ]
    assert len(split.damaged) == 300


@pytest.mark.parametrize("shape", ["compact", "pretty", "one after another", "wrapped"])
@pytest.mark.parametrize("kind", ["cut", "bytes lost", "bytes put"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_damage_to_one_in_ten_costs_no_other_record(
    tmp_path: Path, shape: str, kind: str, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311 - test text, not a secret
    indent = 2 if shape in {"pretty", "one after another"} else None
    texts = [json.dumps(event, indent=indent).encode() for event in events(600)]
    broken = {number for number in range(600) if choose.randrange(10) == 0}
    for number in broken:
        text, place = texts[number], choose.randrange(1, len(texts[number]))
        after = place + (0 if kind == "bytes put" else choose.randrange(1, 4))
        put = (
            choose.choice(['"', "{", "}", "[", "]", "\\", ",", "\0"]).encode() if kind == "bytes put" else b""
        )
        texts[number] = text[:place] if kind == "cut" else text[:place] + put + text[after:]
    body = (b"\n" if shape == "one after another" else b",").join(texts)
    text = {"one after another": body, "wrapped": b'{"value":[' + body + b'],"n":1}'}.get(
        shape, b"[" + body + b"]"
    )

    split = Split(tmp_path, text)

    found = [original for original in split.originals if original in texts]
    assert found == [text for number, text in enumerate(texts) if number not in broken or text in found]
    assert split.uncovered().removeprefix(b'{"value":').removesuffix(b',"n":1}').strip(SEPARATORS) == b""


def test_the_complete_elements_of_a_cut_array_are_records(tmp_path: Path) -> None:
    text = json.dumps(events(50)).encode()[:-60]

    split = Split(tmp_path, text)

    assert records(split) == events(49)
    assert [damage.reason for damage in split.result.damaged] == ["the record is cut off"]
    assert split.uncovered().strip(SEPARATORS) == b""


def test_noise_between_elements_is_damage(tmp_path: Path) -> None:
    split = Split(tmp_path, b'[{"a":1}, junk "text" here {"a":2}, 5, null, "x", {"a":3}]')

    assert records(split) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert split.damaged == [b'junk "text" here', b"5", b"null", b'"x"']


def test_text_before_an_array_is_damage(tmp_path: Path) -> None:
    split = Split(tmp_path, b'WARNING: deprecated\n[{"a":1},{"a":2}]')

    assert records(split) == [{"a": 1}, {"a": 2}]
    assert split.damaged == [b"WARNING: deprecated"]


def test_wrapper_scalars_are_kept(tmp_path: Path) -> None:
    split = Split(tmp_path, b'{"@odata.context":"c","value":[{"a":1}],"@odata.nextLink":"n","n":2}')

    assert split.result.kind == "wrapped"
    assert split.result.wrapper == {"@odata.context": "c", "@odata.nextLink": "n", "n": 2}


def test_pages_one_after_another_are_all_read(tmp_path: Path) -> None:
    split = Split(tmp_path, b'{"value":[{"a":1}]}\n{"value":[{"a":2},{"a":3}],"next":null}')

    assert records(split) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert split.result.kind == "wrapped"


def test_objects_beside_the_records_are_not_silently_dropped(tmp_path: Path) -> None:
    split = Split(tmp_path, b'{"value":[{"a":1}],"other":[{"b":1}]}')

    assert split.damaged == [b'[{"b":1}]'] or records(split) == [json.loads(split.text)]


@pytest.mark.parametrize(
    "record",
    [
        {"CreationTime": "x", "Parameters": [{"Name": "a", "Value": "b"}, {"Name": "c", "Value": "d"}]},
        {"kind": "admin#activity", "id": {"time": "x"}, "events": [{"name": "a"}, {"name": "b"}]},
        {"AffectedItems": [{"Id": 1}, {"Id": 2}], "Operation": "HardDelete"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_single_record_is_not_taken_for_a_wrapper(
    tmp_path: Path, record: dict[str, Any], indent: int | None
) -> None:
    split = Split(tmp_path, json.dumps(record, indent=indent).encode())

    assert records(split) == [record]


def test_log_analytics_rows_become_objects(tmp_path: Path) -> None:
    answer = {
        "tables": [
            {
                "name": "PrimaryResult",
                "columns": [{"name": "TimeGenerated", "type": "datetime"}, {"name": "n", "type": "long"}],
                "rows": [["2026-01-01T00:00:00Z", 1], ["x"], [{"nested": [1]}, None]],
            },
            {"name": "Second", "columns": [{"name": "b", "type": "string"}], "rows": [["z"]]},
        ]
    }

    split = Split(tmp_path, json.dumps(answer, indent=1).encode())

    assert split.result.kind == "tables"
    assert records(split) == [
        {"TimeGenerated": "2026-01-01T00:00:00Z", "n": 1},
        {"TimeGenerated": {"nested": [1]}, "n": None},
        {"b": "z"},
    ]
    assert [json.loads(row) for row in split.damaged] == [["x"]]
    assert json.loads(split.originals[2]) == ["z"]


def test_what_only_python_reads_is_kept_and_named(tmp_path: Path) -> None:
    split = Split(tmp_path, b'[{"a":"1\n2\x00"},{"a":"\\ud800"},{"a":01},{"a":"good"}]')

    assert split.lines == [b'{"a":"1\\u000a2\\u0000"}', b'{"a":"\\ud800"}', b'{"a":"good"}']
    assert split.result.mended == [0, 1]
    assert split.originals[0] == b'{"a":"1\n2\x00"}'
    assert split.damaged == [b'{"a":01}']


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b'[{"a":1},' * 30_000])
def test_bottomless_nesting_neither_recurses_nor_hangs(tmp_path: Path, text: bytes) -> None:
    split = Split(tmp_path, text)

    assert split.uncovered().strip(SEPARATORS) == b""


def test_a_deeply_nested_record_between_others_is_a_record(tmp_path: Path) -> None:
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    split = Split(tmp_path, b'[{"a":1},' + deep + b',{"a":3}]')

    assert split.originals == [b'{"a":1}', deep, b'{"a":3}']


def test_a_record_above_the_limit_becomes_damage_and_the_next_is_found(tmp_path: Path) -> None:
    long = json.dumps({"a": ['\\"}{[' * 9, {"b": "x" * 3_000_000}], "c": '"\\'}).encode()

    split = Split(tmp_path, b'[{"a":1},' + long + b',{"a":3}]', max_record=5000)

    assert records(split) == [{"a": 1}, {"a": 3}]
    assert split.damaged == [long]
    assert "5000" in split.result.damaged[0].reason


def test_a_byte_order_mark_belongs_to_no_record(tmp_path: Path) -> None:
    split = Split(tmp_path, b'\xef\xbb\xbf[{"a":1}]')

    assert split.originals == [b'{"a":1}']


@pytest.mark.parametrize("text", [b"", b"  \n", b"[]", b"{", b"]", b"plain", b'"', b"\\", b"\x00"])
def test_texts_without_records_give_none(tmp_path: Path, text: bytes) -> None:
    split = Split(tmp_path, text)

    assert split.lines == []
    assert split.uncovered().strip(SEPARATORS) == b""


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (b'{"a":1}\n{"a":2}\n', "ndjson"),
        (b'{"a":1}', "ndjson"),
        (b'\xef\xbb\xbf{"a":1}\r\n\r\n{"a":2}\r\n', "ndjson"),
        (b'noise\n{"a":1}\n{"a":2}\n', "ndjson"),
        (b'[{"a":1},\n{"a":2}]', "array"),
        (b"[]", "array"),
        (b' [\n {\n  "a": 1', "array"),
        (b'[{"a":1}]\n[{"a":2}]\n', "concatenated"),
        (b'{"value":[{"a":1},{"a":2}]}', "wrapped"),
        (b'{\n "value": [\n  {\n   "a": 1', "wrapped"),
        (b'{"tables":[{"name":"x","columns":[{"name":"a","type":"int"}],"rows":[[1]]}]}', "wrapped"),
        (b'{\n "a": 1\n}\n', "object"),
        (b'{\n "a": 1\n}\n{\n "a": 2\n}\n', "concatenated"),
        (b'{"a":1}{"a":2}', "concatenated"),
        (b"a,b\n1,2\n", None),
        (b"", None),
        (b"{not json", None),
        (b"<xml/>", None),
    ],
)
def test_the_shape_is_told_from_the_first_bytes(head: bytes, shape: str | None) -> None:
    assert sniff_json(head) == shape


def test_public_elasticsearch_hits_are_all_read(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared/data/public/macos-attack-dataset"
    if not folder.is_dir():
        pytest.skip("the public samples are not beside the repository")

    damaged = 0
    for path in sorted(folder.rglob("*.json")):
        split = Split(tmp_path, path.read_bytes())

        damaged += len(split.damaged)
        assert all(isinstance(record, dict) for record in records(split))
        assert len(records(split)) + len(split.damaged) == path.read_bytes().count(b'"_index"')
    assert damaged == 2  # one lacks its last brace, one a quote


@given(st.text('{}[]"\\ab,:\x01', max_size=16), st.integers(0, 17))
@settings(max_examples=400, deadline=None)
def test_both_ways_find_the_same_end_of_a_value(behind: str, end: int) -> None:
    text = b"{" + behind.encode()
    assert end_within(text, 0, min(end, len(text))) == value_end(text, 0, min(end, len(text)))


def test_records_beside_damage_keep_their_places(tmp_path: Path) -> None:
    """Whether records are taken many at once or up to the next damage, each stands where it stood in the file."""
    chosen = random.Random(3)  # noqa: S311 - a file to be damaged
    records = [
        json.dumps({"id": n, "kind": "x", "list": [{"name": "a"}, {"name": 'b"c'}]}) for n in range(3000)
    ]
    for number in chosen.sample(range(1, 2990), 300):
        records[number] = records[number][: chosen.randrange(2, 40)]
    path, lines = tmp_path / "list.json", tmp_path / "lines"
    path.write_text('{"items":[\n' + ",\n".join(records) + "\n]}\n", "utf-8")

    found = split_json(path, lines)

    content = path.read_bytes()
    places = zip(found.index.offsets.tolist(), found.index.lengths.tolist(), strict=True)
    assert [content[offset : offset + length] for offset, length in places] == lines.read_bytes().splitlines()
    assert len(found.index) == 2700
    assert [content[one.offset : one.offset + one.length].count(b"\n") for one in found.damaged] == [0] * 300
