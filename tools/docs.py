"""Write the generated pages of docs/reference from the content and the code.

`--check` writes nothing and says which pages are not what would be written.
A page whose origin does not exist yet says so, so that it is complete as soon as the origin is there.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mailwitness import errors, start
from mailwitness.content import loader, schemas
from mailwitness.report import reference

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTHING_YET = "There is none yet.\n"


def cell(text: object) -> str:
    """Write a value into one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def grid(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table.

    Args:
        head: the column titles.
        rows: the cells of each row, in the order of the titles.
    """
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def listed(title: str, lines: Iterable[str]) -> str:
    """Write a titled list, or nothing when it is empty."""
    items = "".join(f"- {' '.join(line.split())}\n" for line in lines)
    return f"\n{title}:\n\n{items}" if items else ""


def sentences(text: str) -> str:
    """Write text with one sentence per line, as all pages here are."""
    return " ".join(text.split()).replace(". ", ".\n")


def rules_page() -> str:
    """Describe every shipped rule, grouped by platform."""
    page = "# Rules\n\nA rule is a KQL query whose rows are findings.\n"
    platform = ""
    shipped = loader.rules()
    for path, rule in shipped:
        if path.parent.name != platform:
            platform = path.parent.name
            page += f"\n## {platform}\n"
        page += rule_section(path, rule)
    return page if shipped else page + "\n" + NOTHING_YET


def rule_section(path: Path, rule: schemas.Rule) -> str:
    """Describe one rule: what it finds, how bad, how sure, and what it misses."""
    facts = [
        ("File", f"`{path.relative_to(loader.CONTENT).as_posix()}`"),
        ("Id", f"`{rule.id}`"),
        ("Severity", rule.level()),
        ("Confidence", rule.confidence),
        ("Judged per", rule.scope),
        ("ATT&CK", ", ".join(rule.relevantTechniques) or "none"),
    ]
    parameters = [(f"`{name}`", f"`{p.default}`", p.description) for name, p in rule.parameters.items()]
    return (
        f"\n### {rule.name}\n\n{sentences(rule.description)}\n\n"
        + grid(("Fact", "Value"), facts)
        + listed("Innocent causes", rule.falsePositives)
        + listed("What it knowingly misses", rule.gaps)
        + ("\n" + grid(("Parameter", "Default", "Meaning"), parameters) if parameters else "")
    )


def tables_page() -> str:
    """Describe every table and its columns."""
    page = (
        "# Tables\n\nEvery input becomes rows of one of these tables.\n"
        "Columns that begin with an underscore lead back to the sealed original.\n"
        "A string is never null: it is empty when the record does not say.\n"
    )
    for name, table in sorted(loader.tables().items()):
        rows = [(f"`{column.name}`", column.type, column.description) for column in table.columns]
        page += f"\n## {name}\n\nSource: {table.source or 'our own table'}.\n\n"
        page += grid(("Column", "Type", "Meaning"), rows)
    return page


def sources_page() -> str:
    """Describe every source: what it is, how it is recognised, and where its records go."""
    page = (
        "# Sources\n\nA source is a product's log as it reaches us.\n"
        "It is recognised by what is in it, never only by its name.\n"
    )
    shipped = sorted(loader.sources(), key=lambda source: source.name)
    for source in shipped:
        page += f"\n## {source.name}\n\n"
        page += f"{sentences(source.description)}\n\n" if source.description else ""
        page += grid(("Format", "Recognised by"), [(r.format, recognised_by(r)) for r in source.recognise])
        page += f"\nMapping: `{source.mapping}`.\n"
        page += listed("Limits", source.limits)
    return page if shipped else page + "\n" + NOTHING_YET


def recognised_by(sign: schemas.Recognise) -> str:
    """Say in words what the first records of an input must look like."""
    parts = [
        ("all of ", sign.keys),
        ("one of ", sign.any_keys),
        ("none of ", sign.not_keys),
        ("a first line like ", sign.first),
        *((f"in `{member}`: ", keys) for member, keys in sign.nested.items()),
    ]
    said = [prefix + ", ".join(f"`{word}`" for word in words) for prefix, words in parts if words]
    return "; ".join(said) or "its format alone"


def errors_page() -> str:
    """List every error code; docs/errors.md explains each."""
    found = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.MailwitnessError)
    ]
    rows = [
        (f"[{kind.code}](../errors.md#{kind.code.lower()})", kind.__name__, first_line(kind))
        for kind in sorted(found, key=lambda kind: kind.code)
    ]
    return (
        "# Errors\n\nEvery error carries one of these codes, the place, and a remedy.\n"
        "Each code has an entry in [errors](../errors.md).\n\n"
        + grid(("Code", "Name", "What happened"), rows)
    )


def first_line(thing: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def cli_page() -> str:
    """Describe every command, from the docstrings that `--help` prints."""
    head = "# Command line\n\nExit codes: 0 clear, 1 found, 2 not evaluated or failed.\n\n"
    try:
        cli = importlib.import_module("mailwitness.cli")
    except ModuleNotFoundError as missing:
        if missing.name != "mailwitness.cli":
            raise
        return head + NOTHING_YET
    text: str = cli.app.generate_docs(output_format="markdown", heading_level=2)
    return head + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def help_text() -> str:
    """Return what `mailwitness --help` prints on a screen of 80 columns."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['mailwitness', '--help']; from mailwitness.cli import main; main()",
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "COLUMNS": str(start.COLUMNS), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
    )
    return ran.stdout.decode("utf-8")


PAGES: dict[str, Callable[[], str]] = {
    "rules.md": rules_page,
    "tables.md": tables_page,
    "sources.md": sources_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
    "report-json.md": reference.report_page,
    "../../src/mailwitness/help.txt": help_text,
}


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages; 1 when `--check` finds a stale one."""
    parser = argparse.ArgumentParser(description=first_line(sys.modules[__name__]))
    parser.add_argument("--check", action="store_true", help="write nothing; say which pages are stale")
    chosen = parser.parse_args(arguments)
    stale = 0
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        if chosen.check:
            print(f"docs/reference/{name}: stale; run make docs")
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
