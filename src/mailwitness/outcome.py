"""Put the results of a run into the structure of report.json: verdict, cases, proof, and what is missing."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.cases import full_names
from mailwitness.content.schemas import SEVERITIES
from mailwitness.findings import UNHELD
from mailwitness.proof import sight
from mailwitness.readers.index import RecordIndex
from mailwitness.response import planning

if TYPE_CHECKING:
    from mailwitness.cases import Story
    from mailwitness.models import ChainMatch, Exhibit, Finding, NotEvaluated, RuleOutcome
    from mailwitness.sources import Intake

SCHEMA_VERSION = 1
# The report shows the start of each proving record; the whole lies in the exhibit.
RAW_BYTES = 4096
# Findings with a record shown; the others keep their position.
_RAW_FINDINGS = 2000
_FINDINGS_IN_CASE = 5000
_TIMELINE = 1000
# Fields of report.json that differ between two runs on the same evidence with the same clock.
VOLATILE = ("tool",)
_PLAIN = frozenset({str, int, bool})

JsonDict = dict[str, Any]  # Any: JSON values


class RulePack(msgspec.Struct, frozen=True, kw_only=True):
    """What a run judged with: one digest over content, rule folders, watchlists and parameters."""

    digest: str
    rules: int
    parameters: list[str] = []
    watchlists: list[str] = []


class _Proof:
    """Find the bytes behind a row: exhibit and record number give line, offset, length and text."""

    def __init__(self, exhibits: list[Exhibit], intake: Intake) -> None:
        self.exhibits = {exhibit.id: exhibit for exhibit in exhibits}
        self.intake = intake
        self._indexes: dict[str, RecordIndex | None] = {}
        self._texts = 0

    def index(self, exhibit: str) -> RecordIndex | None:
        """Return the record index of an exhibit; None for formats without byte positions."""
        if exhibit not in self._indexes:
            found = self.exhibits.get(exhibit)
            self._indexes[exhibit] = self.intake.indexes.load(found) if found else None
        return self._indexes[exhibit]

    def position(self, exhibit: str, record: int) -> JsonDict:
        """Return record, line, offset and length."""
        index = self.index(exhibit)
        if index is None or not 0 <= record < len(index):
            return {"record": record, "line": 0, "offset": 0, "length": 0}
        place: JsonDict = msgspec.to_builtins(index.locate(record))
        return place

    def raw(self, exhibit: str, position: JsonDict) -> str:
        """Return the start of a record as text; bytes that are no text are shown as escapes."""
        found = self.exhibits.get(exhibit)
        if found is None or not position["length"] or self._texts >= _RAW_FINDINGS:
            return ""
        self._texts += 1
        with found.location.open("rb") as handle:
            handle.seek(position["offset"])
            data = handle.read(min(position["length"], RAW_BYTES))
        return _as_text(data)


def _as_text(data: bytes) -> str:
    """Decode a record's bytes; UTF-16 is recognised by its NUL bytes."""
    if data[:200].count(0) > len(data[:200]) // 4:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
        return data.decode(encoding, "replace")
    return data.decode("utf-8", "backslashreplace")


def build(  # noqa: PLR0913 - the parts of the document, each by name
    *,
    stories: list[Story],
    outcomes: list[RuleOutcome],
    chains: list[RuleOutcome],
    intake: Intake,
    exhibits: list[Exhibit],
    sha256: dict[str, str],
    not_evaluated: list[NotEvaluated],
    rule_pack: RulePack,
    now: dt.datetime,
    version: str,
    ledger: JsonDict,
    visibility: JsonDict,
    pictures: dict[str, JsonDict],
    decided: dict[str, JsonDict],
    recoverability: JsonDict,
    settings: JsonDict,
) -> JsonDict:
    """Return the report document.

    Args:
        stories: cases, the most severe first.
        outcomes: what each rule gave.
        chains: what each chain gave.
        intake: counts and quarantine of every exhibit.
        exhibits: in order of intake.
        sha256: digest by exhibit id; empty when the exhibit changed while it was read.
        not_evaluated: everything that could not be judged.
        rule_pack: what the run judged with.
        now: the clock of the run.
        version: of this program.
        ledger: what became of the messages, from ``proof.summary``.
        visibility: what could have been seen, from ``proof.sight``, with all lanes.
        pictures: case id -> what its charts show: ``deletions`` from ``deletion_hours``, ``acts`` from ``timeline``.
        decided: case id -> its questions, escalation and tasks.
        recoverability: what can still be saved, from ``proof.recoverability``.
        settings: rules and settings over time, from ``proof.settings``.
    """
    spans = intake.spans
    taken = [_intake(exhibit, intake, sha256, spans) for exhibit in exhibits]
    proof = _Proof(exhibits, intake)
    listed = [
        _case(story, proof, visibility) | pictures.get(story.id, {}) | decided.get(story.id, {})
        for story in stories
    ]
    plans, actions = planning.of_report(listed)
    listed = [case | {"plan": plans.get(case["id"], [])} for case in listed]
    missing = _folded(not_evaluated)
    quarantined = sum(item["quarantined"] for item in taken)
    if quarantined:
        missing.append(
            {
                "what": _plural(quarantined, "damaged record"),
                "reason": "damaged beyond reading, so no rule has seen them",
                "remedy": "Look at the quarantine list; export the span again if it matters.",
                "blocking": True,
            }
        )
    times = [t for item in taken for t in (item["first_time"], item["last_time"]) if t]
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "mailwitness", "version": version},
        "rule_pack": msgspec.to_builtins(rule_pack),
        "evaluated": {
            "from": min(times, default=""),
            "to": max(times, default=""),
            "now": _iso(now.replace(tzinfo=None)),
        },
        "summary": _summary(listed, missing, taken, outcomes),
        "cases": listed,
        "actions": actions,
        "not_evaluated": missing,
        "ledger": ledger,
        "visibility": sight.shown(visibility),
        "recoverability": recoverability,
        "settings": settings,
        "rules": [msgspec.to_builtins(item) for item in outcomes],
        "chains": [msgspec.to_builtins(item) for item in chains],
        "intake": taken,
        "quarantine": [msgspec.to_builtins(item) for item in intake.quarantine],
        "quarantine_total": quarantined,
    }


def digest(report: JsonDict) -> str:
    """Return the SHA-256 over what two runs with the same evidence, rules and clock must agree on."""
    stable = {key: value for key, value in report.items() if key not in VOLATILE}
    return hashlib.sha256(json.dumps(stable, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _intake(
    exhibit: Exhibit, intake: Intake, sha256: dict[str, str], spans: dict[str, tuple[str, str]]
) -> JsonDict:
    tally = intake.tallies[exhibit.id]
    first, last = spans.get(exhibit.id, ("", ""))
    return {
        "exhibit": exhibit.id,
        "path": exhibit.path,
        "sha256": sha256.get(exhibit.id, ""),
        "blake3": exhibit.blake3,
        "size_bytes": exhibit.size_bytes,
        "source": ", ".join(name for name, _ in tally.sources.most_common()) or "not recognised",
        "table": ", ".join(name for name, _ in tally.tables.most_common()),
        "records": tally.records,
        "loaded": tally.loaded,
        "duplicates": tally.duplicates,
        "quarantined": tally.quarantined,
        "salvaged": tally.salvaged,
        "first_time": first,
        "last_time": last,
        "notes": list(tally.notes),
    }


def _folded(items: list[NotEvaluated]) -> list[JsonDict]:
    """Put items with one reason together, so that the list stays readable."""
    by_reason: dict[tuple[str, str, bool], list[str]] = {}
    for item in items:
        by_reason.setdefault((item.reason, item.remedy, item.blocking), []).append(item.what)
    folded = []
    for (reason, remedy, blocking), named in by_reason.items():
        names = list(dict.fromkeys(named))
        # Rules are listed elsewhere with their reason; an input is named nowhere else.
        most = 5 if names[0].startswith(("rule: ", "chain: ")) else 1000
        shown = "; ".join(names[:most]) + (f"; and {len(names) - most} more" if len(names) > most else "")
        if reason.startswith(UNHELD):
            shown = f"{_plural(len(names), 'rule')} for {reason.removeprefix(UNHELD)}"
        folded.append({"what": shown, "reason": reason, "remedy": remedy, "blocking": blocking})
    return sorted(folded, key=lambda item: not item["blocking"])


def _summary(
    listed: list[JsonDict], missing: list[JsonDict], taken: list[JsonDict], outcomes: list[RuleOutcome]
) -> JsonDict:
    real = [case for case in listed if case["verdict"] not in {"noise", "authorised"}]
    loaded = sum(item["loaded"] for item in taken)
    ran = sum(outcome.outcome != "not_evaluated" for outcome in outcomes)
    blocking = [item for item in missing if item["blocking"]]
    severity = max((case["severity"] for case in real), key=SEVERITIES.index, default="informational")
    if real:
        outcome = "found"
        counts = Counter(case["verdict"] for case in real)
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        sentences = [
            f"Mailbox evidence was cleared or prepared for clearing: {_plural(len(real), 'case')} ({words}), the worst {severity}."
        ]
        sentences.append(f"First to look at: {real[0]['title']}.")
    elif blocking or not loaded or not ran:
        outcome = "not_evaluated"
        sentences = ["No verdict: something that was given, or is needed, could not be evaluated."]
    else:
        outcome = "clear"
        sentences = [
            "Clear as far as this evidence reaches: every rule that it can feed was run and found nothing."
        ]
    sentences.append(
        f"{_plural(loaded, 'record')} of {_plural(len(taken), 'exhibit')} judged by {_plural(ran, 'rule')}; "
        f"{_plural(len(outcomes) - ran, 'rule')} could not be evaluated."
    )
    noise = len(listed) - len(real)
    if noise:
        sentences.append(
            f"{_plural(noise, 'group')} of findings {'is' if noise == 1 else 'are'} noise or authorised work, kept at the end of the list."
        )
    return {"outcome": outcome, "severity": severity, "sentences": sentences}


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _case(story: Story, proof: _Proof, visibility: JsonDict) -> JsonDict:
    shown = [_finding(finding, proof) for finding in story.findings[:_FINDINGS_IN_CASE]]
    times = [f.time for f in story.findings if f.time] + [f.last_time for f in story.findings if f.last_time]
    return {
        "id": story.id,
        "title": story.title,
        "severity": story.severity,
        "confidence": story.confidence,
        "verdict": story.verdict,
        "reasons": list(story.reasons),
        "actors": _distinct(f.actor for f in story.findings),
        "mailboxes": _whole_names(story),
        "hosts": _distinct(f.host for f in story.findings),
        "addresses": _distinct(f.address for f in story.findings),
        "sessions": _distinct(f.session for f in story.findings),
        "techniques": _distinct(t for f in story.findings for t in f.techniques),
        "first_seen": _iso(min(times, default=None)),
        "last_seen": _iso(max(times, default=None)),
        "findings": shown,
        "timeline": _timeline(story, shown),
        "baseline": [
            {**msgspec.to_builtins(one), "answer": one.answer, "words": one.words()} for one in story.usual
        ],
        "chains": [_chain(match) for match in story.chains],
        "questions": [],
        "visibility": sight.qualify(
            sight.about(
                visibility,
                _distinct(f.mailbox for f in story.findings),
                _distinct(f.host for f in story.findings),
            ),
            min(times, default=None),
            max(times, default=None),
        ),
    }


def _chain(match: ChainMatch) -> JsonDict:
    steps = [
        {
            "step": step.step,
            "title": step.title,
            "state": step.state,
            "why": step.why,
            "time": _iso(step.time) or None,
            "last_time": _iso(step.last_time) or None,
            "joined": step.joined,
            "actor": step.actor,
            "mailbox": step.mailbox,
            "rows": [{"exhibit": e, "record": p} for e, p in step.rows],
            "count": step.count,
        }
        for step in match.steps
    ]
    return {
        "chain": match.chain,
        "name": match.name,
        "title": match.title,
        "description": match.description,
        "severity": match.severity,
        "confidence": match.confidence,
        "reasons": list(match.reasons),
        "techniques": list(match.techniques),
        "first_seen": _iso(match.time),
        "last_seen": _iso(match.last_time),
        "steps": steps,
        "notes": list(match.notes),
    }


def _whole_names(story: Story) -> list[str]:
    """Return the mailboxes of a case; a cmdlet's short name stands for the only full address it can mean."""
    full = full_names(list(story.findings))
    return _distinct(full.get(f.mailbox.lower(), f.mailbox) for f in story.findings)


def _distinct(values: Any) -> list[str]:  # noqa: ANN401 - any iterable of text
    return list(dict.fromkeys(value for value in values if value))


def _finding(finding: Finding, proof: _Proof) -> JsonDict:
    exhibit, record = finding.rows[0] if finding.rows else ("", -1)
    position = (
        proof.position(exhibit, record) if exhibit else {"record": 0, "line": 0, "offset": 0, "length": 0}
    )
    return {
        "rule": finding.rule,
        "title": finding.title,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "time": _iso(finding.time),
        "actor": finding.actor,
        "mailbox": finding.mailbox,
        "description": finding.description,
        "reasons": list(finding.reasons),
        "entities": _entities(finding),
        "exhibit": exhibit,
        "position": position,
        "evidence": json_ready(finding.evidence),
        "rows": [{"exhibit": e, "record": p} for e, p in finding.rows],
        "raw": proof.raw(exhibit, position) if exhibit else "",
        "count": finding.count,
        "rated": finding.rated,
        "explanations": [msgspec.to_builtins(one) for one in finding.explanations],
    }


def _entities(finding: Finding) -> JsonDict:
    """Return the typed things a finding is about, named as Sentinel names entity types."""
    pairs = {
        "Account": finding.actor,
        "Mailbox": finding.mailbox,
        "IP": finding.address,
        "Session": finding.session,
        "Host": finding.host,
    }
    return {kind: value for kind, value in pairs.items() if value}


def _timeline(story: Story, shown: list[JsonDict]) -> list[JsonDict]:
    rows = [
        {
            "time": item["time"],
            "phase": finding.phase,
            "what": item["title"],
            "actor": item["actor"],
            "mailbox": item["mailbox"],
            "exhibit": item["exhibit"],
            "record": item["position"]["record"],
        }
        for finding, item in zip(story.findings, shown, strict=False)
    ]
    return sorted(rows, key=lambda row: row["time"] or "~")[:_TIMELINE]


@lru_cache(maxsize=4096)
def _iso(time: dt.datetime | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""


def json_ready(value: Any) -> Any:  # noqa: ANN401, PLR0911 - query cells, one return for each kind
    """Turn query cells into JSON values: times as ISO 8601, no NaN, no bytes."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, dt.datetime):
        return _iso(value)
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
