"""Large mail logs: split many lines at once, and yet the same rows, the same damage and the same acts as line by line."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import loading, row_select, tables
from mailwitness.content import loader
from mailwitness.direct_reads import Read
from mailwitness.models import Exhibit
from mailwitness.readers import line_batches, syslog_fast
from mailwitness.sources import Intake
from mailwitness.sources.segments import Segments

from ..case_runs import PUBLIC

RECORDED = PUBLIC.parent / "recorded" / "linux-mail"
MAIL_LOG = (Path(__file__).parent / "data" / "mail.log").read_bytes().splitlines()
DATABASE = tables.connect(memory="256MB", threads=1, temporary=Path("/nonexistent"), in_order=True)
Row = dict[str, Any]  # Any: query cells

# What stands between usual lines in real logs, in torn ones and in hostile ones.
ODD = [
    b"",
    b"   ",
    b"\xef\xbb\xbf2026-03-02T09:00:00Z mx1 dovecot: at the start of a file",
    b"2026-03-02T09:00:00.5+01:00 mx1 dovecot: text\r",
    b"2026-03-02T09:00:00.123456-07:00 mx1 postfix/smtpd[9]: text\r\r",
    b"2026-03-02T09:00:00+0100 mx1 sshd[12]: Accepted publickey for eva from 192.0.2.1 port 1 ssh2",
    b"2026-03-02T09:00:00.123456789Z mx1 dovecot: nine digits",
    b"2026-02-30T09:00:00.123456+00:00 mx1 dovecot: no such day",
    b"2026-03-02T09:00:00.123456+00:00 mx1 dovecot:no blank",
    b"2026-03-02T09:00:00.123456+00:00 mx1 dovecot:   many blanks",
    b"2026-03-02T09:00:00.123456+00:00 mx1 dovecot: ",
    b"2026-03-02T09:00:00.123456+00:00 mx1 no tag here",
    b"2026-03-02T09:00:00.123456+00:00 mx1 \xff\xfe[1]: not text",
    b"2026-03-02T09:00:00.123456+00:00 mx1 dovecot: imap(eva)<1><s>: \xff\xfe expunge \x00 and \x01",
    b"2026-03-02T09:00:00.123456+00:00 mx1 a: \xff",
    "2026-03-02T09:00:00.123456+00:00 mx1 dovecot: imap(eva)<1><s>: delete: box=INBOX, uid=1, msgid=<ü@x>, size=1, vsize=1, from=ä, subject=größer, flags=()".encode(),
    b"    an indented line belongs to the one before",
    b"\tand one with a tab",
    b"mx1 dovecot: imap(eva)<1><s>: the end of a cut line",
    b"Mar  2 09:00:00 2026 mx1 postfix/smtpd[9]: another form",
    b'<22>1 2026-03-02T09:00:00Z mx1 dovecot 77 ID1 [a b="c"] text',
    b"<15>2026-03-02T09:00:00.000001+00:00 mx1 tag one<14>2026-03-02T09:00:00.000002+00:00 mx1 tag two",
    b"2026-03-02T09:00:00.123456+00:00 " + b"h" * 300 + b" dovecot: a host beyond all names",
]


def load(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_large: bool
) -> tuple[list[Row], list[Row]]:
    """Load a log with all columns and return its rows with their places, and what is in quarantine."""
    monkeypatch.setattr("mailwitness.sources.limits.BULK_BYTES", 1 if is_large else 1 << 40)
    monkeypatch.setattr("mailwitness.readers.syslog_lines.bulk", lambda _: "syslog_fast")
    for name in ("work", "index", "tables"):
        (folder / name).mkdir(parents=True)
    store = tables.TableStore(folder / "tables")
    intake = Intake(DATABASE, store, wanted=None, work=folder / "work", index_folder=folder / "index")
    exhibit = Exhibit(
        id="E1", path="mail.log", location=path, size_bytes=path.stat().st_size, blake3="a" * 64
    )
    intake.add(exhibit)
    intake.finish()
    tally = intake.tallies["E1"]
    assert tally.records == tally.loaded + tally.quarantined
    index = intake.indexes.load(exhibit)
    sql = store.view_sql("Syslog", loader.tables()["Syslog"].columns)
    rows = []
    for row in tables.rows(DATABASE.execute(sql)):
        place = index.locate(row.pop("_Position")) if index else None
        rows.append(row | {"place": place and (place.offset, place.length, place.line)})
    lines = (folder / "work" / "quarantine.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    for item in kept:
        item.pop("record")
    return sorted(rows, key=lambda row: row["place"]), sorted(kept, key=lambda item: item["offset"])


@settings(max_examples=12, deadline=None)
@given(
    lines=st.lists(st.one_of(st.sampled_from(ODD), st.sampled_from(MAIL_LOG)), min_size=20, max_size=60),
    ends=st.booleans(),
)
def test_a_large_log_gives_what_a_small_one_gives(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool
) -> None:
    folder = tmp_path_factory.mktemp("large")
    path = folder / "mail.log"
    # Something to recognise the file by stands first.
    path.write_bytes(b"\n".join([MAIL_LOG[0], *lines]) + (b"\n" if ends else b""))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_batches, "CHUNK_BYTES", 1500)
        large = load(path, folder / "a", patch, is_large=True)
        small = load(path, folder / "b", patch, is_large=False)

    assert large == small


def test_every_recorded_line_is_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not RECORDED.is_dir():
        pytest.skip("the recorded scenarios are not here")
    path = tmp_path / "mail.log"
    path.write_bytes(b"".join(one.read_bytes() for one in sorted(RECORDED.glob("*/mail.log"))))

    large = load(path, tmp_path / "a", monkeypatch, is_large=True)
    small = load(path, tmp_path / "b", monkeypatch, is_large=False)

    assert large == small
    assert len(large[0]) > 500


def test_a_record_without_end_is_one_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mail.log"
    endless = b"x" * (3 << 20)
    path.write_bytes(b"\n".join([MAIL_LOG[0], endless, MAIL_LOG[1], b""]))
    monkeypatch.setattr(line_batches, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(line_batches, "_MOST_BYTES", 2 << 20)

    rows, kept = load(path, tmp_path / "a", monkeypatch, is_large=True)

    assert [row["place"][2] for row in rows] == [1, 3]
    assert [(item["line"], item["offset"], item["length"]) for item in kept] == [
        (2, len(MAIL_LOG[0]) + 1, len(endless) + 1)
    ]


# Parts of lines that a subject, a sender, an id, a name or a folder may hold to be taken for something else.
HOSTILE = (
    ", uid=9", ", box=Archive", ", msgid=<f@x>", ", size=1", ", vsize=2", ", from=x", ", subject=y", ", flags=()", "expunge: ", ": ", "imap(bob)<1><x>: ",
    ">, relay=evil", ", status=sent (", "'", "forwarded to z", "discarded", "user=<z>", ", rip=192.0.2.9, lip=", "session=<s2>", "[192.0.2.9]", "\\", '"', "<", ">", "(", ")", "=", ",", "ü", " ", "plain", "n" * 90, "ü" * 70, "007", ", size=", " from INBOX", "auth failed", "authentication failed", "SASL ", "[192.0.2.1]: SASL ", ": user=<", ", flags=(",
)  # fmt: skip
KINDS = (
    "imap({0})<1><s>: {1}: box={2}, uid=7, msgid={3}, size=5, vsize=6, from={4}, subject={5}, flags=({6})",
    "imap(eva)<1><s>: copy from {1}: box={2}, uid=7, msgid=<a@x>, size=5, vsize=6, from={4}, subject={5}, flags=(\\Deleted)",
    "imap(eva)<1><s>: expunge: box=INBOX, uid=7, msgid=<{3}@x>, size=5, vsize=6, from={4}, subject={5}, flags=(\\Deleted)",
    "lmtp(eva)<1><s>: sieve: msgid=<{3}>: stored mail into mailbox '{2}'",
    "lmtp({0})<1><s>: msgid={3}: saved mail to {2}",
    "imap({0})<1><s>: Disconnected: {1} in=1 out=2 deleted=3 expunged=4 trashed=5 hdr_count=6 hdr_bytes=7 body_count=8 body_bytes=9",
    "imap(eva)<1><s>: Logged out in=1 out=2 deleted=3 expunged=4 trashed=5 hdr_count=6 hdr_bytes=7 body_count=8 body_bytes=9{1}",
    "imap-login: Login: user=<{0}>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, mpid=1, TLS, session=<s>{1}",
    "imap-login: Login: user=<eva>, method={1}, rip=192.0.2.1, lip=192.0.2.2, {2}session=<s>",
    "A6BAC230690: client={1}[192.0.2.1]{2}",
    "A6BAC230690: message-id={3}",
    "A6BAC230690: from=<{4}>, size=351, nrcpt=1 (queue active)",
    "A6BAC230690: to=<{0}>, relay={1}, delay=0.03, delays=0.01/0.01/0.01/0.01, dsn=2.0.0, status=sent ({2})",
    "A6BAC230690: to=<eva@x>, relay=local, delay=0.03, delays=0.01/0.01/0.01/0.01, dsn=2.0.0, status=sent (250 {2})",
    "A6BAC230690: {1}removed",
    "lmtp(77): Connect from local{1}",
    "{1}connect from {2}[192.0.2.1]",
    "lmtp(eva)<1><s>: save: box=INBOX, uid={2}, msgid=<{3}@x>, size={1}, vsize=6, from={4}, subject=a{5}, flags=({6})",
    "imap-login: Logged in: user=<eva>, method=PLAIN, rip={1}, lip=192.0.2.2, TLS, session=<s{2}>",
    "imap-login: Disconnected: Connection closed (auth failed, 1{2} attempts in 2 secs): user=<{0}>, method={1}, rip=192.0.2.1, lip=192.0.2.2, {3}session=<s>",
    "warning: {1}[192.0.2.1]: SASL LOGIN authentication failed: {2}",
    "A6BAC230690: to=<{0}>, orig_to=<{1}>, relay=local, delay=0.03, delays=0.01/0.01/0.01/0.01, dsn=2.0.0, status={2}",
)
# What a host says besides: jobs and logins.
HOST = (
    "({0}) CMD ({1})", "(root) CMD (  {2})", "(root) CMD ({1}", "(root) CMD (rm -f /var/log/mail.log{2})", "(root) CMD (   )", "(root){1} CMD (true)", "pam_unix(cron:session): session opened for user {0}",
    "Accepted publickey for {0} from 192.0.2.1 port 1 ssh2", "Failed password for invalid user {1} from {2} port 22 ssh2", "Failed password for {0} from 192.0.2.1 port {1}", "Connection closed by {2}",
)  # fmt: skip
PROCESSES = ("dovecot", "dovecot", "postfix/qmgr", "postfix/smtpd", "postfix/postsuper", "cron")
EVENTS = ("expunge", "save", "copy from INBOX", "autoexpunge", "mailbox_delete", "")


def test_a_log_that_shrinks_while_it_is_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_batches, "CHUNK_BYTES", 1 << 12)
    path = tmp_path / "mail.log"
    path.write_bytes(b"".join(line + b"\n" for line in MAIL_LOG) * 50)
    batches = line_batches.LineBatches(path, lambda found: len(found.starts))

    stretches = batches.stretches()
    seen = next(stretches)
    path.write_bytes(b"rotated\n")
    seen += sum(stretches)

    assert 0 < seen < 50 * len(MAIL_LOG)
    assert len(batches.places()[0]) == seen


def test_lines_of_strict_kinds_say_what_the_patterns_say() -> None:
    choose = random.Random(1)  # noqa: S311 - the same lines in every run
    lines = []
    for _ in range(3000):
        texts = ["".join(choose.choices(HOSTILE, k=choose.choice((0, 0, 1, 1, 2, 3)))) for _ in range(7)]
        texts[1] = choose.choice(EVENTS) or texts[1]
        lines.append((choose.choice(PROCESSES), choose.choice(KINDS).format(*texts)))

    strict = _mail_columns(lines, {})

    assert strict == _mail_columns(lines, {"mw_kind": "'whole'"})
    assert sum(row["MailEvent"] != "" for row in strict) > 1000


def test_lines_that_imitate_fields_are_read_alike_in_large_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(2)  # noqa: S311 - the same lines in every run
    lines = [MAIL_LOG[0].decode()]
    for _ in range(3000):
        plain = choose.choice(("eva", "7", "INBOX", "a@b.example"))
        texts = [
            plain if choose.random() < 0.5 else "".join(choose.choices(HOSTILE, k=choose.choice((0, 1, 2))))
            for _ in range(7)
        ]
        texts[1] = choose.choice(EVENTS) or texts[1]
        process = choose.choice((*PROCESSES, "postfix/lmtp[77]", "postfix", "imap-login"))
        lines.append(f"2026-03-02T09:00:00.123456+00:00 mx1 {process}: {choose.choice(KINDS).format(*texts)}")
        process = choose.choice(("CRON[7]", "crond", "sshd[9]", "sshd-session[8]"))
        lines.append(f"2026-03-02T09:00:00.123456+00:00 mx1 {process}: {choose.choice(HOST).format(*texts)}")
    path = tmp_path / "mail.log"
    path.write_text("\n".join(lines), encoding="utf-8")

    events: dict[str, set[str]] = {}
    store = Segments.store

    def stored(self: Segments, parts: list[str], *rest: Any, **named: Any) -> loading.Stored:
        found = store(self, parts, *rest, **named)
        file = tables.literal(str(self.writer.store.path(found.segment)))
        rows = DATABASE.execute(f"SELECT DISTINCT MailEvent FROM read_parquet({file})").fetchall()
        events.setdefault(parts[-1], set()).update(event for (event,) in rows)
        return found

    monkeypatch.setattr(Segments, "store", stored)

    large = load(path, tmp_path / "a", monkeypatch, is_large=True)
    small = load(path, tmp_path / "b", monkeypatch, is_large=False)

    assert large == small
    assert sum(row["MailEvent"] != "" for row in large[0]) > 1000
    # What a run leaves out follows from what is known of each group of lines.
    groups = syslog_fast.groups()
    for group in groups.columns.keys() & events.keys():
        assert events[group] <= groups.events.get(group, {""})
    assert {"message", "sent", "login", "refused", "passing", "job", "shell"} <= events.keys()


def test_the_usual_lines_are_of_strict_kinds() -> None:
    texts = [
        kind.format("eva", "expunge" if "box=" in kind else "", "INBOX" if "box" in kind else "", *"abcd")
        for kind in KINDS[:14]
    ]
    programs = ["dovecot" if "(" in text.partition(":")[0] or "login" in text.partition(":")[0] else "postfix/qmgr" for text in texts]  # fmt: skip

    kinds = [
        DATABASE.execute("SELECT mw_line_kind(?, m, split_part(m, ': ', 1), substr(m, strpos(m, ': ') + 2)) FROM (SELECT ? AS m)", [program, text]).fetchall()[0][0]
        for program, text in zip(programs, texts, strict=True)
    ]  # fmt: skip

    assert kinds == ["message"] * 3 + ["sieve"] * 2 + ["logout"] * 2 + ["login"] * 2 + [
        "client",
        "id",
        "from",
        "to",
        "to",
    ]
    # In large logs the same lines, and those that the first kinds leave to the patterns.
    texts += [KINDS[-5].format(0, 9, 8, *"abcd"), *(kind.format(*"1234567") for kind in KINDS[-3:-1])]
    lines = zip([*programs, "dovecot", "dovecot", "postfix/smtpd"], texts, strict=True)
    text = "\n".join(f"2026-03-02T09:00:00.123456+00:00 mx1 {program}: {line}" for program, line in lines)
    groups = syslog_fast.groups()
    needed = {group: groups.values(group) for group in groups.columns}
    stretch = syslog_fast.split(line_batches.find(memoryview(text.encode())), needed)
    assert (len(stretch.patterns[0]), len(stretch.others)) == (0, 0)
    assert {group: rows.tolist() for group, rows, _ in stretch.groups} == {
        "passing": [9, 10, 11],
        "sent": [12, 13],
        "message": [0, 1, 2, 14],
        "session": [5, 6],
        "filed": [3, 4],
        "login": [7, 8, 15],
        "refused": [16],
    }
    # A stretch may be shorter than a time, and need not end with a line.
    for few in (b"a\n2026-03-02T09:00:00Z b\n", b"a\n2026-03-02T09:00:00Z"):
        assert syslog_fast.split(line_batches.find(memoryview(few)), needed).others.tolist() == [0, 1]


def test_no_parser_reads_the_lines_of_which_less_is_stored() -> None:
    groups = syslog_fast.groups()
    unread = set[str]().union(*(groups.events.get(group, ()) for group in groups.unread))
    # "startswith" and "!=" of the parser only say more of what these lead to an activity.
    compared = re.compile(r'MailEvent (?:==|in) (\("[^)]*\)|"[^"]*")')
    read = {
        name
        for parser in loader.parsers()
        for one in compared.findall(parser.query)
        for name in re.findall('"([^"]*)"', one)
    }

    assert unread == {"client", "message-id", "queue", "queue-done", "queue-gone", "sieve-store"}
    assert {"expunge", "deliver", "disconnect"} <= read
    assert not unread & read


def test_what_a_run_leaves_out_is_not_there_and_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailwitness.sources.limits.BULK_BYTES", 1)
    path = tmp_path / "mail.log"
    path.write_bytes(b"\n".join(MAIL_LOG))
    for name in ("work", "index", "tables"):
        (tmp_path / name).mkdir()
    store = tables.TableStore(tmp_path / "tables")
    asked = Read(frozenset({"MailEvent"}))
    parsed = Read(frozenset({"MailQueueId", "MailUser"}))
    wanted = loading.Wanted(
        columns={"Syslog": {*asked.columns, *parsed.columns}},
        reads={"Syslog": [asked]},
        parsed={"Syslog": [parsed]},
    )
    intake = Intake(DATABASE, store, wanted=wanted, work=tmp_path / "work", index_folder=tmp_path / "index")

    intake.add(Exhibit(id="E1", path="mail.log", location=path, size_bytes=9, blake3="a" * 64))
    intake.finish()

    stored = [set(segment.columns) for segment in store.segments() if segment.rows]
    assert any("MailQueueId" in columns for columns in stored)
    assert any("MailEvent" in columns and "MailQueueId" not in columns for columns in stored)


def _mail_columns(lines: list[tuple[str, str]], steps: dict[str, str]) -> list[Row]:
    """Return all derived columns of lines, with some of the steps to them replaced."""
    mapping = loading.mapping_for("linux_syslog", "")
    columns = mapping.columns | {"TimeGenerated": "NULL", "EventTime": "NULL"} | steps
    mapping = msgspec.structs.replace(mapping, columns=columns)
    relation = 'SELECT unnest(?) AS "Process", unnest(?) AS "Message", \'x\' AS "Time", \'\' AS "Host", \'\' AS "ProcessId", \'\' AS "Facility", \'\' AS "Severity", \'\' AS "TimeNote"'
    sql, _, _ = row_select.select_sql(mapping, relation, None, own=False)
    found = tables.rows(
        DATABASE.execute(sql, [[process for process, _ in lines], [text for _, text in lines]])
    )
    assert len(found) == len(lines)
    return found
