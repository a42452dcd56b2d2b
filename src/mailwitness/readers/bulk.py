"""Large text logs, read by several processes: each takes a stretch of whole events and writes its rows as JSON lines.

A reader offers this by a module with ``convert(chunk, base, line, sink)`` and by ``identity(line)``, which names the event a line belongs
to. The file is cut only where no event of the lines before goes on behind; rows carry their number within the stretch.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from mailwitness.readers import index as line_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.readers.index import RecordIndex

# Text that is converted at once; events do not reach beyond it except where no cut was found.
CHUNK_BYTES = 16 << 20
# So far on both sides of a cut no event may stand on both: audit records of one event are written within milliseconds.
MARGIN_BYTES = 256 << 10
# A second process is worth its start above this.
WORTH_BYTES = 24 << 20


class Part(msgspec.Struct, frozen=True):
    """Rows of one stretch of a file.

    Attributes:
        rows: file of JSON lines; each holds its number within the stretch as ``_mw_position``.
        places: offset, length and line of every record of the stretch, damaged ones included.
        damaged: record number within the stretch and the reason.
        salvaged: records of which only some fields could be read.
        loaded: rows written.
    """

    rows: Path
    places: NDArray[np.int64]
    damaged: list[tuple[int, str]]
    salvaged: int
    loaded: int
    longest: int


class Sink:
    """Takes rows and damage of one stretch in the order in which they come."""

    def __init__(self, path: Path, exhibit: str, source: Path) -> None:
        """Write rows of ``source`` to ``path``."""
        self.source = source
        self._handle = path.open("wb", buffering=1 << 20)
        self._path = path
        own = b',"_mw_exhibit":"%s","_mw_salvaged":' % exhibit.encode("ascii")
        self._whole, self._partial = own + b"false", own + b"true"
        # Offset, length and line one after the other: a list of tuples would cost four times as much.
        self._places = array("q")
        self._number = 0
        self._damaged: list[tuple[int, str]] = []
        self._salvaged = 0
        self._longest = 0

    def row(self, row: bytes, offset: int, length: int, line: int, is_partial: bool = False) -> None:
        """Take one row: a JSON object with at least one member."""
        tail = self._partial if is_partial else self._whole
        self._handle.write(b'%s%s,"_mw_position":%d}\n' % (row[:-1], tail, self._number))
        self._places.extend((offset, length, line))
        self._number += 1
        if is_partial:
            self._salvaged += 1
        # Not max(): this runs once for every record of a large log.
        if len(row) > self._longest:  # noqa: PLR1730
            self._longest = len(row)

    def damage(self, offset: int, length: int, line: int, reason: str) -> None:
        """Take a stretch of bytes that is no record."""
        self._damaged.append((self._number, reason))
        self._places.extend((offset, length, line))
        self._number += 1

    def finish(self) -> Part:
        """Close the file and return what is in it."""
        self._handle.close()
        places = np.frombuffer(self._places, dtype=np.int64).reshape(-1, 3).copy()
        return Part(
            self._path,
            places,
            self._damaged,
            self._salvaged,
            self._number - len(self._damaged),
            self._longest + 256,
        )


def convert(reader: str, path: Path, work: Path, exhibit: str, processes: int) -> list[Part]:
    """Convert a file with a reader's module, in several processes when that is worth it.

    Args:
        reader: module of ``mailwitness.readers``.
        path: the file.
        work: folder for the rows.
        exhibit: name of the exhibit, which every row carries.
        processes: most stretches.
    """
    module = importlib.import_module(f"mailwitness.readers.{reader}")
    size = path.stat().st_size
    cuts = [0, *_cuts(path, size, min(processes, size // WORTH_BYTES), module.identity), size]
    others = []
    for number in range(1, len(cuts) - 1):
        rows = work / f"{exhibit}.{number}.rows"
        command = [
            sys.executable,
            # Never a module from the folder the user stands in: that may be the evidence.
            "-P",
            "-m",
            "mailwitness.readers.bulk",
            reader,
            str(path),
            str(cuts[number]),
            str(cuts[number + 1]),
            str(rows),
            exhibit,
        ]
        folders = [
            str(Path(__file__).parents[2]),
            *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
        ]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
        others.append(
            (
                rows,
                subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment),  # noqa: S603 - our own module
                cuts[number],
                cuts[number + 1],
            )
        )
    parts = [stretch(reader, path, cuts[0], cuts[1], work / f"{exhibit}.0.rows", exhibit)]
    lines = _lines_in(path, 0, cuts[1]) if others else 0
    for rows, process, start, end in others:
        # A process that was killed (memory, a signal) must not lose its stretch.
        part = _load(rows) if process.wait() == 0 else stretch(reader, path, start, end, rows, exhibit)
        part.places[:, 2] += lines
        lines += _lines_in(path, start, end)
        parts.append(part)
    return parts


def index(parts: list[Part]) -> RecordIndex:
    """Return the index of all records, damaged ones included."""
    places = np.concatenate([part.places for part in parts]).astype(np.uint64)
    return line_index.build_index([places[:, 0]], [places[:, 1]], [places[:, 2]])


def stretch(reader: str, path: Path, start: int, end: int, rows: Path, exhibit: str) -> Part:
    """Convert one stretch in this process; lines are numbered from its start."""
    module = importlib.import_module(f"mailwitness.readers.{reader}")
    sink = Sink(rows, exhibit, path)
    line = 1
    for base, chunk in _chunks(path, start, end, module.identity):
        module.convert(chunk, base, line, sink)
        line += chunk.count(b"\n")
    return sink.finish()


def _chunks(path: Path, start: int, end: int, identity: object) -> Iterator[tuple[int, bytes]]:
    """Yield whole events; what belongs to the last lines of a chunk is read again with the next one."""
    with path.open("rb") as handle:
        while start < end:
            handle.seek(start)
            chunk = handle.read(min(CHUNK_BYTES, end - start))
            if start + len(chunk) < end:
                cut = _cut(chunk, len(chunk) - MARGIN_BYTES, identity) or chunk.rfind(b"\n") + 1 or len(chunk)
                chunk = chunk[:cut]
            yield start, chunk
            start += len(chunk)


def _cuts(path: Path, size: int, parts: int, identity: object) -> list[int]:
    found: list[int] = []
    with path.open("rb") as handle:
        for number in range(1, parts):
            start = max(size * number // parts - MARGIN_BYTES, 0)
            handle.seek(start)
            cut = _cut(handle.read(2 * MARGIN_BYTES), MARGIN_BYTES, identity)
            if cut and start + cut > (found[-1] if found else 0):
                found.append(start + cut)
    return found


def _cut(content: bytes, wanted: int, identity: object) -> int:
    """Return the start of a line near ``wanted`` such that no event stands on both sides of it; 0 when there is none."""
    assert callable(identity)  # noqa: S101 - narrows the type
    begin = content.find(b"\n", max(wanted - MARGIN_BYTES, 0)) + 1
    lines = content[begin:].splitlines(keepends=True)
    last = {}
    for number, line in enumerate(lines):
        last[identity(line)] = number
    reach = -1
    place = begin
    best = 0
    for number, line in enumerate(lines):
        if reach < number and place >= wanted:
            best = place
            break
        name = identity(line)
        reach = max(reach, last[name]) if name else reach
        place += len(line)
    return best if best < len(content) else 0


def _lines_in(path: Path, start: int, end: int) -> int:
    count = 0
    with path.open("rb") as handle:
        handle.seek(start)
        while start < end and (block := handle.read(min(1 << 22, end - start))):
            count += block.count(b"\n")
            start += len(block)
    return count


def _save(part: Part) -> None:
    np.save(part.rows.with_suffix(".places.npy"), part.places)
    part.rows.with_suffix(".part.json").write_bytes(
        msgspec.json.encode([part.damaged, part.salvaged, part.loaded, part.longest])
    )


def _load(rows: Path) -> Part:
    places = rows.with_suffix(".places.npy")
    described = rows.with_suffix(".part.json")
    damaged, salvaged, loaded, longest = msgspec.json.decode(described.read_bytes())
    part = Part(
        rows, np.load(places), [(number, reason) for number, reason in damaged], salvaged, loaded, longest
    )
    places.unlink()
    described.unlink()
    return part


if __name__ == "__main__":
    _save(
        stretch(
            sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]), sys.argv[6]
        )
    )
