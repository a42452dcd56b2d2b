"""A vault of Markdown notes, as Obsidian and similar programs read it: techniques, rules and tests, joined by links and tags.

The tags ``detection_rule``, ``atomic_test`` and ``T1070_008`` are those by which note collections about ATT&CK gather
rules and tests under a technique.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mailwitness import __version__
from mailwitness.attack_export.knowledge import Detection, Technique, detections, techniques, version_number
from mailwitness.scenarios import description, lint, telling
from mailwitness.scenarios.telling import Instance

_FORBIDDEN = re.compile(r'[\\/:*?"<>|#^\[\]\x00-\x1f]+')


def write(folder: Path) -> list[Path]:
    """Write the vault into a folder and return its files.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for name, text in notes():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def notes() -> Iterator[tuple[str, str]]:
    """Yield (path within the vault, text) of each note."""
    for technique in techniques():
        yield f"Techniques/{_title(technique)}.md", _technique_note(technique)
    for item in detections():
        yield f"Rules/{_note_name(item)}.md", _rule_note(item)
    for instance in telling.instances().values():
        yield f"Tests/{instance.name}.md", _test_note(instance)


def _title(technique: Technique) -> str:
    return _FORBIDDEN.sub("-", f"{technique.v19} {technique.name}")


def _note_name(item: Detection) -> str:
    return _FORBIDDEN.sub("-", f"{item.kind} {item.platform} {item.file}")


def tag(technique: str) -> str:
    """Return a technique's tag; a tag cannot hold a dot."""
    return technique.replace(".", "_")


def _front(values: dict[str, object]) -> str:
    """Write front matter; every value as JSON, which is YAML that no text inside can break out of."""
    return (
        "---\n"
        + "".join(f"{key}: {json.dumps(value, ensure_ascii=True)}\n" for key, value in values.items())
        + "---\n\n"
    )


def _technique_note(technique: Technique) -> str:
    ids = sorted({technique.v19, technique.v18})
    front = _front(
        {
            "id": technique.v19,
            "id_v18": technique.v18,
            "tactics": technique.tactics_v19,
            "tactics_v18": technique.tactics_v18,
            "attack": version_number("v19"),
            "generator": f"mailwitness {__version__}",
            "tags": [
                *(tag(name) for name in ids),
                "techniques",
                *(tactic.replace("-", "_") for tactic in technique.tactics_v19),
            ],
        }
    )
    finders = [
        item for item in detections() if {technique.v19, technique.v18} & {*item.attack.v19, *item.attack.v18}
    ]
    tests = [name for name, item in telling.instances().items() if technique.v19 in _techniques(item)]
    return (
        front
        + f"# {technique.name}\n\n## Detection rules\n\n"
        + (_links(f"Rules/{_note_name(item)}" for item in finders) or "None yet.\n")
        + "\n## Tests\n\n"
        + (_links(f"Tests/{name}" for name in tests) or "None yet.\n")
    )


def _links(names: Iterator[str]) -> str:
    return "".join(f"- [[{name}|{name.split('/', 1)[1]}]]\n" for name in names)


def _rule_note(item: Detection) -> str:
    attack = item.attack
    front = _front(
        {
            "id": item.id,
            "kind": item.kind,
            "platform": item.platform,
            "severity": item.severity,
            "confidence": item.confidence,
            "techniques": attack.v19,
            "techniques_v18": attack.v18,
            "analytics": attack.analytics,
            "tags": ["detection_rule", *(tag(name) for name in dict.fromkeys([*attack.v19, *attack.v18]))],
        }
    )
    parts = [f"# {item.name}\n", item.description + "\n"]
    for heading, lines in (
        ("What looks like it", item.false_positives),
        ("What it misses", item.gaps),
        ("How to look into it", item.guide),
    ):
        if lines:
            parts.append(f"## {heading}\n\n" + "".join(f"- {line}\n" for line in lines))
    if item.query:
        # More backticks than the query holds in a row: what stands in a query never ends its block.
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", item.query)), default=0))
        parts.append(f"## Query\n\n{fence}kusto\n{item.query}\n{fence}\n")
    return front + "\n".join(parts)


def _techniques(instance: Instance) -> list[str]:
    return instance.scenario.attack.expect.techniques


def _test_note(instance: Instance) -> str:
    catalogue = description.catalogue()
    known = [catalogue[name] for name in lint.covers(instance)]
    front = _front(
        {
            "id": instance.name,
            "kind": "benign twin" if instance.is_twin else "attack",
            "platform": instance.scenario.platform,
            "covers": [item.id for item in known],
            "tags": ["atomic_test", *(tag(name) for name in _techniques(instance) or ["T1070.008"])],
        }
    )
    covered = "".join(f"- {item.name}{f' ({item.reference})' if item.reference else ''}\n" for item in known)
    return (
        f"{front}# {instance.scenario.name}\n\n{instance.side.name[:1].upper()}{instance.side.name[1:]}.\n\n## Stands for\n\n{covered}\n"
        f"## Run\n\n```\nmailwitness emulate {instance.name} --out test\nmailwitness investigate test/evidence --case test/case\n```\n"
    )
