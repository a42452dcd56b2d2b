"""What a Sieve script does: its commands as clauses, each under the condition on which the script reaches it.

Meanings after RFC 5228 (base), 5229 (variables), 5232 (flags), 5293 (editheader), 5429 (reject), 3894 (copy) and
Pigeonhole's own extensions. A message stays in the inbox unless a command takes that away: a discard beside a keep or a
fileinto destroys nothing. What is not known is said; a script that cannot be parsed does nothing here and says why.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.proof import conditions, sieve_tests
from mailwitness.proof.conditions import ALWAYS, NEVER, Condition
from mailwitness.proof.readings import Act, Clause, Part, Reading
from mailwitness.proof.sieve_grammar import Unreadable, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.proof.sieve_grammar import Command

_IGNORED = frozenset({"require", "stop", "else", "elsif", "debug_log"})
# Tags that are followed by a value.
_VALUED = frozenset(
    {"flags", "days", "seconds", "subject", "from", "addresses", "handle", "importance", "options", "message", "index"}
)  # fmt: skip
_OTHERS_TOOK = "that no earlier line took"


class _Done(msgspec.Struct, frozen=True):
    """A command that was reached: what it is and when."""

    name: str
    words: str
    part: Part
    condition: Condition
    # Whether the message is kept in the inbox by it, in another folder, or not here.
    leaves: str = ""


def read(text: str, can_run: Callable[[str], bool]) -> Reading:
    """Return what a script does.

    Args:
        text: the script.
        can_run: whether RE2 takes a regular expression.
    """
    try:
        commands = parse(text)
    except (Unreadable, RecursionError) as error:
        return Reading(unread=(f"the script ({error})",))
    walk = _Walk(can_run)
    walk.block(commands, ALWAYS)
    return walk.reading()


class _Walk:
    """Follows every way through a script."""

    def __init__(self, can_run: Callable[[str], bool]) -> None:
        self._can_run = can_run
        self._done: list[_Done] = []
        self._unread: list[str] = []
        self._variables: dict[str, str | None] = {}
        self._has_variables = False

    def block(self, commands: tuple[Command, ...], alive: Condition) -> Condition:
        """Follow commands; return the condition on which what comes behind them is reached."""
        place = 0
        while place < len(commands):
            command = commands[place]
            place += 1
            if command.name == "if":
                chain = [command]
                while place < len(commands) and commands[place].name in {"elsif", "else"}:
                    chain.append(commands[place])
                    place += 1
                alive = self._branches(chain, alive)
            elif command.name in {"stop", "return"}:
                return NEVER
            else:
                self._one(command, alive)
        return alive

    def _branches(self, chain: list[Command], alive: Condition) -> Condition:
        rest, ends, has_stop = alive, [], False
        for command in chain:
            told = (
                ALWAYS
                if command.name == "else" or not command.tests
                else sieve_tests.condition(command.tests[0], self.value, self._can_run)
            )
            taken = _both(rest, told)
            end = self.block(command.block or (), taken)
            has_stop = has_stop or end is not taken
            ends.append(end)
            rest = _silenced(conditions.all_of([rest, conditions.negate(told)]))
        if not has_stop:
            return alive
        return _silenced(conditions.any_of([*ends, rest]))

    def _one(self, command: Command, alive: Condition) -> None:
        if command.name == "require":
            self._has_variables = self._has_variables or "variables" in _strings(command)
        elif command.name == "set":
            self._set(command, alive)
        elif command.name in _COMMANDS:
            name, part, leaves, words = _COMMANDS[command.name]
            self._act(command, alive, (name, part, leaves, words))
        elif command.name not in _IGNORED:
            self._unread.append(f"{command.name} in line {command.line}")

    def _act(self, command: Command, alive: Condition, meant: tuple[str, Part, str, str]) -> None:
        name, part, leaves, words = meant
        strings = [self.value(one) for one in _strings(command)]
        shown = conditions.shown(
            [one if one is not None else "a value made at run time" for one in strings[-1:]]
        )
        tags = {argument.strings[0] for argument in command.arguments if argument.kind == "tag"}
        if name == "fileinto" and shown.casefold() == "inbox":
            name, part, leaves, words = "keep", "does", "inbox", "keeps the message"
        if "copy" in tags:
            part, leaves = "does", ""
            words = words.replace("moves the message", "copies it").replace("the message", "a copy")
        if name == "flag" and part == "does":
            part, words = _flag(command.name, [one or "" for one in strings])
        self._done.append(_Done(name, words.replace("{value}", shown), part, alive, leaves))

    def _set(self, command: Command, alive: Condition) -> None:
        self._has_variables = True
        strings = _strings(command)
        has_modifier = any(argument.kind == "tag" for argument in command.arguments)
        if len(strings) == 2:  # noqa: PLR2004 - a name and a value
            is_known = alive.sql == "true" and not has_modifier
            self._variables[strings[0].lower()] = self.value(strings[1]) if is_known else None

    def value(self, text: str) -> str | None:
        """Return a string with its variables filled in; None when one is not known."""
        if not self._has_variables:
            return text
        named = [name.lower() for name in re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_.]*|\d+)\}", text)]
        if any(self._variables.get(name, "") is None or name.isdigit() or "." in name for name in named):
            return None
        return re.sub(
            r"\$\{([A-Za-z_]\w*)\}", lambda match: self._variables.get(match[1].lower()) or "", text
        )

    def reading(self) -> Reading:
        """Return the clauses: what takes a message away counts only where nothing keeps it."""
        inbox = [one.condition for one in self._done if one.leaves == "inbox"]
        stored = [*inbox, *(one.condition for one in self._done if one.leaves == "folder")]
        clauses = []
        for one in self._done:
            others = (
                stored
                if one.name in {"discard", "redirect", "pipe"}
                else inbox
                if one.name == "fileinto"
                else []
            )
            held = conditions.any_of(others)
            condition = one.condition
            if others and one.part in {"destroys", "hides"}:
                without = conditions.all_of([condition, conditions.negate(held)])
                condition = msgspec.structs.replace(without, words=condition.words)
            if condition.sql != "false":
                clauses.append(Clause((Act(one.part, one.words),), condition))
        return Reading(clauses=tuple(_merged(clauses)), unread=tuple(self._unread))


# command: what it counts as, its part, where it leaves the message, words.
_COMMANDS: dict[str, tuple[str, Part, str, str]] = {
    "discard": ("discard", "destroys", "", "discards the message"),
    "keep": ("keep", "does", "inbox", "keeps the message"),
    "fileinto": ("fileinto", "hides", "folder", "moves the message to {value}"),
    "redirect": ("redirect", "hides", "", "redirects the message to {value}"),
    "reject": ("reject", "destroys", "", "refuses the message"),
    "ereject": ("reject", "destroys", "", "refuses the message"),
    "setflag": ("flag", "does", "", ""),
    "addflag": ("flag", "does", "", ""),
    "removeflag": ("flag", "does", "", ""),
    "addheader": ("header", "strips", "", "adds a header with {value}"),
    "deleteheader": ("header", "strips", "", "removes the header {value}"),
    "vacation": ("answer", "does", "", "answers the sender"),
    "notify": ("answer", "does", "", "sends a notice"),
    "pipe": ("pipe", "hides", "", "hands the message to the program {value}"),
    "filter": ("filter", "strips", "", "passes the message through the program {value}"),
    "execute": ("execute", "does", "", "runs the program {value}"),
    "include": ("include", "does", "", "includes the script {value}, which is not read here"),
}


def _flag(name: str, strings: list[str]) -> tuple[Part, str]:
    flags = " ".join(strings[-1:]).lower()
    if name == "removeflag":
        return "does", f"takes the flag {' '.join(strings[-1:])} off it"
    if "\\deleted" in flags:
        return "hides", "marks the message as deleted"
    return "does", "marks it as read" if "\\seen" in flags else f"gives it the flag {' '.join(strings[-1:])}"


def _strings(command: Command) -> list[str]:
    """Return the strings of a command that are no value of a tag, lists as their parts."""
    found: list[str] = []
    skip = False
    for argument in command.arguments:
        if argument.kind == "tag":
            skip = argument.strings[0] in _VALUED
        elif argument.kind == "strings" and not skip:
            found += (
                argument.strings
                if command.name in {"require", "setflag", "addflag", "removeflag"}
                else argument.strings[:1]
            )
            skip = False
        else:
            skip = False
    if command.name == "deleteheader":
        # Name first, then values that narrow it.
        return found[:1]
    return [" ".join(found)] if command.name in {"setflag", "addflag", "removeflag"} and found else found


def _both(rest: Condition, told: Condition) -> Condition:
    both = conditions.all_of([rest, told])
    words = told.words or rest.words
    if told.words and rest.words and rest.words != _OTHERS_TOOK:
        words = f"{rest.words} and {told.words}"
    return msgspec.structs.replace(both, words=words)


def _silenced(condition: Condition) -> Condition:
    """Keep what an earlier line decides out of the words: a sentence that repeats it could not be read."""
    words = "" if condition.sql in {"true", "false"} else _OTHERS_TOOK
    return msgspec.structs.replace(condition, words=words)


def _merged(clauses: list[Clause]) -> list[Clause]:
    """Join neighbours with one condition: a fileinto and its flag are one clause."""
    found: list[Clause] = []
    for clause in clauses:
        if (
            found
            and found[-1].condition.words == clause.condition.words
            and (found[-1].condition.sql == clause.condition.sql or not clause.takes())
        ):
            found[-1] = Clause((*found[-1].acts, *clause.acts), found[-1].condition)
        else:
            found.append(clause)
    return found
