"""Text from evidence: nothing obeyed, nothing hidden, nothing silently lost."""
# ruff: noqa: RUF001 - angle quotes and the multiplication sign are the signs we show on purpose

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mailwitness.report.text import plain, safe_csv_cell, safe_markdown, visible, visible_html

from .report_examples import HOSTILE_TEXTS

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Format characters that are drawn, as the sign over a number in Arabic or Syriac: they hide nothing.
DRAWN = set(map(chr, [*range(0x600, 0x606), 0x6DD, 0x890, 0x891, 0x8E2]))
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
EVIL_TEXT = st.one_of(
    ANY_TEXT,
    st.sampled_from(sorted(HOSTILE_TEXTS.values())),
    st.text("\x1b\x00\u202e<>&\"'`|*_[]()#=+-@ \n\t1."),
)


def obeyed(text: str, allowed: str = "") -> set[str]:
    """Return the characters of `text` that a screen would obey or hide."""
    return {one for one in text if unicodedata.category(one) in OBEYED} - DRAWN - set(allowed)


def test_every_character_a_screen_obeys_is_made_visible() -> None:
    everything = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in OBEYED
    ]

    leaked = [one for one in everything if obeyed(visible(f"a{one}b"))]

    assert leaked == []


@given(EVIL_TEXT)
def test_no_text_keeps_a_character_that_a_screen_obeys(text: str) -> None:
    assert set() == obeyed(visible(text))
    assert set() == obeyed(visible(text, keep_lines=True), allowed="\n\t")


@given(st.text(st.characters(categories=("Lu", "Ll", "N", "Po", "Sm"), max_codepoint=0x2000)))
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert text == visible(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "‹ESC›[31m"),
        ("a\x00b", "a‹NUL›b"),
        ("\u202efdp.exe", "‹U+202E›fdp.exe"),
        ("\u200b" * 40, "‹U+200B›‹×40›"),
        ("\ud800", "‹U+D800›"),
        (" ", "\u2423"),
        ("two\nlines", "two‹LF›lines"),
        ("👍🏽 ✔️", "👍🏽 ✔️"),
        ("Grüße, 漢字, שלום", "Grüße, 漢字, שלום"),
        ("e" + "\u0301" * 4, "e" + "\u0301" * 4),
        ("e" + "\u0301" * 90, "e" + "\u0301" * 4 + "‹+86 stacked marks›"),
    ],
)
def test_hidden_characters_are_named(text: str, shown: str) -> None:
    assert shown == visible(text)


def test_a_long_text_is_cut_and_its_length_is_stated() -> None:
    shown = visible("A" * 1_048_576, 10)

    assert shown == "AAAAAAAAAA… (cut; 1,048,576 characters in all)"


def test_a_sign_we_made_differs_from_one_that_was_typed() -> None:
    assert visible("\x1b") == visible("‹ESC›")
    assert visible_html("\x1b") != visible_html("‹ESC›")


@given(EVIL_TEXT)
def test_html_holds_no_tag_but_ours(text: str) -> None:
    shown = str(visible_html(text))

    for ours in (
        "<bdi>",
        "</bdi>",
        "<wbr>",
        '<span class="unit">',
        '<span class="mark" title="',
        '">',
        "</span>",
    ):
        shown = shown.replace(ours, "")
    assert "<" not in shown
    assert '"' not in shown
    assert ">" not in shown


@given(EVIL_TEXT)
def test_markdown_stays_text_even_where_html_is_allowed(text: str) -> None:
    renderer = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    shown = safe_markdown(text)

    page = renderer.render(f"| {shown} | b |\n| --- | --- |\n| {shown} | b |\n\n{shown}\n")

    tags = {one.split(">")[0].strip("/").split(" ")[0] for one in page.split("<")[1:]}
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert page.count("<th>") == 2
    assert page.count("<td>") == 2


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+49 30 1234", "'+49 30 1234"),
        ("-2+3", "'-2+3"),
        ("-5.25", "-5.25"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\t=1", "'‹HT›=1"),
        ("plain = text", "plain = text"),
        ("", ""),
    ],
)
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str, cell: str) -> None:
    assert cell == safe_csv_cell(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (None, ""), (True, "true"), (3, "3"), (["a", "b"], "a, b"), ({"a": [1]}, '{"a": [1]}')],
)
def test_json_values_read_as_people_expect(value: object, text: str) -> None:
    assert text == plain(value)
