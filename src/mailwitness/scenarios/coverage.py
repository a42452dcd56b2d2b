"""What the scenarios prove: for each item of the catalogue and each source, whether it is found there."""

from __future__ import annotations

import msgspec

from mailwitness.content import loader
from mailwitness.scenarios import lint, telling
from mailwitness.scenarios.telling import Instance

FOUND, MISSED = "found", "missed"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: what was expected, and what came."""

    name: str
    expected: str
    outcome: str
    is_wrong: bool


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table.

    Attributes:
        cells: (catalogue id, source name) -> found or missed; pairs that nothing tries are absent.
        sources: names of the sources that prove anything, in their order.
        right: instances judged right.
        total: instances replayed.
        attacks: attacks among them.
    """

    cells: dict[tuple[str, str], str]
    sources: list[str]
    rows: list[Row]
    right: int
    total: int
    attacks: int


def table(problems: dict[str, str], severities: dict[str, str]) -> Table:
    """Return the table of one replay.

    Args:
        problems: instance -> what is wrong with its judgement, empty when nothing is.
        severities: instance -> worst severity held against anybody, empty for none.
    """
    known = telling.instances()
    cells: dict[tuple[str, str], str] = {}
    for name, instance in known.items():
        if instance.is_twin:
            continue
        is_proven = not problems[name] and not problems[twin_of(instance, known)]
        for source in proof_sources(instance):
            for item in lint.covers(instance):
                # One scenario that is found makes a cell green; the others stand in the list of outcomes.
                if is_proven or (item, source) not in cells:
                    cells[item, source] = FOUND if is_proven else MISSED
    names = sorted({source for _, source in cells})
    rows = [_row(item, problems[name], severities[name]) for name, item in known.items()]
    return Table(
        cells=cells,
        sources=names,
        rows=rows,
        right=sum(not row.is_wrong for row in rows),
        total=len(rows),
        attacks=sum(not item.is_twin for item in known.values()),
    )


def _row(instance: Instance, problem: str, severity: str) -> Row:
    expected = (
        "at most low, or authorised" if instance.is_twin else f"at least {instance.side.expect.severity}"
    )
    quiet = "nothing above noise or authorised work" if instance.is_twin else "found"
    return Row(
        name=instance.name, expected=expected, outcome=problem or severity or quiet, is_wrong=bool(problem)
    )


def twin_of(instance: Instance, known: dict[str, Instance]) -> str:
    """Return the name of the benign twin that stands beside an attack."""
    own = f"{instance.name}.twin"
    if own in known:
        return own
    return next(
        name for name, item in known.items() if item.is_twin and item.scenario.id == instance.scenario.id
    )


def proof_sources(instance: Instance) -> list[str]:
    """Return the names of the sources in which the steps stand that must be proven."""
    names = {source.id: source.name for source in loader.sources()}
    told = telling.tell(instance)
    return sorted({names[source] for label in instance.side.expect.order for source in told.sources[label]})
