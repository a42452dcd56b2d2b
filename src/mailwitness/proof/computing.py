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
        connection: sees what the tables were computed by, too; those of visibility by another.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, basis: Basis, *, at_once: bool = True) -> None:
        """Begin in threads of their own.

        Args:
            connection: has a view for every table, and the one of all acts.
            basis: see Basis.
            at_once: what needs nothing of each other is computed at the same time; otherwise one after the other, which takes less memory.
        """
        self.connection = connection.cursor()
        self._other = connection.cursor()
        self._pool = ThreadPoolExecutor(2 if at_once else 1, thread_name_prefix="proof")
        self._done = [
            self._pool.submit(_compute_messages, self.connection, basis),
            self._pool.submit(_compute_visibility, self._other, basis),
        ]

    def wait(self) -> None:
        """Return when the tables are there.

        Raises:
            duckdb.Error: a table cannot be computed; the same for everybody who waits.
        """
        for done in self._done:
            done.result()

    def close(self) -> None:
        """Let the threads end, and release their connections."""
        self._pool.shutdown(wait=True)
        self.connection.close()
        self._other.close()


def _show_all(connection: duckdb.DuckDBPyConnection, basis: Basis) -> None:
    # A temporary view comes before a lasting one of the same name, and only this connection sees it.
    connection.execute(f"CREATE TEMP VIEW MailboxActivity AS SELECT * FROM {basis.activity}")


def _compute_messages(connection: duckdb.DuckDBPyConnection, basis: Basis) -> None:
    """Compute what is said of single messages, and the history of settings, which asks what became of them."""
    _show_all(connection, basis)
    store, given = TableStore(basis.store), basis.exhibits
    ledger.store(connection, store, basis.work, exhibits=given, now=basis.now)
    recoverability.store(connection, store, now=basis.now)
    settings.store(connection, store, basis.work, present=set(basis.present), exhibits=given)


def _compute_visibility(connection: duckdb.DuckDBPyConnection, basis: Basis) -> None:
    _show_all(connection, basis)
    visibility.store(
        connection,
        TableStore(basis.store),
        present=set(basis.present),
        now=basis.now,
        exhibits=basis.exhibits,
    )
