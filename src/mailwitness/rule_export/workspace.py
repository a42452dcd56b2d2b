"""MailboxActivity as functions of a Sentinel workspace, so that the rules over it run there unchanged."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from mailwitness import needs
from mailwitness.content import loader, schemas
from mailwitness.kql import referenced_tables, words

# A line that is a table, or gives one a name.
_ENDS = re.compile(r"^\s*(?:let\s+\w+\s*=\s*)?\w+\s*$")


class Bridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns that KQL steps add to a table; see ``content/sentinel/bridges.yaml``."""

    columns: list[str]
    steps: str


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function of a workspace: its alias and its body."""

    alias: str
    query: str
    description: str


@cache
def bridges() -> dict[str, Bridge]:
    """Return the bridge of each table; ``*`` holds for all."""
    path = loader.CONTENT / "sentinel" / "bridges.yaml"
    return msgspec.convert(loader.read_yaml(path), dict[str, Bridge])


@cache
def public_columns() -> dict[str, frozenset[str]]:
    """Return the columns of the public tables as a workspace has them, without what we add."""
    tables = [loader.read(path, schemas.Table) for path in loader.files("tables")]
    return {table.table: frozenset(column.name for column in table.columns) for table in tables}


def missing_columns(query: str, table: str) -> list[str]:
    """Return the columns a query reads that neither the workspace nor a bridge has."""
    everywhere = bridges()["*"].columns
    bridged = {*everywhere, *(bridges()[table].columns if table in bridges() else [])}
    added = [c.name for c in loader.tables()[table].columns if c.name not in public_columns()[table]]
    return [name for name in added if name in words(query) and name not in bridged]


def with_bridges(query: str) -> str:
    """Return a query in which each public table is followed by the steps that add our columns, where it reads any."""
    for table in sorted(referenced_tables(query, loader.tables()) - {needs.TABLE}):
        added = {c.name for c in loader.tables()[table].columns} - public_columns()[table]
        if added & words(query):
            steps = bridges()["*"].steps.strip()
            if table in bridges() and set(bridges()[table].columns) & words(query):
                steps += "\n" + bridges()[table].steps.strip()
            # The table stands at the end of a line of its own in our content; KQL in the steps is no pattern.
            lines = [
                f"{line}\n{steps}" if _ENDS.search(line) and line.split()[-1] == table else line
                for line in query.split("\n")
            ]
            query = "\n".join(lines)
    return query


@cache
def functions() -> tuple[tuple[Function, ...], tuple[str, ...], frozenset[str]]:
    """Return the functions, a sentence for each parser left out, and the activities that the functions can yield."""
    made: list[Function] = []
    left_out: list[str] = []
    can_show: set[str] = set()
    for parser in loader.parsers():
        missing = missing_columns(parser.query, parser.table)
        if missing or parser.table in {"MailStoreIndex", "PresentMessage", "SettingsSnapshot"}:
            made_here = f"it reads {', '.join(missing[:4])}, which only our loader makes"
            why = made_here if missing else f"a workspace has no table {parser.table}"
            left_out.append(f"{parser.name}: {why}")
            continue
        alias = f"{needs.TABLE}_{re.sub(r'[^A-Za-z0-9]+', '_', parser.name.partition(' to ')[0]).strip('_')}"
        made.append(Function(alias=alias, query=with_bridges(parser.query), description=parser.name))
        can_show |= set(parser.activities)
    union = "union isfuzzy=true " + ", ".join(function.alias for function in made)
    made.append(
        Function(
            alias=needs.TABLE,
            query=union,
            description="One row for each act upon mail, on any platform.",
        )
    )
    return tuple(made), tuple(left_out), frozenset(can_show)
