"""MISP events: one for each case, not to be distributed until somebody decides so.

Source: MISP core format (draft-dulaunoy-misp-core-format), sections 2.2 to 2.8.
"""

from __future__ import annotations

from mailwitness.exports.facts import (
    JsonDict,
    address,
    clean,
    description,
    milliseconds,
    pretty,
    stable_id,
    technique,
)

# MISP counts from 1 (high) to 4 (undefined).
_THREAT = {"critical": "1", "high": "1", "medium": "2", "low": "3", "informational": "4"}


def events(report: JsonDict) -> bytes:
    """Return all cases as MISP events, in the shape in which MISP exports several."""
    hashes = {item["exhibit"]: item for item in report["intake"]}
    return pretty({"response": [{"Event": _event(case, report, hashes)} for case in report["cases"]]})


def _event(case: JsonDict, report: JsonDict, hashes: dict[str, JsonDict]) -> JsonDict:
    first = case["first_seen"] or report["evaluated"]["now"]
    tags = [
        f'mailwitness:verdict="{case["verdict"]}"',
        f'mailwitness:severity="{case["severity"]}"',
        "tlp:amber",
    ]
    tags += [
        f'misp-galaxy:mitre-attack-pattern="{technique(name).name} - {name}"' for name in case["techniques"]
    ]
    return {
        "uuid": str(stable_id("misp", case["id"])),
        "info": clean(case["title"]),
        "date": first[:10],
        "timestamp": str(milliseconds(report["evaluated"]["now"]) // 1000),
        "threat_level_id": _THREAT[case["severity"]],
        # 0: the analysis has begun; people finish it.
        "analysis": "0",
        # 0: this organisation only.
        "distribution": "0",
        "published": False,
        "Tag": [{"name": tag} for tag in tags],
        "Attribute": _attributes(case, hashes),
    }


def _attributes(case: JsonDict, hashes: dict[str, JsonDict]) -> list[JsonDict]:
    made = [_attribute(case, "Internal reference", "comment", description(case), "")]
    made += [
        _attribute(case, "Network activity", "ip-src", value, "address of the actor")
        for value in case["addresses"]
        if address(value)
    ]
    made += [_attribute(case, "Other", "text", clean(actor, 300), "actor") for actor in case["actors"]]
    for mailbox in case["mailboxes"]:
        kind = "target-email" if "@" in mailbox else "target-user"
        made.append(_attribute(case, "Targeting data", kind, clean(mailbox, 300), "mailbox"))
    for exhibit in dict.fromkeys(finding["exhibit"] for finding in case["findings"]):
        item = hashes.get(exhibit)
        if item and item["sha256"]:
            made.append(
                _attribute(
                    case, "Internal reference", "text", f"SHA-256 {item['sha256']}", clean(item["path"])
                )
            )
    return made


def _attribute(case: JsonDict, category: str, kind: str, value: str, comment: str) -> JsonDict:
    return {
        "uuid": str(stable_id("misp", case["id"], category, kind, value)),
        "category": category,
        "type": kind,
        "value": value,
        "comment": comment,
        # These are the victim's own names and addresses, and nothing to block by.
        "to_ids": False,
        "distribution": "0",
    }
