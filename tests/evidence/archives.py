"""Hostile and ordinary archives, built small."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda content: gzip.compress(content, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


def make_zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def make_tar(*members: tuple[str, bytes] | tarfile.TarInfo, layout: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=layout) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def overlapping_zip() -> bytes:
    """Three members in the directory, all at the same bytes (D. Fifield, A better zip bomb, 2019)."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = bytes(100_000)
    packed = kernel.compress(content) + kernel.flush()
    crc = zlib.crc32(content)
    body = (
        struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), len(content), 1, 0)
        + b"a"
        + packed
    )
    directory = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), len(content), 1, 0, 0, 0, 0, 0, 0
        )
        + name
        for name in (b"a", b"b", b"c")
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), len(body), 0)
    return body + directory + end


def nested_gzip() -> bytes:
    content = b"end"
    for _ in range(30):
        content = COMPRESS["gz"](content)
    return content


def gzip_of_nulls(size: int) -> bytes:
    return gzip.compress(bytes(size), compresslevel=9, mtime=0)
