"""``mailwitness case``: what people do with the cases that an investigation found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

if TYPE_CHECKING:
    from mailwitness.casebook.book import CaseBook, CaseFile

case_app = App(name="case", help="List cases, read them, write notes, assign and decide them.")

_DEFAULT_CASE = Path("mailwitness-case")


@case_app.command(name="list")
def list_cases(
    *,
    case: Path = _DEFAULT_CASE,
    status: Literal["open", "in progress", "waiting", "closed"] | None = None,
    assignee: str = "",
    json: bool = False,
    now: str | None = None,
) -> int:
    """List the cases with severity, verdict, status and who works on them.

    Parameters
    ----------
    case
        Folder of the case.
    status
        Only cases of this status.
    assignee
        Only cases of this person.
    json
        Print the list as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import desk
    from mailwitness.settings import clock, database

    return desk.list_cases(
        case, now=clock(now), url=database(), status=status or "", assignee=assignee, as_json=json
    )


@case_app.command
def show(name: str, *, case: Path = _DEFAULT_CASE, json: bool = False, now: str | None = None) -> int:
    """Show one case: what was found, its steps, and its whole history.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    case
        Folder of the case.
    json
        Print it as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness import desk
    from mailwitness.settings import clock, database

    return desk.show_case(case, name, now=clock(now), url=database(), as_json=json)


@case_app.command
def timeline(
    name: str,
    *,
    case: Path = _DEFAULT_CASE,
    phase: list[str] | None = None,
    actor: str = "",
    mailbox: str = "",
    since: str | None = None,
    until: str | None = None,
    limit: int = 1000,
    json: bool = False,
) -> int:
    """Show every act of a case's people and upon its mailboxes, over all sources, in order.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    case
        Folder of the case.
    phase
        Only this phase (access, collection, exfiltration, hiding, clearing, after, other); may be given more than once.
    actor
        Only acts of who has this in his name.
    mailbox
        Only acts upon mailboxes with this in their name.
    since
        Begin, ISO 8601 UTC; default a day before the first finding.
    until
        End, ISO 8601 UTC; default a day after the last finding.
    limit
        Most acts to print.
    json
        Print them as JSON.
    """
    from mailwitness import desk
    from mailwitness.settings import clock
    from mailwitness.timeline import Filter

    wanted = Filter(
        phases=tuple(phase or ()),
        actor=actor,
        mailbox=mailbox,
        since=clock(since).replace(tzinfo=None) if since else None,
        until=clock(until).replace(tzinfo=None) if until else None,
    )
    return desk.show_timeline(case, name, wanted=wanted, limit=limit, as_json=json)


@case_app.command
def note(name: str, text: str, *, case: Path = _DEFAULT_CASE, now: str | None = None) -> int:
    """Write a note into a case.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    text
        The note.
    case
        Folder of the case.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    return _change(case, now, lambda book: book.note(name, text))


@case_app.command
def assign(
    name: str, assignee: str, *, case: Path = _DEFAULT_CASE, seen: int | None = None, now: str | None = None
) -> int:
    """Give a case to somebody.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    assignee
        Who works on it; empty gives it back.
    case
        Folder of the case.
    seen
        Version of the case you looked at; the change is refused when somebody was quicker.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    return _change(case, now, lambda book: book.assign(name, assignee, seen=seen))


@case_app.command
def status(
    name: str,
    to: Literal["open", "in progress", "waiting"],
    *,
    case: Path = _DEFAULT_CASE,
    seen: int | None = None,
    now: str | None = None,
) -> int:
    """Say how far the work on a case is; "open" opens a closed case again.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    to
        The status.
    case
        Folder of the case.
    seen
        Version of the case you looked at; the change is refused when somebody was quicker.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    return _change(case, now, lambda book: book.set_status(name, to, seen=seen))


@case_app.command
def close(
    name: str,
    *,
    decision: Literal["attack", "suspicious", "authorised", "noise", "undetermined"],
    reason: str,
    case: Path = _DEFAULT_CASE,
    seen: int | None = None,
    now: str | None = None,
) -> int:
    """Decide a case and close it.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    decision
        What it was.
    reason
        Why, in a sentence.
    case
        Folder of the case.
    seen
        Version of the case you looked at; the change is refused when somebody was quicker.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    return _change(case, now, lambda book: book.decide(name, decision, reason, seen=seen))


@case_app.command
def task(
    name: str,
    step: str,
    state: Literal["open", "done", "not needed"],
    *,
    evidence: str = "",
    case: Path = _DEFAULT_CASE,
    now: str | None = None,
) -> int:
    """Mark a step of a case.

    Parameters
    ----------
    name
        Id of the case, or its beginning.
    step
        Id of the step, as `case show` prints it.
    state
        What became of it.
    evidence
        What shows that it was done: a file, a ticket, a result.
    case
        Folder of the case.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    return _change(case, now, lambda book: book.mark_task(name, step, state, evidence))


def _change(case: Path, now: str | None, act: Callable[[CaseBook], CaseFile]) -> int:
    from mailwitness import desk
    from mailwitness.settings import clock, database

    return desk.change(case, now=clock(now), url=database(), act=act)
