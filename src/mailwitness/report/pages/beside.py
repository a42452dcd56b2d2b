"""What lies in the case folder beside report.json and belongs on a page: custody log and case book."""

from __future__ import annotations

from typing import Any

import msgspec

JsonDict = dict[str, Any]  # Any: JSON values


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step for people, as the case book keeps it."""

    id: str = ""
    tier: str = ""
    title: str = ""
    known: str = ""
    state: str = "open"
    evidence: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a case's history."""

    time: str = ""
    operator: str = ""
    action: str = ""
    # Any: what changed, or the text of a note.
    fields: dict[str, Any] = {}
    version: int = 0

    def words(self) -> str:
        """Say what was done: a change as before and after, a note as its text."""
        return "; ".join(f"{name}: {_said(value)}" for name, value in self.fields.items())


class Worked(msgspec.Struct, frozen=True, kw_only=True):
    """What people made of a case."""

    status: str = "open"
    assignee: str = ""
    decision: str = ""
    tasks: tuple[Step, ...] = ()
    history: tuple[Entry, ...] = ()


class Custody(msgspec.Struct, frozen=True, kw_only=True):
    """The custody log and what checking its chain gave."""

    is_unbroken: bool = False
    entries: int = 0
    problems: tuple[str, ...] = ("the custody log was not read",)
    head: str = ""
    # Any: the lines of the log are open objects.
    lines: tuple[dict[str, Any], ...] = ()


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Everything beside the report.

    Attributes:
        folder: the case folder, as the commands on a page name it.
        digest: SHA-256 that the custody log records for the report.
        people: by case id; empty when nobody has opened the case book.
    """

    folder: str = "DIR"
    digest: str = ""
    custody: Custody = Custody()
    people: dict[str, Worked] = {}


def _said(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004 - before and after
        return f"{value[0] or 'nothing'} to {value[1] or 'nothing'}"
    return str(value)
