"""Equality before speed: compare a case folder with the generator's manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

# A reader may rescue these and mark them as salvaged; nothing else.
RESCUABLE = {"truncated", "nul", "invalid_utf8"}
# A CSV row says who did what and when beside the damaged record, so these rows can be rescued too.
RESCUABLE_IN_ROWS = RESCUABLE | {"scalar", "noise"}
LINE_END = 2  # bytes of a line end that a span may or may not include
HIGH = {"high", "critical"}

Json = dict[str, Any]  # Any: parsed JSON


class Answer(NamedTuple):
    """What a run found, and everything about it that is wrong."""

    problems: list[str]
    salvaged: int
    quarantined: int
    chains: int
    other_high_cases: int


def manifest(path: Path, name: str) -> Any:  # noqa: ANN401 - parsed JSON
    """Read one of the two manifests beside a generated file."""
    return json.loads(Path(f"{path}.{name}.json").read_text("utf-8"))


def check(case: Path, path: Path) -> Answer:
    """Compare events, quarantine and planted chains; no problems means equal."""
    try:
        report: Json = json.loads((case / "report.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        return Answer([f"no report.json: {error}"], 0, 0, 0, 0)
    truth = manifest(path, "truth")
    damage = {d["offset"]: d for d in manifest(path, "damage") if d["kind"] != "blank"}
    intake = {key: sum(row[key] for row in report["intake"]) for key in COUNTS}
    entries = quarantine(case, report)
    problems = _count_problems(intake, truth, len(damage))
    rescuable = RESCUABLE_IN_ROWS if "csv" in truth.get("shape", "") else RESCUABLE
    problems += _quarantine_problems(entries, damage, intake, rescuable)
    missed, others = _chain_problems(report, truth["chains"])
    return Answer(
        problems + missed,
        intake["salvaged"],
        intake["quarantined"],
        len(truth["chains"]) - len(missed),
        others,
    )


COUNTS = ("records", "loaded", "duplicates", "quarantined", "salvaged")


def _count_problems(intake: dict[str, int], truth: Json, damaged: int) -> list[str]:
    """Compare the counts: nothing lost, nothing invented."""
    expected = {
        "records seen": (truth["records"], intake["records"]),
        "duplicates": (0, intake["duplicates"]),
        "sound events loaded": (truth["events"], intake["loaded"] - intake["salvaged"]),
        "damaged records reported": (damaged, intake["quarantined"] + intake["salvaged"]),
        "records accounted for": (
            intake["records"],
            intake["loaded"] + intake["duplicates"] + intake["quarantined"],
        ),
    }
    return [
        f"{what}: {found:,} instead of {wanted:,}"
        for what, (wanted, found) in expected.items()
        if wanted != found
    ]


def quarantine(case: Path, report: Json) -> list[Json]:
    """Return all quarantined records; the report itself lists only the first 1,000."""
    path = case / "quarantine.jsonl"
    if not path.is_file():
        return list(report["quarantine"])
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def _quarantine_problems(
    entries: list[Json], damage: dict[int, Json], intake: dict[str, int], rescuable: set[str]
) -> list[str]:
    """Compare the quarantine with the manifest: line number, offset and length of each."""
    problems = []
    if len(entries) != intake["quarantined"]:
        problems.append(f"quarantine lists {len(entries)}, intake says {intake['quarantined']}")
    for entry in entries:
        known = damage.get(entry["offset"])
        if known is None:
            problems.append(f"sound record quarantined at offset {entry['offset']}: {entry['reason']}")
        elif entry["line"] != known["line"] or not 0 <= entry["length"] - known["length"] <= LINE_END:
            problems.append(f"place of a quarantined record differs: {entry['line']}, {known}")
    silent = set(damage) - {entry["offset"] for entry in entries}
    lost = [damage[offset] for offset in sorted(silent) if damage[offset]["kind"] not in rescuable]
    return problems + [f"damage not reported: {place}" for place in lost]


def _chain_problems(report: Json, chains: list[Json]) -> tuple[list[str], int]:
    """Look for each planted chain in the cases of its actor.

    A chain counts as found when that actor's cases prove, by the offset of a finding,
    the removed export, the inbox rule and at least one of the hard deletes.
    """
    proven: dict[str, set[int]] = {}
    planted = {chain["actor"].lower() for chain in chains}
    others = 0
    for case in report["cases"]:
        actors = {str(name).lower() for name in case["actors"]}
        offsets = {finding["position"].get("offset") for finding in case["findings"]}
        for name in actors:
            proven.setdefault(name, set()).update(offsets)
        others += case["severity"] in HIGH and not actors & planted
    problems = []
    for chain in chains:
        found = proven.get(chain["actor"].lower(), set())
        missing = [
            operation
            for operation in ("RemovedSearchExported", "New-InboxRule", "HardDelete")
            if not any(s["offset"] in found for s in chain["steps"] if s["operation"] == operation)
        ]
        if missing:
            problems.append(f"chain of {chain['actor']} not proven: {', '.join(missing)}")
    return problems, others
