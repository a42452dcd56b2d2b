"""Hurts witness and shipper in every way we know and counts what was lost or doubled; prints one row for each fault.

    python bench/witness_faults.py --kills 200 --cut-seconds 600

Lines carry a number, so that the witness's store can be compared with what was written, line by line. The exit code is 0 when no
acknowledged or written record was lost or doubled. The row of the full disk needs root, which mounts a small tmpfs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from witness.site import COMMAND, NOW, Site, environment, wait_for
from witness.test_ship import Cable, configure, shipped

from mailwitness.errors import MailwitnessError
from mailwitness.witness import config
from mailwitness.witness.access import client_context
from mailwitness.witness.config import Follow
from mailwitness.witness.pki import Authority
from mailwitness.witness.records import parse
from mailwitness.witness.serve import serve
from mailwitness.witness.ship import Shipper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINES = 40
# Longer than the longest pause between two attempts of the shipper, which is 30 seconds.
_QUIET_SECONDS = 45


class Row(NamedTuple):
    """The outcome of one fault."""

    fault: str
    tried: str
    written: int
    lost: int
    doubled: int
    note: str = ""


class Writer:
    """Writes numbered lines into a log until stopped, rotating it when asked."""

    def __init__(self, log: Path, *, pause: float = 0.05, rotate: float = 0.0, truncate: float = 0.0) -> None:
        self.log, self.pause, self.rotate, self.truncate = log, pause, rotate, truncate
        self.count, self.rotations, self.truncations = 0, 0, 0
        self._chance = random.Random(17)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.wait(self.pause):
            with self.log.open("a", encoding="utf-8") as file:
                file.writelines(f"line {self.count + i}\n" for i in range(_LINES))
            self.count += _LINES
            if self._chance.random() < self.rotate:
                self.rotations += 1
                self.log.rename(self._next_name())
            elif self._chance.random() < self.truncate:
                self._copy_truncate()

    def _copy_truncate(self) -> None:
        """As logrotate does it; between copy and truncation nobody writes here, because the writer is this thread."""
        self.truncations += 1
        self._next_name().write_bytes(self.log.read_bytes())
        self.log.write_bytes(b"")

    def _next_name(self) -> Path:
        """Return a name that neither a rotated file nor a copy has."""
        return self.log.with_name(f"mail.log.{self.rotations + self.truncations}")

    def expected(self) -> Counter[str]:
        """Return what has to be at the witness."""
        return Counter(f"line {i}\n" for i in range(self.count))


def _found(site: Site, log: Path) -> Counter[str]:
    return Counter(
        o.body.decode()
        for o in shipped(site)
        if o.kind == "line" and o.path == str(log) and b"line " in o.body
    )


def _settled(site: Site, log: Path) -> Counter[str]:
    """Return what arrived, once nothing has arrived for a while: how long that takes is no question of loss."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < _QUIET_SECONDS:
        now = site.reader().head().head.size
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.5)
    return _found(site, log)


def _row(fault: str, tried: str, expected: Counter[str], found: Counter[str], note: str = "") -> Row:
    doubled = sum(count - 1 for count in found.values() if count > 1)
    return Row(fault, tried, sum(expected.values()), len(expected.keys() - found.keys()), doubled, note)


@contextlib.contextmanager
def _shipping(site: Site, folder: Path, log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    made = site.shipper(folder, follow=[Follow(kind="lines", path=str(log))], **settings)
    command = [*COMMAND, "ship", "--config", str(configure(folder, made))]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def kill_shipper(folder: Path, kills: int) -> Row:
    """Kill the shipper at random moments while its log is written and rotated."""
    chance, log = random.Random(1), folder / "mail.log"
    with Site(folder) as site:
        with _shipping(site, folder, log):
            log.write_text("a beginning, so that the shipper has been here once\n", encoding="utf-8")
            wait_for(lambda: any(o.kind == "line" for o in shipped(site)), 60)
        with Writer(log, rotate=0.02) as writer:
            for _ in range(kills):
                with _shipping(site, folder, log) as process:
                    time.sleep(0.8 + chance.random())
                    process.send_signal(signal.SIGKILL)
        with _shipping(site, folder, log):
            found = _settled(site, log)
        return _row(
            "kill -9 of the shipper",
            f"{kills} kills",
            writer.expected(),
            found,
            f"{writer.rotations} rotations",
        )


def kill_witness(folder: Path, kills: int) -> Row:
    """Kill the witness at random moments while records arrive."""
    chance, log = random.Random(2), folder / "mail.log"
    site = Site(folder, segment_bytes="200000").start()
    try:
        with _shipping(site, folder, log), Writer(log) as writer:
            for _ in range(kills):
                time.sleep(0.2 + chance.random())
                site.stop(signal.SIGKILL)
                site.start()
            writer.__exit__()
            found = _settled(site, log)
        return _row("kill -9 of the witness", f"{kills} kills", writer.expected(), found)
    finally:
        site.stop()


def cut_network(folder: Path, seconds: float) -> Row:
    """Cut the network with a queue that overflows meanwhile."""
    log = folder / "mail.log"
    with Site(folder) as site:
        cable = Cable(site.port["https"])
        address = f"https://127.0.0.1:{cable.port}"
        with (
            _shipping(site, folder, log, witness=address, queue_bytes=2_000_000),
            Writer(log, rotate=0.001) as writer,
        ):
            time.sleep(3)
            cable.cut()
            time.sleep(seconds)
            cable.mend()
            writer.__exit__()
            found = _settled(site, log)
        cable.close()
        return _row("network cut", f"{seconds:g} s", writer.expected(), found)


def rotate_and_truncate(folder: Path, seconds: float) -> Row:
    """Rotate by renaming and by copytruncate while the log is followed."""
    log = folder / "mail.log"
    with Site(folder) as site, _shipping(site, folder, log):
        with Writer(log, rotate=0.01, truncate=0.03) as writer:
            time.sleep(seconds)
        found = _settled(site, log)
        return _row(
            "copytruncate",
            f"{writer.truncations} times",
            writer.expected(),
            found,
            f"{writer.rotations} rotations between them",
        )


def fill_disk(folder: Path, *, of_witness: bool) -> Row:
    """Let the disk of one side run full while the other goes on, then make room."""
    name = "witness" if of_witness else "shipper"
    small = folder / "site" / "witness" / "store" if of_witness else folder / "state"
    log = folder / "mail.log"
    site = Site(folder, segment_bytes="200000")
    small.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        return Row(f"disk of the {name} full", "not evaluated", 0, 0, 0, "mounting a tmpfs needs root")
    try:
        with site, _shipping(site, folder, log):
            with Writer(log, pause=0.002) as writer:
                (small / "ballast").write_bytes(bytes(2_300_000))
                time.sleep(15)
            (small / "ballast").unlink()
            subprocess.run(["mount", "-o", "remount,size=400m", str(small)], check=True)
            found = _settled(site, log)
            return _row(f"disk of the {name} full", "15 s", writer.expected(), found)
    finally:
        subprocess.run(["umount", str(small)], check=False)


class _JumpyClock:
    """A clock that somebody sets an hour forward and back."""

    def __init__(self) -> None:
        self.step = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.step  # noqa: TID251 - the entry point of a script


def step_clock(folder: Path) -> Row:
    """Set the clocks of both sides an hour forward and back while records flow."""
    log, clock = folder / "mail.log", _JumpyClock()
    site = Site(folder)
    stop, told, loop = asyncio.Event(), [""], asyncio.new_event_loop()
    ready = threading.Event()

    def tell(line: str) -> None:
        if line.startswith("https "):
            site.port["https"] = int(line.rsplit(":", 1)[1])
            ready.set()
        told.append(line)

    settings = config.read(site.configure(), config.Witness)
    service = threading.Thread(
        target=loop.run_until_complete, args=(serve(settings, clock=clock, tell=tell, stop=stop),)
    )
    service.start()
    ready.wait(30)
    made = site.shipper(folder, follow=[Follow(kind="lines", path=str(log))])
    shipper = Shipper(made, clock=clock, tell=told.append)
    following = threading.Thread(target=shipper.run)
    following.start()
    with Writer(log, rotate=0.01) as writer:
        for hours in (0, 1, 0, -1, 0):
            clock.step = dt.timedelta(hours=hours)
            time.sleep(3)
    found = _settled(site, log)
    shipper.stop.set()
    following.join()
    site.stop()
    loop.call_soon_threadsafe(stop.set)
    service.join()
    return _row("clock steps", "4 of an hour, both ways", writer.expected(), found)


def _connection(site: Site, folder: Path) -> ssl.SSLSocket:
    tls = client_context(str(folder / "tls.crt"), str(folder / "tls.key"), str(site.folder / "ca" / "ca.crt"))
    plain = socket.create_connection(("127.0.0.1", site.port["syslog"]), timeout=20)
    return tls.wrap_socket(plain, server_hostname="127.0.0.1")


def malformed_frames(folder: Path, count: int) -> Row:
    """Send junk behind good frames, and frames that are too large between good ones."""
    chance, good = random.Random(3), []
    with Site(folder, frame_bytes="4096") as site:
        for i in range(count):
            text = f"line {i}\n"
            junk = chance.choice([b"0 x", b"abc ", b"9999999999 x", b" 5 abc", chance.randbytes(60)])
            if i % 2:
                junk = b"200000 " + b"x" * 200_000
            with _connection(site, site.folder / "clients" / "mail") as secure, contextlib.suppress(OSError):
                secure.sendall(b"%d %s" % (len(text), text.encode()) + junk)
                good.append(text)
                secure.unwrap()
        expected = Counter(good)

        def found() -> Counter[str]:
            bodies = (
                parse(content).body.decode("utf-8", "replace") for _, content in site.reader().records()
            )
            return Counter(body for body in bodies if body.startswith("line "))

        with contextlib.suppress(AssertionError):
            wait_for(lambda: found().keys() >= expected.keys(), 60)
        counters = site.reader().status()["senders"]
        return _row("malformed or oversized frames", f"{count}", expected, found(), f"counted: {counters}")


def refused_certificates(folder: Path) -> Row:
    """Try an expired certificate and one of a stranger; nothing may be stored before a good one is tried the same way."""
    with Site(folder) as site:
        site.authority(NOW - dt.timedelta(days=30), days=20).issue(folder / "expired", "mail")
        Authority(folder / "strangers", now=NOW).issue(folder / "foreign", "mail")
        for name in ("expired", "foreign"):
            with contextlib.suppress(OSError, MailwitnessError), _connection(site, folder / name) as secure:
                secure.sendall(b"5 12345")
                secure.recv(1)
        stored = site.reader().head().head.size
        with _connection(site, site.folder / "clients" / "mail") as secure:
            secure.sendall(b"5 12345")
            secure.unwrap()
        wait_for(lambda: site.reader().head().head.size > stored, 60)
        return Row(
            "certificates expired or of a stranger",
            "2",
            0,
            0,
            stored,
            "records stored count as doubled; the same with a good certificate is stored",
        )


def main() -> int:
    """Run all faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cut-seconds", type=float, default=600)
    parser.add_argument("--rotation-seconds", type=float, default=60)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--only", default="", help="part of a fault's name")
    chosen = parser.parse_args()
    faults: dict[str, Callable[[Path], Row]] = {
        "kill shipper": lambda folder: kill_shipper(folder, chosen.kills),
        "kill witness": lambda folder: kill_witness(folder, chosen.kills),
        "network": lambda folder: cut_network(folder, chosen.cut_seconds),
        "rotation": lambda folder: rotate_and_truncate(folder, chosen.rotation_seconds),
        "disk of the witness": lambda folder: fill_disk(folder, of_witness=True),
        "disk of the shipper": lambda folder: fill_disk(folder, of_witness=False),
        "clock": step_clock,
        "frames": lambda folder: malformed_frames(folder, chosen.frames),
        "certificates": refused_certificates,
    }
    print(f"{'fault':<40}{'tried':<26}{'written':>10}{'lost':>7}{'doubled':>9}  note")
    is_well = True
    for name, fault in faults.items():
        if chosen.only in name:
            with tempfile.TemporaryDirectory() as folder:
                row = fault(Path(folder))
            is_well &= row.lost == 0 and row.doubled == 0
            print(f"{row[0]:<40}{row[1]:<26}{row[2]:>10}{row[3]:>7}{row[4]:>9}  {row[5]}", flush=True)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
