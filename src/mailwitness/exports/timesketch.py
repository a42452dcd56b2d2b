"""Timesketch timelines: one event for each finding.

Timesketch asks for ``message``, ``datetime`` (ISO 8601) and ``timestamp_desc`` in every event and indexes any other
column. Source: Timesketch user guide, "Upload data", CSV and JSONL.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from mailwitness.exports.facts import JsonDict, clean, findings, paths
from mailwitness.report.text import safe_csv_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = (
    "message", "datetime", "timestamp_desc", "data_type", "case_id", "verdict", "severity", "confidence", "rule",
    "actor", "mailbox", "source_ip", "session", "host", "techniques", "exhibit", "record", "line",
)  # fmt: skip


def jsonl(report: JsonDict) -> bytes:
    """Return one JSON object for each finding that has a time."""
    lines = [json.dumps(event | {"tag": ["mailwitness", event["severity"]]}) for event in _events(report)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def table(report: JsonDict) -> bytes:
    """Return the same events as CSV without formulas."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for event in _events(report):
        writer.writerow([safe_csv_cell(str(event[name])) for name in _COLUMNS])
    return out.getvalue().encode("utf-8")


def _events(report: JsonDict) -> Iterator[JsonDict]:
    places = paths(report)
    for case, finding in findings(report):
        if not finding["time"]:
            continue
        entities = finding["entities"]
        yield {
            "message": f"[{case['id']}] {clean(finding['title'])}",
            "datetime": finding["time"].replace("Z", "+00:00"),
            "timestamp_desc": "Finding of mailwitness",
            "data_type": "mailwitness:finding",
            "case_id": case["id"],
            "verdict": case["verdict"],
            "severity": finding["severity"],
            "confidence": finding["confidence"],
            "rule": finding["rule"],
            "actor": clean(finding["actor"]),
            "mailbox": clean(finding["mailbox"]),
            "source_ip": clean(entities.get("IP", "")),
            "session": clean(entities.get("Session", "")),
            "host": clean(entities.get("Host", "")),
            "techniques": " ".join(case["techniques"]),
            "exhibit": clean(places.get(finding["exhibit"], "")),
            "record": finding["position"]["record"],
            "line": finding["position"]["line"],
        }
