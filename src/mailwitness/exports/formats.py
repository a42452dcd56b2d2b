"""Every format a report can be exported to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mailwitness.exports import (
    alerts,
    log_lines,
    misp,
    navigator,
    ocsf,
    sarif,
    sentinel,
    stix,
    timesketch,
)


class Format(msgspec.Struct, frozen=True):
    """A format: file name, what it is for, and the function from report.json to its bytes."""

    file: str
    purpose: str
    write: Callable[[dict[str, Any]], bytes]


FORMATS: dict[str, Format] = {
    "timesketch": Format("timesketch.jsonl", "timeline for Timesketch", timesketch.jsonl),
    "timesketch-csv": Format(
        "timesketch.csv", "the same timeline as CSV, safe against formulas", timesketch.table
    ),
    "stix": Format("stix.json", "STIX 2.1 bundle", stix.bundle),
    "misp": Format("misp.json", "MISP events", misp.events),
    "ocsf-detections": Format("ocsf-detections.jsonl", "OCSF Detection Findings", ocsf.detections),
    "ocsf-incidents": Format("ocsf-incidents.jsonl", "OCSF Incident Findings", ocsf.incidents),
    "navigator": Format("navigator.json", "ATT&CK Navigator layer", navigator.layer),
    "sentinel": Format("sentinel-incidents.json", "Microsoft Sentinel incidents", sentinel.incidents),
    "sarif": Format("findings.sarif", "SARIF 2.1.0 log", sarif.log),
    "thehive": Format("thehive.json", "TheHive 5 alerts", alerts.thehive),
    "iris": Format("iris.json", "DFIR-IRIS alerts", alerts.iris),
    "cef": Format("findings.cef", "CEF lines", log_lines.cef),
    "syslog": Format("findings.log", "RFC 5424 syslog lines", log_lines.syslog),
}
