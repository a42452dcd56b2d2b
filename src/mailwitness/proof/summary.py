"""The ledger as the report tells it: counts, sentences that a lawyer can read, and the messages that are missing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mailwitness.tables import literal, rows

if TYPE_CHECKING:
    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values

# In the order of the report: what is missing first.
VERDICTS = (
    "gone without record", "altered", "planted", "never stored", "deleted with record", "present", "unknown",
)  # fmt: skip
# What stands in the report with its messages; the others are counted.
_TOLD = VERDICTS[:5]
# Kinds of proof that know of a message before a filter can throw it away.
_DELIVERIES = "message trace|tracking log|mail log|Gmail log"
_NO_DELIVERIES = (
    "No record of deliveries to this mailbox was given: a message that a filter threw away before it was stored "
    "cannot be in this table."
)
_MAILBOXES = 50
_ROWS = 200
_GROUPS = 3
_NOUNS = {
    "gone without record": ("message existed and is gone without a record", "messages existed and are gone without a record"),
    "altered": ("message is there and was altered", "messages are there and were altered"),
    "planted": ("message is there without any proof of delivery", "messages are there without any proof of delivery"),
    "never stored": ("message reached the mailbox's door and was never stored", "messages reached the mailbox's door and were never stored"),
    "deleted with record": ("message was removed, and a record says so", "messages were removed, and records say so"),
}  # fmt: skip
_RANK = "CASE Verdict " + " ".join(f"WHEN {literal(v)} THEN {i}" for i, v in enumerate(VERDICTS)) + " END"


def describe(connection: duckdb.DuckDBPyConnection, mailboxes: list[str]) -> JsonDict:
    """Return the report's part on messages.

    Args:
        connection: has the table MessageLedger.
        mailboxes: those of the cases; they come first. Further ones follow where something is gone, altered or planted.
    """
    counted = rows(
        connection.execute("SELECT Verdict, count(*) AS n FROM MessageLedger GROUP BY 1 ORDER BY " + _RANK)
    )
    found = {row["Verdict"]: int(row["n"]) for row in counted}
    total = sum(found.values())
    chosen = _chosen(connection, mailboxes)
    return {
        "is_computed": True,
        "reason": "",
        "sentence": _sentence(total, found),
        "messages": total,
        "verdicts": [{"verdict": verdict, "messages": found.get(verdict, 0)} for verdict in VERDICTS],
        "mailboxes": [_mailbox(connection, name) for name in chosen],
    }


def missing(reason: str) -> JsonDict:
    """Return the part of a report whose ledger was not computed."""
    return {
        "is_computed": False, "reason": reason, "sentence": f"The message ledger was not computed: {reason}.",
        "messages": 0, "verdicts": [], "mailboxes": [],
    }  # fmt: skip


def _sentence(total: int, found: dict[str, int]) -> str:
    parts = [f"{found[verdict]:,} {verdict}" for verdict in VERDICTS if found.get(verdict)]
    if not parts:
        return "No record names a message."
    return f"Of {total:,} messages that the evidence names: {', '.join(parts)}."


def _chosen(connection: duckdb.DuckDBPyConnection, mailboxes: list[str]) -> list[str]:
    wanted = {name.lower() for name in mailboxes if name}
    listed = [
        (str(name), int(lost))
        for name, lost in connection.execute(
            "SELECT Mailbox, count(*) FILTER (Verdict IN ('gone without record', 'altered', 'planted')) AS lost "
            "FROM MessageLedger GROUP BY 1 ORDER BY lost DESC, 1"
        ).fetchall()
    ]
    of_cases = [name for name, _ in listed if name and wanted & {name, name.split("@", 1)[0]}]
    others = [name for name, lost in listed if lost and name not in of_cases]
    return [*of_cases, *others][:_MAILBOXES]


def _mailbox(connection: duckdb.DuckDBPyConnection, name: str) -> JsonDict:
    where = f"Mailbox = {literal(name)}"
    counted = dict(
        connection.execute(f"SELECT Verdict, count(*) FROM MessageLedger WHERE {where} GROUP BY 1").fetchall()
    )
    told = ", ".join(literal(verdict) for verdict in _TOLD)
    kept = rows(
        connection.execute(
            f"SELECT * FROM MessageLedger WHERE {where} AND Verdict IN ({told}) "
            f"ORDER BY {_RANK}, coalesce(RemovedAt, LastSeen, FirstSeen), MessageKey LIMIT {_ROWS}"
        )
    )
    at = connection.execute(
        f"SELECT max(ListedAt) FROM MessageLedger WHERE {where} AND ListedAt IS NOT NULL"
    ).fetchall()[0][0]
    return {
        "mailbox": name,
        "messages": sum(counted.values()),
        "listed_at": iso(at),
        "verdicts": [
            {"verdict": verdict, "messages": counted.get(verdict, 0)}
            for verdict in VERDICTS
            if counted.get(verdict)
        ],
        "sentences": _sentences(connection, where, counted, at),
        "rows": [_row(row) for row in kept],
        "rows_total": sum(counted.get(verdict, 0) for verdict in _TOLD),
    }


def _sentences(
    connection: duckdb.DuckDBPyConnection, where: str, counted: dict[str, int], at: dt.datetime | None
) -> list[str]:
    found = []
    for verdict in _TOLD:
        number = counted.get(verdict, 0)
        if number:
            one, many = _NOUNS[verdict]
            found.append(f"{number:,} {one if number == 1 else many}.")
            found += _groups(connection, f"{where} AND Verdict = {literal(verdict)}", verdict)
    unknown = counted.get("unknown", 0)
    if unknown:
        reason = connection.execute(
            f"SELECT Reason, count(*) AS n FROM MessageLedger WHERE {where} AND Verdict = 'unknown' GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1"
        ).fetchall()[0][0]
        found.append(f"Of {unknown:,} more it is not known, mostly because: {reason}")
    if at is None:
        found.append(
            "No listing or store of the present decides, so nothing of this mailbox can be called gone."
        )
    return [*found, *_unseen(connection, where)]


def _unseen(connection: duckdb.DuckDBPyConnection, where: str) -> list[str]:
    """Say which messages cannot be in the table, whatever became of them."""
    delivered = connection.execute(
        f"SELECT count(*) FROM MessageLedger WHERE {where} AND regexp_matches(Proofs, {literal(_DELIVERIES)})"
    ).fetchall()[0][0]
    return [] if delivered else [_NO_DELIVERIES]


def _groups(connection: duckdb.DuckDBPyConnection, where: str, verdict: str) -> list[str]:
    """Say who opened and who removed the messages of one verdict, the most frequent first."""
    lines = []
    for who, session, number, first, last in connection.execute(
        f"SELECT ReadBy, ReadSession, count(*) AS n, min(ReadAt), max(ReadAt) FROM MessageLedger WHERE {where} AND ReadAt IS NOT NULL "
        f"GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT {_GROUPS}"
    ).fetchall():
        lines.append(
            f"{number:,} of them {_were(number)} last opened by {who or 'somebody'}{_in(session)} {_span(first, last)}."
        )
    if verdict in {"deleted with record", "never stored"}:
        for who, what, session, number, first, last in connection.execute(
            f"SELECT RemovedBy, RemovalActivity, RemovalSession, count(*) AS n, min(RemovedAt), max(RemovedAt) FROM MessageLedger WHERE {where} "
            f"GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2, 3 LIMIT {_GROUPS}"
        ).fetchall():
            lines.append(
                f"{number:,} of them: {what or 'removed'} by {who or 'an unnamed actor'}{_in(session)} {_span(first, last)}."
            )
    if verdict == "gone without record":
        for what, who, number, last in connection.execute(
            f"SELECT NearestAct, NearestActBy, count(*) AS n, max(NearestActAt) FROM MessageLedger WHERE {where} AND NearestAct <> '' "
            f"GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT {_GROUPS}"
        ).fetchall():
            lines.append(
                f"{number:,} of them may have gone with {what} by {who or 'an unnamed actor'} on {_day(last)}."
            )
    return lines


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _in(session: str) -> str:
    return f" in session {session}" if session else ""


def _span(first: dt.datetime | None, last: dt.datetime | None) -> str:
    if first is None or last is None:
        return "at an unknown time"
    return f"on {_day(first)}" if first == last else f"between {_day(first)} and {_day(last)}"


def _day(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def iso(time: dt.datetime | None) -> str:
    """Return naive UTC as the report writes it; empty for none."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""


def _row(row: dict[str, Any]) -> JsonDict:  # Any: query cells
    listed = row["Evidence"] if isinstance(row["Evidence"], list) else []
    return {
        "verdict": row["Verdict"],
        "reason": row["Reason"],
        "message_id": row["MessageId"],
        "key": row["MessageKey"],
        "key_strength": row["KeyStrength"],
        "subject": row["Subject"],
        "proofs": row["Proofs"],
        "first_seen": iso(row["FirstSeen"]),
        "last_seen": iso(row["LastSeen"]),
        "folder": "" if row["LastFolder"] == "unknown" else row["LastFolder"],
        "read_at": iso(row["ReadAt"]),
        "read_by": row["ReadBy"],
        "read_session": row["ReadSession"],
        "removed_at": iso(row["RemovedAt"]),
        "removed_by": row["RemovedBy"],
        "removal": row["RemovalActivity"],
        "removal_session": row["RemovalSession"],
        "rows": [
            {"exhibit": exhibit, "record": record}
            for exhibit, record in dict.fromkeys((one["e"], one["p"]) for one in listed)
        ],
    }
