"""Which events of the audit log are worth all their columns: those that name mail, a log or a configuration.

Programs, keys and paths come again and again: each text is looked at once.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.audit_lines import CWD, EXECVE, PATH
from mailwitness.readers.byte_words import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mailwitness.readers.audit_columns import Columns, Places
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.byte_words import Text, Words
    from mailwitness.readers.index import Positions

# Parts of words, so that one stands for many (mail, Mailbox; rsyslogd; /var/log; /sbin/auditctl), and the same in the hex that hides a
# name with a blank.
WANTED = (
    *(
        b"ail",
        b"/log",
        b"slog",
        b"61696C",
        b"2F6C6F67",
        b"ovecot",
        b"ostfix",
        b"exim",
        b"sieve",
        b"orward",
        b"/audit",
        b"ournal",
    ),
    b"spool",
)
# Arguments that need neither decoding nor quotes, of which none is empty.
_ARGUMENTS = re.compile(rb"""(\d+)((?: a\d+="[^\s"'\\;|&<>()$`*?#~]+")+)""")
_MOST_KNOWN = 100_000


class _Known:
    """Remembers what was found about texts, up to a bound, by digests whose key nobody knows beforehand."""

    def __init__(self, judge: Callable[[bytes], int]) -> None:
        """Take what looks at a text that was not seen before."""
        self._judge = judge
        self._key = np.frombuffer(os.urandom(16), dtype="<u8") | np.uint64(1)
        self._digests = np.zeros(0, dtype=np.uint64)
        self._answers = np.zeros(0, dtype=np.int8)

    def ask(self, found: Text, starts: Positions, stops: Positions) -> NDArray[np.int8]:
        """Return the answer for each text; most texts come again and again."""
        digests = self._digest(found, starts, stops)
        if len(self._digests) > _MOST_KNOWN:
            self._digests, self._answers = self._digests[:0], self._answers[:0]
        place = np.searchsorted(self._digests, digests)
        is_known = np.append(self._digests, 0)[place] == digests
        is_known &= place < len(self._digests)
        if not is_known.all():
            new = np.flatnonzero(~is_known)
            added, first = np.unique(digests[new], return_index=True)
            texts = (found.raw[starts[row] : stops[row]] for row in new[first].tolist())
            answers = np.fromiter(map(self._judge, texts), dtype=np.int8, count=len(added))
            order = np.argsort(np.concatenate([self._digests, added]), kind="stable")
            self._answers = np.concatenate([self._answers, answers])[order]
            self._digests = np.concatenate([self._digests, added])[order]
            place = np.searchsorted(self._digests, digests)
        answer: NDArray[np.int8] = np.append(self._answers, np.int8(0))[place]
        return answer

    def _digest(self, found: Text, starts: Positions, stops: Positions) -> Words:
        lengths = stops - starts
        factor, first = self._key
        digests: Words = lengths.astype(np.uint64) * first
        rows = np.flatnonzero(lengths > 0)
        done = 0
        while len(rows):
            mixed = (digests[rows] ^ masked(found.at(starts[rows] + done), lengths[rows] - done)) * factor
            digests[rows] = mixed ^ (mixed >> np.uint64(29))
            done += 8
            rows = rows[lengths[rows] > done]
        return digests


class Wanted:
    """Tells the events of a log that are worth all their columns."""

    def __init__(self) -> None:
        """Know no text yet."""
        self._known = _Known(is_wanted)
        self._arguments = _Known(judge_arguments)

    def find(
        self,
        columns: Columns,
        these: Lines,
        groups: Groups,
        bases: Positions,
        events: Positions,
        places: Places,
    ) -> Mask:
        """Return which events name mail, a log or a configuration; arguments that are not plain make an event not plain.

        Args:
            columns: of the events.
            these: the lines.
            groups: their events.
            bases: where the enriched part of each line begins.
            events: those that are system calls.
            places: where the fields of these stand.
        """
        found = columns.found
        wanted = np.zeros(columns.events, dtype=np.bool_)
        starts = np.where(places["comm"][0] > 0, places["comm"][0], places["exe"][0])
        stops = np.maximum(places["key"][1], places["exe"][1])
        wanted[events] = self._known.ask(found, starts, np.maximum(stops, starts)) > 0
        kinds = these.kinds[groups.lines]
        of_entry = np.repeat(np.arange(columns.events), groups.counts)
        for kind, sign in ((EXECVE, b"): argc="), (PATH, b"): item=0 name="), (CWD, b"): cwd=")):
            mine = columns.is_plain[of_entry] & (kinds == kind)
            chosen = np.flatnonzero(mine if kind == EXECVE else mine & ~wanted[of_entry])
            line, event = groups.lines[chosen], of_entry[chosen]
            start, stop = these.ids[1][line] + len(sign), bases[line]
            if kind == PATH:
                # The name ends before the next field; what stands behind it are numbers and none of our words.
                stop = np.minimum(found.blanks[these.blanks[line] + 2], stop)
            answers = (self._arguments if kind == EXECVE else self._known).ask(
                found, start, np.maximum(stop, start)
            )
            wanted[event[answers % 2 > 0]] = True
            columns.give_up(event, answers > 1)
        return wanted


def is_wanted(text: bytes) -> int:
    """Return 1 for a text that names mail, a log or a configuration, else 0."""
    return int(any(word in text for word in WANTED))


def judge_arguments(text: bytes) -> int:
    """Return 1 for arguments that name mail, a log or a configuration, and 2 more for those that are not simple."""
    return is_wanted(text) + (0 if is_simple(text) else 2)


def is_simple(text: bytes) -> bool:
    """Tell whether arguments (behind ``argc=``) are all there, in order, and none needs quotes."""
    match = _ARGUMENTS.fullmatch(text)
    return match is not None and [part[: part.find(b"=")] for part in match[2].split(b" ")[1:]] == [
        b"a%d" % number for number in range(int(match[1]))
    ]
