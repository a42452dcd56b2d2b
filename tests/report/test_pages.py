"""Pages for one reader: everything a reader has to see, nothing that the evidence could smuggle in, the same bytes each time."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import mailwitness
from mailwitness import desk, report_pages
from mailwitness.errors import ConfigError
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.report.csv_tables import evidence_csv, findings_csv, ledger_csv
from mailwitness.report.document import read_report
from mailwitness.report.pages.as_html import page_html
from mailwitness.report.pages.as_markdown import page_markdown
from mailwitness.report.pages.beside import Beside, Custody, Entry, Step, Worked
from mailwitness.report.pages.counsel import counsel_page
from mailwitness.report.pages.handover import handover_page
from mailwitness.report.pages.manager import manager_page
from mailwitness.report.pdf import pdf_of

from .report_examples import HOSTILE_TEXTS, Json, poison, realistic

PAGES = {"manager": manager_page, "handover": handover_page, "counsel": counsel_page}
NOW = dt.datetime(2026, 10, 19, 8, tzinfo=dt.UTC)
DEMO = Path(mailwitness.__file__).parent / "samples" / "demo"


def beside(text: str = "a note") -> Beside:
    worked = Worked(
        status="in progress",
        assignee=text,
        decision="",
        tasks=(Step(id="s1", tier="1", title=text, known=text, state="done", evidence=text),),
        history=(
            Entry(
                time="2026-10-19T08:00:00Z", operator=text, action="note", fields={"text": text}, version=2
            ),
        ),
    )
    lines = (
        {"seq": 1, "event": "sealed", "file": text, "sha256": "0" * 64, "hash": "1" * 64, "operator": text},
    )
    custody = Custody(is_unbroken=True, entries=1, problems=(), head="ab" * 32, lines=lines)
    ids = [case["id"] for case in realistic()["cases"]]
    return Beside(folder="case", digest="cd" * 32, custody=custody, people=dict.fromkeys(ids, worked))


class Outline(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))


@pytest.mark.parametrize("reader", PAGES)
def test_a_page_has_no_script_and_refers_to_nothing_outside_itself(reader: str) -> None:
    page = page_html(PAGES[reader](read_report(realistic()), beside()))
    tags = Outline(page).tags

    assert "script" not in {tag for tag, _ in tags}
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert "script-src 'none'" in policy
    assert "default-src 'none'" in policy
    for tag, attributes in tags:
        assert not {"src", "srcset", "action", "style", "formaction"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("href") or "data:,") == "data:,", tag


@pytest.mark.parametrize("reader", PAGES)
@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_no_text_becomes_markup(reader: str, name: str) -> None:
    report = read_report(poison(realistic(), [HOSTILE_TEXTS[name]], also_own_words=True))
    plain = Outline(page_html(PAGES[reader](read_report(realistic()), beside())))

    page = PAGES[reader](report, beside(HOSTILE_TEXTS[name]))

    evil = page_html(page)
    assert {tag for tag, _ in Outline(evil).tags} <= {tag for tag, _ in plain.tags} | {"wbr", "span", "p"}
    for shown in (evil, page_markdown(page)):
        assert set() == {
            one for one in shown if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        } - {"\n"}
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(page_markdown(page))
    assert not {"<script", "<img", "<a ", "<svg"} & set(re.findall(r"<(?:script|img|a |svg)", rendered))


@pytest.mark.parametrize("reader", PAGES)
def test_headings_descend_without_a_gap(reader: str) -> None:
    tags = Outline(page_html(PAGES[reader](read_report(realistic()), beside()))).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]

    assert 1 == levels[0] == levels.count(1)
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_the_sheet_for_management_answers_the_six_questions_in_order() -> None:
    text = page_markdown(manager_page(read_report(realistic()), beside()))

    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)

    assert heads == [
        "What happened, and to whom",
        "How sure this is",
        "What is lost",
        "What can still be saved, and until when",
        "What to decide today",
    ]


def test_a_sheet_without_cases_is_not_called_an_attack() -> None:
    report = realistic()
    report |= {"cases": [], "summary": {"outcome": "not_evaluated", "severity": None, "sentences": []}}

    text = page_markdown(manager_page(read_report(report), Beside()))

    assert text.startswith("# It could not be decided whether mailbox evidence was cleared.")
    assert "Attack" not in text


def test_a_broken_custody_chain_is_the_first_thing_said_about_custody() -> None:
    broken = Beside(custody=Custody(is_unbroken=False, problems=("line 3 was changed",), entries=4))

    text = page_markdown(counsel_page(read_report(realistic()), broken))

    assert "**The custody log does not verify.**\n\n- line 3 was changed" in text
    assert "unbroken" not in text
    assert "DOES NOT RECORD THIS REPORT" in text


def test_every_exhibit_stands_in_the_evidence_list_with_its_digest() -> None:
    report = realistic()

    text = Outline(page_html(counsel_page(read_report(report), beside()))).text

    for one in report["intake"]:
        assert one["sha256"] in text


def test_notes_and_decisions_reach_the_pages(case: Path) -> None:
    name = json.loads((case / "report.json").read_text())["cases"][0]["id"]
    desk.change(case, now=NOW, url="", act=lambda book: book.note(name, "called the owner"))
    desk.change(case, now=NOW, url="", act=lambda book: book.decide(name, "authorised", "it was me"))

    for reader in ("handover", "counsel"):
        text = written(case, reader, "md").decode()
        assert "called the owner" in text
        assert "it was me" in text


def test_a_file_name_cannot_leave_its_shell_quotes() -> None:
    text = page_markdown(counsel_page(read_report(realistic()), beside("a'; rm -rf / #")))

    assert r"sha256sum 'a'\''; rm -rf / #'" in text


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "case"
    investigate([DEMO], folder, Settings(now=NOW), Progress())
    return folder


def written(case: Path, reader: report_pages.Reader, form: report_pages.Form) -> bytes:
    found = json.loads((case / "report.json").read_text())
    (path,) = report_pages.write(case, found, reader=reader, form=form, out=None, now=NOW, url="")
    return path.read_bytes()


def test_a_page_is_the_same_bytes_each_time(case: Path) -> None:
    pytest.importorskip("weasyprint", reason="the extra pdf is not installed")

    for form in ("html", "md", "pdf"):
        assert written(case, "counsel", form) == written(case, "counsel", form)


def test_the_summary_for_management_fits_on_one_sheet() -> None:
    weasyprint = pytest.importorskip("weasyprint", reason="the extra pdf is not installed")
    page = page_html(manager_page(read_report(realistic()), beside()))

    assert len(weasyprint.HTML(string=page).render().pages) == 1


def test_the_sheet_of_a_real_case_is_one_sheet(case: Path) -> None:
    weasyprint = pytest.importorskip("weasyprint", reason="the extra pdf is not installed")

    page = written(case, "manager", "html").decode()

    assert len(weasyprint.HTML(string=page).render().pages) == 1


def test_a_pdf_fetches_nothing(tmp_path: Path) -> None:
    weasyprint = pytest.importorskip("weasyprint", reason="the extra pdf is not installed")
    from PIL import Image

    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    page = f'<img src="{picture.as_uri()}">'

    assert b"/Image" in weasyprint.HTML(string=page).write_pdf(), "the test would see a picture"
    assert b"/Image" not in pdf_of(page)


@pytest.mark.parametrize("table", [findings_csv, ledger_csv, evidence_csv])
@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_no_cell_becomes_a_formula(table: Callable[[object], str], name: str) -> None:
    report = read_report(poison(realistic(), [HOSTILE_TEXTS[name]]))

    rows = list(csv.reader(io.StringIO(table(report))))

    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1
    for row in rows[1:]:
        assert not [
            cell for cell in row if re.match(r"\s*[=+@|%-]", cell) and not re.fullmatch(r"-?\d+", cell)
        ]


def test_a_reader_without_tables_gets_a_remedy(case: Path) -> None:
    found: Json = json.loads((case / "report.json").read_text())

    with pytest.raises(ConfigError) as raised:
        report_pages.write(case, found, reader="manager", form="csv", out=None, now=NOW, url="")

    assert "--for technical" in str(raised.value)
