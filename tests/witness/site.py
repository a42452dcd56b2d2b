"""A site for tests: authority, certificates, and a witness in a process of its own, with real TLS on loopback."""

from __future__ import annotations

import datetime as dt
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import msgspec

from mailwitness.witness import pki
from mailwitness.witness.client import Client
from mailwitness.witness.config import Reader, Ship

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
COMMAND = [sys.executable, "-c", "from mailwitness.cli import main; main()", "witness"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Site:
    """Folders of a witness, clients ``mail`` and ``other``, and the reader ``kim``."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1", **settings: str) -> None:
        self.folder, self.address = folder / "site", address
        self.pinned = pki.initialise(
            self.folder, server=[address], clients=["mail", "other"], readers=["kim"], now=NOW
        )
        self.settings: dict[str, str] = {"guard": "false", "head_seconds": "1", **settings}
        self.port: dict[str, int] = {"https": 0, "syslog": 0}
        self.told: queue.Queue[str] = queue.Queue()
        self.process: subprocess.Popen[str] | None = None
        self._clients: dict[str, Client] = {}
        self._read: list[bytes] = []

    def authority(self, now: dt.datetime = NOW, days: int = 397) -> pki.Authority:
        return pki.Authority(self.folder / "ca", now=now, days=days)

    def configure(self) -> Path:
        path = self.folder / "witness" / "witness.toml"
        lines = {
            "folder": '"store"',
            "keys": '"keys"',
            "certificate": '"tls.crt"',
            "key": '"tls.key"',
            "ca": '"ca.crt"',
            "https": f'"{self.address}:{self.port["https"]}"',
            "syslog": f'"{self.address}:{self.port["syslog"]}"',
            "readers": '["kim"]',
            "clients": '["mail", "other"]',
            **self.settings,
        }
        tables = {k: v for k, v in lines.items() if v.startswith("\n[")}
        plain = "\n".join(f"{k} = {v}" for k, v in lines.items() if k not in tables)
        path.write_text(plain + "".join(tables.values()), "utf-8")
        return path

    def start(self) -> Site:
        config = self.configure()
        self._read = []
        command = [*COMMAND, "serve", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        seen: list[str] = []
        while len(seen) < 2:
            line = self.told.get(timeout=60)
            for name in ("https", "syslog"):
                if f" {name} " in line:
                    self.port[name] = int(line.rsplit(":", 1)[1])
                    seen.append(name)
        return self

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.told.put(line.strip())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        for client in self._clients.values():
            client.__exit__()
        self._clients = {}
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            assert self.process.stderr is not None
            self.process.stderr.close()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def store(self) -> Path:
        return self.folder / "witness" / "store"

    def shipper(self, folder: Path, **settings: object) -> Ship:
        tls = self.folder / "clients" / "mail"
        given: dict[str, object] = {
            "witness": f"https://{self.address}:{self.port['https']}",
            "certificate": str(tls / "tls.crt"),
            "key": str(tls / "tls.key"),
            "ca": str(tls / "ca.crt"),
            "state": str(folder / "state"),
            "follow": [],
            "poll_seconds": 0.02,
            "canary_seconds": 0,
        }
        return Ship(**{**given, **settings})  # type: ignore[arg-type]

    def reader_settings(self, folder: Path | None = None) -> Reader:
        tls = folder or self.folder / "readers" / "kim"
        return Reader(
            witness=f"https://{self.address}:{self.port['https']}",
            certificate=str(tls / "tls.crt"),
            key=str(tls / "tls.key"),
            ca=str(tls / "ca.crt"),
            pinned=self.pinned,
        )

    def client(self, name: str = "mail") -> Client:
        """Return the client's connection; it is closed when the witness is stopped."""
        settings = self.shipper(self.folder)
        tls = self.folder / "clients" / name
        if name not in self._clients:
            own = msgspec.structs.replace(
                settings, certificate=str(tls / "tls.crt"), key=str(tls / "tls.key"), ca=str(tls / "ca.crt")
            )
            self._clients[name] = Client(own, seconds=20)
        return self._clients[name]

    def reader(self) -> Client:
        """Return the reader's connection; it is closed when the witness is stopped."""
        if "kim" not in self._clients:
            self._clients["kim"] = Client(self.reader_settings(), seconds=20)
        return self._clients["kim"]

    def records(self, start: int = 0) -> list[bytes]:
        """Return the stored bytes of all records from ``start`` on; what this witness told since its start is not asked again."""
        self._read += [content for _, content in self.reader().records(len(self._read))]
        return self._read[start:]


def wait_for(condition: object, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.02)
    message = f"it did not become true within {seconds} s"
    raise AssertionError(message)
