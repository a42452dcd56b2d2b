"""Rules as Sigma, where Sigma has words for them: conditions on the fields of one product's log."""

from __future__ import annotations

import re
from typing import Any

import yaml

from mailwitness import needs
from mailwitness.clinic.shape import literal
from mailwitness.content import loader, schemas
from mailwitness.content.foreign.logsources import LogSource, Match, column_types, logsources
from mailwitness.kql import Token, referenced_tables, tokens

Json = dict[str, Any]  # Any: YAML values

_WORDS = {"contains": "contains", "startswith": "startswith", "endswith": "endswith"}
_STEPS = {"where", "project", "extend", "take", "sort", "order"}
_WILD = re.compile(r"([*?]|\\+(?=[*?]|$))")


class NotInSigmaError(Exception):
    """A rule cannot be said in Sigma; the message says why."""


def as_sigma(rule: schemas.Rule) -> str:
    """Return a rule as Sigma YAML.

    Raises:
        NotInSigmaError: Sigma has no words for a part of it.
    """
    source, match, wheres = _source(rule.query)
    writer = _Writer(source)
    conditions = [writer.condition(text) for text in wheres]
    if not conditions:
        raise NotInSigmaError("it filters on nothing but the log itself")
    document: Json = {
        "title": rule.name,
        "id": rule.id,
        "status": rule.status
        if rule.status in {"stable", "test", "experimental", "deprecated", "unsupported"}
        else "test",
        "description": rule.description.strip(),
        "tags": [f"attack.{technique.lower()}" for technique in rule.relevantTechniques],
        "logsource": {
            key: value for key in ("product", "category", "service") if (value := getattr(match, key))
        },
        "detection": {**writer.selections, "condition": " and ".join(conditions)},
        "falsepositives": rule.falsePositives or ["Unknown"],
        "level": rule.level(),
    }
    if not document["tags"]:
        del document["tags"]
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000))


def _source(query: str) -> tuple[LogSource, Match, list[str]]:
    """Return the log source of a query and its remaining filters."""
    tables = referenced_tables(query, loader.tables())
    if needs.TABLE in tables:
        raise NotInSigmaError(
            "it reads MailboxActivity, which joins many products; Sigma names the fields of one product's log"
        )
    if len(tables) != 1:
        raise NotInSigmaError(f"it reads {' and '.join(sorted(tables)) or 'no table'}; Sigma reads one log")
    steps = _steps(query)
    wheres = [text for word, text in steps if word == "where"]
    for source in logsources():
        if source.table not in tables or (source.where and source.where not in wheres):
            continue
        left = [text for text in wheres if text != source.where]
        for match in sorted(source.match, key=lambda m: not m.where):
            if not match.where or match.where in left:
                return source, match, [text for text in left if text != match.where]
    raise NotInSigmaError(f"its filters do not say of which log in {' '.join(tables)} it speaks")


def _steps(query: str) -> list[tuple[str, str]]:
    listed = tokens(query)
    pipes = [i for i, token in enumerate(listed) if token.kind == "pipe" and token.depth == 0]
    if not pipes or pipes[0] != 1 or any(token.kind == "end" for token in listed):
        raise NotInSigmaError("it is more than one pipeline over one table")
    found = []
    for i, at in enumerate(pipes):
        end = listed[pipes[i + 1]].start if i + 1 < len(pipes) else len(query)
        word = listed[at + 1].text
        if word not in _STEPS:
            raise NotInSigmaError(f"it uses {word}, and Sigma says conditions only")
        found.append((word, query[listed[at + 1].start + len(word) : end].strip()))
    return found


class _Writer:
    """Turns KQL conditions into selections and a condition, by recursive descent."""

    def __init__(self, source: LogSource) -> None:
        self.source = source
        self.fields = {text: name for name, text in reversed(list(source.fields.items()))}
        self.selections: dict[str, Json] = {}
        self._listed: tuple[Token, ...] = ()
        self._at = 0

    def condition(self, text: str) -> str:
        """Return Sigma's condition for one filter; its selections are collected."""
        self._listed, self._at = tokens(text), 0
        written = self._either()
        if self._at != len(self._listed):
            raise NotInSigmaError(f"it compares in a way Sigma cannot ({text[:80]})")
        return f"({written})"

    def _either(self) -> str:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return " or ".join(parts) if len(parts) == 1 else f"({' or '.join(parts)})"

    def _both(self) -> str:
        parts = [self._single()]
        while self._takes("and"):
            parts.append(self._single())
        return " and ".join(parts)

    def _single(self) -> str:
        if self._takes("not"):
            return f"not {self._single()}"
        if self._takes("("):
            inner = self._either()
            self._needs(")")
            return f"({inner})"
        if self._next() in {"isempty", "isnotempty"}:
            return self._emptiness()
        return self._comparison()

    def _emptiness(self) -> str:
        is_there = self._word() == "isnotempty"
        self._needs("(")
        field = self._field()
        self._needs(")")
        return self._select({f"{field}|exists": True} if is_there else {field: None})

    def _comparison(self) -> str:
        column = self._next()
        field = self._field()
        negation = "not " if self._takes("!") else ""
        operator = self._operator()
        values = self._values()
        if operator == "regex":
            return negation + self._select({f"{field}|re": [str(value) for value in values]})
        is_number = column_types(self.source.table).get(column) in {"int", "long", "real"}
        modifiers = [part for part in (_WORDS.get(operator.removesuffix("_cs"), ""),) if part]
        if (operator in {"==", "in"} and not is_number) or operator.endswith("_cs"):
            modifiers.append("cased")
        written = [value if not isinstance(value, str) else _escaped(value) for value in values]
        return negation + self._select({"|".join([field, *modifiers]): written})

    def _operator(self) -> str:
        signs = ""
        while self._next() in {"=", "~"}:
            signs += self._word()
        if signs in {"==", "=~", "=", "~"}:
            # After a leading sign of negation only the second half is left.
            return {"=": "==", "~": "=~"}.get(signs, signs)
        word = self._word()
        if word == "in":
            return "in~" if self._takes("~") else "in"
        if word == "matches" and self._takes("regex"):
            return "regex"
        if word.removesuffix("_cs") in _WORDS:
            return word
        raise NotInSigmaError(f"it compares with {word!r}, for which Sigma has no word")

    def _values(self) -> list[Any]:  # Any: texts and numbers
        if not self._takes("("):
            return [self._value()]
        values = [self._value()]
        while self._takes(","):
            values.append(self._value())
        self._needs(")")
        return values

    def _value(self) -> str | int:
        if self._at >= len(self._listed):
            raise NotInSigmaError("a value is missing")
        token = self._listed[self._at]
        self._at += 1
        if token.kind == "string":
            return literal(token)
        if token.kind == "number" and token.text.isdigit():
            return int(token.text)
        raise NotInSigmaError(f"it compares with {token.text!r}, which is no text and no number")

    def _field(self) -> str:
        name = self._word()
        if name not in self.fields:
            known = self.source.columns and name in column_types(self.source.table)
            if not known:
                raise NotInSigmaError(f"Sigma has no field for {name} of {self.source.table}")
        return self.fields.get(name, name)

    def _select(self, selection: Json) -> str:
        name = f"selection{len(self.selections) + 1}"
        self.selections[name] = selection
        return name

    def _next(self) -> str:
        return self._listed[self._at].text if self._at < len(self._listed) else ""

    def _word(self) -> str:
        text = self._next()
        self._at += 1
        return text

    def _takes(self, text: str) -> bool:
        if self._next() == text:
            self._at += 1
            return True
        return False

    def _needs(self, text: str) -> None:
        if not self._takes(text):
            raise NotInSigmaError(f"it computes with a value ({text!r} was expected at {self._next()!r})")


def _escaped(text: str) -> str:
    r"""Write a text so that Sigma reads its ``*``, ``?`` and backslashes as themselves."""
    return _WILD.sub(lambda match: ("\\" + match[0]) if match[0] in "*?" else match[0] * 2, text)
