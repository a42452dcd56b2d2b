"""A raw record laid out for reading: line breaks and indentation are added, nothing else is touched."""

from __future__ import annotations

import csv
import re

import msgspec

_DEEPEST_INDENT = 12  # Deeper levels stay at this column: a record may nest thousands of times.
_TOO_DEEP = "\n" + "  " * _DEEPEST_INDENT + " "
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_OPENING, _CLOSING = frozenset("{["), frozenset("}]")
_STRUCTURE = _OPENING | _CLOSING | frozenset(",:")


def lay_out(raw: str) -> str:
    """Break a JSON or CSV record into lines; any other text is returned as it is.

    Works on characters, not on parsed values, so duplicate keys, odd numbers
    and a record cut in the middle stay exactly as they are in the exhibit. The
    fields of a CSV record come one per line, with their JSON laid out.
    """
    text = raw.strip("\r\n")
    if text[:1] in ("{", "["):
        return _sound_json(text) or _lay_out_json(text)
    fields = _csv_fields(text)
    if fields and any(field[:1] == "{" for field in fields):
        return "\n".join(_lay_out_json(field) if field[:1] in ("{", "[") else field for field in fields)
    return text


def _csv_fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=False), [])
    except csv.Error:  # a field over the library's limit: shown as it is
        return []


def _sound_json(text: str) -> str:
    """Lay out a record without damage, thirty times as fast as piece by piece; empty when it is damaged or too deep."""
    try:
        shown = msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return ""
    return "" if _TOO_DEEP in shown else shown


def _lay_out_json(text: str) -> str:
    parts: list[str] = []
    depth = 0
    previous = ""
    for piece in _PIECE.findall(text):
        if piece in _CLOSING:
            depth = max(depth - 1, 0)
            if previous not in _OPENING:
                parts.append(_new_line(depth))
        elif previous in _OPENING or previous == ",":
            parts.append(_new_line(depth))
        elif previous and previous not in _STRUCTURE and piece not in _STRUCTURE:
            parts.append(" ")  # only in damaged JSON: two values must not grow together
        parts.append(": " if piece == ":" else piece)
        if piece in _OPENING:
            depth += 1
        previous = piece
    return "".join(parts)


def _new_line(depth: int) -> str:
    return "\n" + "  " * min(depth, _DEEPEST_INDENT)
