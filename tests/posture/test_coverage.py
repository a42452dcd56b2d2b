"""The page of what the checks cover is complete: no line of the mitigations without a word, and no check that is not named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailwitness.content import loader

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "posture-coverage.md").read_text("utf-8").splitlines()
    if re.match(r"\| (?!Platform|-)", line)
]
REFERENCE = ROOT.parent / "shared" / "reference" / "attack.md"


def test_every_check_stands_on_the_page_once_and_no_other_does() -> None:
    named = re.findall(r"`([a-z0-9]+/[a-z_]+)`", "\n".join(ROWS))

    assert sorted(named) == sorted(f"{check.platform}/{check.id}" for _, check in loader.checks())


def test_every_line_names_a_check_or_says_why_there_is_none() -> None:
    assert all("`" in row.split("|")[3] or "no check:" in row.split("|")[3] for row in ROWS)


@pytest.mark.skipif(
    not REFERENCE.exists(), reason="the reference of the mitigations is not beside the project"
)
def test_every_line_of_the_reference_has_a_line_on_the_page() -> None:
    section = REFERENCE.read_text("utf-8").split("\n## 2.")[1].split("\n## 3.")[0]
    lines = re.findall(r"^(?:\| (?!platform\b)\S|- )", section, re.MULTILINE)

    assert len(lines) == len(ROWS)


def test_every_check_says_what_mends_it_and_how_to_verify_that() -> None:
    for _, check in loader.checks():
        assert check.fix, check.id
        assert check.verify, check.id
        assert check.meaning, check.id
