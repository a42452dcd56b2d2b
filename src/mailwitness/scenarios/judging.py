"""Compare what a run reported with what a scenario expects."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from mailwitness.content import loader
from mailwitness.content.schemas import SEVERITIES
from mailwitness.scenarios import telling
from mailwitness.scenarios.description import Expectation
from mailwitness.scenarios.telling import Instance, Told

Json = dict[str, Any]  # Any: members of report.json
# Sources write whole seconds, and a chain may start with a sign-in that the story does not tell.
_MARGIN = dt.timedelta(minutes=2)
_EXPLAINED = {"noise", "authorised"}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one instance was judged right.

    Attributes:
        name: of the instance.
        problem: what is wrong, in words; empty when it is right.
        severity: worst severity of its cases that are neither noise nor authorised; empty when there is none.
        verdict: verdict of its worst case; empty when there is none.
        rules: ids of the rules that fired on it, sorted.
        sources: kinds of source that recognised its files, sorted.
    """

    name: str
    problem: str
    severity: str
    verdict: str
    rules: tuple[str, ...]
    sources: tuple[str, ...] = ()


def judge(instance: Instance, told: Told, report: Json) -> Judgement:
    """Judge one instance by the cases of its time.

    Args:
        instance: what was told.
        told: its records and times.
        report: report.json of a run whose evidence holds it; other instances in it are weeks apart.
    """
    mine = [case for case in report["cases"] if _is_of(case, told)]
    listed = sorted(mine, key=lambda case: -SEVERITIES.index(case["severity"]))
    real = [case for case in listed if case["verdict"] not in _EXPLAINED]
    wanted = telling.filled(instance, told)
    problem = (
        _twin_problem(real, wanted) or _unexplained(mine, wanted)
        if instance.is_twin
        else _attack_problem(real, wanted, told)
    )
    return Judgement(
        name=instance.name,
        problem=problem,
        severity=real[0]["severity"] if real else "",
        verdict=listed[0]["verdict"] if listed else "",
        rules=tuple(sorted({finding["rule"] for case in mine for finding in case["findings"]})),
    )


def _is_of(case: Json, told: Told) -> bool:
    times = [_time(case["first_seen"]), _time(case["last_seen"])]
    begin, end = told.first - _MARGIN, told.last + dt.timedelta(days=7)
    return any(time is not None and begin <= time <= end for time in times)


def _time(text: str) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text.removesuffix("Z")) if text else None


def _twin_problem(real: list[Json], wanted: Expectation) -> str:
    most = SEVERITIES.index(min(wanted.severity, "low", key=SEVERITIES.index))
    for case in real:
        if SEVERITIES.index(case["severity"]) > most:
            return f"rated {case['severity']}: {case['title']}"
    return ""


def _unexplained(mine: list[Json], wanted: Expectation) -> str:
    """Say that an explanation which the innocent work has does not hold for it."""
    if not wanted.explained:
        return ""
    ids = {path.stem: explanation.id for path, explanation in loader.explanations()}
    held = {row["id"] for case in mine for finding in case["findings"] for row in finding["explanations"]}
    return "" if ids.get(wanted.explained) in held else f"{wanted.explained} explains nothing of it"


def _attack_problem(real: list[Json], wanted: Expectation, told: Told) -> str:
    """Return what no single case shows; the problem of the best case is told."""
    if not real:
        return "nothing was found"
    problems = [_case_problem(case, wanted, told) for case in real]
    return min(problems, key=lambda found: (found != "", -len(found)))


def _case_problem(case: Json, wanted: Expectation, told: Told) -> str:
    if SEVERITIES.index(case["severity"]) < SEVERITIES.index(wanted.severity):
        return f"rated {case['severity']}, expected at least {wanted.severity}: {case['title']}"
    named = {
        "actor": (wanted.actor, case["actors"]),
        "mailbox": (wanted.mailbox, case["mailboxes"]),
        "host": (wanted.host, case["hosts"]),
    }
    for what, (expected, given) in named.items():
        if expected and not _names(expected, told) & {_account(name) for name in given}:
            return f"the {what} {expected} is not named, but {', '.join(given) or 'none'}: {case['title']}"
    missing = [technique for technique in wanted.techniques if technique not in case["techniques"]]
    if missing:
        return f"{missing[0]} is not among the techniques {', '.join(case['techniques']) or '(none)'}"
    matched = {chain["name"] for chain in case["chains"]}
    unmatched = [name for name in wanted.chains if name not in matched]
    if unmatched:
        return (
            f"the chain {unmatched[0]} is not among {', '.join(sorted(matched)) or '(none)'}: {case['title']}"
        )
    return _order_problem(case, wanted.order, told)


def _names(expected: str, told: Told) -> set[str]:
    """Return everything an account is called: some logs write its address, others its path, its SID or its full name."""
    wanted = _account(expected)
    people = [value for value in told.values.values() if isinstance(value, dict) and "upn" in value]
    aliases = [{_account(str(item[key])) for key in ("name", "display", "sid", "upn")} for item in people]
    return next((names for names in aliases if wanted in names), {wanted})


def _account(name: str) -> str:
    short = name.lower().split("@", 1)[0].replace("\\", "/").rsplit("/", 1)[-1]
    return short.split(".contoso", 1)[0]


def _order_problem(case: Json, order: list[str], told: Told) -> str:
    """Check that the named steps are proven and stand in their order.

    A finding proves a step when it stands at the step's time, or its own times enclose it; so does a step of a chain.
    """
    shown: list[dt.datetime] = []
    for label in order:
        time = told.labels[label]
        spans = [_span(finding) for finding in case["findings"]]
        spans += [_step_span(step) for chain in case["chains"] for step in chain["steps"]]
        if not any(found and found[0] - _SECOND <= time <= found[1] + _SECOND for found in spans):
            return f"no finding proves the step {label!r} at {time.isoformat()}: {case['title']}"
        shown.append(time)
    return "" if shown == sorted(shown) else f"the steps {', '.join(order)} are told in another order"


_SECOND = dt.timedelta(seconds=2)


def _span(finding: Json) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the times a finding speaks of: all times among its evidence."""
    texts = [finding["time"], *(value for value in finding["evidence"].values() if _is_time(value))]
    times = [time for text in texts if (time := _time(text)) is not None]
    return (min(times), max(times)) if times else None


def _step_span(step: Json) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the times of a chain's step that was seen."""
    first, last = _time(step["time"] or ""), _time(step["last_time"] or step["time"] or "")
    return (first, last) if first is not None and last is not None else None


def _is_time(value: Any) -> bool:  # noqa: ANN401 - a query cell
    return isinstance(value, str) and len(value) == 20 and value[10:11] == "T" and value.endswith("Z")  # noqa: PLR2004 - 2026-03-02T09:00:00Z
