"""The words and number forms that every form of the report uses for the same thing."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from mailwitness.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailwitness.report.document import (
        Case,
        Finding,
        Intake,
        Position,
        Question,
        RecoveryStep,
        Report,
    )

SEVERITIES = ("critical", "high", "medium", "low", "informational")
"""From worst to least; their order is the order of importance everywhere."""

OUTCOMES = {"found": "Found", "clear": "Clear", "not_evaluated": "Not evaluated"}

OUTCOME_SENTENCES = {
    "found": "Mailbox evidence was cleared or is being hidden.",
    "clear": "No clearing of mailbox evidence was found in what was given.",
    "not_evaluated": "It could not be decided whether mailbox evidence was cleared.",
}

VERDICTS = {
    "attack": "Attack",
    "suspicious": "Suspicious",
    "authorised": "Authorised work",
    "noise": "Noise",
    "undetermined": "Undetermined",
}

ANSWERS = {"unusual": "Unusual", "usual": "Usual", "not_evaluated": "Not evaluated"}

QUESTION_ANSWERS = {"yes": "Yes", "no": "No", "not_evaluated": "Not evaluated"}
DECISIONS = {
    "escalate": "Escalate to tier 2",
    "keep": "Keep at level 1",
    "close": "Close",
}

PHASES = {
    "access": "Access",
    "collection": "Collection",
    "exfiltration": "Exfiltration",
    "hiding": "Hiding",
    "clearing": "Clearing",
    "after": "After",
}

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def severity_of(word: str | None) -> str:
    """Return one of the five severities; an unknown word counts as informational."""
    lowered = (word or "").lower()
    return lowered if lowered in SEVERITIES else "informational"


def outcome_of(word: str) -> str:
    """Return found, clear or not_evaluated; an unknown word is never clear."""
    return word if word in OUTCOMES else "not_evaluated"


def number(value: int) -> str:
    """Write a number with its thousands apart: 48,213."""
    return f"{value:,}"


def count_of(value: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: 1 case, 2 cases, no cases."""
    if value == 1:
        return f"1 {noun}"
    return f"{number(value) if value else 'no'} {plural or noun + 's'}"


def times(value: int) -> str:
    """Say how often like things happened, to follow their name; empty for once."""
    return f" \u00d7 {number(value)}" if value > 1 else ""


def size(size_bytes: int) -> str:
    """Write a size as people say it, in units of 1,000: 812 B, 1.9 MB."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1_000:  # noqa: PLR2004 - the step between SI units
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} TB"


@lru_cache(maxsize=4096)
def parse_moment(iso: str | None) -> datetime | None:
    """Read an ISO 8601 time as aware UTC; None if it is absent or not a time."""
    try:
        parsed = datetime.fromisoformat(iso or "")
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: a hostile year 1 or 9999 with an offset
        return None


@lru_cache(maxsize=4096)
def moment(iso: str | None) -> str:
    """Write a time to the second, UTC: 2025-03-04 08:12:09."""
    parsed = parse_moment(iso)
    if parsed is None:
        return visible(iso, 40) if iso else "time unknown"
    return parsed.strftime("%Y-%m-%d %H:%M:%S")


def until(step: RecoveryStep) -> str:
    """Write until when something can be saved, and how sure that is."""
    if step.is_gone:
        return "not in this mailbox"
    if not step.until:
        return "no period; save it now"
    if step.is_over:
        return f"over since {moment(step.latest)}"
    if step.is_late:
        return f"by default over since {moment(step.until)}; until {moment(step.latest)} where items are kept longer"
    if step.is_exact or not step.latest:
        return moment(step.until)
    return f"{moment(step.until)} by default; {moment(step.earliest)} to {moment(step.latest)} is possible"


def span(first: str | None, last: str | None) -> str:
    """Write two times as one span; the date is not repeated within a day."""
    start, end = parse_moment(first), parse_moment(last)
    if start is None or end is None or start == end:
        return moment(first or last) + (" UTC" if start or end else "")
    same_day = start.date() == end.date()
    return f"{moment(first)} to {end.strftime('%H:%M:%S') if same_day else moment(last)} UTC"


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units: 1 h 35 min."""
    whole = int(seconds)
    days, hours = divmod(whole, _DAY)[0], whole % _DAY // _HOUR
    minutes, rest = whole % _HOUR // _MINUTE, whole % _MINUTE
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next((at for at, (amount, _) in enumerate(parts) if amount), 3)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount) or "0 s"


def length_of(first: str | None, last: str | None) -> str:
    """Write how long a span lasts; empty if it has no length or is not known."""
    start, end = parse_moment(first), parse_moment(last)
    if start is None or end is None or end <= start:
        return ""
    return duration((end - start).total_seconds())


def place(position: Position) -> str:
    """Say where a record lies: line 1,204, bytes 2,301,882 to 2,303,085 (1,204 bytes)."""
    parts = []
    if position.line is not None:
        parts.append(f"line {number(position.line)}")
    elif position.record is not None:
        parts.append(f"record {number(position.record)}")
    if position.offset is not None:
        start, length = position.offset, position.length or 0
        parts.append(
            f"bytes {number(start)} to {number(start + max(length, 1) - 1)} ({number(length)} bytes)"
        )
    return ", ".join(parts) or "position unknown"


def file_name(intake: Intake) -> str:
    """Return the last part of an exhibit's path, or the exhibit's number if it has none."""
    return intake.path.replace("\\", "/").rstrip("/").rpartition("/")[2] or intake.exhibit


def headline(report: Report) -> str:
    """Return the one sentence that is the verdict."""
    given = next((sentence for sentence in report.summary.sentences if sentence.strip()), "")
    return given or OUTCOME_SENTENCES[outcome_of(report.summary.outcome)]


def answers_of(questions: Sequence[Question]) -> list[tuple[str, list[Question]]]:
    """Put answers together that speak of the same mailboxes and days, so that it is said once, above them."""
    about: dict[str, list[Question]] = {}
    for one in questions:
        about.setdefault(one.visibility, []).append(one)
    return list(about.items())


def strongest(case: Case) -> Finding | None:
    """Return the finding to look at first: the worst, and of those the earliest."""
    ranked = sorted(
        case.findings, key=lambda one: (SEVERITIES.index(severity_of(one.severity)), one.time or "9")
    )
    return ranked[0] if ranked else None
