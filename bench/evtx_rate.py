"""Measure how fast event logs become tables, in share of the bare ``evtx`` reader's rate on the same files.

Run ``python -m bench.evtx_rate [FOLDER] [COPIES]``: the logs of a folder, read several times over so that the run is long enough.
Both read in one process; the figure that counts is the ratio (docs say how it is used).
"""

from __future__ import annotations

import datetime as dt
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import evtx
from blake3 import blake3

from bench import intake
from mailwitness import activities
from mailwitness.content import pack
from mailwitness.models import Exhibit
from mailwitness.needs import Needs
from mailwitness.open_case import new_engine
from mailwitness.start import VALUES_BEFORE_A_SEARCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.loading import Wanted

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "public"
DEFAULT_COPIES = 160


def bare(paths: list[Path]) -> int:
    """Read every record as JSON text and throw it away; return how many there were."""
    count = 0
    for path in paths:
        records = iter(evtx.PyEvtxParser(str(path)).records_json())
        while True:
            try:
                next(records)
            except StopIteration:
                break
            except RuntimeError:
                continue
            count += 1
    return count


def into_tables(exhibits: list[Exhibit], folder: Path, wanted: Wanted) -> Callable[[], int]:
    """Return what loads the logs as a case does, and says how many records were loaded."""
    work = intake.prepare(exhibits, folder, wanted, memory="1GB")
    return lambda: sum(tally.loaded for tally in work())


def what_rules_need() -> Wanted:
    """Return the columns that the shipped rules and parsers name: what a run stores."""
    knowledge = pack.load()
    queries = [rule.query for rule in knowledge.rules]
    now = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
    asked = Needs().plus(activities.vocabulary(knowledge.parsers))
    return activities.wanted(new_engine(knowledge), knowledge.parsers, queries, asked, asked, now=now)


def main() -> int:
    """Print both rates and their ratio; the best of three runs each."""
    gc.set_threshold(VALUES_BEFORE_A_SEARCH, 20, 50)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    copies = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_COPIES  # noqa: PLR2004 - two arguments
    logs = sorted(folder.rglob("*.evtx"))
    if not logs:
        print(f"no event logs below {folder}")
        return 2
    with tempfile.TemporaryDirectory(prefix="mailwitness-bench-") as temporary:
        paths = []
        for copy in range(copies):
            for log in logs:
                target = Path(temporary) / f"{copy}-{log.name}"
                target.symlink_to(log)
                paths.append(target)
        exhibits = [
            Exhibit(
                id=f"E{i}",
                path=path.name,
                location=path,
                size_bytes=path.stat().st_size,
                blake3=blake3(f"{i}".encode()).hexdigest(),
            )
            for i, path in enumerate(paths, 1)
        ]
        wanted = what_rules_need()
        bare_rate = max(_rate(lambda: bare(paths)) for _ in range(3))
        rates = []
        for run in range(3):
            place = Path(temporary) / f"run{run}"
            place.mkdir()
            rates.append(_rate(into_tables(exhibits, place, wanted)))
    print(
        f"{len(paths)} logs; bare reader {bare_rate:,.0f} records/s; into tables {max(rates):,.0f} records/s; ratio {max(rates) / bare_rate:.2f}"
    )
    return 0


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
