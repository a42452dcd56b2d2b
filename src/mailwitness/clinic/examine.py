"""Examine rules: read each one, run it on the probes, and say what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mailwitness import activities, content_lint, needs
from mailwitness.clinic import columns, probing, words
from mailwitness.clinic.defects import Defect, Patient
from mailwitness.content import loader
from mailwitness.content.foreign import load as foreign
from mailwitness.content.schemas import Rule
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.errors import ContentError, MailwitnessError, Unreadable
from mailwitness.findings import execute
from mailwitness.kql import referenced_tables

_PLAIN = {".kql", ".csl", ".kusto", ".txt"}
_MOST_BYTES = 1_000_000


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one rule.

    Attributes:
        not_judged: why the rule, or a part of it, could not be judged; empty when all of it was.
    """

    file: str
    name: str
    kind: str
    defects: list[Defect] = []
    not_judged: str = ""


def examine(paths: list[Path]) -> list[Diagnosis]:
    """Return the diagnosis of each rule in the given files and folders, in their order.

    Raises:
        ContentError: a folder holds no rule, or a file cannot be read.
    """
    bench = Bench()
    try:
        return [diagnosis for path in paths for diagnosis in _of_path(bench, path)]
    finally:
        bench.close()


def _of_path(bench: Bench, path: Path) -> list[Diagnosis]:
    if path.suffix.lower() in _PLAIN and path.is_file():
        return [_judged(bench, path.name, path.stem, "KQL", Patient(_text(path)))]
    loaded = foreign.load(path)
    found = [
        Diagnosis(file=item.file, name=item.name, kind=item.kind or "file", not_judged=item.reason)
        for item in loaded.refused
    ]
    for item in loaded.accepted:
        rule = item.rule
        is_scheduled = item.kind == "Sentinel"
        patient = Patient(
            rule.query,
            frequency=rule.queryFrequency if is_scheduled else "",
            period=rule.queryPeriod if is_scheduled else "",
        )
        house = _house(bench, rule) if rule.tests else None
        found.append(_judged(bench, item.file.name, rule.name, item.kind, patient, house))
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ContentError(
                "it is larger than a query can be", place=str(path), remedy="Give the query alone."
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"the query cannot be read ({error})", place=str(path), remedy="Give UTF-8 text."
        ) from error


def _house(bench: Bench, rule: Rule) -> list[Defect]:
    """Return what our own rules owe beyond being right."""
    vocabulary = activities.vocabulary(loader.parsers())
    return [
        Defect(code="house", sentence=problem, evidence=rule.id, remedy="See docs/how-to/write-a-rule.md.")
        for problem in content_lint.problems(rule, bench.engine, vocabulary, now=TEST_NOW)
    ]


def _judged(
    bench: Bench, file: str, name: str, kind: str, patient: Patient, house: list[Defect] | None = None
) -> Diagnosis:
    defects = list(house or [])
    problem = _cannot_run(bench, patient)
    if problem:
        return Diagnosis(
            file=file, name=name, kind=kind, defects=[*defects, *_read(patient)], not_judged=problem
        )
    defects += _read(patient)
    prober = probing.Prober(bench, patient)
    note = ""
    # Probes are rows of public tables; what a rule over MailboxActivity sees depends on the parsers, which its own tests
    # and the scenarios measure.
    if needs.TABLE in prober.tables and house is None:
        note = "it reads MailboxActivity, for which there are no probes, and has no tests of its own"
    elif needs.TABLE not in prober.tables:
        try:
            for check in probing.CHECKS:
                defects += check(prober)
        except MailwitnessError as error:
            note = f"the probes could not be run: {error.message}"
    return Diagnosis(file=file, name=name, kind=kind, defects=list(dict.fromkeys(defects)), not_judged=note)


def _read(patient: Patient) -> list[Defect]:
    return [defect for check in (*words.CHECKS, *columns.CHECKS) for defect in check(patient)]


def _cannot_run(bench: Bench, patient: Patient) -> str:
    """Return why a query cannot be run here; an empty string when it can."""
    tables = referenced_tables(patient.query, bench.engine.schema)
    if not tables:
        return "the query names no table that we know"
    try:
        for table in sorted(tables):
            bench.fill(table, [], "probe")
        execute(
            bench.connection, bench.engine.to_sql(patient.query, now=TEST_NOW), timeout_seconds=60, limit=1
        )
    except MailwitnessError as error:
        return error.message
    return ""
