"""Damaged lines give the same rows many at once, as in large files, and one by one."""

from __future__ import annotations

import random

import pytest
from bench.event_texts import damaged

from .cases import Json, loaded, through
from .records import PURVIEW_HEADER, compact, hard_delete, table

# More than what is looked at one by one even in a large file.
RECORDS = 400
HOSTILE = (
    b'{"_mw_position":7,"_mw_exhibit":"E9","_mw_salvaged":false,"CreationTime":"2026-03-02T10:00:00","Operation":"HardDelete","RecordType":3,"Id":"own","Workload":"Exch',
    b'{"CreationTime":"2026-03-02T10:00:00","Operation":"Update","RecordType":1,"Id":"inside","ObjectId":"{\\"Operation\\":\\"HardDelete\\"}","Workload":"Exch',
    b'{"CreationTime":"2026-03-02T10:00:00","Operation":"Update","Operation":"HardDelete","RecordType":1,"Id":"twice","Workload":"Exch',
    b'{"creationtime":"2026-03-02T10:00:00","OPERATION":"Update","RecordType":1,"Id":"letters","Workload":"Exch',
    b'{"CreationTime":"2026-03-02T10:00:00","Operation":"Update","RecordType":1,"Id":"number","Size":1e999,"Workload":"Exch',
    b'{"eventMessage":"x","timestamp":"2026-03-02 10:00:00.000000+0000","subsystem":"a","processID":1,"cut',
    b"\xff\xfe\x00", b"{", b"null", b"{}", b'{"a":1}', b"[" * 500,
)  # fmt: skip

# What else stands in the cells of exports: records that lack what other cells say, and texts over several lines or of odd letters.
CELLS = (
    '{"Id":"no user","Operation":"HardDelete","CreationTime":"2026-03-02T10:00:00","RecordType":3}',
    '{\r\n "Id": "lines",\r\n "Operation": "HardDelete", "RecordType": 3, "CreationTime": "2026-03-02T10:00:00"\r\n}',
    '{"Id":"NaN","Operation":"HardDelete","Size":NaN,"UserId":"a@contoso.example","CreationTime":"2026-03-02T10:00:00","RecordType":3} x',
    '{"Operation":"\\ud800","Id":"half","UserId":"","CreationTime":"2026-03-02T10:00:00","RecordType":3}',
    "", " ", "see attachment", "[]", '"{}"', '{"ID":"letters"}', "\u2028",
)  # fmt: skip

Read = tuple[list[Json], tuple[int, int, int, int], list[tuple[int, str]]]


def content() -> bytes:
    """Return audit records of which more than a third are damaged in all ways."""
    breaker = random.Random(5)  # noqa: S311 - damage has to be the same each time
    lines = [compact(hard_delete(number)).encode() for number in range(RECORDS)]
    lines = [line if number % 3 else damaged(line, breaker) for number, line in enumerate(lines)]
    return b"\n".join([*lines, *HOSTILE]) + b"\n"


def cells(header: list[str]) -> bytes:
    """Return the same records as texts in the cells of a table, some lines of which are damaged too."""
    texts = [line.decode("utf-8", "ignore") for line in content().split(b"\n")[:-1]] + list(CELLS)
    rows = [
        [text if name == "AuditData" else f"{name}, {number}" for name in header]
        for number, text in enumerate(texts)
    ]
    written = table(header, rows).splitlines(keepends=True)
    for number in range(10, 200, 37):
        written[number] = written[number][: len(written[number]) // 2] + b"\r\n"
    return b"".join(written)


def rows_of(way: str, evidence: bytes) -> Read:
    """Return the rows of the file's own source and of another, the counts, and number and reason of all that is in quarantine."""
    with through(way), loaded(evidence) as found:
        kept = [(one.record, one.reason) for one in found.intake.quarantine]
        rows = [row for table in ("OfficeActivity", "Syslog") for row in found.rows(table)]
        return rows, found.counts(), kept


@pytest.fixture(scope="module")
def ways() -> dict[str, Read]:
    """Read the same lines in both ways."""
    return {way: rows_of(way, content()) for way in ("python", "sql")}


def test_both_ways_give_the_same_rows(
    ways: dict[str, Read],
) -> None:
    one_by_one, many_at_once = ({row["_Position"]: row for row in ways[way][0]} for way in ("python", "sql"))

    assert one_by_one == many_at_once
    assert sum(row["_Salvaged"] for row in many_at_once.values()) > 80


def test_nothing_is_lost_and_nothing_is_doubled(
    ways: dict[str, Read],
) -> None:
    rows, (records, number, duplicates, quarantined), kept = ways["sql"]

    assert records == RECORDS + len(HOSTILE) == number + duplicates + quarantined
    positions = [row["_Position"] for row in rows] + [number for number, _ in kept]
    assert sorted(positions) == list(range(records))
    assert kept == ways["python"][2]


def test_a_damaged_line_cannot_say_where_it_stands(
    ways: dict[str, Read],
) -> None:
    own = next(row for row in ways["sql"][0] if row["_Position"] == RECORDS)

    assert own["_Exhibit"] == "E1"
    assert own["_Salvaged"]


@pytest.mark.parametrize(
    "header", [PURVIEW_HEADER, ["RecordType", "UserIds", "AuditData", "ResultIndex", "Identity"]]
)
def test_records_in_cells_are_the_same_rows_in_both_ways(header: list[str]) -> None:
    evidence = cells(header)

    one_by_one, many_at_once = (rows_of(way, evidence) for way in ("python", "sql"))

    assert one_by_one == many_at_once
    assert sum(row["_Salvaged"] for row in many_at_once[0]) > 80
