"""Load large text logs line by line in the database: usual lines many at once, all others one by one.

A reader offers this by a module with ``SCHEMA`` and ``split`` (the columns of a chunk), ``KIND_OF`` (SQL of the number of each
line's kind in ``KINDS``), ``GROUPS`` (kinds that are written together) with ``instead`` (their derived columns) and ``RELATION`` (SQL from
these columns, in `mw_lines`, to the raw keys of the mapping), ``RELATION_WHOLE`` (the same for lines of no kind), ``COLUMNS`` and
``WITHOUT`` (what changes in the mapping), and ``other`` (how anything else is read).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

from mailwitness.loading import Lines
from mailwitness.readers import index as line_index
from mailwitness.readers import line_batches, syslog_time
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY, derived_columns
from mailwitness.sources import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mailwitness.content.schemas import Mapping
    from mailwitness.readers.line_batches import Places
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.sources.read_files import Arrivals

# So much of a log is given to the database at once.
PORTION_BYTES = 64 << 20
# Records that no usual line is are looked at in such portions.
_PORTION = 20_000

_OWN = [
    pa.field(EXHIBIT_KEY, pa.string()),
    pa.field(POSITION_KEY, pa.int64()),
    pa.field(SALVAGED_KEY, pa.bool_()),
]


def add(intake: Intake, opened: Opened, match: Match, module: Any, arrivals: Arrivals) -> None:  # noqa: ANN401 - a module
    """Load an exhibit of one record for each line, or for a line and the indented ones behind it."""
    exhibit, tally = opened.exhibit, opened.tally
    mapping = _mapping(intake, match, module)
    lines = line_batches.LineBatches(opened.path, module.SCHEMA, module.split)
    digests = [exhibit.blake3, exhibit.id]
    rows = records = 0
    others: list[int] = []
    for number, table in enumerate(lines.portions(PORTION_BYTES)):
        kinds = _kinds(intake, table, module)
        rows += _store_groups(
            intake, exhibit.id, mapping, module, [*digests, str(number)], (table, kinds, records)
        )
        others += (np.flatnonzero(kinds >= len(module.KINDS)) + records).tolist()
        records += len(kinds)
    places = lines.places()
    left = _Left(opened, places, others, module)
    if left.records:
        schema = pa.schema([*module.SCHEMA, *_OWN])
        intake.connection.register("mw_lines", pa.RecordBatchReader.from_batches(schema, left.batches()))
        rows += intake.segments.store([*digests, "whole"], mapping, module.RELATION_WHOLE).segment.rows
    intake.connection.unregister("mw_lines")
    if rows + len(left.others) != len(places[0]):
        message = f"{rows} and {len(left.others)} rows came out of {len(places[0])} records of {exhibit.path}"
        raise AssertionError(message)
    tally.records += rows
    tally.count(match, mapping.table, rows)
    left.read_others(arrivals)
    arrivals.finish()
    intake.save_index(opened, left.index())
    left.close()


def _kinds(intake: Intake, table: pa.Table, module: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - a module
    """Return the number of each line's kind, in the order of the lines."""
    intake.connection.register("mw_lines", table)
    kinds: NDArray[np.uint8] = intake.connection.execute(module.KIND_OF).fetchnumpy()["kind"]
    if len(kinds) != len(table):
        # The number of a row is the number of its record; anything else would prove one line by another.
        message = f"{len(kinds)} kinds came out of {len(table)} lines"
        raise AssertionError(message)
    return kinds


def _store_groups(
    intake: Intake,
    exhibit: str,
    mapping: Mapping,
    module: Any,  # noqa: ANN401 - a module
    parts: list[str],
    portion: tuple[pa.Table, NDArray[np.uint8], int],
) -> int:
    """Store the lines of a portion that are of a kind, each group with the columns it fills; return how many there were.

    Args:
        intake: the run.
        exhibit: id of the exhibit.
        mapping: how lines of all kinds become rows.
        module: the reader's.
        parts: digests of what the rows come from.
        portion: lines, their kinds, and the number of the first.
    """
    table, kinds, first = portion
    rows = 0
    for group in module.GROUPS:
        chosen = np.flatnonzero(np.isin(kinds, [module.KINDS.index(kind) for kind in group]))
        if len(chosen):
            instead = module.instead(derived_columns(mapping.table), group)
            shown = pa.DictionaryArray.from_arrays(pa.array(kinds[chosen]), pa.array(module.KINDS))
            _register(intake, exhibit, line_batches.taken(table, chosen), chosen + first, shown)
            of_group = msgspec.structs.replace(mapping, instead=instead)
            rows += intake.segments.store([*parts, *group], of_group, module.RELATION).segment.rows
    return rows


def _register(
    intake: Intake, exhibit: str, table: pa.Table, numbers: NDArray[np.int64], kinds: pa.Array
) -> None:
    """Give lines to the database with their kinds, the exhibit and their numbers."""
    own = (
        pa.array([exhibit] * len(numbers)),
        pa.array(numbers),
        pa.array(np.zeros(len(numbers), dtype=np.bool_)),
    )
    table = table.append_column("mw_kind", kinds)
    for field, column in zip(_OWN, own, strict=True):
        table = table.append_column(field, column)
    intake.connection.register("mw_lines", table)


def _mapping(intake: Intake, match: Match, module: Any) -> Mapping:  # noqa: ANN401 - a module
    mapping = intake.writer.mapping(match.mapping, match.table)
    columns = {name: sql for name, sql in mapping.columns.items() if name not in module.WITHOUT}
    return msgspec.structs.replace(mapping, columns=columns | module.COLUMNS)


class _Left:
    """The records that were left out at first: lines that need all patterns, other forms, damage."""

    def __init__(
        self,
        opened: Opened,
        places: list[Places],
        records: list[int],
        module: Any,  # noqa: ANN401 - a module
    ) -> None:
        """Take the places of all records of an exhibit, and the numbers of those that were left out."""
        self._exhibit = opened.exhibit.id
        self._places = places
        self.records = records
        self._module = module
        self._years = syslog_time.Years(opened.path)
        self._content = Lines(opened.path)
        self.others: list[int] = []
        self._further: list[tuple[int, int, int]] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the usual lines among them with their numbers; all other rows are null, and remembered."""
        schema = pa.schema([*self._module.SCHEMA, *_OWN])
        for start in range(0, len(self.records), _PORTION):
            numbers = np.array(self.records[start : start + _PORTION], dtype=np.int64)
            # A blank line between them keeps records apart that begin with a blank.
            text = b"\n".join(self._text(number).rstrip(b"\n") + b"\n" for number in numbers.tolist())
            rows = self._module.split(line_batches.find(memoryview(text)))
            self.others += numbers[rows.column(0).is_null().to_numpy(zero_copy_only=False)].tolist()
            own = [
                pa.array([self._exhibit] * len(numbers)),
                pa.array(numbers),
                pa.array(np.zeros(len(numbers), dtype=np.bool_)),
            ]
            yield pa.RecordBatch.from_arrays([*rows.columns, *own], schema=schema)

    def read_others(self, arrivals: Arrivals) -> None:
        """Read what is no usual line one by one; what a record holds beyond one becomes a record behind all others."""
        offsets, lengths, lines = self._places
        for record in self.others:
            place = int(offsets[record]), int(lengths[record]), int(lines[record])
            for nth, item in enumerate(self._module.other(self._text(record), place, self._years)):
                if nth:
                    arrivals.put(len(offsets) + len(self._further), item)
                    self._further.append((item.offset, item.length, item.line))
                else:
                    arrivals.put(record, item)
                    offsets[record], lengths[record] = item.offset, item.length

    def _text(self, record: int) -> bytes:
        offsets, lengths, _ = self._places
        return self._content.read(
            int(offsets[record]), min(int(lengths[record]), limits.LARGEST_RECORD_BYTES)
        )

    def index(self) -> line_index.RecordIndex:
        """Return the places of all records."""
        more = np.array(self._further, dtype=np.uint64).reshape(-1, 3)
        pieces = [[column.astype(np.uint64), more[:, i]] for i, column in enumerate(self._places)]
        return line_index.build_index(*pieces)

    def close(self) -> None:
        """Release the file."""
        self._content.close()
