"""Flat rows of Google activities (GAM's CSV, Log Analytics columns): nested again, as the API gives them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

Record = dict[str, Any]  # Any: JSON values or CSV cells

# Log Analytics adds the type of a value to the name of a custom column: actor_email_s, id_time_t.
_SUFFIX = re.compile(r"_[sdgbt]$")
_PARTS = ("id", "actor", "networkInfo")
_PLAIN = {"kind", "etag", "ownerDomain", "ipAddress", "type", "name"}
_RENAMED = {
    "event_type": "type",
    "event_name": "name",
    "IPAddress": "ipAddress",
    "event.name": "name",
    "event.type": "type",
}
# Columns of the workspace and of the collector; everything else is a parameter of the event.
_LEFT_OUT = {
    "TenantId",
    "SourceSystem",
    "MG",
    "ManagementGroupName",
    "TimeGenerated",
    "Computer",
    "RawData",
    "Type",
    "_ResourceId",
    "emailAddress",
    "event",
}


Tree = dict[str, "str | Tree"]


class Preparer:
    """Bring rows of one table into the shape of a flattened activity: id, actor, name, type and parameters."""

    def prepare(self, record: Record) -> Record | None:
        """Return the row as an activity with nested members, or None when it names no application.

        Raw line: ``name,actor.email,id.applicationName,id.time,ipAddress,type,USER_EMAIL`` (GAM).
        """
        activity: Record = {"id": {}, "actor": {}, "networkInfo": {}, "parameters": {}}
        for column, value in record.items():
            if value not in ("", None):
                _place(activity, column, value)
        return activity if activity["id"].get("applicationName") or activity.get("name") else None


class Layout(msgspec.Struct, frozen=True):
    """Where the cells of a table go, when that is the same for every row.

    Attributes:
        plain: key of the activity -> columns that give it; the last that is filled wins.
        nested: key of the activity -> its members in their order, each a column or members again; empty cells are left out.
        one_of: columns of which one has to be filled; else the row is no activity.
    """

    plain: dict[str, list[str]]
    nested: dict[str, Tree]
    one_of: list[str]


def layout(columns: list[str]) -> Layout | None:
    """Return where `Preparer` places the cells of a table; None when that depends on which cells are filled."""
    plain: dict[str, list[str]] = {}
    nested: dict[str, Tree] = {"id": {}, "actor": {}, "networkInfo": {}, "parameters": {}}
    for column in columns:
        path = _target(column)
        if len(path) == 1:
            plain.setdefault(path[0], []).append(column)
        elif path and not _add(nested[path[0]], path[1:], column):
            return None
    application = nested["id"].get("applicationName")
    one_of = [*plain.get("name", []), *([application] if isinstance(application, str) else [])]
    return None if isinstance(application, dict) or not one_of else Layout(plain, nested, one_of)


def _add(tree: Tree, path: list[str], column: str) -> bool:
    """Give a column its place; False where another has it, or where the order of members would depend on empty cells."""
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        if isinstance(below, str) or next(reversed(tree)) != step:
            return False
        tree = below
    if path[-1] in tree:
        return False
    tree[path[-1]] = column
    return True


def _place(activity: Record, column: str, value: object) -> None:
    """Put one cell where it belongs; a dotted name is a path."""
    path = _target(column)
    if len(path) == 1:
        activity[path[0]] = value
    elif path:
        _nest(activity[path[0]], path[1:], value)


def _target(column: str) -> list[str]:
    """Return the path of a column within an activity; nothing for columns that are left out."""
    column = column.strip().strip("\ufeff")
    if column in _LEFT_OUT:
        return []
    name = _RENAMED.get(_SUFFIX.sub("", column), _SUFFIX.sub("", column))
    if name in _PLAIN:
        return [name]
    for part in _PARTS:
        for separator in (".", "_"):
            if name.startswith(part + separator):
                return [part, *name[len(part) + 1 :].split(separator)]
    return ["parameters", *(column.split(".") if "." in column else [name])]


def _nest(target: Record, path: list[str], value: object) -> None:
    """Store a value under a path; where a plain value already stands, the whole path becomes one name."""
    place = target
    for step in path[:-1]:
        below = place.setdefault(step, {})
        if not isinstance(below, dict):
            target[".".join(path)] = value
            return
        place = below
    place[path[-1]] = value
