"""Say in words what is wrong with the scenarios: what cannot be told proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from mailwitness.content import loader
from mailwitness.errors import ContentError
from mailwitness.scenarios import description, telling


def problems() -> Iterator[tuple[str, str]]:
    """Yield (place, sentence) for each problem of the shipped scenarios and their catalogue."""
    try:
        known = telling.instances()
        catalogue = description.catalogue()
    except ContentError as error:
        yield error.place, f"{error.message} {error.remedy}"
        return
    covered: set[str] = set()
    for instance in known.values():
        place = f"scenarios/{instance.scenario.id}.yaml"
        ids = covers(instance)
        covered |= set(ids)
        yield from ((place, f"the catalogue has no {name!r}") for name in ids if name not in catalogue)
        yield from ((place, problem) for problem in _told(instance))
    yield from (
        ("scenarios/_catalogue.yaml", f"no scenario covers {name!r}")
        for name in catalogue
        if name not in covered
    )
    gaps = description.known_gaps()
    yield from (
        ("scenarios/_known_gaps.yaml", f"there is no scenario {name!r}") for name in gaps if name not in known
    )


def covers(instance: telling.Instance) -> list[str]:
    """Return the ids of the catalogue that an instance stands for."""
    scenario = instance.scenario
    return [*scenario.covers, *scenario.variant_covers.get(instance.variant, [])]


def _told(instance: telling.Instance) -> Iterator[str]:
    try:
        told = telling.tell(instance)
        telling.files([told])
    except (ContentError, ValueError, KeyError) as error:
        yield f"{instance.name} cannot be told: {error}"
        return
    order = instance.side.expect.order
    yield from (
        f"{instance.name}: no step is labelled {label!r}" for label in order if label not in told.labels
    )
    wanted = instance.side.expect
    yield from (
        f"{instance.name}: there is no chain {name!r}" for name in wanted.chains if name not in _chains()
    )
    if wanted.explained and wanted.explained not in _explanations():
        yield f"{instance.name}: there is no explanation {wanted.explained!r}"
    if not instance.is_twin and not order:
        yield f"{instance.name}: the attack expects no step to be proven"


@cache
def _chains() -> frozenset[str]:
    return frozenset(chain.name for _, chain in loader.chains())


@cache
def _explanations() -> frozenset[str]:
    return frozenset(path.stem for path, _ in loader.explanations())
