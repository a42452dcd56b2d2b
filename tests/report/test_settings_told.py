"""What a version of a rule did, as the pages say it."""

from __future__ import annotations

import pytest

from mailwitness.report.document import SettingVersion


@pytest.mark.parametrize(
    ("state", "does", "told"),
    [
        ("present", "deletes every message", "deletes every message"),
        ("disabled", "deletes every message", "disabled: deletes every message"),
        ("disabled", "", "disabled"),
        ("removed", "", "removed"),
    ],
)
def test_a_rule_that_is_switched_off_does_not_look_like_one_that_acts(
    state: str, does: str, told: str
) -> None:
    assert SettingVersion(state=state, does=does).told() == told
