"""Sentences of answers read as a person would write them."""

from __future__ import annotations

import pytest

from mailwitness.investigation.answers import singular


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1 changes (1 kinds) from 1 addresses", "1 change (1 kind) from 1 address"),
        ("1 mailboxes, 1 identities, 1 matches", "1 mailbox, 1 identity, 1 match"),
        ("11 changes, 2.1 rules, 0.1 seconds", "11 changes, 2.1 rules, 0.1 seconds"),
        ("1 address, 1 is", "1 address, 1 is"),
    ],
)
def test_one_of_something_is_singular(written: str, read: str) -> None:
    assert singular(written) == read
