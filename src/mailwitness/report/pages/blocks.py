"""What a page is made of. Every text may come from the evidence: the two renderers make all of it safe."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from markupsafe import Markup


class Heading(msgspec.Struct, frozen=True):
    """A heading below the page's title; level 2 or 3."""

    text: str
    level: int = 2


class Text(msgspec.Struct, frozen=True):
    """A paragraph; ``tone`` is empty, ``lead`` or ``warning``."""

    text: str
    tone: str = ""


class Bullets(msgspec.Struct, frozen=True):
    """Sentences that stand beside each other; numbered when their order matters."""

    items: tuple[str, ...]
    is_numbered: bool = False


class Facts(msgspec.Struct, frozen=True):
    """Names with their values."""

    pairs: tuple[tuple[str, str], ...]


class Table(msgspec.Struct, frozen=True):
    """Rows under heads; ``code`` names the columns (from 0) that hold digests, ``left`` says what was left out."""

    label: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    code: tuple[int, ...] = ()
    left: str = ""


class Commands(msgspec.Struct, frozen=True):
    """Lines to type; values of the case stand in them quoted for ``shell`` (powershell, graph, gam or sh)."""

    lines: tuple[str, ...]
    shell: str = ""


class Chart(msgspec.Struct, frozen=True):
    """A picture for the page; Markdown has the words and tables around it instead."""

    markup: Markup


Block = Heading | Text | Bullets | Facts | Table | Commands | Chart


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page: what it is, the sentence that says it all, and the blocks.

    Attributes:
        kind: what the page is, such as ``Summary for management``.
        title: the sentence to read when nothing else is read.
        outcome: found, clear or not_evaluated; decides colour and word of the mark at the top.
        foot: what wrote it and from which clock.
    """

    kind: str
    title: str
    outcome: str
    blocks: tuple[Block, ...]
    foot: str


def cut(rows: Sequence[tuple[str, ...]], most: int, where: str) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the first rows of a table, and the words for what was left out."""
    left = len(rows) - most
    return tuple(rows[:most]), f"{left:,} more: {where}" if left > 0 else ""
