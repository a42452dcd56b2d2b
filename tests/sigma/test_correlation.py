"""Sigma correlations are followed as chains; a kind that chains do not know is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwitness.pipeline import Progress, Settings, investigate

from .rules import NOW, given

EVENTS = {
    "name": "made",
    "title": "Forwarding set",
    "logsource": {"product": "m365"},
    "detection": {"s": {"Operation": "Set-Mailbox"}, "condition": "s"},
}
LATER = {
    "name": "cleared",
    "title": "Deleted",
    "logsource": {"product": "m365"},
    "detection": {"s": {"Operation": "HardDelete"}, "condition": "s"},
}
ORDERED = {"type": "temporal_ordered", "rules": ["made", "cleared"], "group-by": ["UserId"], "timespan": "1h"}


def text(correlation: dict[str, Any], *rules: dict[str, Any]) -> str:
    return str(
        yaml.safe_dump_all(
            [*rules, {"title": "Planted correlation", "level": "high", "correlation": correlation}]
        )
    )


def record(number: int, time: str, operation: str, user: str) -> dict[str, Any]:
    return {
        "Id": str(number),
        "CreationTime": time,
        "Operation": operation,
        "RecordType": 1,
        "UserId": user,
        "Workload": "Exchange",
        "ResultStatus": "Succeeded",
    }


def chain_outcome(
    folder: Path, correlation: dict[str, Any], records: list[dict[str, Any]]
) -> tuple[str, int]:
    (folder / "rules").mkdir()
    given(folder / "rules", one=text(correlation, EVENTS, LATER))
    (folder / "export.json").write_text(json.dumps(records), "utf-8")
    report = investigate(
        [folder / "export.json"],
        folder / "case",
        Settings(now=NOW, rules=(folder / "rules",), proof="never"),
        Progress(),
    ).report
    outcomes = {rule["name"]: rule["outcome"] for rule in report["chains"]}
    matches = [
        c for case in report["cases"] for c in case["chains"] if "Planted correlation" in json.dumps(c)
    ]
    return outcomes["Planted correlation"], len(matches)


def test_ordered_events_of_one_actor_are_followed_as_a_chain(tmp_path: Path) -> None:
    records = [
        record(1, "2026-03-02T08:00:00", "Set-Mailbox", "eva@contoso.example"),
        record(2, "2026-03-02T08:59:00", "HardDelete", "eva@contoso.example"),
        record(3, "2026-03-02T08:30:00", "HardDelete", "vic@contoso.example"),
    ]

    assert chain_outcome(tmp_path, ORDERED, records) == ("found", 1)


@pytest.mark.parametrize(
    ("times", "users"),
    [
        (("08:00:00", "09:01:00"), ("eva@contoso.example", "eva@contoso.example")),
        (("08:30:00", "08:00:00"), ("eva@contoso.example", "eva@contoso.example")),
        (("08:00:00", "08:30:00"), ("eva@contoso.example", "vic@contoso.example")),
    ],
    ids=["too late", "wrong order", "another actor"],
)
def test_what_only_looks_like_the_correlation_stays_silent(
    tmp_path: Path, times: tuple[str, str], users: tuple[str, str]
) -> None:
    records = [
        record(1, f"2026-03-02T{times[0]}", "Set-Mailbox", users[0]),
        record(2, f"2026-03-02T{times[1]}", "HardDelete", users[1]),
    ]

    assert chain_outcome(tmp_path, ORDERED, records) == ("clear", 0)


@pytest.mark.parametrize(("number", "outcome"), [(3, "found"), (2, "clear")])
def test_events_are_counted_within_the_timespan(tmp_path: Path, number: int, outcome: str) -> None:
    counted = {
        "type": "event_count",
        "rules": ["cleared"],
        "group-by": ["UserId"],
        "timespan": "10m",
        "condition": {"gte": 3},
    }
    records = [
        record(i, f"2026-03-02T08:0{i}:00", "HardDelete", "eva@contoso.example") for i in range(number)
    ]
    records += [
        record(10 + i, f"2026-03-02T{10 + i}:00:00", "HardDelete", "vic@contoso.example") for i in range(3)
    ]

    assert chain_outcome(tmp_path, counted, records)[0] == outcome


@pytest.mark.parametrize(
    ("owners", "outcome"),
    [(("eva", "bob", "vic"), "found"), (("eva", "eva", "eva"), "clear"), (("eva", "EVA", "bob"), "clear")],
    ids=["three mailboxes", "one mailbox", "two mailboxes in two spellings"],
)
def test_different_values_of_a_field_are_counted(
    tmp_path: Path, owners: tuple[str, ...], outcome: str
) -> None:
    counted = {
        "type": "value_count",
        "rules": ["cleared"],
        "group-by": ["UserId"],
        "timespan": "10m",
        "condition": {"field": "MailboxOwnerUPN", "gte": 3},
    }
    records = [
        record(i, f"2026-03-02T08:0{i}:00", "HardDelete", "mallory@contoso.example")
        | {"MailboxOwnerUPN": f"{owner}@contoso.example"}
        for i, owner in enumerate(owners)
    ]

    assert chain_outcome(tmp_path, counted, records)[0] == outcome


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "value_sum"}, "value_sum"),
        ({"group-by": ["UserId", "ClientIP"]}, "2 fields"),
        ({"group-by": ["Operation"]}, "'Operation'"),
        ({"rules": ["made", "elsewhere"]}, "'elsewhere'"),
        ({"type": "event_count", "condition": {"lt": 3}}, "least number"),
        ({"type": "value_count", "condition": {"gte": 3}}, "names no field"),
        ({"type": "value_count", "condition": {"field": "Nowhere.At.All", "gte": 3}}, "no place"),
        ({"rules": 5}, "'5'"),
    ],
)
def test_a_correlation_that_no_chain_can_follow_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    loaded = given(tmp_path, one=text(ORDERED | change, EVENTS, LATER))

    assert not loaded.chains
    assert words in loaded.refused[0].reason
