"""The canary: a line with a nonce, written on the host and read back from the witness, is the only proof that shipping works."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from mailwitness.witness.observed import parse
from mailwitness.witness.records import parse as parse_record
from mailwitness.witness.ship import append_canary

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.witness.client import Client

_PAUSE_SECONDS = 0.1


def measure(state: Path, reader: Client, *, seconds: float) -> float | None:
    """Return after how many seconds a nonce written now could be read from the witness; None when it did not arrive.

    Args:
        state: folder of the running shipper, which follows the canary's file there.
        reader: reads from the witness.
        seconds: how long to wait.
    """
    nonce = secrets.token_hex(16)
    start = reader.head().head.size
    begun = time.monotonic()
    append_canary(state / "canary.log", nonce)
    while time.monotonic() - begun < seconds:
        for number, payload in reader.records(start):
            start = number + 1
            seen = parse(parse_record(payload).body)
            if seen is not None and seen.kind == "line" and nonce.encode() in seen.body:
                return time.monotonic() - begun
        time.sleep(_PAUSE_SECONDS)
    return None
