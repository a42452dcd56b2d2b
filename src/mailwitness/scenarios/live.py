"""Do a harmless deed on mail made for it, inside one scratch folder, and see whether the host's logs noticed.

Nothing outside the scratch folder is written, deleted or restored: the folder is new, every path is resolved before it is used,
and programs get paths inside it only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import msgspec

from mailwitness.content import loader
from mailwitness.errors import ConfigError
from mailwitness.scenarios.description import FOLDER

MARK = "mailwitness-emulation"
_MESSAGES = 5
# Audit records reach the disk within a second; the daemon may flush later.
_WAIT_SECONDS = 3.0
_TIMEOUT_SECONDS = 30
_PLACE = re.compile(r"\{([a-z]+)\}")
_LONGEST_LOG = 64 * 1024 * 1024


class Deed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One harmless act.

    Attributes:
        name: what is done.
        covers: ids of the catalogue.
        run: program and arguments.
        shell: line for /bin/sh, where a redirection is the deed.
        needs: program without which it cannot be done.
        trace: path that a sensor would write.
    """

    name: str
    covers: list[str]
    trace: str
    run: list[str] = []
    shell: str = ""
    needs: str = ""


class Done(msgspec.Struct, frozen=True):
    """What was done and seen."""

    lines: list[str]
    is_seen: bool


@cache
def deeds() -> dict[str, Deed]:
    """Return all deeds by name."""
    return msgspec.convert(loader.read_yaml(FOLDER / "_live.yaml"), dict[str, Deed])


def listed() -> str:
    """Return one line for each deed."""
    return "\n".join(f"{key:22} {deed.name}{_missing(deed)}" for key, deed in deeds().items())


def _missing(deed: Deed) -> str:
    return (
        f" (needs {deed.needs}, which is not installed)"
        if deed.needs and not shutil.which(deed.needs)
        else ""
    )


def perform(name: str, scratch: Path, logs: list[Path]) -> Done:
    """Make mail below a new scratch folder, do the deed there, and look into the logs.

    Args:
        name: of the deed.
        scratch: a folder that does not exist yet; links and ``..`` in its path are refused.
        logs: files of this host that should have noticed.

    Raises:
        ConfigError: this is not Linux, the deed or its program is missing, or the folder is not a safe one.
    """
    deed = deeds().get(name)
    if deed is None:
        raise ConfigError(
            f"there is no deed {name!r}", remedy="List them with `mailwitness emulate --list --live`."
        )
    if not sys.platform.startswith("linux"):
        raise ConfigError(
            "deeds are done on Linux only", remedy="Write the scenario's evidence with --out instead."
        )
    if deed.needs and not shutil.which(deed.needs):
        raise ConfigError(f"{deed.needs} is not installed", remedy="Choose another deed, or install it.")
    places = prepare(safe(scratch))
    before = {log: _size(log) for log in logs}
    command = (
        ["/bin/sh", "-c", _quoted(deed.shell, places)]
        if deed.shell
        else [_filled(part, places) for part in deed.run]
    )
    problem = _run(command, places["scratch"])
    if problem:
        raise ConfigError(f"the deed could not be done: {problem}", remedy="Choose another deed.")
    trace = _filled(deed.trace, places)
    lines = [f"{name}: {deed.name}", f"  below {places['scratch']}"]
    return watched(lines, trace, before, seconds=_WAIT_SECONDS)


def safe(scratch: Path) -> Path:
    """Return the absolute path of a folder that is made now and that nobody else can have prepared.

    Raises:
        ConfigError: it exists, or its path holds a link or ``..``.
    """
    absolute = Path.cwd() / scratch
    if ".." in scratch.parts:
        raise ConfigError(f"{scratch} holds ..", remedy="Name the scratch folder without it.")
    if absolute.exists() or absolute.is_symlink():
        raise ConfigError(
            f"{scratch} exists already", remedy="Name a folder that does not exist; it is made for the deed."
        )
    if absolute.parent.resolve() != absolute.parent:
        raise ConfigError(
            f"{scratch} lies behind a symbolic link", remedy="Name the folder by its real path."
        )
    try:
        absolute.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"{scratch} cannot be made: {error.strerror}", remedy="Name a folder below one that exists."
        ) from error
    return absolute


def prepare(scratch: Path) -> dict[str, str]:
    """Make a home with a Maildir and a spool with mboxes; return what placeholders mean."""
    home, spool = scratch / "home" / "eva", scratch / "spool"
    spool.mkdir()
    for folder in ("cur", "new", "tmp"):
        (home / "Maildir" / folder).mkdir(parents=True)
    for number in range(1, _MESSAGES + 1):
        (home / "Maildir" / "cur" / f"177244{number}.M1P1.mx,S=300:2,S").write_text(
            _message(number), encoding="ascii"
        )
    for user in ("eva", "bob"):
        text = "".join(
            f"From outside@fabrikam.example Mon Mar  2 09:0{n}:00 2026\n{_message(n)}\n"
            for n in range(1, _MESSAGES + 1)
        )
        (spool / f"{user}.mbox").write_text(text, encoding="ascii")
    return {
        "scratch": str(scratch),
        "home": str(home),
        "spool": str(spool),
        "mbox": str(spool / "bob.mbox"),
        "maildir": str(home / "Maildir"),
        "message": str(home / "Maildir" / "cur" / "1772441.M1P1.mx,S=300:2,S"),
    }


def _message(number: int) -> str:
    return (
        f"Received: from mx.fabrikam.example\nFrom: outside@fabrikam.example\nTo: bob@contoso.example\nSubject: {MARK} {number}\n"
        f"Message-ID: <{number}.{MARK}@fabrikam.example>\n\nNothing in here is real.\n"
    )


def _filled(text: str, places: dict[str, str]) -> str:
    # In one pass: a scratch folder that is called like a placeholder must not be filled a second time.
    return _PLACE.sub(lambda match: places[match[1]], text)


def _quoted(line: str, places: dict[str, str]) -> str:
    """Fill a line for the shell; paths stand in double quotes there, so what is special in them is escaped."""
    escaped = {
        name: "".join("\\" + character if character in '\\"$`' else character for character in path)
        for name, path in places.items()
    }
    return _filled(line, escaped)


def _run(command: list[str], folder: str) -> str:
    """Run a program inside the scratch folder; return what went wrong, or nothing."""
    try:
        done = subprocess.run(  # noqa: S603 - our own commands, with paths that were made for them
            command,
            cwd=folder,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": folder, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (
        ""
        if done.returncode == 0
        else done.stderr.decode("utf-8", "replace").strip() or f"it ended with {done.returncode}"
    )


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError as error:
        raise ConfigError(
            f"{log} cannot be read: {error.strerror}", remedy="Name a log that this user may read."
        ) from error


def watched(lines: list[str], trace: str, before: dict[Path, int], *, seconds: float) -> Done:
    """Say for each log whether what came after the deed names what was touched.

    Args:
        lines: what was said so far.
        trace: path that was touched.
        before: log -> its size before the deed.
        seconds: how long to wait for lines that come late.
    """
    if not before:
        return Done(
            [*lines, "  done; no log was named with --log, so nothing says whether it was seen"],
            is_seen=False,
        )
    deadline = time.monotonic() + seconds
    seen: dict[Path, str] = {}
    while True:
        seen = {log: _line_with(log, size, trace) for log, size in before.items()}
        if all(seen.values()) or time.monotonic() >= deadline:
            break
        time.sleep(0.2)
    shown = [
        f"  seen by {log}: {line[:200]}" if line else f"  NOT seen by {log}" for log, line in seen.items()
    ]
    return Done([*lines, *shown], is_seen=any(seen.values()))


def _line_with(log: Path, start: int, trace: str) -> str:
    """Return the first new line that names the path, plain or in the hex of audit records."""
    try:
        with log.open("rb") as handle:
            handle.seek(start)
            text = handle.read(_LONGEST_LOG).decode("utf-8", "replace")
    except OSError:
        return ""
    needles = (trace, trace.encode().hex().upper())
    return next((line for line in text.splitlines() if any(needle in line for needle in needles)), "")
