"""The bundled sample: what a newcomer's first run shows."""

import datetime as dt
import json
from pathlib import Path

import pytest

from mailwitness import pipeline, verification
from mailwitness.report.validate import problems_of

SAMPLE = Path(__file__).parents[2] / "src" / "mailwitness" / "samples" / "demo"
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "case"
    pipeline.investigate([SAMPLE], folder, pipeline.Settings(now=NOW), pipeline.Progress())
    return folder


def test_the_report_has_the_documented_structure(case: Path) -> None:
    report = json.loads((case / "report.json").read_bytes())

    assert problems_of(report) == []


def test_the_intrusion_is_one_case_of_both_accounts_and_the_noise_is_apart(case: Path) -> None:
    report = json.loads((case / "report.json").read_bytes())

    found = [(c["verdict"], c["severity"], sorted(c["actors"])) for c in report["cases"]]
    assert found[0] == (
        "attack",
        "critical",
        ["dana.whitfield@contoso.example", "nathan.rowe@contoso.example"],
    )
    assert {"noise"} == {verdict for verdict, _, _ in found[1:]}


def test_every_finding_shows_the_bytes_that_prove_it(case: Path) -> None:
    report = json.loads((case / "report.json").read_bytes())
    places = {item["exhibit"]: SAMPLE / Path(item["path"]).name for item in report["intake"]}

    for found in (finding for c in report["cases"] for finding in c["findings"]):
        place = found["position"]
        whole = places[found["exhibit"]].read_bytes()
        record = whole[place["offset"] : place["offset"] + place["length"]]
        assert record.decode().startswith(found["raw"][:1000])
        assert whole[: place["offset"]].count(b"\n") + 1 == place["line"]


def test_the_verdict_can_be_derived_again(case: Path) -> None:
    assert [line.text for line in verification.verify(case) if not line.ok] == []


def test_the_page_and_the_markdown_are_written(case: Path) -> None:
    page = (case / "report.html").read_text("utf-8")
    text = (case / "report.md").read_text("utf-8")

    assert "Content-Security-Policy" in page
    assert "dana.whitfield@contoso.example" in text


def test_a_mailbox_named_in_two_ways_is_one(case: Path) -> None:
    for found in json.loads((case / "report.json").read_bytes())["cases"]:
        local = [name.split("@")[0] for name in found["mailboxes"]]
        assert len(local) == len(set(local))
