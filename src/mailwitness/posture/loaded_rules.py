"""The audit rules that the kernel holds now, beside those that the files would load at the next start.

``auditctl -l`` prints one rule a line, as auditctl takes it; ``auditctl -s`` prints a name and a number a line::

    -w /var/mail -p wa -k mail_store
    -a always,exit -F arch=b64 -S unlink,rename -F dir=/var/mail -F key=mail_store

Both only read (auditctl(8)), and need root and the kernel's first user and process namespace.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from mailwitness.posture import audit_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailwitness.posture.audit_rules import AuditRule
    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
Normal = tuple[object, ...]
_PROGRAM = "auditctl"
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 10
# Three ways of writing the account that nobody logged in with.
_UNSET = {"unset": "-1", "4294967295": "-1"}


def facts(root: Root, written: Sequence[AuditRule]) -> Iterator[JsonDict]:
    """Yield what the kernel holds, when this is the running host; why it cannot be had is noted as unread.

    Args:
        root: the host.
        written: the rules of its files.
    """
    if not root.is_live:
        return
    listed, why = _run("-l")
    state, _ = _run("-s")
    if why:
        root.unread[_PROGRAM] = why
        return
    loaded = {normal(rule) for rule in map(audit_rules.parse, listed) if rule is not None}
    counters = dict(line.split()[:2] for line in state if len(line.split()) > 1)
    missing = [rule.text for rule in written if normal(rule) not in loaded]
    settings = {
        "Loaded": len(loaded),
        "Written": len(written),
        "Missing": missing,
        "Enabled": int(counters.get("enabled", "0")),
        "Lost": int(counters.get("lost", "0")),
        "Backlog": int(counters.get("backlog", "0")),
        "BacklogLimit": int(counters.get("backlog_limit", "0")),
    }
    yield {"Kind": "AuditLoaded", "Identity": "kernel", "Settings": settings}


def normal(rule: AuditRule) -> Normal:
    """Return a rule in one form, however it was written: a watch and the two ways of listing calls are the same to the kernel."""
    told_apart = ("dir=", "path=", "perm=", "key=")
    fields = frozenset(_field(one) for one in rule.fields if not one.startswith(told_apart))
    calls = frozenset(rule.calls) - {"all"}
    return rule.place, frozenset(rule.permissions), calls, fields, rule.is_never


def _field(text: str) -> str:
    for sign in ("!=", ">=", "<=", "=", ">", "<"):
        name, found, value = text.partition(sign)
        if found:
            value = _UNSET.get(value, value)
            return f"{name}{sign}{int(value, 16) if value.startswith('0x') else value}"
    return text


def _run(flag: str) -> tuple[list[str], str]:
    """Return the lines that auditctl printed, or why there are none."""
    program = shutil.which(_PROGRAM, path=_PATH)
    if program is None:
        return [], "auditctl is not installed"
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system with a fixed flag
            [program, flag], capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"auditctl {flag}: {error}"
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return [], f"auditctl {flag}: {said[-1] if said else f'it ended with {done.returncode}'}"
    return done.stdout.splitlines(), ""
