"""Visibility as the report tells it: lanes of stretches, and a sentence that qualifies the negative answers of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.proof.summary import iso
from mailwitness.tables import rows

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values

_LANES = 40
_STRETCHES = 200
_TOLD = 3


def describe(connection: duckdb.DuckDBPyConnection) -> JsonDict:
    """Return what could have been seen, with every lane: what a case's answers are qualified by.

    Args:
        connection: has the table Visibility.
    """
    lanes: dict[tuple[str, str], list[JsonDict]] = {}
    blind = unknown = 0
    # Lanes with something blind first: the report holds forty.
    for row in rows(
        connection.execute(
            "SELECT *, bool_or(State = 'blind') OVER (PARTITION BY Source, Subject) AS Ill FROM Visibility "
            "ORDER BY Ill DESC, Source, Subject, TimeGenerated, EndTime, State, Reason"
        )
    ):
        blind += row["State"] == "blind"
        unknown += row["State"] == "unknown"
        lanes.setdefault((row["Source"], row["Subject"]), []).append(_stretch(row))
    return {
        "is_computed": True,
        "sentence": _sentence(len(lanes), blind, unknown),
        "lanes": [
            {
                "source": source,
                "subject": subject,
                "stretches": found,
                "stretches_total": len(found),
            }
            for (source, subject), found in lanes.items()
        ],
        "lanes_total": len(lanes),
    }


def shown(part: JsonDict) -> JsonDict:
    """Return the part as a report can hold it: so many lanes, so many stretches, and how many there are."""
    lanes = [lane | {"stretches": lane["stretches"][:_STRETCHES]} for lane in part["lanes"][:_LANES]]
    return part | {"lanes": lanes}


def about(part: JsonDict, mailboxes: list[str], hosts: list[str]) -> JsonDict:
    """Return the part with the lanes of these mailboxes and hosts, and those of no one in particular."""
    names = {name.lower() for name in [*mailboxes, *hosts] if name} | {""}
    return part | {"lanes": [lane for lane in part["lanes"] if lane["subject"] in names]}


def missing(reason: str) -> JsonDict:
    """Return the part of a report whose visibility was not computed."""
    return {
        "is_computed": False, "sentence": f"What could have been seen was not computed: {reason}.", "lanes": [], "lanes_total": 0,
    }  # fmt: skip


def _stretch(row: dict[str, Any]) -> JsonDict:  # Any: query cells
    return {
        "from": iso(row["TimeGenerated"]),
        "to": iso(row["EndTime"]),
        "state": row["State"],
        "cause": row["Cause"],
        "reason": row["Reason"],
        "records": int(row["Records"]),
        "missing": int(row["Missing"]),
        "actor": row["Actor"],
        "exhibit": row["_Exhibit"],
        "record": int(row["_Position"]),
    }


def _sentence(lanes: int, blind: int, unknown: int) -> str:
    if not lanes:
        return "No source says in which hours it was being written."
    told = [f"{blind:,} {'stretch' if blind == 1 else 'stretches'} blind"] if blind else []
    told += [f"{unknown:,} not known"] if unknown else []
    return f"{lanes:,} {'source' if lanes == 1 else 'sources'} in time: {', '.join(told) or 'none was blind as far as their records say'}."


def qualify(
    part: JsonDict,
    first: dt.datetime | None,
    last: dt.datetime | None,
    *,
    sources: Sequence[str] = (),
    what: str = "the time of this case",
) -> str:
    """Return the sentence by which every answer about a time has to be read.

    Args:
        part: from :func:`about` or :func:`missing`.
        first: start of the time, naive UTC; None when it is not known.
        last: its end.
        sources: sources that the answer rests on; empty takes all.
        what: the time, in words.
    """
    if not part["is_computed"]:
        return "Whether more could have been seen is not known: " + str(part["sentence"])
    start, end = iso(first), iso(last)
    lanes = [lane for lane in part["lanes"] if not sources or lane["source"] in sources]
    ill = [
        (lane, one)
        for lane in lanes
        for one in lane["stretches"]
        if one["state"] != "seen" and (not start or (one["from"] <= end and one["to"] >= start))
    ]
    # What was certainly blind is told before what is not known.
    ill.sort(key=lambda found: found[1]["state"] != "blind")
    if ill:
        words = [
            f"{_lane(lane)} from {_time(one['from'])} to {_time(one['to'])}: {one['reason']}"
            for lane, one in ill[:_TOLD]
        ]
        more = f" There are {len(ill) - _TOLD:,} more such stretches." if len(ill) > _TOLD else ""
        return "What was not found may have been invisible. " + " ".join(words) + more
    running = sorted(
        {
            lane["source"]
            for lane in lanes
            for one in lane["stretches"]
            if not start or (one["from"] <= start and one["to"] >= end)
        }
    )
    if not running:
        named = f"No {' or '.join(sources)}" if sources else "No source"
        return f"{named} covers the whole of {what}, so what was not found may have been invisible."
    return (
        f"Throughout {what} records were being written to: {', '.join(running)}. "
        "What these do not show, they could have shown as far as their settings are known."
    )


def _lane(lane: JsonDict) -> str:
    source = str(lane["source"])
    named = f"{source} of {lane['subject']}" if lane["subject"] else source
    return named[:1].upper() + named[1:]


def _time(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z")
