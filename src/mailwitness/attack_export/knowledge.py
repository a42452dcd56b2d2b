"""Rules, chains, scenarios and techniques side by side: which rule speaks of which technique, and what proves it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from mailwitness.content import loader, schemas

Version = str  # "v18" or "v19"


class Technique(msgspec.Struct, frozen=True):
    """One technique with its ids and tactics in both versions."""

    name: str
    v18: str
    v19: str
    tactics_v18: list[str] = []
    tactics_v19: list[str] = []

    def id(self, version: Version) -> str:
        """Return the id in a version."""
        return self.v19 if version == "v19" else self.v18

    def tactics(self, version: Version) -> list[str]:
        """Return the short names of the tactics in a version."""
        return self.tactics_v19 if version == "v19" else self.tactics_v18


class Detection(msgspec.Struct, frozen=True):
    """A rule or a chain, as far as a note needs it.

    Attributes:
        file: name of its content file without the ending, unique within its kind.
        kind: ``rule`` or ``chain``.
        query: KQL; empty for a chain.
    """

    id: str
    file: str
    kind: str
    name: str
    platform: str
    severity: str
    confidence: str
    description: str
    attack: schemas.Attack
    false_positives: list[str]
    gaps: list[str]
    guide: list[str]
    query: str

    def techniques(self, version: Version) -> list[str]:
        """Return its technique ids in a version."""
        return self.attack.v19 if version == "v19" else self.attack.v18


class _File(msgspec.Struct):
    versions: dict[str, str]
    techniques: list[Technique]


@cache
def _file() -> _File:
    return msgspec.convert(loader.read_yaml(loader.CONTENT / "attack" / "techniques.yaml"), _File)


def version_number(version: Version) -> str:
    """Return the exact version of ATT&CK, such as 19.1."""
    return _file().versions[version]


def techniques() -> list[Technique]:
    """Return all techniques that the content knows."""
    return _file().techniques


@cache
def detections() -> tuple[Detection, ...]:
    """Return all rules and chains in the order of their files."""
    rules = [_of_rule(path, rule) for path, rule in loader.rules()]
    return (*rules, *(_of_chain(path, chain) for path, chain in loader.chains()))


def _of_rule(path: Path, rule: schemas.Rule) -> Detection:
    return Detection(
        id=rule.id,
        file=path.stem,
        kind="rule",
        name=rule.name,
        platform=path.parent.name,
        severity=rule.level(),
        confidence=rule.confidence,
        description=rule.description.strip(),
        attack=rule.attack,
        false_positives=rule.falsePositives,
        gaps=rule.gaps,
        guide=rule.guide,
        query=rule.query.strip(),
    )


def _of_chain(path: Path, chain: schemas.Chain) -> Detection:
    return Detection(
        id=chain.id,
        file=path.stem,
        kind="chain",
        name=chain.title,
        platform="all",
        severity=chain.level,
        confidence=chain.confidence,
        description=chain.description.strip(),
        attack=chain.attack,
        false_positives=chain.falsepositives,
        gaps=chain.gaps,
        guide=[],
        query="",
    )
