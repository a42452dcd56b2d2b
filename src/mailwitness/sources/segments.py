"""Write rows as segments: records of many small inputs together, further tables of the same records beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.loading import json_relation
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import limits
from mailwitness.tables import literal

if TYPE_CHECKING:
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
        relation = json_relation([batch.path], batch.mapping, largest=batch.largest, own=True)
        stored = self.store(parts, batch.mapping, relation)
        if stored.damaged:
            message = f"{len(stored.damaged)} prepared records did not load into {batch.mapping.table}"
            raise AssertionError(message)
        for mapping in batch.also:
            self.store_further(
                mapping,
                parts,
                json_relation([batch.path], mapping, largest=batch.largest, own=True),
            )
        batch.path.unlink()

    def store(self, parts: list[str], mapping: Mapping, relation: str, exhibit: str = "") -> Stored:
        """Write the records of ``relation`` as one segment.

        Args:
            parts: digests of what the rows come from.
            mapping: how records become rows.
            relation: SQL of the raw records.
            exhibit: exhibit of all rows; empty when the records carry it.
        """
        stored = self.writer.store_rows(relation, mapping, self.writer.name(parts, mapping), exhibit=exhibit)
        self.written.append((mapping.table, stored.segment.name))
        return stored

    def withdraw(self, stored: Stored) -> None:
        """Take back a segment that turned out not to be what the file says."""
        segment = stored.segment
        self.written.remove((segment.table, segment.name))
        self.writer.store.path(segment).with_suffix(".json").unlink()

    def store_further(self, mapping: Mapping, parts: list[str], relation: str, exhibit: str = "") -> int:
        """Store the rows that the same records give in a further table; return how many."""
        if not exhibit and mapping.accept != "true":
            # Rows that carry their position need no placeholders for the records of other tables.
            relation = f"SELECT * FROM ({relation}) WHERE {mapping.accept}"
        if mapping.each:
            if exhibit:
                own = f"{literal(exhibit)} AS {EXHIBIT_KEY}, row_number() OVER () - 1 AS {POSITION_KEY}, false AS {SALVAGED_KEY}"
                relation, exhibit = f"SELECT *, {own} FROM ({relation})", ""
            relation = f"SELECT *, unnest({mapping.each}) AS mw_each FROM ({relation})"
        stored = self.writer.store_rows(relation, mapping, self.writer.name(parts, mapping), exhibit=exhibit)
        if stored.segment.rows:
            self.written.append((mapping.table, stored.segment.name))
        return stored.segment.rows
