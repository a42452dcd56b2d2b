"""The report as Markdown: the same content as the page, shorter, for tickets and wikis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.report import wording
from mailwitness.report.chain_lines import CHAINS_SHOWN, step_lines
from mailwitness.report.document import read_report
from mailwitness.report.plan_lines import plan_lines
from mailwitness.report.proof import ledger_lines, recoverability_lines, settings_lines, visibility_lines
from mailwitness.report.text import safe_markdown
from mailwitness.report.timeline import fold, read_timeline
from mailwitness.report.wording import count_of, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mailwitness.report.document import Case, Finding, Intake, Question, Report

CASES_SHOWN = 20
FINDINGS_SHOWN = 20
TIMELINE_SHOWN = 25
ROWS_SHOWN = 50
VALUES_SHOWN = 8
_QUESTIONS_SHOWN = 40


def render_markdown(report: dict[str, Any]) -> str:
    """Write the content of report.json as GitHub Flavored Markdown.

    Every text from the evidence passes `text.safe_markdown`: it stays text in
    renderers that allow HTML, forms no link and keeps to its table cell.

    Raises:
        msgspec.ValidationError: the report does not have the structure of report.json.
    """
    document = read_report(report)
    parts: list[str] = [*_verdict(document), *_not_evaluated(document)]
    for index, case in enumerate(document.cases[:CASES_SHOWN]):
        parts += _case(document, case, index)
    parts += [*_left(len(document.cases) - CASES_SHOWN, "more cases", "jq .cases report.json")]
    parts += [
        *ledger_lines(document.ledger),
        *recoverability_lines(document.recoverability),
        *settings_lines(document.settings),
        *visibility_lines(document.visibility),
    ]
    parts += [*_rules(document), *_intake(document), *_quarantine(document), *_foot(document)]
    return "\n".join(parts).strip() + "\n"


def _verdict(report: Report) -> Iterator[str]:
    outcome = wording.outcome_of(report.summary.outcome)
    yield f"# {wording.OUTCOMES[outcome]}: {safe_markdown(wording.headline(report))}"
    yield ""
    if outcome == "found" and report.summary.severity:
        yield f"Severity: **{wording.severity_of(report.summary.severity)}**."
    findings = sum(len(case.findings) for case in report.cases)
    records = sum(entry.records for entry in report.intake)
    yield (
        f"{count_of(len(report.cases), 'case').capitalize()}, {count_of(findings, 'finding')}, "
        f"{count_of(records, 'record')} from {count_of(len(report.intake), 'file')}, "
        f"{number(report.quarantine_total)} quarantined, "
        f"{number(len(report.not_evaluated))} not evaluated."
    )
    yield f"Evidence of {wording.span(report.evaluated.from_, report.evaluated.to)}."
    yield ""
    yield from (f"- {safe_markdown(sentence)}" for sentence in report.summary.sentences[1:10])


def _not_evaluated(report: Report) -> Iterator[str]:
    yield from ("", "## What could not be evaluated", "")
    if not report.not_evaluated and not report.quarantine_total:
        yield "Every rule had the evidence it needs, and every record could be read."
    for one in sorted(report.not_evaluated, key=lambda one: not one.blocking):
        blocking = " (blocks a clear verdict)" if one.blocking else ""
        remedy = f" To do: {safe_markdown(one.remedy)}" if one.remedy else ""
        yield f"- **{safe_markdown(one.what)}**{blocking}: {safe_markdown(one.reason)}{remedy}"
    if report.quarantine_total:
        yield f"- **{count_of(report.quarantine_total, 'record').capitalize()} in quarantine**, not judged."


def _case(report: Report, case: Case, index: int) -> Iterator[str]:
    severity = wording.severity_of(case.severity).capitalize()
    yield from ("", f"## {safe_markdown(case.id, 80)}, {severity}: {safe_markdown(case.title)}", "")
    confidence = f", {safe_markdown(case.confidence, 20)} confidence" if case.confidence else ""
    yield f"**{wording.VERDICTS.get(case.verdict, wording.VERDICTS['undetermined'])}**{confidence}."
    yield ""
    yield from (f"- {safe_markdown(reason, 500)}" for reason in case.reasons[:12])
    yield ""
    yield from _table(("About", "Value"), _facts(case))
    yield from _timeline(case, index)
    yield from _findings(report, case, index)
    yield from _baseline(case, index)
    yield from _chains(case, index)
    yield from _playbook(case, index)
    yield from plan_lines(report, case)


def _playbook(case: Case, index: int) -> Iterator[str]:
    if case.escalation is not None:
        yield from (
            "",
            f"### {wording.DECISIONS.get(case.escalation.decision, wording.DECISIONS['keep'])}",
            "",
        )
        yield from (f"- For: {safe_markdown(reason, 500)}" for reason in case.escalation.reasons_for[:12])
        yield from (
            f"- Against: {safe_markdown(reason, 500)}" for reason in case.escalation.reasons_against[:12]
        )
    if case.questions:
        yield from ("", "### Questions of the playbook")
    for speaks_of, answers in wording.answers_of(case.questions[:_QUESTIONS_SHOWN]):
        yield from ("", safe_markdown(speaks_of, 700), "") if speaks_of else ("",)
        yield from (_answered(one) for one in answers)
    yield from _left(
        len(case.questions) - _QUESTIONS_SHOWN, "more", f"jq '.cases[{index}].questions' report.json"
    )
    if case.tasks:
        yield from ("", "### Steps", "")
        yield from (
            f"- {safe_markdown(task.tier, 40)}: {safe_markdown(task.title)}" for task in case.tasks[:20]
        )


def _answered(one: Question) -> str:
    said = one.sentence or wording.QUESTION_ANSWERS.get(one.answer, wording.QUESTION_ANSWERS["not_evaluated"])
    return f"- **{safe_markdown(one.question)}** {safe_markdown(said, 600)}"


def _chains(case: Case, index: int) -> Iterator[str]:
    if case.chains:
        yield from ("", "### Chains (UTC)", "")
    for chain in case.chains[:CHAINS_SHOWN]:
        severity = wording.severity_of(chain.severity).capitalize()
        yield f"- **{severity}: {safe_markdown(chain.title)}**"
        for line in step_lines(chain):
            about = f" ({safe_markdown(line.about, 500)})" if line.about else ""
            yield f"  - {safe_markdown(line.when, 40)}: {safe_markdown(line.what)}{about}"
        yield from (f"  - {safe_markdown(note, 500)}" for note in chain.notes)
    yield from _left(
        len(case.chains) - CHAINS_SHOWN, "more chains", f"jq '.cases[{index}].chains' report.json"
    )


def _baseline(case: Case, index: int) -> Iterator[str]:
    if not case.baseline:
        return
    yield from ("", "### Usual for them?", "")
    for one in case.baseline[:VALUES_SHOWN]:
        yield f"- {wording.ANSWERS.get(one.answer, wording.ANSWERS['not_evaluated'])}: {safe_markdown(one.words, 400)}"
    yield from _left(len(case.baseline) - VALUES_SHOWN, "more", f"jq '.cases[{index}].baseline' report.json")


def _facts(case: Case) -> Iterator[tuple[str, str]]:
    length = wording.length_of(case.first_seen, case.last_seen)
    several = {
        "Actors": case.actors, "Mailboxes": case.mailboxes, "Addresses": case.addresses, "Hosts": case.hosts,
        "Sessions": case.sessions, "Techniques": case.techniques,
    }  # fmt: skip
    if case.visibility:
        yield "What could be seen", safe_markdown(case.visibility, 900)
    yield "When", wording.span(case.first_seen, case.last_seen) + (f" ({length})" if length else "")
    for label, values in several.items():
        if values:
            more = f" and {number(len(values) - VALUES_SHOWN)} more" if len(values) > VALUES_SHOWN else ""
            yield label, ", ".join(safe_markdown(value, 120) for value in values[:VALUES_SHOWN]) + more


def _timeline(case: Case, index: int) -> Iterator[str]:
    if not case.timeline:
        return
    stretches, left = fold(read_timeline(case.timeline), TIMELINE_SHOWN)
    yield from ("", "### Timeline (UTC)", "")
    rows = []
    for stretch in stretches:
        for line in stretch.lines:
            times = wording.times(line.times)
            record = "" if line.entry.record is None else f" record {number(line.entry.record)}"
            rows.append((
                wording.moment(line.entry.time), safe_markdown(stretch.label, 80),
                safe_markdown(line.entry.what) + times, safe_markdown(line.entry.exhibit, 80) + record,
            ))  # fmt: skip
    yield from _table(("Time", "Phase", "What happened", "Record"), rows)
    yield from _left(left, "more lines", f"jq '.cases[{index}].timeline' report.json")


def _findings(report: Report, case: Case, index: int) -> Iterator[str]:
    yield from ("", f"### {count_of(len(case.findings), 'finding').capitalize()}", "")
    rows = (_finding(report, finding) for finding in case.findings[:FINDINGS_SHOWN])
    yield from _table(("Severity", "Time (UTC)", "Finding", "Proof"), rows)
    where = f"jq '.cases[{index}].findings[{FINDINGS_SHOWN}:]' report.json"
    yield from _left(len(case.findings) - FINDINGS_SHOWN, "more findings", where)


def _finding(report: Report, finding: Finding) -> tuple[str, ...]:
    times = wording.times(finding.count)
    description = f"<br>{safe_markdown(finding.description)}" if finding.description else ""
    file_name = safe_markdown(wording.file_name(report.exhibit(finding.exhibit)), 120)
    return (
        wording.severity_of(finding.severity).capitalize(),
        wording.moment(finding.time),
        f"**{safe_markdown(finding.title)}**{times}{description}{_explained(finding)}",
        f"{safe_markdown(finding.exhibit, 80)}, {file_name}, {wording.place(finding.position)}",
    )


def _explained(finding: Finding) -> str:
    """Say why the finding may be innocent, and what its rule made of it before."""
    counted = "counted as" if finding.rated else "could be"
    listed = [
        f"<br>{counted} {wording.VERDICTS.get(one.verdict, one.verdict).lower()}: {safe_markdown(one.reason, 400)}"
        + (f" ({safe_markdown(one.reference, 120)})" if one.reference else "")
        for one in finding.explanations[:VALUES_SHOWN]
    ]
    rated = f"<br>rated {safe_markdown(finding.rated, 20)} by its rule" if finding.rated else ""
    return "".join(listed) + rated


def _rules(report: Report) -> Iterator[str]:
    yield from ("", "## Rules", "")
    outcomes = [wording.outcome_of(rule.outcome) for rule in report.rules]
    yield (
        f"{number(outcomes.count('found'))} found something, {number(outcomes.count('clear'))} "
        f"clear, {number(outcomes.count('not_evaluated'))} not evaluated."
    )
    told = [rule for rule in report.rules if wording.outcome_of(rule.outcome) != "clear"]
    told.sort(key=lambda rule: wording.outcome_of(rule.outcome) != "not_evaluated")
    rows = [
        (
            safe_markdown(rule.name), wording.OUTCOMES[wording.outcome_of(rule.outcome)],
            number(rule.findings), safe_markdown(rule.reason),
        )
        for rule in told[:ROWS_SHOWN]
    ]  # fmt: skip
    if rows:
        yield ""
        yield from _table(("Rule", "Outcome", "Findings", "Reason"), rows)
    yield from _left(len(told) - ROWS_SHOWN, "more rules", "jq .rules report.json")


def _intake(report: Report) -> Iterator[str]:
    yield from (
        "",
        "## Intake",
        "",
        "Records = loaded + duplicates + quarantined; salvaged records are among those loaded.",
        "",
    )
    heads = ("Exhibit", "File", "Records", "Loaded", "Duplicates", "Quarantined", "Salvaged", "SHA-256")
    yield from _table(heads, (_intake_row(entry) for entry in report.intake[:ROWS_SHOWN]))
    yield from _left(len(report.intake) - ROWS_SHOWN, "more files", "jq .intake report.json")


def _intake_row(entry: Intake) -> tuple[str, ...]:
    counts = (entry.records, entry.loaded, entry.duplicates, entry.quarantined, entry.salvaged)
    wrong = f"<br>**Does not add up: off by {number(abs(entry.difference))}**" if entry.difference else ""
    return (
        safe_markdown(entry.exhibit, 80), safe_markdown(entry.path) + wrong,
        *(number(count) for count in counts), safe_markdown(entry.sha256, 80),
    )  # fmt: skip


def _quarantine(report: Report) -> Iterator[str]:
    if not report.quarantine:
        return
    yield from ("", "## Quarantine", "")
    rows = [
        (
            safe_markdown(one.exhibit, 80), "" if one.line is None else number(one.line),
            "" if one.offset is None else number(one.offset), safe_markdown(one.reason),
            safe_markdown(one.start, 80),
        )
        for one in report.quarantine[:VALUES_SHOWN]
    ]  # fmt: skip
    yield from _table(("Exhibit", "Line", "Offset", "Reason", "Begins with"), rows)
    yield from _left(report.quarantine_total - len(rows), "more records", "quarantine.jsonl")


def _foot(report: Report) -> Iterator[str]:
    tool = f"{safe_markdown(report.tool.name, 80)} {safe_markdown(report.tool.version, 80)}"
    yield from ("", "---", "")
    yield (
        f"Written by {tool}, judged from {wording.moment(report.evaluated.now)} UTC. "
        f"Rule pack {safe_markdown(report.rule_pack.digest, 100)}. "
        "The proving records are in report.html and report.json."
    )


def _left(count: int, what: str, where: str) -> Iterator[str]:
    """Say how much was left out and where it is; nothing if nothing was."""
    if count > 0:
        yield from ("", f"*{number(count)} {what}:* `{where}`")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join([' --- '] * len(heads))}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
