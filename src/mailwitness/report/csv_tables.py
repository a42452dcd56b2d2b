"""Findings, ledger and evidence as CSV for spreadsheets; no cell can become a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailwitness.report.text import safe_csv_cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.report.document import Report

_FINDINGS = (
    "case", "verdict", "severity", "confidence", "time", "finding", "count", "actor", "mailbox", "rule", "exhibit",
    "file", "record", "line", "offset_bytes", "length_bytes", "rows",
)  # fmt: skip
_LEDGER = (
    "mailbox", "verdict", "reason", "message_id", "key_strength", "subject", "folder", "first_seen", "last_seen",
    "read_at", "read_by", "removed_at", "removed_by", "removal", "proofs", "rows",
)  # fmt: skip
_EVIDENCE = (
    "exhibit", "file", "size_bytes", "sha256", "blake3", "source", "records", "loaded", "duplicates", "quarantined",
    "salvaged", "first_time", "last_time",
)  # fmt: skip


def findings_csv(report: Report) -> str:
    """Write one line for each finding; times are ISO 8601 UTC, ``record`` counts from 0, ``line`` from 1."""
    paths = {one.exhibit: one.path for one in report.intake}
    return _written(
        _FINDINGS,
        (
            (
                case.id, case.verdict, one.severity, one.confidence, one.time, one.title, one.count, one.actor,
                one.mailbox, one.rule, one.exhibit, paths.get(one.exhibit, ""), one.position.record,
                one.position.line, one.position.offset, one.position.length,
                " ".join(f"{row.exhibit}:{row.record}" for row in one.rows),
            )
            for case in report.cases
            for one in case.findings
        ),
    )  # fmt: skip


def ledger_csv(report: Report) -> str:
    """Write one line for each message that the report tells of; the command ``ledger`` writes all."""
    boxes = report.ledger.mailboxes if report.ledger else ()
    return _written(
        _LEDGER,
        (
            (
                box.mailbox, one.verdict, one.reason, one.message_id or one.key, one.key_strength, one.subject,
                one.folder, one.first_seen, one.last_seen, one.read_at, one.read_by, one.removed_at, one.removed_by,
                one.removal, one.proofs, " ".join(f"{row.exhibit}:{row.record}" for row in one.rows),
            )
            for box in boxes
            for one in box.rows
        ),
    )  # fmt: skip


def evidence_csv(report: Report) -> str:
    """Write one line for each exhibit."""
    return _written(
        _EVIDENCE,
        (
            (
                one.exhibit, one.path, one.size_bytes, one.sha256, one.blake3, one.source, one.records, one.loaded,
                one.duplicates, one.quarantined, one.salvaged, one.first_time, one.last_time,
            )
            for one in report.intake
        ),
    )  # fmt: skip


def _written(heads: Iterable[str], rows: Iterator[tuple[object, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(heads)
    writer.writerows([safe_csv_cell("" if cell is None else str(cell)) for cell in row] for row in rows)
    return out.getvalue()
