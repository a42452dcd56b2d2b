"""Segments: the files that hold the records, written only at their end and never again.

A segment begins with one frame of JSON and goes on with the frames of its records::

    {"segment": 2, "first": 51200, "log": "c0ff..", "previous_end": 67108901, "previous_torn": 13}

A write that was cut short leaves a torn tail. Nothing is ever truncated: the next segment's header says where the one before it ends
(``previous_end``) and how many bytes behind that do not count (``previous_torn``).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mailwitness.errors import StoreDamaged
from mailwitness.witness import flags
from mailwitness.witness.records import Frames, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"\d{8}\.seg")
_KEEP = "Keep the folder as it is and compare it with its copies elsewhere."


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a segment.

    Attributes:
        segment: number of the segment, from 1.
        first: number of its first record in the log.
        log: id of the log.
        previous_end: where the segment before it ends, in bytes.
        previous_torn: bytes behind that end, which a write that was cut short left.
    """

    segment: int
    first: int
    log: str
    previous_end: int = 0
    previous_torn: int = 0


class Placed(NamedTuple):
    """A payload with its number in the log and its place."""

    number: int
    segment: int
    offset: int
    payload: bytes


def paths(folder: Path) -> list[Path]:
    """Return the segments in order.

    Raises:
        StoreDamaged: one is missing between others.
    """
    found = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.exists() else []
    for number, path in enumerate(found, 1):
        if int(path.stem) != number:
            raise StoreDamaged(f"segment {number} is missing", place=str(folder), remedy=_KEEP)
    return found


def path_of(folder: Path, number: int) -> Path:
    """Return where a segment lies."""
    return folder / f"{number:08d}.seg"


def create(folder: Path, header: Header) -> Path:
    """Make a segment with its header; it is whole and on disk when it has its name."""
    path = path_of(folder, header.segment)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(frame(msgspec.json.encode(header)))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(folder)
    return path


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def header_of(path: Path) -> tuple[Header, int]:
    """Return the header of a segment and where its records begin.

    Raises:
        StoreDamaged: it has none.
    """
    with path.open("rb") as file:
        frames = Frames(file, 0, path.stat().st_size)
        for _, content in frames:
            try:
                return msgspec.json.decode(content, type=Header), frames.offset
            except msgspec.MsgspecError:
                break
    raise StoreDamaged("it has no header", place=str(path), remedy=_KEEP)


class Scan:
    """One segment read from its header on.

    Attributes:
        header: the segment's header.
        end: behind the last sound frame, once iterated.
        torn: bytes behind ``end``, once iterated.
    """

    def __init__(self, path: Path, *, end: int | None = None) -> None:
        self.path = path
        self.header, self._start = header_of(path)
        self._limit = path.stat().st_size if end is None else end
        self.end = self._start
        self.torn = 0

    def __iter__(self) -> Iterator[Placed]:
        """Yield the records in order, up to the first frame that is cut off or damaged."""
        number = self.header.first
        with self.path.open("rb", buffering=1 << 20) as file:
            frames = Frames(file, self._start, self._limit)
            for offset, content in frames:
                yield Placed(number, self.header.segment, offset, content)
                number += 1
                self.end = frames.offset
        self.torn = self._limit - self.end


def scan(folder: Path, *, first: int = 1) -> Iterator[Placed]:
    """Yield all records of a folder of segments from segment ``first`` on, in order.

    A torn tail of the last segment is left out; a damaged frame before it is an error.

    Raises:
        StoreDamaged: records are missing, or a segment does not continue the one before it.
    """
    listed = paths(folder)
    number = None
    for path in listed[first - 1 :]:
        following = path_of(folder, int(path.stem) + 1)
        end = header_of(following)[0].previous_end if following.exists() else None
        reading = Scan(path, end=end)
        if number is not None and reading.header.first != number:
            message = (
                f"it begins with record {reading.header.first}, and the one before it ends with {number - 1}"
            )
            raise StoreDamaged(message, place=str(path), remedy=_KEEP)
        number = reading.header.first
        for placed in reading:
            yield placed
            number += 1
        if end is not None and reading.end != end:
            raise StoreDamaged(f"it is damaged behind byte {reading.end}", place=str(path), remedy=_KEEP)


def append_only(path: Path) -> str:
    """Let the kernel refuse everything but appending; returns why it could not be done, or an empty text."""
    return flags.guard(path, flags.APPEND_ONLY)


def immutable(path: Path) -> str:
    """Let the kernel refuse every change; returns why it could not be done, or an empty text."""
    return flags.guard(path, flags.IMMUTABLE)
