"""Load large logs whose records span lines in the database: plain events many at once, all others one by one.

A reader offers this by a module with ``EventBatches``: the events of a file, portion by portion. `audit_sql` makes raw keys of their columns.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.compute as pc

from mailwitness.loading import json_line, json_relation
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import also_tables, audit_sql
from mailwitness.tables import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.read_files import Arrivals

_OTHERS, _WANTED, _BRIEF, _FULL = "mw_others", "mw_wanted", "mw_brief", "mw_full"
# Of this mapping's rows it is known which of them its table's parser and its further tables leave out.
_KNOWN = "linux_audit"


def add(intake: Intake, opened: Opened, match: Match, module: Any, arrivals: Arrivals) -> None:  # noqa: ANN401 - a module
    """Load an exhibit whose events are lines that belong together."""
    mapping = intake.writer.mapping(match.mapping, match.table)
    together = also_tables.together(mapping, intake.segments.further(match))
    is_brief = match.mapping == _KNOWN and intake.writer.may_lack(mapping.table, audit_sql.BRIEF)
    batches = module.EventBatches(opened.path, frozenset(together.raw), is_brief=is_brief)
    # The records are read ahead while the database works.
    with ThreadPoolExecutor(1, thread_name_prefix="events") as pool:
        portions = batches.portions()
        coming = pool.submit(next, portions, None)
        while (portion := coming.result()) is not None:
            coming = pool.submit(next, portions, None)
            loading = _Portion(intake, opened, match, together, portion)
            damaged = loading.add(arrivals, is_brief=is_brief)
            loading.add_again(batches.again(portion, damaged), arrivals)
    arrivals.finish()
    intake.save_index(opened, batches.index())


class _Portion:
    """One portion of an exhibit on its way into the tables."""

    def __init__(self, intake: Intake, opened: Opened, match: Match, together: Mapping, portion: Any) -> None:  # noqa: ANN401 - of a reader
        """Take the run, the exhibit, its source, the raw keys of all its tables, and the portion."""
        self._intake = intake
        self._opened = opened
        self._match = match
        self._together = msgspec.structs.replace(
            together, raw=together.raw | dict.fromkeys(audit_sql.STEPS, "VARCHAR")
        )
        self._portion = portion
        self._parts = [opened.exhibit.blake3, opened.exhibit.id, str(portion.first)]
        self._apart = intake.work / f"{opened.exhibit.id}.{portion.first}.lines"

    def add(self, arrivals: Arrivals, *, is_brief: bool) -> list[int]:
        """Load the portion, with brief rows where no rule asks for more; return the numbers of events that were not plain after all."""
        intake, tally = self._intake, self._opened.tally
        others, wanted, brief = self._portion.others, self._portion.wanted, self._portion.brief
        salvaged = sum(table.column("salvaged").to_numpy().sum() for table in (others, wanted, brief))
        apart = self._taken_apart(arrivals)
        started = [item.data["CommandLine"] for _, item in apart if _is_started(item.data)]
        known = audit_sql.commands(intake.connection, (others, wanted), started)
        largest = self._write_apart(apart, known.mails)
        for name, table in zip((_OTHERS, _WANTED, _BRIEF), (*known.tables, brief), strict=True):
            intake.connection.register(name, table)
        self._take_in_full(largest)
        mapping = self._mapping("", known)
        chosen = f"NOT ({audit_sql.IS_BRIEF})" if is_brief else ""
        stored = intake.segments.store(self._parts, mapping, self._relation(mapping, chosen))
        rows = stored.segment.rows + (self._add_brief() if is_brief else 0)
        self._add_further(known, has_full=len(wanted) > 0 or largest > 0)
        intake.connection.execute(f"DROP TABLE {_FULL}")
        for name in (_OTHERS, _WANTED, _BRIEF):
            intake.connection.unregister(name)
        self._apart.unlink(missing_ok=True)
        tally.records += rows
        tally.salvaged += int(salvaged)
        tally.count(self._match, mapping.table, rows)
        return list(stored.damaged)

    def add_again(self, items: Iterable[tuple[int, RawRecord | Damage]], arrivals: Arrivals) -> None:
        """Load events that turned out not to be plain."""
        for number, item in items:
            # Its row was counted as salvaged before, and is again as a record.
            self._opened.tally.salvaged -= isinstance(item, RawRecord) and item.salvaged
            arrivals.put(number, item)

    def _mapping(self, further: str, known: audit_sql.Commands) -> Mapping:
        """Return the mapping of the events' own table or of a further one, with what is known of their commands."""
        mapping = self._intake.writer.mapping(
            further or self._match.mapping, "" if further else self._match.table
        )
        return audit_sql.known_steps(mapping, is_decoded=known.is_decoded)

    def _add_brief(self) -> int:
        """Store the events that no rule asks for more than when and where they were; return how many."""
        mapping = audit_sql.brief_mapping(self._intake.writer.mapping(self._match.mapping, self._match.table))
        exhibit = self._opened.exhibit.id
        relation = audit_sql.brief_relation(mapping.raw, exhibit, _BRIEF)
        relation += " UNION ALL " + audit_sql.brief_relation(
            mapping.raw, exhibit, _OTHERS, audit_sql.IS_BRIEF
        )
        return self._intake.segments.store([*self._parts, "brief"], mapping, relation).segment.rows

    def _add_further(self, known: audit_sql.Commands, *, has_full: bool) -> None:
        """Store the rows that the events give in further tables: a file's are only those of events with all their columns."""
        has_programs = has_full or pc.any(pc.is_valid(known.tables[0].column("command"))).as_py()
        for further in self._match.also:
            mapping = self._mapping(further, known)
            is_of_files = "Path" in mapping.accept
            if has_full if is_of_files else has_programs:
                relation = (
                    self._in_full(mapping) if is_of_files else self._relation(mapping, "command IS NOT NULL")
                )
                self._intake.segments.store_further(mapping, self._parts, relation)

    def _taken_apart(self, arrivals: Arrivals) -> list[tuple[int, RawRecord]]:
        """Return the events that were taken apart; what is damaged goes into quarantine."""
        found = []
        for leftover in self._portion.odd:
            for number, item in leftover.apart:
                if isinstance(item, Damage):
                    arrivals.put(number, item)
                else:
                    found.append((number, item))
            arrivals.lose(leftover.damaged)
        return found

    def _write_apart(self, apart: list[tuple[int, RawRecord]], mails: dict[str, str]) -> int:
        """Write the events that were taken apart as JSON; return the size of the largest."""
        exhibit, tally, largest = self._opened.exhibit.id, self._opened.tally, 0
        if not apart:
            return 0
        with self._apart.open("wb") as handle:
            for number, item in apart:
                own = {EXHIBIT_KEY: exhibit, POSITION_KEY: number, SALVAGED_KEY: item.salvaged}
                mail = mails.get(item.data.get("CommandLine", ""), "") if _is_started(item.data) else ""
                line = json_line(item.data | own | {audit_sql.MAIL: mail})
                handle.write(line + b"\n")
                tally.salvaged += item.salvaged
                largest = max(largest, len(line))
        return largest

    def _relation(self, mapping: Mapping, others: str = "") -> str:
        """Return the SQL of the raw records of the portion that a table is made of: no more keys than it reads.

        Args:
            mapping: of the table.
            others: SQL that says which of the events without all their columns are meant; empty for all.
        """
        raw = {key: self._together.raw[key] for key in mapping.raw}
        exhibit = self._opened.exhibit.id
        own = audit_sql.relation(raw, exhibit, _OTHERS, is_wanted=False, where=others)
        return f"SELECT {_named(raw)} FROM ({own}) UNION ALL {self._in_full(mapping)}"

    @staticmethod
    def _in_full(mapping: Mapping) -> str:
        """Return the SQL of the events with all their columns."""
        return f"SELECT {_named(mapping.raw)} FROM {_FULL}"

    def _take_in_full(self, largest: int) -> None:
        """Make the rows of all columns once for all tables, with what their paths are to a mail system.

        Args:
            largest: size of the largest event that was taken apart; 0 when there is none.
        """
        raw = self._together.raw
        relation = audit_sql.relation(raw, self._opened.exhibit.id, _WANTED, is_wanted=True)
        if largest:
            apart = json_relation([self._apart], self._together, largest=largest, own=True)
            relation = f"SELECT {_named(raw)} FROM ({relation}) UNION ALL SELECT {_named(raw)} FROM ({apart})"
        self._intake.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_FULL} AS {audit_sql.with_paths(raw, relation)}"
        )


def _named(raw: Iterable[str]) -> str:
    """Return the columns of raw keys, of exhibit and position."""
    return ", ".join(identifier(name) for name in (*raw, EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY))


def _is_started(data: dict[str, Any]) -> bool:  # Any: JSON values
    """Tell whether an event has a command line that may be a command for mail, see MailCommand."""
    return bool(data.get("CommandLine") and (data.get("IsExec") or data.get("cmd")))
