"""Text from evidence made safe to show, with everything hidden in it made visible.

A subject, a rule name or a file name was chosen by whoever sent it, possibly by
the intruder. Each function takes such text and returns text for one kind of
reader: any screen (`visible`), a web page (`visible_html`), Markdown
(`safe_markdown`) or a spreadsheet (`safe_csv_cell`).
"""
# ruff: noqa: RUF001, RUF002 - angle quotes and the multiplication sign are the signs we show on purpose

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from mailwitness.unseen import HIDDEN, STACKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_LIMIT = 300
"""Characters shown of one value unless the caller says otherwise: about four lines of a page."""

# Four in a row occur in real languages; hundreds are used to paint over the neighbouring lines.
_STACK_ALLOWED = 4
_DELETE = 0x7F
# Source: ECMA-48, the abbreviations of the C0 set.
_CONTROLS = [
    "NUL",
    "SOH",
    "STX",
    "ETX",
    "EOT",
    "ENQ",
    "ACK",
    "BEL",
    "BS",
    "HT",
    "LF",
    "VT",
    "FF",
    "CR",
    "SO",
    "SI",
    "DLE",
    "DC1",
    "DC2",
    "DC3",
    "DC4",
    "NAK",
    "SYN",
    "ETB",
    "CAN",
    "EM",
    "SUB",
    "ESC",
    "FS",
    "GS",
    "RS",
    "US",
]
_REPEATS_SHOWN = 3
# Names and titles, not whole messages.
_REMEMBERED = 400
_STACKED = f"(?<=[{STACKING}]{{{_STACK_ALLOWED}}})[{STACKING}]+"
_MARKS = re.compile(f"(?P<hidden>[{HIDDEN}])(?P=hidden)*|{_STACKED}")
_MARKS_IN_LINES = re.compile(f"(?P<hidden>(?![\n\t])[{HIDDEN}])(?P=hidden)*|{_STACKED}")


def visible(text: str, limit: int = DEFAULT_LIMIT, *, keep_lines: bool = False) -> str:
    r"""Show `text` with nothing in it that a screen would obey or hide.

    Control characters become their ASCII name in angle quotes, every other hidden
    character its code: both are readable in any font, which the symbols of the
    U+2400 block are not. Text longer than `limit` characters is
    cut and its full length is stated. The result contains no character of
    Unicode category Cc, Cf, Cs, Zl or Zp; with `keep_lines` only line feed and tab.
    It is not escaped for HTML or Markdown.

    >>> visible("Invoice\x1b[2J \u202efdp.exe")
    'Invoice‹ESC›[2J ‹U+202E›fdp.exe'
    """
    if _is_ordinary(text, limit, keep_lines=keep_lines):
        return text
    return "".join(shown for shown, _ in _pieces(text, limit, keep_lines=keep_lines))


def visible_html(text: str, limit: int = DEFAULT_LIMIT, *, keep_lines: bool = False) -> Markup:
    """Show `text` as escaped HTML, isolated in `<bdi>` so that it cannot turn its neighbours around.

    Made-visible characters are `<span class="mark">` with the Unicode name as title,
    so they differ from the same symbols typed by an attacker.
    """
    if len(text) > _REMEMBERED:
        return _isolated(text, limit, keep_lines)
    return _isolated_again(text, limit, keep_lines)


def _isolated(text: str, limit: int, keep_lines: bool) -> Markup:
    if _is_ordinary(text, limit, keep_lines=keep_lines):
        return Markup(f"<bdi>{escape(text) if keep_lines else _breakable(text)}</bdi>")  # noqa: S704 - escaped
    shown = [
        _mark(piece, name) if name else escape(piece) if keep_lines else _breakable(piece)
        for piece, name in _pieces(text, limit, keep_lines=keep_lines)
    ]
    # Every piece is escaped; joining them again as Markup would look at each once more.
    return Markup(f"<bdi>{''.join(shown)}</bdi>")  # noqa: S704


# A page names the same accounts, files and rules again and again. Typed: what is Markup already equals text that is not.
_isolated_again = lru_cache(maxsize=4096, typed=True)(_isolated)


def plain(value: object) -> str:
    """Write a JSON value as the text a reader expects: strings as they are, lists of them with commas."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def safe_csv_cell(text: str, limit: int = 32_000) -> str:
    """Return `text` so that no spreadsheet takes it for a formula.

    A leading apostrophe is put before whatever Excel, LibreOffice or Google
    Sheets would evaluate, also after blanks and in full-width form; numbers
    stay numbers. Write the file with `csv.QUOTE_ALL`, or a separator of another
    locale inside the text starts a new cell. The limit stays below the 32,767
    characters an Excel cell can hold.
    Source: OWASP, "CSV Injection".
    """
    shown = visible(text, limit)
    if _NUMBER.fullmatch(text):
        return shown
    return f"'{shown}" if _FORMULA.match(text) else shown


def safe_markdown(text: str, limit: int = DEFAULT_LIMIT) -> str:
    """Return `text` as one line of inline Markdown that is only text, also where HTML is allowed.

    Safe inside table cells. Web addresses do not become links.
    Source: CommonMark 0.31, "Backslash escapes"; GitHub Flavored Markdown, "Autolinks".
    """
    shown = _MARKDOWN_ESCAPED.sub(r"\\\g<0>", visible(text, limit))
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = _MARKDOWN_LINK.sub(r"\1\\\2", shown)
    return _MARKDOWN_START.sub(_disarm_start, shown)


_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_FORMULA = re.compile(r"[\s\x00-\x20\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n|%]")
_MARKDOWN_ESCAPED = re.compile(r"[\\`*_\[\]{}|~$^]")
_MARKDOWN_LINK = re.compile(r"(\b(?:https?|ftp|mailto|xmpp|www))([:.])", re.IGNORECASE)
# Only at the start of a line are these a heading, a list, a rule or a code block.
_MARKDOWN_START = re.compile(r"^(?: +|[#+\-=]|(?=\d+[.)](?:\s|$))\d+)")


_BREAKING = re.compile(r"[@/\\]")
_LONG_WORDS = re.compile(r"\S{6,}[@/\\]\S{6,}")
# After @ and path separators inside a long word, not at its ends.
_BREAKS = re.compile(r"(?<=[^\s@/\\][@/\\])(?=[^\s@/\\]{6})")


def _disarm_start(match: re.Match[str]) -> str:
    start = match[0]
    if start[0] == " ":
        return f"&#32;{start[1:]}"
    return f"{start}\\" if start[0].isdigit() else f"\\{start}"


def _is_ordinary(text: str, limit: int, *, keep_lines: bool) -> bool:
    """Say at once of most texts that nothing in them is hidden, too long or only blank: ASCII, and all of it printed."""
    if len(text) > limit or not text.isascii() or text.isspace():
        return False
    words = text.replace("\n", "").replace("\t", "") if keep_lines else text
    return words.isprintable()


def _pieces(text: str, limit: int, *, keep_lines: bool) -> Iterator[tuple[str, str | None]]:
    """Yield (shown text, None) for ordinary text and (shown text, explanation) for what was made visible."""
    head = text[:limit]
    if head and not head.strip():  # a name of blanks is a hiding place, not an empty name
        head = head.replace(" ", "\u2423")
    start = 0
    for match in (_MARKS_IN_LINES if keep_lines else _MARKS).finditer(head):
        if match.start() > start:
            yield head[start : match.start()], None
        yield from _shown_run(match)
        start = match.end()
    if start < len(head):
        yield head[start:], None
    if len(text) > limit:
        yield (
            f"… (cut; {len(text):,} characters in all)",
            "Cut for reading; complete in report.json or the exhibit",
        )


def _shown_run(match: re.Match[str]) -> Iterator[tuple[str, str | None]]:
    character, count = match[0][0], len(match[0])
    if match["hidden"] is None:
        yield f"‹+{count} stacked marks›", f"{count} combining marks more on one letter"
        return
    sign, name = _sign(character)
    if count > _REPEATS_SHOWN:
        yield f"{sign}‹×{count:,}›", f"{name}, {count:,} times"
    else:
        yield sign * count, name


def _sign(character: str) -> tuple[str, str]:
    """Return how a hidden character is shown, and its code and name in words."""
    code = ord(character)
    if code < len(_CONTROLS) or code == _DELETE:
        short = "DEL" if code == _DELETE else _CONTROLS[code]
        return f"‹{short}›", f"U+{code:04X}, control character {short}"
    return f"‹U+{code:04X}›", f"U+{code:04X} {unicodedata.name(character, 'unnamed')}"


def _mark(shown: str, name: str) -> Markup:
    return Markup('<span class="mark" title="{}">{}</span>').format(name, shown)


def _breakable(piece: str) -> Markup:
    """Escape, and let an address or path that is wider than its line break where a reader would break it."""
    shown = escape(piece)
    if not _BREAKING.search(piece):
        return shown
    # What the escapes are written with, is none of the characters at which a word is broken.
    return Markup(_LONG_WORDS.sub(_broken, str(shown)))  # noqa: S704 - escaped above


def _broken(match: re.Match[str]) -> str:
    return f'<span class="unit">{_BREAKS.sub("<wbr>", match[0])}</span>'
