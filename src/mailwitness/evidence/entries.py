"""What an archive holds, as its format's reader hands it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from mailwitness.evidence.streams import Stream


class Entry:
    """One member of an archive; its stream is valid until the next entry is asked for.

    Attributes:
        name: as in the archive, bytes that are no text as surrogates; never used as a path on disk.
        stream: its content.
        notes: what is odd about it, for the report.
        modified: when it was last written, seconds since 1970 UTC as the archive says; 0 when it does not.
    """

    def __init__(self, name: str, stream: Stream, notes: tuple[str, ...] = (), modified: int = 0) -> None:
        self.name = name
        self.stream = stream
        self.notes = notes
        self.modified = modified


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A member that is not extracted, or (with an empty name) something wrong with the whole archive."""

    name: str
    reason: str
    remedy: str
    blocking: bool = True


def notes_on_name(name: str) -> tuple[str, ...]:
    """Return what is suspicious about a member's name.

    Such members are extracted all the same: content goes to disk under its digest, so no name can lead
    writing anywhere, and refusing them would let an intruder hide evidence behind a bad name.
    """
    parts = name.replace("\\", "/").split("/")
    notes = []
    if ".." in parts:
        notes.append("its name climbs out of the archive with '..'")
    if name.startswith(("/", "\\")) or parts[0].endswith(":"):
        notes.append("its name is an absolute path")
    return tuple(notes)
