"""Load what has a reader of its own: binary formats, logs whose records span lines, mail stores."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from mailwitness.loading import json_line
from mailwitness.readers import index as line_index
from mailwitness.readers.blocks import Damage
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import limits
from mailwitness.sources.routing import has_required, required_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened


def add(intake: Intake, opened: Opened, match: Match) -> None:
    """Load an exhibit through the reader of its source: records with their places, and what is damaged."""
    reader = importlib.import_module(f"mailwitness.readers.{match.reader}")
    if hasattr(reader, "pieces"):
        intake.event_logs.take(opened, match)
        return
    if opened.path.stat().st_size >= limits.BULK_BYTES and hasattr(reader, "bulk"):
        with opened.path.open("rb") as handle:
            converter = reader.bulk(handle.read(1024 * 1024))
        if converter:
            module = importlib.import_module(f"mailwitness.readers.{converter}")
            way = "event_files" if hasattr(module, "EventBatches") else "line_files"
            # Both are slow to import; only large logs pay for it.
            loading = importlib.import_module(f"mailwitness.sources.{way}")
            loading.add(intake, opened, match, module, Arrivals(intake, opened, match))
            return
    arrivals = Arrivals(intake, opened, match)
    for item in _items(intake, opened, reader):
        arrivals.take(item)
    arrivals.finish()


class Arrivals:
    """The items of one reader on their way into the tables."""

    def __init__(self, intake: Intake, opened: Opened, match: Match) -> None:
        """Take the run, the exhibit and its source."""
        self._intake = intake
        self._opened = opened
        self._match = match
        self._mapping = intake.writer.mapping(match.mapping, match.table)
        self._places: list[tuple[int, int, int]] = []
        self._assumed: Counter[str] = Counter()

    def take(self, item: Any) -> None:  # noqa: ANN401 - an item of any reader
        """Count the next item, and load it or keep it in quarantine."""
        number = len(self._places)
        self._places.append((item.offset, item.length, item.line))
        self.put(number, item)

    def put(self, number: int, item: Any) -> None:  # noqa: ANN401 - an item of any reader
        """Count an item whose number and place are known, and load it or keep it in quarantine."""
        self._opened.tally.records += 1
        if isinstance(item, Damage):
            self._quarantine(number, item)
        else:
            self._load(number, item)

    def lose(self, damages: list[tuple[int, Damage, bytes]]) -> None:
        """Count damages with their numbers and what stands at their places, and keep them in quarantine."""
        opened = self._opened
        opened.tally.records += len(damages)
        if opened.offsets is None:
            self._intake.counts.quarantine_many(opened.tally, damages)
            return
        for number, damage, _ in damages:
            self._quarantine(number, damage)

    def stored(self, count: int, salvaged: int) -> None:
        """Count records that became rows many at once."""
        tally = self._opened.tally
        tally.records += count
        tally.salvaged += salvaged
        tally.count(self._match, self._mapping.table, count)

    def _load(self, number: int, item: Any) -> None:  # noqa: ANN401 - a record of any reader
        mapping, tally, exhibit = self._mapping, self._opened.tally, self._opened.exhibit
        inner = {key: value for key, value in item.data.items() if key in mapping.raw or self._match.also}
        if not has_required(inner, mapping):
            self._quarantine(
                number, Damage(item.offset, item.length, item.line, f"it lacks {required_name(mapping)}")
            )
            return
        if note := item.data.get("TimeNote"):
            self._assumed[note] += 1
        inner[EXHIBIT_KEY], inner[POSITION_KEY], inner[SALVAGED_KEY] = exhibit.id, number, item.salvaged
        tally.salvaged += item.salvaged
        self._intake.segments.batch(self._match, mapping).add(json_line(inner), exhibit.blake3)
        tally.count(self._match, mapping.table, 1)

    def _quarantine(self, number: int, damage: Damage) -> None:
        opened = self._opened
        self._intake.counts.quarantine_damage(opened.tally, number, damage, opened.path, opened.offsets)

    def finish(self) -> None:
        """Hand on the rest, and save where the records stand."""
        self._opened.tally.notes += [
            f"{count} records: {note}" for note, count in self._assumed.most_common(3)
        ]
        if self._places:
            self._intake.save_index(self._opened, line_index.from_places(self._places))


def _items(intake: Intake, opened: Opened, reader: Any) -> Iterator[Any]:  # noqa: ANN401 - a module
    """Ask a reader for its items.

    Mail stores tell mailbox, folder and flags by the names of their files, which sealing may have replaced. The same
    message in two folders is there twice, whatever its bytes say.
    """
    path, exhibit = opened.path, opened.exhibit
    if hasattr(reader, "read_beside"):
        yield from reader.read_beside(
            path, exhibit.path, lambda suffix: intake.neighbours.beside(exhibit, suffix)
        )
    elif hasattr(reader, "read_named"):
        yield from reader.read_named(path, exhibit.path)
        if getattr(reader, "EACH_PLACE_COUNTS", False):
            intake.placed.add(exhibit.id)
            for name in intake.neighbours.others.get(exhibit.id, []):
                yield from reader.read_named(path, name)
    else:
        yield from reader.read(path)
