"""The case folder: everything one investigation keeps, written so that a killed run leaves no half file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from mailwitness.errors import CaseError, CaseLocked, NotACase
from mailwitness.evidence.names import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARKER = "case.json"
_KIND = "mailwitness case"
_SCHEMA_VERSION = 1
_FOLDERS = ("originals", "index", "tables")
_TEMPORARY = ".tmp-"
# A marker is a few hundred bytes; a huge case.json found in evidence is not read into memory.
_MARKER_BYTES = 1 << 20


class CaseFolder:
    """One case folder, made if the path is free.

    Layout: ``case.json`` (the marker), ``custody.jsonl``, ``originals/``, ``index/``, ``tables/``,
    ``quarantine.jsonl`` and the reports. Folders are open to their owner only: a case holds other people's
    mail.

    Args:
        path: the case folder; missing or empty folders become a case.
        create: False to open an existing case only.

    Raises:
        NotACase: the folder is not empty and no case, or is missing and ``create`` is False.
        CaseError: the folder cannot be made or written.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = Path(path)
        if not is_case_folder(self.path):
            self._create(create)
        for name in _FOLDERS:
            if (self.path / name).is_symlink():
                raise NotACase(
                    f"{name} in it is a symbolic link, which could lead writing elsewhere",
                    place=display_name(self.path),
                    remedy="Choose another case folder.",
                )

    @property
    def custody(self) -> Path:
        """Return where the custody log is."""
        return self.path / "custody.jsonl"

    @property
    def originals(self) -> Path:
        """Return the folder of extracted archive members."""
        return self.path / "originals"

    @property
    def index(self) -> Path:
        """Return the folder of record indexes."""
        return self.path / "index"

    @property
    def tables(self) -> Path:
        """Return the folder of tables."""
        return self.path / "tables"

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Replace a file of the case as a whole: readers see the old or the new one, never a part.

        Raises:
            CaseError: the file cannot be written.
        """
        target = self._inside(name)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(target, content)
        except OSError as error:
            raise _unwritable(target, error) from error
        return target

    def put(self, name: str, content: bytes, out: Path | None) -> Path:
        """Write a file for somebody else: where they want it, or without ``out`` under its name in the case.

        Raises:
            CaseError: the file cannot be written.
        """
        if out is None:
            return self.write_bytes(name, content)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(content)
        except OSError as error:
            raise _unwritable(out, error) from error
        return out

    def write_json(self, name: str, content: Any) -> Path:  # noqa: ANN401 - any JSON value is allowed
        """Replace a JSON file of the case as a whole; ASCII only, keys in the order given.

        Raises:
            CaseError: the file cannot be written.
        """
        # Python writes without lines ten times as fast as with them; msgspec only sets the lines.
        written = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
        return self.write_bytes(name, msgspec.json.format(written, indent=1) + b"\n")

    def describe(self, **fields: Any) -> None:  # noqa: ANN401 - any JSON value is allowed
        """Write facts about the case into case.json beside the marker; facts written before are kept.

        Raises:
            CaseError: the file cannot be written.
        """
        self.write_json(MARKER, {**self.description(), **fields, **_marker()})

    def description(self) -> Mapping[str, Any]:
        """Return the content of case.json."""
        return _read_marker(self.path) or {}

    def temp_name(self, name: str) -> Path:
        """Return an unused name beside ``name``; ``lock`` clears it away if the run dies first."""
        return temp_name(self._inside(name))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the case for this run alone and clear away what a killed run left half written.

        The lock belongs to the process: the system drops it at whatever death.

        Raises:
            CaseLocked: another run holds it.
            CaseError: the file system cannot lock.
        """
        path = self.path / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            self._take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._clear_leftovers()
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = display_name(os.pread(descriptor, 20, 0).strip()) or "unknown"
            raise CaseLocked(
                f"another run (process {owner}) works on this case",
                place=display_name(self.path),
                remedy="Wait until it ends, or choose another case folder.",
            ) from error
        except OSError as error:
            raise _unwritable(self.path / ".lock", error) from error

    def _clear_leftovers(self) -> None:
        for folder, folders, names in os.walk(self.path):
            for name in names:
                if _TEMPORARY in name:
                    Path(folder, name).unlink(missing_ok=True)
            for name in [name for name in folders if _TEMPORARY in name]:
                shutil.rmtree(Path(folder, name), ignore_errors=True)
                folders.remove(name)

    def _create(self, create: bool) -> None:
        if not create and not self.path.is_dir():
            remedy = "Give the folder that an investigation wrote."
            raise NotACase("there is no case here", place=display_name(self.path), remedy=remedy)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A run killed while it wrote the marker leaves only that; such a folder is as good as empty.
            foreign = [name for name in os.listdir(self.path) if not name.startswith(MARKER + _TEMPORARY)]  # noqa: PTH208
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if foreign or not create:
            raise NotACase(
                "the folder holds other files and is not a case",
                place=display_name(self.path),
                remedy="Choose an empty or new folder for the case.",
            )
        for name in _FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        self.write_json(MARKER, _marker())

    def _inside(self, name: str) -> Path:
        target = Path(name)
        if target.is_absolute() or ".." in target.parts or not target.name:
            message = f"{name!r} is not a name inside the case folder"
            raise ValueError(message)
        return self.path / target


def is_case_folder(path: Path) -> bool:
    """Say whether a folder carries the marker of a case."""
    return _read_marker(path) is not None


def temp_name(target: Path) -> Path:
    """Return an unused name beside the target, recognisable as a leftover if the run dies."""
    return target.with_name(f"{target.name}{_TEMPORARY}{secrets.token_hex(8)}")


def open_private(target: Path) -> BinaryIO:
    """Make a new file that only its owner may read, and open it for writing.

    Raises:
        FileExistsError: there is something of that name, be it a dangling link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(target, flags, 0o600), "wb")


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_whole(target: Path, content: bytes) -> None:
    temporary = temp_name(target)
    try:
        with open_private(temporary) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _marker() -> dict[str, Any]:
    return {"kind": _KIND, "schema_version": _SCHEMA_VERSION}


def _read_marker(folder: Path) -> dict[str, Any] | None:
    # O_NONBLOCK and the check for a regular file: evidence may hold a pipe of this name.
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = json.loads(os.read(descriptor, _MARKER_BYTES)) if is_file else None
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(descriptor)
    return content if isinstance(content, dict) and content.get("kind") == _KIND else None


def _unwritable(path: Path, error: OSError) -> CaseError:
    return CaseError(
        f"it cannot be written: {error.strerror}",
        place=display_name(path),
        remedy="Choose a case folder on a local disk with room, where you may write.",
    )
