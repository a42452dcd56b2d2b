"""A rule said in Sigma and compiled again finds the same rows; what Sigma cannot say is named with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwitness import rule_export
from mailwitness.content import loader
from mailwitness.content.foreign import load
from mailwitness.content_check import Bench
from mailwitness.rule_export.sigma import NotInSigmaError, as_sigma

from .rules import given, query_of, rows_of, sentinel

ROWS: list[dict[str, Any]] = [
    {"Operation": operation, "UserId": user, "ClientInfoString": client, "OfficeObjectId": name}
    for operation in ("HardDelete", "harddelete", "SoftDelete", "Send")
    for user in ("eva@contoso.example", "mallory@fabrikam.example", "")
    for client in ("Client=REST;python", "Client=OWA")
    for name in ("a*b", "a\\b", "axb", 'a"b', "")
]
QUERIES = [
    'OfficeActivity\n| where Operation in~ ("HardDelete", "SoftDelete") and UserId endswith "@contoso.example"',
    'OfficeActivity\n| where Operation == "HardDelete"',
    'OfficeActivity\n| where Operation in ("HardDelete", "Send") or not(UserId contains "eva")',
    'OfficeActivity\n| where (Operation =~ "send" or ClientInfoString contains_cs "REST") and isnotempty(UserId)',
    'OfficeActivity\n| where Operation != "Send"\n| where UserId !in~ ("", "EVA@contoso.example")',
    'OfficeActivity\n| where OfficeObjectId =~ "a*b"',
    'OfficeActivity\n| where OfficeObjectId =~ "a\\\\b"',
    "OfficeActivity\n| where OfficeObjectId =~ 'a\"b'",
    'OfficeActivity\n| where isempty(UserId) and ClientInfoString matches regex "^Client=(OWA|MSExchangeRPC)$"',
    'OfficeActivity\n| where Operation startswith "soft" or Operation startswith "Hard" and ClientInfoString endswith "OWA"',
]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    opened = Bench()
    yield opened
    opened.close()


@pytest.mark.parametrize("query", QUERIES)
def test_a_rule_said_in_sigma_and_compiled_again_finds_the_same_rows(
    bench: Bench, tmp_path: Path, query: str
) -> None:
    rule = given(tmp_path, one=sentinel(query)).accepted[0].rule
    again = query_of(tmp_path, as_sigma(rule))

    first, second = (rows_of(bench, text, OfficeActivity=ROWS) for text in (query, again))

    assert 0 < len(first) < len(ROWS)
    assert [row["_Position"] for row in first] == [row["_Position"] for row in second]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('MailboxActivity | where Activity == "HardDeleted"', "MailboxActivity"),
        ('OfficeActivity | where Operation == "Send" | summarize count() by UserId', "summarize"),
        ('OfficeActivity | where UserId has "eva"', "'has'"),
        ("OfficeActivity | where strlen(UserId) > 5", "no field for strlen"),
        ('OfficeActivity | where FirstMessageId == "x"', "no field for FirstMessageId"),
        ("OfficeActivity | where TimeGenerated > ago(1d)", "no field for TimeGenerated"),
        ('union OfficeActivity, AuditLogs | where UserId == "x"', "one log"),
        ("Event | where EventID == 4104", "of which log"),
        ('let x = 1; OfficeActivity | where UserId == "x"', "more than one pipeline"),
    ],
)
def test_what_sigma_cannot_say_is_refused_with_the_reason(tmp_path: Path, query: str, words: str) -> None:
    rule = given(tmp_path, one=sentinel(query)).accepted[0].rule

    with pytest.raises(NotInSigmaError, match=words):
        as_sigma(rule)


def test_every_shipped_rule_is_written_or_named(tmp_path: Path) -> None:
    done = rule_export.sigma_rules(tmp_path, folders=[])

    assert len(done.files) + len(done.left_out) == len(loader.rules())
    assert not done.files or not load.load(tmp_path).refused
