"""Pieces of the page that stand on it hundreds of times, each made once: a severity with its sign, a moment in time."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup

from mailwitness.report import wording

_SIGNS = {"critical": "◆", "high": "▲", "medium": "●", "low": "○", "informational": "·"}
_WORD = Markup('<span class="word {0}"><span aria-hidden="true">{1}</span> {2}</span>')
_TIME, _NO_TIME = Markup('<time datetime="{}">{}</time>'), Markup("<time>{}</time>")


@lru_cache(maxsize=64)
def severity(word: str | None) -> Markup:
    """Show a severity as its word, with a sign that can be told without colour."""
    known = wording.severity_of(word)
    return _WORD.format(known, _SIGNS[known], known.capitalize())


@lru_cache(maxsize=4096)
def at(iso: str | None) -> Markup:
    """Show a time of ISO 8601; what is no time is shown as it is, and machines are not told that it is one."""
    if wording.parse_moment(iso) is None:
        return _NO_TIME.format(wording.moment(iso))
    return _TIME.format(iso, wording.moment(iso))
