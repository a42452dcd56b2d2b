"""``mailwitness snapshot``: record what a mail store holds, list what was recorded, compare two records."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App

CLEAR, FOUND, FAILED = 0, 1, 2

snapshot_app = App(
    name="snapshot",
    help="Record what a mail store or listing holds as salted digests, and compare two records.",
)

_DEFAULT_CASE = Path("mailwitness-case")


@snapshot_app.default
def take(
    store: str,
    *,
    case: Path = _DEFAULT_CASE,
    name: str = "",
    mailbox: str = "",
    at: str | None = None,
    live: bool = False,
    now: str | None = None,
) -> int:
    """Record a store or listing in the case. A run that was killed goes on where it stopped.

    Parameters
    ----------
    store
        Maildir, mbox, Envelope Index, PST, a folder of such, a listing exported by Graph, Gmail or doveadm, or imaps://user@host
        (password in MAILWITNESS_IMAP_PASSWORD).
    case
        Folder of the case.
    name
        Name of the snapshot; default the time.
    mailbox
        Whose it is, when neither the store nor its path says so.
    at
        When the store was as it is, ISO 8601 UTC; default the newest change in it.
    live
        The store is the one in use: it is as it is now.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness.evidence.store import CaseFolder
    from mailwitness.pipeline import TOOL
    from mailwitness.report.text import visible
    from mailwitness.settings import clock
    from mailwitness.snapshots import taking

    moment: dt.datetime = clock(now)
    wanted = taking.Wanted(
        store=store, name=name, mailbox=mailbox, at=clock(at) if at else None, is_live=live
    )
    folder = CaseFolder(case)
    with folder.lock():
        taken = taking.take(folder, wanted, now=moment, tool=TOOL, told=_told)
    print(f"snapshot {taken.name}: {taken.messages:,} messages, as of {taken.at}" + _also(taken.emptied))
    for problem in taken.problems[:10]:
        print(f"not read: {visible(problem, 500)}", file=sys.stderr)
    if taken.failed:
        print(f"{taken.failed:,} could not be read and are not part of it", file=sys.stderr)
    print("It becomes evidence of the case when you run `mailwitness investigate` on this case again.")
    return FAILED if taken.failed else CLEAR


def _also(emptied: int) -> str:
    return f"; {emptied:,} {'mailbox holds' if emptied == 1 else 'mailboxes hold'} nothing" if emptied else ""


def _told(records: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{records:,} messages", end="", file=sys.stderr, flush=True)


@snapshot_app.command(name="list")
def list_snapshots(*, case: Path = _DEFAULT_CASE, format: Literal["table", "json", "csv"] = "table") -> int:  # noqa: A002 - the name of the flag
    """List the snapshots of a case.

    Parameters
    ----------
    case
        Folder of the case.
    format
        How rows are printed.
    """
    from mailwitness.evidence.store import CaseFolder
    from mailwitness.interactive import print_rows
    from mailwitness.snapshots import taking

    CaseFolder(case, create=False)
    print_rows(
        [
            {
                "Name": one.name,
                "At": one.at,
                "Messages": one.messages,
                "Emptied": one.emptied,
                "NotRead": one.failed,
                "Store": one.store,
                "SHA256": one.sha256,
            }
            for one in taking.finished(case)
        ],
        format,
    )
    return CLEAR


@snapshot_app.command
def diff(
    first: str,
    second: str,
    *,
    case: Path = _DEFAULT_CASE,
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002 - the name of the flag
    limit: int = 1000,
) -> int:
    """Compare two snapshots: what is lost, altered, moved, new.

    Exit code 0: nothing is lost or altered; 1: something is.

    Parameters
    ----------
    first
        Name of the earlier snapshot.
    second
        Name of the later one.
    case
        Folder of the case.
    format
        How rows are printed.
    limit
        Most rows to print.
    """
    from mailwitness.evidence.store import CaseFolder
    from mailwitness.interactive import print_rows
    from mailwitness.snapshots import compare

    CaseFolder(case, create=False)
    counts, rows = compare.differences(case, first, second, limit=limit)
    print_rows(rows, format)
    print(
        ", ".join(f"{number:,} {kind}" for kind, number in counts.items()) or "no difference", file=sys.stderr
    )
    return FOUND if any(counts.get(kind) for kind in compare.LOSSES) else CLEAR
