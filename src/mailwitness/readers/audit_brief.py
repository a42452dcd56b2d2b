"""Which events of the audit log no rule can ask for more than when, where and what kind they were.

These are found before anything is taken apart: system calls that start no program and name no mail, log or configuration, and
records of programs that are neither a login nor the end of a service. Their rows are brief; all else they say stays in the sealed
original until somebody asks for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mailwitness.readers import audit_event
from mailwitness.readers.audit_columns import Tokens
from mailwitness.readers.audit_lines import ALONE, CWD, EXECVE, FIRST_ALONE, PATH, SYSCALL
from mailwitness.readers.audit_wanted import is_wanted
from mailwitness.readers.byte_words import digits
from mailwitness.readers.known_texts import KnownTexts
from mailwitness.readers.syscalls import syscall_name

if TYPE_CHECKING:
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions

# Where the fields of a system call stand, see `audit_columns`.
_ITEMS, _COMM = 8, 22
_MESSAGE = 4
# Records of programs that a rule may ask for by themselves.
_ALWAYS = tuple(FIRST_ALONE + ALONE.index(name) for name in ("USER_LOGIN", "SERVICE_STOP"))
# Those that say whose a number is, where a login program wrote them.
_LOGINS = tuple(FIRST_ALONE + ALONE.index(name) for name in ("USER_ACCT", "USER_START", "CRED_ACQ"))
_CALL = re.compile(rb"arch=(\w{1,16}) syscall=(\w{1,16})")
_PROGRAM = re.compile(
    rb'comm=(?:"[^"\s]*"|\(null\)) exe=(?:"[^"\s]*"|\(null\))(?: subj=[^"\s]+)?(?: key=(?:"[^"\s]*"|\(null\)))?'
)
_OTHER_PROGRAM = re.compile(rb'exe="/[^"\s]*"')
_LOGIN_PROGRAM = re.compile(rb"sshd|login|gdm|lightdm|systemd")
_WORD = 8


class Brief(NamedTuple):
    """Which events are brief, and which of these lack records that the kernel counted."""

    events: Mask
    salvaged: Mask


class Interest:
    """Tells the events of a log that are brief; programs, paths and messages come again and again, so each text is looked at once."""

    def __init__(self) -> None:
        """Know no text yet."""
        self._calls = KnownTexts(lambda text: int(not _is_brief_call(text)))
        self._programs = KnownTexts(lambda text: int(_PROGRAM.fullmatch(text) is None or is_wanted(text)))
        self._files = KnownTexts(is_wanted)
        self._messages = KnownTexts(lambda text: int(_may_be_login(text)))

    def find(self, found: Text, these: Lines, groups: Groups, bases: Positions) -> Brief:
        """Return which events are brief; those that are not plain never are.

        Args:
            found: the stretch.
            these: its lines.
            groups: their events.
            bases: where the enriched part of each line begins.
        """
        events = len(groups.firsts)
        is_brief = groups.is_plain.copy()
        kinds = these.kinds[groups.lines]
        of_entry = np.repeat(np.arange(events), groups.counts)
        _leave_foreign(found, these, groups, of_entry, is_brief)
        is_brief[of_entry[kinds == EXECVE]] = False
        salvaged = self._find_calls(found, these, groups, bases, is_brief)
        paths = np.bincount(of_entry[kinds == PATH], minlength=events)
        for kind in (CWD, PATH):
            chosen = np.flatnonzero((kinds == kind) & is_brief[of_entry])
            line = groups.lines[chosen]
            start, stop = these.blanks[line], bases[line]
            begin = found.blanks[start] + 1
            if kind == PATH:
                # The name ends before the next field; what stands behind it are numbers and none of our words.
                stop = np.minimum(found.blanks[start + 2], stop)
            answers = self._files.ask(found, begin, np.maximum(stop, begin))
            is_brief[of_entry[chosen[answers > 0]]] = False
        self._find_alone(found, these, groups, bases, is_brief)
        return Brief(is_brief, is_brief & (salvaged > paths))

    def _find_calls(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, is_brief: Mask
    ) -> Positions:
        """Leave out system calls of interest; return how many paths the kernel counted for each event."""
        heads = groups.lines[groups.firsts]
        events = np.flatnonzero(is_brief & (these.kinds[heads] == SYSCALL))
        line = heads[events]
        base = bases[line]
        tokens = Tokens(found, these.blanks[line], base)
        start, stop, is_other = tokens.named(_ITEMS, "items")
        length = (stop - start).astype(np.uint64)
        shift = (np.uint64(8) - np.minimum(length, np.uint64(8))) * np.uint64(8)
        items, is_number = digits(
            found.at(start) << shift | np.uint64(0x3030303030303030) >> (np.uint64(64) - shift)
        )
        is_other |= ~is_number | (length > _WORD)
        begin = tokens.start(0)
        is_other |= self._calls.ask(found, begin, np.maximum(tokens.stop(1), begin)) > 0
        begin = tokens.start(_COMM)
        is_other |= self._programs.ask(found, begin, np.maximum(base, begin)) > 0
        is_brief[events[is_other]] = False
        counted = np.zeros(len(groups.firsts), dtype=np.int64)
        counted[events] = items
        return counted

    def _find_alone(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, is_brief: Mask
    ) -> None:
        """Leave out records of programs that are or may be a login, and the ends of services."""
        heads = groups.lines[groups.firsts]
        kinds = these.kinds[heads]
        is_brief[np.isin(kinds, _ALWAYS)] = False
        events = np.flatnonzero(is_brief & np.isin(kinds, _LOGINS))
        line = heads[events]
        begin = Tokens(found, these.blanks[line], bases[line]).start(_MESSAGE)
        answers = self._messages.ask(found, begin, np.maximum(bases[line], begin))
        is_brief[events[answers > 0]] = False


def _leave_foreign(found: Text, these: Lines, groups: Groups, of_entry: Positions, is_brief: Mask) -> None:
    """Leave out events with bytes that are no plain text."""
    hurt = found.foreign_lines(these.starts)
    if len(hurt):
        is_hurt = np.zeros(len(these.starts), dtype=np.bool_)
        is_hurt[hurt] = True
        is_brief[of_entry[is_hurt[groups.lines]]] = False


def _is_brief_call(text: bytes) -> bool:
    """Tell whether ``arch=c000003e syscall=257`` is a call that starts no program."""
    match = _CALL.fullmatch(text)
    if match is None:
        return False
    architecture, number = (part.decode("ascii") for part in match.groups())
    return syscall_name(architecture, number) not in audit_event.EXECUTES


def _may_be_login(text: bytes) -> bool:
    """Tell whether the message of a program may be that of a login program."""
    return _OTHER_PROGRAM.search(text) is None or _LOGIN_PROGRAM.search(text) is not None
