"""Which events of the audit log are worth all their columns: those that name mail, a log or a configuration.

Programs, keys and paths come again and again: each text is looked at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mailwitness.readers.audit_lines import CWD, EXECVE, PATH
from mailwitness.readers.known_texts import KnownTexts

if TYPE_CHECKING:
    from mailwitness.readers.audit_columns import Columns, Places
    from mailwitness.readers.audit_groups import Groups
    from mailwitness.readers.audit_lines import Lines, Mask
    from mailwitness.readers.audit_titles import Titles
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
    *(b"spool", b"box", b"svbin", b"vacation", b"FilterRules", b"rspamd", b"aliases", b'"log/'),
)
# A name in hex may be any.
_HIDDEN = re.compile(rb"(?:^|=)(?:[0-9A-F]{2}){4,}(?: |$)")
# Arguments that need neither decoding nor quotes, of which none is empty.
_ARGUMENTS = re.compile(rb"""(\d+)((?: a\d+="[^\s"'\\;|&<>()$`*?#~]+")+)""")


class Wanted:
    """Tells the events of a log that are worth all their columns."""

    def __init__(self) -> None:
        """Know no text yet."""
        self._known = KnownTexts(is_wanted)
        self._arguments = KnownTexts(judge_arguments)

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
                stop = np.minimum(found.blanks[these.blanks(found, line) + 2], stop)
            answers = (self._arguments if kind == EXECVE else self._known).ask(
                found, start, np.maximum(stop, start)
            )
            wanted[event[answers % 2 > 0]] = True
            columns.give_up(event, answers > 1)
        return wanted

    def find_titles(self, titles: Titles, events: Positions, bare: Mask, wanted: Mask) -> None:
        """Complete which events are worth all their columns by the titles of programs whose arguments are not there.

        Args:
            titles: of some events.
            events: which these are.
            bare: those without arguments.
            wanted: what is completed.
        """
        # Titles of mail are of one message each: what is known to be wanted needs no look at them.
        mine = np.flatnonzero((bare & ~wanted)[events] & titles.is_text)
        answers = self._known.ask(titles.found, titles.starts[mine], titles.stops[mine])
        wanted[events[mine[answers > 0]]] = True


def is_wanted(text: bytes) -> int:
    """Return 1 for a text that names mail, a log or a configuration, or a name that cannot be read as it stands, else 0."""
    return int(any(word in text for word in WANTED) or _HIDDEN.search(text) is not None)


def judge_arguments(text: bytes) -> int:
    """Return 1 for arguments that name mail, a log or a configuration, and 2 more for those that are not simple."""
    return is_wanted(text) + (0 if is_simple(text) else 2)


def is_simple(text: bytes) -> bool:
    """Tell whether arguments (behind ``argc=``) are all there, in order, and none needs quotes."""
    match = _ARGUMENTS.fullmatch(text)
    return match is not None and [part[: part.find(b"=")] for part in match[2].split(b" ")[1:]] == [
        b"a%d" % number for number in range(int(match[1]))
    ]
