"""A query sees every value of every record, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .cases import Json, called, investigate
from .records import guid, hard_delete, inbox_rule, ndjson


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


def test_a_query_says_when_no_exhibit_holds_its_table(case: Path) -> None:
    ran = called("query", "SigninLogs | project UserId", "--case", case)

    assert (ran.code, ran.err) == (0, "no exhibit of the case holds SigninLogs\n")


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
        # What a run fills and no case keeps would read as "nothing found".
        ("Findings | count", "MW501"),
        ("union FindingActs, OfficeActivity | count", "MW501"),
        ("Watchlists", "MW501"),
        ("Baselines | take 1", "MW501"),
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
        "OfficeActivity | project ClientVersion, SendAsUserSmtp, LogonUserSid, _Position"
        " | order by _Position asc",
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
