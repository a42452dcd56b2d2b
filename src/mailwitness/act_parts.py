"""MailboxActivity in two parts: the few acts of rare operations first, then what fills the log.

Of a million records two hundred are a removed export, a new inbox rule or a weakened audit, and most rules ask for nothing
else. They are computed at once, the rules that ask only for them are run, and whoever waits for the first finding sees it
before the hundred thousand deletions, moves and cmdlets of the service are computed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from mailwitness import activities, occurring
from mailwitness.content import loader
from mailwitness.needs import TABLE, operations_read
from mailwitness.tables import empty, identifier, literal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import duckdb

    from mailwitness.content.schemas import Parser
    from mailwitness.kql import KqlEngine
    from mailwitness.needs import Needs

# So many records are a first part: they are computed and judged in the time that one pass over a large log takes.
MOST_FIRST = 20_000
# One of so many records makes it worth to look through all of them for what those hold.
_MANY = 20
_FIRST = "mw_first_acts"
_ALWAYS = frozenset({"TimeGenerated", "Activity", "ActorType", "_Exhibit", "_Position"})


class Counted:
    """How many records the tables hold, and how often each operation stands in them.

    Attributes:
        rows: table -> number of its rows, of the tables that have any.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, rows: Mapping[str, int]) -> None:
        """Count operations when asked; ``connection`` has a view for every table."""
        self.rows = rows
        self._connection = connection
        self._operations: dict[str, dict[str, tuple[str, int]]] = {}

    def operations(self, table: str) -> dict[str, tuple[str, int]]:
        """Return each operation, as it stands in a table: in lower case, as the database folds it, and its records."""
        if table not in self._operations:
            counted = f"SELECT Operation, lower(Operation), count(*) FROM {identifier(table)} GROUP BY ALL"
            found = self._connection.execute(counted).fetchall()
            self._operations[table] = {str(name): (str(lower), int(count)) for name, lower, count in found}
        return self._operations[table]


class _Share(NamedTuple):
    """What a parser reads: its records by operation, or all of its table where it does not say which it reads.

    Attributes:
        asked: what must hold of a record for somebody to ask for it, as SQL.
        counts: records by operation; by "" where it reads the whole table.
        rows: of the table.
        is_told: the parser says which operations it reads.
    """

    parser: Parser
    asked: list[str]
    counts: dict[str, int]
    rows: int
    is_told: bool


class Parts(NamedTuple):
    """The acts in two parts.

    Attributes:
        first: the SELECT of few acts in all columns, and the activities that they can be; of an activity that the rest cannot be none is
            missing.
        rest: the same of all others, when asked; None when there are no others.
    """

    first: activities.OfOperations
    rest: Callable[[], activities.OfOperations] | None


def parts(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    parsers: Iterable[Parser],
    counted: Counted,
    *,
    now: dt.datetime,
    needed: Needs,
    early: Needs,
    most_first: int = MOST_FIRST,
) -> Parts:
    """Return the acts of all tables that have rows.

    Args:
        connection: has a view for every table.
        engine: translates the parsers.
        parsers: all parsers.
        counted: the records.
        now: the clock of the run.
        needed: parsers that yield none of these activities are left out.
        early: operations that yield none of these activities are left for later.
        most_first: so many records are few.
    """
    asked = [
        parser
        for parser in parsers
        if parser.table in counted.rows and needed.of(parser) & set(parser.activities)
    ]
    shares = [
        share
        for parser in occurring.possible(connection, asked)
        if (share := _share(parser, counted, needed, early)).counts
    ]
    few = _few(shares, most_first)
    others = [share.counts.keys() - names for share, names in zip(shares, few, strict=True)]

    def acts(
        chosen: Iterable[AbstractSet[str]], cursor: duckdb.DuckDBPyConnection
    ) -> activities.OfOperations:
        found = [
            _acts(cursor, engine, share, sorted(names), now=now, is_all=not any(others))
            for share, names in zip(shares, chosen, strict=True)
            if names
        ]
        return activities.OfOperations(
            activities.united([one.sql for one in found]),
            frozenset[str]().union(*(one.activities for one in found)),
            all(one.is_certain for one in found),
            _agreed([one.constants for one in found]),
        )

    return Parts(acts(few, connection), partial(acts, others, connection.cursor()) if any(others) else None)


def _share(parser: Parser, counted: Counted, needed: Needs, early: Needs) -> _Share:
    asked = activities.asked_first(parser, needed, early)
    read, rows = operations_read(parser), counted.rows[parser.table]
    if read is None:
        return _Share(parser, asked, {"": rows}, rows, is_told=False)
    later = set(activities.left_out(parser, activities.first_of(parser, needed, early)))
    counts = {
        name: count
        for name, (lower, count) in counted.operations(parser.table).items()
        if lower in read and name not in later
    }
    return _Share(parser, asked, counts, rows, is_told=True)


def _few(shares: list[_Share], most: int) -> list[set[str]]:
    """Return of each share the operations of the first part: the rarest, as many as are few together."""
    listed = sorted(
        (count, i, name) for i, share in enumerate(shares) for name, count in share.counts.items()
    )
    found: list[set[str]] = [set() for _ in shares]
    total = 0
    for count, i, name in listed:
        total += count
        if total > most:
            break
        found[i].add(name)
    return found


def _acts(
    connection: duckdb.DuckDBPyConnection,
    engine: KqlEngine,
    share: _Share,
    names: list[str],
    *,
    now: dt.datetime,
    is_all: bool,
) -> activities.OfOperations:
    parser = share.parser
    of_some = share.is_told and not is_all
    holds = [f"Operation IN ({activities.in_list(names)})", *share.asked] if of_some else share.asked
    relation = f"SELECT * FROM {identifier(parser.table)} WHERE {' AND '.join(holds)}" if holds else ""
    if of_some:
        return activities.of_operations(
            connection,
            engine,
            parser,
            names,
            now=now,
            relation=relation,
            # To look through all records costs more than a few acts.
            is_looked_through=sum(map(share.counts.__getitem__, names)) * _MANY > share.rows,
        )
    return activities.of_all(connection, engine, parser, now=now, relation=relation)


def _agreed(constants: list[Mapping[str, str]]) -> dict[str, str]:
    """Return what is the same in all of some sets of constants."""
    first, *others = constants or [{}]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


class Stored:
    """The acts that were computed, shown as MailboxActivity.

    Attributes:
        shown: activities that MailboxActivity shows; what was computed besides must not change what rules count.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        needed: set[str],
        shown: set[str],
        named: set[str],
    ) -> None:
        """Compute nothing yet.

        Args:
            connection: has a view for every table.
            needed: activities that a run names.
            shown: those that rules name.
            named: columns that a run names; the others are shown empty.
        """
        self._connection = connection
        self._needed = needed
        self.shown = shown
        self._columns = [column.name for column in activities.columns() if column.name in named | _ALWAYS]

    def first(self, acts: activities.OfOperations) -> None:
        """Compute few acts, and show them."""
        self._connection.execute(f"CREATE TABLE {_FIRST} AS {self._kept(acts, self._columns)}")
        self._show(_FIRST)

    def rest(self, acts: activities.OfOperations, path: Path) -> None:
        """Compute the other acts into a Parquet file, and show all.

        A file instead of memory: a case of ten million records must fit into the same limit as a small one. What is the same in all
        acts, such as the host of acts in a cloud, is not written: that took three quarters of the time of writing.
        """
        stored = [name for name in self._columns if name not in acts.constants]
        self._connection.execute(
            f"COPY ({self._kept(acts, stored)}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 61440)"
        )
        shown = ", ".join(
            identifier(name) if name in stored else f"{literal(acts.constants[name])} AS {identifier(name)}"
            for name in self._columns
        )
        self._show(
            f"(SELECT * FROM {_FIRST} UNION ALL SELECT {shown} FROM read_parquet({literal(str(path))}))"
        )

    def held(self) -> set[str]:
        """Return the computed activities of which there is an act."""
        found = self._connection.execute(f"SELECT DISTINCT Activity FROM {activities.COMPUTED}").fetchall()
        return {str(row[0]) for row in found}

    def _kept(self, acts: activities.OfOperations, columns: Iterable[str]) -> str:
        listed = ", ".join(map(identifier, columns))
        return f"SELECT {listed} FROM ({acts.sql}) WHERE {self._asked(acts)}"

    def _asked(self, acts: activities.OfOperations) -> str:
        """Return what must hold of an act that a run names."""
        if not acts.is_certain:
            listed = activities.in_list(sorted(self._needed)) or "''"
            return f"Activity IN ({listed})"
        # Few activities are not asked; to compare each act with sixty that are costs a tenth of computing it.
        return _none_of(acts.activities - self._needed)

    def _show(self, relation: str) -> None:
        present = set(self._columns)
        columns = ", ".join(
            identifier(one.name) if one.name in present else f"{empty(one)} AS {identifier(one.name)}"
            for one in loader.tables()[TABLE].columns
        )
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {activities.COMPUTED} AS SELECT {columns} FROM {relation}"
        )
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {TABLE} AS SELECT * FROM {activities.COMPUTED} WHERE {_none_of(self._needed - self.shown)}"
        )


def _none_of(names: AbstractSet[str]) -> str:
    """Return SQL that holds for an act of none of some activities."""
    return f"Activity NOT IN ({activities.in_list(sorted(names))})" if names else "true"
