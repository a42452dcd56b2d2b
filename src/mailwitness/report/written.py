"""Write the pages people read beside report.json."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from mailwitness.report import html, markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.evidence.store import CaseFolder

JsonDict = dict[str, Any]  # Any: the JSON document of report/schema.json
# The page of so many cases takes longer to lay out than a process to begin.
_MANY_CASES = 8


@contextlib.contextmanager
def pages(folder: CaseFolder, report: JsonDict) -> Iterator[None]:
    """Write report.html and report.md; what the caller does inside is done beside the former.

    Laying out a large page keeps one core busy for as long as everything else that is written, so on Linux a process of
    its own does it. It only reads what is there already and writes one file; when it cannot, the page is written here.

    Raises:
        CaseError: a file cannot be written.
    """
    child = _begin(folder, report) if len(report["cases"]) >= _MANY_CASES else 0
    try:
        yield
        folder.write_bytes("report.md", markdown.render_markdown(report).encode("utf-8", "replace"))
    finally:
        is_written = _has_ended_well(child)
    if not is_written:
        _write_html(folder, report)


def _write_html(folder: CaseFolder, report: JsonDict) -> None:
    folder.write_bytes("report.html", html.render_html(report).encode("utf-8", "replace"))


def _begin(folder: CaseFolder, report: JsonDict) -> int:
    """Lay the page out in a copy of this process; return its number, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    with warnings.catch_warnings():
        # Python warns of other threads: the copy has none, and asks for nothing that one of them could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            child = os.fork()
        except OSError:
            return 0
    if child:
        return child
    code = 1
    try:
        # Looking for circles would touch, and so copy, everything that this process holds.
        gc.disable()
        _write_html(folder, report)
        code = 0
    finally:
        # Not sys.exit: what the copy inherited (locks, threads, buffers) is not its to clear up.
        os._exit(code)


def _has_ended_well(child: int) -> bool:
    return child > 0 and os.waitpid(child, 0)[1] == 0
