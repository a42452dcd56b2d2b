"""The tables of the proof, computed while rules that do not read them run.

Most of what they cost on small evidence is planning on one core, and the same is true of the rules.
"""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.proof import ledger, recoverability, settings, visibility
from mailwitness.proof.ledger import Given
from mailwitness.tables import TableStore

if TYPE_CHECKING:
    import duckdb

TABLES = frozenset({ledger.TABLE, recoverability.TABLE, settings.TABLE, visibility.TABLE})


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What the tables are computed from.

    Attributes:
        store: folder of the case's tables.
        work: folder for files between the steps.
        present: tables with rows.
        exhibits: all exhibits of the case.
        activity: view with all acts; MailboxActivity may show fewer by then.
        now: the clock of the run, aware UTC.
    """

    store: Path
    work: Path
    present: frozenset[str]
    exhibits: tuple[Given, ...]
    activity: str
    now: dt.datetime


def activities() -> set[str]:
    """Return the activities of MailboxActivity that the tables are computed from."""
    return ledger.activities() | visibility.activities() | recoverability.activities() | settings.activities()


def columns() -> set[str]:
    """Return the columns of MailboxActivity that the tables are computed from."""
    return ledger.columns() | visibility.columns() | recoverability.columns() | settings.columns()


def queries() -> list[str]:
    """Return what the tables read from public tables: a first pass stores it."""
    return [*ledger.queries(), *visibility.queries(), *recoverability.queries(), *settings.queries()]


class Computing:
    """The tables on their way; whoever reads one waits for all.

    Attributes:
        connection: sees what the tables were computed by, too.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, basis: Basis) -> None:
        """Begin in a thread of its own.

        Args:
            connection: has a view for every table, and the one of all acts.
            basis: see Basis.
        """
        self.connection = connection.cursor()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="proof")
        self._done = self._pool.submit(_compute, self.connection, basis)

    def wait(self) -> None:
        """Return when the tables are there.

        Raises:
            duckdb.Error: a table cannot be computed; the same for everybody who waits.
        """
        self._done.result()

    def close(self) -> None:
        """Let the thread end, and release its connection."""
        self._pool.shutdown(wait=True)
        self.connection.close()


def _compute(connection: duckdb.DuckDBPyConnection, basis: Basis) -> None:
    # A temporary view comes before a lasting one of the same name, and only this connection sees it.
    connection.execute(f"CREATE TEMP VIEW MailboxActivity AS SELECT * FROM {basis.activity}")
    store, present, given = TableStore(basis.store), set(basis.present), basis.exhibits
    ledger.store(connection, store, basis.work, exhibits=given, now=basis.now)
    recoverability.store(connection, store, now=basis.now)
    settings.store(connection, store, basis.work, present=present, exhibits=given)
    visibility.store(connection, store, present=present, now=basis.now, exhibits=given)
