"""SARIF 2.1.0: findings as results that point to the line of the evidence file.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
"""

from __future__ import annotations

from urllib.parse import quote

from mailwitness.exports.facts import QUIET, JsonDict, clean, findings, pretty, technique, technique_url

_LEVEL = {"informational": "note", "low": "note", "medium": "warning", "high": "error", "critical": "error"}
# GitHub and others sort by this property: 0.0 to 10.0.
_SCORE = {"informational": "1.0", "low": "3.0", "medium": "5.0", "high": "8.0", "critical": "9.5"}


def log(report: JsonDict) -> bytes:
    """Return the SARIF log."""
    artifacts = [_artifact(item) for item in report["intake"]]
    numbers = {item["exhibit"]: i for i, item in enumerate(report["intake"])}
    used = {finding["rule"] for _, finding in findings(report)}
    rules = [_rule(rule) for rule in report["rules"] if rule["id"] in used]
    order = {rule["id"]: i for i, rule in enumerate(rules)}
    results = [
        _result(case, finding, order, numbers, artifacts)
        for case, finding in findings(report)
        if finding["rule"] in order
    ]
    notes = [
        {
            "level": "warning",
            "message": {"text": clean(f"{item['what']}: {item['reason']}. {item['remedy']}")},
        }
        for item in report["not_evaluated"]
    ]
    driver = {"name": "mailwitness", "version": report["tool"]["version"], "rules": rules}
    run = {
        "tool": {"driver": driver},
        "artifacts": artifacts,
        "results": results,
        "columnKind": "utf16CodeUnits",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
    }
    return pretty({"version": "2.1.0", "runs": [run]})


def _artifact(item: JsonDict) -> JsonDict:
    hashes = {"sha-256": item["sha256"]} if item["sha256"] else {}
    return {
        "location": {
            "uri": quote(item["path"].encode("utf-8", "surrogatepass")),
            "description": {"text": clean(item["path"])},
        },
        "length": item["size_bytes"],
        **({"hashes": hashes} if hashes else {}),
    }


def _rule(rule: JsonDict) -> JsonDict:
    made: JsonDict = {
        "id": rule["id"],
        "name": clean(rule["name"]),
        "shortDescription": {"text": clean(rule["name"])},
        "defaultConfiguration": {"level": _LEVEL[rule["severity"]]},
        "properties": {
            "security-severity": _SCORE[rule["severity"]],
            "tags": ["security", *(f"{name} {technique(name).name}" for name in rule["techniques"])],
        },
    }
    if rule["techniques"]:
        made["helpUri"] = technique_url(rule["techniques"][0])
    return made


def _result(
    case: JsonDict,
    finding: JsonDict,
    order: dict[str, int],
    numbers: dict[str, int],
    artifacts: list[JsonDict],
) -> JsonDict:
    place = finding["position"]
    made: JsonDict = {
        "ruleId": finding["rule"],
        "ruleIndex": order[finding["rule"]],
        "level": _LEVEL[finding["severity"]],
        "message": {"text": clean(finding["title"])},
        "partialFingerprints": {
            "mailwitness/v1": f"{finding['rule']}:{finding['exhibit']}:{place['record']}"
        },
        "properties": {"case": case["id"], "verdict": case["verdict"], "time": finding["time"]},
    }
    if case["verdict"] in QUIET:
        made["suppressions"] = [{"kind": "external", "justification": f"judged as {case['verdict']}"}]
    if finding["exhibit"] in numbers:
        index = numbers[finding["exhibit"]]
        where: JsonDict = {"artifactLocation": {"uri": artifacts[index]["location"]["uri"], "index": index}}
        if place["line"]:
            where["region"] = {
                "startLine": place["line"],
                "byteOffset": place["offset"],
                "byteLength": place["length"],
            }
        made["locations"] = [{"physicalLocation": where}]
    return made
