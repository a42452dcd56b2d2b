"""What every export needs from report.json: techniques by name, scales, times, stable ids."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content import loader
from mailwitness.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonDict = dict[str, Any]  # Any: JSON values
# Every export counts from 1 (informational) to 5 (critical) unless its format says otherwise.
LEVELS = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
# Verdicts that nobody has to be woken for.
QUIET = frozenset({"noise", "authorised"})
# Our own name space for ids that must be the same in every export of the same case.
NAMESPACE = uuid.UUID("5f2f6a0e-6a0d-5c1b-9d55-2a6b1e3f7070")


class Technique(msgspec.Struct, frozen=True):
    """A technique as the newest ATT&CK version we know names it; tactics in ATT&CK's short form."""

    id: str
    name: str
    tactics: tuple[str, ...]


@cache
def _techniques() -> dict[str, Technique]:
    listed = loader.read_yaml(loader.CONTENT / "attack" / "techniques.yaml")["techniques"]
    return {
        item["v19"]: Technique(item["v19"], item["name"], tuple(item["tactics_v19"])) for item in listed
    } | {item["v18"]: Technique(item["v18"], item["name"], tuple(item["tactics_v18"])) for item in listed}


def technique(name: str) -> Technique:
    """Return a technique by id; one that we have no name for keeps its id as name."""
    return _techniques().get(name, Technique(name, name, ()))


def technique_url(name: str) -> str:
    """Return MITRE's page of a technique."""
    return f"https://attack.mitre.org/techniques/{name.replace('.', '/')}"


def stable_id(*parts: object) -> uuid.UUID:
    """Return the same id for the same parts, on every machine."""
    return uuid.uuid5(NAMESPACE, json.dumps([str(part) for part in parts], ensure_ascii=True))


def moment(text: str) -> dt.datetime | None:
    """Return a time of the report as aware UTC; None when the report has none."""
    return dt.datetime.fromisoformat(text) if text else None


def milliseconds(text: str) -> int:
    """Return a time of the report as milliseconds since 1970; 0 when the report has none."""
    found = moment(text)
    return int(found.timestamp() * 1000) if found else 0


def findings(report: JsonDict) -> Iterator[tuple[JsonDict, JsonDict]]:
    """Yield every finding with its case, in the order of the report."""
    for case in report["cases"]:
        for finding in case["findings"]:
            yield case, finding


def paths(report: JsonDict) -> dict[str, str]:
    """Return the path of each exhibit."""
    return {item["exhibit"]: item["path"] for item in report["intake"]}


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return what stands as the actor's address if it is one: evidence may hold anything there."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def clean(text: str, limit: int = 1000) -> str:
    """Return text from evidence without anything a screen obeys or hides; other products show it as it comes."""
    return visible(text, limit)


def description(case: JsonDict) -> str:
    """Say in plain sentences what a case is: verdict, reasons, chains."""
    lines = [f"Verdict: {case['verdict']}. Severity: {case['severity']}. Confidence: {case['confidence']}."]
    lines += [clean(reason) for reason in case["reasons"]]
    lines += [f"Chain: {clean(str(chain.get('title', '')))}" for chain in case.get("chains", [])]
    lines.append(f"{len(case['findings'])} findings between {case['first_seen']} and {case['last_seen']}.")
    return "\n".join(lines)


def pretty(value: Any) -> bytes:  # noqa: ANN401 - a JSON value
    """Write a JSON file: ASCII only, so that no reader guesses an encoding."""
    return (json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
