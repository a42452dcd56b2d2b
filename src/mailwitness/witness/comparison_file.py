"""The result of a comparison as evidence: JSON lines that `investigate` takes in as source witness.

One line::

    {"WitnessComparison": "Missing", "Thing": "LogLine", "Client": "mail", "Path": "/var/log/mail.log", "Before": "...", ...}

The line of each path that was compared comes first, as ``Compared``, with the counts; differences follow in the order of the
witness's log.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.witness.compare import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailwitness.witness.compare import Comparison, Difference
    from mailwitness.witness.heads import Head


def lines(comparisons: Sequence[Comparison], client: str, head: Head, *, now_us: int) -> Iterator[str]:
    """Yield the lines of the file; the same comparison at the same clock gives the same bytes."""
    shared = {
        "Client": client,
        "ComparedAt": iso(now_us),
        "HeadSize": head.size,
        "HeadRoot": head.root,
        "HeadTime": iso(head.time_us),
        "HeadKey": head.key,
    }
    for comparison in comparisons:
        yield _line(
            {
                "WitnessComparison": "Compared",
                "Thing": "Log" if not comparison.differences else comparison.differences[0].thing,
                "Path": comparison.path,
                "Held": comparison.held,
                "Same": comparison.same,
                "New": comparison.new,
                "Kept": comparison.kept,
                **shared,
            }
        )
        for difference in comparison.differences:
            yield _line(_fields(difference) | shared)


def _fields(difference: Difference) -> dict[str, Any]:  # Any: JSON values
    found = msgspec.structs.asdict(difference)
    return {
        "WitnessComparison": found["what"],
        "Thing": found["thing"],
        "Path": found["path"],
        "Place": found["place"],
        "Before": found["before"],
        "After": found["after"],
        "MessageId": found["message_id"],
        "Subject": found["subject"],
        "ReceivedAt": iso(found["received_us"]),
        "NoticedAt": iso(found["noticed_us"]),
        "Number": found["number"],
        "Cause": found["cause"],
    }


def _line(fields: dict[str, Any]) -> str:  # Any: JSON values
    return json.dumps(fields, ensure_ascii=True, sort_keys=False) + "\n"
