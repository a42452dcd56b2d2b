"""The timeline: nothing left out silently, silences named, and a strip that stays to scale."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwitness.report.charts.strip import draw_strip
from mailwitness.report.document import TimelineEntry
from mailwitness.report.record_layout import lay_out
from mailwitness.report.timeline import fold, read_timeline
from mailwitness.report.wording import duration, length_of, moment, span


def entry(time: str | None, phase: str = "clearing", what: str = "deleted") -> TimelineEntry:
    return TimelineEntry(time=time, phase=phase, what=what, exhibit="E1", record=1)


def test_like_events_in_a_row_are_told_once_with_their_number() -> None:
    stretches = read_timeline([entry(f"2025-03-04T09:00:{second:02d}Z") for second in range(38)])

    (line,) = stretches[0].lines
    assert (line.times, line.clock, line.until) == (38, "09:00:00", "09:00:37")


def test_a_long_silence_and_a_new_day_are_named() -> None:
    stretches = read_timeline(
        [entry("2025-03-04T09:00:00Z"), entry("2025-03-05T07:30:00Z", what="signed in")]
    )

    first, second = stretches[0].lines
    assert (first.day, first.gap) == ("2025-03-04", "")
    assert (second.day, second.gap) == ("2025-03-05", "22 h 30 min later")


def test_folding_says_how_many_lines_are_left() -> None:
    lines = [
        entry("2025-03-04T09:00:00Z", phase="hiding" if at % 7 == 0 else "clearing", what=str(at))
        for at in range(100)
    ]

    shown, left = fold(read_timeline(lines), 30)

    assert sum(len(stretch.lines) for stretch in shown) == 30
    assert left == 70


def test_an_entry_without_a_time_is_still_told() -> None:
    stretches = read_timeline([entry(None), entry("not a time", what="other")])

    assert [line.clock for line in stretches[0].lines] == ["time unknown", "not a time"]


def test_the_axis_is_broken_at_a_long_silence() -> None:
    busy = [entry(f"2025-03-04T09:{minute:02d}:00Z") for minute in range(20)]

    strip = draw_strip([*busy, entry("2025-03-06T09:19:00Z", phase="after")])

    assert strip
    assert [tick.label for tick in strip.ticks if tick.is_break] == ["2 d"]
    clearing = strip.lanes[0].marks
    assert clearing[-1].x - clearing[0].x > 60
    assert "Clearing: 20 events, 2025-03-04 09:00:00 to 09:19:00 UTC; After: 1 event" in strip.description


def test_one_moment_has_no_strip() -> None:
    assert draw_strip([entry("2025-03-04T09:00:00Z")] * 3) is None
    assert draw_strip([entry(None)]) is None


MOMENTS = st.datetimes().map(lambda at: at.isoformat() + "Z")


@given(st.lists(st.tuples(MOMENTS, st.sampled_from(["access", "clearing", "unknown"])), max_size=30))
def test_every_event_is_on_the_strip_and_inside_it(events: list[tuple[str, str]]) -> None:
    strip = draw_strip([entry(time, phase) for time, phase in events])

    if strip is None:
        return
    marks = [mark for lane in strip.lanes for mark in lane.marks]
    assert all(0 <= mark.x <= 100 for mark in marks)
    assert len(events) == sum(int(mark.title.split(" ")[0]) for mark in marks)
    assert len(strip.ticks) < 40


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (5_700, "1 h 35 min"),
        (86_400, "1 d"),
        (90_061, "1 d 1 h"),
        (86_460, "1 d"),
    ],
)
def test_durations_are_said_in_their_two_largest_units(seconds: int, words: str) -> None:
    assert words == duration(seconds)


@pytest.mark.parametrize(
    "hostile", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-02-30", "x" * 99]
)
def test_an_impossible_time_is_shown_as_it_is(hostile: str) -> None:
    assert moment(hostile).startswith(hostile[:19])


def test_years_far_apart_still_have_a_strip() -> None:
    ends = [entry("0001-01-01T00:00:00Z"), entry("9999-12-31T23:59:59.999999Z")]

    assert draw_strip(ends)
    assert draw_strip([*ends, *[entry("2000-01-01T00:00:00Z"), entry("2000-01-01T00:00:01Z")]])


def test_a_span_names_the_day_once() -> None:
    assert span("2025-03-04T08:12:09Z", "2025-03-04T09:47:33Z") == "2025-03-04 08:12:09 to 09:47:33 UTC"
    assert span(None, None) == "time unknown"
    assert length_of("2025-03-04T08:12:09Z", None) == ""


def test_a_record_is_laid_out_without_losing_duplicate_keys_or_a_cut_end() -> None:
    assert (
        lay_out('{"a":1.0,"a":[{},"x\\"y"],"c":"cut')
        == '{\n  "a": 1.0,\n  "a": [\n    {},\n    "x\\"y"\n  ],\n  "c": "cut'
    )
    assert lay_out('2025,"{""Id"":""1""}"') == '2025\n{\n  "Id": "1"\n}'
    assert lay_out("type=PATH msg=audit(1):\r\n") == "type=PATH msg=audit(1):"


@given(st.text('{}[]",:\\ a1\n', max_size=80).map(lambda text: "{" + text))
def test_layout_changes_nothing_but_white_space(text: str) -> None:
    assert re.sub(r"\s", "", text) == re.sub(r"\s", "", lay_out(text))


def test_a_sound_record_is_laid_out_as_a_damaged_one_is_up_to_the_damage() -> None:
    sound = '{"a":[1e+05,-0.0,"\\u00e9/ü\\"",[],{}],"b" : {"a":null, "a":12345678901234567890123}}'
    deep = '{"a":' + "[" * 20 + "1" + "]" * 20 + "}"

    for record in (sound, deep):
        assert lay_out(record).rstrip("}\n") == lay_out(record[:-1]).rstrip("}\n")
    assert max(len(line) - len(line.lstrip()) for line in lay_out(deep).split("\n")) == 24
