"""The printed result: what each contender took, and the ratios beside their targets."""

from __future__ import annotations

from typing import NamedTuple

from bench.measure import Measurement

# (table, records, contender) -> best round
Facts = dict[tuple[str, int, str], Measurement]
LARGE = 1_000_000


class Target(NamedTuple):
    """One promise: the figure, what must be reached and what is hoped for."""

    what: str
    value: float | None
    must: float
    ambition: float
    unit: str = "x"


def print_table(facts: Facts, sizes: list[int]) -> None:
    """Print all measurements, then the targets with their verdicts."""
    head = f"{'wall s':>8} {'cpu s':>8} {'records/s':>10} {'MB peak':>8} {'x FLOOR':>8}"
    print(f"\n{'what':34} {'records':>10} {head}")
    for (table, records, name), measured in facts.items():
        print(_row(facts, table, records, name, measured))
    print(f"\n{'target':58} {'measured':>9} {'must':>7} {'ambition':>9}")
    for target in targets(facts, sizes):
        print(_target_row(target))


def _row(facts: Facts, table: str, records: int, name: str, measured: Measurement) -> str:
    """Write one measurement."""
    floor = facts.get((table, records, "floor"))
    ratio = f"{measured.wall / floor.wall:8.2f}" if floor else f"{'':8}"
    rate = f"{records / measured.wall:10,.0f}" if records else f"{'':10}"
    label = f"{table}: {name}"[:34]
    memory = measured.rss / 1e6
    return f"{label:34} {records:10,} {measured.wall:8.2f} {measured.cpu:8.2f} {rate} {memory:8.0f} {ratio}"


def _target_row(target: Target) -> str:
    """Write one target and whether it is reached."""
    if target.value is None:
        return f"{target.what:58} {'-':>9} {target.must:>7g} {target.ambition:>9g}  not measured"
    verdict = "MISSED"
    if target.value <= target.ambition:
        verdict = "ambition"
    elif target.value <= target.must:
        verdict = "must"
    figure = f"{target.value:.2f}{target.unit}"
    return f"{target.what:58} {figure:>9} {target.must:>7g} {target.ambition:>9g}  {verdict}"


def targets(facts: Facts, sizes: list[int]) -> list[Target]:
    """Work out the figures the project promises, from the largest table up to a million."""
    return _time_targets(facts, min(LARGE, max(sizes))) + _other_targets(facts, min(LARGE, max(sizes)))


def _time_targets(facts: Facts, size: int) -> list[Target]:
    """Work out the whole job against what DuckDB takes to read the same file."""
    whole = _ratio(facts, "ndjson", size, "investigate")
    rows_only = _pair(facts, "ndjson", size, "investigate", "floor, rows only")
    purview = _ratio(facts, "purview-csv", size, "investigate purview-csv")
    array = _ratio(facts, "array", size, "investigate array")
    return [
        Target(f"whole investigate / FLOOR, ndjson {size:,}", whole, 6, 3),
        Target("  the same / FLOOR with count(*) only", rows_only, 6, 3),
        Target("first finding / FLOOR", _first(facts, size), 4, 2),
        Target("Purview CSV, whole / read_csv", purview, 2, 1),
        Target("JSON array, whole / FLOOR of the array", array, 6, 3),
    ]


def _other_targets(facts: Facts, size: int) -> list[Target]:
    """Work out memory, growth, rules and start-up."""
    peaks = [m.rss / 1e9 for (_, _, name), m in facts.items() if name.startswith("investigate")]
    limited = [m.rss / 1e9 for (_, _, name), m in facts.items() if "--memory" in name]
    small = facts.get(("small", 1_000, "investigate"))
    large_growth, small_growth = _growth(facts, 300_000, 3_000_000), _growth(facts, 10_000, 100_000)
    rules = _pair(facts, "ndjson", size, "500 rules", "50 rules")
    start = _pair(facts, "start-up", 0, "--help", "python -c pass")
    return [
        Target("peak memory, any shape and size", max(peaks, default=None), 2, 1, " GB"),
        Target("peak memory with --memory 1GB", max(limited, default=None), 2, 1, " GB"),
        Target("time(3,000,000) / time(300,000), start-up subtracted", large_growth, 12, 10.5),
        Target("time(100,000) / time(10,000), start-up subtracted", small_growth, 12, 10.5),
        Target("500 rules / 50 rules", rules, 3, 1.5),
        Target("1,000 records, command to report", small.wall if small else None, 2.5, 1, " s"),
        Target("--help / python -c pass", start, 10, 6),
    ]


def _over(one: Measurement | None, other: Measurement | None) -> float | None:
    """Divide two wall times, where both are known."""
    return one.wall / other.wall if one and other else None


def _pair(facts: Facts, table: str, records: int, one: str, other: str) -> float | None:
    """Divide the wall times of two contenders of a table."""
    return _over(facts.get((table, records, one)), facts.get((table, records, other)))


def _ratio(facts: Facts, table: str, records: int, name: str) -> float | None:
    """Divide a contender's wall time by that table's FLOOR."""
    return _pair(facts, table, records, name, "floor")


def _first(facts: Facts, records: int) -> float | None:
    """Divide the time to the first finding by FLOOR."""
    ours, floor = facts.get(("ndjson", records, "investigate")), facts.get(("ndjson", records, "floor"))
    if not ours or not floor or ours.first_finding is None:
        return None
    return ours.first_finding / floor.wall


def _growth(facts: Facts, small: int, large: int) -> float | None:
    """Divide the times of two sizes of our whole job, less what ten records take."""
    start = facts.get(("small", 10, "investigate"))
    one, ten = facts.get(("ndjson", small, "investigate")), facts.get(("ndjson", large, "investigate"))
    if not start or not one or not ten:
        return None
    return (ten.wall - start.wall) / max(one.wall - start.wall, 0.001)
