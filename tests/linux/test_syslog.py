"""Syslog in its forms, the journal, mail logs and histories: who did what, whatever a subject claims."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import tables
from mailwitness.readers import journal, shell_history, syslog_lines
from mailwitness.readers.blocks import RawRecord

from ..case_runs import Record, Told

DATA = Path(__file__).parent / "data"
DATABASE = tables.connect(memory="256MB", threads=1, temporary=Path("/nonexistent"))


JOURNAL_ENTRY = {
    "__CURSOR": "s=1",
    "__REALTIME_TIMESTAMP": "1772442190000000",
    "_HOSTNAME": "mx1",
    "SYSLOG_IDENTIFIER": "dovecot",
    "_EXE": "/usr/bin/logger",
    "_AUDIT_LOGINUID": "1004",
    "MESSAGE": "imap(eva)<1><x>: expunge: box=INBOX, uid=1, msgid=<f@x>",
}
# Small pieces of evidence that are investigated together.
EVIDENCE: dict[str, dict[str, str | bytes]] = {
    "mail log": {"mail.log": (DATA / "mail.log").read_bytes()},
    "dovecot 2.4": {"dovecot.log": (DATA / "dovecot-2.4.log").read_bytes()},
    "no year": {"mail.log": "Mar  1 09:00:00 mx1 dovecot: imap(eva)<1><s>: Mailbox deleted: old\n"},
    "journal": {
        "journal.json": json.dumps(JOURNAL_ENTRY) + "\n",
        "journal.export": b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1772442191000000\n_HOSTNAME=mx1\nSYSLOG_IDENTIFIER=dovecot\n_EXE=/usr/bin/logger\nMESSAGE\n"
        + (5).to_bytes(8, "little")
        + b"a\nb c\n\n",
    },
    "histories": {
        "home/eva/.bash_history": "#1772442190\nsudo truncate -s 0 /var/log/mail.log\n#1772442195\nls\n",
        "home/bob/.bash_history": "ls\ndoveadm expunge -u eva mailbox INBOX all\n",
        "root/zsh": ": 1772442190:0;journalctl --vacuum-time=1s\n",
        "home/ann/fish_history": "- cmd: auditctl -e 0\n  when: 1772442190\n",
    },
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(tmp_path_factory.mktemp("told"), EVIDENCE)


def parsed(tmp_path: Path, text: str) -> list[Record]:
    """Return the data of the records of a syslog text."""
    path = tmp_path / "log"
    path.write_text(text)
    return [item.data for item in syslog_lines.read(path) if isinstance(item, RawRecord)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "2026-03-02T09:00:00.5+01:00 mx1 dovecot: text",
            {"Time": "2026-03-02T09:00:00.5+01:00", "Host": "mx1", "Process": "dovecot", "Message": "text"},
        ),
        (
            '<22>1 2026-03-02T09:00:00Z mx1 dovecot 77 ID1 [a b="c\\]d"] text',
            {
                "Process": "dovecot",
                "ProcessId": "77",
                "Facility": "mail",
                "Severity": "info",
                "Message": "text",
            },
        ),
        (
            "<86>2026-03-02T09:00:00+00:00 mx1 sshd[12]: text",
            {"Process": "sshd", "ProcessId": "12", "Facility": "authpriv"},
        ),
        (
            "@400000004c91b044077a9e94 imap-login: text",
            {"Time": "2010-09-16T05:50:50.125476Z", "Process": "imap-login"},
        ),
        (
            "2026-03-02T09:00:00.5-07:00 WARNING kernel: text",
            {"Severity": "warning", "Process": "kernel", "Message": "text"},
        ),
        (
            "2026-03-02 09:00:00 [4855] 1xUaAe-0001CD-18 removed by root",
            {"Process": "exim", "ProcessId": "4855", "Message": "1xUaAe-0001CD-18 removed by root"},
        ),
        (
            "Mar  2 09:00:00 2026 mx1 postfix/smtpd[9]: text",
            {"Time": "2026-03-02T09:00:00", "Process": "postfix/smtpd"},
        ),
        (
            "Mar  2 2026 09:00:00 imap(eva)<1><s>: Info: text",
            {"Process": "dovecot", "Message": "imap(eva)<1><s>: Info: text"},
        ),
    ],
)
def test_every_form_of_a_line(tmp_path: Path, line: str, expected: Record) -> None:
    (data,) = parsed(tmp_path, line + "\n")

    assert {key: data.get(key) for key in expected} == expected


def test_sudos_own_log_is_put_together(tmp_path: Path) -> None:
    (data,) = parsed(
        tmp_path,
        "Mar  2 09:00:00 2026 : eva : PWD=/home/eva ; USER=root ;\n    COMMAND=/usr/bin/doveadm expunge -u bob\n    mailbox INBOX all\n",
    )

    assert (data["Process"], data["Message"]) == (
        "sudo",
        "eva : PWD=/home/eva ; USER=root ; COMMAND=/usr/bin/doveadm expunge -u bob mailbox INBOX all",
    )


def test_a_year_is_taken_from_the_file_and_said(tmp_path: Path) -> None:
    path = tmp_path / "evidence" / "log"
    path.parent.mkdir()
    path.write_text("Dec 31 23:59:59 mx1 dovecot: a\nJan  1 00:00:01 mx1 dovecot: b\n")
    os.utime(path, (1767312000, 1767312000))  # 2026-01-02

    years = [item.data["Time"][:4] for item in syslog_lines.read(path) if isinstance(item, RawRecord)]

    assert years == ["2025", "2026"]


def test_an_assumed_year_is_noted_at_the_exhibit(told: Told) -> None:
    (row,) = told.intake("no year")

    assert any("the year is taken from" in note for note in row["notes"])


def test_messages_glued_by_a_relay_are_split_only_in_its_own_format(tmp_path: Path) -> None:
    glued = (
        "<15>2026-03-02T09:00:00.000001+00:00 mx1 tag one<14>2026-03-02T09:00:00.000002+00:00 mx1 tag two\n"
    )
    forged = "<22>1 2026-03-02T09:00:00Z mx1 dovecot - - - subject=<14>2026-03-02T09:00:00.000002+00:00 mx1 dovecot: imap(bob)<1><x>: expunge: box=INBOX, uid=1\n"

    assert [len(parsed(tmp_path, text)) for text in (glued, forged)] == [2, 1]


def test_a_mail_log_becomes_acts_and_hostile_subjects_forge_nothing(told: Told) -> None:
    expunged = [row for row in told.acts("mail log") if row["Operation"] == "expunge"]
    fields = told.rows(
        "mail log",
        "Syslog | where MailUid == 8 | project MailUser, MailBox, MailUid, MailMessageId, MailFlags, MailIsHostile, MailSize, MailFrom, _Exhibit, _Position",
    )

    assert [(r["Mailbox"], r["Folder"], r["ItemId"], r["ClientIP"], r["MessageId"]) for r in expunged] == [
        ("eva", "INBOX", "7", "203.0.113.66", "<a@fabrikam.example>"),
        ("eva", "INBOX", "8", "203.0.113.66", "<b c, subject=zz@fabrikam.example>"),
    ]
    assert [{name: row[name] for name in row if name[0] != "_"} for row in fields] == [
        {
            "MailUser": "eva",
            "MailBox": "INBOX",
            "MailUid": 8,
            "MailMessageId": "<b c, subject=zz@fabrikam.example>",
            "MailFlags": "\\Deleted",
            "MailIsHostile": True,
            "MailSize": 731,
            "MailFrom": "evil@fabrikam.example",
        }
    ]


def test_what_the_lines_mean(told: Told) -> None:
    rows = told.acts("mail log")
    by_operation = {row["Operation"]: row for row in rows}

    # The closing counters only speak where no message of the session was named; qmgr's "removed" ends a delivery.
    assert (by_operation["disconnect"]["Mailbox"], by_operation["disconnect"]["ItemCount"]) == ("bob", 3)
    assert [row["ItemId"] for row in rows if row["FolderKind"] == "Outbox"] == ["A6BAC230691"]
    assert (
        by_operation["doveadm expunge"]["Actor"],
        by_operation["doveadm expunge"]["Mailbox"],
        by_operation["doveadm expunge"]["IsCrossMailbox"],
    ) == ("mallory", "eva", True)
    # The true address of a failed login is the last one: the name before it is the attacker's text.
    assert [row["ClientIP"] for row in rows if row["Activity"] == "SignInFailed"] == ["203.0.113.9"]


def test_a_log_of_dovecot_2_4_says_the_same_in_its_own_words(told: Told) -> None:
    """The words of 2.4, in its own log file with a year, with lines of mail_log that name no folder."""
    found = [
        (r["Activity"], r["Mailbox"], r["Folder"], r["ItemId"], r["ClientIP"], r["ItemCount"])
        for r in told.acts("dovecot 2.4")
    ]

    assert found == [
        ("SignedIn", "eva", "", "", "203.0.113.66", 1),
        ("HardDeleted", "eva", "", "7", "203.0.113.66", 1),
        ("HardDeleted", "eva", "", "8", "203.0.113.66", 1),
        ("MovedToDeletedItems", "eva", "INBOX", "9", "203.0.113.66", 1),
        ("Read", "eva", "", "", "203.0.113.66", 4),
        ("SignInFailed", "x>, rip=192.0.2.77, lip=192.0.2.1, session=<no>", "", "", "203.0.113.9", 1),
        ("HardDeleted", "bob", "", "", "", 1),
        ("SignedIn", "bob", "", "", "203.0.113.67", 1),
        ("InboxRuleChanged", "bob", "", "", "203.0.113.67", 1),
        ("HardDeleted", "bob", "", "", "", 3),
    ]


@pytest.mark.parametrize(
    "start",
    [
        "imap(eva)<1><s>: expunge: box=INB",
        "imap(eva)<1><s>: expunge: box=INBOX, uid=4",
        "imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<eva>, method=PLAIN, rip=203.0.113.4",
    ],
)
def test_two_lines_that_lost_the_end_between_them_are_not_one(start: str) -> None:
    """No folder, uid, user or address is put together from two lines."""
    behind = "2026-03-02T09:00:00.000000+00:00 mx1 dovecot: imap-login: Login: user=<bob>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, mpid=1, TLS, session=<t>"

    (found,) = DATABASE.execute("SELECT mw_mail_record('dovecot', ?).line", [start + behind]).fetchall()

    assert (found[0]["event"], found[0]["user"], found[0]["box"]) == ("", "", "")


HOSTILE = st.lists(
    st.sampled_from(
        [
            ", uid=9",
            ", box=Archive",
            ", msgid=<f@x>",
            ", size=1",
            ", vsize=2",
            ", from=x",
            ", subject=y",
            ", flags=()",
            "expunge: ",
            "imap(bob)<1><x>: ",
            "user=<z>",
            "\\",
            '"',
            "<",
            ">",
            "ü",
            " ",
        ]
    ),
    max_size=6,
).map("".join)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=20, max_size=20))
def test_no_subject_sender_or_id_changes_who_did_what(texts: list[tuple[str, str, str]]) -> None:
    # mail_log_fields decides what a line names; the subject stays behind all of it.
    places = ("box=INBOX, uid=7, ", "uid=7, ", "box=INBOX, ", "")
    lines = [
        f"imap(eva)<1><s>: expunge: {place}msgid=<{identity}@x>, size=5, vsize=6, from={sender}, subject={subject}, flags=(\\Deleted)"
        for place in places
        for identity, sender, subject in texts
    ]

    found = DATABASE.execute(
        "SELECT r.line.event, r.line.\"user\", r.line.session, r.line.box, r.line.uid, regexp_extract(r.line.tail, ', flags=\\(([^()]*)\\)$', 1) FROM (SELECT mw_mail_record('dovecot', t) AS r FROM (SELECT unnest(?) AS t))",
        [lines],
    ).fetchall()

    assert found == [
        (
            "expunge",
            "eva",
            "s",
            "INBOX" if "box=" in place else "",
            "7" if "uid=" in place else "error",
            "\\Deleted",
        )
        for place in places
        for _ in texts
    ]


def test_the_journal_tells_who_really_sent_a_line(told: Told) -> None:
    rows = told.rows("journal", "Syslog")

    assert sorted(
        (row["SyslogMessage"], row["SenderExe"], row["SenderLoginId"], row["MailEvent"]) for row in rows
    ) == [
        ("a\nb c", "/usr/bin/logger", "", ""),
        (JOURNAL_ENTRY["MESSAGE"], "/usr/bin/logger", "1004", "expunge"),
    ]


def test_histories_with_and_without_times(told: Told) -> None:
    rows = told.acts("histories")

    assert sorted((r["Activity"], r["Actor"], r["Mailbox"], r["TimeGenerated"] is None) for r in rows) == [
        ("CommandExecuted", "bob", "eva", True),
        ("LogCleared", "eva", "", False),
        ("LogCleared", "root", "", False),
        ("LoggingStopped", "ann", "", False),
    ]


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=400))
def test_no_content_stops_a_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_bytes(content)

    for reader in (syslog_lines, journal, shell_history):
        list(reader.read(path))
