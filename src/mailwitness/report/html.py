"""The report as one self-contained web page that needs no network and runs nothing from the evidence."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from mailwitness.report import pieces, plan, record_layout, text, wording
from mailwitness.report.chain_lines import CHAINS_SHOWN, step_lines
from mailwitness.report.charts.clock import draw_clock
from mailwitness.report.charts.graph import draw_graph
from mailwitness.report.charts.heat import draw_heat
from mailwitness.report.charts.rhythm import draw_rhythm
from mailwitness.report.charts.strip import draw_strip
from mailwitness.report.compiled import CompiledTemplates
from mailwitness.report.document import read_report
from mailwitness.report.first import start_of
from mailwitness.report.templating import Templates
from mailwitness.report.timeline import fold, read_timeline

if TYPE_CHECKING:
    from mailwitness.report.charts.strip import Strip
    from mailwitness.report.document import Case, Lane, Report, Stretch, Visibility
    from mailwitness.report.timeline import Stretch as TimelineStretch

CASES_SHOWN = 50
FINDINGS_SHOWN = 50
QUARANTINE_SHOWN = 100
LEDGER_MAILBOXES_SHOWN = 12
LEDGER_ROWS_SHOWN = 100
"""What one page can hold and still open at once; the rest is named with its place in report.json."""

_GLANCE = 60  # Characters of a case title in the contents: three lines of its column.
_OUTCOME_ORDER = ("not_evaluated", "found", "clear")


class Story(NamedTuple):
    """The timeline of one case, ready to be set."""

    strip: Strip | None
    stretches: tuple[TimelineStretch, ...]
    lines_left: int


class Totals(NamedTuple):
    """Sums over the whole report."""

    findings: int
    records: int
    loaded: int
    duplicates: int
    quarantined: int
    salvaged: int
    rules_run: int
    rules_found: int
    rules_clear: int
    rules_open: int


def render_html(report: dict[str, Any]) -> str:
    """Write the content of report.json as an HTML page.

    The page allows itself one inline style sheet and one inline script, each by
    its digest, and no connection of any kind (Content Security Policy Level 3).
    Every text from the evidence passes `text.visible_html`.

    Raises:
        msgspec.ValidationError: the report does not have the structure of report.json.
    """
    document = read_report(report)
    outcome = wording.outcome_of(document.summary.outcome)
    style, script = asset("report.css"), asset("report.js")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=document,
            outcome=outcome,
            outcome_word=wording.OUTCOMES[outcome],
            outcome_words=wording.OUTCOMES,
            decisions=wording.DECISIONS,
            said=wording.QUESTION_ANSWERS,
            headline=wording.headline(document),
            start=start_of(document),
            totals=_totals(document),
            told=plan.first_told(document.cases[:CASES_SHOWN]),
            rules_in_order=_rules_in_order(document),
            file_of=lambda name: wording.file_name(document.exhibit(name)),
            # Our own files, not evidence: the only text that is not escaped.
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            policy=content_security_policy(style, script),
        )
    )


def content_security_policy(style: str, script: str = "") -> str:
    """Return a policy that allows exactly this style sheet and this script, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}" if script else "script-src 'none'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


@cache
def asset(name: str) -> str:
    """Return a file that lies beside the templates."""
    return (files("mailwitness.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def environment() -> Templates:
    """Return the templates with the filters that every text from the evidence has to pass."""
    environment = Templates(
        loader=PackageLoader("mailwitness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # They lie in the package; looking at each before every include takes longer than most includes.
        auto_reload=False,
        bytecode_cache=CompiledTemplates(),
    )
    environment.filters.update(
        show=text.visible_html,
        glance=_glance,
        plain=text.plain,
        plain_attribute=lambda words: text.visible(words, 4_000),
        lay_out=record_layout.lay_out,
        number=wording.number,
        count_of=wording.count_of,
        size=wording.size,
        moment=wording.moment,
        until=wording.until,
        known_time=lambda iso: wording.parse_moment(iso) is not None,
        severity=wording.severity_of,
        outcome=wording.outcome_of,
        verdict=lambda word: wording.VERDICTS.get(word, wording.VERDICTS["undetermined"]),
    )
    environment.globals.update(
        severity=pieces.severity,
        at=pieces.at,
        span=wording.span,
        length_of=wording.length_of,
        place=wording.place,
        story_of=_story_of,
        cases_shown=CASES_SHOWN,
        findings_shown=FINDINGS_SHOWN,
        chains_shown=CHAINS_SHOWN,
        step_lines=step_lines,
        answers_of=wording.answers_of,
        quarantine_shown=QUARANTINE_SHOWN,
        ledger_mailboxes_shown=LEDGER_MAILBOXES_SHOWN,
        ledger_rows_shown=LEDGER_ROWS_SHOWN,
        heat_of=draw_heat,
        clock_of=draw_clock,
        rhythm_of=draw_rhythm,
        graph_of=draw_graph,
        ill_stretches=_ill_stretches,
        plan_of=plan.phases_of,
        about_step=plan.about,
        shell_of=plan.shell_of,
        spoken=plan.spoken,
        line_limit=plan.LINE_LIMIT,
    )
    return environment


def _glance(words: str) -> Markup:
    """Show the beginning of a text whose whole stands elsewhere on the page."""
    return text.visible_html(words if len(words) <= _GLANCE else words[: _GLANCE - 1] + "…")


def _story_of(case: Case) -> Story:
    stretches, lines_left = fold(read_timeline(case.timeline))
    return Story(draw_strip(case.timeline, case.acts), stretches, lines_left)


def _ill_stretches(part: Visibility) -> list[tuple[Lane, Stretch]]:
    """Return what was blind or is not known, blind first."""
    found = [(lane, one) for lane in part.lanes for one in lane.stretches if one.state != "seen"]
    return sorted(found, key=lambda pair: pair[1].state != "blind")


def _totals(report: Report) -> Totals:
    outcomes = [wording.outcome_of(rule.outcome) for rule in report.rules]
    return Totals(
        findings=sum(len(case.findings) for case in report.cases),
        records=sum(entry.records for entry in report.intake),
        loaded=sum(entry.loaded for entry in report.intake),
        duplicates=sum(entry.duplicates for entry in report.intake),
        quarantined=sum(entry.quarantined for entry in report.intake),
        salvaged=sum(entry.salvaged for entry in report.intake),
        rules_run=len(outcomes) - outcomes.count("not_evaluated"),
        rules_found=outcomes.count("found"),
        rules_clear=outcomes.count("clear"),
        rules_open=outcomes.count("not_evaluated"),
    )


def _rules_in_order(report: Report) -> list[Any]:
    """Return the rules, first what was not evaluated, then what was found, worst first."""
    return sorted(
        report.rules,
        key=lambda rule: (
            _OUTCOME_ORDER.index(wording.outcome_of(rule.outcome)),
            wording.SEVERITIES.index(wording.severity_of(rule.severity)),
        ),
    )
