"""Folders of other people's rules: every rule is accounted for, and none of them can break a run."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from mailwitness import replay, rule_loading
from mailwitness.content.foreign import load
from mailwitness.content.schemas import Rule
from mailwitness.errors import ContentError, QueryUnsupported
from mailwitness.pipeline import Progress, Settings, investigate

from .rules import NOW, given, sentinel, sigma

GOOD = sigma({"product": "m365"}, {"sel": {"Operation": "HardDelete"}, "condition": "sel"})
DEEP = "a: " + "[" * 60 + "]" * 60
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\nquery: x\n"
BROKEN = [
    ("not YAML", "id: [", "not a YAML file"),
    ("a key twice", "query: a\nquery: b\n", "'query' occurs twice"),
    ("only words", "just words", "no rule"),
    ("empty", "", "empty"),
    ("a bomb", BOMB, "anchors"),
    ("too deep", DEEP, "nested"),
    ("a key that is a list", "? [a]\n: b\n", "a key is a list"),
    ("a number as key", "5: x\nquery: a\n", "no rule"),
    ("neither", "name: x\n", "neither"),
    ("a python object", "query: !!python/object/apply:os.system [x]\n", "not a YAML file"),
    ("huge", "query: '" + "x" * 1_100_000 + "'\n", "larger"),
    ("a huge number", "query: x\nid: 1" + "0" * 6000 + "\n", ""),
]


@pytest.mark.parametrize(("text", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_file_is_named_and_the_others_still_run(tmp_path: Path, text: str, words: str) -> None:
    loaded = given(tmp_path, bad=text, good=GOOD)

    assert [item.file.name for item in loaded.accepted] == ["good.yml"]
    assert [item.file for item in loaded.refused] == ["bad.yml"]
    assert words in loaded.refused[0].reason


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContentError, match="not UTF-8"):
        load.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (sentinel("OfficeActivity", severity="Terrible"), "severity"),
        (sentinel("OfficeActivity", triggerOperator="lt", triggerThreshold=1), "few rows"),
        (sentinel(" "), "empty"),
        (sentinel("OfficeActivity", tests="x"), "tests"),
        (sentinel("OfficeActivity", triggerThreshold="many"), "triggerThreshold"),
    ],
)
def test_a_sentinel_rule_with_wrong_types_is_refused(tmp_path: Path, text: str, words: str) -> None:
    loaded = given(tmp_path, bad=text, good=GOOD)

    assert words in loaded.refused[0].reason


def test_keys_of_a_workspace_do_not_stop_a_rule(tmp_path: Path) -> None:
    text = sentinel(
        "OfficeActivity | take 1",
        customDetails={"a": "b"},
        incidentConfiguration={"createIncident": True},
        queryFrequency="PT5M",
    )

    rule = given(tmp_path, one=text).accepted[0].rule

    assert rule.queryFrequency == "5m"


def test_the_load_report_says_of_each_rule_whether_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given(
        tmp_path,
        a=GOOD,
        b=sentinel("OfficeActivity | where TimeGenerated > ago(1d)"),
        c=sentinel("OfficeActivity | where NoSuchColumn == 1"),
        d=sentinel("NoSuchTable | take 1"),
        e=sentinel("OfficeActivity | evaluate bag_unpack(ParametersBag)"),
        f=sigma({"product": "aws"}, {"sel": {"a": "b"}, "condition": "sel"}),
    )

    code = rule_loading.print_report([tmp_path], as_json=True)

    lines = {line["file"]: line for line in json.loads(capsys.readouterr().out)}
    assert code == 2
    assert [lines[f"{name}.yml"]["outcome"] for name in "abcdef"] == ["runs", "runs", *["unsupported"] * 4]
    assert "present time" in lines["b.yml"]["note"]
    assert all(lines[f"{name}.yml"]["reason"] for name in "cdef")
    assert "NoSuchColumn" in lines["c.yml"]["reason"]


def _evidence(folder: Path, *times: str) -> Path:
    path = folder / "export.json"
    records = [
        {
            "Id": str(i),
            "CreationTime": time,
            "Operation": "HardDelete",
            "RecordType": 3,
            "UserId": "eva@contoso.example",
            "Workload": "Exchange",
            "ResultStatus": "Succeeded",
        }
        for i, time in enumerate(times)
    ]
    path.write_text(json.dumps(records), "utf-8")
    return path


def test_mixed_rules_run_in_one_investigation_and_the_refused_are_reported(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    given(
        rules,
        a=GOOD,
        b=sentinel("OfficeActivity | where Operation == 'HardDelete'"),
        c=sigma({"product": "aws"}, {"s": {"a": "b"}, "condition": "s"}, title="Cloud trail"),
    )
    settings = Settings(now=NOW, proof="never", rules=(rules,))

    report = investigate(
        [_evidence(tmp_path, "2026-03-02T08:00:00")], tmp_path / "case", settings, Progress()
    ).report

    outcomes = {rule["name"]: rule["outcome"] for rule in report["rules"]}
    refused = [item for item in report["not_evaluated"] if "Cloud trail (c.yml)" in item["what"]]
    assert (outcomes["A planted rule"], outcomes["A published rule"]) == ("found", "found")
    assert "no table of ours" in refused[0]["reason"]
    assert not refused[0]["blocking"]
    exhibit_rows = [
        f["rows"] for case in report["cases"] for f in case["findings"] if f["title"] == "A planted rule"
    ]
    assert exhibit_rows == [[{"exhibit": "E1", "record": 0}]]


def test_a_rule_that_asks_for_the_present_finds_what_happened_weeks_ago_once(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    query = "OfficeActivity | where TimeGenerated > ago(1d) | where Operation == 'HardDelete' | project TimeGenerated, UserId"
    given(rules, a=sentinel(query, queryFrequency="1h", queryPeriod="1d"))
    evidence = _evidence(tmp_path, "2026-02-02T08:10:00", "2026-02-03T23:50:00")

    report = investigate(
        [evidence], tmp_path / "case", Settings(now=NOW, proof="never", rules=(rules,)), Progress()
    ).report

    rule = next(item for item in report["rules"] if item["name"] == "A published rule")
    said = [
        f["reasons"] for case in report["cases"] for f in case["findings"] if f["title"] == "A published rule"
    ]
    assert (rule["outcome"], rule["findings"]) == ("found", 2)
    assert "replayed at every 1h" in rule["reason"]
    assert all(any("over the hours in which there is data" in text for text in reasons) for reasons in said)


def test_a_threshold_counts_within_one_run_of_the_schedule(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    query = "OfficeActivity | where TimeGenerated > ago(1h) | where Operation == 'HardDelete' | project TimeGenerated, UserId"
    given(rules, a=sentinel(query, queryFrequency="1h", queryPeriod="1h", triggerThreshold=1))
    alone = _evidence(tmp_path, "2026-02-02T08:10:00", "2026-02-02T12:10:00")

    report = investigate(
        [alone], tmp_path / "case", Settings(now=NOW, proof="never", rules=(rules,)), Progress()
    ).report

    assert next(item for item in report["rules"] if item["name"] == "A published rule")["outcome"] == "clear"


def _rule(frequency: str, period: str) -> Rule:
    return Rule(
        id="x",
        name="x",
        description="x",
        severity="High",
        query="x",
        queryFrequency=frequency,
        queryPeriod=period,
    )


def test_ticks_cover_the_period_after_the_data_and_nothing_else() -> None:
    hour = dt.datetime(2026, 3, 2, 8)  # noqa: DTZ001 - the database's times are naive UTC

    ticks = replay.ticks([hour], _rule("1h", "3h"))

    assert [tick.isoformat() for tick in ticks] == [f"2026-03-02T{h:02}:00:00+00:00" for h in (9, 10, 11)]


def test_a_schedule_too_dense_to_repeat_is_refused() -> None:
    hours = [dt.datetime(2026, 1, 1) + dt.timedelta(hours=i) for i in range(2000)]  # noqa: DTZ001 - as above

    assert len(replay.ticks(hours, _rule("1h", "14d"))) == 2335
    with pytest.raises(QueryUnsupported, match="would have run"):
        replay.ticks(hours, _rule("1m", "1h"))
