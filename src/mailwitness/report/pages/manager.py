"""The summary for management, one sheet: what happened, to whom, how sure, what is lost, what can be saved, what to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.report import decisions, wording
from mailwitness.report.pages import common
from mailwitness.report.pages.blocks import Block, Bullets, Facts, Heading, Page, Table, Text
from mailwitness.report.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import Case, Report
    from mailwitness.report.pages.beside import Beside

# One sheet: more of anything goes to the technical report.
_REASONS = 4
_LOST = 5
_SAVED = 3


def manager_page(report: Report, beside: Beside) -> Page:
    """Return the sheet; it speaks of the worst case and counts the others."""
    cases = common.pressing(report)
    return Page(
        kind="Summary for management",
        title=_title(report, cases),
        outcome=report.summary.outcome,
        blocks=tuple(_blocks(report, cases, beside)),
        foot=common.foot(report),
    )


def _title(report: Report, cases: tuple[Case, ...]) -> str:
    if not cases:
        return wording.headline(report)
    worst = cases[0]
    verdict = wording.VERDICTS.get(worst.verdict, wording.VERDICTS["undetermined"])
    boxes = count_of(len(worst.mailboxes), "mailbox", "mailboxes")
    return f"{verdict}: evidence in {boxes} was removed or hidden, {common.verdict_of(worst).lower().partition(', ')[2] or 'confidence not stated'}"


def _blocks(report: Report, cases: tuple[Case, ...], beside: Beside) -> Iterator[Block]:
    worst = cases[0] if cases else None
    if worst is not None:
        yield Heading("What happened, and to whom")
        yield Facts(tuple(_who(worst, beside)))
        yield Table("Course of events", ("Phase", "First at (UTC)", "What"), common.phases_of(worst))
    if len(cases) > 1:
        others = count_of(len(cases) - 1, "further case")
        yield Text(f"{others.capitalize()}, among them: {cases[1].title} ({common.verdict_of(cases[1])}).")
    yield Heading("How sure this is")
    yield Bullets(((*(worst.reasons[:_REASONS] if worst else ()), *common.unseen(report, worst)))
                  or ("Every rule had the evidence it needs, and every record could be read.",))  # fmt: skip
    yield Heading("What is lost")
    yield Bullets(tuple(_lost(report, worst)))
    yield Heading("What can still be saved, and until when")
    yield from decisions.saving_blocks(report, _SAVED, with_steps=False)
    yield Heading("What to decide today")
    yield from decisions.today_blocks(cases, beside)


def _who(case: Case, beside: Beside) -> Iterator[tuple[str, str]]:
    if case.mailboxes:
        yield "Mailboxes", common.listed(case.mailboxes)
    if case.actors:
        yield "Through", common.listed(case.actors)
    if case.addresses:
        yield "From", common.listed(case.addresses)
    yield "When", wording.span(case.first_seen, case.last_seen)
    if at_work := common.decided(beside, case):
        yield "Case book", at_work


def _lost(report: Report, case: Case | None) -> Iterator[str]:
    if report.ledger is None or not report.ledger.is_computed:
        reason = (
            report.ledger.reason if report.ledger else "this report was written before there was a ledger"
        )
        yield f"Not evaluated, message by message: {reason}."
        return
    yield report.ledger.sentence
    names = {name.lower() for name in case.mailboxes} if case else set()
    boxes = [box for box in report.ledger.mailboxes if not names or box.mailbox.lower() in names]
    yield from [f"{box.mailbox}: {sentence}" for box in boxes for sentence in box.sentences[:1]][:_LOST]
