"""Apple Mail's own files: the index with its write-ahead log, rule files, .emlx; evidence is never touched."""

from __future__ import annotations

import hashlib
import plistlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwitness.readers import envelope_index, plist_rules
from mailwitness.readers.blocks import Damage, RawRecord

from ..case_runs import ask, run

SCHEMA = """
CREATE TABLE messages (ROWID INTEGER PRIMARY KEY, message_id, sender INTEGER, subject_prefix TEXT, subject INTEGER, date_sent INTEGER,
  date_received INTEGER, mailbox INTEGER, flags INTEGER, read INTEGER, flagged INTEGER, deleted INTEGER, size INTEGER);
CREATE TABLE subjects (ROWID INTEGER PRIMARY KEY, subject TEXT);
CREATE TABLE addresses (ROWID INTEGER PRIMARY KEY, address TEXT, comment TEXT);
CREATE TABLE mailboxes (ROWID INTEGER PRIMARY KEY, url TEXT);
INSERT INTO subjects VALUES (1, 'Invoice');
INSERT INTO addresses VALUES (1, 'Ann@fabrikam.example', 'Ann');
INSERT INTO mailboxes VALUES (1, 'imap://eva%40contoso.example@mail.contoso.example/INBOX');
INSERT INTO messages VALUES (1, '<a@fabrikam.example>', 1, 'Re: ', 1, 1772440873, 1772440875, 1, 1, 1, 0, 0, 1234);
"""


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Return an index whose second message is only in its write-ahead log."""
    live = tmp_path / "live"
    connection = sqlite3.connect(live)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(
        "INSERT INTO messages VALUES (2, '<b@fabrikam.example>', 1, '', 1, 1772440873, 1772440875, 1, 3, 1, 0, 1, 99)"
    )
    connection.commit()
    folder = tmp_path / "evidence" / "Users" / "eva" / "Library" / "Mail" / "V10" / "MailData"
    folder.mkdir(parents=True)
    path = folder / "Envelope Index"
    shutil.copyfile(live, path)
    shutil.copyfile(f"{live}-wal", f"{path}-wal")
    connection.close()
    return path


def test_rows_of_the_write_ahead_log_are_read_and_the_evidence_is_not_changed(index: Path) -> None:
    """Opening the database in place would merge the log into it."""
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in index.parent.iterdir()}

    found = [
        item
        for item in envelope_index.read_beside(
            index,
            "mac/Users/eva/Library/Mail/V10/MailData/Envelope Index",
            lambda suffix: Path(f"{index}{suffix}"),
        )
        if isinstance(item, RawRecord)
    ]

    assert before == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in index.parent.iterdir()
    }
    assert [(item.data["MessageId"], item.data["Subject"], item.data["IsDeleted"]) for item in found] == [
        ("<a@fabrikam.example>", "Re: Invoice", False),
        ("<b@fabrikam.example>", "Invoice", True),
    ]
    assert tuple(found[0].data[name] for name in ("Mailbox", "Folder", "Sender", "ReceivedAt")) == (
        "eva@contoso.example",
        "INBOX",
        "ann@fabrikam.example",
        "2026-03-02T08:41:15Z",
    )


@pytest.mark.parametrize("sql", [
    "CREATE VIEW messages AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS subject FROM c",
    "CREATE VIRTUAL TABLE messages USING fts5(subject)",
    "CREATE TABLE other (x)",
])  # fmt: skip
def test_a_hostile_schema_is_not_run(tmp_path: Path, sql: str) -> None:
    """Views and virtual tables named like Mail's tables are refused."""
    path = tmp_path / "Envelope Index"
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()

    found = list(envelope_index.read_beside(path, "Envelope Index", lambda _: None))

    assert [Damage] == [type(item) for item in found]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_index_never_raises(tmp_path: Path, index: Path, data: st.DataObject) -> None:
    """Bytes changed and cut anywhere: records or damage, no error."""
    raw = bytearray(index.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=30)):
        raw[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))]))

    assert all(
        isinstance(item, RawRecord | Damage)
        for item in envelope_index.read_beside(path, "damaged", lambda _: None)
    )


@pytest.mark.parametrize("form", [plistlib.FMT_XML, plistlib.FMT_BINARY])
def test_rules_become_settings_snapshots(tmp_path: Path, form: plistlib.PlistFormat) -> None:
    """Active rules of either form, and the state file beside them."""
    rule = {
        "RuleName": ".",
        "RuleId": "A1",
        "Active": "YES",
        "Deletes": True,
        "TimeStamp": 794000000,
        "Criteria": [{"Header": "Subject", "Expression": "security"}],
    }
    intake = run(tmp_path, {
        "Users/eva/Library/Mail/V10/MailData/SyncedRules.plist": plistlib.dumps([rule], fmt=form),
        "Users/eva/Library/Mail/V10/MailData/RulesActiveState.plist": plistlib.dumps({"0A1B2C3D-0000-4000-8000-000000000001": False}, fmt=form),
    })  # fmt: skip

    found = ask(tmp_path, "SettingsSnapshot | order by Kind asc")

    assert [row["loaded"] for row in intake] == [1, 1]
    assert [(row["Kind"], row["Name"], row["Enabled"], row["Mailbox"]) for row in found] == [
        ("MailRule", ".", True, "eva"),
        ("MailRuleState", "", False, "eva"),
    ]
    assert rule["Criteria"] == found[0]["Settings"]["Criteria"]


def test_entities_that_grow_are_refused(tmp_path: Path) -> None:
    """Entities within entities would fill the memory."""
    path = tmp_path / "SyncedRules.plist"
    path.write_text(
        '<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><plist><array><string>&b;</string></array></plist>'
    )

    assert [item.reason for item in plist_rules.read_named(path, "x") if isinstance(item, Damage)] == [
        "the property list defines entities"
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_property_list_never_raises(tmp_path: Path, data: st.DataObject) -> None:
    """Binary lists may point anywhere, also at themselves."""
    raw = bytearray(
        plistlib.dumps(
            [{"RuleName": "x", "RuleId": "1", "Nested": {"a": [1, 2.5, b"x", True]}}],
            fmt=data.draw(st.sampled_from([plistlib.FMT_XML, plistlib.FMT_BINARY])),
        )
    )
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=12)):
        raw[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.plist"
    path.write_bytes(bytes(raw))

    assert all(isinstance(item, RawRecord | Damage) for item in plist_rules.read_named(path, "x"))
