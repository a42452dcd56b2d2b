"""Say in words what a shipped rule leaves out: what a reader needs to trust it, to tune it, and to test it."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from mailwitness import tuning
from mailwitness.content import loader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.content.schemas import Case, Rule

# Elements that ATT&CK calls mutable in DET0266: each is a parameter of rules that carry the analytic.
MUTABLE_ELEMENTS = {
    "AN0737": ("MailstorePath", "TransportRuleNames", "PowerShellCommandMatch"),
    "AN0738": ("MailFolderPath", "CommandPattern"),
    "AN0739": ("ScriptCommandMatch", "LibraryPathMatch"),
    "AN0740": ("CmdletFilter", "UserRoleScope"),
}
_TECHNIQUE = re.compile(r"^T\d{4}(?:\.\d{3})?$")
_STRATEGY = re.compile(r"^DET\d{4}$")
_ANALYTIC = re.compile(r"^AN\d{4}$")
_COMPONENT = re.compile(r"^DC\d{4}$")
_HUNTING = "Hunting"


def problems(rule: Rule) -> Iterator[str]:
    """Yield one sentence for each thing a rule does not say, or says without meaning."""
    yield from _words(rule)
    yield from _attack(rule)
    yield from _parameters(rule)
    if rule.kind != _HUNTING:
        yield from kinds(rule.tests)


def kinds(tests: list[Case]) -> Iterator[str]:
    """Yield what is missing among the tests: a hit, a near-miss and a benign twin."""
    for test in tests:
        if test.expect == "silent" and not test.kind:
            yield f"the test {test.name!r} does not say its kind: near_miss or benign_twin"
        if test.expect == "hit" and test.kind:
            yield f"the test {test.name!r} expects a hit: only a silent test has a kind"
    if not any(test.expect == "hit" for test in tests):
        yield "no test expects a hit"
    found = {test.kind for test in tests if test.expect == "silent"}
    if "near_miss" not in found:
        yield "no test is a near_miss: an attack with one thing missing"
    if "benign_twin" not in found:
        yield "no test is a benign_twin: ordinary work that looks like the attack"


def mutable_elements(rules: list[Rule]) -> Iterator[str]:
    """Yield the mutable elements of DET0266 that no rule of their analytic has as a parameter."""
    for analytic, elements in MUTABLE_ELEMENTS.items():
        carrying = [rule for rule in rules if analytic in rule.attack.analytics]
        for element in elements:
            if not any(element in rule.parameters for rule in carrying):
                yield f"no rule of {analytic} has its mutable element {element} as a parameter"


def _words(rule: Rule) -> Iterator[str]:
    if not rule.falsePositives:
        yield "falsePositives is empty: say what benign work looks like this"
    if not rule.gaps:
        yield "gaps is empty: say what this rule knowingly misses"
    if rule.finding is None:
        yield "finding is missing: say how a finding is worded"
    for reason in ("severity", "confidence"):
        if not rule.reasons.get(reason):
            yield f"reasons.{reason} is missing: say in words why it has this {reason}"
    if not rule.guide:
        yield "guide is empty: say how a finding is investigated"
    if not rule.tuning:
        yield "tuning is empty: say what to change, and what not, when it is too loud or too quiet"


@cache
def _versions() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Return technique of v18 -> ids of v19, and technique of v19 -> its tactics there."""
    described = loader.read_yaml(loader.CONTENT / "attack" / "techniques.yaml")["techniques"]
    newer: dict[str, frozenset[str]] = {}
    tactics: dict[str, frozenset[str]] = {}
    for one in described:
        newer[one["v18"]] = newer.get(one["v18"], frozenset()) | {one["v19"]}
        tactics[one["v19"]] = tactics.get(one["v19"], frozenset()) | {*one["tactics_v19"]}
    return newer, tactics


def _attack(rule: Rule) -> Iterator[str]:
    attack = rule.attack
    if not attack.v18 or not attack.v19:
        yield "attack names no technique of v18 or of v19"
    yield from _mapped(rule)
    for key, pattern, named in (
        ("v18 or v19", _TECHNIQUE, [*rule.relevantTechniques, *attack.v18, *attack.v19]),
        ("strategies", _STRATEGY, attack.strategies),
        ("analytics", _ANALYTIC, attack.analytics),
        ("components", _COMPONENT, attack.components),
    ):
        yield from (f"{text!r} is no id of attack.{key}" for text in named if not pattern.match(text))
        if not named and key != "analytics":
            yield f"attack.{key} is empty"
    if "DET0266" in attack.strategies and not attack.analytics:
        yield "DET0266 is named without its analytic (AN0737 to AN0740)"


def _mapped(rule: Rule) -> Iterator[str]:
    newer, tactics = _versions()
    for text in rule.attack.v18:
        if text not in newer:
            yield f"{text} is no technique of the table of versions"
        elif not newer[text] & {*rule.attack.v19}:
            yield f"{text} is {', '.join(sorted(newer[text]))} in v19, which attack.v19 does not name"
    known = frozenset().union(*(tactics.get(text, frozenset()) for text in rule.attack.v19))
    if not {*rule.attack.tactics_v19} <= known or not rule.attack.tactics_v19:
        yield f"attack.tactics_v19 has to name tactics of its techniques: {', '.join(sorted(known))}"


def _parameters(rule: Rule) -> Iterator[str]:
    for name, parameter in rule.parameters.items():
        if not re.search(rf"\blet\s+{re.escape(name)}\s*=", rule.query):
            continue
        if tuning.is_pattern(rule.query, name) and tuning.matches_everything(str(parameter.default)):
            yield f"the parameter {name!r} matches everything: it decides nothing"
