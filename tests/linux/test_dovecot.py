"""Dovecot's own files: every expunge with uid and GUID, bounded in time, and what the cache still knows of the message."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness.readers import dovecot_cache, dovecot_dump, dovecot_index
from mailwitness.readers.blocks import Damage, RawRecord

from ..case_runs import PUBLIC, acts, run, run_paths

RECORDED = PUBLIC.parent / "recorded" / "linux-mail" / "73-dovecot-index-forensics"
EXTERNAL, MARK = 0x10000000, 0xCD90
STAMP = 1772442190


def word(size: int) -> bytes:
    """Write the size of a transaction as Dovecot does: words of four bytes, seven bits in each byte."""
    return bytes(0x80 | (size >> shift & 0x7F) for shift in (23, 16, 9, 2))


def transaction(kind: int, body: bytes) -> bytes:
    """Return one record of a transaction log."""
    return word(len(body) + 8) + struct.pack("<I", kind) + body


def maildir(stamp: int) -> bytes:
    """Return what the storage writes when it has looked at a Maildir."""
    intro = struct.pack("<IIIHHHH", 0xFFFFFFFF, 0, 36, 0, 0, 1, 7) + b"maildir\0"
    header = struct.pack("<HH", 0, 36) + struct.pack("<9I", stamp, stamp, 0, stamp, stamp, 0, stamp, 0, 0)
    return transaction(0x40 | EXTERNAL, intro) + transaction(0x100 | EXTERNAL, header)


def log(*records: bytes) -> bytes:
    """Return a transaction log."""
    head = struct.pack("<BBHIIIIIQB3xI", 1, 3, 40, STAMP - 100, 2, 0, 0, STAMP - 100, 1, 1, 0)
    return head + b"".join(records)


LOG = log(
    maildir(STAMP),
    transaction(0x2000 | MARK, struct.pack("<I", 7) + bytes(range(16))),
    transaction(0x2000 | MARK | EXTERNAL, struct.pack("<I", 7) + bytes(16)),
    transaction(
        0x100000 | EXTERNAL,
        b"-pvendor/vendor.dovecot/pvt/server/sieve/files/x\0\0\0\0" + struct.pack("<I", STAMP + 5),
    ),
    maildir(STAMP + 9),
)


def read(path: Path) -> list[RawRecord]:
    """Return the records of an index file without damage."""
    found = list(dovecot_index.read(path))
    assert not [item for item in found if isinstance(item, Damage)]
    return [item for item in found if isinstance(item, RawRecord)]


def test_an_expunge_has_uid_guid_and_bounds(tmp_path: Path) -> None:
    path = tmp_path / "dovecot.index.log"
    path.write_bytes(LOG)

    request, done = [record.data for record in read(path) if record.data["Kind"] == "expunge-guid"]

    assert (request["IsSynced"], done["IsSynced"]) == (False, True)
    assert (done["Uid"], done["Guid"], done["KnownAfter"], done["KnownBefore"]) == (
        7,
        bytes(range(16)).hex(),
        STAMP,
        STAMP + 5,
    )


def test_the_place_of_an_expunge_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "dovecot.index.log"
    path.write_bytes(LOG)

    for record in read(path):
        if record.data["Kind"] == "expunge-guid":
            assert path.read_bytes()[record.offset : record.offset + 4] == struct.pack("<I", 7)
            assert record.length == 20


def test_expunges_rules_and_folders_become_acts(tmp_path: Path) -> None:
    folders = b"\x01\0\0\0" + bytes(range(16)) + struct.pack(">I", STAMP)
    run(
        tmp_path, {"home/eva/Maildir/dovecot.index.log": LOG, "home/eva/Maildir/dovecot.mailbox.log": folders}
    )

    rows = {row["Activity"]: row for row in acts(tmp_path)}

    assert {name: row["Mailbox"] for name, row in rows.items()} == {
        "HardDeleted": "eva",
        "InboxRuleRemoved": "eva",
        "FolderDeleted": "eva",
    }
    assert rows["HardDeleted"]["ItemId"] == "7"


def test_a_cut_log_gives_what_it_still_has(tmp_path: Path) -> None:
    path = tmp_path / "dovecot.index.log"
    path.write_bytes(LOG[:-7])

    *kept, last = dovecot_index.read(path)

    assert isinstance(last, Damage)
    assert [item.data["Uid"] for item in kept if isinstance(item, RawRecord) and "Uid" in item.data] == [7, 7]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_the_binary_log_says_what_doveadm_prints() -> None:
    binary = [
        r.data
        for r in read(RECORDED / "dovecot.index.log")
        if "expunge" in r.data["Kind"] and r.data["IsSynced"]
    ]
    printed = [
        r.data
        for r in dovecot_dump.read(RECORDED / "dovecot.index.log.dump.txt")
        if isinstance(r, RawRecord) and "expunge" in r.data["Kind"] and r.data["IsSynced"]
    ]

    assert len({row["Uid"] for row in binary}) == 40
    assert [(row["Uid"], row["Guid"]) for row in binary] == [(row["Uid"], row["Guid"]) for row in printed]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded scenarios are not beside this repository")
def test_expunged_messages_get_their_subject_back_from_the_cache(tmp_path: Path) -> None:
    run_paths(tmp_path, [RECORDED / "dovecot.index.log", RECORDED / "dovecot.index.cache"])

    rows = [row for row in acts(tmp_path) if row["Activity"] == "HardDeleted"]

    assert len(rows) == 40
    assert all(row["MessageId"].startswith("<") for row in rows)
    assert sum(row["Subject"] != "" for row in rows) >= 35


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, len(LOG)), noise=st.binary(max_size=64), place=st.integers(0, len(LOG)))
def test_no_content_stops_a_reader(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes, place: int
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "dovecot.index.log"
    path.write_bytes((LOG[:place] + noise + LOG[place:])[:cut])

    for reader in (dovecot_index, dovecot_cache, dovecot_dump):
        for item in reader.read(path):
            assert 0 <= item.offset <= cut
