"""From the words of a command to its parameters: names completed, switches told from values, splatted bags opened."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mailwitness.powershell import names
from mailwitness.powershell.values import UNKNOWN, Unresolved, as_text

Value = Any  # Any: values of values.py

_TRUE = {"true": True, "$true": True, "1": True, "false": False, "$false": False, "0": False}
_PARAMETER = re.compile(r"^[-\u2013\u2014\u2015]([A-Za-z_?][\w?]*)(?:(:)(.*))?$", re.DOTALL)


class Word(msgspec.Struct):
    """One word of a command: a parameter's name, or a value with its text."""

    text: str
    value: Value = UNKNOWN
    name: str = ""
    has_colon: bool = False
    is_splat: bool = False


class Command(msgspec.Struct, omit_defaults=True):
    """One command that a text names.

    Attributes:
        name: full name, aliases resolved.
        parameters: parameter -> value as text; a value that is not known keeps its expression.
        switches: switch -> set or not: ``-DeleteContent:$false`` deletes nothing.
        start: first character of the command in the decoded text.
        end: character after its last.
        how: what had to be undone to read it.
        unresolved: expressions that remain unknown.
    """

    name: str
    parameters: dict[str, str]
    switches: dict[str, bool]
    start: int
    end: int
    how: list[str]
    unresolved: list[str]


def parameter_word(text: str) -> Word | None:
    """Return a word as the name of a parameter, or None when it is a value."""
    match = _PARAMETER.match(text.replace("`", ""))
    if match is None:
        return None
    return Word(text, name=match[1], has_colon=bool(match[2]) and not match[3])


class Binder:
    """Bind the words of one command."""

    def __init__(self, cmdlet: str, how: list[str]) -> None:
        """Start with nothing bound."""
        self.cmdlet = cmdlet
        self.how = how
        self.parameters: dict[str, str] = {}
        self.switches: dict[str, bool] = {}
        self.unresolved: list[str] = []
        self._loose: list[str] = []

    def bind(self, words: list[Word]) -> None:
        """Give every word its place."""
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word.is_splat:
                self._splat(word)
            elif not word.name:
                self._loose.append(self._known(word))
            else:
                at = self._parameter(word, words, at)
        self._place_loose()

    def _parameter(self, word: Word, words: list[Word], at: int) -> int:
        name, is_switch, found = names.parameter_name(self.cmdlet, word.name)
        if found:
            self.how.append(f"{found}: -{word.name}")
        following = words[at] if at < len(words) else None
        value = following if following is not None and not following.name and not following.is_splat else None
        if word.has_colon and value is not None:
            self._set(name, value, is_switch)
            return at + 1
        # A Boolean parameter takes $true or $false after a blank; a true switch would refuse it and not run at all.
        if value is None or (is_switch and not isinstance(value.value, bool)):
            self.switches[name] = True
            return at
        self._set(name, value, is_switch)
        return at + 1

    def _set(self, name: str, word: Word, is_switch: bool | None) -> None:
        text = self._known(word)
        is_bare_bool = isinstance(word.value, bool)
        state = (
            _TRUE.get(text.strip().lower())
            if is_switch
            else word.value
            if is_bare_bool and is_switch is None
            else None
        )
        if state is not None:
            self.switches[name] = bool(state)
        else:
            self.parameters[name] = f"{self.parameters[name]}, {text}" if name in self.parameters else text

    def _known(self, word: Word) -> str:
        if word.value is UNKNOWN or isinstance(word.value, Unresolved):
            self.unresolved.append(word.text[:200])
            return word.text
        if isinstance(word.value, list):
            parts = [word.text if item is UNKNOWN else as_text(item) for item in word.value]
            return ", ".join(parts)
        return as_text(word.value)

    def _splat(self, word: Word) -> None:
        if isinstance(word.value, dict):
            self.how.append("splatting")
            for key, value in list(word.value.items())[:200]:
                name, is_switch, _ = names.parameter_name(self.cmdlet, key)
                self._set(
                    name, Word(value if isinstance(value, Unresolved) else as_text(value), value), is_switch
                )
        elif isinstance(word.value, list):
            self.how.append("splatting")
            self._loose += [as_text(item) for item in word.value[:200]]
        else:
            self.unresolved.append(word.text[:200])

    def _place_loose(self) -> None:
        known = names.CMDLETS.get(self.cmdlet.lower())
        if known is not None and known.first and self._loose and known.first not in self.parameters:
            self.parameters[known.first] = self._loose.pop(0)
        if self._loose:
            self.parameters["Arguments"] = ", ".join(self._loose)
