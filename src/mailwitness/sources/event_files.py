"""Load large logs whose records span lines in the database: plain events many at once, all others one by one.

A reader offers this by a module with ``EventBatches``: the events of a file, portion by portion. `audit_sql` makes raw keys of their columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.loading import json_line, json_relation
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import also_tables, audit_sql
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.read_files import Arrivals

_OTHERS, _WANTED = "mw_others", "mw_wanted"


def add(intake: Intake, opened: Opened, match: Match, module: Any, arrivals: Arrivals) -> None:  # noqa: ANN401 - a module
    """Load an exhibit whose events are lines that belong together."""
    mapping = intake.writer.mapping(match.mapping, match.table)
    together = also_tables.together(mapping, intake.segments.further(match))
    batches = module.EventBatches(opened.path, frozenset(together.raw))
    number = 0
    while batches.has_more():
        _Portion(intake, opened, match, together, number).add(batches, arrivals)
        number += 1
    arrivals.finish()
    intake.save_index(opened, batches.index())


class _Portion:
    """One portion of an exhibit on its way into the tables."""

    def __init__(self, intake: Intake, opened: Opened, match: Match, together: Mapping, number: int) -> None:
        """Take the run, the exhibit, its source, the raw keys of all its tables, and the number of the portion."""
        self._intake = intake
        self._opened = opened
        self._match = match
        self._together = together
        self._parts = [opened.exhibit.blake3, opened.exhibit.id, str(number)]
        self._apart = intake.work / f"{opened.exhibit.id}.{number}.lines"

    def add(self, batches: Any, arrivals: Arrivals) -> None:  # noqa: ANN401 - of a reader
        """Load the next portion."""
        intake, tally = self._intake, self._opened.tally
        others, wanted = batches.portion()
        salvaged = sum(table.column("salvaged").to_numpy().sum() for table in (others, wanted))
        largest = self._write_apart(batches, arrivals)
        intake.connection.register(_OTHERS, others)
        intake.connection.register(_WANTED, wanted)
        relation = self._relation(len(wanted), largest)
        mapping = intake.writer.mapping(self._match.mapping, self._match.table)
        stored = intake.segments.store(self._parts, mapping, relation)
        for further in intake.segments.further(self._match):
            if self._has_rows(further, relation):
                intake.segments.store_further(further, self._parts, relation)
        for name in (_OTHERS, _WANTED):
            intake.connection.unregister(name)
        self._apart.unlink(missing_ok=True)
        tally.records += stored.segment.rows
        tally.salvaged += int(salvaged)
        tally.count(self._match, mapping.table, stored.segment.rows)
        for number, item in batches.again(list(stored.damaged)):
            # Its row was counted as salvaged above, and is again as a record.
            tally.salvaged -= isinstance(item, RawRecord) and item.salvaged
            arrivals.put(number, item)

    def _write_apart(self, batches: Any, arrivals: Arrivals) -> int:  # noqa: ANN401 - of a reader
        """Write the events that were taken apart as JSON; return the size of the largest."""
        exhibit, tally, largest = self._opened.exhibit.id, self._opened.tally, 0
        handle = None
        while batches.odd:
            number, item = batches.odd.popleft()
            if isinstance(item, Damage):
                arrivals.put(number, item)
                continue
            handle = handle or self._apart.open("wb")
            line = json_line(
                item.data | {EXHIBIT_KEY: exhibit, POSITION_KEY: number, SALVAGED_KEY: item.salvaged}
            )
            handle.write(line + b"\n")
            tally.salvaged += item.salvaged
            largest = max(largest, len(line))
        if handle is not None:
            handle.close()
        return largest

    def _relation(self, wanted: int, largest: int) -> str:
        """Return the SQL of the raw records of the portion."""
        raw, exhibit = self._together.raw, self._opened.exhibit.id
        pieces = [audit_sql.relation(raw, exhibit, _OTHERS, is_wanted=False)]
        if wanted:
            pieces.append(audit_sql.relation(raw, exhibit, _WANTED, is_wanted=True))
        if largest:
            names = ", ".join(identifier(name) for name in (*raw, EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY))
            pieces.append(
                f"SELECT {names} FROM ({json_relation([self._apart], self._together, largest=largest, own=True)})"
            )
        return " UNION ALL ".join(pieces)

    def _has_rows(self, mapping: Mapping, relation: str) -> bool:
        """Tell whether a further table gets rows: writing none would cost as much as writing some."""
        query = f"SELECT 1 FROM ({relation}) WHERE {mapping.accept} LIMIT 1"
        return bool(self._intake.connection.execute(query).fetchall())
