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
from html.parser import HTMLParser

import pytest

from .cases import NOW_TEXT, Finished, called, environment, mailwitness, program
from .records import hard_delete, inbox_rule

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


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Finished:
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
    return Finished(root / "case", ran)


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


def test_hostile_evidence_is_investigated_to_the_end(case: Finished) -> None:
    taken = next(item for item in case.report["intake"] if item["path"] == "evidence/a.json")

    assert case.ran.code == 1
    assert (taken["records"], taken["loaded"]) == (2 * len(HOSTILE), 2 * len(HOSTILE))
    assert case.report["cases"]
    assert "Traceback" not in case.ran.err


def test_every_hostile_rule_name_reaches_the_report_as_it_is(case: Finished) -> None:
    found = json.dumps(case.report["cases"])
    expected = [text for name, text in HOSTILE.items() if name != "surrogate"]

    missing = [
        text
        for text in expected
        if json.dumps(text)[1:-1] not in found and json.dumps(text.strip())[1:-1] not in found
    ]

    assert missing == []


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_reports_hold_no_control_characters(case: Finished, name: str) -> None:
    assert controls(case.text(name)) == set()


def test_the_page_holds_no_markup_of_the_evidence(case: Finished) -> None:
    page = case.text("report.html")
    tags = Tags(page).found

    assert page.count("<script>") <= 1
    assert not {"img", "iframe", "object", "embed"} & {tag for tag, _ in tags}
    assert not [
        tag
        for tag, attributes in tags
        if any(name.startswith("on") or name in {"src", "style"} for name in attributes)
    ]
    assert all((attributes.get("href") or "#").startswith(("#", "data:,")) for _, attributes in tags)


def test_markdown_holds_no_link_and_no_markup_of_the_evidence(case: Finished) -> None:
    text = case.text("report.md")

    assert "<script" not in text
    assert "<svg" not in text
    assert re.search(r"(?<!\\)\]\((?:javascript|http)", text) is None


def test_machine_readable_files_are_ascii(case: Finished) -> None:
    for name in ("report.json", "custody.jsonl", "quarantine.jsonl", "case.json"):
        assert (case.folder / name).read_bytes().isascii()


def test_the_terminal_gets_no_control_characters(case: Finished) -> None:
    assert controls(case.ran.out) == set()
    assert controls(case.ran.err) == set()


def test_a_real_terminal_gets_only_our_own_sequences(case: Finished) -> None:
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
def test_a_query_shows_hostile_values_harmlessly(case: Finished, form: str) -> None:
    kql = (
        "OfficeActivity | where Operation == 'New-InboxRule'"
        " | project UserId, OfficeObjectId, ParametersBag, ClientIP, Name = tostring(ParametersBag.Name)"
    )

    ran = called("query", kql, "--case", case.folder, "--format", form)

    assert ran.code == 0
    assert controls(ran.out) == set()
    assert ran.err == ""


def test_no_cell_of_csv_is_a_formula(case: Finished) -> None:
    kql = "MailboxActivity | where Activity == 'InboxRuleCreated' | project Actor, ObjectName, Parameters"

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
def test_sql_in_a_query_is_text(case: Finished, kql: str) -> None:
    ran = called("query", kql, "--case", case.folder, "--format", "json")

    assert ran.code == 0
    assert list(ran.json()[0].values()) == [0]


def test_files_with_hostile_names_are_named_escaped_and_not_lost(case: Finished) -> None:
    stated = " ".join(item["what"] + item["reason"] for item in case.report["not_evaluated"])
    names = [item["path"] for item in case.report["intake"]]

    assert len(names) + stated.count("the same bytes") >= 2
    assert all(not controls(name, "") for name in names)
    assert controls(stated, "") == set()
