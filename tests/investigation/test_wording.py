"""Sentences with values of the evidence read as a person would write them."""

from __future__ import annotations

import pytest

from mailwitness.sentences import filled


@pytest.mark.parametrize(
    ("template", "row", "read"),
    [
        (
            "{n} changes ({k} kinds) from {a} addresses",
            {"n": 1, "k": 1, "a": 1},
            "1 change (1 kind) from 1 address",
        ),
        (
            "{n} mailboxes, {k} identities, {a} matches",
            {"n": 1, "k": 1, "a": 1},
            "1 mailbox, 1 identity, 1 match",
        ),
        (
            "{n} changes, {k} rules, {a} seconds",
            {"n": 11, "k": 2.1, "a": "1"},
            "11 changes, 2.1 rules, 1 seconds",
        ),
        ("{Actor} deleted {n} single messages", {"Actor": "eva", "n": 1}, "eva deleted 1 single message"),
        ("{n} is an address", {"n": 1}, "1 is an address"),
        (
            "{Actor} set {Name} {Value} in {Mailbox}",
            {"Actor": "eva", "Name": "x", "Value": "", "Mailbox": None},
            "eva set x in",
        ),
    ],
)
def test_one_of_something_is_singular_and_nothing_leaves_no_gap(
    template: str, row: dict[str, object], read: str
) -> None:
    assert filled(template, row) == read


def test_a_name_from_the_evidence_is_not_read_as_a_sentence_of_ours() -> None:
    row = {"Name": "{Actor} 1 messages", "Actor": "mallory"}

    assert filled("rule {Name} by {Actor}", row) == "rule {Actor} 1 messages by mallory"
