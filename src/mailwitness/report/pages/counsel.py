"""The evidence list for counsel: exhibits with digests, who handled them, and how the other side can check it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.report import wording
from mailwitness.report.pages import common
from mailwitness.report.pages.blocks import Block, Bullets, Commands, Facts, Heading, Page, Table, Text, cut
from mailwitness.report.wording import count_of, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.report.document import Intake, Report
    from mailwitness.report.pages.beside import Beside

EXHIBITS_SHOWN = 1_000
ENTRIES_SHOWN = 1_000
# Fields of every custody entry that have columns of their own, or only chain the log.
_COLUMNS = frozenset({"seq", "time", "event", "operator", "host", "tool", "previous", "hash"})
# What a reader looks for comes first.
_FIRST = ("file", "sha256", "case", "action", "report")
# Events that name a file whose bytes were hashed as they came.
_SEALED = frozenset({"received", "sealed"})
_SHORT = 200


def counsel_page(report: Report, beside: Beside) -> Page:
    """Return the evidence list of an investigation."""
    return Page(
        kind="Evidence list with custody",
        title=f"{count_of(len(report.intake), 'exhibit').capitalize()}, evidence of "
        f"{wording.span(report.evaluated.from_, report.evaluated.to)}",
        outcome=report.summary.outcome,
        blocks=tuple(_blocks(report, beside)),
        foot=common.foot(report),
    )


def _blocks(report: Report, beside: Beside) -> Iterator[Block]:
    yield Text(wording.headline(report), "lead")
    yield Heading("What the conclusions rest on")
    yield Facts(tuple(_basis(report, beside)))
    yield Heading("Exhibits")
    yield Text(
        "Every exhibit was hashed before anything read its content. Records = loaded + duplicates + quarantined."
    )
    rows, left = cut([_exhibit(one) for one in report.intake], EXHIBITS_SHOWN, "jq .intake report.json")
    heads = ("Exhibit", "File", "Bytes", "SHA-256 and BLAKE3", "Records", "First and last event")
    yield Table("Exhibits", heads, rows, code=(3,), left=left)
    yield from _custody(beside)
    yield from _people(report, beside)
    yield Heading("What limits the conclusions")
    yield Bullets(tuple(_limits(report)))
    yield from _check(beside)


def _basis(report: Report, beside: Beside) -> Iterator[tuple[str, str]]:
    yield "Program", f"{report.tool.name} {report.tool.version}"
    yield "Rule pack", f"{count_of(report.rule_pack.rules, 'rule')}, SHA-256 {report.rule_pack.digest}"
    if report.rule_pack.parameters:
        yield "Parameters", common.listed(report.rule_pack.parameters, 40)
    if report.rule_pack.watchlists:
        yield "Local knowledge", common.listed(report.rule_pack.watchlists, 40)
    yield "Clock", f"{wording.moment(report.evaluated.now)} UTC; the same clock repeats the same conclusions"
    recorded = [str(line.get("report")) for line in beside.custody.lines if line.get("event") == "evaluated"]
    agrees = bool(recorded) and recorded[-1] == beside.digest
    said = "the custody log records the same" if agrees else "THE CUSTODY LOG DOES NOT RECORD THIS REPORT"
    yield "Report", f"SHA-256 {beside.digest} over its content without the program's version; {said}"


def _exhibit(one: Intake) -> tuple[str, ...]:
    counts = (
        f"{number(one.records)} = {number(one.loaded)} + {number(one.duplicates)} + {number(one.quarantined)}"
    )
    blake3 = f" BLAKE3 {one.blake3}" if one.blake3 else ""
    digest = f"{one.sha256}{blake3}" if one.sha256 else f"no SHA-256: it changed while it was read{blake3}"
    seen = wording.span(one.first_time, one.last_time) if one.first_time else "no event with a time"
    return (one.exhibit, one.path, number(one.size_bytes), digest, counts, seen)


def _custody(beside: Beside) -> Iterator[Block]:
    custody = beside.custody
    yield Heading("Custody")
    if custody.is_unbroken:
        yield Text(
            f"The chain of the custody log was checked and is unbroken: {count_of(custody.entries, 'entry', 'entries')}, "
            f"head {custody.head}. Only a head that was kept elsewhere shows whether lines are missing at the end."
        )
    else:
        yield Text("The custody log does not verify.", "warning")
        yield Bullets(custody.problems[:20])
    rows, left = cut([_entry(line) for line in custody.lines], ENTRIES_SHOWN, "custody.jsonl")
    heads = ("No.", "Time (UTC)", "Event", "About", "By, on", "Hash of the line")
    yield Table("Custody entries", heads, rows, code=(5,), left=left)


def _entry(line: dict[str, Any]) -> tuple[str, ...]:  # Any: an open line of JSON
    named = sorted(line.items(), key=lambda pair: pair[0] not in _FIRST)
    about = "; ".join(f"{name}: {str(value)[:_SHORT]}" for name, value in named if name not in _COLUMNS)
    return (
        str(line.get("seq", "")),
        wording.moment(str(line.get("time", ""))),
        str(line.get("event", "")),
        about,
        f"{line.get('operator', '')}, {line.get('host', '')}, {line.get('tool', '')}",
        str(line.get("hash", "")),
    )


def _people(report: Report, beside: Beside) -> Iterator[Block]:
    yield Heading("Decisions and notes")
    rows = [
        (case.id, wording.moment(entry.time), entry.operator, entry.action, entry.words())
        for case in report.cases
        if case.id in beside.people
        for entry in beside.people[case.id].history
    ]
    if not rows:
        yield Text("Nobody has written a note or a decision about these cases.")
        return
    shown, left = cut(rows, ENTRIES_SHOWN, "mailwitness case show")
    yield Table("Decisions and notes", ("Case", "Time (UTC)", "By", "Action", "What"), shown, left=left)


def _limits(report: Report) -> Iterator[str]:
    yield (
        f"{count_of(report.quarantine_total, 'record').capitalize()} could not be read and "
        f"{'was' if report.quarantine_total == 1 else 'were'} not judged."
    )
    wrong = [one.exhibit for one in report.intake if one.difference]
    if wrong:
        yield f"The counts of {common.listed(tuple(wrong))} do not add up."
    yield from common.unseen(report, None)
    yield "A conclusion names what the exhibits show; what was never written down cannot be shown by them."


def _check(beside: Beside) -> Iterator[Block]:
    yield Heading("How to check this")
    yield Bullets(
        (
            "Hash the originals with any SHA-256 program and compare with the list above.",
            (
                "Let the program do everything again: it hashes the exhibits, checks the custody chain, runs the same rules "
                "from the same clock, and compares the result with report.json."
            ),
            (
                "Check the custody log without this program: each line of custody.jsonl holds in the field previous the SHA-256 "
                "of the whole line before it, line break included; the first line holds 64 zeros."
            ),
        ),
        is_numbered=True,
    )
    sealed = [
        str(line["file"]) for line in beside.custody.lines if line.get("event") in _SEALED and "file" in line
    ]
    names = [f"sha256sum {_quoted(name)}" for name in dict.fromkeys(sealed)]
    yield Commands((*names[:20], f"mailwitness verify --case {_quoted(beside.folder)}"))


def _quoted(name: str) -> str:
    """Quote a name for a shell; a file name is chosen by whoever sent it."""
    return "'" + name.replace("'", "'\\''") + "'"
