"""Write a value from the evidence into a command line so that no shell takes it for more than a value."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from mailwitness.unseen import HIDDEN, STACKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# PowerShell ends a single-quoted text at any of these (about_Quoting_Rules; the tokenizer's list of quote characters).
_SINGLE = "'\u2018\u2019\u201a\u201b"
# Controls, direction marks, blanks that look like none: none belongs into a name, each can hide what a line does. A report
# shows every one of them as a sign of its own (report.text), so that a line with one could not be typed as it stands there.
# The variation selectors that choose an emoji's look, and the signs that stand for what has no letter, are refused as well.
# Marks stacked upon a letter paint over the lines beside it; three in a row occur in real names.
_UNSEEN = re.compile(f"[{HIDDEN}\ufe0e\ufe0f\ufffc\ufffd]|[{STACKING}]{{4}}")
# An address has at most 320 characters (RFC 5321, 4.5.3.1), an inbox rule's name 512; a longer one would be cut where it is shown.
_LONGEST = 512
_HOLE = re.compile(r"\{(\w+)\}")
# Some programs read a mask or a list within one word, whatever the shell made of it: doveadm's ``-u`` takes wildcards,
# gam separates items by comma and space. No host, account or address holds these characters.
_READ_AS_MORE = {"sh": re.compile(r"[*?\[\]\s]"), "gam": re.compile(r"[*?,\s]")}


@lru_cache(maxsize=1024)
def is_writable(value: str) -> bool:
    """Tell whether a value can stand in a command at all: as long as a name may be, and with nothing hidden in it."""
    return 0 < len(value) <= _LONGEST and not value.isspace() and not _UNSEEN.search(value)


def is_one_word(shell: str, value: str) -> bool:
    """Tell whether the programs of a shell take a value for one thing; quotes cannot make it one."""
    pattern = _READ_AS_MORE.get(shell)
    return pattern is None or not pattern.search(value)


def powershell(value: str) -> str:
    """Write a PowerShell literal: single quotes expand nothing, and quotes of any kind within are doubled."""
    return "'" + "".join(c * 2 if c in _SINGLE else c for c in value) + "'"


def sh(value: str) -> str:
    """Write a word of a POSIX shell that cannot be taken for an option."""
    return shlex.quote(f"./{value}" if value.startswith("-") else value)


def url(value: str) -> str:
    """Write one segment of the path of a Graph request."""
    return quote(value, safe="")


_QUOTE: dict[str, Callable[[str], str]] = {"powershell": powershell, "sh": sh, "gam": sh, "graph": url}


def line(shell: str, template: str, values: Mapping[str, str]) -> str:
    """Fill a command line; every ``{name}`` becomes a quoted value.

    Args:
        shell: powershell, sh, gam or graph.
        template: the line with holes.
        values: hole -> value of the case.

    Returns:
        The line, or an empty text when a value is missing or cannot be written safely.
    """
    needed = _HOLE.findall(template)
    if not all(
        name in values and is_writable(values[name]) and is_one_word(shell, values[name]) for name in needed
    ):
        return ""
    write = _QUOTE[shell]
    return _HOLE.sub(lambda match: write(values[match.group(1)]), template)
