"""What one version of a rule or setting says: clauses of acts and conditions, and what could not be read."""

from __future__ import annotations

from typing import Literal

import msgspec

from mailwitness.proof.conditions import ALWAYS, Condition, any_of

Part = Literal["destroys", "hides", "strips", "does"]
# Acts by which somebody no longer sees a message, or not as it was sent.
TAKES: frozenset[str] = frozenset({"destroys", "hides", "strips"})
# A sentence with more clauses than these would not be read.
_CLAUSES_TOLD = 12
_UNJUDGED_TOLD = 8


class Act(msgspec.Struct, frozen=True):
    """One thing that is done to a message.

    Attributes:
        part: what kind of thing.
        words: as they follow "it", such as ``moves the message to Trash``.
    """

    part: Part
    words: str


class Clause(msgspec.Struct, frozen=True):
    """Acts under one condition."""

    acts: tuple[Act, ...]
    condition: Condition = ALWAYS

    def takes(self) -> bool:
        """Tell whether it hides, deletes or strips."""
        return any(act.part in TAKES for act in self.acts)


class Reading(msgspec.Struct, frozen=True):
    """Everything one version says.

    Attributes:
        clauses: in their order.
        unread: what could not be understood, in words; it may do anything.
        plain: the sentence of a setting that does nothing to single messages.
    """

    clauses: tuple[Clause, ...] = ()
    unread: tuple[str, ...] = ()
    plain: str = ""

    def takes(self) -> bool:
        """Tell whether it hides, deletes or strips messages."""
        return any(clause.takes() for clause in self.clauses)

    def does(self, *, is_whole: bool) -> str:
        """Return what it does in plain words.

        Args:
            is_whole: nothing is missing, so that no condition means every message.
        """
        told = [_told(clause, is_whole=is_whole) for clause in self.clauses[:_CLAUSES_TOLD] if clause.acts]
        if len(self.clauses) > _CLAUSES_TOLD:
            told.append(f"and {len(self.clauses) - _CLAUSES_TOLD} more clauses")
        told += [self.plain] if self.plain else []
        told += [f"not understood: {words}" for words in self.unread[:_UNJUDGED_TOLD]]
        return "; ".join(told)

    def unjudged(self) -> str:
        """Return what a trace cannot tell of the clauses that take messages."""
        found = [words for clause in self.clauses if clause.takes() for words in clause.condition.unjudged]
        return " and ".join(list(dict.fromkeys([*found, *self.unread]))[:_UNJUDGED_TOLD])

    def taking(self) -> Condition | None:
        """Return the condition under which it takes a message; None when it takes none."""
        found = [clause.condition for clause in self.clauses if clause.takes()]
        return any_of(found) if found else None


def _told(clause: Clause, *, is_whole: bool) -> str:
    """Return a clause as one sentence: what takes the message first, with the condition right behind it."""
    acts = [act.words for act in sorted(clause.acts, key=lambda act: act.part not in TAKES)]
    is_every = is_whole and clause.condition.sql == "true" and any(act.part != "does" for act in clause.acts)
    words = clause.condition.words or ("whatever it is" if is_every else "")
    return ", ".join([f"{acts[0]} {words}".strip(), *acts[1:]])
