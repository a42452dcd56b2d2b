"""The SQL files of this package: named steps with places for paths and literals."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_STEP = re.compile(r"^-- step: (\w+)$", re.MULTILINE)


def steps(name: str, package: str = "mailwitness.proof") -> dict[str, str]:
    """Return the statements of a file by the name of their step, in order."""
    parts = _STEP.split((files(package) / name).read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def run(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    values: dict[str, str],
    *,
    package: str = "mailwitness.proof",
) -> None:
    """Run every step of a file with ``{key}`` replaced by the SQL in ``values``."""
    for sql in steps(name, package).values():
        connection.execute(filled(sql, values))


def filled(sql: str, values: dict[str, str]) -> str:
    """Replace ``{key}`` for the given keys only: SQL writes structs with the same brackets."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), sql)
