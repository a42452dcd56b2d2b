"""The benchmark accepts a right answer and names what is wrong with any other."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAMAGE = [
    {"line": 3, "offset": 300, "length": 42, "kind": "noise"},
    {"line": 5, "offset": 500, "length": 90, "kind": "truncated"},
    {"line": 6, "offset": 600, "length": 0, "kind": "blank"},
]
STEPS = [
    {"operation": "RemovedSearchExported", "offset": 1000},
    {"operation": "New-InboxRule", "offset": 1100},
    {"operation": "HardDelete", "offset": 1200},
    {"operation": "HardDelete", "offset": 1300},
]
TRUTH = {"records": 9, "events": 7, "chains": [{"actor": "chain0000@contoso.example", "steps": STEPS}]}


def load_verify() -> Any:
    # By path: the benchmark is no installed package, and tests may start in any folder.
    spec = importlib.util.spec_from_file_location("bench_verify", ROOT / "bench" / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_verify"] = module
    spec.loader.exec_module(module)
    return module


def right_answer() -> dict[str, Any]:
    quarantined = {"line": 3, "offset": 300, "length": 42, "reason": "not a record"}
    findings = [{"position": {"offset": step["offset"]}} for step in STEPS[:3]]
    return {
        "intake": [{"records": 9, "loaded": 8, "duplicates": 0, "quarantined": 1, "salvaged": 1}],
        "quarantine": [quarantined],
        "cases": [{"actors": ["Chain0000@contoso.example"], "severity": "high", "findings": findings}],
    }


def problems(folder: Path, report: dict[str, Any]) -> list[str]:
    path, case = folder / "log.ndjson", folder / "case"
    case.mkdir()
    (case / "report.json").write_text(json.dumps(report), "utf-8")
    Path(f"{path}.truth.json").write_text(json.dumps(TRUTH), "utf-8")
    Path(f"{path}.damage.json").write_text(json.dumps(DAMAGE), "utf-8")
    return list(load_verify().check(case, path).problems)


def test_a_right_answer_has_no_problems(tmp_path: Path) -> None:
    assert problems(tmp_path, right_answer()) == []


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("intake", 0, "loaded"), 7, "sound events loaded"),
        (("intake", 0, "duplicates"), 1, "duplicates"),
        (("intake", 0, "salvaged"), 0, "damaged records reported"),
        (("quarantine", 0, "line"), 4, "place of a quarantined record differs"),
        (("quarantine", 0, "length"), 40, "place of a quarantined record differs"),
        (("quarantine", 0, "offset"), 200, "sound record quarantined"),
        (("cases", 0, "actors"), ["somebody@contoso.example"], "chain of chain0000"),
    ],
)
def test_a_wrong_answer_is_named(
    tmp_path: Path, place: tuple[str, int, str], value: object, expected: str
) -> None:
    report = right_answer()
    section, number, key = place
    report[section][number][key] = value

    found = problems(tmp_path, report)

    assert any(expected in problem for problem in found), found


def test_a_run_without_a_report_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"

    answer = load_verify().check(tmp_path, path)

    assert answer.problems
