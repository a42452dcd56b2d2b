"""What people read, compared with what was reviewed. `make golden` writes the files again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mailwitness.report.html import render_html
from mailwitness.report.markdown import render_markdown
from mailwitness.report.terminal import print_summary

from .report_examples import Json, hostile, realistic

GOLDEN = Path(__file__).parent / "golden"


def in_terminal(report: Json) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=False, color_system=None)
    print_summary(report, console, "case/report.html")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


FORMS: dict[str, Callable[[Json], str]] = {"html": render_html, "md": render_markdown, "txt": in_terminal}
EXAMPLES: dict[str, Callable[[], Json]] = {"realistic": realistic, "hostile": hostile}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_golden_report_reads_as_it_was_reviewed(example: str, form: str) -> None:
    path = GOLDEN / f"{example}.{form}"

    shown = FORMS[form](EXAMPLES[example]())

    if os.environ.get("MAILWITNESS_WRITE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == shown
