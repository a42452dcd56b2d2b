"""Snapshots of stores and listings, and what two of them tell."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mailwitness import tables
from mailwitness.errors import ConfigError, Unreadable
from mailwitness.evidence import custody
from mailwitness.evidence.store import CaseFolder
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.snapshots import compare, folder_names, stores, taking

from ..case_runs import PUBLIC
from ..macos.test_mail_files import SCHEMA

NOW = dt.datetime(2026, 3, 31, 12, tzinfo=dt.UTC)


def message(number: int, subject: str = "", body: str = "") -> str:
    return (
        f"Message-ID: <m{number}@fabrikam.example>\nSubject: {subject or f'Message {number}'}\nFrom: a@fabrikam.example\n"
        f"Date: Mon, 2 Mar 2026 09:{number % 60:02}:00 +0000\n\n{body or f'Body {number}'}\n"
    )


def maildir(root: Path, numbers: range) -> Path:
    """Make a Maildir as Dovecot does; every fifth message is new."""
    box = root / "home" / "alice" / "Maildir"
    for name in ("cur", "new", "tmp", ".Sent/cur", ".Sent/new"):
        (box / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        name = f"17724428{number:02}.M{number}P1.mx1"
        place = box / "new" / name if number % 5 == 0 else box / "cur" / f"{name}:2,S"
        place.write_text(message(number))
    return box


def take(case: Path, store: Path | str, name: str, now: dt.datetime = NOW, **wanted: Any) -> taking.Taken:
    folder = CaseFolder(case)
    with folder.lock():
        return taking.take(folder, taking.Wanted(store=str(store), name=name, **wanted), now=now, tool="test")


def kept(case: Path, name: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        return tables.rows(
            connection.execute(f"SELECT * FROM read_parquet('{case / 'snapshots' / name}.parquet')")
        )


def test_two_snapshots_give_exact_losses_header_changes_moves_and_plants(tmp_path: Path) -> None:
    box, case = maildir(tmp_path, range(20)), tmp_path / "case"
    take(case, box, "a", is_live=True)
    for number in (3, 4):
        (box / "cur" / f"17724428{number:02}.M{number}P1.mx1:2,S").unlink()
    edited = box / "cur" / "1772442807.M7P1.mx1:2,S"
    edited.write_text(message(7, "Another subject", "Body 7"))
    rewritten = box / "cur" / "1772442808.M8P1.mx1:2,S"
    rewritten.write_text(message(8, "", "Another body"))
    (box / "cur" / "1772442809.M9P1.mx1:2,S").rename(box / ".Sent" / "cur" / "1772442809.M9P1.mx1:2,S")
    (box / "new" / "1772442810.M10P1.mx1").rename(box / "cur" / "1772442810.M10P1.mx1:2,RS")
    (box / "cur" / "1772442899.M1P9.mx1:2,S").write_text(message(99))
    take(case, box, "b", is_live=True)

    counts, rows = compare.differences(case, "a", "b", limit=100)

    found = {(row["Difference"], row["MessageId"]) for row in rows}
    assert found == {
        ("lost", "<m3@fabrikam.example>"),
        ("lost", "<m4@fabrikam.example>"),
        ("header altered", "<m7@fabrikam.example>"),
        ("body altered", "<m8@fabrikam.example>"),
        ("moved", "<m9@fabrikam.example>"),
        ("new", "<m99@fabrikam.example>"),
    }
    assert sum(counts.values()) == len(rows)


def test_a_killed_run_goes_on_and_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, case = maildir(tmp_path, range(40)), tmp_path / "case"
    whole = take(case, box, "whole")
    monkeypatch.setattr(taking, "_PART", 7)
    real = stores.walk

    def killed(root: Path, work: Path, after: Any = None) -> Iterator[stores.Item]:
        for number, item in enumerate(real(root, work, after)):
            if number == 25:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(stores, "walk", killed)
    with pytest.raises(KeyboardInterrupt):
        take(case, box, "cut")
    read: list[stores.Item] = []

    def watched(root: Path, work: Path, after: Any = None) -> Iterator[stores.Item]:
        for item in real(root, work, after):
            read.append(item)
            yield item

    monkeypatch.setattr(stores, "walk", watched)

    resumed = take(case, box, "cut")

    assert resumed.messages == whole.messages == 40
    # Three parts of seven were kept; only what came after them is read again.
    assert len([item for item in read if item.record and item.record["StoreKind"] == "maildir"]) < 25
    same = [
        [(row["Uid"], row["HeaderDigest"], row["BodyDigest"]) for row in kept(case, name)]
        for name in ("whole", "cut")
    ]
    assert same[0] == same[1]
    assert not list((case / "snapshots").glob("*.parts"))


_TAKEN_IN_SMALL_PARTS = """
import datetime, sys
from pathlib import Path
from mailwitness.evidence.store import CaseFolder
from mailwitness.snapshots import taking
taking._PART = 20
folder = CaseFolder(Path(sys.argv[1]))
with folder.lock():
    taking.take(folder, taking.Wanted(store=sys.argv[2], name="cut"), now=datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.UTC), tool="test")
"""


def test_a_process_that_is_killed_in_the_middle_leaves_what_the_next_one_takes_up(tmp_path: Path) -> None:
    box, case = maildir(tmp_path, range(90)), tmp_path / "case"
    for number in range(400):
        (box / "cur" / f"18{number:04}.M{number}P2.mx1:2,S").write_text(message(number + 100))
    whole = take(case, box, "whole")
    command = [sys.executable, "-c", _TAKEN_IN_SMALL_PARTS, str(case), str(box)]
    state = case / "snapshots" / "cut.parts" / "state.json"

    with subprocess.Popen(command) as running:
        while running.poll() is None and not state.exists():
            time.sleep(0.001)
        running.kill()
    kept_before = json.loads(state.read_bytes())["parts"]
    subprocess.run(command, check=True)

    assert running.returncode == -9
    assert 1 <= kept_before < 25
    taken = {one.name: one for one in taking.finished(case)}["cut"]
    assert taken.messages == whole.messages == 490
    same = [
        [(row["Uid"], row["Path"], row["HeaderDigest"], row["BodyDigest"]) for row in kept(case, name)]
        for name in ("whole", "cut")
    ]
    assert same[0] == same[1]


def test_a_folder_of_many_files_is_read_in_order_without_holding_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_names, "_AT_ONCE", 7)
    names = [f"{number % 5}-{number}\n{number}" for number in range(50)] + [os.fsdecode(b"\xff.x"), "new"]
    for name in names:
        (tmp_path / "box" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "box" / name).touch()

    found = list(folder_names.in_order(tmp_path / "box", tmp_path, lambda name: name))

    assert found == sorted(names)
    assert list(folder_names.in_order(tmp_path / "absent", tmp_path, str)) == []


def test_a_store_that_somebody_names_by_a_link_is_read(tmp_path: Path) -> None:
    box = maildir(tmp_path, range(3))
    (tmp_path / "link").symlink_to(box)

    assert take(tmp_path / "case", tmp_path / "link", "a", mailbox="alice").messages == 3


def test_digests_are_salted_by_case(tmp_path: Path) -> None:
    box = maildir(tmp_path, range(3))
    take(tmp_path / "one", box, "a")
    take(tmp_path / "two", box, "a")

    one, two = kept(tmp_path / "one", "a"), kept(tmp_path / "two", "a")

    assert {row["BodyDigest"] for row in one}.isdisjoint({row["BodyDigest"] for row in two})
    assert all(len(row["HeaderDigest"]) == 64 for row in one + two)


def test_the_custody_log_holds_the_digest_of_the_snapshot(tmp_path: Path) -> None:
    taken = take(tmp_path / "case", maildir(tmp_path, range(3)), "a")

    entries = [json.loads(line) for line in (tmp_path / "case" / "custody.jsonl").read_text().splitlines()]

    assert [(e["event"], e["sha256"], e["messages"]) for e in entries] == [("snapshot", taken.sha256, 3)]
    assert custody.verify(tmp_path / "case" / "custody.jsonl").ok


def test_links_are_not_followed_and_other_files_are_no_mail(tmp_path: Path) -> None:
    box = maildir(tmp_path, range(2))
    secret = tmp_path / "secret"
    secret.write_text(message(77))
    (box / "cur" / "1772442877.M1P1.mx1:2,S").symlink_to(secret)
    (box / "loop").symlink_to(box)
    (box / "dovecot.index").write_bytes(b"\1\2\3")
    os.mkfifo(box / "cur" / "1772442878.M1P1.mx1:2,S")

    assert take(tmp_path / "case", box, "a").messages == 2


def test_an_emptied_mailbox_is_known_to_be_empty_and_its_messages_are_gone(tmp_path: Path) -> None:
    box, case = maildir(tmp_path, range(6)), tmp_path / "case"
    take(case, box, "a", is_live=True)
    for path in [*(box / "cur").iterdir(), *(box / "new").iterdir()]:
        path.unlink()
    later = take(case, box, "b", NOW + dt.timedelta(hours=1), is_live=True)

    report = investigate([], case, Settings(now=NOW + dt.timedelta(hours=2)), Progress()).report

    assert (later.messages, later.emptied) == (0, 1)
    verdicts = {item["verdict"]: item["messages"] for item in report["ledger"]["verdicts"]}
    assert (verdicts["gone without record"], report["ledger"]["messages"]) == (6, 6)


def test_the_ledger_calls_exactly_what_is_lost_gone_and_what_was_edited_altered(tmp_path: Path) -> None:
    box, case = maildir(tmp_path, range(12)), tmp_path / "case"
    take(case, box, "a", is_live=True)
    (box / "cur" / "1772442803.M3P1.mx1:2,S").unlink()
    (box / "cur" / "1772442807.M7P1.mx1:2,S").write_text(message(7, "Another subject", "Body 7"))
    take(case, box, "b", NOW + dt.timedelta(hours=1), is_live=True)

    report = investigate([], case, Settings(now=NOW + dt.timedelta(hours=2)), Progress()).report

    told = {
        (row["verdict"], row["message_id"]) for box in report["ledger"]["mailboxes"] for row in box["rows"]
    }
    assert told == {
        ("gone without record", "<m3@fabrikam.example>"),
        ("altered", "<m7@fabrikam.example>"),
    }


def test_two_snapshots_and_the_log_between_them_tell_a_delivery_from_a_plant_and_a_deletion_from_a_loss(
    tmp_path: Path,
) -> None:
    box, case = maildir(tmp_path, range(12)), tmp_path / "case"
    take(case, box, "a", is_live=True)
    for number in (3, 4):
        (box / "cur" / f"17724428{number:02}.M{number}P1.mx1:2,S").unlink()
    # The log knows the deletion of 4 and the deliveries of 50, 51 and 53; 3 was taken behind its back, and 52 put there.
    for number in (50, 51, 52, 53):
        (box / "cur" / f"{1774962000 + 60 * number}.M{number}P1.mx1:2,").write_text(message(number))
    log = tmp_path / "var" / "log" / "mail.log"
    log.parent.mkdir(parents=True)
    lines = [(10, "imap(alice)<9><s>: expunge: box=INBOX, uid=5, msgid=<m4@fabrikam.example>, size=99")]
    lines += [
        (
            n,
            f"lmtp(alice)<9><s>: save: box=INBOX, uid={n}, msgid=<m{n}@fabrikam.example>, size={len(message(n))}",
        )
        for n in (50, 51, 53)
    ]
    log.write_text(
        "".join(f"2026-03-31T13:{n:02}:00+00:00 mx1 dovecot: {text}\n" for n, text in sorted(lines))
    )
    take(case, box, "b", NOW + dt.timedelta(hours=3), is_live=True)

    report = investigate([log], case, Settings(now=NOW + dt.timedelta(hours=4)), Progress()).report

    told = {
        row["message_id"].partition("@")[0].strip("<"): row["verdict"]
        for one in report["ledger"]["mailboxes"]
        for row in one["rows"]
    }
    assert told == {"m3": "gone without record", "m4": "deleted with record", "m52": "planted"}


def test_a_copy_given_as_evidence_is_compared_with_a_snapshot_of_the_store(tmp_path: Path) -> None:
    """Digests of evidence are plain, those of snapshots salted."""
    box, case = maildir(tmp_path, range(6)), tmp_path / "case"
    take(case, box, "a", NOW - dt.timedelta(days=20), is_live=True)
    edited = box / "cur" / "1772442802.M2P1.mx1:2,S"
    edited.write_text(message(2, "", "Body B"))
    for path in box.rglob("*"):
        os.utime(path, (NOW.timestamp() - 3600, NOW.timestamp() - 3600))

    report = investigate([tmp_path / "home"], case, Settings(now=NOW), Progress()).report

    told = {
        (row["verdict"], row["message_id"]) for box in report["ledger"]["mailboxes"] for row in box["rows"]
    }
    assert told == {("altered", "<m2@fabrikam.example>")}


def test_a_copy_speaks_for_the_time_of_its_newest_change(tmp_path: Path) -> None:
    box = maildir(tmp_path, range(3))
    then = dt.datetime(2026, 3, 5, 8, tzinfo=dt.UTC).timestamp()
    for path in [box, *box.rglob("*")]:
        os.utime(path, (then, then))

    assert take(tmp_path / "case", box, "a").at == "2026-03-05T08:00:00Z"
    assert take(tmp_path / "case", box, "b", is_live=True).at == "2026-03-31T12:00:00Z"
    assert (
        take(tmp_path / "case", box, "c", at=dt.datetime(2026, 3, 9, tzinfo=dt.UTC)).at
        == "2026-03-09T00:00:00Z"
    )


def test_an_mbox_and_an_emptied_spool(tmp_path: Path) -> None:
    spool = tmp_path / "var" / "mail"
    spool.mkdir(parents=True)
    text = "".join(f"From a@fabrikam.example Mon Mar  2 09:{n:02}:00 2026\n{message(n)}\n" for n in range(5))
    (spool / "bob").write_text(text)
    (spool / "eve").write_text("")

    taken = take(tmp_path / "case", spool, "a")

    assert (taken.messages, taken.emptied) == (5, 1)
    assert {(row["Mailbox"], row["StoreKind"]) for row in kept(tmp_path / "case", "a")} == {
        ("", "mbox"),
        ("eve", "folder statistics"),
    }


def test_a_listing_exported_from_graph(tmp_path: Path) -> None:
    values = [
        {
            "id": f"AAMk{n}", "internetMessageId": f"<m{n}@fabrikam.example>", "subject": f"Message {n}", "parentFolderId": "Inbox",
            "receivedDateTime": f"2026-03-02T09:{n:02}:00Z", "createdDateTime": f"2026-03-02T09:{n:02}:00Z",
            "lastModifiedDateTime": f"2026-03-02T09:{n:02}:00Z", "isRead": False, "hasAttachments": False, "bodyPreview": "",
            "from": {"emailAddress": {"address": "a@fabrikam.example"}},
        }
        for n in range(4)
    ]  # fmt: skip
    path = tmp_path / "eva@contoso.example.json"
    path.write_text(json.dumps({"@odata.context": "messages", "value": values}))

    taken = take(tmp_path / "case", path, "a", mailbox="Eva@contoso.example")

    assert taken.messages == 4
    assert {row["Mailbox"] for row in kept(tmp_path / "case", "a")} == {"eva@contoso.example"}


def test_what_is_no_store_leaves_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing of that kind\n")
    with pytest.raises(Unreadable):
        take(tmp_path / "case", path, "a")
    with pytest.raises(Unreadable):
        take(tmp_path / "case", tmp_path / "absent", "b")
    with pytest.raises(ConfigError):
        take(tmp_path / "case", path, "../x")

    assert taking.finished(tmp_path / "case") == []


def test_a_name_is_used_once(tmp_path: Path) -> None:
    box = maildir(tmp_path, range(2))
    take(tmp_path / "case", box, "a")
    with pytest.raises(ConfigError):
        take(tmp_path / "case", box, "a")


_LISTINGS = {
    "graph": {"value": [{"id": "AAMk", "receivedDateTime": "2026-03-02T09:14:01Z", "subject": "Invoice", "internetMessageId": "<a@fabrikam.example>",
                         "parentFolderId": "recoverableitemspurges", "isRead": True, "from": {"emailAddress": {"address": "ann@fabrikam.example"}}}]},
    "gmail": [{"id": "18e0", "threadId": "18e0", "labelIds": ["TRASH"], "internalDate": "1772442841000",
               "payload": {"headers": [{"name": "Message-ID", "value": "<a@fabrikam.example>"}]}}],
    "doveadm": [{"user": "eva@contoso.example", "mailbox": "INBOX", "uid": "231", "flags": "", "hdr.message-id": "<a@fabrikam.example>",
                 "size.physical": "4521", "date.received": "2026-03-02 09:14:01"}],
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_LISTINGS))
def test_a_listing_given_as_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "eva@contoso.example.json"
    path.write_text(json.dumps(_LISTINGS[kind]))

    taken = take(tmp_path / "case", path, "a", mailbox="eva@contoso.example")

    (row,) = kept(tmp_path / "case", "a")
    assert (taken.messages, row["StoreKind"], row["MessageId"]) == (1, kind, "<a@fabrikam.example>")


def test_answers_of_an_imap_server_that_somebody_saved(tmp_path: Path) -> None:
    path = tmp_path / "session.txt"
    path.write_bytes(
        b'* 1 FETCH (UID 5 FLAGS (\\Seen) INTERNALDATE "02-Mar-2026 08:00:00 +0000" RFC822.SIZE 420 ENVELOPE ("Mon, 2 Mar 2026 08:00:00 +0000" '
        b'"Figures" NIL NIL NIL NIL NIL NIL NIL "<a@contoso.example>"))\r\n'
    )

    taken = take(tmp_path / "case", path, "a", mailbox="eva@contoso.example")

    (row,) = kept(tmp_path / "case", "a")
    assert (taken.messages, row["MessageId"], row["Uid"]) == (1, "<a@contoso.example>", "5")


def test_folder_statistics_of_exchange_are_kept_only_where_the_mailbox_is_empty(tmp_path: Path) -> None:
    head = "Date,Name,FolderPath,FolderId,FolderType,ItemsInFolder,DeletedItemsInFolder,FolderSize,Identity\n"
    path = tmp_path / "statistics.csv"
    path.write_text(
        head + "2026-03-02T08:00:00Z,Inbox,/Inbox,x,Inbox,0,0,0 B (0 bytes),eva@contoso.example\\Inbox\n"
    )

    taken = take(tmp_path / "case", path, "a", mailbox="eva@contoso.example")

    assert (taken.messages, taken.emptied) == (0, 1)


def test_an_index_of_apple_mail_with_what_is_only_in_its_write_ahead_log(tmp_path: Path) -> None:
    folder = tmp_path / "Users" / "eva" / "Library" / "Mail" / "V10" / "MailData"
    folder.mkdir(parents=True)
    live = sqlite3.connect(tmp_path / "live")
    live.execute("PRAGMA journal_mode = WAL")
    live.executescript(SCHEMA)
    live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    live.execute(
        "INSERT INTO messages VALUES (2, '<b@fabrikam.example>', 1, '', 1, 1772440873, 1772440875, 1, 3, 1, 0, 1, 99)"
    )
    live.commit()
    for ending in ("", "-wal"):
        shutil.copyfile(f"{tmp_path / 'live'}{ending}", folder / f"Envelope Index{ending}")
    live.close()

    taken = take(tmp_path / "case", tmp_path / "Users", "a")

    assert {row["StoreKind"] for row in kept(tmp_path / "case", "a")} == {"envelope index"}
    assert "<b@fabrikam.example>" in {row["MessageId"] for row in kept(tmp_path / "case", "a")}
    assert taken.failed == 0


@pytest.fixture
def with_archive(tmp_path: Path) -> Path:
    source = PUBLIC / "mail-pst" / "dist-list.pst"
    if not source.is_file():
        pytest.skip("the public samples are not on this machine")
    box = maildir(tmp_path, range(2))
    shutil.copyfile(source, box.parent / "archive.pst")
    return box.parent


def test_a_data_file_of_outlook_is_a_store_like_others(tmp_path: Path, with_archive: Path) -> None:
    pytest.importorskip("pypff", reason="libpff-python is not installed")

    taken = take(tmp_path / "case", with_archive, "a", mailbox="alice")

    assert {row["StoreKind"] for row in kept(tmp_path / "case", "a")} == {"maildir", "pst"}
    assert taken.failed == 0


def test_a_data_file_of_outlook_says_what_it_needs(
    tmp_path: Path, with_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypff", None)

    taken = take(tmp_path / "case", with_archive, "a", mailbox="alice")

    kinds = {row["StoreKind"] for row in kept(tmp_path / "case", "a")}
    assert (kinds, taken.failed) == ({"maildir"}, 1)
    assert "pip install 'mailwitness[pst]'" in taken.problems[0]
