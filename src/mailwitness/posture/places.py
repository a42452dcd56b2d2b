"""Where a mail host keeps mail, mail logs, filters and settings, and who may change them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from mailwitness.posture.audit_rules import watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.posture.accounts import Account, Accounts
    from mailwitness.posture.audit_rules import AuditRule
    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
_SPOOLS = ("/var/mail", "/var/spool/mail")
_VIRTUAL = ("/var/vmail", "/srv/vmail", "/home/vmail", "/srv/mail")
_MAILDIRS = ("Maildir", ".maildir", "mail", "mdbox", "sdbox")
_FILTERS = (".forward", ".procmailrc", ".dovecot.sieve", "sieve", ".mailfilter", ".fetchmailrc")
_LOG_NAMES = ("mail", "maillog", "dovecot", "exim4", "exim", "rspamd", "clamav-milter")
_SETTINGS = ("/etc/aliases", "/etc/postfix", "/etc/dovecot", "/etc/exim4", "/etc/procmailrc", "/etc/mailname")
_LOGGING = (
    "/etc/audit",
    "/etc/rsyslog.conf",
    "/etc/rsyslog.d",
    "/etc/syslog-ng",
    "/etc/systemd/journald.conf",
)
_MOST_ACCOUNTS = 2000


def places(root: Root, accounts: Accounts, configured: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield role, path and the owner it should have (empty: root or a service), each path once.

    Args:
        root: the host.
        accounts: its users.
        configured: mail stores that Dovecot's settings name.
    """
    seen: set[str] = set()
    for role, path, owner in _all(root, accounts, configured):
        if path not in seen and root.status(path, follow=False) is not None:
            seen.add(path)
            yield role, path, owner


def _all(root: Root, accounts: Accounts, configured: list[str]) -> Iterator[tuple[str, str, str]]:
    for spool in _SPOOLS:
        yield "spool", spool, ""
    # /var/spool/mail is usually a link to /var/mail: its boxes are those.
    yield from (("mbox", f"/var/mail/{name}", name) for name in root.names("/var/mail"))
    yield from (("maildir", path, "") for path in (*_VIRTUAL, *configured))
    yield from _homes([one for one in accounts.users if one.is_person()][:_MOST_ACCOUNTS])
    for name in root.names("/var/log"):
        if name.startswith(_LOG_NAMES):
            yield "mail log", f"/var/log/{name}", ""
    yield "audit log", "/var/log/audit", ""
    yield from (("audit log", f"/var/log/audit/{name}", "") for name in root.names("/var/log/audit"))
    yield "journal", "/var/log/journal", ""
    for role, listed in (("mail setting", _SETTINGS), ("log setting", _LOGGING)):
        for path in listed:
            yield role, path, ""
            for name in root.names(path):
                yield role, f"{path}/{name}", ""
                yield from ((role, f"{path}/{name}/{inner}", "") for inner in root.names(f"{path}/{name}"))


def _homes(people: list[Account]) -> Iterator[tuple[str, str, str]]:
    for one in people:
        yield from (("maildir", f"{one.home}/{name}", one.name) for name in _MAILDIRS)
        yield from (("filter", f"{one.home}/{name}", one.name) for name in _FILTERS)


def facts(
    root: Root, accounts: Accounts, configured: list[str], rules: list[AuditRule]
) -> Iterator[JsonDict]:
    """Yield each place with mode, owner, access list, attributes and whether auditing watches it."""
    for role, path, owner in places(root, accounts, configured):
        found = root.status(path, follow=False)
        if found is not None:
            settings = describe(root, accounts, path, found)
            settings |= {"Role": role, "ExpectedOwner": owner, "Watched": watched(path, rules)}
            if role.endswith(" log"):
                # Two snapshots then show whether the same file was shortened.
                settings |= {"SizeBytes": found.st_size, "Inode": str(found.st_ino)}
            yield {"Kind": "HostFile", "Identity": path, "Settings": settings}


def describe(root: Root, accounts: Accounts, path: str, found: Any) -> JsonDict:  # noqa: ANN401 - os.stat_result
    """Return who may do what with a file, as members of the snapshot; modes are octal text as stat(1) prints them."""
    mode = found.st_mode
    is_link = stat.S_ISLNK(mode)
    named = [] if is_link else root.named_in_acl(path)
    return {
        "Path": path,
        "Type": "folder"
        if stat.S_ISDIR(mode)
        else "link"
        if is_link
        else "file"
        if stat.S_ISREG(mode)
        else "other",
        "Mode": f"{stat.S_IMODE(mode):04o}",
        "Owner": accounts.user(found.st_uid),
        "Group": accounts.group(found.st_gid),
        "GroupReads": bool(mode & stat.S_IRGRP),
        "GroupWrites": bool(mode & stat.S_IWGRP),
        "OthersRead": bool(mode & stat.S_IROTH),
        "OthersWrite": bool(mode & stat.S_IWOTH),
        "OthersEnter": bool(mode & stat.S_IXOTH),
        "IsSticky": bool(mode & stat.S_ISVTX),
        "Acl": named,
        "AclWrites": [entry for entry in named if "w" in entry.rsplit(":", 1)[-1]],
        "Attributes": None if is_link else root.attributes(path),
    }
