"""What a person does at the desk: list cases, read them, write notes, hand them over, decide."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import completion, needs, pipeline, timeline
from mailwitness.casebook.book import CaseBook, CaseFile, investigation_of
from mailwitness.casebook.sync import sync
from mailwitness.errors import CaseBookError, ConfigError
from mailwitness.evidence import custody
from mailwitness.evidence.store import CaseFolder
from mailwitness.report.text import visible
from mailwitness.verification import read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

JsonDict = dict[str, Any]  # Any: JSON values
_WIDE = 2000
_OK = 0


@contextmanager
def open_book(case: Path, *, now: dt.datetime, url: str) -> Iterator[CaseBook]:
    """Open the case book of a case, up to date with its report; every change is recorded in the custody log.

    Args:
        case: the case folder.
        now: time of the changes, aware UTC.
        url: database of the case book; empty means the file in the case folder.

    Raises:
        MailwitnessError: there is no case, another run works on it, or the database cannot be opened.
    """
    folder = CaseFolder(case, create=False)
    report = read_report(folder)
    with folder.lock():
        log = custody.CustodyLog(folder.custody, now=now, tool=pipeline.TOOL)
        book = CaseBook(
            folder.path,
            investigation=investigation_of(folder.custody),
            operator=custody.operator_name(),
            now=now,
            url=url,
            record=lambda action, fields: _record(log, now, action, fields),
        )
        try:
            sync(book, report["cases"], report["intake"])
            yield book
        finally:
            book.close()
            log.close()


def _record(log: custody.CustodyLog, now: dt.datetime, action: str, fields: JsonDict) -> None:
    log.append("decision", now=now, action=action, details=fields)


def list_cases(case: Path, *, now: dt.datetime, url: str, status: str, assignee: str, as_json: bool) -> int:
    """Print the cases with who works on them."""
    with open_book(case, now=now, url=url) as book:
        found = book.cases(status=status, assignee=assignee)
    if as_json:
        print(json.dumps([msgspec.to_builtins(one) for one in found], indent=1))
        return _OK
    if not found:
        print("no cases")
    for one in found:
        print(_line(one))
    return _OK


def _line(one: CaseFile) -> str:
    decided = f", decided: {one.decision}" if one.decision else ""
    held = f", {visible(one.assignee, 60)}" if one.assignee else ""
    gone = "" if one.is_in_report else ", no longer in the report"
    head = f"{one.id}  {one.severity:13} {one.verdict:12} {one.status}{held}{decided}{gone}"
    return f"{head}\n           {one.first_seen}  {visible(one.title, 200)}"


def show_case(case: Path, name: str, *, now: dt.datetime, url: str, as_json: bool) -> int:
    """Print one case: what was found, its steps, and its history."""
    with open_book(case, now=now, url=url) as book:
        found = book.case(name)
    listed = next(
        (one for one in read_report(CaseFolder(case, create=False))["cases"] if one["id"] == found.id), None
    )
    if as_json:
        print(json.dumps({"file": msgspec.to_builtins(found), "report": listed}, indent=1))
        return _OK
    print(_line(found) + f"\n           version {found.version}")
    if listed is not None:
        _print_found(listed)
    if found.tasks:
        print("\nSteps")
    for task in found.tasks:
        mark = {"open": " ", "done": "x", "not needed": "-"}[task.state]
        print(f"  [{mark}] {visible(task.id, 60)} ({visible(task.tier, 20)}): {visible(task.title, 300)}")
        for text in (task.known, task.evidence):
            if text:
                print(f"      {visible(text, 400)}")
    print("\nHistory")
    for entry in found.history:
        said = "; ".join(f"{key}: {_said(value)}" for key, value in entry.fields.items())
        print(f"  {entry.time}  {visible(entry.operator, 60)}  {entry.action}  {visible(said, _WIDE)}")
    return _OK


def _print_found(listed: JsonDict) -> None:
    for label, key in (
        ("actors", "actors"),
        ("mailboxes", "mailboxes"),
        ("addresses", "addresses"),
        ("hosts", "hosts"),
        ("techniques", "techniques"),
    ):
        if listed[key]:
            print(f"  {label}: {visible(', '.join(listed[key]), 400)}")
    for reason in listed["reasons"]:
        print(f"  {visible(reason, 400)}")


def _said(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004 - before and after
        return f"{value[0] or 'nothing'} -> {value[1] or 'nothing'}"
    return str(value)


def change(case: Path, *, now: dt.datetime, url: str, act: Callable[[CaseBook], CaseFile]) -> int:
    """Change a case and print its line."""
    with open_book(case, now=now, url=url) as book:
        print(_line(act(book)))
    return _OK


def show_timeline(case: Path, name: str, *, wanted: timeline.Filter, limit: int, as_json: bool) -> int:
    """Print every act of a case's people and upon its mailboxes, over all sources."""
    unknown = set(wanted.phases) - set(timeline.PHASES)
    if unknown:
        raise ConfigError(
            f"there is no phase {', '.join(sorted(unknown))}",
            place="--phase",
            remedy=f"Write one of {', '.join(timeline.PHASES)}.",
        )
    folder = CaseFolder(case, create=False)
    report = read_report(folder)
    listed = [one for one in report["cases"] if one["id"].lower().startswith(name.lower())]
    if len(listed) != 1:
        raise CaseBookError(
            f"no single case of the report is called {name}",
            place="report",
            remedy="Look at `mailwitness case list`.",
        )
    found = _acts(folder, report, listed[0], wanted, limit)
    if as_json:
        print(json.dumps([msgspec.to_builtins(act) for act in found], indent=1))
        return _OK
    for act in found:
        count = f" x{act.items}" if act.items > 1 else ""
        place = f"{act.exhibit}#{act.record}"
        print(
            f"{act.time}  {act.phase:12} {act.activity}{count}  {visible(act.actor, 60)} -> {visible(act.mailbox, 60)}"
            f"  {visible(act.what, 80)}  {visible(act.address, 45)}  {place}"
        )
    print(f"{len(found)} acts" + (f"; only the first {limit} are shown" if len(found) == limit else ""))
    return _OK


def _acts(
    folder: CaseFolder, report: JsonDict, listed: JsonDict, wanted: timeline.Filter, limit: int
) -> list[timeline.Act]:
    with open_acts(folder.path, report) as connection:
        return timeline.acts(connection, listed, wanted, limit=limit)


@contextmanager
def open_acts(case: Path, report: JsonDict) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a case's tables with all of MailboxActivity, at the clock of its report, locked."""
    settings = pipeline.Settings(now=dt.datetime.fromisoformat(report["evaluated"]["now"]))
    with completion.opened(CaseFolder(case, create=False), needs.TABLE, settings) as (connection, _):
        yield connection
