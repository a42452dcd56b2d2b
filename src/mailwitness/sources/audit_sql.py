"""The SQL from the columns of plain audit events to the raw keys of the mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.readers.audit_event import KEPT
from mailwitness.row_select import EXHIBIT_KEY, POSITION_KEY, SALVAGED_KEY
from mailwitness.tables import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Mapping

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


# A title whose arguments are separated by NUL is in hex; anything that is neither that nor quoted is null here.
_TITLE = """CASE WHEN starts_with(title, '"') THEN CASE WHEN length(title) > 1 AND ends_with(title, '"') THEN substr(title, 2, length(title) - 2) ELSE substr(title, 2) END
  WHEN length(title) % 2 = 0 AND title = upper(title) THEN replace(rtrim(try(decode(unhex(title))), chr(0)), chr(0), ' ') END"""
_ARGUMENT_TEXT = """regexp_replace(substr(arguments, strpos(arguments, '"') + 1, length(arguments) - strpos(arguments, '"') - 1), '" a\\d+="', ' ', 'g')"""
_COMMAND = (
    f"SELECT *, CASE WHEN arguments IS NOT NULL THEN {_ARGUMENT_TEXT} END AS mw_command FROM {{source}}"
)
_STEPS = f"""SELECT *, {_joined("path", "is_relative")} AS mw_path, {_joined("source", "is_source_relative")} AS mw_source,
  CASE WHEN arguments IS NULL THEN {_TITLE} ELSE {_ARGUMENT_TEXT} END AS mw_command FROM {{source}}"""
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
    "CommandLine": f"left(mw_command, {_LONGEST_COMMAND})",
    "IsExec": "CASE WHEN is_exec OR arguments IS NOT NULL THEN 'true' END",
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
_IS_ODD = (
    f"{_is_unclean('cwd')} OR {_is_unclean('mw_path')} OR {_is_unclean('mw_source')} "
    "OR (mw_command IS NULL AND title IS NOT NULL)"
)


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


def relation(raw: Mapping[str, str], exhibit: str, source: str, *, is_wanted: bool) -> str:
    """Return the SQL of the raw keys, of exhibit and position.

    An event that turns out not to be plain has no ``AuditId`` and is not loaded so.

    Args:
        raw: keys and their types; what only other events have is null.
        exhibit: id of the exhibit.
        source: the table with the columns `audit_table.SCHEMA`.
        is_wanted: the events are worth all their columns.
    """
    keys = _KEYS | {"AuditId": f"CASE WHEN NOT ({_IS_ODD if is_wanted else 'false'}) THEN id END"}
    known = keys if is_wanted else {key: sql for key, sql in keys.items() if key not in _OF_FILES}
    shown = [f"CAST({known.get(key, 'NULL')} AS {kind}) AS {identifier(key)}" for key, kind in raw.items()]
    shown += [
        f"{literal(exhibit)} AS {EXHIBIT_KEY}",
        f"position AS {POSITION_KEY}",
        f"salvaged AS {SALVAGED_KEY}",
    ]
    steps = _STEPS if is_wanted else _COMMAND
    return f"SELECT {', '.join(shown)} FROM ({steps.format(source=source)})"
