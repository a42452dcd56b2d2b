"""The summary on the terminal: what a tired analyst has to know in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.report import wording
from mailwitness.report.chain_lines import step_lines
from mailwitness.report.document import read_report
from mailwitness.report.text import visible
from mailwitness.report.wording import count_of, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from mailwitness.report.document import Case, Finding, Report

CASES_SHOWN = 5
CHAINS_SHOWN = 1
NOT_EVALUATED_SHOWN = 5

_COLOURS = {
    "found": "bold red", "clear": "bold green", "not_evaluated": "bold yellow",
    "critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "informational": "dim",
}  # fmt: skip
_LABEL_WIDTH = 15
_WIDEST = 100  # Columns; longer lines are hard to read.

_Row = tuple[str, str, str]
"""What one row shows: label, text, and a key of `_COLOURS` for the label (empty: quiet)."""


def print_summary(report: dict[str, Any], console: Console, report_file: str = "") -> None:
    """Print outcome, the worst cases with their proof, what was not evaluated, and where the report is.

    Nothing from the evidence reaches the terminal but printable characters.
    Colour is the console's decision: none with NO_COLOR, on a pipe, or in a file.

    Args:
        report: the content of report.json.
        console: where to print; its width is used up to 100 columns.
        report_file: path of the HTML page, printed last and never broken.

    Raises:
        msgspec.ValidationError: the report does not have the structure of report.json.
    """
    document = read_report(report)
    for paragraph in (_outcome(document), *_cases(document), _proof_of(document), _not_evaluated(document)):
        rows = list(paragraph)
        if rows:
            _print_rows(rows, console)
            console.print()
    if report_file:
        line = f"{'Report':<{_LABEL_WIDTH}}{visible(report_file, 4_000)}"
        console.print(_encodable(line, console), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _outcome(report: Report) -> Iterator[_Row]:
    outcome = wording.outcome_of(report.summary.outcome)
    yield wording.OUTCOMES[outcome].upper(), visible(wording.headline(report), 240), outcome
    yield from (("", visible(sentence, 240), "") for sentence in report.summary.sentences[1:3])
    records = sum(entry.records for entry in report.intake)
    read = f"{count_of(records, 'record')} from {count_of(len(report.intake), 'file')}"
    run = f"{count_of(len(report.rules), 'rule')}, {count_of(len(report.cases), 'case')}"
    yield "", f"{read}, {number(report.quarantine_total)} quarantined; {run}.", ""


def _cases(report: Report) -> Iterator[Iterator[_Row]]:
    ranked = sorted(
        report.cases, key=lambda case: wording.SEVERITIES.index(wording.severity_of(case.severity))
    )
    for case in ranked[:CASES_SHOWN]:
        yield _case(report, case)
    if len(ranked) > CASES_SHOWN:
        left = count_of(len(ranked) - CASES_SHOWN, "more case", "more cases")
        yield iter([("", f"and {left} in the report", "")])


def _case(report: Report, case: Case) -> Iterator[_Row]:
    severity = wording.severity_of(case.severity)
    yield severity.upper(), f"{visible(case.id, 20)}  {visible(case.title, 160)}", severity
    verdict = wording.VERDICTS.get(case.verdict, wording.VERDICTS["undetermined"])
    yield (
        "  verdict",
        verdict + (f", {visible(case.confidence, 20)} confidence" if case.confidence else ""),
        "",
    )
    explained = [reason for reason in case.reasons if reason.startswith("explained: ")]
    if explained:
        yield "  because", visible(explained[0].removeprefix("explained: "), 240), ""
    if case.actors:
        yield "  who", _some(case.actors), ""
    if case.mailboxes:
        yield "  mailbox", _some(case.mailboxes), ""
    yield "  when", wording.span(case.first_seen, case.last_seen), ""
    unusual = [one.words for one in case.baseline if one.answer == "unusual"]
    if unusual:
        yield "  unusual", visible(unusual[0], 240), ""
    for chain in case.chains[:CHAINS_SHOWN]:
        more = f" and {number(len(case.chains) - 1)} more" if len(case.chains) > 1 else ""
        yield "  chain", visible(chain.title, 160) + more, ""
        for line in step_lines(chain):
            yield "", f"{visible(line.when, 40)}  {visible(line.what, 160)}", ""
    yield from _decision(case)
    proof = wording.strongest(case)
    if proof:
        yield "  proof", _proof(report, proof), ""


def _decision(case: Case) -> Iterator[_Row]:
    if case.escalation is not None:
        decision = wording.DECISIONS.get(case.escalation.decision, wording.DECISIONS["keep"])
        because = (case.escalation.reasons_for or case.escalation.reasons_against)[:1]
        yield "  decision", visible(": ".join((decision, *because)), 240), ""


def _proof_of(report: Report) -> Iterator[_Row]:
    """Say in one sentence what became of the messages, when that was computed."""
    if report.ledger is not None and report.ledger.is_computed:
        yield "MESSAGES", visible(report.ledger.sentence, 400), ""
    if report.recoverability is not None and report.recoverability.steps:
        yield "TO SAVE", visible(report.recoverability.sentence, 400), ""


def _not_evaluated(report: Report) -> Iterator[_Row]:
    ranked = sorted(report.not_evaluated, key=lambda one: not one.blocking)
    for at, one in enumerate(ranked[:NOT_EVALUATED_SHOWN]):
        yield ("" if at else "NOT EVALUATED"), visible(one.what, 160), "not_evaluated"
        yield ("  to do" if one.remedy else "  reason"), visible(one.remedy or one.reason, 200), ""
    if len(ranked) > NOT_EVALUATED_SHOWN:
        yield "", f"and {number(len(ranked) - NOT_EVALUATED_SHOWN)} more in the report", ""


def _some(names: tuple[str, ...]) -> str:
    more = f" and {number(len(names) - 2)} more" if len(names) > 2 else ""  # noqa: PLR2004 - two fit a line
    return ", ".join(visible(name, 80) for name in names[:2]) + more


def _proof(report: Report, finding: Finding) -> str:
    """Name the proving record as editors and compilers do: file:line."""
    file_name = visible(wording.file_name(report.exhibit(finding.exhibit)), 120)
    line = finding.position.line
    return f"{file_name}:{line}" if line is not None else f"{file_name}, {wording.place(finding.position)}"


def _print_rows(rows: list[_Row], console: Console) -> None:
    """Print labels in one column and their text, wrapped, in another; no line ends in blanks."""
    # rich takes 60 ms to import: only the commands that print pay for it.
    from rich.text import Text  # noqa: PLC0415

    width = max(min(console.width, _WIDEST) - _LABEL_WIDTH, 20)
    for label, words, colour in rows:
        text = Text(_encodable(words, console), style="bold" if colour else "")
        for at, line in enumerate(text.wrap(console, width, overflow="fold")):
            line.rstrip()
            begin = "" if at else _encodable(label, console)
            whole = Text.assemble((f"{begin:<{_LABEL_WIDTH}}", _COLOURS.get(colour, "dim")), line)
            console.print(whole, highlight=False, soft_wrap=True)


def _encodable(words: str, console: Console) -> str:
    """Replace what the terminal's encoding cannot write, so that printing never fails half-way."""
    encoding = console.encoding or "ascii"
    return words.encode(encoding, "backslashreplace").decode(encoding)
