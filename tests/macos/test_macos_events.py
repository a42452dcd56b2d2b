"""macOS: Endpoint Security, unified log, ECS and osquery events tell who touched the mail store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..case_runs import PUBLIC, Record, Told, ask, run, run_paths

STORE = "/Users/eva/Library/Mail/V10"


def endpoint(event: Record, process: str = "/bin/rm", number: int = 32) -> Record:
    """Return an event as eslogger writes it."""
    return {
        "schema_version": 1,
        "time": "2026-03-02T09:14:01.12Z",
        "event_type": number,
        "process": {"audit_token": {"pid": 815, "euid": 501}, "ppid": 640, "executable": {"path": process}},
        "event": event,
    }


def lines(*records: Record) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


EVENTS: list[tuple[Record, str, str]] = [
    ({"unlink": {"target": {"path": f"{STORE}/0C/INBOX.mbox/x/Messages/4711.emlx"}}}, "/bin/rm", "StoreFileDeleted"),
    ({"truncate": {"target": {"path": f"{STORE}/MailData/Envelope Index"}}}, "/usr/bin/sqlite3", "StoreFileTruncated"),
    ({"close": {"modified": True, "target": {"path": f"{STORE}/MailData/Envelope Index-wal"}}}, "/usr/bin/sqlite3", "StoreFileModified"),
    ({"open": {"fflag": 1026, "file": {"path": f"{STORE}/a.emlx"}}}, "/bin/zsh", "StoreFileTruncated"),
    ({"rename": {"source": {"path": f"{STORE}/MailData/x.tmp"}, "destination_type": 1, "destination": {"new_path": {"dir": {"path": f"{STORE}/MailData"}, "filename": "SyncedRules.plist"}}}}, "/usr/bin/python3", "InboxRuleChanged"),
    ({"rename": {"source": {"path": f"{STORE}/a.emlx"}, "destination_type": 0, "destination": {"existing_file": {"path": "/Users/eva/.Trash/a.emlx"}}}}, "/bin/mv", "StoreFileDeleted"),
    ({"clone": {"source": {"path": f"{STORE}/a.emlx"}, "target_dir": {"path": "/Volumes/USB"}, "target_name": "a"}}, "/bin/cp", "StoreFileCopied"),
    ({"create": {"destination_type": 1, "destination": {"new_path": {"dir": {"path": f"/System/Volumes/Data{STORE}/copy"}, "filename": "1"}}}}, "/bin/cp", "StoreFileCopied"),
    ({"exec": {"target": {"executable": {"path": "/usr/bin/osascript"}}, "args": ["osascript", "-e", 'tell application "Mail" to delete every message of mailbox "Sent"']}}, "/bin/zsh", "CommandExecuted"),
]  # fmt: skip
MAIL = "/System/Applications/Mail.app/Contents/MacOS/Mail"
LINE = "[2026-03-02T09:14:0{}.120Z] I santad: action="
# Small pieces of evidence that are investigated together.
EVIDENCE: dict[str, dict[str, str | bytes]] = {
    # The number of an event type is wrong on purpose.
    **{f"event{i}": {"es.jsonl": lines(endpoint(event, process, number=0))} for i, (event, process, _) in enumerate(EVENTS)},
    "mail at work": {"es.jsonl": lines(
        endpoint({"close": {"modified": True, "target": {"path": f"{STORE}/MailData/Envelope Index"}}}, MAIL),
        endpoint({"create": {"destination": {"new_path": {"dir": {"path": f"{STORE}/0C/INBOX.mbox/Messages"}, "filename": "1.emlx"}}}}, MAIL),
        endpoint({"open": {"fflag": 1, "file": {"path": f"{STORE}/a.emlx"}}}, "/usr/bin/grep"),
        endpoint({"close": {"modified": False, "target": {"path": f"{STORE}/a.emlx"}}}, "/usr/bin/grep"),
    )},
    "unified log": {"log.ndjson": lines(
        {"timestamp": "2026-03-02 09:14:01.123456-0800", "eventMessage": "kTCCServiceAppleEvents for com.apple.Terminal to Allowed, com.apple.mail", "subsystem": "com.apple.TCC", "category": "access",
         "processImagePath": "/usr/libexec/tccd", "processID": 311, "messageType": "Default"},
        {"count": 1, "finished": 1},
    )},
    "osquery": {"osquery.log": lines(
        {"name": "file_events", "hostIdentifier": "mac01", "unixTime": 1772442841, "columns": {"target_path": f"{STORE}/a.emlx", "action": "DELETED", "time": "1772442840"}, "action": "added"},
        {"name": "pack_x_es_process_file_events", "hostIdentifier": "mac01", "unixTime": "1772442841", "columns": {"path": "/bin/mv", "pid": "4", "event_type": "rename", "filename": "/x", "dest_filename": f"{STORE}/MailData/UnsyncedRules.plist"}, "action": "added"},
        {"name": "pack_x_es_process_events", "hostIdentifier": "mac01", "unixTime": "1772442841", "columns": {"path": "/usr/bin/tmutil", "cmdline": "tmutil deletelocalsnapshots 2026-03-02", "pid": "5"}, "action": "added"},
        {"name": "os_version", "hostIdentifier": "mac01", "unixTime": "1772442841", "columns": {"name": "macOS"}, "action": "added"},
    )},
    "santa": {"santa.log":
        LINE.format(1) + "DELETE|path=/Users/eva/Library/Mail/V10/a<pipe>b.emlx|pid=4|process=rm|processpath=/bin/rm|uid=501|user=eva\n"
        + LINE.format(2) + "EXEC|decision=ALLOW|path=/usr/bin/log|args=log erase --all|pid=5|uid=0|user=root\n"
        + "[2026-03-02T09:14:03.120Z] *** LOG MESSAGE QUOTA EXCEEDED - SOME MESSAGES FROM THIS PROCESS HAVE BEEN DISCARDED ***\nnonsense\n"
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(tmp_path_factory.mktemp("told"), EVIDENCE)


@pytest.mark.parametrize(("number", "expected"), [(i, expected) for i, (*_, expected) in enumerate(EVENTS)])
def test_events_are_read_by_name_and_not_by_number(told: Told, number: int, expected: str) -> None:
    (intake,) = told.intake(f"event{number}")

    assert (intake["records"], intake["loaded"]) == (1, 1)
    assert [(expected, "macOS")] == [
        (row["Activity"], row["Platform"]) for row in told.acts(f"event{number}")
    ]


def test_mail_at_work_is_silent(told: Told) -> None:
    """Mail writes its index and its messages all day; reading is no change."""
    assert [row["loaded"] for row in told.intake("mail at work")] == [4]
    assert told.acts("mail at work") == []


def test_large_eslogger_files_load_through_sql(tmp_path: Path) -> None:
    """Positions and tables are those of small files."""
    events = [
        endpoint({"unlink": {"target": {"path": f"{STORE}/{i}.emlx"}}})
        | {"global_seq_num": i, "padding": "x" * 600}
        for i in range(3000)
    ]
    intake = run(tmp_path, {"es.jsonl": lines(*events)})

    assert (intake[0]["records"], intake[0]["loaded"]) == (3000, 3000)
    found = ask(tmp_path, "DeviceFileEvents | project FolderPath, _Position, ActionType")
    assert {f"{STORE}/{i}.emlx": i for i in range(3000)} == {
        row["FolderPath"]: row["_Position"] for row in found
    }
    assert {"FileDeleted"} == {row["ActionType"] for row in found}


def test_unified_log_keeps_its_offset_and_its_subsystem(told: Told) -> None:
    """`log show` writes local time with an offset; the closing count is no record."""
    (intake,) = told.intake("unified log")

    assert (intake["records"], intake["loaded"], intake["quarantined"]) == (2, 1, 1)
    assert [(row["TimeGenerated"][:19], row["Facility"]) for row in told.rows("unified log", "Syslog")] == [
        ("2026-03-02T17:14:01", "com.apple.TCC:access")
    ]
    assert [row["Activity"] for row in told.acts("unified log")] == ["PermissionGranted"]


def test_osquery_rows_of_both_kinds(told: Told) -> None:
    """file_events name no process, es_process_file_events do; other queries stay events."""
    assert {"StoreFileDeleted", "InboxRuleChanged", "CommandExecuted"} == {
        row["Activity"] for row in told.acts("osquery")
    }
    assert len(told.rows("osquery", "DeviceEvents")) == 4


def test_the_public_attack_data_loads(tmp_path: Path) -> None:
    """Pretty-printed hits one after another, some damaged: nothing is lost."""
    if not (PUBLIC / "macos-attack-dataset").is_dir():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(tmp_path, sorted((PUBLIC / "macos-attack-dataset").glob("*.json")))

    assert sum(row["records"] for row in intake) >= 22
    assert [row["quarantined"] for row in intake if row["quarantined"]] == [2], (
        "one file of two damaged objects"
    )


def test_santa_tells_programs_files_and_its_own_gaps(told: Told) -> None:
    """A bar within a value is escaped; lines that the system dropped are said."""
    (intake,) = told.intake("santa")

    assert (intake["loaded"], intake["quarantined"]) == (3, 1)
    assert {(row["Activity"], row["ObjectName"]) for row in told.acts("santa")} == {
        ("StoreFileDeleted", f"{STORE}/a|b.emlx"),
        ("LogCleared", "unified log"),
    }


def test_the_public_santa_log_loads(tmp_path: Path) -> None:
    """Every line of a real log has its row."""
    sample = PUBLIC / "plaso" / "santa.log"
    if not sample.exists():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(tmp_path, [sample])

    assert (intake[0]["records"], intake[0]["loaded"]) == (194, 194)


def test_the_public_osquery_log_loads(tmp_path: Path) -> None:
    """Rows of a Linux host are events without mail."""
    sample = PUBLIC / "osquery-beats" / "osqueryd.results.sample.log"
    if not sample.exists():
        pytest.skip("the public samples are not on this machine")

    intake = run_paths(tmp_path, [sample])

    assert (intake[0]["records"], intake[0]["loaded"]) == (500, 500)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["target", "path", "destination", "new_path", "dir", "source", "args", "exec", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=2, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["unlink", "rename", "exec", "create", "open", "nonsense"]), JSON),
        min_size=1,
        max_size=40,
    )
)
def test_hostile_events_never_break_a_run(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, object]]
) -> None:
    """Whatever stands where a file or a process is expected, records add up."""
    run(
        tmp_path_factory.mktemp("hostile"),
        {"es.jsonl": lines(*(endpoint({name: value}) for name, value in events))},
    )
