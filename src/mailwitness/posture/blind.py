"""Which rules and chains see nothing where a check fails, computed from the content."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from mailwitness.activities import vocabulary
from mailwitness.content import loader
from mailwitness.kql import tokens
from mailwitness.needs import TABLE, named_activities

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.content.schemas import Blind, Chain, Rule

_NAMED = 3


class Blinded(msgspec.Struct, frozen=True):
    """Names of rules (their files) and chains, in a stable order."""

    rules: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()


class Rules:
    """What each shipped rule and chain looks at, read once."""

    def __init__(self) -> None:
        self._vocabulary = vocabulary(loader.parsers())
        self._rules = [
            (path, rule, named_activities(rule.query, self._vocabulary)) for path, rule in loader.rules()
        ]
        self._chains = [chain for _, chain in loader.chains()]

    def knows(self, activity: str) -> bool:
        """Say whether an activity exists."""
        return activity in self._vocabulary

    def blinded(self, blind: Blind | None) -> Blinded:
        """Return the rules that look for one of the activities, and the chains with a step that looks for nothing else."""
        if blind is None:
            return Blinded()
        lost = set(blind.activities)
        rules = [
            (path, rule)
            for path, rule, named in self._rules
            if named & lost
            and (not blind.platforms or _platform(path) in blind.platforms)
            and _reads(rule, blind)
        ]
        ids = {rule.id for _, rule in rules}
        chains = [chain.name for chain in self._chains if self._is_cut(chain, lost, ids)]
        return Blinded(tuple(_name(path) for path, _ in rules), tuple(chains))

    def _is_cut(self, chain: Chain, lost: set[str], rules: set[str]) -> bool:
        for step in chain.ordered():
            named = named_activities(step.filter or step.query, self._vocabulary)
            if not step.optional and ((named and named <= lost) or step.rule in rules):
                return True
        return False


@cache
def shipped() -> Rules:
    """Return the shipped rules and chains, read once."""
    return Rules()


def _reads(rule: Rule, blind: Blind) -> bool:
    """Say whether a rule can have its rows from the tables that are meant."""
    strings = {token.text.strip("@h").strip("\"'") for token in tokens(rule.query)}
    named = strings & set(loader.tables()) - {TABLE}
    return not blind.tables or not named or bool(named & set(blind.tables))


def _platform(path: Path) -> str:
    return path.relative_to(loader.CONTENT / "rules").parts[0]


def _name(path: Path) -> str:
    return path.relative_to(loader.CONTENT / "rules").with_suffix("").as_posix()


def sentence(meaning: str, blind: Blind | None, found: Blinded) -> str:
    """Return the meaning with the rules and chains that it costs; the first three of each by name."""
    if blind is None or not (found.rules or found.chains):
        return f"{meaning}."
    parts = [_listed("rule", found.rules), _listed("chain", found.chains)]
    listed = " and ".join(part for part in parts if part)
    is_one = len(found.rules) + len(found.chains) == 1
    if blind.effect == "blind":
        return f"{meaning}: {listed} {'gets' if is_one else 'get'} no record of it."
    return f"{meaning}: {listed} {'rests' if is_one else 'rest'} on records that the intruder can erase."


def _listed(word: str, names: tuple[str, ...]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{word}{'s' if len(names) > 1 else ''} {shown}{more}"
