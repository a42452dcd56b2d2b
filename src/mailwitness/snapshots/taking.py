"""Taking a snapshot: records in parts, so that a killed run goes on where it stopped, and then one file with its custody entry."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import tables
from mailwitness.errors import CaseError, ConfigError, Unreadable
from mailwitness.evidence import custody, seal
from mailwitness.evidence.names import display_name
from mailwitness.snapshots import finishing, imap, listings, stores, vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from mailwitness.evidence.store import CaseFolder
    from mailwitness.snapshots.stores import Item

FOLDER = "snapshots"
_SALT = f"{FOLDER}/salt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# A part holds so many records: about 10 MB in memory, and what a killed run has to read again.
_PART = 10_000
_PROBLEMS = 100
_REMEDY = "Give a Maildir, mbox, Envelope Index, PST or a listing."
_TEXTS = (
    "StoreKind", "ReceivedAt", "Mailbox", "Folder", "MessageId", "Subject", "Sender", "Recipients", "Date", "HeaderDigest",
    "BodyDigest", "Flags", "Uid", "Path", "Problems",
)  # fmt: skip
_NUMBERS = ("SizeBytes", "ItemCount", "StatedSizeBytes")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be recorded.

    Attributes:
        store: path of a store or listing, or ``imaps://user@host``.
        name: of the snapshot; empty takes the clock.
        mailbox: whose it is, when neither the store nor its path says so.
        at: when the store was as it is, aware UTC; None takes the newest change in it.
        is_live: the store is the one in use, so it is as it is at the clock of the run.
    """

    store: str
    name: str = ""
    mailbox: str = ""
    at: dt.datetime | None = None
    is_live: bool = False


class Taken(msgspec.Struct, kw_only=True):
    """A snapshot, as the file beside its Parquet file says; while it is being taken, how far it is.

    Attributes:
        at: the time for which it speaks, ISO 8601 UTC.
        begun: when it was begun; messages that changed later may be missing or doubled.
        problems: what could not be read, the first hundred; `failed` counts all.
        order: place of the last record that was kept.
    """

    name: str
    store: str
    begun: str
    at: str = ""
    is_live: bool = False
    messages: int = 0
    emptied: int = 0
    failed: int = 0
    problems: list[str] = []
    newest: int = 0
    parts: int = 0
    order: tuple[tuple[str, ...], int] | None = None
    sha256: str = ""
    blake3: str = ""


def files(case: Path) -> list[Path]:
    """Return the files of the finished snapshots of a case, the oldest first."""
    return [case / FOLDER / f"{taken.name}.parquet" for taken in finished(case)]


def finished(case: Path) -> list[Taken]:
    """Return the finished snapshots of a case in the order of their begin."""
    found = [
        _described(path)
        for path in sorted((case / FOLDER).glob("*.json"))
        if path.with_suffix(".parquet").is_file()
    ]
    return sorted(found, key=lambda taken: (taken.begun, taken.name))


def _described(path: Path) -> Taken:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Taken)
    except (OSError, msgspec.MsgspecError) as error:
        raise CaseError(
            "the description of a snapshot cannot be read",
            place=str(path),
            remedy="Remove it and take the snapshot again.",
        ) from error


def take(
    folder: CaseFolder,
    wanted: Wanted,
    *,
    now: dt.datetime,
    tool: str,
    told: Callable[[int], None] = lambda _: None,
) -> Taken:
    """Record a store or listing in the case.

    Args:
        folder: the case, locked by the caller.
        wanted: what is to be recorded; the same name goes on with a run that was killed.
        now: the clock of the run, aware UTC.
        tool: name and version of this program, for the custody log.
        told: is called with the number of records after each part.

    Raises:
        ConfigError: the name is none, or a finished snapshot has it already.
        Unreadable: the store does not exist, or nothing in it is mail.
    """
    name = wanted.name or _unfinished(folder.path, wanted.store) or f"{now:%Y%m%dT%H%M%SZ}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is no name of a snapshot",
            place="--name",
            remedy="Use letters, digits, dot and dash.",
        )
    target = folder.path / FOLDER / f"{name}.parquet"
    if target.with_suffix(".json").exists():
        raise ConfigError(
            f"the case has a snapshot {name} already", place="--name", remedy="Choose another name."
        )
    work = folder.path / FOLDER / f"{name}.parts"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = _resumed(work) or Taken(
        name=name, store=_shown(wanted.store), begun=f"{now:%Y-%m-%dT%H:%M:%SZ}", is_live=_is_live(wanted)
    )
    if state.store != _shown(wanted.store):
        raise ConfigError(
            f"the unfinished snapshot {name} is of another store",
            place="--name",
            remedy="Choose another name.",
        )
    _record(_items(wanted, state, work), work, state, told)
    return _finish(folder, wanted, state, work, target, now=now, tool=tool)


def _unfinished(case: Path, store: str) -> str:
    """Return the name of a snapshot of the same store that was begun and not finished."""
    for path in sorted((case / FOLDER).glob("*.parts/state.json")):
        if _described(path).store == _shown(store):
            return path.parent.name.removesuffix(".parts")
    return ""


def _is_live(wanted: Wanted) -> bool:
    return wanted.is_live or imap.is_address(wanted.store)


def _shown(store: str) -> str:
    return store if imap.is_address(store) else display_name(Path(store).absolute())


def _resumed(work: Path) -> Taken | None:
    path = work / "state.json"
    return _described(path) if path.exists() else None


def _items(wanted: Wanted, state: Taken, work: Path) -> Iterable[Item]:
    if imap.is_address(wanted.store):
        return imap.walk(wanted.store, state.order)
    root = Path(wanted.store)
    if not root.exists():
        raise Unreadable("there is no such store", place=wanted.store, remedy="Correct the path.")
    walk = stores.walk if stores.is_store(root) else listings.walk
    return walk(root, work, state.order)


def _record(items: Iterable[Item], work: Path, state: Taken, told: Callable[[int], None]) -> None:
    waiting: list[dict[str, Any]] = []  # Any: JSON values
    for item in items:
        state.newest = max(state.newest, item.newest)
        state.order = (item.order, item.number)
        if item.record is not None:
            waiting.append(item.record)
        else:
            state.failed += 1
            if len(state.problems) < _PROBLEMS:
                state.problems.append(item.problem[:500])
        if len(waiting) >= _PART:
            _keep(waiting, work, state)
            told(state.parts * _PART)
            waiting = []
    _keep(waiting, work, state)


def _keep(records: list[dict[str, Any]], work: Path, state: Taken) -> None:  # Any: JSON values
    """Write a part and then how far the run is: what is written in between is written again."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import

    state.parts += 1
    partial = work / "part.tmp"
    pq.write_table(_table(records), partial)
    partial.replace(work / f"part-{state.parts:06}.parquet")
    described = work / "state.tmp"
    described.write_bytes(msgspec.json.encode(state))
    described.replace(work / "state.json")


def _table(records: list[dict[str, Any]]) -> pa.Table:  # Any: JSON values
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    columns: dict[str, Any] = {  # Any: arrays of pyarrow
        name: pa.array([_text(record.get(name)) for record in records], pa.string()) for name in _TEXTS
    }
    columns |= {name: pa.array([record.get(name) for record in records], pa.int64()) for name in _NUMBERS}
    columns["IsDeleted"] = pa.array([bool(record.get("IsDeleted")) for record in records], pa.bool_())
    return pa.table(columns)


def _text(value: object) -> str:
    # Half surrogates and NUL come from damaged headers; neither database nor JSON takes them.
    text = "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _finish(
    folder: CaseFolder, wanted: Wanted, state: Taken, work: Path, target: Path, *, now: dt.datetime, tool: str
) -> Taken:
    parts = _parts(work, state)
    missing = vanished.records(_earlier(folder.path, state), parts, state.problems)
    # Of more failures than are listed nobody knows which mailboxes they concern.
    if missing and state.failed <= len(state.problems):
        _keep(missing, work, state)
        parts = _parts(work, state)
    state.at = _time(wanted, state, now)
    values = {
        "at": f"TIMESTAMP {tables.literal(state.at.replace('T', ' ').removesuffix('Z'))}",
        "mailbox": tables.literal(wanted.mailbox.strip().lower()),
        "name": tables.literal(state.name),
        "salt": tables.literal(_salt(folder)),
    }
    state.messages, state.emptied = finishing.put_together(parts, work, work / "whole.parquet", values)
    if not state.messages and not state.emptied:
        shutil.rmtree(work)
        raise Unreadable(
            "nothing in it is a mail store or a listing of messages",
            place=_shown(wanted.store),
            remedy=_REMEDY,
        )
    return _commit(folder, state, work, target, now=now, tool=tool)


def _parts(work: Path, state: Taken) -> list[Path]:
    return [work / f"part-{number:06}.parquet" for number in range(1, state.parts + 1)]


def _earlier(case: Path, state: Taken) -> list[Path]:
    """Return the files of finished snapshots of the same store."""
    return [
        case / FOLDER / f"{taken.name}.parquet"
        for taken in finished(case)
        if taken.store == state.store and taken.begun <= state.begun
    ]


def _time(wanted: Wanted, state: Taken, now: dt.datetime) -> str:
    """Return the time for which the snapshot speaks; the future is never one."""
    begun = dt.datetime.fromisoformat(state.begun)
    newest = dt.datetime.fromtimestamp(state.newest, dt.UTC) if state.newest else begun
    moment = wanted.at or (begun if state.is_live else newest)
    return f"{min(moment, begun, now).astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _salt(folder: CaseFolder) -> str:
    path = folder.path / _SALT
    if not path.exists():
        folder.write_bytes(_SALT, secrets.token_hex(16).encode("ascii"))
    return path.read_text(encoding="ascii")


def _commit(
    folder: CaseFolder, state: Taken, work: Path, target: Path, *, now: dt.datetime, tool: str
) -> Taken:
    (work / "whole.parquet").replace(target)
    target.chmod(0o600)
    digests = seal.rehash(target)
    state.sha256, state.blake3 = digests.sha256, digests.blake3
    log = custody.CustodyLog(folder.custody, now=now, tool=tool)
    try:
        log.append("snapshot", now=now, snapshot=state.name, store=state.store, at=state.at, begun=state.begun, messages=state.messages,
            emptied=state.emptied, failed=state.failed, file=f"{FOLDER}/{target.name}", sha256=state.sha256, blake3=state.blake3)  # fmt: skip
    finally:
        log.close()
    described = msgspec.to_builtins(state) | {"order": None, "parts": 0}
    folder.write_bytes(f"{FOLDER}/{target.stem}.json", json.dumps(described, indent=1).encode("ascii"))
    shutil.rmtree(work)
    return msgspec.convert(described, Taken)
