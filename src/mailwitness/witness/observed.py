"""What the shipper saw, in the form that the witness stores as the body of a record: msgpack of the fields of Observed."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Kind = Literal[
    "line",  # a line of a log
    "journal",  # an entry of the journal in its export format
    "index",  # a record of a Dovecot index
    "message",  # a message as it was delivered, or as it was changed later
    "message_gone",  # a message that was there is no more
    "rotated",  # the path leads to another file; the old one still has a name
    "removed",  # the file lost its last name while we had it open
    "truncated",  # the file became shorter than what was shipped
    "edited",  # what was shipped before differs now
    "gap",  # the file is gone and what it held since the last visit is unknown
    "held",  # reading had to wait because the queue was full
    "started",  # the shipper began to follow
]
HAPPENINGS = frozenset(
    {"rotated", "removed", "truncated", "edited", "gap", "held", "started", "message_gone"}
)


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the shipper.

    Attributes:
        kind: what it is.
        path: the file, mbox or Maildir folder it was seen in; a name for the journal.
        file: identity of the file: device, inode and generation; name of the message; cursor.
        offset: byte offset in the file; 0 where there is none.
        body: the bytes themselves: line with its line feed, header block, message.
        seen_us: when the shipper saw it, microseconds since 1970 UTC; the host's clock, which its root can set.
        facts: further facts: digests and sizes.
    """

    kind: Kind
    path: str
    file: str
    offset: int = 0
    body: bytes = b""
    seen_us: int = 0
    facts: dict[str, str | int] = {}

    def key(self) -> bytes:
        """Return the content key: the same thing seen again, after a crash or a loss of all state, has the same key."""
        # The time stamp of a file is no content: touching a message makes no other message.
        stable = {name: value for name, value in self.facts.items() if name != "changed_us"}
        facts = msgspec.msgpack.encode(stable, order="sorted")
        digest = hashlib.sha256(self.body).digest() + hashlib.sha256(facts).digest()
        place = f"{self.kind}\0{self.path if self.kind != 'line' else ''}\0{self.file}\0{self.offset}\0"
        return hashlib.sha256(place.encode("utf-8", "surrogateescape") + digest).digest()

    def packed(self) -> bytes:
        """Return the body of the witness's record."""
        return msgspec.msgpack.encode(self)


def parse(body: bytes) -> Observed | None:
    """Return what a record's body says, or None when it is nothing of a shipper's."""
    try:
        return msgspec.msgpack.decode(body, type=Observed)
    except (
        msgspec.MsgspecError,
        ValueError,
        RecursionError,
    ):  # a text that is no UTF-8 is a plain ValueError
        return None


def shown(path: str) -> str:
    """Return a path as text that can be packed: bytes that are no UTF-8 become visible escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
