"""Print what the rule clinic finds."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from mailwitness.clinic.examine import Diagnosis, examine
from mailwitness.report.text import visible

_CLEAN, _DEFECTS, _NOT_JUDGED = 0, 1, 2
_WIDEST = 700


def print_diagnoses(paths: list[Path], *, as_json: bool) -> int:
    """Print each rule with its defects; 0 none, 1 some, 2 a rule could not be judged.

    Raises:
        ContentError: a file holds no rule.
    """
    found = examine(paths)
    if as_json:
        print(json.dumps([msgspec.to_builtins(item) for item in found], indent=1))
    else:
        for item in found:
            _print(item)
        defects = sum(len(item.defects) for item in found)
        print(
            f"{len(found)} rules examined, {defects} defects, {sum(bool(item.not_judged) for item in found)} not judged"
        )
    if any(item.not_judged for item in found):
        return _NOT_JUDGED
    return _DEFECTS if any(item.defects for item in found) else _CLEAN


def _print(item: Diagnosis) -> None:
    print(visible(f"{item.file}: {item.name or '(no name)'} ({item.kind})", _WIDEST))
    if item.not_judged:
        print(visible(f"  not judged: {item.not_judged}", _WIDEST))
    for defect in item.defects:
        print(visible(f"  {defect.code}: {defect.sentence}", _WIDEST))
        print(visible(f"      seen in: {defect.evidence}", _WIDEST))
        print(visible(f"      remedy: {defect.remedy}", _WIDEST))
    if not item.defects and not item.not_judged:
        print("  no defect found")
