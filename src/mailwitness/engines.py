"""The engine for the shipped tables."""

from __future__ import annotations

from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES, KqlEngine


def new_engine(cache: dict[str, str] | None = None) -> KqlEngine:
    """Return an engine that knows every table with the types of its columns, and keeps its translations in ``cache``."""
    known = loader.tables().items()
    types = {
        name: {column.name: DUCKDB_TYPES[column.type] for column in table.columns} for name, table in known
    }
    return KqlEngine(types, cache, types)
