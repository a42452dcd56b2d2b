"""What a person asks between runs: queries, sources, rules."""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwitness import completion, findings, local_knowledge, needs, own_sources, pipeline, tables
from mailwitness.content import loader
from mailwitness.content.foreign import load as foreign
from mailwitness.errors import ConfigError, QueryRefused
from mailwitness.evidence.store import CaseFolder
from mailwitness.exports.formats import FORMATS
from mailwitness.kql import referenced_tables
from mailwitness.outcome import json_ready
from mailwitness.proof import ledger, recoverability, visibility
from mailwitness.proof import settings as setting_history
from mailwitness.report.text import safe_csv_cell, visible
from mailwitness.settings import clock
from mailwitness.verification import read_report

if TYPE_CHECKING:
    from mailwitness.content.schemas import Mapping, Rule

_QUERY_TIMEOUT_SECONDS = 300
_WIDEST_CELL = 80
_OK = 0
# Tables of a run that no case keeps, and those of the proof, which a case keeps once they were computed.
_PASSING = findings.AFTER_RULES | {local_knowledge.TABLE}
_PROOF = {ledger.TABLE, recoverability.TABLE, setting_history.TABLE, visibility.TABLE}


def query(kql: str, case: Path, *, form: str, limit: int, now: str | None) -> int:
    """Run a query on a case and print its rows.

    Columns that a run stores only where rules need them are completed from the sealed originals first,
    so that a query never sees a gap as an empty value.

    Raises:
        MailwitnessError: the query is refused, unsupported, too slow, or the case is none.
    """
    folder = CaseFolder(case, create=False)
    moment = clock(now) if now else dt.datetime.fromisoformat(read_report(folder)["evaluated"]["now"])
    settings = pipeline.Settings(now=moment)
    _refuse_unkept(kql, folder)
    with completion.opened(folder, kql, settings) as (connection, engine):
        sql = engine.to_sql(kql, now=moment)
        rows = findings.execute(connection, sql, timeout_seconds=_QUERY_TIMEOUT_SECONDS, limit=limit + 1)
    print_first(rows, form, limit)
    return _OK


def _refuse_unkept(kql: str, folder: CaseFolder) -> None:
    """Refuse a query whose tables the case does not keep: their silence would read as an answer.

    Raises:
        QueryRefused: a table is filled only while a run judges, or the proof was not computed.
    """
    named = referenced_tables(kql, loader.tables())
    passing = sorted(named & _PASSING)
    if passing:
        raise QueryRefused(
            f"{', '.join(passing)}: filled while a run judges, and not kept in the case",
            place="query",
            remedy="Read findings, answers and comparisons in report.json, or ask MailboxActivity.",
        )
    present = tables.TableStore(folder.tables).tables()
    missing = sorted(named - present - {needs.TABLE})
    if missing and set(missing) & _PROOF:
        raise QueryRefused(
            f"{', '.join(sorted(set(missing) & _PROOF))}: not computed for this case",
            place="query",
            remedy="Run `mailwitness ledger --case DIR` first, or investigate with --proof always.",
        )
    if missing:
        print(f"no exhibit of the case holds {', '.join(missing)}", file=sys.stderr)


def print_first(rows: list[dict[str, Any]], form: str, limit: int) -> None:  # Any: query cells
    """Print at most ``limit`` rows, and say so where there are more."""
    print_rows(rows[:limit], form)
    if len(rows) > limit:
        print(f"only the first {limit} rows are shown; use --limit", file=sys.stderr)


def print_rows(rows: list[dict[str, Any]], form: str) -> None:  # Any: query cells
    """Print rows as table, json or csv; nothing from the evidence reaches a terminal or a spreadsheet as more than text."""
    if form == "json":
        print(json.dumps([json_ready(row) for row in rows], indent=1))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if rows:
            writer.writerow([safe_csv_cell(name) for name in rows[0]])
        for row in rows:
            writer.writerow([safe_csv_cell(_text(value)) for value in row.values()])
    else:
        _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:  # Any: query cells
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print("no rows")
        return
    names = [name for name in rows[0] if any(row[name] not in (None, "", [], {}) for row in rows)] or list(
        rows[0]
    )
    table = Table(show_lines=False)
    for name in names:
        table.add_column(Text(visible(name, _WIDEST_CELL)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(_text(row[name]), _WIDEST_CELL)) for name in names))
    Console().print(table)


def _text(value: Any) -> str:  # noqa: ANN401 - a query cell
    ready = json_ready(value)
    return ready if isinstance(ready, str) else "" if ready is None else json.dumps(ready, ensure_ascii=False)


def export(formats: list[str], case: Path, *, out: Path | None, to_stdout: bool) -> int:
    """Write the cases of a report in other formats, or list the formats.

    Raises:
        ConfigError: a format is unknown.
        CaseError: the folder is no case, or cannot be written.
    """
    if not formats:
        for name, one in FORMATS.items():
            print(f"{name:16} {one.purpose} ({one.file})")
        return _OK
    chosen = list(FORMATS) if formats == ["all"] else formats
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown or (to_stdout and len(chosen) != 1):
        raise ConfigError(
            f"{visible(unknown[0])} is no format" if unknown else "standard output takes one format",
            place="export",
            remedy="`mailwitness export` lists the formats.",
        )
    folder = CaseFolder(case, create=False)
    report = read_report(folder)
    for name in chosen:
        content = FORMATS[name].write(report)
        if to_stdout:
            sys.stdout.buffer.write(content)
        else:
            file = FORMATS[name].file
            print(folder.put(f"exports/{file}", content, out / file if out else None))
    return _OK


def list_sources(folders: list[Path], *, as_json: bool) -> int:
    """Print every source with how it is recognised and an example; own ones are checked and tested first."""
    own = own_sources.read(folders)
    listed: list[dict[str, Any]] = [  # Any: JSON values
        {
            "id": source.id,
            "name": source.name,
            "description": source.description.strip(),
            "recognised_by": [_condition(rule) for rule in source.recognise]
            or ["the columns of a known table"],
            "table": _table_of(source.mapping, own.mappings),
            "limits": source.limits,
            "example": source.example.strip(),
        }
        for source in [*own.sources, *loader.sources()]
    ]
    if as_json:
        print(json.dumps(listed, indent=1))
        return _OK
    for item in listed:
        print(f"{item['name']}\n  {item['description']}\n  to table: {item['table']}")
        for condition in item["recognised_by"]:
            print(f"  recognised by: {condition}")
        for limit in item["limits"]:
            print(f"  mind: {limit}")
        print(f"  example: {item['example'][:200]}\n")
    names = sorted(name for name in loader.tables() if name != needs.TABLE)
    print(f"Tables: {', '.join(names)}")
    return _OK


def _table_of(mapping: str, own: dict[str, Mapping]) -> str:
    if mapping == "table_export":
        return "the table whose columns it has"
    return str((own.get(mapping) or loader.mappings()[mapping]).table)


def _condition(rule: Any) -> str:  # noqa: ANN401 - Recognise
    parts = [f"{rule.format} with {', '.join(rule.keys)}" if rule.keys else rule.format]
    if rule.any_keys:
        parts.append(f"one of {', '.join(rule.any_keys)}")
    for name, keys in rule.nested.items():
        parts.append(f"{name} holding {', '.join(keys) or 'an object'}")
    if rule.first:
        parts.append(f"lines like {' or '.join(rule.first)}")
    return "; ".join(parts)


def list_rules(folders: list[Path], *, as_json: bool) -> int:
    """Print the rules with severity, techniques and name."""
    return _list(_all_rules(folders), "rules", as_json=as_json)


def list_hunts(*, as_json: bool) -> int:
    """Print the hunting queries, which a person runs on a case and which raise nothing."""
    return _list(loader.hunts(), "hunts", as_json=as_json)


def run_hunt(name: str, case: Path, *, form: str, limit: int) -> int:
    """Run one hunting query on a case and print its rows.

    Raises:
        ConfigError: no hunt, or more than one, fits the name; or this is no case.
    """
    _, hunt = _named(name, loader.hunts(), "hunt")
    return query(hunt.query, case, form=form, limit=limit, now=None)


def show_hunt(name: str) -> int:
    """Print one hunting query with what to look for.

    Raises:
        ConfigError: no hunt, or more than one, fits the name.
    """
    return _show(*_named(name, loader.hunts(), "hunt"))


def _list(found: list[tuple[Path, Rule]], noun: str, *, as_json: bool) -> int:
    listed: list[dict[str, Any]] = [  # Any: JSON values
        {
            "id": r.id,
            "name": r.name,
            "severity": r.level(),
            "confidence": r.confidence,
            "techniques": list(findings.techniques(r)),
            "file": path.stem,
        }
        for path, r in found
    ]
    if as_json:
        print(json.dumps(listed, indent=1))
        return _OK
    for item in listed:
        print(
            f"{item['severity']:14}{item['confidence']:8}{','.join(item['techniques']):24.24} {item['file']}: {visible(item['name'], 120)}"
        )
    print(f"{len(listed)} {noun}")
    return _OK


def _all_rules(folders: list[Path]) -> list[tuple[Path, Rule]]:
    return loader.rules() + [(item.file, item.rule) for item in foreign.load(*folders).accepted]


def show_rule(name: str, folders: list[Path]) -> int:
    """Print one rule.

    Raises:
        ConfigError: no rule, or more than one, fits the name.
    """
    return _show(*_named(name, _all_rules(folders), "rule"))


def _named(name: str, among: list[tuple[Path, Rule]], noun: str) -> tuple[Path, Rule]:
    wanted = name.lower()
    fitting = [(p, r) for p, r in among if wanted in {r.id, p.stem.lower()}]
    fitting = fitting or [(p, r) for p, r in among if wanted in r.name.lower() or wanted in p.stem.lower()]
    if len(fitting) != 1:
        names = ", ".join(path.stem for path, _ in fitting[:10])
        problem = f"{len(fitting)} {noun}s fit: {names}" if fitting else f"no {noun} fits"
        raise ConfigError(
            problem,
            place=repr(name),
            remedy=f"See `mailwitness rules {'list' if noun == 'rule' else 'hunts'}`.",
        )
    return fitting[0]


def _show(path: Path, rule: Rule) -> int:
    print(
        f"{rule.name}\n  {path.stem}  {rule.id}\n  severity {rule.level()}, confidence {rule.confidence}, {', '.join(findings.techniques(rule))}\n"
    )
    print(f"{rule.description.strip()}\n")
    for title, lines in (
        ("False positives", rule.falsePositives),
        ("Known gaps", rule.gaps),
        ("Investigation", rule.guide),
        ("Tuning", rule.tuning),
    ):
        if lines:
            print(title + "\n" + "\n".join(f"  - {line}" for line in lines) + "\n")
    for parameter, value in rule.parameters.items():
        print(f"  parameter {parameter} = {value.default}: {value.description}")
    print(f"\n{rule.query.strip()}")
    return _OK
