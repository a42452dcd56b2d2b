"""The command line: exit codes, streams, settings, and queries that tell the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mailwitness.content import loader, pack

from .cases import NOW_TEXT, Ran, called, environment, investigate, mailwitness
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


# -- investigate -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return what the program said of an attack to a pipe, by the clock of this machine."""
    folder = tmp_path_factory.mktemp("found")
    (folder / "export.json").write_bytes(FOUND)
    return mailwitness(
        "investigate",
        folder / "export.json",
        "--case",
        folder / "case",
        TERM="xterm-256color",
        FORCE_COLOR="",
    )


def test_exit_code_1_says_found(found: Ran) -> None:
    assert (found.code, found.err) == (1, "")
    assert "FOUND" in found.out


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


def test_a_pipe_gets_no_progress(found: Ran) -> None:
    assert found.err == ""
    assert b"\r" not in found.raw_out
    assert b"\x1b" not in found.raw_out


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


QUERY = (
    "MailboxActivity | where Activity == 'InboxRuleCreated'"
    " | project TimeGenerated, Actor, Mailbox, _Exhibit, _Position"
)


def test_a_rule_of_ones_own_runs_and_one_that_cannot_run_is_not_reported_clear(tmp_path: Path) -> None:
    path = _rule(
        tmp_path / "rules", "Planted rule", QUERY, "{Activity: InboxRuleCreated, Actor: eva@contoso.example}"
    )
    tested = called("rules", "test", path)
    path.rename(path.with_name("first.yaml"))
    broken = "MailboxActivity | where NoSuchColumn == 'x' | project Actor"
    path = _rule(tmp_path / "rules", "Broken rule", broken, "{Activity: Sent}")
    path.write_text(path.read_text("utf-8").replace(guid(7), guid(8)), "utf-8")
    (tmp_path / "export.json").write_bytes(FOUND)

    report = investigate(tmp_path / "case", tmp_path / "export.json", rules=(tmp_path / "rules",))

    outcomes = {rule["name"]: rule["outcome"] for rule in report["rules"]}
    assert tested.code == 0, tested.out
    assert (outcomes["Planted rule"], outcomes["Broken rule"]) == ("found", "not_evaluated")
    assert [item for item in report["not_evaluated"] if "Broken rule" in item["what"]]


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


# -- start-up ----------------------------------------------------------------------


def test_help_imports_neither_the_database_nor_the_translator() -> None:
    program = (
        "import sys; sys.argv = ['mailwitness', '--help']\n"
        "from mailwitness.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )

    loaded = run.stdout.splitlines()[-1]
    assert [
        name
        for name in ("duckdb", "duckdb_kql", "pyarrow", "numpy", "jinja2", "yaml", "pandas", "sqlglot")
        if f"'{name}'" in loaded
    ] == []


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_shipped_help_is_what_the_command_line_prints(arguments: list[str]) -> None:
    direct = (
        f"import sys; sys.argv = ['mailwitness', *{arguments!r}]\nfrom mailwitness.cli import main; main()"
    )
    screen = environment(COLUMNS="80", NO_COLOR="1")

    shipped = subprocess.run(
        [sys.executable, "-m", "mailwitness", *arguments], capture_output=True, check=False, env=screen
    )
    live = subprocess.run([sys.executable, "-c", direct], capture_output=True, check=False, env=screen)

    assert shipped.stdout.decode() == live.stdout.decode()
    assert (shipped.returncode, shipped.stderr) == (live.returncode, b"")


def test_a_narrow_screen_gets_help_that_fits() -> None:
    narrow = subprocess.run(
        [sys.executable, "-m", "mailwitness", "--help"],
        capture_output=True,
        check=True,
        env=environment(COLUMNS="50"),
    )

    assert max(len(line) for line in narrow.stdout.decode().splitlines()) <= 50
