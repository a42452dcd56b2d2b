"""Recorded scenarios of a real mail host: every cleared message is named, and no kept one is."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mailwitness.evidence.store import CaseFolder
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.snapshots import taking, vanished

from ..case_runs import PUBLIC, ask

# After the recordings: no listing may be later than the clock of the run.
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
RECORDED = PUBLIC.parent / "recorded" / "linux-mail"
GONE = "gone without record"
ID = "<179522467036.29399.16155258511190366483@ext.example>"


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_what_was_expunged_over_imap_is_deleted_with_record_and_nothing_else(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    for name in ("00-delivery-alice", "02-imap-expunge-all"):
        shutil.copytree(RECORDED / name, evidence / name)

    investigate([evidence], tmp_path / "case", Settings(now=NOW), Progress())

    rows = ask(
        tmp_path,
        "MessageLedger | where Mailbox startswith 'alice' | project MessageId, Verdict, RemovedBy, RemovalIP",
    )
    assert len(rows) == 3
    assert {(row["Verdict"], row["RemovedBy"], row["RemovalIP"]) for row in rows} == {
        ("deleted with record", "alice", "203.0.113.66")
    }


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_files_removed_from_a_maildir_are_gone_without_record_against_a_copy_of_it(tmp_path: Path) -> None:
    """The scenario's messages were delivered by Dovecot; the copy of the Maildir holds one of three."""
    evidence = tmp_path / "evidence"
    shutil.copytree(RECORDED / "00-delivery-alice", evidence / "00-delivery-alice")
    kept = evidence / "home" / "alice" / "Maildir" / "cur" / "1795225000.M1P1.mx1:2,S"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(f"Message-ID: {ID}\nSubject: Q3 invoice 1\nFrom: partner@ext.example\n\nBody\n".encode())
    os.utime(kept, (1795311400, 1795311400))

    investigate([evidence], tmp_path / "case", Settings(now=NOW), Progress())

    rows = ask(
        tmp_path, "MessageLedger | where Mailbox startswith 'alice' | project MessageId, Verdict, Reason"
    )
    found = {row["MessageId"]: row["Verdict"] for row in rows}
    assert len(found) == 3
    assert found.pop(ID) in {"present", "altered"}
    assert set(found.values()) == {"gone without record"}


class Spool(NamedTuple):
    """A mailbox file as a scenario lists it: its size, and how many messages it holds; None when it is no file any more."""

    size_bytes: int
    messages: int


class Listed(NamedTuple):
    """A recorded scenario that lists the mailbox file before and after."""

    name: str
    method: str
    lost: int
    before: Spool
    after: Spool | None

    @property
    def user(self) -> str:
        return f"bob{self.name[:2]}"

    def ids(self) -> list[str]:
        return [f"<{self.name}.{number}@ext.example>" for number in range(self.before.messages)]


def _spool(text: str, word: str) -> Spool | None:
    found = re.search(rf"^{word}:\n-\S+ 1 \w+ +mail +(\d+) \S+ \S+ \S+ bob\n(\d+)$", text, re.MULTILINE)
    return Spool(int(found[1]), int(found[2])) if found else None


def _listed() -> list[Listed]:
    """Return the scenarios that hold a listing before and after; what became of the others only their logs say."""
    labels = [json.loads(line) for line in (RECORDED / "labels.jsonl").read_text("utf-8").splitlines()]
    found = []
    for label in labels:
        path = RECORDED / label["scenario"] / "how.txt"
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        before, after = _spool(text, "before"), _spool(text, "after")
        if before is not None:
            found.append(Listed(label["scenario"], label["method"], label["messages_lost"], before, after))
    return found


def _written(one: Listed) -> bytes:
    """Return a mailbox file of the recorded size and number of messages: their texts were not recorded."""
    parts = [
        f"From partner@ext.example  Sat Nov 21 01:33:0{number} 2026\nReceived: by mx1\nMessage-ID: {key}\nSubject: Q3 invoice {number}\nFrom: partner@ext.example\n\nbody {number}\n".encode()
        for number, key in enumerate(one.ids())
    ]
    each, rest = divmod(one.before.size_bytes - sum(len(part) + 1 for part in parts), len(parts))
    return b"".join(
        part + b"x" * (each - 1 + (rest if n == 0 else 0)) + b"\n\n" for n, part in enumerate(parts)
    )


def _done(one: Listed, text: bytes) -> bytes | None:
    """Do to the file what the scenario's command did; None when no file was left."""
    messages = re.split(rb"(?=^From )", text, flags=re.MULTILINE)[1:]
    if one.method in {"shred", "rm", "symlink_devnull"}:
        return None
    headers = rb"^(?:Received|X-[^:]*|Message-ID): .*\n"
    kept = {
        "overwrite": bytes(1500) + text[1500:],
        "header_strip": re.sub(headers, b"", text, flags=re.MULTILINE),
        "timestomp": b"".join([messages[0].split(b"\n")[0] + b"\n", *messages[1:]]),
        "mail_other_user": b"".join(messages[2:]),
        "blocked_delete": text,
    }
    return kept.get(one.method, b"")


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_where_a_listing_before_and_after_was_recorded_the_losses_are_exact(tmp_path: Path) -> None:
    """Each scenario's mailbox file is built as it is listed before; what was done to it must give what is listed after."""
    scenarios = _listed()
    case = CaseFolder(tmp_path / "case")
    store = tmp_path / "host" / "var" / "mail"
    store.mkdir(parents=True)
    for one in scenarios:
        (store / one.user).write_bytes(_written(one))
    _take(case, tmp_path / "host", "before", NOW - dt.timedelta(days=2))
    for one in scenarios:
        _change(one, store / one.user)
    _take(case, tmp_path / "host", "after", NOW - dt.timedelta(days=1))

    investigate([], case.path, Settings(now=NOW), Progress())

    rows = ask(tmp_path, "MessageLedger | project Mailbox, MessageId, Verdict")
    gone = {
        one.name: {row["MessageId"] for row in rows if row["Mailbox"] == one.user and row["Verdict"] == GONE}
        for one in scenarios
    }
    assert len(scenarios) == 18
    assert gone == {one.name: set(_lost(one)) for one in scenarios}
    assert {one.name: len(gone[one.name]) for one in scenarios} == {one.name: one.lost for one in scenarios}


def _take(case: CaseFolder, host: Path, name: str, now: dt.datetime) -> None:
    with case.lock():
        taking.take(case, taking.Wanted(store=str(host), name=name, is_live=True), now=now, tool="test")


def _change(one: Listed, path: Path) -> None:
    left = _done(one, path.read_bytes())
    assert path.stat().st_size == one.before.size_bytes
    if left is None:
        path.unlink()
        return
    path.write_bytes(left)
    assert len(re.findall(rb"^From ", left, re.MULTILINE)) == (one.after or one.before).messages
    if one.after is not None and one.after.size_bytes in {0, one.before.size_bytes}:
        assert len(left) == one.after.size_bytes


def _lost(one: Listed) -> list[str]:
    """Return the ids that the recording says were lost: by what is left, or, where all are left, by what was done."""
    every = one.ids()
    return {"mail_other_user": every[:2], "timestomp": every[:1], "blocked_delete": []}.get(one.method, every)


def test_a_mailbox_that_a_later_snapshot_does_not_find_was_emptied_unless_it_could_not_be_read(
    tmp_path: Path,
) -> None:
    case, host = CaseFolder(tmp_path / "case"), tmp_path / "host"
    for user in ("ann", "eva", "bob"):
        (host / "home" / user / "Maildir" / "cur").mkdir(parents=True)
        (host / "home" / user / "Maildir" / "new").mkdir()
        (host / "home" / user / "Maildir" / "cur" / "1795225000.M1P1.mx1:2,S").write_bytes(
            f"Message-ID: <{user}@ext.example>\nSubject: Q3\nFrom: partner@ext.example\n\nBody\n".encode()
        )
    _take(case, host, "before", NOW - dt.timedelta(days=2))
    shutil.rmtree(host / "home" / "eva" / "Maildir")
    _take(case, host, "after", NOW - dt.timedelta(days=1))
    _take(case, host / "home" / "ann", "elsewhere", NOW - dt.timedelta(hours=1))

    investigate([], case.path, Settings(now=NOW), Progress())

    rows = ask(tmp_path, "MessageLedger | project Mailbox, Verdict")
    assert {row["Mailbox"]: row["Verdict"] for row in rows} == {
        "ann": "present",
        "bob": "present",
        "eva": GONE,
    }
    problem = f"{host}/home/eva/Maildir/cur/1: it cannot be read (Permission denied)"
    earlier, later = (case.path / "snapshots" / f"{name}.parquet" for name in ("before", "elsewhere"))
    gone = [record["Mailbox"] for record in vanished.records([earlier], [later], [problem])]
    assert gone == ["bob"]
