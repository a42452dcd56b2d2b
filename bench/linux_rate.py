"""Measure how fast text logs of a Linux mail host become tables, each beside what others need for the same file.

    python -m bench.linux_rate                     mail log, audit log of an ordinary server, audit log of a mail host
    python -m bench.linux_rate --mb 500 --rounds 5

Mail logs stand beside plain DuckDB that splits the same lines with string functions and counts each column, audit logs
beside ``ausearch --format csv``; 10 % damaged copies stand beside the undamaged. Wall and processor seconds are both
printed, children included; the best round of each counts.

What is compared: ausearch reads the file, puts events together and writes one CSV line of some fifteen columns for each to
nowhere. Ours is the whole of loading: events put together, every line accounted for with its place, what the shipped rules
need of LinuxAuditLog, DeviceProcessEvents and DeviceFileEvents written to the disk. Events that no rule can ask for more
than when, where and what kind they were get brief rows. ausearch uses one processor; on raw logs it spends most of its time
on asking the system for names of accounts, on enriched logs these stand in the file: the promise is for raw logs.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from bench import intake, linux_texts
from bench.evtx_rate import what_rules_need
from mailwitness import start
from mailwitness.models import Exhibit

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailwitness.loading import Wanted
    from mailwitness.sources import Tally

BYTES_A_MAIL_LINE = 165
# Share of the events that are about mail, and whether auditd wrote the names of accounts too (log_format = ENRICHED).
AUDIT_LOGS = {
    "audit, ordinary server": (0.002, False),
    "audit, ordinary server, enriched": (0.002, True),
    "audit, mail host": (0.5, False),
    "audit, mail host, enriched": (0.5, True),
}
# What an event of each takes, so that a log is as large as was asked.
BYTES_AN_EVENT = dict(zip(AUDIT_LOGS, (734, 887, 961, 1_154), strict=True))
DAMAGE = 0.1


class Cost(NamedTuple):
    """What one run took."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """Return the processor seconds of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(work: Callable[[], object]) -> Cost:
    """Run something once and return what it took."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def split_plainly(path: Path, threads: int) -> None:
    """Split the lines of a mail log into time, host, tag and message with string functions, and count each."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        connection.execute(
            "SELECT count(moment), count(host), count(tag), count(message), max(length(message)) FROM ("
            "  SELECT try_cast(split_part(line, ' ', 1) AS TIMESTAMPTZ) AS moment, split_part(line, ' ', 2) AS host,"
            "    split_part(split_part(line, ' ', 3), '[', 1) AS tag, substr(line, strpos(line, ': ') + 2) AS message"
            "  FROM read_csv(?, columns = {'line': 'VARCHAR'}, delim = chr(1), quote = '', escape = '', header = false,"
            "    auto_detect = false, ignore_errors = true, max_line_size = 4000000))",
            [str(path)],
        ).fetchall()


def search(path: Path) -> None:
    """Let the audit system's own program write the events as CSV."""
    command = ["ausearch", "--input", str(path), "--format", "csv"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def load(path: Path, wanted: Wanted | None, threads: int) -> tuple[Cost, str]:
    """Load one log as a case does; return its cost and its counts."""
    size = path.stat().st_size
    exhibit = Exhibit(id="E1", path=path.name, location=path, size_bytes=size, blake3="a" * 64)
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory(prefix="mailwitness-bench-") as name:
        work = intake.prepare([exhibit], Path(name), wanted, threads=threads)
        taken = cost(lambda: tallies.extend(work()))
    (tally,) = tallies
    if tally.records != tally.loaded + tally.duplicates + tally.quarantined:
        message = f"{path.name}: the counts do not add up"
        raise SystemExit(message)
    return taken, f"{tally.records:,} records, {tally.quarantined:,} quarantined"


class Contest(NamedTuple):
    """One log, what it is measured against, and the ratio that is promised."""

    name: str
    path: Path
    base_name: str
    base: Callable[[Path], None] | None
    is_rate: bool = False


def contests(folder: Path, megabytes: int, threads: int) -> list[Contest]:
    """Write the logs and say what each stands beside."""
    size = megabytes * 1_000_000
    mail = folder / "mail.log"
    linux_texts.mail_log(mail, size // BYTES_A_MAIL_LINE)
    found = [Contest("mail log", mail, "plain DuckDB", lambda path: split_plainly(path, threads))]
    for name, (share, enriched) in AUDIT_LOGS.items():
        path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.log"
        linux_texts.audit_log(path, size // BYTES_AN_EVENT[name], share, enriched=enriched)
        found.append(
            Contest(name, path, "ausearch", search if shutil.which("ausearch") else None, is_rate=True)
        )
    return found


def best(costs: list[Cost]) -> Cost:
    """Return the smallest of both figures."""
    return Cost(min(one.wall for one in costs), min(one.cpu for one in costs))


def measure(contest: Contest, wanted: Wanted | None, rounds: int, threads: int) -> None:
    """Run one contest alternately and print its ratios."""
    hurt = contest.path.with_suffix(".damaged.log")
    hurt.write_bytes(
        b"\n".join(linux_texts.damaged(contest.path.read_bytes().split(b"\n")[:-1], DAMAGE)) + b"\n"
    )
    base, ours, ours_hurt = [], [], []
    for _ in range(rounds):
        if contest.base is not None:
            base.append(cost(partial(contest.base, contest.path)))
        taken, counts = load(contest.path, wanted, threads)
        ours.append(taken)
        taken, counts_hurt = load(hurt, wanted, threads)
        ours_hurt.append(taken)
    print(f"{contest.name}, {contest.path.stat().st_size / 1e6:,.0f} MB: {counts}; damaged: {counts_hurt}")
    mine, mine_hurt = best(ours), best(ours_hurt)
    if base:
        _compare(contest, best(base), mine)
    wall, cpu = mine.wall / mine_hurt.wall, mine.cpu / mine_hurt.cpu
    print(
        f"  10 % damaged {mine_hurt.wall:.2f} {mine_hurt.cpu:.2f}: {wall:.2f} of the speed by wall, {cpu:.2f} by processor"
    )


def _compare(contest: Contest, theirs: Cost, mine: Cost) -> None:
    wall, cpu = mine.wall / theirs.wall, mine.cpu / theirs.cpu
    shown = (
        f"{1 / wall:.2f} times as fast by wall, {1 / cpu:.2f} by processor"
        if contest.is_rate
        else f"{wall:.2f} times its wall, {cpu:.2f} times its processor time"
    )
    costs = f"{contest.base_name} {theirs.wall:.2f} s wall {theirs.cpu:.2f} s cpu; ours {mine.wall:.2f} {mine.cpu:.2f}"
    print(f"  {costs}: {shown}")


def main(argv: list[str]) -> int:
    """Measure all logs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mb", type=int, default=200, help="size of each log (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="best of so many (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="word in the name of the log")
    arguments = parser.parse_args(argv)
    wanted = what_rules_need()
    start.settle()
    with tempfile.TemporaryDirectory(prefix="mailwitness-bench-") as name:
        for contest in contests(Path(name), arguments.mb, arguments.threads):
            if arguments.only in contest.name:
                measure(contest, wanted, arguments.rounds, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
