"""One typed record for each kind of content file.

Microsoft's keys keep Microsoft's spelling, so that a rule moves to Sentinel and back.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["informational", "low", "medium", "high", "critical"]
Level = Literal["low", "medium", "high"]
Phase = Literal["access", "collection", "exfiltration", "hiding", "clearing", "after"]
Scope = Literal["event", "message", "session", "mailbox", "actor", "device", "tenant"]

SEVERITIES: tuple[str, ...] = ("informational", "low", "medium", "high", "critical")

Rows = dict[str, list[dict[str, Any]]]  # Any: literal cell values as written in a YAML test


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test at the bottom of a content file: rows in, hit or silence out.

    Attributes:
        kind: of a silent test of a rule: near_miss (an attack with one thing missing) or benign_twin (work that looks alike).
    """

    name: str
    expect: Literal["hit", "silent"]
    rows: Rows
    kind: Literal["", "near_miss", "benign_twin"] = ""
    hits: int | None = None
    row: dict[str, Any] | None = None  # Any: expected cells of the first result row


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tunable value: a ``let`` line of the query whose literal may be replaced."""

    default: Any  # Any: a KQL literal: number, text, timespan or list
    description: str


class Title(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a finding is worded; ``{Column}`` is replaced by the row's value."""

    title: str
    phase: Phase


class Attack(msgspec.Struct, frozen=True):
    """ATT&CK ids per version."""

    v18: list[str] = []
    v19: list[str] = []
    tactics_v19: list[str] = []
    strategies: list[str] = []
    analytics: list[str] = []
    components: list[str] = []


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A KQL query whose rows are findings, in Azure-Sentinel's analytics-rule form."""

    id: str
    name: str
    description: str
    severity: Literal["Informational", "Low", "Medium", "High"]
    query: str
    requiredDataConnectors: list[Any] = []  # noqa: N815 - Microsoft's key; Any: passed through
    queryFrequency: str = "1h"  # noqa: N815
    queryPeriod: str = "1d"  # noqa: N815
    triggerOperator: str = "gt"  # noqa: N815
    triggerThreshold: int = 0  # noqa: N815
    tactics: list[str] = []
    relevantTechniques: list[str] = []  # noqa: N815
    entityMappings: list[Any] = []  # noqa: N815 - Any: passed through
    version: str = "1.0.0"
    kind: str = "Scheduled"
    status: str = ""
    # Ours, stripped on export.
    severityLevel: Severity | None = None  # noqa: N815
    confidence: Level = "medium"
    reasons: dict[str, Any] = {}  # Any: words, or lists of words
    falsePositives: list[str] = []  # noqa: N815
    gaps: list[str] = []
    parameters: dict[str, Parameter] = {}
    scope: Scope = "event"
    finding: Title | None = None
    attack: Attack = Attack()
    explanation: bool = False
    tests: list[Case] = []
    guide: list[str] = []
    tuning: list[str] = []

    def level(self) -> str:
        """Return the severity on our five-step scale."""
        return self.severityLevel or self.severity.lower()


class RulePlatform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose acts a folder of rules is about.

    Attributes:
        name: in words, as it completes "no exhibit holds records of ...".
        tables: a rule of the folder is evaluated when one of them has rows.
    """

    name: str
    tables: list[str]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an explanation is tied to, in words: it holds for nobody else, through nothing else, at no other time."""

    principal: str
    client: str
    schedule: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """KQL that returns the findings (``FindingId``) with a known automatic or authorised cause.

    Attributes:
        verdict: what a finding is when nothing else speaks against it: ``noise`` when software did it on its own,
            ``authorised`` when a person did it whose job it is.
        reason: how it is worded; ``{Column}`` is replaced by the row's value.
        bound: principal, client and schedule in words; the query has to hold them.
        abuse: how somebody could hide behind it, and what stops that.
        tests: what it explains, and near misses that it must leave alone.
        attacks: attacks dressed as the same thing; none may be explained.
    """

    id: str
    name: str
    description: str
    verdict: Literal["noise", "authorised"]
    reason: str
    bound: Bound
    abuse: list[str]
    query: str
    version: str = "1.0.0"
    parameters: dict[str, Parameter] = {}
    tests: list[Case] = []
    attacks: list[Case] = []


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many acts, or how many different values of a column, make a step.

    Attributes:
        gte: this many or more.
        field: column whose different values are counted; empty counts acts.
        by: way of joining that the counted acts share.
        timespan: they lie within this time; empty takes the chain's.
    """

    gte: int
    field: str = ""
    by: str = ""
    timespan: str = ""


class ChainStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a chain: acts that pass a filter, rows of a query, or findings of a rule.

    Attributes:
        title: what happened, in words that follow the time in a report.
        filter: KQL predicate over MailboxActivity.
        query: KQL over any table whose rows carry columns of MailboxActivity.
        rule: id of a rule whose findings are the acts.
        join: way of joining to the steps before -> longest gap (``30m``, ``7d``, ``unlimited``), the best way first.
        optional: the chain is complete without it; a match then lists it as missing.
        count: the step needs several acts.
        missing: what its absence can mean.
    """

    title: str
    filter: str = ""
    query: str = ""
    rule: str = ""
    join: dict[str, str] = {}
    optional: bool = False
    count: Condition | None = None
    missing: str = ""


class Forbidden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An act that makes the chain something else when it stands before, between or after its steps.

    Attributes:
        where: before the first step, between the first and the last, or after the last.
        within: how long before or after.
        join: ways of joining to any step; one is enough.
    """

    title: str
    where: Literal["before", "between", "after"]
    filter: str = ""
    query: str = ""
    rule: str = ""
    within: str = "1d"
    join: list[str]


class Correlation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sigma's correlation block.

    Attributes:
        rules: names of the steps, in their order.
        group_by: ways of joining that all steps share, for steps that name none themselves.
        aliases: way of joining -> step -> column, where steps hold the same thing in different columns.
        timespan: longest time from the first act to the last; ``unlimited`` for jobs that take days.
        condition: for event_count and value_count.
    """

    type: Literal["temporal_ordered", "temporal", "event_count", "value_count"]
    rules: list[str]
    group_by: list[str] = msgspec.field(default_factory=list, name="group-by")
    aliases: dict[str, dict[str, str]] = {}
    timespan: str
    condition: Condition | None = None


class ChainCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A test at the bottom of a chain: rows in, match or silence out.

    Attributes:
        kind: hit, near_miss (an attack with one thing missing) or benign_twin (work that looks alike).
        expect: match or silent.
        matches: number of matches; 0 takes any.
        seen: steps that the first match holds, in order.
        missing: steps that the first match lists as missing.
        joined: way of joining of the last step that was seen.
    """

    name: str
    kind: Literal["hit", "near_miss", "benign_twin"]
    expect: Literal["match", "silent"]
    rows: Rows
    matches: int = 0
    seen: list[str] = []
    missing: list[str] = []
    joined: str = ""


class Chain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An ordered pattern over acts and findings: a Sigma correlation with steps of our own."""

    id: str
    title: str
    name: str
    description: str
    level: Severity
    confidence: Level
    finding: str
    phase: Phase = "clearing"
    reasons: dict[str, Any]  # Any: words, or lists of words
    correlation: Correlation
    steps: dict[str, ChainStep]
    forbidden: dict[str, Forbidden] = {}
    falsepositives: list[str]
    gaps: list[str]
    guide: list[str]
    attack: Attack
    version: str = "1.0.0"
    status: str = ""
    tests: list[ChainCase] = []

    def parts(self) -> dict[str, ChainStep | Forbidden]:
        """Return steps and forbidden acts by name."""
        return {**self.steps, **self.forbidden}

    def ordered(self) -> list[ChainStep]:
        """Return the steps in the order of the correlation."""
        return [self.steps[name] for name in self.correlation.rules]


class Parser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """KQL from one table to MailboxActivity.

    Attributes:
        activities: everything the query can yield.
        bulk: activity -> operations that yield nothing else; these rows are left out of a run whose
            rules do not name the activity, because they are most of an audit log.
        dull: activity -> SQL over the table that holds for records which yield nothing else; where nobody asks for the
            activity they are left out too.
        occurs: SQL over the table that holds for every record of which an act is made, or for one of them where several make an act;
            without any such record the parser is not even planned. Only columns that the query reads too.
        holds: further SQL of the same kind, which is only looked at in records of which ``occurs`` is true.
        shallow: operations of which rules and chains read nothing that is nested in the record; only the
            message ledger does.
        keys: column of MailboxActivity -> SQL over the table that has the same value, whatever its case, for every
            row of ``bulk``; with all of ``activities.KEYS``, such rows can be left for when they are asked.
    """

    id: str
    name: str
    table: str
    activities: list[str]
    query: str
    version: str = "1.0.0"
    description: str = ""
    bulk: dict[str, list[str]] = {}
    dull: dict[str, str] = {}
    occurs: str = ""
    holds: str = ""
    shallow: list[str] = []
    keys: dict[str, str] = {}
    tests: list[Case] = []


class Recognise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the first records of an input must look like.

    Attributes:
        format: ``json`` (any JSON text), ``csv``, ``parquet``, ``text`` or ``binary``.
        keys: all of these keys (JSON members or CSV columns) occur, case folded.
        any_keys: at least one of these occurs.
        not_keys: none of these occurs.
        nested: member name -> keys its object (or JSON text) must have.
        first: regular expressions for ``text`` and ``binary``: one must match in the first 64 KiB
            (multi-line mode; binary content is matched as Latin-1).
        named: regular expression for the file's name, for ``text`` whose content alone says too little; both must hold.
    """

    format: Literal["json", "csv", "parquet", "text", "binary"]
    keys: list[str] = []
    any_keys: list[str] = []
    not_keys: list[str] = []
    nested: dict[str, list[str]] = {}
    first: list[str] = []
    named: str = ""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product's log as it reaches us: how it is recognised and which mapping loads it.

    Attributes:
        record: member or column that holds the record itself, as object or JSON text.
        outer: outer column -> record key used where the record lacks that key.
        priority: higher wins when several sources recognise an input.
        reader: module of ``mailwitness.readers`` whose ``read(path)`` yields the records of a format
            the database cannot read by itself.
        also: further mappings of the same records, each to another table; a record is counted once.
        prepare: module of ``mailwitness.readers`` whose ``Preparer().prepare(record)`` brings the JSON or CSV records of one
            input, in order, into the shape the mappings expect, or returns None for a record that is none of its kind.
    """

    id: str
    name: str
    recognise: list[Recognise]
    mapping: str
    record: str = ""
    outer: dict[str, str] = {}
    priority: int = 50
    reader: str = ""
    also: list[str] = []
    prepare: str = ""
    description: str = ""
    example: str = ""
    limits: list[str] = []


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of a table in Kusto's types."""

    name: str
    type: str
    description: str = ""


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SQL from raw records to a table.

    Attributes:
        raw: key of the raw record -> DuckDB type.
        columns: table column -> SQL over the raw keys.
        derived: table column -> SQL over the columns above.
        instead: derived column of the table -> how it is written for these records; empty leaves it out.
        shared: name -> SQL over the raw keys that is worked out once for each record, for all columns that name it.
        partly: derived columns whose values a first pass works out for some rows only.
        slim: raw key -> the only members worth parsing in a first pass, which stores nested values in part.
        slim_columns: columns written otherwise over the slim members.
        nested: columns whose values are stored in the first pass only where ``keep`` holds.
        rules: id of a rule that reads the table directly -> digest of its query, where ``keep`` holds for every row that it looks for;
            with any other such rule the nested columns are stored for all rows.
        required: raw keys of which a sound record has at least one; a record without goes to quarantine.
        accept: SQL over the raw keys; records for which it does not hold are no rows of this table.
        first: SQL over those raw keys that need no parsing, true for every record that ``accept`` takes: of all others nothing
            nested is read when this is a further table of the same records.
        rare: few records give rows of this further table; what it needs of them is then carried as one text, because columns that
            are nearly all empty cost as much to write as full ones.
        each: SQL over the raw keys that gives a list; a mapping named under ``also`` then makes one row of each element,
            which its columns know as ``mw_each``.
        unasked: columns that nobody asks of these records in a run; not written in content.
    """

    id: str
    table: str
    raw: dict[str, str]
    columns: dict[str, str]
    derived: dict[str, str] = {}
    instead: dict[str, str] = {}
    shared: dict[str, str] = {}
    partly: list[str] = []
    slim_columns: dict[str, str] = {}
    slim: dict[str, Any] = {}  # Any: a structure as json_transform takes it
    nested: list[str] = []
    keep: str = "true"
    rules: dict[str, str] = {}
    required: list[str]
    accept: str = "true"
    first: str = ""
    rare: bool = False
    each: str = ""
    unasked: list[str] = []
    tests: list[dict[str, Any]] = []  # Any: record and expected cells as written in YAML


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table's schema: a public one, or one of ours.

    Attributes:
        made: a run makes its rows from other tables; evidence is never loaded into it.
        like: the table whose columns follow its own.
    """

    table: str
    columns: list[Column]
    source: str = ""
    made: bool = False
    like: str = ""
    description: str = ""


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SQL from one table to records of single messages, from which the ledger is computed.

    Attributes:
        table: the case must have it; MailboxActivity always counts as present.
        activities: of MailboxActivity, those that the SQL reads; ``{activities}`` in it stands for that filter.
        sql: yields columns of the ledger's evidence (see ``proof/ledger.sql``) by name; those left out are empty.
    """

    id: str
    name: str
    table: str
    sql: str
    activities: list[str] = []
    tests: list[Case] = []


class SettingPhrase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one member of a rule means in words.

    Attributes:
        member: its name; members of members with a dot.
        part: an act (``destroys``, ``hides``, ``strips``, ``does``), or a ``condition`` or ``exception`` of them.
        phrase: in words; ``{value}`` is replaced by its values.
        field: of a condition, what a trace has of it; empty when a trace cannot tell.
        match: of a condition, how the field is compared.
        value: regular expression; only values that it fits as a whole are meant.
    """

    member: str
    part: Literal["destroys", "hides", "strips", "does", "condition", "exception"]
    phrase: str
    field: Literal["", "subject", "sender", "envelope", "recipient", "message id", "subject or body"] = ""
    match: Literal["contains", "is", "fits"] = "contains"
    value: str = ""


class SettingTrait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A property of a version that a reader has to know, such as that listings do not show it.

    Attributes:
        trait: in words.
        sql: over ``Name``, ``Definition`` (JSON) and ``Source`` of the record or snapshot.
    """

    trait: str
    sql: str


class SettingFamily(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of rule or setting: where its versions are told, and what they mean.

    Attributes:
        kind: value of ``Kind`` in SettingHistory.
        language: how a definition is read: named ``members``, one ``value`` in words, a ``sieve`` script or ``header checks``.
        platforms: values of ``Platform`` whose messages it acts upon; empty when it does nothing to single messages.
        activities: of MailboxActivity, those that tell of changes; ``{activities}`` in ``records`` stands for that filter.
        records: SQL over MailboxActivity that yields columns of ``proof/settings.sql``.
        snapshots: the same over SettingsSnapshot.
        is_listed_whole: a snapshot has all of a mailbox or organisation, so that what it lacks is not there.
        is_merged: a record of a change names only what changed.
        narrows: regular expression of members that are conditions, whether a phrase is known for them or not.
        phrases: for ``members``.
    """

    kind: str
    name: str
    language: Literal["members", "value", "sieve", "header checks"]
    platforms: list[str] = []
    activities: list[str] = []
    records: str = ""
    snapshots: str = ""
    is_listed_whole: bool = False
    is_merged: bool = False
    narrows: str = ""
    phrases: list[SettingPhrase] = []
    traits: list[SettingTrait] = []
    tests: list[Case] = []


class RecoveryState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One state in which a lost message can be.

    Attributes:
        name: the state as the report writes it.
        acts: what became of it: activities that remove; ``none`` for a loss without a record, ``InTrash`` for a message that lies in the trash,
            ``Discarded`` for one that was never stored, ``Altered`` for the original of one that was changed, ``InDeletions``, ``InVersions``,
            ``InPurges`` and ``InDiscoveryHolds`` where a listing shows it, ``StoreFileArchived`` for a file of which Sysmon kept a copy.
        hold: ``litigation``, ``policy`` (of retention or eDiscovery), ``label`` or ``vault`` while such a hold is on, ``true`` for any of them,
            ``delay`` after one was taken away, ``false`` without any, ``any`` where that does not matter.
        needs_single_item_recovery: ``true`` or ``false``; empty where that does not matter.
        has_period: False when nothing removes it by the calendar.
        days: from the removal, when the setting is not known; None takes the product's.
        least: fewest days that a setting allows.
        most: most days that a setting allows.
        removed_by: the process that will remove it.
        step: what to do to save it.
        is_gone: this mailbox has no copy that could be restored.
        needs: a setting of the host without which the state is passed over; empty where there is none.
    """

    id: str
    name: str
    acts: list[str]
    removed_by: str
    step: str
    hold: Literal["litigation", "policy", "label", "vault", "true", "delay", "false", "any"] = "any"
    needs_single_item_recovery: Literal["true", "false", ""] = ""
    has_period: bool = True
    days: int | None = None
    least: int | None = None
    most: int | None = None
    is_gone: bool = False
    needs: Literal["", "lazy_expunge"] = ""


class Recovery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a product keeps of deleted mail, how long, and what takes it away.

    Attributes:
        platforms: values of ``Platform`` in MessageLedger that it speaks of.
        single_item_recovery: whether purged items are kept when no setting is known.
        default_days: period as documented, from the removal on.
        setting: member of the mailbox's settings that changes the period; empty when nothing does.
        caveat: why a hold is not the same as safety.
        source: where the facts are documented.
    """

    product: str
    platforms: list[str]
    single_item_recovery: bool
    default_days: int
    least_days: int
    most_days: int
    setting: str
    caveat: str
    source: str
    states: list[RecoveryState]
    tests: list[Case] = []


class Blind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an investigation lacks where a check fails; rules and chains are found by it.

    Attributes:
        activities: of MailboxActivity, those whose records are not written or can be erased.
        platforms: folders of rules that are meant; empty means all.
        tables: where these records come from; a rule that names only other tables is not meant.
        effect: ``blind`` when the record is never made, ``erasable`` when it lies within the intruder's reach.
    """

    activities: list[str]
    platforms: list[str] = []
    tables: list[str] = []
    effect: Literal["blind", "erasable"] = "blind"


class CheckCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A test at the bottom of a check: settings in, outcome out.

    Attributes:
        rows: of SettingsSnapshot.
        identities: what fails, in order; empty takes any.
    """

    name: str
    expect: Literal["pass", "fail", "not evaluated"]
    rows: list[dict[str, Any]]  # Any: literal cell values as written in a YAML test
    identities: list[str] = []


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A test of a preventive setting, named after the good state.

    Attributes:
        needs: kinds of SettingsSnapshot without any of which it cannot be evaluated.
        reads: paths of the host; when one of them cannot be read, a pass cannot be told, and a fail only of what was seen.
        query: KQL with one row for each thing judged: ``Identity``, ``Good`` (null: the snapshot does not say), ``Found``.
        absent: what it means that the query gives no row; it is then not evaluated.
        meaning: what a fail means for an investigation, a sentence without its full stop; the blind rules are added to it.
        fix: what to run; ``{Identity}`` is replaced by each failing thing, quoted for the shell of the platform.
        verify: how to see that it worked.
    """

    id: str
    name: str
    description: str
    platform: Literal["linux", "exchange", "m365", "google", "windows", "macos"]
    mitigation: Literal["M1022", "M1029", "M1047"]
    severity: Severity
    needs: list[str]
    reads: list[str] = []
    query: str
    absent: str
    meaning: str
    blind: Blind | None = None
    fix: list[str]
    verify: str
    references: list[str]
    attack: Attack
    version: str = "1.0.0"
    tests: list[CheckCase]
