"""Reading of files in blocks, and the words shared by all readers: damage, its place and its reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

# Blocks of 1 MiB are hashed and scanned almost as fast as larger ones and cost little memory (measured).
BLOCK_BYTES = 1 << 20
# No single audit record known is larger than 1 MiB; 16 MiB leaves room and bounds memory.
MAX_RECORD_BYTES = 16 << 20
# All bytes that may stand alone on a line without making it a record. DuckDB skips exactly such lines.
BLANK_BYTES = b" \t\r\v\f"
UTF8_BOM = b"\xef\xbb\xbf"


class Damage(msgspec.Struct, frozen=True):
    """Describe bytes of an exhibit that are not a record.

    `offset` and `length` count bytes of the original file, `line` is the 1-based line on which the damage
    starts, `reason` is a short sentence for the quarantine list.
    """

    offset: int
    length: int
    line: int
    reason: str


def blocks(path: Path, size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the file's bytes in order in blocks of `size_bytes`; the last one may be shorter."""
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(size_bytes):
            yield block


class RawRecord(msgspec.Struct, frozen=True):
    """Hold one record that a reader of its own format read.

    `data` are its members as JSON values; `offset` and `length` count bytes of the original file, `line` is 1-based
    and 0 where the format has no lines; `salvaged` says that only parts of it could be read.
    """

    data: dict[str, Any]  # Any: JSON values
    offset: int
    length: int
    line: int
    salvaged: bool = False


def is_utf8(content: bytes) -> bool:
    """Say whether bytes are text in UTF-8."""
    return content.isascii() or content.decode("utf-8", "replace").encode() == content
