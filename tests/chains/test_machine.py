"""The ordered pass: right, and linear whatever an intruder writes."""

from __future__ import annotations

import msgspec
import pytest

from mailwitness.chain_keys import MICROSECONDS, Act, account, microseconds, objects
from mailwitness.chain_machine import Machine, machine
from mailwitness.content.schemas import Chain
from mailwitness.errors import ContentError

MINUTE = 60 * MICROSECONDS


def chain(**changes: object) -> Chain:
    step = {"title": "a step", "filter": 'Activity == "Exported"'}
    base = {
        "id": "00000000-0000-4000-8000-000000000001",
        "title": "Test",
        "name": "test",
        "description": "Test.",
        "level": "high",
        "confidence": "high",
        "finding": "found",
        "reasons": {"severity": "it is a test"},
        "correlation": {
            "type": "temporal_ordered",
            "rules": ["one", "two"],
            "group-by": ["actor"],
            "timespan": "1h",
        },
        "steps": {"one": step, "two": step},
        "falsepositives": [],
        "gaps": [],
        "guide": [],
        "attack": {},
    }
    return msgspec.convert(base | changes, Chain)


def act(minutes: float, actor: str = "eva@contoso.example", position: int = -1, **more: str) -> Act:
    return Act(time=int(minutes * MINUTE), Actor=actor, exhibit="E1", position=position, **more)  # type: ignore[arg-type]


def work(starts: int, ends: int = 0) -> Machine:
    """Feed starts of one account, none of which ends unless asked, and return the machine."""
    followed = machine(chain())
    for i in range(starts):
        followed.feed(0, act(i / 1000, position=i))
    for i in range(ends):
        followed.feed(1, act((starts + i) / 1000, position=starts + i))
    return followed


def test_two_hundred_thousand_candidates_cost_four_times_fifty_thousand() -> None:
    small, large = work(25_000, 25_000), work(100_000, 100_000)

    assert large.work <= 5 * small.work
    assert large.work <= 4 * 200_000


def test_ten_thousand_starts_without_an_end_find_nothing_and_keep_three() -> None:
    followed = work(10_000)

    assert followed.matches() == []
    assert [len(links) for links in followed.slots[0].values()] == [3, 3]


def test_the_newest_start_is_taken_and_further_ends_are_absorbed() -> None:
    followed = machine(chain())

    for minute in (0, 10, 20):
        followed.feed(0, act(minute, position=minute))
    for minute in (30, 31, 32):
        followed.feed(1, act(minute, position=minute))

    [path] = followed.matches()
    assert [link.first // MINUTE for link in path] == [20, 30]
    assert [link.count for link in path] == [1, 3]


def test_the_end_before_the_start_is_no_match() -> None:
    followed = machine(chain())

    followed.feed(1, act(0))
    followed.feed(0, act(1))

    assert followed.matches() == []


def test_a_record_does_not_follow_itself() -> None:
    followed = machine(chain())

    followed.feed(0, act(0, position=7))
    followed.feed(1, act(0, position=7))

    assert followed.matches() == []


@pytest.mark.parametrize(("minutes", "found"), [(59, 1), (60, 1), (61, 0)])
def test_the_timespan_slides_and_ends_exactly(minutes: int, found: int) -> None:
    followed = machine(chain())

    followed.feed(0, act(17))
    followed.feed(1, act(17 + minutes))

    assert len(followed.matches()) == found


def test_a_forbidden_act_between_makes_it_something_else() -> None:
    forbidding = chain(
        forbidden={
            "case": {
                "title": "a case",
                "where": "between",
                "filter": 'Activity == "Exported"',
                "join": ["actor"],
            }
        }
    )
    silenced, other = machine(forbidding), machine(forbidding)
    for followed, actor in ((silenced, "eva@contoso.example"), (other, "bob@contoso.example")):
        followed.feed(0, act(0))
        followed.forbid("case", act(5, actor))
        followed.feed(1, act(10))

    assert silenced.matches() == []
    assert len(other.matches()) == 1


@pytest.mark.parametrize(
    ("where", "minute", "found"), [("before", -30, 0), ("before", -90, 1), ("after", 40, 0), ("after", 80, 1)]
)
def test_forbidden_acts_reach_only_so_far(where: str, minute: int, found: int) -> None:
    forbidden = {"title": "x", "where": where, "within": "1h", "filter": "x", "join": ["actor"]}
    followed = machine(chain(forbidden={"case": forbidden}))
    feeds = sorted([(0, 0), (10, 1), (minute, -1)])

    for at, step in feeds:
        if step < 0:
            followed.forbid("case", act(at))
        else:
            followed.feed(step, act(at))

    assert len(followed.matches()) == found


def test_an_optional_step_may_be_missing_and_is_taken_when_it_is_there() -> None:
    step = {"title": "x", "filter": "x"}
    optional = chain(
        correlation={
            "type": "temporal_ordered",
            "rules": ["a", "b", "c"],
            "group-by": ["actor"],
            "timespan": "1h",
        },
        steps={"a": step, "b": step | {"optional": True}, "c": step},
    )
    with_it, without = machine(optional), machine(optional)

    for followed, middle in ((with_it, True), (without, False)):
        followed.feed(0, act(0))
        if middle:
            followed.feed(1, act(1))
        followed.feed(2, act(2))

    assert [[link.step for link in path] for path in with_it.matches()] == [[0, 1, 2]]
    assert [[link.step for link in path] for path in without.matches()] == [[0, 2]]


def test_a_burst_is_reached_in_a_sliding_time_and_counted_on() -> None:
    step = {"title": "x", "filter": "x"}
    burst = chain(
        correlation={
            "type": "event_count",
            "rules": ["a"],
            "group-by": ["actor"],
            "timespan": "10m",
            "condition": {"gte": 3},
        },
        steps={"a": step},
    )
    slow, quick = machine(burst), machine(burst)

    for minute in (0, 6, 12, 18, 24):
        slow.feed(0, act(minute))
    for minute in (8, 9, 11, 12):
        quick.feed(0, act(minute))

    assert slow.matches() == []
    assert [[link.count for link in path] for path in quick.matches()] == [[4]]


def test_value_count_counts_different_values() -> None:
    values = chain(
        correlation={
            "type": "value_count",
            "rules": ["a"],
            "group-by": ["actor"],
            "timespan": "10m",
            "condition": {"field": "Mailbox", "gte": 2},
        },
        steps={"a": {"title": "x", "filter": "x"}},
    )
    same, different = machine(values), machine(values)

    for minute, left, right in ((0, "a", "a"), (1, "a", "b")):
        same.feed(0, act(minute, Mailbox=left))
        different.feed(0, act(minute, Mailbox=right))

    assert same.matches() == []
    assert len(different.matches()) == 1


def test_temporal_takes_any_order() -> None:
    unordered = chain(
        correlation={"type": "temporal", "rules": ["one", "two"], "group-by": ["actor"], "timespan": "1h"}
    )
    followed = machine(unordered)

    followed.feed(1, act(0))
    followed.feed(0, act(5))

    assert [[link.step for link in path] for path in followed.matches()] == [[1, 0]]


def test_accounts_meet_in_their_spellings_and_never_across_domains() -> None:
    full, short, other = (
        account("Eva@contoso.example"),
        account("CONTOSO\\eva"),
        account("eva@fabrikam.example"),
    )

    assert set(full.filed) & set(short.looked_up)
    assert set(short.filed) & set(full.looked_up)
    assert not set(full.filed) & set(other.looked_up)


def test_the_default_name_of_an_export_job_names_no_job() -> None:
    assert objects("corp.example/Users/cfo\\MailboxExport3") == ["cfo"]
    assert objects("case-42_Export") == ["case-42"]


def test_a_span_that_is_none_is_refused_with_what_to_write() -> None:
    assert microseconds("unlimited") is None
    with pytest.raises(ContentError, match="30m, 24h, 7d or unlimited"):
        microseconds("soon")
