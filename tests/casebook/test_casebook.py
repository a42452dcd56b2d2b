"""Promises of the case book: nothing that a person wrote is lost or overwritten."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mailwitness.casebook.book import CaseBook
from mailwitness.casebook.schema import HISTORY
from mailwitness.casebook.sync import sync
from mailwitness.errors import CaseBookError, CaseChanged

NOW = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
# `postgresql+psycopg://...` of an empty database runs the same promises there.
POSTGRESQL = os.environ.get("MAILWITNESS_TEST_DATABASE", "")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    if not POSTGRESQL:
        pytest.skip("no PostgreSQL: MAILWITNESS_TEST_DATABASE is not set")
    return POSTGRESQL


@pytest.fixture
def book(tmp_path: Path, url: str) -> Iterator[CaseBook]:
    opened = open_book(tmp_path, url)
    yield opened
    opened.close()


def open_book(folder: Path, url: str = "", *, operator: str = "kim", **more: Any) -> CaseBook:
    return CaseBook(folder, investigation=str(folder), operator=operator, now=NOW, url=url, **more)


def case(name: str, *records: int, **changed: Any) -> dict[str, Any]:
    findings = [
        {"rule": "r", "time": f"2026-03-01T00:00:{n:02}Z", "exhibit": "E1", "position": {"record": n}}
        for n in records
    ]
    made: dict[str, Any] = {
        "id": name,
        "title": f"case of {records}",
        "severity": "high",
        "verdict": "suspicious",
        "first_seen": "2026-03-01T00:00:00Z",
        "last_seen": "2026-03-01T01:00:00Z",
        "findings": findings,
    }
    return made | changed


def actions(book: CaseBook, name: str) -> list[str]:
    return [entry.action for entry in book.case(name).history]


def test_a_report_read_twice_changes_nothing(book: CaseBook) -> None:
    sync(book, [case("C1", 1, 2)])
    before = book.case("C1")

    sync(book, [case("C1", 1, 2)])

    assert book.case("C1") == before
    assert actions(book, "C1") == ["found"]


def test_what_people_wrote_follows_a_case_that_grows(book: CaseBook) -> None:
    sync(book, [case("C1", 1, 2), case("C2", 9)])
    book.note("C1", "the owner was on leave")
    book.assign("C1", "kim")

    sync(book, [case("C3", 1, 2, 3, severity="critical"), case("C2", 9)])

    grown = book.case("C3")
    assert (grown.assignee, grown.severity) == ("kim", "critical")
    assert actions(book, "C3") == ["found", "note", "assign", "found again"]
    assert grown.history[-1].fields["id"] == ["C1", "C3"]
    assert [one.id for one in book.cases()] == ["C3", "C2"]


def test_a_case_grows_from_the_one_it_shares_most_with(book: CaseBook) -> None:
    sync(book, [case("C1", 1), case("C2", 2, 3)])

    sync(book, [case("C4", 1, 2, 3)])

    assert book.case("C4").history[-1].fields["id"] == ["C2", "C4"]
    assert not book.case("C1").is_in_report


def test_a_case_that_the_report_no_longer_holds_is_kept(book: CaseBook) -> None:
    sync(book, [case("C1", 1)])
    book.note("C1", "keep me")

    sync(book, [])

    assert not book.case("C1").is_in_report
    assert actions(book, "C1") == ["found", "note", "no longer in the report"]
    sync(book, [case("C1", 1)])
    assert book.case("C1").is_in_report


def test_who_comes_second_has_to_look_again(book: CaseBook) -> None:
    sync(book, [case("C1", 1)])
    seen = book.case("C1").version
    book.assign("C1", "kim", seen=seen)

    with pytest.raises(CaseChanged, match="version 2, you saw 1"):
        book.decide("C1", "noise", "looks harmless", seen=seen)

    assert (book.case("C1").assignee, book.case("C1").decision) == ("kim", "")
    assert actions(book, "C1") == ["found", "assign"]


def test_many_people_writing_at_once_lose_nothing(tmp_path: Path, url: str) -> None:
    first = open_book(tmp_path, url)
    sync(first, [case("C1", 1)])

    def write(who: int) -> None:
        own = open_book(tmp_path, url, operator=f"analyst {who}")
        for n in range(10):
            while True:
                try:
                    own.note("C1", f"{who}/{n}")
                    break
                except CaseChanged:
                    continue
        own.close()

    people = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()

    history = first.case("C1").history
    first.close()
    assert sorted(e.fields["text"] for e in history[1:]) == sorted(
        f"{who}/{n}" for who in range(4) for n in range(10)
    )
    assert [entry.version for entry in history] == list(range(1, 42))


@pytest.mark.parametrize("statement", [HISTORY.update().values(operator="nobody"), HISTORY.delete()])
def test_the_history_cannot_be_changed(book: CaseBook, statement: sa.Executable) -> None:
    sync(book, [case("C1", 1)])

    with pytest.raises(sa.exc.DBAPIError, match="append-only"), book.engine.begin() as connection:
        connection.execute(statement)

    assert actions(book, "C1") == ["found"]


def test_a_decision_needs_a_reason_and_can_be_taken_back(book: CaseBook) -> None:
    sync(book, [case("C1", 1)])
    with pytest.raises(CaseBookError, match="reason"):
        book.decide("C1", "noise", " ")

    assert book.decide("C1", "authorised", "ticket 4711").decision == "authorised"
    assert book.set_status("C1", "open").decision == ""
    assert book.case("C1").history[-1].fields == {
        "status": ["closed", "open"],
        "decision": ["authorised", ""],
    }


def test_a_step_stays_marked_when_the_report_comes_again(book: CaseBook) -> None:
    tasks = [{"id": "pull-logs", "tier": "1", "title": "Pull the logs", "known": "not known"}]
    sync(book, [case("C1", 1, tasks=tasks)])
    with pytest.raises(CaseBookError, match="something shows it"):
        book.mark_task("C1", "pull-logs", "done", "")
    with pytest.raises(CaseBookError, match="no such step"):
        book.mark_task("C1", "dance", "done", "yes")
    book.mark_task("C1", "pull-logs", "done", "export.csv")

    sync(book, [case("C5", 1, 2, tasks=[tasks[0] | {"known": "three files"}])])

    (task,) = book.case("C5").tasks
    assert (task.state, task.evidence, task.known) == ("done", "export.csv", "three files")


def test_investigations_in_one_database_do_not_mix(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    one, other = (
        CaseBook(tmp_path, investigation=name, operator="kim", now=NOW, url=shared) for name in "ab"
    )
    sync(one, [case("C1", 1)])
    sync(other, [case("C1", 1)])
    one.assign("C1", "kim")

    assert (one.case("C1").assignee, other.case("C1").assignee) == ("kim", "")
    one.close()
    other.close()


def test_a_change_that_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    def refuse(_action: str, _fields: dict[str, Any]) -> None:
        message = "the custody log is full"
        raise OSError(message)

    book = open_book(tmp_path, record=refuse)
    sync(book, [case("C1", 1)])
    with pytest.raises(OSError, match="full"):
        book.assign("C1", "kim")

    assert book.case("C1").assignee == ""
    assert actions(book, "C1") == ["found"]
    book.close()


@pytest.mark.parametrize("name", ["", "D", "C"])
def test_a_name_that_fits_no_or_several_cases_is_refused(book: CaseBook, name: str) -> None:
    sync(book, [case("C1", 1), case("C2", 2)])

    with pytest.raises(CaseBookError, match="called"):
        book.case(name)


@pytest.mark.parametrize("wrong", ["nosuch://x/y", "mysql://u:secret@192.0.2.1/x", "sqlite:////dev/null/x"])
def test_a_database_that_cannot_be_opened_is_one_sentence_without_its_password(
    tmp_path: Path, wrong: str
) -> None:
    with pytest.raises(CaseBookError) as error:
        open_book(tmp_path, wrong)

    assert "secret" not in str(error.value)
    assert json.dumps(str(error.value)).count("\\n") == 0
