"""Shell histories: one record for each command typed, with its time where the shell kept it.

bash with ``HISTTIMEFORMAT`` writes ``#1795224843`` before a command, zsh with ``EXTENDED_HISTORY`` ``: 1795224843:0;command``,
fish a list of ``- cmd:`` and ``when:``. Without these there is an order and no time.

Sources: bash(1) HISTTIMEFORMAT, zshoptions(1) EXTENDED_HISTORY, fish `src/history.cpp`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_LINE = 1 << 20
_BASH_TIME = re.compile(r"#(\d{9,11})$")
_ZSH = re.compile(r": (\d{9,11}):(\d+);(.*)$", re.DOTALL)
_FISH_TIME = re.compile(r"\s+when: (\d{9,11})\s*$")
# Folders that name the owner: the history lies in a home.
_HOME = re.compile(r"/(?:home|Users|export/home)/([^/]+)/")

Data = dict[str, Any]  # Any: JSON values


def read(path: Path) -> Iterator[RawRecord | Damage]:
    """Yield one record for each command in the order in which it was typed."""
    return read_named(path, str(path))


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Do the same for a file whose own path is ``name``, from which the account follows.

    A record's place covers its time line and all its continuation lines.
    """
    account = account_of(name)
    pending: tuple[Data, int, int, int] | None = None
    time = ""
    start: tuple[int, int] | None = None
    for number, offset, line in _lines(path):
        if len(line) > LONGEST_LINE:
            yield Damage(offset, len(line), number, "the line is too long for a command")
            continue
        text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        stamp = _BASH_TIME.match(text)
        if stamp:
            time, start = stamp[1], (offset, number)
            continue
        if pending is not None and _extend(pending[0], text):
            pending = (pending[0], pending[1], offset + len(line), pending[3])
            continue
        if pending is not None:
            yield _record(pending)
            pending = None
        data = _command(text, time)
        if data is not None:
            place = start or (offset, number)
            pending = (data | {"Account": account, "Order": number}, place[0], offset + len(line), place[1])
            time, start = "", None
    if pending is not None:
        yield _record(pending)


def account_of(path: str) -> str:
    """Return whose history a file is, as far as its path says; '' when it does not."""
    match = _HOME.search("/" + path)
    return match[1] if match else "root" if "/root/" in "/" + path else ""


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    with path.open("rb") as handle:
        for number, line in enumerate(iter(lambda: handle.readline(LONGEST_LINE + 1), b""), 1):
            yield number, offset, line
            offset += len(line)


def _command(text: str, time: str) -> Data | None:
    zsh = _ZSH.match(text)
    if zsh:
        return {"Shell": "zsh", "Seconds": zsh[1], "Command": zsh[3]}
    if text.startswith("- cmd: "):
        return {
            "Shell": "fish",
            "Seconds": "",
            "Command": text[7:].replace("\\n", "\n").replace("\\\\", "\\"),
        }
    if not text.strip():
        return None
    return {"Shell": "bash" if time else "sh", "Seconds": time, "Command": text}


def _extend(data: Data, text: str) -> bool:
    """Add a line that continues the command before it; say whether it does."""
    if data["Shell"] == "fish":
        when = _FISH_TIME.match(text)
        if when:
            data["Seconds"] = when[1]
        return bool(when) or text.startswith("  ")
    # A line inside a command ends with a backslash.
    if (
        data["Shell"] in {"zsh", "bash"}
        and not _BASH_TIME.match(text)
        and str(data["Command"]).endswith("\\")
        and not _ZSH.match(text)
    ):
        data["Command"] = str(data["Command"])[:-1] + "\n" + text
        return True
    return False


def _record(pending: tuple[Data, int, int, int]) -> RawRecord:
    data, offset, end, line = pending
    return RawRecord(data, offset, end - offset, line)
