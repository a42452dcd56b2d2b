"""A page as one self-contained web page without any script."""

from __future__ import annotations

from markupsafe import Markup

from mailwitness.report import wording
from mailwitness.report.html import asset, content_security_policy, environment
from mailwitness.report.pages.blocks import Page


def page_html(page: Page) -> str:
    """Write a page; every text in it is escaped, and the policy allows its style sheet alone."""
    style = asset("report.css") + asset("page.css")
    outcome = wording.outcome_of(page.outcome)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            outcome=outcome,
            outcome_word=wording.OUTCOMES[outcome],
            kind_of=lambda block: type(block).__name__,
            style=Markup(style),  # noqa: S704 - our own file
            policy=content_security_policy(style),
        )
    )
