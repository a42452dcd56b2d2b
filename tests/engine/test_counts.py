"""Every record is loaded, a duplicate, or in quarantine, and every one leads back to its bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mailwitness.readers.json_records import sniff_json

from . import records
from .cases import Loaded, loaded, through
from .records import compact, hard_delete, inbox_rule, table

COMMON = settings(max_examples=12, deadline=None)
BOM = b"\xef\xbb\xbf"

# Text as it stands in subjects: quotes, line ends, other scripts, surrogate pairs, control characters.
SUBJECTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        '"quoted", and; more',
        "line\r\nend",
        "\u202egpj.exe",
        "\x00\x1b[31m",
        "\U0001f600",
        "{",
        '[{"a":1}',
        "\\",
        "\ufeff",
    ]
)


@st.composite
def audit_records(draw: st.DrawFn) -> dict[str, Any]:
    """Return a record that loads; few ids, so that duplicates come by themselves."""
    number = draw(st.integers(0, 8))
    if draw(st.booleans()):
        return inbox_rule(number, Parameters=[{"Name": "Name", "Value": draw(SUBJECTS)}])
    return hard_delete(number, AffectedItems=[{"Subject": draw(SUBJECTS)}])


def _lines(record: dict[str, Any], kind: str, cut: int) -> bytes:
    """Return one line of NDJSON: a record, or what is left of one."""
    line = json.dumps(record, ensure_ascii=kind != "raw").encode()
    return {
        "whole": line,
        "raw": line,
        "cut": line[: 1 + cut % (len(line) - 1)],
        "blank": b" \t"[: cut % 3],
        "other": compact({"level": "info", "message": record["Id"]}).encode(),
        "scalar": b"%d" % cut,
        "array": b"[1, 2]",
        "null": b"null",
        "garbage": b'{"Operation": "HardDelete", ]' + bytes([128 + cut % 128]),
        "empty object": b"{}",
        "bad text": line.replace(b"Succeeded", b"Succ\xff\xfeeded"),
        "lone surrogate": line.replace(b"Succeeded", b"\\ud800x"),
        "no operation": json.dumps({k: v for k, v in record.items() if k != "Operation"}).encode(),
    }[kind]


KINDS = [
    "whole",
    "whole",
    "whole",
    "raw",
    "cut",
    "blank",
    "other",
    "scalar",
    "array",
    "null",
    "garbage",
    "empty object",
    "bad text",
    "lone surrogate",
    "no operation",
]


@st.composite
def line_files(draw: st.DrawFn) -> bytes:
    """Return an NDJSON file that begins with a record, so that it is recognised, and goes on."""
    lines = [_lines(hard_delete(99), "whole", 0)]
    lines += draw(
        st.lists(
            st.builds(_lines, audit_records(), st.sampled_from(KINDS), st.integers(0, 2000)), max_size=14
        )
    )
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    return draw(st.sampled_from([b"", BOM])) + end.join(lines) + draw(st.sampled_from([b"", end]))


@st.composite
def array_files(draw: st.DrawFn) -> bytes:
    """Return an array of records, some of them damaged."""
    parts = [_lines(hard_delete(99), "whole", 0)]
    for _ in range(draw(st.integers(0, 10))):
        kind = draw(st.sampled_from([kind for kind in KINDS if kind != "blank"]))
        parts.append(_lines(draw(audit_records()), kind, draw(st.integers(0, 2000))))
    separator = draw(st.sampled_from([b",", b",\n", b" ,\r\n "]))
    return b"[" + separator.join(parts) + draw(st.sampled_from([b"]", b"]\n", b""]))


@st.composite
def cell_files(draw: st.DrawFn) -> bytes:
    """Return a Purview CSV whose AuditData may be cut or empty and whose rows may lack or have more cells."""
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        record = draw(audit_records())
        data = json.dumps(record, indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
        kind = draw(st.sampled_from(["whole", "whole", "whole", "cut", "empty", "fewer", "more", "text"]))
        data = {
            "cut": data[: draw(st.integers(1, len(data) - 1))],
            "empty": "",
            "text": "see attachment",
        }.get(kind, data)
        row = [
            record["Id"],
            record["CreationTime"],
            str(record["RecordType"]),
            record["Operation"],
            record["UserId"],
            data,
            "",
            "",
        ]
        rows.append({"fewer": row[:5], "more": [*row, "x", "y"]}.get(kind, row))
    return draw(st.sampled_from([b"", BOM])) + table(
        records.PURVIEW_HEADER,
        [[hard_delete(99)["Id"], "", "3", "HardDelete", "", compact(hard_delete(99)), "", ""], *rows],
    )


def check(found: Loaded, content: bytes) -> None:
    """Assert what must hold for every input."""
    records_seen, whole, duplicates, quarantined = found.counts()
    kept = found.quarantine()
    assert records_seen == whole + duplicates + quarantined
    assert len(kept) == quarantined
    assert whole == len(found.rows())
    assert whole + duplicates == len(found.rows(raw=True))
    for item in kept:
        place = content[item["offset"] : item["offset"] + item["length"]]
        assert len(place) == item["length"]
        # How bytes beyond ASCII are shown depends on the encoding that was recognised.
        start = re.match(r"[ -\[\]-~]*", item["start"].removeprefix("\ufeff"))
        assert start is not None
        assert place.removeprefix(BOM).decode("latin-1").startswith(start.group())
        assert content[: item["offset"]].count(b"\n") + 1 == item["line"]
        assert item["reason"]
    for row in found.rows(raw=True):
        proof = found.proof(row)
        assert row["OfficeId"] == "" or row["OfficeId"].encode() in proof
        if not row["_Salvaged"] and proof.lstrip(BOM)[:1] == b"{":
            assert json.loads(proof.lstrip(BOM).decode("utf-8", "replace")).get("Id", "") == row["OfficeId"]


def everything(found: Loaded) -> tuple[Any, ...]:
    """Return all that an intake gave, in a form that compares."""
    return (
        found.counts(),
        found.intake.tallies["E1"].salvaged,
        found.rows(),
        sorted(found.quarantine(), key=lambda item: (item["offset"], item["record"])),
        [(item.what, item.reason) for item in found.intake.not_evaluated],
    )


def both_ways(content: bytes) -> None:
    """Load one file record by record and through SQL, and compare."""
    with through("python"), loaded(content) as found:
        check(found, content)
        python = everything(found)
    with through("sql"), loaded(content) as found:
        check(found, content)
        sql = everything(found)

    for one, other in zip(python, sql, strict=True):
        assert one == other


@COMMON
@given(content=line_files())
@example(content=compact(hard_delete(99)).encode() + b"\n" + BOM + compact(hard_delete(1)).encode())
def test_counts_of_ndjson_add_up_and_both_ways_agree(content: bytes) -> None:
    both_ways(content)


@COMMON
@given(content=array_files())
def test_counts_of_an_array_add_up_and_both_ways_agree(content: bytes) -> None:
    both_ways(content)


@COMMON
@given(content=cell_files())
def test_counts_of_a_csv_add_up_and_both_ways_agree(content: bytes) -> None:
    both_ways(content)


@settings(max_examples=8, deadline=None)
@given(content=line_files())
def test_every_line_that_is_not_blank_is_one_record(content: bytes) -> None:
    # A line that holds nothing but a bracket may as well begin an object of several lines; then values are counted.
    assume(sniff_json(content) == "ndjson")
    lines = [line for line in content.removeprefix(BOM).split(b"\n") if line.strip(b" \t\r\n\x0b\x0c")]

    with loaded(content) as found:
        seen = found.counts()[0]

    assert seen == len(lines)


@settings(max_examples=8, deadline=None)
@given(first=line_files(), second=cell_files(), third=array_files())
def test_counts_add_up_over_several_exhibits(first: bytes, second: bytes, third: bytes) -> None:
    with loaded(first, second, third) as found:
        rows = found.rows()
        totals = [found.counts(f"E{i}") for i in (1, 2, 3)]
        proofs = [(row["OfficeId"].encode(), found.proof(row)) for row in rows]

    assert all(seen == whole + twice + lost for seen, whole, twice, lost in totals)
    assert sum(whole for _, whole, _, _ in totals) == len(rows)
    assert all(record_id in proof for record_id, proof in proofs)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("way", ["python", "sql"])
def test_places_of_quarantined_utf_16_records_are_those_of_the_original(encoding: str, way: str) -> None:
    lines = [compact(hard_delete(1)), "{not a record: äöü€😀}", compact(hard_delete(2)), "also not"]
    content = "\ufeff".encode(encoding) + "\r\n".join(lines).encode(encoding)

    with through(way), loaded(content) as found:
        kept = found.quarantine()

    assert [content[item["offset"] : item["offset"] + item["length"]].decode(encoding) for item in kept] == [
        lines[1],
        lines[3],
    ]
    assert [item["line"] for item in kept] == [2, 4]


@pytest.mark.parametrize("way", ["python", "sql"])
def test_a_key_that_is_written_twice_loses_no_record(way: str) -> None:
    line = compact(hard_delete(1)).replace(
        '"ResultStatus":"Succeeded"', '"ResultStatus":"Succeeded","ResultStatus":"Failed"'
    )

    with through(way), loaded(line.encode() + b"\n") as found:
        rows = found.rows()

    assert [row["ResultStatus"] in {"Succeeded", "Failed"} for row in rows] == [True]


@pytest.mark.parametrize("way", ["python", "sql"])
def test_a_long_quarantined_record_is_cut_in_the_report_only(way: str) -> None:
    damaged = b'{"Operation": ' + b"x" * 5000

    with through(way), loaded(compact(hard_delete(1)).encode() + b"\n" + damaged) as found:
        item = found.quarantine()[0]

    assert item["length"] == len(damaged)
    assert len(item["start"]) == 200
