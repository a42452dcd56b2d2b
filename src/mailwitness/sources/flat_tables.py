"""Large tables whose rows are nested again: done by SQL when the names of the columns alone say where each cell goes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mailwitness.readers import csv_shape
from mailwitness.sources import also_tables
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from mailwitness.content.schemas import Mapping
    from mailwitness.recognise import Match


def of(match: Match, shape: csv_shape.CsvShape) -> Any:  # noqa: ANN401 - a Layout of the reader
    """Return where the source's reader places the cells of a table; None when only each row can tell."""
    module = importlib.import_module(f"mailwitness.readers.{match.prepare}")
    return module.layout(csv_shape.unique_names(shape.header)) if hasattr(module, "layout") else None


def columns(layout: Any, mapping: Mapping) -> list[str]:  # noqa: ANN401 - as above
    """Return the columns that a mapping's raw keys are made of."""
    found = list(layout.one_of)
    for key in mapping.raw:
        found += layout.plain.get(key, [])
        found += _leaves(layout.nested.get(key, {}))
    return list(dict.fromkeys(found))


def relation(layout: Any, mapping: Mapping, inner: str, own: str) -> str:  # noqa: ANN401 - as above
    """Return the SQL that gives rows of cells, never null, the mapping's raw keys.

    Args:
        layout: from `of`.
        mapping: names the raw keys.
        inner: SQL of the rows.
        own: further columns to hand on.
    """
    named = ", ".join(
        f"{_value(layout, key, kind)} AS {identifier(key)}" for key, kind in mapping.raw.items()
    )
    return f"SELECT {named}, {own} FROM ({inner})"


def _leaves(tree: Any) -> list[str]:  # noqa: ANN401 - a Tree of the reader
    return [
        leaf for value in tree.values() for leaf in ([value] if isinstance(value, str) else _leaves(value))
    ]


def _value(layout: Any, key: str, kind: str) -> str:  # noqa: ANN401 - as above
    if key in layout.nested and kind.startswith("STRUCT"):
        structure = also_tables.structure(kind)
        return f"CASE WHEN {_any_filled(layout.one_of)} THEN {_structure(layout.nested[key], structure)} END"
    if key in layout.nested:
        return f"CASE WHEN {_any_filled(layout.one_of)} THEN CAST({_object(layout.nested[key])} AS JSON) END"
    filled = [f"nullif({identifier(name)}, '')" for name in reversed(layout.plain.get(key, []))]
    return f"coalesce({', '.join(filled)}, NULL)" if filled else f"NULL::{kind}"


def _structure(tree: Any, structure: dict[str, Any]) -> str:  # noqa: ANN401 - as above
    """Write members as a structure; one that has no cell, or is of another form, is null."""
    members = ", ".join(
        f"{identifier(name)} := {_cell(tree.get(name), kind)}" for name, kind in structure.items()
    )
    return f"struct_pack({members})"


def _cell(place: Any, kind: Any) -> str:  # noqa: ANN401 - as above
    if isinstance(kind, dict):
        inner = _structure(place if isinstance(place, dict) else {}, kind)
        filled = _any_filled(_leaves(place)) if isinstance(place, dict) and place else "false"
        return f"CASE WHEN {filled} THEN {inner} END"
    if isinstance(place, str):
        return f"nullif({identifier(place)}, '')"
    return (
        f"CASE WHEN {_any_filled(_leaves(place))} THEN {_object(place)} END"
        if place
        else f"CAST(NULL AS {kind})"
    )


def _any_filled(names: list[str]) -> str:
    return "(" + " OR ".join(f"{identifier(name)} <> ''" for name in names) + ")"


def _object(tree: Any) -> str:  # noqa: ANN401 - as above
    """Write members that are filled as the text of an object."""
    if not tree:
        return "'{}'"
    members = ", ".join(_member(name, value) for name, value in tree.items())
    return f"'{{' || concat_ws(',', {members}) || '}}'"


def _member(name: str, value: Any) -> str:  # noqa: ANN401 - as above
    text = f"to_json({identifier(value)})::VARCHAR" if isinstance(value, str) else _object(value)
    filled = _any_filled([value] if isinstance(value, str) else _leaves(value))
    return f"CASE WHEN {filled} THEN to_json({literal(name)})::VARCHAR || ':' || {text} END"
