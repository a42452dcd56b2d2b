"""Load JSON: large files through SQL alone, all others record by record."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from mailwitness.loading import Lines, identity_column, json_relation, line_options
from mailwitness.readers import index as line_index
from mailwitness.readers import json_records
from mailwitness.recognise import TABLE_HINTS, unwrap
from mailwitness.sources import also_tables, limits, mended_lines, plain_json, plain_records, routing
from mailwitness.sources.routing import Records, parse
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.content.schemas import Mapping
    from mailwitness.readers.index import RecordIndex
    from mailwitness.recognise import Match
    from mailwitness.sources.intake import Intake, Opened
    from mailwitness.tables import Segment

_SAMPLE_RECORDS = 200
# Rows of each large file whose place is checked against the file.
_CHECKED_ROWS = 100


def add(intake: Intake, opened: Opened, kind: str) -> None:
    """Load an exhibit of JSON records.

    Args:
        intake: the run.
        opened: the exhibit.
        kind: ``ndjson`` when each line is a record; else the records are first written one a line.
    """
    lines_path, at, longest = _lines(intake, opened) if kind == "ndjson" else _split(intake, opened)
    opened.tally.records += len(at.original)
    is_small = opened.path.stat().st_size < limits.SMALL_BYTES
    if is_small or not _load_lines(intake, opened, lines_path, at, longest):
        routing.route_all(intake, opened, at)
    if not opened.tally.records:
        # A reply with an empty list, or nothing but blank lines: nothing was lost, and nothing was seen.
        intake.counts.not_read(opened.exhibit, "it holds no records", "Check how it was collected.")
    if lines_path not in {opened.path, opened.exhibit.location}:
        lines_path.unlink(missing_ok=True)


def _lines(intake: Intake, opened: Opened) -> tuple[Path, Records, int]:
    """Return the file of lines that the database reads, where they stand, and the length of the longest."""
    path = opened.path
    known = intake.sealed_lines.take(path) if path == opened.exhibit.location else None
    lines = known or line_index.index_lines(path)
    index, lines_path, longest = lines.records, path, lines.longest
    if lines.longest > limits.LARGEST_RECORD_BYTES or line_index.needs_rewrite(path, lines):
        lines_path, longest = _rewritten(intake, opened, index), limits.LARGEST_RECORD_BYTES
    return lines_path, Records(path, index, intake.save_index(opened, index)), longest


def _split(intake: Intake, opened: Opened) -> tuple[Path, Records, int]:
    """Write the records of arrays and pretty-printed objects one a line."""
    target = intake.work / f"{opened.exhibit.id}.lines"
    split = json_records.split_json(opened.path, target, max_record=limits.LARGEST_RECORD_BYTES)
    for damage in split.damaged:
        intake.counts.quarantine_damage(opened.tally, -1, damage, opened.path, opened.offsets)
    opened.tally.records += len(split.damaged)
    # A split file is parsed from its lines: there rows have names, and control characters are escaped.
    at = Records(target, None, intake.save_index(opened, split.index), frozenset(split.mended))
    return target, at, int(split.index.lengths.max(initial=0)) + 1024


def _rewritten(intake: Intake, opened: Opened, index: RecordIndex) -> Path:
    """Write the lines anew with ``{}`` for those the database must not see; the order stays."""
    target = intake.work / f"{opened.exhibit.id}.lines"
    largest = limits.LARGEST_RECORD_BYTES
    lines = Lines(opened.path)
    with target.open("wb") as out:
        for offset, length in zip(index.offsets.tolist(), index.lengths.tolist(), strict=True):
            line = b"{}" if length > largest else lines.read(offset, length)
            sound = length <= largest and isinstance(parse(line), dict)
            out.write((line if sound else b"{}") + b"\n")
    lines.close()
    return target


def _load_lines(intake: Intake, opened: Opened, path: Path, at: Records, longest: int) -> bool:
    """Load a large file through SQL alone; False when its records need the Python path."""
    match = _match_sample(intake, path)
    if match is None or "." in match.record:
        return False
    if match.prepare:
        return plain_records.module_of(match) is not None and plain_json.add(intake, opened, match, path, at)
    mapping = intake.writer.mapping(match.mapping, match.table)
    if not _has_exact_keys(path, match, mapping) or (
        match.mapping == "table_export" and _has_several_tables(intake, path, longest)
    ):
        return False
    exhibit, tally = opened.exhibit, opened.tally
    parts = [exhibit.blake3, exhibit.id]

    also = intake.segments.further(match)
    together = also_tables.together(mapping, also)
    relation = json_relation(
        [path],
        together,
        largest=longest,
        own=False,
        record=match.record,
        outer=match.outer,
    )
    stored = intake.segments.store(parts, mapping, relation, exhibit.id, also)
    if stored.rows != len(at.original) or not _is_aligned(intake, stored.segment, path, at):
        # One row for each line, in the order of the file, did not hold: positions would lie. Go the slow, exact way.
        intake.segments.withdraw(stored)
        tally.notes.append("loaded record by record because of its damage")
        return False
    tally.count(match, mapping.table, stored.segment.rows)
    # These rows are in the table already; that their text was mended is counted.
    tally.salvaged += len(at.mended - set(stored.damaged))
    rows = intake.segments.store_also(stored, together, also, parts)
    for further in also:
        if mapping.accept != "true":
            # The tables share the records between them: each record is a row of exactly one.
            tally.count(match, further.table, rows[further.id])
    left, refused = mended_lines.load(intake, opened, match, at, stored.damaged)
    routing.route(intake, opened, at, left, refused)
    return True


def _is_aligned(intake: Intake, segment: Segment, path: Path, at: Records) -> bool:
    """Compare the ids of rows spread over a segment with the lines they should come from."""
    column = identity_column(segment.table)
    if not column or not len(at.original):
        return True
    index = line_index.index_lines(path).records if at.index is None else at.index
    numbers = sorted({len(index) * i // _CHECKED_ROWS for i in range(_CHECKED_ROWS)} | {len(index) - 1})
    listed = ", ".join(str(number) for number in numbers)
    found = intake.connection.execute(
        f"SELECT file_row_number, {identifier(column)} FROM read_parquet({literal(str(intake.store.path(segment)))}, "
        f"file_row_number = true) WHERE file_row_number IN ({listed})"
    ).fetchall()
    # Ids with characters that JSON may escape are left out of the comparison.
    plain = [(number, value) for number, value in found if re.fullmatch(r"[\w.@-]+", value, re.ASCII)]
    return all(
        value.encode() in index.read(path, number, limits.LARGEST_RECORD_BYTES) for number, value in plain
    )


def _has_exact_keys(path: Path, match: Match, mapping: Mapping) -> bool:
    """Tell whether keys are spelled as the mapping does: the database matches them exactly."""
    known = {key.lower(): key for key in mapping.raw}
    with path.open("rb") as handle:
        for line in handle.readlines(1024 * 1024)[:_SAMPLE_RECORDS]:
            record = parse(line)
            inner = unwrap(record, match.record) if isinstance(record, dict) else None
            inner = parse(inner.encode()) if isinstance(inner, str) else inner
            if isinstance(inner, dict) and any(known.get(key.lower(), key) != key for key in inner):
                return False
    return True


def _has_several_tables(intake: Intake, path: Path, longest: int) -> bool:
    """Tell whether the rows of an export name more than one table: a row has nothing else that would be missed."""
    columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in TABLE_HINTS) + "}"
    hint = "concat(" + ", '|', ".join(identifier(name) for name in TABLE_HINTS) + ")"
    return bool(
        intake.connection.execute(
            f"SELECT count(DISTINCT {hint}) FILTER ({hint} <> '||') > 1 FROM read_json({literal(str(path))}, "
            f"columns = {columns}, {line_options(longest)})"
        ).fetchall()[0][0]
    )


def _match_sample(intake: Intake, path: Path) -> Match | None:
    """Return the source of most of the first records."""
    found: Counter[Match | None] = Counter()
    with path.open("rb") as handle:
        for line in handle.readlines(4 * 1024 * 1024)[:_SAMPLE_RECORDS]:
            record = parse(line)
            found[intake.recogniser.match(record, "json") if isinstance(record, dict) else None] += 1
    ranked = [match for match, _ in found.most_common() if match is not None]
    return ranked[0] if ranked else None
