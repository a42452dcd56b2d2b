"""Every attack is found with the right actor, mailbox, technique and order; no benign twin is held against anybody."""

from __future__ import annotations

import pytest

from mailwitness.scenarios import description, lint, replay, telling
from mailwitness.scenarios.telling import Instance

BATCHES = replay.batches(telling.instances())


def named(batch: list[Instance]) -> str:
    return f"{batch[0].scenario.platform}-{batch[0].name}"


@pytest.mark.parametrize("batch", BATCHES, ids=named)
def test_each_scenario_is_judged_right(batch: list[Instance]) -> None:
    gaps = description.known_gaps()

    judged = {item.name: item.problem for item in replay.replay(batch, threads=1)}

    assert {name: problem for name, problem in judged.items() if problem and name not in gaps} == {}
    # A gap that is closed must leave the list, or the list would hide the next fault.
    assert [name for name, problem in judged.items() if not problem and name in gaps] == []


def test_everything_in_the_catalogue_has_a_scenario() -> None:
    assert list(lint.problems()) == []
