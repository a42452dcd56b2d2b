"""Decide while translating what the translator leaves to the database: which values are JSON and which are text.

The translator does not know the types of columns, so it writes both cases of nearly every comparison, and the database reads and
binds all of that text before it throws one case away. Where the type of a value is certain, only its case is kept here. The
optimised plan is the same; a test compares them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*|\s+|.""", re.DOTALL)
_COLUMN = re.compile(r'(?:_[lr]\.)?"((?:[^"]|"")*)"')
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(r"([a-z_]+)\(")
_CAST = re.compile(
    r"(?:TRY_)?CAST\(.* AS (VARCHAR|JSON|BOOLEAN|TIMESTAMP|BIGINT|INTEGER|DOUBLE)\)", re.DOTALL
)
_TEXTS = frozenset(
    {"lower", "upper", "concat", "regexp_extract", "regexp_replace", "replace", "strftime", "trim"}
)
_NESTED = frozenset({"json_extract", "json_object", "json_array", "to_json"})
_NUMBERS = frozenset({"count", "date_diff"})
_CONDITIONS = frozenset({"regexp_matches", "contains", "starts_with", "ends_with", "list_contains"})
# Aggregates that give back one of the values they saw.
_SAME = frozenset({"min", "max", "any_value", "first", "arg_min", "arg_max"})
# How the translator writes the value that stands in the row of the least or greatest of another column.
_OF_ROW = re.compile(
    r"COALESCE\(arg_(?:min|max)\(\{'v': ((?:_[lr]\.)?\"[^\"]+\")\}, \"[^\"]+\"\), any_value\(\{'v': \1\}\)\)\['v'\]"
)
_ONE_OF = re.compile(r'(?:min|max|any_value|first)\(((?:_[lr]\.)?"[^"]+")\)')
_ARROW = re.compile(r"(?:_[lr]\.)?\"[^\"]+\" ->> '[^']*'")
_TYPE_OF = re.compile(r"typeof\((.*)\)", re.DOTALL)
_IS_JSON = re.compile(r"typeof\((.*)\) = 'JSON'", re.DOTALL)
_KEYWORDS = frozenset({"WHEN", "THEN", "ELSE"})


class _Item(NamedTuple):
    """``expression AS "name"`` of a select list; without an expression where that is not known."""

    name: str
    expression: str


def resolve(sql: str, columns: Mapping[str, str]) -> str:
    """Return a translation without the cases that cannot occur.

    Args:
        sql: as the translator writes it.
        columns: column -> DuckDB type, of those columns that have the same type in every table the query reads.
    """
    while True:
        shorter = _Resolver(_types(sql, columns)).text(sql)
        if shorter == sql:
            return sql
        sql = shorter


def _types(sql: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the type of every column that has one and the same wherever it is defined."""
    defined: dict[str, list[str]] = {}
    for item in _items(sql):
        defined.setdefault(item.name, []).append(item.expression)
    known = {name: kind for name, kind in columns.items() if name not in defined}
    for _ in range(len(defined)):
        before = len(known)
        for name, expressions in defined.items():
            if name not in known:
                # A column that is only passed on has the type it had; otherwise each definition has to agree.
                own = [text for text in expressions if _passed_on(text) != name]
                # One that is made of its own earlier value has the type that the first ones agree about, if it keeps it.
                first = [text for text in own if f'"{name}"' not in text]
                kinds = {type_of(text, known) for text in first} | (
                    {columns[name]} if name in columns else set()
                )
                kind = kinds.pop() if len(kinds) == 1 else None
                if kind and all(type_of(text, {**known, name: kind}) == kind for text in own):
                    known[name] = kind
        if len(known) == before:
            break
    return known


def _passed_on(expression: str) -> str:
    """Return the column of which an expression is a value: by itself, or chosen among several rows."""
    match = _COLUMN.fullmatch(_chosen(expression))
    return match.group(1) if match else ""


def _chosen(text: str) -> str:
    """Return the column of which an aggregate gives back one of the values; any other text as it is."""
    match = _OF_ROW.fullmatch(text) or _ONE_OF.fullmatch(text)
    return match.group(1) if match else text


def _items(sql: str) -> Iterator[_Item]:
    """Yield every item of every select list, and every column of a list of values, that gets a name of its own."""
    starts, opened = [0], [0]
    closed = 0
    words = list(_TOKEN.finditer(sql))
    for i, word in enumerate(words):
        text = word.group()
        if text == "(":
            starts.append(word.end())
            opened.append(word.end())
        elif text == ")":
            starts.pop()
            closed = opened.pop()
        elif text in {",", "SELECT"}:
            starts[-1] = word.end()
        elif text == "AS" and i + 3 < len(words):
            name, behind = words[i + 2].group(), words[i + 3]
            if name[0] == '"':
                yield _Item(name[1:-1], sql[starts[-1] : word.start()].strip())
            elif behind.group() == "(":
                names = _COLUMN.findall(sql[behind.end() : _closes(sql, behind.start())])
                yield from _values(sql[closed : word.start()], names)


def _values(text: str, names: list[str]) -> Iterator[_Item]:
    """Yield the columns of ``VALUES (...), ...`` by its first row; the translator casts every row alike."""
    first = text.find("(")
    row = _split(text[first + 1 : _closes(text, first)]) if text.startswith("VALUES (") else []
    is_cast = len(row) == len(names) and all(_CAST.fullmatch(cell) for cell in row)
    yield from (
        _Item(name, cell) for name, cell in zip(names, row if is_cast else [""] * len(names), strict=True)
    )


def type_of(expression: str, known: Mapping[str, str]) -> str | None:
    """Return the DuckDB type of an expression; None when it is not certain."""
    text = _chosen(_unwrapped(expression.strip()))
    column, call, cast = _COLUMN.fullmatch(text), _CALL.match(text), _CAST.fullmatch(text)
    kind = None
    if column:
        kind = known.get(column.group(1))
    elif _LITERAL.fullmatch(text) or _ARROW.fullmatch(text):
        kind = "VARCHAR"
    elif text in {"TRUE", "FALSE"}:
        kind = "BOOLEAN"
    elif call and _closes(text, call.end() - 1) == len(text) - 1:
        kind = _type_of_call(call.group(1), _split(text[call.end() : -1]), known)
    elif cast and _closes(text, text.index("(")) == len(text) - 1:
        kind = cast.group(1)
    elif text.startswith("CASE "):
        kind = _agreed(_results(text), known)
    elif call and call.group(1) == "count" and _is_filtered(text, call.end() - 1):
        kind = "BIGINT"
    return kind


def _is_filtered(text: str, start: int) -> bool:
    """Tell whether a call, whose bracket opens at ``start``, and the rows that it is asked of are all of a text."""
    behind = _closes(text, start) + 1
    opened = behind + len(" FILTER ")
    return text.startswith(" FILTER (", behind) and _closes(text, opened) == len(text) - 1


def _type_of_call(name: str, arguments: list[str], known: Mapping[str, str]) -> str | None:
    if name in _NESTED:
        # A path of several parts gives a list.
        return None if name == "json_extract" and arguments[-1].startswith("[") else "JSON"
    if name in _SAME:
        return type_of(arguments[0], known)
    if name == "coalesce":
        if arguments[-1] in {"TRUE", "FALSE"}:
            return "BOOLEAN"
        return "VARCHAR" if _after_arrow(arguments[0]) else _agreed(arguments, known)
    if name in _NUMBERS:
        return "BIGINT"
    return "VARCHAR" if name in _TEXTS else "BOOLEAN" if name in _CONDITIONS else None


def _agreed(expressions: list[str], known: Mapping[str, str]) -> str | None:
    kinds = {type_of(expression, known) for expression in expressions}
    return kinds.pop() if len(kinds) == 1 else None


def _results(text: str) -> list[str]:
    """Return what one ``CASE`` can give; nothing where the text is more than that, or gives NULL without an ELSE."""
    found: list[str] = []
    depth, start, is_result = 0, 0, False
    for word in _TOKEN.finditer(text):
        mark = word.group()
        ends = mark == "END" and depth == 1
        if is_result and depth == 1 and (ends or mark in _KEYWORDS):
            found.append(text[start : word.start()].strip())
            is_result = False
        if depth == 1 and mark in {"THEN", "ELSE"}:
            start, is_result = word.end(), True
        depth += (mark == "CASE") - (mark == "END")
        if ends:
            return found if word.end() == len(text) else []
    return []


def _after_arrow(text: str) -> bool:
    """Tell whether a value ends with ``->> '...'`` behind a column or a single call."""
    head = re.fullmatch(r"(.*) ->> '[^']*'", text, re.DOTALL)
    if head is None:
        return False
    before = head.group(1)
    call = _CALL.match(before)
    return bool(_COLUMN.fullmatch(before)) or (
        call is not None and _closes(before, call.end() - 1) == len(before) - 1
    )


def _unwrapped(text: str) -> str:
    while text.startswith("(") and _closes(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closes(text: str, start: int) -> int:
    """Return where the bracket that opens at ``start`` is closed."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(token.group(), 0)
        if not depth:
            return token.start()
    return -1


def _split(text: str) -> list[str]:
    """Return the arguments of a call."""
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.group(), 0)
        if token.group() == "," and not depth:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


class _Frame:
    """One ``CASE`` that is being read: its keywords and the text behind each."""

    def __init__(self) -> None:
        self.marks = ["CASE"]
        self.parts: list[list[str]] = [[]]

    def texts(self) -> list[str]:
        return ["".join(part).strip() for part in self.parts]


class _Resolver:
    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known

    def text(self, sql: str) -> str:
        """Return the text with every certain ``CASE`` decided, the innermost first."""
        root = _Frame()
        frames = [root]
        for word in _TOKEN.findall(sql):
            if word == "CASE":
                frames.append(_Frame())
            elif word == "END" and len(frames) > 1:
                done = frames.pop()
                frames[-1].parts[-1].append(self._decided(done))
            elif word in _KEYWORDS and len(frames) > 1:
                frames[-1].marks.append(word)
                frames[-1].parts.append([])
            else:
                frames[-1].parts[-1].append(word)
        return "".join(root.parts[0])

    def _decided(self, frame: _Frame) -> str:
        texts = frame.texts()
        whole = (
            " ".join(f"{mark} {text}".strip() for mark, text in zip(frame.marks, texts, strict=True)) + " END"
        )
        operand = texts[0]
        branches = [(texts[i], texts[i + 1]) for i in range(1, len(texts) - 1) if frame.marks[i] == "WHEN"]
        otherwise = texts[-1] if frame.marks[-1] == "ELSE" else "NULL"
        if operand:
            chosen = self._simple(operand, branches, otherwise)
            return whole if chosen is None else f"({chosen})"
        condition = _IS_JSON.fullmatch(branches[0][0]) if branches else None
        kind = (
            type_of(condition.group(1), self.known) if condition and _balanced(condition.group(1)) else None
        )
        if kind is None or len(branches) > 1:
            return whole
        return f"({branches[0][1] if kind == 'JSON' else otherwise})"

    def _simple(self, operand: str, branches: list[tuple[str, str]], otherwise: str) -> str | None:
        """Return the branch that ``CASE typeof(x) WHEN 'A' THEN ...`` takes; None when that is not certain."""
        asked = _TYPE_OF.fullmatch(operand)
        kind = type_of(asked.group(1), self.known) if asked and _balanced(asked.group(1)) else None
        if kind is None or not all(_LITERAL.fullmatch(when) for when, _ in branches):
            return None
        return next((then for when, then in branches if when[1:-1] == kind), otherwise)


def _balanced(text: str) -> bool:
    return _closes(f"({text})", 0) == len(text) + 1
