"""Any input is loaded, a duplicate or in quarantine, and none raises; `python -m bench.fuzz` does the same for long."""

from __future__ import annotations

from bench.fuzz import MUTATIONS, run, seeds

from mailwitness.content import loader


def test_no_mutation_of_any_source_raises_or_loses_count() -> None:
    """A small share of a long run; the seed is fixed, so that a failure comes back."""
    result = run(40, seed=7)

    assert result.wrong == []
    assert set(result.mutations) == set(MUTATIONS)
    assert result.counts["records"] > 0
    assert result.counts["quarantined"] > 0


def test_every_source_has_a_sample() -> None:
    """A source without an example would never be fuzzed where the public samples are absent."""
    assert {source.id for source in loader.sources()} <= {seed.source for seed in seeds()}
