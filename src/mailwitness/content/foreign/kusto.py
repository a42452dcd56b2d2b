r"""Sigma's conditions as KQL, over pySigma's Kusto backend with its silent faults taken out.

Unchanged, that backend writes a word without a field as ``where "word"`` and a dotted field as ``'a.b' =~ "x"``, both
constant; loses the order of parts around an inner wildcard; and compares text with numbers. Here a value goes into an
expression of our own tables, in the column's type, or the rule is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sigma.backends.kusto.kusto import KustoBackend
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from mailwitness.content.foreign.logsources import LogSource

if TYPE_CHECKING:
    from sigma.conversion.state import ConversionState

_NUMBERS = {"int", "long", "real"}
# RE2, which Kusto and our engine use, has neither look-around nor back references.
_BEYOND_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>|P=)|\\[1-9]|\(\?R\)|[*+?}]\+")
_FLAG_LETTERS = {"IGNORECASE": "i", "MULTILINE": "m", "DOTALL": "s"}


class Unsupported(Exception):
    """The rule asks for something that cannot be run faithfully; the message is the reason."""


class Backend(KustoBackend):
    """Write conditions of one log source; and, or, not and brackets are the Kusto backend's."""

    convert_and_as_in = False
    in_expressions_allow_wildcards = False

    def __init__(self, source: LogSource) -> None:
        """Take the log source whose table the condition reads."""
        super().__init__()
        self.source = source

    def decide_convert_condition_as_in_expression(
        self, cond: ConditionOR | ConditionAND, state: ConversionState
    ) -> bool:
        """Use ``in~`` for plain texts of one text column only."""
        if not super().decide_convert_condition_as_in_expression(cond, state):
            return False
        field, values = _compared_values(cond)
        plain = all(type(value) is SigmaString and str(value) for value in values)
        return plain and field not in self.source.lists and self._kind(field) == "string"

    def convert_condition_as_in_expression(
        self,
        cond: ConditionOR | ConditionAND,
        state: ConversionState,  # noqa: ARG002 - the backend's signature
    ) -> str:
        """Write a list of plain texts of one field."""
        field, values = _compared_values(cond)
        listed = ", ".join(_text(self._value(field, _plain(value))) for value in values)
        return f"{self._place(field)} in~ ({listed})"

    def convert_condition_field_eq_val(
        self, cond: ConditionFieldEqualsValueExpression, state: ConversionState
    ) -> Any:  # noqa: ANN401 - as the backend declares it
        """Write one comparison of a field with a value."""
        value = cond.value
        if isinstance(value, SigmaExpansion):
            each = [ConditionFieldEqualsValueExpression(cond.field, item) for item in value.values]
            return "(" + " or ".join(self.convert_condition_field_eq_val(one, state) for one in each) + ")"
        place = self._place(cond.field)
        text = _as_text(place, self.source.kind_of(place))
        match value:
            case SigmaTimestampPart():
                raise Unsupported("it compares a part of a time, such as the hour")
            case SigmaString() | SigmaNumber() | SigmaBool():
                return self._equal(cond.field, place, value)
            case SigmaRegularExpression():
                return f"{text} matches regex {_regex(value)}"
            case SigmaNull() | SigmaExists():
                is_there = isinstance(value, SigmaExists) and bool(value)
                return f"{'isnotempty' if is_there else 'isempty'}({text})"
            case _:
                return self._compared(place, value)

    def _equal(self, field: str, place: str, value: SigmaString | SigmaNumber | SigmaBool) -> str:
        if isinstance(value, SigmaString):
            return self._string(field, place, value)
        if isinstance(value, SigmaNumber):
            return self._number(field, place, value)
        return self._bool(place, value=bool(value))

    def _compared(self, place: str, value: Any) -> str:  # noqa: ANN401 - the rarer of Sigma's types
        if isinstance(value, SigmaCompareExpression):
            number = place if self.source.kind_of(place) in _NUMBERS else f"tolong({place})"
            return f"{number} {value.op.value} {value.number}"
        if isinstance(value, SigmaCIDRExpression):
            return _network(place, value)
        if isinstance(value, SigmaFieldReference):
            operator = "startswith" if value.starts_with else "endswith" if value.ends_with else "=~"
            return f"{place} {operator} {self._place(value.field)}"
        kind = type(value).__name__.removeprefix("Sigma")
        raise Unsupported(f"the modifier that makes {kind} has no place in KQL")

    def convert_condition_val(
        self,
        cond: ConditionValueExpression,
        state: ConversionState,  # noqa: ARG002 - the backend's signature
    ) -> str:
        """Write a word without a field: it is searched where the log source keeps its text.

        Raises:
            Unsupported: the log source has no such place, so the word would be a constant.
        """
        if not self.source.keywords:
            raise Unsupported(
                f"it searches the word {str(cond.value)[:60]!r} in no field, and {self.source.id} has no text for that"
            )
        if isinstance(cond.value, SigmaRegularExpression):
            return f"{self.source.keywords} matches regex {_regex(cond.value)}"
        text = cond.value if isinstance(cond.value, SigmaString) else SigmaString(str(cond.value))
        return _matched(self.source.keywords, _within(text), cased=isinstance(text, SigmaCasedString))

    def _place(self, field: str) -> str:
        place = self.source.place_of(field)
        if not place:
            raise Unsupported(
                f"the field {field!r} is no column of {self.source.table}, so its filter would never fire"
            )
        return place

    def _kind(self, field: str) -> str:
        return self.source.kind_of(self._place(field))

    def _value(self, field: str, text: str) -> str:
        return self.source.values.get(field, {}).get(text, text)

    def _string(self, field: str, place: str, value: SigmaString) -> str:
        kind = self.source.kind_of(place)
        if field in self.source.lists:
            return f'strcat(",", {place}, ",") contains {_text("," + _plain(value) + ",")}'
        if value.contains_special():
            return _matched(_as_text(place, kind), value, cased=isinstance(value, SigmaCasedString))
        text = self._value(field, _plain(value))
        if kind in _NUMBERS:
            return f"{place} == {_as_integer(text, field)}"
        if kind == "bool":
            return self._bool(place, value=text.strip().lower() in {"true", "1", "yes"})
        operator = "==" if isinstance(value, SigmaCasedString) else "=~"
        return (
            f"isempty({_as_text(place, kind)})"
            if text == ""
            else f"{_as_text(place, kind)} {operator} {_text(text)}"
        )

    def _number(self, field: str, place: str, value: SigmaNumber) -> str:
        kind = self.source.kind_of(place)
        if kind in _NUMBERS:
            return f"{place} == {value}"
        return f"{_as_text(place, kind)} =~ {_text(self._value(field, str(value)))}"

    def _bool(self, place: str, *, value: bool) -> str:
        word = "true" if value else "false"
        if self.source.kind_of(place) == "bool":
            return f"{place} == {word}"
        return f'{_as_text(place, self.source.kind_of(place))} =~ "{word}"'


def _compared_values(cond: ConditionOR | ConditionAND) -> tuple[str, list[Any]]:  # Any: Sigma's types
    """Return the one field that all parts of a condition compare, and the values."""
    parts = [part for part in cond.args if isinstance(part, ConditionFieldEqualsValueExpression)]
    return parts[0].field, [part.value for part in parts]


def _network(place: str, value: SigmaCIDRExpression) -> str:
    """Write an IPv4 network as the beginnings of its addresses; functions on networks are not translated."""
    if ":" in value.cidr:
        raise Unsupported("it compares with an IPv6 network")
    starts = [pattern.partition("*") for pattern in value.expand()]
    listed = [f"{place} {'startswith' if star else '=='} {_text(start)}" for start, star, _ in starts]
    return "(" + " or ".join(listed) + ")"


def _as_text(place: str, kind: str) -> str:
    return place if kind == "string" else f"tostring({place})"


def _as_integer(text: str, field: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise Unsupported(f"it compares the number {field!r} with the text {text[:40]!r}") from error


def _plain(value: SigmaString) -> str:
    """Return the text without Sigma's escapes."""
    _check_placeholders(value)
    return "".join(part for part in value.s if isinstance(part, str))


def _check_placeholders(value: SigmaString) -> None:
    for part in value.s:
        if isinstance(part, Placeholder):
            raise Unsupported(f"it leaves a value open (%{part.name}%), to be filled in by who uses it")


def _within(value: SigmaString) -> SigmaString:
    """Return the text with a wildcard at both ends: a keyword is found anywhere."""
    wild = SpecialChars.WILDCARD_MULTI
    made = SigmaString("")
    made.s = [wild, *value.s, wild]
    return made


def _matched(place: str, value: SigmaString, *, cased: bool) -> str:
    """Write a text with wildcards: with Kusto's words where they fit, else as a regular expression."""
    _check_placeholders(value)
    many = SpecialChars.WILDCARD_MULTI
    parts = list(value.s)
    while parts[:2] == [many, many]:
        del parts[0]
    while parts[-2:] == [many, many]:
        del parts[-1]
    inner = [part for part in parts if part is not many]
    end = "_cs" if cased else ""
    if not inner:
        return f"isnotempty({place})"
    if len(inner) == 1 and isinstance(inner[0], str):
        starts, ends = parts[0] is many, parts[-1] is many
        word = "contains" if starts and ends else "endswith" if starts else "startswith"
        return f"{place} {word}{end} {_text(inner[0])}"
    written = "".join(
        re.escape(part) if isinstance(part, str) else ".*" if part is many else "." for part in parts
    )
    return f"{place} matches regex {_text(('(?s)' if cased else '(?is)') + '^' + written + '$')}"


def _regex(value: SigmaRegularExpression) -> str:
    text = str(value.regexp)
    if _BEYOND_RE2.search(text):
        raise Unsupported("its regular expression looks around or back, which Kusto's expressions cannot")
    letters = "".join(sorted(_FLAG_LETTERS[flag.name] for flag in value.flags))
    return _text(f"(?{letters}){text}" if letters else text)


def _text(text: str) -> str:
    """Write a KQL string literal."""
    escaped = (
        text.replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("\n", "\\n")
        .replace("\r", "\\r")
        .replace("\t", "\\t")
    )
    return f'"{escaped}"'
