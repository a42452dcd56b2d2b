"""Mail stores: what is still there, counted completely, in bounded memory, whatever the store looks like."""

from __future__ import annotations

import hashlib
import json
import mailbox
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers import compound_file, mail_file, mail_headers, mail_place, mbox, msg_file
from mailwitness.readers.blocks import BLOCK_BYTES, Damage, RawRecord

from ..case_runs import PUBLIC, ask, run, run_paths

MESSAGE = b"Message-ID: <%d@fabrikam.example>\nSubject: =?utf-8?q?H=C3=A9?= %d\nFrom: Ann <Ann@fabrikam.example>\nTo: eva@contoso.example\nDate: Mon, 2 Mar 2026 09:00:00 +0100\n\nbody\nFrom here on 12:30 2026 it is body\n>From quoted\n"


def store(count: int, padding: int = 0) -> bytes:
    """Return an mbox of so many messages."""
    return b"".join(
        b"From ann@fabrikam.example Mon Mar  2 09:14:%02d 2026\n" % (i % 60)
        + MESSAGE % (i, i)
        + b"x" * padding
        + b"\n\n"
        for i in range(count)
    )


def test_every_message_of_an_mbox_is_found_at_its_place(tmp_path: Path) -> None:
    """Offset and length lead to the bytes; a body line that begins with From is no message."""
    raw = store(5)
    path = tmp_path / "Sent.mbox"
    path.write_bytes(raw)

    found = [item for item in mbox.read_named(path, "home/eva/mail/Sent.mbox") if isinstance(item, RawRecord)]

    assert [f"<{i}@fabrikam.example>" for i in range(5)] == [item.data["MessageId"] for item in found]
    assert raw == b"".join(raw[item.offset : item.offset + item.length] for item in found)
    assert [raw[: item.offset].count(b"\n") + 1 for item in found] == [item.line for item in found]
    assert tuple(
        found[0].data[name]
        for name in ("Subject", "Sender", "Recipients", "Date", "ReceivedAt", "Folder", "Mailbox")
    ) == (
        "Hé 0",
        "ann@fabrikam.example",
        "eva@contoso.example",
        "2026-03-02T08:00:00Z",
        "2026-03-02T09:14:00Z",
        "Sent",
        "eva",
    )
    header, body = (MESSAGE % (0, 0)).split(b"\n\n", 1)
    assert hashlib.sha256(header + b"\n\n").hexdigest() == found[0].data["HeaderDigest"]
    assert hashlib.sha256(body + b"\n\n").hexdigest() == found[0].data["BodyDigest"]


def test_an_mbox_over_many_blocks_is_read_like_a_small_one(tmp_path: Path) -> None:
    """Separators fall on every side of the block borders."""
    path = tmp_path / "large"
    path.write_bytes(store(700, padding=7919))

    found = [item for item in mbox.read_named(path, "large") if isinstance(item, RawRecord)]

    assert path.stat().st_size > 4 * BLOCK_BYTES
    assert [f"<{i}@fabrikam.example>" for i in range(700)] == [item.data["MessageId"] for item in found]
    assert path.stat().st_size == sum(item.length for item in found)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                b"From a@b.example Mon Mar  2 09:14:01 2026\n",
                b"From nobody\n",
                b"\n",
                b"\r\n",
                b"Subject: x\n",
                b"body\n",
                b">From x 12:00 2026\n",
                b"\xff\x00",
                b"From x 1:00 2026",
            ]
        ),
        max_size=40,
    )
)
def test_no_byte_of_an_mbox_is_lost(tmp_path: Path, parts: list[bytes]) -> None:
    """Messages and damage together cover the file, blank lines before the first message aside."""
    path = tmp_path / "any"
    path.write_bytes(b"".join(parts))

    found = list(mbox.read_named(path, "any"))

    raw, place = path.read_bytes(), 0
    for item in found:
        assert raw[place : item.offset].strip() == b""
        place = item.offset + item.length
    assert raw[place:].strip() == b""


def test_python_counts_the_same_messages_in_public_stores() -> None:
    """The standard library is a second opinion on well-formed stores."""
    if not (PUBLIC / "mail-imaptest").is_dir():
        pytest.skip("the public samples are not on this machine")
    for path in sorted((PUBLIC / "mail-imaptest").glob("*.mbox")):
        other = mailbox.mbox(path, create=False)
        assert len(other) == sum(isinstance(item, RawRecord) for item in mbox.read_named(path, path.name)), (
            path.name
        )
        other.close()


def test_the_name_of_a_maildir_file_is_evidence(tmp_path: Path) -> None:
    """Time, flags and size stand in the name; a size that does not fit is said."""
    raw = MESSAGE % (7, 7)
    run(
        tmp_path,
        {
            f"vmail/eva@contoso.example/Maildir/.Sent.2026/cur/1772442841.M1P2.mx1,S={len(raw)},W=999:2,FS": raw,
            "vmail/eva@contoso.example/Maildir/new/1772442842.M1P3.mx1,S=1:2,T": raw + b".",
        },
    )

    found = ask(tmp_path, "PresentMessage | order by TimeGenerated asc")

    assert [
        ("Sent/2026", "FS", False, ""),
        ("INBOX", "T", True, f"its name states 1 bytes, it has {len(raw) + 1}"),
    ] == [(row["Folder"], row["Flags"], row["IsDeleted"], row["Problems"]) for row in found]
    assert {("eva@contoso.example", "maildir", "<7@fabrikam.example>")} == {
        (row["Mailbox"], row["StoreKind"], row["MessageId"]) for row in found
    }
    assert found[0]["TimeGenerated"][:19] == "2026-03-02T09:14:01"


def test_public_messages_are_recognised(tmp_path: Path) -> None:
    """Odd, broken and foreign messages are messages all the same."""
    if not (PUBLIC / "mail-mime4j").is_dir():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(
        tmp_path, [path for path in (PUBLIC / "mail-mime4j").iterdir() if path.name != "SOURCE.md"]
    )

    unknown = [row["path"] for row in intake if not row["loaded"]]
    assert len(unknown) <= 4, unknown


def test_an_outlook_message_is_read(tmp_path: Path) -> None:
    """Properties of the compound file, no further library."""
    if not (PUBLIC / "mail-msg").is_dir():
        pytest.skip("the public samples are not on this machine")

    run_paths(tmp_path, [PUBLIC / "mail-msg" / "strangeDate.msg"])

    assert [(row["StoreKind"], row["Subject"]) for row in ask(tmp_path, "PresentMessage")] == [
        ("msg", "MSG Test File")
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_compound_file_ends(tmp_path: Path, data: st.DataObject) -> None:
    """Chains may lead in circles and sizes may lie."""
    sectors = data.draw(st.integers(1, 8))
    raw = bytearray(
        compound_file.MAGIC
        + bytes(22)
        + struct.pack("<HH", 9, 6)
        + bytes(478)
        + data.draw(st.binary(max_size=256)).ljust(512, b"\xfe") * sectors
    )
    raw[48:72] = struct.pack(
        "<IIIIII",
        data.draw(st.integers(0, 9)),
        0,
        4096,
        data.draw(st.integers(0, 9)),
        1,
        data.draw(st.integers(0, 2**32 - 1)),
    )
    for i in range(76, 200, 4):
        raw[i : i + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2, 3, 0xFFFFFFFE, 0xFFFFFFFF])))
    path = tmp_path / "x.msg"
    path.write_bytes(bytes(raw))

    assert all(isinstance(item, RawRecord | Damage) for item in msg_file.read_named(path, "x.msg"))


@pytest.fixture
def data_files() -> list[Path]:
    if not (PUBLIC / "mail-pst").is_dir():
        pytest.skip("the public samples are not on this machine")
    return sorted((PUBLIC / "mail-pst").glob("*.pst"))


def test_data_files_of_outlook_are_listed_message_by_message(tmp_path: Path, data_files: list[Path]) -> None:
    """One of the two has a password, which protects nothing of what is stored."""
    pytest.importorskip("pypff", reason="libpff-python is not installed")

    intake = run_paths(tmp_path, data_files)

    assert [row["loaded"] for row in intake] == [4, 3]
    assert {row["StoreKind"] for row in ask(tmp_path, "PresentMessage")} == {"pst"}


def test_data_files_of_outlook_say_what_they_need(
    tmp_path: Path, data_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the optional extra a data file is quarantined with the remedy."""
    monkeypatch.setitem(sys.modules, "pypff", None)

    intake = run_paths(tmp_path, data_files)

    assert [row["quarantined"] for row in intake] == [1, 1]


def test_listings_of_every_kind_are_present_messages(tmp_path: Path) -> None:
    """Graph, Gmail, doveadm, folder statistics and the quarantine fill one table."""
    intake = run(tmp_path, {
        "graph.json": json.dumps({"value": [{"id": "AAMk", "receivedDateTime": "2026-03-02T09:14:01Z", "subject": "Invoice", "internetMessageId": "<a@fabrikam.example>", "parentFolderId": "AQMk", "isRead": True, "from": {"emailAddress": {"address": "Ann@fabrikam.example"}}, "toRecipients": [{"emailAddress": {"address": "eva@contoso.example"}}]}]}),
        "gmail.json": json.dumps([{"id": "18e0", "threadId": "18e0", "labelIds": ["TRASH"], "internalDate": "1772442841000", "payload": {"headers": [{"name": "Message-ID", "value": "<a@fabrikam.example>"}]}}]),
        "doveadm.json": json.dumps([{"user": "eva@contoso.example", "mailbox": "INBOX", "uid": "231", "flags": "\\Deleted", "hdr.message-id": "<a@fabrikam.example>", "size.physical": "4521", "date.received": "2026-03-02 09:14:01"}]),
        "stats.csv": 'Date,Name,FolderPath,FolderId,FolderType,ItemsInFolder,DeletedItemsInFolder,FolderSize,Identity\n2026-03-02T08:00:00Z,Purges,/Purges,x,RecoverableItemsPurges,7,0,"1.2 MB (1,258,291 bytes)",eva@contoso.example\\Purges\n',
        "quarantine.csv": "Identity,ReceivedTime,SenderAddress,RecipientAddress,MessageId,Subject,Size,Type,ReleaseStatus,Expires\nq1,3/2/2026 8:00:00 AM,a@fabrikam.example,Eva@contoso.example,<q@fabrikam.example>,Hi,100,Spam,NOTRELEASED,4/1/2026\n",
    })  # fmt: skip

    found = {row["StoreKind"]: row for row in ask(tmp_path, "PresentMessage")}

    assert {"graph", "gmail", "doveadm", "folder statistics", "quarantine"} == set(found)
    assert {1} == {row["loaded"] for row in intake}
    assert (
        found["gmail"]["IsDeleted"],
        found["doveadm"]["IsDeleted"],
        found["folder statistics"]["ItemCount"],
        found["folder statistics"]["SizeBytes"],
    ) == (True, True, 7, 1258291)


@given(st.binary(max_size=400))
def test_any_header_block_can_be_read(block: bytes) -> None:
    """Senders choose every byte."""
    found = mail_headers.identity(b"Subject: " + block + b"\nFrom: " + block + b"\nDate: " + block)

    assert all(isinstance(value, str) and "\x00" not in value for value in found.values())


@given(st.text(max_size=80))
def test_any_name_can_be_placed(name: str) -> None:
    """Names of exhibits come from archives."""
    mail_place.of_path(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"12\n", b"999999999999\n", b"0\n"]))
def test_any_message_file_is_a_record_or_damage(tmp_path: Path, raw: bytes, count: bytes) -> None:
    """A count before the message may lie."""
    path = tmp_path / "x.emlx"
    path.write_bytes(count + raw)

    assert len(list(mail_file.read_named(path, "x.emlx"))) == 1
