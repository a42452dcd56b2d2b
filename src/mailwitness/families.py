"""Families of records: what the evidence cannot show because that kind of record is not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.content.pack import Family
    from mailwitness.content.schemas import Parser


class Absent(NamedTuple):
    """What cannot be shown: activity -> reason, and the reasons for which no verdict waits, by why it does not."""

    reasons: dict[str, str]
    of_host: set[str]
    apart: set[str]


def absent(
    connection: duckdb.DuckDBPyConnection,
    families: Iterable[Family],
    parsers: Iterable[Parser],
    present: set[str],
) -> Absent:
    """Say which activities no record of the case can show, and why.

    Args:
        connection: has a view for every table.
        families: kinds of record.
        parsers: tell what the tables without families show.
        present: tables with rows.
    """
    known = list(families)
    told = {family.table for family in known}
    elsewhere = {
        activity for parser in parsers if parser.table in present - told for activity in parser.activities
    }
    shown: set[str] = set()
    missing: dict[str, str] = {}
    host: dict[str, str] = {}
    apart: dict[str, str] = {}
    for family in known:
        if family.table in present and _holds(connection, family.table, family.column, family.record_types):
            shown |= set(family.activities)
        elif family.table in present or _is_missed(connection, family, present):
            target = host if family.host else apart if family.apart else missing
            target |= dict.fromkeys(family.activities, _reason(family))
    found = {activity: reason for activity, reason in missing.items() if activity not in shown}
    shown |= elsewhere | found.keys()
    of_host = {activity: reason for activity, reason in host.items() if activity not in shown}
    aside = {activity: reason for activity, reason in apart.items() if activity not in shown}
    return Absent(aside | of_host | found, set(of_host.values()), set(aside.values()))


def _reason(family: Family) -> str:
    if family.host:
        return f"this host's logging could not have shown it: the evidence holds no {family.name}"
    return f"the evidence holds no {family.name}"


def _is_missed(connection: duckdb.DuckDBPyConnection, family: Family, present: set[str]) -> bool:
    return "Syslog" in present and any(
        _holds(connection, "Syslog", column, values) for column, values in family.beside.items()
    )


def _holds(connection: duckdb.DuckDBPyConnection, table: str, column: str, values: list[str]) -> bool:
    listed = ", ".join(literal(value) for value in values)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {identifier(table)} WHERE {identifier(column)} IN ({listed}) LIMIT 1)"
    return bool(connection.execute(sql).fetchall()[0][0])
