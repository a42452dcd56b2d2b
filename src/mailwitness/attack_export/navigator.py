"""Layers for the ATT&CK Navigator, in its layer format 4.5: one for each version of ATT&CK that the content names.

Source of the format: mitre-attack/attack-navigator, layers/spec/v4.5.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mailwitness import __version__
from mailwitness.attack_export.knowledge import (
    Detection,
    Technique,
    Version,
    detections,
    techniques,
    version_number,
)

LAYER_VERSION = "4.5"
NAVIGATOR_VERSION = "5.1.0"
VERSIONS: tuple[Version, ...] = ("v19", "v18")
_COLOURS = ["#dbe9f6", "#2171b5"]
_MOST_NAMES = 12

Json = dict[str, Any]  # Any: JSON values


def layer(version: Version) -> Json:
    """Return the layer of one version: each technique scored by the rules and chains that find it."""
    found = [item for technique in _distinct(version) if (item := _technique(technique, version))]
    return {
        "name": f"mailwitness {__version__}",
        "versions": {
            "attack": version_number(version).split(".")[0],
            "navigator": NAVIGATOR_VERSION,
            "layer": LAYER_VERSION,
        },
        "domain": "enterprise-attack",
        "description": "Techniques that the rules and chains of mailwitness find. The score is their number.",
        "filters": {"platforms": ["Linux", "macOS", "Office Suite", "Windows"]},
        "sorting": 3,
        "layout": {
            "layout": "side",
            "showID": True,
            "showName": True,
            "showAggregateScores": False,
            "countUnscored": False,
        },
        "hideDisabled": False,
        "techniques": found,
        "gradient": {
            "colors": _COLOURS,
            "minValue": 1,
            "maxValue": max((item["score"] for item in found), default=1),
        },
        "legendItems": [],
        "metadata": [{"name": "attack", "value": version_number(version)}],
        "links": [],
        "showTacticRowBackground": False,
        "tacticRowBackground": "#dddddd",
        "selectTechniquesAcrossTactics": True,
        "selectSubtechniquesWithParent": False,
        "selectVisibleTechniques": False,
    }


def _distinct(version: Version) -> list[Technique]:
    """Return the techniques once each: two of version 18 may be one of version 19."""
    return list({technique.id(version): technique for technique in reversed(techniques())}.values())[::-1]


def _technique(technique: Technique, version: Version) -> Json | None:
    wanted = technique.id(version)
    finders = [item for item in detections() if wanted in item.techniques(version)]
    if not finders:
        return None
    return {
        "techniqueID": wanted,
        "score": len(finders),
        "color": "",
        "comment": _comment(finders),
        "enabled": True,
        "metadata": [{"name": "tactics", "value": ", ".join(technique.tactics(version))}],
        "links": [],
        "showSubtechniques": "." in wanted,
    }


def _comment(finders: list[Detection]) -> str:
    names = [item.name for item in finders]
    more = f"; and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "; ".join(names[:_MOST_NAMES]) + more


def write(folder: Path) -> list[Path]:
    """Write the layers and return their files.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for version in VERSIONS:
        path = folder / f"navigator-attack-{version}.json"
        path.write_text(json.dumps(layer(version), indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written
