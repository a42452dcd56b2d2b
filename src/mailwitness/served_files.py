"""Bytes that are made while the database reads them, served as a file: nothing is written to a disk, and one statement reads all of it.

The database reads such a file in large ranges, each of them once, by several threads that are never far apart. That holds when it is told which
columns there are and that lines are records (`loading.line_options`): to find out, it would read the start twice.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fsspec import AbstractFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb
    import numpy as np
    from numpy.typing import NDArray

    Piece = bytes | NDArray[np.uint8]

PROTOCOL = "mailwitness"
# So much is made before somebody asks for it. The database asks for 16 MB at a time.
_AHEAD_BYTES = 32 << 20
# What stands in the place of bytes that were promised and not made.
_FILLER = b"\n" * (1 << 20)
# Nobody asks how old such a file is, but the database wants an answer.
_MADE = datetime(1970, 1, 1, tzinfo=UTC)
_TWICE = "bytes that were handed out already were asked for again"


@contextmanager
def served(connection: duckdb.DuckDBPyConnection, size: int, pieces: Iterable[Piece]) -> Iterator[str]:
    """Serve bytes as a file while the context lasts, and yield the name by which the database reads it.

    Args:
        connection: who reads it.
        size: how many bytes the file has. Fewer than that are filled up with line ends.
        pieces: the bytes, in order; a thread of its own asks for them.

    Raises:
        Exception: what was raised while they were made, in place of what the database says of it.
    """
    stream = _Stream(size, pieces)
    connection.register_filesystem(_Served(stream))
    maker = threading.Thread(target=stream.make, name="lines", daemon=True)
    maker.start()
    try:
        yield f"{PROTOCOL}://lines"
    except Exception:
        if stream.failure is not None:
            raise stream.failure from None
        raise
    finally:
        stream.end()
        maker.join()
        connection.unregister_filesystem(PROTOCOL)


class _Stream:
    """Bytes that are made in order and handed out in ranges, each once."""

    def __init__(self, size: int, pieces: Iterable[Piece]) -> None:
        self.size = size
        self.failure: Exception | None = None
        self._pieces = iter(pieces)
        self._made = self._wanted = self._taken = 0
        self._held: deque[_Held] = deque()
        self._changed = threading.Condition()
        self._is_over = False

    def make(self) -> None:
        """Make pieces ahead of those who read, until there are all or nobody reads any more."""
        try:
            for piece in self._pieces:
                if not self._hold(memoryview(piece)):  # type: ignore[arg-type]  # an array is a buffer
                    return
            while self._made < self.size and self._hold(memoryview(_FILLER)):
                pass
        except Exception as error:  # noqa: BLE001 - whoever reads raises it
            self.failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def end(self) -> None:
        """Make no more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def take(self, start: int, stop: int) -> bytes:
        """Return a range, which is forgotten then."""
        with self._changed:
            self._wanted = max(self._wanted, stop)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._made >= stop or self._is_over)
            if self.failure is not None:
                raise self.failure
            found = [part for held in self._held for part in held.part(start, stop)]
            while self._held and self._held[0].left <= 0:
                self._held.popleft()
            self._taken += stop - start
            self._changed.notify_all()
        taken = b"".join(found)
        if len(taken) != stop - start:
            raise OSError(_TWICE)
        return taken

    def _hold(self, made: memoryview) -> bool:
        """Keep a piece until it is asked for; false when nobody will."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_over or self._made < max(self._wanted, self._taken + _AHEAD_BYTES)
            )
            self._held.append(_Held(self._made, made))
            self._made += len(made)
            self._changed.notify_all()
            return not self._is_over


class _Held:
    """A piece of which not everything was handed out."""

    def __init__(self, start: int, content: memoryview) -> None:
        self.start = start
        self.content = content
        self.left = len(content)

    def part(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield what lies in a range, if anything does."""
        begin, end = max(start - self.start, 0), min(stop - self.start, len(self.content))
        if begin < end:
            self.left -= end - begin
            yield self.content[begin:end]


class _Handle:
    """An open file: the database has one in each thread, and moves it before it reads."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._place = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        stop = min(self._place + size, self._stream.size)
        found = self._stream.take(self._place, stop)
        self._place = stop
        return found

    def seek(self, place: int) -> int:
        """Move to a place, counted from the start."""
        self._place = place
        return place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def close(self) -> None:
        """Nothing has to be closed."""


class _Served(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no annotations
    """A file system of one file, whatever its name."""

    protocol = PROTOCOL
    # Of equal arguments fsspec would return the same object again.
    cachable = False

    def __init__(self, stream: _Stream) -> None:
        super().__init__()
        self._stream = stream

    def open(self, _path: str, mode: str = "rb") -> _Handle:
        """Return a handle of its own."""
        assert mode == "rb"  # noqa: S101 - the database only reads it
        return _Handle(self._stream)

    def glob(self, path: str) -> list[str]:
        """Return the name that was asked for: it is no pattern."""
        return [path]

    def info(self, path: str) -> dict[str, str | int]:
        """Return what the database asks: how large the file is."""
        return {"name": path, "size": self._stream.size, "type": "file"}

    def modified(self, _path: str) -> datetime:
        """Return a time of no meaning, which the database wants."""
        return _MADE
