"""What became of every record of every exhibit: the counts, the quarantine, and what could not be read."""

from __future__ import annotations

from collections import Counter
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from mailwitness.models import Exhibit, NotEvaluated, Quarantined

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.readers.blocks import Damage
    from mailwitness.readers.index import RecordIndex
    from mailwitness.readers.text import OffsetMap
    from mailwitness.recognise import Match

# The report shows the first of them; the log in the case has them all.
_KEPT_IN_REPORT = 1000
_START_BYTES = 200
_quoted = encode_basestring_ascii


class Tally(msgspec.Struct, kw_only=True):
    """Counts of one exhibit while it is being loaded."""

    exhibit: Exhibit
    source: str = ""
    tables: Counter[str] = msgspec.field(default_factory=Counter)
    sources: Counter[str] = msgspec.field(default_factory=Counter)
    records: int = 0
    loaded: int = 0
    duplicates: int = 0
    quarantined: int = 0
    salvaged: int = 0
    notes: list[str] = msgspec.field(default_factory=list)

    def count(self, match: Match, table: str, number: int) -> None:
        """Count records that are rows of a table now."""
        self.loaded += number
        self.tables[table] += number
        self.sources[match.name] += number


def _start(content: bytes) -> str:
    """Return what a record begins with, bytes that are no text escaped."""
    # Escaping is dear, and most bytes give a character or more. A character that is cut here would stand behind what is shown.
    few = content[: _START_BYTES + 20].decode("utf-8", "backslashreplace")
    if len(few) < _START_BYTES + 12 and len(content) > _START_BYTES + 20:
        few = content[: _START_BYTES * 4].decode("utf-8", "backslashreplace")
    return few[:_START_BYTES]


class Counts:
    """The tallies of all exhibits, and every record that is in no table."""

    def __init__(self, log: Path) -> None:
        """Take the file that each quarantined record is written to, one JSON object a line."""
        self.tallies: dict[str, Tally] = {}
        self.quarantine: list[Quarantined] = []
        self.not_evaluated: list[NotEvaluated] = []
        self._log = log.open("wb")
        # The file that was looked into last: a tenth of its records may be damaged, and each is shown.
        self._file: tuple[Path, BinaryIO] | None = None

    def open(self, exhibit: Exhibit) -> Tally:
        """Begin to count an exhibit."""
        self.release()
        tally = self.tallies[exhibit.id] = Tally(exhibit=exhibit)
        return tally

    def close(self) -> None:
        """End the log of the quarantine."""
        self._log.close()
        self.release()

    def release(self) -> None:
        """Close the file that was looked into last: it may be about to be removed or written anew."""
        if self._file is not None:
            self._file[1].close()
            self._file = None

    def _opened(self, path: Path) -> BinaryIO:
        if self._file is None or self._file[0] != path:
            self.release()
            self._file = (path, path.open("rb"))
        return self._file[1]

    def quarantine_record(
        self, tally: Tally, number: int, index: RecordIndex, reason: str, content: bytes
    ) -> None:
        """Keep a record whose place the index of the original knows."""
        place = (int(index.lines[number]), int(index.offsets[number]), int(index.lengths[number]))
        self._keep(tally, number, place, reason, content)

    def quarantine_damage(
        self, tally: Tally, number: int, damage: Damage, path: Path, offsets: OffsetMap | None = None
    ) -> None:
        """Keep what stands where a record should be.

        Args:
            tally: counts of its exhibit.
            number: its number, or -1 for what has none.
            damage: its place in ``path``.
            path: the file that was parsed.
            offsets: how places in ``path`` follow from places in the original; None when it is the original.
        """
        handle = self._opened(path)
        handle.seek(damage.offset)
        content = handle.read(min(damage.length, _START_BYTES * 4))
        start, end = damage.offset, damage.offset + damage.length
        if offsets is not None:
            start, end = offsets.original_offset(start), offsets.original_offset(end)
        self._keep(tally, number, (damage.line, start, end - start), damage.reason, content)

    def quarantine_many(self, tally: Tally, damages: list[tuple[int, Damage, bytes]]) -> None:
        """Keep damages of an original with their numbers and what stands at their places."""
        shown = max(0, _KEPT_IN_REPORT - len(self.quarantine))
        for number, damage, content in damages[:shown]:
            place = damage.line, damage.offset, damage.length
            self._keep(tally, number, place, damage.reason, content[: damage.length])
        # The report shows no more of them, and a tenth of a large log may come here.
        rest, exhibit = damages[shown:], _quoted(tally.exhibit.id)
        reasons = {reason: _quoted(reason) for reason in {damage.reason for _, damage, _ in rest}}
        tally.quarantined += len(rest)
        self._log.write(
            "".join(
                f'{{"exhibit": {exhibit}, "record": {number}, "line": {damage.line}, "offset": {damage.offset}, '
                f'"length": {damage.length}, "reason": {reasons[damage.reason]}, '
                f'"start": {_quoted(_start(content[: min(damage.length, _START_BYTES * 4)]))}}}\n'
                for number, damage, content in rest
            ).encode()
        )

    def _keep(
        self, tally: Tally, number: int, place: tuple[int, int, int], reason: str, content: bytes
    ) -> None:
        tally.quarantined += 1
        line, offset, length = place
        kept = Quarantined(
            exhibit=tally.exhibit.id,
            record=number,
            line=line,
            offset=offset,
            length=length,
            reason=reason,
            start=_start(content),
        )
        # A tenth of a large file may come here: pieces that are numbers need no encoder.
        self._log.write(
            f'{{"exhibit": {_quoted(kept.exhibit)}, "record": {kept.record}, "line": {kept.line}, "offset": {kept.offset}, '
            f'"length": {kept.length}, "reason": {_quoted(kept.reason)}, "start": {_quoted(kept.start)}}}\n'.encode()
        )
        if len(self.quarantine) < _KEPT_IN_REPORT:
            self.quarantine.append(kept)

    def forget_quarantine(self, exhibit: Exhibit) -> None:
        """Leave out of the report the records of an input that is none of ours."""
        self.quarantine = [kept for kept in self.quarantine if kept.exhibit != exhibit.id]

    def not_read(self, exhibit: Exhibit, reason: str, remedy: str, *, blocking: bool = True) -> None:
        """Say why nothing of an input was read."""
        self.tallies[exhibit.id].notes.append(reason)
        self.not_evaluated.append(
            NotEvaluated(what=exhibit.path, reason=reason, remedy=remedy, blocking=blocking)
        )
