"""One event of the Linux audit log: what was done, to which file, by which login.

The records of an event are lines of one `timestamp:serial`. What they say together becomes one row: the system call
with its name, the command line, the file acted upon as an absolute path, and whether it was created, modified,
truncated, renamed or deleted.
"""

from __future__ import annotations

import datetime as dt
import posixpath
import re
from typing import Any

import msgspec

from mailwitness.readers.audit_fields import ENRICHED, arguments, decode, fields, known, text
from mailwitness.readers.syscalls import ARCHITECTURES, syscall_name

Data = dict[str, Any]  # Any: JSON values

# open(2): asm-generic/fcntl.h; x86-64 and arm64 agree on all of these.
O_ACCESS, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND = 0x3, 0x1, 0x2, 0x40, 0x200, 0x400
_FLAGS = {
    O_CREAT: "O_CREAT",
    0x80: "O_EXCL",
    O_TRUNC: "O_TRUNC",
    O_APPEND: "O_APPEND",
    0x800: "O_NONBLOCK",
    0x80000: "O_CLOEXEC",
}
_ACCESS = {0: "O_RDONLY", O_WRONLY: "O_WRONLY", O_RDWR: "O_RDWR", 3: "O_ACCMODE"}
OPEN_ARGUMENT = {"open": "a1", "openat": "a2", "open_by_handle_at": "a2"}
RENAMES = {"rename", "renameat", "renameat2"}
DELETES = {"unlink", "unlinkat", "rmdir"}
TRUNCATES = {"truncate", "ftruncate", "truncate64", "ftruncate64"}
CREATES = {"mkdir", "mkdirat", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat"}
ATTRIBUTES = re.compile(
    r"f?l?(?:chmod|chown|setxattr|removexattr|utime|chattr)|utimensat|utimes|fchmodat|fchownat|ioctl|mount|umount"
)
EXECUTES = {"execve", "execveat"}
# Fields of records that a row has under their own names, however it was read.
KEPT = (
    "success", "exit", "ppid", "pid", "auid", "uid", "gid", "euid", "egid", "tty", "ses", "comm", "exe", "key", "op", "unit", "acct",
    "addr", "hostname", "terminal", "res",
)  # fmt: skip
# What only records about the audit system itself and typed commands hold.
_OF_SETTINGS = ("cmd", "old", "audit_enabled", "audit_pid", "list")
# AT_FDCWD, -100, as the audit record prints it for 32 and 64 bit.
_WORKING_FOLDER = {"ffffff9c", "ffffffffffffff9c", "AT_FDCWD"}

# The kernel's own order of fields (audit_log_start ... audit_log_task_info); old kernels lack some.
_SYSCALL = re.compile(
    rb"arch=(\w+) syscall=(\w+)(?: per=\w+)?(?: success=(\w+) exit=(\S+))?(?: a0=(\w*) a1=(\w*) a2=(\w*) a3=(\w*))?"
    rb"(?: items=(\d+))? ppid=(\d+) pid=(\d+) auid=(\d+) uid=(\d+) gid=(\d+) euid=(\d+) suid=\d+ fsuid=\d+ egid=(\d+) sgid=\d+ fsgid=\d+"
    rb'(?: tty=(\S+))?(?: ses=(\d+))? comm=("[^"]*"|\w+) exe=("[^"]*"|[^\s\x1d]+)(?: subj=[^\s\x1d]+)?(?: key=("[^"]*"|[^\s\x1d]+))?'
)
_SYSCALL_NAMES = (
    "arch",
    "syscall",
    "success",
    "exit",
    "a0",
    "a1",
    "a2",
    "a3",
    "items",
    "ppid",
    "pid",
    "auid",
    "uid",
    "gid",
    "euid",
    "egid",
    "tty",
    "ses",
    "comm",
    "exe",
    "key",
)
_PATH = re.compile(
    rb'item=(\d+) name=("[^"]*"|[^\s\x1d]+)(?: inode=(\d+) dev=\S+ mode=(\d+) ouid=(\d+) ogid=\d+)?(?:[^\x1d]*? (?:nametype|objtype)=(\w+))?'
)
_CAPITALS = re.compile(rb'\b(AUID|UID|EUID|GID|OUID|SYSCALL)="([^"]*)"')
_PART = re.compile(r"a(\d+)\[(\d+)\]")
_ARGUMENT = re.compile(r"a(\d+)")
_EPOCH = re.compile(r"(\d{1,11})\.(\d{1,3}):(\d+)")
_WRITTEN = re.compile(r"(\d\d)/(\d\d)/(\d{2,4}) (\d\d):(\d\d):(\d\d)\.(\d{1,3}):(\d+)")
_SPOOL = re.compile(r"^(?:/private)?/var/spool/mail(?=/|$)")
# ausearch writes the year with two digits in most locales.
_CENTURY = 100
# A command line longer than this is cut: the rest stays in the original.
_LONGEST_COMMAND = 32 * 1024


class Path(msgspec.Struct, frozen=True):
    """One PATH record: the name as logged, what role it had, whose it is."""

    name: str
    kind: str
    inode: str
    mode: str
    owner: str
    owner_id: str


def moment(key: str) -> tuple[int, str] | None:
    """Read ``1795224843.349:851`` or ausearch's ``11/21/2026 01:34:03.349:851``.

    Returns:
        Microseconds since 1970 UTC and the serial; None when it is neither. A written-out time has no zone: UTC is taken.
    """
    match = _EPOCH.fullmatch(key)
    if match:
        return int(match[1]) * 1_000_000 + int(match[2].ljust(3, "0")) * 1000, match[3]
    match = _WRITTEN.fullmatch(key)
    if not match:
        return None
    month, day, year, hour, minute, second, milli, serial = match.groups()
    try:
        when = dt.datetime(
            int(year) + (2000 if int(year) < _CENTURY else 0),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=dt.UTC,
        )
    except ValueError:
        return None
    return int(when.timestamp()) * 1_000_000 + int(milli.ljust(3, "0")) * 1000, serial


def normalise(path: str, folder: str) -> str:
    """Return an absolute path without `.`, `..` and doubled slashes; the spool has one name.

    `/var/spool/mail` is a link to `/var/mail` or the other way round, and a process may use either. A relative path
    whose folder is not known stays relative.
    """
    if not path or path in {"(null)", "."}:
        return ""
    joined = path if path.startswith("/") else posixpath.join(folder, path) if folder else path
    clean = posixpath.normpath(joined)
    return _SPOOL.sub("/var/mail", "/" + clean.lstrip("/") if clean.startswith("/") else clean)


def flag_names(flags: int) -> str:
    """Return the word of an `open` in names: ``0x241`` is ``O_WRONLY|O_CREAT|O_TRUNC``."""
    return "|".join([_ACCESS[flags & O_ACCESS], *(name for bit, name in _FLAGS.items() if flags & bit)])


class Event:
    """The records of one event while they are put together."""

    def __init__(self, key: str, node: str, *, interpreted: bool = False) -> None:
        """Begin an event; ``key`` is what stands in ``audit(...)``."""
        self.key = key
        self.node = node
        self.interpreted = interpreted
        self.types: list[str] = []
        self.main: dict[str, str] = {}
        self.paths: list[Path] = []
        self.arguments: dict[int, str] = {}
        self.cwd = ""
        self.title = ""
        self.rest: dict[str, str] = {}
        self.parent: dict[str, str] = {}

    # -- records -----------------------------------------------------------------------------

    def add(self, kind: str, body: bytes) -> None:
        """Add one record of the event: its type and what follows ``audit(...):``."""
        self.types.append(kind)
        if kind == "SYSCALL":
            self._add_syscall(body)
        elif kind == "PATH":
            self._add_path(body)
        elif kind == "EXECVE":
            self.add_arguments(arguments(body, interpreted=self.interpreted))
        elif kind == "CWD":
            self.cwd = fields(body, interpreted=self.interpreted).get("cwd", "")
        elif kind == "PROCTITLE":
            self.title = (
                fields(body, interpreted=self.interpreted).get("proctitle", "")
                if not self.interpreted
                else text(body.split(b"proctitle=", 1)[-1].strip())
            )
        elif kind not in {"EOE", "BPRM_FCAPS"}:
            found = fields(body, interpreted=self.interpreted)
            (self.main if not self.main and kind != "UNKNOWN" else self.rest).update(found)

    def _add_syscall(self, body: bytes) -> None:
        match = _SYSCALL.search(body) if not self.interpreted else None
        if match is None:
            self.main.update(fields(body, interpreted=self.interpreted))
            return
        for name, raw in zip(_SYSCALL_NAMES, match.groups(), strict=True):
            if raw is not None and not (raw == b"(null)" and name in self.main):
                self.main[name] = decode(raw, is_hex=name in {"comm", "exe", "key"})
        for name, raw in _CAPITALS.findall(body.partition(ENRICHED)[2]):
            self.main[name.decode()] = text(raw)

    def _add_path(self, body: bytes) -> None:
        match = _PATH.search(body) if not self.interpreted else None
        if match is None:
            found = fields(body, interpreted=self.interpreted)
            kind = found.get("nametype") or found.get("objtype", "")
            self.paths.append(
                Path(
                    found.get("name", ""),
                    kind,
                    found.get("inode", ""),
                    found.get("mode", ""),
                    found.get("OUID", ""),
                    found.get("ouid", ""),
                )
            )
            return
        _, name, inode, mode, owner_id, role = match.groups(b"")
        owner = next(
            (text(raw) for key, raw in _CAPITALS.findall(body.partition(ENRICHED)[2]) if key == b"OUID"), ""
        )
        self.paths.append(
            Path(decode(name, is_hex=True), text(role), text(inode), text(mode), owner, text(owner_id))
        )

    def add_arguments(self, found: dict[str, str]) -> None:
        """Add arguments of an EXECVE record; long ones come in pieces ``a1[0]``, ``a1[1]`` over several records."""
        for name, value in found.items():
            part = _PART.fullmatch(name)
            whole = _ARGUMENT.fullmatch(name)
            number = int(part[1]) if part else int(whole[1]) if whole else None
            if number is None:
                continue
            self.arguments[number] = self.arguments.get(number, "") + value if part else value

    # -- the row -----------------------------------------------------------------------------

    def is_partial(self) -> bool:
        """Tell whether records of the event are missing: the kernel counted more PATHs than are there."""
        items = self.main.get("items", "0")
        return items.isdigit() and int(items) > len(self.paths) and "SYSCALL" in self.types

    def data(self) -> Data | None:
        """Return the event as one flat record; None when it has no readable time."""
        when = moment(self.key)
        if when is None:
            return None
        micros, serial = when
        main, rest = self.main, self.rest
        architecture = main.get("arch", "")
        syscall = main.get("SYSCALL") or syscall_name(architecture, main.get("syscall", ""))
        data: Data = {
            "AuditId": self.key,
            "Micros": micros,
            "Serial": serial,
            "Node": self.node,
            "RecordType": next(
                (kind for kind in ("CONFIG_CHANGE", "SYSCALL") if kind in self.types), self.types[0]
            ),
            "RecordTypes": ",".join(dict.fromkeys(self.types)),
            "Architecture": ARCHITECTURES.get(architecture, architecture),
            "Syscall": syscall,
            "Cwd": normalise(self.cwd or main.get("cwd", ""), ""),
            "Title": self.title,
            "LoginUser": _account(main, "AUID", "auid"),
            "UserName": _account(main, "UID", "uid"),
            "EffectiveUser": _account(main, "EUID", "euid"),
        }
        for name in (*KEPT, *_OF_SETTINGS):
            value = main.get(name) or rest.get(name)
            if value and value not in {"(null)", "?", "(none)"}:
                data[name] = value.replace("\x01", ",") if name == "key" else value
        data |= self._parent()
        data |= self._command(syscall)
        data |= self._file(syscall)
        return {name: value for name, value in data.items() if value not in ("", None)}

    def _parent(self) -> Data:
        return {"ParentExe": self.parent.get("exe", ""), "ParentComm": self.parent.get("comm", "")}

    def _command(self, syscall: str) -> Data:
        """Return the command line: the arguments of an EXECVE, a sudo command, or the process title."""
        if self.arguments:
            listed = [self.arguments.get(i, "") for i in range(min(max(self.arguments) + 1, 4096))]
            found: Data = {f"a{i}": value[:4096] for i, value in enumerate(listed[:10])}
            found |= {"argc": len(listed), "CommandLine": command_line(listed), "IsExec": "true"}
            return found
        found = {name: self.main[name] for name in ("a0", "a1", "a2", "a3") if self.main.get(name)}
        if self.main.get("cmd"):
            found["CommandLine"] = self.main["cmd"][:_LONGEST_COMMAND]
        elif self.title:
            found["CommandLine"] = self.title[:_LONGEST_COMMAND]
        if syscall in EXECUTES:
            found["IsExec"] = "true"
        return found

    def _file(self, syscall: str) -> Data:
        """Return what happened to a file, by system call, open flags and the roles of the paths."""
        flags = self._open_flags(syscall)
        found: Data = {"OpenFlags": "" if flags is None else flag_names(flags)}
        path = self._object(syscall)
        if path is None:
            return found
        found |= {
            "Path": self._absolute(path),
            "Name": known(path.name),
            "NameType": path.kind,
            "Owner": path.owner or path.owner_id,
            "Inode": path.inode,
            "Mode": path.mode.lstrip("0"),
        }
        if syscall in RENAMES:
            source = next((p for p in self.paths if p.kind == "DELETE"), None)
            replaced = sum(p.kind == "DELETE" and p.name == path.name for p in self.paths)
            found["SourcePath"] = self._absolute(source) if source else ""
            found["Replaced"] = "true" if replaced else ""
        if len(self.paths) > 1:
            found["Paths"] = [
                {"Name": self._absolute(p), "NameType": p.kind, "Owner": p.owner or p.owner_id}
                for p in self.paths[:16]
            ]
        found["FileAction"] = _action(syscall, flags, path.kind)
        is_truncated = (
            syscall in TRUNCATES
            or syscall == "creat"
            or bool(flags is not None and flags & O_TRUNC and flags & O_ACCESS)
        )
        found["Truncated"] = "true" if is_truncated and path.kind != "CREATE" else ""
        return found

    def _open_flags(self, syscall: str) -> int | None:
        if syscall == "creat":
            return O_WRONLY | O_CREAT | O_TRUNC
        word = self.main.get(OPEN_ARGUMENT.get(syscall, ""), "")
        if not word and syscall == "openat2":
            word = self.rest.get("oflag", "")
            return int(word, 8) if re.fullmatch(r"[0-7]+", word) else None
        if self.interpreted or not re.fullmatch(r"[0-9a-fA-F]{1,16}", word):
            return _named_flags(word) if word else None
        return int(word, 16)

    def _object(self, syscall: str) -> Path | None:
        """Return the path acted upon: the last that is not merely the folder of another."""
        roles = (
            ("CREATE",)
            if syscall in RENAMES or syscall in CREATES
            else ("DELETE",)
            if syscall in DELETES
            else ("CREATE", "DELETE", "NORMAL", "UNKNOWN", "")
        )
        listed = [p for p in self.paths if p.kind in roles and p.name not in {"", "(null)"}]
        if syscall in EXECUTES:
            return listed[0] if listed else None
        return listed[-1] if listed else next((p for p in self.paths if p.kind != "PARENT"), None)

    def _absolute(self, path: Path) -> str:
        """Join a name with the folder it was used in: its PARENT record, or the working directory."""
        if path.name.startswith("/"):
            return normalise(path.name, "")
        return normalise(path.name, "" if self._has_folder_handle(path) else self.cwd)

    def _has_folder_handle(self, path: Path) -> bool:
        """Tell whether a relative name belongs to an open folder: then no record says which, not even PARENT."""
        syscall = self.main.get("SYSCALL") or syscall_name(
            self.main.get("arch", ""), self.main.get("syscall", "")
        )
        is_target = syscall in RENAMES and path.kind == "CREATE"
        handle = self.main.get("a2" if is_target else "a0", "")
        return (
            "at" in syscall.removeprefix("rename")
            and syscall not in {"creat", "truncate"}
            and handle not in {"", *_WORKING_FOLDER}
        )


def command_line(arguments: list[str]) -> str:
    """Write arguments as one line that shows where each begins: those with blanks or quotes are quoted."""
    shown = []
    for word in arguments:
        plain = word and not re.search(r"[\s'\"\\;|&<>()$`*?#~]", word)
        shown.append(word if plain else "'" + word.replace("'", "'\\''") + "'")
    return " ".join(shown)[:_LONGEST_COMMAND]


def _account(main: dict[str, str], name: str, number: str) -> str:
    """Return an account's name, or its number where the host did not translate it; '' when nobody logged in."""
    named = main.get(name, "")
    if named:
        return "" if named in {"unset", "unknown(4294967295)"} else named
    return known(main.get(number, ""))


def _named_flags(word: str) -> int | None:
    names = set(word.split("|"))
    flags = sum(bit for bit, name in _FLAGS.items() if name in names)
    access = next((bit for bit, name in _ACCESS.items() if name in names), None)
    return None if access is None else flags | access


def _action(syscall: str, flags: int | None, kind: str) -> str:
    """Return the file action in the words of DeviceFileEvents, or '' when nothing was changed."""
    if syscall in RENAMES:
        return "FileRenamed"
    if syscall in DELETES:
        return "FileDeleted"
    if syscall in TRUNCATES:
        return "FileModified"
    if flags is not None:
        is_written = flags & O_ACCESS or flags & (O_CREAT | O_TRUNC)
        return ("FileCreated" if kind == "CREATE" else "FileModified") if is_written else ""
    if syscall in CREATES:
        return "FileCreated"
    return "FileAttributesChanged" if ATTRIBUTES.match(syscall) else ""
