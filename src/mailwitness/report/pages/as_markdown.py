"""A page as GitHub Flavored Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailwitness.report import wording
from mailwitness.report.pages.blocks import Block, Bullets, Chart, Commands, Facts, Heading, Page, Table, Text
from mailwitness.report.plan_lines import fenced
from mailwitness.report.text import safe_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT_LIMIT = 1_000


def page_markdown(page: Page) -> str:
    """Write a page; no text in it can form markup."""
    lines = [
        f"# {_safe(page.title)}",
        "",
        f"{wording.OUTCOMES[wording.outcome_of(page.outcome)]}. {_safe(page.kind)}.",
    ]
    for block in page.blocks:
        lines += ["", *_lines(block)]
    return "\n".join([*lines, "", "---", "", _safe(page.foot)]) + "\n"


def _lines(block: Block) -> Iterator[str]:  # noqa: C901 - one case for each kind of block
    match block:
        case Heading():
            yield f"{'#' * block.level} {_safe(block.text)}"
        case Text():
            yield f"**{_safe(block.text)}**" if block.tone == "warning" else _safe(block.text)
        case Bullets():
            yield from (
                f"{at}. {_safe(item)}" if block.is_numbered else f"- {_safe(item)}"
                for at, item in enumerate(block.items, 1)
            )
        case Facts():
            yield from _table(("About", "Value"), block.pairs)
        case Table():
            yield from _table(block.heads, block.rows)
            if block.left:
                yield from ("", f"*{_safe(block.left)}*")
        case Commands():
            yield from fenced(block.lines, block.shell)
        case Chart():
            return


def _table(heads: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    yield f"| {' | '.join(map(_safe, heads))} |"
    yield f"|{'|'.join([' --- '] * len(heads))}|"
    yield from (f"| {' | '.join(map(_safe, row))} |" for row in rows)


def _safe(text: str) -> str:
    return safe_markdown(text, TEXT_LIMIT)
