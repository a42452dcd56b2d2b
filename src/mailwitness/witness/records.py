"""A record as the witness keeps it, and how records lie in a segment.

One frame is::

    00 00 00 5a        length of the payload, big-endian
    9b 3e 12 c4        CRC-32 of the payload
    01                 version of the payload
    01                 kind: see Kind
    00 06 4c ...       when the witness received it, microseconds since 1970 UTC, 8 bytes
    32 bytes           content key, chosen by the client
    04 6d 61 69 6c     length and name of the client, from its certificate
    ...                body

The payload is the leaf of the tree, so that client, time and key are proved together with the body.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import BinaryIO, NamedTuple

VERSION = 1
KEY_BYTES = 32
NAME_BYTES = 255
FRAME = struct.Struct(">II")
_PAYLOAD = struct.Struct(">BBQ32sB")
# A record may not be larger, so that a damaged length can never ask for the memory of the machine.
LARGEST_PAYLOAD = 64 << 20


class Kind(enum.IntEnum):
    """What a record's body is."""

    SYSLOG = 0  # a syslog frame as it came
    SHIPPED = 1  # a shipper's envelope
    SYSLOG_CUT = 2  # the beginning of a syslog frame that was larger than allowed
    MALFORMED = 3  # the beginning of what was no syslog frame
    WITNESS = 4  # a statement of the witness itself


class Entry(NamedTuple):
    """What a client hands over: kind, name of the client, content key of 32 bytes, body."""

    kind: int
    client: str
    key: bytes
    body: bytes


class Record(NamedTuple):
    """A stored record; ``received_us`` is in microseconds since 1970 UTC."""

    kind: int
    client: str
    key: bytes
    body: bytes
    received_us: int


def payload(entry: Entry, received_us: int) -> bytes:
    """Return the bytes that are hashed and stored.

    Raises:
        ValueError: the name is longer than 255 bytes, or the key is not 32 bytes long.
    """
    name = entry.client.encode()
    if len(name) > NAME_BYTES or len(entry.key) != KEY_BYTES:
        message = "a client's name has at most 255 bytes and a content key exactly 32"
        raise ValueError(message)
    return _PAYLOAD.pack(VERSION, entry.kind, received_us, entry.key, len(name)) + name + entry.body


def parse(content: bytes) -> Record:
    """Return the record of a payload.

    Raises:
        ValueError: the bytes are no payload.
    """
    if len(content) < _PAYLOAD.size:
        message = "it is shorter than the head of a record"
        raise ValueError(message)
    version, kind, received_us, key, length = _PAYLOAD.unpack_from(content)
    if version != VERSION or len(content) < _PAYLOAD.size + length:
        message = f"it is no record of version {VERSION}"
        raise ValueError(message)
    start = _PAYLOAD.size + length
    client = content[_PAYLOAD.size : start].decode("utf-8", "replace")
    return Record(kind, client, key, content[start:], received_us)


def frame(content: bytes) -> bytes:
    """Return a payload with its length and checksum in front."""
    return FRAME.pack(len(content), zlib.crc32(content)) + content


class Frames:
    """Reads frames of an open file in order, and says where the sound ones end.

    Attributes:
        offset: behind the last sound frame.
    """

    def __init__(self, file: BinaryIO, offset: int, end: int) -> None:
        self._file = file
        self.offset = offset
        self.end = end

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> tuple[int, bytes]:
        """Return offset and payload of the next frame; stop at the first that is cut off or damaged."""
        content = self._next()
        if content is None:
            raise StopIteration
        start = self.offset
        self.offset += FRAME.size + len(content)
        return start, content

    def _next(self) -> bytes | None:
        read = self._file.read
        self._file.seek(self.offset)  # within the buffer of the file: free
        head = read(FRAME.size)
        if self.offset + FRAME.size > self.end or len(head) < FRAME.size:
            return None
        length, checksum = FRAME.unpack(head)
        if length > LARGEST_PAYLOAD or self.offset + FRAME.size + length > self.end:
            return None
        content: bytes = read(length)
        return content if len(content) == length and zlib.crc32(content) == checksum else None
