"""What the charts of a case show and its findings do not hold: deletions by hour, acts by phase and hour."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mailwitness import deletion_hours, timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mailwitness.cases import Story

JsonDict = dict[str, Any]  # Any: JSON values
# Each case costs one scan of the acts; the first cases are those that people look at.
_CASES = 20


def describe(connection: duckdb.DuckDBPyConnection, stories: Sequence[Story]) -> dict[str, JsonDict]:
    """Return ``deletions`` and ``acts`` of each case, as far as there are any.

    Args:
        connection: shows MailboxActivity.
        stories: cases, the most severe first.
    """
    found: dict[str, JsonDict] = {
        case: {"deletions": part} for case, part in deletion_hours.describe(connection, stories).items()
    }
    first = stories[:_CASES]
    with ThreadPoolExecutor(max_workers=2) as pool:
        counted = pool.map(lambda story: timeline.phase_hours(connection.cursor(), _named(story)), first)
        for story, acts in zip(first, counted, strict=True):
            if acts:
                found.setdefault(story.id, {})["acts"] = acts
    return found


def _named(story: Story) -> JsonDict:
    times = [time for one in story.findings for time in (one.time, one.last_time) if time]
    return {
        "actors": sorted({one.actor for one in story.findings if one.actor}),
        "mailboxes": sorted({one.mailbox for one in story.findings if one.mailbox}),
        "sessions": sorted({one.session for one in story.findings if one.session}),
        "addresses": sorted({one.address for one in story.findings if one.address}),
        "first_seen": min(times).isoformat() if times else "",
        "last_seen": max(times).isoformat() if times else "",
    }
