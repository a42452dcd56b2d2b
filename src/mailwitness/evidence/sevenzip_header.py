"""The directory of a 7-Zip archive: blocks of compressed bytes, and the members that stand in them one behind the other.

Source: 7zFormat.txt and Methods.txt of the LZMA SDK. All numbers come from the archive, so each is compared with the bytes
that are there before anything is made of it.
"""

from __future__ import annotations

import msgspec

# What may be claimed for the directory: 100,000 members with names of 300 signs are 60 MB.
HEADER_BYTES = 64 << 20
_NAME_SIGNS = 1024
_END, _HEADER, _ARCHIVE_PROPERTIES, _MORE_STREAMS, _MAIN_STREAMS, _FILES = range(6)
_PACK, _UNPACK, _SUBSTREAMS, _SIZE, _CRC, _FOLDER, _UNPACK_SIZE, _COUNTS = range(6, 14)
_EMPTY_STREAM, _EMPTY_FILE, _NAMES = 14, 15, 17
_MODIFIED, _ATTRIBUTES = 0x14, 0x15
# Seconds between 1601 and 1970, and the end of the year 9999.
_EPOCH_SECONDS, _LATEST_SECONDS = 11_644_473_600, 253_402_300_800
_UNIX_MODE, _FILE_TYPE, _LINK, _REPARSE = 0x8000, 0o170000, 0o120000, 0x400


class Coder(msgspec.Struct, frozen=True):
    """One step of decoding: its method as the SDK numbers them, and its settings."""

    method: bytes
    settings: bytes


class Block(msgspec.Struct):
    """Bytes that are decoded together.

    Attributes:
        coders: in the order in which packed bytes pass them; empty when they are no chain.
        start, packed: where the packed bytes are in the file.
        sizes: of the members in it, decoded; sums: their checksums.
    """

    coders: tuple[Coder, ...]
    streams: int
    size: int
    checksum: int | None = None
    start: int = 0
    packed: int = 0
    sizes: list[int] = []
    sums: list[int | None] = []


class Member(msgspec.Struct):
    """A member: a stream of a block, or a name without content."""

    name: str = ""
    has_content: bool = True
    is_folder: bool = False
    is_link: bool = False
    modified: int = 0


class _Reader:
    """The bytes of a directory, front to back; raises ValueError where they say what cannot be."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._place = 0
        self._most = most

    @property
    def left(self) -> int:
        return len(self._data) - self._place

    def take(self, size: int) -> bytes:
        if size > self.left:
            message = "it ends early"
            raise ValueError(message)
        self._place += size
        return self._data[self._place - size : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Return a number: as many leading ones in the first byte as bytes follow it."""
        first = self.byte()
        more = next((count for count in range(8) if not first & 0x80 >> count), 8)
        low = int.from_bytes(self.take(more), "little")
        return low | (first & (1 << max(0, 7 - more)) - 1) << 8 * more

    def count(self) -> int:
        """Return a number of things each of which takes some of the bytes that are left, or is a member."""
        found = self.number()
        if found > max(self.left, self._most) or found > HEADER_BYTES:
            message = f"it claims {found} of something"
            raise ValueError(message)
        return found

    def bits(self, count: int) -> list[bool]:
        packed = self.take((count + 7) // 8)
        return [bool(packed[n // 8] & 0x80 >> n % 8) for n in range(count)]

    def defined(self, count: int) -> list[bool]:
        return [True] * count if self.byte() else self.bits(count)

    def checksums(self, count: int) -> list[int | None]:
        return [int.from_bytes(self.take(4), "little") if known else None for known in self.defined(count)]

    def expect(self, kind: int) -> None:
        if self.byte() != kind:
            message = "its parts are not in their order"
            raise ValueError(message)


def directory(data: bytes, most: int) -> tuple[list[Block], list[Member] | None]:
    """Return the blocks and the members of a directory; None for the members when the directory itself is packed into the first block.

    Args:
        data: the directory.
        most: members to list at most.

    Raises:
        ValueError: it says what cannot be; half a sentence.
    """
    reader = _Reader(data, most)
    kind = reader.byte()
    if kind == 0x17:  # noqa: PLR2004 - an encoded header
        return _streams(reader, most), None
    if kind != _HEADER:
        message = "it does not begin as one"
        raise ValueError(message)
    part = _behind_properties(reader)
    if part == _MORE_STREAMS:
        _streams(reader, most)
        part = reader.byte()
    blocks = _streams(reader, most) if part == _MAIN_STREAMS else []
    part = reader.byte() if part == _MAIN_STREAMS else part
    members = _members(reader, most) if part == _FILES else []
    if part not in {_FILES, _END}:
        message = f"it has a part of the unknown kind {part}"
        raise ValueError(message)
    return blocks, members


def _behind_properties(reader: _Reader) -> int:
    """Return the kind of the first part that is about members."""
    part = reader.byte()
    if part != _ARCHIVE_PROPERTIES:
        return part
    while reader.byte() != _END:
        reader.take(reader.number())
    return reader.byte()


def _streams(reader: _Reader, most: int) -> list[Block]:
    start, sizes, blocks = 0, list[int](), list[Block]()
    part = reader.byte()
    if part == _PACK:
        start, sizes = _packed(reader)
        part = reader.byte()
    if part == _UNPACK:
        blocks = _blocks(reader)
        part = reader.byte()
    for block in blocks:
        block.start, block.packed = start, sum(sizes[: block.streams])
        start, sizes = start + block.packed, sizes[block.streams :]
        block.sizes, block.sums = [block.size], [block.checksum]
    if part == _SUBSTREAMS:
        _substreams(reader, blocks, most)
        part = reader.byte()
    if part != _END:
        message = "its list of streams never ends"
        raise ValueError(message)
    return blocks


def _packed(reader: _Reader) -> tuple[int, list[int]]:
    # Places count from behind the 32 bytes with which every archive begins.
    start, count = 32 + reader.number(), reader.count()
    sizes: list[int] = []
    while (part := reader.byte()) != _END:
        if part == _SIZE:
            sizes = [reader.number() for _ in range(count)]
        elif part == _CRC:
            reader.checksums(count)
        else:
            message = "its list of packed streams never ends"
            raise ValueError(message)
    return start, sizes


def _blocks(reader: _Reader) -> list[Block]:
    reader.expect(_FOLDER)
    count = reader.count()
    if reader.byte():
        message = "parts of it stand elsewhere"
        raise ValueError(message)
    blocks = [_block(reader) for _ in range(count)]
    reader.expect(_UNPACK_SIZE)
    for block, outputs, main in blocks:
        block.size = [reader.number() for _ in range(outputs)][main]
    found = [block for block, _, _ in blocks]
    while (part := reader.byte()) != _END:
        if part != _CRC:
            message = "its list of blocks never ends"
            raise ValueError(message)
        for block, checksum in zip(found, reader.checksums(count), strict=True):
            block.checksum = checksum
    return found


def _block(reader: _Reader) -> tuple[Block, int, int]:
    """Return a block, how many sizes are listed for it, and which of them is that of its result."""
    coders: list[Coder] = []
    inputs, outputs = 0, 0
    for _ in range(min(reader.number(), 33)):
        flags = reader.byte()
        method = reader.take(flags & 15)
        takes, gives = (reader.number(), reader.number()) if flags & 0x10 else (1, 1)
        coders.append(Coder(method, reader.take(reader.number()) if flags & 0x20 else b""))
        inputs, outputs = inputs + takes, outputs + gives
    if not coders or len(coders) > 32 or max(inputs, outputs) > 32 or not outputs:  # noqa: PLR2004 - as the SDK allows
        message = "a block of it is decoded in no way there is"
        raise ValueError(message)
    pairs = {}
    for _ in range(outputs - 1):
        taker = reader.number()
        pairs[reader.number()] = taker
    streams = max(1, inputs - (outputs - 1))
    packed = [reader.number() for _ in range(streams)] if streams > 1 else []
    main = next((number for number in range(outputs) if number not in pairs), 0)
    is_chain = inputs == outputs == len(coders) and not packed
    return Block(_chain(coders, pairs) if is_chain else (), streams, 0), outputs, main


def _chain(coders: list[Coder], pairs: dict[int, int]) -> tuple[Coder, ...]:
    """Return coders in the order of decoding: the first is the one into which no other's result goes."""
    taking = set(pairs.values())
    place: int | None = next((number for number in range(len(coders)) if number not in taking), None)
    found: list[Coder] = []
    while place is not None and place < len(coders) and len(found) < len(coders):
        found.append(coders[place])
        place = pairs.get(place)
    return tuple(found) if len(found) == len(coders) else ()


def _substreams(reader: _Reader, blocks: list[Block], most: int) -> None:
    counts = [1] * len(blocks)
    part = reader.byte()
    if part == _COUNTS:
        counts = [reader.number() for _ in blocks]
        if sum(counts) > most:
            message = f"it holds more than {most} members"
            raise ValueError(message)
        part = reader.byte()
    has_sizes = part == _SIZE
    for block, count in zip(blocks, counts, strict=True):
        # The last size is what the others leave.
        sizes = [reader.number() for _ in range(count - 1)] if has_sizes else [0] * (count - 1)
        block.sizes = [*sizes, max(0, block.size - sum(sizes))][:count]
        block.sums = [block.checksum] if count == 1 else [None] * count
    part = reader.byte() if has_sizes else part
    if part == _CRC:
        wanted = [(block, n) for block in blocks for n, known in enumerate(block.sums) if known is None]
        for (block, n), checksum in zip(wanted, reader.checksums(len(wanted)), strict=True):
            block.sums[n] = checksum
        part = reader.byte()
    if part != _END:
        message = "its list of members never ends"
        raise ValueError(message)


def _members(reader: _Reader, most: int) -> list[Member]:
    count = reader.number()
    if count > most:
        message = f"it holds more than {most} members"
        raise ValueError(message)
    members = [Member() for _ in range(count)]
    while (part := reader.byte()) != _END:
        _tell(members, part, _Reader(reader.take(reader.number()), most))
    return members


def _tell(members: list[Member], part: int, inner: _Reader) -> None:
    """Give members what one list of the directory says of them; lists of other kinds say nothing that is needed."""
    if part in {_EMPTY_STREAM, _EMPTY_FILE}:
        _empty(members, part, inner)
    elif part == _NAMES:
        _name(members, inner)
    elif part == _MODIFIED:
        for member, ticks in _values(members, inner, 8):
            seconds = ticks // 10_000_000 - _EPOCH_SECONDS
            member.modified = seconds if 0 <= seconds < _LATEST_SECONDS else 0
    elif part == _ATTRIBUTES:
        for member, bits in _values(members, inner, 4):
            is_unix_link = bool(bits & _UNIX_MODE) and bits >> 16 & _FILE_TYPE == _LINK
            member.is_link = is_unix_link or bool(bits & _REPARSE)


def _empty(members: list[Member], part: int, inner: _Reader) -> None:
    """Say which members have no content, or which of those are files nevertheless."""
    if part == _EMPTY_STREAM:
        for member, is_empty in zip(members, inner.bits(len(members)), strict=True):
            member.has_content, member.is_folder = not is_empty, is_empty
        return
    empty = [member for member in members if not member.has_content]
    for member, is_file in zip(empty, inner.bits(len(empty)), strict=True):
        member.is_folder = not is_file


def _name(members: list[Member], inner: _Reader) -> None:
    if inner.byte():
        message = "its names stand elsewhere"
        raise ValueError(message)
    # A stray byte would shift every sign behind it, so an odd length is cut.
    text = inner.take(inner.left // 2 * 2).decode("utf-16-le", "surrogatepass")
    for member, name in zip(members, text.split("\0"), strict=False):
        member.name = name[:_NAME_SIGNS]


def _values(members: list[Member], inner: _Reader, size: int) -> list[tuple[Member, int]]:
    known = inner.defined(len(members))
    if inner.byte():
        return []
    return [
        (member, int.from_bytes(inner.take(size), "little"))
        for member, has in zip(members, known, strict=True)
        if has
    ]
