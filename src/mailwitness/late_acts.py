"""Acts that only chains, the proof and the questions ask for: computed when they do, and only for whom they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness import activities
from mailwitness.tables import identifier

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    import duckdb

    from mailwitness.content.schemas import Parser
    from mailwitness.kql import KqlEngine
    from mailwitness.needs import Needs

_PLACE = "TimeGenerated, _Exhibit, _Position"
_NOWHERE = "NULL::TIMESTAMP AS TimeGenerated, '' AS _Exhibit, 0::BIGINT AS _Position"


class Later:
    """Acts that are only computed when they are asked: of a case's accounts, or where many stand close together.

    Attributes:
        activities: those of these acts.
        shown: activities that MailboxActivity shows; the computed acts may be more.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        engine: KqlEngine,
        parsers: Iterable[Parser],
        present: set[str],
        *,
        now: dt.datetime,
        needed: Needs,
        early: Needs,
    ) -> None:
        """Take the same as :func:`act_parts.parts`: what it leaves out although it is needed is what is asked here."""
        self._connection = connection
        self._engine = engine
        self._now = now
        self.activities: set[str] = set()
        self.shown: set[str] = set()
        self._operations: list[tuple[Parser, dict[str, list[str]]]] = []
        for parser in parsers:
            later = needed.of(parser) - activities.first_of(parser, needed, early)
            names = {activity: listed for activity, listed in parser.bulk.items() if activity in later}
            if parser.table in present and names:
                self._operations.append((parser, names))
                self.activities |= names.keys()

    def sql(self, *, asked: str = "true", places: str = "", among: Iterable[str] = ()) -> str:
        """Return the SELECT that gives the acts, in all columns.

        Args:
            asked: SQL over the columns that the parsers name as keys; acts for which it does not hold are left out.
            places: the table of the records (_Exhibit, _Position) of which the acts are wanted; empty for all.
            among: only acts of these activities; empty for all.
        """
        parts = [
            activities.parser_sql(self._connection, self._engine, parser, now=self._now, relation=relation)
            for parser, relation in self._relations(asked, places, set(among) or self.activities)
        ]
        listed = ", ".join(identifier(column.name) for column in activities.columns())
        kept = activities.in_list(sorted(self.activities)) or "''"
        return f"SELECT {listed} FROM ({activities.united(parts)}) WHERE Activity IN ({kept})"

    def keys(self, *, among: Iterable[str] = ()) -> str:
        """Return the SELECT that gives the place and the keys of every act, which costs a small part of the acts.

        With ``among``, of all acts of these activities, those too that were computed at the start.
        """
        named = set(among)
        parts = [sql for _, _, sql in self._keyed(named or self.activities)]
        if named:
            listed = f"{_PLACE}, {', '.join(sorted(activities.KEYS))}"
            parts.append(
                f"SELECT {listed} FROM {activities.COMPUTED} WHERE Activity IN ({activities.in_list(sorted(named))})"
            )
        nothing = ", ".join(f"'' AS {column}" for column in sorted(activities.KEYS))
        return " UNION ALL ".join(parts) or f"SELECT {_NOWHERE}, {nothing} WHERE false"

    def _relations(self, asked: str, places: str, among: set[str]) -> Iterator[tuple[Parser, str]]:
        for parser, rows, keyed in self._keyed(among):
            relation = f"SELECT * {rows}"
            if asked != "true":
                chosen = f"SELECT (_Exhibit, _Position) FROM ({keyed}) WHERE {asked}"
                relation += f" AND (_Exhibit, _Position) IN ({chosen})"
            if places:
                relation = f"SELECT * FROM ({relation}) SEMI JOIN {places} USING (_Exhibit, _Position)"
            yield parser, relation

    def _keyed(self, among: set[str]) -> list[tuple[Parser, str, str]]:
        """Return every parser that yields some of the activities, with its rows and their keys as SQL."""
        keyed = []
        for parser, names in self._operations:
            if not among & names.keys():
                continue
            operations = activities.in_list(
                name for one in sorted(among & names.keys()) for name in names[one]
            )
            rows = f"FROM {identifier(parser.table)} WHERE Operation IN ({operations})"
            keys = ", ".join(f"{sql} AS {column}" for column, sql in sorted(parser.keys.items()))
            keyed.append((parser, rows, f"SELECT {_PLACE}, {keys} {rows}"))
        return keyed

    def held(self, counted: Callable[[str], Iterable[str]]) -> set[str]:
        """Return the activities of which there is a record; ``counted`` gives the operations that a table holds."""
        return {
            activity
            for parser, names in self._operations
            for activity, operations in names.items()
            if not set(operations).isdisjoint(counted(parser.table))
        }
