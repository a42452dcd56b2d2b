"""Which events of the audit log no rule can ask for more than when, where and what kind they were.

These are found before anything is taken apart: system calls that start no program and name no mail, log or configuration, and
records of programs that are neither a login nor the end of a service. Their rows are brief; all else they say stays in the sealed
original until somebody asks for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mailwitness.readers import audit_event
from mailwitness.readers.audit_fields import decode
from mailwitness.readers.audit_lines import ALONE, CWD, EXECVE, FIRST_ALONE, PATH, PROCTITLE, SYSCALL, texts
from mailwitness.readers.audit_wanted import WANTED, is_wanted
from mailwitness.readers.byte_words import digits, word
from mailwitness.readers.known_texts import KnownTexts
from mailwitness.readers.syscalls import syscall_name

if TYPE_CHECKING:
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.byte_words import Text
    from mailwitness.readers.index import Positions

# What stands between the id of an event and the first field, and before the number of paths of a system call.
_BEHIND, _ITEMS = b"): ", b" items="
# Fields before a program's message.
_MESSAGE = 4
# So far are the fields of a system call looked for behind its id and before its end, and so long are the fields of a program's head
# and of architecture and call.
_LOOK, _HEAD_BYTES, _CALL_BYTES = 128, 64, 40
# Longest name of a file in a record (PATH_MAX in hex and quotes).
_LONGEST_NAME = 8200
_SIX, _SEVEN = np.uint64(0xFFFFFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFF)
# A system call that is cut before the number of its paths.
_CUT = re.compile(rb"[^ ]*(?: [^ ]*){0,8}(?: (?:i(?:t(?:e(?:m(?:s)?)?)?)?)?)?")
# Records of programs that a rule may ask for by themselves.
_ALWAYS = tuple(FIRST_ALONE + ALONE.index(name) for name in ("USER_LOGIN", "SERVICE_STOP"))
# Those that say whose a number is, where a login program wrote them.
_LOGINS = tuple(FIRST_ALONE + ALONE.index(name) for name in ("USER_ACCT", "USER_START", "CRED_ACQ"))
_CALL = re.compile(rb"\): arch=(\w{1,16}) syscall=(\w{1,16}) ")
_PROGRAM = re.compile(
    rb'comm=(?:"[^"\s]*"|\(null\)) exe=(?:"[^"\s]*"|\(null\))(?: subj=[^"\s]+)?(?: key=(?:"[^"\s]*"|\(null\)))?'
)
_OTHER_PROGRAM = re.compile(rb'exe="/[^"\s]*"')
_LOGIN_PROGRAM = re.compile(rb"sshd|login|gdm|lightdm|systemd")
_WORD = 8
# What makes an event of interest wherever it stands in its lines: our words, programs that are started, and names in hex, of which the
# titles of programs are none.
_SUSPECT = (
    b"|".join(re.escape(word) for word in WANTED)
    + rb"|/(?:cur|new)/|73706F6F6C|SYSCALL=exec|syscall=(?:59|322|11|358|221|281)(?:[^0-9]|$)|(?:comm|exe|key|name|cwd)=[0-9A-F]{4}"
).decode("ascii")


# What a call does, see `_judge_call`.
_STARTS, _UNUSUAL, _DELETES = 1, 2, 3


class Brief(NamedTuple):
    """Which events are brief, and which of these lack records that the kernel counted."""

    events: Mask
    salvaged: Mask


class Interest:
    """Tells the events of a log that are brief; programs, paths and messages come again and again, so each text is looked at once."""

    def __init__(self) -> None:
        """Know no text yet."""
        self._calls = KnownTexts(_judge_call)
        self._programs = KnownTexts(_judge_program)
        self._files = KnownTexts(is_wanted)
        self._titles = KnownTexts(_judge_title)
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
        is_odd = ~groups.is_plain | _foreign(found, these, groups, of_entry)
        is_brief[is_odd] = False
        is_brief[of_entry[kinds == EXECVE]] = False
        counted, is_other = self._find_calls(found, these, groups, bases, is_brief)
        for kind in (CWD, PATH):
            begin, stop, event = _spans(these, groups, bases, kind, is_brief)
            if kind == PATH:
                stop = np.maximum(np.minimum(_name_ends(found, begin), stop), begin)
            is_brief[event[self._files.ask(found, begin, stop) > 0]] = False
        self._find_alone(found, these, groups, bases, is_brief)
        self._find_odd(found, these, groups, bases, (is_odd | is_other, is_brief, counted))
        paths = np.bincount(of_entry[kinds == PATH], minlength=events)
        return Brief(is_brief, is_brief & (counted > paths))

    def _find_odd(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, known: tuple[Mask, Mask, Positions]
    ) -> None:
        """Take events whose records are cut, missing or foreign for brief where none of their lines holds anything of interest.

        Args:
            found: the stretch.
            these: its lines.
            groups: their events.
            bases: where the enriched part of each line begins.
            known: which events are odd; which are brief; how many paths the kernel counted: the latter two are completed.
        """
        is_odd, is_brief, counted = known
        is_odd = is_odd.copy()
        is_odd[list(groups.parts)] = False
        events = np.flatnonzero(is_odd)
        if not len(events):
            return
        mine = groups.only(events)
        kinds = these.kinds[mine.lines]
        of_entry = np.repeat(np.arange(len(events)), mine.counts)
        is_call = kinds == SYSCALL
        calls, line = of_entry[is_call], mine.lines[is_call]
        suspect = pc.match_substring_regex(texts(found, these).take(pa.array(mine.lines)), _SUSPECT).to_numpy(
            zero_copy_only=False
        )
        items, is_other = _items(found, these.ids[1][line], bases[line])
        # More than one call, or a program's record beside others, is for the reader of single records.
        wrong = np.bincount(calls, minlength=len(events)) > 1
        wrong |= (mine.counts > 1) & (np.bincount(of_entry[kinds >= FIRST_ALONE], minlength=len(events)) > 0)
        for found_wrong in (
            of_entry[suspect],
            of_entry[(kinds == EXECVE) | np.isin(kinds, (*_ALWAYS, *_LOGINS))],
            calls[is_other],
        ):
            wrong[found_wrong] = True
        counted[events] = 0
        counted[events[calls]] = items
        is_brief[events] = ~wrong

    def _find_calls(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, is_brief: Mask
    ) -> tuple[Positions, Mask]:
        """Leave out system calls of interest; return how many paths the kernel counted for each event, and which are not written as usual."""
        heads = groups.lines[groups.firsts]
        events = np.flatnonzero(is_brief & (these.kinds[heads] == SYSCALL))
        line = heads[events]
        begin, base = these.ids[1][line], bases[line]
        items, is_other = _items(found, begin, base)
        calls = self._calls.ask(found, begin, begin + _CALL_BYTES)
        start = np.maximum(_programs(found, base), begin)
        programs = self._programs.ask(found, start, np.maximum(base, start))
        is_other |= (calls == _UNUSUAL) | (programs > 1)
        is_brief[events[is_other | (calls == _STARTS) | (programs > 0)]] = False
        self._find_deletes(found, these, groups, bases, (events[calls == _DELETES], is_brief))
        counted = np.zeros(len(groups.firsts), dtype=np.int64)
        counted[events] = items
        odd = np.zeros(len(groups.firsts), dtype=np.bool_)
        odd[events[is_other]] = True
        return counted, odd

    def _find_deletes(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, known: tuple[Positions, Mask]
    ) -> None:
        """Leave out deletions by programs whose title names mail or a log: their paths may be relative to an open folder.

        Args:
            found: the stretch.
            these: its lines.
            groups: their events.
            bases: where the enriched part of each line begins.
            known: the events that delete, and which are brief: completed.
        """
        events, is_brief = known
        deletes = np.zeros(len(groups.firsts), dtype=np.bool_)
        deletes[events] = True
        begin, stop, event = _spans(these, groups, bases, PROCTITLE, deletes & is_brief)
        is_brief[event[self._titles.ask(found, begin, stop) > 0]] = False

    def _find_alone(
        self, found: Text, these: Lines, groups: Groups, bases: Positions, is_brief: Mask
    ) -> None:
        """Leave out records of programs that are or may be a login, and the ends of services."""
        heads = groups.lines[groups.firsts]
        kinds = these.kinds[heads]
        is_brief[np.isin(kinds, _ALWAYS)] = False
        events = np.flatnonzero(is_brief & np.isin(kinds, _LOGINS))
        line = heads[events]
        begin = _messages(found, these.ids[1][line])
        answers = self._messages.ask(found, begin, np.maximum(bases[line], begin))
        is_brief[events[answers > 0]] = False


def _items(found: Text, ids: Positions, bases: Positions) -> tuple[Positions, Mask]:
    """Return how many paths the kernel counted on each line of a system call; and where that is not written as usual.

    Args:
        found: the stretch.
        ids: where the id of the event ends on each line.
        bases: where each line ends.
    """
    shown = found.bytes_at(ids, _LOOK)
    # No other field ends so.
    place = np.argmax(
        (shown[:, :-2] == ord("m")) & (shown[:, 1:-1] == ord("s")) & (shown[:, 2:] == ord("=")), axis=1
    )
    start = ids + place + len("ms=")
    is_there = (found.at(np.maximum(start - len(_ITEMS), 0)) & _SEVEN) == word(_ITEMS)
    is_there &= (start > ids + len(_ITEMS)) & (start < bases)
    digit = found.at(start)
    length = np.minimum(found.find(digit, ord(" ")), bases - start).astype(np.uint64)
    shift = (np.uint64(_WORD) - np.minimum(length, np.uint64(_WORD))) * np.uint64(8)
    items, is_number = digits(digit << shift | np.uint64(0x3030303030303030) >> (np.uint64(64) - shift))
    is_other = is_there & (~is_number | (length >= np.uint64(_WORD)))
    for row in np.flatnonzero(~is_there).tolist():
        is_other[row] = _CUT.fullmatch(found.raw, int(ids[row]), int(bases[row])) is None
    return np.where(is_there, items, 0), is_other


def _programs(found: Text, bases: Positions) -> Positions:
    """Return where the fields of the program begin on each line that ends there; 0 where that is not near its end."""
    first = np.maximum(bases - _LOOK, 0)
    shown = found.bytes_at(first, _LOOK)
    # Letters at the end of "comm=", then all of it.
    found_last = (shown[:, :-2] == ord("m")) & (shown[:, 1:-1] == ord("m")) & (shown[:, 2:] == ord("="))
    last = found_last.shape[1] - 1 - np.argmax(found_last[:, ::-1], axis=1)
    start = first + last - len("co")
    is_it = (found.at(np.maximum(start - 1, 0)) & _SIX) == word(b" comm=")
    return np.where(is_it & (start > 0), start, 0)


def _spans(
    these: Lines, groups: Groups, bases: Positions, kind: int, asked: Mask
) -> tuple[Positions, Positions, Positions]:
    """Return where the text of each line of a kind begins and where its enriched part does, and its event, for the events asked for."""
    of_entry = np.repeat(np.arange(len(groups.firsts)), groups.counts)
    chosen = np.flatnonzero((these.kinds[groups.lines] == kind) & asked[of_entry])
    line = groups.lines[chosen]
    begin = these.ids[1][line] + len(_BEHIND)
    return begin, np.maximum(bases[line], begin), of_entry[chosen]


def _name_ends(found: Text, begins: Positions) -> Positions:
    """Return where the name ends on each line of a path, by where its fields begin: ``item=0 name="/x" inode=1``."""
    shown = found.bytes_at(begins, _LOOK) == ord(" ")
    # What stands behind the name are numbers and none of our words.
    length = len("item=0 ")
    ends: Positions = begins + length + np.argmax(shown[:, length:], axis=1)
    is_found = shown[:, length - 1] & ~shown[:, : length - 1].any(axis=1) & (ends > begins + length)
    rest = np.flatnonzero(~is_found)
    if len(rest):
        second = found.first(begins[rest], ord(" "), _LONGEST_NAME)
        ends[rest] = found.first(np.minimum(second + 1, found.size), ord(" "), _LONGEST_NAME)
    return ends


def _messages(found: Text, ids: Positions) -> Positions:
    """Return where a program's message begins, behind pid, uid, auid and ses; where the id of the event ends if that is far."""
    blanks = np.cumsum(found.bytes_at(ids, _HEAD_BYTES) == ord(" "), axis=1, dtype=np.int8)
    begins: Positions = ids + np.argmax(blanks > _MESSAGE, axis=1)
    return begins


def _foreign(found: Text, these: Lines, groups: Groups, of_entry: Positions) -> Mask:
    """Return the events with bytes that are no plain text."""
    foreign = np.zeros(len(groups.firsts), dtype=np.bool_)
    hurt = found.foreign_lines(these.starts, these.ends)
    if len(hurt):
        is_hurt = np.zeros(len(these.starts), dtype=np.bool_)
        is_hurt[hurt] = True
        foreign[of_entry[is_hurt[groups.lines]]] = True
    return foreign


def _judge_call(text: bytes) -> int:
    """Return what a call such as ``): arch=c000003e syscall=257 `` does: starts a program, deletes, or neither (0)."""
    match = _CALL.match(text)
    if match is None:
        return _UNUSUAL
    name = syscall_name(*(part.decode("ascii") for part in match.groups()))
    return _STARTS if name in audit_event.EXECUTES else _DELETES if name in audit_event.DELETES else 0


def _judge_title(text: bytes) -> int:
    """Return 1 for the title of a program that names mail, a log or a configuration."""
    return is_wanted(decode(text.removeprefix(b"proctitle="), is_hex=True).encode())


def _judge_program(text: bytes) -> int:
    """Return 0 for a program of no interest, 1 for another, 2 for what is not written as usual."""
    if _PROGRAM.fullmatch(text) is None:
        return 2
    return is_wanted(text)


def _may_be_login(text: bytes) -> bool:
    """Tell whether the message of a program may be that of a login program."""
    return _OTHER_PROGRAM.search(text) is None or _LOGIN_PROGRAM.search(text) is not None
