"""What the lines of strict kinds of a table look like, as content says it (``content/tables/_lines.yaml`` explains the words)."""

from __future__ import annotations

import re

import msgspec

# What becomes of a line of a program that is of no kind: it says nothing, or the patterns read it.
NOTHING, PATTERNS = "nothing", "patterns"
# Lines of all programs that are not named.
OTHER = "other"
VALUE = re.compile(r"\{(\w+)\}")


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a value has to be, in the words of the content."""

    like: str = ""
    signs: tuple[str, ...] = ()
    without: str = ""
    ends: str = ""
    longest: int = 0
    number: bool = False
    free: bool = False
    last: bool = False
    lacks: str = ""


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of line: its text behind the head, and the columns that are the same in all of them."""

    group: str
    line: str
    values: dict[str, Value] = {}
    constants: dict[str, str] = {}


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The beginning of lines that several kinds share."""

    head: str
    kinds: list[Kind]
    values: dict[str, Value] = {}
    even_so: bool = False


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lines of programs whose names match a pattern; lines that hold `unless` or begin with one of `begins` may say something.

    The former are of no form but those that are there `even_so`.
    """

    process: str
    otherwise: str
    forms: list[Form] = []
    unless: str = ""
    begins: list[str] = []


class Shapes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lines of a table: programs, of which the first that fits counts, and the SQL of columns of each group.

    No parser reads the groups in `unread`; `events` are the values that MailEvent has in a group.
    Columns in `kept` are stored of all lines.
    """

    programs: list[Program]
    groups: dict[str, dict[str, str]]
    unread: list[str] = []
    kept: list[str] = []
    events: dict[str, list[str]] = {}


def names(line: str) -> list[str]:
    """Return the names of the values of a line."""
    return VALUE.findall(line)
