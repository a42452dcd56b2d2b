"""Following the journal of systemd through journalctl, in its export format.

An entry is a block of fields, ended by an empty line; a field is ``NAME=value``, or ``NAME``, a line feed, the length of the value in
8 bytes little-endian, the value and a line feed. The cursor in ``__CURSOR`` is where reading goes on.

Source: systemd.io, "Journal Export Formats"; journalctl(1).
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from mailwitness.errors import WitnessError
from mailwitness.witness.observed import Observed, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailwitness.witness.spool import Spool

_WAITING = 2000
_MOST_FIELD = 16 << 20
_BATCH = 500
_MARK = "journal cursor"


def entries(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield cursor and bytes of each whole entry of an export."""
    entry, cursor = bytearray(), ""
    while line := stream.readline(_MOST_FIELD):
        if line == b"\n":
            if entry:
                yield cursor, bytes(entry)
            entry, cursor = bytearray(), ""
            continue
        entry += line
        name, equals, value = line.rstrip(b"\n").partition(b"=")
        if not equals:
            length = stream.read(8)
            size = int.from_bytes(length, "little")
            if size > _MOST_FIELD:
                return
            entry += length + stream.read(size + 1)
        elif name == b"__CURSOR":
            cursor = value.decode("ascii", "replace")


class Journal:
    """Follows the journal.

    Args:
        folder: of the journal's files; empty for the system's journal.
        spool: queue and memory.
        now_us: the host's clock.
        command: how journalctl is called.
        record_bytes: longer entries are cut there.
    """

    def __init__(
        self,
        folder: str,
        spool: Spool,
        *,
        now_us: Callable[[], int],
        command: Sequence[str],
        record_bytes: int,
    ) -> None:
        self._folder, self._spool, self._now_us = folder, spool, now_us
        self._command, self._most = list(command), record_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._read: queue.Queue[tuple[str, bytes]] = queue.Queue(_WAITING)
        self._held: list[tuple[str, bytes]] = []
        self.pattern = f"journal:{folder}"

    def poll(self) -> bool:
        """Ship what journalctl gave; returns whether something was shipped.

        Raises:
            WitnessError: journalctl cannot be run; it is started again at the next visit.
        """
        if self._process is None or (self._process.poll() is not None and self._read.empty()):
            self._start()
        if self._spool.is_full:
            return False
        while len(self._held) < _BATCH and not self._read.empty():
            self._held.append(self._read.get())
        if not self._held:
            return False
        now_us, name = self._now_us(), shown(self.pattern)
        records = [
            Observed(kind="journal", path=name, file=cursor, body=entry[: self._most], seen_us=now_us)
            for cursor, entry in self._held
        ]
        with self._spool.transaction():
            self._spool.put(records)
            self._spool.set_mark(f"{_MARK} {self._folder}", self._held[-1][0])
        self._held = []
        return True

    def recheck(self, budget: int) -> None:
        """The journal guards itself (journalctl --verify); a cursor that is gone shows in the comparison."""

    def close(self) -> None:
        """End journalctl."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(queue.Empty):
            while True:  # its reading thread may wait for room
                self._read.get_nowait()
        self._process.wait()
        self._process = None

    def _start(self) -> None:
        if self._process is not None:
            problem = f"journalctl ended with status {self._process.returncode}"
            self._process = None
            raise WitnessError(problem, place=self.pattern, remedy="Check that the journal can be read.")
        cursor = self._spool.mark(f"{_MARK} {self._folder}")
        place = [f"--directory={self._folder}"] if self._folder else []
        start = [f"--after-cursor={cursor}"] if cursor else ["--no-tail"]
        command = [*self._command, "--output=export", "--follow", "--quiet", *place, *start]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command stands in the settings
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise WitnessError(
                f"journalctl cannot be run: {error.strerror}",
                place=self.pattern,
                remedy="Install it, or take the journal out of the settings.",
            ) from error
        threading.Thread(target=self._pump, args=(self._process,), daemon=True).start()

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Take entries from journalctl; a full queue makes it wait, and journalctl with it."""
        if process.stdout is None:
            return
        with process.stdout as stream:
            for entry in entries(stream):
                self._read.put(entry)
