"""Write a value from the evidence into a command line so that no shell takes it for more than a value."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# PowerShell ends a single-quoted text at any of these (about_Quoting_Rules; the tokenizer's list of quote characters).
_SINGLE = "'\u2018\u2019\u201a\u201b"
# Control characters, line separators, bidirectional marks: none belongs into a name, each can hide what a line does.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_HOLE = re.compile(r"\{(\w+)\}")


def is_writable(value: str) -> bool:
    """Tell whether a value can stand in a command at all; one with hidden characters is for a file, not for a line."""
    return bool(value) and not _UNSEEN.search(value)


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
    if not all(name in values and is_writable(values[name]) for name in needed):
        return ""
    write = _QUOTE[shell]
    return _HOLE.sub(lambda match: write(values[match.group(1)]), template)
