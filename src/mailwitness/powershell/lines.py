"""Process command lines that start PowerShell: the script in -EncodedCommand, -Command or behind the program's name."""

from __future__ import annotations

import re

import msgspec

from mailwitness.powershell.values import UNKNOWN, from_base64

# PowerShell takes a dash of any length for a dash, and a slash too.
_DASH = "-/\u2013\u2014\u2015"
_PROGRAM = re.compile(r"(?i)(?:^|[\s\"'\\/&|(=])(powershell|pwsh|powershell_ise)(?:\.exe)?(?=[\s\"'&|)]|$)")
_WORD = re.compile(r"\"(?:[^\"\\]|\\.|\"\")*\"?|\S+")
_TAKES_VALUE = {
    "version": 1, "psconsolefile": 1, "configurationname": 1, "executionpolicy": 2, "inputformat": 2, "outputformat": 1, "windowstyle": 1,
    "workingdirectory": 2, "settingsfile": 2, "custompipename": 2, "encodedarguments": 8, "ep": 2, "ex": 2, "wd": 2, "if": 2, "of": 2,
}  # fmt: skip
_NO_VALUE = (
    "nologo",
    "noprofile",
    "noninteractive",
    "noexit",
    "sta",
    "mta",
    "login",
    "interactive",
    "nop",
    "noni",
)
_MOST_ARGUMENTS = 100


class Line(msgspec.Struct, frozen=True):
    """The script that a command line hands to PowerShell, and how it was found."""

    script: str
    how: tuple[str, ...]


def script_of(command_line: str) -> Line | None:
    """Return the script that a process command line runs; None when it starts no PowerShell or names a file."""
    line = command_line
    how: tuple[str, ...] = ()
    if "^" in line and re.search(r"(?i)\bcmd(?:\.exe)?\b", line):
        # The command shell drops its escape letter before it starts the program.
        line, how = re.sub(r"\^(.)", r"\1", line), ("carets",)
    program = _PROGRAM.search(line)
    if program is None:
        return None
    rest = line[program.end() :].lstrip("\"'")
    return _from_arguments(rest, how, is_core=program[1].lower() == "pwsh")


def _from_arguments(rest: str, how: tuple[str, ...], *, is_core: bool) -> Line | None:
    at = 0
    for _ in range(_MOST_ARGUMENTS):
        match = _WORD.search(rest, at)
        if match is None:
            return None
        word = match[0].strip('"')
        if word[:1] not in _DASH or len(word) < 2:  # noqa: PLR2004 - a dash and a letter
            return None if is_core else Line(_unquoted(rest[match.start() :]), how)
        name, _, inside = word[1:].lower().partition(":")
        at = match.end()
        if _is_encoded(name):
            value = inside or _next_word(rest, at)
            return _decoded(word[1:].partition(":")[2] or value, how)
        if (name and "command".startswith(name)) or name == "commandwithargs":
            return Line(_unquoted(rest[at:].strip()), how)
        if name and "file".startswith(name):
            return None
        if any(
            option.startswith(name) and len(name) >= least for option, least in _TAKES_VALUE.items()
        ) and not any(o.startswith(name) for o in _NO_VALUE):
            skipped = _WORD.search(rest, at)
            at = at if skipped is None or inside else skipped.end()
    return None


def _is_encoded(name: str) -> bool:
    return name == "ec" or (bool(name) and "encodedcommand".startswith(name))


def _next_word(rest: str, at: int) -> str:
    match = _WORD.search(rest, at)
    return "" if match is None else match[0].strip("\"'")


def _decoded(text: str, how: tuple[str, ...]) -> Line | None:
    raw = from_base64(text.strip("\"'"))
    if raw is UNKNOWN or not isinstance(raw, bytes) or not raw:
        return None
    # The parameter wants UTF-16; text that is not is what some tools wrote by mistake.
    is_wide = len(raw) % 2 == 0 and raw[1::2].count(0) * 2 >= len(raw) // 4
    return Line(
        raw.decode("utf-16-le" if is_wide or not raw.isascii() else "utf-8", "replace"),
        (*how, "encoded command"),
    )


def _unquoted(text: str) -> str:
    """Return a -Command argument as PowerShell sees it: one pair of outer quotes gone, inner ones restored."""
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] == '"' and '"' not in re.sub(r'\\"|""', "", plain[1:-1]):
        plain = plain[1:-1]
    plain = plain.replace('\\"', '"')
    block = re.fullmatch(r"&\s*\{(.*)\}", plain, re.DOTALL)
    return block[1].strip() if block else plain
