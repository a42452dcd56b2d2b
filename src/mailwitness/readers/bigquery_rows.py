"""Rows of BigQuery's REST replies: values by position and the schema beside them, made objects with names again."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Any

Record = dict[str, Any]  # Any: JSON values

# RECORD within RECORD: BigQuery allows 15 levels.
_DEEPEST = 16


class Preparer:
    """Name the values of rows that carry their own schema."""

    def prepare(self, record: Record) -> Record | None:
        """Return a row as a nested object, or None when row and schema do not fit together.

        Raw line: ``{"row":{"f":[{"v":"1772440873201000"}]},"schema":{"fields":[{"name":"time_usec","type":"INTEGER"}]}}``;
        source: BigQuery API, tabledata.list.
        """
        row, schema = record.get("row"), record.get("schema")
        fields = schema.get("fields") if isinstance(schema, dict) else schema
        if not isinstance(row, dict) or not isinstance(fields, list):
            return None
        named = _named(row, fields, _DEEPEST)
        if named is None:
            return None
        if "ip_address" in named:
            named["ip_address"] = _address(named["ip_address"])
        if "event_info" in named and "record_type" not in named:
            info = named["event_info"]
            named["time_usec"] = info.get("timestamp_usec") if isinstance(info, dict) else None
            named["gmail"] = {key: named.pop(key) for key in ("event_info", "message_info") if key in named}
            named |= {"record_type": "gmail", "event_name": "delivery", "event_type": "delivery_type"}
        return named


def _named(row: Record, fields: list[Any], depth: int) -> Record | None:
    cells = row.get("f")
    if not isinstance(cells, list) or len(cells) != len(fields) or not depth:
        return None
    named: Record = {}
    for field, cell in zip(fields, cells, strict=True):
        if not isinstance(field, dict) or not isinstance(cell, dict):
            return None
        named[str(field.get("name", ""))] = _value(cell.get("v"), field, depth - 1)
    return named


def _value(value: object, field: Record, depth: int) -> object:
    """Return one cell: a list for a repeated field, an object for a record, else as it is."""
    if isinstance(value, list):
        return [_value(item.get("v") if isinstance(item, dict) else item, field, depth) for item in value]
    inner = field.get("fields")
    if isinstance(value, dict) and isinstance(inner, list):
        return _named(value, inner, depth)
    return value


def _address(value: object) -> object:
    """Return an address that was written as base64 of its bytes, as text."""
    if not isinstance(value, str):
        return value
    try:
        packed = base64.b64decode(value, validate=True)
        return str(ipaddress.ip_address(packed))
    except (binascii.Error, ValueError):
        return value
