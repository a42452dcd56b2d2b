"""The recoverability clock: where each lost message is now, what keeps it, what will remove it, and until when it can be saved.

The periods of the products are data (``content/recoverability``). Where a setting is not known, the documented default gives the day and the
limits of the setting give the range; a hold never makes anything safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.content import loader
from mailwitness.proof import results, statements
from mailwitness.proof.summary import iso
from mailwitness.tables import literal, rows

if TYPE_CHECKING:
    import datetime as dt

    import duckdb

    from mailwitness.tables import TableStore

JsonDict = dict[str, Any]  # Any: JSON values

TABLE = "Recoverability"
SEGMENT = "recoverability"
_STEPS = 50
_SHAPE = (
    "Platform VARCHAR, Act VARCHAR, Place INTEGER, Product VARCHAR, State VARCHAR, HoldState VARCHAR, SingleItem VARCHAR, "
    "AssumedSingleItem VARCHAR, HasPeriod BOOLEAN, Days INTEGER, Least INTEGER, Most INTEGER, Setting VARCHAR, r_follows BOOLEAN, "
    "r_delay BOOLEAN, IsGone BOOLEAN, RemovedBy VARCHAR, Caveat VARCHAR, Step VARCHAR, Needs VARCHAR"
)


def queries() -> list[str]:
    """Return what the steps read from public tables: a first pass stores it."""
    return [
        "SELECT TimeGenerated, Kind, Identity, Mailbox, Name, Settings, WhenChanged FROM SettingsSnapshot",
        "SELECT TimeGenerated, MailboxOwnerUPN, AffectedItems, Item FROM OfficeActivity",
    ]


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the steps read."""
    return {
        "HoldWeakened",
        "HoldRestored",
        "RetentionWeakened",
        "RetentionChanged",
        "SettingChanged",
        "StoreFileDeleted",
        "PriorityCleanup",
    }


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the steps read."""
    return {
        "Activity", "ActivityResult", "Mailbox", "MessageId", "ObjectName", "Operation", "Parameters", "Platform", "Properties",
    }  # fmt: skip


def prepare(connection: duckdb.DuckDBPyConnection, *, now: dt.datetime) -> None:
    """Create the view ``recoverable``.

    Args:
        connection: has MessageLedger, SettingsSnapshot, OfficeActivity and MailboxActivity.
        now: the clock of the run, aware UTC.
    """
    known = [
        (platform, act, place, item.product, state.name, state.hold, state.needs_single_item_recovery,
         "true" if item.single_item_recovery else "false", state.has_period,
         item.default_days if state.days is None else state.days,
         (item.least_days if state.days is None else state.days) if state.least is None else state.least,
         (item.most_days if state.days is None else state.days) if state.most is None else state.most,
         item.setting, bool(item.setting) and state.days is None, state.hold == "delay" and state.days is not None,
         state.is_gone, state.removed_by, item.caveat, state.step, state.needs)
        for item in loader.recoveries()
        for place, state in enumerate(item.states)
        for platform in item.platforms
        for act in state.acts
    ]  # fmt: skip
    statements.fill(connection, "recoveries", _SHAPE, known)
    moment = f"TIMESTAMP {literal(now.replace(tzinfo=None).isoformat(sep=' '))}"
    statements.run(connection, "recoverability.sql", {"now": moment})


def store(connection: duckdb.DuckDBPyConnection, tables: TableStore, *, now: dt.datetime) -> int:
    """Compute the clock as a table of the case; return the number of its rows."""
    prepare(connection, now=now)
    partial = tables.partial_path(TABLE, SEGMENT)
    target = literal(str(partial))
    connection.execute(
        f"COPY (SELECT 0::UTINYINT AS _State, * FROM recoverable ORDER BY Mailbox, UntilEarliest, MessageKey, Subject) TO {target} (FORMAT parquet)"
    )
    return results.commit(connection, tables, TABLE, SEGMENT, partial)


def describe(connection: duckdb.DuckDBPyConnection, *, now: dt.datetime) -> JsonDict:
    """Return the report's part on what can still be saved: steps in the order of the clock.

    Args:
        connection: has the table Recoverability.
        now: the clock of the run.
    """
    grouped = rows(
        connection.execute(
            "SELECT Mailbox, Product, State, Hold, Setting, SettingValue, RemovedBy, Caveat, Step, IsOver, IsGone, bool_and(IsExact) AS IsExact, "
            "min(UntilEarliest) AS Earliest, min(Until) AS Until, max(UntilLatest) AS Latest, count(*) AS Messages FROM Recoverability "
            "GROUP BY ALL ORDER BY IsGone, IsOver, Earliest NULLS LAST, Mailbox, State, Hold, Product"
        )
    )
    return {
        "is_computed": True,
        "sentence": _sentence(grouped, now),
        "steps": [_step(row, now) for row in grouped[:_STEPS]],
        "steps_total": len(grouped),
    }


def missing(reason: str) -> JsonDict:
    """Return the part of a report whose clock was not computed."""
    return {
        "is_computed": False,
        "sentence": f"What can still be saved was not computed: {reason}.",
        "steps": [],
        "steps_total": 0,
    }


def _is_late(row: dict[str, Any], now: dt.datetime) -> bool:  # Any: query cells
    """Tell whether the documented default is over and only a longer setting can still keep the message."""
    return (
        bool(row["Until"])
        and not row["IsOver"]
        and not row["IsGone"]
        and row["Until"] < now.replace(tzinfo=None)
    )


def _step(row: dict[str, Any], now: dt.datetime) -> JsonDict:  # Any: query cells
    return {
        "mailbox": row["Mailbox"],
        "product": row["Product"],
        "state": row["State"],
        "messages": int(row["Messages"]),
        "hold": row["Hold"],
        "setting": row["Setting"],
        "setting_value": row["SettingValue"],
        "until": iso(row["Until"]),
        "earliest": iso(row["Earliest"]),
        "latest": iso(row["Latest"]),
        "is_exact": bool(row["IsExact"]),
        "is_over": bool(row["IsOver"]),
        "is_late": _is_late(row, now),
        "is_gone": bool(row["IsGone"]),
        "removed_by": row["RemovedBy"],
        "caveat": row["Caveat"] if row["Hold"] else "",
        "step": row["Step"],
    }


def _sentence(grouped: list[dict[str, Any]], now: dt.datetime) -> str:  # Any: query cells
    total = sum(row["Messages"] for row in grouped)
    if not total:
        return "Nothing that was lost waits to be saved."
    late: list[dict[str, Any]] = []
    dated: list[dict[str, Any]] = []
    for row in grouped:
        if row["Until"] and not row["IsOver"] and not row["IsGone"]:
            (late if _is_late(row, now) else dated).append(row)
    undated = sum(row["Messages"] for row in grouped if not row["Until"] and not row["IsGone"])
    over = sum(row["Messages"] for row in grouped if row["IsOver"])
    gone = sum(row["Messages"] for row in grouped if row["IsGone"])
    parts = []
    if dated:
        first = min(row["Until"] for row in dated)
        sure = (
            ""
            if all(row["IsExact"] for row in dated)
            else " by the documented defaults (settings or times are not known)"
        )
        parts.append(
            f"{sum(row['Messages'] for row in dated):,} can be saved, the first until {first:%Y-%m-%d} UTC{sure}"
        )
    if late:
        last = max(row["Latest"] for row in late)
        parts.append(
            f"{sum(row['Messages'] for row in late):,} only if deleted items are kept longer than by default, "
            f"at the latest until {last:%Y-%m-%d} UTC"
        )
    parts += [f"{undated:,} may be saved, with no day by which that ends"] if undated else []
    parts += [f"of {over:,} the time is over"] if over else []
    parts += [f"{gone:,} cannot be restored in the mailbox"] if gone else []
    return f"Of {total:,} lost or deleted: {'; '.join(parts)}."


def annotate(connection: duckdb.DuckDBPyConnection, ledger: JsonDict, *, now: dt.datetime) -> JsonDict:
    """Add to the report's part on messages where each one is and until when it can be saved.

    Args:
        connection: has the table Recoverability.
        ledger: the part, from ``summary.describe``.
        now: the clock of the run.
    """
    for box in ledger["mailboxes"]:
        found = rows(
            connection.execute(
                f"SELECT * FROM Recoverability WHERE Mailbox = {literal(box['mailbox'])} ORDER BY UntilEarliest NULLS LAST, MessageKey, State"
            )
        )
        by_key = {row["MessageKey"]: row for row in reversed(found)}
        for row in box["rows"]:
            clock = by_key.get(row["key"])
            row["state"] = clock["State"] if clock else ""
            row["until"] = iso(clock["Until"]) if clock else ""
            row["is_exact"] = bool(clock["IsExact"]) if clock else False
        if found:
            box["sentences"].append(
                _sentence([{**row, "Messages": 1, "Latest": row["UntilLatest"]} for row in found], now)
            )
    return ledger
