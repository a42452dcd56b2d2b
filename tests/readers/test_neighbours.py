"""What lies beside an exhibit counts: logs of a database, the second place of a message, papers among logs."""

from __future__ import annotations

import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from mailwitness.models import Exhibit
from mailwitness.neighbours import Neighbours
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.readers import text_document

from ..case_runs import NOW, ask, run

INDEX = "Users/eva/Library/Mail/V10/MailData/Envelope Index"
MESSAGE = "From: ann@fabrikam.example\nMessage-ID: <a@fabrikam.example>\nSubject: Invoice\n\nbody\n"


def _index(folder: Path) -> dict[str, bytes]:
    """Return an index with its log and the log's index, whose only message is in the log."""
    live = folder / "live"
    connection = sqlite3.connect(live)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE messages (ROWID INTEGER PRIMARY KEY, message_id, date_received INTEGER, deleted INTEGER)"
    )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("INSERT INTO messages VALUES (1, '<late@fabrikam.example>', 1772440875, 1)")
    connection.commit()
    found = {INDEX + suffix: Path(f"{live}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm")}
    connection.close()
    return found


@pytest.mark.parametrize("form", ["zip", "tar", "folder"])
def test_a_write_ahead_log_is_read_with_its_database_wherever_it_comes_from(
    tmp_path: Path, form: str
) -> None:
    """Members of an archive are stored under digests; the row that is only in the log is read all the same."""
    given = tmp_path / "given"
    given.mkdir()
    for name, content in _index(tmp_path).items():
        target = tmp_path / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    if form == "zip":
        with zipfile.ZipFile(given / "mac.zip", "w") as archive:
            for path in sorted((tmp_path / "tree").rglob("Envelope*")):
                archive.write(path, path.relative_to(tmp_path / "tree"))
    elif form == "tar":
        with tarfile.open(given / "mac.tar", "w") as archive_:
            archive_.add(tmp_path / "tree", "tree")
    else:
        (tmp_path / "tree").rename(given / "tree")

    report = investigate([given], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()).report

    rows = ask(tmp_path, "PresentMessage | project MessageId, IsDeleted, Problems")
    assert [(row["MessageId"], row["Problems"]) for row in rows] == [("<late@fabrikam.example>", "")]
    assert not [item for item in report["not_evaluated"] if "Envelope" in item["what"] and item["blocking"]]


def test_only_a_log_beside_a_database_is_taken_for_one(tmp_path: Path) -> None:
    """Evidence cannot be hidden under the name of a log: name, content and database have to agree."""
    database, log, text = tmp_path / "a", tmp_path / "a-wal", tmp_path / "b-wal"
    database.write_bytes(b"SQLite format 3\x00")
    exhibits = [
        Exhibit(id=f"E{i}", path=path.name, location=path, size_bytes=1, blake3="")
        for i, path in enumerate((database, log, text))
    ]
    neighbours = Neighbours(exhibits)

    assert neighbours.database_of(exhibits[1], b"\x37\x7f\x06\x82rest") == "a"
    assert neighbours.database_of(exhibits[1], b"") == "a"
    assert neighbours.database_of(exhibits[1], b"Mar  2 09:14:01 mx1 x: y") == ""
    assert neighbours.database_of(exhibits[2], b"\x37\x7f\x06\x82rest") == ""


def test_the_same_message_in_two_folders_is_there_twice(tmp_path: Path) -> None:
    """Equal bytes are one exhibit, but each place of a message is counted with its folder."""
    name = "1772442841.M1P2.mx1:2,S"
    files: dict[str, str | bytes] = {
        f"vmail/eva@contoso.example/Maildir/cur/{name}": MESSAGE,
        f"vmail/eva@contoso.example/Maildir/.Archive/cur/{name}": MESSAGE,
        f"vmail/bob@contoso.example/Maildir/cur/{name}T": MESSAGE,
    }

    intake = run(tmp_path, files)

    assert [(row["records"], row["loaded"]) for row in intake] == [(3, 3)]
    rows = ask(tmp_path, "PresentMessage | order by Mailbox asc, Folder asc")
    assert [(row["Mailbox"], row["IsDeleted"]) for row in rows] == [
        ("bob@contoso.example", True),
        ("eva@contoso.example", False),
        ("eva@contoso.example", False),
    ]
    assert rows[1]["Folder"] != rows[2]["Folder"]


def test_a_log_given_twice_still_counts_once(tmp_path: Path) -> None:
    """Only a message has places; an event happened once however often its log was copied."""
    line = "2026-03-02T09:14:01Z mx1 dovecot: imap-login: Login: user=<eva>, method=PLAIN, rip=192.0.2.7\n"

    intake = run(tmp_path, {"a/mail.log": line, "b/mail.log": line})

    assert [(row["records"], row["loaded"]) for row in intake] == [(1, 1)]


PAPER = "# Logs of mx1\n\nCollected by the mail team, see https://contoso.example/wiki.\n\n- mail.log: Postfix and Dovecot\n"


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "LICENSE.txt", "NOTICE.txt", "docs/notes.md", "SOURCE.md"]
)
def test_a_paper_beside_logs_does_not_block(tmp_path: Path, name: str) -> None:
    """It is listed as what it is."""
    path = tmp_path / "paper"
    path.write_text(PAPER, encoding="utf-8")

    assert text_document.describe(path, name) == text_document.Described(
        "a text document, not a log", blocking=False
    )


@pytest.mark.parametrize(
    "line",
    [
        "Mar  2 09:14:01 mx1 sudo: eva : COMMAND=/bin/rm -rf /var/vmail",
        "2026-03-02 user eva purged the mailbox",
        "[02/Mar/2026] purge",
        "1772442841 rm -rf /var/vmail",
        "#1772442841",
        '{"op":"purge","user":"eva"}',
        "op=purge user=eva",
        "From: ann@fabrikam.example",
        "a;b;c;d;e;f;g",
        "192.0.2.7 purge 200",
        "<22>purge",
        "\x01\x02\x03\x04",
    ],
)
def test_a_log_named_like_a_paper_still_blocks(tmp_path: Path, line: str) -> None:
    """One line in the form of a log is enough, wherever it stands."""
    path = tmp_path / "paper"
    path.write_text(PAPER + line + "\n" + ("" if line.isprintable() else line * 20), encoding="utf-8")

    assert text_document.describe(path, "README.md").blocking


def test_text_with_the_name_of_a_log_blocks_whatever_it_says(tmp_path: Path) -> None:
    """A log in an unknown form must not pass as prose."""
    path = tmp_path / "mail.log"
    path.write_text(PAPER, encoding="utf-8")

    assert text_document.describe(path, "mail.log").blocking


def test_a_paper_does_not_stand_in_the_way_of_clear(tmp_path: Path) -> None:
    """The whole run says so: clear with the paper, not evaluated with an unknown log."""
    line = "2026-03-02T09:14:01Z mx1 dovecot: imap-login: Login: user=<eva>, method=PLAIN, rip=192.0.2.7\n"
    for name, text in {"mail.log": line, "README.md": PAPER}.items():
        (tmp_path / "evidence").mkdir(exist_ok=True)
        (tmp_path / "evidence" / name).write_text(text, encoding="utf-8")

    report = investigate(
        [tmp_path / "evidence"], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()
    ).report

    listed = {item["what"]: item["blocking"] for item in report["not_evaluated"]}
    assert listed["evidence/README.md"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mark 0 ok\n['DELETE'] pid 7 comm rm uid 0  [(2, '/home/eva/Maildir/new', 'x')]\n", "fanotify"),
        ("# mark: FAN_OPEN_PERM on /var/mail\nDENY /usr/bin/rm /var/mail/eva\n", "fanotify"),
        (
            "TLS ('AES', 'TLSv1.3') client mx1\n72 b'<22>1 2026-03-02T09:14:01Z mx1 root - - - x'\n",
            "receiver",
        ),
    ],
)
def test_a_transcript_is_named_for_what_it_is_and_blocks(tmp_path: Path, text: str, words: str) -> None:
    """What says what was done but not when is no evidence, and it says so in one sentence."""
    path = tmp_path / "transcript.txt"
    path.write_text(text, encoding="utf-8")

    described = text_document.describe(path, path.name)

    assert words in described.looks_like
    assert described.blocking


def test_recorded_transcripts_are_named() -> None:
    """The watcher transcripts among the recorded scenarios are no logs."""
    recorded = Path(__file__).parents[3] / "shared" / "data" / "recorded" / "linux-mail"
    if not recorded.is_dir():
        pytest.skip("the recorded scenarios are not here")
    for name in (
        "71-fanotify/events.txt",
        "74-fanotify-perm/transcript.txt",
        "72-rsyslog-tls-rfc5425/received.txt",
    ):
        assert "transcript" in text_document.describe(recorded / name, name).looks_like
