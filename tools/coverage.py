"""Write the coverage page from a replay of all scenarios: docs/coverage.md and docs/coverage.html.

A cell is green only when a scenario whose proof came from that source was found in this very run, and its benign twin was
not held against anybody. ``--check`` compares the digest of the content that the page was made from, without a replay.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import re
import sys
from collections import defaultdict
from pathlib import Path

from mailwitness.content import loader
from mailwitness.scenarios import coverage, description, replay, telling
from mailwitness.scenarios.coverage import FOUND, MISSED, Table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "coverage.md"
HTML = ROOT / "docs" / "coverage.html"
_DIGEST = re.compile(r"content digest: ([0-9a-f]{64})")
KINDS = {
    "procedure": "Procedures of T1070.008",
    "atomic": "The six atomic tests",
    "related_atomic": "Related atomic tests",
    "action": "21 clearing actions",
    "pair": "Export and removal apart",
    "hole": "Holes of public rule sets",
    "evasion": "Evasions",
    "analytic": "Analytics of DET0266",
    "chain": "Chains",
    "excuse": "Known causes, and attacks dressed as them",
}
_SIGNS = {FOUND: "✔", MISSED: "✘", "": ""}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:120rem}table{border-collapse:collapse;margin:1rem 0}"
    "td,th{border:1px solid #bbb;padding:.25rem .5rem;text-align:left}th.s{writing-mode:vertical-rl;font-weight:400}"
    "td.found{background:#bfe5bf}td.missed{background:#f3c1bd}"
)


def digest() -> str:
    """Return the digest of the content and of the code that judges it."""
    total = hashlib.sha256(loader.digest().encode())
    for path in sorted((ROOT / "src" / "mailwitness").rglob("*.py")):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def replayed() -> Table:
    """Replay everything and return the table."""
    judged = {
        item.name: item for batch in replay.batches(telling.instances()) for item in replay.replay(batch)
    }
    return coverage.table(
        {name: item.problem for name, item in judged.items()},
        {name: item.severity for name, item in judged.items()},
    )


def sections() -> dict[str, list[str]]:
    """Return catalogue ids by kind, in the order of the catalogue."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, item in description.catalogue().items():
        found[item.kind].append(name)
    return found


def markdown(table: Table, fingerprint: str) -> str:
    """Return the page."""
    lines = [
        "# Coverage",
        "",
        "Written by `make coverage-page` from a replay of every scenario; not edited by hand.",
        "✔: a scenario whose proof came from this source was found, and its benign twin was left alone.",
        "✘: there is a scenario, and it was not judged right.",
        "An empty cell: no scenario tries this source.",
        "",
        f"{table.right} of {table.total} instances were judged right: {table.attacks} attacks, {table.total - table.attacks} benign twins.",
        "",
    ]
    for kind, names in sections().items():
        used = [source for source in table.sources if any(table.cells.get((name, source)) for name in names)]
        lines += [f"## {KINDS[kind]}", "", "| | " + " | ".join(used) + " |", "|---" * (len(used) + 1) + "|"]
        for name in names:
            cells = " | ".join(_SIGNS[table.cells.get((name, source), "")] for source in used)
            lines.append(f"| {description.catalogue()[name].name} (`{name}`) | {cells} |")
        lines.append("")
    lines += ["## Every scenario and its outcome", "", "| Scenario | Expected | Outcome |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.expected} | {_cell(row.outcome)} |" for row in table.rows]
    return "\n".join([*lines, "", f"content digest: {fingerprint}", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(table: Table, fingerprint: str) -> str:
    """Return the page as HTML, one file without anything from elsewhere."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Coverage of mailwitness</title>",
        f"<style>{_STYLE}</style><h1>Coverage</h1>",
        f"<p>{table.right} of {table.total} instances were judged right in the replay that wrote this page.</p>",
    ]
    for kind, names in sections().items():
        used = [source for source in table.sources if any(table.cells.get((name, source)) for name in names)]
        parts.append(f"<h2>{html.escape(KINDS[kind])}</h2><table><tr><th></th>")
        parts += [f"<th class=s>{html.escape(source)}</th>" for source in used]
        for name in names:
            parts.append(f"<tr><td>{html.escape(description.catalogue()[name].name)}</td>")
            parts += [_html_cell(table.cells.get((name, source), "")) for source in used]
        parts.append("</table>")
    parts.append("<h2>Every scenario and its outcome</h2><table><tr><th>Scenario<th>Expected<th>Outcome")
    for row in table.rows:
        state = "missed" if row.is_wrong else "found"
        parts.append(
            f"<tr><td>{html.escape(row.name)}<td>{html.escape(row.expected)}<td class={state}>{html.escape(row.outcome)}"
        )
    return "".join([*parts, f"</table><p>content digest: {fingerprint}</p></html>\n"])


def _html_cell(state: str) -> str:
    return f"<td class={state}>{_SIGNS[state]}" if state else "<td>"


def main() -> int:
    """Write the page, or say whether it is fresh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare digests only")
    arguments = parser.parse_args()
    fingerprint = digest()
    if arguments.check:
        recorded = _DIGEST.search(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else None
        if recorded is None or recorded.group(1) != fingerprint:
            print("docs/coverage.md is older than the content: run `make coverage-page`")
            return 1
        return 0
    table = replayed()
    PAGE.write_text(markdown(table, fingerprint), encoding="utf-8")
    HTML.write_text(page(table, fingerprint), encoding="utf-8")
    print(f"{table.right} of {table.total} instances judged right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
