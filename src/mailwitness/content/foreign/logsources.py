"""Where a Sigma log source lives in our tables: one YAML file for each, under ``content/sigma``.

Sigma names a product's events and fields; we name tables and columns. A field without a place is no reason to guess:
the rule is refused, because a filter on nothing never fires and says nothing about it.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec

from mailwitness.content import loader
from mailwitness.errors import ContentError

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_MEMBER = re.compile(r"[\w .:-]{1,80}")


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log source as Sigma writes it; without a service it stands for all of the product's.

    Attributes:
        where: KQL that keeps this log source's rows, beside what holds for the whole file.
    """

    product: str = ""
    category: str = ""
    service: str = ""
    where: str = ""

    def fits(self, product: str, category: str, service: str) -> bool:
        """Tell whether a rule's log source is this one."""
        exact = (self.product, self.category) == (product, category)
        return exact and (not self.service or self.service == service)


class LogSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One log source: its table, the rows of it that belong to the source, and where each field is.

    Attributes:
        match: the log sources it serves.
        table: our table.
        where: KQL that keeps the rows of this source; empty when all are.
        fields: Sigma field -> KQL expression.
        columns: every column of the table also serves under its own name.
        members: prefix of a dotted field (empty for any field) -> dynamic column that holds the rest of the name.
        keywords: KQL expression in which words without a field are searched; empty refuses them.
        values: Sigma field -> value as Sigma writes it -> value as the table writes it.
        lists: fields whose cell lists several values with commas: equal means that it lists the value.
        show: columns of a finding, name -> KQL expression.
        limits: what a rule of this source cannot see here.
    """

    id: str
    match: list[Match]
    table: str
    where: str = ""
    fields: dict[str, str] = {}
    columns: bool = False
    members: dict[str, str] = {}
    keywords: str = ""
    values: dict[str, dict[str, str]] = {}
    lists: list[str] = []
    show: dict[str, str] = {}
    limits: list[str] = []

    def place_of(self, field: str) -> str:
        """Return the KQL expression of a Sigma field, an empty string when it has no place in the table."""
        if field in self.fields:
            return self.fields[field]
        folded = {name.lower(): text for name, text in self.fields.items()}
        if field.lower() in folded:
            return folded[field.lower()]
        if self.columns and _PLAIN.fullmatch(field):
            named = next((c for c in column_types(self.table) if c.lower() == field.lower()), "")
            if named:
                return named
        for prefix, bag in self.members.items():
            rest = field.removeprefix(prefix)
            if field.startswith(prefix) and rest and _MEMBER.fullmatch(rest):
                return f'tostring({bag}["{rest}"])'
        return ""

    def kind_of(self, place: str) -> str:
        """Return the Kusto type of an expression: of the column where it is one, text otherwise."""
        return column_types(self.table).get(place, "string")


@cache
def column_types(table: str) -> dict[str, str]:
    """Return the columns of a table with their Kusto types."""
    return {column.name: column.type for column in loader.tables()[table].columns}


@cache
def logsources() -> tuple[LogSource, ...]:
    """Return every log source, the more exact ones first."""
    found = [loader.read(path, LogSource) for path in loader.files("sigma")]
    for item in found:
        if item.table not in loader.tables():
            raise ContentError(f"there is no table {item.table!r}", place=item.id, remedy="Correct the file.")
    return tuple(sorted(found, key=lambda item: item.id))


def find(product: str, category: str, service: str) -> tuple[LogSource, Match] | None:
    """Return the log source that fits, the one that names the service first."""
    fitting = [
        (item, match)
        for item in logsources()
        for match in item.match
        if match.fits(product, category, service)
    ]
    return max(fitting, key=lambda pair: bool(pair[1].service), default=None)
