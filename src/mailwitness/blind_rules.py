"""Which rules the records of a case cannot feed: those must end as not evaluated, never as clear."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.kql import leading_filters, tokens, words
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.needs import named_activities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.content.schemas import Rule


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the case holds, as far as rules ask for it.

    Attributes:
        tables: tables with rows.
        activities: activities that a parser of a present table can yield.
        absent: activity -> why no record of the case can show it.
        elsewhere: activities that tables without missing kinds of records can show: a rule that names one still runs.
        watchlists: names of the watchlists that were given.
        unheld: id of a rule -> why it is not evaluated: no record of what it is about was given.
        of_host: those of the reasons that speak of what a host writes down by itself.
        apart: those of the reasons that speak of records which are exported by themselves.
        coming: those of the tables that are still being computed when the rules begin.
    """

    tables: set[str]
    activities: set[str]
    absent: dict[str, str]
    elsewhere: set[str] = set()
    watchlists: set[str] = msgspec.field(default_factory=set)
    of_host: set[str] = set()
    apart: set[str] = set()
    unheld: dict[str, str] = msgspec.field(default_factory=dict)
    coming: frozenset[str] = frozenset()


# A query with one of these may find something although one of its sides is empty.
_OPTIONAL = frozenset(
    {"union", "leftouter", "rightouter", "fullouter", "leftanti", "rightanti", "anti", "leftantisemi", "rightantisemi",
     "lookup", "toscalar", "not"}
)  # fmt: skip
# A list that is asked for (or against) may be one of several ways; a side that excludes activities names what it is not.
_ONE_OF_SEVERAL = re.compile(r"!?\bin~?\s*\(\s*[A-Za-z_]\w*\s*[)|]|\bActivity\s*!")


def why_not(rule: Rule, tables: set[str], evidence: Evidence, vocabulary: set[str]) -> str:
    """Say why a rule cannot be judged on a case; empty when it can.

    Args:
        rule: the rule.
        tables: the tables it names.
        evidence: what the case holds.
        vocabulary: every activity that a parser can yield.
    """
    if not tables or rule.id in evidence.unheld:
        return evidence.unheld.get(rule.id, "the query names no known table")
    missing = sorted(tables - evidence.tables - {ACTIVITY})
    if missing and not tables & (evidence.tables | {ACTIVITY}):
        return f"no exhibit holds {' or '.join(missing)}"
    if ACTIVITY not in tables:
        return ""
    for kql in (rule.query, *_needed_together(rule.query)):
        reason = _unseen(named_activities(kql, vocabulary), evidence)
        if reason:
            return reason
    return ""


def _unseen(named: set[str], evidence: Evidence) -> str:
    """Say why no record of the case can show any of some activities; empty when one can, or none is named."""
    reasons = {evidence.absent[activity] for activity in named if activity in evidence.absent}
    if named and not named & evidence.activities:
        return "; ".join(sorted(reasons)) or f"no exhibit can show {', '.join(sorted(named)[:4])}"
    absent = evidence.absent.keys() - evidence.elsewhere
    if named and all(activity in absent or activity not in evidence.activities for activity in named):
        return "; ".join(sorted(reasons))
    return ""


def _needed_together(kql: str) -> tuple[str, ...]:
    """Return the filters of a query that joins acts, each of which a finding needs an act of; empty where that is not sure.

    A rule for consent and a deletion through it can find nothing where no record could show the consent.
    """
    if words(kql) & _OPTIONAL or _ONE_OF_SEVERAL.search(kql) or counts_nothing(kql):
        return ()
    return leading_filters(kql, ACTIVITY).filters


def counts_nothing(kql: str) -> bool:
    """Tell whether a query yields a row even when no record matches (summarize without by, count, print)."""
    listed = tokens(kql)
    for i, token in enumerate(listed):
        if token.kind != "word" or i == 0 or listed[i - 1].kind != "pipe":
            continue
        if token.text in {"count", "getschema"}:
            return True
        if token.text == "summarize" and not _has_by(listed[i + 1 :], token.depth):
            return True
    return bool(listed) and listed[0].text in {"print", "range", "datatable"}


def _has_by(listed: Iterable[Any], depth: int) -> bool:
    for token in listed:
        if token.depth < depth or (token.depth == depth and token.kind in {"pipe", "end"}):
            return False
        if token.depth == depth and token.text == "by":
            return True
    return False
