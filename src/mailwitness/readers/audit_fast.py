"""Large audit logs: plain events are turned into rows with a few patterns over many lines, the others are taken apart in full.

An event is plain when it names no mail, no log, no configuration and no string in hex: nothing that a rule of ours asks about. Its row
has time, ids, accounts, program and command line, but no file names. Every event has a row either way, and its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mailwitness.readers.audit_event import Event, moment
from mailwitness.readers.audit_fields import text
from mailwitness.readers.auditd import _NEXT, _SEPARATOR, _START, LONGEST_LINE, NO_RECORD, NO_TIME
from mailwitness.readers.syscalls import ARCHITECTURES, BY_ARCHITECTURE

if TYPE_CHECKING:
    from mailwitness.readers.bulk import Sink

# The lines of an event that follow its first one, of the same node. The kernel's order of fields is fixed (audit_log_task_info).
_REST = rb"[^\n]*(?:\n(?(1)node=\1 )type=[A-Za-z0-9_\[\]]+ msg=audit\(\2\):[^\n]*)*(?:\n|\Z)"
_CALL = re.compile(
    rb"(?:node=(\S+) )?type=SYSCALL msg=audit\((\d{1,11}\.\d{3}:\d+)\): arch=(\w+) syscall=(\d+)(?: success=(\w+) exit=(-?\w+))? a0=\w* a1=\w* a2=\w* a3=\w* items=\d+"
    rb" ppid=(\d+) pid=(\d+) auid=(\d+) uid=(\d+) gid=(\d+) euid=(\d+) suid=\d+ fsuid=\d+ egid=\d+ sgid=\d+ fsgid=\d+ tty=(\S+) ses=(\d+)"
    rb' comm="([^"\n]*)" exe="([^"\n]*)"(?: subj=[^\s\x1d]+)?(?: key=(?:"([^"\n]*)"|\(null\)))?'
    rb'(?:\x1dARCH=\S+ SYSCALL=\S+ AUID="([^"\n]*)" UID="([^"\n]*)" GID="[^"\n]*" EUID="([^"\n]*)")?' + _REST
)
# Ids in any form, also those that ausearch writes out with -i. A line whose type is damaged is none (as in `_START`).
_ID_OF_LINE = rb"(?:type=[A-Za-z0-9_\[\]]+ )?(?:msg=)?audit"
_RUN = re.compile(
    rb"[ \t]*(?:node=(\S+) )?(?=%b\(([^()\n]{5,64})\))[^\n]*(?:\n[ \t]*(?(1)node=\1 )%b\(\2\)[^\n]*)*(?:\n|\Z)"
    % (_ID_OF_LINE, _ID_OF_LINE)
)
_EPOCH = re.compile(rb"\d{1,11}\.\d{3}:\d+")
_LINE = re.compile(rb"[^\n]*(?:\n|\Z)")
# What in a program, key, path or argument makes an event worth all its columns; parts of words, so that one stands for many
# (mail, Mailbox; rsyslogd; /var/log; /sbin/auditctl), and the same in the hex that hides a name with a blank.
_WANTED = (
    b"ail",
    b"/log",
    b"slog",
    b"61696C",
    b"2F6C6F67",
    b"ovecot",
    b"ostfix",
    b"exim",
    b"sieve",
    b"orward",
    b"/audit",
    b"ournal",
    b"spool",
)
_VALUES = re.compile(rb" (?:name|cwd)=(\S+)")
# What a row made from patterns cannot hold: escapes, hex strings, several records of arguments, two records on one line.
_ARGUMENTS = re.compile(rb'type=EXECVE msg=audit\([^)]*\): argc=(\d+)((?: a\d+="[^"\n]*")*)(?=\n|\Z|\x1d)')
_ARGUMENT = re.compile(rb' a\d+="([^"\n]*)"')
_SPECIAL = re.compile(rb"""['\\;|&<>()$`*?#~]""")
_USER = re.compile(
    rb"type=(USER_START|USER_END|CRED_ACQ|CRED_DISP|CRED_REFR|USER_ACCT|USER_AUTH|LOGIN|CRYPTO_KEY_USER|CRYPTO_SESSION) msg=audit\([^)]*\): pid=(\d+) uid=(\d+) auid=(\d+) ses=(\d+)[^\n]*?"
    rb"""msg='op=(\S+)[^\n]*?(?: acct="([^"\n]*)")? exe="([^"\n]*)" hostname=(\S+) addr=(\S+) terminal=(\S+) res=(\w+)'"""
)
_ACCOUNTS_OF_USER = re.compile(rb'\x1dUID="([^"\n]*)" AUID="([^"\n]*)"')
_UNNAMED = {b"unset": b"", b"4294967295": b""}
# Programs, keys and paths come again and again: what was found about them is kept, up to a bound.
_MOST_KNOWN = 100_000
_WANTED_BEFORE: dict[bytes, bool] = {}
# Start, end, line, and the match when the run begins with a system call.
Run = tuple[int, int, int, "re.Match[bytes] | None"]
_NAMES = {
    code.encode(): {number.encode(): name.encode() for number, name in names.items()}
    for code, names in BY_ARCHITECTURE.items()
}
_CODES = {code.encode(): name.encode() for code, name in ARCHITECTURES.items()}
_EXEC = {b"execve", b"execveat"}


def convert(chunk: bytes, base: int, line: int, sink: Sink) -> None:
    """Write one row for each event of a chunk that holds whole lines.

    Args:
        chunk: whole lines.
        base: offset of the chunk in the file.
        line: number of its first line.
        sink: takes rows, places and damage.
    """
    is_simple = chunk.isascii() and b"\\" not in chunk
    for (node, name), spans in _runs(chunk, base, line, sink).items():
        start, end, number, call = spans[0]
        row = None
        if len(spans) == 1 and (is_simple or (b"\\" not in chunk[start:end] and chunk[start:end].isascii())):
            row = (
                _plain(chunk, start, end, call)
                if call is not None
                else _plain_user(chunk[start:end], node or b"", name)
            )
        if row is not None:
            sink.row(row, base + start, end - start, number)
        else:
            _event(chunk, base, node or b"", name, spans, sink)


def _runs(chunk: bytes, base: int, line: int, sink: Sink) -> dict[tuple[bytes | None, bytes], list[Run]]:
    """Return the stretches of lines of every event of a chunk; what belongs to no event goes to the sink."""
    runs: dict[tuple[bytes | None, bytes], list[Run]] = {}
    place = 0
    size = len(chunk)
    while place < size:
        call = _CALL.match(chunk, place)
        match = call or _RUN.match(chunk, place)
        if match is None:
            end = _LINE.match(chunk, place).end()  # type: ignore[union-attr]
            _odd_line(chunk[place:end], base + place, line, sink)
            line += 1
        else:
            end = match.end()
            key = (match[1], match[2])
            if key in runs:
                runs[key].append((place, end, line, None))
            else:
                runs[key] = [(place, end, line, call)]
            line += chunk.count(b"\n", place, end)
        place = end
    return runs


def _odd_line(content: bytes, offset: int, line: int, sink: Sink) -> None:
    """Take a line that is no record in the usual form: an interpreted one, a separator, or damage."""
    match = _START.match(content)
    if match and moment(text(match[3])) is not None and len(content) <= LONGEST_LINE:
        slow(content, offset, line, sink)
    elif content.strip() and not _SEPARATOR.match(content):
        reason = (
            "the line is too long for an audit log"
            if len(content) > LONGEST_LINE
            else NO_TIME
            if match
            else NO_RECORD
        )
        sink.damage(offset, len(content.rstrip(b"\r\n")), line, reason)


def _event(chunk: bytes, base: int, node: bytes, key: bytes, spans: list[Run], sink: Sink) -> None:
    """Take an event apart record by record."""
    start, end, line, _ = spans[0]
    content = b"".join(chunk[first:last] for first, last, _, _ in spans)
    end = spans[-1][1]
    event = Event(text(key), text(node), interpreted=b"/" in key)
    for record in content.splitlines():
        record = record.strip()  # noqa: PLW2901 - the line without its ends
        for part in _NEXT.split(record) if record.count(b" msg=audit(") > 1 else (record,):
            begin = _START.match(part)
            if begin:
                event.add(text(begin[2] or b"UNKNOWN").removeprefix("AUOMS_"), part[begin.end() :])
    data = event.data()
    if data is None:
        _no_time(chunk, base, spans, sink)
        return
    sink.row(msgspec.json.encode(data), base + start, end - start, line, event.is_partial())


def _no_time(chunk: bytes, base: int, spans: list[Run], sink: Sink) -> None:
    """Take every line of an event whose time cannot be read as damage of its own."""
    for start, end, line, _ in spans:
        offset = base + start
        for number, content in enumerate(chunk[start:end].split(b"\n")):
            if content.strip():
                sink.damage(offset, len(content.rstrip(b"\r")), line + number, NO_TIME)
            offset += len(content) + 1


def _head(node: bytes, key: bytes) -> bytes:
    seconds, _, serial = key.partition(b":")
    return b'{"AuditId":"%s","Micros":%s%s000,"Serial":"%s","Node":"%s"' % (
        key,
        seconds[:-4],
        seconds[-3:],
        serial,
        node,
    )


def _plain(chunk: bytes, start: int, end: int, match: re.Match[bytes]) -> bytes | None:
    """Return the row of a plain system call; None when the event has to be taken apart."""
    (
        node,
        audit_id,
        architecture,
        number,
        success,
        exit_code,
        ppid,
        pid,
        auid,
        uid,
        gid,
        euid,
        tty,
        session,
        comm,
        exe,
        key,
        login,
        name,
        effective,
    ) = match.groups(b"")
    values = b" ".join([comm, exe, key, *_VALUES.findall(chunk, start, end)])
    wanted = _WANTED_BEFORE.get(values)
    if wanted is None:
        wanted = _is_wanted(values)
        if len(_WANTED_BEFORE) < _MOST_KNOWN:
            _WANTED_BEFORE[values] = wanted
    if wanted or chunk.find(b"type=CONFIG_", start, end) >= 0:
        return None
    syscall = _NAMES.get(architecture, {}).get(number, number)
    command = _plain_command(chunk, start, end) if syscall in _EXEC else b""
    if command is None:
        return None
    if not login and not name:
        login, name, effective = auid, uid, euid
    return _head(node, audit_id) + (
        b',"RecordType":"SYSCALL","RecordTypes":"SYSCALL","Architecture":"%s","Syscall":"%s","success":"%s","exit":"%s","ppid":"%s","pid":"%s","auid":"%s","uid":"%s","gid":"%s",'
        b'"euid":"%s","tty":"%s","ses":"%s","comm":"%s","exe":"%s","key":"%s","LoginUser":"%s","UserName":"%s","EffectiveUser":"%s"%s}'
        % (
            _CODES.get(architecture, architecture),
            syscall,
            success,
            exit_code,
            ppid,
            pid,
            auid,
            uid,
            gid,
            euid,
            _known(tty),
            session,
            comm,
            exe,
            key,
            _UNNAMED.get(login, login),
            name,
            effective,
            command,
        )
    )


def _plain_command(chunk: bytes, start: int, end: int) -> bytes | None:
    """Return the members of a command line whose arguments need neither decoding nor quotes."""
    arguments = _ARGUMENTS.search(chunk, start, end)
    if arguments is None:
        return None
    words = _ARGUMENT.findall(arguments[2])
    command = b" ".join(words)
    if (
        len(words) != int(arguments[1])
        or b"" in words
        or _SPECIAL.search(command)
        or command.count(b" ") != len(words) - 1
        or _is_wanted(command)
    ):
        return None
    return b',"IsExec":"true","argc":%s,"CommandLine":"%s"' % (arguments[1], command)


def _plain_user(content: bytes, node: bytes, key: bytes) -> bytes | None:
    """Return the row of a plain record of a login program; None when it has to be taken apart."""
    user = _USER.search(content)
    if user is None or not _EPOCH.fullmatch(key) or b"ail" in user[8] or content.count(b"type=") > 1:
        return None
    accounts = _ACCOUNTS_OF_USER.search(content)
    kind, pid, uid, auid, session, operation, account, exe, host, address, terminal, result = user.groups(b"")
    login, name = (accounts[2], accounts[1]) if accounts else (auid, uid)
    return _head(node, key) + (
        b',"RecordType":"%s","RecordTypes":"%s","LoginUser":"%s","UserName":"%s","pid":"%s","uid":"%s","auid":"%s","ses":"%s","op":"%s","acct":"%s","exe":"%s","hostname":"%s","addr":"%s","terminal":"%s","res":"%s"}'
        % (
            kind,
            kind,
            _UNNAMED.get(login, login),
            name,
            pid,
            uid,
            auid,
            session,
            operation,
            account,
            exe,
            _known(host),
            _known(address),
            _known(terminal),
            result,
        )
    )


def _known(value: bytes) -> bytes:
    return b"" if value in {b"?", b"(null)", b"(none)"} else value


def _is_wanted(values: bytes) -> bool:
    # A plain loop takes half the time of any().
    for word in _WANTED:  # noqa: SIM110
        if word in values:
            return True
    return False


def identity(line: bytes) -> bytes:
    """Return what names the event of a line: node and id; empty for a line of no event."""
    start = line.find(b"audit(")
    end = line.find(b")", start)
    return (
        line[: line.find(b" ")] + line[start:end]
        if 0 <= start < end and line.startswith(b"node=")
        else line[start:end]
        if 0 <= start < end
        else b""
    )


def slow(content: bytes, offset: int, line: int, sink: Sink) -> None:
    """Take a single line in a form of its own (interpreted, AUOMS) as an event."""
    match = _START.match(content)
    if match is None:
        sink.damage(offset, len(content), line, NO_RECORD)
        return
    event = Event(text(match[3]), text(match[1] or b""), interpreted=b"/" in match[3])
    event.add(text(match[2] or b"UNKNOWN").removeprefix("AUOMS_"), content[match.end() :])
    data = event.data()
    if data is None:
        sink.damage(offset, len(content), line, NO_TIME)
    else:
        sink.row(msgspec.json.encode(data), offset, len(content), line, event.is_partial())
