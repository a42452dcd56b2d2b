"""Run a rule on known variants and on ordinary work: blindness and noise are measured, not read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.clinic.defects import Defect, Patient
from mailwitness.content import loader
from mailwitness.content_check import TEST_NOW
from mailwitness.findings import execute
from mailwitness.kql import at_clock, referenced_tables

if TYPE_CHECKING:
    from mailwitness.content_check import Bench

Rows = dict[str, list[dict[str, Any]]]  # Any: cells as written in YAML
_TIMEOUT_SECONDS = 60
# Half an hour before the clock: inside every window a rule is likely to look at.
_MOMENT = TEST_NOW - dt.timedelta(minutes=30)
# A rule that looks for this many kinds of clearing means the technique, and answers for all its platforms.
_WHOLE_TECHNIQUE = 3


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of doing the thing, as rows of public tables; its own claims narrow the group's."""

    name: str
    rows: Rows
    claims: list[str] = []


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Variants of one act; a query that holds one of the words says that it looks for it."""

    id: str
    title: str
    claims: list[str]
    technique: str
    platform: str
    variants: list[Variant]


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two acts at growing distances; a rule that joins them has to find all."""

    name: str
    claims: list[str]
    minutes: list[int]
    first: Rows
    then: Rows


class Probes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file under ``content/probes``."""

    id: str
    groups: list[Group] = []
    ordinary: list[Variant] = []
    pairs: list[Pair] = []


@cache
def probes() -> tuple[Probes, ...]:
    """Return all probes."""
    return tuple(loader.read(path, Probes) for path in loader.files("probes"))


class Prober:
    """Runs one rule on probes."""

    def __init__(self, bench: Bench, patient: Patient) -> None:
        """Take a database and a rule whose query can be run."""
        self.bench = bench
        self.patient = patient
        self.tables = referenced_tables(patient.query, bench.engine.schema)
        self.sql = at_clock(bench.engine.open_sql(patient.query), TEST_NOW)
        self.ran = 0

    def fires(self, rows: Rows) -> bool:
        """Tell whether the rule returns a row on these rows and nothing else.

        Raises:
            MailwitnessError: the database refuses the query.
        """
        if not self.tables & set(rows):
            return False
        for table in sorted(self.tables):
            self.bench.fill(table, [_timed(row, table) for row in rows.get(table, [])], "probe")
        self.ran += 1
        return bool(execute(self.bench.connection, self.sql, timeout_seconds=_TIMEOUT_SECONDS, limit=1))

    def claims(self, words: list[str]) -> bool:
        """Tell whether the query names one of these words."""
        folded = self.patient.query.lower()
        return any(word.lower() in folded or word.lower().replace("\\", "\\\\") in folded for word in words)

    def claimed(self) -> list[Group]:
        """Return the groups that the rule says it looks for."""
        return [group for file in probes() for group in file.groups if self.claims(group.claims)]


def _timed(row: dict[str, Any], table: str) -> dict[str, Any]:  # Any: YAML cells
    columns = {column.name for column in loader.tables()[table].columns}
    times = {
        name: _MOMENT.strftime("%Y-%m-%dT%H:%M:%S")
        for name in ("TimeGenerated", "Timestamp")
        if name in columns
    }
    return times | row


def blindness(prober: Prober) -> Iterator[Defect]:
    """Variants of what the rule looks for that it does not find; all of them: the rule is dead."""
    seen = 0
    missed: list[tuple[Group, Variant]] = []
    for group in prober.claimed():
        for variant in group.variants:
            if variant.claims and not prober.claims(variant.claims):
                continue
            if prober.fires(variant.rows):
                seen += 1
            else:
                missed.append((group, variant))
    if missed and not seen and not any(prober.fires(v.rows) for file in probes() for v in file.ordinary):
        yield Defect(
            code="dead",
            sentence=f"It fires on none of the {len(missed)} known variants of what it looks for.",
            evidence=", ".join(dict.fromkeys(group.title for group, _ in missed)),
            remedy="See the other lines for the filter that stops it; run it on a record that you know.",
        )
    for group, variant in missed:
        yield Defect(
            code="blind",
            sentence=f"It does not find {group.title}: {variant.name}.",
            evidence=f"probe {group.id}, tables {', '.join(variant.rows)}",
            remedy=_remedy(prober, variant),
        )


def _remedy(prober: Prober, variant: Variant) -> str:
    missing = sorted(set(variant.rows) - prober.tables)
    return f"Read {' and '.join(missing)} too." if missing else "Widen its filters to this variant."


def missing_platforms(prober: Prober) -> Iterator[Defect]:
    """Platforms of the technique that a rule for the whole of it does not read at all."""
    claimed = [group for group in prober.claimed() if group.technique == "T1070.008"]
    if len(claimed) < _WHOLE_TECHNIQUE:
        return
    for file in probes():
        for group in file.groups:
            if (
                group.technique == "T1070.008"
                and group not in claimed
                and not any(prober.fires(v.rows) for v in group.variants)
            ):
                yield Defect(
                    code="blind",
                    sentence=f"It looks for clearing of mailboxes and has nothing for {group.platform}: {group.title}.",
                    evidence=f"probe {group.id}",
                    remedy="Add a branch, or say in the rule that it leaves this platform out.",
                )


def noise(prober: Prober) -> Iterator[Defect]:
    """Ordinary work that the rule raises an alert for."""
    fired = [variant for file in probes() for variant in file.ordinary if prober.fires(variant.rows)]
    if fired:
        yield Defect(
            code="alerts-on-ordinary-work",
            sentence=f"Each of these raises an alert: {'; '.join(variant.name for variant in fired)}.",
            evidence=f"{len(fired)} of {sum(len(file.ordinary) for file in probes())} probes of ordinary work",
            remedy="Ask who did it (owner, delegate, system), through which client, with which value, and how often it is usual.",
        )


def lost_pairs(prober: Prober) -> Iterator[Defect]:
    """Pairs of acts at growing distances that a rule over two acts loses, and pairs in the wrong order that it reports."""
    for pair in (pair for file in probes() for pair in file.pairs):
        # A rule that already fires on one of the two acts joins nothing.
        if (
            not prober.claims(pair.claims)
            or prober.fires(_at(pair.first, 0))
            or prober.fires(_at(pair.then, 0))
        ):
            continue
        found = {m: _share(prober, pair, m) for m in pair.minutes}
        if not any(found.values()):
            continue
        lost = {minutes: share for minutes, share in found.items() if share < 1}
        if lost:
            yield Defect(
                code="loses-pairs",
                sentence=f"Of {pair.name}, it finds only {', '.join(f'{share:.0%} at {m} minutes' for m, share in lost.items())}.",
                evidence=f"measured at {_STARTS} moments of an hour each",
                remedy="Compare the two times instead of equal slots, and let the first be as old as an export may run.",
            )
        if prober.fires(_merged(_at(pair.then, 5), _at(pair.first, 0))):
            yield Defect(
                code="order-ignored",
                sentence=f"It also reports the two acts in the wrong order ({pair.name}).",
                evidence="the second act five minutes before the first",
                remedy="Ask that the later time is after the earlier one.",
            )


_STARTS = 12


def _share(prober: Prober, pair: Pair, minutes: int) -> float:
    """Return the share of pairs found, over beginnings spread evenly over an hour."""
    hits = 0
    for start in range(_STARTS):
        moment = TEST_NOW - dt.timedelta(minutes=minutes + 60 + 60 * start / _STARTS)
        first = _moved(pair.first, moment)
        then = _moved(pair.then, moment + dt.timedelta(minutes=minutes))
        hits += prober.fires(_merged(first, then))
    return hits / _STARTS


def _at(rows: Rows, minutes_before: int) -> Rows:
    return _moved(rows, _MOMENT - dt.timedelta(minutes=minutes_before))


def _moved(rows: Rows, moment: dt.datetime) -> Rows:
    time = moment.strftime("%Y-%m-%dT%H:%M:%S")
    moved: Rows = {}
    for table, listed in rows.items():
        columns = {column.name for column in loader.tables()[table].columns}
        moved[table] = [
            {**row, **{name: time for name in ("TimeGenerated", "Timestamp") if name in columns}}
            for row in listed
        ]
    return moved


def _merged(one: Rows, other: Rows) -> Rows:
    return {table: [*one.get(table, []), *other.get(table, [])] for table in sorted({*one, *other})}


CHECKS = (blindness, missing_platforms, noise, lost_pairs)
