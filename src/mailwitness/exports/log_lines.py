"""Findings as log lines for any collector: CEF, and RFC 5424 syslog with structured data.

Sources: ArcSight, "Common Event Format", version 25; RFC 5424, sections 6 and 6.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailwitness.exports.facts import JsonDict, clean, findings, milliseconds

_CEF_SEVERITY = {"informational": 1, "low": 3, "medium": 5, "high": 8, "critical": 10}
# RFC 5424: 2 critical, 3 error, 4 warning, 5 notice, 6 informational.
_SYSLOG_SEVERITY = {"informational": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}
# Facility 13, "log audit".
_FACILITY = 13
# The number that RFC 5612 sets aside for documentation; a site with an enterprise number of its own replaces it.
_SD_ID = "mailwitness@32473"
_NAME = re.compile(r"[^!-~]")


def cef(report: JsonDict) -> bytes:
    """Return one CEF line for each finding."""
    return _joined(_cef(report, case, finding) for case, finding in findings(report))


def syslog(report: JsonDict) -> bytes:
    """Return one RFC 5424 line for each finding."""
    return _joined(_syslog(case, finding) for case, finding in findings(report))


def _joined(lines: Iterator[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _cef(report: JsonDict, case: JsonDict, finding: JsonDict) -> str:
    head = [
        "CEF:0",
        "mailwitness",
        "mailwitness",
        report["tool"]["version"],
        finding["rule"],
        clean(finding["title"], 400),
        str(_CEF_SEVERITY[finding["severity"]]),
    ]
    entities = finding["entities"]
    fields = {
        "rt": str(milliseconds(finding["time"])) if finding["time"] else "",
        "suser": finding["actor"],
        "duser": finding["mailbox"],
        "src": entities.get("IP", "") if ":" not in entities.get("IP", "") else "",
        "c6a2": entities.get("IP", "") if ":" in entities.get("IP", "") else "",
        "c6a2Label": "Source IPv6 Address" if ":" in entities.get("IP", "") else "",
        "dhost": entities.get("Host", ""),
        "cnt": str(finding["count"]),
        "externalId": case["id"],
        "cs1": case["verdict"],
        "cs1Label": "verdict",
        "cs2": " ".join(case["techniques"]),
        "cs2Label": "techniques",
        "cs3": f"{finding['exhibit']}#{finding['position']['record']}",
        "cs3Label": "record",
    }
    extension = " ".join(f"{key}={_cef_value(value)}" for key, value in fields.items() if value)
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in head) + "|" + extension


def _cef_value(value: str) -> str:
    return clean(value, 400).replace("\\", "\\\\").replace("=", "\\=")


def _syslog(case: JsonDict, finding: JsonDict) -> str:
    priority = _FACILITY * 8 + _SYSLOG_SEVERITY[finding["severity"]]
    host = _NAME.sub("-", finding["entities"].get("Host", ""))[:255] or "-"
    fields = {
        "case": case["id"],
        "verdict": case["verdict"],
        "severity": finding["severity"],
        "rule": finding["rule"],
        "actor": finding["actor"],
        "mailbox": finding["mailbox"],
        "address": finding["entities"].get("IP", ""),
        "exhibit": finding["exhibit"],
        "record": str(finding["position"]["record"]),
    }
    data = " ".join(f'{key}="{_sd_value(value)}"' for key, value in fields.items() if value)
    head = f"<{priority}>1 {finding['time'] or '-'} {host} mailwitness - finding [{_SD_ID} {data}]"
    # The byte order mark says that the text is UTF-8.
    return f"{head} \ufeff{clean(finding['title'], 400)}"


def _sd_value(value: str) -> str:
    return clean(value, 400).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
