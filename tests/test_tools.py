"""Promises of the programs in tools/."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

import check_kql
import make_locks
import make_tables
from mailwitness.content import loader

HAS_KUSTO = shutil.which("node") is not None and (check_kql.CHECKER / "node_modules" / "@kusto").is_dir()
needs_kusto = pytest.mark.skipif(not HAS_KUSTO, reason="Node or Microsoft's KQL library is not installed")


def write_query(folder: Path, query: str) -> None:
    folder.mkdir(parents=True)
    block = "".join(f"  {line}\n" for line in query.splitlines())
    (folder / "one.yaml").write_text(f"id: one\nquery: |\n{block}tests: []\n", "utf-8")


@needs_kusto
def test_a_good_query_passes(tmp_path: Path) -> None:
    write_query(
        tmp_path / "rules" / "m365",
        "let minimum = 3;\nMailboxActivity\n| where Activity == 'HardDeleted'\n"
        "| summarize Count = count(), arg_min(_Position, _Exhibit) by Actor\n| where Count > minimum",
    )

    assert check_kql.check(tmp_path) == []


@needs_kusto
def test_a_column_that_does_not_exist_is_named_with_its_line(tmp_path: Path) -> None:
    write_query(
        tmp_path / "hunts" / "m365", "OfficeActivity\n| where Operation == 'x'\n| where Nowhere == 'x'"
    )

    faults = check_kql.check(tmp_path)

    assert len(faults) == 1
    assert faults[0].startswith(f"{tmp_path / 'hunts' / 'm365' / 'one.yaml'}: 5: The name 'Nowhere'")


@needs_kusto
def test_a_query_that_does_not_parse_is_a_fault(tmp_path: Path) -> None:
    write_query(tmp_path / "rules" / "m365", "OfficeActivity\n| where Operation == ")

    assert check_kql.main([str(tmp_path)]) == 1


@needs_kusto
def test_a_parser_may_only_return_columns_of_mailbox_activity(tmp_path: Path) -> None:
    write_query(
        tmp_path / "parsers", "OfficeActivity\n| project Activity = 'Moved', Extra = 1, ItemCount = 'two'"
    )

    faults = check_kql.check(tmp_path)

    assert [fault.split(": ", 2)[2] for fault in faults] == [
        "returns Extra, which is not a column of MailboxActivity",
        "returns ItemCount as string; MailboxActivity has it as long",
    ]


@pytest.mark.parametrize(("allowed", "code"), [("", 2), ("1", 0)])
def test_a_check_that_cannot_run_says_so(
    allowed: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MAILWITNESS_ALLOW_NO_KUSTO", allowed)

    outcome = check_kql.main([str(tmp_path)])

    assert outcome == code
    assert capsys.readouterr().out == "queries: not evaluated: Node is not installed\n"


def test_columns_that_differ_only_in_case_become_one() -> None:
    columns = [{"name": "OldValue", "type": "string"}, {"name": "Oldvalue", "type": "string"}]

    table = make_tables.table_of({"table": "T", "source": "s", "columns": columns})

    assert table["columns"] == [{"name": "OldValue", "type": "string"}]
    assert table["aliases"] == {"Oldvalue": "OldValue"}


@pytest.mark.parametrize("present", ["Timestamp", "TimeGenerated"])
def test_a_defender_table_has_both_time_columns(present: str) -> None:
    columns = [{"name": present, "type": "datetime"}]

    table = make_tables.table_of(
        {
            "table": "T",
            "source": "s",
            "columns": columns,
            "advanced_hunting": {"source": "h", "only_here": []},
        }
    )

    assert {column["name"] for column in table["columns"]} == {"Timestamp", "TimeGenerated"}


def test_table_files_are_stale_until_they_are_written(tmp_path: Path) -> None:
    schemas, tables = tmp_path / "schemas", tmp_path / "tables"
    schemas.mkdir()
    schema = {
        "table": "T",
        "source": "a: b",
        "columns": [{"name": "A", "type": "string", "description": "x, y"}],
    }
    (schemas / "T.json").write_text(json.dumps(schema), "utf-8")
    arguments = [str(schemas), "--into", str(tables)]

    before = make_tables.main([*arguments, "--check"])
    make_tables.main(arguments)
    after = make_tables.main([*arguments, "--check"])

    assert (before, after) == (1, 0)
    assert yaml.safe_load((tables / "T.yaml").read_text("utf-8")) == {
        "table": "T",
        "source": "a: b",
        "columns": [{"name": "A", "type": "string", "description": "x, y"}],
    }


def test_checking_tables_without_their_schemas_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = make_tables.main([str(tmp_path / "absent"), "--check"])

    assert outcome == 0
    assert "not evaluated" in capsys.readouterr().out


def test_no_table_has_two_columns_that_differ_only_in_case() -> None:
    for name, table in loader.tables().items():
        names = [column.name.casefold() for column in table.columns]

        assert len(set(names)) == len(names), name


def test_every_row_of_every_table_leads_back_to_its_record() -> None:
    for name, table in loader.tables().items():
        types = {column.name: column.type for column in table.columns}

        assert (types["_Exhibit"], types["_Position"]) == ("string", "long"), name
        # What a run makes of other tables need not be an event of one moment.
        assert types.get("TimeGenerated") == "datetime" or (table.made and name != "MailboxActivity"), name


def test_a_line_that_is_neither_pin_nor_digest_is_a_fault_of_a_lock() -> None:
    digest = "0" * 64
    text = f"# head\nblake3==1.0.11 \\\n    --hash=sha256:{digest}\n--find-links elsewhere\nrich>=1\n"

    assert make_locks.faults(text) == ["--find-links elsewhere", "rich>=1"]
