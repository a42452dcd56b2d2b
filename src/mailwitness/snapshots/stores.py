"""Walking a mail store: every message of a folder or file in an order that a killed run can take up again.

Message files are read one at a time by the readers that also read evidence. Symbolic links are not followed and nothing but
regular files is opened: a store may have been prepared by somebody.
"""

from __future__ import annotations

import os
import re
import stat
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.errors import Unreadable
from mailwitness.readers import mail_file, mail_place
from mailwitness.readers.blocks import RawRecord
from mailwitness.recognise import Recogniser
from mailwitness.snapshots import folder_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailwitness.readers.blocks import Damage

Record = dict[str, Any]  # Any: JSON values
Order = tuple[str, ...]

STATISTICS = "folder statistics"
_HEAD_BYTES = 64 * 1024
# A mail store of one file for each person: mbox files below var/mail; an empty one is an emptied mailbox.
_SPOOL = re.compile(r"(?:^|/)(?:var/)?(?:spool/)?mail/([^/]+)$")
_SPOOL_LOCK = re.compile(r"\.lock$")


class Item(msgspec.Struct, frozen=True):
    """One step of a walk.

    Attributes:
        order: place of the file in the walk; a later file has a larger one.
        number: of the record within the file, from 0.
        record: the message as the readers tell it; None for what could not be read.
        problem: why it could not be read, with its path.
        newest: time of the last change of the file or of its folder, seconds since 1970.
    """

    order: Order
    number: int
    record: Record | None
    problem: str
    newest: int


def is_store(root: Path) -> bool:
    """Say whether a path is a folder or a file that a reader of mail stores reads; any other file may be a listing."""
    if root.is_dir():
        return True
    try:
        is_empty = root.stat().st_size == 0
        return is_empty or _reader(root, str(root.absolute()), Recogniser()) is not None
    except OSError as error:
        raise Unreadable(
            f"it cannot be read ({error.strerror})", place=str(root), remedy="Check path and rights."
        ) from error


def walk(root: Path, work: Path, after: tuple[Order, int] | None = None) -> Iterator[Item]:
    """Yield every message of a store.

    Args:
        root: a file or a folder.
        work: where temporary files may be made.
        after: order and number of the last item that an earlier run has kept.

    Memory: some tens of thousands of names, and what the reader of one file needs.
    """
    recogniser = Recogniser()
    for order, path, newest in _files(root, work, after[0] if after else ()):
        if after is not None and order < after[0]:
            continue
        done = after[1] if after is not None and order == after[0] else -1
        number = -1
        for record, problem in _read(path, recogniser):
            number += 1
            if number > done:
                yield Item(order, number, record, problem, newest)


def _files(root: Path, work: Path, after: Order) -> Iterator[tuple[Order, Path, int]]:
    if not root.is_dir():
        yield (root.name,), root, _changed(root)
        return
    # A link that somebody names is meant, such as /var/spool/mail; one that lies in a store is not followed.
    yield from _below(root.resolve(), work, after)


def _below(folder: Path, work: Path, after: Order) -> Iterator[tuple[Order, Path, int]]:
    """Yield the files of a folder in order; "new" comes before "cur".

    A message that its reader moves from "new" to "cur" meanwhile is then seen twice and not missed; the double one is taken out at the end.
    """
    # A stack of our own: a prepared store may be nested deeper than Python calls itself.
    opened: list[Iterator[tuple[Order, Path]]] = [iter([((), folder)])]
    while opened:
        order, place = next(opened[-1], ((), None))
        if place is None:
            opened.pop()
            continue
        try:
            status = place.lstat()
        except OSError:
            # It was moved since its folder was listed; what it is now stands under another name.
            status = None
        if status is not None and stat.S_ISDIR(status.st_mode):
            yield from _emptied(place, order, int(status.st_mtime))
            opened.append(_inside(place, work, order, after))
        elif (status is None or stat.S_ISREG(status.st_mode)) and (not after or order >= after):
            own = int(status.st_mtime) if status else 0
            yield order, place, max(own, _changed(place.parent))


def _inside(folder: Path, work: Path, order: Order, after: Order) -> Iterator[tuple[Order, Path]]:
    """Yield what a folder holds, from where an earlier run stopped; "tmp" of a Maildir holds nothing that was delivered."""
    is_maildir = (folder / "cur").is_dir()
    for name in folder_names.in_order(folder, work, _rank):
        each = (*order, _rank(name))
        if (name != "tmp" or not is_maildir) and (not after or each >= after[: len(each)]):
            yield each, folder / name


def _emptied(place: Path, order: Order, newest: int) -> Iterator[tuple[Order, Path, int]]:
    """Yield the folder itself when it is a Maildir: an empty one has no file that could stand for it."""
    if (place / "cur").is_dir() and (place / "new").is_dir():
        yield (*order, ""), place, max(newest, _changed(place / "cur"), _changed(place / "new"))


def _rank(name: str) -> str:
    return ("0" if name == "new" else "1") + name


def _changed(path: Path) -> int:
    try:
        return int(path.lstat().st_mtime)
    except OSError:
        return 0


def _read(path: Path, recogniser: Recogniser) -> Iterator[tuple[Record | None, str]]:
    name = str(path.absolute())
    if path.is_dir():
        yield _statistics(str(path.absolute() / "cur" / "x")), ""
        return
    try:
        read = _reader(path, name, recogniser)
        if read is not None:
            for item in read(path, name):
                yield (item.data, "") if isinstance(item, RawRecord) else (None, f"{name}: {item.reason}")
        elif path.stat().st_size == 0 and (emptied := nothing_at(name, is_maildir=False)) is not None:
            yield emptied, ""
    except FileNotFoundError:
        # A client changed the flags, which stand in the name, or moved the message out of "new".
        moved = _again(path)
        if moved is not None:
            yield from (
                (i.data, "") for i in mail_file.read_named(moved, str(moved)) if isinstance(i, RawRecord)
            )
    except OSError as error:
        yield None, f"{name}: it cannot be read ({error.strerror})"


def _reader(
    path: Path, name: str, recogniser: Recogniser
) -> Callable[[Path, str], Iterator[RawRecord | Damage]] | None:
    if path.parent.name in {"cur", "new"} and (path.parent.parent / "cur").is_dir():
        return mail_file.read_named
    with path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    match = recogniser.match_start(head, is_text=False, name=name) if head else None
    if match is None or match.mapping != "present_message" or not match.reader:
        return None
    reader = import_module(f"mailwitness.readers.{match.reader}")
    if hasattr(reader, "read_beside"):
        return lambda at, shown: reader.read_beside(at, shown, lambda suffix: _beside(at, suffix))
    if not hasattr(reader, "read_named"):
        return lambda at, _: reader.read(at)
    read: Callable[[Path, str], Iterator[RawRecord | Damage]] = reader.read_named
    return read


def _beside(path: Path, suffix: str) -> Path | None:
    """Return a file that belongs to another one, such as the write-ahead log of a database."""
    found = path.with_name(path.name + suffix)
    return found if found.is_file() and not found.is_symlink() else None


def _again(path: Path) -> Path | None:
    """Return the file of a Maildir under the name that it has now."""
    base = path.name.split(":")[0]
    try:
        with os.scandir(path.parent.parent / "cur") as entries:
            return next((Path(entry.path) for entry in entries if entry.name.split(":")[0] == base), None)
    except OSError:
        return None


def nothing_at(name: str, *, is_maildir: bool) -> Record | None:
    """Return the record that a mailbox file or a Maildir holds nothing; None for a path whose name is not that of one."""
    found = _SPOOL.search(name)
    if is_maildir:
        held = _statistics(f"{name}/cur/x")
        return held if held.get("Mailbox") else None
    return _statistics(name) | {"Mailbox": found[1]} if found and not _SPOOL_LOCK.search(name) else None


def _statistics(name: str) -> Record:
    """Return the record that says that a folder was looked at; it stays only when its mailbox holds nothing."""
    return {"StoreKind": STATISTICS, "ItemCount": 0, "Path": name} | {
        key: value for key, value in mail_place.of_path(name).items() if key in {"Mailbox", "Folder"}
    }
