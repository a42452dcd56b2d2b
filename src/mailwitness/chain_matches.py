"""Say what was found of a chain: its steps with rows, how they were joined, and what is missing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from mailwitness.chain_keys import WEAK, words_of
from mailwitness.models import ChainMatch, Finding, StepSeen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailwitness.chain_keys import Act
    from mailwitness.chain_machine import Link
    from mailwitness.content.schemas import Chain

_LEVELS = ("low", "medium", "high")
_KEPT_ROWS = 50
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times of findings are naive UTC
_SHOWN = 120


def as_match(chain: Chain, path: list[Link], blind: dict[str, str]) -> ChainMatch:
    """Make a match of a completed path.

    Args:
        chain: the chain.
        path: its links in order.
        blind: step or forbidden act -> why the evidence cannot show it.
    """
    seen = {chain.correlation.rules[link.step]: link for link in path}
    steps = [_step(chain, name, seen.get(name), blind.get(name, "")) for name in _order(chain, path)]
    acts = [act for link in reversed(path) for act in link.acts]
    last = path[-1]
    confidence, doubts = _confidence(chain, path)
    return ChainMatch(
        chain=chain.id,
        name=chain.name,
        title=_title(chain, seen),
        description=chain.description.strip(),
        severity="informational" if all(act.ActorType == "System" for act in acts) else chain.level,
        confidence=confidence,
        phase=chain.phase,
        techniques=tuple(chain.attack.v19 or chain.attack.v18),
        reasons=(*_reasons(chain), *doubts),
        steps=tuple(steps),
        notes=tuple(_unseen(chain, blind)),
        time=moment(path[0].first),
        last_time=moment(max(link.last for link in path)),
        actor=last.acts[0].Actor or _first(act.Actor for act in acts),
        actor_type=last.acts[0].ActorType or _first(act.ActorType for act in acts),
        mailbox=last.acts[0].Mailbox or _first(act.Mailbox for act in acts),
        session=_first(act.SessionId for act in acts),
        address=_first(act.ClientIP for act in acts),
        host=_first(act.Host for act in acts),
        activity=_first(act.Activity for act in acts),
        accounts=_accounts(acts),
    )


def _order(chain: Chain, path: list[Link]) -> list[str]:
    """Return the names of the steps as they were seen; for unordered chains the order of time comes first."""
    names = chain.correlation.rules
    if chain.correlation.type != "temporal":
        return names
    seen = [names[link.step] for link in path]
    return [*seen, *(name for name in names if name not in seen)]


def _step(chain: Chain, name: str, link: Link | None, blind: str) -> StepSeen:
    step = chain.steps[name]
    if link is None:
        state = "not_visible" if blind else "missing"
        return StepSeen(step=name, title=step.title, state=state, why=blind or step.missing)
    return StepSeen(
        step=name,
        title=step.title,
        state="seen",
        time=moment(link.first),
        last_time=moment(link.last),
        joined=words_of(link.way) if link.way else "",
        way=link.way,
        actor=link.acts[0].Actor,
        mailbox=link.acts[0].Mailbox,
        rows=tuple(dict.fromkeys((act.exhibit, act.position) for act in link.acts if act.position >= 0)),
        count=link.count,
    )


def _confidence(chain: Chain, path: list[Link]) -> tuple[str, list[str]]:
    """Return the chain's confidence, one lower when only a weak way of joining holds two steps together."""
    weak = [link.way for link in path if link.way and set(link.way.split("+")) <= WEAK]
    if not weak:
        return chain.confidence, []
    lowered = _LEVELS[max(0, _LEVELS.index(chain.confidence) - 1)]
    return lowered, [f"less sure: two steps share only {words_of(weak[0])}"]


def _reasons(chain: Chain) -> list[str]:
    listed: list[str] = []
    for value in chain.reasons.values():
        listed += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return [reason.strip() for reason in listed if reason.strip()]


def _unseen(chain: Chain, blind: dict[str, str]) -> list[str]:
    return [
        f"whether there was {step.title} could not be seen: {blind[name]}"
        for name, step in chain.forbidden.items()
        if name in blind
    ]


def _title(chain: Chain, seen: dict[str, Link]) -> str:
    """Replace ``{step.Column}`` by the first act's value; never by formatting rules an attacker could use."""
    title = chain.finding
    for name in chain.steps:
        act = seen[name].acts[0] if name in seen else None
        for column in ("Actor", "Mailbox", "ObjectName", "Host", "SettingAfter"):
            mark = "{" + f"{name}.{column}" + "}"
            if mark in title:
                value = str(getattr(act, column)) if act else ""
                title = title.replace(mark, _short(value) or "an unnamed one")
    return title


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def _accounts(acts: list[Act]) -> tuple[str, ...]:
    named = [name for act in acts if act.ActorType != "System" for name in (act.Actor, act.Mailbox) if name]
    return tuple(sorted(set(named)))


def moment(microseconds: int) -> dt.datetime:
    """Return the naive UTC time of microseconds since 1970."""
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def as_finding(match: ChainMatch) -> Finding:
    """Make a match a finding, so that cases gather and judge it with all others."""
    return Finding(
        kind="chain",
        rule=match.chain,
        title=match.title,
        severity=match.severity,
        confidence=match.confidence,
        phase=match.phase,
        techniques=match.techniques,
        time=match.time,
        last_time=match.last_time,
        actor=match.actor,
        actor_type=match.actor_type,
        mailbox=match.mailbox,
        address=match.address,
        session=match.session,
        host=match.host,
        description=match.description,
        reasons=match.reasons,
        evidence={
            "Chain": match.name,
            "Activity": match.activity,
            "Steps": [step_line(step) for step in match.steps],
        },
        rows=match.rows()[:_KEPT_ROWS],
    )


def step_line(step: StepSeen) -> str:
    """Return one step as a line of text."""
    if step.time is None:
        words = "cannot be seen" if step.state == "not_visible" else "missing"
        return f"{step.title}: {words}" + (f" ({step.why})" if step.why else "")
    times = f", {step.count} times" if step.count > 1 else ""
    joined = f", joined by {step.joined}" if step.joined else ""
    return f"{step.time:%Y-%m-%dT%H:%M:%SZ} {step.title}{times}{joined}"
