"""OCSF: each finding as a Detection Finding, each case as an Incident Finding, one JSON object a line.

Source: Open Cybersecurity Schema Framework 1.4.0, classes 2004 and 2005 of category 2.
"""

from __future__ import annotations

import json

from mailwitness.exports.facts import (
    JsonDict,
    clean,
    description,
    milliseconds,
    paths,
    stable_id,
    technique,
    technique_url,
)

_SEVERITY = {
    "informational": (1, "Informational"),
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
_CONFIDENCE = {"low": (1, "Low"), "medium": (2, "Medium"), "high": (3, "High")}
_CATEGORY = 2
_DETECTION, _INCIDENT = 2004, 2005
# Activity "Create": the finding is new.
_CREATE = 1
# Our verdicts in OCSF's words.
_VERDICT = {
    "attack": (2, "True Positive"),
    "suspicious": (4, "Suspicious"),
    "authorised": (5, "Benign"),
    "noise": (5, "Benign"),
    "undetermined": (7, "Insufficient Data"),
}


def detections(report: JsonDict) -> bytes:
    """Return one Detection Finding a line."""
    places = paths(report)
    lines = [
        json.dumps(_detection(report, case, finding, places), sort_keys=True)
        for case in report["cases"]
        for finding in case["findings"]
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def incidents(report: JsonDict) -> bytes:
    """Return one Incident Finding a line."""
    lines = [json.dumps(_incident(report, case), sort_keys=True) for case in report["cases"]]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _base(report: JsonDict, kind: tuple[int, str], severity: str, time: str) -> JsonDict:
    number, name = _SEVERITY[severity]
    return {
        "metadata": {
            "version": "1.4.0",
            "product": {
                "name": "mailwitness",
                "vendor_name": "mailwitness",
                "version": report["tool"]["version"],
            },
        },
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "class_uid": kind[0],
        "class_name": kind[1],
        "activity_id": _CREATE,
        "activity_name": "Create",
        "type_uid": kind[0] * 100 + _CREATE,
        "type_name": f"{kind[1]}: Create",
        "severity_id": number,
        "severity": name,
        "status_id": 1,
        "status": "New",
        "time": milliseconds(time or report["evaluated"]["now"]),
    }


def _detection(report: JsonDict, case: JsonDict, finding: JsonDict, places: dict[str, str]) -> JsonDict:
    place = finding["position"]
    identity = stable_id("finding", finding["rule"], finding["time"], finding["exhibit"], place["record"])
    confidence = _CONFIDENCE.get(finding["confidence"], (2, "Medium"))
    evidence = {
        "exhibit": clean(places.get(finding["exhibit"], "")),
        "record": place["record"],
        "line": place["line"],
        "fields": finding["evidence"],
    }
    return _base(report, (_DETECTION, "Detection Finding"), finding["severity"], finding["time"]) | {
        "message": clean(finding["title"]),
        "confidence_id": confidence[0],
        "confidence": confidence[1],
        "finding_info": {
            "uid": str(identity),
            "title": clean(finding["title"]),
            "desc": finding["description"],
            "types": ["Clear Mailbox Data"],
            "analytic": {"uid": finding["rule"], "name": finding["rule"], "type": "Rule", "type_id": 1},
            "attacks": _attacks(case),
            "related_events_count": int(finding["count"]),
            "first_seen_time": milliseconds(finding["time"]),
        },
        "evidences": [{"data": evidence, **_actor(finding)}],
        "resources": _resources([finding["mailbox"]]),
        "is_alert": finding["severity"] in {"medium", "high", "critical"},
    }


def _incident(report: JsonDict, case: JsonDict) -> JsonDict:
    verdict = _VERDICT[case["verdict"]]
    listed = [
        {
            "uid": str(stable_id("finding", f["rule"], f["time"], f["exhibit"], f["position"]["record"])),
            "title": clean(f["title"]),
            "types": ["Clear Mailbox Data"],
        }
        for f in case["findings"]
    ]
    return _base(report, (_INCIDENT, "Incident Finding"), case["severity"], case["last_seen"]) | {
        "message": clean(case["title"]),
        "desc": description(case),
        "verdict_id": verdict[0],
        "verdict": verdict[1],
        "finding_info_list": listed,
        "attacks": _attacks(case),
        "start_time": milliseconds(case["first_seen"]),
        "end_time": milliseconds(case["last_seen"]),
    }


def _attacks(case: JsonDict) -> list[JsonDict]:
    return [
        {
            "version": "19",
            "technique": {"uid": name, "name": technique(name).name, "src_url": technique_url(name)},
            "tactics": [{"name": tactic} for tactic in technique(name).tactics],
        }
        for name in case["techniques"]
    ]


def _actor(finding: JsonDict) -> JsonDict:
    made: JsonDict = {}
    if finding["actor"]:
        made["actor"] = {"user": {"name": clean(finding["actor"], 300)}}
    if finding["entities"].get("IP"):
        made["src_endpoint"] = {"ip": clean(finding["entities"]["IP"], 100)}
    return made


def _resources(mailboxes: list[str]) -> list[JsonDict]:
    return [{"name": clean(name, 300), "type": "mailbox"} for name in mailboxes if name]
