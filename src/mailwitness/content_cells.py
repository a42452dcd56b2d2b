"""Cells of the tests in content files, as a database takes them."""

from __future__ import annotations

from typing import Any

import msgspec

from mailwitness.kql import DUCKDB_TYPES


def cell(kind: str, value: Any) -> Any:  # noqa: ANN401 - a YAML cell
    """Return a cell as its column takes it: times without a zone, nested values as JSON text."""
    if value is None:
        return "" if DUCKDB_TYPES[kind] == "VARCHAR" else None
    if kind == "dynamic":
        return msgspec.json.encode(value).decode() if not isinstance(value, str) else _as_json(value)
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str) and kind == "datetime":
        return value.removesuffix("Z")
    return value


def _as_json(text: str) -> str:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.json.encode(text).decode()
    return text
