"""Rules whose parts are named members (cmdlet parameters, Graph, Gmail filters), read by a family's phrases."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mailwitness.proof import conditions
from mailwitness.proof.readings import Act, Clause, Part, Reading

if TYPE_CHECKING:
    from mailwitness.content.schemas import SettingFamily, SettingPhrase
    from mailwitness.proof.conditions import Condition

JsonDict = dict[str, Any]  # Any: JSON values

_NOTHING = {"", "false", "$false", "null", "[]", "{}", "none"}
_WORD_BYTES = 300
_ADDRESS = re.compile(r"[^\s<>\[\]:;,\"']+@[^\s<>\[\]:;,\"']+")


def read(definition: JsonDict, family: SettingFamily) -> Reading:
    """Return what a rule says by its members.

    Args:
        definition: ``{"SubjectContainsWords": ["invoice"], "DeleteMessage": true}``; members of members are named with a dot.
        family: has the phrases.
    """
    acts: list[Act] = []
    parts: list[Condition] = []
    for phrase in family.phrases:
        values = _chosen(values_of(_member(definition, phrase.member)), phrase)
        if not values:
            continue
        words = phrase.phrase.replace("{value}", conditions.shown(values))
        if phrase.part == "condition":
            parts.append(_condition(phrase, values, words))
        elif phrase.part == "exception":
            parts.append(_exception(phrase, values, words))
        else:
            acts.append(Act(_part(phrase), words))
    parts += [conditions.unknown(words) for words in _further(definition, family)]
    if not acts:
        return Reading()
    return Reading(clauses=(Clause(tuple(acts), conditions.all_of(parts)),))


def is_silent(definition: JsonDict, family: SettingFamily) -> bool:
    """Tell whether a record says nothing of what the rule does: Outlook's records of a modification have no body."""
    return not any(values_of(_member(definition, phrase.member)) for phrase in family.phrases)


def values_of(value: object) -> list[str]:
    """Return the values of a member: of a list its items, of a text its parts between semicolons or commas."""
    if isinstance(value, list):
        return [one for item in value for one in _single(item)]
    if isinstance(value, str) and re.match(r"\s*\[", value):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, list):
            return values_of(parsed)
    if isinstance(value, str) and not (text := value.strip()).startswith("{"):
        parts = text.strip("[]").split(";" if ";" in text else ",")
        return [one for part in parts for one in _single(part.strip(" \"'"))]
    return _single(value)


def _single(value: object) -> list[str]:
    if isinstance(value, dict):
        named = value.get("emailAddress") or value
        told = named.get("address") or named.get("name") if isinstance(named, dict) else None
        return _single(told or json.dumps(value, sort_keys=True))
    text = str(value if value is not None else "").strip()
    return [] if text.lower() in _NOTHING else [text[:_WORD_BYTES]]


def _member(definition: JsonDict, path: str) -> object:
    found: object = definition
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _chosen(values: list[str], phrase: SettingPhrase) -> list[str]:
    if not phrase.value:
        return values
    return [value for value in values if re.fullmatch(phrase.value, value, re.IGNORECASE)]


def _part(phrase: SettingPhrase) -> Part:
    known: dict[str, Part] = {"destroys": "destroys", "hides": "hides", "strips": "strips"}
    return known.get(phrase.part, "does")


def _condition(phrase: SettingPhrase, values: list[str], words: str) -> Condition:
    if not phrase.field:
        return conditions.unknown(words)
    addresses = [found[0] for value in values if (found := _ADDRESS.search(value))]
    if phrase.match == "is" and len(addresses) < len(values):
        # A display name or a group: a trace has addresses.
        return conditions.compare(phrase.field, "contains", values, words, is_partial=True)
    return conditions.compare(
        phrase.field, phrase.match, addresses if phrase.match == "is" else values, words
    )


def _exception(phrase: SettingPhrase, values: list[str], words: str) -> Condition:
    found = conditions.negate(_condition(phrase, values, words))
    return conditions.Condition(found.sql, words, (words,) if found.unjudged else ())


def _further(definition: JsonDict, family: SettingFamily) -> list[str]:
    """Return members that narrow a rule and have no phrase: without them it would count as a rule for every message."""
    if not family.narrows:
        return []
    named = {phrase.member.split(".")[0] for phrase in family.phrases}
    nested = {phrase.member for phrase in family.phrases if "." in phrase.member}
    found = []
    for name, value in sorted(definition.items()):
        if name not in named and re.search(family.narrows, name) and values_of(value):
            found.append(f"with {name} {conditions.shown(values_of(value))}")
        elif isinstance(value, dict) and any(one.startswith(f"{name}.") for one in nested):
            found += [
                f"with {name}.{inner} {conditions.shown(values_of(content))}"
                for inner, content in sorted(value.items())
                if f"{name}.{inner}" not in nested
                and re.search(family.narrows, f"{name}.{inner}")
                and values_of(content)
            ]
    return found
