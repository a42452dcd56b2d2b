"""Further tables of the same records, made without reading the records again.

One scan parses each record once. What further tables need of a record stands beside the columns of the record's own row, and only
where the record can be a row of one of them; a further table is then made from these values.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mailwitness.content.schemas import Mapping

_NAME = "mw_raw_"
_HELD = "mw_held"
_TEXT = "mw_raw"
_TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|\w+|[(),]|\[\])')


def together(mapping: Mapping, further: Sequence[Mapping]) -> Mapping:
    """Return the mapping with the raw keys that only its further tables name."""
    raw = dict(mapping.raw)
    for other in further:
        raw = other.raw | raw
    return msgspec.structs.replace(mapping, raw=raw)


def carried(further: Sequence[Mapping]) -> list[tuple[str, str]]:
    """Return name and SQL of the values that further tables are made of, over the raw keys of `together`."""
    rare = _keys(other for other in further if other.rare)
    keys = _keys(other for other in further if not other.rare)
    found = [(f"{_NAME}{key}", f"CASE WHEN {_HELD} THEN {identifier(key)} END") for key in keys]
    if rare:
        members = ", ".join(f"{identifier(key)} := {identifier(key)}" for key in rare)
        found.append((_TEXT, f"CASE WHEN {_HELD} THEN to_json(struct_pack({members}))::VARCHAR END"))
    return found


def _keys(mappings: Iterable[Mapping]) -> list[str]:
    return sorted({key for mapping in mappings for key in mapping.raw})


def marked(relation: str, further: Sequence[Mapping]) -> str:
    """Return raw records that say, once for all keys, whether a further table may be made of them."""
    held = " OR ".join(f"({_held(other)})" for other in further)
    return f"SELECT *, {held} AS {_HELD} FROM ({relation})" if held else relation


def _held(mapping: Mapping) -> str:
    return mapping.first or mapping.accept


def relation(file: Path, mapping: Mapping, further: Mapping, exhibit: str) -> str:
    """Return the SQL of the raw records that a further table is made of.

    Args:
        file: the Parquet file of the records' own table.
        mapping: of the records' own table, as `together` gives it.
        further: of the further table.
        exhibit: exhibit of all rows, whose record number is the row's number; empty when the rows carry both.
    """
    rows = f"read_parquet({literal(str(file))}, file_row_number = true)"
    own = (
        f"{literal(exhibit)} AS {EXHIBIT_KEY}, file_row_number AS {POSITION_KEY}, false AS {SALVAGED_KEY}"
        if exhibit
        else f"_Exhibit AS {EXHIBIT_KEY}, _Position AS {POSITION_KEY}, _Salvaged AS {SALVAGED_KEY}"
    )
    if further.rare:
        # What a carried text holds has the types of the table that the records belong to.
        kinds = json.dumps({key: structure(mapping.raw[key]) for key in further.raw})
        rows = f"(SELECT *, json_transform({_TEXT}, {literal(kinds)}) AS mw_r FROM {rows} WHERE {_TEXT} IS NOT NULL)"
        named = ", ".join(f"mw_r.{identifier(key)} AS {identifier(key)}" for key in further.raw)
    else:
        named = ", ".join(f"{identifier(_NAME + key)} AS {identifier(key)}" for key in further.raw)
    shown = ", ".join(_value(key, kind, mapping.raw[key]) for key, kind in further.raw.items())
    inner = f"SELECT {named}, {own} FROM {rows}"
    return (
        f"SELECT {shown}, {EXHIBIT_KEY}, {POSITION_KEY}, {SALVAGED_KEY} FROM ({inner}) WHERE {_held(further)}"
    )


def _value(key: str, kind: str, held: str) -> str:
    name = identifier(key)
    if held == kind:
        return name
    return f"json_transform({name}, {literal(json.dumps(structure(kind)))}) AS {name}"


def structure(kind: str) -> Any:  # noqa: ANN401 - a structure as json_transform takes it
    """Return a DuckDB type such as ``STRUCT(a VARCHAR, b STRUCT(c BIGINT)[])`` as json_transform takes it.

    Raises:
        ValueError: the type is written in a way that no mapping uses.
    """
    tokens = [token for token in _TOKEN.findall(kind) if token]
    found = _type(tokens)
    if tokens:
        message = f"cannot read the type {kind!r}"
        raise ValueError(message)
    return found


def _type(tokens: list[str]) -> Any:  # noqa: ANN401 - as above
    word = tokens.pop(0)
    found: Any = word
    if word.upper() == "STRUCT":
        found = {}
        while tokens.pop(0) != ")":
            name = tokens.pop(0).strip('"')
            found[name] = _type(tokens)
    while tokens[:1] == ["[]"]:
        tokens.pop(0)
        found = [found]
    return found
