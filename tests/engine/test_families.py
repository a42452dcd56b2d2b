"""Kinds of record that an export lacks are named, and no rule that needs them counts as clear."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from mailwitness.content import loader, pack
from mailwitness.pipeline import Progress, Settings, investigate

from .records import hard_delete, inbox_rule, ndjson

Record = dict[str, Any]  # Any: JSON values
NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
Outcomes = tuple[Record, dict[str, str]]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], Outcomes]:
    """Investigate one export; return the report and the outcome of each rule by its file."""
    files = {rule.id: path.stem for path, rule in loader.rules()}

    def investigated(name: str, content: bytes) -> Outcomes:
        folder = tmp_path_factory.mktemp("families")
        (folder / name).write_bytes(content)
        done = investigate([folder / name], folder / "case", Settings(now=NOW, proof="never"), Progress())
        return done.report, {
            files[row["id"]]: row["outcome"] for row in done.report["rules"] if row["id"] in files
        }

    return investigated


def google(application: str, name: str, **parameters: str) -> bytes:
    listed = [{"name": key, "value": value} for key, value in parameters.items()]
    return json.dumps({
        "kind": "admin#reports#activity",
        "id": {"time": "2026-03-02T08:41:13.201Z", "uniqueQualifier": "1", "applicationName": application, "customerId": "C0123"},
        "actor": {"email": "admin@contoso.example", "profileId": "118"},
        "ipAddress": "203.0.113.7",
        "events": [{"type": "USER_SETTINGS", "name": name, "parameters": listed}],
    }).encode()  # fmt: skip


def reasons(report: Record, *, blocking: bool) -> str:
    return "; ".join(row["reason"] for row in report["not_evaluated"] if row["blocking"] is blocking)


def test_what_administrators_did_says_nothing_about_messages_of_gmail(
    judged: Callable[[str, bytes], Outcomes],
) -> None:
    report, outcomes = judged("admin.json", google("admin", "CREATE_USER", USER_EMAIL="bob@contoso.example"))

    assert outcomes["permanent_deletion_above_history"] == "not_evaluated"
    assert outcomes["mail_setting_rejects_or_strips"] == "clear"
    assert "the evidence holds no records of Gmail" in reasons(report, blocking=True)
    assert "the evidence holds no records of Google Vault" in reasons(report, blocking=False)
    assert report["summary"]["outcome"] == "not_evaluated"


def test_mailbox_records_alone_cannot_show_a_purge_by_search_nor_who_signed_in(
    judged: Callable[[str, bytes], Outcomes],
) -> None:
    admin = inbox_rule(2, Operation="Set-Mailbox", Parameters=[{"Name": "Identity", "Value": "eva"}])

    report, outcomes = judged("audit.json", ndjson([hard_delete(1, Folder={"Path": "\\Inbox"}), admin]))

    assert {outcomes[name] for name in ("compliance_purge", "search_record_removed")} == {"not_evaluated"}
    assert "eDiscovery and compliance records" in reasons(report, blocking=False)
    assert "Entra records" in reasons(report, blocking=False)
    assert reasons(report, blocking=True) == ""


def test_every_family_names_what_its_table_has_and_its_parsers_yield() -> None:
    tables, wrong = loader.tables(), []
    for family in pack.families():
        yielded = {
            a for parser in loader.parsers() if parser.table == family.table for a in parser.activities
        }
        for one in (family.column, *family.beside):
            table = family.table if one == family.column else "Syslog"
            if one not in {column.name for column in tables[table].columns}:
                wrong.append(f"{family.name}: {table} has no column {one}")
        wrong += [f"{family.name}: no parser yields {a}" for a in set(family.activities) - yielded]

    assert wrong == []
