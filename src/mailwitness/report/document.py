"""The structure of report.json (schema version 1) as frozen records.

Reading is lenient where writing is strict: `schema.json` says what a complete
report holds, these records fill in what an older or partial report leaves out,
so that a page can always be made. A test keeps the two in step.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA_VERSION = 1


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """The program that wrote the report."""

    name: str = "mailwitness"
    version: str = ""


class RulePack(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that were run, identified by one digest."""

    digest: str = ""
    rules: int = 0
    parameters: tuple[str, ...] = ()
    watchlists: tuple[str, ...] = ()


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """The span of evidence that was judged and the clock it was judged from; ISO 8601, UTC."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    now: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on the whole run. An absent outcome is not clear."""

    outcome: str = "not_evaluated"
    severity: str | None = None
    sentences: tuple[str, ...] = ()


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record lies in its exhibit: number from 0, line from 1, offset and length in bytes."""

    record: int | None = None
    line: int | None = None
    offset: int | None = None
    length: int | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A record by exhibit and number, counted from 0 within the exhibit."""

    exhibit: str = ""
    record: int = 0


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A known automatic or authorised cause of a finding."""

    id: str = ""
    name: str = ""
    verdict: str = ""
    reason: str = ""
    reference: str = ""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did on a day, beside what they did on the days before."""

    kind: str = ""
    actor: str = ""
    detail: str = ""
    activity: str = ""
    day: str = ""
    on_the_day: int = 0
    history_days: int = 0
    active_days: int = 0
    median_per_day: float = 0.0
    most_per_day: int = 0
    answer: str = "not_evaluated"
    words: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row returned by a rule, with the record that proves it."""

    rule: str = ""
    title: str = ""
    severity: str = "informational"
    confidence: str = ""
    time: str | None = None
    actor: str = ""
    mailbox: str = ""
    description: str = ""
    # Any: entities and evidence are open bags; their values are of every JSON type.
    entities: dict[str, Any] = {}
    exhibit: str = ""
    position: Position = Position()
    evidence: dict[str, Any] = {}
    raw: str = ""
    count: int = 1
    reasons: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    rated: str = ""
    explanations: tuple[Explained, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened in a case; `record` counts from 0 within the exhibit."""

    time: str | None = None
    phase: str = ""
    what: str = ""
    actor: str = ""
    mailbox: str = ""
    exhibit: str = ""
    record: int | None = None


class PhaseActs(msgspec.Struct, frozen=True, kw_only=True):
    """How many acts of one phase there were in an hour or day."""

    phase: str = ""
    time: str | None = None
    acts: int = 0


class ChainStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain, as it was seen or as it is missing."""

    step: str = ""
    title: str = ""
    state: str = "missing"
    why: str = ""
    time: str | None = None
    last_time: str | None = None
    joined: str = ""
    actor: str = ""
    mailbox: str = ""
    rows: tuple[Row, ...] = ()
    count: int = 0


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Acts that follow each other in a way that means more than each alone."""

    chain: str = ""
    name: str = ""
    title: str = ""
    description: str = ""
    severity: str = "informational"
    confidence: str = ""
    reasons: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    first_seen: str | None = None
    last_seen: str | None = None
    steps: tuple[ChainStep, ...] = ()
    notes: tuple[str, ...] = ()


class DeletionCount(msgspec.Struct, frozen=True, kw_only=True):
    """Deletions of one hour or day."""

    time: str | None = None
    count: int = 0


class Deletions(msgspec.Struct, frozen=True, kw_only=True):
    """Deletions in the mailboxes of a case, beside what was usual before it."""

    unit: str = "hour"
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    counts: tuple[DeletionCount, ...] = ()
    before_days: int = 0
    before_units: int = 0
    median: float = 0.0
    most: int = 0
    is_enough: bool = False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question of the playbook with its answer; `visibility` says of what it speaks and what was blind, `reason` why there is none."""

    question: str = ""
    id: str = ""
    answer: str = "not_evaluated"
    sentence: str = ""
    # Any: numbers, or times as text.
    numbers: dict[str, Any] = {}
    rows: tuple[Row, ...] = ()
    confidence: str = ""
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    visibility: str = ""
    reason: str = ""


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether tier 2 has to look at the case, with the reasons for and against."""

    decision: str = "keep"
    reasons_for: tuple[str, ...] = ()
    reasons_against: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One step for people, with what the answers already say."""

    id: str = ""
    tier: str = ""
    title: str = ""
    known: str = ""


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line to type, and the shell that reads it."""

    shell: str = ""
    line: str = ""


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan: an action for one value."""

    id: str = ""
    action: str = ""
    value: str = ""
    mailbox: str = ""
    after: tuple[str, ...] = ()
    unpreserved: tuple[str, ...] = ()
    lines: tuple[PlanLine, ...] = ()
    note: str = ""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of a plan does, the same for every value."""

    id: str = ""
    title: str = ""
    phase: str = ""
    permission: str = ""
    role: str = ""
    do: str = ""
    undo: str = ""
    verify: str = ""
    approves: str = ""
    disturbs: tuple[str, ...] = ()
    preserves: tuple[str, ...] = ()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Findings that belong to one story, and what is concluded from them."""

    id: str = ""
    title: str = ""
    severity: str = "informational"
    confidence: str = ""
    verdict: str = "undetermined"
    reasons: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    first_seen: str | None = None
    last_seen: str | None = None
    findings: tuple[Finding, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    baseline: tuple[Usual, ...] = ()
    chains: tuple[Chain, ...] = ()
    questions: tuple[Question, ...] = ()
    escalation: Escalation | None = None
    tasks: tuple[Task, ...] = ()
    plan: tuple[PlanStep, ...] = ()
    visibility: str = ""
    deletions: Deletions | None = None
    acts: tuple[PhaseActs, ...] = ()


class NotEvaluated(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be judged, why, and what would make it possible."""

    what: str = ""
    reason: str = ""
    remedy: str = ""
    blocking: bool = False


class RuleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule of the pack concluded in this run."""

    id: str = ""
    name: str = ""
    severity: str = "informational"
    outcome: str = "not_evaluated"
    reason: str = ""
    findings: int = 0
    techniques: tuple[str, ...] = ()


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one exhibit; records = loaded + duplicates + quarantined."""

    exhibit: str = ""
    path: str = ""
    sha256: str = ""
    blake3: str = ""
    size_bytes: int = 0
    source: str | None = None
    table: str | None = None
    records: int = 0
    loaded: int = 0
    duplicates: int = 0
    quarantined: int = 0
    salvaged: int = 0
    first_time: str | None = None
    last_time: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> int:
        """Records unaccounted for; anything but 0 is a defect that the report must show."""
        return self.records - self.loaded - self.duplicates - self.quarantined


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """One record that could not be read, where it is, and why."""

    exhibit: str = ""
    record: int | None = None
    line: int | None = None
    offset: int | None = None
    length: int | None = None
    reason: str = ""
    start: str = ""


class VerdictCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages have a verdict."""

    verdict: str = "unknown"
    messages: int = 0


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message that is missing, altered or planted."""

    verdict: str = "unknown"
    reason: str = ""
    message_id: str = ""
    key: str = ""
    key_strength: str = ""
    subject: str = ""
    proofs: str = ""
    first_seen: str | None = None
    last_seen: str | None = None
    folder: str = ""
    read_at: str | None = None
    read_by: str = ""
    read_session: str = ""
    removed_at: str | None = None
    removed_by: str = ""
    removal: str = ""
    removal_session: str = ""
    rows: tuple[Row, ...] = ()
    state: str = ""
    until: str | None = None
    is_exact: bool = False


class LedgerMailbox(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages of one mailbox."""

    mailbox: str = ""
    messages: int = 0
    listed_at: str | None = None
    verdicts: tuple[VerdictCount, ...] = ()
    sentences: tuple[str, ...] = ()
    rows: tuple[LedgerRow, ...] = ()
    rows_total: int = 0


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What existed and what became of it."""

    is_computed: bool = False
    reason: str = ""
    sentence: str = ""
    messages: int = 0
    verdicts: tuple[VerdictCount, ...] = ()
    mailboxes: tuple[LedgerMailbox, ...] = ()


class RecoveryStep(msgspec.Struct, frozen=True, kw_only=True):
    """Lost messages of one mailbox in one state, and what to do to save them."""

    mailbox: str = ""
    product: str = ""
    state: str = ""
    messages: int = 0
    hold: str = ""
    setting: str = ""
    setting_value: str = ""
    until: str | None = None
    earliest: str | None = None
    latest: str | None = None
    is_exact: bool = False
    is_over: bool = False
    is_late: bool = False
    is_gone: bool = False
    removed_by: str = ""
    caveat: str = ""
    step: str = ""


class Recoverability(msgspec.Struct, frozen=True, kw_only=True):
    """What can still be saved, and until when."""

    is_computed: bool = False
    sentence: str = ""
    steps: tuple[RecoveryStep, ...] = ()
    steps_total: int = 0


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Hours in which a source was seen, blind, or in which that is not known."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    state: str = "unknown"
    cause: str = ""
    reason: str = ""
    records: int = 0
    missing: int = 0
    actor: str = ""
    exhibit: str = ""
    record: int | None = None


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One source of one subject in time."""

    source: str = ""
    subject: str = ""
    stretches: tuple[Stretch, ...] = ()
    stretches_total: int = 0


class Visibility(msgspec.Struct, frozen=True, kw_only=True):
    """What could have been seen."""

    is_computed: bool = False
    sentence: str = ""
    lanes: tuple[Lane, ...] = ()
    lanes_total: int = 0


class SettingVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a rule or setting: what it did, and to how many messages."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    kind: str = ""
    host: str = ""
    mailbox: str = ""
    name: str = ""
    state: str = ""
    does: str = ""
    by: str = ""
    origin: str = ""
    time_basis: str = ""
    reason: str = ""
    traits: str = ""
    hit: int | None = None
    possible: int | None = None
    seen: int | None = None
    ledger: tuple[VerdictCount, ...] = ()
    hit_subjects: tuple[str, ...] = ()
    not_judged: str = ""
    exhibit: str = ""
    record: int | None = None

    def told(self) -> str:
        """Say what it did; of one that is switched off, what it would do."""
        if self.state == "disabled" and self.does:
            return f"disabled: {self.does}"
        return self.does or self.state


class SettingsOverTime(msgspec.Struct, frozen=True, kw_only=True):
    """Rules and settings over time."""

    is_computed: bool = False
    sentence: str = ""
    versions: tuple[SettingVersion, ...] = ()
    versions_total: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    rule_pack: RulePack = RulePack()
    evaluated: Evaluated = Evaluated()
    summary: Summary = Summary()
    cases: tuple[Case, ...] = ()
    actions: tuple[Action, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()
    ledger: Ledger | None = None
    visibility: Visibility | None = None
    recoverability: Recoverability | None = None
    settings: SettingsOverTime | None = None
    rules: tuple[RuleOutcome, ...] = ()
    chains: tuple[RuleOutcome, ...] = ()
    intake: tuple[Intake, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    quarantine_total: int = 0

    def exhibit(self, name: str) -> Intake:
        """Return the intake entry of an exhibit; an empty one if the report does not list it."""
        return next((entry for entry in self.intake if entry.exhibit == name), Intake(exhibit=name))


def read_report(report: dict[str, Any]) -> Report:
    """Read the content of report.json into records; unknown keys are ignored, absent ones empty.

    Raises:
        msgspec.ValidationError: a value has a wrong type; the message carries its path.
    """
    return msgspec.convert(report, Report, strict=False)
