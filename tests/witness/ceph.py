"""A real object store with Object Lock: Ceph's RADOS gateway with one monitor and one object daemon in memory, on loopback.

Object Lock of other stand-ins is no proof: some let a COMPLIANCE retention be shortened. The cluster holds nothing but the test's objects, needs
about 13 seconds to come up and ends with the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

ACCESS, SECRET = "WITNESSTEST", "a synthetic secret of this test"
PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_SECONDS = 90
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in opened]


class Ceph:
    """A cluster in a folder; stopped by its own process numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = _free_ports(3)
        self.endpoint = f"http://127.0.0.1:{self._ports[2]}"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGKILL)
            process.wait(10)

    def _start(self) -> None:
        for name in ("mon", "osd", "rgw", "out"):
            (self.folder / name).mkdir()
        fsid = str(uuid.uuid4())
        monitors = f"[v2:127.0.0.1:{self._ports[0]},v1:127.0.0.1:{self._ports[1]}]"
        frontend = f"beast endpoint=127.0.0.1:{self._ports[2]}"
        text = _CONFIG.format(folder=self.folder, fsid=fsid, monitors=monitors, frontend=frontend)
        (self.folder / "ceph.conf").write_text(text, "utf-8")
        keyring, monmap = self.folder / "keyring", self.folder / "monmap"
        self._run(
            "ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"
        )
        allowed = [part for kind in ("mon", "osd", "mgr") for part in ("--cap", kind, "allow *")]
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *allowed)
        self._run("monmaptool", "--create", "--clobber", "--addv", "a", monitors, "--fsid", fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._daemon("ceph-mon", "-i", "a", "-f")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "-i", "0", "-f")
        keys = (f"--access-key={ACCESS}", f"--secret-key={SECRET}")
        self._run("radosgw-admin", "user", "create", "--uid=witness", "--display-name=witness", *keys)
        self._daemon("radosgw", "-n", "client.admin", "-f")
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > end:
                message = f"radosgw did not answer within {_START_SECONDS} s"
                raise TimeoutError(message)
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._ports[2]), timeout=2) as one:
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return one.recv(12)[-3:] == b"200"
        except OSError:
            return False

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            self._command(program, arguments), check=True, capture_output=True, timeout=_START_SECONDS
        )

    def _daemon(self, program: str, *arguments: object) -> None:
        with (self.folder / "out" / f"{program}.txt").open("wb") as out:
            self._running.append(subprocess.Popen(self._command(program, arguments), stdout=out, stderr=out))

    def _command(self, program: str, arguments: tuple[object, ...]) -> list[str]:
        found = shutil.which(program, path=_PATH) or program
        # The two tools for keys and maps know no such flag, and need none.
        config = [] if program in {"ceph-authtool", "monmaptool"} else ["-c", str(self.folder / "ceph.conf")]
        return [found, *config, *(str(one) for one in arguments)]


def missing() -> str:
    """Return which program of Ceph is not installed here; empty when all are."""
    return next((name for name in PROGRAMS if shutil.which(name, path=_PATH) is None), "")


# Without authentication the messengers have to use plain checksums: the secure mode needs keys.
_CONFIG = """[global]
fsid = {fsid}
mon host = {monitors}
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms client mode = crc
ms cluster mode = crc
ms service mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
mon allow pool size one = true
mon warn on pool no redundancy = false
run dir = {folder}/out
log file = {folder}/out/$name.log
admin socket = {folder}/out/$name.asok
mon data = {folder}/mon
osd data = {folder}/osd
keyring = {folder}/keyring
[client.admin]
rgw data = {folder}/rgw
rgw frontends = {frontend}
"""
