"""A rule says what a reader needs to trust, tune and test it; one that leaves something out is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mailwitness import rule_form, tuning
from mailwitness.content import loader
from mailwitness.content.schemas import Attack, Case, Parameter, Rule
from mailwitness.content_lint import parser_problems
from mailwitness.errors import ConfigError

COMPLETE = next(rule for path, rule in loader.rules() if path.stem == "mail_store_emptied")


def test_every_shipped_rule_says_everything() -> None:
    found = [f"{path.stem}: {said}" for path, rule in loader.rules() for said in rule_form.problems(rule)]

    assert found == []
    assert list(rule_form.mutable_elements([rule for _, rule in loader.rules()])) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"falsePositives": []}, "falsePositives"),
        ({"gaps": []}, "gaps"),
        ({"guide": []}, "guide"),
        ({"tuning": []}, "tuning"),
        ({"finding": None}, "finding"),
        ({"reasons": {"severity": "It is gone."}}, "reasons.confidence"),
        ({"attack": Attack()}, "no technique of v18"),
        ({"tests": [t for t in COMPLETE.tests if t.kind != "benign_twin"]}, "benign_twin"),
        ({"tests": [t for t in COMPLETE.tests if t.kind != "near_miss"]}, "near_miss"),
        ({"tests": [t for t in COMPLETE.tests if t.expect != "hit"]}, "expects a hit"),
        ({"tests": [*COMPLETE.tests, Case("x", "silent", {})]}, "does not say its kind"),
    ],
)
def test_a_rule_that_leaves_something_out_is_told_so(change: dict[str, Any], said: str) -> None:
    poorer = msgspec.structs.replace(COMPLETE, **change)

    assert any(said in problem for problem in rule_form.problems(poorer))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v19": ["T1070.002"]}, "T1070.008 in v19"),
        ({"v18": ["T9999"]}, "no technique of the table"),
        ({"tactics_v19": ["defense-evasion"]}, "tactics of its techniques"),
        ({"analytics": []}, "without its analytic"),
        ({"components": ["Process"]}, "'Process' is no id"),
    ],
)
def test_ids_that_do_not_fit_the_versions_of_attack_are_told(change: dict[str, list[str]], said: str) -> None:
    attack = msgspec.structs.replace(COMPLETE.attack, **change)

    found = list(rule_form.problems(msgspec.structs.replace(COMPLETE, attack=attack)))

    assert any(said in problem for problem in found)


def test_a_parameter_that_matches_everything_is_told() -> None:
    wide = Parameter(default="^", description="x")

    found = list(rule_form.problems(msgspec.structs.replace(COMPLETE, parameters={"MailFolderPath": wide})))

    assert any("matches everything" in problem for problem in found)


@pytest.mark.parametrize("pattern", ["", ".*", "^/", "^", "(?i).", "a|", r"[\s\S]*"])
def test_a_pattern_that_matches_everything_cannot_be_set(pattern: str) -> None:
    setting = tuning.Setting(COMPLETE.id, "MailFolderPath", pattern)

    with pytest.raises(ConfigError, match="match everything"):
        tuning.apply([COMPLETE], [setting])


def test_a_pattern_that_leaves_something_out_can_be_set() -> None:
    setting = tuning.Setting(COMPLETE.id, "MailFolderPath", "^/srv/mail/")

    changed, used = tuning.apply([COMPLETE], [setting])

    assert used == {setting}
    assert "^/srv/mail/" in changed[0].query


def test_an_element_that_no_rule_of_its_analytic_has_is_told() -> None:
    bare = Rule(id="", name="", description="", severity="Low", query="", attack=Attack(analytics=["AN0738"]))

    assert any("MailFolderPath" in said for said in rule_form.mutable_elements([bare]))


def test_every_platform_of_the_rules_has_hunting_queries_beside_it() -> None:
    ruled = {path.parent.name for path, _ in loader.rules()}
    hunted = {path.parent.name for path, _ in loader.hunts()}

    assert hunted == ruled
    assert all(rule.kind == "Hunting" and rule.severity == "Informational" for _, rule in loader.hunts())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keys": {"Actor": "UserId"}}, "keys has to name exactly"),
        ({"bulk": {}}, "bulk is empty"),
        ({"activities": ["HardDeleted"]}, "which is not among activities"),
    ],
)
def test_a_parser_whose_keys_are_not_those_of_all_is_refused(changes: dict[str, object], said: str) -> None:
    parser = next(one for one in loader.parsers() if one.keys)

    assert list(parser_problems(parser)) == []
    assert any(said in problem for problem in parser_problems(msgspec.structs.replace(parser, **changes)))
