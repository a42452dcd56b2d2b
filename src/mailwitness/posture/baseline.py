"""A baseline of mail stores, logs and settings, signed, and what changed since: modes, owners, access lists, attributes, digests.

The signature covers ``mailwitness baseline v1``, a line feed, the SHA-256 of the entries in their one form, and a line feed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from mailwitness.errors import ConfigError
from mailwitness.posture import mail_settings
from mailwitness.posture.accounts import Accounts
from mailwitness.posture.places import describe, places
from mailwitness.posture.root import Root
from mailwitness.witness.heads import is_signed, public_text, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SIGNED = "mailwitness baseline v1"
# Of one store; a larger one is named as not taken in whole.
_MOST_FILES = 200_000
_MOST_BYTES = 512 << 20
# Logs grow and mail arrives: there a digest of the whole says nothing, and size and beginning say what was cut.
_GROWING = frozenset({"mail log", "audit log", "journal", "mbox"})
_HEAD_BYTES = 4096


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file or folder; what could not be read of it is empty.

    Attributes:
        sha256: of the whole file, or of its first 4096 bytes where it is one that grows.
    """

    path: str
    role: str
    type: str
    mode: str
    owner: str
    group: str
    acl: list[str]
    attributes: str | None
    size: int
    sha256: str


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """All entries in the order of their paths, and who signed them.

    Attributes:
        unread: path -> why; nothing can be said about what is below.
    """

    made: str
    host: str
    entries: list[Entry]
    unread: dict[str, str]
    key: str = ""
    signature: str = ""

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, key="", signature=""))
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode(
            "ascii"
        )
        return f"{_SIGNED}\n{hashlib.sha256(canonical).hexdigest()}\n".encode()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference.

    Attributes:
        kind: added, removed or changed.
        what: which properties, with both values.
        who: who could do it, by the modes of the baseline.
    """

    kind: str
    path: str
    what: str
    who: str


def take(path: Path, *, now: dt.datetime) -> Baseline:
    """Return the baseline of a host, unsigned.

    Args:
        path: root of the host.
        now: when it is taken, aware UTC.
    """
    root = Root(path)
    accounts = Accounts(root)
    listed = sorted(_entries(root, accounts), key=lambda entry: entry.path)
    stamp = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Baseline(
        made=stamp,
        host=(root.text("/etc/hostname") or "").strip(),
        entries=listed,
        unread=dict(sorted(root.unread.items())),
    )


def sign(baseline: Baseline, key: Ed25519PrivateKey) -> Baseline:
    """Return the baseline with its signature."""
    return msgspec.structs.replace(baseline, key=public_text(key), signature=key.sign(baseline.text()).hex())


def write(baseline: Baseline, target: Path) -> None:
    """Write a baseline, readable by its owner only: it tells where everybody's mail is.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(target, msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(
            f"it cannot be written: {error.strerror}", place=str(target), remedy="Choose another file."
        ) from error


def read(path: Path, *, key: str = "") -> Baseline:
    """Return a baseline whose signature is genuine.

    Args:
        path: the file.
        key: public key it has to be signed with; empty takes the key that it names.

    Raises:
        ConfigError: it is none, was changed, or was signed by somebody else.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"this is no baseline: {error}",
            place=str(path),
            remedy="Take one with `mailwitness posture baseline`.",
        ) from error
    if not is_signed(found.text(), found.key, found.signature) or (key and found.key != key.lower()):
        raise ConfigError(
            "its signature is not genuine, or not of the key given",
            place=str(path),
            remedy="Use the copy that was kept elsewhere: this one proves nothing.",
        )
    return found


def _entries(root: Root, accounts: Accounts) -> Iterator[Entry]:
    seen: set[str] = set()
    for role, path, _ in places(root, accounts, mail_settings.stores(root)):
        below = _below(root, path) if role == "maildir" else [path]
        for one in below:
            if one not in seen and (found := root.status(one, follow=False)) is not None:
                seen.add(one)
                yield _entry(root, accounts, role, one, found)


def _below(root: Root, top: str) -> Iterator[str]:
    """Yield a store and all in it, folders before what they hold."""
    waiting, count = [top], 0
    while waiting:
        path = waiting.pop()
        yield path
        count += 1
        if count >= _MOST_FILES:
            root.unread[top] = f"it holds more than {_MOST_FILES} files; the others were not taken in"
            return
        found = root.status(path, follow=False)
        if found is not None and stat.S_ISDIR(found.st_mode):
            waiting += [f"{path}/{name}" for name in reversed(root.names(path))]


def _entry(root: Root, accounts: Accounts, role: str, path: str, found: os.stat_result) -> Entry:
    described = describe(root, accounts, path, found)
    is_file = described["Type"] == "file"
    return Entry(
        path=path,
        role=role,
        type=described["Type"],
        mode=described["Mode"],
        owner=described["Owner"],
        group=described["Group"],
        acl=described["Acl"],
        attributes=described["Attributes"],
        size=found.st_size if is_file else 0,
        sha256=root.digest(path, _HEAD_BYTES if role in _GROWING else _MOST_BYTES) if is_file else "",
    )


def changes(before: Baseline, after: Baseline, root: Root) -> list[Change]:
    """Return what was added, removed or changed, in the order of the paths.

    Args:
        before: the earlier baseline.
        after: the state now.
        root: the host, to tell whether a log that grew still begins as it did.
    """
    old = {entry.path: entry for entry in before.entries}
    new = {entry.path: entry for entry in after.entries}
    found = []
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            found.append(
                Change(
                    kind="removed",
                    path=path,
                    what=f"{old[path].type}, {old[path].size} bytes",
                    who=_who(path, old),
                )
            )
        elif path not in old:
            found.append(
                Change(
                    kind="added",
                    path=path,
                    what=f"{new[path].type}, {new[path].size} bytes, {new[path].owner}",
                    who=_who(path, new),
                )
            )
        elif what := _what(old[path], new[path], root):
            found.append(Change(kind="changed", path=path, what=what, who=_who(path, old)))
    return found


def _what(old: Entry, new: Entry, root: Root) -> str:
    parts = [
        f"{name} was {getattr(old, name)}, is {getattr(new, name)}"
        for name in ("type", "mode", "owner", "group", "acl", "attributes")
        if getattr(old, name) != getattr(new, name)
    ]
    if old.role in _GROWING and old.type == "file":
        # The same beginning as far as it was long then: growth is no change.
        begins = root.digest(new.path, min(old.size, _HEAD_BYTES)) if old.size < _HEAD_BYTES else new.sha256
        if new.size < old.size:
            parts.append(f"it was cut from {old.size} to {new.size} bytes")
        elif old.sha256 and begins != old.sha256:
            parts.append("its beginning is another one")
    elif old.sha256 != new.sha256:
        parts.append(f"content was {old.sha256[:16] or 'unread'}, is {new.sha256[:16] or 'unread'}")
    return "; ".join(parts)


def _who(path: str, listed: dict[str, Entry]) -> str:
    """Say who could do it without root: by the file's own mode, and by the folder's, which allows replacing."""
    names = {"root"}
    for entry in (listed.get(path), listed.get(path.rpartition("/")[0])):
        if entry is not None:
            bits = int(entry.mode, 8)
            names |= {entry.owner} if bits & stat.S_IWUSR else set()
            names |= {f"group {entry.group}"} if bits & stat.S_IWGRP else set()
            names |= {"anybody"} if bits & stat.S_IWOTH and not bits & stat.S_ISVTX else set()
            names |= {one for one in entry.acl if "w" in one.rsplit(":", 1)[-1]}
    return ", ".join(sorted(names))
