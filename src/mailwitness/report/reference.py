"""The reference page of report.json, written from its schema so that the two cannot differ."""

from __future__ import annotations

from typing import Any

from mailwitness.report.validate import schema

_HEAD = """# report.json

Written by `mailwitness investigate` into the case folder; every other form of the report is made from it.
This page is generated from `src/mailwitness/report/schema.json` (JSON Schema 2020-12).

"""


def report_page() -> str:
    """Return the Markdown page that describes every field of report.json."""
    content = schema()
    parts = [_HEAD, _sentences(content["description"]), "\n\n## The report\n\n", _fields(content)]
    for name, definition in content["$defs"].items():
        parts += [f"\n## {name}\n\n", _sentences(definition["description"]), "\n"]
        if "properties" in definition:
            parts += ["\n", _fields(definition)]
        elif "enum" in definition:
            parts += ["\nOne of: ", ", ".join(f"`{word}`" for word in definition["enum"]), ".\n"]
    return "".join(parts)


def _fields(definition: dict[str, Any]) -> str:
    rows = ["| Field | Type | Meaning |\n", "| --- | --- | --- |\n"]
    for name, field in definition["properties"].items():
        rows += _rows(name, field, definition)
    return "".join(rows)


def _rows(name: str, field: dict[str, Any], definition: dict[str, Any]) -> list[str]:
    """Return the row of a field, and of the fields of an object described in place."""
    optional = "" if name in definition["required"] else " (optional)"
    meaning = field.get("description") or schema()["$defs"][_target(field)]["description"]
    rows = [f"| `{name}`{optional} | {_type(field)} | {meaning} |\n"]
    for inner, inner_field in field.get("properties", {}).items():
        rows += _rows(
            f"{name}.{inner}", inner_field, {"required": [f"{name}.{one}" for one in field["required"]]}
        )
    return rows


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"[{_target(field)}](#{_target(field)})"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field["type"]
    return " or ".join(kind) if isinstance(kind, list) else kind


def _target(field: dict[str, Any]) -> str:
    name: str = field["$ref"].rpartition("/")[2]
    return name


def _sentences(text: str) -> str:
    """Write one sentence per line, as all pages here are."""
    return text.replace(". ", ".\n")
