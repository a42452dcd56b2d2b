"""Look at a host's files below a root, without being led out of it and without reading more than a limit.

Each path is walked name by name on open folders, so that a symbolic link cannot be put in its place meanwhile. A link's target
counts from the root, as it does for whoever runs there; a mounted image of another host therefore never shows files of this one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 4 << 20
_MOST_LINKS = 40
_MOST_NAMES = 20_000
# FS_IOC_GETFLAGS and the flags "immutable" and "append only" (linux/fs.h).
_GET_FLAGS, _IMMUTABLE, _APPEND = 0x80086601, 0x10, 0x20
_ACL = "system.posix_acl_access"
_USER, _GROUP = 0x02, 0x08


class Root:
    """The files of one host.

    Attributes:
        unread: path -> why it could not be read; a missing path is no such thing.
    """

    def __init__(self, root: Path) -> None:
        self.path = root
        self.is_live = os.path.realpath(root) == "/"
        self.unread: dict[str, str] = {}

    def text(self, path: str) -> str | None:
        """Return a regular file's text, at most 4 MiB of it; None when it is missing or cannot be read."""
        try:
            with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                content = os.read(descriptor, MOST_BYTES + 1)
        except OSError as error:
            self._note(path, error)
            return None
        if len(content) > MOST_BYTES:
            self.unread[path] = "it is larger than 4 MiB"
            return None
        return content.decode("utf-8", "backslashreplace")

    def digest(self, path: str, most: int) -> str:
        """Return the SHA-256 of a regular file's first ``most`` bytes; empty when it cannot be read."""
        total = hashlib.sha256()
        try:
            with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return ""
                while most > 0 and (block := os.read(descriptor, min(most, 1 << 20))):
                    total.update(block)
                    most -= len(block)
        except OSError as error:
            self._note(path, error)
            return ""
        return total.hexdigest()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; empty when it is missing or cannot be read."""
        try:
            with self._opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                found = sorted(os.listdir(descriptor))  # noqa: PTH208 - of a descriptor
        except NotADirectoryError:
            return []
        except OSError as error:
            self._note(path, error)
            return []
        if len(found) > _MOST_NAMES:
            self.unread[path] = f"it holds more than {_MOST_NAMES} names; the others were not looked at"
        return found[:_MOST_NAMES]

    def status(self, path: str, *, follow: bool = True) -> os.stat_result | None:
        """Return what a path is, following a link at its end or not; None when it is missing or cannot be reached."""
        try:
            with self._opened(path, os.O_PATH, follow=follow) as descriptor:
                return os.fstat(descriptor)
        except OSError as error:
            self._note(path, error)
            return None

    def named_in_acl(self, path: str) -> list[str]:
        """Return the entries of an access list that name users or groups, as ``user:1001:rw-``."""
        try:
            with self._opened(path, os.O_PATH) as descriptor:
                content = os.getxattr(f"/proc/self/fd/{descriptor}", _ACL)
        except OSError:
            return []  # no list, or a file system without lists: the mode says all
        found = []
        for tag, permission, number in struct.iter_unpack(
            "<HHI", content[4 : 4 + (len(content) - 4) // 8 * 8]
        ):
            if tag in {_USER, _GROUP}:
                letters = "".join(
                    letter if permission & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1))
                )
                found.append(f"{'user' if tag == _USER else 'group'}:{number}:{letters}")
        return found

    def attributes(self, path: str) -> str | None:
        """Return ``a`` for append only and ``i`` for immutable; None where the file system does not tell."""
        try:
            with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                content = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
        except OSError:
            return None
        flags = int.from_bytes(content, "little")
        return ("a" if flags & _APPEND else "") + ("i" if flags & _IMMUTABLE else "")

    def _note(self, path: str, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self.unread[path] = error.strerror or type(error).__name__

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int, *, follow: bool = True) -> Iterator[int]:
        chain = [os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            self._walk(chain, path, follow=follow)
            if flags == os.O_PATH:
                yield chain[-1]
                return
            # The descriptor is of what was walked to, whatever stands at the path now.
            chain.append(os.open(f"/proc/self/fd/{chain[-1]}", flags | os.O_CLOEXEC))
            yield chain[-1]
        finally:
            for descriptor in chain:
                os.close(descriptor)

    def _walk(self, chain: list[int], path: str, *, follow: bool) -> None:
        waiting = [part for part in reversed(path.split("/")) if part not in {"", "."}]
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                if len(chain) > 1:
                    os.close(chain.pop())
                continue
            descriptor = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=chain[-1])
            if not stat.S_ISLNK(os.fstat(descriptor).st_mode) or (not waiting and not follow):
                chain.append(descriptor)
                continue
            target = os.readlink("", dir_fd=descriptor)
            os.close(descriptor)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(40, "too many symbolic links")
            if target.startswith("/"):
                while len(chain) > 1:
                    os.close(chain.pop())
            waiting += [one for one in reversed(target.split("/")) if one not in {"", "."}]
