"""The SQL from the columns of plain audit events to the raw keys of the mappings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from mailwitness.readers.audit_event import KEPT
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY, derived_columns
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.content.schemas import Mapping

_LONGEST_COMMAND = 32 * 1024
_DIRECT = (*KEPT, "a0", "a1", "a2", "a3")


def _account(name: str, number: str) -> str:
    """Return an account's name, or its number where the host did not translate it; null when nobody logged in."""
    return (
        f"CASE WHEN {name} IS NULL THEN CASE WHEN {number} <> '4294967295' THEN {number} END "
        f"WHEN {name} <> 'unset' AND {name} <> 'unknown(4294967295)' THEN {name} END"
    )


def _joined(name: str, is_relative: str) -> str:
    """Return a path as an absolute one where its folder is known; what has to be normalised is marked by `_is_unclean`."""
    return (
        f"CASE WHEN {name} = '.' THEN NULL WHEN starts_with({name}, '/') OR cwd IS NULL OR NOT {is_relative} THEN {name} "
        f"WHEN ends_with(cwd, '/') THEN cwd || {name} ELSE cwd || '/' || {name} END"
    )


def _spool(path: str) -> str:
    """Give the mail spool its one name, see `audit_event.normalise`."""
    return (
        f"CASE WHEN starts_with({path}, '/var/spool/mail') OR starts_with({path}, '/private/var/spool/mail') "
        f"THEN regexp_replace({path}, '^(?:/private)?/var/spool/mail(/|$)', '/var/mail\\1') ELSE {path} END"
    )


def _is_unclean(path: str) -> str:
    """Tell whether a path has to be normalised: doubled slashes, one at the end, ``.`` or ``..`` for a folder."""
    return (
        f"CASE WHEN {path} IS NULL OR {path} = '/' THEN false WHEN contains({path}, '//') OR ends_with({path}, '/') OR starts_with({path}, '.') "
        f"THEN true WHEN contains({path}, '/.') THEN regexp_matches({path}, '/\\.\\.?(?:/|$)') ELSE false END"
    )


_ARGUMENT_TEXT = """regexp_replace(substr(arguments, strpos(arguments, '"') + 1, length(arguments) - strpos(arguments, '"') - 1), '" a\\d+="', ' ', 'g')"""
_COMMAND = "SELECT *, command AS mw_command FROM {source}"
_STEPS = f"""SELECT *, {_joined("path", "is_relative")} AS mw_path, {_joined("source", "is_source_relative")} AS mw_source,
  CASE WHEN command IS NULL THEN left(title, {_LONGEST_COMMAND}) ELSE command END AS mw_command FROM {{source}}"""
# What a command does to mail, see the macro: a step on the way to MailCommand.
MAIL = "mw_mail"
# What a path is to a mail system and whose mail it holds, see the macros: steps on the way to StoreKind and StoreOwner.
STEPS = {MAIL: "mail", "mw_path_kind": "mw_store_kind", "mw_path_owner": "mw_store_owner"}
_CALLED = (
    ("MailCommand", re.compile(r"mw_linux_command\(\w+\)"), MAIL),
    ("StoreKind", re.compile(r"mw_store_kind\(\w+\)"), "mw_path_kind"),
    ("StoreOwner", re.compile(r"mw_store_kind\(\w+\)"), "mw_path_kind"),
    ("StoreOwner", re.compile(r"mw_store_owner\(\w+\)"), "mw_path_owner"),
)
_DECODED = {"DecodedCmdlets": "NULL", "DecodedCommand": "''"}
_KEYS = {
    "Micros": "micros",
    "Serial": "serial",
    "Node": "node",
    "RecordType": "type",
    "RecordTypes": "types",
    "Architecture": "nullif(architecture, '')",
    "Syscall": "nullif(call, '')",
    "Cwd": _spool("cwd"),
    "LoginUser": _account("login", "auid"),
    "UserName": _account("account", "uid"),
    "EffectiveUser": _account("effective", "euid"),
    "CommandLine": "mw_command",
    MAIL: "coalesce(mail, '')",
    "mw_path_kind": "''",
    "mw_path_owner": "''",
    "IsExec": "CASE WHEN is_exec OR command IS NOT NULL THEN 'true' END",
    "OpenFlags": "nullif(flags, '')",
    "Path": _spool("mw_path"),
    "Name": "path",
    "NameType": "nullif(role, '')",
    "Owner": "owner",
    "SourcePath": _spool("mw_source"),
    "Replaced": "CASE WHEN is_replacement THEN 'true' END",
    "FileAction": "nullif(action, '')",
    "Truncated": "CASE WHEN is_truncated THEN 'true' END",
    **{key: identifier(key) for key in _DIRECT},
}
_IS_ODD = f"{_is_unclean('cwd')} OR {_is_unclean('mw_path')} OR {_is_unclean('mw_source')}"


# What is not looked up for events that no rule asks about.
_OF_FILES = frozenset(
    {
        "Cwd",
        "OpenFlags",
        "Path",
        "Name",
        "NameType",
        "Owner",
        "SourcePath",
        "Replaced",
        "FileAction",
        "Truncated",
    }
)


# The columns that brief events have, and what they are made of.
BRIEF = frozenset(
    {
        "TimeGenerated",
        "Computer",
        "node",
        "RecordType",
        "AuditID",
        "SerialNumber",
        "_Exhibit",
        "_Position",
        "_Salvaged",
    }
)
_BRIEF_KEYS = {"AuditId": "id", "Micros": "micros", "Serial": "serial", "Node": "node", "RecordType": "type"}


def brief_mapping(mapping: Mapping) -> Mapping:
    """Return the mapping of brief events: nothing else of them is stored."""
    return msgspec.structs.replace(
        mapping,
        raw={key: kind for key, kind in mapping.raw.items() if key in _BRIEF_KEYS},
        columns={name: sql for name, sql in mapping.columns.items() if name in BRIEF},
        instead=dict.fromkeys(derived_columns(mapping.table), ""),
    )


# A program that was started and does nothing to mail: its row is brief, and only DeviceProcessEvents has all of it.
IS_BRIEF = "command IS NOT NULL AND mail = ''"


def brief_relation(raw: dict[str, str], exhibit: str, source: str, where: str = "true") -> str:
    """Return the SQL of the raw keys of brief events, of exhibit and position; ``source`` has the columns `audit_table.BRIEF`."""
    shown = [f"CAST({_BRIEF_KEYS[key]} AS {kind}) AS {identifier(key)}" for key, kind in raw.items()]
    return f"SELECT {', '.join([*shown, *_own(exhibit)])} FROM {source} WHERE {where}"


class Commands(NamedTuple):
    """Tables of events whose commands were looked at, each distinct one once.

    Attributes:
        tables: with the columns ``command`` and ``mail``.
        mails: what each of further commands does to mail.
        is_decoded: whether some command may hold others in PowerShell.
    """

    tables: list[pa.Table]
    mails: dict[str, str]
    is_decoded: bool


def commands(
    connection: duckdb.DuckDBPyConnection, events: Iterable[pa.Table], further: Iterable[str]
) -> Commands:
    """Say of the commands of events, and of some further ones, what they do to mail.

    Args:
        connection: with the macros of the mappings.
        events: tables with the columns `audit_table.SCHEMA`.
        further: command lines of events that were taken apart.
    """
    found, is_decoded = [], False
    for table in events:
        unified = table.unify_dictionaries()
        written, titled = (unified.column(name).chunks for name in ("arguments", "started"))
        texts, titles = (
            chunks[0].dictionary if chunks else pa.array([], pa.string()) for chunks in (written, titled)
        )
        shown = pa.concat_tables(
            [_judged(connection, texts, _ARGUMENT_TEXT), _judged(connection, titles, "arguments")]
        )
        is_decoded |= bool(pc.any(shown.column("is_decoded")).as_py())
        # Which command each event has: the one that was written, else its title.
        which = [
            pc.coalesce(one.indices, pc.add(other.indices, pa.scalar(len(texts), pa.int32())))
            for one, other in zip(written, titled, strict=True)
        ]
        for name in ("command", "mail"):
            values = shown.column(name).combine_chunks()
            column = pa.chunked_array(
                [pa.DictionaryArray.from_arrays(indices, values) for indices in which],
                pa.dictionary(pa.int32(), pa.string()),
            )
            table = table.append_column(name, column)  # noqa: PLW2901 - the same with a column more
        found.append(table)
    listed = list(dict.fromkeys(further))
    shown = _judged(connection, pa.array(listed, pa.string()), "arguments")
    is_decoded |= bool(pc.any(shown.column("is_decoded")).as_py())
    return Commands(found, dict(zip(listed, shown.column("mail").to_pylist(), strict=True)), is_decoded)


def _judged(connection: duckdb.DuckDBPyConnection, texts: pa.Array, command: str) -> pa.Table:
    """Return of each text the command, what that does to mail, and whether it may hold PowerShell."""
    if not len(texts):
        return pa.table(
            {
                "command": pa.array([], pa.string()),
                "mail": pa.array([], pa.string()),
                "is_decoded": pa.array([], pa.bool_()),
            }
        )
    connection.register("mw_texts", pa.table({"arguments": texts}))
    judged = connection.sql(
        "SELECT command, mw_linux_command(command) AS mail, "
        "command ILIKE '%powershell%' OR command ILIKE '%pwsh%' OR contains(command, '^') AS is_decoded "
        f"FROM (SELECT left({command}, {_LONGEST_COMMAND}) AS command FROM mw_texts)"
    ).to_arrow_table()
    connection.unregister("mw_texts")
    return judged


def known_steps(mapping: Mapping, *, is_decoded: bool) -> Mapping:
    """Return a mapping that takes what is known of commands and paths from the events, and looks for PowerShell only where there may be some."""
    derived = derived_columns(mapping.table)
    instead: dict[str, str] = {}
    for name, called, step in _CALLED:
        if name in derived:
            instead[name] = called.sub(step, instead.get(name, derived[name]))
    instead |= {} if is_decoded else {name: sql for name, sql in _DECODED.items() if name in derived}
    return msgspec.structs.replace(
        mapping,
        raw=mapping.raw | dict.fromkeys(STEPS, "VARCHAR"),
        columns=mapping.columns | {name: name for name in STEPS},
        instead=mapping.instead | instead,
    )


def with_paths(raw: dict[str, str], relation: str) -> str:
    """Return the SQL of raw keys with what is known of the path of each event.

    Args:
        raw: the keys, with those of `STEPS`.
        relation: SQL of the others of these, of exhibit and position.
    """
    names = [identifier(name) for name in raw if name not in STEPS or name == MAIL]
    names += [EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY]
    path = "Path" if "Path" in raw else "NULL::VARCHAR"
    names += [f"{macro}({path}) AS {name}" for name, macro in STEPS.items() if name != MAIL]
    return f"SELECT {', '.join(names)} FROM ({relation})"


def _own(exhibit: str) -> list[str]:
    return [
        f"{literal(exhibit)} AS {EXHIBIT_KEY}",
        f"position AS {POSITION_KEY}",
        f"salvaged AS {SALVAGED_KEY}",
    ]


def relation(raw: dict[str, str], exhibit: str, source: str, *, is_wanted: bool, where: str = "") -> str:
    """Return the SQL of the raw keys, of exhibit and position.

    An event that turns out not to be plain has no ``AuditId`` and is not loaded so.

    Args:
        raw: keys and their types; what only other events have is null.
        exhibit: id of the exhibit.
        source: the table with the columns `audit_table.SCHEMA`, and those of `commands`.
        is_wanted: the events are worth all their columns.
        where: SQL over its columns; others are left out.
    """
    keys = _KEYS | {"AuditId": f"CASE WHEN NOT ({_IS_ODD if is_wanted else 'false'}) THEN id END"}
    known = keys if is_wanted else {key: sql for key, sql in keys.items() if key not in _OF_FILES}
    shown = [f"CAST({known.get(key, 'NULL')} AS {kind}) AS {identifier(key)}" for key, kind in raw.items()]
    shown += _own(exhibit)
    steps = _STEPS if is_wanted else _COMMAND
    chosen = f" WHERE {where}" if where else ""
    return f"SELECT {', '.join(shown)} FROM ({steps.format(source=source)}){chosen}"
