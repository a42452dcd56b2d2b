"""What a run needs whatever its evidence holds, made ready while the evidence is being sealed.

Sealing keeps the disk and one core busy; opening two databases with our macros and reading our queries takes as long
as investigating a small file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from mailwitness import findings, tables
from mailwitness.kql import words
from mailwitness.open_case import early, needed, queries, question_queries

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    import duckdb

    from mailwitness.content.pack import Pack
    from mailwitness.early import Early


class Ahead:
    """Two databases on their way; whoever needs one waits for it."""

    def __init__(self, early: Early, knowledge: Pack, *, memory: str, threads: int, temporary: Path) -> None:
        """Begin in a thread of its own.

        Args:
            early: makes the databases.
            knowledge: the content of the run.
            memory: limit of each database, such as ``1GB``.
            threads: worker threads of each.
            temporary: folder for what does not fit into memory.
        """
        limit = partial(tables.limit, memory=memory, threads=threads, temporary=temporary)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._loading = self._pool.submit(_limited, early.loading, limit)
        self._read = self._pool.submit(_read, knowledge)
        self._asking = self._pool.submit(_limited, early.asking, limit)

    def loading(self) -> duckdb.DuckDBPyConnection:
        """Return the database that loads records; it belongs to the caller, who asks once."""
        connection = self._loading.result()
        self._read.result()
        return connection

    def asking(self) -> duckdb.DuckDBPyConnection:
        """Return the database that rules are asked in; it belongs to the caller, who asks once."""
        return self._asking.result()

    def close(self) -> None:
        """Release what nobody asked for; what was asked for is its caller's."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for made in (self._loading, self._asking):
            _release(made)


def _limited(
    made: Callable[[], duckdb.DuckDBPyConnection], limit: Callable[[duckdb.DuckDBPyConnection], None]
) -> duckdb.DuckDBPyConnection:
    connection = made()
    limit(connection)
    return connection


def _release(made: Future[duckdb.DuckDBPyConnection]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()


def _read(knowledge: Pack) -> None:
    """Take all queries apart once: what was found about them is remembered."""
    for query in [*queries(knowledge), *question_queries(knowledge)]:
        words(query)
    needed(knowledge)
    early(knowledge)
    for rule in knowledge.rules:
        findings.taken_apart(rule.query)
