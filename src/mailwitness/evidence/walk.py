"""Find the files to take in: those named, and all those inside the folders named."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness.evidence.names import display_name
from mailwitness.evidence.opening import Found, Refused, explain, kind_of_file, refuse
from mailwitness.evidence.store import is_case_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Found", "Refused", "collect", "display_name"]

# What macOS leaves behind: window positions and a shadow of each file's attributes.
_MACOS_LEFTOVERS = frozenset({"__MACOSX", ".DS_Store"})

# A folder that is written to without pause is listed this often before it is called restless.
_LISTING_ATTEMPTS = 3


def is_macos_leftover(part: str) -> bool:
    """Say whether a part of a path is made by macOS and holds no evidence."""
    return part in _MACOS_LEFTOVERS


def collect(paths: Iterable[Path], *, exclude: Iterable[Path] = ()) -> Iterator[Found | Refused]:
    """Yield each regular file once, folders in depth and sorted by the bytes of the names.

    Hidden files are included. Symbolic links inside a folder are never followed: one that stays inside the
    given folders names a file that is yielded under its own name, one that leaves them is refused. What
    vanishes meanwhile, cannot be listed, or is no regular file is yielded as Refused; nothing here raises.

    Args:
        paths: files and folders; a path named here may itself be a symbolic link.
        exclude: folders that are not evidence, the case folder above all.
    """
    given = [Path(path) for path in paths]
    walk = _Walk(given, exclude)
    for path in given:
        yield from walk.start(path)


class _Walk:
    """What has been seen already, so that nothing is taken in twice and no circle is walked twice."""

    def __init__(self, given: Iterable[Path], exclude: Iterable[Path]) -> None:
        self._given = [os.path.realpath(path) for path in given if "\0" not in str(path)]
        self._excluded = {os.path.realpath(folder) for folder in exclude}
        self._folders: set[tuple[int, int]] = set()
        self._files: set[str] = set()

    def start(self, path: Path) -> Iterator[Found | Refused]:
        """Yield what one given path stands for."""
        try:
            status = path.stat()
            real = os.path.realpath(path)
        except (OSError, ValueError) as error:
            yield _missing(path, error)
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self._folder(path, real)
        elif kind := kind_of_file(status.st_mode):
            yield _irregular(path, kind, blocking=True)
        elif self._is_new(real):
            yield Found(path)

    def _folder(self, root: Path, real_root: str) -> Iterator[Found | Refused]:
        # A stack instead of recursion: folders nested deeper than Python's recursion limit are easy to make.
        waiting = [root]
        while waiting:
            path = waiting.pop()
            real = str(Path(real_root, path.relative_to(root)))
            try:
                status = path.stat() if path == root else path.lstat()
            except OSError as error:
                yield refuse(path, explain(path, error))
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield from self._file(path, root, real, status.st_mode)
            elif passed_over := self._passed_over(path, root, real):
                yield passed_over
            elif (status.st_dev, status.st_ino) not in self._folders:
                self._folders.add((status.st_dev, status.st_ino))
                inside, trouble = _list(path)
                waiting.extend(path / name for name in reversed(inside))
                yield from trouble

    def _passed_over(self, path: Path, root: Path, real: str) -> Refused | None:
        if real in self._excluded:
            return _skipped(path, "it is the case folder of this run")
        if path == root:
            return None
        if is_macos_leftover(path.name):
            return _skipped(path, "macOS made it; it holds no evidence")
        if is_case_folder(path):
            # Blocking: an attacker could otherwise hide evidence by putting a marker beside it.
            reason = "it is the case folder of another run, whose tables would count every event twice"
            return Refused(
                path=path,
                display_name=display_name(path),
                reason=reason,
                remedy="Move it away, or name it as evidence itself.",
            )
        return None

    def _file(self, path: Path, root: Path, real: str, mode: int) -> Iterator[Found | Refused]:
        if stat.S_ISLNK(mode):
            yield _link(path, self._given)
        elif kind := kind_of_file(mode):
            yield _irregular(path, kind, blocking=False)
        elif is_macos_leftover(path.name):
            yield _skipped(path, "macOS made it; it holds no evidence")
        elif self._is_new(real):
            yield Found(path, root)

    def _is_new(self, real: str) -> bool:
        if real in self._files:
            return False
        self._files.add(real)
        return True


def _list(folder: Path) -> tuple[list[str], list[Refused]]:
    try:
        names: list[str] = []
        for _ in range(_LISTING_ATTEMPTS):
            before = folder.stat().st_mtime_ns
            names = sorted(os.listdir(folder), key=os.fsencode)  # noqa: PTH208 - names are wanted, not paths
            if folder.stat().st_mtime_ns == before:
                return names, []
    except OSError as error:
        return [], [refuse(folder, explain(folder, error))]
    restless = Refused(
        path=folder,
        display_name=display_name(folder),
        reason="files came or went while the folder was listed, so some may be missing",
        remedy="Copy the folder to a quiet place and give the copy.",
    )
    return names, [restless]


def _missing(path: Path, error: OSError | ValueError) -> Refused:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return _dangling(path)
    return refuse(path, explain(path, error))


def _link(path: Path, given: Iterable[str]) -> Refused:
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        return _dangling(path)
    except (OSError, RuntimeError):  # RuntimeError: how pathlib reports a circle before Python 3.13
        return _circle(path)
    if any(target.is_relative_to(folder) for folder in given):
        name = display_name(target)
        return _skipped(path, f"it is a symbolic link to {name}, which is read under its own name")
    return Refused(
        path=path,
        display_name=display_name(path),
        reason=f"it is a symbolic link out of the folder, to {display_name(target)}",
        remedy="Name the target itself if it belongs to the evidence.",
    )


def _dangling(path: Path) -> Refused:
    return Refused(
        path=path,
        display_name=display_name(path),
        reason="it is a symbolic link to a file that is not there",
        remedy="Give the file it was meant to point to.",
    )


def _circle(path: Path) -> Refused:
    error = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return refuse(path, explain(path, error))


def _irregular(path: Path, kind: str, *, blocking: bool) -> Refused:
    return Refused(
        path=path,
        display_name=display_name(path),
        reason=f"it is {kind}, not a regular file",
        remedy="Save what it delivers to a file and give that file.",
        blocking=blocking,
    )


def _skipped(path: Path, reason: str) -> Refused:
    return Refused(
        path=path,
        display_name=display_name(path),
        reason=reason,
        remedy="Name it as evidence itself if it should be read.",
        blocking=False,
    )
