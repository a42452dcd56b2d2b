"""The results of a posture for people: lines for a terminal, and one self-contained web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from mailwitness import __version__
from mailwitness.posture.evaluate import FAIL, NOT_EVALUATED, PASS
from mailwitness.report.html import asset, content_security_policy, environment
from mailwitness.report.text import visible

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from mailwitness.posture.evaluate import Result
    from mailwitness.posture.run import Posture

# What one screen can hold of one check; JSON has all.
_SHOWN = 5


def lines(found: Posture) -> Iterator[str]:
    """Yield the lines for a terminal: what fails with its fix, what could not be evaluated, what passes by name."""
    for one in found.results:
        if one.outcome == FAIL:
            yield from _fail(one)
    open_ones = [one for one in found.results if one.outcome == NOT_EVALUATED]
    for one in open_ones:
        yield visible(f"not evaluated  {one.check}: {one.reason.rstrip('.')}. {one.remedy.rstrip('.')}.", 600)
    yield from (f"pass           {one.check}" for one in found.results if one.outcome == PASS)
    yield from (
        visible(f"not read       {path}: {reason}", 400) for path, reason in sorted(found.unread.items())[:20]
    )
    if found.absent:
        yield f"not looked at  {', '.join(found.absent)}: not given, or not asked for"
    counts = [sum(one.outcome == outcome for one in found.results) for outcome in (FAIL, NOT_EVALUATED, PASS)]
    yield f"{counts[0]} fail, {counts[1]} not evaluated, {counts[2]} pass"


def _fail(one: Result) -> Iterator[str]:
    yield f"FAIL           {one.check} ({one.severity}, {one.mitigation}): {one.name}"
    for thing in one.failing[:_SHOWN]:
        yield visible(f"    found      {thing.identity}: {thing.found}", 400)
    if len(one.failing) > _SHOWN:
        yield f"    found      and {len(one.failing) - _SHOWN} more"
    yield f"    means      {one.meaning}"
    yield from (visible(f"    fix        {line}", 1000) for line in one.fix[:_SHOWN])
    if len(one.fix) > _SHOWN:
        yield f"    fix        and {len(one.fix) - _SHOWN} more lines in --format json"
    yield f"    verify     {one.verify}"
    yield from (
        visible(f"    excepted   {e.identity}: {e.reason} ({e.owner}, until {e.expires})", 400)
        for e in one.excepted[:_SHOWN]
    )


def render(found: Posture, *, now: dt.datetime) -> str:
    """Return the page; it runs nothing, loads nothing, and shows every name as text only."""
    style = asset("report.css") + asset("page.css") + asset("posture.css")
    return (
        environment()
        .get_template("posture.html.j2")
        .render(
            found=found,
            groups=[
                (word, [one for one in found.results if one.outcome == word])
                for word in (FAIL, NOT_EVALUATED, PASS)
            ],
            version=__version__,
            now=now.strftime("%Y-%m-%d %H:%M UTC"),
            style=Markup(style),  # noqa: S704 - our own files
            policy=content_security_policy(style),
        )
    )
