"""The message ledger: every message that any evidence names, with what proves it and what became of it.

Keys that a sender chooses cannot be trusted to name one message, so every row says by what it was joined and how
strong that is. The steps are set-based SQL over files, because a million messages with five million records have to
fit into the memory of a small case.
"""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from mailwitness.content import loader
from mailwitness.proof import results, statements
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import duckdb

    from mailwitness.content.schemas import Proof
    from mailwitness.tables import TableStore

TABLE = "MessageLedger"
_ACTIVITY = "MailboxActivity"
# Parts of the ledger are made of slots: more of them than any memory needs parts.
_SLOTS = 1024
# What a message takes while its part is computed (measured: 200,000 took 400 MB); more than twice that is kept free.
_MESSAGE_BYTES = 5000
# Mailboxes lie together, and a report asks for one mailbox at a time; what a part of several leaves is put into order at the end.
_ORDERED = {
    "order": "ORDER BY Mailbox, TimeGenerated, MessageKey, _Exhibit, _Position",
    "rows": "ROW_GROUP_SIZE 61440",
}
_UNORDERED = {"order": "", "rows": "PRESERVE_ORDER false"}
SEGMENT = "ledger"
# The kinds of proof in the order in which a row names them: a row keeps one bit for each.
KINDS = (
    "message trace", "tracking log", "mail log", "Gmail log", "audit log", "read record", "index", "witness", "listing",
)  # fmt: skip
_SHAPE = {
    "TimeGenerated": "TIMESTAMP", "Mailbox": "VARCHAR", "MessageId": "VARCHAR", "ItemId": "VARCHAR", "NetworkId": "VARCHAR",
    "PerFolder": "BOOLEAN", "Folder": "VARCHAR", "ToFolder": "VARCHAR", "What": "VARCHAR", "Proof": "VARCHAR", "Activity": "VARCHAR",
    "Actor": "VARCHAR", "ActorType": "VARCHAR", "Session": "VARCHAR", "ClientIP": "VARCHAR", "Host": "VARCHAR", "Subject": "VARCHAR",
    "SizeBytes": "BIGINT", "Items": "BIGINT", "Platform": "VARCHAR", "_Exhibit": "VARCHAR", "_Position": "BIGINT",
}  # fmt: skip
# An empty file here is a mailbox that was emptied, not a file that says nothing.
_SPOOL = re.compile(r"(?:^|/)(?:var/)?(?:spool/)?mail/([^/]+)$")


class Given(msgspec.Struct, frozen=True):
    """An exhibit as far as the ledger asks for it.

    Attributes:
        path: as the report names it.
        written: when the file was last written, naive UTC; None when nothing says so.
    """

    id: str
    path: str
    size_bytes: int
    written: dt.datetime | None


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the ledger reads."""
    return {
        activity for proof in loader.proofs() if proof.table == _ACTIVITY for activity in proof.activities
    }


def queries() -> list[str]:
    """Return the SQL of the proofs: a first pass stores what it reads."""
    return [proof.sql for proof in loader.proofs()]


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the ledger reads."""
    named = {
        word
        for proof in loader.proofs()
        if proof.table == _ACTIVITY
        for word in re.findall(r"\w+", proof.sql)
    }
    return named & {column.name for column in loader.tables()[_ACTIVITY].columns}


def build(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    work: Path,
    *,
    present: set[str],
    exhibits: Iterable[Given],
    now: dt.datetime,
) -> int:
    """Compute the ledger into a Parquet file.

    Args:
        connection: has a view for every table, and MailboxActivity with :func:`activities` and :func:`columns`.
        target: the file to write.
        work: folder for the files between the steps; they are removed.
        present: tables with rows.
        exhibits: all exhibits of the case.
        now: the clock of the run, aware UTC; no listing is later.

    Returns:
        The number of rows.
    """
    paths = {name: work / f"proof-{name}.parquet" for name in ("evidence", "listed")}
    values = {name: literal(str(path)) for name, path in paths.items()}
    values |= {
        "union": union_sql(loader.proofs(), present),
        "now": f"TIMESTAMP {literal(now.replace(tzinfo=None).isoformat(sep=' '))}",
        "slot": _slot("Key"),
        "bits": "CASE Proof "
        + " ".join(f"WHEN {literal(k)} THEN {1 << i}" for i, k in enumerate(KINDS))
        + " ELSE 0 END",
        "listing": str(1 << KINDS.index("listing")),
    }
    _prepare(connection, list(exhibits))
    written: list[Path] = []
    try:
        statements.run(connection, "ledger.sql", values)
        parts, found = _parts(connection, values), _found(connection)
        for first, last in parts:
            written.append(work / f"proof-part-{first}.parquet" if len(parts) > 1 else target)
            chosen = {"chosen": _chosen(first, last, found), "part": literal(str(written[-1]))}
            chosen |= _UNORDERED if len(parts) > 1 else _ORDERED
            statements.run(connection, "ledger_part.sql", values | chosen)
        if len(parts) > 1:
            _merge(connection, written, target)
    finally:
        for path in {*paths.values(), *written} - {target}:
            path.unlink(missing_ok=True)
    return results.count(connection, target)


def _merge(connection: duckdb.DuckDBPyConnection, parts: list[Path], target: Path) -> None:
    """Write the parts into one file, in the order that one part would have."""
    listed = ", ".join(literal(str(path)) for path in parts)
    connection.execute(
        f"COPY (SELECT * FROM read_parquet([{listed}]) {_ORDERED['order']}) "
        f"TO {literal(str(target))} (FORMAT parquet, COMPRESSION lz4_raw, {_ORDERED['rows']})"
    )


def _slot(key: str) -> str:
    """Return the SQL of a key's slot; -1 for no key."""
    return f"CASE WHEN {key} = '' THEN -1 ELSE CAST(hash({key}) % {_SLOTS} AS INTEGER) END"


def _chosen(first: int, last: int, found: str) -> str:
    """Return the condition for rows of some slots; a row whose key was found later may have been written with another one."""
    # The first half names one column only, so that reading a file can skip the rest.
    return f"(FirstSlot BETWEEN {first} AND {last} OR FirstSlot IN ({found})) AND Slot BETWEEN {first} AND {last}"


def _found(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the slots of rows whose key is not the one with which they were written."""
    slots = connection.execute(f"SELECT DISTINCT {_slot('Alias')} AS s FROM known_as ORDER BY s").fetchall()
    return ", ".join(["-1", *(str(slot) for (slot,) in slots)])


def _parts(connection: duckdb.DuckDBPyConnection, values: dict[str, str]) -> list[tuple[int, int]]:
    """Return the slots of each part, first and last: as few parts as fit into the database's memory."""
    messages, limit = connection.execute(
        "SELECT greatest((SELECT approx_count_distinct(hash(Mailbox, Key)) "
        f"FROM read_parquet({values['evidence']})), (SELECT count(*) FROM read_parquet({values['listed']}))), "
        "parse_formatted_bytes(current_setting('memory_limit'))"
    ).fetchall()[0]
    count = min(_SLOTS, int(messages) * _MESSAGE_BYTES // int(limit) + 1)
    ends = [_SLOTS * number // count for number in range(count + 1)]
    return [(first, last - 1) for first, last in itertools.pairwise(ends)]


def union_sql(proofs: list[Proof], present: set[str]) -> str:
    """Return the SELECT over the proofs of all tables that have rows."""
    shape = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in _SHAPE.items())
    parts = [f"SELECT {shape} WHERE false"]
    parts += [f"({proof_sql(proof)})" for proof in proofs if proof.table in present | {_ACTIVITY}]
    return " UNION ALL BY NAME ".join(parts)


def proof_sql(proof: Proof) -> str:
    """Return a proof's SQL with its filter of activities."""
    listed = ", ".join(literal(activity) for activity in proof.activities)
    return proof.sql.replace("{activities}", f"Activity IN ({listed})")


def _prepare(connection: duckdb.DuckDBPyConnection, exhibits: list[Given]) -> None:
    """Create the small tables that the steps join: exhibits, their owners, empty stores, and the words of verdicts."""
    path = loader.CONTENT / "proofs" / "_verdicts.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        verdicts = [(row["finding"], row["verdict"], row["reason"]) for row in csv.DictReader(handle)]
    empty = [
        (found[1].lower(), given.id, given.written)
        for given in exhibits
        if not given.size_bytes and (found := _SPOOL.search(given.path))
    ]
    statements.fill(connection, "verdicts", "Finding VARCHAR, Verdict VARCHAR, Reason VARCHAR", verdicts)
    named = [
        (mask, ", ".join(k for i, k in enumerate(KINDS) if mask >> i & 1)) for mask in range(1 << len(KINDS))
    ]
    statements.fill(connection, "proof_names", "Mask BIGINT, Names VARCHAR", named)
    statements.fill(
        connection, "exhibits", "Id VARCHAR, Path VARCHAR", [(given.id, given.path) for given in exhibits]
    )
    statements.fill(connection, "empty_stores", "Mailbox VARCHAR, Exhibit VARCHAR, ListedAt TIMESTAMP", empty)
    statements.fill(
        connection,
        "owners",
        "Exhibit VARCHAR, Name VARCHAR",
        [(given.id, _owner(given.path)) for given in exhibits],
    )


def _owner(path: str) -> str:
    """Return the mailbox that a listing's path names: an address, or else the file's name without its endings."""
    address = re.search(r"[A-Za-z0-9._+'-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}", PurePosixPath(path).name)
    if address:
        return re.sub(r"\.(?:json|jsonl|csv|txt|ndjson)$", "", address[0]).lower()
    return ""


def store(
    connection: duckdb.DuckDBPyConnection,
    tables: TableStore,
    work: Path,
    *,
    exhibits: Iterable[Given],
    now: dt.datetime,
) -> int:
    """Compute the ledger as a table of the case; return the number of its rows."""
    partial = tables.partial_path(TABLE, SEGMENT)
    build(connection, partial, work, present=tables.tables(), exhibits=exhibits, now=now)
    return results.commit(connection, tables, TABLE, SEGMENT, partial)
