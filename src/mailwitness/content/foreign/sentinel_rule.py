"""A Sentinel rule as others publish it: with keys we do not use, without some that we ask of our own."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import msgspec

from mailwitness.content import loader, schemas
from mailwitness.errors import ContentError

_NAMESPACE = uuid.UUID("0d9a4c8e-5f0b-4b7e-8c57-5d8f0f1b7f21")
_REMEDY = "Correct the file, or leave it out."
_ISO_DURATION = re.compile(r"^P(?:T?)(\d+)([DHM])$", re.IGNORECASE)


def rule_of(path: Path, document: dict[str, Any]) -> schemas.Rule | ContentError:  # Any: YAML values
    """Return the rule, or why it is refused.

    Keys that only a workspace uses (``customDetails``, ``incidentConfiguration``, ...) are left aside; a hunting query,
    which has no severity, gets medium.
    """
    known = set(schemas.Rule.__struct_fields__)
    kept = {key: value for key, value in document.items() if key in known and value is not None}
    query = kept.get("query")
    if not isinstance(query, str) or not query.strip():
        return _refused(path, "its query is empty")
    kept.setdefault("severity", "Medium")
    kept["severity"] = str(kept["severity"]).capitalize()
    kept.setdefault("description", str(document.get("name", "")))
    kept.setdefault("id", str(uuid.uuid5(_NAMESPACE, query)))
    kept["query"] = loader.expand(query)
    for key in ("queryFrequency", "queryPeriod"):
        if key in kept:
            kept[key] = _timespan(str(kept[key]))
    try:
        rule = msgspec.convert(kept, schemas.Rule, strict=False)
    except msgspec.ValidationError as error:
        return _refused(path, f"it is no sound Sentinel rule ({error})")
    if rule.triggerOperator.lower() not in {"gt", "greaterthan"}:
        return _refused(
            path,
            f"it alerts when there are few rows ({rule.triggerOperator} {rule.triggerThreshold}), and rows are what a finding is made of",
        )
    return rule


def _timespan(text: str) -> str:
    """Turn an ISO 8601 duration, as ARM templates write it, into Kusto's."""
    match = _ISO_DURATION.match(text.strip())
    return f"{match[1]}{match[2].lower()}" if match else text.strip()


def _refused(path: Path, reason: str) -> ContentError:
    return ContentError(reason, place=str(path), remedy=_REMEDY)
