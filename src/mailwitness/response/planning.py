"""Plan the response to a case: every step after what it would destroy has been preserved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.content.actions import PHASES, Action, actions
from mailwitness.errors import ConfigError
from mailwitness.response import quoting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JsonDict = dict[str, Any]  # Any: JSON values
# A tenth mailbox needs the same line as the first; the plan says how many more there are.
_EACH = 10
_SPOKEN = {
    "powershell": {"ExchangeOnline", "Exchange", "Entra", "Windows"},
    "graph": {"ExchangeOnline", "Entra"},
    "gam": {"GoogleWorkspace"},
    "sh": {"Linux", "macOS"},
}
_RULES = {"rule": "InboxRule", "transport_rule": "TransportRule"}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        id: action and number, such as ``revoke_sessions.1``.
        value: what it is done for; empty for the whole case.
        after: ids of the steps that preserve what this one disturbs.
        unpreserved: kinds of evidence it disturbs and no step of the plan can preserve.
        lines: (shell, line) by hand, quoted; a line whose value cannot be written safely is left out.
    """

    id: str
    action: str
    title: str
    phase: str
    value: str
    after: tuple[str, ...]
    unpreserved: tuple[str, ...]
    permission: str
    role: str
    do: str
    undo: str
    verify: str
    approves: str
    disturbs: tuple[str, ...]
    preserves: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    note: str = ""


def plan(case: JsonDict, listed: Sequence[Action] | None = None) -> list[Step]:
    """Return the steps for a case in an order that destroys nothing.

    Args:
        case: one of ``cases`` of report.json.
        listed: actions; None takes the shipped ones.
    """
    chosen = actions() if listed is None else listed
    acts = {str(f["evidence"].get("Activity") or "") for f in case["findings"]}
    platforms = {str(f["evidence"].get("Platform") or "") for f in case["findings"]} - {""}
    fitting = [one for one in chosen if _fits(one, acts, platforms)]
    made = [step for one in fitting for step in _steps(_spoken(one, platforms), case)]
    saved: dict[str, list[Step]] = {}
    for step in made:
        for kind in step.preserves:
            saved.setdefault(kind, []).append(step)
    ordered = [_after(step, saved) for step in made]
    ordered.sort(key=lambda step: PHASES.index(step.phase))
    fault = destroys([step.id for step in ordered], ordered)
    if fault:
        raise ConfigError(fault, place="content/actions", remedy="Correct phase and order of the actions.")
    return ordered


def _fits(action: Action, acts: set[str], platforms: set[str]) -> bool:
    return (not action.activities or bool(acts & set(action.activities))) and (
        not action.platforms or not platforms or bool(platforms & set(action.platforms))
    )


def _spoken(action: Action, platforms: set[str]) -> Action:
    """Leave out lines for products that the case is not about."""
    lines = [one for one in action.by_hand if not platforms or platforms & _SPOKEN[one.shell]]
    return msgspec.structs.replace(action, by_hand=lines)


def _steps(action: Action, case: JsonDict) -> list[Step]:
    values = _values(action.each, case)
    left = len(values) - _EACH
    steps = [_step(action, number, value) for number, value in enumerate(values[:_EACH], 1)]
    if left > 0:
        more = f"and {left:,} more: the same line for each of them"
        steps[-1] = msgspec.structs.replace(steps[-1], note=more)
    return steps


def _values(each: str, case: JsonDict) -> list[dict[str, str]]:
    if each == "case":
        return [{}]
    if each in _RULES:
        begins = _RULES[each]
        found = [f for f in case["findings"] if str(f["evidence"].get("Activity") or "").startswith(begins)]
        named = [(str(f["evidence"].get("ObjectName") or ""), f["mailbox"]) for f in found]
        return [{"value": name, "mailbox": box} for name, box in dict.fromkeys(named) if name]
    plural = {"address": "addresses", "mailbox": "mailboxes"}.get(each, f"{each}s")
    return [{"value": str(value)} for value in case.get(plural, [])]


def _step(action: Action, number: int, values: dict[str, str]) -> Step:
    # The number is ours: files of two mailboxes must not overwrite each other.
    lines = [
        (one.shell, quoting.line(one.shell, one.line.replace("{n}", str(number)), values))
        for one in action.by_hand
    ]
    unsafe = any(not text for _, text in lines)
    return Step(
        id=f"{action.id}.{number}", action=action.id, title=action.title, phase=action.phase, value=values.get("value", ""),
        after=(), unpreserved=(), permission=action.permission, role=action.role, do=action.do, undo=action.undo,
        verify=action.verify, approves=action.approves, disturbs=tuple(action.disturbs), preserves=tuple(action.preserves),
        lines=tuple((shell, text) for shell, text in lines if text),
        note="the name holds characters that hide what a line does: work from a file, not from a line" if unsafe else "",
    )  # fmt: skip


def _after(step: Step, saved: dict[str, list[Step]]) -> Step:
    needed: list[str] = []
    for kind in step.disturbs:
        givers = saved.get(kind, [])
        # What was saved of another mailbox does not save this one; where nothing is its own, all are waited for.
        own = [one for one in givers if one.value in {"", step.value}]
        needed += [one.id for one in own or givers]
    missing = tuple(kind for kind in step.disturbs if kind not in saved)
    return msgspec.structs.replace(step, after=tuple(dict.fromkeys(needed)), unpreserved=missing)


def destroys(order: Iterable[str], steps: Sequence[Step]) -> str:
    """Say which step of an order would destroy what is not preserved yet; empty when none does.

    Args:
        order: ids of steps, those already done first.
        steps: the plan.
    """
    known = {step.id: step for step in steps}
    done: set[str] = set()
    for name in order:
        step = known.get(name)
        if step is None:
            return f"the plan has no step {name}"
        waiting = [one for one in step.after if one not in done]
        if waiting:
            return f"{name} would disturb {', '.join(step.disturbs)}, which {', '.join(waiting[:4])} has to preserve before"
        done.add(name)
    return ""
