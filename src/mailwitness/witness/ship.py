"""The shipper: one thread follows, one sends; between them lies the queue on disk."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import statistics
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mailwitness.errors import MailwitnessError, WitnessRefused, WitnessUnreachable
from mailwitness.witness.client import Client
from mailwitness.witness.dovecot import DovecotLogs
from mailwitness.witness.heads import Head, is_genuine
from mailwitness.witness.journal import Journal
from mailwitness.witness.lines import Lines
from mailwitness.witness.mail_copies import Maildirs, Mboxes
from mailwitness.witness.merkle import is_consistent
from mailwitness.witness.observed import Observed, parse
from mailwitness.witness.spool import Spool

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from mailwitness.witness.config import Follow, Ship
    from mailwitness.witness.observed import Kind
    from mailwitness.witness.spool import Waiting

_BATCH, _BATCH_BYTES = 500, 1 << 20
_LONGEST_WAIT = 30.0
# How long a witness may be shown to be the same log without asking it again.
_CONSISTENCY_SECONDS = 60.0
_DELAYS = 1000


class Follower(Protocol):
    """Something that is followed."""

    pattern: str

    def poll(self) -> bool:
        """Look once; return whether something was read."""

    def recheck(self, budget: int) -> None:
        """Look whether what was shipped still stands there."""

    def close(self) -> None:
        """Let go of files and processes."""


def follower(follow: Follow, settings: Ship, spool: Spool, now_us: Callable[[], int]) -> Follower:
    """Return what follows one entry of the settings."""
    most = settings.record_bytes
    if follow.kind == "lines":
        return Lines(follow.path, spool, now_us=now_us, record_bytes=most)
    if follow.kind == "journal":
        return Journal(follow.path, spool, now_us=now_us, command=settings.journalctl, record_bytes=most)
    if follow.kind == "dovecot":
        return DovecotLogs(follow.path, spool, now_us=now_us)
    kind = Maildirs if follow.kind == "maildir" else Mboxes
    return kind(follow.path, spool, now_us=now_us, record_bytes=most, bodies=follow.bodies)


class Shipper:
    """Follows and sends until stopped.

    Args:
        settings: see Ship.
        clock: the host's clock, aware UTC; used for stating times only, intervals are measured otherwise.
        tell: is told in one line what the operator should know.
    """

    def __init__(
        self, settings: Ship, *, clock: Callable[[], dt.datetime], tell: Callable[[str], None]
    ) -> None:
        self.settings, self._clock, self._tell = settings, clock, tell
        self.folder = Path(settings.state)
        self.spool = Spool(self.folder, most_bytes=settings.queue_bytes)
        self._canary = self.folder / "canary.log"
        self.stop = threading.Event()
        # A signal may arrive while this very thread waits for the event and holds its lock; a plain value cannot block.
        self.is_asked_to_stop = False
        self._followers = [follower(follow, settings, self.spool, self._now_us) for follow in settings.follow]
        if settings.canary_seconds:
            self._followers.append(
                Lines(str(self._canary), self.spool, now_us=self._now_us, record_bytes=settings.record_bytes)
            )
        self._problems: dict[str, str] = {}
        self._delays: deque[float] = deque(maxlen=_DELAYS)
        self._sent: dict[str, float] = {}
        self._acknowledged = 0
        self._full_since = 0.0
        self._next = {"canary": 0.0, "recheck": 0.0, "status": 0.0, "consistency": 0.0}
        self._trusted: Head | None = None
        self._checked: Head | None = None

    def run(self) -> None:
        """Follow and send until ``stop`` is set; what waits then stays on disk."""
        self._happened("started", {"followed": ", ".join(f.pattern for f in self._followers)})
        sender = threading.Thread(target=self._send, name="sender")
        sender.start()
        try:
            while not (self.stop.is_set() or self.is_asked_to_stop) and sender.is_alive():
                if not self._visit():
                    self.stop.wait(self.settings.poll_seconds)
        finally:
            self.stop.set()
            sender.join()
            for each in self._followers:
                each.close()
            self._write_status()
            self.spool.close()

    # -- following ----------------------------------------------------------------------------

    def _visit(self) -> bool:
        """Look at everything once; a source that fails is told and tried again at the next visit."""
        has_read = False
        self._hold()
        if self._is_due("canary", self.settings.canary_seconds):
            self._sing()
        is_rechecked = self._is_due("recheck", 1.0)
        for each in self._followers:
            try:
                has_read |= each.poll()
                if is_rechecked:
                    each.recheck(self.settings.recheck_bytes // len(self._followers))
                self._well(each.pattern)
            except Exception as error:  # noqa: BLE001 - whatever ails one source, the others go on and it is told
                self._problem(each.pattern, f"{type(error).__name__}: {error}")
        if self._is_due("status", 1.0):
            self._write_status()
        return has_read and not self.spool.is_full

    def _hold(self) -> None:
        """Say when reading has to wait for the witness, and for how long it had to."""
        if self.spool.is_full and not self._full_since:
            self._full_since = time.monotonic()
            self._problem(
                "queue",
                f"{self.spool.waiting_records} records wait: reading stops until the witness takes some",
            )
        elif self._full_since and not self.spool.is_full:
            held = int(time.monotonic() - self._full_since)
            self._full_since = 0.0
            self._well("queue")
            self._happened("held", {"seconds": held, "at_us": self._now_us()})

    def _happened(self, kind: Kind, facts: dict[str, str | int]) -> None:
        own = Observed(
            kind=kind,
            path="shipper",
            file=secrets.token_hex(8),
            seen_us=self._now_us(),
            facts=facts,
        )
        with contextlib.suppress(sqlite3.Error), self.spool.transaction():
            self.spool.put([own])

    # -- the canary ---------------------------------------------------------------------------

    def _sing(self) -> None:
        """Write a line with a nonce where it takes the way of all lines; its acknowledgement measures the delay."""
        nonce = secrets.token_hex(16)
        with contextlib.suppress(OSError):
            if self._canary.exists() and self._canary.stat().st_size > 1 << 20:
                self._canary.replace(self._canary.with_suffix(".old"))
            self._sent[nonce] = time.monotonic()
            append_canary(self._canary, nonce)

    def _heard(self, body: bytes) -> None:
        seen = parse(body)
        if seen is None or seen.kind != "line" or not self._sent:
            return
        nonce = seen.body.decode("ascii", "replace").strip().removeprefix("canary ")
        started = self._sent.pop(nonce, None)
        if started is not None:
            self._delays.append(time.monotonic() - started)

    # -- sending ------------------------------------------------------------------------------

    def _send(self) -> None:
        """Hand over the queue until stopped; nothing leaves it unless the witness has it."""
        wait, most = 0.0, _BATCH
        client: Client | None = None
        while not self.stop.wait(wait):
            try:
                client = client or Client(self.settings)
                waiting = self.spool.first(most, _BATCH_BYTES)
                wait = 0.0 if waiting and self._hand_over(client, waiting) else 0.05
                most = min(most * 2, _BATCH)
                self._well("witness")
            except WitnessRefused as error:
                # Perhaps the batch is too large; a single record that is refused is not dropped but waits for the operator.
                most = max(most // 2, 1)
                wait = self._failed(error, wait)
            except (MailwitnessError, sqlite3.Error, OSError) as error:
                wait = self._failed(error, wait)
        if client is not None:
            client.close()

    def _failed(self, error: Exception, wait: float) -> float:
        self._problem("witness", str(error))
        return min(max(wait * 2, 0.1), _LONGEST_WAIT)

    def _hand_over(self, client: Client, waiting: Sequence[Waiting]) -> bool:
        answer = client.append([(row.key, row.body) for row in waiting])
        if len(answer.stored) != len(waiting) or not is_genuine(answer.head):
            raise WitnessUnreachable(
                "the witness's answer does not cover what it was given",
                place=self.settings.witness,
                remedy="Ask who runs the witness.",
            )
        self.spool.acknowledge(waiting)
        self._acknowledged += len(waiting)
        for row in waiting:
            self._heard(row.body)
        self._checked = answer.head
        if self._is_due("consistency", _CONSISTENCY_SECONDS):
            self._check(client)
        return True

    def _check(self, client: Client) -> None:
        """Make sure that the witness still is the log whose head we noted before."""
        new, old = self._checked, self._trusted
        if new is None:
            return
        if old is None or (old.size == new.size and old.root == new.root):
            self._trusted = old or new
            return
        path = client.consistency(old.size, new.size) if old.size < new.size else []
        roots = (bytes.fromhex(old.root), bytes.fromhex(new.root))
        if old.log != new.log or not is_consistent(old.size, new.size, roots, path):
            self._problem("history", f"the witness contradicts its own head of {old.size} records")
            return
        self._trusted = new

    # -- what the operator sees ---------------------------------------------------------------

    def _now_us(self) -> int:
        return int(self._clock().timestamp() * 1_000_000)

    def _is_due(self, name: str, seconds: float) -> bool:
        now = time.monotonic()
        if not seconds or now < self._next[name]:
            return False
        self._next[name] = now + seconds
        return True

    def _problem(self, what: str, message: str) -> None:
        if self._problems.get(what) != message:
            self._problems[what] = message
            self._tell(f"{what}: {message}")

    def _well(self, what: str) -> None:
        if self._problems.pop(what, None) is not None:
            self._tell(f"{what}: well again")

    def status(self) -> dict[str, object]:
        """Return what waits, what was acknowledged, the measured delays in seconds, and present problems."""
        delays = sorted(self._delays)
        return {
            "waiting_records": self.spool.waiting_records,
            "waiting_bytes": self.spool.waiting_bytes,
            "acknowledged": self._acknowledged,
            "is_held": self.spool.is_full,
            "canaries_lost": sum(time.monotonic() - at > _LONGEST_WAIT for at in list(self._sent.values())),
            "delays": len(delays),
            "delay_median": statistics.median(delays) if delays else None,
            "delay_p99": delays[int(len(delays) * 0.99)] if delays else None,
            "problems": dict(self._problems),
        }

    def _write_status(self) -> None:
        temporary = self.folder / ".status.json.new"
        with contextlib.suppress(OSError):  # a full disk is told already
            temporary.write_text(json.dumps(self.status(), indent=1), "utf-8")
            temporary.replace(self.folder / "status.json")


def append_canary(path: Path, nonce: str) -> None:
    """Add a line with a nonce to a canary file; the shipper that follows it takes it to the witness."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"canary {nonce}\n".encode())
    finally:
        os.close(descriptor)
