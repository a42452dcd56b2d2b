"""How long the message ledger takes beside the loading of the same evidence.

    python -m bench.ledger --messages 1000000 --shape cloud
    python -m bench.ledger --messages 1000000 --shape host

Five records for each message are written by the database itself: a message trace, read records and other acts of an
audit log (``cloud``), or the lines of Postfix and Dovecot (``host``); then a listing of what is left. A quarter of the
messages is removed with a record and one in fifty without. The answer is checked before any figure is printed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import duckdb

from mailwitness import open_case, pipeline
from mailwitness.proof import ledger, statements

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
BOXES = 200
# One column without quotes: a line as it is.
LINES = "HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'"


class Stamp(NamedTuple):
    """A moment of the run, or what passed between two: seconds on the wall and of the processors."""

    wall: float
    cpu: float

    def since(self, earlier: Stamp) -> Stamp:
        """Return what passed since an earlier moment."""
        return Stamp(self.wall - earlier.wall, self.cpu - earlier.cpu)


class Stages(pipeline.Progress):
    """Notes when each stage of a run began."""

    def __init__(self) -> None:
        self.began: dict[str, Stamp] = {"start": stamp()}

    def stage(self, name: str, done: int = 0, total: int = 0) -> None:
        """Keep the first moment of a stage."""
        del done, total
        self.began.setdefault(name, stamp())


class Spent:
    """What the ledger took: as a whole, and by step where that was asked for.

    Attributes:
        peaks: peak memory in MB of everything before the ledger, and of the ledger.
    """

    def __init__(self) -> None:
        self.steps: dict[str, Stamp] = {}
        self.whole = Stamp(0, 0)
        self.peaks = (0, 0)

    def add(self, step: str, took: Stamp) -> None:
        """Add to a step, which runs once for each part of the ledger."""
        before = self.steps.get(step, Stamp(0, 0))
        self.steps[step] = Stamp(before.wall + took.wall, before.cpu + took.cpu)


def stamp() -> Stamp:
    """Return now."""
    return Stamp(time.perf_counter(), time.process_time())


def peak(*, begin: bool = False) -> int:
    """Return the peak memory of the process in MB; where the system can, since the last call that began anew."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        if begin:
            # Linux: 5 sets the peak back to what is used now (proc_pid_clear_refs(5)).
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        found = None
    unit = 1 if sys.platform == "darwin" else 1024
    return (
        int(found[1]) // 1024
        if found
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000
    )


def write(folder: Path, shape: str, messages: int) -> None:
    """Write the evidence of a shape, unless it is there."""
    if folder.is_dir():
        return
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    spill = {"memory_limit": "2GB", "temp_directory": str(partial / "t")}
    with duckdb.connect(":memory:", config=spill) as made:
        for name, text in _texts(shape, messages).items():
            options = "HEADER, FORCE_QUOTE *" if name.endswith(".csv") else LINES
            made.execute(f"COPY ({text}) TO '{partial / name}' (FORMAT csv, {options})")
        if shape == "cloud":
            made.execute(f"CREATE TABLE listed AS {_sql('listed', messages)}")
            for number in range(BOXES):
                name = f"user{number}@contoso.example"
                chosen = f"SELECT line FROM listed WHERE upn = '{name}'"
                made.execute(f"COPY ({chosen}) TO '{partial / name}.jsonl' (FORMAT csv, {LINES})")
    shutil.rmtree(partial / "t", ignore_errors=True)
    partial.rename(folder)


def _texts(shape: str, messages: int) -> dict[str, str]:
    """Return the queries of a shape by the name of the file that they fill."""
    named = {
        "host": {"mail.log": "host", "doveadm.jsonl": "stored"},
        "cloud": {"trace.csv": "trace", "audit.jsonl": "audit"},
    }
    return {file: _sql(step, messages) for file, step in named[shape].items()}


def _sql(step: str, messages: int) -> str:
    numbers = {"messages": str(messages), "boxes": str(BOXES)}
    steps = statements.steps("ledger.sql", "bench")
    return statements.filled(steps[step], numbers | {"message": statements.filled(steps["message"], numbers)})


def expected(messages: int) -> dict[str, int]:
    """Return how many messages deserve each verdict."""
    with duckdb.connect(":memory:") as made:
        removed, taken = made.execute(
            f"SELECT count(*) FILTER (removed), count(*) FILTER (taken) FROM ({_sql('message', messages)})"
        ).fetchall()[0]
    return {
        "deleted with record": removed,
        "gone without record": taken,
        "present": messages - removed - taken,
    }


def main() -> int:
    """Measure one shape; 1 when an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--shape", choices=["cloud", "host"], default="cloud")
    parser.add_argument("--data", type=Path, default=Path(".bench"))
    parser.add_argument("--steps", action="store_true", help="print the seconds of each step")
    parser.add_argument("--memory", default="", help="limit of the database, such as 512MB")
    arguments = parser.parse_args()
    evidence = arguments.data / f"ledger-{arguments.shape}-{arguments.messages}"
    write(evidence, arguments.shape, arguments.messages)
    case = arguments.data / f"ledger-case-{os.getpid()}"
    spent = Spent()
    _watch(spent, with_steps=arguments.steps)
    stages = Stages()
    try:
        settings = pipeline.Settings(now=NOW, proof="always", memory=arguments.memory)
        pipeline.investigate([evidence], case, settings, stages)
        return _tell(stages, spent, arguments.messages, case)
    finally:
        shutil.rmtree(case, ignore_errors=True)


def _watch(spent: Spent, *, with_steps: bool) -> None:
    """Take the time of the ledger where the pipeline calls it."""
    build, run = ledger.store, duckdb.DuckDBPyConnection.execute

    def timed(*given: object, **named: object) -> int:
        earlier, before = peak(begin=True), stamp()
        rows = build(*given, **named)  # type: ignore[arg-type]
        spent.whole, spent.peaks = stamp().since(before), (earlier, peak())
        return rows

    def one_by_one(
        connection: duckdb.DuckDBPyConnection, name: str, values: dict[str, str], **named: str
    ) -> None:
        for step, sql in statements.steps(name, **named).items():
            before = stamp()
            run(connection, statements.filled(sql, values))
            spent.add(f"{name} {step}", stamp().since(before))

    open_case.ledger.store = timed
    if with_steps:
        statements.run = one_by_one


def _tell(stages: Stages, spent: Spent, messages: int, case: Path) -> int:
    loading = stages.began["detecting"].since(stages.began["sealing"])
    with duckdb.connect(":memory:") as made:
        found = dict(
            made.execute(
                f"SELECT Verdict, count(*) FROM read_parquet('{case}/tables/MessageLedger/*.parquet') "
                "WHERE MessageId NOT LIKE '<last%' GROUP BY 1"
            ).fetchall()
        )
    for name, one in spent.steps.items():
        print(f"  {name:40} {one.wall:8.1f} s {one.cpu:8.1f} CPU s")
    print(
        f"{messages:,} messages, {messages * 5:,} records; load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )
    print(f"loading  {loading.wall:8.1f} s {loading.cpu:8.1f} CPU s, peak {spent.peaks[0]} MB")
    print(f"ledger   {spent.whole.wall:8.1f} s {spent.whole.cpu:8.1f} CPU s, peak {spent.peaks[1]} MB")
    print(
        f"ledger / loading: {spent.whole.wall / loading.wall:.2f} on the wall, {spent.whole.cpu / loading.cpu:.2f} in CPU seconds"
    )
    if found != (wanted := expected(messages)):
        print(f"WRONG: {found} instead of {wanted}")
        return 1
    print(f"verdicts as planted: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
