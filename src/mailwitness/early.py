"""What a run needs whatever its settings are, begun before the rest of the program is imported.

Importing takes a third of a second in which one core has nothing to do. By then the databases have read our macros, and
a large file is half hashed.
"""

from __future__ import annotations

import stat
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness.evidence import seal
from mailwitness.readers.index import LinesWhileSealing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    import duckdb

    from mailwitness.evidence.opening import Refused


class Early:
    """Two databases without limits, and the digest of the first large file, on their way.

    Attributes:
        lines: the index of the lines of what is being hashed.
        measured: path -> what sealing asks of it first; whoever seals waits for it.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        """Begin in threads of its own; ``paths`` is the evidence as given."""
        self.lines = LinesWhileSealing()
        self._is_stopped = False
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="early")
        self.measured: dict[Path, Future[seal.Measured | Refused]] = {}
        # A second one would be read while the first one is: a disk gives neither sooner.
        first = next((Path(path) for path in paths if _is_large(Path(path))), None)
        if first is not None:
            self.measured[first] = self._pool.submit(seal.measure, first, self._watch)
        self._loading = self._pool.submit(_loading)
        self._asking = self._pool.submit(_asking)

    def loading(self) -> duckdb.DuckDBPyConnection:
        """Return the database that loads records, without limits; it belongs to the caller, who asks once."""
        return self._loading.result()

    def asking(self) -> duckdb.DuckDBPyConnection:
        """Return the database that rules are asked in, with an empty view of every table; as above."""
        return self._asking.result()

    def close(self) -> None:
        """Stop what nobody will ask for any more."""
        self._is_stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _watch(self, path: Path) -> Callable[[memoryview], None]:
        index = self.lines.watch(path)

        def feed(block: memoryview) -> None:
            if self._is_stopped:
                raise CancelledError
            index(block)

        return feed


def _is_large(path: Path) -> bool:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size >= seal.SMALL_BYTES


def _loading() -> duckdb.DuckDBPyConnection:
    from mailwitness import tables  # noqa: PLC0415 - the database is imported while the main thread does other things

    return tables.new_database(in_order=True, maps=True)


def _asking() -> duckdb.DuckDBPyConnection:
    from mailwitness import tables  # noqa: PLC0415 - as above

    connection = tables.new_database(in_order=False, maps=False)
    # Most views will stay empty.
    tables.create_empty_views(connection)
    return connection
