"""docs/detections.md names files that exist, and every rule of the platforms it covers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailwitness.content import loader

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
