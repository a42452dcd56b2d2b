"""Sieve scripts and header_checks over time: what a real mail host logged, and copies of its files."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mailwitness.pipeline import Progress, Settings, investigate

from ..case_runs import PUBLIC, ask

NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
RECORDED = PUBLIC.parent / "recorded" / "linux-mail"
SCENARIOS = ("40-sieve-discard-rule", "40b-sieve-script-removed", "40c-sieve-file-drop", "41-postfix-header-checks")  # fmt: skip
RULES = (
    'require ["fileinto","imap4flags"];\nif header :contains "subject" ["password reset","suspicious","phish"] { discard; stop; }\n'
    'if header :contains "from" "security@" { addflag "\\\\Seen"; fileinto "Trash"; stop; }\n'
)
# Copies of the host: folder, file, when the file was written, what it says.
COPIES = (
    ("2026-11-20", "etc/postfix/header_checks", "2026-11-01T00:00:00", "/^X-Mailer: probe/ WARN probe\n"),
    ("2026-11-20", "var/lib/dovecot/sieve/before.sieve", "2026-11-01T00:00:00", "keep;\n"),
    ("2026-11-21T014033", "etc/postfix/header_checks", "2026-11-21T01:40:27", "/^X-Spam-(Flag|Status|Score):/ IGNORE\n/^Subject: .*Security alert/ DISCARD\n"),
    ("2026-11-21T014244", "home/alice/sieve/rules.sieve", "2026-11-21T01:42:42", RULES),
    ("2026-11-21T014250", "home/alice/.dovecot.sieve", "2026-11-21T01:42:49", 'if header :contains "subject" "alert" { discard; }\n'),
    ("2026-11-21T014250", "var/lib/dovecot/sieve/before.sieve", "2026-11-01T00:00:00", "keep;\n"),
    ("2026-11-22", "var/lib/dovecot/sieve/before.sieve", "2026-11-21T02:00:00", "discard;\n"),
)  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not RECORDED.exists():
        pytest.skip("the recorded scenarios are not beside this repository")
    folder = tmp_path_factory.mktemp("hosts")
    for name in SCENARIOS:
        for log in ("mail.log", "audit.log"):
            target = folder / "evidence" / "logs" / name / log
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RECORDED / name / log, target)
    for copied, file, written, text in COPIES:
        target = folder / "evidence" / "copies" / copied / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        moment = dt.datetime.fromisoformat(written).replace(tzinfo=dt.UTC).timestamp()
        os.utime(target, (moment, moment))
    investigate([folder / "evidence"], folder / "case", Settings(now=NOW), Progress())
    return folder


def versions(case: Path, name: str) -> list[dict[str, Any]]:
    return ask(
        case,
        f"SettingHistory | where Name == '{name}' and Kind != 'mail server setting' | order by TimeGenerated asc",
    )


def test_a_script_that_was_uploaded_names_what_it_threw_away_and_who_made_it(case: Path) -> None:
    (found,) = versions(case, "rules.sieve")

    assert found["Does"] == (
        "discards the message whose subject contains password reset or suspicious or phish; "
        "moves the message to Trash whose sender contains security@, marks it as read"
    )
    assert (found["Mailbox"], found["ChangedBy"], found["Origin"]) == ("alice", "alice", "record")
    assert "ManageSieve session sent 278 bytes" in found["Reason"]
    assert (found["Hit"], found["Recorded"], found["Ledger"]["never stored"]) == (3, 3, 2)


def test_a_script_that_root_dropped_has_no_maker_until_a_record_removes_it(case: Path) -> None:
    dropped, removed = versions(case, ".dovecot.sieve")

    assert (dropped["Does"], dropped["ChangedBy"], dropped["TimeBasis"]) == (
        "discards the message whose subject contains alert", "", "saved",
    )  # fmt: skip
    assert (dropped["Hit"], dropped["Ledger"]) == (1, {"never stored": 1})
    assert (removed["State"], removed["ChangedBy"], dropped["EndTime"]) == (
        "removed", "mallory", removed["TimeGenerated"],
    )  # fmt: skip


def test_a_table_that_an_intruder_wrote_takes_its_content_from_the_copy(case: Path) -> None:
    before, during = versions(case, "header_checks")

    assert (before["TimeBasis"], before["EndTime"]) == ("saved", during["TimeGenerated"])
    assert during["Does"] == (
        "strips the header X-Spam-(Flag|Status|Score); discards the message whose subject contains Security alert"
    )
    # Each of the others may have had a header that was stripped: no log says.
    assert (during["ChangedBy"], during["Hit"], during["Recorded"]) == ("mallory", 1, 1)
    assert during["Possible"] == during["Seen"] - 1
    assert "X-Spam" in during["NotJudged"]


def test_a_script_that_differs_between_copies_was_changed_by_nobody_and_is_a_finding(case: Path) -> None:
    first, second = versions(case, "before.sieve")

    assert (first["Does"], first["Origin"]) == ("keeps the message", "snapshot")
    assert (second["Does"], second["Origin"]) == ("discards the message whatever it is", "unexplained")
    assert "by the name of its folder" in second["Reason"]


def test_a_member_of_an_archive_keeps_the_time_at_which_it_was_written(tmp_path: Path) -> None:
    script = tmp_path / "rules.sieve"
    script.write_text("discard;\n")
    with tarfile.open(tmp_path / "copy.tar.gz", "w:gz") as archive:
        member = archive.gettarinfo(script, "home/alice/sieve/rules.sieve")
        member.mtime = dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC).timestamp()
        with script.open("rb") as content:
            archive.addfile(member, content)
    with zipfile.ZipFile(tmp_path / "copy.zip", "w") as archive_without_zone:
        dated = zipfile.ZipInfo("home/bob/sieve/rules.sieve", (2026, 3, 2, 8, 0, 0))
        archive_without_zone.writestr(dated, "discard; stop;\n")

    investigate(
        [tmp_path / "copy.tar.gz", tmp_path / "copy.zip"], tmp_path / "case", Settings(now=NOW), Progress()
    )

    found = ask(tmp_path, "SettingHistory | order by Mailbox asc | project TimeGenerated, TimeBasis, Mailbox")
    assert [(row["TimeGenerated"], row["TimeBasis"], row["Mailbox"]) for row in found] == [
        ("2026-03-02T08:00:00Z", "saved", "alice"),
        # A clock without a zone: the earliest moment that it can mean.
        ("2026-03-01T18:00:00Z", "saved", "bob"),
    ]
