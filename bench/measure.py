"""Measure a whole process: wall time, processor time and peak memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# ru_maxrss counts kilobytes on Linux and bytes on macOS.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
# Others may use this share of the machine before a row is marked as disturbed.
BUSY_LIMIT = 0.12
BUSY_WINDOW_SECONDS = 0.6
PATIENCE_SECONDS = 5.0


class Measurement(NamedTuple):
    """One process from start to exit; seconds and bytes."""

    wall: float
    cpu: float
    rss: int
    code: int
    first_finding: float | None
    error: str


def run(command: list[str], environment: dict[str, str] | None = None) -> Measurement:
    """Run a command and measure it.

    The runner stays small on purpose: Linux hands the memory of the forking process
    to the child's peak.

    Args:
        command: program and arguments; its output is thrown away.
        environment: added to our own.

    Returns:
        The measurement; `first_finding` from the event the program writes on stderr,
        `error` the end of stderr when the exit code says failure.
    """
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return Measurement(
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * RSS_UNIT,
        child.returncode,
        _first_finding(text),
        text[-2000:],
    )


def _first_finding(text: str) -> float | None:
    """Return the seconds of the first_finding event, if the program wrote one."""
    for line in text.splitlines():
        if line.startswith("{") and '"first_finding"' in line:
            return float(json.loads(line)["seconds"])
    return None


def busy() -> float:
    """Return which share of all processors others are using now; 0 where unknown."""
    before, after = _ticks(), None
    if before is None:
        return 0.0
    time.sleep(BUSY_WINDOW_SECONDS)
    after = _ticks()
    if after is None or after[1] == before[1]:
        return 0.0
    return 1 - (after[0] - before[0]) / (after[1] - before[1])


def _ticks() -> tuple[int, int] | None:
    """Return idle and total processor ticks since start-up (proc(5), /proc/stat)."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    fields = [int(field) for field in path.read_text("ascii").splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def wait_until_idle() -> float:
    """Wait a while for a quiet machine; return how busy it is when measuring begins."""
    end = time.perf_counter() + PATIENCE_SECONDS
    share = busy()
    while share > BUSY_LIMIT and time.perf_counter() < end:
        share = busy()
    return share


def warm(path: Path) -> None:
    """Read a file once, so that every contender finds it in the page cache."""
    with path.open("rb", buffering=0) as handle:
        while handle.read(16 * 1024 * 1024):
            pass


def machine() -> dict[str, object]:
    """Describe where the figures come from."""
    from importlib.metadata import version  # noqa: PLC0415 - keeps the runner's memory small

    return {
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
        "system": platform.platform(),
        "cores": os.cpu_count(),
    }
