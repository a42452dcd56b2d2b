"""Measure whole investigations of event logs, each beside plain DuckDB that reads the same columns of the same file and counts them.

    python -m bench.event_rate                                   every form, undamaged and with a tenth of the records broken
    python -m bench.event_rate --forms eslogger google --records 300000 --rounds 3
    python -m bench.event_rate --peaks --memory 512MB            time and highest memory at a size and at four times that size

Every run is a process of its own; wall and processor seconds and the highest memory of the best round are printed. The share of
the undamaged speed compares ours with ours. It ends with 1 when a record was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import duckdb

from bench import event_texts, measure
from mailwitness.content import loader

# Without the tables of the proof, which larger evidence goes without by itself: files on both sides of that size are then comparable.
_INVESTIGATE = (sys.executable, "-m", "mailwitness", "investigate", "--proof", "never")
# Mapping whose raw keys the database reads, and how each form is written.
SOURCES = {
    "eslogger": "macos_es_event",
    "unified-log": "macos_unified_log",
    "google": "google_activity",
    "google-list": "google_activity",
    "evtx_dump": "evtx_dump",
    "winlogbeat": "winlogbeat",
    "sentinel": "sentinel",
    "gam-csv": "gam-csv",
}
# What a Windows event consists of, as each program names it.
COLUMNS = {
    "evtx_dump": {"Event": "STRUCT(System JSON, EventData JSON)"},
    "winlogbeat": {
        "@timestamp": "VARCHAR",
        "message": "VARCHAR",
        "log": "JSON",
        "host": "JSON",
        "winlog": "JSON",
    },
    "sentinel": {
        name: "JSON" if name == "EventData" else "VARCHAR"
        for name in (
            "TimeGenerated",
            "Provider",
            "Channel",
            "Computer",
            "Task",
            "EventLevel",
            "EventID",
            "EventRecordId",
            "Keywords",
            "EventData",
            "SystemUserId",
        )
    },
}
# A whole list is one object to the database.
_LARGEST = 2_000_000_000
DAMAGES = (0.0, 0.0001, 0.1)
_LARGER = 4


class Best(NamedTuple):
    """The smallest of several rounds; seconds and megabytes."""

    wall: float
    cpu: float
    memory: int


def floor(path: str, form: str) -> int:
    """Count every column that the form has, and do nothing else."""
    if form == "gam-csv":
        relation = f"read_csv('{path}', header = true, all_varchar = true, ignore_errors = true)"
        names = list(event_texts.gam_row(0, random.Random(0)))
    else:
        kinds = COLUMNS.get(form) or loader.mappings()[SOURCES[form]].raw
        names = list(kinds)
        if form == "google-list":
            inner = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
            listed = f"read_json('{path}', columns = {{'items': 'STRUCT({inner})[]'}}, maximum_object_size = {_LARGEST})"
            relation = f"(SELECT item.* FROM (SELECT unnest(items) AS item FROM {listed}))"
        else:
            columns = ", ".join(f"'{name}': '{kind}'" for name, kind in kinds.items())
            relation = f"read_json('{path}', columns = {{{columns}}}, format = 'newline_delimited', ignore_errors = true)"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        counted = ", ".join(f'count("{name}")' for name in names)
        row = connection.execute(f"SELECT count(*), {counted} FROM {relation}").fetchone()
    return int(row[0]) if row else 0


def _best(command: list[str], rounds: int, case: Path | None) -> Best:
    found = []
    for _round in range(rounds):
        if case is not None:
            shutil.rmtree(case, ignore_errors=True)
        run = measure.run(command)
        if run.code not in (0, 1, 2) or run.error.startswith("Traceback"):
            raise SystemExit(run.error)
        found.append(run)
    return Best(
        min(run.wall for run in found), min(run.cpu for run in found), max(run.rss for run in found) >> 20
    )


def _counts(case: Path) -> dict[str, int]:
    report = json.loads((case / "report.json").read_text("utf-8"))
    [exhibit] = report["intake"]
    return {name: exhibit[name] for name in ("records", "loaded", "duplicates", "quarantined", "salvaged")}


def _measure(form: str, arguments: argparse.Namespace, folder: Path) -> bool:
    """Print one line for each damage of a form; tell whether every record is accounted for."""
    sound, undamaged = True, None
    for damage in DAMAGES if arguments.damage is None else arguments.damage:
        path = folder / f"log{'.csv' if form == 'gam-csv' else '.json'}"
        event_texts.write(path, form, arguments.records, damage)
        case = folder / "case"
        command = [*_INVESTIGATE, str(path), "--case", str(case)]
        command += ["--memory", arguments.memory] if arguments.memory else []
        ours = _best(command, arguments.rounds, case)
        counts = _counts(case)
        complete = counts["records"] == counts["loaded"] + counts["duplicates"] + counts["quarantined"]
        # In a list and in a table one broken quote makes one piece of damage of several records.
        complete &= (form in {"google-list", "gam-csv"} and damage > 0) or counts[
            "records"
        ] >= arguments.records
        sound = sound and complete
        undamaged = undamaged or ours
        line = f"{form:12} damage {damage:<7} {path.stat().st_size >> 20:5} MB  ours wall {ours.wall:6.2f} cpu {ours.cpu:6.2f} s {ours.memory:5} MB"
        if damage == 0:
            base = _best(
                [sys.executable, "-m", "bench.event_rate", "--floor", form, str(path)], arguments.rounds, None
            )
            line += f"  FLOOR wall {base.wall:5.2f} cpu {base.cpu:5.2f}  ratio wall {ours.wall / base.wall:5.2f} cpu {ours.cpu / base.cpu:5.2f}"
        else:
            line += f"  share of undamaged speed: wall {undamaged.wall / ours.wall:4.2f} cpu {undamaged.cpu / ours.cpu:4.2f}"
        print(line, counts, "" if complete else "RECORDS ARE LOST", flush=True)
    return sound


def _peaks(form: str, arguments: argparse.Namespace, folder: Path) -> bool:
    """Print time and highest memory of a form at two sizes; tell whether every record is accounted for."""
    found, complete = [], True
    for factor in (1, _LARGER):
        path = folder / f"log{'.csv' if form == 'gam-csv' else '.json'}"
        event_texts.write(path, form, factor * arguments.records)
        case = folder / "case"
        command = [*_INVESTIGATE, str(path), "--case", str(case)]
        command += ["--memory", arguments.memory] if arguments.memory else []
        found.append((path.stat().st_size >> 20, _best(command, arguments.rounds, case)))
        counts = _counts(case)
        complete &= counts["loaded"] + counts["duplicates"] == factor * arguments.records
    (size, small), (larger_size, large) = found
    print(
        f"{form:12} {size:5} MB: cpu {small.cpu:6.2f} s {small.memory:5} MB   {larger_size:5} MB: cpu {large.cpu:6.2f} s {large.memory:5} MB"
        f"   {_LARGER}x the records: cpu {large.cpu / small.cpu:4.2f}x memory {large.memory / small.memory:4.2f}x"
        f"   --memory {arguments.memory or 'default'} {'' if complete else 'RECORDS ARE LOST'}",
        flush=True,
    )
    return complete


def main() -> int:
    """Measure the forms asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--damage", type=float, nargs="+")
    parser.add_argument("--memory", default="")
    parser.add_argument("--peaks", action="store_true", help="time and memory at two sizes, undamaged")
    parser.add_argument("--floor", nargs=2, metavar=("FORM", "FILE"), help="only the base, for one file")
    arguments = parser.parse_args()
    if arguments.floor:
        print(floor(arguments.floor[1], arguments.floor[0]))
        return 0
    sound = True
    for form in arguments.forms:
        with tempfile.TemporaryDirectory(prefix="mailwitness-bench-") as folder:
            one = _peaks if arguments.peaks else _measure
            sound = one(form, arguments, Path(folder)) and sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
