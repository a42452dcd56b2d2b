"""The published rule that the mission starts from runs unchanged and returns exactly the right rows."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from mailwitness import findings
from mailwitness.content_check import Bench

SEED = Path(__file__).parents[3] / "shared" / "seeds" / "004_b6b8d107fd205048.txt"
NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
RECENT, OLD = "2026-03-02T09:00:00", "2026-02-27T09:00:00"


def seed_query() -> str:
    """Return the KQL of the page; the last line ends in two words of the page's layout, which are cut."""
    if not SEED.exists():
        pytest.skip(f"the seed document is not here ({SEED.name} in ../shared/seeds)")
    text = SEED.read_text(encoding="utf-8")
    query = text[text.index("let SuspiciousMailboxCmdlets") : text.index("medium confidence")]
    return re.sub(r"\s*high\s+severity\s*$", "", query)


def process(line: str, *, name: str = "powershell.exe", time: str = RECENT) -> dict[str, str]:
    """Return one process row."""
    return {
        "Timestamp": time,
        "TimeGenerated": time,
        "DeviceName": "ws07",
        "FileName": name,
        "ProcessCommandLine": line,
    }


def office(operation: str, *, record: str = "ExchangeItemGroup", time: str = RECENT) -> dict[str, str]:
    """Return one audit row."""
    return {
        "TimeGenerated": time,
        "Operation": operation,
        "RecordType": record,
        "UserId": "eva@contoso.example",
    }


TRUTH: list[tuple[str, str, dict[str, str], bool]] = [
    (
        "cmdlet in a command line",
        "DeviceProcessEvents",
        process("powershell Remove-MailboxExportRequest -Confirm:$false"),
        True,
    ),
    (
        "case of the cmdlet does not matter",
        "DeviceProcessEvents",
        process("POWERSHELL remove-mailboxexportrequest"),
        True,
    ),
    (
        "case of the file name does not matter",
        "DeviceProcessEvents",
        process("Get-Mailbox | Set-InboxRule", name="PWSH.EXE"),
        True,
    ),
    ("has_any matches whole terms only", "DeviceProcessEvents", process("pwsh -c Set-InboxRuleX"), False),
    ("another program", "DeviceProcessEvents", process("Remove-InboxRule", name="cmd.exe"), False),
    ("an empty command line", "DeviceProcessEvents", process(""), False),
    ("before the window", "DeviceProcessEvents", process("Remove-InboxRule", time=OLD), False),
    ("HardDelete", "OfficeActivity", office("HardDelete"), True),
    ("SoftDelete", "OfficeActivity", office("SoftDelete"), True),
    (
        "MoveToDeletedItems is listed and then filtered away",
        "OfficeActivity",
        office("MoveToDeletedItems"),
        False,
    ),
    ("in is case sensitive", "OfficeActivity", office("harddelete"), False),
    ("an old deletion", "OfficeActivity", office("HardDelete", time=OLD), False),
    (
        "a cmdlet of the admin branch",
        "OfficeActivity",
        office("Remove-InboxRule", record="ExchangeAdmin"),
        True,
    ),
    (
        "the same cmdlet in another record type",
        "OfficeActivity",
        office("Remove-InboxRule", record="Discovery"),
        False,
    ),
    (
        "New-InboxRule is missing from the admin branch",
        "OfficeActivity",
        office("New-InboxRule", record="ExchangeAdmin"),
        False,
    ),
]


def run(rows: dict[str, list[dict[str, str]]]) -> list[dict[str, object]]:
    """Return the rule's rows on these tables."""
    bench = Bench()
    try:
        for table in ("DeviceProcessEvents", "OfficeActivity"):
            bench.fill(table, rows.get(table, []), "seed")
        sql = bench.engine.to_sql(seed_query(), now=NOW)
        return findings.execute(bench.connection, sql, timeout_seconds=60, limit=1000)
    finally:
        bench.close()


def test_the_seed_rule_returns_exactly_the_rows_of_its_truth_table() -> None:
    """All rows at once: the hits, and nothing else, newest first."""
    tables: dict[str, list[dict[str, str]]] = {}
    for _, table, row, _ in TRUTH:
        tables.setdefault(table, []).append(row)

    found = run(tables)

    wanted = [r.get("ProcessCommandLine") or r["Operation"] for _, _, r, is_hit in TRUTH if is_hit]
    got = [
        r["ProcessCommandLine"]
        if r["DetectionType"] == "ExchangePowerShell_MailboxManipulation"
        else r["FileName"]
        for r in found
    ]
    assert sorted(wanted) == sorted(str(value) for value in got)
    times = [str(r["Timestamp"]) for r in found]
    assert sorted(times, reverse=True) == times


@pytest.mark.parametrize(("name", "table", "row", "is_hit"), TRUTH, ids=[item[0] for item in TRUTH])
def test_each_row_of_the_truth_table_alone(name: str, table: str, row: dict[str, str], is_hit: bool) -> None:
    """One row alone is found, or not, as the table says."""
    found = run({table: [row]})

    assert len(found) == int(is_hit)


def test_the_switch_column_of_the_third_branch_is_always_false() -> None:
    """The known defect is reproduced, not repaired: the words it looks for stand in Parameters."""
    row = office("Search-Mailbox", record="ExchangeAdmin") | {
        "Parameters": '[{"Name":"DeleteContent","Value":"True"}]'
    }

    found = run({"OfficeActivity": [row]})

    assert [r["HasDeleteContent"] for r in found] == [False]
