"""Charts: what they show adds up, is told in words as well, and stays readable when a case is large."""

from __future__ import annotations

import datetime as dt
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailwitness
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.report.charts.clock import draw_clock
from mailwitness.report.charts.graph import draw_graph
from mailwitness.report.charts.rhythm import HEIGHT, draw_rhythm
from mailwitness.report.charts.strip import draw_strip
from mailwitness.report.document import (
    Case,
    DeletionCount,
    Deletions,
    Finding,
    PhaseActs,
    Recoverability,
    RecoveryStep,
    TimelineEntry,
)
from mailwitness.report.html import render_html
from mailwitness.report.validate import problems_of

from .report_examples import Json, hostile, realistic

DEMO = Path(mailwitness.__file__).parent / "samples" / "demo"
CSS = Path(mailwitness.__file__).parent / "report" / "templates" / "report.css"


def deletions(counts: dict[str, int], *, most: int = 5, is_enough: bool = True) -> Deletions:
    return Deletions(
        from_="2025-03-03T00:00:00Z",
        to="2025-03-07T00:00:00Z",
        counts=tuple(DeletionCount(time=time, count=count) for time, count in counts.items()),
        before_days=20,
        before_units=9,
        median=2,
        most=most,
        is_enough=is_enough,
    )


def finding(actor: str, mailbox: str, session: str = "", address: str = "") -> Finding:
    return Finding(actor=actor, mailbox=mailbox, entities={"Session": session, "IP": address})


class Pictures(HTMLParser):
    """Collects the figures and svg elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.figures: list[dict[str, str | None]] = []
        self.svgs: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "figure":
            self.figures.append(dict(attrs))
        if tag == "svg" and "height" in dict(attrs):
            self.svgs.append(dict(attrs))


def test_more_than_ever_before_is_marked_and_as_much_as_usual_is_not() -> None:
    rhythm = draw_rhythm(deletions({"2025-03-04T09:00:00Z": 46, "2025-03-05T09:00:00Z": 5}))

    assert rhythm
    assert [bar.is_unusual for bar in rhythm.bars] == [True, False]
    assert rhythm.usual_y == HEIGHT - HEIGHT * 5 / 46
    assert "at most 5 and usually 2" in rhythm.description


def test_without_enough_history_nothing_is_called_usual() -> None:
    rhythm = draw_rhythm(deletions({"2025-03-04T09:00:00Z": 1}, is_enough=False))

    assert rhythm
    assert rhythm.usual_y is None
    assert "not evaluated" in rhythm.description


def test_no_deletions_have_no_picture() -> None:
    assert draw_rhythm(None) is None
    assert draw_rhythm(deletions({})) is None


HOURS = st.datetimes(dt.datetime(2025, 3, 3), dt.datetime(2025, 3, 6, 23)).map(  # noqa: DTZ001 - Hypothesis adds none
    lambda at: at.strftime("%Y-%m-%dT%H:00:00Z")
)


@given(st.dictionaries(HOURS, st.integers(1, 10**9), min_size=1, max_size=40), st.integers(0, 10**9))
def test_bars_stay_inside_the_picture(counts: dict[str, int], most: int) -> None:
    rhythm = draw_rhythm(deletions(counts, most=most))

    assert rhythm
    assert len(rhythm.bars) == len(counts)
    for bar in rhythm.bars:
        assert 0 <= bar.x <= 100
        assert bar.y >= 0
        assert bar.y + bar.height <= HEIGHT + 0.2
        assert bar.height > 0


NAMES = st.sampled_from(["", "a@contoso.example", "b@contoso.example", "C@contoso.example"])


@given(st.lists(st.builds(finding, NAMES, NAMES, NAMES, NAMES), max_size=40))
def test_every_finding_is_in_the_graph_and_its_table(findings: list[Finding]) -> None:
    graph = draw_graph(Case(findings=tuple(findings)))

    if graph is None:
        return
    named = sum(bool(one.actor or one.mailbox or any(one.entities.values())) for one in findings)
    assert sum(row[3] for row in graph.rows) == named
    for column in (graph.actors, graph.ways, graph.mailboxes):
        assert sum(node.findings for node in column) == named
    assert all(
        0 < edge.start < graph.height and 0 < edge.end < graph.height for edge in (*graph.left, *graph.right)
    )


def test_hundreds_of_mailboxes_are_folded_into_one_row() -> None:
    findings = tuple(finding("kim@contoso.example", f"m{at}@contoso.example", "s1") for at in range(300))

    graph = draw_graph(Case(findings=findings))

    assert graph
    assert len(graph.mailboxes) == 12
    assert graph.mailboxes[-1].label == "289 more"
    assert graph.rows_left == 240


def test_one_way_only_is_no_graph() -> None:
    assert draw_graph(Case(findings=(finding("a", "b", "c"),) * 5)) is None


def test_acts_without_findings_get_a_lane_of_their_own() -> None:
    entries = [
        TimelineEntry(time=f"2025-03-04T09:0{at}:00Z", phase="clearing", what=str(at)) for at in range(4)
    ]

    strip = draw_strip(entries, [PhaseActs(phase="access", time="2025-03-04T08:00:00Z", acts=3)])

    assert strip
    assert [lane.label for lane in strip.lanes] == ["Access", "Clearing"]
    assert not strip.lanes[0].marks[0].is_finding
    assert strip.lanes[0].marks[0].title == "3 acts, 2025-03-04 08:00:00"


def saved(until: str, *, earliest: str = "", latest: str = "", is_exact: bool = True) -> RecoveryStep:
    return RecoveryStep(
        mailbox="kim@contoso.example",
        messages=3,
        until=until,
        earliest=earliest or until,
        latest=latest or until,
        is_exact=is_exact,
    )


def test_the_clock_shows_what_is_sure_and_what_is_only_possible() -> None:
    steps = (
        saved("2025-03-09T00:00:00Z"),
        saved(
            "2025-03-07T00:00:00Z",
            earliest="2025-03-01T00:00:00Z",
            latest="2025-03-11T00:00:00Z",
            is_exact=False,
        ),
    )

    clock = draw_clock(Recoverability(is_computed=True, steps=steps), "2025-03-06T00:00:00Z")

    assert clock
    by_default, exact = clock.lines
    assert (by_default.sure, by_default.until, by_default.latest) == (0.0, 20.0, 100.0)
    assert (exact.sure, exact.until, exact.latest) == (60.0, 60.0, 60.0)
    assert by_default.left == "1 d left by default"
    assert exact.left == "3 d left"


def test_what_is_over_or_gone_has_no_line() -> None:
    over = RecoveryStep(until="2025-03-01T00:00:00Z", is_over=True)
    gone = RecoveryStep(until="2025-03-09T00:00:00Z", is_gone=True)

    assert draw_clock(Recoverability(steps=(over, gone)), "2025-03-06T00:00:00Z") is None
    assert draw_clock(None, "2025-03-06T00:00:00Z") is None


@pytest.mark.parametrize("report", [realistic(), hostile()], ids=["realistic", "hostile"])
def test_every_picture_says_in_words_what_it_shows(report: Json) -> None:
    pictures = Pictures(render_html(report))

    assert {str(one["class"]) for one in pictures.figures} >= {"strip", "rhythm", "graph", "heat"}
    for one in pictures.figures:
        assert one["role"] == "img"
        assert len(one["aria-label"] or "") > 20
    for one in pictures.svgs:
        assert one["aria-hidden"] == "true", "the words stand at the figure"


def test_a_large_case_stays_readable_and_small() -> None:
    report = realistic()
    case = report["cases"][0]
    one = case["findings"][0]
    case["findings"] = [
        {**one, "mailbox": f"m{at % 300}@contoso.example", "actor": f"a{at % 7}@contoso.example"}
        for at in range(5_000)
    ]
    case["mailboxes"] = [f"m{at}@contoso.example" for at in range(300)]
    case["timeline"] = (case["timeline"] * 100)[:5_000]
    hours = [dt.datetime(2025, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=at) for at in range(744)]
    times = [f"{hour:%Y-%m-%dT%H:%M:%SZ}" for hour in hours]
    case["deletions"] |= {
        "from": times[0], "to": times[-1], "counts": [{"time": time, "count": at + 1} for at, time in enumerate(times)],
    }  # fmt: skip
    phases = ("access", "collection", "exfiltration", "hiding", "clearing", "after")
    case["acts"] = [{"phase": phase, "time": time, "acts": 9} for time in times for phase in phases]

    page = render_html(report)

    assert len(page.encode()) < 1_000_000
    assert page.count('<circle class="act"') < 600


def test_what_the_charts_show_is_in_the_report_of_a_real_run(tmp_path: Path) -> None:
    now = dt.datetime(2026, 10, 19, 8, tzinfo=dt.UTC)

    case = investigate([DEMO], tmp_path / "case", Settings(now=now), Progress()).case

    report = json.loads((case / "report.json").read_bytes())

    assert problems_of(report) == []
    part = report["cases"][0]["deletions"]
    assert {one["time"]: one["count"] for one in part["counts"]}["2026-10-14T07:00:00Z"] == 24
    assert {one["phase"] for one in report["cases"][0]["acts"]} >= {"access", "collection", "clearing"}


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z_-]+): (#[0-9a-f]{3,6})", block))


def luminance(colour: str) -> float:
    """Return the relative luminance. Source: WCAG 2.2, "relative luminance"."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


SCHEMES = re.findall(r":root \{(.*?)\}", CSS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("scheme", range(len(SCHEMES)))
def test_text_and_marks_have_enough_contrast(scheme: int) -> None:
    found = colours(SCHEMES[0]) | colours(SCHEMES[scheme])

    for paper in ("paper", "raised"):
        for text in ("ink", "soft", "link", "critical", "high", "medium", "low", "informational", "found", "clear", "not_evaluated"):  # fmt: skip
            assert contrast(found[text], found[paper]) >= 4.5, (text, paper)
        # Marks and borders that carry meaning. Source: WCAG 2.2, 1.4.11.
        assert contrast(found["line-strong"], found[paper]) >= 3, paper
    assert contrast(found["mark-ink"], found["mark-paper"]) >= 4.5
    for accent in ("found", "clear", "not_evaluated"):
        assert contrast(found["on-accent"], found[accent]) >= 4.5, accent
