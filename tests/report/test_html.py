"""The page: complete, honest about what is missing, and deaf to what the evidence tells it to do."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from mailwitness.report.html import CASES_SHOWN, FINDINGS_SHOWN, render_html
from mailwitness.report.templating import escaped

from .report_examples import HOSTILE_TEXTS, Json, hostile, poison, realistic

EMPTY: Json = {"schema_version": 1, "summary": {"outcome": "clear", "severity": None, "sentences": []}}


class Outline(HTMLParser):
    """Collects what a browser would see: tags with their attributes, headings, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))


def test_no_text_of_the_evidence_becomes_markup() -> None:
    plain, evil = Outline(render_html(realistic())), Outline(render_html(hostile()))

    def kinds(outline: Outline) -> set[tuple[str, ...]]:
        return {(tag, *sorted(attributes)) for tag, attributes in outline.tags if tag != "span"}

    assert kinds(evil) <= kinds(plain)


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_every_field_of_the_report_is_escaped(name: str) -> None:
    report = poison(realistic(), [HOSTILE_TEXTS[name]], also_own_words=True)

    page = render_html(report)

    forbidden = {one for one in page if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\n"}
    assert set() == forbidden
    assert page.count("<script>") == 1
    assert page.count("</style>") == 1
    assert {tag for tag, _ in Outline(page).tags} <= {
        tag for tag, _ in Outline(render_html(realistic())).tags
    }


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.text().map(Markup)))
def test_a_value_is_escaped_as_the_library_of_the_templates_does(value: object) -> None:
    assert str(escape(value)) == str(escaped(value))


def test_the_page_refers_to_nothing_outside_itself() -> None:
    for report in (realistic(), hostile()):
        for tag, attributes in Outline(render_html(report)).tags:
            assert not {"src", "srcset", "action", "style", "formaction"} & set(attributes), tag
            assert not [name for name in attributes if name.startswith("on")], tag
            address = attributes.get("href") or "#"
            assert address.startswith("#") or address == "data:,", tag


def test_the_policy_allows_this_style_and_this_script_only() -> None:
    page = render_html(realistic())
    policy = (
        next(
            a["content"] for tag, a in Outline(page).tags if a.get("http-equiv") == "Content-Security-Policy"
        )
        or ""
    )

    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_verdict_comes_first_and_what_is_not_evaluated_before_the_cases() -> None:
    page = render_html(realistic())

    ids = re.findall(r'<(?:section|article)[^>]* id="([^"]+)"', page)

    assert ids == [
        "verdict",
        "not-evaluated",
        "cases",
        "case-1",
        "case-2",
        "ledger",
        "visibility",
        "rules",
        "intake",
        "quarantine",
        "method",
    ]


@pytest.mark.parametrize(
    ("outcome", "words"), [("found", "Found"), ("clear", "Clear"), ("not_evaluated", "Not evaluated")]
)
def test_the_outcome_is_said_in_words(outcome: str, words: str) -> None:
    page = render_html({**EMPTY, "summary": {"outcome": outcome, "severity": None, "sentences": []}})

    assert f'<span class="outcome">{words}</span>' in page
    assert f"<title>{words}: mailwitness report</title>" in page


def test_an_unknown_or_absent_outcome_is_not_shown_as_clear() -> None:
    for report in ({}, {"summary": {"outcome": "all good"}}):
        assert '<span class="outcome">Not evaluated</span>' in render_html(report)


def test_clear_with_gaps_says_so_beside_the_verdict() -> None:
    report = {**EMPTY, "not_evaluated": [{"what": "w", "reason": "r", "remedy": "", "blocking": False}]}

    assert "but not everything could be evaluated" in render_html(report)


def test_counts_that_do_not_add_up_are_shown() -> None:
    report = realistic()
    report["intake"][0]["loaded"] -= 5

    assert "Does not add up: 5 records missing" in Outline(render_html(report)).text
    assert "Does not add up" not in render_html(realistic())


def test_thousands_of_findings_are_folded_with_their_place_in_the_json() -> None:
    report = realistic()
    report["cases"][0]["findings"] *= 400
    report["cases"][0]["timeline"] *= 40

    page = render_html(report)

    assert page.count('<details class="proof">') == 53
    assert f"{3600 - FINDINGS_SHOWN:,} more findings" in Outline(page).text
    assert "jq '.cases[0].findings[50:]' report.json" in page.replace("&#39;", "'")
    assert len(page) < 500_000


def test_hundreds_of_cases_are_folded() -> None:
    report = realistic()
    report["cases"] *= 200

    page = render_html(report)

    assert page.count("<article") == CASES_SHOWN
    assert "350 more cases" in page


def test_the_proving_record_is_complete_and_findable() -> None:
    text = Outline(render_html(realistic())).text

    assert "line 1,468, bytes 2,801,740 to" in text
    assert '"Operation": "Remove-MailboxExportRequest"' in text


def test_headings_descend_without_a_gap() -> None:
    levels = [int(tag[1]) for tag, _ in Outline(render_html(realistic())).tags if re.fullmatch(r"h\d", tag)]

    assert 1 == levels[0] == levels.count(1)
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_ids_are_unique_and_every_inner_link_arrives() -> None:
    tags = Outline(render_html(realistic())).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]

    assert len(ids) == len(set(ids))
    assert {address[1:] for _, a in tags if (address := a.get("href") or "").startswith("#")} <= set(ids)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_text_colour_has_the_contrast_of_wcag_aa_in_light_and_dark() -> None:
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", render_html(EMPTY), re.DOTALL)
    ]
    schemes = [scheme for scheme in schemes if "paper" in scheme][:2]
    inks = (
        "ink",
        "soft",
        "link",
        "critical",
        "high",
        "medium",
        "low",
        "informational",
        "found",
        "clear",
        "not_evaluated",
    )

    pairs = [
        (scheme[ink], scheme[ground]) for scheme in schemes for ink in inks for ground in ("paper", "raised")
    ]
    pairs += [(scheme["mark-ink"], scheme["mark-paper"]) for scheme in schemes]
    pairs += [
        (scheme["on-accent"], scheme[one])
        for scheme in schemes
        for one in ("found", "clear", "not_evaluated")
    ]

    assert len(schemes) == 2
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []


def test_what_cases_share_is_said_once_and_linked() -> None:
    report = realistic()
    again = {**report["cases"][0], "id": "C9"}
    report["cases"] = [report["cases"][0], again]
    action = report["actions"][0]
    speaks_of = report["cases"][0]["questions"][0]["visibility"]

    page = render_html(report)
    text = Outline(page).text

    assert text.count(action["undo"]) == 1
    assert page.count('href="#action-1"') == page.count('id="action-1"') == 1
    # Each case has its own steps, and says for itself of what its answers speak.
    assert text.count(speaks_of) == 2 < len(again["questions"]) * 2
    assert text.count(report["cases"][0]["plan"][0]["lines"][0]["line"]) == 2
