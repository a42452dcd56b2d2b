"""Exports of changes and tickets: their columns brought under our names, whichever product wrote them."""

from __future__ import annotations

from typing import Any

from mailwitness.content import loader

Record = dict[str, Any]  # Any: JSON values or CSV cells

_WORDS = "change_columns"
_FIELDS = (
    "number", "summary", "description", "requested_by", "assignee", "approved_by", "object", "planned_start",
    "planned_end", "state", "approval", "opened",
)  # fmt: skip
# A reference to a person or thing is an object in most products' JSON; the first of these that is there names it.
_NAMING = (
    "emailAddress",
    "email",
    "user_name",
    "userPrincipalName",
    "value",
    "name",
    "display_value",
    "displayName",
    "key",
)


class Preparer:
    """Bring one ticket into the shape of the mapping."""

    def __init__(self) -> None:
        """Read which column means what."""
        self._field = {name: field for field in reversed(_FIELDS) for name in loader.watchlist(_WORDS, field)}

    def prepare(self, record: Record) -> Record | None:
        """Return a ticket under our names, or None when it has neither number nor window nor state.

        Raw line: ``CHG0030411,"Remove stale export","ada@contoso.example",eva@contoso.example,2026-03-02 09:00:00,...``
        (CSV), or ``{"number": "CHG0030411", "assigned_to": {"display_value": "ada@contoso.example"}, ...}``.
        """
        fields = record.get("fields")
        flat = record | fields if isinstance(fields, dict) else record
        found: Record = {}
        for column, value in flat.items():
            field = self._field.get(column.strip().strip("\ufeff").lower())
            text = _text(value)
            if field and text and field not in found:
                found[field] = text
        return found if found.get("number") and len(found) > 1 else None


def _text(value: object) -> str:
    """Return what a cell says; of an object the member that names it, of a list all of them."""
    if isinstance(value, dict):
        return next((_text(value[name]) for name in _NAMING if value.get(name)), "")
    if isinstance(value, list):
        return ";".join(text for text in map(_text, value) if text)
    return "" if value is None else str(value).strip()
