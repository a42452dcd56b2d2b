"""Write text logs of a Linux mail host of any size: a mail log, and an audit log with few or many events about mail.

Nothing here is random but the seed; the same arguments give the same bytes. Times go on, serials are never used twice.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_SECONDS = 86_400
# 2026-03-01T00:00:00Z; the audit log counts from 1970, the mail log is written out.
EPOCH = 1_772_323_200
SUBJECTS = (
    "Invoice {n}",
    "Re: meeting on {n}",
    "Offer {n}, flags=(), from=boss@contoso.example",
    "Quarterly figures, part {n}",
)
# Every so many events, one has its lines behind this many stand between those of the next.
TORN, TORN_BEHIND = 50, 2
NODE = "mx1.contoso.example"


def mail_log(path: Path, lines: int, seed: int = 1) -> None:
    """Write deliveries (two thirds of the lines), sessions of clients, and what nobody asks about."""
    choose = random.Random(seed)
    written = 0
    clock = 0.0
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        while written < lines:
            number = written
            (make,) = choose.choices((_delivery, _session, _noise), (55, 35, 10))
            texts = make(choose, number)
            for text in texts:
                clock += choose.random() * 0.4
                handle.write(f"{_written(clock)} mx1 {text}\n")
            written += len(texts)


def _written(clock: float) -> str:
    day, second = divmod(clock, DAY_SECONDS)
    minute, rest = divmod(second, 60)
    hour, minute = divmod(int(minute), 60)
    month, day = divmod(int(day), 28)
    return f"2026-{month % 12 + 1:02d}-{day + 1:02d}T{hour:02d}:{minute:02d}:{rest:09.6f}+00:00"


def _delivery(choose: random.Random, number: int) -> list[str]:
    user = f"user{choose.randrange(500)}"
    queue = f"{choose.getrandbits(44):011X}"
    message = f"{choose.getrandbits(60)}.{number}@fabrikam.example"
    address = f"198.51.100.{choose.randrange(1, 255)}"
    size, uid = choose.randrange(600, 90_000), choose.randrange(1, 60_000)
    session = f"{choose.getrandbits(100):025x}"[:22]
    smtp, lmtp = choose.randrange(1000, 60000), choose.randrange(1000, 60000)
    subject = choose.choice(SUBJECTS).format(n=number)
    sender = f"partner{choose.randrange(90)}@fabrikam.example"
    return [
        f"postfix/smtpd[{smtp}]: connect from mail.fabrikam.example[{address}]",
        f"postfix/smtpd[{smtp}]: {queue}: client=mail.fabrikam.example[{address}]",
        f"postfix/cleanup[{smtp + 4}]: {queue}: message-id=<{message}>",
        f"postfix/qmgr[811]: {queue}: from=<{sender}>, size={size}, nrcpt=1 (queue active)",
        f"dovecot: lmtp({lmtp}): Connect from local",
        f"dovecot: lmtp({user})<{lmtp}><{session}>: save: box=INBOX, uid={uid}, msgid=<{message}>, size={size + 340}, vsize={size + 361}, from={sender}, subject={subject}, flags=()",
        f"dovecot: lmtp({user})<{lmtp}><{session}>: sieve: msgid=<{message}>: stored mail into mailbox 'INBOX'",
        f"postfix/lmtp[{smtp + 9}]: {queue}: to=<{user}@contoso.example>, relay=mx1.contoso.example[private/dovecot-lmtp], delay=0.{number % 90 + 10}, delays=0.01/0.01/0.01/0.01, dsn=2.0.0, status=sent (250 2.0.0 <{user}@contoso.example> {session} Saved)",
        f"postfix/qmgr[811]: {queue}: removed",
        f"postfix/smtpd[{smtp}]: disconnect from mail.fabrikam.example[{address}] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
    ]


def _session(choose: random.Random, number: int) -> list[str]:
    user = f"user{choose.randrange(500)}"
    address = f"203.0.113.{choose.randrange(1, 255)}"
    session = f"{choose.getrandbits(100):025x}"[:16]
    process = choose.randrange(1000, 60000)
    texts = [
        f"dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={address}, lip=192.0.2.25, mpid={process}, TLS, session=<{session}>"
    ]
    removed = choose.choice((0, 0, 0, 0, 1, 1, 2, 5))
    texts += [
        f"dovecot: imap({user})<{process}><{session}>: {event}: box=INBOX, uid={number + item}, msgid=<{number}.{item}@fabrikam.example>, size=7{item}1, vsize=7{item}9, from=partner@fabrikam.example, subject=Note {number}, flags=(\\Deleted \\Seen)"
        for event in ("delete", "expunge")
        for item in range(removed)
    ]
    texts.append(
        f"dovecot: imap({user})<{process}><{session}>: Disconnected: Logged out in={number % 900} out={number % 90000} deleted={removed} expunged={removed} trashed=0 hdr_count=3 hdr_bytes=75 body_count={number % 4} body_bytes=3019"
    )
    return texts


def _noise(choose: random.Random, _: int) -> list[str]:
    address = f"203.0.113.{choose.randrange(1, 255)}"
    return [
        choose.choice(
            (
                f"postfix/smtpd[4711]: warning: unknown[{address}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
                f"postfix/anvil[812]: statistics: max connection rate 2/60s for (smtp:{address}) at Mar  1 00:00:00",
                f"postfix/smtpd[4712]: lost connection after AUTH from unknown[{address}]",
                f"dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<root>, method=PLAIN, rip={address}, lip=192.0.2.25, session=<abc{address}>",
                "CRON[5150]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)",
                f"sshd[991]: Accepted publickey for admin from {address} port 51234 ssh2: ED25519 SHA256:c29tZXRoaW5n",
            )
        )
    ]


# Programs of an ordinary server with the files they touch; none is about mail or logs.
PROGRAMS = (
    ("nginx", "/usr/sbin/nginx", "/var/www/html/index.html", 33),
    ("postgres", "/usr/lib/postgresql/15/bin/postgres", "base/16384/2619", 26),
    ("systemd", "/usr/lib/systemd/systemd", "/run/systemd/units/invocation:nginx.service", 0),
    ("bash", "/usr/bin/bash", "/etc/profile", 1000),
    ("apt", "/usr/bin/apt", "/var/lib/dpkg/lock", 0),
    ("node", "/usr/bin/node", "/srv/app/node_modules/express/index.js", 1001),
    ("python3", "/usr/bin/python3.11", "/srv/jobs/queue.db", 1002),
)
COMMANDS = (
    ("ls", "-la", "/srv"),
    ("id", "-u"),
    ("grep", "-c", "processor", "/proc/cpuinfo"),
    ("date",),
    ("sleep", "5"),
)
# What reaches a mail file: program, its file, system call, third argument, role of the path.
UNLINK = 87
MAIL = (
    (
        "dovecot",
        "/usr/lib/dovecot/imap",
        "/var/mail/vhosts/contoso.example/{user}/cur/{n}.M1P2.mx1,S=731:2,S",
        87,
        "",
        "DELETE",
    ),
    (
        "lmtp",
        "/usr/lib/dovecot/lmtp",
        "/var/mail/vhosts/contoso.example/{user}/new/{n}.M1P2.mx1,S=731",
        257,
        "241",
        "CREATE",
    ),
    ("local", "/usr/lib/postfix/sbin/local", "/var/mail/{user}", 257, "401", "NORMAL"),
    ("rm", "/usr/bin/rm", "/home/{user}/Maildir/cur/{n}.mx1:2,S", 263, "", "DELETE"),
)


def audit_log(path: Path, events: int, mail_share: float, seed: int = 1, *, enriched: bool = True) -> None:
    """Write an audit log in which `mail_share` of the events touch mail; one in fifty is torn by lines of the next."""
    choose = random.Random(seed)
    held: list[str] = []
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for number in range(events):
            key = f"{EPOCH + number // 40}.{number % 1000:03d}:{number + 100}"
            kind = choose.random()
            make = (
                _mail_event
                if kind < mail_share
                else (_file_event, _file_event, _command_event, _login_event)[number % 4]
            )
            lines = [_line(record, key, tail if enriched else "") for record, tail in make(choose, number)]
            if number % TORN == 0 and len(lines) > TORN_BEHIND:
                # The rest comes after the next event's first lines, as two processors write them.
                handle.writelines(lines[:TORN_BEHIND])
                held = lines[TORN_BEHIND:]
                continue
            handle.writelines(lines[:1] + held + lines[1:])
            held = []
        handle.writelines(held)


def _line(record: str, key: str, tail: str) -> str:
    kind, _, body = record.partition(" ")
    return f"node={NODE} type={kind} msg=audit({key}): {body}" + (f"\x1d{tail}" if tail else "") + "\n"


Records = list[tuple[str, str]]


def _call(
    choose: random.Random,
    syscall: int,
    name: str,
    arguments: str,
    items: int,
    program: tuple[str, str, int],
    key: str,
) -> tuple[str, str]:
    comm, exe, user = program
    process = choose.randrange(1000, 60000)
    account = {0: "root", 87: "vmail"}.get(user, f"user{user}")
    return (
        f'SYSCALL arch=c000003e syscall={syscall} success=yes exit=3 {arguments} items={items} ppid={process - 7} pid={process} auid=1000 uid={user} gid={user} euid={user} suid={user} fsuid={user} egid={user} sgid={user} fsgid={user} tty=pts0 ses={process % 400} comm="{comm}" exe="{exe}" subj=unconfined key={key}',
        f'ARCH=x86_64 SYSCALL={name} AUID="admin" UID="{account}" GID="{account}" EUID="{account}" SUID="{account}" FSUID="{account}" EGID="{account}" SGID="{account}" FSGID="{account}"',
    )


def _path(choose: random.Random, item: int, name: str, role: str, user: int) -> tuple[str, str]:
    return (
        f'PATH item={item} name="{name}" inode={choose.randrange(1000, 900000)} dev=fe:00 mode=0100644 ouid={user} ogid={user} rdev=00:00 nametype={role} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0',
        f'OUID="user{user}" OGID="user{user}"',
    )


def _title(words: tuple[str, ...]) -> tuple[str, str]:
    return f"PROCTITLE proctitle={chr(0).join(words).encode().hex().upper()}", ""


def _file_event(choose: random.Random, number: int) -> Records:
    comm, exe, name, user = PROGRAMS[choose.randrange(len(PROGRAMS))]
    call = _call(
        choose, 257, "openat", f"a0=ffffff9c a1=7f{number:010x} a2=80000 a3=0", 1, (comm, exe, user), "(null)"
    )
    return [call, ('CWD cwd="/srv"', ""), _path(choose, 0, name, "NORMAL", user), _title((exe, "-f"))]


def _command_event(choose: random.Random, number: int) -> Records:
    words = choose.choice(COMMANDS)
    exe = f"/usr/bin/{words[0]}"
    call = _call(
        choose, 59, "execve", f"a0=56{number:010x} a1=56aa a2=56bb a3=8", 2, (words[0], exe, 1000), '"exec"'
    )
    shown = " ".join(f'a{i}="{word}"' for i, word in enumerate(words))
    return [
        call,
        (f"EXECVE argc={len(words)} {shown}", ""),
        ('CWD cwd="/home/admin"', ""),
        _path(choose, 0, exe, "NORMAL", 0),
        _path(choose, 1, "/lib64/ld-linux-x86-64.so.2", "NORMAL", 0),
        _title(words),
    ]


def _login_event(choose: random.Random, _: int) -> Records:
    kind, operation = choose.choice(
        (("USER_ACCT", "PAM:accounting"), ("CRED_ACQ", "PAM:setcred"), ("USER_END", "PAM:session_close"))
    )
    body = f'pid={choose.randrange(1000, 60000)} uid=0 auid=1000 ses=7 subj=unconfined msg=\'op={operation} grantors=pam_permit acct="admin" exe="/usr/sbin/cron" hostname=? addr=? terminal=cron res=success\''
    return [(f"{kind} {body}", 'UID="root" AUID="admin"')]


def _mail_event(choose: random.Random, number: int) -> Records:
    comm, exe, pattern, syscall, flags, role = MAIL[choose.randrange(len(MAIL))]
    user = choose.randrange(1001, 1400)
    name = pattern.format(user=f"user{user}", n=EPOCH + number)
    arguments = (
        f"a0={'7f00' if syscall == UNLINK else 'ffffff9c'} a1=7f{number:010x} a2={flags or '0'} a3=1b6"
    )
    folder = name.rpartition("/")[0] + "/"
    names = {UNLINK: "unlink", 257: "openat", 263: "unlinkat"}
    return [
        _call(choose, syscall, names[syscall], arguments, 2, (comm, exe, user), '"mail"'),
        ('CWD cwd="/"', ""),
        _path(choose, 0, folder, "PARENT", user),
        _path(choose, 1, name, role, user),
        _title((exe, "-d", name)),
    ]


def damaged(lines: list[bytes], share: float, seed: int = 5) -> Iterator[bytes]:
    """Yield the lines, a share of them cut at either end or with bytes that are no text in their middle."""
    choose = random.Random(seed)
    for line in lines:
        if choose.random() >= share:
            yield line
            continue
        cut = choose.randrange(1, max(2, len(line) - 1))
        yield (line[:cut], line[:cut] + b"\xff\xfe\x00" + line[cut + 3 :], line[cut:])[choose.randrange(3)]
