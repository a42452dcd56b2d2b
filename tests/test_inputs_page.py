"""The page of inputs is what a run gives: it adds up, it lists every set, and a few sets loaded anew give its lines."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from . import inputs_table

PAGE = inputs_table.PAGE.read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and len(line.split("|")) == 12 and "| Sample |" not in line
]
COUNTS = ("records", "loaded", "duplicates", "quarantined", "salvaged")
needs_data = pytest.mark.skipif(not inputs_table.DATA.is_dir(), reason="the public sets are not here")


def test_the_rows_of_the_page_add_up_to_its_totals() -> None:
    """Every row accounts for its records, and nothing ended in an error."""
    totals: Counter[str] = Counter()
    for row in ROWS:
        counts = dict(zip(COUNTS, map(int, row[3:8]), strict=True))
        totals.update(counts)
        assert counts["records"] == counts["loaded"] + counts["duplicates"] + counts["quarantined"]

    stated = re.search(r"^(\d+) rows, (\d+) sets, \d+ files: (.*); 0 errors\.$", PAGE, re.MULTILINE)

    assert stated is not None
    assert (int(stated[1]), int(stated[2])) == (len(ROWS), len({row[1] for row in ROWS}))
    assert stated[3] == ", ".join(f"{totals[name]:,} {name}" for name in COUNTS)


def test_every_record_in_quarantine_has_its_reason_on_the_page() -> None:
    """What is not loaded is explained, record by record."""
    explained = re.findall(r"^\| `[^`]+` \| (\d+) \| [^|]+ \|$", PAGE, re.MULTILINE)

    # What is not recognised at all says so itself.
    known = [row for row in ROWS if not row[0].startswith("not recognised")]
    assert sum(map(int, explained)) == sum(int(row[6]) for row in known)


@needs_data
def test_every_set_is_on_the_page() -> None:
    """No set is left out because it went wrong."""
    assert {f"`{name}`" for name, _ in inputs_table.sets()} == {row[1] for row in ROWS}


@needs_data
@pytest.mark.parametrize(
    "name", ["public/o365-panther", "recorded/linux-mail/44-log-injection-subjects", "public/plaso"]
)
def test_a_set_loaded_anew_gives_the_lines_of_the_page(name: str) -> None:
    """Files, counts and tables of the page are what the program gives now."""
    paths = dict(inputs_table.sets())[name]

    rows = inputs_table.load(name, paths)

    # Which activities a run computes at once follows from the rules, which change more often than the readers.
    counted = [inputs_table.line(row).rpartition(" | ")[0] for row in rows]
    assert [cells for cells in counted if cells not in PAGE] == []
