"""Read and change a case book: optimistic locking, and a history that only grows."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import sqlalchemy as sa

from mailwitness.casebook.schema import CASES, HISTORY, TASKS, open_engine
from mailwitness.content.schemas import SEVERITIES
from mailwitness.errors import CaseBookError, CaseChanged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Status = Literal["open", "in progress", "waiting", "closed"]
Decision = Literal["attack", "suspicious", "authorised", "noise", "undetermined"]
TaskState = Literal["open", "done", "not needed"]
Fields = dict[str, Any]  # Any: JSON values


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a case's history; ``fields`` says what changed: name -> [before, after], or the text of a note."""

    time: str
    operator: str
    action: str
    fields: Fields
    version: int


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One step for people; ``known`` is what the evidence already answers."""

    id: str
    tier: str
    title: str
    known: str
    state: str
    evidence: str


class CaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A case as people see it: what was found, and what they made of it."""

    id: str
    title: str
    severity: str
    verdict: str
    first_seen: str
    last_seen: str
    status: str
    assignee: str
    decision: str
    is_in_report: bool
    version: int
    findings: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    history: tuple[Entry, ...] = ()


def investigation_of(custody_log: Path) -> str:
    """Return what tells one case folder from all others: the digest of its first custody entry."""
    with custody_log.open("rb") as handle:
        return str(json.loads(handle.readline())["hash"])


class CaseBook:
    """The case book of one investigation; may be shared with other people and other investigations.

    Args:
        folder: the case folder.
        investigation: what tells this investigation from others in the same database.
        operator: who works.
        now: time of every change (aware UTC).
        url: SQLAlchemy's database URL; empty means a file in the case folder.
        record: is told of every change before it is committed, to write it into the custody log.

    Raises:
        CaseBookError: the database cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        investigation: str,
        operator: str,
        now: dt.datetime,
        url: str = "",
        record: Callable[[str, Fields], None] | None = None,
    ) -> None:
        self.engine = open_engine(url, folder)
        self.investigation = investigation
        self.operator = operator
        self.time = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.record = record

    def close(self) -> None:
        """Release the database."""
        self.engine.dispose()

    # -- reading -----------------------------------------------------------------------------

    def cases(self, *, status: str = "", assignee: str = "") -> list[CaseFile]:
        """Return the cases: those of the newest report first, the most severe first."""
        query = sa.select(CASES).where(CASES.c.investigation == self.investigation)
        if status:
            query = query.where(CASES.c.status == status)
        if assignee:
            query = query.where(CASES.c.assignee == assignee)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        found = [_case_file(dict(row)) for row in rows]
        return sorted(
            found,
            key=lambda case: (
                not case.is_in_report,
                -SEVERITIES.index(case.severity),
                case.first_seen,
                case.id,
            ),
        )

    def case(self, name: str) -> CaseFile:
        """Return one case with tasks and history.

        Raises:
            CaseBookError: there is no such case, or the name fits several.
        """
        with self.engine.connect() as connection:
            return self._read(connection, self._full_id(connection, name))

    def _read(self, connection: sa.Connection, case_id: str) -> CaseFile:
        row = connection.execute(
            sa.select(CASES).where(CASES.c.investigation == self.investigation, CASES.c.id == case_id)
        ).mappings()
        tasks = connection.execute(
            sa.select(TASKS)
            .where(TASKS.c.investigation == self.investigation, TASKS.c.case_id == case_id)
            .order_by(TASKS.c.position)
        ).mappings()
        entries = connection.execute(
            sa.select(HISTORY)
            .where(HISTORY.c.investigation == self.investigation, HISTORY.c.case_id == case_id)
            .order_by(HISTORY.c.seq)
        ).mappings()
        return msgspec.structs.replace(
            _case_file(dict(row.one())),
            tasks=tuple(msgspec.convert(_only(dict(task), Task), Task) for task in tasks),
            history=tuple(msgspec.convert(_only(dict(entry), Entry), Entry) for entry in entries),
        )

    def _full_id(self, connection: sa.Connection, name: str) -> str:
        query = sa.select(CASES.c.id).where(CASES.c.investigation == self.investigation)
        known: list[str] = list(connection.execute(query).scalars())
        fitting = [one for one in known if one.lower() == name.lower()] or [
            one for one in known if name and one.lower().startswith(name.lower())
        ]
        if len(fitting) != 1:
            what = "no case is" if not fitting else f"{len(fitting)} cases are"
            raise CaseBookError(
                f"{what} called {name}", place="case book", remedy="Look at `mailwitness case list`."
            )
        return fitting[0]

    # -- changing ----------------------------------------------------------------------------

    def note(self, name: str, text: str) -> CaseFile:
        """Write a note; notes never conflict.

        Raises:
            CaseBookError: there is no such case, or the note is empty.
        """
        if not text.strip():
            raise CaseBookError("the note is empty", place="case book", remedy="Write what you saw.")
        return self._change(name, "note", {}, {"text": text}, seen=None)

    def assign(self, name: str, assignee: str, *, seen: int | None = None) -> CaseFile:
        """Give a case to somebody; an empty name gives it back.

        Raises:
            CaseBookError: there is no such case.
            CaseChanged: somebody changed it after version ``seen``.
        """
        return self._change(name, "assign", {"assignee": assignee}, {}, seen=seen)

    def set_status(self, name: str, status: Status, *, seen: int | None = None) -> CaseFile:
        """Say how far the work on a case is; only ``decide`` closes it.

        Raises:
            CaseBookError: there is no such case.
            CaseChanged: somebody changed it after version ``seen``.
        """
        values: Fields = {"status": status} | ({"decision": ""} if status != "closed" else {})
        return self._change(name, "status", values, {}, seen=seen)

    def decide(self, name: str, decision: Decision, reason: str, *, seen: int | None = None) -> CaseFile:
        """Close a case with a verdict of its own and the reason for it.

        Raises:
            CaseBookError: there is no such case, or no reason was given.
            CaseChanged: somebody changed it after version ``seen``.
        """
        if not reason.strip():
            raise CaseBookError(
                "a decision needs a reason", place="case book", remedy="Say why in one sentence."
            )
        values = {"status": "closed", "decision": decision}
        return self._change(name, "close", values, {"reason": reason}, seen=seen)

    def mark_task(self, name: str, task: str, state: TaskState, evidence: str) -> CaseFile:
        """Mark a step of a case, with what shows that it was done.

        Raises:
            CaseBookError: there is no such case or step, or nothing shows that it was done.
        """
        if state == "done" and not evidence.strip():
            raise CaseBookError(
                "a step is done when something shows it", place=task, remedy="Name the file or the result."
            )
        with self.engine.begin() as connection:
            case_id = self._full_id(connection, name)
            where = (
                TASKS.c.investigation == self.investigation,
                TASKS.c.case_id == case_id,
                TASKS.c.id == task,
            )
            before = connection.execute(sa.select(TASKS.c.state).where(*where)).scalar()
            if before is None:
                raise CaseBookError(
                    "there is no such step", place=task, remedy=f"Look at `mailwitness case show {case_id}`."
                )
            connection.execute(TASKS.update().where(*where).values(state=state, evidence=evidence))
            fields = {"task": task, "state": [before, state], "evidence": evidence}
            self._bump(connection, case_id, "task", {}, fields, seen=None)
            return self._read(connection, case_id)

    def record_step(self, name: str, step: str, state: str, evidence: str) -> CaseFile:
        """Record that a step of the response plan was approved or done; the history holds its state.

        Raises:
            CaseBookError: there is no such case.
        """
        return self._change(name, "plan", {}, {"step": step, "state": state, "evidence": evidence}, seen=None)

    def record_effect(self, name: str, step: str, result: str, sentence: str) -> CaseFile:
        """Record what evidence collected again says of a step that was done.

        Raises:
            CaseBookError: there is no such case.
        """
        fields = {"step": step, "result": result, "sentence": sentence}
        return self._change(name, "verified", {}, fields, seen=None)

    def _change(self, name: str, action: str, values: Fields, said: Fields, *, seen: int | None) -> CaseFile:
        with self.engine.begin() as connection:
            case_id = self._full_id(connection, name)
            self._bump(connection, case_id, action, values, said, seen=seen)
            return self._read(connection, case_id)

    def _bump(
        self,
        connection: sa.Connection,
        case_id: str,
        action: str,
        values: Fields,
        said: Fields,
        *,
        seen: int | None,
    ) -> None:
        """Change a case if nobody else did meanwhile, and write that down before it counts."""
        where = (CASES.c.investigation == self.investigation, CASES.c.id == case_id)
        before = dict(connection.execute(sa.select(CASES).where(*where).with_for_update()).mappings().one())
        expected = before["version"] if seen is None else seen
        changed = connection.execute(
            CASES.update().where(*where, CASES.c.version == expected).values(version=expected + 1, **values)
        )
        if changed.rowcount != 1:
            raise CaseChanged(
                f"somebody changed the case meanwhile: it is at version {before['version']}, you saw {expected}",
                place=case_id,
                remedy=f"Look at `mailwitness case show {case_id}` and decide again.",
            )
        fields = {key: [before[key], value] for key, value in values.items() if before[key] != value} | said
        self.write_history(connection, case_id, action, fields, expected + 1)
        if self.record is not None:
            self.record(action, {"case": case_id, "version": expected + 1, **fields})

    def write_history(
        self, connection: sa.Connection, case_id: str, action: str, fields: Fields, version: int
    ) -> None:
        """Add a line to the history of a case, within the transaction of the change it tells of."""
        connection.execute(
            HISTORY.insert().values(
                investigation=self.investigation,
                case_id=case_id,
                time=self.time,
                operator=self.operator,
                action=action,
                fields=fields,
                version=version,
            )
        )


def _case_file(row: Fields) -> CaseFile:
    found: CaseFile = msgspec.convert(_only(row, CaseFile), CaseFile)
    return found


def _only(row: Fields, record: type[msgspec.Struct]) -> Fields:
    return {name: row[name] for name in record.__struct_fields__ if name in row}
