"""Settings over time as the report tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.proof.summary import iso
from mailwitness.tables import rows

if TYPE_CHECKING:
    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values

# A report holds so many versions, and of each so many of the messages that it took.
_VERSIONS = 100
_MESSAGES = 10
_TEXT = 2000


def describe(connection: duckdb.DuckDBPyConnection) -> JsonDict:
    """Return the report's part on settings over time: versions that nobody explains first, then those that took messages.

    Args:
        connection: has the table SettingHistory, and what it was computed from.
    """
    total, unexplained, hit = connection.execute(
        "SELECT count(*), count(*) FILTER (Origin = 'unexplained'), coalesce(sum(Hit), 0) FROM SettingHistory"
    ).fetchall()[0]
    found = rows(
        connection.execute(
            "SELECT * FROM SettingHistory ORDER BY Origin <> 'unexplained', coalesce(Hit, 0) = 0, coalesce(Possible, 0) = 0, TimeGenerated, Kind, "
            f"Mailbox, Name, State, _Exhibit, _Position LIMIT {_VERSIONS}"
        )
    )
    return {
        "is_computed": True,
        "sentence": _sentence(int(total), int(unexplained), int(hit)) + _timeless(connection),
        "versions": [_version(row) for row in found],
        "versions_total": int(total),
    }


def missing(reason: str) -> JsonDict:
    """Return the part of a report whose settings over time were not computed."""
    return {
        "is_computed": False, "sentence": f"Settings over time were not computed: {reason}.", "versions": [], "versions_total": 0,
    }  # fmt: skip


def _sentence(total: int, unexplained: int, hit: int) -> str:
    if not total:
        return "No record and no snapshot shows a version of a rule or setting."
    told = [f"{total:,} {'version' if total == 1 else 'versions'} of rules and settings"]
    told += [f"{unexplained:,} that no record explains"] if unexplained else []
    told += (
        [
            f"by their conditions and the log they hid, deleted or stripped {hit:,} {'message' if hit == 1 else 'messages'}"
        ]
        if hit
        else []
    )
    return "; ".join(told) + "."


def _timeless(connection: duckdb.DuckDBPyConnection) -> str:
    """Say what is missing because nothing says when it was so."""
    number = int(
        connection.execute("SELECT count(*) FROM seen_settings WHERE Basis = 'none'").fetchall()[0][0]
    )
    if not number:
        return ""
    what = "rule or setting of a snapshot is" if number == 1 else "rules and settings of snapshots are"
    return f" {number:,} {what} left out, because nothing says when the snapshot was taken."


def _version(row: dict[str, Any]) -> JsonDict:  # Any: query cells
    taken = row["HitMessages"] if isinstance(row["HitMessages"], list) else []
    ledger = row["Ledger"] if isinstance(row["Ledger"], dict) else {}
    return {
        "from": iso(row["TimeGenerated"]),
        "to": iso(row["EndTime"]),
        "kind": row["Kind"],
        "host": row["Host"],
        "mailbox": row["Mailbox"],
        "name": row["Name"],
        "state": row["State"],
        "does": row["Does"][:_TEXT],
        "by": row["ChangedBy"],
        "origin": row["Origin"],
        "time_basis": row["TimeBasis"],
        "reason": row["Reason"][:_TEXT],
        "traits": row["Traits"],
        "hit": _number(row["Hit"]),
        "possible": _number(row["Possible"]),
        "seen": _number(row["Seen"]),
        "ledger": [
            {"verdict": str(name), "messages": int(number)} for name, number in sorted(ledger.items())
        ],
        "hit_subjects": [str(one.get("s") or one.get("m") or "") for one in taken[:_MESSAGES]],
        "not_judged": row["NotJudged"][:_TEXT],
        "exhibit": row["_Exhibit"],
        "record": int(row["_Position"]),
    }


def _number(value: int | None) -> int | None:
    return None if value is None else int(value)
