"""Generate a realistic unified audit log of any size, with known chains and known damage.

    python -m bench.generate --records 100000 --shape ndjson --out .bench/100k.ndjson

Beside FILE come FILE.damage.json (every damaged line: line, byte offset, length, kind)
and FILE.truth.json (counts, and for each planted chain its actor and where its steps
lie). The same arguments give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import bisect
import datetime as dt
import itertools
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.people import Worker, hire
from bench.planting import STEPS, Plan, Step, actor, chain_record, damage_text, intruder_ip, make_plan
from bench.records import MIX, Draw, Record, ordinary
from bench.shapes import FRAMES, SHAPES, write_record

# Large enough that a process is busy, small enough that a few blocks fit in memory.
BLOCK = 5_000
PEOPLE = 500
DAYS = 30
FIRST_DAY = dt.datetime(2026, 9, 14, tzinfo=dt.UTC)
# How many records fall into each hour of a working day; weekends get a tenth.
HOURS = (1, 1, 1, 1, 1, 2, 6, 14, 26, 30, 30, 28, 22, 26, 28, 28, 26, 20, 10, 6, 4, 3, 2, 1)
WEEKEND = 5


class Job(NamedTuple):
    """One block of the file: its positions and what is planted in them."""

    seed: int
    shape: str
    start: int
    stop: int
    records: int
    plan: Plan


class Block(NamedTuple):
    """One rendered block; positions are relative to the block."""

    content: bytes
    spans: dict[int, tuple[int, int]]
    operations: Counter[str]


def time_table() -> list[dt.datetime]:
    """Return one entry for every share of the export's hours, oldest first."""
    table: list[dt.datetime] = []
    for day, (hour, weight) in itertools.product(range(DAYS), enumerate(HOURS)):
        moment = FIRST_DAY + dt.timedelta(days=day, hours=hour)
        table += [moment] * (max(1, weight // 10) if moment.weekday() >= WEEKEND else weight)
    return table


def moment_at(table: list[dt.datetime], position: int, records: int) -> dt.datetime:
    """Return the hour a position of the file belongs to: exports run from new to old."""
    return table[int((records - 1 - position) / records * len(table))]


def render_block(job: Job) -> Block:
    """Render one block; runs in a worker process."""
    draw = Draw(f"block/{job.seed}/{job.start}")
    spans: dict[int, tuple[int, int]] = {}
    operations: Counter[str] = Counter()
    parts: list[bytes] = []
    offset = 0
    separator = len(FRAMES[job.shape].separator)
    for position, record in _block_records(draw, job):
        kind = job.plan.damage.get(position, "")
        cell = damage_text(draw, kind, record.text) if kind else record.text.encode()
        index = f'"{position + 1}","{job.records}"'
        row = write_record(job.shape, record, cell, kind, index)
        if kind or position in job.plan.steps:
            spans[position] = (offset, len(row))
        if not kind:
            operations[record.operation] += 1
        parts.append(row)
        offset += len(row) + separator
    return Block(FRAMES[job.shape].separator.join(parts), spans, operations)


def _block_records(draw: Draw, job: Job) -> Iterator[tuple[int, Record]]:
    """Yield position and record of a block, planted steps in their places."""
    people = hire(job.seed, PEOPLE)
    number = job.stop - job.start
    makers = draw.source.choices([m for m, _ in MIX], [w for _, w in MIX], k=number)
    workers = draw.source.choices(people, [worker.weight for worker in people], k=number)
    table = time_table()
    for position, maker, worker in zip(range(job.start, job.stop), makers, workers, strict=True):
        step = job.plan.steps.get(position)
        if step:
            yield position, chain_record(draw, _borrowed(people, step), step, _start(job, step, table))
            continue
        hour = moment_at(table, position, job.records)
        second = draw.below(3600)
        text = f"{hour:%Y-%m-%dT%H}:{second // 60:02d}:{second % 60:02d}"
        yield position, ordinary(draw, maker, worker, hour.toordinal(), text)


def _borrowed(people: list[Worker], step: Step) -> Worker:
    """Return whose mailbox ids a chain carries: the same for all of its steps."""
    return people[step.chain % len(people)]


def _start(job: Job, step: Step, table: list[dt.datetime]) -> dt.datetime:
    """Return when a chain's export happened: near the time of its neighbours in the file."""
    first = next(p for p, s in job.plan.steps.items() if s == Step(step.chain, 0))
    return moment_at(table, first, job.records) + dt.timedelta(minutes=step.chain % 60)


def jobs(arguments: argparse.Namespace, plan: Plan) -> Iterator[Job]:
    """Yield the blocks of the file in order, each with its own share of the damage."""
    damaged = list(plan.damage)
    for start in range(0, arguments.records, BLOCK):
        stop = min(arguments.records, start + BLOCK)
        chosen = damaged[bisect.bisect_left(damaged, start) : bisect.bisect_left(damaged, stop)]
        # A chain may straddle blocks and needs its first step's place, so steps go to all.
        own = Plan(plan.steps, {position: plan.damage[position] for position in chosen})
        yield Job(arguments.seed, arguments.shape, start, stop, arguments.records, own)


def rendered(work: Iterator[Job], processes: int) -> Iterator[Block]:
    """Yield rendered blocks in order, keeping only a few in memory."""
    if processes == 1:
        yield from map(render_block, work)
        return
    with ProcessPoolExecutor(processes) as pool:
        waiting: deque[Future[Block]] = deque()
        for job in work:
            waiting.append(pool.submit(render_block, job))
            if len(waiting) > processes * 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Written(NamedTuple):
    """What the parent learned while writing: absolute places and counts."""

    spans: dict[int, tuple[int, int]]
    operations: Counter[str]
    size_bytes: int


def write_file(arguments: argparse.Namespace, plan: Plan, output: BinaryIO) -> Written:
    """Write all blocks and return where the planted records lie."""
    frame = FRAMES[arguments.shape]
    offset = output.write(frame.opening)
    spans: dict[int, tuple[int, int]] = {}
    operations: Counter[str] = Counter()
    for number, block in enumerate(rendered(jobs(arguments, plan), arguments.processes)):
        if number:
            offset += output.write(frame.separator)
        spans |= {p: (offset + start, length) for p, (start, length) in block.spans.items()}
        operations += block.operations
        offset += output.write(block.content)
    offset += output.write(frame.closing)
    return Written(spans, operations, offset)


def place(arguments: argparse.Namespace, written: Written, position: int) -> dict[str, int]:
    """Return line (1-based), byte offset and length of a position of the file."""
    offset, length = written.spans[position]
    is_one_line = arguments.shape == "array"
    first = FRAMES[arguments.shape].first_line
    return {"line": 1 if is_one_line else first + position, "offset": offset, "length": length}


def truth(arguments: argparse.Namespace, plan: Plan, written: Written) -> dict[str, object]:
    """Describe what is in the file: counts, and the chains to find."""
    blank = sum(kind == "blank" for kind in plan.damage.values())
    chains: dict[int, dict[str, object]] = {}
    for position, step in sorted(plan.steps.items(), key=lambda pair: pair[1]):
        chain = chains.setdefault(
            step.chain,
            {"actor": actor(step.chain), "ip": intruder_ip(step.chain), "steps": []},
        )
        step_place = {"operation": STEPS[step.number][1], **place(arguments, written, position)}
        cast_list(chain["steps"]).append(step_place)
    return {
        "shape": arguments.shape,
        "seed": arguments.seed,
        "size_bytes": written.size_bytes,
        "records": arguments.records - blank,
        "events": arguments.records - len(plan.damage),
        "damaged": len(plan.damage) - blank,
        "blank": blank,
        "operations": dict(sorted(written.operations.items())),
        "chains": list(chains.values()),
    }


def cast_list(value: object) -> list[object]:
    """Return a value known to be a list as one."""
    assert isinstance(value, list)  # noqa: S101 - narrows the type, cannot fail
    return value


def damage(arguments: argparse.Namespace, plan: Plan, written: Written) -> list[dict[str, object]]:
    """List every damaged record with its place and kind."""
    return [{**place(arguments, written, position), "kind": kind} for position, kind in plan.damage.items()]


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damage", type=float, default=0.0001, help="share of records, 0 to 1")
    parser.add_argument("--shape", choices=SHAPES, default="ndjson")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Generate one file and its two manifests."""
    arguments = parse(argv)
    plan = make_plan(arguments.records, arguments.seed, arguments.damage, arguments.shape)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("wb") as output:
        written = write_file(arguments, plan, output)
    manifests = {
        "damage": damage(arguments, plan, written),
        "truth": truth(arguments, plan, written),
    }
    for name, content in manifests.items():
        Path(f"{arguments.out}.{name}.json").write_text(json.dumps(content, indent=1), "utf-8")
    print(f"{arguments.out}: {arguments.records:,} records, {written.size_bytes:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
