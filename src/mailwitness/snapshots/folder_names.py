"""The names of one folder in order, however many there are: sorted stretches in files, merged while they are read.

A Maildir of fifty gigabytes has millions of files in one folder, and a file system gives them in no order that a second run could rely on.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# So many names are held at once: about 8 MB.
_AT_ONCE = 50_000
_BLOCK = 1 << 16


def in_order(folder: Path, work: Path, key: Callable[[str], str]) -> Iterator[str]:
    """Yield the names in a folder by their key, without "." and "..".

    Args:
        folder: the folder; one that cannot be read has none.
        work: where temporary files may be made; they have no name, so a killed run leaves none behind.
        key: what a name is sorted by; no two names have the same.
    """
    with contextlib.ExitStack() as stack:
        stretches: list[IO[bytes]] = []
        waiting: list[str] = []
        for name in _names(folder):
            waiting.append(name)
            if len(waiting) >= _AT_ONCE:
                stretches.append(stack.enter_context(tempfile.TemporaryFile(dir=work)))
                _write(stretches[-1], sorted(waiting, key=key))
                waiting = []
        waiting.sort(key=key)
        yield from heapq.merge(*(_read(handle) for handle in stretches), waiting, key=key)


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def _write(handle: IO[bytes], names: list[str]) -> None:
    # A name may hold any byte but "/" and NUL.
    handle.writelines(os.fsencode(name) + b"\0" for name in names)
    handle.seek(0)


def _read(handle: IO[bytes]) -> Iterator[str]:
    rest = b""
    while block := handle.read(_BLOCK):
        *whole, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(name) for name in whole)
