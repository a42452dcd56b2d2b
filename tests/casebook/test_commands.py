"""The commands of the case book, on the bundled sample."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from mailwitness import activities, case_commands, pipeline, timeline
from mailwitness.content import loader
from mailwitness.errors import CaseChanged, ConfigError
from mailwitness.evidence import custody

SAMPLE = Path(__file__).parents[2] / "src" / "mailwitness" / "samples" / "demo"
NOW = "2026-11-01T00:00:00Z"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk") / "case"
    settings = pipeline.Settings(now=dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
    pipeline.investigate([SAMPLE], folder, settings, pipeline.Progress())
    return folder


@pytest.fixture(autouse=True)
def _own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILWITNESS_DATABASE", raising=False)


def worst(case: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case / "report.json").read_bytes())["cases"][0]
    return found


def test_every_activity_has_its_phase() -> None:
    assert set(timeline.phases()) == activities.vocabulary(loader.parsers())
    assert set(timeline.phases().values()) == set(timeline.PHASES)


def test_a_case_is_worked_on_from_first_note_to_decision(
    case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = worst(case)["id"]
    case_commands.note(name, "asked \x1b[2Jthe owner", case=case, now=NOW)
    case_commands.assign(name[:4], "kim", case=case, now=NOW)
    with pytest.raises(CaseChanged):
        case_commands.status(name, "waiting", case=case, seen=1, now=NOW)
    case_commands.close(name, decision="attack", reason="she denies it", case=case, now=NOW)
    capsys.readouterr()

    case_commands.show(name, case=case, now=NOW)

    printed = capsys.readouterr().out
    assert "decided: attack" in printed
    assert "she denies it" in printed
    assert "\x1b" not in printed
    entries = [json.loads(line) for line in (case / "custody.jsonl").read_bytes().splitlines()]
    decisions = [entry for entry in entries if entry["event"] == "decision"]
    assert [entry["action"] for entry in decisions] == ["note", "assign", "close"]
    assert custody.verify(case / "custody.jsonl").ok


def test_the_list_shows_the_worst_case_first(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case_commands.list_cases(case=case, json=True, now=NOW)

    listed = json.loads(capsys.readouterr().out)
    assert listed[0]["id"] == worst(case)["id"]
    assert [one["severity"] for one in listed[1:]] == ["informational"] * (len(listed) - 1)


def test_the_timeline_tells_the_story_over_all_sources(
    case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = worst(case)
    case_commands.timeline(found["id"], case=case, json=True)

    acts = json.loads(capsys.readouterr().out)
    assert [act["time"] for act in acts] == sorted(act["time"] for act in acts)
    assert {"access", "hiding", "clearing"} <= {act["phase"] for act in acts}
    assert len({act["exhibit"] for act in acts}) > 1
    people = {*found["actors"], *found["mailboxes"]}
    assert all({act["actor"], act["mailbox"]} & people or act["address"] for act in acts)


def test_the_timeline_can_be_narrowed(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = worst(case)
    actor = found["actors"][0]
    case_commands.timeline(
        found["id"],
        case=case,
        phase=["clearing"],
        actor=actor,
        since=found["first_seen"],
        until=found["last_seen"],
        json=True,
    )

    acts = json.loads(capsys.readouterr().out)
    assert acts
    assert {act["phase"] for act in acts} == {"clearing"}
    assert {act["actor"] for act in acts} == {actor}
    assert all(found["first_seen"] <= act["time"] <= found["last_seen"] for act in acts)
    with pytest.raises(ConfigError, match="no phase"):
        case_commands.timeline(found["id"], case=case, phase=["dance"])
