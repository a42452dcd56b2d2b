"""docs/detections.md names files that exist, and every rule of the platforms it covers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailwitness.content import loader
from mailwitness.scenarios import telling

PAGE = Path(__file__).resolve().parents[2] / "docs" / "detections.md"
NAMED = sorted(set(re.findall(r"`(rules/[\w/]+\.yaml)`", PAGE.read_text("utf-8"))))


@pytest.mark.parametrize("name", NAMED)
def test_named_file_exists(name: str) -> None:
    assert (loader.CONTENT / name).is_file()


@pytest.mark.parametrize("platform", ["m365", "exchange", "windows", "google"])
def test_every_rule_of_a_platform_is_named(platform: str) -> None:
    files = {f"rules/{platform}/{path.name}" for path in (loader.CONTENT / "rules" / platform).glob("*.yaml")}
    assert files, platform
    assert not files - set(NAMED)


def test_the_table_of_chains_names_every_chain_and_only_what_exists() -> None:
    section = PAGE.read_text("utf-8").split("## Chains\n", 1)[1].split("\n## ", 1)[0]
    chains = {chain.name for _, chain in loader.chains()}
    known = set(telling.instances()) | {item.scenario.id for item in telling.instances().values()}
    rules = {path.stem for path, _ in loader.rules()}

    listed = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    named = set(re.findall(r"`([\w.]+)`", section)) - chains

    assert listed == chains
    assert {name for name in named if name not in known | rules} == set()
