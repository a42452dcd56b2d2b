"""Recorded scenarios of a real mail host: every cleared message is named, and no kept one is."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

import pytest

from mailwitness.pipeline import Progress, Settings, investigate

from ..case_runs import PUBLIC, ask

# After the recordings: no listing may be later than the clock of the run.
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
RECORDED = PUBLIC.parent / "recorded" / "linux-mail"
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
