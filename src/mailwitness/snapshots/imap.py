"""Listing a mailbox over IMAP with TLS: headers and digests, without marking anything as read.

The password comes from the environment and from nowhere else. Certificates are checked against the authorities that the system
trusts; ``SSL_CERT_FILE`` names others, as for every program that uses OpenSSL.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import imaplib
import os
import re
import ssl
import urllib.parse
from array import array
from typing import TYPE_CHECKING, Any

from mailwitness.errors import ConfigError, Unreadable
from mailwitness.readers import mail_headers
from mailwitness.snapshots.stores import STATISTICS, Item, Order

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]  # Any: JSON values

PASSWORD = "MAILWITNESS_IMAP_PASSWORD"  # noqa: S105 - the name of the variable
_PORT = 993
_TIMEOUT_SECONDS = 120
_CHUNK = 1 << 20
# A message at which the connection broke is asked for without its body, then left out.
_TRIES = 2
_UIDS_AT_ONCE = 50_000
_BREAKS = "the server breaks off when asked for its body, as for a file that was edited"
_LIST = re.compile(rb'^\(([^)]*)\) (?:"(?:[^"\\]|\\.)*"|NIL) (.+)$')
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")


def is_address(text: str) -> bool:
    """Say whether a text names a mailbox on an IMAP server: ``imaps://user@host[:port]``."""
    return text.startswith("imaps://")


def walk(address: str, after: tuple[Order, int] | None = None) -> Iterator[Item]:
    """Yield every message of every folder.

    A message is fetched in pieces of 1 MiB with BODY.PEEK (RFC 3501 section 6.4.5), in a mailbox that was opened with EXAMINE, so
    that the server changes nothing.

    Args:
        address: ``imaps://user@host[:port]``.
        after: order (the folder) and uid of the last message that an earlier run has kept.

    Raises:
        ConfigError: the address is none, or no password is in the environment.
        Unreadable: the server cannot be reached, its certificate is not trusted, or it refuses.
    """
    parts = urllib.parse.urlsplit(address)
    user = urllib.parse.unquote(parts.username or "")
    password = os.environ.get(PASSWORD, "")
    if not parts.hostname or not user or parts.password:
        raise ConfigError(
            "it is no address of a mailbox, or it holds a password",
            place="imaps://...",
            remedy=f"Write imaps://user@host and put the password into {PASSWORD}.",
        )
    if not password:
        raise ConfigError(
            "no password is given", place=PASSWORD, remedy="Set this variable of the environment."
        )
    trouble = _Trouble(after or ((), 0))
    while True:
        try:
            for item in _session(parts, user, password, trouble):
                if (item.order, item.number) > trouble.done:
                    trouble.done = (item.order, item.number)
                    yield item
        except (OSError, imaplib.IMAP4.error) as error:
            if isinstance(error, imaplib.IMAP4.abort) and trouble.is_of_one_message():
                continue
            raise Unreadable(
                f"the server does not give the mailbox ({str(error)[:200]})",
                place=f"{parts.hostname}:{parts.port or _PORT}",
                remedy="Check name, password and certificate; run it again, it goes on where it stopped.",
            ) from error
        return


class _Trouble:
    """Where a listing is, and at which messages the server broke off.

    Dovecot ends the session when a file is shorter than it believes ("Cached message size larger than expected"), every time it is
    asked for the body: a message that was edited in place must not hide all that come after it.
    """

    def __init__(self, done: tuple[Order, int]) -> None:
        self.done = done
        self.at: tuple[Order, int] = ((), 0)
        self.times: dict[tuple[Order, int], int] = {}

    def is_of_one_message(self) -> bool:
        """Count a break; say whether going on with less of this message may help."""
        self.times[self.at] = self.times.get(self.at, 0) + 1
        return self.at[1] > 0 and self.times[self.at] <= _TRIES


def _session(parts: urllib.parse.SplitResult, user: str, password: str, trouble: _Trouble) -> Iterator[Item]:
    with imaplib.IMAP4_SSL(
        parts.hostname or "",
        parts.port or _PORT,
        ssl_context=ssl.create_default_context(),
        timeout=_TIMEOUT_SECONDS,
    ) as server:
        server.login(user, password)
        trouble.at = ((), 0)
        yield from _folders(server, user, trouble)


def _folders(server: imaplib.IMAP4, user: str, trouble: _Trouble) -> Iterator[Item]:
    after = trouble.done
    # By the name as it is shown: a run that goes on compares these, and servers quote some names.
    for shown, folder in sorted(
        (name.decode("utf-8", "replace").strip('"'), name) for name in _listed(server)
    ):
        order = (shown,)
        if order < after[0]:
            continue
        state, counted = server.select(folder.decode("latin-1"), readonly=True)
        if state != "OK":
            yield Item(order, 0, None, f"{shown}: the server does not open this folder", 0)
            continue
        yield Item(
            order,
            0,
            {
                "StoreKind": STATISTICS,
                "ItemCount": 0,
                "Mailbox": user.lower(),
                "Folder": shown,
                "Path": shown,
            },
            "",
            0,
        )
        done = after[1] if order == after[0] else 0
        for uid in _uids(server, int(counted[0] or 0)):
            if uid > done:
                trouble.at = (order, uid)
                yield from _one(server, user, trouble)


def _uids(server: imaplib.IMAP4, messages: int) -> array[int]:
    """Return the uids of the opened folder, ascending; 4 bytes each, because a folder may hold millions.

    They are asked for in stretches: imaplib takes no line of more than a million bytes, which all of 140,000 uids fill.
    """
    found = array("I")
    start = 1
    while start <= messages:
        answer = server.uid("SEARCH", f"{start}:{min(start + _UIDS_AT_ONCE - 1, messages)}")[1]
        uids = sorted(int(uid) for uid in b" ".join(line or b"" for line in answer).split())
        found.extend(uid for uid in uids if not found or uid > found[-1])
        # What is expunged meanwhile moves later messages to smaller numbers (RFC 3501 section 7.4.1).
        gone = len([one for one in server.response("EXPUNGE")[1] if one])
        messages -= gone
        start += _UIDS_AT_ONCE - gone
    return found


def _one(server: imaplib.IMAP4, user: str, trouble: _Trouble) -> Iterator[Item]:
    (shown,), uid = trouble.at
    breaks = trouble.times.get(trouble.at, 0)
    if breaks >= _TRIES:
        yield Item((shown,), uid, None, f"{shown}, uid {uid}: the server breaks off when asked for it", 0)
        return
    record = _message(server, uid, with_body=not breaks)
    place = {"StoreKind": "imap", "Mailbox": user.lower(), "Folder": shown, "Path": shown, "Uid": str(uid)}
    # A message that was expunged since the search is simply not there any more.
    if record is not None:
        yield Item((shown,), uid, record | place, "", 0)


def _listed(server: imaplib.IMAP4) -> list[bytes]:
    """Return the names of the folders that can be opened, as the server quotes them."""
    found = []
    for line in server.list()[1]:
        match = _LIST.match(line) if isinstance(line, bytes) else None
        if match and b"\\noselect" not in match[1].lower():
            found.append(match[2])
    return found


def _message(server: imaplib.IMAP4, uid: int, *, with_body: bool) -> Record | None:
    answer = server.uid("FETCH", str(uid), "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])")[1]
    pieces = [part for part in answer if isinstance(part, tuple)]
    if not pieces:
        return None
    told = b" ".join(part[0] if isinstance(part, tuple) else part or b"" for part in answer)
    header = pieces[0][1]
    flags = (found[1] if (found := _FLAGS.search(told)) else b"").decode("latin-1")
    size = _SIZE.search(told)
    return mail_headers.identity(header) | {
        "SizeBytes": int(size[1]) if size else None,
        "HeaderDigest": hashlib.sha256(header).hexdigest(),
        "BodyDigest": _digest(server, uid) if with_body else "",
        "Problems": "" if with_body else _BREAKS,
        "Flags": flags,
        "IsDeleted": "\\deleted" in flags.lower(),
        "ReceivedAt": _received(told),
    }


def _digest(server: imaplib.IMAP4, uid: int) -> str:
    digest = hashlib.sha256()
    start = 0
    while True:
        answer = server.uid("FETCH", str(uid), f"(BODY.PEEK[TEXT]<{start}.{_CHUNK}>)")[1]
        data = next((part[1] for part in answer if isinstance(part, tuple)), b"")
        digest.update(data)
        start += len(data)
        if len(data) < _CHUNK:
            return digest.hexdigest()


def _received(told: bytes) -> str:
    match = re.search(rb'INTERNALDATE "([^"]{5,40})"', told)
    try:
        # RFC 3501 section 9: " 2-Mar-2026 09:14:01 +0000".
        moment = (
            dt.datetime.strptime(match[1].decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z") if match else None
        )
    except ValueError:
        return ""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""
