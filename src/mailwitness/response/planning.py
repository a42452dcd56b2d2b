"""Plan the response to a case: every step after what it would destroy has been preserved."""

from __future__ import annotations

import ipaddress
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
# Service principals of the vendor's own mail service end in this (Entra documentation, "first-party applications");
# whoever blocks one of them stops the mail of the whole tenant.
_VENDOR = "-0000-0ff1-ce00-000000000000"
# Cases that get a plan in the report, the worst first; `plan show` makes one for any case.
MOST_CASES = 100
_QUIET = frozenset({"noise", "authorised"})
_HIDDEN = "no line for this name: it is too long, hides what a line does, or reads as more than one name; work from a file"
_NO_ADDRESS = "this is no address: find out in the record what stands there"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        id: action and number, such as ``revoke_sessions.1``.
        value: what it is done for; empty for the whole case.
        mailbox: mailbox of an inbox rule; empty for anything else.
        after: ids of the steps that preserve what this one disturbs.
        unpreserved: kinds of evidence it disturbs and no step of the plan can preserve.
        lines: (shell, line) by hand, quoted; a line whose value cannot be written safely is left out.
    """

    id: str
    action: str
    title: str
    phase: str
    value: str
    mailbox: str
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
    acts = {_activity(finding) for finding in case["findings"]}
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
    lines = [
        one
        for one in action.by_hand
        if not platforms or platforms & (set(one.platforms) or _SPOKEN[one.shell])
    ]
    return msgspec.structs.replace(action, by_hand=lines)


def _steps(action: Action, case: JsonDict) -> list[Step]:
    values = _values(action, case)
    left = len(values) - _EACH
    steps = [_step(action, number, value) for number, value in enumerate(values[:_EACH], 1)]
    if left > 0:
        more = f"and {left:,} more: the same line for each of them"
        steps[-1] = msgspec.structs.replace(
            steps[-1], note="; ".join(part for part in (steps[-1].note, more) if part)
        )
    return steps


def _values(action: Action, case: JsonDict) -> list[dict[str, str]]:
    """Return what an action is done for: hole -> value of the case."""
    each = action.each
    if each == "case":
        return [{}]
    if each in _RULES:
        found = [f for f in case["findings"] if _activity(f).startswith(_RULES[each])]
        named = [(str(f["evidence"].get("ObjectName") or ""), f["mailbox"]) for f in found]
        return [{"value": name, "mailbox": box} for name, box in dict.fromkeys(named) if name]
    if each == "application":
        found = [f for f in case["findings"] if _activity(f) in action.activities]
        ids = dict.fromkeys(str(f["evidence"].get("ApplicationId") or "") for f in found)
        return [{"value": name} for name in ids if name and not name.endswith(_VENDOR)]
    plural = {"address": "addresses", "mailbox": "mailboxes"}.get(each, f"{each}s")
    return [{"value": str(value)} | _of_address(each, str(value)) for value in case[plural]]


def _activity(finding: JsonDict) -> str:
    return str(finding["evidence"].get("Activity") or "")


def _of_address(each: str, value: str) -> dict[str, str]:
    """Return how nftables and Graph name an address; nothing for a text that is none, whatever a record calls it.

    nft joins its words and parses them again, so that no quote keeps ``; flush ruleset`` out of it.
    """
    if each != "address":
        return {}
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return {}
    # A scope id may be any text: fe80::1%; flush ruleset
    if "%" in value:
        return {}
    is_four = address.version == 4  # noqa: PLR2004 - the version of the protocol
    return {
        "value": str(address),
        "family": "ip" if is_four else "ip6",
        "range": f"{address}/{address.max_prefixlen}",
        "range_type": f"#microsoft.graph.iPv{address.version}CidrRange",
    }


def _step(action: Action, number: int, values: dict[str, str]) -> Step:
    is_address = action.each != "address" or "family" in values
    # The number is ours: files of two mailboxes must not overwrite each other.
    lines = [
        (
            one.shell,
            quoting.line(one.shell, one.line.replace("{n}", str(number)), values) if is_address else "",
        )
        for one in action.by_hand
    ]
    unsafe = any(not text for _, text in lines)
    return Step(
        id=f"{action.id}.{number}", action=action.id, title=action.title, phase=action.phase, value=values.get("value", ""),
        mailbox=values.get("mailbox", ""), after=(), unpreserved=(), permission=action.permission, role=action.role,
        do=action.do, undo=action.undo, verify=action.verify, approves=action.approves, disturbs=tuple(action.disturbs),
        preserves=tuple(action.preserves), lines=tuple((shell, text) for shell, text in lines if text),
        note=_NO_ADDRESS if not is_address else _HIDDEN if unsafe else "",
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


# What a report says once for all steps of an action, and what it says of each step.
_OF_ACTION = (
    "title", "phase", "permission", "role", "do", "undo", "verify", "approves", "disturbs", "preserves",
)  # fmt: skip
_OF_STEP = ("id", "action", "value", "mailbox", "after", "unpreserved")


def of_report(cases: Sequence[JsonDict]) -> tuple[dict[str, list[JsonDict]], list[JsonDict]]:
    """Return the plans as a report holds them: what is the same for all steps of an action stands there once.

    Args:
        cases: ``cases`` of report.json, the worst first; noise and authorised work need no response.

    Returns:
        By case id its steps in order, and the actions that any of them carries out, in the same order.
    """
    chosen = actions()
    grave = [case for case in cases if case["verdict"] not in _QUIET][:MOST_CASES]
    plans = {case["id"]: plan(case, chosen) for case in grave}
    used = {step.action: step for steps in plans.values() for step in steps}
    listed = {name: [_brief(step) for step in steps] for name, steps in plans.items()}
    return listed, [_shared(used[action.id]) for action in chosen if action.id in used]


def _brief(step: Step) -> JsonDict:
    lines = [{"shell": shell, "line": line} for shell, line in step.lines]
    return _told(step, _OF_STEP) | {"lines": lines, "note": step.note}


def _shared(step: Step) -> JsonDict:
    return {"id": step.action} | _told(step, _OF_ACTION)


def _told(step: Step, names: Sequence[str]) -> JsonDict:
    values = ((name, getattr(step, name)) for name in names)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def from_report(report: JsonDict, case: JsonDict) -> list[Step]:
    """Return the plan of a case as its report holds it; one that holds none gets it from the present content.

    Args:
        report: report.json.
        case: one of its cases.
    """
    known = {one["id"]: one for one in report.get("actions", [])}
    if not case.get("plan"):
        return plan(case)
    return [
        msgspec.convert(
            {name: known[one["action"]][name] for name in _OF_ACTION}
            | one
            | {"lines": [(line["shell"], line["line"]) for line in one["lines"]]},
            Step,
        )
        for one in case["plan"]
    ]
