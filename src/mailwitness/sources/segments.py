"""Write rows as segments: records of many small inputs together, further tables of the same records beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mailwitness.loading import json_relation
from mailwitness.sources import also_tables, limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mailwitness.content.schemas import Mapping
    from mailwitness.loading import Stored, Writer
    from mailwitness.recognise import Match


class Batch:
    """Records of many small inputs on their way into one segment."""

    def __init__(self, number: int, path: Path, mapping: Mapping, also: list[Mapping]) -> None:
        """Collect records in ``path`` for one mapping, and further ones of the same records."""
        self.number = number
        self.path = path
        self.mapping = mapping
        self.also = also
        self.exhibits: list[str] = []
        self.largest = 0
        self.size = 0
        self.handle = path.open("wb")

    def add(self, line: bytes, digest: str) -> None:
        """Append one record."""
        self.add_lines([line], digest)

    def add_lines(self, lines: list[bytes], digest: str) -> None:
        """Append several records."""
        text = b"\n".join(lines)
        self.handle.write(text + b"\n" if lines else b"")
        self.largest = max(self.largest, max(map(len, lines), default=0))
        self.size += len(text)
        if not self.exhibits or self.exhibits[-1] != digest:
            self.exhibits.append(digest)


class Segments:
    """The segments of one run, and the batches that will be some of them."""

    def __init__(self, writer: Writer, work: Path) -> None:
        """Take what writes segments, and a folder for temporary files."""
        self.writer = writer
        self.written: list[tuple[str, str]] = []
        self._work = work
        self._batches: dict[tuple[str, str, tuple[str, ...]], Batch] = {}
        self._number = 0

    def batch(self, match: Match, mapping: Mapping) -> Batch:
        """Return the batch that records of a source and table go to."""
        key = (match.mapping, mapping.table, match.also)
        batch = self._batches.get(key)
        if batch is not None and batch.size > limits.BATCH_BYTES:
            self._flush(batch)
            batch = None
        if batch is None:
            self._number += 1
            path = self._work / f"batch{self._number}.lines"
            batch = self._batches[key] = Batch(self._number, path, mapping, self.further(match))
        return batch

    def further(self, match: Match) -> list[Mapping]:
        """Return the mappings of the further tables that the records of a source give rows to."""
        return [self.writer.mapping(name, "") for name in match.also]

    def flush(self) -> None:
        """Write everything that is still waiting."""
        for batch in self._batches.values():
            self._flush(batch)
        self._batches.clear()

    def _flush(self, batch: Batch) -> None:
        batch.handle.close()
        parts = [*batch.exhibits, str(batch.number)]
        together = also_tables.together(batch.mapping, batch.also)
        relation = json_relation([batch.path], together, largest=batch.largest, own=True)
        stored = self.store(parts, batch.mapping, relation, also=batch.also)
        if stored.damaged:
            message = f"{len(stored.damaged)} prepared records did not load into {batch.mapping.table}"
            raise AssertionError(message)
        self.store_also(stored, together, batch.also, parts)
        batch.path.unlink()

    def store(
        self,
        parts: list[str],
        mapping: Mapping,
        relation: str,
        exhibit: str = "",
        also: Sequence[Mapping] = (),
    ) -> Stored:
        """Write the records of ``relation`` as one segment.

        Args:
            parts: digests of what the rows come from.
            mapping: how records become rows.
            relation: SQL of the raw records.
            exhibit: exhibit of all rows; empty when the records carry it.
            also: further tables of these records, whose raw keys the relation has too; `store_also` makes them.
        """
        carried = also_tables.carried(also)
        relation = also_tables.marked(relation, also)
        stored = self.writer.store_rows(
            relation, mapping, self.writer.name(parts, mapping), exhibit=exhibit, carried=carried
        )
        self.written.append((mapping.table, stored.segment.name))
        return stored

    def withdraw(self, stored: Stored) -> None:
        """Take back a segment that turned out not to be what the file says."""
        segment = stored.segment
        self.written.remove((segment.table, segment.name))
        self.writer.store.path(segment).with_suffix(".json").unlink()

    def store_also(
        self, stored: Stored, together: Mapping, also: Sequence[Mapping], parts: list[str]
    ) -> dict[str, int]:
        """Make the further tables of records that were stored; return how many rows each got.

        Args:
            stored: the segment of the records' own table.
            together: the mapping of that table with the raw keys of all, see `also_tables`.
            also: the mappings of the further tables.
            parts: digests of what the rows come from.
        """
        segment = stored.segment
        file = self.writer.store.path(segment)
        rows = {}
        for mapping in also:
            relation = also_tables.relation(file, together, mapping, segment.exhibit)
            # Structures are taken apart in half the time when they come from a table instead of a file.
            self.writer.connection.execute(f"CREATE OR REPLACE TEMP TABLE mw_also AS {relation}")
            rows[mapping.id] = self.store_further(mapping, parts, "SELECT * FROM mw_also")
        self.writer.connection.execute("DROP TABLE IF EXISTS mw_also")
        return rows

    def store_further(self, mapping: Mapping, parts: list[str], relation: str) -> int:
        """Store the rows that the same records, which carry exhibit and position, give in a further table; return how many."""
        name = self.writer.name(parts, mapping)
        if mapping.accept != "true":
            # Rows that carry their position need no placeholders for the records of other tables.
            relation = f"SELECT * FROM ({relation}) WHERE {mapping.accept}"
            mapping = msgspec.structs.replace(mapping, accept="true")
        if mapping.each:
            relation = f"SELECT *, unnest({mapping.each}) AS mw_each FROM ({relation})"
        stored = self.writer.store_rows(relation, mapping, name)
        if stored.segment.rows:
            self.written.append((mapping.table, stored.segment.name))
        return stored.segment.rows
