"""The command line: exit codes, streams, settings, and queries that tell the truth."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mailwitness.content import loader, pack
from mailwitness.kql import KqlEngine

from .cases import NOW_TEXT, Json, Ran, called, environment, investigate, mailwitness
from .records import guid, hard_delete, inbox_rule, ndjson

FOUND = ndjson([inbox_rule(1), hard_delete(1)])


def quiet() -> bytes:
    """Return records of every family that rules ask for, none of which any rule finds."""
    records = [
        hard_delete(1, Operation="MailItemsAccessed", RecordType=50, AffectedItems=None, OperationCount=1),
        hard_delete(
            2,
            Operation="Create",
            RecordType=2,
            AffectedItems=None,
            Item={"Subject": "x", "ParentFolder": {"Path": "\\Drafts"}},
        ),
        hard_delete(
            3,
            Operation="MoveToDeletedItems",
            Folder={"Path": "\\Inbox"},
            AffectedItems=[{"Subject": "lunch", "ParentFolder": {"Path": "\\Inbox"}}],
        ),
        inbox_rule(
            4,
            Operation="Set-Mailbox",
            Parameters=[{"Name": "Identity", "Value": "eva"}, {"Name": "Languages", "Value": "en"}],
        ),
    ]
    for number, family in enumerate(pack.families()):
        if family.table == "OfficeActivity":
            records.append(
                hard_delete(
                    10 + number,
                    RecordType=family.record_types[0],
                    Operation="Nothing",
                    Folder=None,
                    AffectedItems=None,
                )
            )
    return ndjson(records)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished case with findings, made in this process."""
    root = tmp_path_factory.mktemp("cli")
    (root / "export.json").write_bytes(content())
    investigate(root / "case", root / "export.json")
    shutil.copytree(root / "case", root / "pristine")
    return root / "case"


@pytest.fixture
def fresh(case: Path, tmp_path: Path) -> Path:
    """Return a copy of a case that no query has completed yet; its evidence lies where it lay."""
    shutil.copytree(case.parent / "pristine", tmp_path / "case")
    return tmp_path / "case"


def content() -> bytes:
    """Return records whose nested values a first pass keeps for some rows only."""
    sharepoint = hard_delete(
        50,
        Operation="FileDeleted",
        RecordType=6,
        Workload="SharePoint",
        ClientVersion="9.9",
        Folder={"Path": "\\kept\\elsewhere"},
    )
    accessed = hard_delete(
        51,
        Operation="MailItemsAccessed",
        RecordType=50,
        Folders=[{"Path": "\\Inbox", "FolderItems": [{"InternetMessageId": "<m@contoso.example>"}]}],
        AffectedItems=None,
    )
    return ndjson(
        [
            inbox_rule(1),
            hard_delete(1, ClientVersion="15.20", SendAsUserSmtp="fin@contoso.example"),
            sharepoint,
            accessed,
        ]
    )


# -- investigate -----------------------------------------------------------------------------


def test_exit_code_1_says_found(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(FOUND)

    ran = mailwitness("investigate", tmp_path / "export.json", "--case", tmp_path / "case", "--now", NOW_TEXT)

    assert (ran.code, ran.err) == (1, "")
    assert "FOUND" in ran.out


def test_exit_code_0_says_clear(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(quiet())

    ran = mailwitness(
        "investigate", tmp_path / "export.json", "--case", tmp_path / "case", "--now", NOW_TEXT, "--json"
    )

    report = ran.json()
    assert (report["summary"]["outcome"], [item for item in report["not_evaluated"] if item["blocking"]]) == (
        "clear",
        [],
    )
    assert (ran.code, ran.err) == (0, "")


def test_exit_code_2_says_not_evaluated(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"nothing to see\n")

    ran = called("investigate", tmp_path / "notes.txt", "--case", tmp_path / "case", "--now", NOW_TEXT)

    assert (ran.code, ran.err) == (2, "")
    assert "CLEAR" not in ran.out.upper().replace("CLEARED", "")


def test_json_is_all_that_stands_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(FOUND)

    ran = called(
        "investigate", tmp_path / "export.json", "--case", tmp_path / "case", "--now", NOW_TEXT, "--json"
    )

    assert ran.json() == json.loads((tmp_path / "case" / "report.json").read_bytes())
    assert ran.err == ""


def test_a_pipe_gets_no_progress(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(FOUND)

    ran = mailwitness(
        "investigate",
        tmp_path / "export.json",
        "--case",
        tmp_path / "case",
        TERM="xterm-256color",
        FORCE_COLOR="",
    )

    assert ran.err == ""
    assert b"\r" not in ran.raw_out
    assert b"\x1b" not in ran.raw_out


@pytest.mark.parametrize(
    "arguments",
    [
        ["investigate"],
        ["investigate", "x.json", "--memory", "much"],
        ["investigate", "x.json", "--threads", "-1"],
        ["investigate", "x.json", "--threads", "two"],
        ["investigate", "x.json", "--now", "yesterday"],
        ["investigate", "x.json", "--rules", "no-such-folder"],
        ["investigate", "x.json", "--config", "no-such.toml"],
        ["investigate", "x.json", "--no-such-flag"],
        ["query", "OfficeActivity | count", "--case", "no-such-case"],
        ["query", "OfficeActivity | count"],
        ["report", "--case", "no-such-case"],
        ["verify", "--case", "no-such-case"],
        ["rules", "show", "no such rule"],
        ["rules", "lint", "no-such-folder"],
        ["rules", "test", "no-such-folder"],
        ["rules", "list", "--rules", "no-such-folder"],
        ["rules", "lint", "."],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = called(*arguments)

    assert ran.code == 2
    assert ran.err.startswith("mailwitness: ")
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_a_foreign_folder_is_never_made_a_case(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x", "utf-8")
    (tmp_path / "export.json").write_bytes(FOUND)

    ran = called("investigate", tmp_path / "export.json", "--case", tmp_path / "mine")

    assert (ran.code, ran.err[:20]) == (2, "mailwitness: MW201: ")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


# -- settings --------------------------------------------------------------------------------


def test_settings_are_read_from_the_file_and_flags_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export.json").write_bytes(FOUND)
    (tmp_path / "mailwitness.toml").write_text(
        'case = "from-file"\nnow = "2026-03-30T00:00:00Z"\nthreads = 1\nmemory = "600MB"\n', "utf-8"
    )

    ran = called("investigate", "export.json", "--now", "2026-03-29", "--json")

    assert ran.code == 1, ran.err
    assert (tmp_path / "from-file" / "report.json").exists()
    assert ran.json()["evaluated"]["now"] == "2026-03-29T00:00:00Z"


@pytest.mark.parametrize("text", ['colour = "red"', "threads = 'two'", "case = ", 'password = "x"'])
def test_a_wrong_settings_file_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export.json").write_bytes(FOUND)
    (tmp_path / "mailwitness.toml").write_text(text, "utf-8")

    ran = called("investigate", "export.json")

    assert ran.code == 2
    assert ran.err.startswith("mailwitness: MW600: mailwitness.toml: ")
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "mailwitness-case").exists()


# -- sources and rules -----------------------------------------------------------------------


def test_sources_lists_every_source_as_text_and_as_json() -> None:
    text, listed = called("sources"), called("sources", "--json")

    assert (text.code, listed.code) == (0, 0)
    assert {item["id"] for item in listed.json()} == {source.id for source in loader.sources()}
    assert all(item["recognised_by"] and item["example"] for item in listed.json())
    assert all(item["name"] in text.out for item in listed.json())


def test_rules_are_listed_and_shown() -> None:
    listed = called("rules", "list", "--json").json()
    shown = called("rules", "show", listed[0]["id"])

    assert len(listed) == len(loader.rules())
    assert shown.code == 0
    assert listed[0]["name"] in shown.out


def _rule(folder: Path, name: str, query: str, rows: str, expect: str = "hit") -> Path:
    folder.mkdir(exist_ok=True)
    text = f"""id: {guid(7)}
name: {name}
description: Finds what a test plants.
severity: Medium
requiredDataConnectors: []
queryFrequency: 1h
queryPeriod: 1h
triggerOperator: gt
triggerThreshold: 0
tactics: [DefenseEvasion]
relevantTechniques: [T1070.008]
query: |
  {query}
entityMappings: []
version: 1.0.0
kind: Scheduled
confidence: high
reasons: {{severity: it is a test, confidence: it is a test}}
falsePositives: [none]
gaps: [all else]
scope: event
finding: {{title: 'planted by {{Actor}}', phase: hiding}}
tests:
  - name: hits
    expect: {expect}
    rows:
      MailboxActivity: [{rows}]
  - name: is silent
    expect: silent
    rows:
      MailboxActivity: [{{Activity: Sent}}]
"""
    path = folder / "planted.yaml"
    path.write_text(text, "utf-8")
    return path


QUERY = "MailboxActivity | where Activity == 'InboxRuleCreated' | project TimeGenerated, Actor, Mailbox, _Exhibit, _Position"


def test_a_rule_of_ones_own_is_tested_linted_and_run(tmp_path: Path) -> None:
    path = _rule(
        tmp_path / "rules", "Planted rule", QUERY, "{Activity: InboxRuleCreated, Actor: eva@contoso.example}"
    )
    (tmp_path / "export.json").write_bytes(FOUND)

    tested = called("rules", "test", path)
    ran = called(
        "investigate",
        tmp_path / "export.json",
        "--case",
        tmp_path / "case",
        "--rules",
        tmp_path / "rules",
        "--json",
    )

    assert tested.code == 0, tested.out
    assert [rule["outcome"] for rule in ran.json()["rules"] if rule["name"] == "Planted rule"] == ["found"]


def test_a_rule_whose_test_fails_is_named(tmp_path: Path) -> None:
    path = _rule(tmp_path / "rules", "Planted rule", QUERY, "{Activity: Sent}")

    ran = called("rules", "test", path)

    assert ran.code == 2
    assert "planted" in ran.out + ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("MailboxActivity | where NoSuchColumn == 'x'", "NoSuchColumn"),
        ("NoSuchTable | count", "NoSuchTable"),
        ("MailboxActivity | wher Activity", ""),
    ],
)
def test_lint_names_what_is_wrong_with_a_rule(query: str, words: str, tmp_path: Path) -> None:
    path = _rule(tmp_path / "rules", "Planted rule", query, "{Activity: Sent}")

    ran = called("rules", "lint", path)

    assert ran.code == 2
    assert "planted" in ran.out + ran.err
    assert words in ran.out + ran.err
    assert "Traceback" not in ran.err


def test_a_rule_that_cannot_run_is_not_reported_clear(tmp_path: Path) -> None:
    _rule(
        tmp_path / "rules",
        "Planted rule",
        "MailboxActivity | where NoSuchColumn == 'x' | project Actor",
        "{Activity: Sent}",
    )
    (tmp_path / "export.json").write_bytes(FOUND)

    report = investigate(tmp_path / "case", tmp_path / "export.json", rules=(tmp_path / "rules",))

    assert [rule["outcome"] for rule in report["rules"] if rule["name"] == "Planted rule"] == [
        "not_evaluated"
    ]
    assert [item for item in report["not_evaluated"] if "Planted rule" in item["what"]]


@pytest.mark.parametrize("text", ["id: [", "a: 1\na: 2\n", "just words", ""])
def test_a_rule_file_that_is_wrong_stops_the_run_with_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "wrong.yaml").write_text(text, "utf-8")
    (tmp_path / "export.json").write_bytes(FOUND)

    ran = called(
        "investigate", tmp_path / "export.json", "--case", tmp_path / "case", "--rules", tmp_path / "rules"
    )

    assert ran.code == 2
    assert ran.err.startswith("mailwitness: MW400: ")
    assert "wrong.yaml" in ran.err
    assert len(ran.err.splitlines()) == 1


# -- query -----------------------------------------------------------------------------------


def ask(case: Path, kql: str) -> list[Json]:
    """Return the rows of a query."""
    ran = called("query", kql, "--case", case, "--format", "json")
    assert ran.code == 0, ran.err
    rows: list[Json] = ran.json()
    return rows


def test_a_query_prints_a_table_json_or_csv(case: Path) -> None:
    kql = "OfficeActivity | where Operation == 'New-InboxRule' | project UserId, Count = 7"

    ran = {form: called("query", kql, "--case", case, "--format", form) for form in ("table", "json", "csv")}

    assert all(one.code == 0 and one.err == "" for one in ran.values())
    assert ran["json"].json() == [{"UserId": "eva@contoso.example", "Count": 7}]
    assert ran["csv"].out == "UserId,Count\neva@contoso.example,7\n"
    assert "eva@contoso.example" in ran["table"].out


def test_a_query_says_when_it_shows_only_the_first_rows(case: Path) -> None:
    ran = called(
        "query", "OfficeActivity | project OfficeId", "--case", case, "--format", "csv", "--limit", "1"
    )

    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert "first 1 rows" in ran.err


@pytest.mark.parametrize(
    ("kql", "code"),
    [
        ("OfficeActivity | wher UserId == ''", "MW502"),
        ("NoSuchTable | count", "MW50"),
        (".show tables", "MW501"),
        (".drop table OfficeActivity", "MW50"),
        ("externaldata(a:string)['/etc/passwd']", "MW50"),
        ("['/etc/passwd'] | count", "MW50"),
        ("print x = read_text('/etc/passwd')", "MW50"),
        ("union ['case.json'], OfficeActivity | count", "MW50"),
        ("", "MW50"),
    ],
)
def test_a_refused_query_is_one_line_and_exit_code_2(kql: str, code: str, case: Path) -> None:
    ran = called("query", kql, "--case", case)

    assert ran.code == 2, ran.out
    assert ran.err.startswith(f"mailwitness: {code}"), ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""
    assert "root:" not in ran.err


def test_a_query_that_names_a_column_not_stored_gives_the_true_value(fresh: Path) -> None:
    rows = ask(
        fresh,
        "OfficeActivity | project OfficeId, ClientVersion, SendAsUserSmtp, LogonUserSid, _Position | order by _Position asc",
    )

    assert [(row["ClientVersion"], row["SendAsUserSmtp"]) for row in rows] == [
        ("", ""),
        ("15.20", "fin@contoso.example"),
        ("9.9", ""),
        ("", ""),
    ]
    assert [row["LogonUserSid"] for row in rows[1:]] == ["S-1-5-21-1-2-3-1001"] * 3


def test_a_query_that_names_nested_values_not_kept_gives_the_true_value(fresh: Path) -> None:
    rows = ask(
        fresh,
        "OfficeActivity | project _Position, Folder, Folders, FolderPath | order by _Position asc",
    )

    assert json.loads(rows[2]["Folder"]) == {"Path": "\\kept\\elsewhere"}
    assert rows[2]["FolderPath"] == "\\kept\\elsewhere"
    assert json.loads(rows[3]["Folders"]) == [
        {"Path": "\\Inbox", "FolderItems": [{"InternetMessageId": "<m@contoso.example>"}]}
    ]


def test_a_query_for_whole_rows_gives_every_value_of_the_record(fresh: Path, case: Path) -> None:
    before = json.loads((fresh / "report.json").read_bytes())

    row = ask(fresh, f"OfficeActivity | where OfficeId == '{guid(1)}'")[0]

    original = hard_delete(1, ClientVersion="15.20", SendAsUserSmtp="fin@contoso.example")
    same = (
        "Operation",
        "OrganizationId",
        "UserKey",
        "UserId",
        "ClientIP",
        "ClientInfoString",
        "LogonUserSid",
        "MailboxGuid",
        "MailboxOwnerSid",
        "MailboxOwnerUPN",
        "OrganizationName",
        "SendAsUserSmtp",
        "ClientVersion",
    )
    assert {name: row[name] for name in same} == {name: original[name] for name in same}
    assert json.loads(row["AffectedItems"]) == original["AffectedItems"]
    assert investigate(fresh, case.parent / "export.json") == before


@pytest.mark.parametrize(
    "kql",
    [
        "OfficeActivity | take 10",
        "OfficeActivity | extend x = pack_all() | take 10",
        "OfficeActivity | where * has 'fin@contoso.example'",
        "search in (OfficeActivity) 'fin@contoso.example'",
    ],
)
def test_a_query_that_asks_for_everything_without_a_name_sees_everything(kql: str, fresh: Path) -> None:
    ran = called("query", kql, "--case", fresh, "--format", "json")

    assert "fin@contoso.example" in ran.out or ran.err.startswith("mailwitness: MW50")


def test_a_query_needing_an_original_that_is_gone_says_so(fresh: Path, case: Path) -> None:
    original = case.parent / "export.json"
    original.rename(case.parent / "away")

    ran = called("query", "OfficeActivity | project ClientVersion", "--case", fresh)

    (case.parent / "away").rename(original)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mailwitness: MW102: export.json: ")


def test_mailbox_activity_can_be_asked_in_full(case: Path) -> None:
    rows = ask(case, "MailboxActivity | where Activity == 'HardDeleted'")

    assert [
        (row["Actor"], row["Mailbox"], row["ClientIP"], row["_Exhibit"], row["_Position"]) for row in rows
    ] == [("eva@contoso.example", "eva@contoso.example", "203.0.113.7", "E1", 1)]


# -- report ----------------------------------------------------------------------------------


def test_reports_can_be_written_again_from_the_case(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(FOUND)
    investigate(tmp_path / "case", tmp_path / "export.json")
    page = (tmp_path / "case" / "report.html").read_bytes()
    (tmp_path / "case" / "report.html").unlink()

    ran = called("report", "--case", tmp_path / "case", "--json")

    assert ran.code == 0
    assert ran.json() == json.loads((tmp_path / "case" / "report.json").read_bytes())
    assert (tmp_path / "case" / "report.html").read_bytes() == page


# -- start-up and cache ----------------------------------------------------------------------


def test_help_imports_neither_the_database_nor_the_translator() -> None:
    program = "import sys; sys.argv = ['mailwitness', '--help']\ntry:\n from mailwitness.cli import main; main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )

    loaded = run.stdout.splitlines()[-1]
    assert [
        name
        for name in ("duckdb", "duckdb_kql", "pyarrow", "numpy", "jinja2", "yaml", "pandas", "sqlglot")
        if f"'{name}'" in loaded
    ] == []


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Return an export with findings."""
    (tmp_path / "export.json").write_bytes(content())
    return tmp_path / "export.json"


def _run(export: Path, name: str, **changes: str) -> Ran:
    return mailwitness(
        "investigate", export, "--case", export.parent / name, "--now", NOW_TEXT, "--json", **changes
    )


def test_the_cache_changes_no_result(export: Path) -> None:
    cache = str(export.parent / "cache")

    off = _run(export, "off", MAILWITNESS_CACHE="off", XDG_CACHE_HOME=cache)
    kept = (export.parent / "cache").exists()
    cold = _run(export, "cold", XDG_CACHE_HOME=cache)
    warm = _run(export, "warm", XDG_CACHE_HOME=cache)

    assert not kept
    assert list((export.parent / "cache").rglob("*.msgpack"))
    assert off.json() == cold.json() == warm.json()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache file that is used, as the program wrote it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MAILWITNESS_CACHE", raising=False)
    known = loader.tables()
    pack.save(
        pack.load(),
        KqlEngine({name: [column.name for column in table.columns] for name, table in known.items()}),
    )
    found = next((tmp_path / "cache").rglob("*.msgpack"))
    _poison(found)
    assert _names() == {POISON}
    return found


POISON = "a rule that someone else wrote"


def _poison(path: Path) -> None:
    """Rename every rule of a cache file, as someone would who wants to be believed."""
    found = msgspec.msgpack.decode(path.read_bytes(), type=pack.Pack)
    found.rules = [msgspec.structs.replace(rule, name=POISON) for rule in found.rules]
    path.write_bytes(msgspec.msgpack.encode(found))


def _names() -> set[str]:
    return {rule.name for rule in pack.load().rules}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xc1" * 100, b"\x80", b"\x93\x01\x02\x03"], ids=repr)
def test_a_cache_of_garbage_is_ignored(content: bytes, kept: Path) -> None:
    kept.write_bytes(content)

    assert _names() == {rule.name for _, rule in loader.rules()}


def test_a_cache_that_is_cut_off_is_ignored(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-10])

    assert POISON not in _names()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_cache_that_others_can_write_is_ignored(mode: int, kept: Path) -> None:
    kept.chmod(mode)

    assert POISON not in _names()


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a file away")
def test_a_cache_of_another_owner_is_ignored(kept: Path) -> None:
    os.chown(kept, 12345, 12345)

    assert POISON not in _names()


def test_a_cache_of_other_content_is_ignored(kept: Path, tmp_path: Path) -> None:
    path = _rule(tmp_path / "rules", "Planted rule", QUERY, "{Activity: Sent}")

    assert "Planted rule" in {rule.name for rule in pack.load(path).rules}
    assert POISON not in {rule.name for rule in pack.load(path).rules}


def test_a_cache_that_cannot_be_written_is_no_error(export: Path) -> None:
    (export.parent / "cache").write_bytes(b"a file where the folder should be")

    ran = _run(export, "case", XDG_CACHE_HOME=str(export.parent / "cache"))

    assert (ran.code, ran.err) == (1, "")
