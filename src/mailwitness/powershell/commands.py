"""Find every command of a PowerShell text, with its parameters, by the syntax tree of tree-sitter-powershell.

Where the tree has an error (a broken text, or a form the grammar does not know) the words of the damaged part are read by
`recovery`, so that one bad line does not hide the commands around it.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailwitness.powershell import names, recovery
from mailwitness.powershell.binding import Binder, Command, Word, parameter_word
from mailwitness.powershell.values import UNKNOWN, Budget, Evaluator, Scope, as_text, bare

if TYPE_CHECKING:
    from tree_sitter import Node

Value = Any  # Any: values of values.py

_MOST_BYTES = 1 << 20
_MOST_COMMANDS = 2_000
_MOST_STEPS = 200_000
# The parser's own stack of nested texts: -EncodedCommand in Invoke-Expression in a string.
MOST_LAYERS = 5
_QUERY = "(command) @command (assignment_expression) @assignment (ERROR) @error"
_GET_COMMAND = "get-command"
_PIECE_BYTES = 1 << 16
_COMMAND_STEPS = 10
_MOST_PARTS = 8_192
_MOST_WIDE = 1
_MOST_LOOKED_UP = 100
_LOOKED_UP_CHARACTERS = 2_000
# Commands that are not ours are worth less: so many of them are listed.
_MOST_OTHERS = 300


class Found:
    """Commands of one text and of the texts hidden in it."""

    def __init__(self) -> None:
        """Start with none."""
        self.commands: list[Command] = []
        self.layers: list[str] = []
        self.notes: dict[str, None] = {}
        self.others = 0
        self.wide = 0


@cache
def _parser() -> tuple[Any, Any]:  # Any: tree_sitter's parser and query
    import tree_sitter  # noqa: PLC0415 - compiled, only where there is PowerShell
    import tree_sitter_powershell  # noqa: PLC0415

    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language), tree_sitter.Query(language, _QUERY)


@cache
def _known_names() -> re.Pattern[str]:
    wanted = "|".join(
        re.escape(name)
        for name in sorted(names.CMDLETS)
        if "mail" in name or "rule" in name or "search" in name or "audit" in name or "log" in name
    )
    return re.compile(rf"(?i)(?<![\w-])(?:{wanted})(?![\w-])")


class Reader:
    """Read one text; variables keep their values from line to line."""

    def __init__(self, text: str, found: Found, layer: int, scope: Scope, budget: Budget) -> None:
        """Take the text and where its commands go."""
        self.source = text.encode("utf-8", "replace")[:_MOST_BYTES]
        if len(text) > _MOST_BYTES:
            found.notes["only the first MiB was read"] = None
        self.found = found
        self.layer = layer
        self.scope = scope
        self.budget = budget
        self.aliases: dict[str, str] = {}
        self.evaluator = Evaluator(self.source, scope, budget, self._value_of_command)
        self._piped: dict[int, str] = {}
        self._base = 0
        self._is_ascii = self.source.isascii()
        self._counted = (0, 0)

    def read(self) -> None:
        """Add every command of the text to what was found."""
        # Pieces keep the cost of a long text linear; each ends at a line end where there is one.
        at = 0
        while at < len(self.source) and not self._is_spent():
            end = self._piece_end(at)
            self._read_piece(at, self.source[at:end])
            at = end
        if self._is_spent():
            self.found.notes["stopped: the text is too long or too nested"] = None
            self._look_up(at)

    def _piece_end(self, at: int) -> int:
        end = at + _PIECE_BYTES
        if end >= len(self.source):
            return len(self.source)
        line_end = self.source.rfind(b"\n", at + _PIECE_BYTES // 2, end)
        return line_end + 1 if line_end >= 0 else end

    def _read_piece(self, base: int, piece: bytes) -> None:
        import tree_sitter  # noqa: PLC0415

        parser, query = _parser()
        self._base = base
        self.evaluator.source = piece
        if self.found.wide > _MOST_WIDE:
            self._recover_text(piece.decode("utf-8", "replace"), 0)
            return
        root = parser.parse(piece).root_node
        # A query over an error of very many parts takes quadratic time: such a piece is read word by word.
        is_wide = (
            root.has_error
            and max((child.child_count for child in (root, *root.children[:100])), default=0) > _MOST_PARTS
        )
        self.found.wide += is_wide
        captured = {"error": [root]} if is_wide else tree_sitter.QueryCursor(query).captures(root)
        self._read_nodes(captured)
        if root.type == "ERROR" and not captured:
            self._recover(root)
        if root.has_error:
            self.found.notes["parts of the text are no valid PowerShell"] = None

    def _read_nodes(self, captured: dict[str, list[Node]]) -> None:
        nodes = [
            (node.start_byte, -node.end_byte, kind, node)
            for kind, listed in captured.items()
            for node in listed
        ]
        covered = -1
        for start, negative_end, kind, node in sorted(nodes, key=lambda item: item[:3]):
            if start < covered or self._is_spent():
                continue
            self.budget.spend(_COMMAND_STEPS)
            if kind == "assignment":
                self._assign(node)
            elif kind == "command":
                self._command(node)
            elif self._recover(node):
                covered = -negative_end

    def _is_spent(self) -> bool:
        return self.budget.steps <= 0 or len(self.found.commands) >= _MOST_COMMANDS

    def _look_up(self, start: int) -> None:
        """Name the commands we look for in the part that was not read: padding must not hide them."""
        rest = self.source[start:].decode("utf-8", "ignore")
        listed = self.found.commands
        self._base = 0
        start_at = self._characters(start)
        for match in islice(_known_names().finditer(rest), _MOST_LOOKED_UP):
            words = next(
                (
                    words
                    for _, _, words in recovery.commands(
                        rest[match.start() : match.start() + _LOOKED_UP_CHARACTERS]
                    )
                ),
                [match[0]],
            )
            name, _ = names.cmdlet_name(words[0], {})
            binder = Binder(name, ["found by name only"])
            binder.bind([parameter_word(word) or Word(word, bare(word.strip("'\""))) for word in words[1:]])
            at = start_at + match.start()
            listed.append(
                Command(name, binder.parameters, binder.switches, at, at + len(match[0]), binder.how, [])
            )

    # -- variables -----------------------------------------------------------------------------------------------

    def _assign(self, node: Node) -> None:
        operator = next((child for child in node.children if child.type == "assignement_operator"), None)
        if operator is None:
            return
        name = self.evaluator.text(node.children[0]).strip()
        if not name.startswith("$"):
            name = name.rpartition("]")[2].strip()
        if not name.startswith("$") or "." in name or "[" in name:
            return
        value = self.evaluator.value(node.children[-1])
        sign = self.evaluator.text(operator)
        plain = name.lstrip("$").strip("{}")
        if sign == "+=":
            old = self.scope.get(plain)
            value = UNKNOWN if UNKNOWN in (old, value) or not isinstance(old, str) else old + as_text(value)
        self.scope.set(plain, value)

    # -- commands ------------------------------------------------------------------------------------------------

    def _command(self, node: Node) -> None:
        self.budget.how = {}
        word, name, how = self._name(node)
        if not name:
            return
        words = self._words(node)
        binder = Binder(name, [*how])
        binder.bind(words)
        self._add(node, word, name, binder)

    def _name(self, node: Node) -> tuple[str, str, list[str]]:
        """Return the command's own word, its full name and what hid it."""
        how: list[str] = []
        raw = ""
        for child in node.children:
            if child.type == "command_name":
                raw = self.evaluator.text(child)
                if "`" in raw:
                    how.append("backticks")
                raw = bare(raw).replace('"', "").replace("'", "")
            elif child.type == "command_name_expr":
                value = self.evaluator.value(child)
                how.append("call operator")
                how += list(self.budget.how)
                if value is UNKNOWN:
                    return self.evaluator.text(child), self.evaluator.text(child), [*how, "unresolved name"]
                raw = as_text(value).strip()
        name, found = names.cmdlet_name(raw, self.aliases)
        return raw, name, [*how, found] if found in {"alias", "module"} else how

    def _words(self, node: Node) -> list[Word]:
        elements = next((child for child in node.children if child.type == "command_elements"), None)
        words: list[Word] = []
        for child in elements.children if elements is not None else []:
            if not self.budget.spend():
                break
            if child.type == "command_argument_sep":
                if ":" in self.evaluator.text(child) and words and words[-1].name:
                    words[-1].has_colon = True
                continue
            if child.type in {"redirection", "empty_statement", ";"}:
                continue
            words.append(self._word(child))
        return words

    def _word(self, node: Node) -> Word:
        text = self.evaluator.text(node)
        if node.type in {"command_parameter", "generic_token"}:
            word = parameter_word(text)
            if word is not None:
                word.has_colon = word.has_colon or text.endswith(":")
                return word
        is_splat = text.startswith("@") and text[1:2].isalpha()
        return Word(text, self.evaluator.value(node), is_splat=is_splat)

    def _add(self, node: Node, word: str, name: str, binder: Binder) -> None:
        source = self._piped_from(node)
        if source and name.lower() in names.CMDLETS:
            first = names.CMDLETS[name.lower()].first
            if first == "Identity" and first not in binder.parameters:
                binder.parameters[first] = source
                binder.how.append("identity from the pipeline")
        how = list(dict.fromkeys([*binder.how, *self.budget.how, *(["layer"] * (self.layer > 0))]))
        command = Command(
            name,
            binder.parameters,
            binder.switches,
            *self._range(node),
            how,
            list(dict.fromkeys(binder.unresolved)),
        )
        if name.lower() not in names.CMDLETS:
            self.found.others += 1
            if self.found.others > _MOST_OTHERS:
                self.found.notes[f"only the first {_MOST_OTHERS} other commands are listed"] = None
                return
        self.found.commands.append(command)
        self._effects(command)
        if word != name and "alias" in how:
            command.how[command.how.index("alias")] = f"alias: {word}"

    def _piped_from(self, node: Node) -> str:
        """Return the identity that the command before in the pipeline asked for, when it is plain."""
        before = node.prev_named_sibling
        if before is None or before.type != "command":
            return ""
        for command in reversed(self.found.commands):
            if command.name.lower().startswith("get-") and self._range(before)[0] == command.start:
                return command.parameters.get("Identity", command.parameters.get("Mailbox", ""))
        return ""

    def _range(self, node: Node) -> tuple[int, int]:
        return self._characters(node.start_byte), self._characters(node.end_byte)

    def _characters(self, place: int) -> int:
        place += self._base
        if self._is_ascii:
            return place
        at, count = self._counted if self._counted[0] <= place else (0, 0)
        count += len(self.source[at:place].decode("utf-8", "ignore"))
        self._counted = (place, count)
        return count

    # -- what commands do to the reading of others ------------------------------------------------------------------

    def _effects(self, command: Command) -> None:
        lower = command.name.lower()
        if lower in {"set-alias", "new-alias"}:
            alias, target = (
                command.parameters.get("Name", ""),
                command.parameters.get("Value") or command.parameters.get("Arguments", ""),
            )
            self.aliases[alias.lower()] = target
        elif lower == "set-variable":
            value = command.parameters.get("Value") or command.parameters.get("Arguments", "")
            self.scope.set(command.parameters.get("Name", ""), value if not command.unresolved else UNKNOWN)
        elif lower == "invoke-expression" and not command.unresolved and "Command" in command.parameters:
            self.deeper(command.parameters["Command"])
        elif lower.rpartition("\\")[2].removesuffix(".exe") in {"powershell", "pwsh"}:
            self.found.notes["starts another PowerShell"] = None

    def deeper(self, text: str) -> None:
        """Read a text that this one would run."""
        if self.layer >= MOST_LAYERS or not text.strip():
            self.found.notes["stopped: too many layers"] = None
            return
        self.found.layers.append(text)
        Reader(text, self.found, self.layer + 1, self.scope, self.budget).read()

    def _value_of_command(self, node: Node) -> Value:
        """Return what a command inside an expression gives, when its text alone tells."""
        _, name, _ = self._name(node)
        lower = name.lower()
        words = self._words(node)
        values = [word.value for word in words if not word.name]
        if lower == _GET_COMMAND and values:
            wanted = as_text(values[0])
            if any(sign in wanted for sign in "*?["):
                self.found.notes[f"a command is found by a pattern: {wanted[:100]}"] = None
                return UNKNOWN
            return wanted
        if lower == "get-variable" and values:
            return self.scope.get(as_text(values[0]))
        return values[0] if lower == "write-output" and len(values) == 1 else UNKNOWN

    # -- damage -------------------------------------------------------------------------------------------------------

    def _recover(self, node: Node) -> bool:
        """Read the words of a damaged part; False when it holds no command."""
        return self._recover_text(self.evaluator.text(node), node.start_byte)

    def _recover_text(self, text: str, place: int) -> bool:
        any_found = False
        for start, end, words in recovery.commands(text):
            if not self.budget.spend() or len(self.found.commands) >= _MOST_COMMANDS:
                break
            name, found = names.cmdlet_name(words[0], self.aliases)
            if name.lower() not in names.CMDLETS:
                continue
            self.budget.how = {}
            binder = Binder(name, ["recovered", *([found] if found in {"alias", "module"} else [])])
            binder.bind([self._loose_word(word) for word in words[1:]])
            at = self._characters(place)
            command = Command(
                name,
                binder.parameters,
                binder.switches,
                at + start,
                at + end,
                list(dict.fromkeys([*binder.how, *self.budget.how])),
                binder.unresolved,
            )
            self.found.commands.append(command)
            self._effects(command)
            any_found = True
        return any_found

    def _loose_word(self, text: str) -> Word:
        word = parameter_word(text)
        if word is not None:
            return word
        if text[:1] in "'\"(@$[":
            return Word(
                text, self._value_of_text(text), is_splat=text.startswith("@") and text[1:2].isalpha()
            )
        return Word(text, bare(text))

    def _value_of_text(self, text: str) -> Value:
        """Compute a piece of text by itself."""
        if text.startswith("@") and text[1:2].isalpha():
            return self.scope.get(text[1:])
        source = text.encode("utf-8", "replace")
        root = _parser()[0].parse(source).root_node
        if root.has_error:
            return UNKNOWN
        return Evaluator(source, self.scope, self.budget, lambda _: UNKNOWN).value(root)


def read(text: str) -> Found:
    """Return the commands of a script."""
    found = Found()
    Reader(text, found, 0, Scope(), Budget(_MOST_STEPS)).read()
    return found
