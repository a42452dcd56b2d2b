"""The shipped sample evidence is fresh, small, synthetic and broken only where it says so."""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import re

import make_demo

DOCUMENTATION = [
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "::1/128")
]


def audit_rows() -> list[list[str]]:
    text = make_demo.build()["purview-audit-export.csv"].decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_two_runs_of_the_generator_agree() -> None:
    first = make_demo.build()

    second = make_demo.build()

    assert first == second


def test_the_shipped_files_are_fresh() -> None:
    assert make_demo.main(["--check"]) == 0


def test_the_demo_stays_small() -> None:
    sizes = [len(content) for content in make_demo.build().values()]

    assert sum(sizes) < 430_000


def test_every_address_and_domain_is_reserved_for_documentation() -> None:
    text = b"\n".join(make_demo.build().values()).decode()

    addresses = re.findall(r'(?:ClientIP(?:Address)?|ipAddress)"+:"+\[?([0-9a-f.:]+?)\]?(?::\d{5})?"', text)
    domains = {match.lower() for match in re.findall(r"@([A-Za-z0-9.-]+\.[A-Za-z]+)", text)}

    assert addresses
    for address in addresses:
        assert any(ipaddress.ip_address(address) in network for network in DOCUMENTATION), address
    assert {domain for domain in domains if not domain.endswith(".example")} == set()


def test_the_audit_export_is_newest_first_with_one_cut_and_one_damaged_record() -> None:
    header, *rows = audit_rows()

    damaged = [row for row in rows if len(row) != len(header)]
    whole = [row for row in rows if len(row) == len(header)]
    cut = [row for row in whole if not row[5].endswith("}")]
    dates = [row[1] for row in whole]

    assert len(damaged) == 1
    assert [row[3] for row in cut] == ["MailItemsAccessed"]
    assert dates == sorted(dates, reverse=True)
    for row in whole:
        if row not in cut:
            record = json.loads(row[5])
            assert [row[0], row[3], row[4]] == [record["Id"], record["Operation"], record["UserId"]]


def test_every_lure_that_was_purged_is_still_in_the_message_trace() -> None:
    files = make_demo.build()
    trace = csv.DictReader(io.StringIO(files["message-trace.csv"].decode(), newline=""))
    delivered = {row["MessageId"] for row in trace}

    purged = {
        item["InternetMessageId"]
        for row in audit_rows()[1:]
        if len(row) > 5 and row[3] == "HardDelete" and "Sent Items" in row[5]
        for item in json.loads(row[5])["AffectedItems"]
    }

    assert len(purged) == 24
    assert purged <= delivered


def test_the_export_of_the_intruder_is_removed_and_counsels_is_kept() -> None:
    records = json.loads(make_demo.build()["ediscovery-general.json"])

    exported = {r["ObjectId"] for r in records if r["Operation"] == "SearchExported"}
    removed = {r["ObjectId"] for r in records if r["Operation"] == "RemovedSearchExported"}

    assert exported == {"Backup check_Export", "HR-2026-031 correspondence_Export"}
    assert removed == {"Backup check_Export"}
