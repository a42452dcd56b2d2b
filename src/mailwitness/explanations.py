"""Known automatic and authorised causes: which findings they explain, and in which words.

An explanation never removes a finding. Whether it lowers a case is decided in :mod:`mailwitness.severity`,
which sees what else the same story holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mailwitness import finding_tables, findings
from mailwitness.errors import MailwitnessError
from mailwitness.kql import referenced_tables, words
from mailwitness.models import Explained, Finding, NotEvaluated
from mailwitness.sentences import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailwitness.content.schemas import Explanation
    from mailwitness.open_case import OpenCase

# Explanations read the findings, not the evidence: one that takes longer is wrong.
_TIMEOUT_SECONDS = 120
_MOST_EXPLAINED = 100_000
_USUAL = "Baselines"
_ALWAYS_THERE = {_USUAL, "FindingActs", "Findings", "MailboxActivity"}


def lay_out(opened: OpenCase, found: Sequence[Finding]) -> None:
    """Make the tables Findings and FindingActs of what the rules and chains returned."""
    names = {rule.id: rule.name for rule in opened.knowledge.rules}
    named = {word for one in _asked(opened) for word in words(one.query)}
    finding_tables.create(opened.connection, found, names, opened.work, named=named)


def explain(
    opened: OpenCase, found: Sequence[Finding], *, usual: Callable[[], object] = lambda: None
) -> tuple[list[Finding], list[NotEvaluated]]:
    """Attach to each finding the explanations that hold for it.

    Args:
        opened: the case with the tables of :func:`lay_out`.
        found: what the rules and chains returned.
        usual: returns when the table Baselines is there.

    Returns:
        The same findings in the same order, and a line for each explanation that could not be asked.
    """
    attached: dict[str, list[Explained]] = {}
    failed = []
    for explanation in _asked(opened):
        if _USUAL in words(explanation.query):
            usual()
        try:
            for name, explained in _ask(opened, explanation):
                attached.setdefault(name, []).append(explained)
        except MailwitnessError as error:
            failed.append(
                NotEvaluated(
                    what=f"explanation: {explanation.name}",
                    reason=str(error),
                    remedy="What it would explain stays as its rules rated it; correct the explanation's query.",
                )
            )
    return [
        msgspec.structs.replace(
            finding, explanations=_distinct(attached.get(finding_tables.finding_id(i), []))
        )
        for i, finding in enumerate(found)
    ], failed


def _asked(opened: OpenCase) -> list[Explanation]:
    return [one for one in opened.knowledge.explanations if _can_hold(opened, one)]


def _can_hold(opened: OpenCase, explanation: Explanation) -> bool:
    """Tell whether a table that the explanation rests on has rows: without a ticket or list it explains nothing.

    Asking all the same would give no rows either, and cost a twentieth of a second each.
    """
    rests_on = referenced_tables(explanation.query, opened.engine.schema) - _ALWAYS_THERE
    present = opened.evidence.tables | ({"Watchlists"} if opened.evidence.watchlists else set())
    return not rests_on or bool(rests_on & present)


def _ask(opened: OpenCase, explanation: Explanation) -> list[tuple[str, Explained]]:
    """Return the findings that one explanation holds for, in a stable order."""
    sql = opened.engine.to_sql(explanation.query, now=opened.now)
    rows = findings.execute(opened.connection, sql, timeout_seconds=_TIMEOUT_SECONDS, limit=_MOST_EXPLAINED)
    pairs = [
        (
            str(row["FindingId"]),
            Explained(
                id=explanation.id,
                name=explanation.name,
                verdict=explanation.verdict,
                reason=filled(explanation.reason, row),
                reference=str(row.get("Reference") or ""),
            ),
        )
        for row in rows
    ]
    return sorted(pairs, key=lambda pair: (pair[0], pair[1].reference, pair[1].reason))


def _distinct(explained: list[Explained]) -> tuple[Explained, ...]:
    """Keep one of each explanation: several tickets that fit say no more than the first."""
    return tuple({one.id: one for one in reversed(explained)}.values())[::-1]
