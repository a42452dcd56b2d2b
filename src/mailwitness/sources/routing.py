"""Send records one by one to their tables: those of small inputs, and those that the database refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.loading import Lines, json_line
from mailwitness.readers import csv_shape, salvage
from mailwitness.readers import index as line_index
from mailwitness.readers.blocks import UTF8_BOM, is_utf8
from mailwitness.readers.csv_records import CsvShape
from mailwitness.readers.index import RecordIndex
from mailwitness.recognise import base_name, folded, unwrap
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.sources import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened

Record = dict[str, Any]  # Any: a parsed JSON object or CSV row
# Numbers of records, and why they are none.
Decided = dict[int, str]
NOT_PARSED = "it cannot be parsed"


class Records(msgspec.Struct, frozen=True):
    """Where the records of an exhibit stand, and how they are written.

    Attributes:
        path: file that is parsed: the original, its UTF-8 form, or its records written one a line.
        index: their places in that file; None when each is one line of it.
        original: their places in the sealed original.
        mended: records that could only be parsed after control characters in their strings were escaped.
        shape: delimiter and header of a CSV table; None for JSON.
    """

    path: Path
    index: RecordIndex | None
    original: RecordIndex
    mended: frozenset[int] = frozenset()
    shape: CsvShape | None = None

    @property
    def form(self) -> str:
        """Return the format as sources name it."""
        return "json" if self.shape is None else "csv"


def route_all(intake: Intake, opened: Opened, at: Records) -> None:
    """Send every record of an exhibit to its table; an input of which no record is known is not recognised."""
    route(intake, opened, at, range(len(at.original)))
    tally = opened.tally
    if tally.records and tally.loaded == 0 and not tally.sources:
        intake.counts.forget_quarantine(opened.exhibit)
        tally.notes.append(f"{tally.records} records of an unknown kind")
        looks_like = "JSON of an unknown kind" if at.shape is None else "a table of an unknown kind"
        first = _first_record(at)
        intake.not_recognised(opened, first, looks_like, read_record(first, at.shape)[0])


def _first_record(at: Records) -> bytes:
    if not len(at.original):
        return b""
    index = line_index.index_lines(at.path).records if at.index is None else at.index
    return index.read(at.path, 0, limits.SHOWN_RECORD_BYTES)


def route(
    intake: Intake,
    opened: Opened,
    at: Records,
    numbers: Sequence[int],
    decided: Decided | None = None,
) -> None:
    """Look, record by record, at what the database does not get or refused.

    Args:
        intake: the run.
        opened: the exhibit.
        at: where its records stand.
        numbers: which ones, ascending.
        decided: why some of them are no records, where that is known already.
    """
    if not numbers:
        return
    index = line_index.index_lines(at.path).records if at.index is None else at.index
    lines = Lines(at.path)
    for number in numbers:
        length = min(int(index.lengths[number]), limits.LARGEST_RECORD_BYTES + 1)
        content = lines.read(int(index.offsets[number]), length)
        if decided and (reason := decided.get(number)):
            intake.counts.quarantine_record(opened.tally, number, at.original, reason, content)
        else:
            _route_one(intake, opened, at, number, content)
    lines.close()


def _route_one(intake: Intake, opened: Opened, at: Records, number: int, content: bytes) -> None:
    """Send one record to its table, or to quarantine with the reason."""
    found = _prepared(intake, at, number, content)
    if isinstance(found, str):
        intake.counts.quarantine_record(opened.tally, number, at.original, found, content)
        return
    _put(intake, opened, number, *found)


def _put(intake: Intake, opened: Opened, number: int, inner: Record, match: Match, salvaged: bool) -> None:
    mapping = intake.writer.mapping(match.mapping, match.table)
    exhibit = opened.exhibit
    inner[EXHIBIT_KEY], inner[POSITION_KEY], inner[SALVAGED_KEY] = exhibit.id, number, salvaged
    intake.segments.batch(match, mapping).add(json_line(inner), exhibit.blake3)
    opened.tally.salvaged += salvaged
    opened.tally.count(match, mapping.table, 1)


def put_row(intake: Intake, opened: Opened, match: Match, number: int, record: Record) -> bool:
    """Send a row that no text of its own stands for to its table; False when it lacks what a row must have."""
    mapping = intake.writer.mapping(match.mapping, match.table)
    inner, _ = _inner(intake, record, match, mapping, number)
    if inner is None or not has_required(inner, mapping):
        return False
    _put(intake, opened, number, inner, match, salvaged=False)
    return True


def _prepared(intake: Intake, at: Records, number: int, content: bytes) -> tuple[Record, Match, bool] | str:
    """Return the raw keys of a record, its source and whether it was salvaged; or why there is none."""
    if len(content) > limits.LARGEST_RECORD_BYTES:
        return f"the record is longer than {limits.LARGEST_RECORD_BYTES // (1024 * 1024)} MiB"
    record, salvaged = read_record(content, at.shape)
    match = intake.recogniser.match(record, at.form) if record else None
    if match is None:
        return "it is not a record of a known source" if record and not salvaged else NOT_PARSED
    mapping = intake.writer.mapping(match.mapping, match.table)
    inner, partial = _inner(intake, record, match, mapping, number)
    if inner is None or not has_required(inner, mapping):
        return f"it lacks {required_name(mapping)}"
    return inner, match, salvaged or partial or number in at.mended


def _inner(
    intake: Intake, record: Record, match: Match, mapping: Mapping, number: int
) -> tuple[Record | None, bool]:
    """Unwrap a record, fill its gaps from outside and spell its keys as the mapping does."""
    value = unwrap(record, match.record)
    partial = False
    if isinstance(value, str):
        value, partial = read_record(value.encode("utf-8", "surrogatepass"), None)
        partial = partial or not value
    if not isinstance(value, dict):
        value = {}
    if match.mapping == "table_export":
        if match.prepare:
            value = intake.preparer(match).prepare({base_name(key): cell for key, cell in value.items()})
        return _table_row(record, value, match, mapping), partial
    if match.prepare:
        preparer = intake.preparer(match)
        preparer.number = number
        return preparer.prepare(value), partial
    keys = [*mapping.raw, *(key for further in intake.segments.further(match) for key in further.raw)]
    names = {key.lower(): key for key in reversed(keys)}
    inner = {names[key.strip().lower()]: item for key, item in value.items() if key.strip().lower() in names}
    for outer, key in match.outer:
        if inner.get(key) in (None, "") and folded(record, outer) not in (None, ""):
            inner[key] = folded(record, outer)
    return inner, partial


def _table_row(record: Record, value: Record, match: Match, mapping: Mapping) -> Record:
    """Return the row of an exported table under the names of its columns."""
    names = {key.lower(): key for key in mapping.raw}
    inner = {
        names[base_name(key)]: _cell(cell)
        for key, cell in value.items()
        if base_name(key) in names and cell not in ("", None)
    }
    return inner | {
        key: record[outer]
        for outer, key in match.outer
        if key in mapping.raw and not inner.get(key) and record.get(outer)
    }


def parse(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value of a line; None when it is none."""
    try:
        return msgspec.json.decode(line.removeprefix(UTF8_BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def read_record(content: bytes, shape: CsvShape | None) -> tuple[Record, bool]:
    """Parse one record; the second value says that only parts of it could be read."""
    if shape is not None:
        # Bytes that are no text become a sign that says so: the rest of the record is what it was.
        return _read_row(content, shape), not is_utf8(content)
    value = parse(content)
    if isinstance(value, dict):
        return value, False
    return salvage.salvage_json(content)


def _read_row(content: bytes, shape: CsvShape) -> Record:
    """Parse one CSV record; a row with another number of cells than the header is damaged."""
    lines = content.decode("utf-8", "replace").splitlines(keepends=True)
    row = csv_shape.parse_row(iter(lines), shape.delimiter)
    if row is None or row.lines != len(lines) or len(row.cells) != len(shape.header):
        return {}
    return dict(zip(csv_shape.unique_names(shape.header), row.cells, strict=True))


def _cell(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Keep a table cell as its text; objects stay objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def has_required(record: Record, mapping: Mapping) -> bool:
    """Tell whether a record has one of the keys without which it says nothing."""
    keys = [
        key
        for name in mapping.required
        for key in ([name] if name in mapping.raw else re.findall(r'"([^"]+)"', name))
    ]
    return any(record.get(key) not in (None, "") for key in keys)


def required_name(mapping: Mapping) -> str:
    """Name what a record must have, for people."""
    return " and ".join(mapping.required) if mapping.required[0] in mapping.raw else "a time"
