"""What a PowerShell expression comes to when nothing is run: strings, numbers, lists, bags; anything else is UNKNOWN.

Only functions without effect are computed, on values that the text itself holds. Every step costs from a budget, and results are
bounded, so that no script can make the reader work for long.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

    from tree_sitter import Node

Value = Any  # Any: str, int, bool, list, dict, bytes, None or UNKNOWN


class _Unknown:
    """The one value of what cannot be known without running the script."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
_MOST_DEPTH = 120
_MOST_CHARACTERS = 1 << 20
_MOST_ITEMS = 65_536
_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_FORMAT = re.compile(r"\{\{|\}\}|\{\s*(\d{1,4})\s*(?:,\s*-?\d{1,3}\s*)?(?::[^{}]*)?\}")
# Text of automatic variables that scripts cut letters from, as Windows has them.
AUTOMATIC: dict[str, Value] = {
    "true": True, "false": False, "null": None, "shellid": "Microsoft.PowerShell", "pshome": r"C:\Windows\System32\WindowsPowerShell\v1.0",
    "env:comspec": r"C:\Windows\system32\cmd.exe", "verbosepreference": "SilentlyContinue", "env:windir": r"C:\Windows",
    "env:systemroot": r"C:\Windows",
    "ofs": " ",
}  # fmt: skip
_ENCODINGS = {
    "unicode": "utf-16-le",
    "utf8": "utf-8",
    "ascii": "ascii",
    "default": "cp1252",
    "bigendianunicode": "utf-16-be",
    "utf7": "utf-7",
    "utf32": "utf-32-le",
}
# A pattern with repetition could take for ever; obfuscation needs none.
_SLOW_PATTERN = re.compile(r"[*+{]|\(\?")


class Budget:
    """How much work is left, and what was done to read the text."""

    def __init__(self, steps: int) -> None:
        """Start with a number of steps."""
        self.steps = steps
        self.how: dict[str, None] = {}

    def spend(self, steps: int = 1) -> bool:
        """Take steps; False when none is left."""
        self.steps -= steps
        return self.steps > 0

    def note(self, word: str) -> None:
        """Remember a way of decoding."""
        self.how[word] = None


class Scope:
    """Variables whose values the text itself tells."""

    def __init__(self) -> None:
        """Know the automatic variables only."""
        self.values: dict[str, Value] = {}

    def get(self, name: str) -> Value:
        """Return a variable's value or UNKNOWN."""
        plain = re.sub(r"^(?:global|script|local|private|variable):", "", name.lower())
        return self.values.get(plain, AUTOMATIC.get(plain, UNKNOWN))

    def set(self, name: str, value: Value) -> None:
        """Keep a variable's value."""
        plain = re.sub(r"^(?:global|script|local|private|variable):", "", name.lower())
        if len(self.values) < _MOST_ITEMS:
            self.values[plain] = value


class Evaluator:
    """Compute expressions of one text."""

    def __init__(self, source: bytes, scope: Scope, budget: Budget, run: Callable[[Node], Value]) -> None:
        """Take the text, what is known, and what to do with a command inside an expression."""
        self.source = source
        self.scope = scope
        self.budget = budget
        self.run = run
        self._depth = 0

    def text(self, node: Node) -> str:
        """Return the text of a node."""
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def value(self, node: Node) -> Value:
        """Return what a node comes to."""
        while node.child_count == 1 and node.type not in _LEAVES:
            node = node.children[0]
            if not self.budget.spend():
                return UNKNOWN
        if not self.budget.spend() or self._depth > _MOST_DEPTH:
            return UNKNOWN
        self._depth += 1
        try:
            handler = getattr(self, f"_{node.type}", None)
            return UNKNOWN if handler is None else handler(node)
        except (ValueError, TypeError, IndexError, OverflowError, LookupError):
            return UNKNOWN
        finally:
            self._depth -= 1

    # -- literals ----------------------------------------------------------------------------------------------

    def _verbatim_string_characters(self, node: Node) -> Value:
        return self.text(node)[1:-1].replace("''", "'")

    def _verbatim_here_string_characters(self, node: Node) -> Value:
        return here_string(self.text(node))

    def _expandable_string_literal(self, node: Node) -> Value:
        return self._expanded(node, self.text(node)[1:-1], 1)

    def _expandable_here_string_literal(self, node: Node) -> Value:
        return self._expanded(node, here_string(self.text(node)), 2)

    def _expanded(self, node: Node, raw: str, quote: int) -> Value:
        inner = [
            child
            for child in node.children
            if child.type in {"variable", "sub_expression", "braced_variable"}
        ]
        if not inner:
            return unescape(raw)
        pieces: list[str] = []
        at = node.start_byte + quote
        for child in inner:
            pieces.append(unescape(self.source[at : child.start_byte].decode("utf-8", "replace")))
            value = self.value(child)
            if value is UNKNOWN:
                return UNKNOWN
            pieces.append(as_text(value))
            at = child.end_byte
            self.budget.note("variable")
        pieces.append(unescape(self.source[at : max(at, node.end_byte - quote)].decode("utf-8", "replace")))
        return _bounded("".join(pieces))

    def _decimal_integer_literal(self, node: Node) -> Value:
        return int(re.sub(r"(?i)[ldu]|[kmgtp]b", "", self.text(node))[:20])

    def _hexadecimal_integer_literal(self, node: Node) -> Value:
        return int(re.sub(r"(?i)l$|[kmgtp]b$", "", self.text(node))[:20], 16)

    def _generic_token(self, node: Node) -> Value:
        return bare(self.text(node))

    def _variable(self, node: Node) -> Value:
        return self.scope.get(self.text(node).lstrip("$@").strip("{}"))

    _braced_variable = _variable

    # -- operators ---------------------------------------------------------------------------------------------

    def _additive_expression(self, node: Node) -> Value:
        left, right = self.value(node.children[0]), self.value(node.children[-1])
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        operator = self.text(node.children[1])
        if operator == "+" and isinstance(left, str):
            self.budget.note("concatenation")
            return _bounded(left + as_text(right))
        if operator == "+" and isinstance(left, list):
            return _bounded([*left, *(right if isinstance(right, list) else [right])])
        if isinstance(left, int) and isinstance(right, (int, str)):
            return left + int(right) if operator == "+" else left - int(right)
        return UNKNOWN

    _additive_argument_expression = _additive_expression

    def _multiplicative_expression(self, node: Node) -> Value:
        left, right = self.value(node.children[0]), self.value(node.children[-1])
        operator = self.text(node.children[1])
        if (
            operator == "*"
            and isinstance(left, str)
            and isinstance(right, int)
            and 0 <= len(left) * right <= _MOST_CHARACTERS
        ):
            return left * right
        if isinstance(left, int) and isinstance(right, int) and abs(left) < 1 << 40 and abs(right) < 1 << 40:
            return (
                left * right
                if operator == "*"
                else UNKNOWN
                if not right
                else left % right
                if operator == "%"
                else left // right
            )
        return UNKNOWN

    _multiplicative_argument_expression = _multiplicative_expression

    def _bitwise_expression(self, node: Node) -> Value:
        left, right = self.value(node.children[0]), self.value(node.children[-1])
        if not isinstance(left, int) or not isinstance(right, int):
            return UNKNOWN
        operator = self.text(node.children[1]).lower()
        return {"-bxor": left ^ right, "-band": left & right, "-bor": left | right}.get(operator, UNKNOWN)

    _bitwise_argument_expression = _bitwise_expression

    def _format_expression(self, node: Node) -> Value:
        return self._formatted(self.value(node.children[0]), self.value(node.children[-1]))

    _format_argument_expression = _format_expression

    def _formatted(self, pattern: Value, values: Value) -> Value:
        if not isinstance(pattern, str) or values is UNKNOWN:
            return UNKNOWN
        listed = values if isinstance(values, list) else [values]
        if any(item is UNKNOWN for item in listed):
            return UNKNOWN
        self.budget.note("format")

        def filled(match: re.Match[str]) -> str:
            return match[0][0] if match[1] is None else as_text(listed[int(match[1])])

        if len(pattern) * max((len(as_text(item)) for item in listed), default=1) > 1 << 24:
            return UNKNOWN
        return _bounded(_FORMAT.sub(filled, pattern))

    def _comparison_expression(self, node: Node) -> Value:
        operator = self.text(node.children[1]).lower()
        left, right = self.value(node.children[0]), self.value(node.children[-1])
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if operator == "-join":
            self.budget.note("join")
            return _joined(left, as_text(right))
        if operator.lstrip("-").lstrip("ic") in {"replace", "eplace"} or operator.endswith("replace"):
            return self._replaced(left, right, is_cased=operator.startswith("-c"))
        if operator.endswith("split"):
            self.budget.note("split")
            separator = as_text(right[0] if isinstance(right, list) else right)
            return _bounded(_split(as_text(left), separator))
        return UNKNOWN

    _comparison_argument_expression = _comparison_expression

    def _replaced(self, left: Value, right: Value, *, is_cased: bool) -> Value:
        pattern, new = [*right, ""][:2] if isinstance(right, list) else (right, "")
        if (
            not isinstance(pattern, str)
            or _SLOW_PATTERN.search(pattern)
            or re.search(r"\$[\d{&]", as_text(new))
        ):
            return UNKNOWN
        self.budget.note("replace")
        try:
            made = re.compile(pattern, 0 if is_cased else re.IGNORECASE)
        except re.error:
            return UNKNOWN
        items = left if isinstance(left, list) else [left]
        changed = [_bounded(made.sub(lambda _: as_text(new), as_text(item))) for item in items]
        return changed if isinstance(left, list) else changed[0]

    def _expression_with_unary_operator(self, node: Node) -> Value:
        operator = self.text(node.children[0]).lower()
        value = self.value(node.children[-1])
        if value is UNKNOWN:
            return UNKNOWN
        if operator == "-join":
            self.budget.note("join")
            return _joined(value, "")
        if operator in {"-not", "!"}:
            return not value
        if operator == "-split":
            return as_text(value).split()
        if isinstance(value, int) and operator in {"-", "+"}:
            return -value if operator == "-" else value
        return (
            value if operator == "," and isinstance(value, list) else [value] if operator == "," else UNKNOWN
        )

    def _cast_expression(self, node: Node) -> Value:
        return self._cast(
            self.text(node.children[0])[1:-1].strip().lower().removeprefix("system."),
            self.value(node.children[-1]),
        )

    def _cast(self, kind: str, value: Value) -> Value:  # noqa: C901, PLR0911 - one line for each type
        if value is UNKNOWN:
            return UNKNOWN
        if kind == "char":
            self.budget.note("character code")
            return _character(value)
        if kind in {"char[", "char[]"}:
            if isinstance(value, str):
                return list(value)
            self.budget.note("character code")
            return [_character(item) for item in (value if isinstance(value, list) else [value])]
        if kind == "string":
            return as_text(value)
        if kind in {"int", "int32", "byte", "int64", "uint32"}:
            return (
                int(value, 0)
                if isinstance(value, str)
                else ord(value)
                if isinstance(value, bytes)
                else int(value)
            )
        if kind in {
            "array",
            "object[",
            "string[",
            "int[",
            "byte[",
            "object[]",
            "string[]",
            "int[]",
            "byte[]",
        }:
            return value if isinstance(value, (list, bytes)) else [value]
        if kind in {"bool", "switch"}:
            return bool(value)
        return (
            value
            if kind in {"scriptblock", "regex", "psobject", "void", "management.automation.scriptblock"}
            else UNKNOWN
        )

    # -- lists and bags ------------------------------------------------------------------------------------------

    def _array_literal_expression(self, node: Node) -> Value:
        return _bounded([self.value(child) for child in node.children if child.type != ","])

    def _argument_expression_list(self, node: Node) -> Value:
        return self._array_literal_expression(node)

    def _range_expression(self, node: Node) -> Value:
        first, last = self.value(node.children[0]), self.value(node.children[-1])
        if not isinstance(first, int) or not isinstance(last, int) or abs(last - first) > _MOST_ITEMS:
            return UNKNOWN
        return list(range(first, last + 1)) if first <= last else list(range(first, last - 1, -1))

    _range_argument_expression = _range_expression

    def _array_expression(self, node: Node) -> Value:
        values = [self.value(child) for child in _statements(node)]
        if len(values) == 1:
            return (
                values[0] if isinstance(values[0], list) else UNKNOWN if values[0] is UNKNOWN else [values[0]]
            )
        return _bounded(values)

    def _parenthesized_expression(self, node: Node) -> Value:
        inner = [child for child in node.children if child.type not in {"(", ")"}]
        return self.value(inner[0]) if len(inner) == 1 else UNKNOWN

    def _sub_expression(self, node: Node) -> Value:
        values = [self.value(child) for child in _statements(node)]
        return values[0] if len(values) == 1 else _bounded(values)

    def _hash_literal_expression(self, node: Node) -> Value:
        found: dict[str, Value] = {}
        body = next((child for child in node.children if child.type == "hash_literal_body"), None)
        for entry in body.children if body is not None else []:
            if entry.type == "hash_entry" and self.budget.spend():
                key = next(child for child in entry.children if child.type == "key_expression")
                pipeline = next(
                    (child for child in entry.children if child.type not in {"key_expression", "=", ";"}),
                    None,
                )
                name = (
                    self.value(key)
                    if key.children and key.children[0].type != "simple_name"
                    else self.text(key)
                )
                value = UNKNOWN if pipeline is None else self.value(pipeline)
                if value is UNKNOWN and pipeline is not None:
                    value = Unresolved(self.text(pipeline))
                found[as_text(name).strip("'\"")] = value
        return found

    def _element_access(self, node: Node) -> Value:
        target, index = self.value(node.children[0]), self.value(node.children[2])
        if isinstance(target, dict) and isinstance(index, str):
            return next((item for key, item in target.items() if key.lower() == index.lower()), UNKNOWN)
        if not isinstance(target, (str, list)):
            return UNKNOWN
        self.budget.note("characters of a text")
        return [target[at] for at in index] if isinstance(index, list) else target[index]

    # -- members --------------------------------------------------------------------------------------------------

    def _member_access(self, node: Node) -> Value:
        member = self.text(node.children[-1]).lower().strip("'\"")
        if node.children[0].type == "type_literal":
            kind = _type_name(self.text(node.children[0]))
            return (
                ("encoding", _ENCODINGS[member])
                if kind == "text.encoding"
                else ""
                if (kind, member) == ("string", "empty")
                else UNKNOWN
            )
        target = self.value(node.children[0])
        if member in {"length", "count"} and isinstance(target, (str, list)):
            return len(target)
        if isinstance(target, dict):
            return next((item for key, item in target.items() if key.lower() == member), UNKNOWN)
        return UNKNOWN

    def _invokation_expression(self, node: Node) -> Value:
        arguments = next((child for child in node.children if child.type == "argument_list"), None)
        listed = (
            next((child for child in arguments.children if child.type == "argument_expression_list"), None)
            if arguments
            else None
        )
        values: list[Value] = (
            [] if listed is None else [self.value(child) for child in listed.children if child.type != ","]
        )
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        member = next((child for child in node.children if child.type == "member_name"), None)
        name = "" if member is None else self.text(member).lower().strip("'\"")
        if node.children[0].type == "type_literal":
            return self._static(_type_name(self.text(node.children[0])), name, values)
        target = self.value(node.children[0])
        if isinstance(target, tuple):
            return self._of_encoding(target[1], name, values)
        return UNKNOWN if target is UNKNOWN else self._method(target, name, values)

    def _of_encoding(self, encoding: str, name: str, values: list[Value]) -> Value:
        if name == "getstring" and values:
            raw = bytes(values[0]) if isinstance(values[0], list) else values[0]
            self.budget.note("base64")
            return _bounded(raw.decode(encoding, "replace"))
        return (
            list(values[0].encode(encoding)) if name == "getbytes" and isinstance(values[0], str) else UNKNOWN
        )

    def _static(self, kind: str, name: str, values: list[Value]) -> Value:  # noqa: C901, PLR0911 - one line for each function
        if kind == "convert" and name == "frombase64string":
            return from_base64(as_text(values[0]))
        if kind == "convert" and name in {"toint32", "tobyte", "toint16"}:
            return int(as_text(values[0]), values[1] if len(values) > 1 else 10)
        if (kind, name) in {("convert", "tochar"), ("char", "convertfromutf32")}:
            return _character(values[0])
        if (kind, name) == ("string", "join"):
            self.budget.note("join")
            return _joined(values[1] if len(values) == 2 else values[1:], as_text(values[0]))  # noqa: PLR2004 - separator and list
        if (kind, name) == ("string", "format"):
            return self._formatted(
                values[0],
                values[1] if len(values) == 2 and isinstance(values[1], list) else values[1:],  # noqa: PLR2004 - named by the comment or the function around it
            )
        if (kind, name) == ("string", "concat"):
            return _joined(values[0] if len(values) == 1 else values, "")
        if (kind, name) == ("regex", "matches") and values[1:2] == ["."]:
            letters = list(as_text(values[0]))
            return letters[::-1] if "righttoleft" in as_text(values[2:]).lower() else letters
        if (kind, name) == ("scriptblock", "create"):
            return as_text(values[0])
        if name == "unescapedatastring":
            return unquote(as_text(values[0]))
        return UNKNOWN

    def _method(self, target: Value, name: str, values: list[Value]) -> Value:  # noqa: C901, PLR0911 - one line for each method
        if name == "tostring" and not values:
            return as_text(target)
        if isinstance(target, list) and name == "invoke":
            return UNKNOWN
        if not isinstance(target, str):
            return UNKNOWN
        if name == "replace":
            self.budget.note("replace")
            return _bounded(target.replace(as_text(values[0]), as_text(values[1]))) if values[0] else UNKNOWN
        if name in {"tolower", "tolowerinvariant"}:
            return target.lower()
        if name in {"toupper", "toupperinvariant"}:
            return target.upper()
        if name in {"trim", "trimstart", "trimend"}:
            function = {"trim": str.strip, "trimstart": str.lstrip, "trimend": str.rstrip}[name]
            return function(target, "".join(map(as_text, values)) or None)
        if name == "substring":
            return target[values[0] : values[0] + values[1]] if len(values) > 1 else target[values[0] :]
        if name == "insert":
            return _bounded(target[: values[0]] + as_text(values[1]) + target[values[0] :])
        if name == "remove":
            return target[: values[0]] + (target[values[0] + values[1] :] if len(values) > 1 else "")
        if name == "split":
            self.budget.note("split")
            return _bounded(re.split("|".join(map(re.escape, "".join(map(as_text, values)) or " ")), target))
        if name == "tochararray":
            return list(target)
        return target[int(values[0])] if name == "chars" and values else UNKNOWN

    # -- commands inside expressions ---------------------------------------------------------------------------------

    def _command(self, node: Node) -> Value:
        return self.run(node)

    def _pipeline(self, node: Node) -> Value:  # noqa: ARG002 - every handler takes its node
        return UNKNOWN

    def _script_block_expression(self, node: Node) -> Value:
        return Unresolved(self.text(node))


class Unresolved(str):
    """Text of an expression that stands for a value nobody knows."""

    __slots__ = ()


_LEAVES = frozenset(
    [
        "verbatim_string_characters",
        "verbatim_here_string_characters",
        "expandable_string_literal",
        "expandable_here_string_literal",
        "decimal_integer_literal",
        "hexadecimal_integer_literal",
        "generic_token",
        "variable",
        "braced_variable",
        "command",
        "script_block_expression",
    ]
)


def _statements(node: Node) -> list[Node]:
    body = next((child for child in node.children if child.type == "statement_list"), None)
    return [] if body is None else [child for child in body.children if child.type != "empty_statement"]


def _type_name(text: str) -> str:
    return (
        text.strip("[] ")
        .lower()
        .replace(" ", "")
        .removeprefix("system.")
        .removeprefix("text.regularexpressions.")
    )


def _character(value: Value) -> Value:
    code = int(value, 0) if isinstance(value, str) and len(value) > 1 else value
    return (
        code
        if isinstance(code, str)
        else chr(code)
        if 0 <= code < 0xD800 or 0xDFFF < code < 0x110000  # noqa: PLR2004 - named by the comment or the function around it
        else UNKNOWN
    )


def _joined(value: Value, separator: str) -> Value:
    items = value if isinstance(value, list) else [value]
    if any(item is UNKNOWN for item in items):
        return UNKNOWN
    return _bounded(separator.join(map(as_text, items)))


def _split(text: str, separator: str) -> list[str] | _Unknown:
    if not separator or _SLOW_PATTERN.search(separator):
        return UNKNOWN
    try:
        return re.split(separator, text, flags=re.IGNORECASE)
    except re.error:
        return UNKNOWN


def _bounded(value: Value) -> Value:
    if isinstance(value, str):
        return value if len(value) <= _MOST_CHARACTERS else UNKNOWN
    if isinstance(value, list):
        return value if len(value) <= _MOST_ITEMS else UNKNOWN
    return value


def as_text(value: Value) -> str:  # noqa: PLR0911 - one line for each case
    """Return a value as PowerShell would write it into a text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, (list, tuple)):
        return " ".join(as_text(item) for item in value)
    if isinstance(value, bytes):
        return " ".join(str(number) for number in value[:1000])
    if isinstance(value, dict):
        return "; ".join(f"{key}={as_text(item)}" for key, item in value.items())
    return str(value)


def unescape(text: str) -> str:
    """Undo the backtick escapes and doubled quotes of a text in double quotes."""
    if "`" not in text:
        return text.replace('""', '"')
    return re.sub(
        r"`(\r\n|.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL
    ).replace('""', '"')


def bare(text: str) -> str:
    """Return a word written without quotes: backticks and quotes inside it only hide its letters."""
    return (
        re.sub(r"`(.)", r"\1", text, flags=re.DOTALL).replace('""', "").replace("''", "")
        if "`" in text or '""' in text or "''" in text
        else text
    )


def here_string(text: str) -> str:
    """Return what stands between the first and the last line of a here-string."""
    inner = re.sub(r"^@['\"][ \t]*\r?\n", "", text)
    return re.sub(r"\r?\n['\"]@$", "", inner)


def from_base64(text: str) -> bytes | _Unknown:
    """Decode base64 as .NET does, which skips blanks; UNKNOWN when it is none."""
    plain = re.sub(r"\s", "", text)
    if len(plain) > 1 << 22:
        return UNKNOWN
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return UNKNOWN
