"""Lines that are made for the database, portion by portion: while it reads one file of them, the next one is filled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# The database reads one while the next is made, so the first are small.
_FIRST_BYTES = 64 << 20
# Each statement takes new memory from the system; with half of this a whole log takes a tenth longer (measured).
_MOST_BYTES = 256 << 20


def files(pieces: Iterable[bytes], folder: Path, name: str) -> Iterator[Path]:
    """Yield files of whole lines; each is there until the next is asked for.

    There are two files, filled in turn, so that the system uses the same memory for them again and writes little to a disk.

    Args:
        pieces: whole lines; a thread asks for them.
        folder: where the files are made and removed.
        name: what their names begin with.
    """
    paths = [folder / f"{name}.{number}" for number in range(2)]
    source = iter(pieces)
    size = _FIRST_BYTES
    try:
        with ThreadPoolExecutor(1) as thread:
            filled = thread.submit(_fill, paths[0], source, size)
            for path, following in zip(cycle(paths), cycle(reversed(paths)), strict=False):
                if not filled.result():
                    return
                size = min(2 * size, _MOST_BYTES)
                filled = thread.submit(_fill, following, source, size)
                yield path
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _fill(path: Path, pieces: Iterator[bytes], size: int) -> int:
    """Write so many bytes over what a file holds; return how many there were."""
    path.touch()
    written = 0
    with path.open("r+b", buffering=0) as out:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[out.write(rest) :]
            written += len(piece)
            if written >= size:
                break
        out.truncate()
    return written
