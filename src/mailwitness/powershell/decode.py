"""The decoder's three doors: a script, a process command line, and the parameter bindings of a 4103 event."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from itertools import islice

import msgspec

from mailwitness.powershell import commands, lines, names
from mailwitness.powershell.binding import Command
from mailwitness.powershell.values import from_base64

# A script is often logged again and again, as every module load writes the module's text.
_KEPT_RESULTS = 512
_MOST_LINES = 3
_MOST_BLOBS = 4
_MOST_UNPACKED = 1 << 20
_BLOB = re.compile(r"(?i)FromBase64String\(\s*['\"]([A-Za-z0-9+/=\s]{40,}?)['\"]")
_INVOCATION = re.compile(r"^\s*\w+\(([^()\r\n]+)\)\s*:\s*\"([^\"\r\n]*)\"", re.MULTILINE)
_BINDING = re.compile(
    r"^\s*ParameterBinding\(([^()\r\n]+)\)\s*:\s*name=\"([^\"\r\n]*)\";\s*value=\"((?s:.*?))\"\s*(?=\r?\n\s*\w+\(|\r?\n\r?\n|\Z)",
    re.MULTILINE,
)


class Decoded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a text comes to.

    Attributes:
        text: the script with its encoding undone; of several layers all, outermost first, one after the other.
        commands: every command found, in the order of the text.
        how: ways in which the whole was encoded.
        notes: what could not be read, and why.
    """

    text: str
    commands: tuple[Command, ...]
    how: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def part(text: str) -> Decoded:
    """Decode one part of a script that was logged in several: what touches its edges may be cut and is left out."""
    found = script(text)
    inner = [command for command in found.commands if command.start > 0 and command.end < len(text.rstrip())]
    return Decoded(found.text, tuple(inner), found.how, found.notes)


def script(text: str) -> Decoded:
    """Decode a script, and the scripts that it starts PowerShell with."""
    return _script(text, 0)


def _script(text: str, layer: int) -> Decoded:
    found = commands.read(text)
    layers = [text, *found.layers]
    how: list[str] = []
    notes = dict.fromkeys(found.notes)
    for packed in _packed(text):
        how.append("compressed text")
        layers.append(packed)
        for command in commands.read(packed).commands:
            command.how.append("compressed text")
            found.commands.append(command)
    if "starts another PowerShell" in notes and layer < commands.MOST_LAYERS:
        del notes["starts another PowerShell"]
        for inner in [
            line
            for part in layers
            for line in part.splitlines()[:2000]
            if "powershell" in line.lower() or "pwsh" in line.lower()
        ][:_MOST_LINES]:
            started = _line(inner, layer + 1)
            if started is not None:
                layers.append(started.text)
                found.commands += started.commands
                how += started.how
    return Decoded("\n".join(layers), tuple(found.commands), tuple(how), tuple(notes))


def _packed(text: str) -> list[str]:
    """Return the scripts that a text carries as compressed base64, as loaders do; each bounded in size."""
    found = []
    for match in islice(_BLOB.finditer(text), _MOST_BLOBS):
        raw = from_base64(match[1])
        if not isinstance(raw, bytes):
            continue
        for window in (zlib.MAX_WBITS | 16, -zlib.MAX_WBITS, zlib.MAX_WBITS):
            try:
                plain = zlib.decompressobj(window).decompress(raw, _MOST_UNPACKED)
            except zlib.error:
                continue
            wide = plain[1:400:2].count(0) * 2 > len(plain[1:400:2])
            found.append(plain.decode("utf-16-le" if wide else "utf-8", "replace"))
            break
    return found


def line(command_line: str) -> Decoded | None:
    """Decode a process command line; None when it hands no script to PowerShell."""
    return _line(command_line, 0)


def _line(command_line: str, layer: int) -> Decoded | None:
    handed = lines.script_of(command_line[: 1 << 20])
    if handed is None:
        return None
    found = _script(handed.script, layer + 1) if layer < commands.MOST_LAYERS else Decoded(handed.script, ())
    for command in found.commands:
        command.how.extend(word for word in handed.how if word not in command.how)
    return Decoded(found.text, found.commands, (*handed.how, *found.how), found.notes)


def binding(payload: str) -> Decoded:
    """Decode the payload of a 4103 event: names and values as PowerShell bound them, after every trick."""
    found: dict[str, Command] = {}
    for match in _INVOCATION.finditer(payload):
        if match[0].lstrip().startswith("CommandInvocation"):
            name, _ = names.cmdlet_name(match[1], {})
            found.setdefault(match[1], Command(name, {}, {}, match.start(), match.end(), ["bound"], []))
    for match in _BINDING.finditer(payload):
        name, _ = names.cmdlet_name(match[1], {})
        command = found.setdefault(match[1], Command(name, {}, {}, match.start(), match.end(), ["bound"], []))
        parameter, is_switch, _ = names.parameter_name(name, match[2])
        state = {"true": True, "false": False}.get(match[3].lower())
        if is_switch and state is not None:
            command.switches[parameter] = state
        else:
            command.parameters[parameter] = match[3]
        command.end = match.end()
    return Decoded(payload, tuple(found.values()))


@lru_cache(maxsize=_KEPT_RESULTS)
def as_json(text: str, kind: str) -> str | None:
    """Return the decoded text as JSON: ``{text, commands, how, notes}``; null when there is nothing to decode.

    Args:
        text: what was logged.
        kind: ``script``, ``part``, ``line`` or ``binding``.
    """
    try:
        decoded = {"script": script, "part": part, "line": line, "binding": binding}[kind](text)
    except RecursionError:
        decoded = Decoded(text, (), notes=("stopped: too nested",))
    if decoded is None:
        return None
    listed = [msgspec.to_builtins(command) | {"bag": bag(command)} for command in decoded.commands]
    shown = {"text": decoded.text, "commands": listed, "how": decoded.how, "notes": decoded.notes}
    try:
        return msgspec.json.encode(shown).decode().replace("\\u0000", "\\u2400")
    except UnicodeEncodeError:
        return msgspec.json.encode(
            {"text": "", "commands": [], "how": [], "notes": ["the text cannot be written as UTF-8"]}
        ).decode()


def bag(command: Command) -> dict[str, str]:
    """Return parameters and switches in one bag, all as text, as servers log them."""
    return command.parameters | {name: str(state) for name, state in command.switches.items()}
