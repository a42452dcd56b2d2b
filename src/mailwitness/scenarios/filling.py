"""Fill placeholders of templates: ``{victim.upn}``, ``{at:epoch}``, ``{words:base64}``, ``{guid:export}``.

A text that is one placeholder becomes the value itself, so that numbers and lists keep their type. A member whose value
is ``{name?}`` is left out where there is no such value.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
import shlex
import uuid
from collections.abc import Callable
from typing import Any

from mailwitness.errors import ContentError

Json = Any  # a JSON value
_PLACEHOLDER = re.compile(r"\{([a-z][a-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*)(?::([^{}?]+))?(\?)?\}")
_DEEPEST = 8
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times of scenarios are naive UTC


class Absent:
    """Marks a member that is left out."""


ABSENT = Absent()


class Filler:
    """Replaces placeholders by the values of one record.

    Attributes:
        values: what names mean; a text among them may hold placeholders itself.
        seed: scenario, side and tag: the same labels draw the same ids in every run.
        record: which record this is; ids without a label, and those labelled ``record``, are its own.
    """

    def __init__(
        self, values: dict[str, Json], seed: str, *, record: str = "", is_final: bool = False
    ) -> None:
        self.values = values
        self.seed = seed
        self.record = record
        # What a record says is never read as a placeholder a second time.
        self.is_final = is_final
        self.drawn = 0

    def fill(self, value: Json, depth: int = 0) -> Json:
        """Return a structure with every placeholder replaced.

        Raises:
            ContentError: a name has no value.
        """
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, dict):
            filled = {str(self.fill(key, depth)): self.fill(item, depth) for key, item in value.items()}
            return {key: item for key, item in filled.items() if item is not ABSENT}
        if isinstance(value, list):
            return [item for item in (self.fill(item, depth) for item in value) if item is not ABSENT]
        return value

    def _text(self, text: str, depth: int) -> Json:
        if depth > _DEEPEST:
            raise ContentError(
                f"{text!r} names itself", place=self.seed, remedy="Remove the circle of placeholders."
            )
        whole = _PLACEHOLDER.fullmatch(text)
        if whole:
            return self._value(whole, depth)
        return _PLACEHOLDER.sub(lambda match: _as_text(self._value(match, depth)), text)

    def _value(self, match: re.Match[str], depth: int) -> Json:
        name, form, optional = match[1], match[2] or "", match[3]
        if name in _DRAWN:
            return self._draw(name, form)
        found: Json = self.values
        for part in name.split("."):
            found = found.get(part, ABSENT) if isinstance(found, dict) else ABSENT
            if isinstance(found, str) and not self.is_final:
                found = self.fill(found, depth + 1)
        if found is ABSENT:
            if optional:
                return ABSENT
            raise ContentError(
                f"nothing says what {{{name}}} is",
                place=self.seed,
                remedy="Give the step or template this value.",
            )
        if isinstance(found, (dict, list)) and not self.is_final:
            found = self.fill(found, depth + 1)
        return _formed(found, form) if form else found

    def _draw(self, name: str, form: str) -> Json:
        """Return an id: a labelled one is the same wherever the label is named, others are new."""
        if not form:
            self.drawn += 1
        label = form or f"new {self.drawn}"
        own = self.record if label == form == "record" or not form else ""
        number = int.from_bytes(hashlib.sha256(f"{self.seed}|{own}|{label}".encode()).digest()[:16], "big")
        return _DRAWN[name](number)


def _as_text(value: Json) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _opaque(number: int) -> str:
    return base64.b64encode(hashlib.sha256(str(number).encode()).digest()).decode()[:24]


_DRAWN: dict[str, Callable[[int], Json]] = {
    "guid": lambda number: str(uuid.UUID(int=number, version=4)),
    "number": lambda number: 1024 + number % 60_000,
    "serial": lambda number: number % 10**9,
    "hex": lambda number: f"{number:032x}"[:12].upper(),
    "opaque": _opaque,
}


def _formed(value: Json, form: str) -> Json:
    if isinstance(value, dt.datetime):
        return _time(value, form)
    if form not in _FORMS:
        raise ContentError(
            f"there is no form {form!r}", place="placeholder", remedy="See scenarios/filling.py."
        )
    return _FORMS[form](value)


def _time(value: dt.datetime, form: str) -> Json:
    seconds = (value - _EPOCH).total_seconds()
    if form == "epoch":
        return int(seconds)
    if form == "micros":
        return str(round(seconds * 1_000_000))
    if form == "millis":
        return round(seconds * 1000)
    if form == "audit":
        return f"{seconds:.3f}"
    if form == "us":
        # 3/2/2026 9:14:01 AM, as Export-Csv writes it in an American session.
        return f"{value.month}/{value.day}/{value.year} {value.strftime('%I:%M:%S %p').lstrip('0')}"
    return value.strftime(form)


def _quoted(argument: str) -> str:
    """Write an argument as the kernel's audit records do: hex where it holds a blank or a quote."""
    plain = argument.isascii() and argument.isprintable() and not set(argument) & {" ", '"'}
    return f'"{argument}"' if plain else argument.encode().hex().upper()


def _execve(command: str) -> str:
    parts = shlex.split(command)
    return f"argc={len(parts)} " + " ".join(f"a{i}={_quoted(part)}" for i, part in enumerate(parts))


_FORMS: dict[str, Callable[[Any], Json]] = {
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "text": _as_text,
    "int": int,
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    # PowerShell's -EncodedCommand is UTF-16LE.
    "base64": lambda value: base64.b64encode(str(value).encode("utf-16-le")).decode(),
    "execve": lambda value: _execve(str(value)),
    "arguments": lambda value: shlex.split(str(value)),
    "proctitle": lambda value: "\0".join(shlex.split(str(value))).encode().hex().upper(),
    "quoted": lambda value: _quoted(str(value)),
    "name_values": lambda value: [{"Name": key, "Value": _as_text(item)} for key, item in value.items()],
    "line": lambda value: " ".join(f'-{key} "{_as_text(item)}"' for key, item in value.items()),
    "xml_parameters": lambda value: "".join(
        f'<Parameter Name="{_xml(key)}" Value="{_xml(_as_text(item))}"/>' for key, item in value.items()
    ),
    "xml": lambda value: _xml(str(value)),
    "google": lambda value: [{"name": key, "value": item} for key, item in value.items()],
    "program": lambda value: shlex.split(str(value))[0].rsplit("/", 1)[-1],
}


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
