"""A mail host for tests: Postfix, Dovecot and rsyslog from Debian in namespaces of their own, as root.

Nothing of the machine is touched: the host has its own network, process ids, ``/dev`` and ``/run``, and all its files
lie below one folder, which is ``/mnt`` inside. When the process that holds the namespaces ends, everything ends.
"""

from __future__ import annotations

import mailbox
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

PROGRAMS = ("postfix", "dovecot", "doveadm", "rsyslogd", "unshare", "nsenter", "ip")
PLUGINS = ("/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/modules/lib90_sieve_plugin.so", "/usr/lib/dovecot/imap")
DOVECOT = """\
base_dir = /run/dovecot
protocols = imap lmtp
listen = 127.0.0.1
ssl = required
ssl_cert = </mnt/tls/host.pem
ssl_key = </mnt/tls/host.key
syslog_facility = mail
first_valid_uid = 8
mail_plugins = mail_log notify
auth_username_format = %Ln
passdb {
  driver = passwd-file
  args = /mnt/users
}
userdb {
  driver = passwd-file
  args = /mnt/users
}
namespace inbox {
  inbox = yes
}
plugin {
  mail_log_events = delete undelete expunge copy save mailbox_create mailbox_delete
  mail_log_fields = uid box msgid size from subject flags
  sieve = file:~/sieve;active=~/.dovecot.sieve
}
protocol lmtp {
  mail_plugins = mail_log notify sieve
}
service lmtp {
  unix_listener /mnt/queue/private/dovecot-lmtp {
    mode = 0666
  }
}
service stats {
  client_limit = 1000
}
"""
USERS = """\
alice:{PLAIN}secret:8:8::/mnt/home/alice::userdb_mail=maildir:/mnt/home/alice/Maildir
bob:{PLAIN}secret:8:8::/mnt/home/bob::userdb_mail=mbox:/mnt/home/bob/mail:INBOX=/mnt/var/mail/bob
"""
POSTFIX = """\
compatibility_level = 3.6
myhostname = mx1.contoso.example
mydestination =
virtual_mailbox_domains = contoso.example
virtual_transport = lmtp:unix:private/dovecot-lmtp
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
queue_directory = /mnt/queue
data_directory = /mnt/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
shlib_directory = /usr/lib/postfix
header_checks = regexp:/mnt/postfix/header_checks
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
alias_maps =
alias_database =
"""
RSYSLOG = """\
module(load="imuxsock")
template(name="file" type="string" string="%TIMESTAMP:::date-rfc3339% %HOSTNAME% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n")
mail.* action(type="omfile" file="/mnt/log/mail.log" template="file" fileOwner="root" fileCreateMode="0644")
"""
# What has to be there before the first program starts: a /dev with a log socket of its own, a /run, the loopback.
BEGIN = """\
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -t tmpfs tmpfs /run
mkdir /run/dev
for name in null zero full random urandom tty; do touch /run/dev/$name; mount --bind /dev/$name /run/dev/$name; done
mkdir /run/dev/shm
mount --rbind /run/dev /dev
hostname mx1
ip link set lo up
rsyslogd -f /mnt/rsyslog.conf -i /run/rsyslogd.pid
postfix -c /mnt/postfix start
dovecot -c /mnt/dovecot.conf
touch /mnt/ready
exec sleep 3600
"""


def why_not() -> str:
    """Return why the host cannot run here; empty when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [path for path in PLUGINS if not Path(path).exists()]
    if os.geteuid() != 0:
        return "a mail host in namespaces of its own needs root"
    return f"not installed: {', '.join(missing)}" if missing else ""


def message(number: int) -> bytes:
    """Return a message; its number is in its id, its subject and its body."""
    return (
        f"Message-ID: <m{number}@fabrikam.example>\r\nSubject: {subject(number)}\r\nFrom: a@fabrikam.example\r\nTo: somebody@contoso.example\r\n"
        f"Date: Mon, 2 Mar 2026 09:{number % 60:02}:00 +0000\r\n\r\nAbout transfer {number}.\r\n"
    ).encode()


def subject(number: int) -> str:
    """Return a subject: the last ten numbers of alice are what filters look for."""
    return {True: f"Security alert {number}", False: f"Message {number}"}[40 <= number < 50]


def number_of(message_id: str) -> int:
    """Return the number in a message id, -1 for a message of somebody else."""
    found = re.search(r"<m(\d+)@", message_id)
    return int(found[1]) if found else -1


class MailHost:
    """A running host; use it as a context.

    Attributes:
        root: its files, seen from outside.
        box: alice's Maildir.
        spool: bob's mailbox file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.box = root / "home" / "alice" / "Maildir"
        self.spool = root / "var" / "mail" / "bob"
        self._holder: subprocess.Popen[bytes] | None = None
        self._inside = 0

    def __enter__(self) -> Self:
        self._write()
        apart = [
            "unshare",
            "--mount",
            "--uts",
            "--net",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        with (self.root / "start.txt").open("wb") as said:
            self._holder = subprocess.Popen(
                [*apart, "bash", "-c", BEGIN, "begin", str(self.root)], stdout=said, stderr=subprocess.STDOUT
            )
        self._until((self.root / "ready").exists, "the programs to start")
        listed = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._inside = int(listed[0])
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()

    def _write(self) -> None:
        for name in ("home/alice", "home/bob/mail", "var/mail", "log", "tls", "postfix", "queue", "data"):
            (self.root / name).mkdir(parents=True)
        for path in [self.root / "home", self.root / "var"]:
            for one in [path, *path.rglob("*")]:
                shutil.chown(one, "mail", "mail")
        shutil.chown(self.root / "data", "postfix")
        files = {
            "dovecot.conf": DOVECOT,
            "users": USERS,
            "rsyslog.conf": RSYSLOG,
            "postfix/main.cf": POSTFIX,
            "postfix/header_checks": "",
        }
        for name, text in files.items():
            (self.root / name).write_text(text)
        for name in ("master.cf", "dynamicmaps.cf", "postfix-files"):
            source = next(
                (
                    p
                    for p in (Path("/etc/postfix", name), Path("/usr/share/postfix", f"{name}.dist"))
                    if p.exists()
                ),
                None,
            )
            if source is not None:
                text = source.read_text()
                # Nothing runs in a changed root: it would need a copy of the libraries.
                (self.root / "postfix" / name).write_text(
                    re.sub(r"^(\S+\s+\S+\s+\S\s+\S\s+)y", r"\1n", text, flags=re.MULTILINE)
                )
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx1.contoso.example", "-addext", "subjectAltName=DNS:mx1.contoso.example,IP:127.0.0.1",
             "-keyout", str(self.root / "tls/host.key"), "-out", str(self.root / "tls/host.pem")],
            check=True, capture_output=True,
        )  # fmt: skip

    def _until(self, done: Callable[[], bool], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or (self._holder is not None and self._holder.poll() is not None):
                said = (self.root / "start.txt").read_text("utf-8", "replace")
                message = f"waited in vain for {what}: {said}"
                raise TimeoutError(message)
            time.sleep(0.05)

    def run(self, *words: str, given: bytes = b"", check: bool = True) -> bytes:
        """Run a program inside the host."""
        entered = [
            "nsenter",
            f"--target={self._inside}",
            "--mount",
            "--uts",
            "--net",
            "--ipc",
            "--pid",
            *words,
        ]
        done = subprocess.run(entered, input=given, capture_output=True, check=False)
        assert not check or done.returncode == 0, (words, done.stderr[-2000:], done.stdout[-2000:])
        return done.stdout

    def python(self, text: str) -> bytes:
        """Run a program text inside the host with this interpreter."""
        return self.run(sys.executable, "-", given=textwrap.dedent(text).encode())

    def doveadm(self, command: str, *words: str) -> None:
        """Run Dovecot's tool for alice; a command may be two words."""
        self.run("doveadm", "-c", "/mnt/dovecot.conf", *command.split(), "-u", "alice", *words)

    def deliver(self, numbers: list[int], address: str) -> None:
        """Send messages to Postfix over SMTP and wait until it has no more to do."""
        made = [message(number) for number in numbers]
        self.python(f"""
            import smtplib
            with smtplib.SMTP("127.0.0.1", 25) as s:
                for one in {made!r}:
                    s.sendmail("a@fabrikam.example", [{address!r}], one)
        """)
        self._until(self._is_idle, "the queue to run empty")

    def _is_idle(self) -> bool:
        return b"Mail queue is empty" in self.run("postqueue", "-c", "/mnt/postfix", "-p")

    def file_of(self, number: int) -> Path:
        """Return the Maildir file of a message."""
        wanted = f"<m{number}@fabrikam.example>".encode()
        files = [path for path in self.box.glob("**/*") if path.parent.name in {"cur", "new"}]
        return next(path for path in files if wanted in path.read_bytes())

    def imap(self, text: str) -> None:
        """Run IMAP commands as alice over TLS; ``c`` is the connection."""
        self.python(f"""
            import imaplib, ssl
            c = imaplib.IMAP4("127.0.0.1", 143)
            c.starttls(ssl.create_default_context(cafile="/mnt/tls/host.pem"))
            c.login("alice", "secret")
            c.select("INBOX")
            def uid(n):
                return c.uid("search", None, "HEADER", "Message-ID", f"<m{{n}}@fabrikam.example>")[1][0].decode()
            {text}
            c.logout()
        """)


# The ways, in the order in which they are gone: name, messages, what each deserves when everything was recorded.
WAYS = {
    "IMAP: STORE \\Deleted, EXPUNGE": range(5),
    "doveadm expunge": range(5, 10),
    "moved to Trash over IMAP, Trash emptied with doveadm": range(10, 15),
    "rm in the Maildir": range(15, 20),
    "shred -u in the Maildir": range(20, 25),
    "folder removed with doveadm mailbox delete": range(25, 30),
    "header edited in place": range(30, 35),
    "body edited in place, size kept": range(35, 40),
    "Sieve script: discard": range(40, 45),
    "Postfix header_checks: DISCARD": range(45, 50),
    "mailbox file rewritten by a program": range(150, 155),
}
CUT = "end of the mailbox file cut off"
ALICE, BOB = [n for n in range(150) if not 40 <= n < 50], list(range(150, 200))


def fill(host: MailHost) -> None:
    """Deliver all messages but those that filters will throw away."""
    host.deliver(ALICE, "alice@contoso.example")
    host.deliver(BOB, "bob@contoso.example")
    host.doveadm("mailbox create", "Case")
    host.imap("[c.uid('move', uid(n), 'Case') for n in range(25, 30)]")


def clear(host: MailHost) -> dict[str, list[int]]:
    """Clear sixty messages in twelve ways; return which messages went which way."""
    _clear_with_dovecot(host)
    for number in WAYS["rm in the Maildir"]:
        host.run("rm", str(Path("/mnt") / host.file_of(number).relative_to(host.root)))
    for number in WAYS["shred -u in the Maildir"]:
        host.run("shred", "-u", str(Path("/mnt") / host.file_of(number).relative_to(host.root)))
    for number in WAYS["header edited in place"]:
        host.run(
            "sed",
            "-i",
            "s/^Subject: .*/Subject: Lunch/",
            str(Path("/mnt") / host.file_of(number).relative_to(host.root)),
        )
    for number in WAYS["body edited in place, size kept"]:
        path = host.file_of(number)
        path.write_bytes(path.read_bytes().replace(b"transfer", b"TRANSFER"))
    _clear_with_filters(host)
    cut = _clear_spool(host)
    # Somebody's client looks into the mailboxes afterwards, as on every day.
    for user in ("alice", "bob"):
        host.run(
            "doveadm",
            "-c",
            "/mnt/dovecot.conf",
            "fetch",
            "-u",
            user,
            "uid hdr.message-id",
            "mailbox",
            "INBOX",
            "all",
        )
    return {**{way: list(numbers) for way, numbers in WAYS.items()}, CUT: cut}


def _clear_with_dovecot(host: MailHost) -> None:
    host.imap("[c.uid('store', uid(n), '+FLAGS', '(\\\\Deleted)') for n in range(5)]; c.expunge()")
    for number in WAYS["doveadm expunge"]:
        host.doveadm("expunge", "mailbox", "INBOX", "header", "message-id", f"<m{number}@fabrikam.example>")
    host.imap("c.create('Trash'); [c.uid('move', uid(n), 'Trash') for n in range(10, 15)]")
    host.doveadm("expunge", "mailbox", "Trash", "all")
    host.doveadm("mailbox delete", "Case")


def _clear_with_filters(host: MailHost) -> None:
    script = host.root / "home" / "alice" / ".dovecot.sieve"
    script.write_text('if header :contains "subject" "Security alert" { discard; }\n')
    shutil.chown(script, "mail", "mail")
    host.deliver(list(WAYS["Sieve script: discard"]), "alice@contoso.example")
    (host.root / "postfix" / "header_checks").write_text("/^Subject: Security alert/ DISCARD\n")
    host.run("postfix", "-c", "/mnt/postfix", "reload")
    time.sleep(0.5)
    host.deliver(list(WAYS["Postfix header_checks: DISCARD"]), "alice@contoso.example")


def _clear_spool(host: MailHost) -> list[int]:
    """Rewrite bob's file without five messages, then cut off its last five; return these."""
    box = mailbox.mbox(host.spool)
    wanted = set(WAYS["mailbox file rewritten by a program"])
    for key in [key for key, one in box.iteritems() if number_of(str(one["Message-ID"])) in wanted]:
        box.remove(key)
    box.flush()
    box.close()
    shutil.chown(host.spool, "mail", "mail")
    data = host.spool.read_bytes()
    starts = [found.start() for found in re.finditer(rb"^From a@fabrikam", data, re.MULTILINE)]
    with host.spool.open("r+b") as handle:
        handle.truncate(starts[-5])
    return [number_of(found.decode()) for found in re.findall(rb"<m\d+@", data[starts[-5] :])]
