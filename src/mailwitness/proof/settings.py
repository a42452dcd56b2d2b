"""Settings over time: versions of rules and settings from records and snapshots, in plain words, replayed over logs of messages."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from mailwitness.content import loader
from mailwitness.proof import (
    header_checks,
    members,
    results,
    setting_replay,
    setting_versions,
    sieve,
    statements,
)
from mailwitness.proof.readings import Reading
from mailwitness.proof.setting_versions import Listing, Seen
from mailwitness.readers import setting_file
from mailwitness.tables import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import duckdb

    from mailwitness.content.schemas import SettingFamily
    from mailwitness.proof.ledger import Given
    from mailwitness.proof.setting_versions import Group, Version
    from mailwitness.tables import TableStore

JsonDict = dict[str, Any]  # Any: JSON values

TABLE = "SettingHistory"
SEGMENT = "settings"
_SHAPE = (
    "NULL::TIMESTAMP AS TimeGenerated, NULL::TIMESTAMP AS SavedAt, ''::VARCHAR AS Kind, ''::VARCHAR AS Host, ''::VARCHAR AS Mailbox, "
    "''::VARCHAR AS Name, ''::VARCHAR AS State, NULL::JSON AS Definition, ''::VARCHAR AS Traits, ''::VARCHAR AS ChangedBy, "
    "''::VARCHAR AS Plain, ''::VARCHAR AS Source, ''::VARCHAR AS Basis, false AS IsWhole, ''::VARCHAR AS _Exhibit, NULL::BIGINT AS _Position"
)
_READ = "Kind, Host, Mailbox, Name, State, Definition, Traits, ChangedBy, Plain, Source, TimeGenerated, SavedAt, Basis, IsWhole, _Exhibit, _Position"
_BATCH = 5000
_DEFINITION_BYTES = 100_000


def queries() -> list[str]:
    """Return what the steps read from public tables: a first pass stores it."""
    return [
        *(family.snapshots for family in loader.setting_families()),
        *(delivery.sql for delivery in loader.deliveries()),
    ]


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the families read."""
    return {activity for family in loader.setting_families() for activity in family.activities}


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the families read."""
    named = {word for family in loader.setting_families() for word in re.findall(r"\w+", family.records)}
    return named & {column.name for column in loader.tables()["MailboxActivity"].columns}


def prepare(
    connection: duckdb.DuckDBPyConnection, work: Path, *, present: set[str], exhibits: Iterable[Given] = ()
) -> None:
    """Create the view ``setting_history``.

    Args:
        connection: has MailboxActivity, SettingsSnapshot, MessageLedger and the tables of messages.
        work: folder for files of the replay.
        present: tables with rows.
        exhibits: all exhibits; a folder named after a day says when a snapshot in it was taken.
    """
    families = {family.kind: family for family in loader.setting_families()}
    places = [(given.id, setting_file.dated(given.path)) for given in exhibits]
    statements.fill(connection, "setting_places", "Exhibit VARCHAR, Taken TIMESTAMP", places)
    found = statements.steps("settings.sql")
    for step in ("seen", "placed", "timed", "spelled", "named", "identified", "hosted", "versions", "hits"):
        connection.execute(statements.filled(found[step], {"union": _union(families.values())}))
    conditions = _versions(connection, families)
    setting_replay.run(connection, conditions, work, present=present)
    connection.execute(found["history"])


def _union(families: Iterable[SettingFamily]) -> str:
    parts = [f"SELECT {_SHAPE} WHERE false"]
    for family in families:
        kind = literal(family.kind)
        listed = ", ".join(literal(activity) for activity in family.activities)
        asked = f"Activity IN ({listed}) AND ActivityResult <> 'Failed' AND TimeGenerated IS NOT NULL"
        if family.records:
            records = family.records.replace("{activities}", asked)
            parts.append(_traced(family, f"SELECT *, {kind} AS Kind, 'record' AS Source FROM ({records})"))
        if family.snapshots:
            snapshots = f"SELECT *, {kind} AS Kind, 'snapshot' AS Source FROM ({family.snapshots})"
            parts.append(_traced(family, snapshots))
    return " UNION ALL BY NAME ".join(parts)


def _traced(family: SettingFamily, sql: str) -> str:
    """Add what a reader has to know of a version."""
    if not family.traits:
        return sql
    found = ", ".join(f"CASE WHEN {one.sql} THEN {literal(one.trait)} END" for one in family.traits)
    return f"SELECT *, concat_ws('; ', {found}) AS Traits FROM ({sql})"


def _versions(connection: duckdb.DuckDBPyConnection, families: dict[str, SettingFamily]) -> list[str]:
    """Fill ``setting_versions``; return the conditions by number."""
    read = _reader(connection, families)
    listings, nameless = _listings(connection, families), _nameless(connection)
    built = setting_versions.build(
        _rows(connection, "TimeGenerated IS NOT NULL"), families, listings, nameless, read
    )
    numbers: dict[str, int] = {}
    batch: list[JsonDict] = []
    for n, version in enumerate(sorted(built, key=_order)):
        batch.append(_row(n, version, families[version.seen.kind], numbers))
        if len(batch) == _BATCH:
            _insert(connection, batch)
            batch = []
    _insert(connection, batch)
    return list(numbers)


def _order(version: Version) -> tuple[object, ...]:
    seen = version.seen
    return (version.start, seen.kind, seen.mailbox, seen.name, seen.source, seen.exhibit, seen.position)


def _rows(connection: duckdb.DuckDBPyConnection, where: str) -> Iterator[Seen]:
    # Nothing else may use the connection while this is read: temporary tables belong to one connection.
    cursor = connection.execute(
        f"SELECT {_READ} FROM seen_settings WHERE {where} "
        "ORDER BY Kind, Host, Mailbox, lower(Name), TimeGenerated, Source, _Exhibit, _Position, CAST(Definition AS VARCHAR)"
    )
    while rows := cursor.fetchmany(_BATCH):
        for row in rows:
            cells = list(row)
            cells[5] = _decoded(cells[5])
            yield Seen(*cells)


def _decoded(text: str | None) -> JsonDict:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _listings(
    connection: duckdb.DuckDBPyConnection, families: dict[str, SettingFamily]
) -> dict[Group, list[Listing]]:
    """Return when all rules of a mailbox or organisation were listed, by kind, host and mailbox."""
    whole = ", ".join(literal(kind) for kind, family in families.items() if family.is_listed_whole) or "''"
    found: dict[Group, list[Listing]] = {}
    for kind, host, mailbox, time, exhibit, position in connection.execute(
        "SELECT Kind, Host, Mailbox, TimeGenerated, min(_Exhibit), arg_min(_Position, (_Exhibit, _Position)) FROM seen_settings "
        f"WHERE Source = 'snapshot' AND Kind IN ({whole}) AND Basis IN ('snapshot', 'folder name') AND TimeGenerated IS NOT NULL "
        "GROUP BY ALL ORDER BY 1, 2, 3, 4"
    ).fetchall():
        found.setdefault((kind, host, mailbox), []).append(Listing(time, exhibit, position))
    return found


def _nameless(connection: duckdb.DuckDBPyConnection) -> dict[Group, list[Seen]]:
    """Return records that say that something of a kind changed and not what, by kind, host and mailbox, in order."""
    found: dict[Group, list[Seen]] = {}
    for seen in _rows(
        connection, "Source = 'record' AND (IsWhole OR Name = '' OR regexp_full_match(Name, '-?\\d{6,}'))"
    ):
        found.setdefault(seen.group(), []).append(seen)
    return {group: sorted(listed, key=lambda seen: seen.time) for group, listed in found.items()}


def _reader(
    connection: duckdb.DuckDBPyConnection, families: dict[str, SettingFamily]
) -> Callable[[Seen, JsonDict], Reading]:
    """Return what reads a definition in its family's language."""
    types = _table_types(connection)

    @cache
    def can_run(pattern: str) -> bool:
        import duckdb  # noqa: PLC0415 - slow to import

        try:
            # A connection of its own: the rows that are read belong to the other one.
            connection.cursor().execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
        except duckdb.Error:
            return False
        return True

    def read(seen: Seen, definition: JsonDict) -> Reading:
        family = families[seen.kind]
        text = str(definition.get("Text", ""))
        if family.language == "sieve" and "Text" in definition:
            return sieve.read(text, can_run)
        if family.language == "header checks" and "Text" in definition:
            kind = types.get(seen.name, "")
            return header_checks.read(text, kind, can_run, lines=_compared_lines(seen.name))
        if family.language == "members" and (found := members.read(definition, family)).clauses:
            return found
        return Reading(plain=seen.plain)

    return read


def _table_types(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return by the name of its file whether a table of Postfix is regexp: or pcre:, where main.cf says one of them."""
    found: dict[str, set[str]] = {}
    for (plain,) in connection.execute(
        "SELECT DISTINCT Plain FROM seen_settings WHERE Kind = 'mail server setting' AND contains(Plain, ':') ORDER BY 1"
    ).fetchall():
        for kind, file in re.findall(r"\b(regexp|pcre):(\S+?)(?=[\s,;]|$)", plain):
            found.setdefault(file.rsplit("/", 1)[-1], set()).add(kind)
    return {file: kinds.pop() for file, kinds in found.items() if len(kinds) == 1}


def _compared_lines(name: str) -> str:
    """Return what the patterns of a table are compared with, by its name; empty for the header of a message."""
    told = {
        "body": "a line of the body",
        "mime": "a header of a part",
        "nested": "a header of an attached message",
        "milter": "a header that a filter added",
    }
    return next((words for word, words in told.items() if word in name), "")


def _row(n: int, version: Version, family: SettingFamily, numbers: dict[str, int]) -> JsonDict:
    """Return a version as a row of ``setting_versions``; new conditions get their number."""
    seen = version.seen
    condition = version.reading.taking() if family.platforms else None
    return {
        "n": n, "TimeGenerated": version.start.isoformat(),
        "EndTime": version.end.isoformat() if version.end else None, "Kind": seen.kind,
        "Host": seen.host, "Mailbox": seen.mailbox, "Name": seen.name, "State": version.state, "Does": version.does, "ChangedBy": version.by,
        "Origin": version.origin, "TimeBasis": version.basis, "Reason": version.reason, "Traits": version.traits,
        "NotJudged": version.reading.unjudged(), "Definition": _kept(version.definition),
        "IsTaking": condition is not None,
        "Condition": None if condition is None else numbers.setdefault(condition.sql, len(numbers)),
        "Platforms": f"|{'|'.join(family.platforms)}|", "_Exhibit": seen.exhibit, "_Position": seen.position,
    }  # fmt: skip


def _kept(definition: JsonDict) -> str | None:
    text = json.dumps(definition, sort_keys=True)
    if len(text) > _DEFINITION_BYTES:
        return json.dumps({"TooLong": text[:_DEFINITION_BYTES]})
    return text if definition else None


def _insert(connection: duckdb.DuckDBPyConnection, batch: list[JsonDict]) -> None:
    if not batch:
        return
    shape = ", ".join(
        f'"{name}": "{kind}"'
        for name, kind in connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'setting_versions'"
        ).fetchall()
    )
    connection.execute(
        f"INSERT INTO setting_versions BY NAME SELECT unnest(from_json(?, '[{{{shape}}}]'), recursive := true)",
        [json.dumps(batch)],
    )


def store(
    connection: duckdb.DuckDBPyConnection,
    tables: TableStore,
    work: Path,
    *,
    present: set[str],
    exhibits: Iterable[Given],
) -> int:
    """Compute the versions as a table of the case; return their number."""
    prepare(connection, work, present=present, exhibits=exhibits)
    partial = tables.partial_path(TABLE, SEGMENT)
    connection.execute(
        "COPY (SELECT 0::UTINYINT AS _State, * FROM setting_history ORDER BY Kind, Mailbox, Name, TimeGenerated, _Exhibit, _Position) "
        f"TO {literal(str(partial))} (FORMAT parquet)"
    )
    return results.commit(connection, tables, TABLE, SEGMENT, partial)
