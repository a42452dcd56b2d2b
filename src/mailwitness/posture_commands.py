"""The commands for posture: judge settings, take a snapshot or a baseline of a host, write settings that work, test them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

if TYPE_CHECKING:
    from mailwitness.posture.run import Posture

CLEAR, FOUND, FAILED = 0, 1, 2

posture_app = App(
    name="posture",
    help="Say which settings leave which clearing invisible, and how to change that; nothing is changed by itself.",
)


@posture_app.default
def judge(
    *,
    root: Path | None = None,
    case: Path | None = None,
    platform: list[str] | None = None,
    exceptions: Path | None = None,
    format: Literal["table", "json", "html", "ocsf"] = "table",  # noqa: A002 - the name of the flag
    now: str | None = None,
) -> int:
    """Judge this Linux host, a mounted one, or the settings in a case.

    Exit code 0: every check passes; 1: at least one fails; 2: none fails, but not everything could be evaluated.

    Parameters
    ----------
    root
        Root of a Linux host; default / unless a case is given.
    case
        Folder of a case that holds settings (Get- cmdlets, Gmail settings, snapshots of hosts).
    platform
        Judge only this platform, whether or not its settings are there: linux, exchange, m365, google, windows or macos.
    exceptions
        CSV with check, identity, reason, owner and expires.
    format
        How the results are printed.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness.posture.run import run
    from mailwitness.settings import clock

    moment = clock(now)
    looked_at = root or (None if case else Path("/"))
    found = run(root=looked_at, case=case, platforms=platform or [], exempt=exceptions, now=moment)
    _print(found, format, moment.isoformat())
    from mailwitness.posture.evaluate import exit_code

    return exit_code(found.results)


def _print(found: Posture, form: str, moment: str) -> None:
    import datetime as dt
    import json

    from mailwitness.posture import document, page

    now = dt.datetime.fromisoformat(moment)
    if form == "ocsf":
        sys.stdout.write(document.ocsf(found.results, place=found.place, now=now))
        return
    written = document.document(
        found.results, place=found.place, unread=found.unread, absent=found.absent, now=now
    )
    if form == "json":
        print(json.dumps(written, indent=1))
    elif form == "html":
        sys.stdout.write(page.render(found, now=now))
    else:
        for line in page.lines(found):
            print(line)


@posture_app.command
def snapshot(*, out: Path, root: Path = Path("/"), now: str | None = None) -> int:
    """Write a Linux host's settings as evidence, so that they can be judged within a case, elsewhere or later.

    Parameters
    ----------
    out
        File to write, one JSON object a line.
    root
        Root of the host.
    now
        When it is taken, ISO 8601 UTC; default the present time.
    """
    import msgspec

    from mailwitness.posture import host
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    rows, unread = host.snapshot(root, now=clock(now))
    out.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    print(f"{visible(str(out))}: {len(rows)} settings")
    for path, reason in sorted(unread.items()):
        print(visible(f"not read: {path}: {reason}", 400))
    return FAILED if unread else CLEAR


@posture_app.command
def baseline(*, out: Path, root: Path = Path("/"), seal: Path | None = None, now: str | None = None) -> int:
    """Write modes, owners, access lists, attributes and digests of mail stores, logs and mail settings, signed with your key.

    Exit code 0: everything was read; 2: something could not be read, or the witness did not take it.

    Parameters
    ----------
    out
        File to write.
    root
        Root of the host.
    seal
        Settings of a shipper, TOML: the baseline's signature goes to the witness too, out of this host's reach.
    now
        When it is taken, ISO 8601 UTC; default the present time.
    """
    from mailwitness import signing
    from mailwitness.posture import baseline as files
    from mailwitness.posture.sealing import seal as hand_over
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    key = signing.load(signing.key_path())
    taken = files.sign(files.take(root, now=clock(now)), key)
    files.write(taken, out)
    print(f"{visible(str(out))}: {len(taken.entries)} files and folders, signed with the key {taken.key}")
    if seal:
        print(hand_over(taken, seal))
    for path, reason in taken.unread.items():
        print(visible(f"not read: {path}: {reason}", 400))
    return FAILED if taken.unread else CLEAR


@posture_app.command
def diff(
    file: Path, *, root: Path = Path("/"), key: str = "", json: bool = False, now: str | None = None
) -> int:
    """Say what was added, removed or changed since a baseline, and who could do it.

    Exit code 0: nothing; 1: something; 2: nothing was found, but something could not be read.

    Parameters
    ----------
    file
        The baseline.
    root
        Root of the host.
    key
        Public key that has to have signed it.
    json
        Print the changes as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    import msgspec

    from mailwitness.posture import baseline as files
    from mailwitness.posture.root import Root
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    before = files.read(file, key=key)
    after = files.take(root, now=clock(now))
    found = files.changes(before, after, Root(root))
    unread = before.unread | after.unread
    if json:
        print(
            msgspec.json.format(msgspec.json.encode({"changes": found, "unread": unread}), indent=1).decode()
        )
    else:
        for one in found:
            print(visible(f"{one.kind:<8} {one.path}: {one.what} (who could: {one.who})", 600))
        for path, reason in sorted(unread.items()):
            print(visible(f"not read {path}: {reason}", 400))
        print(f"{len(found)} changes since {before.made}, {len(unread)} places not read")
    return FOUND if found else FAILED if unread else CLEAR
