"""Run the benchmark: equality first, then whole processes side by side, then ratios.

    python -m bench                     10,000 and 100,000 records
    python -m bench --full              10,000 to 3,000,000 records
    python -m bench --sizes 1000000     chosen sizes

Only ratios mean anything: the contenders of one table run alternately (A B A B) in
the same minutes on the same machine, and the best of their rounds counts. A wrong
answer fails the benchmark whatever its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench import measure, verify
from bench.baselines import seed_rule
from bench.measure import Measurement
from bench.table import Facts, print_table

RESULTS = Path(__file__).resolve().parent / "results"
DATA = Path(".bench")
QUICK = (10_000, 100_000)
FULL = (10_000, 100_000, 300_000, 1_000_000, 3_000_000)
EXTENSIONS = {"ndjson": "ndjson", "array": "json", "purview-csv": "csv", "search-csv": "csv"}
# One in ten thousand records is damaged in the timed files, as in a bad real export.
DAMAGE = 0.0001
# json.loads and the memory-limited run say nothing new above this size.
LARGE = 1_000_000
ROUNDS = 3
SHOWN_PROBLEMS = 5
EQUALITY_RECORDS = 10_000


class Contender(NamedTuple):
    """One command of a table; `case` is the case folder it fills, if it is ours."""

    name: str
    command: list[str]
    case: Path | None = None


class Bench:
    """One run of the benchmark: where things are, and what was measured so far."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.data: Path = arguments.data
        self.program = arguments.program.split() if arguments.program else program()
        self.best: Facts = {}
        self.problems: list[str] = []
        self.answers: dict[str, verify.Answer] = {}
        self.machine = measure.machine()
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.results = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"

    def say(self, text: str) -> None:
        """Tell the person who waits what is going on."""
        print(text, flush=True)

    def file(self, records: int, shape: str, damage: float = DAMAGE, seed: int = 1) -> Path:
        """Return a generated file, making it when it is not there yet."""
        # Damage is fatal to DuckDB's array reader, so the timed array has none.
        share = 0.0 if shape == "array" and damage == DAMAGE else damage
        path = self.data / f"{shape}-{records}-{share}-{seed}.{EXTENSIONS[shape]}"
        if not Path(f"{path}.truth.json").is_file():
            self.say(f"generating {path.name}")
            command = [sys.executable, "-m", "bench.generate", "--records", str(records)]
            command += ["--shape", shape, "--damage", str(share), "--seed", str(seed), "--out", str(path)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return path

    def investigate(self, path: Path, name: str, *options: str) -> Contender:
        """Return our whole job on a file, with a case folder of its own."""
        case = self.data / "cases" / name
        command = [*self.program, "investigate", str(path), "--case", str(case), "--json", *options]
        return Contender(name, command, case)

    def compare(self, label: str, records: int, contenders: list[Contender], path: Path) -> None:
        """Run the contenders alternately and keep the best round of each."""
        rounds = 1 if records > LARGE else self.arguments.rounds
        measure.warm(path)
        for number in range(rounds):
            for contender in contenders:
                self.measure(label, records, contender, number, path)

    def measure(self, label: str, records: int, contender: Contender, number: int, path: Path) -> None:
        """Run one contender once, check its answer, and keep the figures."""
        if contender.case:
            shutil.rmtree(contender.case, ignore_errors=True)
        others = measure.wait_until_idle()
        measured = measure.run(contender.command, {"MAILWITNESS_BENCH": "1"})
        if contender.case:
            self.judge(label, contender, measured, path)
        elif measured.code:
            self.problems.append(f"{label} {contender.name} failed: {measured.error[-300:]}")
        if not label.startswith("equality"):
            self.keep(label, records, contender.name, measured)
        self.record(label, records, contender.name, number, measured, others)

    def judge(self, label: str, contender: Contender, measured: Measurement, path: Path) -> None:
        """Compare the answer of our own job with the manifests of the file."""
        if measured.code not in {0, 1, 2} or contender.case is None:
            self.problems.append(f"{label} {contender.name} exit {measured.code}: {measured.error[-300:]}")
            return
        answer = verify.check(contender.case, path)
        self.answers[label] = answer
        shown = answer.problems[:SHOWN_PROBLEMS]
        if len(answer.problems) > len(shown):
            shown = [*shown, f"and {len(answer.problems) - len(shown)} more"]
        self.problems += [f"{label} {contender.name}: {problem}" for problem in shown]

    def keep(self, label: str, records: int, name: str, measured: Measurement) -> None:
        """Keep the best wall time, and the highest memory, of a contender."""
        known = self.best.get((label, records, name))
        if known:
            best = min(known, measured, key=lambda m: m.wall)
            measured = best._replace(rss=max(known.rss, measured.rss))
        self.best[label, records, name] = measured

    def record(
        self, label: str, records: int, name: str, number: int, measured: Measurement, others: float
    ) -> None:
        """Append one measurement to the results, as one JSON line."""
        line = {
            "what": name,
            "shape": label,
            "records": records,
            "round": number,
            "wall_seconds": round(measured.wall, 4),
            "cpu_seconds": round(measured.cpu, 4),
            "peak_rss_bytes": measured.rss,
            "exit": measured.code,
            "first_finding_seconds": measured.first_finding,
            "others_busy": round(others, 3),
            "load": os.getloadavg()[0],
            **self.machine,
        }
        with self.results.open("a", encoding="utf-8") as output:
            output.write(json.dumps(line) + "\n")


def program() -> list[str]:
    """Return how to start mailwitness: the script beside this Python, or its main function."""
    script = Path(sys.executable).with_name("mailwitness")
    if script.is_file():
        return [str(script)]
    return [sys.executable, "-c", "from mailwitness.cli import main; main()"]


def module(name: str, *arguments: str) -> list[str]:
    """Return the command of one of the benchmark's own small programs."""
    return [sys.executable, "-m", f"bench.{name}", *arguments]


def check_equality(bench: Bench) -> None:
    """Investigate small damaged files of every shape; the answers have to be exact."""
    for shape in EXTENSIONS:
        for share in (0.01, 0.1):
            path = bench.file(EQUALITY_RECORDS, shape, share, seed=2)
            before = len(bench.problems)
            label = f"equality {shape} {share:.0%} damaged"
            contender = bench.investigate(path, f"equality-{shape}")
            bench.measure(label, EQUALITY_RECORDS, contender, 0, path)
            verdict = "equal" if len(bench.problems) == before else "DIFFERENT"
            bench.say(f"{label}: {verdict} {_summary(bench.answers.get(label))}")


def _summary(answer: verify.Answer | None) -> str:
    """Say in one line what a run made of the damage and the chains."""
    if answer is None:
        return ""
    return (
        f"({answer.quarantined} quarantined, {answer.salvaged} salvaged, {answer.chains} chains proven, "
        f"{answer.other_high_cases} other cases of high severity)"
    )


def compare_ndjson(bench: Bench, records: int) -> None:
    """Measure the main table: one NDJSON export, read, parsed and investigated."""
    path = bench.file(records, "ndjson")
    bench.say(f"ndjson, {records:,} records, {path.stat().st_size / 1e6:,.0f} MB")
    floor = module("floor", str(path), "--threads", str(bench.arguments.threads))
    contenders = [
        Contender("wc -l", ["wc", "-l", str(path)]),
        Contender("sha256", module("baselines", "sha256", str(path))),
        Contender("floor", floor),
        Contender("floor, rows only", [*floor, "--rows-only"]),
        bench.investigate(path, "investigate"),
    ]
    if records <= LARGE:
        contenders.append(Contender("json.loads", module("baselines", "json", str(path))))
    contenders.append(bench.investigate(path, "investigate --memory 1GB", "--memory", "1GB"))
    bench.compare("ndjson", records, contenders, path)
    if records == min(LARGE, max(bench.arguments.sizes)) and seed_rule():
        case = str(bench.data / "cases" / "investigate")
        seed = Contender("seed rule alone", module("baselines", "seed", case, *bench.program))
        bench.compare("ndjson", records, [seed], path)


def compare_others(bench: Bench, records: int) -> None:
    """Measure array and Purview CSV against DuckDB's own readers of those files."""
    for shape in ("array", "purview-csv"):
        path = bench.file(records, shape)
        bench.say(f"{shape}, {records:,} records, {path.stat().st_size / 1e6:,.0f} MB")
        threads = str(bench.arguments.threads)
        floor = module("floor", str(path), "--shape", shape, "--threads", threads)
        bench.compare(
            shape, records, [Contender("floor", floor), bench.investigate(path, f"investigate {shape}")], path
        )


def compare_rules(bench: Bench, records: int) -> None:
    """Measure a pack of 50 rules against one of 500, shipped rules included."""
    case = bench.data / "cases" / "investigate"
    try:
        shipped = len(json.loads((case / "report.json").read_text("utf-8"))["rules"])
    except (OSError, ValueError, KeyError):
        bench.problems.append("rules: no report to count the shipped rules from")
        return
    path = bench.file(records, "ndjson")
    contenders = []
    for total in (50, 500):
        folder = bench.data / f"rules-{total}"
        shutil.rmtree(folder, ignore_errors=True)
        # In a process of its own: the runner's memory would count as the contenders'.
        subprocess.run(module("extra_rules", str(folder), str(max(0, total - shipped))), check=True)
        contenders.append(bench.investigate(path, f"{total} rules", "--rules", str(folder)))
    bench.say(f"rules: {shipped} shipped, filled up to 50 and 500")
    bench.compare("ndjson", records, contenders, path)


def compare_small(bench: Bench) -> None:
    """Measure start-up: the bare interpreter, --help, 10 and 1,000 records."""
    for records in (10, 1_000):
        path = bench.file(records, "ndjson", 0.0)
        bench.compare("small", records, [bench.investigate(path, "investigate")], path)
    path = bench.file(10, "ndjson", 0.0)
    contenders = [
        Contender("python -c pass", [sys.executable, "-c", "pass"]),
        Contender("--help", [*bench.program, "--help"]),
    ]
    for _ in range(3):
        bench.compare("start-up", 0, contenders, path)


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10,000 to 3,000,000 records")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of records instead")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="best of so many (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of FLOOR")
    parser.add_argument("--data", type=Path, default=DATA, help="folder for generated files and cases")
    parser.add_argument(
        "--program", default="", help="how to start mailwitness (default: beside this Python)"
    )
    parser.add_argument("--skip-equality", action="store_true")
    arguments = parser.parse_args(argv)
    arguments.sizes = sorted(arguments.sizes or (FULL if arguments.full else QUICK))
    return arguments


def main(argv: list[str]) -> int:
    """Run everything and print the table; exit 1 when an answer was wrong."""
    bench = Bench(parse(argv))
    bench.say(f"results: {bench.results}")
    if not bench.arguments.skip_equality:
        check_equality(bench)
    compare_small(bench)
    for records in bench.arguments.sizes:
        compare_ndjson(bench, records)
    middle = min(LARGE, max(bench.arguments.sizes))
    compare_others(bench, middle)
    compare_rules(bench, middle)
    print_table(bench.best, bench.arguments.sizes)
    for problem in bench.problems:
        print(f"WRONG: {problem}")
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
