"""A real Dovecot store: 200 messages, 60 of them cleared or edited in eleven ways, and what is said about each.

Dovecot's own tools store, move and expunge; no server has to run. Where Dovecot is not installed the tests are skipped.
"""

from __future__ import annotations

import datetime as dt
import mailbox
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailwitness.evidence.store import CaseFolder
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.snapshots import compare, taking

pytestmark = pytest.mark.skipif(
    shutil.which("doveadm") is None or os.geteuid() != 0,
    reason="Dovecot is not installed, or the tests do not run as root, which doveadm needs to act for a user",
)
GONE, ALTERED = "gone without record", "altered"
SETTINGS = """\
base_dir = {root}/run
log_path = {root}/dovecot.log
mail_location = maildir:{root}/home/%u/Maildir
mail_home = {root}/home/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
stats_writer_socket_path =
namespace inbox {{
  inbox = yes
}}
"""


class Host:
    """A Maildir of Dovecot for alice and a spool file for bob."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.settings = root / "dovecot.conf"
        self.settings.write_text(SETTINGS.format(root=root))
        self.box = root / "home" / "alice" / "Maildir"
        self.spool = root / "var" / "mail" / "bob"
        self.box.parent.mkdir(parents=True)
        self.spool.parent.mkdir(parents=True)
        for path in [root, *root.parents]:
            if path != Path("/") and path.stat().st_uid == os.geteuid() and "pytest" in str(path):
                path.chmod(0o755)
        shutil.chown(root / "home" / "alice", "nobody")
        self._run("mailbox", "create", "Case")
        for number in range(150):
            self._run("save", *(["-m", "Case"] if 36 <= number < 42 else []), given=message(number))
        self.spool.write_bytes(
            b"".join(
                b"From a@fabrikam.example Mon Mar  2 09:00:00 2026\n" + message(n) + b"\n"
                for n in range(150, 200)
            )
        )

    def _run(self, *words: str, given: bytes = b"") -> None:
        environment = {**os.environ, "USER": "alice", "HOME": str(self.root / "home" / "alice")}
        subprocess.run(
            ["doveadm", "-c", str(self.settings), *words],
            input=given,
            env=environment,
            check=True,
            capture_output=True,
        )

    def file_of(self, number: int) -> Path:
        """Return the Maildir file of a message."""
        wanted = f"<m{number}@fabrikam.example>".encode()
        files = [path for name in ("cur", "new") for path in (self.box / name).iterdir()]
        return next(path for path in files if wanted in path.read_bytes())

    def clear(self) -> dict[int, str]:
        """Clear sixty messages; return the verdict that each deserves."""
        ways = iter(range(0, 60, 6))
        self._clear_with_dovecot(ways)
        self._clear_files(ways)
        self._run("mailbox", "delete", "Case")  # 7: the folder that held six of them
        self._edit()
        self._clear_spool()
        gone = [*range(42), *range(150, 155), *range(195, 200)]
        return dict.fromkeys(gone, GONE) | dict.fromkeys(range(42, 50), ALTERED)

    def _clear_with_dovecot(self, ways: Iterator[int]) -> None:
        for number in group(ways):  # 1: expunged with the server's tool
            self._run("expunge", "mailbox", "INBOX", "header", "message-id", f"<m{number}@fabrikam.example>")
        self._run("mailbox", "create", "Trash")
        for number in group(ways):  # 2: moved to the trash, which is then emptied
            self._run(
                "move", "Trash", "mailbox", "INBOX", "header", "message-id", f"<m{number}@fabrikam.example>"
            )
        self._run("expunge", "mailbox", "Trash", "all")

    def _clear_files(self, ways: Iterator[int]) -> None:
        for number in group(ways):  # 3: rm
            self.file_of(number).unlink()
        for number in group(ways):  # 4: find -delete
            subprocess.run(["find", str(self.box), "-name", self.file_of(number).name, "-delete"], check=True)
        for number in group(ways):  # 5: moved out of the store
            self.file_of(number).rename(self.root.parent / f"stolen{number}")
        for number in group(ways):  # 6: overwritten and removed
            subprocess.run(["shred", "-u", str(self.file_of(number))], check=True)

    def _edit(self) -> None:
        for number in range(42, 46):  # 8: a header edited in place
            subprocess.run(
                ["sed", "-i", "s/^Subject: .*/Subject: Lunch/", str(self.file_of(number))], check=True
            )
        for number in range(46, 50):  # 9: a body edited in place, as long as it was
            path = self.file_of(number)
            path.write_bytes(path.read_bytes().replace(b"transfer", b"TRANSFER"))

    def _clear_spool(self) -> None:
        box = mailbox.mbox(self.spool)  # 10: a program that rewrites the spool file
        for key in [
            key for key, one in box.iteritems() if number_of(str(one["Message-ID"])) in range(150, 155)
        ]:
            box.remove(key)
        box.flush()
        box.close()
        data = self.spool.read_bytes()  # 11: the end of the spool file cut off
        starts = [found.start() for found in re.finditer(rb"^From a@fabrikam", data, re.MULTILINE)]
        with self.spool.open("r+b") as handle:
            handle.truncate(starts[-5])


def group(ways: Iterator[int]) -> range:
    first = next(ways)
    return range(first, first + 6)


def number_of(message_id: str) -> int:
    found = re.search(r"<m(\d+)@", message_id)
    return int(found[1]) if found else -1


def message(number: int) -> bytes:
    return (
        f"Message-ID: <m{number}@fabrikam.example>\nSubject: Message {number}\nFrom: a@fabrikam.example\nTo: alice@contoso.example\n"
        f"Date: Mon, 2 Mar 2026 09:{number % 60:02}:00 +0000\n\nAbout transfer {number}.\n"
    ).encode()


def told(report: dict[str, Any], *verdicts: str) -> dict[int, str]:
    """Return the messages that the report names with one of the verdicts."""
    rows = [row for box in report["ledger"]["mailboxes"] for row in box["rows"]]
    return {number_of(row["message_id"]): row["verdict"] for row in rows if row["verdict"] in verdicts}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def take(case: Path, host: Host, name: str, now: dt.datetime) -> taking.Taken:
    folder = CaseFolder(case)
    with folder.lock():
        wanted = taking.Wanted(store=str(host.root), name=name, is_live=True)
        return taking.take(folder, wanted, now=now, tool="test")


def test_with_two_snapshots_every_cleared_message_is_named_and_no_kept_one(
    host: Host, tmp_path: Path
) -> None:
    case, now = tmp_path / "case", dt.datetime.now(dt.UTC).replace(microsecond=0)
    before = take(case, host, "before", now)
    expected = host.clear()
    after = take(case, host, "after", now + dt.timedelta(hours=1))

    counts, _ = compare.differences(case, "before", "after", limit=1000)
    report = investigate([], case, Settings(now=now + dt.timedelta(hours=2)), Progress()).report

    assert (before.messages, after.messages) == (200, 148)
    assert counts == {"lost": 52, "header altered": 4, "body altered": 4}
    assert len(expected) == 60
    assert told(report, GONE, ALTERED, "deleted with record", "planted", "never stored") == expected


def test_with_the_index_files_of_the_store_nothing_that_is_there_is_called_gone(
    host: Host, tmp_path: Path
) -> None:
    """A copy of the store alone: Dovecot's transaction log knows what Dovecot expunged, and nobody knows about bob's file."""
    cleared = host.clear()
    now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)

    report = investigate([host.root / "home"], tmp_path / "case", Settings(now=now), Progress()).report

    named = told(report, GONE, "deleted with record")
    assert set(named) - {-1} <= {number for number, verdict in cleared.items() if verdict == GONE}
    acts = [finding["title"] for case in report["cases"] for finding in case["findings"]]
    assert acts, "the expunges in the transaction log are findings"
