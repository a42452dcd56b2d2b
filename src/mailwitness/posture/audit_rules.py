"""The rules of Linux auditing as its files hold them, and which of them see a change in a folder.

A line as auditctl takes it::

    -w /var/mail -p wa -k mail_store

Source: audit.rules(7), auditctl(8). A rule for a system call that takes a descriptor (ftruncate) has no path to compare with:
``-S ftruncate -F dir=/var/mail`` never fires, so it counts for nothing here.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
_FILE, _PARTS = "/etc/audit/audit.rules", "/etc/audit/rules.d"


class AuditRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    Attributes:
        place: path or folder it watches; empty for all.
        permissions: of ``rwxa``; empty for a rule of system calls alone.
    """

    text: str
    place: str = ""
    is_folder: bool = False
    permissions: str = ""
    calls: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    is_never: bool = False

    def sees_writes(self, path: str) -> bool:
        """Say whether it records that something below a path is opened for writing or its attributes change."""
        inside = path == self.place or path.startswith(self.place.rstrip("/") + "/")
        others = [
            one for one in self.fields if not one.startswith(("dir=", "path=", "perm=", "key=", "arch="))
        ]
        return (
            bool(self.place)
            and inside
            and {"w", "a"} <= set(self.permissions)
            and not others
            and not self.is_never
        )


def rules(root: Root) -> list[AuditRule]:
    """Return the rules that are loaded at boot: audit.rules, or its parts where it was not put together yet."""
    text = root.text(_FILE) or ""
    if not any(map(parse, text.splitlines())):
        text = "\n".join(
            root.text(f"{_PARTS}/{name}") or "" for name in root.names(_PARTS) if name.endswith(".rules")
        )
    return [rule for rule in map(parse, text.splitlines()) if rule is not None]


def parse(line: str) -> AuditRule | None:
    """Return the rule in a line, or None when there is none."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    pairs = [(words[i], words[i + 1] if i + 1 < len(words) else "") for i in range(len(words))]
    fields = tuple(value for flag, value in pairs if flag == "-F")
    action = next((value for flag, value in pairs if flag in {"-a", "-A"}), "")
    watch = next((value for flag, value in pairs if flag == "-w"), "")
    if not action and not watch:
        return None
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    permissions = next((value for flag, value in pairs if flag == "-p"), "rwxa" if watch else "")
    return AuditRule(
        text=line.strip(),
        place=(watch or named.get("dir") or named.get("path") or "").rstrip("/"),
        is_folder=bool(watch or named.get("dir")),
        permissions=permissions or named.get("perm", ""),
        calls=tuple(call for flag, value in pairs if flag == "-S" for call in value.split(",")),
        fields=fields,
        is_never="never" in action.split(","),
    )


def watched(path: str, listed: list[AuditRule]) -> bool:
    """Say whether the rules record every write below a path."""
    return any(rule.sees_writes(path) for rule in listed)


def facts(root: Root, listed: list[AuditRule]) -> Iterator[JsonDict]:
    """Yield the state of auditing, and its rules."""
    control = [line.split() for line in (root.text(_FILE) or "").splitlines() + _part_lines(root)]
    running = _running(root, "auditd")
    settings = {
        "IsInstalled": any(root.status(path) is not None for path in ("/usr/sbin/auditd", "/sbin/auditd")),
        "Rules": len(listed),
        "IsRunning": running,
        "IsLocked": any(words[:2] == ["-e", "2"] for words in control),
        "FailureMode": next((words[1] for words in control if words[:1] == ["-f"] and len(words) > 1), ""),
        "SeesPrograms": _sees_programs(listed),
        "SeesPrograms32": _sees_programs(listed, "b32"),
        "SeesFlagChanges": _sees_flags(listed),
        "FdRules": [
            r.text
            for r in listed
            if r.place and r.calls and set(r.calls) <= {"ftruncate", "fchmod", "fchown", "write", "ioctl"}
        ],
        **_daemon(root),
    }
    yield {"Kind": "AuditState", "Identity": "auditd", "Settings": settings}
    for path in (
        "/var/log",
        "/etc/postfix",
        "/etc/dovecot",
        "/etc/exim4",
        "/etc/audit",
        "/etc/rsyslog.d",
        "/etc/rsyslog.conf",
    ):
        if root.status(path) is not None:
            yield {
                "Kind": "AuditWatch",
                "Identity": path,
                "Settings": {"Path": path, "Watched": _covers(path, root, listed)},
            }


def _covers(path: str, root: Root, listed: list[AuditRule]) -> bool:
    """Say whether a path is watched; of /var/log only the mail logs in it have to be."""
    if path != "/var/log":
        return watched(path, listed)
    logs = [
        f"/var/log/{name}"
        for name in root.names("/var/log")
        if name in {"mail.log", "maillog", "mail", "dovecot.log", "mail.err"}
    ]
    return bool(logs) and all(watched(log, listed) for log in logs)


def _part_lines(root: Root) -> list[str]:
    names = [name for name in root.names(_PARTS) if name.endswith(".rules")]
    return [line for name in names for line in (root.text(f"{_PARTS}/{name}") or "").splitlines()]


def _sees_programs(listed: list[AuditRule], arch: str = "b64") -> bool:
    return any(
        "execve" in rule.calls and f"arch={arch}" in rule.fields and not rule.place and not rule.is_never
        for rule in listed
    )


def _sees_flags(listed: list[AuditRule]) -> bool:
    """Say whether chattr is seen: it is an ioctl, which a watch for attributes does not see (FS_IOC_SETFLAGS)."""
    return any("ioctl" in rule.calls and "a1=0x40086602" in rule.fields for rule in listed)


def _daemon(root: Root) -> JsonDict:
    """Return what auditd does with its log (auditd.conf(5))."""
    lines = [
        line.partition("=")
        for line in (root.text("/etc/audit/auditd.conf") or "").splitlines()
        if "=" in line
    ]
    values = {
        name.strip().lower(): value.strip() for name, _, value in lines if not name.strip().startswith("#")
    }
    return {
        "WritesLogs": values.get("write_logs", "yes").lower() != "no",
        "DiskFullAction": values.get("disk_full_action", "").lower(),
        "MaxLogFileAction": values.get("max_log_file_action", "").lower(),
    }


def _running(root: Root, name: str) -> bool | None:
    """Say whether a program runs; None when this is not the live host."""
    if not root.is_live:
        return None
    return any(
        (root.text(f"/proc/{number}/comm") or "").strip() == name
        for number in root.names("/proc")
        if number.isdigit()
    )
