"""What the clinic says about a rule, and what it knows while it looks."""

from __future__ import annotations

import csv
from functools import cache, cached_property

import msgspec

from mailwitness.clinic.shape import Segment, lists, segments
from mailwitness.content import loader


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: a stable code, a sentence, the part of the query or the probe that shows it, and what to do."""

    code: str
    sentence: str
    evidence: str
    remedy: str


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns without a value in a family of records, and where the value is instead.

    Attributes:
        records: the family in words, for rules that ask for a whole kind of record; a rule that names operations is told these.
        when: column -> values, any of which alone tells that a row belongs to the family.
    """

    table: str
    columns: list[str]
    records: str
    when: dict[str, list[str]]
    instead: str


class Knowledge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``content/clinic/knowledge.yaml``: each key is explained there."""

    empty: list[Empty]
    siblings: list[list[str]]
    kinds: dict[str, list[str]]
    cloud_tables: list[str]
    cmdlet_columns: list[str]
    result_columns: dict[str, str]
    path_columns: list[str]
    late_tables: list[str]

    def kind_of(self, column: str) -> str:
        """Return what a column is about, by its name."""
        return next((kind for kind, names in self.kinds.items() if column in names), "")


@cache
def knowledge() -> Knowledge:
    """Return what the clinic knows about columns and words."""
    return loader.read(loader.CONTENT / "clinic" / "knowledge.yaml", Knowledge)


@cache
def folder_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of well-known folders: in English, and those that only other languages have."""
    path = loader.CONTENT / "watchlists" / "folder_names.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    english = frozenset(row["name"].strip().lower() for row in rows if row["language"].startswith("en"))
    return english, frozenset(row["name"].strip().lower() for row in rows) - english


class Patient:
    """A rule under examination: its query taken apart once.

    Attributes:
        query: its KQL.
        frequency: how often its schedule runs it, such as ``1h``; empty when nothing is said.
        period: how far its schedule looks back.
    """

    def __init__(self, query: str, *, frequency: str = "", period: str = "") -> None:
        """Take a query and, where the rule has one, its schedule."""
        self.query = query
        self.frequency = frequency
        self.period = period

    @cached_property
    def segments(self) -> list[Segment]:
        """Return the query's pipelines, each with its table."""
        return segments(self.query, loader.tables())

    @cached_property
    def lists(self) -> dict[str, list[str]]:
        """Return the lists of texts that ``let`` gives a name."""
        return lists(self.query)
