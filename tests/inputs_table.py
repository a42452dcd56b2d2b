"""Write docs/inputs.md: every public set and every recorded scenario, loaded, counted, and nothing lost.

Run it from the project: `python -m tests.inputs_table`. It ends with 1 when a set ends in an error or its counts do not add up.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import msgspec

from mailwitness.early import Early
from mailwitness.evidence import store
from mailwitness.pipeline import Progress, Settings, _Run
from mailwitness.report.text import visible

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "inputs.md"
NOW = dt.datetime(2026, 12, 31, tzinfo=dt.UTC)
# What stands beside the logs and was written by whoever collected them.
_NOTES = {"SOURCE.md", "README.md", "LICENSE.txt", "how.txt", "labels.jsonl", "MANIFEST.csv"}
_COUNTS = ("records", "loaded", "duplicates", "quarantined", "salvaged")
_HEAD = """# Inputs

What has been read, and what became of it: every set of public logs and every recorded scenario that the project tests with.
`python -m tests.inputs_table` writes this page; the sets themselves are no part of the project.

Records are loaded, duplicates or quarantined, and the three add up; salvaged ones are among the loaded.
Activities are the rows of MailboxActivity that the shipped rules, chains and explanations ask for at once; what only a question asks for later is not among them.
A file that is no log (a listing, a transcript, a configuration) is not recognised, and the report of a run says so.
A folder of public sets holds what its authors gave to test parsers, damage and remarks included: the second table says why records are in quarantine.
"""


class Row(msgspec.Struct, kw_only=True):
    """What became of the files of one set that one source recognises."""

    sample: str
    source: str
    files: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    tables: Counter[str] = msgspec.field(default_factory=Counter)
    activities: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)


def load(sample: str, paths: list[Path]) -> list[Row]:
    """Load the files of one set as a run does, and count by source; raises whatever loading raises."""
    with tempfile.TemporaryDirectory(prefix="mailwitness-inputs-") as folder:
        run = _Run(
            store.CaseFolder(Path(folder) / "case"),
            Settings(now=NOW, memory="1GB", threads=1, proof="never"),
            Progress(),
            Early(),
        )
        try:
            # The stages of a run, without its rules.
            exhibits = run.exhibits.take_in(paths)
            intake = run._load(exhibits)
            opened = run._open()
            try:
                acts = opened.connection.execute(
                    "SELECT _Exhibit, Activity, count(*) FROM MailboxActivity GROUP BY ALL"
                ).fetchall()
            finally:
                opened.close()
        finally:
            run.close()
    rows: dict[str, Row] = {}
    of_exhibit: dict[str, Row] = {}
    for exhibit in exhibits:
        tally = intake.tallies[exhibit.id]
        source = ", ".join(sorted(tally.sources)) or _other(tally.notes)
        row = of_exhibit[exhibit.id] = rows.setdefault(source, Row(sample=sample, source=source))
        row.files += 1
        row.counts.update({name: getattr(tally, name) for name in _COUNTS})
        row.tables.update(tally.tables)
    for exhibit_id, activity, count in acts:
        of_exhibit[exhibit_id].activities[activity] += count
    for kept in intake.quarantine:
        of_exhibit[kept.exhibit].reasons[kept.reason] += 1
    return sorted(rows.values(), key=lambda row: row.source)


def _other(notes: list[str]) -> str:
    return notes[-1].partition("; it begins")[0] if notes else "no records"


def sets() -> list[tuple[str, list[Path]]]:
    """Return the name and the files of every set; an archive or a folder of binary stores is one input."""
    public = [path for path in sorted((DATA / "public").iterdir()) if path.is_dir() and path.name != "elv2"]
    public += sorted(path for path in (DATA / "public" / "elv2").iterdir() if path.is_dir())
    recorded = [
        path
        for group in ("linux-mail", "windows-exchange")
        for path in sorted((DATA / "recorded" / group).iterdir())
    ]
    return [
        (path.relative_to(DATA).as_posix(), _files(path)) for path in (*public, *recorded) if _files(path)
    ]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [] if path.name in _NOTES else [path]
    return [item for item in sorted(path.rglob("*")) if item.is_file() and item.name not in _NOTES]


def why(rows: list[Row]) -> str:
    """Return the table of the reasons for which records are in quarantine."""
    cells = [
        f"| `{row.sample}` | {number} | {visible(reason, 160).replace('|', '/')} |\n"
        for row in rows
        for reason, number in row.reasons.most_common()
    ]
    return "\n| Sample | Quarantined | Why |\n|---|---|---|\n" + "".join(cells)


def line(row: Row) -> str:
    """Return the line of the page for what one source made of one set."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "-"

    cells = [visible(row.source, 120).replace("|", "/"), f"`{row.sample}`", str(row.files)]
    cells += [str(row.counts[name]) for name in _COUNTS] + [listed(row.tables), listed(row.activities)]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Load every set, write the page, and say what is wrong."""
    rows: list[Row] = []
    wrong: list[str] = []
    chosen = sys.argv[1:]
    for name, paths in sets():
        if chosen and not any(word in name for word in chosen):
            continue
        try:
            found = load(name, paths)
        except Exception:  # noqa: BLE001 - a set that ends in an error is a result
            wrong.append(f"{name}: {traceback.format_exc(limit=-2)}")
            continue
        rows += found
        for row in found:
            counts = row.counts
            if counts["records"] != counts["loaded"] + counts["duplicates"] + counts["quarantined"]:
                wrong.append(f"{name}: {row.source}: {dict(counts)} do not add up")
        sys.stdout.write(f"{name} {sum(row.counts['records'] for row in found)}\n")
    total = sum((row.counts for row in rows), Counter[str]())
    titles = ["Input", "Sample", "Files", *(name.capitalize() for name in _COUNTS), "Tables", "Activities"]
    page = f"{_HEAD}\n{len(rows)} rows, {len({row.sample for row in rows})} sets, {sum(row.files for row in rows)} files: "
    page += ", ".join(f"{total[name]:,} {name}" for name in _COUNTS) + f"; {len(wrong)} errors.\n\n"
    page += "| " + " | ".join(titles) + " |\n|" + "---|" * len(titles) + "\n"
    rows.sort(key=lambda row: (row.source, row.sample))
    page += "".join(line(row) + "\n" for row in rows) + why(rows)
    if not chosen:
        PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write("\n".join(wrong or ["nothing is lost"]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(5)
    sys.exit(main())
