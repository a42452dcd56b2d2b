"""Group findings that belong to one story; :mod:`mailwitness.severity` judges each story in words."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from mailwitness import baselines, severity
from mailwitness.content.schemas import SEVERITIES
from mailwitness.models import ChainMatch, Finding

# Findings of one actor, mailbox or session belong together while no gap is longer than this.
STORY_GAP = dt.timedelta(days=7)
# Work without a login, on a host where a person's act on the same mailbox stands this near, is that person's until something says
# otherwise: a shell put into the background and a job made for the purpose leave no login either.
NEAR = dt.timedelta(hours=1)
# Times of findings are naive UTC, as the database gives them.
_EARLIEST = dt.datetime(1, 1, 1)  # noqa: DTZ001
_LATEST = dt.datetime(9999, 12, 31)  # noqa: DTZ001


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """Findings that share entities, with what they amount to.

    Attributes:
        usual: how often the story's actors usually do what they did here.
    """

    id: str
    title: str
    severity: str
    confidence: str
    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    usual: tuple[baselines.Usual, ...] = ()
    chains: tuple[ChainMatch, ...] = ()


def group(
    findings: list[Finding],
    history: baselines.History | None = None,
    matches: Sequence[ChainMatch] = (),
) -> list[Story]:
    """Make cases of findings: those that share actor, mailbox or session within a story.

    Work of the product's own services is kept apart: it would tie every mailbox together. Where it hit a mailbox on a host within
    an hour of a person's act on the same mailbox there, and nothing explains it, it belongs to that person's story.
    A chain is a finding too, and draws in every finding that shares an account or a record with one of its steps.

    Args:
        findings: of rules and chains, with their explanations.
        history: what is usual in this evidence; None where nobody counted it.
        matches: chains, whose findings are the last ones given, in the same order.

    Returns:
        Stories, the most severe first.
    """
    chained = {len(findings) - len(matches) + i: match for i, match in enumerate(matches)}
    parents = list(range(len(findings)))
    by_key: dict[tuple[str, str], list[int]] = defaultdict(list)
    full = full_names(findings)
    led = _led(findings, full)
    for i, finding in enumerate(findings):
        for key in _keys(finding, full) if i not in led else [led[i]]:
            by_key[key].append(i)
    for i, match in chained.items():
        for name in match.accounts:
            by_key["account", full.get(name.lower(), name.lower())].append(i)
    _join_by_rows(findings, chained, parents)
    for members in by_key.values():
        ordered = sorted(members, key=lambda i: findings[i].time or _EARLIEST)
        for left, right in itertools.pairwise(ordered):
            if _close(findings[left], findings[right]):
                parents[_root(parents, left)] = _root(parents, right)
    stories = _stories(findings, chained, parents, history or baselines.History())
    return sorted(
        stories, key=lambda story: (-SEVERITIES.index(story.severity), _first(story.findings), story.id)
    )


def _stories(
    findings: list[Finding],
    chained: dict[int, ChainMatch],
    parents: list[int],
    history: baselines.History,
) -> list[Story]:
    groups: dict[int, list[Finding]] = defaultdict(list)
    for i, finding in enumerate(findings):
        groups[_root(parents, i)].append(finding)
    followed: dict[int, list[ChainMatch]] = defaultdict(list)
    for i, match in chained.items():
        followed[_root(parents, i)].append(match)
    return [
        msgspec.structs.replace(_story(members, history), chains=tuple(_worst_first(followed[root])))
        for root, members in groups.items()
    ]


def _worst_first(matches: list[ChainMatch]) -> list[ChainMatch]:
    return sorted(matches, key=lambda match: (-SEVERITIES.index(match.severity), match.time, match.name))


def _join_by_rows(findings: list[Finding], chained: dict[int, ChainMatch], parents: list[int]) -> None:
    """Tie each chain to the findings that rest on one of its records, however long the chain took."""
    holders: dict[tuple[str, int], int] = {}
    for i, match in chained.items():
        for row in match.rows():
            if row in holders:
                parents[_root(parents, i)] = _root(parents, holders[row])
            holders[row] = i
    for i, finding in enumerate(findings):
        for row in finding.rows:
            if row in holders:
                parents[_root(parents, i)] = _root(parents, holders[row])


def full_names(findings: list[Finding]) -> dict[str, str]:
    """Return the one full address for each name before the @: cmdlets name mailboxes either way."""
    found: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        for name in (finding.actor.lower(), finding.mailbox.lower()):
            if "@" in name:
                found[name.split("@", 1)[0]].add(name)
    return {short: next(iter(names)) for short, names in found.items() if len(names) == 1}


def _keys(finding: Finding, full: dict[str, str]) -> list[tuple[str, str]]:
    if _is_noise(finding):
        return [("noise", f"{finding.rule}|{finding.actor.lower()}")]
    names = {full.get(value.lower(), value.lower()) for value in (finding.actor, finding.mailbox) if value}
    keys = [("account", name) for name in sorted(names)]
    if finding.session:
        keys.append(("session", finding.session))
    return keys or [("rule", finding.rule)]


def _led(findings: list[Finding], full: dict[str, str]) -> dict[int, tuple[str, str]]:
    """Return the work without a login that lies near a person's act on the same mailbox and host, with the key of that story."""
    acts: dict[tuple[str, str], list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
    for finding in findings:
        if finding.host and finding.mailbox and finding.time and finding.actor and not _is_noise(finding):
            place = (finding.host.lower(), finding.mailbox.lower())
            acts[place].append((finding.time, finding.last_time or finding.time))
    found: dict[int, tuple[str, str]] = {}
    for i, finding in enumerate(findings):
        if finding.actor_type != "System" or finding.severity == "informational" or finding.explanations:
            continue
        time, mailbox = finding.time, finding.mailbox.lower()
        near = acts.get((finding.host.lower(), mailbox), [])
        if time and any(first - NEAR <= time <= last + NEAR for first, last in near):
            found[i] = ("account", full.get(mailbox, mailbox))
    return found


def _is_noise(finding: Finding) -> bool:
    return finding.actor_type == "System" or finding.severity == "informational"


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _close(left: Finding, right: Finding) -> bool:
    if left.time is None or right.time is None:
        return True
    return right.time - max(left.time, left.last_time or left.time) <= STORY_GAP


def _first(findings: tuple[Finding, ...]) -> dt.datetime:
    return min((finding.time for finding in findings if finding.time), default=_LATEST)


def _story(members: list[Finding], history: baselines.History) -> Story:
    ordered = tuple(sorted(members, key=lambda f: (f.time or _LATEST, -SEVERITIES.index(f.severity), f.rule)))
    usual = history.of(ordered)
    judged = severity.assess(ordered, usual)
    worst = max(judged.findings, key=lambda finding: SEVERITIES.index(finding.severity))
    kinds = len({finding.rule for finding in ordered})
    more = {1: "", 2: " and one more kind of finding"}.get(kinds, f" and {kinds - 1} more kinds of findings")
    text = "|".join(sorted(f"{f.rule}{f.rows}{f.time}{f.actor}{f.mailbox}" for f in ordered))
    return Story(
        id="C" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8],
        title=worst.title + more,
        severity=judged.severity,
        confidence=judged.confidence,
        verdict=judged.verdict,
        reasons=judged.reasons,
        findings=judged.findings,
        usual=usual,
    )
