"""Hand a baseline's signature to the witness, so that the copy on the host can be shown to be the one that was taken."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from mailwitness.witness import config
from mailwitness.witness.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from mailwitness.posture.baseline import Baseline


def seal(baseline: Baseline, settings: Path) -> str:
    """Append what was signed, and return where the witness has it.

    Args:
        baseline: signed.
        settings: of the shipper whose name it goes under, TOML.

    Raises:
        ConfigError: the settings are wrong.
        WitnessError: the witness does not answer or does not take it.
    """
    body = msgspec.json.encode(
        {
            "kind": "posture baseline",
            "made": baseline.made,
            "host": baseline.host,
            "signed": baseline.text().decode(),
            "key": baseline.key,
            "signature": baseline.signature,
        }
    )
    with Client(config.read(settings, config.Ship)) as client:
        client.append([(hashlib.sha256(body).digest(), body)])
    return f"sealed in the witness under the content key {hashlib.sha256(body).hexdigest()}"
