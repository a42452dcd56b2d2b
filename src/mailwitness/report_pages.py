"""``mailwitness report --for``: one page for one reader, from report.json and what lies beside it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mailwitness import outcome
from mailwitness.casebook.book import CaseBook, investigation_of
from mailwitness.errors import ConfigError
from mailwitness.evidence import custody
from mailwitness.evidence.store import CaseFolder
from mailwitness.report import csv_tables, pdf
from mailwitness.report.document import Report, read_report
from mailwitness.report.html import render_html
from mailwitness.report.markdown import render_markdown
from mailwitness.report.pages.as_html import page_html
from mailwitness.report.pages.as_markdown import page_markdown
from mailwitness.report.pages.beside import Beside, Custody, Worked
from mailwitness.report.pages.counsel import counsel_page
from mailwitness.report.pages.handover import handover_page
from mailwitness.report.pages.manager import manager_page

if TYPE_CHECKING:
    from mailwitness.report.pages.blocks import Page

Reader = Literal["manager", "technical", "handover", "counsel"]
Form = Literal["html", "md", "pdf", "csv"]
JsonDict = dict[str, Any]  # Any: JSON values

_PAGES: dict[str, Callable[[Report, Beside], Page]] = {
    "manager": manager_page,
    "handover": handover_page,
    "counsel": counsel_page,
}
_TABLES: dict[str, dict[str, Callable[[Report], str]]] = {
    "technical": {
        "findings.csv": csv_tables.findings_csv,
        "ledger.csv": csv_tables.ledger_csv,
        "evidence.csv": csv_tables.evidence_csv,
    },
    "counsel": {"evidence.csv": csv_tables.evidence_csv},
}


def write(
    case: Path, found: JsonDict, *, reader: Reader, form: Form, out: Path | None, now: dt.datetime, url: str
) -> list[Path]:
    """Write the report for one reader and return the files.

    Args:
        case: the case folder.
        found: its report.json.
        reader: who reads it.
        form: how it is written; ``csv`` gives one file for each table.
        out: file to write, or for csv the folder; None means ``reports`` in the case folder.
        now: time with which the case book is opened (aware UTC); it changes nothing in the report.
        url: database of the case book; empty means the file in the case folder, if there is one.

    Raises:
        ConfigError: the reader has no tables, or PDF is not installed.
        CaseError: a file cannot be written.
    """
    folder = CaseFolder(case, create=False)
    if form == "csv":
        return _write_tables(folder, found, reader, out)
    content = _content(folder, found, reader, form, now, url)
    return [folder.put(f"reports/{reader}.{form}", content, out)]


def _content(
    folder: CaseFolder, found: JsonDict, reader: Reader, form: Form, now: dt.datetime, url: str
) -> bytes:
    if reader == "technical":
        if form == "md":
            return render_markdown(found).encode("utf-8", "replace")
        text = render_html(found)
    else:
        page = _PAGES[reader](read_report(found), _beside(folder, found, now, url))
        if form == "md":
            return page_markdown(page).encode("utf-8", "replace")
        text = page_html(page)
    return pdf.pdf_of(text) if form == "pdf" else text.encode("utf-8", "replace")


def _write_tables(folder: CaseFolder, found: JsonDict, reader: Reader, out: Path | None) -> list[Path]:
    tables = _TABLES.get(reader)
    if tables is None:
        raise ConfigError(
            f"the report for {reader} has no tables",
            place="--format csv",
            remedy="Take --for technical (findings, ledger, evidence) or --for counsel (evidence).",
        )
    document = read_report(found)
    written = []
    for name, table in tables.items():
        content = table(document).encode("utf-8", "replace")
        written.append(folder.put(f"reports/{name}", content, out / name if out else None))
    return written


def _beside(folder: CaseFolder, found: JsonDict, now: dt.datetime, url: str) -> Beside:
    return Beside(
        folder=str(folder.path),
        digest=outcome.digest(found),
        custody=_custody(folder.custody),
        people=_people(folder, found, now, url),
    )


def _custody(path: Path) -> Custody:
    checked = custody.verify(path)
    return Custody(
        is_unbroken=checked.ok,
        entries=checked.entries,
        problems=checked.problems,
        head=checked.head,
        lines=tuple(_lines(path)),
    )


def _lines(path: Path) -> list[JsonDict]:
    """Return the entries that can be read; what cannot is among the problems of the chain."""
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"event": "unreadable line"}
        entries.append(entry if isinstance(entry, dict) else {"event": "unreadable line"})
    return entries


def _people(folder: CaseFolder, found: JsonDict, now: dt.datetime, url: str) -> dict[str, Worked]:
    """Return what the case book holds about the cases of this report; nothing when nobody has opened one."""
    if not url and not (folder.path / "casebook.sqlite").is_file():
        return {}
    book = CaseBook(
        folder.path,
        investigation=investigation_of(folder.custody),
        operator=custody.operator_name(),
        now=now,
        url=url,
    )
    try:
        known = {one.id for one in book.cases()}
        names = [case["id"] for case in found["cases"] if case["id"] in known]
        return {name: msgspec.convert(msgspec.to_builtins(book.case(name)), Worked) for name in names}
    finally:
        book.close()
