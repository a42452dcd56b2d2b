"""Open a piece of evidence without being led elsewhere, kept waiting, or leaving a trace on it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import ChangedWhileRead, Unreadable
from mailwitness.evidence.names import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

# O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
# Linux only; elsewhere the access time is left to the mount options.
_NO_ACCESS_TIME = getattr(os, "O_NOATIME", 0)
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}

_REASONS = {
    errno.ENOENT: ("the file is not there", "Check the name, and that nothing removes files meanwhile."),
    errno.EACCES: (
        "permission to read it is missing",
        "Give the account read access to it.",
    ),
    errno.EPERM: (
        "permission to read it is missing",
        "Give the account read access to it.",
    ),
    errno.ELOOP: (
        "its symbolic links lead in a circle or were exchanged",
        "Name the file itself.",
    ),
    errno.ENAMETOOLONG: ("its path is too long for the system", "Give the inner folder by its own name."),
    errno.ENOTDIR: ("a part of its path is not a folder", "Give the path without links."),
    errno.EIO: ("the disk cannot read it", "Make an image of the disk and investigate the image."),
    errno.EMFILE: ("too many files are open", "Raise the limit of open files (ulimit -n) and run again."),
}


class Found(msgspec.Struct, frozen=True):
    """One file to take in.

    Attributes:
        path: the path as given, or the given folder joined with the way inside it.
        root: the given folder, whose inside must not be left; None for a file the user named.
    """

    path: Path
    root: Path | None = None

    @property
    def display_name(self) -> str:
        """Return the path in printable form."""
        return display_name(self.path)


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not taken in.

    Attributes:
        path: the file, or the archive it lies in.
        display_name: printable; for a member of an archive ``archive.zip/member``.
        reason: what is wrong, half a sentence.
        remedy: one imperative sentence.
        blocking: bytes that might be evidence stay unread, so nobody may call the result clear.
    """

    path: Path
    display_name: str
    reason: str
    remedy: str
    blocking: bool = True


class FileStat(msgspec.Struct, frozen=True):
    """What the file system says of a file; any difference means that the file may have changed.

    The change time (ctime) is part of it because an attacker can set the modification time back, but not it.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStat:
        """Take the five values out of a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def refuse(path: Path, error: Unreadable | ChangedWhileRead, *, blocking: bool = True) -> Refused:
    """Turn an error about one file into an item, so that the other files go on."""
    return Refused(
        path=path,
        display_name=display_name(path),
        reason=error.message,
        remedy=error.remedy,
        blocking=blocking,
    )


def explain(path: Path, error: OSError | ValueError) -> Unreadable:
    """Return the error a person can act on for what the operating system said."""
    number = error.errno if isinstance(error, OSError) else None
    told = str(error.strerror) if isinstance(error, OSError) else str(error)
    reason, remedy = _REASONS.get(
        number or 0, (f"the system says: {told}", "Copy the file and give the copy.")
    )
    return Unreadable(reason, place=display_name(path), remedy=remedy)


def kind_of_file(mode: int) -> str:
    """Return words for the kind of a file that is not a regular one; empty for a regular file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


@contextlib.contextmanager
def open_evidence(found: Found) -> Iterator[int]:
    """Open a regular file for reading and give its descriptor; close it afterwards.

    A file inside a given folder is reached part by part and no symbolic link is followed on the way, so a
    folder exchanged for a link meanwhile cannot lead outside. A file the user named may be a link.

    Raises:
        Unreadable: the file cannot be opened, or is not a regular file.
    """
    try:
        descriptor = _open_inside(found.path, found.root) if found.root else _open_named(found.path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise explain(found.path, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def ensure_unchanged(path: Path, sealed: FileStat, descriptor: int | None = None) -> None:
    """Check that a file is still the one that was sealed.

    Raises:
        ChangedWhileRead: the path, or the open descriptor, is another file or was written to.
    """
    try:
        same = FileStat.of(path.stat()) == sealed
        same = same and (descriptor is None or FileStat.of(os.fstat(descriptor)) == sealed)
    except OSError:
        same = False
    if not same:
        raise ChangedWhileRead(
            "the file changed while it was read",
            place=display_name(path),
            remedy="Copy it to a quiet place and give the copy.",
        )


def _open_named(path: Path) -> int:
    _refuse_irregular(path, path.stat().st_mode)
    return _open_regular(path, str(path), _READ, None)


def _open_inside(path: Path, root: Path) -> int:
    *folders, name = path.relative_to(root).parts
    folder = os.open(root, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Looked at before it is opened: merely opening a device can make it do something.
        _refuse_irregular(path, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        return _open_regular(path, name, _READ | os.O_NOFOLLOW, folder)
    finally:
        os.close(folder)


def _open_regular(path: Path, name: str, flags: int, folder: int | None) -> int:
    try:
        descriptor = os.open(name, flags | _NO_ACCESS_TIME, dir_fd=folder)
    except PermissionError:  # O_NOATIME is for the owner of the file only.
        descriptor = os.open(name, flags, dir_fd=folder)
    try:
        _refuse_irregular(path, os.fstat(descriptor).st_mode)
    except Unreadable:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_irregular(path: Path, mode: int) -> None:
    kind = kind_of_file(mode)
    if kind:
        remedy = "Save what it delivers to a file and give that file."
        raise Unreadable(f"it is {kind}, not a regular file", place=display_name(path), remedy=remedy)
