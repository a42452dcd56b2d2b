"""Load exhibits one after the other and keep count of every record."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.loading import Writer
from mailwitness.models import Exhibit
from mailwitness.neighbours import Neighbours
from mailwitness.own_sources import NONE, Own
from mailwitness.readers import csv_records, json_records, text, text_document
from mailwitness.readers.index import LinesWhileSealing
from mailwitness.recognise import Recogniser
from mailwitness.sources import json_files, read_files, repeats, table_files, unknown
from mailwitness.sources.counts import Counts, Tally
from mailwitness.sources.event_logs import EventLogs
from mailwitness.sources.indexes import Indexes
from mailwitness.sources.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.loading import Wanted
    from mailwitness.models import NotEvaluated, Quarantined
    from mailwitness.readers.index import RecordIndex
    from mailwitness.recognise import Match
    from mailwitness.tables import TableStore

# So much of a file is looked at to recognise it.
_HEAD_BYTES = 1024 * 1024
_PARQUET_MAGIC = b"PAR1"
_AS_IT_IS = {"utf-8", "utf-8-sig", "ascii"}


class Opened(msgspec.Struct, frozen=True):
    """An exhibit while it is read.

    Attributes:
        exhibit: the sealed input.
        tally: its counts.
        path: the file that is parsed: the original or its UTF-8 form.
        offsets: how places in the original follow from places in ``path``; None when they are the same.
    """

    exhibit: Exhibit
    tally: Tally
    path: Path
    offsets: text.OffsetMap | None = None


class Intake:
    """What all ways of loading share: the database, the sources, the counts and the segments of a run."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: TableStore,
        *,
        wanted: Wanted | None,
        work: Path,
        index_folder: Path,
        sealed_lines: LinesWhileSealing | None = None,
        own: Own = NONE,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Take the case's store, what to store (None: everything), folders for temporary files and indexes, what sealing saw, and more.

        ``own`` are sources beside the shipped ones, ``neighbours`` the exhibits by name.
        """
        self.connection = connection
        self.store = store
        self.work = work
        self.indexes = Indexes(index_folder)
        self.sealed_lines = sealed_lines or LinesWhileSealing()
        self.neighbours = neighbours or Neighbours()
        self.writer = Writer(connection, store, wanted, own.mappings)
        self.recogniser = Recogniser(own.sources, own.mappings)
        self.counts = Counts(work / "quarantine.jsonl")
        self.segments = Segments(self.writer, work)
        self.spans: dict[str, tuple[str, str]] = {}
        # Exhibits whose further places have become records of their own.
        self.placed: set[str] = set()
        self.event_logs = EventLogs(self)
        self._preparers: dict[str, Any] = {}  # Any: the preparers of readers, of the exhibit being read

    @property
    def tallies(self) -> dict[str, Tally]:
        """Return the counts of each exhibit by its id."""
        return self.counts.tallies

    @property
    def quarantine(self) -> list[Quarantined]:
        """Return the first records that are in no table."""
        return self.counts.quarantine

    @property
    def not_evaluated(self) -> list[NotEvaluated]:
        """Return what could not be read."""
        return self.counts.not_evaluated

    # -- one exhibit -------------------------------------------------------------------------

    def add(self, exhibit: Exhibit) -> None:
        """Recognise and load one exhibit.

        Damage inside the exhibit never raises: it is counted and kept in quarantine.
        """
        tally = self.counts.open(exhibit)
        self._preparers.clear()
        opened = Opened(exhibit, tally, exhibit.location)
        head = _head(exhibit.location)
        if database := self.neighbours.database_of(exhibit, head):
            tally.notes.append(f"read together with {database}")
        elif not head:
            self.counts.not_read(exhibit, "the file is empty", "Check how it was collected.")
        elif head[:4] == _PARQUET_MAGIC:
            table_files.add_parquet(self, opened)
        elif match := self.recogniser.match_start(head, is_text=False, name=exhibit.path):
            read_files.add(self, opened, match)
        else:
            self._add_text(opened, head)

    def _add_text(self, opened: Opened, head: bytes) -> None:
        exhibit = opened.exhibit
        binary = unknown.binary_kind(head)
        encoding = text.detect_encoding(head)
        if binary:
            self.not_recognised(opened, head, binary)
        elif encoding in _AS_IT_IS:
            self._add_decoded(opened, head)
        else:
            path = self.work / f"{exhibit.id}.utf8"
            offsets = text.to_utf8(exhibit.location, path, encoding)
            opened.tally.notes.append(f"decoded from {encoding.upper()}")
            self._add_decoded(Opened(exhibit, opened.tally, path, offsets), _head(path))
            path.unlink(missing_ok=True)

    def _add_decoded(self, opened: Opened, head: bytes) -> None:
        """Load text in UTF-8 by what it begins with."""
        name = opened.exhibit.path
        if match := self.recogniser.match_start(head, is_text=True, name=name):
            read_files.add(self, opened, match)
        elif kind := json_records.sniff_json(head):
            json_files.add(self, opened, kind)
        elif shape := csv_records.sniff_csv(head):
            table_files.add_csv(self, opened, shape)
        else:
            kind_of_text = text_document.describe(opened.path, name)
            looks_like = "binary data" if unknown.is_binary(head) else kind_of_text.looks_like
            self.not_recognised(opened, head, looks_like, blocking=kind_of_text.blocking)

    # -- for the ways of loading -------------------------------------------------------------

    def not_recognised(
        self, opened: Opened, head: bytes, looks_like: str, keys: Iterable[str] = (), *, blocking: bool = True
    ) -> None:
        """Say that no source knows an input, what it looks like, how it begins, and which source comes nearest."""
        near = unknown.nearest(self.recogniser, head, keys) if blocking else ""
        words = [f"it looks like {looks_like}", unknown.first_bytes(head)]
        words.append(f"the nearest is {near}" if near else "no source comes near")
        self.counts.not_read(
            opened.exhibit,
            f"not recognised: {'; '.join(words if blocking else words[:1])}",
            "Compare it with `mailwitness sources`." if blocking else "Nothing is lost; leave it out.",
            blocking=blocking,
        )

    def preparer(self, match: Match) -> Any:  # noqa: ANN401 - a Preparer of any reader
        """Return the preparer of the exhibit being read; it remembers what earlier records of that exhibit said."""
        if match.prepare not in self._preparers:
            module = importlib.import_module(f"mailwitness.readers.{match.prepare}")
            self._preparers[match.prepare] = module.Preparer()
        return self._preparers[match.prepare]

    def save_index(self, opened: Opened, index: RecordIndex) -> RecordIndex:
        """Save and return where the records stand in the original.

        Args:
            opened: the exhibit.
            index: where they stand in the file that is parsed.
        """
        saved = index if opened.offsets is None else opened.offsets.original_index(index)
        self.indexes.save(opened.exhibit, saved)
        return saved

    # -- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Load what is still waiting, drop segments of earlier runs, and mark duplicates."""
        self.event_logs.load()
        self.segments.flush()
        self.indexes.flush()
        self.counts.close()
        current = set(self.segments.written)
        for segment in list(self.store.segments()):
            if (segment.table, segment.name) not in current:
                self.store.remove(segment)
        for table in sorted(self.store.tables()):
            repeats.mark_duplicates(self, table)
        repeats.note_times(self)
        self.spans = repeats.spans(self)


def _head(path: Path) -> bytes:
    # Asked for more than there is, memory for all of it would be prepared.
    size = path.stat().st_size
    with path.open("rb") as handle:
        return handle.read(min(size, _HEAD_BYTES))
