"""What could have been seen, on a whole case: from the exports as they come to the table and the report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from ..case_runs import ask, run

_COLUMNS = (
    "RecordType", "CreationDate", "UserIds", "Operations", "AuditData", "ResultIndex", "ResultCount", "Identity",
)  # fmt: skip


def searched(numbers: range, found: int) -> str:
    """Return what Search-UnifiedAuditLog gives, as Export-Csv writes it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for number in numbers:
        record = {
            "CreationTime": f"2026-03-02T{number % 24:02}:00:00", "Id": f"7a1f0c52-3c0e-4b7e-9d07-{number:012}", "Operation": "HardDelete", "RecordType": 3,
            "OrganizationId": "11111111-2222-3333-4444-555555555555", "ResultStatus": "Succeeded", "UserType": 0, "Workload": "Exchange", "LogonType": 0,
            "UserId": "eva@contoso.example", "MailboxOwnerUPN": "eva@contoso.example",
        }  # fmt: skip
        cells = ["ExchangeItemGroup", "2026-03-02", "eva@contoso.example", "HardDelete", json.dumps(record)]
        writer.writerow([*cells, number, found, record["Id"]])
    return text.getvalue()


def test_the_numbers_of_a_search_and_a_list_of_licences_reach_the_table(tmp_path: Path) -> None:
    plan = {"servicePlanId": "2f442157-a11c-46b9-ae5b-6e39ff4e5849", "capabilityStatus": "Enabled"}
    user = {
        "userPrincipalName": "eva@contoso.example",
        "assignedPlans": [plan],
        "SnapshotTime": "2026-03-01T00:00:00Z",
    }
    run(
        tmp_path,
        {
            # The second search found some of the same records: they are loaded once, and both searches are whole or not by themselves.
            "march/first.csv": searched(range(1, 21), 30),
            "again/second.csv": searched(range(1, 11), 10),
            "users.json": json.dumps(
                [user, user | {"userPrincipalName": "ann@contoso.example", "assignedPlans": []}]
            ),
        },
        proof="always",
    )

    told = ask(tmp_path, "Visibility | where Cause in ('ceiling', 'licence', 'doubled')")

    assert {(row["Cause"], row["Subject"], row["Missing"]) for row in told} == {
        ("ceiling", "", 10),
        ("licence", "ann@contoso.example", 0),
    }
    (loaded,) = ask(tmp_path, "OfficeActivity | count")
    assert list(loaded.values()) == [20]
