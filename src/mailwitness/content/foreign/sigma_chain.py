"""A Sigma correlation as one of our chains: its rules become the steps, compiled to queries."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content import schemas
from mailwitness.content.foreign import logsources, sigma_rule
from mailwitness.errors import ContentError

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

Json = dict[str, Any]  # Any: YAML values

# Column of a finding -> how chains join by it.
_WAYS = {"Actor": "actor", "Host": "host", "ClientIP": "address", "Mailbox": "mailbox"}
# Column of an act into which the field goes whose different values are counted: nothing joins by it.
_COUNTED = "SettingAfter"
_TYPES = {"temporal", "temporal_ordered", "event_count", "value_count"}
_NAMESPACE = uuid.UUID("b1f0a1de-77c5-4a52-9b39-64c9a2f0c7e5")
_REMEDY = "Say it as a chain (see docs/how-to/bring-your-own-rules.md), or leave it out."


class _Refusal(Exception):
    """A correlation that no chain can follow; the message is the reason."""


def compile_chains(path: Path, documents: list[Json]) -> list[schemas.Chain | ContentError]:
    """Return each correlation of a file as a chain, or why it is refused.

    The rules of the file are the correlation's steps; as Sigma says, they raise nothing by themselves.
    """
    rules = [document for document in documents if "detection" in document]
    found: list[schemas.Chain | ContentError] = []
    for document in documents:
        if "correlation" in document:
            try:
                found.append(_chain(document, rules))
            except _Refusal as reason:
                found.append(ContentError(str(reason), place=str(path), remedy=_REMEDY))
            except msgspec.ValidationError as error:
                found.append(
                    ContentError(f"it is no sound correlation ({error})", place=str(path), remedy=_REMEDY)
                )
    return found


def _chain(document: Json, rules: list[Json]) -> schemas.Chain:
    asked = document["correlation"]
    if not isinstance(asked, dict) or asked.get("type") not in _TYPES:
        kind = asked.get("type") if isinstance(asked, dict) else asked
        raise _Refusal(f"chains know no correlation of the type {kind!r}")
    names = asked.get("rules") if isinstance(asked.get("rules"), list) else [asked.get("rules")]
    compiled = {str(name): _rule(str(name), rules) for name in names or []}
    way = _way(asked, compiled)
    counted = _counted(asked, way) if asked["type"].endswith("_count") else None
    if asked["type"] == "value_count":
        compiled = {
            name: (rule, _valued(asked, name, rule, query)) for name, (rule, query) in compiled.items()
        }
    steps = {
        f"step{i}": {
            "title": " ".join(str(rule.title).split())[:200],
            "query": query,
            "join": {way: str(asked.get("timespan"))},
            "count": counted,
        }
        for i, (rule, query) in enumerate(compiled.values())
    }
    level = str(document.get("level") or "medium").lower()
    title = " ".join(str(document.get("title") or "Sigma correlation").split())[:200]
    return msgspec.convert(
        {
            "id": str(document.get("id") or uuid.uuid5(_NAMESPACE, repr(sorted(steps.items())))),
            "title": title,
            "name": str(document.get("name") or title),
            "description": str(document.get("description") or title).strip(),
            "level": level,
            "confidence": "medium",
            "finding": title.replace("{", "(").replace("}", ")"),
            "reasons": {"severity": f"Its author rated this Sigma correlation {level}."},
            "correlation": {
                "type": "temporal" if asked["type"] == "temporal" else "temporal_ordered",
                "rules": list(steps),
                "group-by": [way],
                "timespan": str(asked.get("timespan")),
            },
            "steps": steps,
            "falsepositives": [str(text) for text in document.get("falsepositives") or []],
            "gaps": [],
            "guide": [],
            "attack": {},
        },
        schemas.Chain,
    )


def _rule(name: str, rules: list[Json]) -> tuple[SigmaRule, str]:
    """Return the rule of that name or id with its query."""
    from sigma.exceptions import SigmaError  # noqa: PLC0415 - 130 ms, only for those who use Sigma
    from sigma.rule import SigmaRule  # noqa: PLC0415 - as above

    from mailwitness.content.foreign.kusto import Unsupported  # noqa: PLC0415 - imports Sigma

    document = next((item for item in rules if name in {str(item.get("name")), str(item.get("id"))}), None)
    if document is None:
        raise _Refusal(f"it refers to the rule {name!r}, which is not in this file")
    try:
        rule = SigmaRule.from_dict(document)
        return rule, sigma_rule.query_of(rule)
    except Unsupported as reason:
        raise _Refusal(f"its rule {name!r} cannot be compiled: {reason}") from reason
    except (SigmaError, AttributeError, TypeError, ValueError) as error:
        raise _Refusal(
            f"its rule {name!r} is no sound Sigma rule ({' '.join(str(error).split())[:200]})"
        ) from error


def _way(asked: Json, compiled: dict[str, tuple[SigmaRule, str]]) -> str:
    """Return how the steps join: the one thing that Sigma groups by."""
    fields = asked.get("group-by") or []
    fields = fields if isinstance(fields, list) else [fields]
    if len(fields) > 1:
        raise _Refusal(f"it groups by {len(fields)} fields at once, and a chain joins by one")
    if not fields:
        return "tenant"
    aliases = (asked.get("aliases") or {}).get(fields[0], {})
    found = {_column(rule, str(aliases.get(name, fields[0]))) for name, (rule, _) in compiled.items()}
    if len(found) != 1 or not found <= set(_WAYS):
        raise _Refusal(
            f"it groups by {fields[0]!r}, which is no actor, mailbox, address or computer of all its rules"
        )
    return _WAYS[found.pop()]


def _column(rule: SigmaRule, field: str) -> str:
    """Return the column of a finding in which a Sigma field stands."""
    source = _source(rule)
    if source is None:
        return ""
    place = source.place_of(field)
    return next((name for name, text in source.show.items() if text == place and name in _WAYS), "")


def _counted(asked: Json, way: str) -> Json:
    condition: Json = asked["condition"] if isinstance(asked.get("condition"), dict) else {}
    least = condition.get(
        "gte", condition.get("gt", -1) + 1 if isinstance(condition.get("gt"), int) else None
    )
    if not isinstance(least, int) or set(condition) - {"gte", "gt", "field"}:
        raise _Refusal("its condition is not a least number of events (gte, gt)")
    if asked["type"] == "value_count":
        if not condition.get("field"):
            raise _Refusal("it counts different values and names no field")
        return {"gte": least, "by": way, "timespan": str(asked.get("timespan")), "field": _COUNTED}
    return {"gte": least, "by": way, "timespan": str(asked.get("timespan"))}


def _valued(asked: Json, name: str, rule: SigmaRule, query: str) -> str:
    """Return a step's query with the field whose values are counted in the column that the chain counts."""
    field = str(asked["condition"]["field"])
    field = str((asked.get("aliases") or {}).get(field, {}).get(name, field))
    source = _source(rule)
    place = source.place_of(field) if source else ""
    if not place:
        raise _Refusal(f"it counts values of {field!r}, which has no place in the table of its rule {name!r}")
    steps, _, shown = query.rpartition("\n| project ")
    kept = ", ".join(part for part in shown.split(", ") if not part.startswith(_COUNTED))
    return f"{steps}\n| extend {_COUNTED} = tostring({place})\n| project {_COUNTED}, {kept}"


def _source(rule: SigmaRule) -> logsources.LogSource | None:
    asked = rule.logsource
    found = logsources.find(
        *(str(part or "").lower() for part in (asked.product, asked.category, asked.service))
    )
    return found[0] if found else None
