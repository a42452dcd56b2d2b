"""Records of response steps and of the faults of foreign playbooks; and their loaders."""

from __future__ import annotations

from typing import Literal

import msgspec

from mailwitness.content import loader

Phase = Literal["preservation", "containment", "eradication", "recovery"]
PHASES: tuple[str, ...] = ("preservation", "containment", "eradication", "recovery")
Shell = Literal["powershell", "graph", "gam", "sh"]


class ByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exact line for a person.

    Holes are quoted for the shell: ``{value}`` is what the step is about, ``{mailbox}`` the mailbox of a rule, ``{family}``,
    ``{range}`` and ``{range_type}`` what nftables and Graph call an address. ``{n}`` is the number of the step.

    Attributes:
        platforms: platforms of the case it is for; empty is all that its shell can reach.
    """

    shell: Shell
    line: str
    platforms: list[str] = []


class Effect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An act in evidence collected again that speaks for or against a step.

    Attributes:
        activities: the acts; empty means any.
        column: column of MailboxActivity that must be the value the step is about; empty asks none.
        sessions: only acts in a session of the case.
        after: whether the setting's new value is ``empty`` or ``given``; empty text asks neither.
    """

    activities: list[str] = []
    column: Literal["", "Actor", "Mailbox", "ObjectName", "ClientIP", "Host"] = ""
    sessions: bool = False
    after: Literal["", "empty", "given"] = ""


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One response step.

    Attributes:
        id: name of the file.
        each: what it is done for: each of the case's ``actor``, ``mailbox``, ``address``, ``host``, ``application``, ``rule``,
            ``transport_rule``, or once per ``case``.
        platforms: platforms of the case it applies to; empty is all.
        activities: acts of which the case has one; empty is always.
        disturbs: kinds of evidence it destroys or changes; each has to be preserved before.
        preserves: kinds of evidence it saves.
        approves: who has to agree.
        shown_by: acts that show that the step took effect.
        contradicted_by: acts that show that it did not.
    """

    id: str
    title: str
    phase: Phase
    order: int
    each: Literal["case", "actor", "mailbox", "address", "host", "application", "rule", "transport_rule"]
    platforms: list[str] = []
    activities: list[str] = []
    permission: str
    role: str
    disturbs: list[str] = []
    preserves: list[str] = []
    do: str
    undo: str
    verify: str
    by_hand: list[ByHand]
    approves: str
    shown_by: list[Effect] = []
    contradicted_by: list[Effect] = []


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of a foreign playbook that destroys evidence, or comes too early.

    Attributes:
        pattern: regular expression for the line, case ignored.
        unless_before: regular expression for a line above that makes it sound; empty: never sound.
        why: what is lost.
        instead: what to do.
    """

    id: str
    pattern: str
    unless_before: str = ""
    why: str
    instead: str
    bad: str
    good: str


def actions() -> list[Action]:
    """Return every action by phase and order.

    Raises:
        ContentError: an action is wrong.
    """
    found = [loader.read(path, Action) for path in loader.files("actions")]
    return sorted(found, key=lambda action: (PHASES.index(action.phase), action.order, action.id))


def faults() -> list[Fault]:
    """Return the known faults of playbooks."""
    path = loader.CONTENT / "actions" / "_faults.yaml"
    return msgspec.convert(loader.read_yaml(path), list[Fault])
