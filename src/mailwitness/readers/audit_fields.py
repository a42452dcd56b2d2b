"""Fields of one line of the Linux audit log: quoted, hex-encoded, nested or enriched values as text.

The kernel writes a string that a process controls either in quotes or, when it holds a blank, a quote or a control
character, as upper-case hex digits (`audit_log_untrustedstring`). So a name cannot forge a field, and a value that
is not quoted must be decoded before anything is compared with it.
"""

from __future__ import annotations

import re

# `key=value`; a value is quoted, a quoted message of a user-space program, a bag of an enriched address, or a word.
_PAIR = re.compile(rb"""([A-Za-z_][\w\[\]-]*)=("[^"]*"?|'[^']*'?|\{[^}]*\}?|[^\s\x1d]*)""")
_HEX = re.compile(rb"(?:[0-9A-F]{2})+")
# ausearch -i leaves the quotes away: a value with blanks ends where the next field begins.
_WRITTEN_ARGUMENT = re.compile(rb" (a\d+)=(.*?)(?= a\d+=|\s*$)", re.DOTALL)
_WRITTEN_COMMAND = re.compile(rb"\bcmd=(.*?)(?= (?:exe|terminal|hostname|addr|res)=|'|\s*$)", re.DOTALL)
# Fields whose unquoted form is hex: strings that a process or a remote peer can choose.
UNTRUSTED = frozenset(
    {
        b"name",
        b"comm",
        b"exe",
        b"cwd",
        b"cmd",
        b"acct",
        b"proctitle",
        b"key",
        b"path",
        b"data",
        b"dir",
        b"old-name",
        b"new-name",
        b"vm",
    }
)
# Words that stand for "nothing" (ausearch's manual page and audit-userspace's `interpret.c`).
NOTHING = frozenset({"?", "(null)", "(none)", "unset", "(unknown)"})
# 2^32-1 as an unsigned number: no login, no session.
UNSET = "4294967295"
ENRICHED = b"\x1d"


def text(raw: bytes) -> str:
    """Return bytes of the log as text; what is not UTF-8 stays visible as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def unhex(raw: bytes) -> str:
    """Return the string behind a run of hex digits; NUL separates arguments and becomes a blank.

    ``b"7472756E63617465002D73"`` gives ``"truncate -s"``.
    """
    return text(bytes.fromhex(raw.decode("ascii")).rstrip(b"\0").replace(b"\0", b" "))


def decode(raw: bytes, *, is_hex: bool) -> str:
    """Return a value without its quotes, decoded from hex where its field allows that.

    Args:
        raw: the value as it stands in the line.
        is_hex: the field is one that the kernel writes in hex when it is not quoted.
    """
    if raw[:1] in {b'"', b"'"}:
        return text(raw[1:-1] if raw[-1:] == raw[:1] and len(raw) > 1 else raw[1:])
    if is_hex and _HEX.fullmatch(raw):
        return unhex(raw)
    return text(raw)


def fields(body: bytes, *, interpreted: bool = False) -> dict[str, str]:
    """Return the fields of one record, names as they are written; the enriched ones are in capitals.

    Example of a line's body::

        pid=4146 uid=1004 auid=1004 ses=14 msg='cwd="/home/eve" cmd=6C73 terminal=? res=success'

    The first of two equal names wins, so that a program cannot overwrite what the kernel wrote before its message.

    Args:
        body: what follows ``msg=audit(...):``.
        interpreted: the line was written by ``ausearch -i``: nothing is in hex any more.
    """
    found: dict[str, str] = {}
    command = _WRITTEN_COMMAND.search(body) if interpreted else None
    if command:
        found["cmd"] = text(command[1])
    for name, raw in _PAIR.findall(body):
        if name == b"msg" and raw[:1] == b"'":
            for inner, value in _PAIR.findall(raw[1:]):
                is_hex = inner in UNTRUSTED and not interpreted
                found.setdefault(text(inner), decode(value.rstrip(b"'"), is_hex=is_hex))
        elif name not in (b"type", b"node"):
            found.setdefault(text(name), decode(raw, is_hex=name in UNTRUSTED and not interpreted))
    return found


def arguments(body: bytes, *, interpreted: bool = False) -> dict[str, str]:
    """Return the fields of an EXECVE record: every argument that is not quoted is hex.

    Numbers stay numbers where they belong to the record: ``argc=3`` and ``a1_len=16384``.
    """
    found: dict[str, str] = {}
    if interpreted:
        return {text(name): text(raw) for name, raw in _WRITTEN_ARGUMENT.findall(body)}
    for name, raw in _PAIR.findall(body):
        is_number = name == b"argc" or name.endswith(b"_len")
        found.setdefault(text(name), decode(raw, is_hex=not is_number))
    return found


def known(value: str) -> str:
    """Return a value, or '' when it is one of the words for nothing."""
    return "" if value in NOTHING or value == UNSET else value
