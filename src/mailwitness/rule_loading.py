"""The load report: of each rule that somebody gives, whether it runs here, or why not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec

from mailwitness.content.foreign import load as foreign
from mailwitness.content_check import TEST_NOW, Bench
from mailwitness.errors import ConfigError, MailwitnessError
from mailwitness.findings import execute
from mailwitness.kql import referenced_tables, uses_clock
from mailwitness.report.text import visible

_OK, _FAILED = 0, 2
_TIMEOUT_SECONDS = 60


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: ``runs``, or ``unsupported`` with the reason; a note says how it is run where that matters."""

    file: str
    kind: str
    name: str
    outcome: str
    reason: str = ""
    tables: list[str] = []
    note: str = ""


def report(paths: list[Path]) -> list[Line]:
    """Return one line for each rule: those that run are translated and run once on empty tables.

    Raises:
        ContentError: there is no rule, or no file can be read.
    """
    loaded = foreign.load(*paths)
    bench = Bench()
    try:
        lines = [_tried(bench, item) for item in loaded.accepted]
    finally:
        bench.close()
    lines += [
        Line(
            file=item.file,
            kind=item.kind or "file",
            name=item.name,
            outcome="unsupported",
            reason=item.reason,
        )
        for item in loaded.refused
    ]
    return sorted(lines, key=lambda line: (line.file, line.name))


def _tried(bench: Bench, item: foreign.Accepted) -> Line:
    tables = sorted(referenced_tables(item.rule.query, bench.engine.schema))
    reason = "" if tables else "the query names no known table"
    try:
        for table in tables:
            bench.fill(table, [], item.file.name)
        execute(
            bench.connection,
            bench.engine.to_sql(item.rule.query, now=TEST_NOW),
            timeout_seconds=_TIMEOUT_SECONDS,
            limit=1,
        )
    except MailwitnessError as error:
        reason = reason or error.message
    note = ""
    if uses_clock(item.rule.query) and not reason:
        note = f"it asks for the present time: run at every {item.rule.queryFrequency} over the hours in which there is data"
    return Line(
        file=item.file.name,
        kind=item.kind,
        name=item.rule.name,
        outcome="unsupported" if reason else "runs",
        reason=reason,
        tables=tables,
        note=note,
    )


def print_report(paths: list[Path], *, as_json: bool) -> int:
    """Print the load report; 0 when every rule runs, 2 otherwise.

    Raises:
        ConfigError: no path was given.
    """
    if not paths:
        raise ConfigError("no rules were given", remedy="Name a rule file or a folder of rules.")
    lines = report(paths)
    counts = Counter(line.outcome for line in lines)
    if as_json:
        print(json.dumps([msgspec.to_builtins(line) for line in lines], indent=1))
    else:
        for line in lines:
            words = (
                f"runs on {', '.join(line.tables)}"
                if line.outcome == "runs"
                else f"unsupported: {line.reason}"
            )
            note = f" ({line.note})" if line.note else ""
            print(visible(f"{line.file}: {line.name or '(no name)'}: {words}{note}", 600))
        print(f"{len(lines)} rules: {counts['runs']} run, {counts['unsupported']} unsupported")
    return _FAILED if counts["unsupported"] else _OK
