from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwitness.evidence.names import display_name, original_name

file_names = st.one_of(
    st.binary(max_size=40).map(os.fsdecode), st.text(max_size=40), st.text(alphabet="\\xu0129af\n\x80")
)


@given(file_names)
def test_a_displayed_name_is_printable_and_leads_back_to_the_name(name: str) -> None:
    displayed = display_name(name)

    assert displayed.isprintable()
    assert original_name(displayed) == name


@pytest.mark.parametrize(
    ("name", "displayed"),
    [
        ("audit.csv", "audit.csv"),
        ("büro.csv", "büro.csv"),
        ("a\nb", "a\\x0ab"),
        ("\x1b[2Jx", "\\x1b[2Jx"),
        ("exe.\u202etxt", "exe.\\u202etxt"),
        (os.fsdecode(b"\xff"), "\\xff"),
        ("\x85", "\\u0085"),
        ("a\\b", "a\\\\b"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_a_hostile_character_is_shown_by_its_code(name: str, displayed: str) -> None:
    assert display_name(name) == displayed
