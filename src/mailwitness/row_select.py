"""The SELECT that turns raw records into rows of a table, with the columns that a run stores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.content import loader
from mailwitness.kql import DUCKDB_TYPES
from mailwitness.tables import STATE, empty, identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Column, Mapping

# Members that the Python path adds to a record, so that its rows know where they came from.
EXHIBIT_KEY = "_mw_exhibit"
POSITION_KEY = "_mw_position"
SALVAGED_KEY = "_mw_salvaged"
# Derived columns of this prefix are steps on the way to others and are not stored.
_STEP = "mw_"
# Says of a raw record that its nested values are stored.
_KEEP = "mw_keep"


def derived_columns(table: str) -> dict[str, str]:
    """Return the extension columns of a table that follow from its public columns."""
    found: dict[str, str] = loader.read_yaml(loader.CONTENT / "tables" / "_derived.yaml").get(table, {})
    return found


def _cast(column: Column, expression: str) -> str:
    kind = DUCKDB_TYPES[column.type]
    if kind == "VARCHAR":
        return f"coalesce(CAST(({expression}) AS VARCHAR), '')"
    return f"TRY_CAST(({expression}) AS {kind})"


def select_sql(
    mapping: Mapping,
    relation: str,
    wanted: set[str] | None,
    *,
    own: bool,
    carried: Iterable[tuple[str, str]] = (),
) -> tuple[str, list[str], list[str]]:
    """Write the SELECT that turns raw records into rows of the mapping's table.

    Args:
        mapping: SQL for each column.
        relation: SQL of the raw records, columns named as the mapping's raw keys.
        wanted: columns to store; None stores every column completely.
        own: the raw records carry their exhibit and position themselves.
        carried: name and SQL over the raw keys of values that further tables are made of.

    Returns:
        The SQL, the stored columns, and those of them whose values are only stored for kept rows.
    """
    by_name = {column.name.lower(): column for column in loader.tables()[mapping.table].columns}
    choice = _choose(mapping, wanted)
    nested = set(mapping.nested) if wanted is not None else set()
    relation = _with_shared(mapping, relation)
    if nested and mapping.keep != "true":
        # Asked once for each row and not once for each nested column: inside CASE nothing is shared.
        relation = f"SELECT *, {mapping.keep} AS {_KEEP} FROM ({relation})"
    shown = [f"{_gated(by_name.get(n.lower()), n, mapping, nested)} AS {identifier(n)}" for n in choice.inner]
    missing = sorted(choice.inputs - set(choice.inner))
    shown += [f"{empty(by_name[n.lower()])} AS {identifier(n)}" for n in missing if n.lower() in by_name]
    required = _required(mapping)
    shown.append(
        f"CAST(CASE WHEN {required} IS NULL THEN 1 WHEN {mapping.accept} THEN 0 ELSE 2 END AS UTINYINT) AS {STATE}"
    )
    shown += [f"{sql} AS {identifier(name)}" for name, sql in carried]
    own_names = []
    if own:
        shown += [
            f"{EXHIBIT_KEY} AS _Exhibit",
            f"{POSITION_KEY} AS _Position",
            f"coalesce({SALVAGED_KEY}, false) AS _Salvaged",
        ]
        own_names = ["_Exhibit", "_Position", "_Salvaged"]
    outer = [identifier(name) for name in choice.columns]
    outer += [f"{_cast(by_name[n.lower()], choice.sql[n])} AS {identifier(n)}" for n in choice.derived]
    outer += [STATE, *own_names, *(identifier(name) for name, _ in carried)]
    inner_sql = f"SELECT {', '.join(shown)} FROM ({relation}) AS raw"
    for level in choice.steps:
        parsed = ", ".join(f"{choice.sql[name]} AS {identifier(name)}" for name in level)
        inner_sql = f"SELECT *, {parsed} FROM ({inner_sql})"
    sql = f"SELECT {', '.join(outer)} FROM ({inner_sql})"
    partial = [n for n in choice.columns if n in nested]
    partial += [n for n in choice.derived if nested & choice.behind(n) or n in mapping.partly]
    return sql, [*choice.columns, *choice.derived, *own_names], partial


def _with_shared(mapping: Mapping, relation: str) -> str:
    """Return raw records with what several columns name: the database does not share what stands inside ``coalesce`` or CASE."""
    if not mapping.shared:
        return relation
    shown = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in mapping.shared.items())
    return f"SELECT *, {shown} FROM ({relation})"


def raw_keys(mapping: Mapping, wanted: set[str]) -> set[str]:
    """Return the raw keys that the stored columns are computed from, and those that decide what a record is."""
    named = words_read(mapping, wanted)
    # A key that is more than a word is kept; so is one whose word only stands in a text.
    return {key for key in mapping.raw if key.lower() in named or not re.fullmatch(r"\w+", key)}


def words_read(mapping: Mapping, wanted: set[str] | None) -> set[str]:
    """Return all words, in small letters, of the SQL that the stored columns and the kind of a record are computed with."""
    choice = _choose(mapping, wanted)
    read = [mapping.columns[name] for name in choice.inner]
    shared = [sql for name, sql in mapping.shared.items() if any(name in one for one in read)]
    text = " ".join(
        [*read, *shared, *mapping.required, mapping.accept, mapping.first, mapping.keep, mapping.each]
    )
    return set(re.findall(r"\w+", text.lower()))


class _Choice(msgspec.Struct, frozen=True):
    """What of a mapping is stored, and what that is computed from.

    Attributes:
        columns: columns of the mapping that are stored.
        derived: stored columns that follow from others.
        sql: SQL of these and of their steps.
        steps: steps that stored columns share, those first that need no other one.
        inputs: public columns that derived ones read.
        inner: columns of the mapping that are stored or read.
    """

    columns: list[str]
    derived: list[str]
    sql: dict[str, str]
    steps: list[list[str]]
    inputs: set[str]
    inner: list[str]

    def behind(self, name: str) -> set[str]:
        """Return the columns and steps that a derived column is computed from."""
        steps = [step for level in _steps(self.sql, [name]) for step in level]
        return _identifiers(self.sql[name]).union(*(_identifiers(self.sql[step]) for step in steps))


def _choose(mapping: Mapping, wanted: set[str] | None) -> _Choice:
    written = derived_columns(mapping.table) | mapping.instead
    sql = {k: v for k, v in written.items() if v and k not in mapping.columns}
    # A mapping may give a step that its relation knows already.
    chosen = [n for n in mapping.columns if not n.startswith(_STEP) and (wanted is None or n in wanted)]
    derived = [n for n in sql if not n.startswith(_STEP) and (wanted is None or n in wanted)]
    # A derived column reads public columns, also those that are not stored themselves, and steps shared with others.
    steps = _steps(sql, derived)
    all_steps = {step for level in steps for step in level}
    inputs = {word for name in {*derived, *all_steps} for word in _identifiers(sql[name])} - all_steps
    inner = [name for name in mapping.columns if name in chosen or name in inputs]
    return _Choice(chosen, derived, sql, steps, inputs, inner)


def _steps(sql: dict[str, str], names: Iterable[str]) -> list[list[str]]:
    """Return the steps that derived columns need, those first that need no other one."""
    levels: list[set[str]] = []
    level = set(names)
    while level := {w for n in level for w in _identifiers(sql[n]) if w in sql and w.startswith(_STEP)}:
        levels = [level, *(later - level for later in levels)]
    return [sorted(level) for level in levels if level]


def _required(mapping: Mapping) -> str:
    """Return SQL that is null for a record with none of the required keys."""
    parts = [_filled(n, mapping.raw[n]) if n in mapping.raw else n for n in mapping.required]
    return f"coalesce({', '.join(parts)}, NULL)"


def _filled(name: str, kind: str) -> str:
    # A structure as text would be written out for every record.
    if kind.startswith("STRUCT") or kind.endswith("[]"):
        return f"CASE WHEN {identifier(name)} IS NOT NULL THEN '+' END"
    return f"nullif({identifier(name)}::VARCHAR, '')"


def _gated(column: Column | None, name: str, mapping: Mapping, nested: set[str]) -> str:
    """Return the SQL of a column; a step is no column of the table."""
    if column is None:
        return mapping.columns[name]
    expression = mapping.columns.get(column.name, "NULL")
    if column.name in nested and mapping.keep != "true":
        expression = f"CASE WHEN {_KEEP} THEN {expression} END"
    return _cast(column, expression)


def _identifiers(sql: str) -> set[str]:
    from mailwitness.kql import words  # noqa: PLC0415 - the same shape of identifiers

    return words(sql)
