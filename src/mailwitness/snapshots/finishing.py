"""Putting the parts of a snapshot together: doubles taken out, digests salted, a few parts in memory at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import tables
from mailwitness.proof import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

# A row group of the finished file is made of so many parts.
_PARTS_AT_ONCE = 2
_MEMORY = "256MB"


def put_together(parts: Sequence[Path], work: Path, target: Path, values: dict[str, str]) -> tuple[int, int]:
    """Write the finished file; return the number of its messages and of the mailboxes that hold nothing.

    Args:
        parts: files of records in the order in which they were taken.
        work: folder for temporary files.
        target: the file to write.
        values: SQL literals for ``at``, ``mailbox``, ``name`` and ``salt``.
    """
    with tempfile.TemporaryDirectory(prefix="mailwitness-", dir=work) as temporary:
        connection = tables.connect(memory=_MEMORY, threads=1, temporary=Path(temporary))
        try:
            statements.run(
                connection,
                "finish.sql",
                values | {"parts": _listed(parts)},
                package="mailwitness.snapshots",
            )
            _write(_kept(connection, parts), target)
            counted = connection.execute(
                "SELECT count(*) FILTER (NOT IsFolder), count(DISTINCT Mailbox) FILTER (IsFolder) FROM "
                f"(SELECT Mailbox, StoreKind = 'folder statistics' AS IsFolder FROM read_parquet({_listed([target])}))"
            ).fetchall()[0]
        finally:
            connection.close()
    return int(counted[0]), int(counted[1])


def _listed(parts: Sequence[Path]) -> str:
    return "[" + ", ".join(tables.literal(str(part)) for part in parts) + "]"


def _kept(connection: duckdb.DuckDBPyConnection, parts: Sequence[Path]) -> Iterator[pa.Table]:
    for start in range(0, len(parts), _PARTS_AT_ONCE):
        few = _listed(parts[start : start + _PARTS_AT_ONCE])
        yield connection.sql(f"SELECT * FROM kept_of({few})").to_arrow_table()


def _write(kept: Iterator[pa.Table], target: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import

    first = next(kept)
    with pq.ParquetWriter(target, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in kept:
            writer.write_table(table)
