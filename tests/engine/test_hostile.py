"""What an intruder writes into the evidence executes nowhere, and bad input costs nothing but itself."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mailwitness import pipeline

from .cases import (
    NOW,
    NOW_TEXT,
    Json,
    Ran,
    called,
    environment,
    investigate,
    loaded,
    mailwitness,
    program,
    through,
)
from .records import compact, guid, hard_delete, inbox_rule, ndjson, purview_csv

HOSTILE = {
    "script": "<script>document.title='owned'</script><img src=x onerror=alert(1)>",
    "breakout": "</script></style></title>--><svg onload=alert(1)>\"'><b>",
    "ansi": "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\link\x9b31m\r\b\x7f",
    "direction": "invoice\u202efdp.exe\u2066\u2069\u200f\u200b\ufeff",
    "nul": "before\x00after\u2028line",
    "formula": '=HYPERLINK("http://evil.example","click")',
    "plus": "+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "minus": "-2+3",
    "tab": "\t=1+1",
    "sql": "'; DROP TABLE OfficeActivity; -- ",
    "kql": '" | project x = 1; MailboxActivity | take 1 // ',
    "template": "{{ 7*7 }}{% raw %}${7*7}",
    "markdown": "[click](javascript:alert(1)) ![x](http://evil.example/p) **bold** `code` | cell |",
    "surrogate": "a\ud800b",
}
CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def controls(text: str, allowed: str = "\n") -> set[str]:
    """Return the characters of a text that a screen obeys instead of showing."""
    return {one for one in text if unicodedata.category(one) in CONTROLS} - set(allowed)


def hostile_records() -> bytes:
    """Return records with hostile text in every place that a report shows; each is found by a rule."""
    lines = []
    for i, text in enumerate(HOSTILE.values()):
        parameters = [
            {"Name": "Name", "Value": text},
            {"Name": "SubjectOrBodyContainsWords", "Value": text},
            {"Name": "MoveToFolder", "Value": text},
            {"Name": "DeleteMessage", "Value": "True"},
        ]
        rule = inbox_rule(
            i, Parameters=parameters, ObjectId=f"eva\\{text}", UserId=f"{text}@contoso.example", ClientIP=text
        )
        items = [
            {
                "Id": "1",
                "Subject": text,
                "InternetMessageId": text,
                "ParentFolder": {"Path": f"\\Recoverable Items\\Purges{text}"},
            }
        ]
        folder = {"Id": text, "Path": "\\Recoverable Items\\Purges"}
        lines += [
            rule,
            hard_delete(
                i,
                AffectedItems=items,
                Folder=folder,
                ClientInfoString=f"Client=OWA;{text}",
                MailboxOwnerUPN=f"{text}@contoso.example",
            ),
        ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


class Case:
    """A finished investigation by the program itself."""

    def __init__(self, folder: Path, ran: Ran) -> None:
        """Keep where the case lies and what the program said."""
        self.folder = folder
        self.ran = ran
        self.report: Json = json.loads((folder / "report.json").read_bytes())

    def text(self, name: str) -> str:
        """Return a file of the case as text."""
        return (self.folder / name).read_text("utf-8")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Investigate hostile records in files with hostile names."""
    root = tmp_path_factory.mktemp("hostile")
    evidence = root / "evidence"
    evidence.mkdir()
    (evidence / "a.json").write_bytes(hostile_records())
    for i, text in enumerate(HOSTILE.values()):
        name = (
            text.replace("/", "_")
            .replace("\x00", "")
            .encode("utf-8", "replace")[:80]
            .decode("utf-8", "ignore")
        )
        (evidence / f"{name}{i}").write_bytes(b"neither this nor that\n")
    ran = mailwitness("investigate", evidence, "--case", root / "case", "--now", NOW_TEXT)
    return Case(root / "case", ran)


class Tags(HTMLParser):
    """Collect tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        """Read the page."""
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep one tag."""
        self.found.append((tag, dict(attrs)))


def test_hostile_evidence_is_investigated_to_the_end(case: Case) -> None:
    taken = next(item for item in case.report["intake"] if item["path"] == "evidence/a.json")

    assert case.ran.code == 1
    assert (taken["records"], taken["loaded"]) == (2 * len(HOSTILE), 2 * len(HOSTILE))
    assert case.report["cases"]
    assert "Traceback" not in case.ran.err


def test_every_hostile_rule_name_reaches_the_report_as_it_is(case: Case) -> None:
    found = json.dumps(case.report["cases"])
    expected = [text for name, text in HOSTILE.items() if name != "surrogate"]

    missing = [
        text
        for text in expected
        if json.dumps(text)[1:-1] not in found and json.dumps(text.strip())[1:-1] not in found
    ]

    assert missing == []


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_reports_hold_no_control_characters(case: Case, name: str) -> None:
    assert controls(case.text(name)) == set()


def test_the_page_holds_no_markup_of_the_evidence(case: Case) -> None:
    page = case.text("report.html")
    tags = Tags(page).found

    assert page.count("<script>") <= 1
    assert not {"img", "svg", "iframe", "object"} & {tag for tag, _ in tags}
    assert not [
        tag
        for tag, attributes in tags
        if any(name.startswith("on") or name in {"src", "style"} for name in attributes)
    ]
    assert all((attributes.get("href") or "#").startswith(("#", "data:,")) for _, attributes in tags)


def test_markdown_holds_no_link_and_no_markup_of_the_evidence(case: Case) -> None:
    text = case.text("report.md")

    assert "<script" not in text
    assert "<svg" not in text
    assert re.search(r"(?<!\\)\]\((?:javascript|http)", text) is None


def test_machine_readable_files_are_ascii(case: Case) -> None:
    for name in ("report.json", "custody.jsonl", "quarantine.jsonl", "case.json"):
        assert (case.folder / name).read_bytes().isascii()


def test_the_terminal_gets_no_control_characters(case: Case) -> None:
    assert controls(case.ran.out) == set()
    assert controls(case.ran.err) == set()


def test_a_real_terminal_gets_only_our_own_sequences(case: Case) -> None:
    parent, child = pty.openpty()
    command = [
        *program(),
        "investigate",
        str(case.folder.parent / "evidence"),
        "--case",
        str(case.folder.parent / "case-pty"),
        "--now",
        NOW_TEXT,
    ]
    received = bytearray()

    def listen() -> None:
        while True:
            try:
                block = os.read(parent, 65536)
            except OSError:
                return
            if not block:
                return
            received.extend(block)

    listener = threading.Thread(target=listen)
    listener.start()
    run = subprocess.run(
        command,
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment(TERM="xterm"),
        check=False,
        timeout=120,
    )
    os.close(child)
    listener.join(10)
    os.close(parent)

    text = received.decode("utf-8", "replace")
    ours = re.compile(r"\r\x1b\[K|\x1b\[\d*(?:;\d+)*m|\r\n")
    assert run.returncode == 1
    assert "\x1b" in text
    assert controls(ours.sub("", text)) == set()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_query_shows_hostile_values_harmlessly(case: Case, form: str) -> None:
    kql = "OfficeActivity | where Operation == 'New-InboxRule' | project UserId, OfficeObjectId, ParametersBag, ClientIP, Name = tostring(ParametersBag.Name)"

    ran = called("query", kql, "--case", case.folder, "--format", form)

    assert ran.code == 0
    assert controls(ran.out) == set()
    assert ran.err == ""


def test_no_cell_of_csv_is_a_formula(case: Case) -> None:
    kql = "MailboxActivity | where Activity == 'InboxRuleCreated' | project Actor, ObjectName, ClientIP, Parameters"

    rows = list(csv.reader(io.StringIO(called("query", kql, "--case", case.folder, "--format", "csv").out)))

    assert len(rows) == 1 + len(HOSTILE)
    assert [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r")] == []


@pytest.mark.parametrize(
    "kql",
    [
        'OfficeActivity | where UserId == "\'; DROP TABLE OfficeActivity; --" | count',
        "OfficeActivity | where UserId has 'x\\' or 1==1 --' | count",
    ],
)
def test_sql_in_a_query_is_text(case: Case, kql: str) -> None:
    ran = called("query", kql, "--case", case.folder, "--format", "json")

    assert ran.code == 0
    assert list(ran.json()[0].values()) == [0]


def test_files_with_hostile_names_are_named_escaped_and_not_lost(case: Case) -> None:
    stated = " ".join(item["what"] + item["reason"] for item in case.report["not_evaluated"])
    names = [item["path"] for item in case.report["intake"]]

    assert len(names) + stated.count("the same bytes") >= 2
    assert all(not controls(name, "") for name in names)
    assert controls(stated, "") == set()


# -- bad inputs ------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    """Return a zip archive."""
    return zipped_names({name.replace("__", "."): content for name, content in members.items()})


def zipped_names(members: dict[str, bytes]) -> bytes:
    """Return a zip archive whose members have any name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def record(number: int) -> bytes:
    """Return a file of one record."""
    return ndjson([hard_delete(number)])


BAD_FILES: dict[str, bytes] = {
    "bomb.zip": zipped(zeros__json=b"0" * (30 << 20)),
    "cut.zip": zipped(a__json=record(501) * 400)[:700],
    "empty.json": b"",
    "noise.json": bytes((i * 7919) % 251 for i in range(4000)),
    "deep.json": b"[" * 100_000,
    "deep-object.json": b'{"a":' * 100_000,
    "broken.parquet": b"PAR1" + b"x" * 100 + b"PAR1",
    "words.txt": b"hello\nworld\n",
    "unclosed.csv": b'a,b,"c\n1,2,3\n',
}
GOOD_FILES: dict[str, bytes] = {
    "good.json": record(1),
    "wrong-extension.csv": record(2),
    "no-extension": purview_csv([hard_delete(3)]),
    "names.zip": zipped_names(
        {"line\nend.json": record(4), "\x1b[31mred.json": record(5), "üñï.json": record(6)}
    ),
    "deep-member.json": b"\n".join(
        [
            record(7).strip(),
            compact(hard_delete(8, Folder=None))[:-1].encode()
            + b',"Folder":'
            + b"[" * 100_000
            + b"]" * 100_000
            + b"}",
            record(9),
        ]
    ),
    "twice.json": b'{"Operation":"HardDelete","Operation":"HardDelete",' + record(10)[1:],
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Investigate every bad input together with good ones."""
    root = tmp_path_factory.mktemp("bad")
    folder = root / "evidence"
    folder.mkdir()
    for name, content in (BAD_FILES | GOOD_FILES).items():
        (folder / name).write_bytes(content)
    (folder / "traversal.zip").write_bytes(
        zipped_names(
            {"../../escaped.json": record(20), "/absolute.json": record(21), "fine.json": record(22)}
        )
    )
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("..")
    (folder / "dangling").symlink_to("nothing-here")
    os.mkfifo(folder / "pipe")
    locked = folder / "locked.json"
    locked.write_bytes(record(30))
    locked.chmod(0)
    ran = mailwitness(
        "investigate", folder, root / "missing.json", "--case", root / "case", "--now", NOW_TEXT
    )
    yield Case(root / "case", ran)
    locked.chmod(0o600)


def stated_about(found: Case, name: str) -> list[Json]:
    """Return what the report says could not be evaluated of one file; folded entries name several."""
    return [
        item
        for item in found.report["not_evaluated"]
        if any(what.endswith(f"/{name}") or what == name for what in item["what"].split("; "))
    ]


@pytest.mark.parametrize("name", [*BAD_FILES, "loop", "up", "dangling", "pipe", "missing.json"])
def test_a_bad_input_is_named_with_reason_and_remedy(bad: Case, name: str) -> None:
    stated = stated_about(bad, name)
    kept = [item for item in bad.report["intake"] if name in item["path"] and item["quarantined"]]

    assert len(stated) == 1 or (not stated and kept)
    assert all(item["reason"] and item["remedy"].endswith((".", "`")) for item in stated)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every file")
def test_an_unreadable_file_is_named_with_reason_and_remedy(bad: Case) -> None:
    stated = stated_about(bad, "locked.json")

    assert [item["blocking"] for item in stated] == [True]


def test_bad_inputs_do_not_keep_good_ones_from_being_investigated(bad: Case) -> None:
    ran = called(
        "query",
        "OfficeActivity | project OfficeId | order by OfficeId asc",
        "--case",
        bad.folder,
        "--format",
        "json",
    )
    ids = {row["OfficeId"] for row in ran.json()}

    assert {guid(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 10)} <= ids


def test_no_member_leaves_the_case_folder(bad: Case) -> None:
    outside = [path for path in bad.folder.parent.rglob("*escaped*") if bad.folder not in path.parents]

    assert outside == []
    assert not Path("/absolute.json").exists()
    assert [item for item in bad.report["not_evaluated"] if "escaped.json" in item["what"]] or [
        item for item in bad.report["intake"] if "escaped.json" in item["path"]
    ]


def test_a_deeply_nested_value_costs_at_most_its_record(bad: Case) -> None:
    taken = next(item for item in bad.report["intake"] if item["path"].endswith("deep-member.json"))

    assert taken["records"] == 3
    assert taken["loaded"] + taken["quarantined"] == 3
    assert taken["loaded"] >= 2


def test_member_names_are_shown_escaped(bad: Case) -> None:
    names = [item["path"] for item in bad.report["intake"] if "names.zip/" in item["path"]]

    assert sorted(names) == [
        "evidence/names.zip/\\x1b[31mred.json",
        "evidence/names.zip/line\\x0aend.json",
        "evidence/names.zip/üñï.json",
    ]


def test_bad_inputs_leave_no_traceback_and_no_other_noise(bad: Case) -> None:
    assert bad.ran.err == ""
    assert bad.ran.code in {1, 2}
    assert "Traceback" not in bad.ran.out


def test_counts_add_up_for_every_exhibit_of_a_bad_folder(bad: Case) -> None:
    for item in bad.report["intake"]:
        assert item["records"] == item["loaded"] + item["duplicates"] + item["quarantined"]


@pytest.mark.parametrize("name", ["empty.json", "words.txt", "deep.json"])
def test_a_bad_input_alone_is_not_evaluated_and_never_clear(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])

    report = investigate(tmp_path / "case", tmp_path / name)

    assert report["summary"]["outcome"] == "not_evaluated"


# -- restless inputs -------------------------------------------------------------------------


def test_a_folder_that_is_written_to_is_investigated_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "still.json").write_bytes(record(1))
    live = folder / "live.json"
    live.write_bytes(record(2))
    done = threading.Event()

    def write_on() -> None:
        number = 3
        while not done.wait(0.0005):
            with live.open("ab") as stream:
                stream.write(record(number))
            (folder / f"new{number}.json").write_bytes(record(number))
            number += 1

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        report = investigate(tmp_path / "case", folder)
    finally:
        done.set()
        writer.join()

    paths = {item["path"]: item for item in report["intake"]}
    stated = " ".join(item["what"] for item in report["not_evaluated"] if item["blocking"])
    assert paths["evidence/still.json"]["loaded"] == 1
    assert "live.json" in stated or paths["evidence/live.json"]["sha256"]
    assert all(
        item["records"] == item["loaded"] + item["duplicates"] + item["quarantined"]
        for item in report["intake"]
    )


def test_a_file_that_changes_while_it_is_loaded_is_no_evidence(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_bytes(record(1))

    class Intruder(pipeline.Progress):
        def stage(self, name: str, done: int = 0, total: int = 0) -> None:
            if name == "detecting":
                export.write_bytes(record(2))

    pipeline.investigate([export], tmp_path / "case", pipeline.Settings(now=NOW), Intruder())

    report = json.loads((tmp_path / "case" / "report.json").read_bytes())
    stated = [item for item in report["not_evaluated"] if item["what"] == "export.json"]
    assert [item["blocking"] for item in stated] == [True]
    assert "changed" in stated[0]["reason"]
    assert report["intake"][0]["sha256"] == ""


@pytest.mark.parametrize("way", ["python", "sql"])
def test_a_line_of_eighty_megabytes_is_quarantined_and_the_rest_loaded(way: str) -> None:
    line = (
        compact(hard_delete(2, AffectedItems=None))[:-1].encode() + b',"Pad":"' + b"x" * (80 << 20) + b'"}\n'
    )

    with through(way), loaded(record(1) + line + record(3)) as found:
        rows = [(row["OfficeId"], row["_Position"]) for row in found.rows()]
        counts = found.counts()
        kept = [(item["record"], item["line"], item["length"]) for item in found.quarantine()]

    assert counts == (3, 2, 0, 1)
    assert rows == [(guid(1), 0), (guid(3), 2)]
    assert kept == [(1, 2, len(line) - 1)]


@pytest.mark.parametrize("way", ["python", "sql"])
@pytest.mark.parametrize("depth", [100, 1000, 5000, 100_000])
def test_any_depth_of_nesting_costs_at_most_its_record(depth: int, way: str) -> None:
    deep = (
        compact(hard_delete(2, Folder=None))[:-1].encode()
        + b',"Folder":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * depth
        + b"}\n"
    )

    with through(way), loaded(record(1) + deep + record(3)) as found:
        ids = {row["OfficeId"] for row in found.rows()}
        seen, whole, twice, lost = found.counts()

    assert {guid(1), guid(3)} <= ids
    assert (seen, whole + twice + lost) == (3, 3)


def test_fields_of_evidence_named_like_ours_cannot_forge_places() -> None:
    forged: dict[str, Any] = hard_delete(1) | {
        "_mw_exhibit": "E9",
        "_mw_position": 77,
        "_Exhibit": "E9",
        "_Position": 77,
        "_State": 2,
    }

    for way in ("python", "sql"):
        with through(way), loaded(ndjson([hard_delete(0), forged])) as found:
            assert [(row["_Exhibit"], row["_Position"]) for row in found.rows()] == [("E1", 0), ("E1", 1)]
