"""Clear mail made for it in a scratch folder, and see whether that was recorded here and arrived at the witness."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import MailwitnessError
from mailwitness.scenarios import live
from mailwitness.witness import config
from mailwitness.witness.client import Client

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE_SECONDS = 0.5
# A script ran minutes ago, on another host: so many records back its trace is looked for.
NEWEST = 200_000


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One deed.

    Attributes:
        is_recorded: None when it could not be done.
        has_arrived: None when no witness was asked.
    """

    deed: str
    is_recorded: bool | None
    has_arrived: bool | None
    lines: list[str]


def run(
    scratch: Path, logs: list[Path], *, deeds: list[str], reader: Path | None, seconds: float
) -> list[Tried]:
    """Do each deed in a folder of its own below ``scratch``, which has to be watched for the test to mean something.

    Args:
        scratch: folder that does not exist yet, below one that the audit rules watch.
        logs: files of this host that should notice.
        deeds: names; empty does all.
        reader: settings of a reader of the witness, TOML.
        seconds: how long a record may take to arrive.

    Raises:
        ConfigError: the folder is not a safe one, or the settings are wrong.
        WitnessError: the witness does not answer.
    """
    home = live.safe(scratch)
    return [_try(name, home / name, logs, reader, seconds) for name in deeds or sorted(live.deeds())]


def _try(name: str, scratch: Path, logs: list[Path], reader: Path | None, seconds: float) -> Tried:
    start = _size(reader) if reader else 0
    try:
        done = live.perform(name, scratch, logs)
    except MailwitnessError as error:
        return Tried(deed=name, is_recorded=None, has_arrived=None, lines=[f"not done: {error}"])
    arrived = _arrived(reader, start, str(scratch).encode(), seconds) if reader else None
    return Tried(deed=name, is_recorded=done.is_seen, has_arrived=arrived, lines=done.lines)


def _size(reader: Path) -> int:
    with Client(config.read(reader, config.Reader)) as client:
        return client.head().head.size


def _arrived(reader: Path, start: int, trace: bytes, seconds: float) -> bool:
    """Say whether a record that names the scratch folder reached the witness in time."""
    end = time.monotonic() + seconds
    with Client(config.read(reader, config.Reader)) as client:
        while True:
            if any(trace in body for _, body in client.records(start)):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE_SECONDS)


def has_arrived(trace: str, reader: Path, *, seconds: float) -> bool:
    """Say whether a record with the trace that a self-test script printed is among the newest of the witness.

    Raises:
        ConfigError: the settings of the reader are wrong.
        WitnessError: the witness does not answer.
    """
    return _arrived(reader, max(0, _size(reader) - NEWEST), trace.encode(), seconds)
