"""What the command ``emulate`` does and prints."""

from __future__ import annotations

from pathlib import Path

from mailwitness.errors import ConfigError
from mailwitness.report.text import visible
from mailwitness.scenarios import emulation, live

_OK, _UNSEEN = 0, 1


def emulate(
    name: str | None, *, out: Path | None, is_list: bool, is_live: bool, logs: list[Path], as_json: bool
) -> int:
    """List scenarios or deeds, write one, or do one.

    Returns:
        0: done, and seen where logs were watched; 1: done, but no log that was watched noticed it.

    Raises:
        ConfigError: the name is unknown, or no folder was given.
    """
    if is_list or name is None:
        print(live.listed() if is_live else emulation.listed(as_json=as_json))
        return _OK
    if out is None:
        raise ConfigError("no folder was given", remedy="Name a new one with --out.")
    if not is_live:
        return _print(emulation.write(name, out))
    result = live.perform(name, out, logs)
    _print(result.lines)
    return _UNSEEN if logs and not result.is_seen else _OK


def _print(lines: list[str]) -> int:
    for line in lines:
        print(visible(line, 1000))
    return _OK
