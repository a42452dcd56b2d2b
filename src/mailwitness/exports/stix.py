"""A STIX 2.1 bundle: a report for each case, its observed data, and the techniques they show.

Ids are derived from their content, so that the same case gives the same objects in every export. Ids of cyber
observables follow the specification: UUIDv5 over the canonical JSON of the contributing properties.
Source: OASIS, "STIX Version 2.1", sections 2.9, 3.3, 4.14 and 4.16.
"""

from __future__ import annotations

import json
import uuid

from mailwitness.exports.facts import (
    JsonDict,
    address,
    clean,
    description,
    pretty,
    stable_id,
    technique,
    technique_url,
)

# The name space that the specification sets for cyber observables.
_OBSERVABLES = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
_CONFIDENCE = {"low": 25, "medium": 50, "high": 85}


def bundle(report: JsonDict) -> bytes:
    """Return the bundle."""
    made = _stamp(report["evaluated"]["now"])
    author = _domain("identity", made, ("tool",), {"name": "mailwitness", "identity_class": "system"})
    objects: dict[str, JsonDict] = {author["id"]: author}
    for case in report["cases"]:
        parts = [part for name in case["techniques"] for part in [_attack_pattern(name, made)]]
        observed = [one for finding in case["findings"] for one in _observed(finding, made, author["id"])]
        told = _report(case, made, author["id"], [*parts, *observed])
        for one in [*parts, *observed, told]:
            objects[one["id"]] = one
    listed = list(objects.values())
    identity = stable_id("bundle", *sorted(objects))
    return pretty({"type": "bundle", "id": f"bundle--{identity}", "objects": listed})


def _stamp(text: str) -> str:
    return text.replace("Z", ".000Z")


def _domain(kind: str, made: str, key: tuple[object, ...], fields: JsonDict) -> JsonDict:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{stable_id(kind, *key)}",
        "created": made,
        "modified": made,
        **fields,
    }


def _attack_pattern(name: str, made: str) -> JsonDict:
    known = technique(name)
    reference = {"source_name": "mitre-attack", "external_id": name, "url": technique_url(name)}
    phases = [{"kill_chain_name": "mitre-attack", "phase_name": tactic} for tactic in known.tactics]
    fields: JsonDict = {"name": known.name, "external_references": [reference]}
    return _domain(
        "attack-pattern", made, (name,), fields | ({"kill_chain_phases": phases} if phases else {})
    )


def _observed(finding: JsonDict, made: str, author: str) -> list[JsonDict]:
    """Return the observables of a finding and the observation that binds them; none without a time or an observable."""
    found = _observables(finding)
    if not found or not finding["time"]:
        return []
    time = _stamp(finding["time"])
    place = finding["position"]
    key = (finding["rule"], finding["time"], finding["exhibit"], place["record"])
    references = [
        {
            "source_name": "mailwitness",
            "description": f"exhibit {finding['exhibit']}, record {place['record']}, line {place['line']}",
        }
    ]
    fields = {
        "created_by_ref": author,
        "first_observed": time,
        "last_observed": time,
        "number_observed": min(max(int(finding["count"]), 1), 999_999_999),
        "object_refs": [one["id"] for one in found],
        "external_references": references,
    }
    return [*found, _domain("observed-data", made, key, fields)]


def _observables(finding: JsonDict) -> list[JsonDict]:
    names = dict.fromkeys(name for name in (finding["actor"], finding["mailbox"]) if name)
    found = [_observable("user-account", {"account_login": clean(name, 300)}) for name in names]
    source = address(finding["entities"].get("IP", ""))
    if source is not None:
        found.append(_observable(f"ipv{source.version}-addr", {"value": str(source)}))
    return found


def _observable(kind: str, fields: JsonDict) -> JsonDict:
    # For these kinds and properties RFC 8785's canonical form is what json writes with sorted keys and no blanks.
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{uuid.uuid5(_OBSERVABLES, canonical)}",
        **fields,
    }


def _report(case: JsonDict, made: str, author: str, objects: list[JsonDict]) -> JsonDict:
    fields = {
        "created_by_ref": author,
        "name": clean(case["title"]),
        "description": description(case),
        "published": made,
        "report_types": ["observed-data"],
        "labels": [f"verdict:{case['verdict']}", f"severity:{case['severity']}"],
        "confidence": _CONFIDENCE.get(case["confidence"], 50),
        "object_refs": list(dict.fromkeys([one["id"] for one in objects])) or [author],
    }
    return _domain("report", made, ("case", case["id"]), fields)
