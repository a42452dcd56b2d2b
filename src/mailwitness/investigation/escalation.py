"""The rule of escalation, applied: escalate, keep or close, with the reasons for and against in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.content.playbook import Condition, Criterion, Escalation, Step, playbook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailwitness.cases import Story
    from mailwitness.investigation.answers import Answer

JsonDict = dict[str, Any]  # Any: JSON values
_GRAVE = {"medium", "high", "critical"}
_ENOUGH = 2
_UNKNOWN = "No answer: the question was not asked."


def decide(story: Story, said: Mapping[str, Answer], rule: Escalation | None = None) -> JsonDict:
    """Decide whether tier 2 has to look at a case.

    One reason of weight ``escalate``, or two of weight ``for``, escalates. A verdict under ``close`` closes
    the case when no reason of weight ``escalate`` holds. Everything else stays with level 1.

    Args:
        story: the case.
        said: question id -> answer.
        rule: the rule; None takes the shipped one.

    Returns:
        ``decision`` (escalate, keep or close), ``reasons_for`` and ``reasons_against``.
    """
    rule = rule or playbook().escalation
    holding = [one for one in rule.criteria if all(_holds(condition, story, said) for condition in one.when)]
    alone = [one for one in holding if one.weight == "escalate"]
    beside = [one for one in holding if one.weight == "for"]
    if alone or (len(beside) >= _ENOUGH and story.verdict not in rule.close):
        decision = "escalate"
    elif story.verdict in rule.close:
        decision = "close"
    else:
        decision = "keep"
    return {
        "decision": decision,
        "reasons_for": [_words(one, said) for one in (*alone, *beside)],
        "reasons_against": [_words(one, said) for one in holding if one.weight == "against"],
    }


def tasks(story: Story, said: Mapping[str, Answer]) -> list[JsonDict]:
    """Return the steps for people, filled with what the answers already say."""
    return [
        {
            "id": step.id,
            "tier": step.tier,
            "title": step.title,
            "known": " ".join(_known(name, said) for name in step.questions),
        }
        for step in playbook().steps
        if _is_for(step, story)
    ]


def _is_for(step: Step, story: Story) -> bool:
    return not step.when or story.verdict in step.when


def _known(name: str, said: Mapping[str, Answer]) -> str:
    if name not in said:
        return _UNKNOWN
    return f"{said[name].question} {said[name].sentence}"


def _holds(condition: Condition, story: Story, said: Mapping[str, Answer]) -> bool:
    if condition.verdict and story.verdict not in condition.verdict:
        return False
    if condition.severity and story.severity not in condition.severity:
        return False
    if condition.explained is not None and _is_explained(story) != condition.explained:
        return False
    return not condition.question or (
        condition.question in said and said[condition.question].said in condition.answers
    )


def _is_explained(story: Story) -> bool:
    """Tell whether every finding that was rated grave has a known cause; without a grave one nothing needs any."""
    grave = [f for f in story.findings if (f.rated or f.severity) in _GRAVE and f.actor_type != "System"]
    return all(f.explanations for f in grave)


def _words(criterion: Criterion, said: Mapping[str, Answer]) -> str:
    asked = next((c.question for c in criterion.when if c.question), "")
    sentence = said[asked].sentence if asked in said else ""
    return criterion.words.replace("{sentence}", sentence)
