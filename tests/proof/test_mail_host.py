"""A real Postfix and Dovecot: 200 messages, 60 of them cleared in twelve ways, and what is said about each by what evidence."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mailwitness.evidence.store import CaseFolder
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.snapshots import compare, taking

from . import mail_host
from .mail_host import CUT, WAYS, MailHost, number_of

DOC = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"
EVIDENCE = (
    "mail log, two snapshots",
    "two snapshots",
    "mail log, copy of the store",
    "copy of the store with its index",
    "index files",
    "mail log",
)
RECORD, GONE, ALTERED, NEVER, THERE, UNKNOWN, UNNAMED = (
    "deleted with record", "gone without record", "altered", "never stored", "present", "unknown", "not named",
)  # fmt: skip
# What each way deserves by the evidence of EVIDENCE, and by which act the ledger says that it went.
TABLE = {
    "IMAP: STORE \\Deleted, EXPUNGE": (RECORD, GONE, RECORD, RECORD, RECORD, RECORD),
    "doveadm expunge": (GONE, GONE, RECORD, RECORD, RECORD, UNKNOWN),
    "moved to Trash over IMAP, Trash emptied with doveadm": (GONE, GONE, RECORD, RECORD, RECORD, UNKNOWN),
    "rm in the Maildir": (GONE, GONE, GONE, GONE, GONE, UNKNOWN),
    "shred -u in the Maildir": (GONE, GONE, GONE, GONE, GONE, UNKNOWN),
    "folder removed with doveadm mailbox delete": (GONE, GONE, GONE, RECORD, RECORD, UNKNOWN),
    "header edited in place": (ALTERED, ALTERED, ALTERED, ALTERED, UNKNOWN, UNKNOWN),
    "body edited in place, size kept": (ALTERED, ALTERED, THERE, THERE, UNKNOWN, UNKNOWN),
    "Sieve script: discard": (NEVER, UNNAMED, NEVER, UNNAMED, UNNAMED, NEVER),
    "Postfix header_checks: DISCARD": (NEVER, UNNAMED, NEVER, UNNAMED, UNNAMED, NEVER),
    "mailbox file rewritten by a program": (GONE, GONE, GONE, GONE, GONE, UNKNOWN),
    CUT: (GONE, GONE, GONE, GONE, GONE, UNKNOWN),
}
# How the ledger says it: by a record, an index or a listing; by a size or a digest; and why it does not know.
SAID = {
    RECORD: "^A record says that it was removed",
    GONE: "behind its back|does not have it; no record says",
    ALTERED: "its size is not the one|differs between two listings",
    NEVER: "^A filter or rule threw it away",
    THERE: "does not show a change of its text that kept the size",
    UNKNOWN: "^No listing of the mailbox was given",
}
REAL = pytest.mark.skipif(bool(mail_host.why_not()), reason=f"no mail host: {mail_host.why_not()}")


class Cleared:
    """A host that was cleared, and the cases of each kind of evidence."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = root / "host"
        self.sentences: dict[str, list[str]] = {}
        self.snapped, self.over_imap = root / "snapped", root / "imap"
        with MailHost(self.host) as host:
            mail_host.fill(host)
            self.taken = [self._take("before", dt.timedelta(0))]
            self._take_over_imap(host, "before")
            self.ways = mail_host.clear(host)
            self.taken.append(self._take("after", dt.timedelta(seconds=1)))
            self._take_over_imap(host, "after")
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(minutes=5)
        self.cleared = {number for numbers in self.ways.values() for number in numbers}

    def _take(self, name: str, later: dt.timedelta) -> int:
        folder = CaseFolder(self.snapped)
        with folder.lock():
            now = dt.datetime.now(dt.UTC) + later
            stores = [
                taking.Wanted(store=str(self.host / part), name=f"{part}-{name}", is_live=True)
                for part in ("home", "var")
            ]
            return sum(taking.take(folder, wanted, now=now, tool="test").messages for wanted in stores)

    def _take_over_imap(self, host: MailHost, name: str) -> None:
        source = Path(__file__).resolve().parents[2] / "src"
        environment = [
            f"PYTHONPATH={source}",
            "MAILWITNESS_IMAP_PASSWORD=secret",
            "SSL_CERT_FILE=/mnt/tls/host.pem",
        ]
        host.run(
            "env",
            *environment,
            sys.executable,
            "-m",
            "mailwitness",
            "snapshot",
            "imaps://alice@127.0.0.1",
            "--name",
            name,
            "--case",
            str(self.over_imap),
        )

    def ledger(self, name: str) -> dict[int, dict[str, Any]]:
        """Investigate by one kind of evidence; return the ledger's rows by the number of the message."""
        case, evidence = self.root / f"case {name}", self.root / f"evidence {name}"
        evidence.mkdir()
        if "log" in name:
            shutil.copy(self.host / "log" / "mail.log", evidence)
        if "snapshots" in name:
            shutil.copytree(self.snapped, case)
        if "store" in name or "index" in name:
            for part in ("home", "var"):
                shutil.copytree(
                    self.host / part, evidence / part, ignore=_no_messages if name == "index files" else None
                )
        given = [evidence] if any(evidence.iterdir()) else []
        report = investigate(given, case, Settings(now=self.now), Progress()).report
        self.sentences[name] = [
            sentence
            for box in report["ledger"]["mailboxes"]
            if box["mailbox"].startswith("alice")
            for sentence in box["sentences"]
        ]
        with duckdb.connect(":memory:") as asked:
            found = asked.execute(
                f"SELECT MessageId, Verdict, Reason, RemovedBy, RemovalActivity FROM read_parquet('{case}/tables/MessageLedger/*.parquet')"
            )
            names = ("id", "verdict", "reason", "by", "act")
            return {number_of(str(row[0])): dict(zip(names, row, strict=True)) for row in found.fetchall()}


def _no_messages(folder: str, names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if Path(folder).name in {"cur", "new"} or (name == "bob" and folder.endswith("mail"))
    ]


@pytest.fixture(scope="module")
def cleared(tmp_path_factory: pytest.TempPathFactory) -> Cleared:
    return Cleared(tmp_path_factory.mktemp("host"))


@REAL
@pytest.mark.parametrize("evidence", EVIDENCE)
def test_every_cleared_message_has_the_right_verdict_and_no_kept_one_is_named(
    cleared: Cleared, evidence: str
) -> None:
    rows = cleared.ledger(evidence)

    column = EVIDENCE.index(evidence)
    found = {
        way: {rows[n]["verdict"] if n in rows else UNNAMED for n in numbers}
        for way, numbers in cleared.ways.items()
    }
    assert found == {way: {verdicts[column]} for way, verdicts in TABLE.items()}
    kept = {number: row["verdict"] for number, row in rows.items() if number not in cleared.cleared}
    assert set(kept.values()) <= {THERE, UNKNOWN}
    _check_ways(cleared, rows, evidence)


def _check_ways(cleared: Cleared, rows: dict[int, dict[str, Any]], evidence: str) -> None:
    """The way: who and what as far as the evidence can say it, and for what it cannot say, that it cannot."""
    for way, numbers in cleared.ways.items():
        verdict = TABLE[way][EVIDENCE.index(evidence)]
        for row in (rows[number] for number in numbers if verdict != UNNAMED):
            assert re.search(SAID[verdict], row["reason"]), (way, row)
            assert row["act"] == {RECORD: "HardDeleted", NEVER: "HardDeleted"}.get(verdict, row["act"])
    if "log" in evidence:
        assert {rows[n]["by"] for n in cleared.ways["IMAP: STORE \\Deleted, EXPUNGE"]} == {"alice"}
        assert {rows[n]["by"] for n in cleared.ways["Sieve script: discard"]} == {"lmtp"}
        assert {rows[n]["by"] for n in cleared.ways["Postfix header_checks: DISCARD"]} == {"postfix/cleanup"}
    if "index" in evidence:
        for way in ("rm in the Maildir", "shred -u in the Maildir", "mailbox file rewritten by a program"):
            assert all("behind its back" in rows[n]["reason"] for n in cleared.ways[way])
    if "snapshots" in evidence:
        assert all(
            "differs between" in rows[n]["reason"] for n in cleared.ways["body edited in place, size kept"]
        )
        assert all(
            "It was in case" in rows[n]["reason"]
            for n in cleared.ways["folder removed with doveadm mailbox delete"]
        )
    # What is in no table is at least said to be missing there.
    is_said = any("a filter threw away" in sentence for sentence in cleared.sentences[evidence])
    assert is_said == ("log" not in evidence)


@REAL
def test_sixty_of_two_hundred_were_cleared_in_twelve_ways(cleared: Cleared) -> None:
    assert (len(cleared.ways), len(cleared.cleared)) == (12, 60)
    # Ten more of the two hundred never reached the store: the filters threw them away.
    assert cleared.taken == [190, 150]


@REAL
def test_two_snapshots_over_imap_give_exact_losses_and_edits(cleared: Cleared) -> None:
    counts, told = compare.differences(cleared.over_imap, "before", "after", limit=1000)

    lost = {number_of(row["MessageId"]) for row in told if row["Difference"] == "lost"}
    assert lost == set(range(30))
    assert counts == {"lost": 30, "header altered": 5, "body altered": 5}


def test_the_table_in_the_documents_is_the_one_that_is_tested() -> None:
    lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in DOC.read_text().splitlines()
        if line.startswith("|")
    ]

    shown = {cells[0]: tuple(cells[1:]) for cells in lines if cells[0] in TABLE}
    assert shown == TABLE
    assert ["Way", *EVIDENCE] in lines
    assert set(TABLE) == {*WAYS, CUT}


def test_the_host_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert re.search("not installed: postfix|needs root", mail_host.why_not())
    assert os.environ["PATH"] == "/nowhere"
