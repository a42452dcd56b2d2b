"""Alerts for case managers: TheHive 5 and DFIR-IRIS, one for each case.

Sources: TheHive 5, "Create an alert" (``POST /api/v1/alert``); DFIR-IRIS 2.4, "Add a new alert" (``POST /alerts/add``).
"""

from __future__ import annotations

from mailwitness.exports.facts import (
    LEVELS,
    JsonDict,
    address,
    clean,
    description,
    milliseconds,
    pretty,
    technique,
)

# TheHive counts from 1 (low) to 4 (critical).
_HIVE_SEVERITY = {"informational": 1, "low": 1, "medium": 2, "high": 3, "critical": 4}
# The rows of IRIS's table of severities: 1 medium, 2 unspecified, 3 informational, 4 low, 5 high, 6 critical.
_IRIS_SEVERITY = {"informational": 3, "low": 4, "medium": 1, "high": 5, "critical": 6}
_IRIS_NEW = 2
# IRIS takes no alert without a customer; 1 is the one that it makes for itself, and who has more puts theirs in its place.
_IRIS_CUSTOMER = 1
# The rows of IRIS's table of indicator types, as it seeds them: account, email, hostname, ip-any.
_IRIS_TYPES = {"other": 3, "mail": 22, "hostname": 69, "ip": 76}
_AMBER = 2


def thehive(report: JsonDict) -> bytes:
    """Return the bodies of TheHive alerts."""
    return pretty([_hive(case, report) for case in report["cases"]])


def iris(report: JsonDict) -> bytes:
    """Return the bodies of IRIS alerts."""
    return pretty([_iris(case, report) for case in report["cases"]])


def _tags(case: JsonDict) -> list[str]:
    named = [f"{name} {technique(name).name}" for name in case["techniques"]]
    return ["mailwitness", f"verdict:{case['verdict']}", f"confidence:{case['confidence']}", *named]


def _observables(case: JsonDict) -> list[tuple[str, str, str]]:
    """Return kind, value and meaning of everything a case names."""
    found = [("ip", value, "address of the actor") for value in case["addresses"] if address(value)]
    found += [("mail" if "@" in value else "other", clean(value, 300), "actor") for value in case["actors"]]
    found += [
        ("mail" if "@" in value else "other", clean(value, 300), "mailbox")
        for value in case["mailboxes"]
        if value not in case["actors"]
    ]
    found += [("hostname", clean(value, 250), "host") for value in case["hosts"]]
    return found


def _hive(case: JsonDict, report: JsonDict) -> JsonDict:
    return {
        "type": "mailwitness",
        "source": "mailwitness",
        "sourceRef": case["id"],
        "title": clean(case["title"], 500),
        "description": description(case),
        "severity": _HIVE_SEVERITY[case["severity"]],
        "date": milliseconds(case["first_seen"] or report["evaluated"]["now"]),
        "tags": _tags(case),
        "tlp": _AMBER,
        "pap": _AMBER,
        "observables": [
            {"dataType": kind, "data": value, "message": meaning, "tlp": _AMBER, "ioc": False}
            for kind, value, meaning in _observables(case)
        ],
    }


def _iris(case: JsonDict, report: JsonDict) -> JsonDict:
    return {
        "alert_title": clean(case["title"], 500),
        "alert_description": description(case),
        "alert_source": "mailwitness",
        "alert_source_ref": case["id"],
        "alert_source_content": {
            "verdict": case["verdict"],
            "confidence": case["confidence"],
            "techniques": case["techniques"],
            "level": LEVELS[case["severity"]],
        },
        "alert_severity_id": _IRIS_SEVERITY[case["severity"]],
        "alert_status_id": _IRIS_NEW,
        "alert_customer_id": _IRIS_CUSTOMER,
        "alert_source_event_time": (case["first_seen"] or report["evaluated"]["now"]).rstrip("Z"),
        "alert_tags": ",".join(tag.replace(",", " ") for tag in _tags(case)),
        "alert_iocs": [
            {
                "ioc_value": value,
                "ioc_description": meaning,
                "ioc_tlp_id": _AMBER,
                "ioc_type_id": _IRIS_TYPES[kind],
                "ioc_tags": kind,
            }
            for kind, value, meaning in _observables(case)
        ],
    }
