"""Faults in the columns a rule reads and the windows of time it compares."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from functools import cache

from mailwitness.clinic.defects import Defect, Empty, Patient, knowledge
from mailwitness.clinic.shape import Segment, comparisons
from mailwitness.content import loader
from mailwitness.kql import Token, tokens, words
from mailwitness.replay import timespan

_BIN = re.compile(r"(\w+)\s*=\s*bin(?:_at)?\s*\(\s*(\w+)\s*,\s*(\d+)\s*([dhms])", re.IGNORECASE)
_BARE_BIN = re.compile(r"\bbin\s*\(\s*(\w+)\s*,\s*(\d+)\s*([dhms])", re.IGNORECASE)
_AGO = re.compile(r"(\w+)\s*(?:>=?|between\s*\()\s*ago\s*\(\s*(\d+(?:\.\d+)?[dhms])\s*\)", re.IGNORECASE)
_ALIAS = re.compile(r"(\w+)\s*=\s*(?:tostring\s*\(\s*)?(\w+)\)?\s*$")
_AMOUNTS = {"avg", "avgif", "stdev", "percentile", "percentiles", "max", "maxif", "countif", "sumif"}
_HOUR = dt.timedelta(hours=1)
_INDEXED = {
    "Parameters",
    "AffectedItems",
    "ExtendedProperties",
    "ModifiedProperties",
    "OperationProperties",
    "Folders",
    "TargetResources",
    "Item",
    "Data",
}
_KINDS_APART = {("host", "account"), ("program", "address"), ("program", "operation"), ("program", "account")}


@cache
def filled(table: str) -> frozenset[str]:
    """Return the columns of a table that some source, or a derivation from others, gives a value."""
    found = {"_Exhibit", "_Position", "_Salvaged", "Type", "TimeGenerated", "Timestamp"}
    known = [m for m in loader.mappings().values() if m.table == table]
    for mapping in known:
        found |= set(mapping.columns) | set(mapping.derived) | set(mapping.slim_columns)
    derived = loader.read_yaml(loader.CONTENT / "tables" / "_derived.yaml").get(table, {})
    everything = {column.name for column in loader.tables()[table].columns}
    # A table that only exports fill has every column that its export has.
    return frozenset(found | set(derived)) if known else frozenset(everything)


def never_filled(patient: Patient) -> Iterator[Defect]:
    """Columns of which no source that we know ever gives a value."""
    for segment in patient.segments:
        columns = {column.name for column in loader.tables()[segment.table].columns}
        used: dict[str, str] = {}
        for step in segment.steps:
            if step.word == "where":
                for token in step.tokens:
                    if token.kind == "word" and token.text in columns - filled(segment.table):
                        used.setdefault(token.text, step.text)
        for column, where in used.items():
            yield Defect(
                code="never-filled",
                sentence=f"{column} of {segment.table} is in the schema, and no source is known to fill it.",
                evidence=where[:200],
                remedy="Filter on a column that has values; `mailwitness query` shows which.",
            )


def empty_in_family(patient: Patient) -> Iterator[Defect]:
    """Columns read or shown as evidence that are empty in just the kind of record the rule finds."""
    for segment in patient.segments:
        used = {token.text for step in segment.steps for token in step.tokens if token.kind == "word"}
        for rule in knowledge().empty:
            columns = [column for column in rule.columns if column in used]
            asked = _asked(patient, segment, rule) if rule.table == segment.table and columns else ""
            if asked:
                yield Defect(
                    code="never-filled",
                    sentence=f"{', '.join(columns)} is normally empty for {asked}; what was acted upon stands in {rule.instead}.",
                    evidence=f"{segment.table}: {', '.join(columns)}",
                    remedy=f"Read {rule.instead}.",
                )


def _asked(patient: Patient, segment: Segment, rule: Empty) -> str:
    """Name the records of a family that a branch finds, when it finds no others; empty when it finds others too."""
    for column, values in rule.when.items():
        asked = _values(patient, segment, column)
        known = {value.lower() for value in values}
        if asked and {value.lower() for value in asked} <= known:
            return ", ".join(sorted(asked)) if column == "Operation" else rule.records
    return ""


def _values(patient: Patient, segment: Segment, column: str) -> set[str]:
    """Return the texts that every row of a branch has one of in a column; empty when it is not bound."""
    found: set[str] = set()
    for step in segment.texts("where"):
        told = [
            set(c.values) for c in comparisons(step, patient.lists) if c.column == column and not c.is_negated
        ]
        found = set.intersection(*told) if told else found
    return found


def positional(patient: Patient) -> Iterator[Defect]:
    """Elements of a list taken by their place: their order is not promised."""
    listed = tokens(patient.query)
    for i, token in enumerate(listed):
        is_index = (
            token.text == "["
            and i + 2 < len(listed)
            and listed[i + 1].kind == "number"
            and listed[i + 2].text == "]"
        )
        if not is_index or i == 0:
            continue
        name = _indexed(listed, i - 1)
        if name in _INDEXED:
            yield Defect(
                code="positional",
                sentence=f"It takes element {listed[i + 1].text} of {name}; the order differs between commands and clients, "
                "so it reads another value or none.",
                evidence=f"{name}[{listed[i + 1].text}]",
                remedy="Expand the list and compare names, or use ParametersBag.Name.",
            )


def _indexed(listed: Sequence[Token], at: int) -> str:
    """Return the column that brackets index: directly, or within a call such as parse_json(Parameters)."""
    if listed[at].kind == "word":
        return listed[at].text
    if listed[at].kind == "close":
        for token in reversed(listed[:at]):
            if token.kind == "open" and token.depth == listed[at].depth:
                break
            if token.kind == "word" and token.text in _INDEXED:
                return token.text
    return ""


def broken_window(patient: Patient) -> Iterator[Defect]:
    """Equal slots of time as a join key: pairs across the border of two slots are lost."""
    # A day joined with the history of that day compares amounts; it pairs no two acts.
    if words(patient.query) & _AMOUNTS:
        return
    joins = re.findall(r"\bjoin\b.*?\bon\b([^|\n]*(?:\n[^|\n]*)?)", patient.query, re.IGNORECASE | re.DOTALL)
    slots = [(m[0], int(m[2]), m[3]) for m in _BIN.findall(patient.query)]
    slots += [(m[0], int(m[1]), m[2]) for m in _BARE_BIN.findall(patient.query)]
    for name, number, unit in dict.fromkeys(slots):
        if not any(name in words(keys) for keys in joins):
            continue
        minutes = timespan(f"{number}{unit.lower()}", _HOUR).total_seconds() / 60
        half = minutes / 2
        yield Defect(
            code="window-broken",
            sentence=f"It joins on equal slots of {number}{unit}: of pairs {half:g} minutes apart it loses half, "
            f"and of those {minutes:g} minutes apart or more it finds none.",
            evidence=f"bin(..., {number}{unit}) as the join key {name}",
            remedy="Join on the account and compare the two times: Later between (Earlier .. (Earlier + 1d)).",
        )
        return


def late_records(patient: Patient) -> Iterator[Defect]:
    """A look-back as long as the schedule: records that arrive late are in no run."""
    if "ingestion_time" in words(patient.query):
        return
    tables = sorted({s.table for s in patient.segments if s.table in knowledge().late_tables})
    found = _AGO.findall(patient.query)
    if found and tables:
        spans = ", ".join(dict.fromkeys(f"ago({span})" for _, span in found))
        yield Defect(
            code="late-records",
            sentence=f"It looks back {spans} on the time of the event; records of {', '.join(tables)} arrive hours or days late, "
            "and those that arrive after the look-back are seen by no run.",
            evidence=", ".join(dict.fromkeys(f"{column} > ago({span})" for column, span in found)),
            remedy="Look back further than the schedule and drop duplicates by id, or bound ingestion_time().",
        )


def mixed_times(patient: Patient) -> Iterator[Defect]:
    """Branches that bound different columns of time."""
    columns = list(dict.fromkeys(column for column, _ in _AGO.findall(patient.query)))
    if len(columns) > 1:
        yield Defect(
            code="mixed-times",
            sentence=f"Its branches bound {' and '.join(columns)}, so they look at different windows where the two differ.",
            evidence=", ".join(f"{column} > ago(...)" for column in columns),
            remedy="Bound one column everywhere.",
        )


def short_period(patient: Patient) -> Iterator[Defect]:
    """A query that looks back further than its schedule lets it."""
    for _, span in _AGO.findall(patient.query):
        back = timespan(span, _HOUR)
        if patient.period and back > timespan(patient.period, back):
            yield Defect(
                code="period-too-short",
                sentence=f"It asks for ago({span}), and its queryPeriod of {patient.period} cuts off everything older.",
                evidence=f"queryPeriod: {patient.period}",
                remedy=f"Set queryPeriod to {span} or more.",
            )
            return


def ignored_result(patient: Patient) -> Iterator[Defect]:
    """Branches that take a failed attempt for a success."""
    for table, column in knowledge().result_columns.items():
        branches = [s for s in patient.segments if s.table == table]
        plain = [s for s in branches if not any(column in words(step.text) for step in s.texts("where"))]
        if (
            branches
            and len(plain) == len(branches)
            and not re.search(rf"\b{column}\s*(?:[=!<>~]|in\b|has)", patient.query)
        ):
            yield Defect(
                code="result-ignored",
                sentence=f"It never asks {column}: a failed attempt looks like a success.",
                evidence=f"{table}: no filter on {column}",
                remedy=f"Compare {column}; keep failed attempts as findings of their own.",
            )


def mixed_entities(patient: Patient) -> Iterator[Defect]:
    """Values put under a name that means something else."""
    found: dict[str, str] = {}
    for segment_text in re.findall(r"\bproject\b([^|;]*)", patient.query):
        for part in segment_text.split(","):
            match = _ALIAS.match(part.strip().rstrip(")").strip())
            if match:
                kinds = (knowledge().kind_of(match[1]), knowledge().kind_of(match[2]))
                if kinds in _KINDS_APART:
                    found[f"{match[1]} = {match[2]}"] = f"{kinds[1]} as {kinds[0]}"
    if found:
        yield Defect(
            code="entities-mixed",
            sentence=f"It files values under names of another kind ({', '.join(dict.fromkeys(found.values()))}); "
            "entity mapping, grouping and suppression then mix accounts with hosts.",
            evidence=", ".join(found),
            remedy="Keep a column for each kind of thing, empty where a branch has none.",
        )


CHECKS = (
    never_filled,
    empty_in_family,
    positional,
    broken_window,
    late_records,
    mixed_times,
    short_period,
    ignored_result,
    mixed_entities,
)
