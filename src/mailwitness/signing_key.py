"""Where the investigator's own signing key is: whether there is one is asked by every run, what is done with it by few."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = "signing.pem"


def path() -> Path:
    """Return where the key of this user is: below XDG_CONFIG_HOME, else ~/.config (XDG Base Directory, 0.8)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "mailwitness" / _FILE
