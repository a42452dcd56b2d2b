"""The reader of Sieve scripts: the whole text as one setting of its mailbox; what it does is read later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.readers import setting_file
from mailwitness.readers.blocks import Damage, RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The same script in two copies of a host was there twice.
EACH_PLACE_COUNTS = True


def read_named(path: Path, name: str) -> Iterator[RawRecord | Damage]:
    """Yield the script as one settings snapshot.

    A script: ``if header :contains "subject" "alert" { discard; }``
    """
    text = setting_file.read(path)
    if isinstance(text, Damage):
        yield text
        return
    found = setting_file.place(path, name)
    found["Settings"]["Text"] = text
    yield RawRecord({"Kind": "SieveScript", **found}, 0, path.stat().st_size, 1)
