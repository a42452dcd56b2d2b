"""Change the parameters of rules and explanations: a ``let`` line's literal is replaced by another of the same type."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mailwitness.content.schemas import Explanation, Rule
from mailwitness.errors import ConfigError
from mailwitness.kql import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T", Rule, Explanation)

# A value is written into the query as it stands only when the whole of it is one of these.
_KINDS = {
    "a timespan such as 24h": re.compile(r"\A\d+(?:\.\d+)?(?:d|h|m|s|ms)\Z"),
    "a number": re.compile(r"\A-?\d+(?:\.\d+)?\Z"),
    "true or false": re.compile(r"\A(?:true|false)\Z"),
}
_TEXT = re.compile(r"^h?@?[\"']")
_DYNAMIC = re.compile(r"^dynamic\(\s*\[.*\]\s*\)$", re.DOTALL)
_LONGEST_TEXT = 10_000
# Texts that no pattern about mail has a reason to match: one that does matches everything.
_NEUTRAL = ("", "x", ".", "/", "/opt/x", "C:\\x")
_CLASSES = re.compile(r"\\[pP](?:\{\^?\w+\}|\w)")


class Setting(msgspec.Struct, frozen=True):
    """A parameter's value as given on the command line or in the TOML file; a list stays a list."""

    rule: str
    parameter: str
    value: str | tuple[str, ...]

    def text(self) -> str:
        """Return it as it is recorded."""
        value = self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)
        return f"{self.rule}.{self.parameter}={value}"


def parse(text: str) -> Setting:
    """Read ``RULE.parameter=value``; the rule is its id or its name, which may hold dots.

    Raises:
        ConfigError: it does not have that form.
    """
    target, equals, value = text.partition("=")
    rule, dot, parameter = target.rpartition(".")
    if not (equals and dot and rule.strip() and parameter.strip()):
        raise ConfigError(f"{text[:80]!r} sets nothing", place="--set", remedy="Write RULE.parameter=value.")
    return Setting(rule.strip(), parameter.strip(), value.strip())


def setting(rule: str, parameter: str, value: Any) -> Setting:  # noqa: ANN401 - a TOML value
    """Return the setting of a TOML value."""
    if isinstance(value, list):
        return Setting(rule, parameter, tuple(str(item) for item in value))
    return Setting(rule, parameter, str(value).lower() if isinstance(value, bool) else str(value))


def apply(items: Sequence[T], settings: Sequence[Setting]) -> tuple[list[T], set[Setting]]:
    """Return the rules or explanations with their parameters set, and the settings that were used.

    Raises:
        ConfigError: a rule has no such parameter, or the value is not of its type.
    """
    used: set[Setting] = set()
    changed = list(items)
    for one in settings:
        for i, item in enumerate(changed):
            if one.rule in (item.id, item.name):
                changed[i] = msgspec.structs.replace(item, query=_with(item, one))
                used.add(one)
    return changed, used


def refuse_unused(settings: Sequence[Setting], used: set[Setting]) -> None:
    """Refuse settings of rules that do not exist: whoever set them believes that they are in force.

    Raises:
        ConfigError: a setting was not used.
    """
    for one in settings:
        if one not in used:
            raise ConfigError(
                f"there is no rule or explanation {one.rule!r}",
                place="--set",
                remedy="See `mailwitness rules list` for ids and names.",
            )


def is_pattern(query: str, name: str) -> bool:
    """Tell whether a query uses a parameter as a regular expression."""
    return bool(re.search(rf"\bmatches\s+regex\s+{re.escape(name)}\b", query))


def matches_everything(pattern: str) -> bool:
    """Tell whether a regular expression matches texts that say nothing, so that it no longer decides anything.

    Classes of Unicode, which Python's expressions do not know, count as none of the neutral texts' characters.
    """
    try:
        compiled = re.compile(_CLASSES.sub("\0", pattern))
    except re.error:
        return False
    return any(compiled.search(text) for text in _NEUTRAL)


def _refuse_everything(item: Rule | Explanation, one: Setting) -> None:
    if isinstance(one.value, str) and is_pattern(item.query, one.parameter) and matches_everything(one.value):
        raise ConfigError(
            f"{one.rule}.{one.parameter} would match everything",
            place="--set",
            remedy="Give a regular expression that leaves something out.",
        )


def _with(item: Rule | Explanation, one: Setting) -> str:
    if one.parameter not in item.parameters:
        known = ", ".join(item.parameters) or "none"
        raise ConfigError(
            f"{item.name!r} has no parameter {one.parameter!r}", place="--set", remedy=f"It has: {known}."
        )
    _refuse_everything(item, one)
    start, end = _place(item, one.parameter)
    return item.query[:start] + _literal(item.query[start:end].strip(), one) + item.query[end:]


def _place(item: Rule | Explanation, name: str) -> tuple[int, int]:
    """Return where the value of ``let name = ...;`` begins and ends."""
    listed = tokens(item.query)
    for i, token in enumerate(listed[:-3]):
        if token.text == "let" and listed[i + 1].text == name and listed[i + 2].text == "=":
            end = next((t.start for t in listed[i + 3 :] if t.kind == "end" and t.depth == token.depth), -1)
            if end >= 0:
                return listed[i + 3].start, end
    raise ConfigError(
        f"{item.name!r} has no line `let {name} = ...;`",
        place="--set",
        remedy="Report this; the rule is wrong.",
    )


def _literal(default: str, one: Setting) -> str:
    """Write the value as a KQL literal of the default's type.

    Nothing of the value reaches the query but a number, a timespan, true, false, or text inside quotes.
    """
    value = one.value
    if _DYNAMIC.match(default):
        return "dynamic([" + ", ".join(_quoted(text) for text in _items(value)) + "])"
    if not isinstance(value, str):
        raise _wrong(one, "a single value")
    if _TEXT.match(default):
        return _quoted(value)
    for words, pattern in _KINDS.items():
        if pattern.match(default):
            if not pattern.match(value):
                raise _wrong(one, words)
            return value
    raise ConfigError(
        f"the parameter {one.parameter!r} of {one.rule!r} is computed",
        place="--set",
        remedy="It cannot be set.",
    )


def _items(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (
        value
        if not isinstance(value, str)
        else tuple(part.strip() for part in value.split(",") if part.strip())
    )


def _quoted(text: str) -> str:
    """Write text as a KQL string: backslashes and quotes escaped, no control characters."""
    if len(text) > _LONGEST_TEXT or any(ord(character) < ord(" ") for character in text):
        raise ConfigError(
            "a text holds control characters or is too long", place="--set", remedy="Shorten it."
        )
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _wrong(one: Setting, words: str) -> ConfigError:
    shown = one.value if isinstance(one.value, str) else ", ".join(one.value)
    return ConfigError(
        f"{one.rule}.{one.parameter} is {words}, not {shown[:80]!r}", place="--set", remedy=f"Give {words}."
    )
