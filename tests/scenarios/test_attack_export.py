"""The Navigator reads the layers, and a vault gathers rules and tests by the tags that note collections use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mailwitness.attack_export import knowledge, navigator, vault
from mailwitness.cli import app

# The shape of a layer in format 4.5, as its specification describes it.
HEX = {"type": "string", "pattern": "^(#[0-9a-fA-F]{6})?$"}
NAMED = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "value"],
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
    },
}
LAYER_4_5: dict[str, Any] = {
    "type": "object",
    "required": ["name", "versions", "domain", "techniques"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "versions": {
            "type": "object",
            "required": ["layer"],
            "additionalProperties": False,
            "properties": {
                "attack": {"type": "string", "pattern": "^[0-9]+$"},
                "navigator": {"type": "string"},
                "layer": {"const": "4.5"},
            },
        },
        "domain": {"enum": ["enterprise-attack", "mobile-attack", "ics-attack"]},
        "description": {"type": "string"},
        "filters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"platforms": {"type": "array", "items": {"type": "string"}}},
        },
        "sorting": {"enum": [0, 1, 2, 3]},
        "layout": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "layout": {"enum": ["side", "flat", "mini"]},
                "showID": {"type": "boolean"},
                "showName": {"type": "boolean"},
                "showAggregateScores": {"type": "boolean"},
                "countUnscored": {"type": "boolean"},
                "aggregateFunction": {"enum": ["average", "min", "max", "sum"]},
                "expandedSubtechniques": {"enum": ["all", "annotated", "none"]},
            },
        },
        "hideDisabled": {"type": "boolean"},
        "techniques": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["techniqueID"],
                "additionalProperties": False,
                "properties": {
                    "techniqueID": {"type": "string", "pattern": r"^T[0-9]{4}(\.[0-9]{3})?$"},
                    "tactic": {"type": "string"},
                    "score": {"type": "number"},
                    "color": HEX,
                    "comment": {"type": "string"},
                    "enabled": {"type": "boolean"},
                    "metadata": NAMED,
                    "links": {"type": "array"},
                    "showSubtechniques": {"type": "boolean"},
                },
            },
        },
        "gradient": {
            "type": "object",
            "required": ["colors", "minValue", "maxValue"],
            "properties": {
                "colors": {"type": "array", "minItems": 2, "items": HEX},
                "minValue": {"type": "number"},
                "maxValue": {"type": "number"},
            },
        },
        "legendItems": {"type": "array"},
        "metadata": NAMED,
        "links": {"type": "array"},
        "showTacticRowBackground": {"type": "boolean"},
        "tacticRowBackground": HEX,
        "selectTechniquesAcrossTactics": {"type": "boolean"},
        "selectSubtechniquesWithParent": {"type": "boolean"},
        "selectVisibleTechniques": {"type": "boolean"},
    },
}


@pytest.mark.parametrize("version", navigator.VERSIONS)
def test_a_layer_has_the_form_4_5_and_each_technique_once(version: str) -> None:
    layer = navigator.layer(version)

    jsonschema.validate(layer, LAYER_4_5)
    ids = [item["techniqueID"] for item in layer["techniques"]]
    assert len(ids) == len(set(ids))
    assert "T1070.008" in ids


def test_the_score_counts_the_rules_that_name_the_technique() -> None:
    layer = navigator.layer("v19")

    scores = {item["techniqueID"]: item["score"] for item in layer["techniques"]}

    assert scores["T1070.008"] == sum("T1070.008" in item.attack.v19 for item in knowledge.detections())


def front(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1]))


def test_the_vault_has_a_note_for_each_rule_and_test_with_the_tags_of_note_collections(
    tmp_path: Path,
) -> None:
    app(
        ["rules", "export", "vault", "--out", str(tmp_path / "vault")],
        exit_on_error=False,
        result_action="return_value",
    )

    rules = [front(path) for path in (tmp_path / "vault" / "Rules").iterdir()]
    tests = [front(path) for path in (tmp_path / "vault" / "Tests").iterdir()]
    assert len(rules) == len(knowledge.detections())
    assert all("detection_rule" in note["tags"] for note in rules)
    assert all("atomic_test" in note["tags"] for note in tests)
    assert any("T1070_008" in note["tags"] for note in rules)
    assert any("T1070_008" in note["tags"] for note in tests)


def test_every_link_of_the_vault_leads_to_a_note(tmp_path: Path) -> None:
    vault.write(tmp_path)
    notes = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}

    links = {
        link
        for path in tmp_path.rglob("*.md")
        for link in re.findall(r"\[\[([^|\]]+)\|", path.read_text(encoding="utf-8"))
    }

    assert links
    assert {f"{link}.md" for link in links} <= notes


def test_the_layers_are_written_for_both_versions(tmp_path: Path) -> None:
    app(
        ["rules", "export", "navigator", "--out", str(tmp_path)],
        exit_on_error=False,
        result_action="return_value",
    )

    written = {
        path.name: json.loads(path.read_text(encoding="utf-8"))["versions"]["attack"]
        for path in tmp_path.iterdir()
    }
    assert written == {"navigator-attack-v18.json": "18", "navigator-attack-v19.json": "19"}
