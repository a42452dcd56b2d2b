"""Files that are kept between runs to save time: under the user's cache folder, and believed only when they are the user's own.

A cache that is off, cannot be written or holds something else is never an error: the work is done again.
"""

from __future__ import annotations

import os
from pathlib import Path

_OFF = {"0", "off", "no"}
# Every version and every set of own rules leaves files of its own; the newest of each kind stay, up to so much.
MOST_BYTES = 64 << 20


def place(name: str) -> Path | None:
    """Return where a file of the cache is; None when the cache is off (``MAILWITNESS_CACHE``)."""
    if os.environ.get("MAILWITNESS_CACHE", "").lower() in _OFF:
        return None
    given = os.environ.get("XDG_CACHE_HOME")
    root = Path(given) if given else Path("~/.cache").expanduser()
    return root / "mailwitness" / name


def read(path: Path) -> bytes:
    """Return a cache file's bytes; somebody else's file could bring somebody else's SQL.

    Raises:
        OSError: it cannot be read, or somebody else could have written it.
    """
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(path)
    return path.read_bytes()


def write(path: Path | None, content: bytes) -> None:
    """Replace a cache file as a whole; one that cannot be written is left."""
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(f".tmp-{os.getpid()}")
        partial.write_bytes(content)
        partial.chmod(0o600)
        partial.replace(path)
        _forget(path.parent, path.name.partition("-")[0])
    except OSError:
        return


def _forget(folder: Path, kind: str) -> None:
    """Remove the oldest files of a kind beyond what may be kept."""
    found = [(path.stat(), path) for path in folder.glob(f"{kind}-*")]
    kept = 0
    for status, path in sorted(found, key=lambda one: one[0].st_mtime_ns, reverse=True):
        kept += status.st_size
        if kept > MOST_BYTES:
            path.unlink(missing_ok=True)
