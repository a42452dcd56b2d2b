"""Flat rows of Google activities (GAM's CSV, Log Analytics columns): nested again, as the API gives them."""

from __future__ import annotations

import re
from typing import Any

Record = dict[str, Any]  # Any: JSON values or CSV cells

# Log Analytics adds the type of a value to the name of a custom column: actor_email_s, id_time_t.
_SUFFIX = re.compile(r"_[sdgbt]$")
_PARTS = {"id": "id", "actor": "actor", "networkInfo": "networkInfo"}
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


class Preparer:
    """Bring rows of one table into the shape of a flattened activity: id, actor, name, type and parameters."""

    def prepare(self, record: Record) -> Record | None:
        """Return the row as an activity with nested members, or None when it names no application.

        Raw line: ``name,actor.email,id.applicationName,id.time,ipAddress,type,USER_EMAIL`` (GAM).
        """
        activity: Record = {"id": {}, "actor": {}, "networkInfo": {}, "parameters": {}}
        for column, value in record.items():
            if value not in ("", None):
                _place(activity, column.strip().strip("\ufeff"), value)
        return activity if activity["id"].get("applicationName") or activity.get("name") else None


def _place(activity: Record, column: str, value: object) -> None:
    """Put one cell where it belongs; a dotted name is a path."""
    if column in _LEFT_OUT:
        return
    name = _RENAMED.get(_SUFFIX.sub("", column), _SUFFIX.sub("", column))
    if name in _PLAIN:
        activity[name] = value
        return
    for part in _PARTS:
        for separator in (".", "_"):
            if name.startswith(part + separator):
                _nest(activity[part], name[len(part) + 1 :].split(separator), value)
                return
    _nest(activity["parameters"], column.split(".") if "." in column else [name], value)


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
