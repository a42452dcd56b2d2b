"""What a run tells on the terminal while it works; nothing in a pipe."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from mailwitness.pipeline import Progress, elapsed_since_start
from mailwitness.report.text import visible

if TYPE_CHECKING:
    from mailwitness.models import Finding

_BAR = 24


class TerminalProgress(Progress):
    """A single status line on standard error, redrawn in place; silent when that is not a terminal."""

    def __init__(self) -> None:
        """Look at where standard error goes."""
        self.shown = sys.stderr.isatty()
        self.benchmark = bool(os.environ.get("MAILWITNESS_BENCH"))

    def stage(self, name: str, done: int = 0, total: int = 0) -> None:
        """Redraw the line."""
        if self.benchmark and not done:
            print(
                json.dumps({"event": "stage", "name": name, "seconds": round(elapsed_since_start(), 3)}),
                file=sys.stderr,
                flush=True,
            )
        if not self.shown:
            return
        filled = _BAR * done // total if total else 0
        bar = f" [{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total}" if total else ""
        end = "\r\x1b[K" if name == "reporting" else ""
        sys.stderr.write(f"\r\x1b[K{name}{bar}{end}")
        sys.stderr.flush()

    def first_finding(self, finding: Finding) -> None:
        """Print the first finding at once: an analyst can start while the rest is written."""
        if self.benchmark:
            print(
                json.dumps({"event": "first_finding", "seconds": round(elapsed_since_start(), 3)}),
                file=sys.stderr,
                flush=True,
            )
        if self.shown:
            sys.stderr.write(f"\r\x1b[Kfirst finding: {finding.severity}: {visible(finding.title, 160)}\n")
            sys.stderr.flush()
