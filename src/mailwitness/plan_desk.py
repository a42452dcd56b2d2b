"""Show, approve and mark the steps of a plan, each recorded in case book and custody log; check foreign playbooks."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import desk
from mailwitness.content.actions import actions
from mailwitness.errors import CaseBookError, ConfigError
from mailwitness.evidence.store import CaseFolder
from mailwitness.report.text import visible
from mailwitness.response import effects, foreign, planning
from mailwitness.verification import read_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.casebook.book import CaseFile, Entry
    from mailwitness.response.planning import Step

JsonDict = dict[str, Any]  # Any: JSON values
_OK, _FOUND, _FAILED = 0, 1, 2
# More than any playbook has; a log given by mistake is not read into memory.
_MOST_BYTES = 8 * 1024 * 1024


def show(case: Path, name: str, *, now: dt.datetime, url: str, as_json: bool) -> int:
    """Print the steps of a case with their state."""
    with desk.open_book(case, now=now, url=url) as book:
        found = book.case(name)
    steps = _plan(case, found)
    states = _states(found)
    if as_json:
        listed = [{**msgspec.to_builtins(one), "state": states.get(one.id, "open")} for one in steps]
        print(json.dumps(listed, indent=1))
        return _OK
    phase = ""
    for step in steps:
        if step.phase != phase:
            phase = step.phase
            print(f"\n{phase.capitalize()}")
        _print(step, states.get(step.id, "open"))
    return _OK


def _print(step: Step, state: str) -> None:
    about = f" {visible(step.value, 120)}" if step.value else ""
    about += f" in {visible(step.mailbox, 120)}" if step.mailbox else ""
    print(f"  [{state}] {step.id}: {step.title}{':' if about else ''}{about}")
    print(f"      {step.do} Approved by: {step.approves}. Needs: {step.permission} ({step.role}).")
    if step.after:
        print(f"      first: {', '.join(step.after)}")
    if step.unpreserved:
        print(f"      nothing here preserves {', '.join(step.unpreserved)}: decide whether that is lost")
    for shell, line in step.lines:
        print(f"      {shell}: {visible(line, 2000)}")
    if step.note:
        print(f"      {step.note}")
    print(f"      verify: {step.verify} Undo: {step.undo}")


def approve(case: Path, name: str, step: str, *, now: dt.datetime, url: str) -> int:
    """Approve a step."""
    return _record(case, name, step, "approved", "", now=now, url=url)


def done(case: Path, name: str, step: str, evidence: str, *, now: dt.datetime, url: str) -> int:
    """Mark an approved step as done."""
    if not evidence.strip():
        raise CaseBookError(
            "a step is done when something shows it", place=step, remedy="Name the file or the result."
        )
    return _record(case, name, step, "done", evidence, now=now, url=url)


def _record(
    case: Path, name: str, step: str, state: str, evidence: str, *, now: dt.datetime, url: str
) -> int:
    with desk.open_book(case, now=now, url=url) as book:
        found = book.case(name)
        steps = _plan(case, found)
        states = _states(found)
        finished = [one.id for one in steps if states.get(one.id) == "done"]
        refused = planning.destroys([*finished, step], steps)
        if refused:
            raise CaseBookError(
                refused, place=step, remedy="Do these steps first and mark them with `mailwitness plan done`."
            )
        if state == "done" and states.get(step) != "approved":
            raise CaseBookError(
                "the step is not approved",
                place=step,
                remedy="Have it approved with `mailwitness plan approve`.",
            )
        book.record_step(found.id, step, state, evidence)
    print(f"{step}: {state}")
    return _OK


def _plan(case: Path, found: CaseFile) -> list[Step]:
    report = read_report(CaseFolder(case, create=False))
    one = next((item for item in report["cases"] if item["id"] == found.id), None)
    if one is None:
        raise CaseBookError(
            "the newest report no longer holds the case",
            place=found.id,
            remedy="Look at `mailwitness case list`.",
        )
    return planning.from_report(report, one)


def _states(found: CaseFile) -> dict[str, str]:
    """Return the newest state of each step, from the history that only grows."""
    entries = [entry.fields for entry in found.history if entry.action == "plan"]
    return {str(fields["step"]): str(fields["state"]) for fields in entries}


def verify(case: Path, name: str, steps: Sequence[str], *, now: dt.datetime, url: str, as_json: bool) -> int:
    """Judge the steps that were marked as done by the newest evidence; record and print what it says."""
    report = read_report(CaseFolder(case, create=False))
    with desk.open_book(case, now=now, url=url) as book:
        found = book.case(name)
    marked = {str(e.fields["step"]): e for e in found.history if _is_done(e)}
    unmarked = [step for step in steps if step not in marked]
    if unmarked or not marked:
        raise CaseBookError(
            "the step was not marked as done" if unmarked else "no step was marked as done",
            place=unmarked[0] if unmarked else found.id,
            remedy="Mark it with `mailwitness plan done`.",
        )
    # The case is locked while it is completed from its originals, so the book is opened once more afterwards.
    checked = _checked(case, report, found, {step: marked[step] for step in steps or marked})
    with desk.open_book(case, now=now, url=url) as book:
        for result in checked:
            book.record_effect(found.id, result.step, result.result, result.sentence)
    _print_checked(checked, as_json=as_json)
    results = {result.result for result in checked}
    return _FOUND if "contradicted" in results else _FAILED if "not evaluated" in results else _OK


def _checked(
    case: Path, report: JsonDict, found: CaseFile, marked: dict[str, Entry]
) -> list[effects.Checked]:
    planned = {step.id: step for step in _plan(case, found)}
    known = {action.id: action for action in actions()}
    one = next(item for item in report["cases"] if item["id"] == found.id)
    with desk.open_acts(case, report) as connection:
        return [
            effects.check(
                connection,
                planned[step],
                known[planned[step].action],
                case=one,
                intake=report["intake"],
                since=dt.datetime.fromisoformat(entry.time).replace(tzinfo=None),
                evidence=str(entry.fields["evidence"]),
            )
            for step, entry in marked.items()
            if step in planned
        ]


def _is_done(entry: Entry) -> bool:
    return entry.action == "plan" and entry.fields["state"] == "done"


def _print_checked(checked: list[effects.Checked], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([msgspec.to_builtins(result) for result in checked], indent=1))
        return
    for result in checked:
        place = f" ({result.exhibit}#{result.record})" if result.record >= 0 else ""
        print(f"[{result.result}] {result.step}: {visible(result.sentence, 500)}{place}")


def lint(files: Sequence[Path]) -> int:
    """Print the faults of playbooks; exit code 0 for none, 1 for some."""
    if not files:
        raise ConfigError("no playbook was named", place="plan lint", remedy="Name a file.")
    count = 0
    for path in files:
        for one in foreign.lint(_text(path)):
            count += 1
            place = f"{visible(str(path), 400)}:{one.line}"
            print(
                f"{place}: {one.fault}: {visible(one.text, 200)}\n  why: {one.why}\n  instead: {one.instead}"
            )
    print(f"{count} faults")
    return _FOUND if count else _OK


def _text(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            content = handle.read(_MOST_BYTES + 1)
        text = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the playbook cannot be read", place=str(path), remedy="Give a text file in UTF-8."
        ) from error
    if len(content) > _MOST_BYTES or not text.strip():
        raise ConfigError(
            "the playbook is empty or larger than 8 MiB", place=str(path), remedy="Give the playbook itself."
        )
    return text
