"""The results of a posture in the forms others read: JSON and OCSF Compliance Findings.

Source: Open Cybersecurity Schema Framework 1.4.0, class 2003 of category 2.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import __version__
from mailwitness.exports.facts import milliseconds, stable_id, technique, technique_url
from mailwitness.posture.evaluate import FAIL, NOT_EVALUATED, PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.posture.evaluate import Result

JsonDict = dict[str, Any]  # Any: JSON values
_SEVERITY = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_STATUS = {PASS: (1, "Pass"), FAIL: (3, "Fail"), NOT_EVALUATED: (2, "Warning")}
_CLASS, _CREATE = 2003, 1
_MITIGATIONS = {
    "M1022": "Restrict File and Directory Permissions",
    "M1029": "Remote Data Storage",
    "M1047": "Audit",
}


def document(
    results: Sequence[Result], *, place: str, unread: dict[str, str], absent: Sequence[str], now: dt.datetime
) -> JsonDict:
    """Return the JSON document of a posture.

    Args:
        results: in the order in which they are shown.
        place: what was looked at: the root of a host, a case, or both.
        unread: path -> why it could not be read.
        absent: platforms of which nothing was given.
        now: the clock, aware UTC.
    """
    counts = {
        outcome: sum(one.outcome == outcome for one in results) for outcome in (FAIL, NOT_EVALUATED, PASS)
    }
    return {
        "kind": "mailwitness posture",
        "version": 1,
        "tool": f"mailwitness {__version__}",
        "now": _moment(now),
        "place": place,
        "counts": counts,
        "not_looked_at": list(absent),
        "unread": [{"path": path, "reason": unread[path]} for path in sorted(unread)],
        "results": [msgspec.to_builtins(one) for one in results],
    }


def _moment(now: dt.datetime) -> str:
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ocsf(results: Sequence[Result], *, place: str, now: dt.datetime) -> str:
    """Return one Compliance Finding a line, those not evaluated as warnings that say so."""
    lines = [json.dumps(_compliance(one, place, _moment(now)), sort_keys=True) for one in results]
    return "".join(f"{line}\n" for line in lines)


def _compliance(one: Result, place: str, moment: str) -> JsonDict:
    number, word = _STATUS[one.outcome]
    status = one.outcome if one.outcome != NOT_EVALUATED else f"not evaluated: {one.reason}"
    return {
        "metadata": {
            "version": "1.4.0",
            "product": {"name": "mailwitness", "vendor_name": "mailwitness", "version": __version__},
        },
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Compliance Finding",
        "activity_id": _CREATE,
        "activity_name": "Create",
        "type_uid": _CLASS * 100 + _CREATE,
        "type_name": "Compliance Finding: Create",
        "severity_id": _SEVERITY[one.severity],
        "severity": one.severity.capitalize(),
        "status_id": 1,
        "status": "New",
        "time": milliseconds(moment),
        "message": f"{one.name}: {status}",
        "finding_info": {
            "uid": str(stable_id("check", one.check, place)),
            "title": one.name,
            "desc": one.meaning or status,
            "types": ["Clear Mailbox Data"],
            "attacks": [_attack(name) for name in one.techniques],
        },
        "compliance": {
            "standards": ["MITRE ATT&CK mitigations"],
            "requirements": [f"{one.mitigation} {_MITIGATIONS[one.mitigation]}"],
            "control": one.check,
            "status": word,
            "status_id": number,
            "status_code": one.outcome,
            "status_detail": status,
        },
        "remediation": {
            "desc": "\n".join(one.fix) or one.remedy or "Nothing to do.",
            "references": one.references,
        },
        "resources": [
            {
                "uid": thing.identity,
                "name": thing.identity,
                "type": one.platform,
                "data": {"found": thing.found},
            }
            for thing in one.failing
        ]
        or [{"uid": place, "name": place, "type": one.platform}],
        "unmapped": {"rules": one.rules, "chains": one.chains, "verify": one.verify},
    }


def _attack(name: str) -> JsonDict:
    known = technique(name)
    return {
        "version": "19",
        "technique": {"uid": name, "name": known.name, "src_url": technique_url(name)},
        "tactics": [{"name": tactic} for tactic in known.tactics],
    }
