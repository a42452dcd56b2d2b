"""Text encodings: telling them apart, and rewriting text as UTF-8 without losing where each byte stood."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.blocks import BLOCK_BYTES, UTF8_BOM
from mailwitness.readers.index import RecordIndex, build_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    Counts = NDArray[np.uint64]

_BOMS = {
    "utf-8-sig": UTF8_BOM,
    "utf-32-le": codecs.BOM_UTF32_LE,  # before UTF-16, whose mark is the beginning of this one
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
_UNITS = {"utf-16-le": "<u2", "utf-16-be": ">u2", "utf-32-le": "<u4", "utf-32-be": ">u4"}
_SAMPLE_BYTES = 4096
# In UTF-16 logs nearly every second byte is zero; names in other scripts leave fewer.
_MOSTLY = 0.4
_RARELY = 0.05
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LATIN_WORD = re.compile(rb"(?<=[A-Za-z])[\xc0-\xff]|[\xc0-\xff](?=[A-Za-z])")
_REPLACEMENT = "\ufffd"
# Up to these characters UTF-8 takes one, two, three bytes (RFC 3629).
_LAST_OF_WIDTH = np.array([0x7F, 0x7FF, 0xFFFF], np.uint32)
_LAST_CHARACTER = 0x10FFFF
_HIGH, _LOW = 0xD800, 0xDC00  # the first of 1024 high and of 1024 low surrogates
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")


def detect_encoding(head: bytes) -> str:
    """Return the encoding of a text from its first bytes (64 KiB or more are advisable).

    Returns:
        `utf-8-sig`, `utf-16-le`, `utf-16-be`, `utf-32-le` or `utf-32-be` by byte order mark, the latter four
        also by their pattern of zero bytes; `latin-1` when bytes above 127 are never UTF-8 and stand in
        words; else `utf-8`, damaged UTF-8 included.
    """
    for encoding, mark in _BOMS.items():
        if head.startswith(mark) and not _is_utf16_nul(head, encoding):
            return encoding
    return _by_zeros(head[:_SAMPLE_BYTES]) or ("latin-1" if _is_latin(head) else "utf-8")


def _is_utf16_nul(head: bytes, encoding: str) -> bool:
    """Say whether what looks like the mark of UTF-32 is that of UTF-16 before a NUL character."""
    return encoding == "utf-32-le" and len(head) > len(codecs.BOM_UTF32_LE) and head[6:8] != b"\0\0"


def _by_zeros(sample: bytes) -> str | None:
    if len(sample) < len("ab".encode("utf-16-le")):
        return None
    data = np.frombuffer(sample[: len(sample) // 4 * 4], np.uint8).reshape(-1, 4) == 0
    zeros = data.mean(axis=0)
    if (zeros[1:] > _MOSTLY).all() and zeros[0] < _RARELY:
        return "utf-32-le"
    if (zeros[:3] > _MOSTLY).all() and zeros[3] < _RARELY:
        return "utf-32-be"
    if (zeros[1::2] > _MOSTLY).all() and (zeros[0::2] < _RARELY).all():
        return "utf-16-le"
    if (zeros[0::2] > _MOSTLY).all() and (zeros[1::2] < _RARELY).all():
        return "utf-16-be"
    return None


def _is_latin(head: bytes) -> bool:
    high = len(_HIGH_BYTE.findall(head))
    return high > 0 and not _UTF8_SEQUENCE.search(head) and 2 * len(_LATIN_WORD.findall(head)) > high


@dataclass(frozen=True, eq=False, slots=True)
class OffsetMap:
    """Turn offsets in a rewritten text into offsets in its original.

    `utf8` and `original` are the offsets, in bytes, at which the blocks of the rewritten and of the original
    text start, with the ends of both last. `replaced` counts what was not valid in the original encoding and
    became U+FFFD. The original must stay readable at `path`.
    """

    path: Path
    encoding: str
    utf8: Counts
    original: Counts
    replaced: int

    def original_offset(self, utf8_offset: int) -> int:
        """Return where in the original the character at `utf8_offset` starts."""
        return int(self.original_offsets(np.array([utf8_offset], np.uint64))[0])

    def original_offsets(self, utf8_offsets: Counts) -> Counts:
        """Return the same for many offsets in rising order; each block of the original is read once."""
        found = np.empty(len(utf8_offsets), np.uint64)
        block = np.searchsorted(self.utf8, utf8_offsets, "right") - 1
        with self.path.open("rb", buffering=0) as stream:
            for number in np.unique(block).tolist():
                first, last = np.searchsorted(block, [number, number + 1]).tolist()
                start = int(self.original[number])
                end = int(self.original[min(number + 1, len(self.original) - 1)])
                stream.seek(start)
                starts = np.cumsum(_widths(stream.read(end - start), self.encoding))
                inside = (utf8_offsets[first:last] - self.utf8[number]).astype(np.int64)
                units = np.searchsorted(starts, inside, "right")
                found[first:last] = start + units * _unit_bytes(self.encoding)
        return found

    def original_index(self, index: RecordIndex) -> RecordIndex:
        """Return an index of the rewritten text as an index of the original; lines stay the same."""
        offsets = self.original_offsets(index.offsets)
        ends = self.original_offsets(index.offsets + index.lengths)
        return build_index([offsets], [ends - offsets], [index.lines.astype(np.uint64)])


def to_utf8(path: Path, out_path: Path, encoding: str) -> OffsetMap:
    """Rewrite a text as UTF-8 without byte order mark, block by block, and return the map back.

    Args:
        path: the original; it is not changed.
        out_path: file to write, replaced if it exists.
        encoding: as `detect_encoding` returns it.
    """
    utf8, original, replaced = [0], [], 0
    with path.open("rb", buffering=0) as source, out_path.open("wb") as target:
        mark = _BOMS.get(encoding, b"")
        position = len(mark) if source.read(len(mark)) == mark else 0
        source.seek(position)
        original.append(position)
        for block in _whole_characters(source, encoding):
            text = block.decode(encoding, "replace").encode() if _rewrites(encoding) else block
            replaced += _replaced(block, text, encoding)
            target.write(text)
            utf8.append(utf8[-1] + len(text))
            original.append(original[-1] + len(block))
    return OffsetMap(path, encoding, np.array(utf8, np.uint64), np.array(original, np.uint64), replaced)


def _rewrites(encoding: str) -> bool:
    return not encoding.startswith("utf-8")


def _unit_bytes(encoding: str) -> int:
    return np.dtype(_UNITS[encoding]).itemsize if encoding in _UNITS else 1


def _whole_characters(stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield the rest of a stream in blocks that end between characters; half a unit comes alone."""
    size = _unit_bytes(encoding)
    kept = b""
    while block := stream.read(BLOCK_BYTES):
        block = kept + block
        end = len(block) // size * size
        if encoding.startswith("utf-16") and end and _is_high(block[end - 2 : end], encoding):
            end -= 2
        kept = block[end:]
        if end:
            yield block[:end]
    end = len(kept) // size * size
    yield from (piece for piece in (kept[:end], kept[end:]) if piece)


def _is_high(unit: bytes, encoding: str) -> bool:
    return int.from_bytes(unit, "little" if encoding.endswith("le") else "big") & 0xFC00 == _HIGH


def _units(block: bytes, encoding: str) -> NDArray[np.uint32]:
    """Return the code units of a block, half a unit at its end left out."""
    kind = np.dtype(_UNITS.get(encoding, "u1"))
    return np.frombuffer(block, kind, len(block) // kind.itemsize).astype(np.uint32)


def _widths(block: bytes, encoding: str) -> NDArray[np.int64]:
    """Return how many bytes of UTF-8 each code unit became; of a surrogate pair the first unit has them all.

    A unit that is no character became U+FFFD, three bytes, and so did half a unit at the end.
    """
    units = _units(block, encoding)
    if not _rewrites(encoding):
        return np.ones(len(units), np.int64)
    widths = np.searchsorted(_LAST_OF_WIDTH, units) + 1
    widths[units > _LAST_CHARACTER] = len(_REPLACEMENT.encode())
    if encoding.startswith("utf-16") and len(units):
        is_pair = (units[:-1] & 0xFC00 == _HIGH) & (units[1:] & 0xFC00 == _LOW)
        widths[:-1][is_pair] = 4
        widths[1:][is_pair] = 0
    is_half = len(block) % _unit_bytes(encoding) > 0
    return np.append(widths, 3) if is_half else widths


def _replaced(block: bytes, text: bytes, encoding: str) -> int:
    if not _rewrites(encoding):
        return 0
    before = int(np.count_nonzero(_units(block, encoding) == ord(_REPLACEMENT)))
    return text.count(_REPLACEMENT.encode()) - before
