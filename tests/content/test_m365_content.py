"""What the rule pack for Microsoft 365 promises beyond the tests inside its files."""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwitness.activities import vocabulary
from mailwitness.content import loader
from mailwitness.content.schemas import Rule
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.findings import execute
from mailwitness.needs import TABLE, named_activities

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT.parent / "shared" / "schemas" / "contracts"
RULES = {path.stem: rule for path, rule in loader.rules(loader.CONTENT / "rules" / "m365")}
# Names an attacker's mailbox may have in any language: the logic must speak of kinds of folders.
FOLDER_NAMES = {
    "Deleted Items",
    "Sent Items",
    "Junk Email",
    "RSS Feeds",
    "Conversation History",
    "Sync Issues",
}
# Sentinel's own words for the tactics of version 18.
SENTINEL_TACTICS = {
    "DefenseEvasion",
    "Collection",
    "Persistence",
    "CredentialAccess",
    "Exfiltration",
    "Impact",
}
SERVICE = "NT AUTHORITY\\SYSTEM (MSExchangeMailboxAssistants)"
# Priority cleanup is carried out by the service; the order for it came from a person.
DESTROYS_OVER_HOLDS = {"PriorityCleanup"}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def attack() -> Any:
    return loader.read_yaml(loader.CONTENT / "attack" / "techniques.yaml")


def strings(query: str) -> set[str]:
    return set(re.findall(r'"([^"\n]*)"', query))


VERBS = "New|Set|Remove|Disable|Enable|Add|Start|Search|Invoke|Import|Delete|Release|Restore"


def cmdlets(text: str) -> set[str]:
    return set(re.findall(rf'"((?:{VERBS})-[A-Z][A-Za-z]+)"', text))


def test_every_rule_and_parser_has_an_id_of_its_own() -> None:
    ids = [rule.id for _, rule in loader.rules()] + [parser.id for parser in loader.parsers()]

    assert sorted(ids) == sorted(set(ids))
    assert all(str(uuid.UUID(one)) == one for one in ids)


@each_rule
def test_a_rule_names_only_known_techniques(rule: Rule) -> None:
    techniques = attack()["techniques"]
    known = {version: {one[version] for one in techniques} for version in ("v18", "v19")}

    assert set(rule.attack.v18) <= known["v18"]
    assert set(rule.attack.v19) <= known["v19"]
    assert set(rule.relevantTechniques) <= known["v18"]
    assert set(rule.tactics) <= SENTINEL_TACTICS


@each_rule
def test_the_two_versions_of_attack_name_the_same_techniques(rule: Rule) -> None:
    newer = {one["v18"]: one["v19"] for one in attack()["techniques"]}

    assert rule.attack.v19 == [newer[one] for one in rule.attack.v18]


@each_rule
def test_a_rule_names_only_strategies_of_its_techniques(rule: Rule) -> None:
    strategies = {one["id"]: one for one in attack()["strategies"]}

    assert all(strategies[one]["technique"] in rule.attack.v18 for one in rule.attack.strategies)
    assert set(rule.attack.analytics) <= {
        name for one in rule.attack.strategies for name in strategies[one]["analytics"]
    }


@each_rule
def test_a_rule_asks_only_for_activities_that_a_parser_yields(rule: Rule) -> None:
    known = vocabulary(loader.parsers())
    compared = set(re.findall(r'Activity == "(\w+)"', rule.query))
    listed = [strings(found) for found in re.findall(r"Activity in \(([^)]*)\)", rule.query)]

    assert compared.union(*listed) <= known
    assert named_activities(rule.query, known)


@each_rule
def test_every_reading_of_the_activities_is_filtered_at_once(rule: Rule) -> None:
    readings = re.findall(rf"\b{TABLE}\b\s*(\|\s*where[^\n]*)?", rule.query)

    assert readings
    assert all("Activity" in reading for reading in readings)
    assert "ago(" not in rule.query


@each_rule
def test_the_logic_names_no_folder_by_an_english_name(rule: Rule) -> None:
    assert not FOLDER_NAMES & strings(rule.query)


@each_rule
def test_a_rule_says_what_it_mistakes_and_what_it_misses(rule: Rule) -> None:
    assert rule.falsePositives
    assert rule.gaps
    assert rule.reasons.keys() == {"severity", "confidence"}
    assert rule.finding is not None
    assert sum(test.expect == "hit" for test in rule.tests) >= 1
    assert sum(test.expect == "silent" for test in rule.tests) >= 2


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    opened = Bench()
    yield opened
    opened.close()


def findings_of_all_rules(bench: Bench, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return name and severity of every finding; the rows are written once for all rules."""
    bench.fill(TABLE, rows, "test")
    return [
        (name, str(row.get("Severity") or rule.severity).lower())
        for name, rule in RULES.items()
        for row in execute(
            bench.connection, bench.engine.to_sql(rule.query, now=TEST_NOW), timeout_seconds=60, limit=10_000
        )
    ]


def test_one_ordinary_act_of_an_owner_is_no_finding(bench: Bench) -> None:
    acts = ["MovedToDeletedItems", "SoftDeleted", "HardDeleted", "Moved", "Created", "Sent"]
    folders = ["Inbox", "Drafts", "SentItems", "DeletedItems", "Calendar", "Other", "System"]
    act = {"ActivityResult": "Succeeded", "ActorType": "Owner", "ItemCount": 1, "Subject": "Lunch on Friday?"}
    # Every act in a mailbox of its own, so that none adds to another.
    rows = [
        act | {"Activity": activity, "FolderKind": folder, "Actor": owner, "Mailbox": owner}
        for activity in acts
        for folder in folders
        for owner in [f"{activity}.{folder}@contoso.example"]
    ]

    found = findings_of_all_rules(bench, rows)

    assert found == []


def test_whatever_the_service_does_is_at_most_information(bench: Bench) -> None:
    act = {"ActivityResult": "Succeeded", "ActorType": "System", "Actor": SERVICE, "ItemCount": 500}
    rows = [
        act | {"Activity": activity, "FolderKind": folder, "Mailbox": f"{activity}.{folder}@contoso.example"}
        for activity in sorted(vocabulary(loader.parsers()) - DESTROYS_OVER_HOLDS)
        for folder in ["Inbox", "RecoverableItemsPurges", "RecoverableItemsVersions", "SentItems"]
    ]

    found = findings_of_all_rules(bench, rows)

    assert {name for name, severity in found if severity != "informational"} == set()


@pytest.mark.skipif(
    not CONTRACTS.is_dir(),
    reason="the list of Exchange cmdlets lies beside the project only while it is built",
)
def test_every_cmdlet_named_exists() -> None:
    known = json.loads((CONTRACTS / "exchange_cmdlets.json").read_text("utf-8"))["cmdlets"]
    operations = json.loads((CONTRACTS / "ual_operations.json").read_text("utf-8"))["operations"]
    real = {name.lower() for name in known} | {one["operation"].lower() for one in operations}
    parser = next(one for one in loader.parsers() if one.table == "OfficeActivity")
    named = cmdlets(parser.query).union(*(cmdlets(rule.query) for rule in RULES.values()))

    assert named
    assert {one for one in named if one.lower() not in real} == set()


def test_a_folder_name_has_one_kind_in_every_language() -> None:
    path = loader.CONTENT / "watchlists" / "folder_names.csv"
    rows = [line.split(",", 2) for line in path.read_text("utf-8").splitlines()[1:]]
    kinds: dict[str, set[str]] = {}
    for _, kind, name in rows:
        kinds.setdefault(name.strip('"'), set()).add(kind)

    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
    assert {name for name in kinds if name != unicodedata.normalize("NFC", name).lower()} == set()
    assert len({language for language, kind, _ in rows if kind == "DeletedItems"}) >= 15


def test_the_parser_yields_exactly_what_it_declares() -> None:
    parser = next(one for one in loader.parsers() if one.table == "OfficeActivity")
    columns = {column.name for column in loader.tables()[TABLE].columns}
    query = parser.query
    operations = query[query.index("let Operations = datatable") : query.index("];")]
    meanings = set(re.findall(r'"[^"]+", "[a-z]+", "(\w+)"', operations))
    decided = strings(query[query.index("| extend Activity = case(") : query.index("ActivityResult = case(")])

    assert meanings <= set(parser.activities)
    assert set(parser.activities) <= meanings | decided
    assert "SourceTable" in columns
