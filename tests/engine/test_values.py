"""Values written in a dozen ways mean one thing; damaged and repeated records are counted for what they are."""

from __future__ import annotations

import json

import pytest

from mailwitness.sources import limits

from . import exports, records
from .cases import loaded, only, through
from .records import SHAPES, compact, guid, hard_delete, inbox_rule, ndjson, purview_csv, search_csv, table
from .test_intake import EXPECTED, RECORDS, WAYS, shown


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "name"),
    [
        (3, "ExchangeItemGroup"),
        ("3", "ExchangeItemGroup"),
        ("ExchangeItemGroup", "ExchangeItemGroup"),
        (50, "ExchangeItemAggregated"),
        ("1", "ExchangeAdmin"),
        (9999, "9999"),
    ],
    ids=repr,
)
def test_a_record_type_is_a_name_however_it_is_written(given: int | str, name: str, way: str) -> None:
    with through(way), loaded(ndjson([hard_delete(1, RecordType=given)])) as found:
        assert only(found)["RecordType"] == name


@pytest.mark.parametrize("way", WAYS)
def test_a_record_type_number_in_a_sentinel_export_is_a_name(way: str) -> None:
    row = exports.office_activity(hard_delete(1)) | {"RecordType": "50"}

    with through(way), loaded((compact(row) + "\n").encode()) as found:
        assert only(found)["RecordType"] == "ExchangeItemAggregated"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:62589", "203.0.113.7"),
        ("[2001:db8:10:3b:cafe::9c]:42402", "2001:db8:10:3b:cafe::9c"),
        ("2001:DB8::9C", "2001:db8::9c"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_an_address_loses_its_port_and_brackets(given: str, address: str, way: str) -> None:
    with through(way), loaded(ndjson([hard_delete(1, ClientIP=given, ClientIPAddress=None)])) as found:
        assert only(found)["ClientAddress"] == address


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "parameters",
    [
        [{"Name": "Name", "Value": "."}, {"Name": "DeleteMessage", "Value": "True"}],
        [{"name": "Name", "value": "."}, {"name": "DeleteMessage", "value": "True"}],
        json.dumps([{"Name": "Name", "Value": "."}, {"Name": "DeleteMessage", "Value": "True"}], indent=2),
        '-Name "." -DeleteMessage "True"',
        {"Name": ".", "DeleteMessage": "True"},
    ],
    ids=["list", "lower-case keys", "JSON in text", "command line", "bag"],
)
def test_parameters_are_a_bag_however_they_are_written(parameters: object, way: str) -> None:
    with through(way), loaded(ndjson([inbox_rule(1, Parameters=parameters)])) as found:
        assert only(found)["ParametersBag"] == {"Name": ".", "DeleteMessage": "True"}


@pytest.mark.parametrize("way", WAYS)
def test_a_repeated_or_valueless_parameter_loses_no_record(way: str) -> None:
    twice = [{"Name": "From", "Value": "a"}, {"Name": "From", "Value": "b"}, {"Name": "Force"}]

    with through(way), loaded(ndjson([inbox_rule(1, Parameters=twice)])) as found:
        bag = only(found)["ParametersBag"]

    assert set(bag) == {"From", "Force"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["CrossMailboxOperation", "CrossMailboxOperations"])
@pytest.mark.parametrize("value", [True, "true", "True"], ids=repr)
def test_cross_mailbox_is_read_in_both_spellings(name: str, value: object, way: str) -> None:
    with (
        through(way),
        loaded(ndjson([hard_delete(1, **{"CrossMailboxOperation": None, name: value})])) as found,
    ):
        assert only(found)["CrossMailboxOperations"] is True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2026-03-02T08:00:01", "2026-03-02T08:00:01"),
        ("2026-03-02T08:00:01Z", "2026-03-02T08:00:01"),
        ("2026-03-02T08:00:01.1234567Z", "2026-03-02T08:00:01.123456"),
        ("2026-03-02T08:00:01.1234567", "2026-03-02T08:00:01.123456"),
        ("2026-03-02T10:00:01+02:00", "2026-03-02T08:00:01"),
        ("2026-03-02T10:00:01.1234567+02:00", "2026-03-02T08:00:01.123456"),
        ("2026-03-02T00:00:01-08:00", "2026-03-02T08:00:01"),
        ("2026-03-02T13:30:01+0530", "2026-03-02T08:00:01"),
        ("2026-03-02 08:00:01", "2026-03-02T08:00:01"),
        ("2026-03-02T08:00:01.0000000Z ", "2026-03-02T08:00:01"),
        (" 2026-03-02T10:00:01+02:00 ", "2026-03-02T08:00:01"),
        ("3/2/2026 8:00:01 AM", "2026-03-02T08:00:01"),
        ("3/2/2026 9:13:33 PM", "2026-03-02T21:13:33"),
        ("12/31/2025 12:00:00 AM", "2025-12-31T00:00:00"),
        ("3/2/2026, 8:00:01.000 AM", "2026-03-02T08:00:01"),
    ],
)
def test_a_time_is_utc_however_it_is_written(given: str, utc: str, way: str) -> None:
    with through(way), loaded(ndjson([hard_delete(1, CreationTime=given)])) as found:
        moment = only(found)["TimeGenerated"]

    assert moment is not None
    assert moment.isoformat() == utc


@pytest.mark.parametrize("way", WAYS)
def test_a_record_whose_time_cannot_be_read_is_kept_and_named(way: str) -> None:
    with through(way), loaded(ndjson([hard_delete(1), hard_delete(2, CreationTime="yesterday")])) as found:
        counts = found.counts()
        stated = [item for item in found.intake.not_evaluated if "time" in item.reason]

    assert counts == (2, 2, 0, 0)
    assert [(item.what, item.blocking) for item in stated] == [("1 records of export1 by time", False)]


@pytest.mark.parametrize("way", WAYS)
def test_an_operation_keeps_its_trailing_blank_and_dash(way: str) -> None:
    operation = "Update application \u2013 Certificates and secrets management "

    with through(way), loaded(ndjson([hard_delete(1, Operation=operation)])) as found:
        assert only(found)["Operation"] == operation


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "count"), [(7, 7), ("7", 7), ("7.0", 7), (7.0, 7), ("1e2", 100), ("many", 0)], ids=repr
)
def test_a_number_is_read_when_it_is_text(given: object, count: int, way: str) -> None:
    record = hard_delete(
        1, Operation="MailItemsAccessed", RecordType=50, OperationCount=given, AffectedItems=None
    )

    with through(way), loaded(ndjson([record])) as found:
        assert only(found)["ItemCount"] == count


@pytest.mark.parametrize("way", WAYS)
def test_strings_are_never_null(way: str) -> None:
    record = {
        "CreationTime": "2026-03-02T08:00:01",
        "Operation": "HardDelete",
        "RecordType": None,
        "UserId": None,
        "Folder": None,
        "AffectedItems": None,
    }

    with through(way), loaded(ndjson([record])) as found:
        row = only(found)

    texts = (
        "UserId",
        "RecordType",
        "Folder",
        "AffectedItems",
        "FolderPath",
        "ClientIP",
        "SessionId",
        "OfficeId",
        "FirstSubject",
    )
    assert [row[name] for name in texts] == [""] * len(texts)


# -- CSV quirks ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pretty", [False, True])
def test_line_ends_inside_cells_do_not_split_records(way: str, *, pretty: bool) -> None:
    rows = []
    for record in RECORDS:
        data = json.dumps(record, indent=2).replace("\n", "\r\n") if pretty else compact(record)
        rows.append(
            [
                record["Id"],
                record["CreationTime"],
                str(record["RecordType"]),
                record["Operation"],
                record["UserId"],
                data,
                "units\r\nof two lines",
                "",
            ]
        )

    with through(way), loaded(table(records.PURVIEW_HEADER, rows)) as found:
        found_rows = found.rows()
        lines = [found.index().locate(row["_Position"]).line for row in found_rows]
        counts = found.counts()

    assert counts == (3, 3, 0, 0)
    assert [shown(found_rows[0]), shown(found_rows[2])] == EXPECTED
    assert lines == sorted(set(lines))
    assert lines[0] == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("writer", [purview_csv, search_csv], ids=["Purview", "cmdlet"])
def test_a_record_without_audit_data_is_loaded_from_its_columns_and_flagged(
    writer: records.Writer, way: str
) -> None:
    content = writer([hard_delete(1), hard_delete(2), hard_delete(3)])
    data = compact(hard_delete(2)).replace('"', '""')

    with through(way), loaded(content.replace(f'"{data}"'.encode(), b"")) as found:
        row = found.rows()[1]
        counts = found.counts()
        salvaged = found.intake.tallies["E1"].salvaged

    assert counts == (3, 3, 0, 0)
    assert salvaged == 1
    assert (row["_Salvaged"], row["Operation"], row["UserId"], row["OfficeId"]) == (
        True,
        "HardDelete",
        "eva@contoso.example",
        guid(2),
    )
    assert row["TimeGenerated"].isoformat() == "2026-03-02T08:00:02"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kept", [40, 300, 700, 1000])
def test_a_truncated_audit_data_is_salvaged_flagged_and_counted(kept: int, way: str) -> None:
    full = hard_delete(2, UserId="mallory@contoso.example")
    rows = [
        [guid(n), f"2026-03-02T08:00:0{n}Z", "3", "HardDelete", "mallory@contoso.example", data, "", ""]
        for n, data in ((1, compact(hard_delete(1))), (2, compact(full)[:kept]), (3, compact(hard_delete(3))))
    ]

    with through(way), loaded(table(records.PURVIEW_HEADER, rows)) as found:
        row = found.rows()[1]
        counts = found.counts()
        salvaged = found.intake.tallies["E1"].salvaged

    assert counts == (3, 3, 0, 0)
    assert salvaged == 1
    assert row["_Salvaged"] is True
    assert (row["Operation"], row["UserId"], row["OfficeId"]) == (
        "HardDelete",
        "mallory@contoso.example",
        guid(2),
    )
    assert row["ClientAddress"] == ("203.0.113.7" if kept >= 700 else "") or kept == 300


@pytest.mark.parametrize("way", WAYS)
def test_a_truncated_line_of_ndjson_is_salvaged_flagged_and_counted(way: str) -> None:
    lines = [compact(hard_delete(n)) for n in (1, 2, 3)]
    lines[2] = lines[2][:600]

    with through(way), loaded("\n".join(lines).encode()) as found:
        row = found.rows()[2]
        counts = found.counts()

    assert counts == (3, 3, 0, 0)
    assert (row["_Salvaged"], row["OfficeId"], row["UserId"], row["_Position"]) == (
        True,
        guid(3),
        "eva@contoso.example",
        2,
    )


# -- duplicates ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ["NDJSON", "management API array", "Purview CSV"])
def test_118_copies_of_a_record_are_loaded_once(shape: str, way: str) -> None:
    content = SHAPES[shape]([hard_delete(2), *[hard_delete(1)] * 118, hard_delete(3)])

    with through(way), loaded(content) as found:
        rows = found.rows()
        counts = found.counts()

    assert counts == (120, 3, 117, 0)
    assert [(row["OfficeId"], row["_Position"]) for row in rows] == [
        (guid(2), 0),
        (guid(1), 1),
        (guid(3), 119),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_record_in_two_exhibits_counts_for_the_first(way: str) -> None:
    with (
        through(way),
        loaded(
            ndjson([hard_delete(1), hard_delete(2)]), purview_csv([hard_delete(2), hard_delete(3)])
        ) as found,
    ):
        rows = found.rows()
        counts = [found.counts("E1"), found.counts("E2")]

    assert counts == [(2, 2, 0, 0), (2, 1, 1, 0)]
    assert [(row["_Exhibit"], row["OfficeId"]) for row in rows] == [
        ("E1", guid(1)),
        ("E1", guid(2)),
        ("E2", guid(3)),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_two_records_with_one_id_and_other_content_are_both_kept(way: str) -> None:
    with (
        through(way),
        loaded(ndjson([hard_delete(1), hard_delete(1, ResultStatus="Failed"), hard_delete(1)])) as found,
    ):
        rows = found.rows()
        counts = found.counts()

    assert counts == (3, 2, 1, 0)
    assert [row["ResultStatus"] for row in rows] == ["Succeeded", "Failed"]


def test_a_record_of_a_large_and_of_a_small_export_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = ndjson([hard_delete(n) for n in range(5)]), ndjson([hard_delete(3), inbox_rule(9)])
    monkeypatch.setattr(limits, "SMALL_BYTES", (len(large) + len(small)) // 2)

    with loaded(large, small, purview_csv([inbox_rule(9)])) as found:
        counts = [found.counts(f"E{i}") for i in (1, 2, 3)]

    assert counts == [(5, 5, 0, 0), (2, 1, 1, 0), (1, 0, 1, 0)]


@pytest.mark.parametrize("way", WAYS)
def test_records_without_an_id_are_never_called_duplicates(way: str) -> None:
    with through(way), loaded(ndjson([hard_delete(1, Id=None)] * 3)) as found:
        assert found.counts() == (3, 3, 0, 0)


# -- size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["NDJSON", "management API array", "Purview CSV"])
def test_a_record_of_ten_megabytes_is_loaded_like_any_other(shape: str) -> None:
    items = [{"Id": "x" * 1000, "Subject": "s"}] * 10_000
    content = SHAPES[shape]([hard_delete(1), hard_delete(2, AffectedItems=items), hard_delete(3)])

    with loaded(content) as found:
        rows = found.rows()
        counts = found.counts()

    assert len(content) > 10_000_000
    assert counts == (3, 3, 0, 0)
    assert [row["ItemCount"] for row in rows] == [1, 10_000, 1]
