"""The attributes of a file that the kernel guards: append-only and immutable.

Root can take them off again, but not silently where the ioctl is audited, and not from inside a service without CAP_LINUX_IMMUTABLE.

Source: Linux `include/uapi/linux/fs.h`: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL, FS_APPEND_FL; ioctl_iflags(2).
"""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_GET, _SET = 0x80086601, 0x40086602
IMMUTABLE, APPEND_ONLY = 0x10, 0x20


def guard(path: Path, flag: int) -> str:
    """Set ``flag`` on a file in place of the other one.

    Returns:
        An empty text, or why it could not be done.
    """
    return _change(path, flag)


def release(path: Path) -> str:
    """Take both flags off; returns an empty text, or why it could not be done."""
    return _change(path, 0)


def guards(path: Path) -> int:
    """Return the guarding flags of a file; 0 where the file system has none."""
    try:
        return _flags(path) & (IMMUTABLE | APPEND_ONLY)
    except OSError:
        return 0


def _flags(path: Path) -> int:
    import fcntl  # noqa: PLC0415 - absent on Windows

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        buffer = bytearray(8)
        fcntl.ioctl(descriptor, _GET, buffer)
    finally:
        os.close(descriptor)
    return int(struct.unpack_from("=I", buffer)[0])


def _change(path: Path, flag: int) -> str:
    if sys.platform != "linux":
        return "only Linux file systems have these flags"
    import fcntl  # noqa: PLC0415 - absent on Windows

    try:
        wanted = _flags(path) & ~(IMMUTABLE | APPEND_ONLY) | flag
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _SET, bytearray(struct.pack("=Q", wanted)))
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"{error.strerror or error}"
    return ""
