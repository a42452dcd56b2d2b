"""The accounts of a host, read from its files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
_FIRST_PERSON, _NOBODY = 1000, 65534
# Groups that reach further than their members' own files.
_REACH = {
    "mail": "the mail stores",
    "adm": "the logs",
    "sudo": "everything",
    "wheel": "everything",
    "root": "everything",
    "shadow": "the passwords",
}


class Account(msgspec.Struct, frozen=True):
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    def is_person(self) -> bool:
        """Say whether a person may log in by it."""
        return _FIRST_PERSON <= self.uid < _NOBODY and not self.shell.endswith(("nologin", "false"))


class Accounts:
    """Names of users and groups."""

    def __init__(self, root: Root) -> None:
        self.users = list(_users(root.text("/etc/passwd") or ""))
        self.groups = list(_groups(root.text("/etc/group") or ""))
        self._user_names = {one.uid: one.name for one in reversed(self.users)}
        self._group_names = {number: name for name, number, _ in reversed(self.groups)}

    def user(self, uid: int) -> str:
        """Return a user's name, or the number."""
        return self._user_names.get(uid, str(uid))

    def group(self, gid: int) -> str:
        """Return a group's name, or the number."""
        return self._group_names.get(gid, str(gid))

    def facts(self, root: Root) -> Iterator[JsonDict]:
        """Yield who may become whom: members of groups that reach far, and rules of sudo that ask for no password."""
        people = {one.name for one in self.users if one.is_person()}
        for name, gid, members in self.groups:
            primary = [one.name for one in self.users if one.gid == gid and one.is_person()]
            for member in sorted({*members, *primary}) if name in _REACH else []:
                settings = {
                    "Account": member,
                    "Group": name,
                    "Reaches": _REACH[name],
                    "IsPerson": member in people,
                }
                yield {"Kind": "HostAccess", "Identity": f"{member} in {name}", "Settings": settings}
        yield from _sudo(root)


def _sudo(root: Root) -> Iterator[JsonDict]:
    """Yield the rules of sudoers (sudoers(5): who host = (as whom) tags: commands)."""
    paths = ["/etc/sudoers", *(f"/etc/sudoers.d/{name}" for name in root.names("/etc/sudoers.d"))]
    for path in paths:
        text = (root.text(path) or "").replace("\\\n", " ")
        for line in text.splitlines():
            plain = line.strip()
            if "=" not in plain or re.match(r"#|@|Defaults|(?:User|Cmnd|Host|Runas)_Alias", plain):
                continue
            who, _, what = plain.partition("=")
            settings = {
                "Rule": plain,
                "Account": who.split()[0] if who.split() else "",
                "NoPassword": "NOPASSWD" in what,
                "Everything": bool(re.search(r"(?:^|[\s:,)])ALL\s*(?:,|$)", what)),
                "Place": path,
            }
            yield {"Kind": "SudoRule", "Identity": plain, "Settings": settings}


def _users(text: str) -> Iterator[Account]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():  # noqa: PLR2004 - passwd(5)
            yield Account(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6])


def _groups(text: str) -> Iterator[tuple[str, int, list[str]]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdigit():  # noqa: PLR2004 - group(5)
            yield fields[0], int(fields[2]), [name for name in fields[3].split(",") if name]
