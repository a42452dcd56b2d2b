"""Whatever shape a record comes in, the same row stands in the table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import exports, records
from .cases import loaded, only, through, utc
from .records import (
    RECORD_TYPES,
    SHAPES,
    compact,
    guid,
    hard_delete,
    inbox_rule,
    ndjson,
    table,
)

WAYS = ("python", "sql")
RECORDS = [hard_delete(1), hard_delete(2, RecordType=2), inbox_rule(3)]
# What every shape carries, and must show alike.
EXPECTED: list[dict[str, Any]] = [
    {
        "Operation": "HardDelete",
        "RecordType": "ExchangeItemGroup",
        "UserId": "eva@contoso.example",
        "TimeGenerated": utc(2026, 3, 2, 8, 0, 1),
        "ClientAddress": "203.0.113.7",
        "MailboxOwnerUPN": "eva@contoso.example",
        "ParametersBag": None,
        "FolderPath": "\\Recoverable Items\\Deletions",
        "FirstSubject": 'Invoice, overdue; "final" notice',
        "FirstMessageId": "<1@contoso.example>",
        "ItemCount": 1,
        "OfficeId": guid(1),
        "OfficeWorkload": "Exchange",
        "OfficeObjectId": "",
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)",
        "ResultStatus": "Succeeded",
        "UserType": "Regular",
        "Logon_Type": "Owner",
        "_Exhibit": "E1",
        "_Position": 0,
        "_Salvaged": False,
    },
    {
        "Operation": "New-InboxRule",
        "RecordType": "ExchangeAdmin",
        "UserId": "eva@contoso.example",
        "TimeGenerated": utc(2026, 3, 2, 9, 0, 3),
        "ClientAddress": "2001:db8::9c",
        "MailboxOwnerUPN": "",
        "ParametersBag": {
            "Name": ".",
            "SubjectOrBodyContainsWords": "invoice;payment",
            "DeleteMessage": "True",
        },
        "FolderPath": "",
        "FirstSubject": "",
        "FirstMessageId": "",
        "ItemCount": 0,
        "OfficeId": guid(100_003),
        "OfficeWorkload": "Exchange",
        "OfficeObjectId": "EURPR00A001\\eva\\.",
        "OriginatingServer": "LO2PR00MB0417 (15.20.9203.008)",
        "ResultStatus": "True",
        "UserType": "Admin",
        "Logon_Type": "",
        "_Exhibit": "E1",
        "_Position": 2,
        "_Salvaged": False,
    },
]


def shown(row: dict[str, Any], columns: list[str] | None = None) -> dict[str, Any]:
    """Return the columns of a row that every shape carries."""
    return {name: row[name] for name in columns or EXPECTED[0]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [*SHAPES, *exports.TABLE_SHAPES])
def test_the_same_records_give_the_same_rows_in_every_shape(shape: str, way: str) -> None:
    content = (SHAPES | exports.TABLE_SHAPES)[shape](RECORDS)

    with through(way), loaded(content) as found:
        rows = found.rows()
        counts = found.counts()

    assert counts == (3, 3, 0, 0)
    assert [shown(rows[0]), shown(rows[2])] == EXPECTED
    assert (rows[1]["RecordType"], rows[1]["OfficeId"], rows[1]["_Position"]) == ("ExchangeItem", guid(2), 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "four columns CSV"])
def test_the_row_leads_back_to_the_bytes_of_its_record_in_every_shape(shape: str, way: str) -> None:
    with through(way), loaded(SHAPES[shape](RECORDS)) as found:
        proofs = [(found.proof(row).decode(), row["OfficeId"]) for row in found.rows()]

    assert len(proofs) == 3
    assert all(record_id in proof for proof, record_id in proofs)
    assert all(sum(other in proof for _, other in proofs) == 1 for proof, _ in proofs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [True, False], ids=["with mark", "without mark"])
@pytest.mark.parametrize(
    "shape", ["NDJSON", "management API array, pretty", "Purview CSV", "Search-UnifiedAuditLog CSV"]
)
def test_utf_16_gives_the_same_rows_and_places_in_the_original(
    shape: str, encoding: str, *, mark: bool, way: str
) -> None:
    text = SHAPES[shape](RECORDS).decode()
    content = ("\ufeff" if mark else "").encode(encoding) + text.encode(encoding)

    with through(way), loaded(content) as found:
        rows = found.rows()
        proofs = [found.proof(row).decode(encoding) for row in rows]
        counts = found.counts()

    assert counts == (3, 3, 0, 0)
    assert [shown(rows[0]), shown(rows[2])] == EXPECTED
    assert all(proof in text and row["OfficeId"] in proof for proof, row in zip(proofs, rows, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_one_blob_per_file_gives_one_row_per_file(way: str) -> None:
    with through(way), loaded(*(compact([record]).encode() for record in RECORDS)) as found:
        rows = found.rows()
        counts = [found.counts(f"E{i}") for i in (1, 2, 3)]

    assert [(row["_Exhibit"], row["_Position"], row["OfficeId"]) for row in rows] == [
        ("E1", 0, guid(1)),
        ("E2", 0, guid(2)),
        ("E3", 0, guid(100_003)),
    ]
    assert counts == [(1, 1, 0, 0)] * 3


@pytest.mark.parametrize("way", WAYS)
def test_graph_pages_in_several_files_are_all_read(way: str) -> None:
    pages = [records.graph_query([hard_delete(n)]) for n in range(3)]

    with through(way), loaded(*pages) as found:
        rows = found.rows()

    assert [row["OfficeId"] for row in rows] == [guid(0), guid(1), guid(2)]


@pytest.mark.parametrize("way", WAYS)
def test_outer_columns_fill_what_audit_data_lacks(way: str) -> None:
    record = hard_delete(1)
    inner = {
        key: value
        for key, value in record.items()
        if key not in {"CreationTime", "UserId", "Id", "RecordType"}
    }
    cells = [
        "ExchangeItemGroup",
        "3/2/2026 8:00:01 AM",
        "eva@contoso.example",
        "HardDelete",
        compact(inner),
        "1",
        "1",
        guid(1),
        "True",
        "",
    ]

    with through(way), loaded(table(records.SEARCH_HEADER, [cells])) as found:
        row = only(found)

    assert shown(row) == EXPECTED[0]


@pytest.mark.parametrize("way", WAYS)
def test_a_row_with_bytes_that_are_no_text_counts_as_salvaged(way: str) -> None:
    cells = [guid(1), "2026-03-02", "ExchangeItemGroup", "HardDelete", "eva", compact(hard_delete(1, ClientProcessName="Gr\u00fc\u00dfe \u2713")), "", ""]  # fmt: skip
    sound = table(records.PURVIEW_HEADER, [cells])
    damaged = sound.replace("ü".encode(), b"\xc3")

    with through(way), loaded(sound, damaged) as found:
        assert [row["_Salvaged"] for row in found.rows()] == [False, True]


@pytest.mark.parametrize("way", WAYS)
def test_a_graph_record_type_in_camel_case_is_the_same_record_type(way: str) -> None:
    page = json.loads(records.graph_query([hard_delete(1)]))
    del page["value"][0]["auditData"]["RecordType"]

    with through(way), loaded(compact(page).encode()) as found:
        row = only(found)

    assert row["RecordType"] == "ExchangeItemGroup"


def test_record_type_names_of_the_fixtures_are_those_of_the_tables() -> None:
    with loaded(ndjson([hard_delete(n, RecordType=n) for n in RECORD_TYPES])) as found:
        assert [row["RecordType"] for row in found.rows()] == list(RECORD_TYPES.values())
