"""What the commands ``rules export navigator`` and ``rules export vault`` print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mailwitness.attack_export import navigator as layers
from mailwitness.attack_export import vault as notes
from mailwitness.errors import ConfigError
from mailwitness.report.text import visible

_OK = 0


def navigator(out: Path) -> int:
    """Write the layers into a folder.

    Raises:
        ConfigError: the folder cannot be written.
    """
    return _written(layers.write, out)


def vault(out: Path) -> int:
    """Write the notes into a folder.

    Raises:
        ConfigError: the folder cannot be written.
    """
    return _written(notes.write, out)


def _written(write: Callable[[Path], list[Path]], out: Path) -> int:
    try:
        files = write(out)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}", remedy="Name another folder."
        ) from error
    print(visible(f"{len(files)} files written to {out}", 500))
    return _OK
