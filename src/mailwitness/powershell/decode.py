"""The decoder's three doors: a script, a process command line, and the parameter bindings of a 4103 event."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from mailwitness.powershell import commands, lines, names
from mailwitness.powershell.binding import Command

# A script is often logged again and again, as every module load writes the module's text.
_KEPT_RESULTS = 512
_MOST_LINES = 3
_INVOCATION = re.compile(r"^\s*\w+\(([^()\r\n]+)\)\s*:\s*\"([^\"\r\n]*)\"", re.MULTILINE)
_BINDING = re.compile(r"^\s*ParameterBinding\(([^()\r\n]+)\)\s*:\s*name=\"([^\"\r\n]*)\";\s*value=\"((?s:.*?))\"\s*(?=\r?\n\s*\w+\(|\r?\n\r?\n|\Z)", re.MULTILINE)


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
    found = commands.read(text)
    layers = [text, *found.layers]
    how: list[str] = []
    notes = dict.fromkeys(found.notes)
    if "starts another PowerShell" in notes:
        del notes["starts another PowerShell"]
        for inner in [line for part in layers for line in part.splitlines()[:2000] if "powershell" in line.lower() or "pwsh" in line.lower()][:_MOST_LINES]:
            started = _line(inner, 1)
            if started is not None:
                layers.append(started.text)
                found.commands += started.commands
                how += started.how
    return Decoded("\n".join(layers), tuple(found.commands), tuple(how), tuple(notes))


def line(command_line: str) -> Decoded | None:
    """Decode a process command line; None when it hands no script to PowerShell."""
    return _line(command_line, 0)


def _line(command_line: str, layer: int) -> Decoded | None:
    handed = lines.script_of(command_line[: 1 << 20])
    if handed is None:
        return None
    inner = lines.script_of(handed.script) if layer < commands.MOST_LAYERS and handed.script != command_line else None
    if inner is not None and "encoded command" in inner.how:
        deeper = _line(handed.script, layer + 1)
        if deeper is not None:
            return Decoded(deeper.text, deeper.commands, (*handed.how, *deeper.how), deeper.notes)
    found = commands.read(handed.script)
    for command in found.commands:
        command.how.extend(word for word in handed.how if word not in command.how)
    return Decoded("\n".join([handed.script, *found.layers]), tuple(found.commands), handed.how, tuple(found.notes))


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
        return msgspec.json.encode({"text": "", "commands": [], "how": [], "notes": ["the text cannot be written as UTF-8"]}).decode()


def bag(command: Command) -> dict[str, str]:
    """Return parameters and switches in one bag, all as text, as servers log them."""
    return command.parameters | {name: str(state) for name, state in command.switches.items()}
