"""Rules about a platform of which nothing was given are not evaluated, and take one line."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from mailwitness.content import loader, pack
from mailwitness.pipeline import Progress, Settings, investigate

from .records import hard_delete

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


def test_a_case_from_the_cloud_says_in_one_line_each_what_it_holds_nothing_of(tmp_path: Path) -> None:
    evidence = tmp_path / "audit.json"
    evidence.write_text(json.dumps([hard_delete()]), "utf-8")

    report = investigate([evidence], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()).report

    lines = {row["reason"]: row["what"] for row in report["not_evaluated"]}
    about = pack.load().platforms
    for name in ("Linux mail hosts", "Macs", "Windows computers", "Google Workspace"):
        reason = f"no exhibit holds records of {name}"
        rules = [rule for rule in report["rules"] if rule["reason"] == reason]
        assert len(rules) == sum(platform.name == name for platform in about.values())
        assert {rule["outcome"] for rule in rules} == {"not_evaluated"}
        assert lines[reason] == f"{len(rules)} rules for {name}"


def test_every_platform_names_a_folder_of_rules_and_known_tables() -> None:
    ruled = loader.rules()

    platforms = loader.platforms(ruled)

    folders = {path.parent.name for path, rule in ruled if rule.id in platforms}
    assert folders == {"google", "linux", "macos", "windows"}
    assert {table for one in platforms.values() for table in one.tables} <= loader.tables().keys()
