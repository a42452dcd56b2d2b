"""A whole mail host for tests: Postfix, Dovecot, rsyslog, journald and auditd from Debian, in namespaces of their own, as root.

``/etc`` and ``/var`` are overlays, ``/home``, ``/var/mail`` and ``/var/log`` are folders of the test on its own file system (audit rules for a
folder need a real one), ``/run`` and ``/dev`` are empty but for what is needed. The host reaches the machine over a virtual cable,
in a network for documentation. Auditing is one for the kernel: its state is put back at the end. Process numbers are those of the machine, because
the kernel takes audit rules from its first process namespace only; what runs in the host is known by its mount namespace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

PROGRAMS = (
    "postfix",
    "dovecot",
    "doveadm",
    "rsyslogd",
    "auditd",
    "auditctl",
    "journalctl",
    "unshare",
    "nsenter",
    "ip",
    "useradd",
)
PLUGINS = ("/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/imap", "/lib/systemd/systemd-journald")
# Networks for documentation; the first one that this machine does not use itself is taken.
_NETWORKS = ("198.51.100", "203.0.113", "192.0.2")
_SECONDS = 60
_BEGIN = """\
set -e
mount --make-rprivate /
for name in etc var; do mount -t overlay overlay -o "lowerdir=/$name,upperdir=$1/$name.up,workdir=$1/$name.work" "/$name"; done
mkdir -p /var/log/journal
for name in home:/home mail:/var/mail log:/var/log audit:/etc/audit; do mount --bind "$1/${name%%:*}" "${name#*:}"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/dev/shm /run/dovecot /run/systemd/journal /run/log/journal
for name in null zero full random urandom tty kmsg; do
  [ ! -e /dev/$name ] || { touch /run/dev/$name; mount --bind /dev/$name /run/dev/$name; }
done
ln -s /proc/self/fd /run/dev/fd
mount --rbind /run/dev /dev
hostname mx1.contoso.example
ip link set lo up
touch "$1/ready"
exec sleep 3600
"""
_RSYSLOG = """\
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="/run/systemd/journal/syslog" CreatePath="on")
input(type="imuxsock" Socket="/var/spool/postfix/dev/log" CreatePath="on")
global(workDirectory="/var/spool/rsyslog")
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
include(file="/etc/rsyslog.d/*.conf" mode="optional")
mail.* -/var/log/mail.log
auth,authpriv.* /var/log/auth.log
"""
_DOVECOT = """\
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
syslog_facility = mail
mail_location = maildir:~/Maildir
mail_privileged_group = mail
auth_username_format = %Ln
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
"""
_MAIN = {
    "myhostname": "mx1.contoso.example", "mydomain": "contoso.example", "myorigin": "contoso.example",
    "mydestination": "contoso.example, localhost", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8", "alias_maps": "", "relayhost": "", "compatibility_level": "3.6",
    "mailbox_transport_maps": "texthash:/etc/postfix/transports",
}  # fmt: skip


def why_not() -> str:
    """Return why the host cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "a mail host in namespaces of its own needs root"
    missing = [
        name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    ]
    missing += [path for path in PLUGINS if not Path(path).exists()]
    return f"not installed: {', '.join(missing)}" if missing else ""


def free_network() -> str:
    """Return the beginning of a network that this machine neither has nor reaches."""
    shown = [
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
        for words in (("route",), ("addr",))
    ]
    return next(network for network in _NETWORKS if not any(f"{network}." in text for text in shown))


class MailHost:
    """A running host; use it as a context.

    Attributes:
        root: folder with its files, seen from outside: ``home``, ``mail``, ``log``.
        outside: address of the machine as the host sees it.
        inside: address of the host.
        audit: why the kernel's audit records cannot be had here; empty when they can.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.audit = ""
        self._holder: subprocess.Popen[bytes] | None = None
        self._programs: list[subprocess.Popen[bytes]] = []
        network = free_network()
        self.outside, self.inside = f"{network}.1", f"{network}.2"
        self._cable = f"mw{os.getpid() % 100000}"

    def __enter__(self) -> Self:
        try:
            self._begin()
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is None:
            return
        self._end_auditing()
        space = str(Path(f"/proc/{self._holder.pid}/ns/mnt").readlink())
        for _turn in range(3):
            for number in _inside(space) - {self._holder.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        for one in [*self._programs, self._holder]:
            one.kill()
            one.wait()
        subprocess.run(["ip", "link", "del", f"{self._cable}a"], check=False, capture_output=True)

    def _begin(self) -> None:
        for name in (
            "etc.up",
            "etc.work",
            "var.up",
            "var.work",
            "home",
            "mail",
            "log/audit",
            "log/journal",
            "audit",
        ):
            (self.root / name).mkdir(parents=True)
        shutil.copytree("/etc/audit", self.root / "audit", dirs_exist_ok=True)
        (self.root / "mail").chmod(0o2775)
        shutil.chown(self.root / "mail", "root", "mail")
        with (self.root / "begin.txt").open("wb") as out:
            self._holder = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--net", "--ipc", "bash", "-c", _BEGIN, "begin", str(self.root)],
            stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.until((self.root / "ready").exists, "the namespaces")
        ends = (f"{self._cable}a", f"{self._cable}b")
        for command in (
            ["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]],
            ["ip", "link", "set", ends[1], "netns", str(self._holder.pid)],
            ["ip", "addr", "add", f"{self.outside}/30", "dev", ends[0]],
            ["ip", "link", "set", ends[0], "up"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        self.run("ip", "addr", "add", f"{self.inside}/30", "dev", ends[1])
        self.run("ip", "link", "set", ends[1], "up")

    def _configure(self) -> None:
        self.shell(
            "echo mx1.contoso.example > /etc/hostname; printf '127.0.0.1 localhost mx1.contoso.example mx1\\n' > /etc/hosts"
        )
        for name in ("alice", "bob"):
            self.run("useradd", "-m", "-s", "/bin/bash", name)
        self.shell(
            "install -d -o alice -g alice -m 700 /home/alice/Maildir /home/alice/Maildir/cur /home/alice/Maildir/new /home/alice/Maildir/tmp"
        )
        self.shell(
            "mkdir -p /var/spool/rsyslog; rm -f /etc/rsyslog.d/*.conf; sed -ri 's/^(mail_location|ssl_cert|ssl_key)/#\\1/' /etc/dovecot/conf.d/10-mail.conf /etc/dovecot/conf.d/10-ssl.conf"
        )
        self.write("/etc/rsyslog.conf", _RSYSLOG)
        self.write("/etc/dovecot/local.conf", _DOVECOT)
        self.write("/etc/postfix/transports", "alice lmtp:unix:private/dovecot-lmtp\n")
        self.write(
            "/etc/systemd/journald.conf", "[Journal]\nStorage=persistent\nForwardToSyslog=yes\nAudit=\n"
        )
        # Nothing runs in a changed root: it would need a copy of the libraries.
        self.shell(
            "sed -ri 's/^(\\S+\\s+\\S+\\s+\\S\\s+\\S\\s+)y/\\1n/' /etc/postfix/master.cf; echo mx1 > /etc/mailname"
        )
        self.run("postconf", "-e", *(f"{name}={value}" for name, value in _MAIN.items()))

    def _start(self) -> None:
        self.background("/lib/systemd/systemd-journald")
        self.until(
            lambda: self.run("test", "-S", "/run/systemd/journal/dev-log", check=False).returncode == 0,
            "the journal",
        )
        self.shell("ln -sf /run/systemd/journal/dev-log /dev/log; journalctl --flush || true")
        self.run("rsyslogd", "-i", "/run/rsyslogd.pid")
        self.run("dovecot")
        self.run("postfix", "start")

    # -- auditing -----------------------------------------------------------------------------

    def start_auditing(self) -> None:
        """Load the host's rules and let auditd write; says in ``audit`` why not, where the kernel refuses."""
        self.shell(
            "sed -i 's/^log_format.*/log_format = ENRICHED/; s/^flush.*/flush = INCREMENTAL_ASYNC/' /etc/audit/auditd.conf"
        )
        loaded = self.run(
            "sh",
            "-c",
            "augenrules && auditctl -R /etc/audit/audit.rules",
            check=False,
        )
        if loaded.returncode:
            self.audit = (loaded.stderr or loaded.stdout).decode("utf-8", "replace").strip()[-300:]
            return
        self.background("auditd", "-n", "-s", "enable")
        self.until(lambda: (self.root / "log/audit/audit.log").exists() or self._auditd_failed(), "auditd")

    def _auditd_failed(self) -> bool:
        running = b"pid 0" not in self.run("auditctl", "-s", check=False).stdout
        return not running

    def _end_auditing(self) -> None:
        for words in (["-D"], ["-e", "0"]):
            self.run("auditctl", *words, check=False)

    # -- using it -----------------------------------------------------------------------------

    def _enter(self, words: tuple[str, ...]) -> list[str]:
        assert self._holder is not None
        return [
            "nsenter",
            f"--target={self._holder.pid}",
            "--mount",
            "--uts",
            "--net",
            "--ipc",
            "--wd=/",
            *words,
        ]

    def run(self, *words: str, given: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a program inside the host as root."""
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        # Daemons keep what they inherit, so output goes to files and not to pipes that would never end.
        with (self.root / "out").open("w+b") as out, (self.root / "err").open("w+b") as err:
            done = subprocess.run(
                self._enter(words),
                input=given,
                stdout=out,
                stderr=err,
                check=False,
                env=environment,
                timeout=300,
            )
            out.seek(0)
            err.seek(0)
            found = subprocess.CompletedProcess(words, done.returncode, out.read(), err.read())
        assert not check or found.returncode == 0, (
            words,
            found.returncode,
            found.stderr[-2000:],
            found.stdout[-2000:],
        )
        return found

    def shell(self, text: str) -> bytes:
        """Run lines of the shell inside the host as root; return what they print."""
        return self.run("bash", "-ec", text).stdout

    def background(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program inside the host; it ends with the host."""
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        with (self.root / f"{Path(words[0]).name}.txt").open("ab") as out:
            self._programs.append(
                subprocess.Popen(
                    self._enter(words),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=environment,
                    start_new_session=True,
                )
            )
        return self._programs[-1]

    def write(self, path: str, text: str) -> None:
        """Write a file inside the host."""
        self.run("sh", "-c", f"cat > {path}", given=text.encode())

    def deliver(self, numbers: range, user: str) -> None:
        """Hand messages to Postfix, and wait until they are delivered."""
        for number in numbers:
            text = (
                f"From: partner@fabrikam.example\nTo: {user}@contoso.example\nSubject: Invoice {number}\n"
                f"Message-ID: <m{number}@fabrikam.example>\n\nAbout transfer {number}.\n"
            )
            self.run(
                "sendmail", "-f", "partner@fabrikam.example", f"{user}@contoso.example", given=text.encode()
            )
        self.until(
            lambda: b"Mail queue is empty" in self.run("postqueue", "-p").stdout, "the queue to run empty"
        )

    def until(self, done: object, what: str, seconds: float = _SECONDS) -> None:
        """Wait for something; say what the host's programs printed when it does not come."""
        assert callable(done)
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or (self._holder is not None and self._holder.poll() is not None):
                said = "".join(
                    f"\n{p.name}: {p.read_text('utf-8', 'replace')[-1500:]}"
                    for p in sorted(self.root.glob("*.txt"))
                )
                message = f"waited in vain for {what}:{said}"
                raise TimeoutError(message)
            time.sleep(0.1)


def _inside(space: str) -> set[int]:
    """Return the processes of a mount namespace."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((path / "ns/mnt").readlink()) == space:
                found.add(int(path.name))
    return found
