"""Bring the cases of a report into the case book without losing what people wrote about them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mailwitness.casebook.schema import CASES, HISTORY, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.casebook.book import CaseBook

JsonDict = dict[str, Any]  # Any: JSON values


def sync(book: CaseBook, cases: Iterable[JsonDict], intake: Iterable[JsonDict] = ()) -> None:
    """Take over the cases of a new report.

    A case gets another id when more evidence adds findings to it. Its file is carried over to the new id when
    they share a finding; of several the one that shares most. Cases that the report no longer holds stay.

    Args:
        book: the open case book.
        cases: ``cases`` of report.json.
        intake: ``intake`` of report.json; a record is known by the digest of its exhibit, whose number may change.
    """
    digests = {item["exhibit"]: item["sha256"] for item in intake}
    listed = [{**case, "keys": _keys(case, digests)} for case in cases]
    names = {case["id"] for case in listed}
    with book.engine.begin() as connection:
        rows = connection.execute(sa.select(CASES).where(CASES.c.investigation == book.investigation))
        known = {row["id"]: dict(row) for row in rows.mappings()}
        free = {name: row for name, row in known.items() if name not in names}
        for case in listed:
            row = known.get(case["id"])
            if row is None:
                row = _grown(case, free)
                if row is not None:
                    del free[row["id"]]
            _store(connection, book, case, row)
            _store_tasks(connection, book, case)
        for name, row in free.items():
            if row["is_in_report"]:
                where = (CASES.c.investigation == book.investigation, CASES.c.id == name)
                connection.execute(CASES.update().where(*where).values(is_in_report=False))
                book.write_history(connection, name, "no longer in the report", {}, row["version"])


def finding_key(finding: JsonDict, digests: dict[str, str]) -> str:
    """Return what makes a finding the same in two reports: rule, time, and the record that proves it."""
    exhibit = digests.get(finding["exhibit"]) or finding["exhibit"]
    place = [finding["rule"], finding["time"], exhibit, finding["position"]["record"]]
    return hashlib.sha256("|".join(map(str, place)).encode()).hexdigest()[:16]


def _keys(case: JsonDict, digests: dict[str, str]) -> list[str]:
    return sorted({finding_key(finding, digests) for finding in case["findings"]})


def _grown(case: JsonDict, free: dict[str, JsonDict]) -> JsonDict | None:
    """Return the file of the earlier case that this one has grown from."""
    keys = set(case["keys"])
    shared = {name: len(keys & set(row["findings"])) for name, row in free.items()}
    best = max(sorted(shared), key=lambda name: shared[name], default="")
    return free[best] if best and shared[best] else None


def _store(connection: sa.Connection, book: CaseBook, case: JsonDict, row: JsonDict | None) -> None:
    facts = {key: case[key] for key in ("id", "title", "severity", "verdict", "first_seen", "last_seen")}
    facts |= {"is_in_report": True, "findings": case["keys"]}
    if row is None:
        made = {"status": "open", "assignee": "", "decision": "", "version": 1}
        connection.execute(CASES.insert().values(investigation=book.investigation, **facts, **made))
        book.write_history(
            connection,
            case["id"],
            "found",
            {"severity": case["severity"], "verdict": case["verdict"]},
            1,
        )
        return
    changes = {
        key: [row[key], value] for key, value in facts.items() if row[key] != value and key != "findings"
    }
    if not changes and row["findings"] == facts["findings"]:
        return
    where = (CASES.c.investigation == book.investigation, CASES.c.id == row["id"])
    connection.execute(CASES.update().where(*where).values(**facts, version=row["version"] + 1))
    if row["id"] != case["id"]:
        moved = (TASKS.c.investigation == book.investigation, TASKS.c.case_id == row["id"])
        connection.execute(TASKS.update().where(*moved).values(case_id=case["id"]))
        _carry(connection, book, row["id"], case["id"])
    grown = len(facts["findings"]) - len(row["findings"])
    book.write_history(
        connection, case["id"], "found again", {**changes, "more findings": grown}, row["version"] + 1
    )


def _carry(connection: sa.Connection, book: CaseBook, old: str, new: str) -> None:
    """Repeat the history of the old id under the new one: rows of a history cannot be renamed."""
    query = sa.select(HISTORY).where(HISTORY.c.investigation == book.investigation, HISTORY.c.case_id == old)
    for entry in connection.execute(query.order_by(HISTORY.c.seq)).mappings().all():
        values = {key: value for key, value in dict(entry).items() if key not in {"seq", "case_id"}}
        connection.execute(HISTORY.insert().values(case_id=new, **values))


def _store_tasks(connection: sa.Connection, book: CaseBook, case: JsonDict) -> None:
    """Write the steps of a case; what people marked stays marked, what is known is brought up to date."""
    where = (TASKS.c.investigation == book.investigation, TASKS.c.case_id == case["id"])
    known = set(connection.execute(sa.select(TASKS.c.id).where(*where)).scalars())
    for position, task in enumerate(case.get("tasks", [])):
        values = {key: str(task.get(key, "")) for key in ("tier", "title", "known")} | {"position": position}
        if task["id"] in known:
            connection.execute(TASKS.update().where(*where, TASKS.c.id == task["id"]).values(**values))
        else:
            own = {"investigation": book.investigation, "case_id": case["id"], "id": task["id"]}
            connection.execute(TASKS.insert().values(**own, **values, state="open", evidence=""))
