"""What only the whole of the tables shows: repeated records, rows without a time, first and last time of each exhibit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.content import loader
from mailwitness.loading import identity_column
from mailwitness.models import NotEvaluated
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from mailwitness.content.schemas import Column
    from mailwitness.sources.intake import Intake

# Where a row stands, also among the results of the search that found it: another search gives the same record another number.
_PLACES = frozenset({"_Exhibit", "_Position", "_Salvaged", "ResultIndex", "ResultCount"})


def mark_duplicates(intake: Intake, table: str) -> None:
    """List the rows of a table that repeat an earlier row's identity, and count them as duplicates."""
    path = intake.store.duplicates_path(table)
    path.unlink(missing_ok=True)
    column = identity_column(table)
    if not column:
        return
    view = intake.store.view_sql(table, loader.tables()[table].columns, raw=True)
    key = identifier(column)
    # Comparing hashes first keeps the common case, no duplicates, to one narrow scan.
    repeated = intake.connection.execute(
        f"SELECT count(*) FROM (SELECT hash({key}) AS h FROM ({view}) WHERE {key} <> '' GROUP BY h HAVING count(*) > 1)"
    ).fetchall()[0][0]
    if not repeated:
        return
    # The same id with other content is two records: only what no rule could tell apart is a duplicate.
    content = ", ".join(identifier(c.name) for c in loader.tables()[table].columns if c.name not in _PLACES)
    partial = path.with_name(path.name + ".tmp-new")
    intake.connection.execute(
        f"""COPY (SELECT _Exhibit, _Position FROM (
              SELECT _Exhibit, _Position, row_number() OVER (
                PARTITION BY {key}, hash({content}) ORDER BY try_cast(substr(_Exhibit, 2) AS BIGINT), _Position) AS n
              FROM ({view}) WHERE {key} <> '' AND hash({key}) IN (
                SELECT hash({key}) FROM ({view}) WHERE {key} <> '' GROUP BY 1 HAVING count(*) > 1))
            WHERE n > 1) TO {literal(str(partial))} (FORMAT parquet)"""
    )
    partial.replace(path)
    counted = intake.connection.execute(
        f"SELECT _Exhibit, count(*) FROM read_parquet({literal(str(path))}) GROUP BY 1"
    ).fetchall()
    for exhibit, count in counted:
        intake.tallies[exhibit].duplicates += count
        intake.tallies[exhibit].loaded -= count


def note_times(intake: Intake) -> None:
    """Say where records came without a readable time: time rules cannot see them."""
    for table in sorted(intake.store.tables()):
        view = intake.store.view_sql(table, _times(table))
        missing = intake.connection.execute(
            f"SELECT _Exhibit, count(*) FROM ({view}) WHERE TimeGenerated IS NULL GROUP BY 1"
        ).fetchall()
        for exhibit, count in missing:
            tally = intake.tallies[exhibit]
            tally.notes.append(f"{count} records have no readable time")
            intake.counts.not_evaluated.append(
                NotEvaluated(
                    what=f"{count} records of {tally.exhibit.path} by time",
                    reason="their time cannot be read",
                    remedy="Look at them with `mailwitness query` and report the time format.",
                    blocking=False,
                )
            )


def _times(table: str) -> list[Column]:
    """Return the columns that tell when a row of a table was and where it stands."""
    named = {"TimeGenerated", "_Exhibit", "_Position"}
    return [column for column in loader.tables()[table].columns if column.name in named]


def spans(intake: Intake) -> dict[str, tuple[str, str]]:
    """Return first and last event time of each exhibit, ISO 8601 UTC."""
    found: dict[str, tuple[str, str]] = {}
    for table in sorted(intake.store.tables()):
        view = intake.store.view_sql(table, _times(table), raw=True)
        cursor = intake.connection.execute(
            f"SELECT _Exhibit, strftime(min(TimeGenerated), '%Y-%m-%dT%H:%M:%SZ'), "
            f"strftime(max(TimeGenerated), '%Y-%m-%dT%H:%M:%SZ') FROM ({view}) GROUP BY 1"
        )
        for exhibit, first, last in cursor.fetchall():
            if first:
                old = found.get(exhibit, (first, last))
                found[exhibit] = (min(old[0], first), max(old[1], last))
    return found
