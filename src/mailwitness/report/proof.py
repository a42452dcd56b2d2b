"""The parts of the Markdown report that say what existed and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.report import wording
from mailwitness.report.text import safe_markdown
from mailwitness.report.wording import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import (
        Ledger,
        LedgerMailbox,
        LedgerRow,
        Recoverability,
        SettingsOverTime,
        SettingVersion,
        Visibility,
    )

MAILBOXES_SHOWN = 12
ROWS_SHOWN = 100
_HEADS = (
    "What became of it",
    "Message",
    "Last there (UTC)",
    "Last opened",
    "Removed",
    "Can be saved",
    "Proved by",
)


def ledger_lines(ledger: Ledger | None) -> Iterator[str]:
    """Yield the lines about single messages; none for a report that was written before there was a ledger."""
    if ledger is None:
        return
    yield from ("", "## What existed and what became of it", "", safe_markdown(ledger.sentence, 400))
    for box in ledger.mailboxes[:MAILBOXES_SHOWN]:
        yield from ("", f"### {safe_markdown(box.mailbox or 'No mailbox named', 120)}", "")
        yield from (f"- {safe_markdown(sentence, 500)}" for sentence in box.sentences[:20])
        yield from _messages(box)
    left = len(ledger.mailboxes) - MAILBOXES_SHOWN
    if left > 0:
        yield from ("", f"*{number(left)} more mailboxes:* `jq .ledger.mailboxes report.json`")


def _messages(box: LedgerMailbox) -> Iterator[str]:
    if not box.rows:
        return
    yield from ("", f"| {' | '.join(_HEADS)} |", f"|{'|'.join([' --- '] * len(_HEADS))}|")
    yield from (f"| {' | '.join(_cells(row))} |" for row in box.rows[:ROWS_SHOWN])
    left = box.rows_total - min(len(box.rows), ROWS_SHOWN)
    if left > 0:
        yield from ("", f"*{number(left)} more messages:* `mailwitness ledger --gone --case DIR`")


def _cells(row: LedgerRow) -> tuple[str, ...]:
    weak = "" if row.key_strength == "strong" else f" ({safe_markdown(row.key_strength, 20)} key)"
    opened = f"{wording.moment(row.read_at)} {safe_markdown(row.read_by, 80)}" if row.read_at else ""
    removed = (
        f"{wording.moment(row.removed_at)} {safe_markdown(row.removal, 40)} {safe_markdown(row.removed_by, 80)}"
        if row.removed_at
        else ""
    )
    return (
        safe_markdown(row.verdict, 40) + weak,
        f"{safe_markdown(row.subject or 'no subject', 120)}<br>{safe_markdown(row.message_id or row.key, 120)}",
        wording.moment(row.last_seen) if row.last_seen else "",
        opened,
        removed,
        _saved(row),
        safe_markdown(row.proofs, 120),
    )


def _saved(row: LedgerRow) -> str:
    if not row.state:
        return ""
    until = (
        f"until {wording.moment(row.until)}{'' if row.is_exact else ' (by default)'}<br>" if row.until else ""
    )
    return until + safe_markdown(row.state, 160)


def recoverability_lines(part: Recoverability | None) -> Iterator[str]:
    """Yield the steps that save what is left, the most urgent first; none for a report that was written before there was a clock."""
    if part is None:
        return
    yield from ("", "## What can still be saved", "", safe_markdown(part.sentence, 400))
    if part.steps:
        yield from (
            "",
            "| Until (UTC) | Mailbox | Messages | Where | What removes it | What to do |",
            "| --- | --- | --- | --- | --- | --- |",
        )
    for step in part.steps:
        cells = (
            wording.until(step),
            safe_markdown(step.mailbox or "files", 120),
            number(step.messages),
            safe_markdown(step.state + (f" ({step.hold})" if step.hold else ""), 200),
            safe_markdown(step.removed_by, 200)
            + (f"<br>{safe_markdown(step.caveat, 300)}" if step.caveat else ""),
            safe_markdown(step.step, 400),
        )
        yield f"| {' | '.join(cells)} |"
    if part.steps_total > len(part.steps):
        yield from (
            "",
            f"*{number(part.steps_total - len(part.steps))} more:* `mailwitness query Recoverability --case DIR`",
        )


def settings_lines(part: SettingsOverTime | None) -> Iterator[str]:
    """Yield the versions of rules and settings; none for a report that was written before they were part of it."""
    if part is None:
        return
    yield from ("", "## Settings over time", "", safe_markdown(part.sentence, 300))
    if part.versions:
        yield from (
            "",
            "| From (UTC) | To (UTC) | Rule or setting | What it did | Made by | Messages |",
            "| --- | --- | --- | --- | --- | --- |",
        )
    for one in part.versions[:ROWS_SHOWN]:
        cells = (
            wording.moment(one.from_),
            wording.moment(one.to) if one.to else "",
            safe_markdown(
                ", ".join(
                    part
                    for part in (
                        f"{one.kind} {one.name}",
                        one.mailbox or one.host or "organisation",
                        one.traits,
                    )
                    if part
                ),
                300,
            ),
            safe_markdown(one.told(), 300),
            safe_markdown(" ".join(part for part in (one.by, one.reason) if part) or one.origin, 300),
            _taken(one),
        )
        yield f"| {' | '.join(cells)} |"
    if part.versions_total > ROWS_SHOWN:
        yield from (
            "",
            f"*{number(part.versions_total - ROWS_SHOWN)} more:* `mailwitness settings --case DIR`",
        )


def _taken(one: SettingVersion) -> str:
    """Say how many messages a version took, may have taken, and what the ledger says of them."""
    told = [] if one.hit is None else [number(one.hit)]
    told += [f"{number(one.possible)} more possible"] if one.possible else []
    told += [f"{number(count.messages)} {safe_markdown(count.verdict, 40)}" for count in one.ledger]
    return ", ".join(told)


def visibility_lines(part: Visibility | None) -> Iterator[str]:
    """Yield the lines about what could have been seen; none for a report that was written before they were."""
    if part is None:
        return
    yield from ("", "## What could have been seen", "", safe_markdown(part.sentence, 300))
    ill = [(lane, one) for lane in part.lanes for one in lane.stretches if one.state != "seen"]
    ill.sort(key=lambda pair: pair[1].state != "blind")
    if ill:
        yield from ("", "| Source | State | From (UTC) | To (UTC) | Why |", "| --- | --- | --- | --- | --- |")
    for lane, one in ill[:ROWS_SHOWN]:
        name = f"{lane.source}, {lane.subject}" if lane.subject else lane.source
        cells = (
            safe_markdown(name, 120),
            safe_markdown(one.state, 20),
            wording.moment(one.from_),
            wording.moment(one.to),
        )
        yield f"| {' | '.join(cells)} | {safe_markdown(one.reason, 300)} |"
    if len(ill) > ROWS_SHOWN:
        yield from ("", f"*{number(len(ill) - ROWS_SHOWN)} more:* `mailwitness query Visibility --case DIR`")
