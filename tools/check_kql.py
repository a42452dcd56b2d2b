"""Check every shipped query with Microsoft's own KQL parser and binder against the content tables.

Prints one line per fault, `file: line: message`, and fails when there is one.
A parser's query must also return MailboxActivity columns in MailboxActivity's types.
Exit codes: 0 no fault, 1 faults, 2 not evaluated (0 when MAILWITNESS_ALLOW_NO_KUSTO=1 allows that).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mailwitness.content import loader

ROOT = Path(__file__).resolve().parent.parent
CONTENT = ROOT / "src" / "mailwitness" / "content"
CHECKER = Path(__file__).resolve().parent / "kql_check"
KINDS = ("rules", "hunts", "parsers", "explanations", "questions", "checks")
# Loading the library takes about a second and a query about 30 ms; this is for a machine that hangs.
TIMEOUT_SECONDS = 600

# Decoded YAML and JSON have no narrower type than this, and the keys are checked where they are used.
Json = dict[str, Any]


class NotEvaluatedError(Exception):
    """The check could not run; the message is the reason."""


class Query(NamedTuple):
    """One query of a content file; line is that of its first character in the file, counted from 1."""

    file: Path
    line: int
    text: str


def queries_of(file: Path) -> Iterator[Query]:
    """Yield the `query` of a content file, with the line on which its text begins."""
    document = yaml.compose(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
    if not isinstance(document, yaml.MappingNode):
        return
    for key, value in document.value:
        if key.value == "query" and isinstance(value, yaml.ScalarNode):
            # A block scalar's node begins at its `|`; the text begins on the next line.
            below = 1 if value.style in {"|", ">"} else 0
            # Watchlists are written into one line, so line numbers stay true.
            yield Query(file, value.start_mark.line + 1 + below, loader.expand(value.value))


def content_queries(content: Path) -> list[Query]:
    """Return the queries of all rules, hunts, parsers, questions and checks of a content folder, in a stable order."""
    files = [file for kind in KINDS for file in sorted((content / kind).rglob("[!_]*.yaml"))]
    return [query for file in files for query in queries_of(file)]


def content_tables() -> dict[str, list[Json]]:
    """Return the columns of every shipped table by its name, extension columns included."""
    return {
        name: [{"name": column.name, "type": column.type} for column in table.columns]
        for name, table in loader.tables().items()
    }


def ask_microsoft(tables: dict[str, list[Json]], queries: list[Query]) -> list[Json]:
    """Return `{id, faults, columns}` for each query, in the order of the queries.

    Raises:
        NotEvaluatedError: Node or Microsoft's library is not here, or the checker itself failed.
    """
    node = shutil.which("node")
    if node is None:
        raise NotEvaluatedError("Node is not installed")
    if not (CHECKER / "node_modules" / "@kusto").is_dir():
        raise NotEvaluatedError(
            f"Microsoft's library is not installed; run npm install --no-package-lock in {CHECKER.name}"
        )
    request = {
        "tables": tables,
        "queries": [{"id": number, "text": query.text} for number, query in enumerate(queries)],
    }
    try:
        run = subprocess.run(
            [node, "check.js"], cwd=CHECKER, input=json.dumps(request), encoding="utf-8",
            capture_output=True, timeout=TIMEOUT_SECONDS, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as stopped:
        raise NotEvaluatedError(f"no answer within {TIMEOUT_SECONDS} seconds") from stopped
    except subprocess.CalledProcessError as failed:
        raise NotEvaluatedError(f"the checker failed: {failed.stderr.strip()[-500:]}") from failed
    answers: list[Json] = json.loads(run.stdout)
    return answers


def parser_faults(answer: Json, tables: dict[str, list[Json]]) -> list[str]:
    """Say which columns a parser returns that MailboxActivity does not have, or has in another type."""
    wanted = {column["name"]: column["type"] for column in tables.get("MailboxActivity", [])}
    faults = []
    for column in answer["columns"]:
        name, kind = column["name"], column["type"]
        if name not in wanted:
            faults.append(f"returns {name}, which is not a column of MailboxActivity")
        elif kind != wanted[name]:
            faults.append(f"returns {name} as {kind}; MailboxActivity has it as {wanted[name]}")
    return faults


def check(content: Path) -> list[str]:
    """Return one line for each fault in the queries of a content folder.

    Raises:
        NotEvaluatedError: the check could not run.
        mailwitness.errors.ContentError: a query names a watchlist that does not exist.
    """
    tables = content_tables()
    queries = content_queries(content)
    faults = []
    for query, answer in zip(queries, ask_microsoft(tables, queries), strict=True):
        place = query.file.relative_to(ROOT) if query.file.is_relative_to(ROOT) else query.file
        for fault in answer["faults"]:
            line = query.line + query.text.count("\n", 0, fault["start"])
            faults.append(f"{place}: {line}: {fault['message']} [{fault['code']}]")
        if query.file.is_relative_to(content / "parsers") and not answer["faults"]:
            faults += [f"{place}: {query.line}: {fault}" for fault in parser_faults(answer, tables)]
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Print the faults; 0 none, 1 some, 2 not evaluated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("content", nargs="?", type=Path, default=CONTENT, help="content folder")
    chosen = parser.parse_args(arguments)
    try:
        faults = check(chosen.content)
    except NotEvaluatedError as reason:
        print(f"queries: not evaluated: {reason}")
        return 0 if os.environ.get("MAILWITNESS_ALLOW_NO_KUSTO") == "1" else 2
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
