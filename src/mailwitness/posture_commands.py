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
