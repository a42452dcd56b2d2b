"""Do everything again and compare: the exhibits' digests, the custody chain, the verdict."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from mailwitness import local_knowledge, pipeline, signing
from mailwitness import outcome as outcome_document
from mailwitness.errors import CaseError, MailwitnessError
from mailwitness.evidence import custody, seal
from mailwitness.evidence.names import original_name
from mailwitness.evidence.store import CaseFolder
from mailwitness.tuning import Setting

JsonDict = dict[str, Any]  # Any: JSON values
_SHOWN = 8


class Line(msgspec.Struct, frozen=True):
    """One thing that was compared."""

    ok: bool
    text: str


def read_report(folder: CaseFolder) -> JsonDict:
    """Return the report of a case.

    Raises:
        CaseError: the case has no report, or it cannot be read.
    """
    path = folder.path / "report.json"
    try:
        found: JsonDict = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaseError(
            "the case has no readable report.json",
            place=str(path),
            remedy="Run `mailwitness investigate` again.",
        ) from error
    return found


def verify(case: Path, *, memory: str = "") -> list[Line]:
    """Compare a case with what its evidence gives now.

    The exhibits are hashed again; the same rules run at the same clock in a new, temporary case.

    Returns:
        One line for each thing compared; all are ok when nothing differs.

    Raises:
        CaseError: there is no case or no report.
    """
    folder = CaseFolder(case, create=False)
    report = read_report(folder)
    lines = [_custody(folder, report), *_head(folder)]
    lines += [_exhibit(item) for item in _exhibits(folder, report)]
    lines += _archives(folder.custody) if lines[0].ok else []
    lines.append(_rules(folder, report))
    lines += _repeat(folder, report, memory)
    return lines


def _custody(folder: CaseFolder, report: JsonDict) -> Line:
    checked = custody.verify(folder.custody)
    if not checked.ok:
        return Line(ok=False, text=f"custody log: {'; '.join(checked.problems[:_SHOWN])}")
    recorded = [entry for entry in _entries(folder.custody) if entry.get("event") == "evaluated"]
    if not recorded or recorded[-1].get("report") != outcome_document.digest(report):
        return Line(ok=False, text="custody log: the chain holds, but report.json is not the one it records")
    return Line(
        ok=True, text=f"custody log: {checked.entries} entries, chain unbroken, head {checked.head[:16]}"
    )


def _head(folder: CaseFolder) -> list[Line]:
    """Compare the custody log with its signed head; a case of somebody without a key has none."""
    try:
        head = signing.signed_head(folder.path / signing.HEAD_FILE)
        if head is None:
            return []
        problem = signing.custody_problem(folder.custody, head)
    except (MailwitnessError, OSError) as error:
        return [Line(ok=False, text=f"custody head: {error}")]
    text = problem or f"{head.entries} entries signed on {head.time} with the key {head.key}"
    return [Line(ok=not problem, text=f"custody head: {text}")]


def _entries(path: Path) -> list[JsonDict]:
    with path.open("rb") as handle:
        return [json.loads(line) for line in handle]


def _exhibits(folder: CaseFolder, report: JsonDict) -> list[tuple[JsonDict, JsonDict]]:
    places = {item["id"]: item for item in folder.description().get("exhibits", [])}
    return [(item, places.get(item["exhibit"], {})) for item in report["intake"]]


def _exhibit(pair: tuple[JsonDict, JsonDict]) -> Line:
    item, place = pair
    name = f"exhibit {item['exhibit']} ({item['path']})"
    location = Path(place.get("location", ""))
    if not place or not location.is_file():
        return Line(ok=False, text=f"{name}: the original is not at its place, so it could not be hashed")
    try:
        digests = seal.rehash(location)
    except MailwitnessError as error:
        return Line(ok=False, text=f"{name}: {error}")
    if digests.sha256 != item["sha256"] or digests.blake3 != item["blake3"]:
        return Line(
            ok=False, text=f"{name}: its bytes changed: SHA-256 is {digests.sha256}, was {item['sha256']}"
        )
    return Line(ok=True, text=f"{name}: SHA-256 {digests.sha256} unchanged")


def _archives(path: Path) -> list[Line]:
    """Hash again the archives whose members are exhibits; the custody log holds their digests."""
    entries = _entries(path)
    parents = {entry["parent_blake3"] for entry in entries if entry.get("event") == "extracted"}
    sealed = {
        entry["file"]: entry["blake3"] for entry in entries if entry.get("event") in {"received", "sealed"}
    }
    lines = []
    for name, blake3 in sealed.items():
        if blake3 not in parents:
            continue
        try:
            unchanged = seal.rehash(Path(original_name(name))).blake3 == blake3
        except MailwitnessError as error:
            lines.append(Line(ok=False, text=f"archive {error}"))
            continue
        lines.append(
            Line(ok=unchanged, text=f"archive {name}: {'unchanged' if unchanged else 'its bytes changed'}")
        )
    return lines


def _rules(folder: CaseFolder, report: JsonDict) -> Line:
    rules, watchlists, sources = (_present(folder, kind) for kind in ("rules", "watchlists", "sources"))
    present = local_knowledge.present_digest(rules, watchlists, _parameters(folder), sources)
    if present != report["rule_pack"]["digest"]:
        return Line(
            ok=False,
            text=f"rule pack: {present[:16]} here, the case used {report['rule_pack']['digest'][:16]}",
        )
    return Line(ok=True, text=f"rule pack: {present[:16]} unchanged, {report['rule_pack']['rules']} rules")


def _present(folder: CaseFolder, kind: str) -> tuple[Path, ...]:
    """Return the folders of rules, watchlists or sources of the run that are still there."""
    return tuple(path for name in folder.description().get(kind, []) if (path := Path(name)).exists())


def _parameters(folder: CaseFolder) -> tuple[Setting, ...]:
    return tuple(msgspec.convert(folder.description().get("parameters", []), list[Setting]))


def _repeat(folder: CaseFolder, report: JsonDict, memory: str) -> list[Line]:
    """Investigate the same exhibits once more and compare the verdicts field by field."""
    now = dt.datetime.fromisoformat(report["evaluated"]["now"])
    listed = folder.description().get("exhibits", [])
    # A folder that is gone has its own line; the verdict is compared with the rules that are left.
    settings = pipeline.Settings(
        now=now,
        memory=memory,
        rules=_present(folder, "rules"),
        watchlists=_present(folder, "watchlists"),
        sources=_present(folder, "sources"),
        parameters=_parameters(folder),
        proof=folder.description().get("proof", "auto"),
    )
    with tempfile.TemporaryDirectory(prefix="mailwitness-verify-") as temporary:
        inputs = folder.description().get("given", []) or [item["location"] for item in listed]
        repeated = pipeline.investigate(
            [Path(name) for name in inputs], Path(temporary) / "case", settings, pipeline.Progress()
        ).report
    # As it would be read from a file: tuples are lists there.
    repeated = json.loads(json.dumps(repeated))
    if outcome_document.digest(repeated) == outcome_document.digest(report):
        text = f"verdict: repeated at {report['evaluated']['now']}: {report['summary']['outcome']}, {len(report['cases'])} cases, identical"
        return [Line(ok=True, text=text)]
    return [
        Line(ok=False, text=f"verdict: {difference}") for difference in differences(report, repeated)[:_SHOWN]
    ]


def differences(before: Any, after: Any, place: str = "") -> list[str]:  # noqa: ANN401 - JSON values
    """Return where two reports differ, as paths with both values."""
    if type(before) is not type(after):
        return [f"{place or 'report'}: was {_short(before)}, is {_short(after)}"]
    if isinstance(before, dict):
        keys = [
            key
            for key in [*before, *(k for k in after if k not in before)]
            if key not in outcome_document.VOLATILE
        ]
        return [
            d
            for key in keys
            for d in differences(before.get(key), after.get(key), f"{place}.{key}".lstrip("."))
        ]
    if isinstance(before, list):
        if len(before) != len(after):
            return [f"{place}: was {len(before)} long, is {len(after)}"]
        return [
            d
            for i, (b, a) in enumerate(zip(before, after, strict=True))
            for d in differences(b, a, f"{place}[{i}]")
        ]
    return [] if before == after else [f"{place}: was {_short(before)}, is {_short(after)}"]


def _short(value: Any) -> str:  # noqa: ANN401 - a JSON value
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 100 else text[:99] + "…"  # noqa: PLR2004
