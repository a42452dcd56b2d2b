"""A Sigma rule as one of our rules: compiled to KQL, with its level, tags and false positives."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

from mailwitness.content import schemas
from mailwitness.content.foreign import logsources
from mailwitness.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

    from sigma.rule import SigmaRule

_NAMESPACE = uuid.UUID("6c2f7a52-3a51-4a0e-9d0b-1c8f5d1c2a10")
_SEVERITY: dict[str, Literal["Informational", "Low", "Medium", "High"]] = {
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "critical": "High",
}
_PHASES: dict[str, schemas.Phase] = {
    "collection": "collection",
    "exfiltration": "exfiltration",
    "stealth": "hiding",
    "defense-evasion": "hiding",
    "defense-impairment": "hiding",
}
_CLEARING = "T1070"
_REMEDY = "Say it in KQL, or leave it out."


def is_sigma(document: dict[str, Any]) -> bool:  # Any: YAML values
    """Tell whether a YAML document is a part of Sigma: a rule, a correlation, a filter or a collection's action."""
    return (
        "detection" in document or "correlation" in document or "filter" in document or "action" in document
    )


def compile_rules(path: Path, documents: list[dict[str, Any]]) -> list[schemas.Rule | ContentError]:
    """Return each rule of one Sigma file, or why it is refused.

    Args:
        path: the file, for messages.
        documents: its YAML documents.
    """
    for name in ("correlation", "filter"):
        if any(name in document for document in documents):
            words = {"correlation": "a correlation over other rules", "filter": "a filter of other rules"}[
                name
            ]
            return [_refused(path, f"it is {words}, which is not compiled to one query")]
    from sigma.collection import SigmaCollection  # noqa: PLC0415 - 130 ms, only for those who use Sigma
    from sigma.exceptions import SigmaError  # noqa: PLC0415 - as above

    try:
        collection = SigmaCollection.from_dicts(documents, collect_errors=True)
    except (SigmaError, AttributeError, TypeError, ValueError, KeyError) as error:
        return [_refused(path, f"it is no sound Sigma rule ({_line(error)})")]
    return [_compiled(path, rule) for rule in collection.rules]


def _compiled(path: Path, rule: Any) -> schemas.Rule | ContentError:  # noqa: ANN401 - Sigma's rule or correlation
    from sigma.exceptions import SigmaError  # noqa: PLC0415 - see compile_rules

    from mailwitness.content.foreign.kusto import Unsupported  # noqa: PLC0415 - imports Sigma

    if rule.errors:
        return _refused(path, f"it is no sound Sigma rule ({_line(rule.errors[0])})")
    try:
        return as_rule(rule, query_of(rule))
    except Unsupported as reason:
        return _refused(path, str(reason))
    except (SigmaError, NotImplementedError, AttributeError, TypeError, ValueError, RecursionError) as error:
        return _refused(path, f"its condition cannot be compiled ({_line(error)})")


def query_of(rule: SigmaRule) -> str:
    """Return the KQL of a Sigma rule.

    Raises:
        Unsupported: its log source or a part of its condition has no faithful KQL.
    """
    from sigma.conversion.state import ConversionState  # noqa: PLC0415 - see compile_rules

    from mailwitness.content.foreign.kusto import Backend, Unsupported  # noqa: PLC0415 - imports Sigma

    asked = rule.logsource
    parts = [str(part or "").lower() for part in (asked.product, asked.category, asked.service)]
    found = logsources.find(*parts)
    if found is None:
        named = " ".join(part for part in parts if part) or "nothing"
        raise Unsupported(f"no table of ours holds its log source ({named[:100]})")
    source, match = found
    backend = Backend(source)
    conditions = [
        backend.convert_condition(condition.parsed, ConversionState())
        for condition in rule.detection.parsed_condition
    ]
    if not conditions or not all(isinstance(text, str) and text.strip() for text in conditions):
        raise Unsupported("its condition is empty")
    whole = conditions[0] if len(conditions) == 1 else " or ".join(f"({text})" for text in conditions)
    filters = [text for text in (source.where, match.where, str(whole)) if text]
    shown = ", ".join(name if name == text else f"{name} = {text}" for name, text in source.show.items())
    steps = [
        source.table,
        *(f"| where {text}" for text in filters),
        f"| project {shown}, _Exhibit, _Position",
    ]
    return "\n".join(steps)


def as_rule(rule: SigmaRule, query: str) -> schemas.Rule:
    """Return our record of a Sigma rule with the query compiled from it."""
    level = str(rule.level or "medium").lower()
    status = str(rule.status or "").lower()
    techniques = sorted(
        {
            t.name.upper()
            for t in rule.tags
            if t.namespace == "attack" and t.name[:1] in "tT" and t.name[1:2].isdigit()
        }
    )
    names = [t.name.lower().replace("_", "-") for t in rule.tags if t.namespace == "attack"]
    phase = _phase(techniques, names)
    return schemas.Rule(
        id=str(rule.id or uuid.uuid5(_NAMESPACE, query)),
        name=_line(rule.title) or "Sigma rule without a title",
        description=str(rule.description or rule.title).strip(),
        severity=_SEVERITY.get(level, "Medium"),
        severityLevel="critical" if level == "critical" else None,
        query=query,
        relevantTechniques=techniques,
        status=status,
        confidence="high"
        if status == "stable"
        else "low"
        if status in {"experimental", "deprecated", "unsupported"}
        else "medium",
        reasons={
            "severity": f"Its author rated this Sigma rule {level}.",
            "confidence": f"Its author calls it {status}."
            if status
            else "Its author does not say how well it is tested.",
        },
        falsePositives=[_line(text) for text in rule.falsepositives or []],
        finding=schemas.Title(title=_line(rule.title).replace("{", "(").replace("}", ")"), phase=phase),
        kind="Sigma",
    )


def _phase(techniques: list[str], names: list[str]) -> schemas.Phase:
    """Return the phase of the story that a rule's tags speak of."""
    if any(technique.startswith(_CLEARING) for technique in techniques):
        return "clearing"
    return next((_PHASES[name] for name in names if name in _PHASES), "access")


def _line(value: object) -> str:
    return " ".join(str(value).split())[:300]


def _refused(path: Path, reason: str) -> ContentError:
    return ContentError(reason, place=str(path), remedy=_REMEDY)
