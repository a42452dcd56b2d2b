"""The nouns that pass between the stages: frozen records without behaviour."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed input.

    Attributes:
        id: short name within the case: ``E1``, ``E2``, ... in order of intake.
        path: name shown to people, escaped; members of archives as ``archive.zip/member``.
        location: where the bytes are now (the original, or the copy kept in the case).
        size_bytes: size when it was sealed.
        blake3: digest written to the custody log before anything parsed the file.
        kept: the bytes are a copy inside the case folder.
    """

    id: str
    path: str
    location: Path
    size_bytes: int
    blake3: str
    kept: bool = False


class Position(msgspec.Struct, frozen=True):
    """Where a record lies in its exhibit.

    Attributes:
        record: 0-based number of the record.
        line: 1-based line on which it starts; 0 when the format has no lines.
        offset: byte offset in the sealed original.
        length: length in bytes.
    """

    record: int
    line: int
    offset: int
    length: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be loaded, with its place and the reason."""

    exhibit: str
    record: int
    line: int
    offset: int
    length: int
    reason: str
    start: str = ""


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one exhibit: records = loaded + duplicates + quarantined."""

    exhibit: str
    path: str
    sha256: str
    blake3: str
    size_bytes: int
    source: str = ""
    table: str = ""
    records: int = 0
    loaded: int = 0
    duplicates: int = 0
    quarantined: int = 0
    salvaged: int = 0
    first_time: str = ""
    last_time: str = ""
    notes: tuple[str, ...] = ()


class NotEvaluated(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be judged; ``blocking`` means a clear verdict is impossible."""

    what: str
    reason: str
    remedy: str
    blocking: bool = False


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """An explanation that holds for a finding.

    Attributes:
        verdict: ``noise`` or ``authorised``.
        reference: the ticket or watchlist row that it rests on; empty when it needs none.
    """

    id: str
    name: str
    verdict: str
    reason: str
    reference: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row returned by a rule, or one match of a chain.

    Attributes:
        kind: ``rule`` or ``chain``.
        explanations: known causes that hold for it.
        rated: severity that its rule gave it, where an explanation lowered ``severity``; else empty.
        time: UTC, naive; None when the row has no time.
        evidence: the row itself, JSON-ready values by column name.
        rows: (exhibit id, record number) of each supporting row, the proving one first.
    """

    rule: str
    title: str
    severity: str
    confidence: str
    phase: str
    techniques: tuple[str, ...]
    time: dt.datetime | None
    last_time: dt.datetime | None
    actor: str
    actor_type: str
    mailbox: str
    address: str
    session: str
    host: str
    description: str
    reasons: tuple[str, ...]
    evidence: dict[str, Any]  # Any: values of a query row, typed by the query itself
    rows: tuple[tuple[str, int], ...]
    count: int = 1
    kind: str = "rule"
    explanations: tuple[Explained, ...] = ()
    rated: str = ""


class RuleOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule gave: found, clear or not_evaluated, with the reason."""

    id: str
    name: str
    severity: str
    outcome: str
    reason: str
    findings: int
    techniques: tuple[str, ...]


class StepSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain as it was seen, or as it is missing.

    Attributes:
        step: its name in the chain.
        title: what happened, in words.
        state: ``seen``, ``missing`` (nothing of the kind is in the evidence) or ``not_visible`` (the evidence cannot show it).
        why: for a step that is not there: what its absence can mean.
        time: naive UTC of the first act; None when it is not there.
        last_time: naive UTC of the last act.
        joined: how it was joined to the steps before, in words; empty for the first.
        way: the way of joining by name.
        actor: who did the first act.
        mailbox: the mailbox of the first act.
        rows: (exhibit id, record number) of its acts, the first 20.
        count: number of acts.
    """

    step: str
    title: str
    state: str
    why: str = ""
    time: dt.datetime | None = None
    last_time: dt.datetime | None = None
    joined: str = ""
    way: str = ""
    actor: str = ""
    mailbox: str = ""
    rows: tuple[tuple[str, int], ...] = ()
    count: int = 0


class ChainMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A chain found in the evidence.

    Attributes:
        chain: id of the chain.
        name: its short name.
        steps: all steps in order, those that are missing included.
        notes: what could not be seen beside the steps.
        time: naive UTC of the first act.
        last_time: naive UTC of the last act.
        activity: what the last step that was seen did, in the words of MailboxActivity; empty when its act does not say.
        accounts: actors and mailboxes of all acts, the product's own services left out.
    """

    chain: str
    name: str
    title: str
    description: str
    severity: str
    confidence: str
    phase: str
    techniques: tuple[str, ...]
    reasons: tuple[str, ...]
    steps: tuple[StepSeen, ...]
    notes: tuple[str, ...]
    time: dt.datetime
    last_time: dt.datetime
    actor: str
    actor_type: str
    mailbox: str
    session: str
    address: str
    host: str
    activity: str
    accounts: tuple[str, ...]

    def rows(self) -> tuple[tuple[str, int], ...]:
        """Return the rows of all steps, those of the last step first."""
        return tuple(dict.fromkeys(row for step in reversed(self.steps) for row in step.rows))
