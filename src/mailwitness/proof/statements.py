"""The SQL files of this package: named steps with places for paths and literals."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def fill(
    connection: duckdb.DuckDBPyConnection, name: str, shape: str, rows: Sequence[tuple[object, ...]]
) -> None:
    """Create a small temporary table with the given rows, replacing an earlier one.

    Args:
        connection: only this connection sees the table.
        name: of the table.
        shape: its columns, each a name and a type, separated by a comma and a blank.
        rows: its content.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({shape})")
    if rows:
        # One statement with a list for each column: a statement for each row took a second for a few hundred.
        kinds = [one.split()[-1] for one in shape.split(", ")]
        listed = ", ".join(f"unnest(CAST(? AS {kind}[]))" for kind in kinds)
        connection.execute(
            f"INSERT INTO {name} SELECT {listed}", [list(cells) for cells in zip(*rows, strict=True)]
        )


def filled(sql: str, values: dict[str, str]) -> str:
    """Replace ``{key}`` for the given keys only: SQL writes structs with the same brackets."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), sql)
