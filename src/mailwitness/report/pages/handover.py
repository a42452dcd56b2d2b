"""The hand-over note for tier 2: what is known, how, what was tried, what is open, and where to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.report import decisions, wording
from mailwitness.report.chain_lines import step_lines
from mailwitness.report.pages import common
from mailwitness.report.pages.blocks import Block, Bullets, Commands, Facts, Heading, Page, Table, Text, cut
from mailwitness.report.timeline import fold, read_timeline
from mailwitness.report.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import Case, Report
    from mailwitness.report.pages.beside import Beside, Worked

CASES_SHOWN = 5
TIMELINE_SHOWN = 40
FINDINGS_SHOWN = 25
CHAINS_SHOWN = 6


def handover_page(report: Report, beside: Beside) -> Page:
    """Return the note that the next analyst starts from."""
    return Page(
        kind="Hand-over to tier 2",
        title=wording.headline(report),
        outcome=report.summary.outcome,
        blocks=tuple(_blocks(report, beside)),
        foot=common.foot(report),
    )


def _blocks(report: Report, beside: Beside) -> Iterator[Block]:
    cases = common.pressing(report)
    if not cases:
        yield Text("No case needs somebody.", "lead")
    for case in cases[:CASES_SHOWN]:
        yield from _case(report, case, beside)
    if len(cases) > CASES_SHOWN:
        yield Heading(f"{count_of(len(cases) - CASES_SHOWN, 'more case')}")
        yield Bullets(
            tuple(f"{one.id}: {one.title}, {common.verdict_of(one)}" for one in cases[CASES_SHOWN:60])
        )
    yield Heading("What can still be saved")
    yield from decisions.saving_blocks(report, 20, with_steps=True)
    yield Heading("What this evidence cannot answer")
    yield Bullets(common.unseen(report, None) or ("Every rule had the evidence it needs.",))


def _case(report: Report, case: Case, beside: Beside) -> Iterator[Block]:
    yield Heading(f"{case.id}: {case.title}")
    yield Facts(tuple(_facts(case, beside)))
    yield Bullets(case.reasons[:12])
    if case.visibility:
        yield Text(case.visibility, "warning")
    yield from _timeline(case)
    yield from _chains(case)
    yield from decisions.question_blocks(case)
    yield from _usual(case)
    yield from _findings(report, case)
    yield from _work(case, beside.people.get(case.id))
    yield from decisions.plan_blocks(report, case)
    yield Heading("Where to go on", 3)
    yield Commands(
        (
            f"mailwitness case timeline {case.id} --case {beside.folder}",
            f"mailwitness case show {case.id} --case {beside.folder}",
            f"mailwitness ledger --gone --case {beside.folder}",
        )
    )


def _facts(case: Case, beside: Beside) -> Iterator[tuple[str, str]]:
    yield "Verdict", f"{common.verdict_of(case)}; severity {wording.severity_of(case.severity)}"
    yield "When", wording.span(case.first_seen, case.last_seen)
    for name, values in (
        ("Actors", case.actors), ("Mailboxes", case.mailboxes), ("Addresses", case.addresses),
        ("Sessions", case.sessions), ("Hosts", case.hosts), ("Techniques", case.techniques),
    ):  # fmt: skip
        if values:
            yield name, common.listed(values, 12)
    if at_work := common.decided(beside, case):
        yield "Case book", at_work


def _timeline(case: Case) -> Iterator[Block]:
    stretches, left = fold(read_timeline(case.timeline), TIMELINE_SHOWN)
    rows = tuple(
        (
            wording.moment(line.entry.time), stretch.label, line.entry.what + wording.times(line.times),
            _who(line.entry.actor, line.entry.mailbox),
        )
        for stretch in stretches
        for line in stretch.lines
    )  # fmt: skip
    if rows:
        yield Heading("Timeline (UTC)", 3)
        more = f"{left:,} more: mailwitness case timeline {case.id}" if left else ""
        yield Table(
            "Timeline", ("Time", "Phase", "What happened", "By whom, in which mailbox"), rows, left=more
        )


def _who(actor: str, mailbox: str) -> str:
    """Name a mailbox only where it is not the actor's own."""
    if not mailbox or mailbox.lower() == actor.lower():
        return actor
    return f"{actor} in {mailbox}" if actor else f"in {mailbox}"


def _chains(case: Case) -> Iterator[Block]:
    if case.chains:
        yield Heading("Chains: which steps belong together, and which are missing", 3)
    for chain in case.chains[:CHAINS_SHOWN]:
        yield Text(chain.title)
        yield Bullets(
            tuple(
                f"{line.when}: {line.what}" + (f" ({line.about})" if line.about else "")
                for line in step_lines(chain)
            )
        )


def _usual(case: Case) -> Iterator[Block]:
    told = [one.words for one in case.baseline if one.answer == "unusual"][:8]
    open_ = [one for one in case.baseline if one.answer == "not_evaluated"]
    if told or open_:
        yield Heading("Usual for them?", 3)
        rest = (
            [f"{count_of(len(open_), 'comparison').capitalize()} not evaluated: {open_[0].words}"]
            if open_
            else []
        )
        yield Bullets((*told, *rest))


def _findings(report: Report, case: Case) -> Iterator[Block]:
    ranked = sorted(
        case.findings,
        key=lambda one: (wording.SEVERITIES.index(wording.severity_of(one.severity)), one.time or "9"),
    )
    rows = [
        (
            wording.severity_of(one.severity), wording.moment(one.time),
            one.title + wording.times(one.count), common.proof_of(report, one),
        )
        for one in ranked
    ]  # fmt: skip
    shown, left = cut(rows, FINDINGS_SHOWN, "the technical report")
    yield Heading(f"{count_of(len(rows), 'finding').capitalize()}, worst first", 3)
    yield Table("Findings", ("Severity", "Time (UTC)", "Finding", "Proof"), shown, left=left)


def _work(case: Case, worked: Worked | None) -> Iterator[Block]:
    yield Heading("Done, open, decided", 3)
    notes = [f"{wording.moment(one.time)} {one.operator}, {one.action}: {one.words()}" for one in worked.history] if worked else []  # fmt: skip
    yield from decisions.task_blocks(case, worked)
    yield Bullets(tuple(notes[:60])) if notes else Text("Nobody has written into the case book yet.")
