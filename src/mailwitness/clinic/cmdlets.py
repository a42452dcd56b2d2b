"""What is known about cmdlets: which exist, in which product, under which record type they are logged."""

from __future__ import annotations

import difflib
import re
from functools import cache

import msgspec

from mailwitness.content import loader

CMDLET = re.compile(r"^[A-Z][a-z]+-[A-Z][A-Za-z0-9]+$")
# Nouns of other PowerShell modules are none of our business; one of these words makes a noun ours to judge.
_OURS = re.compile(
    r"Mailbox|Mail(?:User|Flow)|InboxRule|TransportRule|SweepRule|JournalRule|MoveRequest|ExportRequest|Recoverable|Compliance"
    r"|Retention|Quarantine|AuditLog|AuditBypass|ManagedFolder|HoldPolicy|HoldRule|MessageTrac",
)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cmdlets of one noun that live in the same products; the keys are explained in the file."""

    noun: str
    verbs: list[str]
    products: list[str]
    record: str = "ExchangeAdmin"
    note: str = ""
    only_with: list[str] = []
    parameters: list[str] = []


@cache
def catalogue() -> dict[str, Row]:
    """Return every known cmdlet, by its name in lower case."""
    rows = [msgspec.convert(item, Row) for path in loader.files("cmdlets") for item in loader.read_yaml(path)]
    return {f"{verb}-{row.noun}".lower(): row for row in rows for verb in row.verbs}


@cache
def names() -> tuple[str, ...]:
    """Return the names of all known cmdlets as they are written."""
    return tuple(sorted({f"{verb}-{row.noun}" for row in catalogue().values() for verb in row.verbs}))


def find(name: str) -> Row | None:
    """Return what is known about a cmdlet."""
    return catalogue().get(name.lower())


def is_ours(name: str) -> bool:
    """Tell whether a word looks like a cmdlet of Exchange, so that its absence from the list says something."""
    return bool(CMDLET.match(name)) and bool(_OURS.search(name.partition("-")[2]))


def similar(name: str) -> list[str]:
    """Return known cmdlets with a name like this one."""
    return difflib.get_close_matches(name, names(), n=2, cutoff=0.6)
