"""Microsoft Sentinel incidents: the bodies that its REST interface takes, one for each case.

Source: Microsoft.SecurityInsights/incidents, api-version 2025-09-01, ``Incidents - Create Or Update``.
"""

from __future__ import annotations

from mailwitness.exports.facts import QUIET, JsonDict, clean, description, pretty, stable_id, technique

_SEVERITY = {
    "critical": "High",
    "high": "High",
    "medium": "Medium",
    "low": "Low",
    "informational": "Informational",
}
_LONGEST_TITLE, _LONGEST_DESCRIPTION, _LONGEST_LABEL = 150, 5000, 128


def incidents(report: JsonDict) -> bytes:
    """Return the incidents with the names under which to put them; noise and authorised work are left out."""
    real = [case for case in report["cases"] if case["verdict"] not in QUIET]
    return pretty([_incident(case) for case in real])


def _incident(case: JsonDict) -> JsonDict:
    labels = [f"mailwitness:{case['id']}", f"verdict:{case['verdict']}", f"severity:{case['severity']}"]
    labels += [f"{name} {technique(name).name}" for name in case["techniques"]]
    names = [f"actor:{clean(name, 100)}" for name in case["actors"][:10]]
    names += [f"mailbox:{clean(name, 100)}" for name in case["mailboxes"][:10]]
    properties: JsonDict = {
        "title": clean(case["title"])[:_LONGEST_TITLE],
        "description": description(case)[:_LONGEST_DESCRIPTION],
        "severity": _SEVERITY[case["severity"]],
        "status": "New",
        "labels": [{"labelName": label[:_LONGEST_LABEL]} for label in [*labels, *names]],
    }
    for key, name in (("firstActivityTimeUtc", "first_seen"), ("lastActivityTimeUtc", "last_seen")):
        if case[name]:
            properties[key] = case[name]
    return {"name": str(stable_id("sentinel", case["id"])), "properties": properties}
