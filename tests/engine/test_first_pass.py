"""A first pass stores what the parsers read, also where they only compare it."""

from __future__ import annotations

import datetime as dt

from mailwitness import activities
from mailwitness.content import pack
from mailwitness.open_case import new_engine

NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


def test_a_column_that_only_a_filter_reads_is_stored() -> None:
    knowledge = pack.load()
    parser = next(one for one in knowledge.parsers if one.table == "EmailEvents")

    wanted = activities.wanted(new_engine(knowledge), [parser], [], set(parser.activities), now=NOW)

    assert "DeliveryAction" in wanted.columns["EmailEvents"]
